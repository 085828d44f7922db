"""The audit, with every entry that this process adds laid aside to be counted.

Contract. What is laid aside is what was recorded, once; nothing is changed or refused by it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.domain.memory import AuditEntry, Scope
from bot.domain.metrics import Noted
from bot.ports.record import Audit


@dataclass(frozen=True, slots=True)
class CountedAudit:
    """`bot.ports.record.Audit`, which tells of every entry that this process added."""

    audit: Audit
    noted: deque[Noted]
    """The newest at its end; whoever counts takes them away."""

    def append(self, kind: str, scope: Scope, facts: Mapping[str, str], *, once: str = "") -> None:
        """As of `bot.ports.record.Audit`; an entry that was there before is not told again."""
        is_known = bool(once) and self.audit.has(once)
        self.audit.append(kind, scope, facts, once=once)
        if not is_known:
            self.noted.append(Noted(kind, scope, dict(facts)))

    def has(self, once: str) -> bool:
        """As of `bot.ports.record.Audit`."""
        return self.audit.has(once)

    def head(self) -> tuple[int, str]:
        """As of `bot.ports.record.Audit`."""
        return self.audit.head()

    def entries(self, after: int = 0) -> Sequence[AuditEntry]:
        """As of `bot.ports.record.Audit`."""
        return self.audit.entries(after)
