"""Moving blobs: look, mount, stream; every byte is hashed on its way.

Safe to repeat: a blob that is there is left alone, and one that arrives damaged or short is
never committed, because the last byte is not handed over unless the digest is right.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable
from typing import Final, Protocol
from urllib.parse import quote, urlencode

from bot.adapters.registry.calls import Body, Call, Reply
from bot.adapters.registry.errors import (
    RegistryRefusedError,
    error_codes,
    failure,
    is_missing,
    is_temporary,
)
from bot.adapters.registry.manifests import pull_scope, push_scope
from bot.adapters.registry.transport import CHUNK, Download, Transport, name_at
from bot.domain.errors import (
    DigestMismatchError,
    IntegrityError,
    LimitExceededError,
    LockkeeperError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from bot.domain.grants import canonical_host
from bot.domain.images import Descriptor
from bot.domain.oci import Digest, ImageRepository

_STORED: Final = frozenset({201, 204})
_OCTETS: Final = "application/octet-stream"
# What registries and the proxies before them answer to a way of uploading they do not have.
_TRY_ANOTHER_WAY: Final = frozenset({400, 404, 405, 411, 413, 416, 501})
_CORRUPTED: Final = frozenset({"DIGEST_INVALID", "SIZE_INVALID"})
_UPLOAD_ATTEMPTS: Final = 3  # per way of uploading
_SOURCE_ATTEMPTS: Final = 2  # a cache or proxy may have damaged the bytes; not twice
_CHUNK_TO_SEND: Final = 4 * 2**20  # bytes; GHCR takes no more in one PATCH
_RECONNECTS: Final = 5
_PROGRESS: Final = 2**20  # bytes; less since the last break counts as no progress


class StoppedError(UnavailableError):
    """Another part of the same copy has failed, or somebody pressed Ctrl-C."""

    def __init__(self, digest: Digest) -> None:
        """Name the blob that was on its way."""
        super().__init__(f"blob {digest} was stopped on its way")
        self.digest = digest


class Reader(Protocol):
    """Where the bytes of a blob come from."""

    def read(self, size: int, /) -> bytes:
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

    def __len__(self) -> int:
        return self._blob.size

    @property
    def sent(self) -> int:
        """Bytes handed over so far."""
        return self._blob.size - self._left

    def read(self, size: int = -1, /) -> bytes:
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


class ResumingReader:
    """A blob from a registry; a broken connection is taken up again where it broke."""

    def __init__(self, connect: Callable[[int], Download], pause: Callable[[int], None]) -> None:
        self._connect, self._pause = connect, pause
        self._download = connect(0)
        self._offset = 0
        self._breaks, self._broke_at = 0, 0

    def read(self, size: int, /) -> bytes:
        """The next bytes; UnavailableError once resuming brings no progress."""
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
        progress = self._offset - self._broke_at >= _PROGRESS
        self._breaks = 1 if progress else self._breaks + 1
        self._broke_at = self._offset
        if self._breaks > _RECONNECTS:
            raise UnavailableError(f"the source breaks off at byte {self._offset} again and again")
        self._pause(self._breaks)
        self._download = self._connect(self._offset)


class Blobs:
    """The blobs of the granted registries; safe to use from several threads."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._way: dict[str, int] = {}
        self._unmountable: set[tuple[ImageRepository, ImageRepository]] = set()

    def size(self, repository: ImageRepository, digest: Digest) -> int | None:
        """Bytes of a blob as the registry tells them, -1 if it does not; None: not there."""
        call = self._call("HEAD", repository, digest, "blobs", digest)
        reply = self._transport.call(call)
        if reply.status == 200:  # noqa: PLR2004 - HTTP
            length = reply.headers.get("Content-Length", "")
            return int(length) if length.isdecimal() else -1
        if is_missing(reply):
            return None
        raise failure(reply, call.thing, self._transport.grant.name)

    def has(self, repository: ImageRepository, blob: Descriptor) -> bool:
        """The registry has the blob; where it cannot say, it counts as missing.

        Raises:
            IntegrityError: it is there with another length.
        """
        try:
            size = self.size(repository, blob.digest)
        except RegistryRefusedError:
            return False
        if size is not None and size not in (-1, blob.size):
            raise IntegrityError(
                f"blob {blob.digest} in {repository}: expected {blob.size} bytes, got {size}"
            )
        return size is not None

    def read(self, repository: ImageRepository, blob: Descriptor, limit: int) -> bytes:
        """A small blob, whole and verified; LimitExceededError if it promises more than that."""
        if blob.size > limit:
            thing = f"blob {blob.digest} of {repository}"
            raise LimitExceededError(thing, f"{limit} bytes", str(blob.size))
        reader = self.open(repository, blob)
        try:
            body = HashingBody(reader, blob, lambda _size: None, threading.Event())
            return b"".join(iter(body.read, b""))
        finally:
            reader.close()

    def open(self, repository: ImageRepository, blob: Descriptor) -> Reader:
        """Start reading a blob; the bytes are not verified yet."""
        if not blob.size:
            return BytesReader(b"")
        return ResumingReader(
            lambda offset: self._connect(repository, blob, offset), self._transport.pause
        )

    def _connect(self, repository: ImageRepository, blob: Descriptor, offset: int) -> Download:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        call = self._call("GET", repository, blob.digest, "blobs", blob.digest, headers=headers)
        answer = self._transport.download(call)
        if isinstance(answer, Reply):
            if is_missing(answer):
                raise NotFoundError(f"blob {blob.digest}", str(repository))
            raise failure(answer, call.thing, self._transport.grant.name)
        if offset:
            _check_range(answer, call, offset, blob.size)
        return answer

    def mount(self, target: ImageRepository, source: ImageRepository, digest: Digest) -> str | None:
        """Take a blob over from another repository of the same host.

        Returns None when that is done, else the address of an upload session to use: a registry
        that does not mount opens one, and any refusal is answered by opening one.
        """
        query = urlencode({"mount": digest, "from": name_at(source)}, safe=":/")
        call = self._call(
            "POST", target, digest, "blobs", "uploads", "", query=query, source=source
        )
        try:
            reply = self._transport.call(call)
        except (RejectedError, UnavailableError):
            # No token for both repositories at once, or a registry that fails on this alone
            # (go-containerregistry#1404, #1679): never a reason to fail.
            self._unmountable.add((target, source))
            return self.start(target, digest)
        if reply.status == 201:  # noqa: PLR2004 - HTTP
            return None
        if reply.status == 202:  # noqa: PLR2004 - HTTP
            return self._transport.location(reply, call.thing)
        self._unmountable.add((target, source))
        return self.start(target, digest)

    def can_mount(self, target: ImageRepository, source: ImageRepository) -> bool:
        """Both repositories are on one host, are not the same, and it was not refused before."""
        same_host = canonical_host(target.host) == canonical_host(source.host)
        refused = (target, source) in self._unmountable
        return same_host and target.path != source.path and not refused

    def start(self, repository: ImageRepository, digest: Digest) -> str:
        """Open an upload session; the answer is its address."""
        reply = self._transport.call(self._call("POST", repository, digest, "blobs", "uploads", ""))
        if reply.status == 202:  # noqa: PLR2004 - HTTP
            return self._transport.location(reply, f"upload of {digest}")
        if reply.status == 404:  # noqa: PLR2004 - ECR and others do not create on push
            raise NotFoundError(f"image repository {repository.path}", repository.host)
        raise failure(reply, f"upload of {digest} to {repository}", self._transport.grant.name)

    def upload(
        self,
        repository: ImageRepository,
        blob: Descriptor,
        source: Callable[[], Reader],
        *,
        session: str | None = None,
        advance: Callable[[int], None] = lambda _size: None,
        stop: threading.Event | None = None,
    ) -> None:
        """Stream a blob in; ``source`` opens it anew for every attempt.

        One PUT first, then a streamed PATCH, then small ones: what a host takes is remembered.

        Raises:
            DigestMismatchError: the source serves something else, twice.
        """
        upload = _Upload(
            self._transport, repository, blob, source, advance, stop or threading.Event()
        )
        host = canonical_host(repository.host)
        self._way[host] = upload.run(session, self._way.get(host, 0), self.start)

    def write(self, repository: ImageRepository, blob: Descriptor, content: bytes) -> None:
        """Make the repository have these bytes."""
        if not self.has(repository, blob):
            self.upload(repository, blob, lambda: BytesReader(content))

    def _call(
        self,
        method: str,
        repository: ImageRepository,
        digest: Digest,
        *segments: str,
        headers: dict[str, str] | None = None,
        query: str = "",
        source: ImageRepository | None = None,
    ) -> Call:
        url = self._transport.url(repository, *segments) + (f"?{query}" if query else "")
        writes = method == "POST"
        scopes = (push_scope(repository) if writes else pull_scope(repository),)
        return Call(
            method,
            url,
            f"blob {digest} of {repository}",
            self._transport.grant.entry_for(repository),
            (*scopes, pull_scope(source)) if source else scopes,
            headers or {},
            b"" if writes else None,
        )


