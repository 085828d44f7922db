"""What no pipeline may say, however well it is written: circles, overlaps, collisions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import combinations
from typing import Final, NamedTuple

from bot.domain.counterparts import have_counterparts
from bot.domain.environments import (
    Application,
    Environment,
    ImageId,
    ImageTag,
    Pipeline,
    Turns,
    differ_at_once,
    overlap,
)
from bot.domain.errors import RejectedError

GLOB_LIMIT: Final = 256  # characters
_GLOB_WORK: Final = 200_000
"""Pairs of characters that are compared, over all globs of all environments: seconds."""
_TAG_WORK: Final = 1_000_000
"""The same for tags of environments that share a repository, which differ at once more often."""


class Finding(NamedTuple):
    """Something that a person must change in the pipeline file."""

    path: tuple[str, ...]
    """Keys from the root of the file."""
    fact: str
    remedy: str


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name, else all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(names)


class UnknownNameError(RejectedError):
    """An environment, an application, an image or a repository that nothing we can read names."""

    def __init__(self, kind: str, name: str, known: Iterable[str], unread: str = "") -> None:
        """Name the nearest known one, and the repositories that could not be asked."""
        names = list(known)
        doubt = f"; not everything can be read: {unread}" if unread else ""
        hint = did_you_mean(name, names) if names else f"no {kind} is known"
        super().__init__(f"{kind} {name} does not exist: {hint}{doubt}")
        self.kind, self.name = kind, name


def findings(pipeline: Pipeline) -> Iterator[Finding]:
    """Everything that is wrong with the pipeline as a whole.

    What is too long is compared with nothing: one line of a fork's pull request is read too.
    """
    long = list(_check_lengths(pipeline))
    if long:
        yield from long
        return
    for check in _CHECKS:
        yield from check(pipeline)
    yield from _check_own(pipeline)


def _check_own(pipeline: Pipeline) -> Iterator[Finding]:
    """What is wrong with an environment only as one application has it."""
    own_ways = [one for one in pipeline.applications.values() if one.environments is not None]
    checks = _OWN_CHECKS if own_ways else ()
    shared = {finding.fact for check in checks for finding in check(pipeline)}
    for application in own_ways:
        own = application.environments or {}
        at = ("applications", application.name, "environments")
        for name in own:
            if name not in pipeline.environments:
                fact = f"environment {name!r} does not exist"
                yield Finding((*at, name), fact, did_you_mean(name, pipeline.environments))
        here = {
            name: environment
            for name in pipeline.environments
            if (environment := pipeline.environment_of(name, application)) is not None
        }
        yield from _check_fed(application, here)
        alone = Pipeline(here, {application.name: application})
        for check in _OWN_CHECKS:
            for finding in check(alone):
                if finding.fact not in shared:
                    yield Finding((*at, finding.path[1]), finding.fact, finding.remedy)


def _check_fed(application: Application, here: Mapping[str, Environment]) -> Iterator[Finding]:
    """Whether something asks wherever an application has `on` or `after` of its own."""
    for name, own in (application.environments or {}).items():
        environment = here.get(name)
        says_own = not (own.branches is None and own.tags is None and own.after is None)
        if environment is None or not says_own:
            continue
        if not (environment.branches or environment.tags or environment.after):
            at = ("applications", application.name, "environments", name)
            yield Finding(
                at,
                f"nothing asks for promotions of {application.name!r} to {name!r}",
                "name branches or tags under `on`, or environments under `after`",
            )


def _tag_globs(
    tag: ImageTag,
    pipeline: Pipeline,
    environment: str,
    *,
    version: str = "**",
    digit: str = "?",
) -> set[str]:
    """Globs over everything that the tag can become there, one for each way CI writes its tags."""
    built = {
        image.tag.render(
            {"commit": digit * 40, "short_sha": digit * 7, "application": "**", "image": "**"}
        )
        for application in pipeline.applications.values()
        for image in application.images
    }
    values = dict.fromkeys(tag.template.variables, "**")
    values |= {"environment": environment} if "environment" in values else {}
    values |= {"timestamp": "2**T**Z", "version": version, "short_sha": digit * 7}
    values |= {"commit": digit * 40} if "commit" in values else {}
    return {tag.template.render(values | {"image_tag": image_tag}) or "" for image_tag in built}


def _can_meet(one: set[str], other: set[str]) -> bool:
    return any(overlap(left, right) for left in one for right in other)


def unknown_sources(pipeline: Pipeline) -> Iterator[Finding]:
    """Environments whose `from` or `after` names no environment of the file."""
    for name, environment in pipeline.environments.items():
        for key, other in _names_below(environment):
            if other not in pipeline.environments:
                yield Finding(
                    ("environments", name, key),
                    f"environment {other!r} does not exist",
                    did_you_mean(other, pipeline.environments),
                )


def _names_below(environment: Environment) -> Iterator[tuple[str, str]]:
    """Each environment that it comes after, once, and the key that says so."""
    for name in environment.below:
        yield "after" if name in environment.after else "from", name


def _check_circles(pipeline: Pipeline) -> Iterator[Finding]:
    """Circles of `from` and `after`, each once, at the first environment that is in it."""
    told: set[str] = set()
    for name in pipeline.environments:
        circle = () if name in told else _circle(pipeline, name)
        if not circle:
            continue
        told.update(one for _, one in circle)
        keys = [key for key in ("from", "after") if any(key == one for one, _ in circle)]
        said = " and ".join(f"`{key}`" for key in keys)
        verb = "forms" if len(keys) == 1 else "form"
        path = " -> ".join([name, *(one for _, one in circle)])
        at = ("environments", name, circle[0][0])
        yield Finding(at, f"{said} {verb} a circle: {path}", "cut it")


def _circle(pipeline: Pipeline, start: str) -> tuple[tuple[str, str], ...]:
    """The shortest way from an environment back to itself: key and name of each step."""
    ways: list[tuple[tuple[str, str], ...]] = [()]
    seen: set[str] = set()
    for way in ways:
        at = pipeline.environments.get(way[-1][1] if way else start)
        for key, name in _names_below(at) if at is not None else ():
            if name == start:
                return (*way, (key, name))
            if name not in seen:
                seen.add(name)
                ways.append((*way, (key, name)))
    return ()


def _check_gates(pipeline: Pipeline) -> Iterator[Finding]:
    for name, environment in pipeline.environments.items():
        at = ("environments", name)
        if environment.merges_itself and environment.needs_authority:
            yield Finding(
                (*at, "merge"),
                "`merge: auto` together with `sign` or `approvals`",
                "leave `merge` out: people merge what needs their approval",
            )
        if environment.signs and any(not glob.strip("*?/") for glob in environment.branches):
            yield Finding(
                (*at, "on"),
                "every branch feeds an environment that signs",
                "name the branches, for example main",
            )
        if environment.signs and any(not glob.strip("*?/") for glob in environment.tags):
            yield Finding(
                (*at, "on"),
                "every git tag feeds an environment that signs",
                "name the tags, for example v*",
            )


def _check_queues(pipeline: Pipeline) -> Iterator[Finding]:
    """A queue is of one application's commits on its own branches and tags."""
    for name, environment in pipeline.environments.items():
        if environment.turns is not Turns.QUEUE:
            continue
        at = ("environments", name, "order")
        if environment.follows:
            fact = "`order: queue` where nothing but publications of others ask"
            yield Finding(at, fact, "let `after` have its order from the environments before")
        groups = [
            one for one in pipeline.applications.values() if one.group and not one.skips(name)
        ]
        if groups:
            fact = f"`order: queue` together with a group: {groups[0].group!r}"
            yield Finding(at, fact, "a group takes the newest at which nobody is missing")


