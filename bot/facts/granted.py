"""What the operator's grants leave of a pipeline file: the file chooses, the operator grants.

A file is in force by what it says. Whether an environment or an application may *act* is asked at
each act, of its own grant alone: a key that cannot be read stops its environment, and no other.

    check_environment(grants, repository, pipeline, environment)   # before something is done there
    refusals(grants, repository, pipeline)                         # all of them, for people
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bot.domain.environments import (
    Application,
    Environment,
    ManifestsRepository,
    Pipeline,
    Template,
)
from bot.domain.errors import (
    ConfigurationError,
    LockkeeperError,
    NotFoundError,
    NotGrantedError,
)
from bot.domain.floors import below
from bot.domain.grants import KeyRole, key_in_two_places
from bot.domain.oci import ImageRepository
from bot.formats.pipeline_file import PIPELINE_FILE
from bot.ports.grants import Grants


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one environment or one application of a pipeline file may do nothing now."""

    error: LockkeeperError
    environment: str = ""
    """The environment that is stopped; empty: an application is."""
    application: str = ""

    @property
    def member(self) -> str:
        """What is stopped, for people."""
        if self.environment:
            return f"environment {self.environment}"
        return f"application {self.application}"

    @property
    def fact(self) -> str:
        """The same as long as the cause is the same, wherever the file names it."""
        error = self.error
        return error.fact if isinstance(error, ConfigurationError) else str(error)


def refusals(
    grants: Grants, repository: ManifestsRepository, pipeline: Pipeline
) -> Iterator[Refusal]:
    """Everything of the file that the operator's grants do not bear, member by member."""
    for application in pipeline.applications.values():
        try:
            check_application(grants, repository, application)
        except LockkeeperError as error:
            yield Refusal(error, application=application.name)
    for environment in pipeline.environments.values():
        try:
            check_environment(grants, repository, pipeline, environment)
        except LockkeeperError as error:
            yield Refusal(error, environment=environment.name)


_NOBODYS: Final = "0" * 64
"""The name of no image."""


def check_application(
    grants: Grants, repository: ManifestsRepository, application: Application
) -> None:
    """Ask whether the application may come from its source repository.

    Raises:
        ConfigurationError: it may not, or the list of sources cannot be read.
    """
    if not grants.allows_source(repository, application.source):
        raise ConfigurationError(
            PIPELINE_FILE,
            None,
            f"source repository {application.source} of application {application.name!r} "
            "is not granted",
            "the operator adds it to `sources` of the grant",
        )


def check_environment(
    grants: Grants, repository: ManifestsRepository, pipeline: Pipeline, environment: Environment
) -> None:
    """Ask whether the environment has its registries and keys, and shares no key with another.

    Raises:
        ConfigurationError: it lacks one, or one cannot be used; the error says which.
        UnavailableError: a key's service does not answer.
    """
    try:
        _check_registries(grants, repository, pipeline, environment)
        _check_keys(grants, repository, environment)
    except (NotGrantedError, NotFoundError) as error:
        raise ConfigurationError(
            PIPELINE_FILE, environment.line, f"environment {environment.name!r}: {error}"
        ) from error
    _check_alone(grants, repository, environment)
    _check_floor(grants, repository, environment)


def _check_floor(grants: Grants, repository: ManifestsRepository, environment: Environment) -> None:
    """No approval lets a file go below what the operator has pinned."""
    wrong = below(grants.floor(repository, environment.name), environment)
    if wrong:
        raise ConfigurationError(
            PIPELINE_FILE,
            environment.line,
            f"environment {environment.name!r}: {wrong[0]}",
            "the operator pins it with floor.json of the grant",
        )


def _check_keys(grants: Grants, repository: ManifestsRepository, environment: Environment) -> None:
    """Where there is `sign`, there is a key for signatures and another for attestations.

    A process that does not deliver there needs their public halves alone.
    """
    for role in KeyRole:
        ring = grants.keys(repository, environment.name, role)
        known = ring.signers if grants.delivers(environment.name) else ring.verifiers
        if environment.signs and not known:
            thing = f"a key to sign with ({role.value}.key, .pem or .uri)"
            raise NotGrantedError(thing, f"the grant of environment {environment.name}")


def _check_alone(grants: Grants, repository: ManifestsRepository, environment: Environment) -> None:
    """No key of this environment has another role, or serves another environment."""
    own = str(repository), environment.name
    shared = key_in_two_places(grants.key_places(), own)
    if shared is not None:
        raise ConfigurationError(
            "the grants",
            None,
            f"{shared[0]} and {shared[1]} are one public key",
            "a key has one role in one environment; make another with cosign generate-key-pair",
        )


def _check_registries(
    grants: Grants, repository: ManifestsRepository, pipeline: Pipeline, environment: Environment
) -> None:
    """Ask of whole patterns first: of 1,000 images one by one where that is not granted."""
    if not pipeline.applications:
        return
    folders = [_folder(one, name) for one, name in _patterns(environment, pipeline)]
    known = [one for one in folders if one is not None]
    if len(known) == len(folders):
        with contextlib.suppress(NotGrantedError):
            grants.check(repository, environment.name, known)
            return
    grants.check(repository, environment.name, _reached(environment, pipeline))


def _patterns(environment: Environment, pipeline: Pipeline) -> Iterator[tuple[Template, str]]:
    """What the environment's image repositories are rendered from, and for which environment."""
    yield environment.image_repository, environment.name
    if environment.source_environment is not None:
        source = pipeline.environments[environment.source_environment]
        yield source.image_repository, source.name
    elif environment.source_pattern is not None:
        yield environment.source_pattern, environment.name


def _folder(pattern: Template, environment: str) -> ImageRepository | None:
    """A repository that is granted only with everything that the pattern may mean; None: none is.

    Grants are of whole folders, so one of a name that nobody has stands for all in its folder.
    """
    literal = pattern.text.replace("{environment}", environment).partition("{")[0]
    folder, slash, _ = literal.rpartition("/")
    return ImageRepository.parse(f"{folder}/{_NOBODYS}") if slash else None


def _reached(environment: Environment, pipeline: Pipeline) -> Mapping[ImageRepository, None]:
    """Every image repository that the environment reads or writes."""
    found: dict[ImageRepository, None] = {}
    for application in pipeline.applications.values():
        for image in application.images:
            found[environment.repository_of(application, image.name)] = None
            source = source_repository(pipeline, environment, application, image.name)
            if source is not None:
                found[source] = None
    return found


def source_repository(
    pipeline: Pipeline, environment: Environment, application: Application, image: str
) -> ImageRepository | None:
    """Where the environment takes this image from; None: it stands where CI pushes it."""
    if environment.source_environment is not None:
        return pipeline.environments[environment.source_environment].repository_of(
            application, image
        )
    return environment.built_in(application, image) if environment.source_pattern else None