def _check_range(answer: Download, call: Call, offset: int, size: int) -> None:
    wanted = f"bytes {offset}-{size - 1}/{size}"
    if answer.status != 206 or answer.headers.get("Content-Range") != wanted:  # noqa: PLR2004 - HTTP
        answer.close()
        raise UnavailableError(f"{call.host}: {call.thing} cannot be resumed at byte {offset}")


class _Upload:
    """One blob on its way into one repository."""

    def __init__(
        self,
        transport: Transport,
        repository: ImageRepository,
        blob: Descriptor,
        source: Callable[[], Reader],
        advance: Callable[[int], None],
        stop: threading.Event,
    ) -> None:
        self._transport, self._repository, self._blob = transport, repository, blob
        self._source, self._advance, self._stop = source, advance, stop
        self._thing = f"blob {blob.digest} of {repository}"
        self._ways = (self._in_one_put, self._in_one_patch, self._in_chunks)

    def run(
        self, session: str | None, way: int, start: Callable[[ImageRepository, Digest], str]
    ) -> int:
        """Upload, beginning with this way; returns the way that worked."""
        attempt = 0
        while True:
            attempt += 1
            location = session or start(self._repository, self._blob.digest)
            session = None  # a session that has seen bytes is not used again
            reply = self._attempt(way, location, attempt)
            if reply is not None and reply.status in _STORED:
                return way
            if reply is not None and self._wants_another_way(reply) and way + 1 < len(self._ways):
                way, attempt = way + 1, 0
            elif attempt >= _UPLOAD_ATTEMPTS or (reply and not self._may_pass(reply)):
                raise self._failure(reply)
            else:
                self._transport.pause(attempt, reply.retry_after if reply else None)

    def _attempt(self, way: int, location: str, attempt: int) -> Reply | None:
        """None if the attempt broke off and another one may do better."""
        reader = self._source()
        body = HashingBody(reader, self._blob, self._advance, self._stop)
        reply: Reply | None = None
        try:
            reply = self._ways[way](location, body)
        except DigestMismatchError:
            self._abandon(location)
            if attempt >= _SOURCE_ATTEMPTS:
                raise
        except UnavailableError:
            self._abandon(location)
            if attempt >= _UPLOAD_ATTEMPTS or self._stop.is_set():
                raise
        finally:
            reader.close()
            if reply is None or reply.status not in _STORED:
                self._advance(-body.sent)
        return reply

    def _in_one_put(self, location: str, body: HashingBody) -> Reply:
        return self._finish(location, body)

    def _in_one_patch(self, location: str, body: HashingBody) -> Reply:
        reply = self._send("PATCH", location, body)
        if reply.status not in (201, 202, 204):
            return reply
        return self._finish(self._transport.location(reply, self._thing), b"")

    def _in_chunks(self, location: str, body: HashingBody) -> Reply:
        position = 0
        while content := _exactly(body, _CHUNK_TO_SEND):
            span = {"Content-Range": f"{position}-{position + len(content) - 1}"}
            reply = self._send("PATCH", location, content, span)
            if reply.status not in (201, 202, 204):
                return reply
            position += len(content)
            location = self._transport.location(reply, self._thing)
        return self._finish(location, b"")

    def _finish(self, location: str, body: HashingBody | bytes) -> Reply:
        joint = "&" if "?" in location else "?"
        digest = quote(self._blob.digest, safe="")
        return self._send("PUT", f"{location}{joint}digest={digest}", body)

    def _send(
        self,
        method: str,
        url: str,
        body: HashingBody | bytes | None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        return self._transport.call(
            Call(
                method,
                url,
                self._thing,
                self._transport.grant.entry_for(self._repository),
                (push_scope(self._repository),),
                {"Content-Type": _OCTETS, **(headers or {})},
                _once(body) if isinstance(body, HashingBody) else body,
                attempts=1,
            )
        )

    def _abandon(self, location: str) -> None:
        """Give the session back if the registry lets us; it expires by itself otherwise."""
        with contextlib.suppress(LockkeeperError):
            self._send("DELETE", location, None)

    def _wants_another_way(self, reply: Reply) -> bool:
        return reply.status in _TRY_ANOTHER_WAY and _CORRUPTED.isdisjoint(error_codes(reply))

    def _may_pass(self, reply: Reply) -> bool:
        return is_temporary(reply) or self._wants_another_way(reply) or self._is_corrupted(reply)

    def _is_corrupted(self, reply: Reply) -> bool:
        return not _CORRUPTED.isdisjoint(error_codes(reply))

    def _failure(self, reply: Reply | None) -> Exception:
        if reply is None:
            return UnavailableError(f"{self._repository.host}: {self._thing} breaks off every time")
        if self._is_corrupted(reply):
            return IntegrityError(f"{self._thing} left here intact and arrives damaged every time")
        return failure(reply, self._thing, self._transport.grant.name)


def _once(body: HashingBody) -> Callable[[], Body]:
    """Hand the body out a single time: what was read from it cannot be sent again."""

    def hand_out() -> Body:
        if body.sent:
            raise UnavailableError("the log-in was refused in the middle of an upload")
        return body

    return hand_out


def _exactly(body: HashingBody, size: int) -> bytes:
    """So many bytes of the body, fewer only at its end."""
    parts: list[bytes] = []
    left = size
    while left and (part := body.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
