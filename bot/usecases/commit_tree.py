"""The files of one commit, as an environment is read from them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, MutableMapping
from functools import cached_property
from typing import Final

from bot.formats.image_names import Names
from bot.formats.links import LINK
from bot.formats.manifest_file import Reading
from bot.ports import GitHistory

_SUBMODULE: Final = "160000"
Readings = MutableMapping[tuple[str, str, str, bool], Reading]
"""Environment, path, blob, whether it is Helm values -> what the file says."""


class CommitTree:
    """The files of one commit; what a blob says is read once in a look, in whatever commit."""

    def __init__(self, history: GitHistory, commit: str, readings: Readings) -> None:
        """Look at a commit; `readings` is kept between the commits of one look."""
        self._history, self._readings = history, readings
        self._entries = history.paths(commit)

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self._entries)

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

    def reading(
        self, path: str, names: Names, *, is_values: bool, read: Callable[[], Reading]
    ) -> Reading:
        """What a file says, read once for each blob and environment."""
        blob = "" if self.mode(path) == LINK else self._entries[path].blob
        key = names.environment, path, blob, is_values
        if key not in self._readings:
            self._readings[key] = read()
        return self._readings[key]
