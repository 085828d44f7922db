"""Reading and writing manifests: exact bytes, verified against their digest."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from bot.adapters.registry.calls import Call, Reply
from bot.adapters.registry.errors import (
    NotARegistryError,
    error_codes,
    failure,
    is_immutable_tag,
    is_missing,
)
from bot.adapters.registry.transport import Transport, name_at
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
# What was written is mostly tagged next: it need not be read again for that.
_REMEMBERED: Final = 32  # manifests
_REMEMBERED_BYTES: Final = 64 * 1024  # of one; most have a few KiB

AnyReference = TagReference | DigestReference


class MissingContentError(RejectedError):
    """A registry refuses a manifest because something it names is not there."""

    def __init__(self, reference: AnyReference) -> None:
        """Name the manifest."""
        super().__init__(f"{reference}: its registry lacks something that it has confirmed before")
        self.reference = reference


def pull_scope(repository: ImageRepository) -> str:
    """What a token needs for reading."""
    return f"repository:{name_at(repository)}:pull"


def push_scope(repository: ImageRepository) -> str:
    """What a token needs for writing."""
    return f"repository:{name_at(repository)}:pull,push"


class Manifests:
    """The manifests of the granted registries; safe to use from several threads."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._written: OrderedDict[DigestReference, tuple[bytes, str]] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, reference: AnyReference) -> AnyManifest | None:
        """The manifest, hashed and compared if it was asked for by digest; None: not there."""
        reply = self._transport.call(self._reading("GET", reference))
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
        return parse_manifest(reply.content, media_type, str(reference))

    def need(self, reference: DigestReference) -> AnyManifest:
        """The manifest; NotFoundError if it is not there."""
        found = self.get(reference)
        if found is None:
            raise NotFoundError(f"image {reference.digest}", str(reference.repository))
        return found

    def content(self, reference: DigestReference) -> tuple[bytes, str]:
        """The bytes and the media type, as written a moment ago or as read now.

        Raises:
            NotFoundError: it is not there.
        """
        with self._guard:
            written = self._written.get(reference)
        if written:
            return written
        found = self.need(reference)
        return found.content, found.media_type

    def exists(self, reference: DigestReference) -> bool:
        """The registry has a manifest under this digest."""
        reply = self._transport.call(self._reading("HEAD", reference))
        if reply.status == 200:  # noqa: PLR2004 - HTTP
            return True
        if is_missing(reply):
            return False
        raise failure(reply, str(reference), self._transport.grant.name)

    def tree(self, reference: DigestReference, workers: int) -> ImageTree:
        """The manifest with all its children, each verified against its descriptor.

        Raises:
            NotFoundError: the image, or a child of it, is not there.
            LimitExceededError: too deep, too many children, too many bytes.
        """
        with ThreadPoolExecutor(workers) as pool:
            tree = self._grow(self.need(reference), reference, 1, pool)
        if tree.size > IMAGE_LIMIT:
            raise LimitExceededError(f"image {reference}", f"{IMAGE_LIMIT} bytes", str(tree.size))
        return tree

    def _grow(
        self, root: AnyManifest, reference: DigestReference, depth: int, pool: ThreadPoolExecutor
    ) -> ImageTree:
        if not isinstance(root, ImageIndex):
            return ImageTree(root)
        if depth >= DEPTH_LIMIT:
            raise LimitExceededError(f"index {reference}, depth", str(DEPTH_LIMIT))
        check_children(root, str(reference))
        repository = reference.repository
        children = pool.map(lambda child: self._child(repository, child), root.manifests)
        grown = [
            self._grow(child, repository.at(child.digest), depth + 1, pool) for child in children
        ]
        return ImageTree(root, tuple(grown))

    def _child(self, repository: ImageRepository, descriptor: Descriptor) -> AnyManifest:
        reference = repository.at(descriptor.digest)
        child = self.need(reference)
        if len(child.content) != descriptor.size:
            fact = f"{len(child.content)} bytes, its index says {descriptor.size}"
            raise MalformedManifestError(str(reference), fact)
        if child.media_type != descriptor.media_type:
            fact = f"served as {child.media_type}, its index says {descriptor.media_type}"
            raise MalformedManifestError(str(reference), fact)
        return child

    def put(self, reference: AnyReference, content: bytes, media_type: str) -> bool:
        """Write the bytes; returns whether the registry has listed it among its referrers.

        Raises:
            MissingContentError: the registry lacks a blob or child.
            TagTakenError: the tag is immutable.
        """
        reply = self._transport.call(self._writing(reference, content, media_type))
        if reply.status in _WRITTEN:
            self._check_written(reply, content, reference)
            self._remember(reference, content, media_type)
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

    def _remember(self, reference: AnyReference, content: bytes, media_type: str) -> None:
        if isinstance(reference, DigestReference) and len(content) <= _REMEMBERED_BYTES:
            with self._guard:
                self._written[reference] = (content, media_type)
                if len(self._written) > _REMEMBERED:
                    self._written.popitem(last=False)

    def _check_written(self, reply: Reply, content: bytes, reference: AnyReference) -> None:
        stored = reply.headers.get("Docker-Content-Digest")
        named = reference.digest if isinstance(reference, DigestReference) else None
        wanted = named or Digest.of(content)
        if stored and stored.partition(":")[0] == wanted.algorithm and stored != wanted:
            raise DigestMismatchError(f"{reference} as stored by the registry", wanted, stored)

    def _reading(self, method: str, reference: AnyReference) -> Call:
        return Call(
            method,
            self._transport.url(reference.repository, "manifests", _name(reference)),
            str(reference),
            self._transport.grant.entry_for(reference.repository),
            (pull_scope(reference.repository),),
            {"Accept": _ACCEPT},
            limit=MANIFEST_LIMIT,
        )

    def _writing(self, reference: AnyReference, content: bytes, media_type: str) -> Call:
        return Call(
            "PUT",
            self._transport.url(reference.repository, "manifests", _name(reference)),
            str(reference),
            self._transport.grant.entry_for(reference.repository),
            (push_scope(reference.repository),),
            {"Content-Type": media_type},
            content,
        )


def _name(reference: AnyReference) -> str:
    return reference.tag if isinstance(reference, TagReference) else reference.digest


def _check_digest(content: bytes, reference: DigestReference) -> None:
    wanted = reference.digest
    found = hashlib.new(wanted.algorithm, content).hexdigest()
    if found != wanted.hex:
        raise DigestMismatchError(str(reference), wanted, f"{wanted.algorithm}:{found}")
