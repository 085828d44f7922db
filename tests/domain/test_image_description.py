from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.image_description import ImageConfig, describe_image
from bot.domain.images import (
    BaseImage,
    Descriptor,
    ImageDescription,
    ImageIndex,
    ImageManifest,
    ImageTree,
)
from bot.domain.oci import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Digest,
    ImageRepository,
    Platform,
)

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
REVISION = "org.opencontainers.image.revision"


def manifest(name: str) -> ImageManifest:
    content = name.encode()
    config = Descriptor(OCI_CONFIG, Digest.of(content), 10)
    return ImageManifest(content, OCI_MANIFEST, config, (Descriptor("layer", config.digest, 90),))


def listed(child: ImageManifest | ImageIndex, platform: Platform | None, **more: str) -> Descriptor:
    return Descriptor(child.media_type, child.digest, len(child.content), more, platform)


def described(
    children: list[tuple[ImageManifest | ImageIndex, Platform | None, ImageConfig | None]],
    annotations: dict[str, str] | None = None,
) -> ImageDescription:
    entries = tuple(listed(child, platform) for child, platform, _ in children)
    index = ImageIndex(b"index", OCI_INDEX, entries, annotations or {})
    tree = ImageTree(index, tuple(ImageTree(child) for child, _, _ in children))
    configs = {child.digest: config for child, _, config in children if config}
    reference = ImageRepository("r.example.com", "acme/api").at(index.digest)
    return describe_image(reference, tree, configs)


def test_platforms_come_with_digest_and_compressed_size() -> None:
    amd64 = manifest("amd64")

    found = described([(amd64, AMD64, ImageConfig(AMD64, {}, None))])

    assert found.child(AMD64) == amd64.digest
    assert found.child(ARM64) is None
    assert found.platforms[0].compressed_size == 100
    assert found.ambiguities == ()


def test_labels_on_which_all_agree_are_the_images() -> None:
    labels = {REVISION: "abc", "other": "x"}

    found = described(
        [(manifest(a), p, ImageConfig(p, labels, None)) for a, p in (("1", AMD64), ("2", ARM64))]
    )

    assert found.labels == {REVISION: "abc"}
    assert found.contradictions == ()


def test_a_label_on_which_platforms_differ_is_no_label() -> None:
    found = described(
        [
            (manifest("1"), AMD64, ImageConfig(AMD64, {REVISION: "abc"}, None)),
            (manifest("2"), ARM64, ImageConfig(ARM64, {REVISION: "def"}, None)),
        ]
    )

    assert found.labels == {}
    assert found.contradictions == (REVISION,)


def test_an_annotation_that_contradicts_a_label_is_reported() -> None:
    config = ImageConfig(AMD64, {REVISION: "abc"}, None)

    found = described([(manifest("1"), AMD64, config)], {REVISION: "def"})

    assert found.contradictions == (REVISION,)


def test_two_children_of_one_platform_are_ambiguous() -> None:
    found = described(
        [(manifest(name), AMD64, ImageConfig(AMD64, {}, None)) for name in ("1", "2")]
    )

    assert found.ambiguities == ("linux/amd64 is there 2 times",)


def test_two_builds_of_windows_are_two_platforms() -> None:
    old, new = (Platform("windows", "amd64", "", f"10.0.{build}.99") for build in (17763, 20348))
    found = described(
        [
            (manifest("1"), old, ImageConfig(old, {}, None)),
            # What the index leaves out the config knows.
            (manifest("2"), Platform("windows", "amd64"), ImageConfig(new, {}, None)),
        ]
    )

    assert found.ambiguities == ()
    shown = [str(one.platform) for one in found.platforms]
    assert shown == ["windows(10.0.17763)/amd64", "windows(10.0.20348)/amd64"]


def test_a_patch_of_windows_is_the_same_platform() -> None:
    names = []
    for revision in ("5820", "6054"):
        windows = Platform("windows", "amd64", "", f"10.0.17763.{revision}")
        found = described([(manifest(revision), windows, ImageConfig(windows, {}, None))])
        names.append(found.platforms[0].platform)

    assert names[0] == names[1]


