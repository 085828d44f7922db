from __future__ import annotations

import json
from typing import Any

import pytest

from bot.domain.errors import LimitExceededError, LockkeeperError
from bot.domain.images import (
    Descriptor,
    ImageIndex,
    ImageManifest,
    MalformedManifestError,
    UnsupportedImageError,
)
from bot.domain.oci import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Digest, Platform
from bot.formats.image_manifest import (
    check_children,
    parse_config,
    parse_manifest,
    render_manifest,
    with_manifests,
)

DIGEST = "sha256:" + "a" * 64
ENTRY: dict[str, Any] = {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": 3}
MANIFEST: dict[str, Any] = {"schemaVersion": 2, "config": ENTRY, "layers": [ENTRY]}
INDEX: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [ENTRY]}


def parsed(document: object, media_type: str) -> ImageManifest | ImageIndex:
    return parse_manifest(json.dumps(document).encode(), media_type, "r.example/a@x")


def test_the_bytes_are_kept() -> None:
    content = json.dumps(INDEX, indent=7).encode()

    found = parse_manifest(content, OCI_INDEX, "x")

    assert found.content == content
    assert found.digest == Digest.of(content)


def test_a_manifest_without_its_own_media_type_has_the_served_one() -> None:
    assert parsed(MANIFEST, f"{OCI_MANIFEST}; charset=utf-8").media_type == OCI_MANIFEST
    assert parsed(MANIFEST, DOCKER_MANIFEST).media_type == DOCKER_MANIFEST


def test_platforms_and_annotations_of_children_are_read() -> None:
    platform = {"os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1"}
    entry = {**ENTRY, "platform": platform, "annotations": {"a": "b"}}

    found = parsed({**INDEX, "manifests": [entry]}, OCI_INDEX)

    assert isinstance(found, ImageIndex)
    assert found.manifests[0].platform == Platform("linux", "arm", "v7", "1")
    assert found.manifests[0].annotations == {"a": "b"}


@pytest.mark.parametrize(
    "served", ["", "application/json", "application/octet-stream", "text/plain; charset=utf-8"]
)
def test_a_type_that_says_nothing_leaves_it_to_the_content(served: str) -> None:
    for document, kind in ((INDEX, OCI_INDEX), (MANIFEST, OCI_MANIFEST)):
        assert parsed(document, served).media_type == kind


@pytest.mark.parametrize("lists", [{"manifests": None}, {"manifests": []}, {}])
def test_an_index_may_say_nothing_for_none(lists: dict[str, object]) -> None:
    found = parsed({"schemaVersion": 2, **lists}, OCI_INDEX)

    assert isinstance(found, ImageIndex)
    assert found.manifests == ()


@pytest.mark.parametrize("layers", [{"layers": None}, {"layers": []}, {}])
def test_a_manifest_may_say_nothing_for_no_layers(layers: dict[str, object]) -> None:
    found = parsed({"schemaVersion": 2, "config": ENTRY, **layers}, OCI_MANIFEST)

    assert isinstance(found, ImageManifest)
    assert found.layers == ()


def test_an_entry_is_added_to_a_list_that_says_null_for_none() -> None:
    found = parsed({"schemaVersion": 2, "manifests": None}, OCI_INDEX)
    assert isinstance(found, ImageIndex)

    added = with_manifests(found, [Descriptor(OCI_MANIFEST, Digest(DIGEST), 3)])

    assert len(json.loads(added)["manifests"]) == 1


