"""The audit as a chain: each entry holds the hash of the one before it.

Whoever kept one hash elsewhere can tell whether anything before it was changed or removed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC

from bot.domain.errors import IntegrityError
from bot.domain.memory import AuditEntry


class BrokenChainError(IntegrityError):
    """An entry of the audit was changed, removed or put in."""

    def __init__(self, sequence: int, fact: str) -> None:
        """Name the first entry that does not fit, and why."""
        super().__init__(f"audit entry {sequence}: {fact}; compare with an exported copy")
        self.sequence, self.fact = sequence, fact


def canonical(entry: AuditEntry) -> bytes:
    """What is hashed: JSON with sorted keys, no spaces, ASCII only, without the hash itself."""
    document = {
        "sequence": entry.sequence,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "kind": entry.kind,
        "scope": [entry.scope.manifests, entry.scope.environment, entry.scope.application],
        "facts": entry.facts,
        "previous": entry.previous,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")


def sealed(entry: AuditEntry) -> AuditEntry:
    """The entry with its hash."""
    return replace(entry, hash=hashlib.sha256(canonical(entry)).hexdigest())


def verify(entries: Iterable[AuditEntry], head: tuple[int, str] = (0, "")) -> tuple[int, str]:
    """Check that ``entries`` follow ``head`` without a gap; return the new head.

    Raises:
        BrokenChainError: they do not.
    """
    sequence, previous = head
    for entry in entries:
        if entry.sequence != sequence + 1:
            raise BrokenChainError(entry.sequence, f"follows entry {sequence}")
        if entry.previous != previous:
            raise BrokenChainError(entry.sequence, "names another entry before it")
        if sealed(entry).hash != entry.hash:
            raise BrokenChainError(entry.sequence, "does not have the hash of its content")
        sequence, previous = entry.sequence, entry.hash
    return sequence, previous