def test_a_child_without_a_platform_is_ambiguous() -> None:
    stray = manifest("stray")

    found = described([(stray, Platform("unknown", "unknown"), ImageConfig(AMD64, {}, None))])

    assert found.platforms == ()
    assert found.ambiguities == (f"{stray.digest} is neither a platform nor a known attestation",)


def test_a_buildkit_attestation_is_neither_platform_nor_ambiguity() -> None:
    child, attestation = manifest("amd64"), manifest("attestation")
    entries = (
        listed(child, AMD64),
        listed(
            attestation,
            Platform("unknown", "unknown"),
            **{"vnd.docker.reference.type": "attestation-manifest"},
        ),
    )
    index = ImageIndex(b"index", OCI_INDEX, entries)
    tree = ImageTree(index, (ImageTree(child), ImageTree(attestation)))
    config = ImageConfig(AMD64, {}, None)
    reference = ImageRepository("r.example.com", "a").at(index.digest)

    found = describe_image(reference, tree, {child.digest: config, attestation.digest: config})

    assert [image.digest for image in found.platforms] == [child.digest]
    assert found.ambiguities == ()


@pytest.mark.parametrize(
    ("layer", "signed"), [("application/vnd.in-toto+json", True), ("layer", False)]
)
def test_what_calls_itself_an_attestation_and_could_run_is_none(
    layer: str, *, signed: bool
) -> None:
    """It is signed along; nothing that nobody has judged may be."""
    child, attestation = manifest("amd64"), manifest("attestation")
    attestation = replace(
        attestation, layers=(Descriptor(layer, attestation.digest, 9), *attestation.layers[1:])
    )
    marked = {"vnd.docker.reference.type": "attestation-manifest"}
    entries = (
        listed(child, AMD64),
        listed(attestation, Platform("unknown", "unknown"), **marked),
    )
    index = ImageIndex(b"index", OCI_INDEX, entries)
    tree = ImageTree(index, (ImageTree(child), ImageTree(attestation)))
    reference = ImageRepository("r.example.com", "a").at(index.digest)

    found = describe_image(reference, tree, {child.digest: ImageConfig(AMD64, {}, None)})

    assert found.instances == (child.digest, attestation.digest)[: 1 + signed]


def test_an_index_in_the_index_is_ambiguous() -> None:
    inner = ImageIndex(b"inner", OCI_INDEX, ())

    found = described([(inner, None, None)])

    assert found.ambiguities == (f"{inner.digest} is an index inside the index",)


def test_a_child_listed_as_another_platform_than_its_own_is_ambiguous() -> None:
    child = manifest("1")

    found = described([(child, AMD64, ImageConfig(ARM64, {}, None))])

    assert found.ambiguities == (f"{child.digest} is listed as linux/amd64, its config disagrees",)


BASE = "org.opencontainers.image.base."


def based(content: str, **said: str) -> ImageManifest:
    return replace(manifest(content), annotations={BASE + part: v for part, v in said.items()})


def test_each_platform_has_its_own_base() -> None:
    amd64 = based("1", name="docker.io/library/debian:12", digest="sha256:aa")
    arm64 = based("2", name="docker.io/library/debian:12", digest="sha256:bb")

    found = described(
        [(amd64, AMD64, ImageConfig(AMD64, {}, None)), (arm64, ARM64, ImageConfig(ARM64, {}, None))]
    )

    assert found.bases == (
        BaseImage("docker.io/library/debian:12", "sha256:aa"),
        BaseImage("docker.io/library/debian:12", "sha256:bb"),
    )


def test_a_base_stands_in_labels_or_on_the_index_too() -> None:
    by_label = ImageConfig(AMD64, {BASE + "name": "debian:12"}, None)
    silent = ImageConfig(AMD64, {}, None)

    assert described([(manifest("1"), AMD64, by_label)]).bases == (BaseImage("debian:12", ""),)
    assert described([(manifest("1"), AMD64, silent)], {BASE + "name": "alpine"}).bases == (
        BaseImage("alpine", ""),
    )
    assert described([(manifest("1"), AMD64, silent)]).bases == ()


def test_an_attestation_has_no_base() -> None:
    amd64 = based("1", name="debian:12")
    attestation = based("2", name="somebody's word")

    found = described([(amd64, AMD64, ImageConfig(AMD64, {}, None)), (attestation, None, None)])

    assert found.bases == (BaseImage("debian:12", ""),)