def _check_signature_tags(pipeline: Pipeline) -> Iterator[Finding]:
    signatures = {"sha256-**"}
    work = 0
    for name, environment in pipeline.environments.items():
        for tag in environment.image_tags:
            # Neither a version (a digit or a v) nor a commit (hex digits) can begin one.
            ways = _tag_globs(tag, pipeline, name, version="v**", digit="0")
            work += sum(_work(one, "sha256-**") for one in ways)
            if work > _TAG_WORK:
                at = ("environments", name, "image_tags")
                yield Finding(at, "too many tags to compare", "let CI write tags in fewer ways")
                return
            if _can_meet(ways, signatures):
                yield Finding(
                    ("environments", name, "image_tags"),
                    f"{tag.template.text!r} could become a signature tag (sha256-...)",
                    "begin it with fixed text",
                )


def _check_files(pipeline: Pipeline) -> Iterator[Finding]:
    work = 0
    for one, other in combinations(pipeline.environments.values(), 2):
        at = ("environments", other.name, "manifests")
        for left in one.manifests:
            for right in other.manifests:
                if differ_at_once(left, right):
                    continue
                work += len(left) * len(right)
                if work > _GLOB_WORK:
                    yield Finding(at, "too many globs to compare", "name folders with fewer globs")
                    return
                if overlap(left, right):
                    yield Finding(
                        at,
                        f"{right!r} and {left!r} of {one.name!r} can match the same file",
                        "a file belongs to one environment",
                    )


