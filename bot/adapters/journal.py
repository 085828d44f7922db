"""Every effect on the world passes here: logged, and, in tests, a place to die.

A port's effects are the methods that `bot.ports.acts` marks. For each there are three points:
``before`` it, ``after`` it and before anything was recorded, and once its outcome is
``recorded`` (the first record behind it, or the end of its job, which may settle several effects
at once). A test names points in a file; the process kills itself at the first that it reaches and
takes it off the list.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from bot.ports.effects import EFFECT_ATTRIBUTE
from bot.ports.github import GitHub
from bot.ports.jobs import Jobs
from bot.ports.record import Audit, Memory
from bot.ports.registry import ImageRegistry

T = TypeVar("T")
_LOG: Final = logging.getLogger("lockkeeper.effects")
_ACTING: Final = (GitHub, ImageRegistry)
_RECORDING: Final = (Memory, Audit, Jobs)
_RECORDS: Final = ("record_", "append", "put", "release_")
_PENDING: Final[ContextVar[list[str] | None]] = ContextVar("pending", default=None)
"""Effects of this job, in whichever thread, that nothing has recorded yet."""
WHEN: Final = ("before", "after", "recorded")


def effects() -> dict[str, str]:
    """Every effect: ``Port.method`` -> its name, read from the ports themselves."""
    return {
        f"{port.__name__}.{name}": getattr(method, EFFECT_ATTRIBUTE)
        for port in _ACTING
        for name, method in vars(port).items()
        if hasattr(method, EFFECT_ATTRIBUTE)
    }


def kill_points() -> list[str]:
    """Three points for each effect, as a test's file names them."""
    return [f"{when}:{effect}" for effect in effects() for when in WHEN]


@dataclass(frozen=True)
class Journal:
    """Watches the ports of one process."""

    kill_file: Path | None = None
    did: Callable[[str], None] = lambda _name: None
    """Hears of every effect that was tried, ``Port.method``, whether it succeeded or not."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def acting(self, port: type[T], adapter: T) -> T:
        """The adapter, with its effects watched."""
        return self._watched(port, adapter, self._around_effect)

    def recording(self, port: type[T], adapter: T) -> T:
        """The adapter, whose records settle the effect before them."""
        return self._watched(port, adapter, self._around_record)

    @contextmanager
    def job(self, key: str) -> Iterator[None]:
        """Everything that one job does, in threads that run in copies of its context as well."""
        token = _PENDING.set([])
        started = time.monotonic()
        yield
        self._settle()
        _PENDING.reset(token)
        _LOG.debug("job", extra={"job": key, "seconds": round(time.monotonic() - started, 3)})

    def _watched(self, port: type[T], adapter: T, around: Callable[[str, Any, Any], Any]) -> T:
        return cast("T", _Watched(port, adapter, around))

    def _around_effect(self, name: str, marked: Any, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the port's method is
        if not hasattr(marked, EFFECT_ATTRIBUTE):
            return call()
        self._point(f"before:{name}")
        started = time.monotonic()
        try:
            result = call()
        finally:
            self.did(name)
        self._point(f"after:{name}")
        pending = _PENDING.get()
        if pending is not None:
            pending.append(name)
        seconds = round(time.monotonic() - started, 3)
        effect = getattr(marked, EFFECT_ATTRIBUTE)
        _LOG.info("effect", extra={"effect": effect, "port": name, "seconds": seconds})
        return result

    def _around_record(self, name: str, _marked: Any, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the port's method is
        result = call()
        if name.partition(".")[2].startswith(_RECORDS):
            self._settle()
        return result

    def _settle(self) -> None:
        pending = _PENDING.get() or []
        settled, pending[:] = list(pending), []
        self._point(*(f"recorded:{name}" for name in settled))

    def _point(self, *reached: str) -> None:
        """Die if one of these points, all the same moment, is in the file; all are taken off it."""
        if self.kill_file is None:
            return
        with self._lock:
            if not self.kill_file.exists():
                return
            points = self.kill_file.read_text().splitlines()
            left = [point for point in points if point not in reached]
            if left != points:
                self.kill_file.write_text("".join(f"{line}\n" for line in left))
                os.kill(os.getpid(), signal.SIGKILL)


class _Watched:
    """An adapter behind its port: every public method goes through ``around``."""

    def __init__(
        self, port: type[Any], adapter: object, around: Callable[[str, Any, Any], Any]
    ) -> None:
        self._port = port
        self._adapter = adapter
        self._around = around

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - stands for any adapter
        method = getattr(self._adapter, name)
        marked = vars(self._port).get(name)
        if not callable(method) or marked is None:
            return method
        label = f"{self._port.__name__}.{name}"

        def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - passed through
            return self._around(label, marked, lambda: method(*arguments, **named))

        return call
