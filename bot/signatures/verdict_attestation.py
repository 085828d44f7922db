"""Attesting that an image passes an environment's policy, and on request what a scanner saw.

By the environment's attestation key, in both of cosign's layouts. One verdict per (digest, target
repository, environment, promotion): it is found again by what it says and by whose it is, so that
a repeated delivery writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.domain.assessment import Assessment
from bot.domain.evidence import Scan
from bot.domain.oci import Digest, DigestReference
from bot.formats import sigstore_bundle
from bot.formats.verdict_statement import (
    SVR_TYPE,
    VULN_TYPE,
    PolicyDocument,
    VerdictStatement,
    parse_verdict,
    render_verdict,
    render_vulnerabilities,
    verified_properties,
)
from bot.ports.keys import KeyRing, Verifier
from bot.ports.registry import ImageRegistry
from bot.signatures.envelopes import (
    Said,
    ensure_in_both_layouts,
    in_both_layouts,
    is_signed_by,
)
from bot.signatures.promotion_attestation import Attestation


@dataclass(frozen=True, slots=True)
class Judged:
    """What an image was judged for, and by."""

    promotion: str
    """`bot.facts.promotion_story.promotion_id`."""
    policies: tuple[PolicyDocument, ...]
    version: str
    """Of Lockkeeper."""


def attest_verdict(
    registry: ImageRegistry,
    keys: KeyRing,
    reference: DigestReference,
    assessment: Assessment,
    judged: Judged,
) -> Attestation | None:
    """Make the image carry its verdict, if it passes; None: there is nothing that may be said.

    Only pass and pass with warnings are attested; what failed or was not evaluated never is.

    Args:
        registry: where the image is.
        keys: the environment's attestation keys; without a signer nothing is attested.
        reference: the image in its target repository; the assessment is about it.
        assessment: the judged evidence.
        judged: for which promotion, by which files.
    """
    said = said_of(registry, keys, reference, assessment, judged)
    if said is None:
        return None
    signer = keys.signers[0]
    written = ensure_in_both_layouts(registry, signer, reference, said)
    return Attestation(Digest.of(said.payload), signer.fingerprint, written.count, written.warnings)


def said_of(
    registry: ImageRegistry,
    keys: KeyRing,
    reference: DigestReference,
    assessment: Assessment,
    judged: Judged,
) -> Said | None:
    """The verdict to sign: the one that is there already and says as much, or a new one."""
    properties = verified_properties(assessment.environment, assessment.verdict)
    if not properties or not keys.signers:
        return None
    statement = VerdictStatement(
        digest=reference.digest,
        repository=str(reference.repository),
        environment=assessment.environment,
        promotion=judged.promotion,
        properties=properties,
        policies=judged.policies,
        version=judged.version,
        at=assessment.at,
    )
    payload = _attested(registry, keys.verifiers, reference, statement) or render_verdict(statement)
    return Said(payload, SVR_TYPE, assessment.at)


def attest_vulnerabilities(
    registry: ImageRegistry,
    keys: KeyRing,
    reference: DigestReference,
    scan: Scan,
    report: bytes,
) -> Attestation | None:
    """Make one platform of an image carry a scanner's whole report: who can pull can read it.

    Raises:
        LimitExceededError: The report is too large.
        UnreadableEvidenceError: It is no report.
    """
    if not keys.signers:
        return None
    payload, signer = render_vulnerabilities(reference, scan, report), keys.signers[0]
    said = Said(payload, VULN_TYPE, scan.finished)
    written = ensure_in_both_layouts(registry, signer, reference, said)
    return Attestation(Digest.of(payload), signer.fingerprint, written.count, written.warnings)


def attested_verdicts(
    registry: ImageRegistry, verifiers: Sequence[Verifier], reference: DigestReference
) -> tuple[VerdictStatement, ...]:
    """Every verdict about this image in this repository that one of the keys attests, by age."""
    found = [parse_verdict(payload) for payload in _payloads(registry, verifiers, reference)]
    return tuple(sorted((one for one in found if one), key=lambda one: one.at))


def _attested(
    registry: ImageRegistry,
    verifiers: Sequence[Verifier],
    reference: DigestReference,
    wanted: VerdictStatement,
) -> bytes | None:
    """The statement about the same promotion that is there already and says as much."""
    for payload in _payloads(registry, verifiers, reference):
        found = parse_verdict(payload)
        if found is not None and _identity(found) == _identity(wanted):
            return payload
    return None


def _identity(statement: VerdictStatement) -> tuple[object, ...]:
    """What two statements share that say the same at different times."""
    return (
        statement.environment,
        statement.promotion,
        statement.properties,
        statement.policies,
    )


def _payloads(
    registry: ImageRegistry, verifiers: Sequence[Verifier], reference: DigestReference
) -> list[bytes]:
    """What our keys say of this digest in this repository, each once."""
    found: dict[bytes, None] = {}
    here = (reference.digest, str(reference.repository))
    for envelope in in_both_layouts(registry, reference, SVR_TYPE):
        if envelope.payload_type != sigstore_bundle.STATEMENT_TYPE:
            continue
        if not any(is_signed_by(verifier, envelope) for verifier in verifiers):
            continue
        statement = parse_verdict(envelope.payload)
        if statement and (statement.digest, statement.repository) == here:
            found[envelope.payload] = None
    return list(found)
