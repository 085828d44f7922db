"""Loops over the manifests repositories: the error of one stays with that one.

    each = for_each(ports, lambda repository: look_at(ports, repository))
    each.found       # what the others brought
    each.problems    # repository -> why it brought nothing

A repository that cannot be seen, fetched or read says so, and the rest goes on. Whoever has done
what can be done calls `Members.raise_unavailable`, so that what may pass is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from bot.domain.environments import GitHubRepository
from bot.domain.errors import IntegrityError, LockkeeperError, RejectedError, UnavailableError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Members(Generic[T]):
    """What a loop over manifests repositories brought."""

    found: tuple[T, ...]
    problems: Mapping[GitHubRepository, LockkeeperError]

    @property
    def words(self) -> str:
        """The problems, for people; empty: there are none."""
        return "; ".join(f"{name}: {error}" for name, error in self.problems.items())

    def raise_unavailable(self) -> None:
        """Ask for another attempt if one of the problems may pass.

        Raises:
            UnavailableError: with the longest wait that was asked for.
        """
        passing = [one for one in self.problems.values() if isinstance(one, UnavailableError)]
        if passing:
            waits = [one.retry_after for one in passing if one.retry_after is not None]
            raise UnavailableError(self.words, retry_after=max(waits, default=None))


def for_each(
    repositories: Iterable[GitHubRepository], look: Callable[[GitHubRepository], T]
) -> Members[T]:
    """Take the same look at each of them; none is left out because of another."""
    found: list[T] = []
    problems: dict[GitHubRepository, LockkeeperError] = {}
    for repository in repositories:
        try:
            found.append(look(repository))
        except (RejectedError, UnavailableError, IntegrityError) as error:
            problems[repository] = error
    return Members(tuple(found), problems)
