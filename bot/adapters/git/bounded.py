"""What is kept of a mirror, as long as there is room: the things that were asked for last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """A mapping that forgets what was not asked for longest; threads may share it."""

    def __init__(self, limit: int, weight: Callable[[V], int]) -> None:
        """Keep things that weigh ``limit`` together, each one more than it says; one always."""
        self._limit, self._weight = limit, weight
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._weighs = 0
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """What is kept, if it is."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def newest(self) -> tuple[K, V] | None:
        """What was asked for last."""
        with self._lock:
            return next(reversed(self._kept.items()), None)

    def put(self, key: K, value: V) -> None:
        """Keep this one, and of the others what there is room for."""
        with self._lock:
            self._drop(key)
            self._kept[key] = value
            self._weighs += self._weight(value) + 1
            while self._weighs > self._limit and len(self._kept) > 1:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: K) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._weighs -= self._weight(found) + 1
