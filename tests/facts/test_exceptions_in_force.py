"""Exceptions on a real repository: which merge brought them, and whether that counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.assessment import Evidence, assess
from bot.domain.evidence import Scan
from bot.domain.policy import Authorisation, EnvironmentPolicy, Result
from bot.facts.exceptions_in_force import exceptions_in_force
from tests.evidence_bodies import AT, PERL, scanned
from tests.world.local_bot import LocalBot, running_local_bot

pytestmark = pytest.mark.slow

POLICY = """\
version: 1
environments:
  prod:
    exceptions: {exceptions}
    rules: [{{ id: medium, deny: present, severity: ">= medium" }}]
"""
ANYBODY = POLICY.format(exceptions="exceptions.yaml")
SECURITY = POLICY.format(exceptions="{ file: exceptions.yaml, teams: [acme/security] }")
PERL_ENTRY = """\
- vulnerability: CVE-2026-9010
  package: pkg:deb/debian/perl-base
  reason: no untrusted input
  ticket: SEC-812
  expires: 2026-12-01
"""
OTHER_ENTRY = PERL_ENTRY.replace("9010", "9011").replace("perl-base", "zlib1g")
SCAN = scanned([PERL])


@pytest.fixture(params=[ANYBODY, SECURITY], ids=["anybody", "security"])
def local(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalBot]:
    files = {"policy.yaml": request.param, "exceptions.yaml": OTHER_ENTRY}
    with running_local_bot(tmp_path, files) as found:
        yield found


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[LocalBot]:
    with running_local_bot(tmp_path, {"policy.yaml": ANYBODY, "exceptions.yaml": "[]\n"}) as found:
        yield found


def backing(local: LocalBot, scan: Scan = SCAN) -> Authorisation | None:
    view = local.look()
    assert view.broken is None
    (found,) = [
        one
        for one in exceptions_in_force(view, "prod", view.rules, [scan])
        if one.vulnerability == "CVE-2026-9010"
    ]
    return found.backing


def asks_team(local: LocalBot) -> bool:
    policy = local.look().rules.policy("prod")
    assert isinstance(policy, EnvironmentPolicy)
    return bool(policy.exceptions_teams)


def test_a_merged_and_approved_pull_request_backs_an_entry(local: LocalBot) -> None:
    number = local.merge({"exceptions.yaml": OTHER_ENTRY + PERL_ENTRY}, local.rita)

    assert backing(local) == Authorisation(number, ("rita",))


def test_a_direct_push_backs_nothing(local: LocalBot) -> None:
    commit = local.push({"exceptions.yaml": OTHER_ENTRY + PERL_ENTRY})

    found = backing(local)
    assert found == Authorisation(
        defect=f"commit {commit[:7]} brought it without a merged pull request"
    )


def test_without_the_team_s_approval_it_counts_only_where_nobody_asks_for_one(
    local: LocalBot,
) -> None:
    number = local.merge({"exceptions.yaml": OTHER_ENTRY + PERL_ENTRY})

    found = backing(local)
    if asks_team(local):
        lacking = f"pull request {number} has no approval of acme/security"
        assert found == Authorisation(number, defect=lacking)
    else:
        assert found == Authorisation(number)


@pytest.mark.parametrize("method", ["squash", "rebase"])
def test_every_way_to_merge_counts(local: LocalBot, method: str) -> None:
    number = local.merge({"exceptions.yaml": OTHER_ENTRY + PERL_ENTRY}, local.rita, method=method)

    assert backing(local) == Authorisation(number, ("rita",))


@pytest.mark.parametrize(
    "rewritten",
    [
        PERL_ENTRY + OTHER_ENTRY,
        "# sorted\n" + OTHER_ENTRY + PERL_ENTRY.replace("\n  ", "\n      ").replace("- ", "-     "),
        OTHER_ENTRY + PERL_ENTRY.replace("no untrusted input", '"no untrusted input"'),
    ],
    ids=["moved", "indented", "quoted"],
)
def test_writing_it_differently_attributes_nothing_anew(local: LocalBot, rewritten: str) -> None:
    commit = local.push({"exceptions.yaml": OTHER_ENTRY + PERL_ENTRY})
    local.merge({"exceptions.yaml": rewritten}, local.rita)

    found = backing(local)
    assert found is not None
    assert commit[:7] in found.defect


def test_a_pushed_rewrite_takes_nothing_away(local: LocalBot) -> None:
    number = local.merge({"exceptions.yaml": OTHER_ENTRY + PERL_ENTRY}, local.rita)
    local.push({"exceptions.yaml": PERL_ENTRY + OTHER_ENTRY})
    local.push({"readme.md": "unrelated\n"})

    assert backing(local) == Authorisation(number, ("rita",))


def test_a_longer_end_is_another_entry(local: LocalBot) -> None:
    local.merge({"exceptions.yaml": OTHER_ENTRY + PERL_ENTRY}, local.rita)
    longer = PERL_ENTRY.replace("2026-12-01", "2027-12-01")
    local.push({"exceptions.yaml": OTHER_ENTRY + longer})

    found = backing(local)
    assert found is not None
    assert "without a merged pull request" in found.defect


def test_moving_the_file_attributes_nothing_anew(local: LocalBot) -> None:
    commit = local.push({"exceptions.yaml": OTHER_ENTRY + PERL_ENTRY})
    teams = "{ file: new.yaml, teams: [acme/security] }" if asks_team(local) else "new.yaml"
    policy = POLICY.format(exceptions=teams)
    moved = {"exceptions.yaml": None, "new.yaml": OTHER_ENTRY + PERL_ENTRY, "policy.yaml": policy}
    local.merge(moved, local.rita)

    found = backing(local)
    assert found is not None
    assert commit[:7] in found.defect


def test_while_the_file_is_broken_every_merge_has_to_count(local: LocalBot) -> None:
    local.merge({"exceptions.yaml": "- [broken\n"}, local.rita)
    local.push({"exceptions.yaml": "- [broken\n" + PERL_ENTRY})
    local.merge({"exceptions.yaml": OTHER_ENTRY + PERL_ENTRY}, local.rita)

    found = backing(local)
    assert found is not None
    assert "without a merged pull request" in found.defect


def test_an_entry_that_was_there_before_the_file_broke_keeps_its_merge(local: LocalBot) -> None:
    number = local.merge({"exceptions.yaml": OTHER_ENTRY + PERL_ENTRY}, local.rita)
    local.push({"exceptions.yaml": "- [broken\n"})
    local.push({"exceptions.yaml": PERL_ENTRY})

    assert backing(local) == Authorisation(number, ("rita",))


def test_what_came_with_the_first_commit_has_no_pull_request(tmp_path: Path) -> None:
    files = {"policy.yaml": ANYBODY, "exceptions.yaml": PERL_ENTRY}
    with running_local_bot(tmp_path, files) as local:
        found = backing(local)

    assert found is not None
    assert "without a merged pull request" in found.defect


def test_nobody_is_asked_about_an_exception_that_is_about_nothing(open_desk: LocalBot) -> None:
    open_desk.push({"exceptions.yaml": PERL_ENTRY})

    assert backing(open_desk, scanned([])) is None


def test_an_author_does_not_approve_for_the_team(local: LocalBot) -> None:
    local.rita.push(local.manifests, "own", {"exceptions.yaml": OTHER_ENTRY + PERL_ENTRY})
    pull = local.dana.open_pull_request(local.manifests, "own")
    local.rita.approve(pull)
    local.dana.merge(pull)

    found = backing(local)
    assert found is not None
    assert bool(found.defect) == asks_team(local)
    assert found.approved_by == ()


@pytest.mark.parametrize("merged", [True, False])
def test_an_exception_without_backing_holds_nothing_and_says_so(
    open_desk: LocalBot, *, merged: bool
) -> None:
    if merged:
        open_desk.merge({"exceptions.yaml": PERL_ENTRY}, open_desk.rita)
    else:
        open_desk.push({"exceptions.yaml": PERL_ENTRY})
    view = open_desk.look()
    found = exceptions_in_force(view, "prod", view.rules, [SCAN])

    judged = assess("prod", Evidence(SCAN, SCAN, exceptions=found), view.rules.policy("prod"), AT)

    checks = {check.id: check for check in judged.verdict.checks}
    assert judged.delta is not None
    if merged:
        assert checks["medium"].result is Result.PASS
        assert [one.by for one in judged.delta.suppressed] == [
            "exception SEC-812 (pull request 1, approved by rita)"
        ]
    else:
        assert checks["medium"].result is Result.FAIL
        assert "exception SEC-812 does not count: commit" in checks["exceptions"].detail
        assert judged.delta.suppressed == ()