@pytest.mark.parametrize(
    ("document", "media_type", "kind"),
    [
        ({**INDEX, "mediaType": OCI_MANIFEST}, OCI_INDEX, MalformedManifestError),
        ({**INDEX, "layers": []}, OCI_INDEX, MalformedManifestError),
        (MANIFEST, OCI_INDEX, MalformedManifestError),
        ({"schemaVersion": 2, "manifests": []}, OCI_MANIFEST, MalformedManifestError),
        ({**INDEX, "manifests": [{**ENTRY, "size": -1}]}, OCI_INDEX, MalformedManifestError),
        ({**INDEX, "manifests": [{**ENTRY, "digest": "sha256:x"}]}, OCI_INDEX, LockkeeperError),
        ({**INDEX, "manifests": [{**ENTRY, "size": "3"}]}, OCI_INDEX, MalformedManifestError),
        ({}, "application/json", UnsupportedImageError),
        ({**INDEX, "mediaType": "application/x"}, "application/json", UnsupportedImageError),
        (MANIFEST, "text/html", UnsupportedImageError),
        (
            {"schemaVersion": 1, "fsLayers": []},
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            UnsupportedImageError,
        ),
        ({"schemaVersion": 1, "fsLayers": []}, DOCKER_MANIFEST, UnsupportedImageError),
        ({**MANIFEST, "layers": [ENTRY] * 1025}, OCI_MANIFEST, LimitExceededError),
    ],
)
def test_what_is_not_what_it_claims_is_refused(
    document: object, media_type: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        parsed(document, media_type)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"schemaVersion":2,"annotations":{"a":"\xff"}}',
        b" " * (4 * 2**20 + 1),
    ],
)
def test_bombs_and_rubbish_are_refused(content: bytes) -> None:
    with pytest.raises(LockkeeperError):
        parse_manifest(content, OCI_INDEX, "x")


def test_brackets_inside_texts_are_no_nesting() -> None:
    document = {**MANIFEST, "annotations": {"a": "[" * 100 + '\\"{' * 100}}

    assert parsed(document, OCI_MANIFEST).media_type == OCI_MANIFEST


def test_an_image_has_at_most_500_children() -> None:
    index = parsed({**INDEX, "manifests": [ENTRY] * 501}, OCI_INDEX)

    assert isinstance(index, ImageIndex)
    with pytest.raises(LimitExceededError, match="501, the limit is 500"):
        check_children(index, "x")


def test_a_child_that_is_named_by_sha512_is_refused() -> None:
    entry = {**ENTRY, "digest": "sha512:" + "a" * 128}
    index = parsed({**INDEX, "manifests": [entry]}, OCI_INDEX)

    assert isinstance(index, ImageIndex)
    with pytest.raises(UnsupportedImageError, match="by sha512; build it with sha256 digests"):
        check_children(index, "x")


def test_what_we_render_is_what_we_read() -> None:
    blob = Descriptor("text/plain", Digest(DIGEST), 5, {"k": "ü"})
    subject = Descriptor(OCI_INDEX, Digest(DIGEST), 7)

    content = render_manifest(
        blob, (blob,), annotations={"b": "1"}, subject=subject, artifact_type="application/x"
    )
    found = parse_manifest(content, OCI_MANIFEST, "x")

    assert isinstance(found, ImageManifest)
    assert (found.config, found.layers, found.subject) == (blob, (blob,), subject)
    assert (found.annotations, found.kind) == ({"b": "1"}, "application/x")


def test_adding_to_an_index_keeps_what_others_wrote() -> None:
    foreign = {**ENTRY, "urls": ["https://x.example"], "platform": {"os": "a", "architecture": "b"}}
    index = parsed({**INDEX, "manifests": [foreign], "annotations": {"x": "y"}}, OCI_INDEX)
    assert isinstance(index, ImageIndex)

    content = with_manifests(index, [Descriptor(OCI_MANIFEST, Digest("sha256:" + "b" * 64), 9)])

    document = json.loads(content)
    assert document["manifests"][0] == foreign
    assert document["annotations"] == {"x": "y"}
    assert len(document["manifests"]) == 2


def test_a_config_tells_platform_labels_and_time() -> None:
    content = json.dumps(
        {
            "os": "linux",
            "architecture": "amd64",
            "created": "2026-01-02T03:04:05.123456789Z",
            "config": {"Labels": {"a": "b"}},
        }
    ).encode()

    found = parse_config(content, "x")

    assert found.platform == Platform("linux", "amd64")
    assert found.labels == {"a": "b"}
    assert found.created is not None
    assert found.created.isoformat() == "2026-01-02T03:04:05.123456+00:00"


@pytest.mark.parametrize(
    "created",
    [
        *(None, "", "yesterday", "2026-01-02"),
        # Go's zero, reproducible builds, buildpacks: no time at which anything was built
        *("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1980-01-01T00:00:01Z"),
    ],
)
def test_a_time_that_is_none_is_left_out(created: str | None) -> None:
    assert parse_config(json.dumps({"created": created}).encode(), "x").created is None
