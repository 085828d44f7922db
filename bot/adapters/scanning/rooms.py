"""The folders of one run: what the scanner reads, and the one place where it may write.

A room is locked while it is in use. What a killed bot has left behind is unlocked, and swept when
the next room is opened. What a scanner wrote is hostile: nothing here follows a link of it,
recurses into it, or believes its modes.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.domain.errors import UnavailableError

_PREFIX: Final = "lockkeeper-scan-"
_ENTRIES: Final = 100_000  # files of a scanner that are counted; more is a flood


@dataclass(frozen=True, slots=True)
class Room:
    """The folders of one run."""

    path: Path

    @property
    def given(self) -> Path:
        """What the bot wrote for the scanner, which only reads it."""
        return self.path / "given"

    @property
    def work(self) -> Path:
        """Where the scanner writes, starts, and has its home and its temporary files."""
        return self.path / "work"

    def give(self, name: str, content: bytes) -> Path:
        """Write a file for the scanner; UnavailableError where there is no room for it."""
        path = self.given / name
        try:
            path.write_bytes(content)
            path.chmod(0o644)
        except OSError as error:
            raise UnavailableError(f"{path} cannot be written: {error.strerror}") from error
        return path

    def give_folder(self, name: str) -> Path:
        """Make a folder for the scanner, which the bot fills."""
        path = self.given / name
        try:
            path.mkdir()
            path.chmod(0o755)
        except OSError as error:
            raise UnavailableError(f"{path} cannot be made: {error.strerror}") from error
        return path

    def used(self) -> int:
        """Bytes on disk that the scanner has written; a flood of files counts as endless."""
        total = 0
        for count, entry in enumerate(_walk(self.work)):
            if count > _ENTRIES:
                return 2**63
            with contextlib.suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_blocks * 512
        return total

    def written(self, name: str, limit: int) -> bytes:
        """A file that the scanner wrote; UnavailableError where it is none, or larger."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self.work / name, flags)
        except OSError as error:
            raise UnavailableError(f"its output {name} cannot be read: {error.strerror}") from error
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise UnavailableError(f"its output {name} is not a file of its own")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(limit + 1)
        finally:
            os.close(descriptor)
        if len(content) > limit:
            raise UnavailableError(f"its output {name} has more than {limit} bytes")
        return content


@contextlib.contextmanager
def opened(parent: Path | None, user: int | None) -> Iterator[Room]:
    """A room for one run, removed behind it; ``user`` gets what the scanner may touch."""
    _sweep(Path(parent or tempfile.gettempdir()), {os.getuid(), user})
    room = Room(Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)).absolute())
    lock = os.open(room.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for folder in (room.given, room.work):
            folder.mkdir()
        room.given.chmod(0o755)
        room.work.chmod(0o700)
        if user is not None:
            os.chown(room.path, -1, user)
            room.path.chmod(0o710)
            os.chown(room.work, user, user)
        yield room
    finally:
        _remove(room.path)
        os.close(lock)


def check_reachable(path: Path, user: int) -> None:
    """UnavailableError if that user cannot get to the path; for where the bot is root."""
    for folder in path.absolute().parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            raise UnavailableError(
                f"{path} cannot be read by user {user}, as whom the scanner runs: {folder} is"
                " closed to others; put it elsewhere, or open that folder for passing (chmod o+x)"
            )


def check_readable(path: Path, user: int) -> None:
    """UnavailableError if that user cannot read what is there, with what is in it."""
    check_reachable(path, user)
    inside = (Path(entry.path) for entry in _walk(path)) if path.is_dir() else iter(())
    for entry in (path, *inside):
        try:
            is_open = _is_open(entry.stat(), user)
        except FileNotFoundError:
            continue  # somebody renews it now
        if not is_open:
            raise UnavailableError(
                f"{entry} cannot be read by user {user}, as whom the scanner runs: its mode is"
                f" {stat.S_IMODE(entry.stat().st_mode):04o}; open it with: chmod -R a+rX {path}"
            )


def _is_open(found: os.stat_result, user: int) -> bool:
    needed = 0o5 if stat.S_ISDIR(found.st_mode) else 0o4
    if found.st_uid == user:
        return (found.st_mode >> 6) & needed == needed
    shift = 3 if found.st_gid == user else 0
    return (found.st_mode >> shift) & needed == needed


def _walk(top: Path) -> Iterator[os.DirEntry[str]]:
    waiting = [os.fspath(top)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def _sweep(parent: Path, owners: set[int | None]) -> None:
    """Remove the rooms that nobody has locked."""
    for path in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if os.fstat(descriptor).st_uid in owners and _is_old(descriptor):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(path)
            finally:
                os.close(descriptor)


def _is_old(descriptor: int) -> bool:
    """Between a room's birth and its lock lies a moment in which it is nobody's prey."""
    return bool(os.listdir(descriptor))


def _remove(top: Path) -> None:
    """Delete a tree of any depth, whatever its modes: each folder is moved to the top first.

    It is moved within the top, which is locked: beside it another bot would sweep it meanwhile.
    """
    mark, numbers = secrets.token_hex(8), itertools.count()
    waiting = _emptied(top)
    while waiting:
        folder = waiting.pop()
        for inner in _emptied(folder):
            moved = top / f"{mark}.{next(numbers)}"
            with contextlib.suppress(OSError):
                inner.rename(moved)
                waiting.append(moved)
        with contextlib.suppress(OSError):
            folder.rmdir()
    with contextlib.suppress(OSError):
        top.rmdir()


def _emptied(folder: Path) -> list[Path]:
    """Delete the files of a folder; the folders in it, opened for moving."""
    inner: list[Path] = []
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
        with os.scandir(folder) as entries:
            children = list(entries)
        for entry in children:
            if entry.is_dir(follow_symlinks=False):
                Path(entry.path).chmod(0o700)
                inner.append(Path(entry.path))
            else:
                Path(entry.path).unlink()
    return inner
