"""How source commits came, asked of the local GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.environments import GitHubRepository
from bot.domain.errors import UnavailableError
from bot.facts.source_changes import source_changes
from tests.world.local_bot import LocalBot, running_local_bot

PAYMENTS = GitHubRepository("acme", "payments")


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalBot]:
    with running_local_bot(tmp_path, {"policy.yaml": "version: 1\nenvironments: {}\n"}) as found:
        yield found


def test_every_commit_has_what_github_knows(local: LocalBot) -> None:
    old = local.source.head("main") or ""
    number = local.merge({"app.py": "print(1)\n"}, local.rita, repository=local.source)
    hotfix = local.rita.push(local.source, "main", {"app.py": "print(2)\n"})
    history = local.ports.mirrors.of(PAYMENTS)
    commits = history.between(old, history.heads()["main"], limit=99)

    found = source_changes(local.ports.github, PAYMENTS, commits)

    assert found is not None
    assert set(found) == {one.id for one in commits}
    assert (found[hotfix].author, found[hotfix].pull_request) == ("rita", None)
    others = [one.pull_request for commit, one in found.items() if commit != hotfix]
    assert {one.number for one in others if one} == {number}


def test_a_refusal_is_not_called_no_pull_request(local: LocalBot) -> None:
    local.world.fail("POST", "/graphql", 404)
    history = local.ports.mirrors.of(PAYMENTS)

    found = source_changes(local.ports.github, PAYMENTS, [history.commit(history.heads()["main"])])

    assert found is None


def test_an_outage_is_tried_again(local: LocalBot) -> None:
    local.world.fail("POST", "/graphql", 502)
    history = local.ports.mirrors.of(PAYMENTS)

    with pytest.raises(UnavailableError):
        source_changes(local.ports.github, PAYMENTS, [history.commit(history.heads()["main"])])


def test_nothing_is_asked_about_nothing(local: LocalBot) -> None:
    before = len(local.world.requests)

    assert source_changes(local.ports.github, PAYMENTS, None) is None
    assert source_changes(local.ports.github, PAYMENTS, []) is None
    assert len(local.world.requests) == before
