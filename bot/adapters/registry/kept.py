"""Small blobs that were written a moment ago: whoever looks at them next need not read them.

A digest names bytes, so that they can be no others; that they are there is a look of its own. Kept
for a minute, because a registry may lose what it has.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from bot.domain.images import Descriptor
from bot.domain.oci import Digest, ImageRepository

if TYPE_CHECKING:
    from bot.ports.clock import Clock

KEPT_SIZE: Final = 64 * 1024  # bytes of one
_LIFE: Final = timedelta(seconds=60)
_COUNT: Final = 256

_Key = tuple[ImageRepository, Digest]


class KeptBlobs:
    """What was written by one client; safe to use from several threads."""

    def __init__(self, clock: Clock) -> None:
        """Know nothing yet."""
        self._clock = clock
        self._blobs: OrderedDict[_Key, tuple[bytes, datetime]] = OrderedDict()
        self._guard = threading.Lock()

    def add(self, repository: ImageRepository, digest: Digest, content: bytes) -> None:
        """Remember what is small."""
        if len(content) > KEPT_SIZE:
            return
        with self._guard:
            self._blobs[repository, digest] = content, self._clock.now()
            self._blobs.move_to_end((repository, digest))
            if len(self._blobs) > _COUNT:
                self._blobs.popitem(last=False)

    def get(self, repository: ImageRepository, blob: Descriptor) -> bytes | None:
        """The bytes, if they were written there lately."""
        with self._guard:
            content, at = self._blobs.get((repository, blob.digest), (None, None))
        if content is None or at is None or len(content) != blob.size:
            return None
        return content if timedelta(0) <= self._clock.now() - at <= _LIFE else None

    def drop(self, repository: ImageRepository, digest: Digest) -> None:
        """It is not there any more."""
        with self._guard:
            self._blobs.pop((repository, digest), None)
