from __future__ import annotations

import base64
import json

import pytest

from bot.domain.images import Descriptor, ImageManifest
from bot.domain.oci import OCI_INDEX, Digest
from bot.formats.image_manifest import parse_manifest
from bot.formats.sigstore_bundle import (
    BUNDLE_TYPE,
    SIGN_PREDICATE,
    STATEMENT_TYPE,
    bundle_manifest,
    parse_bundle,
    parse_envelope,
    parse_statement,
    pre_authentication_encoding,
    render_bundle,
    render_statement,
)

DIGEST = Digest("sha256:" + "0f" * 32)
FINGERPRINT = "sha256:" + "ab" * 32


def test_pae_is_the_example_of_the_dsse_specification() -> None:
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")

    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_the_statement_is_cosigns() -> None:
    content = render_statement(DIGEST, SIGN_PREDICATE, {}, annotations={"b": "2", "a": "1"})

    assert content == (
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"'
        + b"0f" * 32
        + b'"},"annotations":{"a":"1","b":"2"}}],'
        b'"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}'
    )


def test_a_statement_is_read_again() -> None:
    content = render_statement(DIGEST, "p", {"x": 1}, name="r/a", annotations={"a": "1"})

    found = parse_statement(content)

    assert found is not None
    assert found.predicate_type == "p"
    assert [(s.digest, s.name, s.annotations) for s in found.subjects] == [
        (DIGEST, "r/a", {"a": "1"})
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 100_000,
        b'{"_type":"other","subject":[],"predicateType":"p"}',
        render_statement(DIGEST, "p", {}).replace(b"0f0f", b"0g0f"),
    ],
)
def test_what_is_no_statement_is_none(content: bytes) -> None:
    assert parse_statement(content) is None


def test_a_bundle_carries_the_envelope_and_the_keys_hint() -> None:
    content = render_bundle(b"statement", b"signature", FINGERPRINT)

    envelope = parse_bundle(content)

    assert envelope is not None
    assert (envelope.payload, envelope.payload_type) == (b"statement", STATEMENT_TYPE)
    assert envelope.signatures == (b"signature",)
    assert envelope.message == pre_authentication_encoding(STATEMENT_TYPE, b"statement")
    hint = json.loads(content)["verificationMaterial"]["publicKey"]["hint"]
    assert base64.b64decode(hint) == bytes.fromhex("ab" * 32)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b'{"mediaType":"text/plain","verificationMaterial":{}}',
        b'{"mediaType":"' + BUNDLE_TYPE.encode() + b'","verificationMaterial":{}}',
        render_bundle(b"s", b"s", FINGERPRINT).replace(b'"payload":"', b'"payload":"%'),
    ],
)
def test_what_is_no_bundle_is_none(content: bytes) -> None:
    assert parse_bundle(content) is None


def test_an_attestations_envelope_is_read_bare() -> None:
    content = b'{"payload":"QQ==","payloadType":"t","signatures":[{"keyid":"","sig":"Qg=="}]}'

    envelope = parse_envelope(content)

    assert envelope is not None
    assert (envelope.payload, envelope.signatures) == (b"A", (b"B",))


def test_the_referrer_has_one_layer_and_names_its_subject() -> None:
    subject = Descriptor(OCI_INDEX, DIGEST, 7)

    new = bundle_manifest(b"bundle", SIGN_PREDICATE, subject, "2026-11-20T10:14:47Z")

    manifest = parse_manifest(new.content, new.media_type, "x")
    assert isinstance(manifest, ImageManifest)
    assert manifest.artifact_type == BUNDLE_TYPE
    assert manifest.subject == subject
    assert [layer.digest for layer in manifest.layers] == [Digest.of(b"bundle")]
    assert {Digest.of(blob) for blob in new.blobs} == {blob.digest for blob in manifest.blobs}
    assert manifest.annotations == {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": SIGN_PREDICATE,
        "org.opencontainers.image.created": "2026-11-20T10:14:47Z",
    }
