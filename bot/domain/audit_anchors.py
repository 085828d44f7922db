"""The audit against the publications that carry its head: outside of the database.

Whoever writes to the database can compute the whole chain anew; what stands on protected
environment refs he cannot. So each publication must name an entry that is there, with its hash,
and each entry of a publication must have its commit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bot.domain.memory import AuditEntry

_ANCHOR: Final = re.compile(r"^Lockkeeper-Audit: ([0-9]{1,18}) ([0-9a-f]{64}|-)$", re.MULTILINE)
_SOURCE: Final = re.compile(r"^Source: [0-9a-f]{40,64}$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class PublishedCommit:
    """A commit on an environment ref."""

    ref: str
    commit: str
    message: str

    @property
    def anchor(self) -> tuple[int, str] | None:
        """Sequence and hash of the newest entry when it was made; None: it is no publication."""
        found = _ANCHOR.search(self.message)
        if found is None or not _SOURCE.search(self.message):
            return None
        return int(found[1]), found[2].removesuffix("-")


def mismatches(
    entries: Iterable[AuditEntry], commits: Mapping[str, Sequence[PublishedCommit]]
) -> list[str]:
    """What the audit and the environment refs say differently; empty: nothing.

    Args:
        entries: the whole audit.
        commits: environment ref -> its commits, newest first.
    """
    known = {entry.sequence: entry for entry in entries}
    return [
        *(fact for listed in commits.values() for fact in _anchored(known, listed)),
        *_recorded(known, commits),
    ]


def _anchored(known: Mapping[int, AuditEntry], commits: Sequence[PublishedCommit]) -> Iterator[str]:
    entered = {
        entry.facts.get("commit", "")
        for entry in known.values()
        if entry.kind in {"published", "accepted"}
    }
    newest = next((one.commit for one in commits), "")
    for one in commits:
        name, anchor = f"{one.commit[:7]} on {one.ref}", one.anchor
        if anchor is None:
            if one.commit not in entered:
                yield f"{name} is no publication"
            continue
        sequence, digest = anchor
        entry = known.get(sequence)
        if sequence and entry is None:
            yield f"{name} names audit entry {sequence}, which is not there: the audit is older"
        elif entry is not None and entry.hash != digest:
            yield f"{name} names another audit entry {sequence}: the audit was written anew"
        if one.commit not in entered and one.commit != newest:
            yield f"{name} has no audit entry"


def _recorded(
    known: Mapping[int, AuditEntry], commits: Mapping[str, Sequence[PublishedCommit]]
) -> Iterator[str]:
    """Entries whose publication is not on its ref."""
    for entry in known.values():
        ref, commit = entry.facts.get("ref", ""), entry.facts.get("commit", "")
        if entry.kind != "published" or ref not in commits:
            continue
        if commit not in {one.commit for one in commits[ref]}:
            yield f"audit entry {entry.sequence}: {commit[:7]} is not on {ref}"
