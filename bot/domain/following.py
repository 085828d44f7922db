"""Environments after environments: which set goes on, of those that stand in the ones before.

A set goes on once it was published in all of them. Whether one that stands there no more still
counts is asked of each: where something newer stands it does, where it was rolled back it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bot.domain.source_refs import SourceRef


@dataclass(frozen=True, slots=True)
class Standing:
    """What is published of an application in an environment before this one."""

    environment: str
    commit: str
    """Whose images stand there, all of them; empty: nobody can say."""
    ref: SourceRef
    """The branch or tag that brought it there."""
    trigger: str
    """The commit that asked for it there."""
    problem: str = ""
    """Why nothing is known to stand there."""
    is_unknown: bool = False
    """Something may stand there all the same."""


@dataclass(frozen=True, slots=True)
class Follower:
    """A set that stands somewhere before, and what it still waits for."""

    standing: Standing
    missing: tuple[str, ...]
    """Environments before that have not published it; none: it goes on."""


def followers(
    standings: Sequence[Standing],
    has_passed: Callable[[Standing, Standing], bool],
    is_newer: Callable[[Standing, Standing], bool],
) -> list[Follower]:
    """The newest set that all of them have published, and those that are on their way.

    Args:
        standings: what stands in each of the environments before, in the file's order.
        has_passed: whether the first one's set was published in the second's environment, and
            something newer stands there since.
        is_newer: whether the first one's set is newer than the second's.
    """
    distinct = list({one.commit: one for one in reversed(standings) if one.commit}.values())[::-1]
    found = [
        Follower(
            one,
            tuple(
                other.environment
                for other in standings
                if other.commit != one.commit and not (other.commit and has_passed(one, other))
            ),
        )
        for one in distinct
    ]
    whole = [one for one in found if not one.missing]
    return [
        one
        for one in found
        if one.missing or not any(is_newer(other.standing, one.standing) for other in whole)
    ]
