"""What counts of the things that are signed: who vouches for it, under explicit roots of trust.

Nothing is believed because it is signed by somebody: a root names whose signature counts, a key
or the workflow that a certificate names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bot.domain.errors import ConfigurationError
from bot.domain.images import ACCESSORY_LIMIT
from bot.domain.oci import DigestReference
from bot.domain.trust import (
    BuiltFrom,
    Certificate,
    CertifiedEnvelope,
    IdentityRoot,
    KeyRoot,
    NotCertifiedError,
    Root,
)
from bot.formats import sigstore_bundle
from bot.formats.sigstore_bundle import Envelope
from bot.formats.simple_signing import parse_payload
from bot.ports import Certificates, ImageRegistry, Verifier
from bot.usecases.envelopes import attached, bundled, is_signed_by
from bot.usecases.sign_image import signed_payloads

_REASONS: Final = 3  # of the signatures that do not count; whoever may push may add thousands


@dataclass(frozen=True, slots=True)
class Trust:
    """What roots are held against."""

    built: BuiltFrom | None
    """The promoted commit; None: nobody knows it, and no identity vouches for anything."""
    keys: Mapping[str, Sequence[Verifier]] = field(default_factory=dict)
    """By the file that a `KeyRoot` names."""
    certificates: Certificates | None = None
    """None: no identity vouches for anything."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """A root vouches for it."""

    by: str
    """The key or the workflow, for people."""
    certificate: Certificate | None = None
    """Of an identity."""


@dataclass(frozen=True, slots=True)
class NotVouched:
    """No root vouches for it."""

    reason: str
    is_judged: bool = True
    """False: what is needed to judge it is not here."""


@dataclass(frozen=True, slots=True)
class VerifiedStatement:
    """A statement about exactly this image that a root vouches for."""

    predicate_type: str
    payload: bytes
    """The in-toto statement, as it was signed."""
    by: str
    """Whose word it is."""


@dataclass(frozen=True, slots=True)
class Statements:
    """What was found of one type."""

    verified: tuple[VerifiedStatement, ...]
    refused: tuple[NotVouched, ...]
    """Why others do not count; the first few."""


def vouching(
    envelope: Envelope, roots: Sequence[Root], trust: Trust, *, of_commit: bool = True
) -> Vouched | NotVouched:
    """Whether one of the roots vouches for a signed envelope.

    Args:
        envelope: with the bundle that it came in.
        roots: whose word counts.
        trust: what the roots are held against.
        of_commit: a run of the application's repository must be one of the promoted commit.
    """
    if envelope.payload_type != sigstore_bundle.STATEMENT_TYPE:
        return NotVouched("it holds no in-toto statement")
    keys = [root for root in roots if isinstance(root, KeyRoot)]
    for root in keys:
        if any(is_signed_by(key, envelope) for key in trust.keys.get(root.file, ())):
            return Vouched(str(root))
    identities = [root for root in roots if isinstance(root, IdentityRoot)]
    if not identities:
        return NotVouched(f"it is not signed with {' or '.join(map(str, keys)) or 'any key'}")
    return _by_identity(envelope, identities, trust, of_commit=of_commit)


def _by_identity(
    envelope: Envelope, roots: Sequence[IdentityRoot], trust: Trust, *, of_commit: bool
) -> Vouched | NotVouched:
    if trust.built is None:
        fact = "nobody knows the commit that its certificate has to be about"
        return NotVouched(fact, is_judged=False)
    found = _certified(envelope, trust)
    if isinstance(found, NotVouched):
        return found
    certificate = found.certificate
    objection = ""
    for root in roots:
        objection = root.objection(certificate, trust.built, of_commit=of_commit)
        if not objection:
            return Vouched(certificate.name, certificate)
    return NotVouched(objection)


def _certified(envelope: Envelope, trust: Trust) -> CertifiedEnvelope | NotVouched:
    if not envelope.bundle:
        # Under `.att` cosign 2 keeps a certificate and the log's promise, without the proof of
        # inclusion that a verifier needs who asks nobody (sigstore/cosign, pkg/cosign/bundle).
        return NotVouched("it comes in no bundle; cosign 3 and GitHub attach one")
    if trust.certificates is None:
        return NotVouched("certificates are not verified here", is_judged=False)
    try:
        found = trust.certificates.certified(envelope.bundle)
    except NotCertifiedError as error:
        return NotVouched(str(error))
    except ConfigurationError as error:
        return NotVouched(str(error), is_judged=False)
    if (found.payload_type, found.payload) != (envelope.payload_type, envelope.payload):
        return NotVouched("its bundle can be read in two ways")
    return found


def signature_vouching(
    registry: ImageRegistry,
    reference: DigestReference,
    roots: Sequence[Root],
    trust: Trust,
    *,
    of_commit: bool = True,
) -> Vouched | NotVouched | None:
    """Whether somebody who counts signed exactly this image; None: nobody signed it at all.

    As ``cosign verify`` does: the digest counts, not the name, which a copy does not keep.
    """
    refused: list[NotVouched] = []
    for content, signature in signed_payloads(registry, reference):
        by = _signed_by(content, signature, roots, trust)
        if by and _is_about(content, reference):
            return Vouched(by)
        refused.append(NotVouched("it is by another key, or about another image"))
    kind = sigstore_bundle.SIGN_PREDICATE
    found = statements(registry, reference, roots, trust, kind, of_commit=of_commit)
    if found.verified:
        return Vouched(found.verified[0].by)
    return next(iter([*found.refused, *refused]), None)


def _signed_by(content: bytes, signature: bytes, roots: Sequence[Root], trust: Trust) -> str:
    for root in roots:
        keys = trust.keys.get(root.file, ()) if isinstance(root, KeyRoot) else ()
        if any(key.verifies(content, signature) for key in keys):
            return str(root)
    return ""


def _is_about(content: bytes, reference: DigestReference) -> bool:
    payload = parse_payload(content)
    return payload is not None and payload.digest == reference.digest


def statements(
    registry: ImageRegistry,
    reference: DigestReference,
    roots: Sequence[Root],
    trust: Trust,
    predicate_type: str,
    *,
    of_commit: bool = True,
) -> Statements:
    """Every statement of a type about an image that a root vouches for, each once.

    Args:
        registry: where the image is.
        reference: the image; a statement about one of its platforms is not about it.
        roots: whose word counts.
        trust: what the roots are held against.
        predicate_type: with or without a version: ``https://slsa.dev/provenance`` is every one.
        of_commit: a run of the application's repository must be one of the promoted commit.
    """
    verified: dict[bytes, VerifiedStatement] = {}
    refused: dict[NotVouched, None] = {}
    for envelope in _envelopes(registry, reference, predicate_type):
        statement = sigstore_bundle.parse_statement(envelope.payload)
        if statement is None or not sigstore_bundle.is_of_type(
            statement.predicate_type, predicate_type
        ):
            continue
        if all(subject.digest != reference.digest for subject in statement.subjects):
            refused[NotVouched("it is about another image")] = None
            continue
        said = vouching(envelope, roots, trust, of_commit=of_commit)
        if isinstance(said, NotVouched):
            refused[said] = None
            continue
        found = VerifiedStatement(statement.predicate_type, envelope.payload, said.by)
        verified.setdefault(envelope.payload, found)
    return Statements(tuple(verified.values()), tuple(refused)[:_REASONS])


def _envelopes(
    registry: ImageRegistry, reference: DigestReference, predicate_type: str
) -> Iterator[Envelope]:
    yield from bundled(registry, reference, predicate_type, ACCESSORY_LIMIT)
    yield from attached(registry, reference, predicate_type, ACCESSORY_LIMIT)
