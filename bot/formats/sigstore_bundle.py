"""Sigstore bundles 0.3 with a DSSE envelope: cosign's layout of version 3, one per referrer.

Sources: sigstore/protobuf-specs (sigstore_bundle.proto), secure-systems-lab/dsse (protocol.md),
in-toto/attestation (spec/v1), cosign pkg/cosign and internal/key.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec

from bot.domain.images import Descriptor, NewManifest
from bot.domain.oci import OCI_MANIFEST, Digest, InvalidNameError
from bot.formats import structs
from bot.formats.image_manifest import EMPTY_CONFIG, compact_json, empty_config, render_manifest

BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUNDLE_FAMILY: Final = "application/vnd.dev.sigstore.bundle"
STATEMENT_TYPE: Final = "application/vnd.in-toto+json"
ENVELOPE_TYPE: Final = "application/vnd.dsse.envelope.v1+json"
# What cosign 3 writes for "this image is signed"; nothing else means that.
SIGN_PREDICATE: Final = "https://sigstore.dev/cosign/sign/v1"
_STATEMENT_V1: Final = "https://in-toto.io/Statement/v1"
_T = TypeVar("_T")
_STATEMENTS: Final = frozenset({_STATEMENT_V1, "https://in-toto.io/Statement/v0.1"})


@dataclass(frozen=True, slots=True)
class Envelope:
    """A signed message: DSSE 1.0."""

    payload_type: str
    payload: bytes
    signatures: tuple[bytes, ...]
    bundle: bytes = field(default=b"", repr=False)
    """The sigstore bundle that it came in, whole; empty where it came alone."""

    @property
    def message(self) -> bytes:
        """What the signatures are over."""
        return pre_authentication_encoding(self.payload_type, self.payload)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about."""

    digest: Digest
    name: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statement:
    """An in-toto statement without its predicate."""

    predicate_type: str
    subjects: tuple[Subject, ...]


class _Signature(msgspec.Struct):
    sig: str


class _Envelope(msgspec.Struct, rename="camel"):
    payload: str
    payload_type: str
    signatures: list[_Signature]


class _Bundle(msgspec.Struct, rename="camel"):
    media_type: str
    verification_material: dict[str, Any]
    dsse_envelope: _Envelope | None = None


class _Subject(msgspec.Struct):
    digest: dict[str, str]
    name: str = ""
    annotations: dict[str, Any] | None = None


class _Statement(msgspec.Struct):
    kind: str = msgspec.field(name="_type")
    subject: list[_Subject]
    predicate_type: str = msgspec.field(name="predicateType")


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """DSSE's PAE: dsse/protocol.md, "Signature Definition"."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def render_statement(
    digest: Digest,
    predicate_type: str,
    predicate: Mapping[str, Any],
    *,
    name: str = "",
    annotations: Mapping[str, str] | None = None,
) -> bytes:
    """An in-toto statement version 1 about one digest."""
    subject: dict[str, Any] = {"name": name} if name else {}
    subject["digest"] = {digest.algorithm: digest.hex}
    if annotations:
        subject["annotations"] = dict(sorted(annotations.items()))
    return compact_json(
        {
            "_type": _STATEMENT_V1,
            "subject": [subject],
            "predicateType": predicate_type,
            "predicate": dict(predicate),
        }
    )


def parse_statement(payload: bytes) -> Statement | None:
    """Read a statement of anybody's; None if it is none. sha256 subjects only."""
    found = _decoded(payload, _Statement)
    if found is None or found.kind not in _STATEMENTS:
        return None
    try:
        subjects = tuple(
            Subject(Digest(f"sha256:{one.digest['sha256']}"), one.name, _texts(one.annotations))
            for one in found.subject
            if "sha256" in one.digest
        )
    except InvalidNameError:
        return None
    return Statement(found.predicate_type, subjects)


def is_of_type(predicate_type: str, wanted: str) -> bool:
    """The type is the wanted one, or a version of it: types carry theirs behind a slash."""
    return predicate_type == wanted or predicate_type.startswith(f"{wanted}/")


def render_bundle(statement: bytes, signature: bytes, fingerprint: str) -> bytes:
    """A bundle of a statement signed by a key.

    Args:
        statement: the payload.
        signature: DER, over the PAE of the payload.
        fingerprint: ``sha256:`` and hex of the public key's SPKI; the hint for verifiers.
    """
    hint = bytes.fromhex(fingerprint.partition(":")[2])
    return compact_json(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": _base64(hint)}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": _base64(statement),
                "payloadType": STATEMENT_TYPE,
                "signatures": [{"sig": _base64(signature)}],
            },
        }
    )


def bundle_manifest(
    bundle: bytes, predicate_type: str, subject: Descriptor, created: str
) -> NewManifest:
    """The referrer that carries a bundle: exactly one layer, or cosign ignores it.

    ``created`` is a time as RFC 3339 writes it, or empty.
    """
    annotations = {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": predicate_type,
    }
    if created:
        annotations["org.opencontainers.image.created"] = created
    content = render_manifest(
        empty_config(),
        (Descriptor(BUNDLE_TYPE, Digest.of(bundle), len(bundle)),),
        annotations=annotations,
        subject=subject,
        artifact_type=BUNDLE_TYPE,
    )
    return NewManifest(content, OCI_MANIFEST, (EMPTY_CONFIG, bundle))


def render_envelope(statement: bytes, signature: bytes) -> bytes:
    """A bare envelope, as cosign keeps attestations under ``.att``."""
    return compact_json(
        {
            "payloadType": STATEMENT_TYPE,
            "payload": _base64(statement),
            "signatures": [{"keyid": "", "sig": _base64(signature)}],
        }
    )


def envelope_layer(envelope: bytes, predicate_type: str) -> Descriptor:
    """The layer under ``.att``; cosign skips one without the (empty) signature annotation."""
    annotations = {"dev.cosignproject.cosign/signature": "", "predicateType": predicate_type}
    return Descriptor(ENVELOPE_TYPE, Digest.of(envelope), len(envelope), annotations)


def parse_bundle(content: bytes) -> Envelope | None:
    """The envelope of a bundle of anybody's; None if it is no bundle or has no envelope."""
    found = _decoded(content, _Bundle)
    if found is None or not found.media_type.startswith(BUNDLE_FAMILY):
        return None
    return _envelope(found.dsse_envelope, content) if found.dsse_envelope else None


def parse_envelope(content: bytes) -> Envelope | None:
    """A bare DSSE envelope, as a layer under ``.att`` has it; None if it is none."""
    found = _decoded(content, _Envelope)
    return _envelope(found) if found else None


def _envelope(found: _Envelope, bundle: bytes = b"") -> Envelope | None:
    try:
        payload = base64.b64decode(found.payload, validate=True)
        signatures = tuple(base64.b64decode(s.sig, validate=True) for s in found.signatures)
    except ValueError:  # binascii.Error, or not ASCII
        return None
    return Envelope(found.payload_type, payload, signatures, bundle)


def _texts(annotations: dict[str, Any] | None) -> dict[str, str]:
    return {k: v for k, v in (annotations or {}).items() if isinstance(v, str)}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decoded(content: bytes, kind: type[_T]) -> _T | None:
    try:
        return structs.decode(content, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
