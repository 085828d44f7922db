"""Whether a digest is sealed for an environment: proven by the registry, not by a row alone."""

from __future__ import annotations

from typing import Final

from bot.domain.environments import Environment
from bot.domain.memory import Adoption
from bot.domain.oci import Digest
from bot.usecases.desk import View
from bot.usecases.sign_image import verify_image

ENVIRONMENT_ANNOTATION: Final = "dev.lockkeeper/environment"
REPOSITORY_ANNOTATION: Final = "dev.lockkeeper/repository"


def is_sealed(view: View, environment: Environment, image: str, digest: Digest) -> bool:
    """Whether the digest was admitted, stands in its image repository and, where asked, is signed.

    In an environment that signs, the signature by its own key is the proof (it is made last, after
    authority, admission and read-back); elsewhere our record of the admission, and the image.
    """
    application = view.application_of(image)
    if application is None:
        return False
    if is_adopted(view, environment, digest):
        return True
    repository = environment.repository_of(application, image)
    reference = repository.at(digest)
    scope = view.scope(environment.name, application.name)
    recorded = any(
        (seal.image, seal.repository, seal.digest) == (image, str(repository), digest)
        for seal in view.ports.memory.seals(scope)
    )
    if not recorded:
        return False
    registry = view.registry(environment)
    if not environment.signs:
        return registry.exists(reference)
    demanded = {
        ENVIRONMENT_ANNOTATION: environment.name,
        REPOSITORY_ANNOTATION: str(repository),
    }
    return verify_image(
        registry, view.signing_keys(environment).verifiers, reference, demanded
    ).verified


def is_adopted(view: View, environment: Environment, digest: Digest) -> bool:
    """Whether a person took the digest over unsealed."""
    adopted: list[Adoption] = list(view.ports.memory.adoptions(view.scope(environment.name)))
    return digest in environment.adopt or any(one.digest == digest for one in adopted)
