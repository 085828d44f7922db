"""cosign's signature layout of version 2: a payload, signed as it is, under ``sha256-<hex>.sig``.

    {"critical":{"identity":{"docker-reference":"registry.example.com/acme/api:1.2"},
                 "image":{"docker-manifest-digest":"sha256:..."},
                 "type":"cosign container image signature"},"optional":null}

Sources: cosign, specs/SIGNATURE_SPEC.md and pkg/cosign; where they differ the code is followed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from bot.domain.images import Descriptor, ImageManifest, NewManifest
from bot.domain.oci import OCI_CONFIG, OCI_MANIFEST, Digest, InvalidNameError
from bot.formats import structs
from bot.formats.image_manifest import compact_json, rendered_descriptor

PAYLOAD_TYPE: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
TAG_SUFFIX: Final = "sig"
LAYER_LIMIT: Final = 1000  # cosign reads no more signatures of one image
PAYLOAD_LIMIT: Final = 64 * 1024  # bytes; ours are below one KiB
_TYPE: Final = "cosign container image signature"
_NO_TIME: Final = "0001-01-01T00:00:00Z"
# Go's encoding/json writes these escaped, Python's json does not.
_GO_ESCAPES: Final = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


@dataclass(frozen=True, slots=True)
class SimplePayload:
    """What a signature says."""

    docker_reference: str
    digest: Digest
    annotations: Mapping[str, str]


class _Identity(msgspec.Struct, rename="kebab"):
    docker_reference: str


class _Image(msgspec.Struct, rename="kebab"):
    docker_manifest_digest: str


class _Critical(msgspec.Struct):
    identity: _Identity
    image: _Image
    type: str


class _Payload(msgspec.Struct):
    critical: _Critical
    optional: dict[str, Any] | None = None


def render_payload(payload: SimplePayload) -> bytes:
    """The bytes that are signed, as cosign itself would write them."""
    document = {
        "critical": {
            "identity": {"docker-reference": payload.docker_reference},
            "image": {"docker-manifest-digest": payload.digest},
            "type": _TYPE,
        },
        "optional": dict(sorted(payload.annotations.items())) or None,
    }
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return text.translate(_GO_ESCAPES).encode()


def parse_payload(content: bytes) -> SimplePayload | None:
    """Read a payload of anybody's; None if it is none."""
    try:
        found = structs.decode(content, _Payload)
        digest = Digest(found.critical.image.docker_manifest_digest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidNameError):
        return None
    if found.critical.type != _TYPE:
        return None
    annotations = {k: v for k, v in (found.optional or {}).items() if isinstance(v, str)}
    return SimplePayload(found.critical.identity.docker_reference, digest, annotations)


def signature_of(layer: Descriptor) -> bytes | None:
    """The signature (DER) that a layer of a ``.sig`` manifest carries; None if it has none."""
    if layer.media_type != PAYLOAD_TYPE:
        return None
    try:
        return (
            base64.b64decode(layer.annotations.get(SIGNATURE_ANNOTATION, ""), validate=True) or None
        )
    except ValueError:  # binascii.Error, or not ASCII
        return None


def signature_layer(payload: bytes, signature: bytes) -> Descriptor:
    """The layer that carries a signature."""
    annotations = {SIGNATURE_ANNOTATION: base64.b64encode(signature).decode()}
    return Descriptor(PAYLOAD_TYPE, Digest.of(payload), len(payload), annotations)


def with_layers(
    current: ImageManifest | None, added: tuple[Descriptor, ...], blobs: tuple[bytes, ...]
) -> NewManifest:
    """The manifest under a ``.sig`` or ``.att`` tag with more layers.

    Layers that are there keep every field they have; the config is made anew to fit, in the
    form of go-containerregistry's empty image.
    """
    document: dict[str, Any] = (
        json.loads(current.content)
        if current
        else {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {}, "layers": []}
    )
    document["layers"] += [rendered_descriptor(layer) for layer in added]
    config = _config([str(layer["digest"]) for layer in document["layers"]])
    media_type = str(document["config"].get("mediaType", OCI_CONFIG))
    document["config"] = rendered_descriptor(Descriptor(media_type, Digest.of(config), len(config)))
    kept = current.media_type if current else OCI_MANIFEST
    return NewManifest(compact_json(document), kept, (*blobs, config))


def _config(layers: list[str]) -> bytes:
    return compact_json(
        {
            "architecture": "",
            "created": _NO_TIME,
            "history": [{"created": _NO_TIME} for _ in layers],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": layers},
            "config": {},
        }
    )
