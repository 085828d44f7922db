"""The files of one commit, as an environment is read from them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from typing import Final, TypeVar

from bot.facts.shelf import Shelf
from bot.formats.image_names import Names
from bot.formats.links import LINK
from bot.formats.manifest_file import Reading, read_file, says_something, text_of
from bot.formats.traces import VERSION, Traces, traces_of
from bot.ports.git import BlobIndex, GitHistory

T = TypeVar("T")
_SUBMODULE: Final = "160000"
_AT_ONCE: Final = 1000
"""Rows that are kept in one go, while the next files are read."""


class CommitTree:
    """The files of one commit; what a blob says is read once, in whatever commit and look."""

    def __init__(
        self, history: GitHistory, commit: str, shelf: Shelf, index: BlobIndex | None
    ) -> None:
        """Look at a commit.

        Args:
            history: the repository.
            commit: or a tree.
            shelf: what this process knows already.
            index: what was known of blobs before; None: nothing.
        """
        self._history, self._shelf, self._index = history, shelf, index
        self._entries = history.paths(commit)

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self._entries)

    @cached_property
    def has_links(self) -> bool:
        """Whether a link lies anywhere."""
        return any(entry.mode == LINK for entry in self._entries.values())

    def mode(self, path: str) -> str:
        """Git's mode of a file; empty where there is none. Submodules are not looked into."""
        entry = self._entries.get(path)
        return "" if entry is None or entry.mode == _SUBMODULE else entry.mode

    def under(self, folder: str) -> Iterator[str]:
        """Every file and link below a folder, in order."""
        prefix = f"{folder}/" if folder else ""
        for index in range(bisect_left(self._sorted, prefix), len(self._sorted)):
            path = self._sorted[index]
            if not path.startswith(prefix):
                return
            if self.mode(path):
                yield path

    def content(self, path: str) -> bytes:
        """A file's bytes; a link's are where it leads."""
        return self._history.read(self._entries[path].blob)

    def readings(self, paths: Collection[str], names: Names) -> Mapping[str, Reading]:
        """What these files say: what is known, else by the index, else from their bytes.

        Where the index says that nothing of ours can stand in a file, its bytes are not read. It
        proves its rows (`bot.adapters.store.blob_index`); what is found is found in the bytes.
        """
        found: dict[str, Reading] = {}
        unread: dict[str, list[str]] = {}
        for path in paths:
            blob = self._blob(path)
            reading = self._shelf.reading(names, path, blob)
            if reading is not None:
                found[path] = reading
            elif blob:
                unread.setdefault(blob, []).append(path)
        if unread:
            self._read_all(unread, names)
        return found

    def _read_all(self, unread: Mapping[str, Collection[str]], names: Names) -> None:
        """Know what files say of which it is not known; blob -> where it lies."""
        known = self._known(unread)
        wanted: list[str] = []
        for blob, here in unread.items():
            traces = known.get(blob)
            said = traces and [one for one in here if says_something(one, traces, names)]
            for path in here if traces else ():
                if not said or path not in said:
                    self._shelf.keep_reading(names, Reading(path), blob)
            if said or not traces:
                wanted.append(blob)
        self._read(wanted, unread, known, names)

    def _known(self, blobs: Collection[str]) -> Mapping[str, Traces]:
        rows = self._index.known(VERSION, blobs) if self._index and blobs else {}
        return {blob: Traces.decoded(row) for blob, row in rows.items()}

    def _read(
        self,
        blobs: Collection[str],
        paths: Mapping[str, Collection[str]],
        known: Mapping[str, Traces],
        names: Names,
    ) -> None:
        new: dict[str, bytes] = {}
        for blob, content in self._history.read_all(blobs):
            traces = known.get(blob) or traces_of(content)
            for path in paths[blob]:
                if self._shelf.reading(names, path, blob) is None:
                    reading = read_file(path, text_of(content), names, traces=traces)
                    self._shelf.keep_reading(names, reading, blob)
            if blob not in known:
                new[blob] = traces.encoded
            if len(new) == _AT_ONCE:
                self._keep(new)
                new = {}
        self._keep(new)

    def _keep(self, rows: Mapping[str, bytes]) -> None:
        if self._index and rows:
            self._index.keep(VERSION, rows)

    def reading(
        self, path: str, names: Names, *, is_values: bool, read: Callable[[], Reading]
    ) -> Reading:
        """What a file says, read once for each blob and environment."""
        blob = self._blob(path)
        known = self._shelf.reading(names, path, blob, is_values=is_values)
        if known is None:
            known = read()
            self._shelf.keep_reading(names, known, blob, is_values=is_values)
        return known

    def fact(self, about: str, path: str, read: Callable[[bytes], T]) -> T:
        """What is told of a file's bytes, once for each blob."""
        entry = self._entries[path]
        return self._shelf.fact((about, path, entry.blob), lambda: read(self.content(path)))

    def _blob(self, path: str) -> str:
        return "" if self.mode(path) in {"", LINK} else self._entries[path].blob
