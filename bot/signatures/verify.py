"""What counts of the things that are signed: who vouches for it, under explicit roots of trust.

Nothing is believed because it is signed by somebody: a root names whose signature counts, a key
or the workflow that a certificate names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final, TypeVar

from bot.domain.errors import ConfigurationError, IntegrityError, RejectedError
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
    TrustRoots,
)
from bot.formats import sigstore_bundle
from bot.formats.in_toto import read_statement
from bot.formats.sigstore_bundle import Envelope
from bot.formats.simple_signing import parse_payload
from bot.formats.slsa import PROVENANCE, Provenance, read_provenance
from bot.ports.keys import Certificates, Verifier
from bot.ports.registry import ImageRegistry
from bot.signatures.envelopes import attached, bundled, is_signed_by
from bot.signatures.sign import signed_payloads

T = TypeVar("T")

SBOM_TYPES: Final = ("https://spdx.dev/Document", "https://cyclonedx.org/bom")
VEX_TYPES: Final = ("https://openvex.dev/ns", "https://cyclonedx.org/vex")
SCAN_TYPES: Final = ("https://cosign.sigstore.dev/attestation/vuln",)
"""Predicate types, each with or without a version behind it."""
SIGNATURE_LIMIT: Final = 2**20
"""Bytes of a bundle that says "signed"; some KiB are usual."""
PAYLOADS_LIMIT: Final = 100
"""Signatures of the source under ``.sig`` that are looked at; each costs a request."""
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


def voucher_of(
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


def of_the_commit(
    provenance: Provenance, by: Vouched | NotVouched, trust: Trust
) -> Vouched | NotVouched:
    """Whoever vouches for provenance has to say that the promoted commit is what was built."""
    built = trust.built
    if isinstance(by, NotVouched):
        return by
    if built is None:
        return NotVouched("nobody knows the commit that it has to be about", is_judged=False)
    if provenance.commit != built.commit:
        return NotVouched(f"it states commit {provenance.commit or 'none'}, not {built.commit}")
    if provenance.repository.lower() != built.repository.lower():
        stated = provenance.repository or "no repository"
        return NotVouched(f"it states {stated}, not {built.repository}")
    return by


def statement_vouching(envelope: Envelope, roots: TrustRoots, trust: Trust) -> Vouched | NotVouched:
    """Whether the roots of its own type vouch for a statement: of a scan, an SBOM, VEX ..."""
    statement = sigstore_bundle.parse_statement(envelope.payload)
    kind = statement.predicate_type if statement else ""
    if sigstore_bundle.is_of_type(kind, PROVENANCE):
        return _provenance_vouching(envelope, roots.provenance, trust)
    if any(sigstore_bundle.is_of_type(kind, one) for one in VEX_TYPES):
        return voucher_of(envelope, roots.vex, trust, of_commit=False)
    if any(sigstore_bundle.is_of_type(kind, one) for one in SBOM_TYPES):
        return voucher_of(envelope, roots.sbom, trust)
    if any(sigstore_bundle.is_of_type(kind, one) for one in SCAN_TYPES):
        return voucher_of(envelope, roots.scan, trust, of_commit=False)
    if kind == sigstore_bundle.SIGN_PREDICATE:
        return voucher_of(envelope, roots.signature, trust)
    return NotVouched("nobody is named who vouches for statements of its type")


def _provenance_vouching(
    envelope: Envelope, roots: Sequence[Root], trust: Trust
) -> Vouched | NotVouched:
    by = voucher_of(envelope, roots, trust)
    if isinstance(by, NotVouched):
        return by
    try:
        predicate = read_statement(envelope.payload, "it").predicate
        return of_the_commit(read_provenance(predicate, "it"), by, trust)
    except (IntegrityError, RejectedError) as error:
        return NotVouched(str(error))


def payload_vouching(
    content: bytes, signature: bytes, roots: Sequence[Root], trust: Trust
) -> Vouched | NotVouched:
    """Whether one of the roots' keys signed this payload, as cosign keeps it under ``.sig``."""
    for root in roots:
        keys = trust.keys.get(root.file, ()) if isinstance(root, KeyRoot) else ()
        if any(key.verifies(content, signature) for key in keys):
            return Vouched(str(root))
    # A certificate beside it has the log's promise without the proof of inclusion.
    return NotVouched("it is not signed with a key that counts")


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
    payloads = islice(signed_payloads(registry, reference), PAYLOADS_LIMIT)
    for content, signature in _readable(payloads, refused):
        said = payload_vouching(content, signature, roots, trust)
        if isinstance(said, NotVouched):
            refused.append(said)
        elif _is_about(content, reference):
            return said
    found = statements(
        registry,
        reference,
        roots,
        trust,
        sigstore_bundle.SIGN_PREDICATE,
        of_commit=of_commit,
        limit=SIGNATURE_LIMIT,
    )
    if found.verified:
        return Vouched(found.verified[0].by)
    every = sorted([*found.refused, *refused], key=lambda one: one.is_judged)
    return next(iter(every), None)


def _readable(found: Iterable[T], refused: list[NotVouched]) -> Iterator[T]:
    """What can be read; whoever may push can put a list there that nobody can."""
    try:
        yield from found
    except (IntegrityError, RejectedError) as error:
        refused.append(NotVouched(str(error), is_judged=False))


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
    limit: int = ACCESSORY_LIMIT,
) -> Statements:
    """Every statement of a type about an image that a root vouches for, each once.

    Args:
        registry: where the image is.
        reference: the image; a statement about one of its platforms is not about it.
        roots: whose word counts.
        trust: what the roots are held against.
        predicate_type: with or without a version: ``https://slsa.dev/provenance`` is every one.
        of_commit: a run of the application's repository must be one of the promoted commit.
        limit: bytes of one of them; larger ones are passed over.
    """
    verified: dict[bytes, VerifiedStatement] = {}
    unread: list[NotVouched] = []
    refused: dict[NotVouched, None] = {}
    for envelope in chain(
        _readable(bundled(registry, reference, predicate_type, limit), unread),
        _readable(attached(registry, reference, predicate_type, limit), unread),
    ):
        statement = sigstore_bundle.parse_statement(envelope.payload)
        if statement is None or not sigstore_bundle.is_of_type(
            statement.predicate_type, predicate_type
        ):
            continue
        if all(subject.digest != reference.digest for subject in statement.subjects):
            refused[NotVouched("it is about another image")] = None
            continue
        said = voucher_of(envelope, roots, trust, of_commit=of_commit)
        if isinstance(said, NotVouched):
            refused[said] = None
            continue
        found = VerifiedStatement(statement.predicate_type, envelope.payload, said.by)
        verified.setdefault(envelope.payload, found)
    return Statements(tuple(verified.values()), (*unread, *refused)[:_REASONS])
