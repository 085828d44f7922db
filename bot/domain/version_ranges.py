"""Ranges of versions as CycloneDX writes them: vers (purl-spec, VERSION-RANGE-SPEC.rst).

Whether a version is inside may not be known: another ecosystem's order, a range that breaks the
rules of its own format. Nobody takes that for a yes or a no here.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final, NamedTuple
from urllib.parse import unquote

from bot.domain.packages import whole_version
from bot.domain.versions import compare

_WRITTEN: Final = re.compile(r"vers:(?P<scheme>[a-z0-9.+-]+)/(?P<constraints>.+)", re.IGNORECASE)
_CONSTRAINT: Final = re.compile(r"\s*(?P<sign>!=|<=|>=|=|<|>)?\s*(?P<version>[^\s<>=!|]+)\s*")
_LONGEST: Final = 2_000  # characters
# Orders that are no ecosystem's own: the package's is at least as exact.
_ANY_SCHEME: Final = frozenset({"semver", "generic", "all", "intdot", "lexicographic"})


class _Constraint(NamedTuple):
    sign: str
    order: int
    """-1, 0 or 1 as the version in question is older than, equal to or newer than this one."""


def is_version(kind: str, written: str, version: str, *, name: str = "") -> bool | None:
    """Whether a version is the one that is written, or in the range; None: nobody can tell.

    ``kind`` is the purl type of the package.
    """
    if not written.lower().startswith("vers:"):
        return whole_version(kind, written) == version
    constraints = _constraints(kind, written, version, name)
    return None if constraints is None else _is_inside(constraints)


def _constraints(kind: str, written: str, version: str, name: str) -> list[_Constraint] | None:
    found = _WRITTEN.fullmatch(written.strip()) if len(written) <= _LONGEST else None
    if found is None or not version or found["scheme"].lower() not in {kind, *_ANY_SCHEME}:
        return None
    if found["constraints"].strip() == "*":
        return []
    read: list[_Constraint] = []
    before = ""
    for part in found["constraints"].split("|"):
        constraint = _CONSTRAINT.fullmatch(part)
        if constraint is None:
            return None
        bound = whole_version(kind, unquote(constraint["version"]))
        order = compare(kind, version, bound, name=name)
        is_sorted = not before or compare(kind, before, bound, name=name) == -1
        if order is None or not is_sorted:
            return None
        read.append(_Constraint(constraint["sign"] or "=", order))
        before = bound
    return read


def _is_inside(constraints: list[_Constraint]) -> bool:
    """The algorithm of the specification; no constraint at all is every version."""
    equal = [one.sign for one in constraints if one.order == 0]
    if equal:
        return equal[0] in {"=", "<=", ">="}
    bounds = [one for one in constraints if one.sign[0] in "<>"]
    if not bounds:
        return all(one.sign == "!=" for one in constraints)
    below, above = bounds[0], bounds[-1]
    if (below.sign[0] == "<" and below.order < 0) or (above.sign[0] == ">" and above.order > 0):
        return True
    return any(
        one.sign[0] == ">" and one.order > 0 and other.sign[0] == "<" and other.order < 0
        for one, other in pairwise(bounds)
    )
