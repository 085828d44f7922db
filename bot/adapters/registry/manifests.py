"""Reading and writing manifests: exact bytes, verified against their digest."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from bot.adapters.registry.calls import Call, Reply
from bot.adapters.registry.errors import (
    NotARegistryError,
    RegistryRefusedError,
    error_codes,
    failure,
    is_immutable_tag,
    is_missing,
)
from bot.adapters.registry.looks import Unanswered, looked
from bot.adapters.registry.transport import Transport
from bot.domain.errors import (
    DigestMismatchError,
    LimitExceededError,
    NotFoundError,
    RejectedError,
)
from bot.domain.images import (
    DEPTH_LIMIT,
    IMAGE_LIMIT,
    MANIFEST_LIMIT,
    AnyManifest,
    Descriptor,
    ImageIndex,
    ImageTree,
    MalformedManifestError,
    NewManifest,
    Presence,
    RegistryRefusesError,
    TagTakenError,
)
from bot.domain.oci import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Digest,
    DigestReference,
    ImageRepository,
    TagReference,
)
from bot.formats.image_manifest import check_children, parse_manifest

# One header line: without it distribution 2.8 answers 404 for a tag that holds an OCI index.
_ACCEPT: Final = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_INDEX}, {DOCKER_MANIFEST}"
_WRITTEN: Final = frozenset({200, 201, 202})
_CHANGED: Final = 412  # somebody else has written in between
_KEPT: Final = frozenset({400, 405, 409, 412, 423})  # refusals of a tag that has something
# What was read is copied next, what was written is tagged: it need not be read again for that.
_REMEMBERED: Final = 256  # manifests
_REMEMBERED_BYTES: Final = 64 * 1024  # of one; most have a few KiB

AnyReference = TagReference | DigestReference
Read = Callable[[DigestReference], AnyManifest]
"""Reads one manifest by its digest, verified; NotFoundError if it is not there."""


class MissingContentError(RejectedError):
    """A registry refuses a manifest because something it names is not there."""

    def __init__(self, reference: AnyReference) -> None:
        """Name the manifest."""
        super().__init__(f"{reference}: its registry lacks something that it has confirmed before")
        self.reference = reference


class Manifests:
    """The manifests of the granted registries; safe to use from several threads."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._known: OrderedDict[DigestReference, AnyManifest] = OrderedDict()
        self._etags: dict[tuple[TagReference, Digest], str] = {}
        self._guard = threading.Lock()

    def get(self, reference: AnyReference) -> AnyManifest | None:
        """The manifest, hashed and compared if it was asked for by digest; None: not there.

        What a digest names never changes: what was read or written under it is not read again.
        """
        kept = self.kept(reference)
        return kept or self._parsed(
            self._transport.call(self._reading("GET", reference)), reference
        )

    def fresh(self, reference: AnyReference) -> AnyManifest | None:
        """The same, as the registry has it now: to prove that it is there."""
        return self._parsed(self._transport.call(self._reading("GET", reference)), reference)

    def look(self, reference: AnyReference) -> AnyManifest | Unanswered | None:
        """The same, before something is done: that the registry refuses to say is an answer, too.

        Raises:
            UnavailableError: it cannot say now; a tag must not be written over then.
            IntegrityError: it serves something else.
        """
        try:
            return self.fresh(reference)
        except RegistryRefusesError as error:
            return Unanswered(error)

    def _parsed(self, reply: Reply, reference: AnyReference) -> AnyManifest | None:
        if is_missing(reply):
            return None
        if reply.status != 200:  # noqa: PLR2004 - HTTP
            raise failure(reply, str(reference), self._transport.grant.name)
        if not reply.content:
            raise NotARegistryError(str(reference), reply.host, "an empty answer")
        media_type = reply.headers.get("Content-Type", "")
        if media_type.startswith("text/html"):
            raise NotARegistryError(str(reference), reply.host, "a web page")
        if isinstance(reference, DigestReference):
            _check_digest(reply.content, reference)
        found = parse_manifest(reply.content, media_type, str(reference))
        self._remember(reference, found, reply.headers.get("ETag", ""))
        return found

    def need(self, reference: DigestReference) -> AnyManifest:
        """The manifest; NotFoundError if it is not there."""
        found = self.get(reference)
        if found is None:
            raise NotFoundError(f"image {reference.digest}", str(reference.repository))
        return found

    def exists(self, reference: DigestReference) -> Presence:
        """Whether the registry has a manifest under this digest.

        A HEAD that says no is not believed: some do not know it, and say so in their way.
        """
        head = self._reading("HEAD", reference, is_look=True)
        found, _ = looked(partial(self._transport.call, head))
        if found is not Presence.THERE:
            read = self._reading("GET", reference, is_look=True)
            found, _ = looked(partial(self._transport.call, read))
        return found

    def tree(self, reference: DigestReference, workers: int, read: Read | None = None) -> ImageTree:
        """The manifest with all its children, each verified against its descriptor.

        Args:
            reference: the image.
            workers: manifests that are read at once.
            read: how each is read; None: what is known already is not read again.

        Raises:
            NotFoundError: the image, or a child of it, is not there.
            LimitExceededError: too deep, too many children, too many bytes.
        """
        read = read or self.need
        with ThreadPoolExecutor(workers) as pool:
            tree = self._grow(read(reference), reference, 1, _Reading(pool, read))
        if tree.size > IMAGE_LIMIT:
            raise LimitExceededError(f"image {reference}", f"{IMAGE_LIMIT} bytes", str(tree.size))
        return tree

    def known_tree(self, reference: DigestReference) -> ImageTree | None:
        """The tree by what was read or written lately; None if a part of it is not known."""

        def known(one: DigestReference) -> AnyManifest:
            found = self.kept(one)
            if found is None:
                raise NotFoundError(f"image {one.digest}", str(one.repository))
            return found

        try:
            return self.tree(reference, 1, known)
        except NotFoundError:
            return None

    def _grow(
        self, root: AnyManifest, reference: DigestReference, depth: int, reading: _Reading
    ) -> ImageTree:
        if not isinstance(root, ImageIndex):
            return ImageTree(root)
        if depth >= DEPTH_LIMIT:
            raise LimitExceededError(f"index {reference}, depth", str(DEPTH_LIMIT))
        check_children(root, str(reference))
        repository = reference.repository
        children = reading.pool.map(
            lambda child: _child(repository, child, reading.read), root.manifests
        )
        grown = [
            self._grow(child, repository.at(child.digest), depth + 1, reading) for child in children
        ]
        return ImageTree(root, tuple(grown))

    def put(self, reference: AnyReference, content: bytes, media_type: str) -> bool:
        """Write the bytes; returns whether the registry has listed it among its referrers.

        Raises:
            MissingContentError: the registry lacks a blob or child.
            TagTakenError: the tag is immutable.
        """
        return self._written(self._writing(reference, content, media_type), reference)

    def replace(self, reference: TagReference, new: NewManifest, over: AnyManifest | None) -> bool:
        """Write a tag over what was read there a moment ago, and over nothing else.

        Where the registry gave that an ETag, somebody else's write in between is refused by it
        (`If-Match`, RFC 9110, 13.1.1); most ignore it, so read again.

        Returns:
            False: somebody was faster.

        Raises:
            TagTakenError: what is there may not be replaced.
        """
        call = self._writing(reference, new.content, new.media_type)
        etag = self._etags.get((reference, over.digest)) if over else None
        if etag:
            call = replace(call, headers={**call.headers, "If-Match": etag})
        try:
            self._written(call, reference)
        except RegistryRefusedError as error:
            if etag and error.status == _CHANGED:
                self._etags.pop((reference, over.digest if over else new.digest), None)
                return False
            if over is not None and error.status in _KEPT:
                raise TagTakenError(reference, new.digest, over.digest) from error
            raise
        return True

    def _written(self, call: Call, reference: AnyReference) -> bool:
        content, media_type = call.body, call.headers["Content-Type"]
        assert isinstance(content, bytes)  # noqa: S101 - `_writing` has put it there
        reply = self._transport.call(call)
        if reply.status in _WRITTEN:
            self._check_written(reply, content, reference)
            self._remember(reference, parse_manifest(content, media_type, str(reference)))
            return "OCI-Subject" in reply.headers
        codes = error_codes(reply)
        if "MANIFEST_BLOB_UNKNOWN" in codes or "BLOB_UNKNOWN" in codes:
            raise MissingContentError(reference)
        if isinstance(reference, TagReference) and is_immutable_tag(reply):
            raise TagTakenError(reference, Digest.of(content), None)
        raise failure(reply, str(reference), self._transport.grant.name)

    def put_new(self, repository: ImageRepository, manifest: NewManifest) -> bool:
        """Write a manifest of ours under its digest."""
        return self.put(repository.at(manifest.digest), manifest.content, manifest.media_type)

    def kept(self, reference: AnyReference) -> AnyManifest | None:
        """What is known of a digest without asking."""
        if isinstance(reference, TagReference):
            return None
        with self._guard:
            return self._known.get(reference)

    def _remember(self, reference: AnyReference, found: AnyManifest, etag: str = "") -> None:
        """Keep what a digest names; a tag's digest is one, too."""
        if isinstance(reference, TagReference):
            if etag:
                if len(self._etags) >= _REMEMBERED:
                    self._etags.clear()
                self._etags[reference, found.digest] = etag
            reference = reference.repository.at(found.digest)
        if len(found.content) > _REMEMBERED_BYTES:
            return
        with self._guard:
            self._known[reference] = found
            self._known.move_to_end(reference)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def _check_written(self, reply: Reply, content: bytes, reference: AnyReference) -> None:
        stored = reply.headers.get("Docker-Content-Digest")
        named = reference.digest if isinstance(reference, DigestReference) else None
        wanted = named or Digest.of(content)
        if stored and stored.partition(":")[0] == wanted.algorithm and stored != wanted:
            raise DigestMismatchError(f"{reference} as stored by the registry", wanted, stored)

    def _reading(self, method: str, reference: AnyReference, *, is_look: bool = False) -> Call:
        return Call(
            method,
            self._transport.url(reference.repository, "manifests", _name(reference)),
            str(reference),
            self._transport.grant.entry_for(reference.repository),
            self._transport.scopes(reference.repository),
            {"Accept": _ACCEPT},
            limit=MANIFEST_LIMIT,
            is_look=is_look,
        )

    def _writing(self, reference: AnyReference, content: bytes, media_type: str) -> Call:
        return Call(
            "PUT",
            self._transport.url(reference.repository, "manifests", _name(reference)),
            str(reference),
            self._transport.grant.entry_for(reference.repository),
            self._transport.scopes(reference.repository, write=True),
            {"Content-Type": media_type},
            content,
        )


@dataclass(frozen=True, slots=True)
class _Reading:
    pool: ThreadPoolExecutor
    read: Read


def _child(repository: ImageRepository, descriptor: Descriptor, read: Read) -> AnyManifest:
    reference = repository.at(descriptor.digest)
    child = read(reference)
    if len(child.content) != descriptor.size:
        fact = f"{len(child.content)} bytes, its index says {descriptor.size}"
        raise MalformedManifestError(str(reference), fact)
    if child.media_type != descriptor.media_type:
        fact = f"served as {child.media_type}, its index says {descriptor.media_type}"
        raise MalformedManifestError(str(reference), fact)
    return child


def _name(reference: AnyReference) -> str:
    return reference.tag if isinstance(reference, TagReference) else reference.digest


def _check_digest(content: bytes, reference: DigestReference) -> None:
    wanted = reference.digest
    found = hashlib.new(wanted.algorithm, content).hexdigest()
    if found != wanted.hex:
        raise DigestMismatchError(str(reference), wanted, f"{wanted.algorithm}:{found}")
