"""What CI has to build for an application, and where to, as the pipeline file says it.

An image is built once, for the environment that CI pushes to. A branch or tag that feeds it is
built, and so is one that feeds an environment which takes its images from there: fixes on release
branches have no other build. What is further up gets what stood below, and builds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bot.domain.environments import Application, Environment, Pipeline, Template
from bot.domain.errors import RejectedError

_TAG: Final = re.compile(r"[A-Za-z0-9_.-]*")
_VARIABLE: Final = re.compile(r"\{([a-z_]+)(?::([0-9]+))?\}")
_BRANCH: Final = re.compile(r"[A-Za-z0-9._/*-]+")
SHORT: Final = 7
"""Digits of ``{short_sha}``."""


class NoBuildError(RejectedError):
    """What CI has to build cannot be told from the pipeline file."""

    def __init__(self, application: str, fact: str, way_out: str) -> None:
        """Name the application, why, and what to do."""
        super().__init__(f"{application}: {fact}; {way_out}")
        self.application, self.fact = application, fact


@dataclass(frozen=True, slots=True)
class CiImage:
    """One image that CI builds."""

    name: str
    host: str
    repository: str
    """``host/path``."""
    tag: tuple[str | int, ...]
    """Of the immutable tag: texts, and numbers of digits of the commit (0: all)."""


@dataclass(frozen=True, slots=True)
class CiBuild:
    """All that CI builds of one application."""

    application: str
    source: str
    """``owner/name`` of its source repository."""
    environment: str
    """That it is built for."""
    images: tuple[CiImage, ...]
    branches: tuple[str, ...]
    """Globs: ``*`` within a segment, ``**`` across them."""
    tags: tuple[str, ...] = ()
    """Globs over git tags."""
    paths: tuple[str, ...] = ()
    """Globs over files of the source that its images are built of; empty: of all of them."""


def ci_build(pipeline: Pipeline, application: Application, environment: str = "") -> CiBuild:
    """What CI builds for an application.

    Args:
        pipeline: the pipeline file.
        application: of it.
        environment: which one CI pushes for; empty where there is one place only.

    Raises:
        NoBuildError: it is built for several places, or none; or CI cannot know a tag or branch.
    """
    own = [pipeline.environment_of(name, application) for name in pipeline.environments]
    environments = [one for one in own if one is not None]
    target = _target(environments, application, environment)
    asking = _asking(environments, application, _repositories(application, target) or ())
    branches = _globs(application, [glob for one in asking for glob in one.branches])
    tags = _globs(application, [glob for one in asking for glob in one.tags])
    if not branches and not tags:
        way_out = "give it, or one that takes images from it, `on: { branches: [...] }`"
        raise NoBuildError(application.name, f"no branch feeds {target.name}", way_out)
    return CiBuild(
        application.name,
        str(application.source),
        target.name,
        tuple(
            _image(application, target, name) for name in (one.name for one in application.images)
        ),
        branches,
        tags,
        _paths(application),
    )


def _target(
    environments: Sequence[Environment], application: Application, environment: str
) -> Environment:
    places: dict[tuple[str, ...], Environment] = {}
    for one in environments:
        place = _repositories(application, one)
        if place is not None:
            places.setdefault(place, one)
            if one.name == environment:
                return one
    names = ", ".join(one.name for one in places.values())
    if environment:
        fact = f"CI does not push for {environment}"
        raise NoBuildError(application.name, fact, f"name one of: {names}")
    if len(places) != 1:
        fact = f"CI pushes to {len(places)} places"
        raise NoBuildError(application.name, fact, f"say --environment with one of: {names}")
    return next(iter(places.values()))


def _repositories(application: Application, environment: Environment) -> tuple[str, ...] | None:
    """Where CI pushes the application's images for an environment; None: it does not."""
    found = [environment.built_in(application, one.name) for one in application.images]
    return None if None in found else tuple(str(one) for one in found)


def _asking(
    environments: Sequence[Environment], application: Application, place: tuple[str, ...]
) -> Sequence[Environment]:
    """Those whose branches and tags ask for what CI pushes to a place."""
    entries = {one.name for one in environments if _repositories(application, one) == place}
    return [one for one in environments if one.name in entries or one.source_environment in entries]


def _globs(application: Application, globs: Sequence[str]) -> tuple[str, ...]:
    """Each once, in characters that every CI reads alike."""
    for glob in globs:
        if not _BRANCH.fullmatch(glob):
            fact = f"{glob!r} has characters that not every CI reads alike"
            raise NoBuildError(application.name, fact, "write branches and tags into CI by hand")
    return tuple(dict.fromkeys(globs))


def _paths(application: Application) -> tuple[str, ...]:
    """What a commit has to touch; without `paths` of the application every commit counts."""
    if not application.paths:
        return ()
    own = (*application.paths, *(glob for image in application.images for glob in image.paths))
    return _globs(application, own)


def _image(application: Application, environment: Environment, name: str) -> CiImage:
    repository = environment.built_in(application, name)
    image = next(one for one in application.images if one.name == name)
    if repository is None:
        raise NoBuildError(application.name, f"{name} is built elsewhere", "ask its environment")
    return CiImage(name, repository.host, str(repository), _tag(application, name, image.tag))


def _tag(application: Application, image: str, template: Template) -> tuple[str | int, ...]:
    """The parts of a tag, which CI knows as soon as it knows the commit."""
    fixed = {"application": application.name, "image": image}
    parts: list[str | int] = []
    at = 0
    for match in _VARIABLE.finditer(template.text):
        parts += [template.text[at : match.start()]]
        name, digits = match[1], int(match[2] or 0)
        if name in fixed:
            parts += [fixed[name][: digits or None]]
        elif name in {"commit", "short_sha"}:
            parts += [digits or (SHORT if name == "short_sha" else 0)]
        else:
            fact = f"image_tag {template.text!r} needs {{{name}}}"
            raise NoBuildError(application.name, fact, "write {commit} or {short_sha}")
        at = match.end()
    parts += [template.text[at:]]
    if any(isinstance(one, str) and not _TAG.fullmatch(one) for one in parts):
        fact = f"image_tag {template.text!r} yields no tag"
        raise NoBuildError(application.name, fact, "write letters, digits, '_', '.' and '-'")
    return tuple(one for one in parts if one != "")
