from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bot.domain.audit_anchors import PublishedCommit, mismatches
from bot.domain.audit_chain import sealed
from bot.domain.memory import AuditEntry, Scope

AT = datetime(2026, 1, 1, tzinfo=UTC)
REF = "env/prod"


def chain(*facts: tuple[str, str]) -> list[AuditEntry]:
    """Entries of these kinds about these commits, each holding the hash of the one before."""
    entries: list[AuditEntry] = []
    for number, (kind, commit) in enumerate(facts, start=1):
        previous = entries[-1].hash if entries else ""
        about = {"ref": REF, "commit": commit}
        entries.append(sealed(AuditEntry(number, AT, kind, Scope(1, "prod"), about, previous)))
    return entries


def publication(commit: str, entry: AuditEntry | None) -> PublishedCommit:
    anchor = f"{entry.sequence} {entry.hash}" if entry else "0 -"
    message = f"Publish prod\n\nSource: {'f' * 40}\nLockkeeper-Audit: {anchor}\n"
    return PublishedCommit(REF, commit, message)


ONE, TWO, THREE = "1" * 40, "2" * 40, "3" * 40
AUDIT = chain(("sealed", ""), ("published", ONE), ("sealed", ""), ("published", TWO))
COMMITS = [publication(TWO, AUDIT[2]), publication(ONE, AUDIT[0])]


def found(audit: Sequence[AuditEntry], commits: Sequence[PublishedCommit]) -> list[str]:
    return mismatches(audit, {REF: commits})


def test_what_fits_together_is_silent() -> None:
    assert found(AUDIT, COMMITS) == []
    newest = publication(THREE, AUDIT[3])
    assert found(AUDIT, [newest, *COMMITS]) == [], "it is entered once people were told"


def rewritten() -> list[AuditEntry]:
    """The first entry is another one, and every hash after it was computed anew."""
    first = sealed(replace(AUDIT[0], facts={"reference": "evil"}))
    entries = [first]
    for entry in AUDIT[1:]:
        entries.append(sealed(replace(entry, previous=entries[-1].hash)))
    return entries


@pytest.mark.parametrize(
    ("audit", "commits", "fact"),
    [
        pytest.param(rewritten(), COMMITS, "written anew", id="tampered with"),
        pytest.param(AUDIT[:2], COMMITS, "is not there: the audit is older", id="rolled back"),
        pytest.param(
            chain(("sealed", ""), ("sealed", ""), ("sealed", ""), ("published", TWO)),
            COMMITS,
            "has no audit entry",
            id="an entry is missing",
        ),
        pytest.param(AUDIT, COMMITS[:1], f"{ONE[:7]} is not on {REF}", id="a commit is missing"),
        pytest.param(
            AUDIT,
            [PublishedCommit(REF, THREE, "tidy up"), *COMMITS],
            "is no publication",
            id="somebody else's",
        ),
    ],
)
def test_each_way_to_cheat_is_named(
    audit: Sequence[AuditEntry], commits: Sequence[PublishedCommit], fact: str
) -> None:
    assert any(fact in one for one in found(audit, commits)), found(audit, commits)


def test_a_ref_that_the_clone_does_not_have_says_nothing() -> None:
    assert mismatches(AUDIT, {}) == []
