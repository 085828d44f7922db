"""What a registry holds about an image: manifests, descriptors, and reports about them.

``ImageManifest`` and ``ImageIndex`` keep the exact bytes they were read from. Nothing here can
write them out again in another way, because a digest names bytes, not meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Final

from bot.domain.errors import IntegrityError, RejectedError, UnavailableError
from bot.domain.image_configuration import ImageConfiguration
from bot.domain.oci import (
    DOCKER_CONFIG,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_CONFIG,
    Digest,
    DigestReference,
    ImageRepository,
    Platform,
    TagReference,
)

MANIFEST_LIMIT: Final = (
    4 * 2**20
)  # bytes; distribution-spec 1.1, "Pushing Manifests": at least 4 MB
CHILD_LIMIT: Final = 500  # children of one index
SIGNED_LIMIT: Final = 64  # children of an index that is evaluated whole and signed
DEPTH_LIMIT: Final = 3  # an index in an index in an index
IMAGE_LIMIT: Final = 20 * 2**30  # bytes, compressed, the sum of what the descriptors promise
CONFIG_LIMIT: Final = 4 * 2**20  # bytes of an image configuration
ACCESSORY_LIMIT: Final = 16 * 2**20  # bytes of one signature, attestation or SBOM
ACCESSORIES_PER_DIGEST: Final = 20  # Kyverno fails every verification of an image beyond 50

# BuildKit, docs/attestations/attestation-storage.md: how a child of an index says that it is an
# attestation of its sibling.
_REFERENCE_TYPE: Final = "vnd.docker.reference.type"
_ATTESTATION: Final = "attestation-manifest"
# image-spec 1.1, layer.md, "Non-Distributable Layers", and Docker's foreign layers.
_NONDISTRIBUTABLE: Final = (
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.",
)
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class MalformedManifestError(IntegrityError):
    """A manifest is not what its media type or its name claims."""

    def __init__(self, thing: str, fact: str) -> None:
        """Name the manifest and what is wrong with it."""
        super().__init__(f"{thing}: {fact}")
        self.thing, self.fact = thing, fact


class UnsupportedImageError(RejectedError):
    """An image of a kind that is not copied or signed."""

    def __init__(self, thing: str, fact: str, remedy: str) -> None:
        """Name the image, what it is, and the way out."""
        super().__init__(f"{thing}: {fact}; {remedy}")
        self.thing, self.fact, self.remedy = thing, fact, remedy


class RegistryRefusesError(RejectedError):
    """A registry, or its token service, refuses a request.

    Some refuse a look at what is not there (yet) in place of saying so: Quay a new repository,
    Artifactory whatever is missing. Where a look was all, this is neither yes nor no.
    """


class RegistryFailsError(UnavailableError):
    """A registry answers a request with a failure of its own (5xx), for longer than is waited.

    Some do so for ever, and for one kind of request alone. Whether it is that, or an outage, only
    another request can tell.
    """


class ReferrerRefusedError(RejectedError):
    """A registry does not take a manifest that refers to another one.

    Amazon ECR answers 405 UNSUPPORTED for some artifact types (oras-project/oras#1133). Whoever
    has written the same in the ``.sig`` layout may go on with a warning.
    """

    def __init__(self, repository: ImageRepository, artifact_type: str) -> None:
        """Name the repository and the type of the artifact."""
        super().__init__(f"the registry of {repository} refuses artifacts of type {artifact_type}")
        self.repository, self.artifact_type = repository, artifact_type


class ReferrerNotListedError(RejectedError):
    """What refers to an image was written, and nobody finds it: it is on no list.

    Whoever has written the same under a tag may go on with a warning.
    """

    def __init__(self, repository: ImageRepository, why: str) -> None:
        """Name the repository and what keeps it from the list."""
        super().__init__(f"a bundle in {repository} was written and is not listed: {why}")
        self.repository, self.why = repository, why


class TagTakenError(RejectedError):
    """An immutable tag already names another image."""

    def __init__(self, reference: TagReference, wanted: Digest, found: Digest | None) -> None:
        """Name the tag, the digest it should get and the one it has."""
        has = f"names {found}" if found else "is refused by the registry as immutable"
        super().__init__(f"{reference} {has}, wanted {wanted}; choose another tag or let it move")
        self.reference, self.wanted, self.found = reference, wanted, found


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What one object says about another: image-spec 1.1, descriptor.md."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    platform: Platform | None = None
    artifact_type: str = ""

    @property
    def is_index(self) -> bool:
        """The object is an image index."""
        return self.media_type in INDEX_TYPES

    @property
    def is_manifest(self) -> bool:
        """The object is an image manifest or an index."""
        return self.media_type in MANIFEST_TYPES or self.is_index

    @property
    def is_distributable(self) -> bool:
        """The bytes may be copied to another registry."""
        return not self.media_type.startswith(_NONDISTRIBUTABLE)

    @property
    def is_buildkit_attestation(self) -> bool:
        """A child of an index that is an attestation, not a platform."""
        return self.annotations.get(_REFERENCE_TYPE) == _ATTESTATION


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """One platform's image, or an artifact such as a signature."""

    content: bytes = field(repr=False)
    """The exact bytes; their sha256 is the digest."""
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    subject: Descriptor | None = None
    artifact_type: str = ""

    @property
    def digest(self) -> Digest:
        """The identity of the bytes."""
        return Digest.of(self.content)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Everything that has to be in the registry before this manifest."""
        return (self.config, *self.layers)

    @property
    def kind(self) -> str:
        """The artifact type: image-spec 1.1, manifest.md, falls back to the config's type."""
        return self.artifact_type or self.config.media_type

    @property
    def is_runnable(self) -> bool:
        """The manifest is a container image, not an artifact."""
        return self.config.media_type in {OCI_CONFIG, DOCKER_CONFIG}


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """A list of manifests: one image for several platforms, or a list of referrers."""

    content: bytes = field(repr=False)
    """The exact bytes; their sha256 is the digest."""
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    subject: Descriptor | None = None
    artifact_type: str = ""

    @property
    def digest(self) -> Digest:
        """The identity of the bytes."""
        return Digest.of(self.content)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """An index needs no blob of its own."""
        return ()

    @property
    def kind(self) -> str:
        """The artifact type, empty for an image."""
        return self.artifact_type


AnyManifest = ImageManifest | ImageIndex


@dataclass(frozen=True, slots=True)
class ImageTree:
    """A manifest with everything below it that is a manifest too."""

    root: AnyManifest
    children: tuple[ImageTree, ...] = ()

    def walk(self) -> Iterator[AnyManifest]:
        """Every manifest, children before the index that lists them."""
        for child in self.children:
            yield from child.walk()
        yield self.root

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Every distributable blob once, the largest first."""
        unique = {
            blob.digest: blob for m in self.walk() for blob in m.blobs if blob.is_distributable
        }
        return tuple(sorted(unique.values(), key=lambda blob: -blob.size))

    @property
    def withheld(self) -> tuple[Descriptor, ...]:
        """Layers that the image-spec forbids to copy."""
        return tuple(b for m in self.walk() for b in m.blobs if not b.is_distributable)

    @property
    def size(self) -> int:
        """Bytes that the descriptors promise, manifests included."""
        return sum(blob.size for blob in self.blobs) + sum(len(m.content) for m in self.walk())


@dataclass(frozen=True, slots=True)
class PlatformImage:
    """One platform of an image."""

    platform: Platform
    digest: Digest
    compressed_size: int
    """Bytes of config and layers as they are transferred."""
    config: Digest | None = None
    """Of its config blob: what scanners call the image's id."""
    runs: ImageConfiguration | None = field(default=None, compare=False)
    """How it runs; None: it does not say. The digest names it already."""


@dataclass(frozen=True, slots=True, order=True)
class BaseImage:
    """What a platform of an image says that it was built on."""

    name: str
    """A reference, usually by tag; empty: it does not say. Text from outside."""
    digest: str
    """Of the base's manifest; empty: it does not say. Text from outside."""


@dataclass(frozen=True, slots=True)
class ImageDescription:
    """What an image says about itself; none of it is verified."""

    reference: DigestReference
    media_type: str
    size: int
    """Bytes of the manifest or index itself."""
    platforms: tuple[PlatformImage, ...]
    labels: Mapping[str, str]
    """``org.opencontainers.image.*`` of every platform's config and of the annotations, where
    all that speak agree."""
    contradictions: tuple[str, ...]
    """Labels on which platforms and annotations disagree; absent from ``labels``."""
    ambiguities: tuple[str, ...]
    """Why the image cannot be evaluated whole: a platform twice, an index in the index, a child
    that is neither runnable nor a known attestation."""
    created: datetime | None
    bases: tuple[BaseImage, ...] = ()
    attestations: tuple[Digest, ...] = ()
    """Children that hold statements of BuildKit and nothing that could run."""
    """Each once, sorted; platforms of an image may have different ones."""

    @property
    def digest(self) -> Digest:
        """The identity of the image."""
        return self.reference.digest

    @property
    def instances(self) -> tuple[Digest, ...]:
        """What is signed beside the image itself: whoever copies all of it may check each."""
        found = (*(one.digest for one in self.platforms), *self.attestations)
        return tuple(digest for digest in found if digest != self.digest)

    def child(self, platform: Platform) -> Digest | None:
        """The digest of one platform."""
        return next((p.digest for p in self.platforms if p.platform == platform), None)


class AccessoryKind(Enum):
    """In which form something hangs on an image."""

    BUNDLE = "a sigstore bundle"
    ENVELOPE = "an attestation under .att"
    PAYLOAD = "a signature under .sig"
    OTHER = "something unsigned"


@dataclass(frozen=True, slots=True)
class Accessory:
    """Something that hangs on an image, well-formed, before it travels."""

    subject: Digest
    kind: AccessoryKind
    content: bytes = field(default=b"", repr=False)
    """What is signed, in its wrapping; empty for what is unsigned."""
    signature: bytes = b""
    """Of a payload."""


@dataclass(frozen=True, slots=True)
class AccessoryPolicy:
    """Which of the things that hang on an image may travel with it.

    Nothing that is signed with a key of ours crosses from one environment to another: each
    environment signs for itself.
    """

    limit: int = ACCESSORIES_PER_DIGEST
    """Accessories per digest."""
    size_limit: int = ACCESSORY_LIMIT
    """Bytes of all blobs of one accessory."""
    is_ours: Callable[[bytes, bytes], bool] = lambda _message, _signature: False
    """Whether a signature (DER) of a message was made with one of our own keys."""
    objection: Callable[[Accessory], str] | None = None
    """Why one may not travel, empty if it may; None: well-formed ones of anybody travel."""


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """Something that hangs on the source image and was not copied."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What a copy did. Running it again reports the same image with nothing moved."""

    source: DigestReference
    target: DigestReference
    manifests: tuple[Digest, ...]
    """The image's manifests, children first; the last one is the image itself."""
    moved: int
    """Bytes of blobs streamed through this process."""
    mounted: int
    """Bytes of blobs that the registry took over from another of its repositories."""
    present: int
    """Bytes of blobs that the target already had."""
    unchanged: bool = False
    """The target had the image's root manifest, so that no blob was looked at or counted."""
    accessories: tuple[Digest, ...] = ()
    """Manifests of the signatures, attestations and SBOMs that went along."""
    left_behind: tuple[LeftBehind, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Proof that an image is whole: every manifest was read and hashed, every blob is there."""

    reference: DigestReference
    manifests: tuple[Digest, ...]
    blobs: int
    size: int
    """Bytes of all blobs and manifests."""


class Presence(Enum):
    """What a registry says when it is asked whether it has something; true only for *there*."""

    THERE = "there"
    MISSING = "missing"
    UNKNOWN = "unknown"
    """It did not answer: 401, 403, 405, 5xx. Neither yes nor no; a write or a read decides."""

    def __bool__(self) -> bool:
        return self is Presence.THERE


class TagOutcome(Enum):
    """What became of a tag."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class NewManifest:
    """A manifest to be written, with the blobs that have to be there first."""

    content: bytes = field(repr=False)
    media_type: str
    blobs: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def digest(self) -> Digest:
        """The identity of the manifest's bytes."""
        return Digest.of(self.content)


def attached_tag(digest: Digest, suffix: str) -> str:
    """The tag that cosign derives from a digest: ``sha256-<hex>.sig``; no suffix, no point.

    Without a suffix it is the referrers tag of distribution-spec 1.1, "Referrers Tag Schema".
    """
    return f"{digest.algorithm}-{digest.hex}" + (f".{suffix}" if suffix else "")
