"""Whether a digest is sealed for an environment: proven by the registry, not by a row alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bot.domain.environments import Environment, ImageId
from bot.domain.memory import Adoption
from bot.domain.oci import Digest, DigestReference
from bot.facts.presence import is_there
from bot.facts.promotion_story import promotion_id
from bot.facts.snapshot import View
from bot.signatures.promotion_attestation import AttestedPromotion, attested_promotions
from bot.signatures.sign import REPOSITORY_ANNOTATION, verify_image

ENVIRONMENT_ANNOTATION: Final = "dev.lockkeeper/environment"


def is_sealed(view: View, environment: Environment, image: ImageId, digest: Digest) -> bool:
    """Whether the digest was admitted, stands in its image repository, signed and attested.

    In an environment that signs, the signature by its own key is the proof (it is made after
    authority, admission and read-back); elsewhere our record of the admission, and the image.
    Where the grant has an attestation key, a promotion into this environment is attested too.
    """
    application = view.pipeline.applications.get(image.application)
    if application is None:
        return False
    if is_adopted(view, environment, digest):
        return True
    repository = environment.repository_of(application, image.name)
    reference = repository.at(digest)
    scope = view.scope(environment.name, application.name)
    recorded = any(
        (seal.image, seal.repository) == (image.name, str(repository))
        for seal in view.ports.memory.seals(scope, digest)
    )
    if not recorded:
        return False
    registry = view.registry(environment)
    if not environment.signs:
        stands = is_there(registry, reference)
    else:
        demanded = {
            ENVIRONMENT_ANNOTATION: environment.name,
            REPOSITORY_ANNOTATION: str(repository),
        }
        verifiers = view.signing_keys(environment).verifiers
        stands = verify_image(registry, verifiers, reference, demanded).verified
    if not stands or not view.attestation_keys(environment).signers:
        return stands
    return bool(promotions_into(view, environment, reference))


def promotions_into(
    view: View, environment: Environment, reference: DigestReference, *, everywhere: bool = False
) -> list[AttestedPromotion]:
    """The image's promotions into this environment that its attestation keys attest.

    With ``everywhere`` both layouts are read, not just the first that has one.
    """
    verifiers = view.attestation_keys(environment).verifiers
    registry = view.registry(environment)
    found = attested_promotions(registry, verifiers, reference, everywhere=everywhere)
    return [one for one in found if one.statement.target.environment == environment.name]


def is_adopted(view: View, environment: Environment, digest: Digest) -> bool:
    """Whether a person took the digest over unsealed."""
    adopted: list[Adoption] = list(view.ports.memory.adoptions(view.scope(environment.name)))
    if any(one.digest == digest for one in adopted):
        return True
    return digest in environment.adopt and not has_begun(view, environment)


def has_begun(view: View, environment: Environment) -> bool:
    """Whether the environment has had a publication: from then on the key `adopt` says nothing.

    The file is anybody's who may merge; adoption is an event, with an entry in the audit.
    """
    stands = environment.ref in view.history.heads()
    return stands or view.ports.memory.last_publication(view.id, environment.name) is not None


def adopted_too_late(view: View, environment: Environment) -> list[Digest]:
    """Digests under the key `adopt` that nobody adopted while it counted."""
    if not environment.adopt or not has_begun(view, environment):
        return []
    adopted = {one.digest for one in view.ports.memory.adoptions(view.scope(environment.name))}
    return sorted(environment.adopt - adopted)


def needs_attestation(
    view: View, environment: Environment, application: str, reference: DigestReference, merge: str
) -> bool:
    """Whether the merge that brought a sealed digest is still to be attested, so authorised.

    A digest that comes back, as by a rollback, comes by another promotion; one that the
    environment shows already, and that only moves between files, does not.
    """
    if not view.attestation_keys(environment).signers:
        return False
    if is_adopted(view, environment, reference.digest) or _is_shown(view, environment, reference):
        return False
    own = promotion_id(view, environment, application, merge)
    found = promotions_into(view, environment, reference)
    return own not in {one.statement.promotion for one in found}


def may_need_authority(view: View, environment: Environment, reference: DigestReference) -> bool:
    """Whether a sealed digest may lack what `needs_attestation` or `comes_back` ask for.

    Without a merge to ask about: what is adopted or shown lacks nothing, whoever brought it.
    """
    signs = bool(view.attestation_keys(environment).signers)
    if not (signs or environment.needs_authority):
        return False
    return not (
        is_adopted(view, environment, reference.digest) or _is_shown(view, environment, reference)
    )


def comes_back(
    view: View, environment: Environment, image: ImageId, reference: DigestReference, merge: str
) -> bool:
    """Whether a sealed digest comes by another merge, where nothing attests who let it in.

    Then that merge needs authority by itself, as the one did that it was sealed for.
    """
    if not environment.needs_authority or view.attestation_keys(environment).signers:
        return False
    if is_adopted(view, environment, reference.digest) or _is_shown(view, environment, reference):
        return False
    scope = view.scope(environment.name, image.application)
    sealed = view.ports.memory.seals(scope, reference.digest)
    own = {one.merge for one in sealed if one.image == image.name}
    return merge not in own


def _is_shown(view: View, environment: Environment, reference: DigestReference) -> bool:
    """Whether our newest publication shows the digest."""
    newest = view.ports.memory.last_publication(view.id, environment.name)
    if newest is None or not view.history.has(newest.commit):
        return False
    shown = view.files(newest.commit, environment).shown
    return (reference.repository.canonical, reference.digest) in shown


def record_signatures(
    view: View,
    environment: Environment,
    reference: DigestReference,
    fingerprint: str,
    payloads: Iterable[Digest],
) -> None:
    """Note every signature once, so that one that no entry explains is known to be somebody's."""
    scope = view.scope(environment.name)
    for payload in payloads:
        facts = {"reference": str(reference), "payload": payload, "key": fingerprint}
        once = f"signed:{scope.manifests}:{scope.environment}:{fingerprint}:{payload}"
        view.ports.audit.append("signed", scope, facts, once=once)
