"""The blobs of a registry: look for them, read them, mount them, and open uploads.

Safe to repeat: a blob that is there is left alone, and one that arrives damaged or short is
never committed (see `bot.adapters.registry.uploads`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from urllib.parse import urlencode

from bot.adapters.registry.calls import Call, Reply
from bot.adapters.registry.errors import RegistryRefusedError, failure, is_missing
from bot.adapters.registry.manifests import pull_scope, push_scope
from bot.adapters.registry.streams import BytesReader, HashingBody, Reader, ResumingReader
from bot.adapters.registry.transport import Download, Transport, name_at
from bot.adapters.registry.uploads import Upload, UploadSession
from bot.domain.errors import (
    IntegrityError,
    LimitExceededError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from bot.domain.images import Descriptor
from bot.domain.oci import Digest, ImageRepository, canonical_host


class Blobs:
    """The blobs of the granted registries; safe to use from several threads."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._way: dict[str, int] = {}
        self._unmountable: set[tuple[ImageRepository, ImageRepository]] = set()
        self._mounts: dict[str, bool] = {}

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

    def mount(
        self, target: ImageRepository, source: ImageRepository, digest: Digest
    ) -> UploadSession | None:
        """Take a blob over from another repository of the same host.

        Returns None when that is done, else the upload session to use: a registry that does not
        mount opens one, and any refusal is answered by opening one.
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
        host = canonical_host(target.host)
        if reply.status == 201:  # noqa: PLR2004 - HTTP
            self._mounts.setdefault(host, True)
            return None
        if reply.status == 202:  # noqa: PLR2004 - HTTP
            self._mounts[host] = False
            return UploadSession.opened(self._transport, reply, call.thing)
        self._unmountable.add((target, source))
        return self.start(target, digest)

    def can_mount(self, target: ImageRepository, source: ImageRepository) -> bool:
        """Both repositories are on one host, are not the same, and it was not refused before."""
        same_host = canonical_host(target.host) == canonical_host(source.host)
        refused = (target, source) in self._unmountable
        return same_host and target.path != source.path and not refused

    def mounts(self, target: ImageRepository) -> bool:
        """Mounting is worth a try before a look: not once a session was the answer to it."""
        return self._mounts.get(canonical_host(target.host), True)

    def start(self, repository: ImageRepository, digest: Digest) -> UploadSession:
        """Open an upload session."""
        reply = self._transport.call(self._call("POST", repository, digest, "blobs", "uploads", ""))
        if reply.status == 202:  # noqa: PLR2004 - HTTP
            return UploadSession.opened(self._transport, reply, f"upload of {digest}")
        if reply.status == 404:  # noqa: PLR2004 - ECR and others do not create on push
            raise NotFoundError(f"image repository {repository.path}", repository.host)
        raise failure(reply, f"upload of {digest} to {repository}", self._transport.grant.name)

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
        self._way[host] = upload.run(session, self._way.get(host, 0), self.start)

    def cut(self) -> None:
        """End every transfer that is under way, for good."""
        self._transport.cut()

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
