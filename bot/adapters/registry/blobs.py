"""The blobs of a registry: look for them, read them, mount them, and open uploads.

Safe to repeat: a blob that is there is left alone, and one that arrives damaged or short is
never committed (see `bot.adapters.registry.uploads`).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlencode

from bot.adapters.registry.calls import Call, Reply
from bot.adapters.registry.errors import failure, is_missing
from bot.adapters.registry.kept import KeptBlobs
from bot.adapters.registry.looks import looked, presence
from bot.adapters.registry.streams import BytesReader, HashingBody, Reader, ResumingReader
from bot.adapters.registry.transport import Download, Transport, name_at, pull_scope
from bot.adapters.registry.uploads import Upload, UploadSession, give_back
from bot.domain.errors import (
    IntegrityError,
    LimitExceededError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from bot.domain.images import Descriptor, Presence
from bot.domain.oci import Digest, ImageRepository, canonical_host

_RANGE: Final = re.compile(r"bytes 0-0/(\d{1,18})")
_DIGITS: Final = 19  # of a length; more is none
VISIBLE_SECONDS: Final = 15.0  # until what was written is seen by a read, in the slowest registry


class Blobs:
    """The blobs of the granted registries; safe to use from several threads."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._way: dict[str, int] = {}
        self._unmountable: set[tuple[ImageRepository, ImageRepository]] = set()
        self._mounts: dict[str, bool] = {}
        self._kept = KeptBlobs(transport.clock)

    def look(self, repository: ImageRepository, blob: Descriptor) -> Presence:
        """Whether the registry has the blob, before it is sent.

        Raises:
            IntegrityError: it is there with another length.
        """
        call = self._call("HEAD", repository, blob.digest, "blobs", blob.digest, is_look=True)
        found, reply = looked(lambda: self._transport.call(call))
        length = _length(reply.headers) if reply and reply.status == 200 else None  # noqa: PLR2004 - HTTP
        # Some answer HEAD with the length of nothing: that says no length.
        return _checked(found, repository, blob, length or None)

    def holds(self, repository: ImageRepository, blob: Descriptor) -> Presence:
        """Whether the registry has the blob, to prove it: where HEAD proves nothing, by a byte.

        Raises:
            IntegrityError: it is there with another length.
        """
        call = self._call("HEAD", repository, blob.digest, "blobs", blob.digest, is_look=True)
        found, reply = looked(lambda: self._transport.call(call))
        if found is Presence.THERE and reply is not None:
            length = _length(reply.headers) if reply.status == 200 else None  # noqa: PLR2004 - HTTP
            if length or not blob.size or reply.status != 200:  # noqa: PLR2004 - HTTP
                return _checked(found, repository, blob, length)
        return self._first_byte(repository, blob)

    def _first_byte(self, repository: ImageRepository, blob: Descriptor) -> Presence:
        """Ask as a reader does; where storage is elsewhere, that it is named is the answer."""
        headers = {"Range": "bytes=0-0"}
        call = self._call(
            "GET", repository, blob.digest, "blobs", blob.digest, headers=headers, is_look=True
        )
        try:
            answer = self._transport.download(call)
        except (RejectedError, UnavailableError):
            return Presence.UNKNOWN
        if isinstance(answer, Reply):
            return presence(answer.status, missing=is_missing(answer))
        answer.close()
        whole = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        is_part = answer.status == 206  # noqa: PLR2004 - HTTP
        length = (int(whole[1]) if whole else None) if is_part else _length(answer.headers)
        return _checked(Presence.THERE, repository, blob, length)

    def read(self, repository: ImageRepository, blob: Descriptor, limit: int) -> bytes:
        """A small blob, whole and verified; LimitExceededError if it promises more than that."""
        if blob.size > limit:
            thing = f"blob {blob.digest} of {repository}"
            raise LimitExceededError(thing, f"{limit} bytes", str(blob.size))
        kept = self._kept.get(repository, blob)
        if kept is not None:
            return kept
        reader = self.open(repository, blob)
        try:
            body = HashingBody(reader, blob, lambda _size: None, threading.Event())
            return b"".join(map(bytes, iter(body.read, b"")))
        finally:
            reader.close()

    def open(self, repository: ImageRepository, blob: Descriptor) -> Reader:
        """Start reading a blob; the bytes are not verified yet."""
        if not blob.size:
            return BytesReader(b"")
        return ResumingReader(
            lambda offset: self._connect(repository, blob, offset), self._transport.patience
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

    def ask(
        self, target: ImageRepository, source: ImageRepository, digest: Digest
    ) -> UploadSession | None:
        """Whether the target has a blob, or takes it over; else where to send it: one question.

        With the target itself as the source the answer to a mount is *have it*. Returns None where
        that, or the mount, is done; else the upload session to use: a registry that does not mount
        opens one, and any refusal is answered by opening one.
        """
        query = urlencode({"mount": digest, "from": name_at(source)}, safe=":/")
        other = source if source.path != target.path else None
        call = self._call("POST", target, digest, "blobs", "uploads", "", query=query, source=other)
        try:
            reply = self._transport.call(call)
        except (RejectedError, UnavailableError):
            # No token for both repositories at once, or a registry that fails on this alone
            # (go-containerregistry#1404, #1679): never a reason to fail.
            self._unmountable.add((target, source))
            return self.start(target, digest)
        if reply.status == 201:  # noqa: PLR2004 - HTTP
            self._mounts[canonical_host(target.host)] = True
            return None
        if reply.status == 202:  # noqa: PLR2004 - HTTP
            if other is not None:  # it has the blob, and did not take it over
                self.never_mounts(target)
            return UploadSession.opened(self._transport, reply, call.thing)
        self._unmountable.add((target, source))
        return self.start(target, digest)

    def can_ask(self, target: ImageRepository, source: ImageRepository) -> bool:
        """Both repositories are on one host, and it was not refused before."""
        same_host = canonical_host(target.host) == canonical_host(source.host)
        return same_host and (target, source) not in self._unmountable

    def mounts(self, target: ImageRepository) -> bool | None:
        """Whether the host mounts; None: it was not seen yet."""
        return self._mounts.get(canonical_host(target.host))

    def never_mounts(self, target: ImageRepository) -> None:
        """It has opened an upload for what it has: a look comes first from now on."""
        self._mounts[canonical_host(target.host)] = False

    def start(self, repository: ImageRepository, digest: Digest) -> UploadSession:
        """Open an upload session."""
        reply = self._transport.call(self._call("POST", repository, digest, "blobs", "uploads", ""))
        if reply.status == 202:  # noqa: PLR2004 - HTTP
            return UploadSession.opened(self._transport, reply, f"upload of {digest}")
        if reply.status == 404:  # noqa: PLR2004 - ECR and others do not create on push
            raise NotFoundError(f"image repository {repository.path}", repository.host)
        raise failure(reply, f"upload of {digest} to {repository}", self._transport.grant.name)

    def try_upload(self, repository: ImageRepository, digest: Digest) -> None:
        """Open an upload session and give it back: nothing lasting is written.

        Raises:
            RejectedError: nothing may be written there.
        """
        self.abandon(repository, self.start(repository, digest))

    def upload(
        self,
        repository: ImageRepository,
        blob: Descriptor,
        source: Callable[[], Reader],
        *,
        session: UploadSession | None = None,
        advance: Callable[[int], None] = lambda _size: None,
        stop: threading.Event | None = None,
    ) -> None:
        """Stream a blob in; ``source`` opens it anew for every attempt.

        One PUT first, then a streamed PATCH, then small ones: what a host takes is remembered.

        Raises:
            DigestMismatchError: the source serves something else, twice.
        """
        upload = Upload(
            self._transport,
            repository,
            blob,
            source,
            advance=advance,
            stop=stop or threading.Event(),
        )
        host = canonical_host(repository.host)
        self._way[host] = upload.run(
            session,
            self._way.get(host, 0),
            self.start,
            lambda: self.look(repository, blob) is Presence.THERE,
        )

    def abandon(self, repository: ImageRepository, session: UploadSession) -> None:
        """Give a session back that is not needed; it expires by itself otherwise."""
        give_back(self._transport, repository, session)

    def cut(self) -> None:
        """End every transfer that is under way, for good."""
        self._transport.cut()

    def keep(self, repository: ImageRepository, blob: Descriptor, content: bytes) -> None:
        """Remember what was written there just now, and verified on its way."""
        self._kept.add(repository, blob.digest, content)

    def write(self, repository: ImageRepository, *contents: bytes) -> None:
        """Make the repository have these bytes, all at once."""
        blobs = {content: _unnamed(content) for content in dict.fromkeys(contents)}
        lacking = [one for one, blob in blobs.items() if self._kept.get(repository, blob) is None]
        with ThreadPoolExecutor(len(lacking) or 1) as pool:
            for _ in pool.map(lambda one: self._write(repository, blobs[one], one), lacking):
                pass

    def prove(self, repository: ImageRepository, *contents: bytes) -> None:
        """See that the repository has what was written a moment ago; it may not be visible yet.

        Raises:
            UnavailableError: it has not, for longer than that takes.
        """
        blobs = [_unnamed(content) for content in dict.fromkeys(contents)]
        with ThreadPoolExecutor(len(blobs) or 1) as pool:
            for _ in pool.map(lambda blob: self._prove(repository, blob), blobs):
                pass

    def _prove(self, repository: ImageRepository, blob: Descriptor) -> None:
        patience = self._transport.patience(VISIBLE_SECONDS)
        while self.holds(repository, blob) is Presence.MISSING:
            if not patience.goes_on():
                self._kept.drop(repository, blob.digest)
                fact = f"blob {blob.digest} was written and is not visible yet"
                raise UnavailableError(f"{repository.host}: {fact}")

    def _write(self, repository: ImageRepository, blob: Descriptor, content: bytes) -> None:
        self._send(repository, blob, content)
        self.keep(repository, blob, content)

    def _send(self, repository: ImageRepository, blob: Descriptor, content: bytes) -> None:
        session: UploadSession | None = None
        if self.can_ask(repository, repository) and self.mounts(repository) is not False:
            session = self.ask(repository, repository, blob.digest)
            if session is None:
                return
        elif self.look(repository, blob) is Presence.THERE:
            return
        self.upload(repository, blob, lambda: BytesReader(content), session=session)

    def _call(
        self,
        method: str,
        repository: ImageRepository,
        digest: Digest,
        *segments: str,
        headers: dict[str, str] | None = None,
        query: str = "",
        source: ImageRepository | None = None,
        is_look: bool = False,
    ) -> Call:
        url = self._transport.url(repository, *segments) + (f"?{query}" if query else "")
        writes = method == "POST"
        scopes = self._transport.scopes(repository, write=writes)
        return Call(
            method,
            url,
            f"blob {digest} of {repository}",
            self._transport.grant.entry_for(repository),
            (*scopes, pull_scope(source)) if source else scopes,
            headers or {},
            b"" if writes else None,
            is_look=is_look,
        )


def _unnamed(content: bytes) -> Descriptor:
    return Descriptor("application/octet-stream", Digest.of(content), len(content))


def _length(headers: Mapping[str, str]) -> int | None:
    length = headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and len(length) < _DIGITS else None


def _checked(
    found: Presence, repository: ImageRepository, blob: Descriptor, length: int | None
) -> Presence:
    if found is Presence.THERE and length not in (None, blob.size):
        raise IntegrityError(
            f"blob {blob.digest} in {repository}: expected {blob.size} bytes, got {length}"
        )
    return found


def _check_range(answer: Download, call: Call, offset: int, size: int) -> None:
    wanted = f"bytes {offset}-{size - 1}/{size}"
    if answer.status != 206 or answer.headers.get("Content-Range") != wanted:  # noqa: PLR2004 - HTTP
        answer.close()
        raise UnavailableError(f"{call.host}: {call.thing} cannot be resumed at byte {offset}")
