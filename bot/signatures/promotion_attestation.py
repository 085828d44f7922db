"""Attesting a promotion, and reading the story of an image from such attestations.

One attestation per (digest, target repository, environment, promotion), by the environment's
attestation key, in both of cosign's layouts. It is found again by what it says and by whose it
is, so that a repeated delivery writes nothing and a foreign statement replaces none of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bot.domain.oci import Digest, DigestReference, ImageRepository
from bot.formats import sigstore_bundle
from bot.formats.promotion_statement import (
    PREDICATE_TYPE,
    PromotionStatement,
    parse_promotion,
    render_promotion,
)
from bot.formats.sigstore_bundle import Envelope
from bot.ports.keys import Signer, Verifier
from bot.ports.registry import ImageRegistry
from bot.signatures.envelopes import (
    ImageField,
    Said,
    attached,
    bundled,
    ensure_in_both_layouts,
    in_both_layouts,
    is_signed_by,
)


@dataclass(frozen=True, slots=True)
class AttestedPromotion:
    """A promotion that a key of ours attests."""

    statement: PromotionStatement
    payload: bytes
    """The bytes that were signed."""
    fingerprint: str
    """Of the public key."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """What `ensure_attested` left behind."""

    payload: Digest
    """Of the statement."""
    fingerprint: str
    """Of the public key."""
    written: int
    """Envelopes that were not there before."""
    warnings: tuple[str, ...] = ()
    """What the registry would not take."""


def ensure_attested(
    registry: ImageRegistry,
    signer: Signer,
    verifiers: Sequence[Verifier],
    statement: PromotionStatement,
) -> Attestation:
    """Make the image carry an attestation of this promotion, by this key, in both layouts.

    A promotion that one of the ``verifiers`` attests already keeps the statement that it has:
    the times in two statements about one promotion would differ.
    """
    reference = ImageRepository.parse(statement.target.repository).at(statement.digest)
    said = said_of(statement, attested_promotions(registry, verifiers, reference))
    written = ensure_in_both_layouts(registry, signer, reference, said)
    return Attestation(Digest.of(said.payload), signer.fingerprint, written.count, written.warnings)


def said_of(statement: PromotionStatement, before: Sequence[AttestedPromotion]) -> Said:
    """What is signed for a promotion: the statement that it has already, or this one."""
    same = (statement.target.environment, statement.promotion)
    payload = next(
        (
            found.payload
            for found in before
            if (found.statement.target.environment, found.statement.promotion) == same
        ),
        render_promotion(statement),
    )
    return Said(payload, PREDICATE_TYPE, statement.at)


def ensure_statement(
    registry: ImageRegistry,
    signer: Signer,
    reference: DigestReference,
    payload: bytes,
    statement: PromotionStatement,
) -> ImageField:
    """Make exactly these bytes carry the key's signature in both layouts."""
    said = Said(payload, PREDICATE_TYPE, statement.at)
    return ensure_in_both_layouts(registry, signer, reference, said)


def attested_promotions(
    registry: ImageRegistry,
    verifiers: Sequence[Verifier],
    reference: DigestReference,
    *,
    everywhere: bool = True,
) -> tuple[AttestedPromotion, ...]:
    """Every promotion of this image into this repository that one of the keys attests.

    Oldest first, each statement once. What is damaged, foreign, about another digest or another
    repository does not count, and hides nothing.

    Args:
        registry: where the image is.
        verifiers: whose attestations count.
        reference: the image.
        everywhere: look into both layouts; else into the second only if the first has none.
    """
    if everywhere:
        found = _owned(in_both_layouts(registry, reference, PREDICATE_TYPE), verifiers, reference)
    else:
        found = _owned(bundled(registry, reference, PREDICATE_TYPE), verifiers, reference)
        found = found or _owned(attached(registry, reference, PREDICATE_TYPE), verifiers, reference)
    return tuple(sorted(found.values(), key=lambda one: (one.statement.at, one.payload)))


def _owned(
    envelopes: Iterable[Envelope], verifiers: Sequence[Verifier], reference: DigestReference
) -> dict[bytes, AttestedPromotion]:
    """Ours among them, by their bytes."""
    each = (_own(envelope, verifiers, reference) for envelope in envelopes)
    return {own.payload: own for own in each if own is not None}


def _own(
    envelope: Envelope, verifiers: Sequence[Verifier], reference: DigestReference
) -> AttestedPromotion | None:
    if envelope.payload_type != sigstore_bundle.STATEMENT_TYPE:
        return None
    signed_by = next((one for one in verifiers if is_signed_by(one, envelope)), None)
    statement = parse_promotion(envelope.payload) if signed_by else None
    if signed_by is None or statement is None:
        return None
    here = (reference.digest, str(reference.repository))
    if (statement.digest, statement.target.repository) != here:
        return None
    return AttestedPromotion(statement, envelope.payload, signed_by.fingerprint)
