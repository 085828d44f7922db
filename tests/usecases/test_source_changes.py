"""How source commits came, asked of the local GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.environments import GitHubRepository
from bot.domain.errors import UnavailableError
from bot.usecases.source_changes import source_changes
from tests.world.desk import Desk, running_desk

PAYMENTS = GitHubRepository("acme", "payments")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with running_desk(tmp_path, {"policy.yaml": "version: 1\nenvironments: {}\n"}) as found:
        yield found


def test_every_commit_has_what_github_knows(desk: Desk) -> None:
    old = desk.source.head("main") or ""
    number = desk.merge({"app.py": "print(1)\n"}, desk.rita, repository=desk.source)
    hotfix = desk.rita.push(desk.source, "main", {"app.py": "print(2)\n"})
    history = desk.ports.mirrors.of(PAYMENTS)
    commits = history.between(old, history.heads()["main"], limit=99)

    found = source_changes(desk.ports.github, PAYMENTS, commits)

    assert found is not None
    assert set(found) == {one.id for one in commits}
    assert (found[hotfix].author, found[hotfix].pull_request) == ("rita", None)
    others = [one.pull_request for commit, one in found.items() if commit != hotfix]
    assert {one.number for one in others if one} == {number}


def test_a_refusal_is_not_called_no_pull_request(desk: Desk) -> None:
    desk.world.fail("POST", "/graphql", 404)
    history = desk.ports.mirrors.of(PAYMENTS)

    found = source_changes(desk.ports.github, PAYMENTS, [history.commit(history.heads()["main"])])

    assert found is None


def test_an_outage_is_tried_again(desk: Desk) -> None:
    desk.world.fail("POST", "/graphql", 502)
    history = desk.ports.mirrors.of(PAYMENTS)

    with pytest.raises(UnavailableError):
        source_changes(desk.ports.github, PAYMENTS, [history.commit(history.heads()["main"])])


def test_nothing_is_asked_about_nothing(desk: Desk) -> None:
    before = len(desk.world.requests)

    assert source_changes(desk.ports.github, PAYMENTS, None) is None
    assert source_changes(desk.ports.github, PAYMENTS, []) is None
    assert len(desk.world.requests) == before