def _check_lengths(pipeline: Pipeline) -> Iterator[Finding]:
    for name, environment in pipeline.environments.items():
        tags = [tag.template.text for tag in environment.image_tags]
        asking = (*environment.branches, *environment.tags)
        texts = {"manifests": environment.manifests, "on": asking, "image_tags": tags}
        for key, found in texts.items():
            if any(len(text) > GLOB_LIMIT for text in found):
                fact = f"longer than {GLOB_LIMIT} characters"
                yield Finding(("environments", name, key), fact, "write a shorter one")
    for name, application in pipeline.applications.items():
        for own, has in (application.environments or {}).items():
            tags = [tag.template.text for tag in has.image_tags or ()]
            if any(len(t) > GLOB_LIMIT for t in (*(has.branches or ()), *(has.tags or ()), *tags)):
                at = ("applications", name, "environments", own)
                yield Finding(at, f"longer than {GLOB_LIMIT} characters", "write a shorter one")
        inner = [glob for image in application.images for glob in image.paths]
        globs = {"promote": application.promote, "paths": (*application.paths, *inner)}
        for key, found in globs.items():
            if any(len(glob) > GLOB_LIMIT for glob in found):
                fact = f"longer than {GLOB_LIMIT} characters"
                yield Finding(("applications", name, key), fact, "write a shorter one")
        if any(len(image.tag.text) > GLOB_LIMIT for image in application.images):
            fact = f"a tag is longer than {GLOB_LIMIT} characters"
            yield Finding(("applications", name), fact, "write a shorter one")


def _check_promote(pipeline: Pipeline) -> Iterator[Finding]:
    """Files that travel are files of environments, and it is clear where they go."""
    travelling = [one for one in pipeline.applications.values() if one.promote]
    if not travelling:
        return
    globs = [glob for one in pipeline.environments.values() for glob in one.manifests]
    work = 0
    for application in travelling:
        at = ("applications", application.name, "promote")
        if not any(_feeds(pipeline, one) for one in pipeline.environments.values()):
            fact = "no two environments have `manifests` that pair, so nothing says where files go"
            yield Finding(at, fact, "write them alike, as envs/stage/** and envs/prod/**")
        for glob in application.promote:
            work += sum(len(glob) * len(one) for one in globs if not differ_at_once(glob, one))
            if work > _GLOB_WORK:
                yield Finding(at, "too many globs to compare", "name files with fewer globs")
                return
            if not any(overlap(glob, one) for one in globs):
                fact = f"{glob!r} matches no file of an environment"
                yield Finding(at, fact, "name files under an environment's `manifests`")


def _feeds(pipeline: Pipeline, environment: Environment) -> bool:
    """Whether files can come here from the environment below."""
    below = pipeline.environments.get(environment.source_environment or "")
    return below is not None and have_counterparts(below, environment)


