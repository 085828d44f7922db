"""A checkout as a plan sees it, and what is kept of it between two plans.

Links are never followed, neither to files nor to folders. What was found in a file is kept in the
person's own cache and counts as long as the file's stamp is the same, as git's index has it; a
file that was changed a moment before it was read is not kept, for its clock may not have moved.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

from bot import formats
from bot.adapters.clock import SystemClock
from bot.formats.image_names import Names
from bot.formats.known_files import KnownFile, Stamp, decoded, encoded, learned
from bot.formats.links import LINK
from bot.formats.manifest_file import Reading

T = TypeVar("T")
_MOMENT_NS: Final = 2_000_000_000
"""The coarsest clock of a file system (FAT)."""
KEPT_LIMIT: Final = 50
"""Environments of checkouts that are kept; the one that was planned longest ago goes."""


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Where a person's caches are (XDG Base Directory Specification); None: nowhere."""
    if cache := environment.get("XDG_CACHE_HOME", ""):
        return Path(cache) / "lockkeeper" / "plans" if cache.startswith("/") else None
    home = environment.get("HOME", "")
    return Path(home) / ".cache" / "lockkeeper" / "plans" if home else None


class CheckoutTree:
    """The files of a checkout."""

    def __init__(self, root: Path, environment: str = "", cache: Path | None = None) -> None:
        """Look at the files below ``root``; what is known of them is kept in ``cache``, if any."""
        self._root = root
        self._base = os.fspath(root)
        self._stats: dict[str, os.stat_result] = {}
        self._code = _code()
        name = hashlib.sha256(f"{root.resolve()}\0{environment}".encode()).hexdigest()
        self._kept = cache / f"{name}.msgpack" if cache else None
        self._known = decoded(_content(self._kept), self._code)
        self._is_new = False
        self._began_ns = int(SystemClock().now().timestamp()) * 10**9

    @property
    def has_links(self) -> bool:
        """Nobody has looked everywhere."""
        return True

    def mode(self, path: str) -> str:
        """Git's mode of a file; empty where there is none."""
        found = self._stat(path)
        if found is None:
            return ""
        if stat.S_ISLNK(found.st_mode):
            return LINK
        return "100644" if stat.S_ISREG(found.st_mode) else ""

    def _stat(self, path: str) -> os.stat_result | None:
        found = self._stats.get(path)
        if found is None:
            try:
                found = os.lstat(f"{self._base}/{path}")
            except (OSError, ValueError):
                return None
            self._stats[path] = found
        return found

    def under(self, folder: str) -> Iterator[str]:
        """Every file and link below a folder, in order."""
        try:
            with os.scandir(f"{self._base}/{folder}" if folder else self._base) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            return
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_file(follow_symlinks=False) or entry.is_symlink():
                with contextlib.suppress(OSError):
                    self._stats[path] = entry.stat(follow_symlinks=False)
                yield path
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and entry.name != ".git":
                yield from self.under(f"{folder}/{entry.name}" if folder else entry.name)

    def content(self, path: str) -> bytes:
        """A file's bytes; a link's are where it leads."""
        file = self._root / path
        if self.mode(path) == LINK:
            return os.fsencode(file.readlink())
        return file.read_bytes()

    def readings(self, paths: Collection[str], names: Names) -> Mapping[str, Reading]:
        """Nothing is read together: files are at hand."""
        del paths, names
        return {}

    def reading(
        self, path: str, names: Names, *, is_values: bool, read: Callable[[], Reading]
    ) -> Reading:
        """What a file says; its bytes are read where it changed, or may speak of these names."""
        found = self._stat(path)
        if found is None or is_values:
            return read()
        stamp = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        known = self._known.get(path)
        if known is None or known.stamp != stamp:
            known = self._learn(path, stamp)
        said = known.read_for(path, names)
        return read() if said is None else said

    def _learn(self, path: str, stamp: Stamp) -> KnownFile:
        known = learned(path, self.content(path), stamp)
        _, changed, moved, _ = stamp
        if max(changed, moved) + _MOMENT_NS < self._began_ns:
            self._known[path] = known
            self._is_new = True
        return known

    def fact(self, about: str, path: str, read: Callable[[bytes], T]) -> T:
        """What ``read`` says of a file's bytes."""
        del about
        return read(self.content(path))

    def keep(self) -> None:
        """Keep what is known for the next plan; where that cannot be, the next one reads again."""
        if self._kept is None or not self._is_new:
            return
        there = {path: one for path, one in self._known.items() if path in self._stats}
        with contextlib.suppress(OSError):
            self._kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _replace(self._kept, encoded(there, self._code))
            _forget(self._kept.parent)


def _code() -> str:
    """What reads files here: what other code found does not count."""
    said = hashlib.sha256()
    for folder in formats.__path__:
        for entry in sorted(os.scandir(folder), key=lambda one: one.name):
            if entry.name.endswith(".py"):
                found = entry.stat()
                said.update(f"{entry.path}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return said.hexdigest()


def _content(file: Path | None) -> bytes:
    try:
        return file.read_bytes() if file else b""
    except OSError:
        return b""


def _replace(file: Path, content: bytes) -> None:
    """Whole or not at all, and nobody else's to read."""
    number, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(number, "wb") as stream:
            stream.write(content)
        Path(name).replace(file)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _forget(folder: Path) -> None:
    kept = sorted(folder.glob("*.msgpack"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in kept[KEPT_LIMIT:]:
        file.unlink(missing_ok=True)
