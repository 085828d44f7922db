"""What to do about the findings of a package: the version to go to, or why there is none.

It is the lowest version that is newer than everything that is installed and free of all of them.
Fixes of older release lines are no way for a newer one, and nothing is ever a downgrade.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Final

from bot.domain.evidence import Finding, Fix, Status
from bot.domain.packages import PackageName
from bot.domain.versions import compare

Order = Callable[[str, str], int]
_MAJOR: Final = re.compile(r"(?:[0-9]+:)?[A-Za-z-]*([0-9]+)(?:\.([0-9]+))?")


@dataclass(frozen=True, slots=True)
class Remedy:
    """The way out of a package's findings."""

    version: str = ""
    """Free of all of them; empty: there is none, or nobody can say which."""
    candidates: tuple[str, ...] = ()
    """The fixes that are named, where nobody can order them."""
    open: int = 0
    """Findings without any fix."""
    will_not_fix: int = 0
    """Those among them that the distributor has decided not to fix."""


def remedy(findings: Iterable[Finding]) -> Remedy:
    """The way out of the findings of one package."""
    found = list(findings)
    name = found[0].package
    lacking = [finding for finding in found if not finding.fixed_in]
    declined = [
        finding
        for finding in lacking
        if finding.status in {Status.WILL_NOT_FIX, Status.END_OF_LIFE}
    ]
    fixable = [finding for finding in found if finding.fixed_in]
    installed = sorted({version for finding in found for version in finding.versions})
    fixes = sorted({fix for finding in fixable for fix in finding.fixed_in})
    version = ""
    candidates: tuple[str, ...] = ()
    if fixable:
        if _is_ordered(name, [*installed, *fixes]):
            version = _lowest(name, installed, fixes, fixable)
        else:
            candidates = tuple(fixes)
    return Remedy(
        version,
        candidates,
        sum(finding.fix is not Fix.AVAILABLE for finding in lacking),
        len(declined),
    )


def _is_ordered(name: PackageName, versions: Sequence[str]) -> bool:
    return all(
        compare(name.type, versions[0], other, name=name.name) is not None for other in versions
    )


def _lowest(
    name: PackageName, installed: Sequence[str], fixes: Sequence[str], findings: Sequence[Finding]
) -> str:
    """The lowest fix that is newer than all that is installed and frees it of every finding."""
    ranks = _ranks(name, {*installed, *fixes})

    def order(one: str, other: str) -> int:
        return ranks[one] - ranks[other]

    highest = max((ranks[version] for version in installed), default=-1)
    newer = sorted((fix for fix in fixes if ranks[fix] > highest), key=ranks.__getitem__)
    # Whoever is fixed last is asked first: one that is not free is seldom asked about all of them.
    late = sorted(findings, key=lambda one: min(map(ranks.__getitem__, one.fixed_in)), reverse=True)
    for candidate in newer:
        if all(_frees(candidate, finding, order) for finding in late):
            return candidate
    return ""


def _ranks(name: PackageName, versions: Iterable[str]) -> Mapping[str, int]:
    """The place of each version among all, where equal ones have the same: compared once."""

    def order(one: str, other: str) -> int:
        return compare(name.type, one, other, name=name.name) or 0

    ranks: dict[str, int] = {}
    before = ""
    for version in sorted(sorted(versions), key=cmp_to_key(order)):
        is_same = bool(ranks) and order(before, version) == 0
        ranks[version] = ranks[before] if is_same else len(ranks)
        before = version
    return ranks


def _frees(candidate: str, finding: Finding, order: Order) -> bool:
    """Whether a version is at or behind a fix that what is installed lacks, on that fix's line.

    Between two fixes everything may be vulnerable but what continues the lower one's line: what
    is installed lies between the same two as a version that is no way out. Behind all is free.
    """
    behind = [fix for fix in finding.fixed_in if order(fix, candidate) <= 0]
    ahead = [fix for fix in finding.fixed_in if order(fix, candidate) > 0]
    reached = [fix for fix in behind if all(order(fix, one) > 0 for one in finding.versions)]
    if not reached:
        return False
    if not ahead:
        return True
    last = max(reached, key=cmp_to_key(order))
    return order(last, candidate) == 0 or (
        _is_same_line(last, candidate, finding.fixed_in)
        and not any(_is_same_line(fix, candidate, finding.fixed_in) for fix in ahead)
    )


def _is_same_line(one: str, other: str, fixes: Sequence[str]) -> bool:
    """By the first number, or the first two where several fixes share the first."""
    left, right = _line(one), _line(other)
    if left is None or right is None or left[0] != right[0]:
        return False
    lines = [line for fix in fixes if (line := _line(fix)) is not None and line[0] == left[0]]
    return left[1] == right[1] if len({line[1] for line in lines}) > 1 else True


def _line(version: str) -> tuple[str, str] | None:
    found = _MAJOR.match(version)
    return (found[1], found[2] or "") if found else None
