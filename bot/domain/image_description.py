"""What an image says about itself, gathered from its manifests and configurations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from bot.domain.image_configuration import ImageConfiguration
from bot.domain.images import (
    SIGNED_LIMIT,
    BaseImage,
    Descriptor,
    ImageDescription,
    ImageIndex,
    ImageManifest,
    ImageTree,
    PlatformImage,
)
from bot.domain.oci import Digest, DigestReference, Platform

_LABELS: Final = "org.opencontainers.image."  # image-spec 1.1, annotations.md
_STATEMENT: Final = "application/vnd.in-toto+json"
_BUILD: Final = 3  # parts of a version of Windows that name its build
_UNKNOWN: Final = Platform("unknown", "unknown")


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What one platform's config blob says: image-spec 1.1, config.md."""

    platform: Platform
    labels: Mapping[str, str]
    created: datetime | None
    runs: ImageConfiguration | None = None
    """How it runs; None: it does not say."""


def describe_image(
    reference: DigestReference, tree: ImageTree, configs: Mapping[Digest, ImageConfig]
) -> ImageDescription:
    """Put together what the parts say; where they disagree, say so in place of choosing.

    Args:
        reference: the image.
        tree: all its manifests.
        configs: by manifest digest; manifests without one are no platforms.
    """
    labels, contradictions = _agreed([tree.root.annotations, *(c.labels for c in configs.values())])
    times = [config.created for config in configs.values() if config.created]
    return ImageDescription(
        reference=reference,
        media_type=tree.root.media_type,
        size=len(tree.root.content),
        platforms=tuple(_platforms(tree, configs)),
        labels=labels,
        contradictions=contradictions,
        ambiguities=tuple(_ambiguities(tree, configs)),
        created=max(times, default=None),
        bases=tuple(sorted(set(_bases(tree, configs)))),
        attestations=tuple(_attestations(tree)),
    )


def _bases(tree: ImageTree, configs: Mapping[Digest, ImageConfig]) -> Iterator[BaseImage]:
    """By each platform's annotations, else its labels, else the index's annotations.

    image-spec 1.1, annotations.md: ``base.digest`` is that of the manifest with the same first
    layers, so each platform has its own.
    """
    for manifest in tree.walk():
        config = configs.get(manifest.digest)
        if config is not None and isinstance(manifest, ImageManifest):
            said = {**tree.root.annotations, **config.labels, **manifest.annotations}
            name, digest = (said.get(f"{_LABELS}base.{part}", "") for part in ("name", "digest"))
            if name or digest:
                yield BaseImage(name, digest)


def _platforms(tree: ImageTree, configs: Mapping[Digest, ImageConfig]) -> Iterator[PlatformImage]:
    listed = _descriptors(tree)
    for manifest in {m.digest: m for m in tree.walk()}.values():
        config = configs.get(manifest.digest)
        if config is None or not isinstance(manifest, ImageManifest):
            continue
        descriptor = listed.get(manifest.digest)
        platform = _listed(descriptor, config)
        if not (descriptor and descriptor.is_buildkit_attestation) and platform != _UNKNOWN:
            size = sum(blob.size for blob in manifest.blobs)
            yield PlatformImage(
                platform, manifest.digest, size, manifest.config.digest, config.runs
            )


def _attestations(tree: ImageTree) -> Iterator[Digest]:
    """Children that say that they are attestations, and are: layers that run are none."""
    listed = _descriptors(tree)
    for child in tree.children:
        descriptor, root = listed.get(child.root.digest), child.root
        if descriptor is None or not descriptor.is_buildkit_attestation:
            continue
        if isinstance(root, ImageManifest) and all(
            layer.media_type == _STATEMENT for layer in root.layers
        ):
            yield root.digest


def _listed(descriptor: Descriptor | None, config: ImageConfig) -> Platform:
    """What the index says, else the config; of Windows with its build, which both may know.

    ``10.0.17763.5820`` is build 17763: the revision behind it changes with every patch, and the
    next release is held against this one by its platform.
    """
    platform = (descriptor and descriptor.platform) or config.platform
    version = platform.os_version or config.platform.os_version
    build = version.split(".")[:_BUILD] if platform.os == "windows" else []
    return replace(platform, os_version=".".join(build))


def _ambiguities(tree: ImageTree, configs: Mapping[Digest, ImageConfig]) -> Iterator[str]:
    platforms = Counter(image.platform for image in _platforms(tree, configs))
    yield from (f"{platform} is there {n} times" for platform, n in platforms.items() if n > 1)
    if len(tree.children) > SIGNED_LIMIT:
        yield f"it has {len(tree.children)} children, more than {SIGNED_LIMIT}"
    known = {image.digest for image in _platforms(tree, configs)}
    for child in tree.children:
        digest = child.root.digest
        descriptor = _descriptors(tree)[digest]
        if isinstance(child.root, ImageIndex):
            yield f"{digest} is an index inside the index"
        elif digest not in known and not descriptor.is_buildkit_attestation:
            yield f"{digest} is neither a platform nor a known attestation"
        elif _says_otherwise(descriptor, configs.get(digest)):
            yield f"{digest} is listed as {descriptor.platform}, its config disagrees"


def _says_otherwise(descriptor: Descriptor, config: ImageConfig | None) -> bool:
    """The index names another system or architecture than the image's own configuration."""
    listed = descriptor.platform
    if listed is None or config is None or descriptor.is_buildkit_attestation:
        return False
    return (listed.os, listed.architecture) != (config.platform.os, config.platform.architecture)


def _descriptors(tree: ImageTree) -> dict[Digest, Descriptor]:
    return {
        descriptor.digest: descriptor
        for manifest in tree.walk()
        if isinstance(manifest, ImageIndex)
        for descriptor in manifest.manifests
    }


def _agreed(sources: Iterable[Mapping[str, str]]) -> tuple[dict[str, str], tuple[str, ...]]:
    values: dict[str, set[str]] = {}
    for source in sources:
        for name, value in source.items():
            if name.startswith(_LABELS):
                values.setdefault(name, set()).add(value)
    agreed = {name: next(iter(found)) for name, found in values.items() if len(found) == 1}
    return agreed, tuple(sorted(values.keys() - agreed.keys()))