def _check_refs(pipeline: Pipeline) -> Iterator[Finding]:
    for one, other in combinations(pipeline.environments.values(), 2):
        at = ("environments", other.name, "publish", "ref")
        if one.ref == other.ref:
            yield Finding(
                at, f"{one.name!r} and {other.name!r} publish to one ref: {one.ref}", "name two"
            )
        elif f"{one.ref}/".startswith(f"{other.ref}/") or f"{other.ref}/".startswith(f"{one.ref}/"):
            yield Finding(
                at, f"git cannot hold both {one.ref} and {other.ref}", "rename one of them"
            )


def _check_groups(pipeline: Pipeline) -> Iterator[Finding]:
    """A group has branches and jobs of its name, so no application beside it is called so."""
    for application in pipeline.applications.values():
        other = pipeline.applications.get(application.group)
        if other is not None and other.group != application.group:
            at = ("applications", application.name, "group")
            fact = f"application {other.name!r}, which is not in it, is called as the group"
            yield Finding(at, fact, "call the group otherwise, or put that application into it")


def _check_repositories(pipeline: Pipeline) -> Iterator[Finding]:
    for environment in pipeline.environments.values():
        owners: dict[str, ImageId] = {}
        for application in pipeline.applications.values():
            for image in application.images:
                at = ("environments", environment.name, "image_repository")
                try:
                    repository = str(environment.repository_of(application, image.name).canonical)
                except RejectedError as error:
                    yield Finding(at, f"for image {image.name!r}: {error}", "")
                    continue
                own = ImageId(application.name, image.name)
                other = owners.setdefault(repository, own)
                if other != own:
                    missing = "image" if other.application == own.application else "application"
                    yield Finding(
                        at,
                        f"images {str(other)!r} and {str(own)!r} share {repository}",
                        f"use {{{missing}}} in it",
                    )


def _check_tags(pipeline: Pipeline) -> Iterator[Finding]:
    """Two environments of one repository whose tags could be written over one another."""
    globs = cache(lambda tag, name: _tag_globs(tag, pipeline, name))
    work = 0
    for one, other, left, right in _tag_pairs(pipeline):
        at = ("environments", other.name, "image_tags")
        ways, others = globs(left, one.name), globs(right, other.name)
        work += sum(_work(a, b) for a in ways for b in others)
        if work > _TAG_WORK:
            yield Finding(at, "too many tags to compare", "write fewer, or other repositories")
            return
        if _can_meet(ways, others):
            yield Finding(
                at,
                f"{right.template.text!r} and {left.template.text!r} of {one.name!r} "
                "can become the same tag in one repository",
                "put {environment} into them",
            )


def _tag_pairs(
    pipeline: Pipeline,
) -> Iterator[tuple[Environment, Environment, ImageTag, ImageTag]]:
    """Tags of two environments that are written into one repository and are not the same build."""
    for one, other in combinations(pipeline.environments.values(), 2):
        if one.image_repository != other.image_repository:
            continue
        for left in one.image_tags:
            for right in other.image_tags:
                if left != right or left.moves or not _is_per_commit(left):
                    yield one, other, left, right


def _work(one: str, other: str) -> int:
    """Pairs of characters that have to be compared."""
    return 1 if differ_at_once(one, other) else len(one) * len(other)


def _is_per_commit(tag: ImageTag) -> bool:
    return bool(tag.template.variables & {"image_tag", "commit", "short_sha"})


_CHECKS: Final = (
    unknown_sources,
    _check_circles,
    _check_gates,
    _check_queues,
    _check_signature_tags,
    _check_files,
    _check_promote,
    _check_refs,
    _check_groups,
    _check_repositories,
    _check_tags,
)
_OWN_CHECKS: Final = (
    unknown_sources,
    _check_circles,
    _check_gates,
    _check_signature_tags,
    _check_tags,
)
"""Those that depend on what an application may have otherwise."""
