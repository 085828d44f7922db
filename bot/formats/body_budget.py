"""How much of a body is written: levels of detail, from rich to poor, within a hard budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bot.formats.markdown import items

LIMIT: Final = 65_536
"""Characters; GitHub's limit for bodies and comments."""
BUDGET: Final = 58_000
"""Bytes that a body may have; GitHub refuses some bodies a little below its limit (Renovate uses
the same figure: lib/modules/platform/github/index.ts)."""


@dataclass(frozen=True, slots=True)
class Detail:
    """How many rows of each kind are written out."""

    checks: int = 30
    introduced: int = 20
    fixed: int = 20
    unchanged: int = 10
    suppressed: int = 20
    packages: int = 40
    licences: int = 10
    commits: int = 50
    blocking: int = 1_000
    """Packages with findings that break a rule: the last that is left out. More never fit."""
    blocking_ids: int = 1_000
    """Vulnerabilities that are named of each."""
    per_package: int = 3
    """A package with more introduced findings than this takes one row for all of them."""
    has_links: bool = True
    """Whether what breaks a rule is linked: named without a link comes before not named."""


# From rich to poor; what costs a reviewer least is left out first.
LEVELS: Final = (
    Detail(),
    Detail(commits=10),
    Detail(commits=10, packages=10),
    Detail(commits=10, packages=10, unchanged=5),
    Detail(commits=5, packages=5, unchanged=5, fixed=5, suppressed=5),
    Detail(commits=0, packages=0, unchanged=0, fixed=0, suppressed=5),
    Detail(15, 10, 0, 0, 0, 0, 5, 0),
    Detail(10, 5, 0, 0, 0, 0, 0, 0),
    Detail(3, 1, 0, 0, 0, 0, 0, 0),
    Detail(3, 0, 0, 0, 0, 0, 0, 0),
    Detail(3, 0, 0, 0, 0, 0, 0, 0, has_links=False),
    Detail(3, 0, 0, 0, 0, 0, 0, 0, blocking_ids=20, has_links=False),
    Detail(3, 0, 0, 0, 0, 0, 0, 0, blocking_ids=5, has_links=False),
    Detail(3, 0, 0, 0, 0, 0, 0, 0, blocking=500, blocking_ids=5, has_links=False),
    Detail(3, 0, 0, 0, 0, 0, 0, 0, blocking=250, blocking_ids=5, has_links=False),
    Detail(3, 0, 0, 0, 0, 0, 0, 0, blocking=120, blocking_ids=5, has_links=False),
    Detail(3, 0, 0, 0, 0, 0, 0, 0, blocking=60, blocking_ids=5, has_links=False),
    Detail(3, 0, 0, 0, 0, 0, 0, 0, blocking=30, blocking_ids=3, has_links=False),
    Detail(0, 0, 0, 0, 0, 0, 0, 0, blocking=10, blocking_ids=2, has_links=False),
    Detail(0, 0, 0, 0, 0, 0, 0, 0, blocking=0),
)


def fitting(
    sections: Callable[[Detail], Sequence[str]],
    levels: Sequence[Detail] = LEVELS,
    budget: int = BUDGET,
) -> str:
    """The richest body within the budget; the same for the same facts."""
    body = ""
    for detail in levels:
        body = "\n\n".join(section for section in sections(detail) if section) + "\n"
        if len(body.encode()) <= budget:
            return body
    return body


def listed(rows: Sequence[Sequence[str]], total: int) -> str:
    """A list, and how many rows it leaves out."""
    parts = [items(rows)] if rows else []
    if total > len(rows):
        left = total - len(rows)
        parts.append(f"…and {left} more." if rows else f"{left} are not listed here.")
    return "\n\n".join(parts)
