"""Answers that GitHub need not send twice: their ETags, asked with in place of the whole.

A 304 costs nothing of the hour's budget (documentation, "Best practices for using the REST API").
ETags differ from token to token, so each token has its own. Safe from any thread.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Key = tuple[str, str, tuple[tuple[str, str], ...]]
"""Token, path and query."""
_LARGEST: Final = 256 * 1024
_TOTAL: Final = 8 * 1024 * 1024
"""Characters that are kept together."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer, and how GitHub knows it again."""

    etag: str
    headers: Mapping[str, str]
    text: str = field(repr=False)


@dataclass
class Remembered:
    """The answers that were used last."""

    _kept: OrderedDict[Key, Kept] = field(default_factory=OrderedDict, repr=False)
    _size: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def get(self, key: Key) -> Kept | None:
        """What was answered before; None: nothing that is kept."""
        with self._guard:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Key, kept: Kept) -> None:
        """Keep an answer, unless it is too large; what was used least is forgotten."""
        with self._guard:
            before = self._kept.pop(key, None)
            self._size -= len(before.text) if before else 0
            if not kept.etag or len(kept.text) > _LARGEST:
                return
            self._kept[key] = kept
            self._size += len(kept.text)
            while self._size > _TOTAL:
                _, oldest = self._kept.popitem(last=False)
                self._size -= len(oldest.text)
