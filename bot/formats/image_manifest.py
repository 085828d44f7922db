"""Image manifests and indexes: bytes in, values out; the bytes are kept, never written anew.

Sources: image-spec 1.1 (manifest.md, image-index.md, descriptor.md) and Docker's image manifest
version 2, schema 2. Schema 1 is recognised and refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from bot.domain.errors import LimitExceededError
from bot.domain.image_configuration import ImageConfiguration
from bot.domain.image_description import ImageConfig
from bot.domain.images import (
    CHILD_LIMIT,
    CONFIG_LIMIT,
    MANIFEST_LIMIT,
    AnyManifest,
    Descriptor,
    ImageIndex,
    ImageManifest,
    MalformedManifestError,
    UnsupportedImageError,
)
from bot.domain.oci import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    Digest,
    InvalidNameError,
    Platform,
)
from bot.formats import structs
from bot.formats.image_configuration import Config, image_configuration
from bot.formats.nesting import nests_deeper

# What files are served as where nobody has told the server better: the content says what it is.
_GENERIC: Final = frozenset(
    {"", "application/json", "application/octet-stream", "binary/octet-stream", "text/plain"}
)
_SCHEMA_1: Final = "application/vnd.docker.distribution.manifest.v1+"
_NESTING_LIMIT: Final = 64
_FIRST_IMAGES: Final = 2013  # Docker's first release
_DESCRIPTOR_LIMIT: Final = 1024  # layers of one manifest; cosign refuses more than 1000 signatures
_REMEDY_SCHEMA_1: Final = "rebuild the image with a current tool, schema 1 has no stable digest"
_T = TypeVar("_T")
EMPTY_CONFIG: Final = b"{}"  # image-spec 1.1, manifest.md, "Guidance for an Empty Descriptor"


class _Platform(msgspec.Struct):
    os: str
    architecture: str
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")


class _Descriptor(msgspec.Struct, rename="camel"):
    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] | None = None
    platform: _Platform | None = None
    artifact_type: str = ""


class _Manifest(msgspec.Struct, rename="camel"):
    schema_version: int = 0  # missing: what some tools write has only lists
    media_type: str = ""
    artifact_type: str = ""
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    annotations: dict[str, str] | None = None
    subject: _Descriptor | None = None
    fs_layers: list[Any] | None = None


class _ContainerConfig(msgspec.Struct):
    labels: dict[str, str] | None = msgspec.field(default=None, name="Labels")


class _Config(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    created: str | None = None
    config: _ContainerConfig | None = None


def parse_manifest(content: bytes, media_type: str, thing: str) -> AnyManifest:
    """Read a manifest that was served as ``media_type``; ``thing`` names it in errors.

    Raises:
        MalformedManifestError: it is not what the media type says, or not JSON at all.
        UnsupportedImageError: Docker schema 1, or a media type that is no manifest.
        LimitExceededError: too large, too deep, too many descriptors.
    """
    if len(content) > MANIFEST_LIMIT:
        raise LimitExceededError(f"manifest {thing}", f"{MANIFEST_LIMIT} bytes", str(len(content)))
    served = media_type.partition(";")[0].strip().lower()
    if served.startswith(_SCHEMA_1):
        raise UnsupportedImageError(thing, "Docker schema 1", _REMEDY_SCHEMA_1)
    document = _decoded(content, _Manifest, thing)
    if document.schema_version == 1 or document.fs_layers is not None:
        raise UnsupportedImageError(thing, "Docker schema 1", _REMEDY_SCHEMA_1)
    if served in _GENERIC:
        served = document.media_type or _by_shape(document)
    if document.media_type and document.media_type != served:
        raise MalformedManifestError(
            thing, f"served as {served or 'nothing'}, says of itself {document.media_type}"
        )
    return _shaped(document, content, served, thing)


def _by_shape(document: _Manifest) -> str:
    """What it is where neither the server nor the document says; empty: nothing that we know."""
    if document.config is not None:
        return OCI_MANIFEST
    return OCI_INDEX if document.manifests else ""


def _shaped(document: _Manifest, content: bytes, media_type: str, thing: str) -> AnyManifest:
    if document.layers is not None and document.manifests is not None:
        raise MalformedManifestError(thing, "has both layers and manifests")
    if media_type in INDEX_TYPES:
        return _index(document, content, media_type, thing)
    if media_type in MANIFEST_TYPES:
        return _manifest(document, content, media_type, thing)
    raise UnsupportedImageError(
        thing, f"media type {media_type or 'missing'}", "only images and indexes are handled"
    )


def _index(document: _Manifest, content: bytes, media_type: str, thing: str) -> ImageIndex:
    if document.config is not None or document.layers:
        raise MalformedManifestError(thing, f"served as {media_type} but has a config or layers")
    if not document.manifests and not document.schema_version:
        raise MalformedManifestError(thing, f"served as {media_type} but lists no manifests")
    return ImageIndex(
        content,
        media_type,
        _descriptors(document.manifests or [], thing),  # some say null for none, or nothing
        document.annotations or {},
        _optional(document.subject, thing),
        document.artifact_type,
    )


def _manifest(document: _Manifest, content: bytes, media_type: str, thing: str) -> ImageManifest:
    if document.config is None or document.manifests:
        raise MalformedManifestError(thing, f"served as {media_type} but is none")
    return ImageManifest(
        content,
        media_type,
        _descriptor(document.config, thing),
        _descriptors(document.layers or [], thing),
        document.annotations or {},
        _optional(document.subject, thing),
        document.artifact_type,
    )


def check_children(index: ImageIndex, thing: str) -> None:
    """Refuse an image index whose children are too many, or not named by sha256.

    Manifests are written and signed under sha256, the one algorithm that every registry and
    verifier knows (image-spec 1.1, descriptor.md, "Registered algorithms"): under another name
    the index would not find its child again.

    Raises:
        LimitExceededError: more than CHILD_LIMIT. Lists of referrers may be longer.
        UnsupportedImageError: a child is named by another algorithm.
    """
    for child in index.manifests:
        if child.digest.algorithm != "sha256":
            fact = f"names its child {child.digest.short} by {child.digest.algorithm}"
            raise UnsupportedImageError(f"index {thing}", fact, "build it with sha256 digests")
    if len(index.manifests) > CHILD_LIMIT:
        found = str(len(index.manifests))
        raise LimitExceededError(f"index {thing}, children", str(CHILD_LIMIT), found)


def _optional(found: _Descriptor | None, thing: str) -> Descriptor | None:
    return None if found is None else _descriptor(found, thing)


def _descriptors(found: list[_Descriptor], thing: str) -> tuple[Descriptor, ...]:
    if len(found) > _DESCRIPTOR_LIMIT:
        raise LimitExceededError(
            f"manifest {thing}, descriptors", str(_DESCRIPTOR_LIMIT), str(len(found))
        )
    return tuple(_descriptor(one, thing) for one in found)


def _descriptor(found: _Descriptor, thing: str) -> Descriptor:
    try:
        digest = Digest(found.digest)
    except InvalidNameError as error:
        raise MalformedManifestError(thing, str(error)) from error
    if found.size < 0:
        raise MalformedManifestError(thing, f"{digest} has size {found.size}")
    platform = found.platform
    return Descriptor(
        found.media_type,
        digest,
        found.size,
        found.annotations or {},
        _platform(platform) if platform else None,
        found.artifact_type,
    )


def _platform(found: _Platform | _Config) -> Platform:
    return Platform(found.os, found.architecture, found.variant, found.os_version)


def parse_config(content: bytes, thing: str) -> ImageConfig:
    """Read an image configuration: image-spec 1.1, config.md; a time that is none is left out.

    Raises:
        MalformedManifestError: not JSON, or fields of the wrong kind.
        LimitExceededError: larger than CONFIG_LIMIT.
    """
    if len(content) > CONFIG_LIMIT:
        raise LimitExceededError(f"config of {thing}", f"{CONFIG_LIMIT} bytes", str(len(content)))
    found = _decoded(content, _Config, f"config of {thing}")
    return ImageConfig(
        _platform(found),
        (found.config.labels if found.config else None) or {},
        _time(found.created),
        _runs(content),
    )


def _runs(content: bytes) -> ImageConfiguration | None:
    """How it runs, as scanners read it; what is not written as specified says nothing."""
    try:
        return image_configuration(structs.decode(content, Config))
    except msgspec.ValidationError:
        return None


def _time(text: str | None) -> datetime | None:
    """None also for what builders write that tell no time: Go's zero, 1970, 1980."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo and moment.year >= _FIRST_IMAGES else None


