"""Reading many objects of a mirror from one git process that stays.

Contract. Whoever asks waits for whoever asked before. What git does not know is None; a git that
dies, hangs or says something else is UnavailableError, and the next question starts a new one. An
object that came with a later fetch is found: git looks at its packs anew where it misses one.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from git.cmd import Git
from git.exc import GitError

from bot.domain.errors import UnavailableError

_T = TypeVar("_T")
_SECONDS: Final = 60
OPEN_LIMIT: Final = 8
"""Processes that stay; the one that was asked longest ago ends for another mirror's."""
_AT_ONCE: Final = 64
"""Questions that are on their way together: as many as a pipe takes without being read."""
_PLAIN: Final = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
_PIECE: Final = 2**16


class Readers:
    """The readers of all mirrors, of which few have a process at a time."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, Reader] = OrderedDict()

    def asked(self, reader: Reader) -> None:
        """A reader is about to be asked: one that was not for long lets its process go."""
        with self._lock:
            self._open[reader.path] = reader
            self._open.move_to_end(reader.path)
            ended = self._open.popitem(last=False)[1] if len(self._open) > OPEN_LIMIT else None
        if ended is not None:
            ended.end()


class Reader:
    """Objects of one mirror."""

    def __init__(self, path: Path, readers: Readers) -> None:
        """Read below ``path``; nothing is started yet."""
        self.path = path
        self._readers = readers
        self._lock = threading.Lock()
        self._running: list[_Process] = []
        # Not `__del__`: a process that is collected together with its reader ends in no order.
        weakref.finalize(self, _end, self._running)

    def kind(self, thing: str) -> str | None:
        """What an object is; None: there is none of that id."""
        (found,) = self._ask("info", [thing], _Process.header)
        return None if found is None else found[0]

    def content(self, thing: str) -> bytes | None:
        """An object's content; None: there is none of that id."""
        (found,) = self._ask("contents", [thing], _Process.content)
        return found

    def contents(self, things: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """The same of many, in their order, a few in memory at a time."""
        for start in range(0, len(things), _AT_ONCE):
            some = things[start : start + _AT_ONCE]
            yield from zip(some, self._ask("contents", some, _Process.content), strict=True)

    def end(self) -> None:
        """Let the process go; the next question starts another."""
        with self._lock:
            _end(self._running)

    def _ask(
        self, verb: str, things: Sequence[str], answer: Callable[[_Process, str], _T | None]
    ) -> list[_T | None]:
        self._readers.asked(self)
        with self._lock:
            try:
                if not self._running:
                    self._running.append(_Process(self.path))
                process = self._running[0]
                process.write("".join(f"{verb} {one}\n" for one in things))
                return [answer(process, one) for one in things]
            except (GitError, OSError, ValueError) as error:
                _end(self._running)
                raise UnavailableError("git was ended early while it read objects") from error
            except BaseException:
                _end(self._running)  # what is still in its pipe answers nobody's next question
                raise


def _end(running: list[_Process]) -> None:
    while running:
        running.pop().end()


class _Process:
    """``git cat-file --batch-command`` (git-cat-file, "BATCH OUTPUT")."""

    def __init__(self, path: Path) -> None:
        self._child = Git(str(path)).execute(
            ["git", "cat-file", "--batch-command"],
            istream=subprocess.PIPE,
            as_process=True,
            env=_PLAIN,
        )
        self._pending = bytearray()

    def write(self, text: str) -> None:
        """Ask."""
        self._child.stdin.write(text.encode())
        self._child.stdin.flush()

    def header(self, thing: str) -> tuple[str, int] | None:
        """Kind and size of an object; None: there is none."""
        end = self._read_until(lambda: self._pending.find(b"\n") + 1)
        line = self._taken(end)[:-1].decode("ascii")
        if line == f"{thing} missing":
            return None
        name, kind, size = line.split(" ")
        if name != thing:
            raise ValueError("another object than was asked for")
        return kind, int(size)

    def content(self, thing: str) -> bytes | None:
        """What stands in an object; None: there is none."""
        found = self.header(thing)
        if found is None:
            return None
        whole = found[1] + 1  # a newline follows
        self._read_until(lambda: whole if len(self._pending) >= whole else 0)
        return self._taken(whole)[:-1]

    def end(self) -> None:
        """Whatever it does: it is over, and its pipes are closed when nobody holds it any more."""
        with contextlib.suppress(OSError):
            self._child.kill()

    def _read_until(self, enough: Callable[[], int]) -> int:
        deadline = time.monotonic() + _SECONDS
        source, ready = self._child.stdout.fileno(), select.poll()
        ready.register(source, select.POLLIN)
        while not (length := enough()):
            milliseconds = max(0.0, deadline - time.monotonic()) * 1000
            piece = os.read(source, _PIECE) if ready.poll(milliseconds) else b""
            if not piece:
                raise OSError("git ended, or said nothing in time")
            self._pending += piece
        return length

    def _taken(self, length: int) -> bytes:
        piece = bytes(self._pending[:length])
        del self._pending[:length]
        return piece
