"""Sending a blob: in one PUT, in one PATCH, or in chunks, whatever the registry takes.

Safe to repeat: an upload that breaks off, or whose last bytes were kept back, is never committed;
the next attempt opens a session of its own. Nothing is resumed at the target: registries disagree
on where they are (distribution forgets the session, ECR and zot report an old position).

Source: distribution-spec 1.1, "Pushing Blobs".
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from bot.adapters.registry.calls import Body, Call, Reply
from bot.adapters.registry.errors import NotARegistryError, error_codes, failure, is_temporary
from bot.adapters.registry.manifests import push_scope
from bot.adapters.registry.streams import HashingBody, Reader
from bot.adapters.registry.transport import Transport
from bot.domain.errors import (
    DigestMismatchError,
    IntegrityError,
    LockkeeperError,
    UnavailableError,
)
from bot.domain.images import Descriptor
from bot.domain.oci import Digest, ImageRepository

_STORED: Final = frozenset({201, 204})
_TAKEN: Final = frozenset({201, 202, 204})  # a PATCH; ECR says 201
_RANGE_REFUSED: Final = 416
_OCTETS: Final = "application/octet-stream"
# What registries and the proxies before them answer to a way of uploading they do not have.
_TRY_ANOTHER_WAY: Final = frozenset({400, 404, 405, 411, 413, 416, 501})
_LOST: Final = frozenset({"BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"})
_CORRUPTED: Final = frozenset({"DIGEST_INVALID", "SIZE_INVALID"})
_ATTEMPTS: Final = 3  # per way of uploading
_SAME_WAY: Final = 2  # attempts at one way whose session is lost, before the next way
_SOURCE_ATTEMPTS: Final = 2  # a cache or proxy may have damaged the bytes; not twice
CHUNK_TO_SEND: Final = 4 * 2**20  # bytes; GHCR takes no more in one PATCH
CHUNK_LIMIT: Final = 64 * 2**20  # bytes of a chunk that a registry may ask for
_RANGE: Final = re.compile(r"(?:bytes=)?0-(\d{1,18})")


@dataclass(frozen=True, slots=True)
class UploadSession:
    """Where a registry wants the bytes of a blob."""

    location: str
    chunk: int = CHUNK_TO_SEND
    """Bytes of each chunk but the last."""

    @classmethod
    def opened(cls, transport: Transport, reply: Reply, thing: str) -> UploadSession:
        """The session that the answer to a POST opens.

        Raises:
            NotARegistryError: it names no place, or wants chunks beyond ``CHUNK_LIMIT``.
        """
        least = reply.headers.get("OCI-Chunk-Min-Length", "")
        chunk = int(least) if least.isdecimal() and len(least) < 12 else 0  # noqa: PLR2004 - digits
        if chunk > CHUNK_LIMIT:
            raise NotARegistryError(thing, reply.host, f"it wants chunks of {chunk} bytes")
        return cls(transport.location(reply, thing), max(chunk, CHUNK_TO_SEND))


class Upload:
    """One blob on its way into one repository."""

    def __init__(
        self,
        transport: Transport,
        repository: ImageRepository,
        blob: Descriptor,
        source: Callable[[], Reader],
        *,
        advance: Callable[[int], None],
        stop: threading.Event,
    ) -> None:
        """Send nothing yet; ``source`` opens the blob anew for every attempt."""
        self._transport, self._repository, self._blob = transport, repository, blob
        self._source, self._advance, self._stop = source, advance, stop
        self._thing = f"blob {blob.digest} of {repository}"
        self._ways = (self._in_one_put, self._in_one_patch, self._in_chunks)

    def run(
        self,
        session: UploadSession | None,
        way: int,
        start: Callable[[ImageRepository, Digest], UploadSession],
    ) -> int:
        """Upload, beginning with this way; returns the way that worked.

        Raises:
            DigestMismatchError: the source serves something else, twice.
            IntegrityError: the bytes arrive damaged, every time.
        """
        attempt = 0
        while True:
            attempt += 1
            opened = session or start(self._repository, self._blob.digest)
            session = None  # a session that has seen bytes is not used again
            reply = self._attempt(way, opened, attempt)
            if reply is not None and reply.status in _STORED:
                return way
            if reply is not None and self._wants_another_way(reply, way, attempt):
                way, attempt = way + 1, 0
            elif attempt >= _ATTEMPTS or (reply and not _may_pass(reply)):
                raise self._failure(reply)
            else:
                self._transport.pause(attempt)

    def _attempt(self, way: int, session: UploadSession, attempt: int) -> Reply | None:
        """None if the attempt broke off and another one may do better."""
        reader = self._source()
        body = HashingBody(reader, self._blob, self._advance, self._stop)
        reply: Reply | None = None
        try:
            reply = self._ways[way](session, body)
        except DigestMismatchError:
            self._abandon(session)
            if attempt >= _SOURCE_ATTEMPTS:
                raise
        except UnavailableError:
            self._abandon(session)
            if attempt >= _ATTEMPTS or self._stop.is_set():
                raise
        finally:
            reader.close()
            if reply is None or reply.status not in _STORED:
                self._advance(-body.sent)
        return reply

    def _in_one_put(self, session: UploadSession, body: HashingBody) -> Reply:
        return self._finish(session.location, body)

    def _in_one_patch(self, session: UploadSession, body: HashingBody) -> Reply:
        reply = self._send("PATCH", session.location, body)
        if reply.status not in _TAKEN:
            return reply
        return self._finish(self._transport.location(reply, self._thing), b"")

    def _in_chunks(self, session: UploadSession, body: HashingBody) -> Reply:
        chunks = _Chunks(self._send_chunk, session.location)
        while content := _exactly(body, session.chunk):
            refused = chunks.send(content)
            if refused is not None:
                return refused
        return self._finish(chunks.location, b"")

    def _send_chunk(self, location: str, first: int, content: bytes) -> tuple[Reply, str]:
        """The answer, and where the next bytes have to go."""
        # Without a unit: ACR takes no "bytes 0-9/*", and the specification has none either.
        span = {"Content-Range": f"{first}-{first + len(content) - 1}"}
        reply = self._send("PATCH", location, content, span)
        taken = reply.status in _TAKEN
        return reply, self._transport.location(reply, self._thing) if taken else location

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

    def _abandon(self, session: UploadSession) -> None:
        """Give the session back if the registry lets us; it expires by itself otherwise."""
        with contextlib.suppress(LockkeeperError):
            self._send("DELETE", session.location, None)

    def _wants_another_way(self, reply: Reply, way: int, attempt: int) -> bool:
        if not _is_another_way(reply) or way + 1 == len(self._ways):
            return False
        # A lost session says nothing about the way, unless every one is lost.
        return not _is_lost(reply) or attempt >= _SAME_WAY

    def _failure(self, reply: Reply | None) -> Exception:
        if reply is None:
            return UnavailableError(f"{self._repository.host}: {self._thing} breaks off every time")
        if _is_corrupted(reply):
            return IntegrityError(f"{self._thing} left here intact and arrives damaged every time")
        return failure(reply, self._thing, self._transport.grant.name)


def _is_another_way(reply: Reply) -> bool:
    return reply.status in _TRY_ANOTHER_WAY and not _is_corrupted(reply)


def _is_lost(reply: Reply) -> bool:
    return reply.status == 404 or not _LOST.isdisjoint(error_codes(reply))  # noqa: PLR2004 - HTTP


def _is_corrupted(reply: Reply) -> bool:
    return not _CORRUPTED.isdisjoint(error_codes(reply))


def _may_pass(reply: Reply) -> bool:
    return is_temporary(reply) or _is_another_way(reply) or _is_corrupted(reply)


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


class _Chunks:
    """One blob in chunks; where the registry says that it stands is believed once.

    zot reports too little and means it (regclient#961); ECR reports the first chunk for ever and
    does not mean it (aws/containers-roadmap#2831): a chunk sent again from there is refused with
    416, and from then on our own count is what holds.
    """

    def __init__(self, send: Callable[[str, int, bytes], tuple[Reply, str]], location: str) -> None:
        self._send, self.location = send, location
        self._sent = 0
        self._believes = True

    def send(self, content: bytes) -> Reply | None:
        """Send the next bytes; the answer if they were refused."""
        reply, self.location = self._send(self.location, self._sent, content)
        if reply.status not in _TAKEN:
            return reply
        first, self._sent = self._sent, self._sent + len(content)
        stands = _stands_at(reply)
        if stands is None or not first <= stands < self._sent or not self._believes:
            return None
        self._believes = False
        again, self.location = self._send(self.location, stands, content[stands - first :])
        return None if again.status in {*_TAKEN, _RANGE_REFUSED} else again


def _stands_at(reply: Reply) -> int | None:
    """How many bytes the registry says that it has."""
    found = _RANGE.fullmatch(reply.headers.get("Range", ""))
    return int(found[1]) + 1 if found else None