def _decoded(content: bytes, kind: type[_T], thing: str) -> _T:
    _check_nesting(content, thing)
    try:
        return structs.decode(content, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedManifestError(thing, f"not a manifest: {error}") from error


def _check_nesting(content: bytes, thing: str) -> None:
    if nests_deeper(content, _NESTING_LIMIT):
        raise LimitExceededError(f"JSON nesting of {thing}", str(_NESTING_LIMIT))


def with_manifests(index: ImageIndex | None, added: Iterable[Descriptor]) -> bytes:
    """An OCI index that lists ``added`` too; the other entries keep every field they have."""
    empty = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    document: dict[str, Any] = json.loads(index.content) if index else empty
    document["manifests"] = [
        *(document.get("manifests") or []),
        *map(rendered_descriptor, added),
    ]
    return compact_json(document)


def render_manifest(
    config: Descriptor,
    layers: tuple[Descriptor, ...],
    *,
    annotations: Mapping[str, str] | None = None,
    subject: Descriptor | None = None,
    artifact_type: str = "",
) -> bytes:
    """An OCI image manifest, compact, keys in the order of the image-spec's examples."""
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
    if artifact_type:
        document["artifactType"] = artifact_type
    document["config"] = rendered_descriptor(config)
    document["layers"] = [rendered_descriptor(layer) for layer in layers]
    if annotations:
        document["annotations"] = dict(annotations)
    if subject:
        document["subject"] = rendered_descriptor(subject)
    return compact_json(document)


def empty_config() -> Descriptor:
    """The descriptor of ``{}``."""
    return Descriptor(OCI_EMPTY, Digest.of(EMPTY_CONFIG), len(EMPTY_CONFIG))


def rendered_descriptor(descriptor: Descriptor) -> dict[str, Any]:
    """The descriptor as JSON fields."""
    fields: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "size": descriptor.size,
        "digest": str(descriptor.digest),
    }
    if descriptor.annotations:
        fields["annotations"] = dict(descriptor.annotations)
    if descriptor.platform:
        platform = descriptor.platform
        fields["platform"] = {"architecture": platform.architecture, "os": platform.os}
        if platform.variant:
            fields["platform"]["variant"] = platform.variant
    if descriptor.artifact_type:
        fields["artifactType"] = descriptor.artifact_type
    return fields


def compact_json(document: object) -> bytes:
    """JSON without spaces, non-ASCII as UTF-8."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
