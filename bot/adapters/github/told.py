"""What this process has told GitHub and what stands there of ours, so that it is not asked again.

It is believed where no other process writes as this App; every doubt is forgotten: a write whose
answer is lost may have been stored.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

V = TypeVar("V")
_KEPT: Final = 5_000


@dataclass(frozen=True, slots=True)
class ImageField:
    """Something of ours that stands at GitHub."""

    id: int
    said: bytes
    """Hash of what it says; of a new one that says nothing yet: empty."""


@dataclass(frozen=True)
class Memo(Generic[V]):
    """The newest few thousand things that are known, by their place."""

    _known: OrderedDict[Hashable, V] = field(default_factory=OrderedDict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def get(self, place: Hashable) -> V | None:
        """What is known of a place; None: it has to be asked for."""
        with self._guard:
            if place in self._known:
                self._known.move_to_end(place)
            return self._known.get(place)

    def put(self, place: Hashable, known: V) -> None:
        """Remember."""
        with self._guard:
            self._known[place] = known
            self._known.move_to_end(place)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)

    def forget(self, place: Hashable) -> None:
        """Whatever was known may be wrong."""
        with self._guard:
            self._known.pop(place, None)

    @contextmanager
    def doubted(self, place: Hashable) -> Iterator[None]:
        """Something is written there: unless it ends well, nobody knows what stands there."""
        try:
            yield
        except BaseException:
            self.forget(place)
            raise


def digest_of(*texts: str) -> bytes:
    """What some texts say, as a few bytes: a check run has up to 128 KiB."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogateescape")).digest()
