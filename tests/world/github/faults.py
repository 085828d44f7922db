"""Requests that go wrong because a test wants it."""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

When = Literal["before", "after"]


@dataclass(slots=True)
class Fault:
    """The next ``times`` requests that match are answered with ``status``.

    ``before`` leaves the world untouched, ``after`` does the work and loses the answer. Status 0
    closes the connection without one.
    """

    method: str
    path: str
    """Path below the API root with ``*``, e.g. ``/repos/*/git/refs``; ``/graphql`` too."""
    status: int
    times: int = 1
    when: When = "before"
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "Server Error"
    body: Mapping[str, object] | None = None
    """Instead of GitHub's usual error body, e.g. a GraphQL answer with ``RATE_LIMITED``."""
    meanwhile: Callable[[], object] | None = None
    """Happens in the world just before the request, which is then answered as always."""
    met: int = 0
    """How often it struck."""


class Faults:
    """The faults that wait for their request."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let ``fault`` wait."""
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._waiting.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault that strikes this request."""
        with self._lock:
            for fault in self._waiting:
                same = fault.method in {"*", method} and fnmatch.fnmatchcase(path, fault.path)
                if same and fault.met < fault.times:
                    fault.met += 1
                    return fault
        return None
