"""What our keys have signed in the registries, against what the audit says they signed.

A signature by our key that no entry explains may be a thief's; an entry whose signature is nowhere
was taken back, or never made. Read from the registries, by what the entries name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from bot.domain.environments import GitHubRepository
from bot.domain.errors import LockkeeperError, NotGrantedError
from bot.domain.grants import KeyRole
from bot.domain.memory import AuditEntry
from bot.domain.oci import Digest, DigestReference, ImageRepository
from bot.formats.promotion_statement import PREDICATE_TYPE
from bot.formats.sigstore_bundle import SIGN_PREDICATE
from bot.formats.verdict_statement import SVR_TYPE
from bot.ports.grants import Grants
from bot.ports.keys import Verifier
from bot.ports.registry import ImageRegistry
from bot.signatures.envelopes import attached, bundled, is_signed_by
from bot.signatures.sign import signed_payloads

_SIGNED: Final = "signed"
_TYPES: Final = (SIGN_PREDICATE, PREDICATE_TYPE, SVR_TYPE)
"""Statements of which each has an entry."""


def signature_mismatches(
    entries: Iterable[AuditEntry], grants: Grants, manifests: Sequence[GitHubRepository]
) -> list[str]:
    """What the audit and the registries say differently; empty: nothing.

    Args:
        entries: the whole audit.
        grants: whose registries and keys.
        manifests: the manifests repositories of this bot; each environment's entries are compared
            where its grant reaches the registry that they name.
    """
    found: list[str] = []
    for (environment, reference), own in _by_image(entries).items():
        places = [one for one in manifests if _reaches(grants, one, environment, reference)]
        if not places:
            found.append(f"{reference}: no grant of {environment} reaches it; not compared")
        for one in places[:1]:
            try:
                found += _compare(grants, one, environment, reference, own)
            except LockkeeperError as error:
                found.append(f"{reference}: cannot be compared: {error}")
    return found


def _by_image(
    entries: Iterable[AuditEntry],
) -> Mapping[tuple[str, DigestReference], Mapping[str, AuditEntry]]:
    """(environment, image) -> digest of a payload -> its entry."""
    found: dict[tuple[str, DigestReference], dict[str, AuditEntry]] = {}
    for entry in entries:
        if entry.kind == _SIGNED:
            name, _, digest = entry.facts.get("reference", "").partition("@")
            reference = ImageRepository.parse(name).at(Digest(digest))
            own = found.setdefault((entry.scope.environment, reference), {})
            own.setdefault(entry.facts.get("payload", ""), entry)
    return found


def _reaches(
    grants: Grants, manifests: GitHubRepository, environment: str, reference: DigestReference
) -> bool:
    try:
        grants.check(manifests, environment, [reference.repository])
    except NotGrantedError:
        return False
    return True


def _compare(
    grants: Grants,
    manifests: GitHubRepository,
    environment: str,
    reference: DigestReference,
    own: Mapping[str, AuditEntry],
) -> Iterator[str]:
    registry = grants.registry(manifests, environment)
    keys = [key for role in KeyRole for key in grants.keys(manifests, environment, role).verifiers]
    instances = registry.describe(reference).instances
    there = {
        str(digest): one
        for one in dict.fromkeys([reference.digest, *instances])
        for digest in _signed(registry, keys, reference.repository.at(one))
    }
    for digest, one in there.items():
        if digest not in own:
            place = reference.repository.at(one)
            yield f"{place}: {digest} is signed by our key, and no audit entry explains it"
    for digest, entry in own.items():
        if digest not in there:
            yield f"audit entry {entry.sequence}: what it signed is not at {reference}: {digest}"


def _signed(
    registry: ImageRegistry, keys: Sequence[Verifier], reference: DigestReference
) -> Iterator[Digest]:
    """Digests of what one of our keys has signed about an image, in every layout."""
    for content, signature in signed_payloads(registry, reference):
        if any(key.verifies(content, signature) for key in keys):
            yield Digest.of(content)
    for kind in _TYPES:
        for layout in (bundled, attached):
            for envelope in layout(registry, reference, kind):
                if any(is_signed_by(key, envelope) for key in keys):
                    yield Digest.of(envelope.payload)
