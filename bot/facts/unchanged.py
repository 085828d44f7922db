"""Monorepos: commits between which nothing of an application, or of an image, has changed.

CI that builds what a push touched leaves most commits of such a repository without an image of
most applications. The image of any commit with the same bytes is right, so these are looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bot.domain.oci import TagReference
from bot.facts.shelf import Shelf
from bot.ports.git import GitHistory

ANCESTORS: Final = 500
"""First-parent commits of a source branch that are looked through."""
STRETCH: Final = 10_000
"""First-parent commits that are looked through for the one that brought an application's files."""
_AT_ONCE: Final = 50
_AT_MOST: Final = 800
_ASKED: Final = 30
"""Commits of one stretch whose image is asked for."""
_ABSENT: Final = timedelta(seconds=60)
"""How long it is believed that an image of an older commit is not there."""


def stretch(history: GitHistory, head: str, touches: Callable[[str], bool]) -> list[str]:
    """The commit and those before it that have the same bytes, down to the one that brought them.

    First parents, newest first. The last one touched something, unless the limit or the
    repository's beginning came before. What did not change for long was built long ago, so it
    reaches further back than lines do.
    """
    return next(stretches(history, head, touches, limit=STRETCH), [head])


def stretches(
    history: GitHistory,
    head: str,
    touches: Callable[[str], bool],
    *,
    until: str = "",
    limit: int = ANCESTORS,
) -> Iterator[list[str]]:
    """The first parents down to ``until`` (left out), cut behind each commit that touched anything.

    All commits of one stretch have the same bytes.
    """
    commits = [one.id for one in history.first_parents(head, limit=limit, until=until)]
    found: list[str] = []
    for chunk in _chunks(commits):
        for commit, paths in _walk(history, chunk):
            found.append(commit)
            if any(touches(path) for path in paths):
                yield found
                found = []
    if found:
        yield found


def _chunks(commits: Sequence[str]) -> Iterator[Sequence[str]]:
    """Ever larger ones: most stretches are short, and each costs a process."""
    begin, size = 0, _AT_ONCE
    while begin < len(commits):
        yield commits[begin : begin + size]
        begin, size = begin + size, min(2 * size, _AT_MOST)


def _walk(history: GitHistory, chunk: Sequence[str]) -> Sequence[tuple[str, Sequence[str]]]:
    """What each of these first parents changed; the repository's first commit is all new."""
    before = history.commit(chunk[-1]).parents
    if before:
        return history.walk(chunk[0], until=before[0])
    first = (chunk[-1], tuple(history.paths(chunk[-1])))
    return [*(history.walk(chunk[0], until=chunk[-1]) if len(chunk) > 1 else ()), first]


def to_ask(commits: Sequence[str]) -> Iterator[str]:
    """Those of a stretch whose image CI may have built, the likeliest first.

    The newest; the one that brought the bytes; and those after it, because CI that compares what a
    push brought names the push's last commit.
    """
    yield from dict.fromkeys([*commits[:1], *commits[: -_ASKED - 1 : -1]])


@dataclass(frozen=True, slots=True)
class Absent:
    """Images of older commits that were not there a moment ago, whoever asked."""

    shelf: Shelf
    now: datetime

    def is_known(self, reference: TagReference) -> bool:
        """Whether it was not there a moment ago."""
        since = self.shelf.absent.get(str(reference))
        return since is not None and since <= self.now < since + _ABSENT

    def note(self, reference: TagReference) -> None:
        """It is not there now."""
        self.shelf.absent.put(str(reference), self.now)
