"""The bytes of a blob on their way: read, resumed where they break off, hashed.

A reader belongs to one thread. What a `HashingBody` has handed over whole is what its digest says:
the last bytes are kept back otherwise.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Final, Protocol

from bot.adapters.registry.calls import Piece
from bot.adapters.registry.pools import CHUNK
from bot.adapters.registry.transport import Download, Patience
from bot.domain.errors import DigestMismatchError, UnavailableError
from bot.domain.images import Descriptor
from bot.domain.oci import Digest

_PROGRESS: Final = 2**20  # bytes; less since the last break counts as no progress


class StoppedError(UnavailableError):
    """Another part of the same copy has failed, or somebody pressed Ctrl-C."""

    def __init__(self, digest: Digest) -> None:
        """Name the blob that was on its way."""
        super().__init__(f"blob {digest} was stopped on its way")
        self.digest = digest


class Reader(Protocol):
    """Where the bytes of a blob come from."""

    def read(self, size: int, /) -> Piece:
        """The next bytes; empty at the end."""
        ...

    def close(self) -> None:
        """Read no more."""
        ...


class HashingBody:
    """A request body that hashes what it reads and keeps the last bytes back if they are wrong.

    The registry then sees a request that ends early, and commits nothing.
    """

    def __init__(
        self,
        reader: Reader,
        blob: Descriptor,
        advance: Callable[[int], None],
        stop: threading.Event,
    ) -> None:
        self._reader, self._blob, self._advance, self._stop = reader, blob, advance, stop
        self._left = blob.size
        self._hash = hashlib.new(blob.digest.algorithm)
        self._is_wrong = False

    def __len__(self) -> int:
        return self._blob.size

    @property
    def sent(self) -> int:
        """Bytes handed over so far."""
        return self._blob.size - self._left

    @property
    def is_whole(self) -> bool:
        """Every byte was handed over, and all together are what the digest says."""
        return not self._left and not self._is_wrong

    def read(self, size: int = -1, /) -> Piece:
        """The next bytes; DigestMismatchError in place of the last ones."""
        if not self._left:
            return b""
        if self._stop.is_set():
            raise StoppedError(self._blob.digest)
        wanted = min(size, self._left) if size > 0 else min(CHUNK, self._left)
        content = self._reader.read(wanted)
        if not content:
            got = f"{self.sent} of {self._blob.size} bytes"
            raise DigestMismatchError("blob as served by the source", self._blob.digest, got)
        self._hash.update(content)
        self._left -= len(content)
        self._advance(len(content))
        if not self._left:
            self._check()
        return content

    def _check(self) -> None:
        digest = self._blob.digest
        if self._hash.hexdigest() != digest.hex:
            self._is_wrong = True
            got = f"{digest.algorithm}:{self._hash.hexdigest()}"
            raise DigestMismatchError("blob as served by the source", digest, got)


class BytesReader:
    """A blob that is in memory."""

    def __init__(self, content: bytes) -> None:
        self._content, self._position = content, 0

    def read(self, size: int, /) -> bytes:
        """The next bytes."""
        part = self._content[self._position : self._position + size]
        self._position += len(part)
        return part

    def close(self) -> None:
        """Nothing to give back."""


class CopyingReader:
    """What another reader brings, and a copy of it."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._parts = reader, list[bytes]()

    @property
    def content(self) -> bytes:
        """Everything that was read so far."""
        return b"".join(self._parts)

    def read(self, size: int, /) -> Piece:
        """The next bytes."""
        part = self._reader.read(size)
        self._parts.append(bytes(part))
        return part

    def close(self) -> None:
        """Read no more."""
        self._reader.close()


class ResumingReader:
    """A blob from a registry; a broken connection is taken up again where it broke."""

    def __init__(
        self, connect: Callable[[int], Download], patience: Callable[[], Patience]
    ) -> None:
        self._connect, self._patience = connect, patience
        self._download = connect(0)
        self._offset = 0
        self._left: Patience | None = None
        self._broke_at = 0

    def read(self, size: int, /) -> Piece:
        """The next bytes; UnavailableError once resuming brings no progress for too long."""
        while True:
            try:
                content = self._download.read(size)
            except UnavailableError:
                self._resume()
                continue
            self._offset += len(content)
            return content

    def close(self) -> None:
        """Give the connection back."""
        self._download.close()

    def _resume(self) -> None:
        """Connect again from the offset; c/image's body_reader.go has the same idea of progress."""
        self._download.close()
        if self._left is None or self._offset - self._broke_at >= _PROGRESS:
            self._left = self._patience()
        self._broke_at = self._offset
        if not self._left.goes_on():
            raise UnavailableError(f"the source breaks off at byte {self._offset} again and again")
        self._download = self._connect(self._offset)
