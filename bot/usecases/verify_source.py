"""Statements about an image under an explicit root of trust: provenance, SBOMs, VEX, scans.

Nothing is believed because it is signed by somebody: the root names whose signature counts. A
root is a public key today; what is signed without keys (an identity) counts for nothing yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.domain.oci import DigestReference
from bot.formats import sigstore_bundle
from bot.formats.sigstore_bundle import Envelope
from bot.ports import ImageRegistry, Verifier
from bot.usecases.envelopes import attached, bundled, is_signed_by


@dataclass(frozen=True, slots=True)
class KeyRoot:
    """``{key: FILE}``: the signature of one of these keys counts, and nothing else."""

    name: str
    """The file, for messages."""
    verifiers: Sequence[Verifier]


@dataclass(frozen=True, slots=True)
class VerifiedStatement:
    """A statement about exactly this image that the root vouches for."""

    predicate_type: str
    payload: bytes
    """The in-toto statement, as it was signed."""
    fingerprint: str
    """Of the public key."""


def verified_statements(
    registry: ImageRegistry, reference: DigestReference, root: KeyRoot, predicate_type: str
) -> tuple[VerifiedStatement, ...]:
    """Every statement of a type about an image that the root vouches for, each once.

    Args:
        registry: where the image is.
        reference: the image; a statement about one of its platforms is not about it.
        root: whose signature counts.
        predicate_type: with or without a version: ``https://slsa.dev/provenance`` is every one.
    """
    found: dict[bytes, VerifiedStatement] = {}
    for envelope in _envelopes(registry, reference, predicate_type):
        statement = _verified(envelope, reference, root, predicate_type)
        if statement is not None:
            found.setdefault(statement.payload, statement)
    return tuple(found.values())


def _envelopes(
    registry: ImageRegistry, reference: DigestReference, predicate_type: str
) -> Iterator[Envelope]:
    yield from bundled(registry, reference, predicate_type)
    yield from attached(registry, reference, predicate_type)


def _verified(
    envelope: Envelope, reference: DigestReference, root: KeyRoot, predicate_type: str
) -> VerifiedStatement | None:
    signed_by = next((key for key in root.verifiers if is_signed_by(key, envelope)), None)
    if signed_by is None or envelope.payload_type != sigstore_bundle.STATEMENT_TYPE:
        return None
    statement = sigstore_bundle.parse_statement(envelope.payload)
    if statement is None or not sigstore_bundle.is_of_type(
        statement.predicate_type, predicate_type
    ):
        return None
    if all(subject.digest != reference.digest for subject in statement.subjects):
        return None
    return VerifiedStatement(statement.predicate_type, envelope.payload, signed_by.fingerprint)
