"""Signed statements that hang on an image: bundles among its referrers, layers under ``.att``.

Whoever may write to the repository may attach anything, so what is damaged or foreign is passed
over, never believed and never an error. Whether a signature counts is the caller's question.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bot.domain.errors import IntegrityError, LimitExceededError, NotFoundError, RejectedError
from bot.domain.images import (
    AnyManifest,
    Descriptor,
    ImageManifest,
    NewManifest,
    ReferrerRefusedError,
    attached_tag,
)
from bot.domain.oci import DigestReference, ImageRepository
from bot.formats import sigstore_bundle, simple_signing
from bot.formats.sigstore_bundle import Envelope
from bot.ports import ImageRegistry, Signer, Verifier

ATTESTATION_SUFFIX: Final = "att"
_SIZE: Final = 2**20  # bytes of an envelope of ours; a few KiB are usual
_BUNDLES: Final = 200  # bundles of one digest that are opened
_LAYERS: Final = 1000  # cosign reads no more of one tag
_PREDICATE_ANNOTATION: Final = "dev.sigstore.bundle.predicateType"


class NotAnAttestationTagError(RejectedError):
    """The tag that has to hold the attestations holds something else."""

    def __init__(self, tag: str, repository: ImageRepository) -> None:
        """Name the tag."""
        super().__init__(f"{repository}:{tag} should hold attestations; remove that tag")
        self.tag, self.repository = tag, repository


@dataclass(frozen=True, slots=True)
class Written:
    """What an "ensure" did."""

    count: int = 0
    """Signatures that were not there before."""
    warnings: tuple[str, ...] = ()
    """What the registry would not take, each once."""

    def __add__(self, other: Written) -> Written:
        both = dict.fromkeys((*self.warnings, *other.warnings))
        return Written(self.count + other.count, tuple(both))


def bundled(
    registry: ImageRegistry, reference: DigestReference, predicate_type: str, limit: int = _SIZE
) -> Iterator[Envelope]:
    """Envelopes of the bundles that say that they hold such a statement, or say nothing.

    Args:
        registry: where the image is.
        reference: the image.
        predicate_type: with or without a version.
        limit: bytes of a bundle; larger ones are passed over.
    """

    def may_hold(referrer: Descriptor) -> bool:
        kind = referrer.annotations.get(_PREDICATE_ANNOTATION, predicate_type)
        is_bundle = referrer.artifact_type.startswith(sigstore_bundle.BUNDLE_FAMILY)
        return is_bundle and sigstore_bundle.is_of_type(kind, predicate_type)

    candidates = [one for one in registry.referrers(reference) if may_hold(one)]
    for descriptor in candidates[:_BUNDLES]:
        found = read_bundle(registry, reference.repository, descriptor, limit)
        if found is not None:
            yield found


def attached(
    registry: ImageRegistry, reference: DigestReference, predicate_type: str, limit: int = _SIZE
) -> Iterator[Envelope]:
    """Envelopes under the ``.att`` tag that say that they hold such a statement."""
    tag = attached_tag(reference.digest, ATTESTATION_SUFFIX)
    manifest = registry.manifest(reference.repository.tagged(tag))
    layers = manifest.layers if isinstance(manifest, ImageManifest) else ()
    for layer in layers[:_LAYERS]:
        found = read_layer(registry, reference.repository, layer, predicate_type, limit)
        if found is not None:
            yield found


def read_layer(
    registry: ImageRegistry,
    repository: ImageRepository,
    layer: Descriptor,
    predicate_type: str,
    limit: int = _SIZE,
) -> Envelope | None:
    """The envelope of one layer under ``.att``; None if it is of another kind or damaged."""
    if layer.media_type != sigstore_bundle.ENVELOPE_TYPE or layer.size > limit:
        return None
    kind = layer.annotations.get("predicateType", predicate_type)
    if not sigstore_bundle.is_of_type(kind, predicate_type):
        return None
    try:
        return sigstore_bundle.parse_envelope(registry.blob(repository, layer, limit))
    except (IntegrityError, RejectedError):
        return None


def read_bundle(
    registry: ImageRegistry, repository: ImageRepository, referrer: Descriptor, limit: int = _SIZE
) -> Envelope | None:
    """The envelope of the bundle that a referrer carries; None if it is none or damaged."""
    try:
        manifest = registry.manifest(repository.at(referrer.digest))
        if not isinstance(manifest, ImageManifest) or len(manifest.layers) != 1:
            return None
        return sigstore_bundle.parse_bundle(registry.blob(repository, manifest.layers[0], limit))
    except (IntegrityError, RejectedError):
        return None


def is_signed_by(verifier: Verifier, envelope: Envelope) -> bool:
    """One of the envelope's signatures is this key's."""
    return any(verifier.verifies(envelope.message, signature) for signature in envelope.signatures)


def ensure_bundled(
    registry: ImageRegistry,
    signer: Signer,
    reference: DigestReference,
    statement: bytes,
    predicate_type: str,
    at: datetime | None = None,
) -> bool:
    """Make a bundle of this statement by this key refer to the image; False if one did.

    Args:
        registry: where the image is.
        signer: whose signature it is.
        reference: the image.
        statement: the payload, about that image.
        predicate_type: the statement's.
        at: noted, unsigned, in the bundle's manifest.
    """
    for envelope in bundled(registry, reference, predicate_type):
        if envelope.payload == statement and is_signed_by(signer, envelope):
            return False
    signature = signer.sign(_message(statement))
    bundle = sigstore_bundle.render_bundle(statement, signature, signer.fingerprint)
    created = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""
    subject = _subject(registry, reference)
    manifest = sigstore_bundle.bundle_manifest(bundle, predicate_type, subject, created)
    registry.attach(reference.repository, manifest)
    return True


def ensure_also_bundled(
    registry: ImageRegistry,
    signer: Signer,
    reference: DigestReference,
    statement: bytes,
    predicate_type: str,
    at: datetime | None = None,
) -> Written:
    """As `ensure_bundled`, for what stands under a tag already, in the other layout.

    A registry that takes no bundles (Amazon ECR, aws/containers-roadmap#2783) is then worth a
    warning: verifiers of the tag find the signature, those of bundles do not.
    """
    try:
        return Written(
            int(ensure_bundled(registry, signer, reference, statement, predicate_type, at))
        )
    except ReferrerRefusedError as error:
        return Written(0, (f"{error}; what is signed stands under its tag alone",))


def ensure_in_both_layouts(
    registry: ImageRegistry,
    signer: Signer,
    reference: DigestReference,
    statement: bytes,
    predicate_type: str,
    at: datetime | None = None,
) -> Written:
    """Make this statement by this key hang on the image under ``.att`` and in a bundle."""
    under_tag = ensure_attached(registry, signer, reference, statement, predicate_type)
    return Written(int(under_tag)) + ensure_also_bundled(
        registry, signer, reference, statement, predicate_type, at
    )


def ensure_attached(
    registry: ImageRegistry,
    signer: Signer,
    reference: DigestReference,
    statement: bytes,
    predicate_type: str,
) -> bool:
    """Make an envelope of this statement by this key stand under ``.att``; False if one did."""
    tag = attached_tag(reference.digest, ATTESTATION_SUFFIX)

    def is_there(layer: Descriptor) -> bool:
        found = read_layer(registry, reference.repository, layer, predicate_type)
        return found is not None and found.payload == statement and is_signed_by(signer, found)

    def adding(current: AnyManifest | None) -> NewManifest | None:
        if current is not None and not isinstance(current, ImageManifest):
            raise NotAnAttestationTagError(tag, reference.repository)
        layers = current.layers if current else ()
        if any(is_there(layer) for layer in layers):
            return None
        if len(layers) >= _LAYERS:
            raise LimitExceededError(f"attestations of {reference.digest}", str(_LAYERS))
        envelope = sigstore_bundle.render_envelope(statement, signer.sign(_message(statement)))
        layer = sigstore_bundle.envelope_layer(envelope, predicate_type)
        return simple_signing.with_layers(current, (layer,), (envelope,))

    return registry.amend(reference.repository.tagged(tag), adding)


def _message(statement: bytes) -> bytes:
    return sigstore_bundle.pre_authentication_encoding(sigstore_bundle.STATEMENT_TYPE, statement)


def _subject(registry: ImageRegistry, reference: DigestReference) -> Descriptor:
    manifest = registry.manifest(reference)
    if manifest is None:
        raise NotFoundError(f"image {reference.digest}", str(reference.repository))
    return Descriptor(manifest.media_type, reference.digest, len(manifest.content))
