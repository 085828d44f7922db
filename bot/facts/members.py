"""Loops over the manifests repositories: the error of one stays with that one.

    each = for_each(ports, lambda repository: look_at(ports, repository))
    each.found       # what the others brought
    each.problems    # repository -> why it brought nothing

A repository that cannot be seen, fetched or read says so, and the rest goes on. Whoever has done
what can be done calls `Members.raise_unavailable`, so that what may pass is tried again. Where a
person waits for the answer, `in_time` takes the looks side by side and waits for none too long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from bot.domain.doctor.findings import Known, Look, Unknown
from bot.domain.environments import GitHubRepository
from bot.domain.errors import IntegrityError, LockkeeperError, RejectedError, UnavailableError
from bot.ports.premises import Looks

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


@dataclass(frozen=True, slots=True)
class InTurn:
    """`bot.ports.premises.Looks` for whoever can wait: each is taken when its answer is asked for."""

    def begin(self, look: Callable[[], T]) -> Callable[[], Look[T]]:
        """As of `bot.ports.premises.Looks`; there is no deadline."""

        def answer() -> Look[T]:
            try:
                return Known(look())
            except LockkeeperError as error:
                return Unknown(str(error))

        return answer


def in_time(
    looks: Looks, repositories: Iterable[GitHubRepository], look: Callable[[GitHubRepository], T]
) -> tuple[tuple[T, ...], Mapping[GitHubRepository, str]]:
    """What was found, and repository -> why there is no answer: one that hangs delays no other."""
    begun = [(one, looks.begin(partial(look, one))) for one in repositories]
    answers = [(one, wait()) for one, wait in begun]
    found = tuple(answer.value for _, answer in answers if isinstance(answer, Known))
    return found, {one: answer.reason for one, answer in answers if isinstance(answer, Unknown)}
