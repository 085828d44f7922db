"""Signing again, with the first key, what is published: so that an older key can leave.

Nothing new is said: the very payloads that an older key has signed are signed once more. And only
those that the audit explains, for what a stolen key has signed must not be made to look ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bot.domain.environments import Environment
from bot.domain.errors import IntegrityError, RejectedError
from bot.domain.oci import Digest, DigestReference
from bot.facts.seals import is_adopted, promotions_into, record_signatures
from bot.facts.snapshot import View
from bot.formats import sigstore_bundle
from bot.ports.keys import KeyRing
from bot.ports.registry import ImageRegistry
from bot.signatures.envelopes import (
    ImageField,
    Said,
    bundled,
    ensure_bundled,
    ensure_layouts,
    in_a_bundle,
    is_signed_by,
    under_a_tag,
)
from bot.signatures.promotion_attestation import ensure_statement
from bot.signatures.sign import ensure_payload, signed_payloads

_SIGNED: Final = "signed"


@dataclass(frozen=True, slots=True)
class Resealed:
    """What `reseal` did."""

    digests: tuple[DigestReference, ...]
    """What is published, and carries the first keys' signatures now."""
    written: int
    """Signatures that were not there before."""
    left: tuple[str, ...]
    """What could not be signed again, and why."""
    may_leave: tuple[str, ...]
    """Fingerprints of the keys on which nothing published depends any more."""
    warnings: tuple[str, ...] = ()
    """What a registry would not take."""


def reseal(view: View, environment: Environment) -> Resealed:
    """Make everything that is published carry the first keys' signatures; repeat as you like."""
    explained = _explained(view, environment)
    digests: list[DigestReference] = []
    left: list[str] = []
    written = ImageField()
    for reference, image in _published(view, environment).items():
        try:
            made = _reseal_one(view, environment, reference, explained)
        except (IntegrityError, RejectedError) as error:  # the others are sealed all the same
            left.append(f"{image} {reference.digest}: {error}")
            continue
        if made is None:
            adopted = is_adopted(view, environment, reference.digest)
            why = "adopted, never signed" if adopted else "no signature that the audit explains"
            left.append(f"{image} {reference.digest}: {why}")
        else:
            digests.append(reference)
            written += made.written
            left += [f"{image} {reference.digest}: {older}" for older in made.older]
    rings = (view.signing_keys(environment), view.attestation_keys(environment))
    may_leave = [] if left else [key for ring in rings for key in _older(ring)]
    return Resealed(tuple(digests), written.count, tuple(left), tuple(may_leave), written.warnings)


def _older(ring: KeyRing) -> list[str]:
    first = {key.fingerprint for key in ring.signers[:1]}
    return [key.fingerprint for key in ring.verifiers if key.fingerprint not in first]


def _published(view: View, environment: Environment) -> dict[DigestReference, str]:
    """Image references on the environment ref, with the images' names; by our record only."""
    tip = view.history.heads().get(environment.ref, "")
    if view.ports.memory.publication_of(view.scope(environment.name), tip) is None:
        return {}
    found: dict[DigestReference, str] = {}
    for location in view.locations(tip, environment):
        application = view.pipeline.applications.get(location.place.application)
        reference = location.written.reference()
        if application is None or reference is None or reference.digest is None:
            continue
        repository = environment.repository_of(application, location.place.image)
        if reference.repository == repository.canonical:
            found[repository.at(reference.digest)] = location.place.image
    return found


def _explained(view: View, environment: Environment) -> frozenset[str]:
    """Digests of the payloads that we signed for this environment, as the audit says."""
    scope, found, after = view.scope(environment.name), set(), 0
    while entries := view.ports.audit.entries(after):
        found |= {
            entry.facts["payload"]
            for entry in entries
            if entry.kind == _SIGNED
            and (entry.scope.manifests, entry.scope.environment)
            == (scope.manifests, scope.environment)
        }
        after = entries[-1].sequence
    return frozenset(found)


def _reseal_one(
    view: View, environment: Environment, reference: DigestReference, explained: frozenset[str]
) -> _Resealed | None:
    """Sign one image's payloads again; None if nothing vouches for it that we can explain.

    Raises:
        RejectedError: the registry takes no signature of it.
    """
    registry = view.registry(environment)
    signing, attesting = view.signing_keys(environment), view.attestation_keys(environment)
    written, older = ImageField(), list[str]()
    if environment.signs:
        for digest in (*registry.describe(reference).instances, reference.digest):
            found = _Found(registry, signing, reference.repository.at(digest), explained)
            payloads, statements = list(found.payloads()), list(found.statements())
            if not payloads and not statements and digest == reference.digest:
                return None
            made = found.sign(payloads, statements)
            written += made
            older += made.warnings
            signed = [Digest.of(content) for content in (*payloads, *statements)]
            fingerprint = signing.signers[0].fingerprint
            record_signatures(view, environment, found.reference, fingerprint, signed)
    if attesting.signers:
        for promotion in promotions_into(view, environment, reference, everywhere=True):
            if Digest.of(promotion.payload) in explained:
                signer, payload = attesting.signers[0], promotion.payload
                written += ensure_statement(
                    registry, signer, reference, payload, promotion.statement
                )
                own = [Digest.of(payload)]
                record_signatures(view, environment, reference, signer.fingerprint, own)
    return _Resealed(written, tuple(older))


@dataclass(frozen=True, slots=True)
class _Resealed:
    """One image, signed again."""

    written: ImageField
    older: tuple[str, ...]
    """What only an older key has signed, and why: it may not leave then."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What the environment's keys have signed about one digest."""

    registry: ImageRegistry
    ring: KeyRing
    reference: DigestReference
    explained: frozenset[str]

    def payloads(self) -> Iterator[bytes]:
        """Under the ``.sig`` tag."""
        for content, signature in signed_payloads(self.registry, self.reference):
            is_own = any(key.verifies(content, signature) for key in self.ring.verifiers)
            if is_own and Digest.of(content) in self.explained:
                yield content

    def statements(self) -> Iterator[bytes]:
        """In bundles."""
        for envelope in bundled(self.registry, self.reference, sigstore_bundle.SIGN_PREDICATE):
            is_own = any(is_signed_by(key, envelope) for key in self.ring.verifiers)
            if is_own and Digest.of(envelope.payload) in self.explained:
                yield envelope.payload

    def sign(self, payloads: Sequence[bytes], statements: Sequence[bytes]) -> ImageField:
        """With the first key, where its signature is missing."""
        place = (self.registry, self.ring.signers[0], self.reference)
        predicate = sigstore_bundle.SIGN_PREDICATE
        layouts = [
            *(
                under_a_tag(partial(ensure_payload, *place, payload))
                for payload in dict.fromkeys(payloads)
            ),
            *(
                in_a_bundle(partial(ensure_bundled, *place, Said(statement, predicate)))
                for statement in dict.fromkeys(statements)
            ),
        ]
        return ensure_layouts([layouts] if layouts else [])
