"""Symbolic links of a repository, followed as a reader of its files would."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Final, Protocol

from bot.formats.manifest_file import text_of

LINK: Final = "120000"  # git's mode of a symbolic link
_LINKS: Final = 20
"""Links that are followed one after the other."""


class Linked(Protocol):
    """The files of a repository, as far as links are concerned."""

    def mode(self, path: str) -> str:
        """Git's mode of a file; empty where there is none."""

    def content(self, path: str) -> bytes:
        """A file's bytes; a link's are where it leads."""


def resolved(tree: Linked, path: str) -> str | None:
    """A path with every link on the way followed; None where it leaves the repository."""
    found = followed(tree, path)
    return None if found is None else found[0]


def followed(tree: Linked, path: str) -> tuple[str, tuple[str, ...]] | None:
    """A path without links, and the links that lead there; None where it leaves the repository."""
    links: list[str] = []
    while len(links) < _LINKS:
        link = next((head for head in _heads(path) if tree.mode(head) == LINK), None)
        if link is None:
            return path, tuple(links)
        links.append(link)
        rest = path[len(link) + 1 :]
        joined = posixpath.join(posixpath.dirname(link), text_of(tree.content(link)), rest)
        path = posixpath.normpath(joined)
        if path.startswith(("..", "/")):
            return None
    return None


def _heads(path: str) -> Iterator[str]:
    """The path's folders, the outermost first, and itself."""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
    yield path
