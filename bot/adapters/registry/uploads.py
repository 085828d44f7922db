"""Sending a blob: in one PUT, in one PATCH, or in chunks, whatever the registry takes.

Safe to repeat: an upload that breaks off, or whose last bytes were kept back, is never committed;
the next attempt opens a session of its own. Nothing is resumed at the target: registries disagree
on where they are (distribution forgets the session, ECR and zot report an old position).

A commit may take minutes, and the answer to it may be lost: what was sent whole is asked for before
it is sent again, and its session is left alone.

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
from bot.adapters.registry.streams import HashingBody, Reader
from bot.adapters.registry.transport import REDIRECT_STATUS, Transport
from bot.domain.errors import (
    DigestMismatchError,
    IntegrityError,
    LockkeeperError,
    UnavailableError,
)
from bot.domain.images import Descriptor
from bot.domain.oci import Digest, ImageRepository

_STORED: Final = frozenset({200, 201, 204})
_TAKEN: Final = frozenset({201, 202, 204})  # a PATCH; ECR says 201
_RANGE_REFUSED: Final = 416
_THROTTLED: Final = 429
_OCTETS: Final = "application/octet-stream"
# What registries and the proxies before them answer to a way of uploading they do not have.
_TRY_ANOTHER_WAY: Final = frozenset({400, 404, 405, 411, 413, 416, 501})
_LOST: Final = frozenset({"BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"})
_CORRUPTED: Final = frozenset({"DIGEST_INVALID", "SIZE_INVALID"})
_ATTEMPTS: Final = 3  # per way of uploading, at least
_FORGIVEN: Final = 10  # log-ins that lapse under one blob
_REDIRECTS: Final = 5
_ANSWER_SECONDS: Final = 900.0  # a registry may hash, copy and scan before it answers
_COMMIT_SECONDS: Final = 300.0  # after a proxy has given up on it, or a long silence broke off
_BROKEN_SECONDS: Final = 10.0  # after a connection that broke at once: hardly a slow commit
_FAREWELL_SECONDS: Final = 10.0
# Accepted; or said by what stands before a registry, which may still be at work.
_STILL_COMMITTING: Final = frozenset({202, 408, 499, 502, 504, 522, 524})
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


class LoginLapsedError(UnavailableError):
    """A log-in was refused when a body was on its way, which cannot be read twice."""

    def __init__(self, thing: str) -> None:
        """Name what was sent."""
        super().__init__(f"{thing}: the log-in was refused in the middle of it")
        self.thing = thing


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
        self._believes_ranges = True
        self._ways = (self._in_one_put, self._in_one_patch, self._in_chunks)

    def run(
        self,
        session: UploadSession | None,
        way: int,
        start: Callable[[ImageRepository, Digest], UploadSession],
        is_there: Callable[[], bool],
    ) -> int:
        """Upload, beginning with this way; returns the way that worked.

        Args:
            session: opened already; None: ``start`` one.
            way: to begin with.
            start: opens a session.
            is_there: looks whether the target has the blob.

        Raises:
            DigestMismatchError: the source serves something else, twice.
            IntegrityError: the bytes arrive damaged, every time.
        """
        attempts = _Attempts(self._transport)
        while True:
            opened = session or start(self._repository, self._blob.digest)
            session = None  # a session that has seen bytes is not used again
            sent = self._attempt(way, opened, attempts)
            reply = sent.reply
            if reply is not None and reply.status == _THROTTLED and way == 0:
                session = opened  # nothing was taken, so nothing is lost
            if reply is not None and reply.status in _STORED:
                return way
            if self._has_arrived(sent, is_there):
                self._advance(self._blob.size)
                return way
            if reply is not None and self._wants_another_way(reply, way, attempts.failed):
                way, attempts = way + 1, _Attempts(self._transport)
            elif (reply and not _may_pass(reply)) or not attempts.go_on():
                raise self._failure(reply) if reply else attempts.error

    def _attempt(self, way: int, session: UploadSession, attempts: _Attempts) -> _Sent:
        """No answer in it if the attempt broke off and another one may do better."""
        try:
            body = _Body(self._source, self._blob, self._advance, self._stop)
        except LockkeeperError:
            self._abandon(session)
            raise
        reply: Reply | None = None
        watch = self._transport.patience()
        attempts.failed += 1
        try:
            reply = self._ways[way](session, body)
        except DigestMismatchError as error:
            attempts.error = error
            self._abandon(session)
            if attempts.failed >= _SOURCE_ATTEMPTS:
                raise
        except LoginLapsedError as error:
            attempts.error = error
            attempts.forgive()
            self._abandon(session)
        except UnavailableError as error:
            attempts.error = error
            if not body.is_whole:
                self._abandon(session)
            if self._stop.is_set():
                raise
        finally:
            body.close()
            if reply is None or reply.status not in _STORED:
                self._advance(-body.sent)
        return _Sent(reply, watch.passed, whole=body.is_whole)

    def _has_arrived(self, sent: _Sent, is_there: Callable[[], bool]) -> bool:
        """Whether what had no good answer is there all the same, perhaps in a while."""
        status = sent.reply.status if sent.reply else None
        may_come = status is None or status in _STILL_COMMITTING
        if not sent.whole or not (may_come or (sent.reply and is_temporary(sent.reply))):
            return False
        broke = status is None and sent.took < _BROKEN_SECONDS
        seconds = _BROKEN_SECONDS if broke else _COMMIT_SECONDS
        patience = self._transport.patience(seconds if may_come else 0.0)
        while not is_there():
            if self._stop.is_set() or not patience.goes_on():
                return False
        return True

    def _in_one_put(self, session: UploadSession, body: _Body) -> Reply:
        return self._finish(session.location, body)

    def _in_one_patch(self, session: UploadSession, body: _Body) -> Reply:
        reply = self._streamed("PATCH", session.location, body)
        if reply.status not in _TAKEN:
            return reply
        return self._finish(self._transport.location(reply, self._thing), b"")

    def _in_chunks(self, session: UploadSession, body: _Body) -> Reply:
        chunks = _Chunks(self._send_chunk, session.location, believes=self._believes_ranges)
        while content := _exactly(body.current, session.chunk):
            refused = chunks.send(content)
            if refused is not None:
                return refused
        reply = self._finish(chunks.location, b"")
        if _is_corrupted(reply) and chunks.has_repeated:
            self._believes_ranges = False  # it had taken what it did not report
        return reply

    def _send_chunk(self, location: str, first: int, content: bytes) -> tuple[Reply, str]:
        """The answer, and where the next bytes have to go."""
        # Without a unit: ACR takes no "bytes 0-9/*", and the specification has none either.
        span = {"Content-Range": f"{first}-{first + len(content) - 1}"}
        reply = self._send("PATCH", location, content, span)
        taken = reply.status in _TAKEN
        return reply, self._transport.location(reply, self._thing) if taken else location

    def _finish(self, location: str, body: _Body | bytes) -> Reply:
        joint = "&" if "?" in location else "?"
        url = f"{location}{joint}digest={quote(self._blob.digest, safe='')}"
        if isinstance(body, _Body):
            return self._streamed("PUT", url, body)
        return self._send("PUT", url, body)

    def _streamed(self, method: str, url: str, body: _Body) -> Reply:
        """Send a body that can be read once; to where a redirect leads, from its beginning."""
        for _ in range(_REDIRECTS):
            reply = self._send(method, url, body.current)
            if reply.status not in REDIRECT_STATUS:
                return reply
            url = self._transport.location(reply, self._thing)
            body.rewind()
        raise NotARegistryError(self._thing, self._repository.host, "too many redirects")

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
                self._transport.scopes(self._repository, write=True),
                {"Content-Type": _OCTETS, **(headers or {})},
                _once(body, self._thing) if isinstance(body, HashingBody) else body,
                once=True,
                seconds=_ANSWER_SECONDS,
            )
        )

    def _abandon(self, session: UploadSession) -> None:
        give_back(self._transport, self._repository, session)

    def _wants_another_way(self, reply: Reply, way: int, failed: int) -> bool:
        if not _is_another_way(reply) or way + 1 == len(self._ways):
            return False
        # A lost session says nothing about the way, unless every one is lost.
        return not _is_lost(reply) or failed >= _SAME_WAY

    def _failure(self, reply: Reply) -> Exception:
        if _is_corrupted(reply):
            return IntegrityError(f"{self._thing} left here intact and arrives damaged every time")
        return failure(reply, self._thing, self._transport.grant.name)


def give_back(transport: Transport, repository: ImageRepository, session: UploadSession) -> None:
    """End an upload session if the registry lets us; it expires by itself otherwise."""
    with contextlib.suppress(LockkeeperError):
        transport.call(
            Call(
                "DELETE",
                session.location,
                f"an upload to {repository}",
                transport.grant.entry_for(repository),
                transport.scopes(repository, write=True),
                once=True,
                seconds=_FAREWELL_SECONDS,
                is_farewell=True,
            )
        )


@dataclass(frozen=True, slots=True)
class _Sent:
    """What became of one attempt."""

    reply: Reply | None
    took: float
    """Seconds."""
    whole: bool
    """Every byte has left: a commit may be under way."""


class _Attempts:
    """A few of them, however long they take; and if they are short, until the patience ends."""

    def __init__(self, transport: Transport) -> None:
        self._patience = transport.patience()
        self._transport = transport
        self._forgiven = 0
        self.failed = 0
        self.error: LockkeeperError = UnavailableError("nothing was sent")

    def forgive(self) -> None:
        """The last failure says nothing about the upload: a log-in lapsed."""
        if self._forgiven < _FORGIVEN:
            self._forgiven += 1
            self.failed -= 1

    def go_on(self) -> bool:
        """Wait before the next one; False if it has been enough."""
        if self.failed == 1:
            self._patience = self._transport.patience()
        return self._patience.goes_on() or self.failed < _ATTEMPTS


class _Body:
    """A blob from its source, opened again where it has to be sent from its beginning."""

    def __init__(
        self,
        source: Callable[[], Reader],
        blob: Descriptor,
        advance: Callable[[int], None],
        stop: threading.Event,
    ) -> None:
        self._source, self._blob, self._advance, self._stop = source, blob, advance, stop
        self._reader, self.current = self._opened()

    def _opened(self) -> tuple[Reader, HashingBody]:
        reader = self._source()
        return reader, HashingBody(reader, self._blob, self._advance, self._stop)

    @property
    def sent(self) -> int:
        """Bytes handed over so far."""
        return self.current.sent

    @property
    def is_whole(self) -> bool:
        """Every byte was handed over, and is what the digest says."""
        return self.current.is_whole

    def rewind(self) -> None:
        """Begin anew, unless nothing was read yet."""
        if self.current.sent:
            self._advance(-self.current.sent)
            self._reader.close()
            self._reader, self.current = self._opened()

    def close(self) -> None:
        """Read no more."""
        self._reader.close()


def _is_another_way(reply: Reply) -> bool:
    return reply.status in _TRY_ANOTHER_WAY and not _is_corrupted(reply)


def _is_lost(reply: Reply) -> bool:
    return reply.status == 404 or not _LOST.isdisjoint(error_codes(reply))  # noqa: PLR2004 - HTTP


def _is_corrupted(reply: Reply) -> bool:
    return not _CORRUPTED.isdisjoint(error_codes(reply))


def _may_pass(reply: Reply) -> bool:
    return is_temporary(reply) or _is_another_way(reply) or _is_corrupted(reply)


def _once(body: HashingBody, thing: str) -> Callable[[], Body]:
    """Hand the body out a single time: what was read from it cannot be sent again."""

    def hand_out() -> Body:
        if body.sent:
            raise LoginLapsedError(thing)
        return body

    return hand_out


def _exactly(body: HashingBody, size: int) -> bytes:
    """So many bytes of the body, fewer only at its end."""
    parts: list[bytes] = []
    left = size
    while left and (part := body.read(left)):
        parts.append(bytes(part))
        left -= len(part)
    return b"".join(parts)


class _Chunks:
    """One blob in chunks; where the registry says that it stands is believed once.

    zot reports too little and means it (regclient#961); ECR reports the first chunk for ever and
    does not mean it (aws/containers-roadmap#2831): a chunk sent again from there is refused with
    416, and from then on our own count is what holds. Aliyun reports the length of each chunk, and
    appends what is sent again (regclient#627): the digest tells, and the next attempt believes
    nothing.
    """

    def __init__(
        self,
        send: Callable[[str, int, bytes], tuple[Reply, str]],
        location: str,
        *,
        believes: bool,
    ) -> None:
        self._send, self.location = send, location
        self._sent = 0
        self._believes = believes
        self.has_repeated = False

    def send(self, content: bytes) -> Reply | None:
        """Send the next bytes; the answer if they were refused."""
        reply, self.location = self._send(self.location, self._sent, content)
        if reply.status not in _TAKEN:
            return reply
        first, self._sent = self._sent, self._sent + len(content)
        stands = _stands_at(reply)
        if stands is None or not first <= stands < self._sent or not self._believes:
            return None
        self._believes, self.has_repeated = False, True
        again, self.location = self._send(self.location, stands, content[stands - first :])
        return None if again.status in {*_TAKEN, _RANGE_REFUSED} else again


def _stands_at(reply: Reply) -> int | None:
    """How many bytes the registry says that it has."""
    found = _RANGE.fullmatch(reply.headers.get("Range", ""))
    return int(found[1]) + 1 if found else None
