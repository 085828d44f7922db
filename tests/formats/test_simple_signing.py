from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, strategies

from bot.domain.images import Descriptor, ImageManifest
from bot.domain.oci import DOCKER_MANIFEST, OCI_MANIFEST, Digest
from bot.formats.image_manifest import parse_manifest
from bot.formats.simple_signing import (
    PAYLOAD_TYPE,
    SIGNATURE_ANNOTATION,
    SimplePayload,
    parse_payload,
    render_payload,
    signature_layer,
    signature_of,
    with_layers,
)

DIGEST = Digest("sha256:" + "0f" * 32)


def test_the_payload_is_what_cosign_writes() -> None:
    payload = SimplePayload("r.example.com/acme/api:1.2", DIGEST, {})

    assert render_payload(payload) == (
        b'{"critical":{"identity":{"docker-reference":"r.example.com/acme/api:1.2"},'
        b'"image":{"docker-manifest-digest":"sha256:' + b"0f" * 32 + b'"},'
        b'"type":"cosign container image signature"},"optional":null}'
    )


def test_annotations_are_sorted_and_escaped_as_go_does() -> None:
    payload = SimplePayload("r", DIGEST, {"z": "<a>&\u2028", "a": "ü"})

    content = render_payload(payload)

    assert content.endswith('"optional":{"a":"ü","z":"\\u003ca\\u003e\\u0026\\u2028"}}'.encode())


@given(
    strategies.text(strategies.characters(exclude_categories=["Cs"])),
    strategies.dictionaries(
        strategies.text(strategies.characters(exclude_categories=["Cs"])),
        strategies.text(strategies.characters(exclude_categories=["Cs"])),
    ),
)
def test_what_is_rendered_is_read_again(reference: str, annotations: dict[str, str]) -> None:
    payload = SimplePayload(reference, DIGEST, annotations)

    assert parse_payload(render_payload(payload)) == payload


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[" * 100_000, b'{"critical":{}}', b'{"critical":"\xff"}'],
)
def test_what_is_no_payload_is_none(content: bytes) -> None:
    assert parse_payload(content) is None


def test_another_type_of_payload_is_none() -> None:
    content = render_payload(SimplePayload("r", DIGEST, {}))

    assert parse_payload(content.replace(b"container image signature", b"other")) is None
    assert parse_payload(content.replace(DIGEST.encode(), b"sha256:1")) is None


def test_a_first_signature_makes_a_manifest_with_a_fitting_config() -> None:
    layer = signature_layer(b"payload", b"signature")

    new = with_layers(None, (layer,), (b"payload",))

    manifest = parse_manifest(new.content, new.media_type, "x")
    assert isinstance(manifest, ImageManifest)
    assert manifest.layers == (layer,)
    assert manifest.config.digest == Digest.of(new.blobs[1])
    config = json.loads(new.blobs[1])
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer.digest]}
    assert len(config["history"]) == 1


def test_more_signatures_leave_the_others_as_they_are() -> None:
    foreign = {
        "mediaType": PAYLOAD_TYPE,
        "size": 3,
        "digest": DIGEST,
        "annotations": {SIGNATURE_ANNOTATION: "QUJD", "dev.sigstore.cosign/bundle": '{"a":1}'},
        "urls": ["https://x.example"],
    }
    current = parse_manifest(
        json.dumps({"schemaVersion": 2, "config": foreign, "layers": [foreign]}).encode(),
        DOCKER_MANIFEST,
        "x",
    )
    assert isinstance(current, ImageManifest)

    new = with_layers(current, (signature_layer(b"p", b"s"),), (b"p",))

    assert json.loads(new.content)["layers"][0] == foreign
    assert new.media_type == DOCKER_MANIFEST


@pytest.mark.parametrize(
    ("media_type", "annotation", "signature"),
    [
        (PAYLOAD_TYPE, base64.b64encode(b"sig").decode(), b"sig"),
        (PAYLOAD_TYPE, "", None),
        (PAYLOAD_TYPE, "%%%", None),
        (PAYLOAD_TYPE, "é", None),
        (OCI_MANIFEST, base64.b64encode(b"sig").decode(), None),
    ],
)
def test_a_signature_is_read_only_where_there_is_one(
    media_type: str, annotation: str, signature: bytes | None
) -> None:
    layer = Descriptor(media_type, DIGEST, 3, {SIGNATURE_ANNOTATION: annotation})

    assert signature_of(layer) == signature
