"""Applications, environments and the pipeline that joins them: what the pipeline file says.

The file *chooses*; what it may choose from is the operator's grant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, lru_cache
from typing import Final, NamedTuple, NewType, Self

from bot.domain.errors import RejectedError
from bot.domain.freezes import Window
from bot.domain.issues import IssuePattern
from bot.domain.oci import Digest, ImageRepository
from bot.domain.source_refs import SourceRef

# GitHub's own limits for owner and repository names.
_OWNER: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_VARIABLE: Final = re.compile(r"\{([a-z_]+)(?::([0-9]{1,2}))?\}")
_WILD: Final = re.compile(r"[*?]")
_NOT_IN_A_TAG: Final = re.compile(r"[^A-Za-z0-9_.-]")
"""What no image tag holds (OCI distribution-spec, "Pulling manifests")."""
SHORT_COMMIT: Final = 7


@dataclass(frozen=True, slots=True, order=True)
class GitHubRepository:
    """``owner/name`` on the GitHub that the operator configured."""

    owner: str
    name: str

    def __post_init__(self) -> None:
        if not _OWNER.fullmatch(self.owner) or not _NAME.fullmatch(self.name):
            raise BadNameError("a GitHub repository (owner/name)", f"{self.owner}/{self.name}")
        if self.name in {".", ".."}:
            raise BadNameError("a GitHub repository (owner/name)", f"{self.owner}/{self.name}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``owner/name``."""
        owner, _, name = text.partition("/")
        return cls(owner, name)

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"


SourceRepository = NewType("SourceRepository", GitHubRepository)
ManifestsRepository = NewType("ManifestsRepository", GitHubRepository)


class BadNameError(RejectedError):
    """A text that should be a name of a certain kind is not."""

    def __init__(self, kind: str, text: str) -> None:
        """Say which kind was expected and what came."""
        super().__init__(f"not {kind}: {text[:200]!r}")
        self.kind, self.text = kind, text


class TemplateError(RejectedError):
    """A template names a variable that does not exist here, or yields no valid name."""

    def __init__(self, template: str, fact: str) -> None:
        """Name the template and what is wrong with it."""
        super().__init__(f"template {template!r}: {fact}")
        self.template, self.fact = template, fact


@dataclass(frozen=True, slots=True)
class Template:
    """Text with ``{variables}``: image repositories and tags."""

    text: str

    @property
    def variables(self) -> frozenset[str]:
        """Names of the variables in it."""
        return _variables(self.text)

    def render(self, values: Mapping[str, str | None]) -> str | None:
        """Fill in; None if a variable has no value now (a tag that is left out)."""
        if any(values.get(name) is None for name in _variables(self.text)):
            return None

        def value(match: re.Match[str]) -> str:
            text = values[match[1]] or ""
            return text[: int(match[2])] if match[2] else text

        return _VARIABLE.sub(value, self.text)

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=4096)
def _variables(text: str) -> frozenset[str]:
    return frozenset(match[1] for match in _VARIABLE.finditer(text))


@dataclass(frozen=True, slots=True)
class ImageTag:
    """A tag that a delivery writes beside the digest."""

    template: Template
    move: bool = False
    """Whether it may point elsewhere later; a tag without a placeholder always may."""

    @property
    def moves(self) -> bool:
        """Whether the tag is written only after everything is sealed."""
        return self.move or not self.template.variables


@dataclass(frozen=True, slots=True)
class Approvals:
    """Who must have approved what is delivered."""

    count: int = 0
    teams: tuple[str, ...] = ()
    """``organization/team``; empty: anybody with write access."""


class ImageId(NamedTuple):
    """Which image is meant: two applications may have images of one name."""

    application: str
    name: str

    def __str__(self) -> str:
        return f"{self.application}/{self.name}"


class Write(StrEnum):
    """What a place that the pipeline file names holds."""

    REFERENCE = "reference"
    TAG = "tag"
    DIGEST = "digest"
    TAG_AND_DIGEST = "tag@digest"


@dataclass(frozen=True, slots=True)
class At:
    """A place that the pipeline file names, because nothing in the file shows whose it is."""

    image: ImageId
    file: Template
    """Path or glob in the manifests repository; ``{environment}`` works."""
    pointer: str
    """RFC 6901 pointer to the scalar."""
    write: Write = Write.REFERENCE


@dataclass(frozen=True, slots=True)
class Image:
    """One image of an application."""

    name: str
    tag: Template
    """The immutable tag that CI pushes for a commit."""
    tag_match: str = ""
    """Glob over tags: places with another tag are another variant's; empty: all are its own."""
    paths: tuple[str, ...] = ()
    """Globs over files of the source that it alone is built of; empty: the application's."""

    def is_built_of(self, path: str) -> bool:
        """Whether a file of the source goes into this image, which has `paths` of its own."""
        return any(holds(glob, path) for glob in self.paths)


@dataclass(frozen=True, slots=True)
class Own:
    """What one application has otherwise in an environment; None: as the environment has it."""

    branches: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    after: tuple[str, ...] | None = None
    merges_itself: bool | None = None
    image_tags: tuple[ImageTag, ...] | None = None


@dataclass(frozen=True, slots=True)
class Application:
    """The images that are promoted together."""

    name: str
    source: SourceRepository
    images: tuple[Image, ...]
    at: tuple[At, ...] = ()
    """Places that are named, not found."""
    watched: tuple[str, ...] = ()
    """Globs over paths of the source repository whose changes reviewers want to see."""
    issues: tuple[IssuePattern, ...] = ()
    """How the issues are called that commits and pull requests name."""
    promote: tuple[str, ...] = ()
    """Globs over files of the manifests repository that travel with its images."""
    paths: tuple[str, ...] = ()
    """Globs over files of the source that it is built of; empty: of all of them."""

    environments: Mapping[str, Own] | None = None
    """The environments that it is in, and what is its own there; None: all with a place for it."""

    group: str = ""
    """Whose pull requests it shares: one of each environment for all of the group; empty: none."""

    @property
    def lane(self) -> str:
        """What its pull requests are called by: its group, or itself."""
        return self.group or self.name

    def skips(self, environment: str) -> bool:
        """Whether it goes past this environment, whatever stands there."""
        return self.environments is not None and environment not in self.environments

    def is_built_of(self, path: str) -> bool:
        """Whether a file of the source goes into one of its images."""
        if not self.paths:
            return True
        own = (*self.paths, *(glob for image in self.images for glob in image.paths))
        return any(holds(glob, path) for glob in own)


class Unmanaged(StrEnum):
    """What becomes of images of others in an environment's files."""

    WARN = "warn"
    HOLD = "hold"
    """A merge that brings one waits."""
    IGNORE = "ignore"


class Turns(StrEnum):
    """Which of several that are ready is proposed."""

    LATEST = "latest"
    """The newest: what comes before it is never seen here."""
    QUEUE = "queue"
    """The oldest: each has its turn, and the next comes once it is published."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One level of the canal: its triggers, image repository, files and gates."""

    name: str
    branches: tuple[str, ...]
    """Globs over source branches that feed it."""
    image_repository: Template
    manifests: tuple[str, ...]
    """Globs over paths of the manifests repository."""
    tags: tuple[str, ...] = ()
    """Globs over git tags of the source that feed it."""
    after: tuple[str, ...] = ()
    """Environments that publish first: what is not published in all of them does not come here."""
    source_environment: str | None = None
    """``from`` as an environment: its images are promoted here."""
    source_pattern: Template | None = None
    """``from`` as an image repository pattern: CI pushes there, no environment stands for it."""
    merges_itself: bool = False
    """``merge: auto``."""
    turns: Turns = Turns.LATEST
    """``order``."""
    back_merge: bool = False
    """Open a pull request in the source for what was delivered and its first branch lacks."""
    image_tags: tuple[ImageTag, ...] = ()
    signs: bool = False
    accepts_unverified: bool = False
    """``source: unverified``: an image that only its tag ties to its commit may enter."""
    approvals: Approvals = field(default_factory=Approvals)
    ref: str = ""
    """The environment ref without ``refs/heads/``."""
    adopt: frozenset[Digest] = frozenset()
    """Digests that are taken over unsealed."""
    unmanaged: Unmanaged = Unmanaged.WARN
    """What becomes of images that nobody promotes."""
    allow_images: tuple[str, ...] = ()
    """Globs over image repositories that nobody promotes and that may run all the same."""
    freeze: tuple[Window, ...] = ()
    """When nothing new goes into it."""
    line: int = 0
    """Where the pipeline file describes it."""

    @property
    def is_entry(self) -> bool:
        """Whether CI pushes into this environment's own image repository."""
        return self.source_environment is None and self.source_pattern is None

    @property
    def needs_authority(self) -> bool:
        """Whether a change of its digests must come through an approved pull request."""
        return self.signs or self.approvals.count > 0

    @property
    def follows(self) -> bool:
        """Whether it has no branch of its own, and takes what is published in those of `after`."""
        return bool(self.after) and not (self.branches or self.tags)

    @property
    def below(self) -> tuple[str, ...]:
        """The environments in which something has to be published before it comes here."""
        first = () if self.source_environment is None else (self.source_environment,)
        return tuple(dict.fromkeys((*first, *self.after)))

    def repository_of(self, application: Application, image: str) -> ImageRepository:
        """Where this image of the application stands for this environment."""
        return self._render(self.image_repository, application, image)

    def built_in(self, application: Application, image: str) -> ImageRepository | None:
        """Where CI pushes this image for this environment; None where another one feeds it."""
        if self.source_pattern is not None:
            return self._render(self.source_pattern, application, image)
        return None if self.source_environment else self.repository_of(application, image)

    def _render(self, pattern: Template, application: Application, image: str) -> ImageRepository:
        values = {"image": image, "application": application.name, "environment": self.name}
        rendered = pattern.render(values)
        if rendered is None:
            raise TemplateError(
                pattern.text, "only {image}, {application} and {environment} work here"
            )
        return ImageRepository.parse(rendered)

    def fed_by(self, ref: SourceRef) -> bool:
        """Whether this branch or git tag of the source asks for a promotion here."""
        if ref.is_tag:
            return any(matches(glob, ref.name) for glob in self.tags)
        return not ref.name.startswith("gh-readonly-queue/") and any(
            matches(glob, ref.name) for glob in self.branches
        )

    def owns(self, path: str) -> bool:
        """Whether a path of the manifests repository is one of its files."""
        return any(matches(glob, path) for glob in self.manifests)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The pipeline file, valid and complete."""

    environments: Mapping[str, Environment]
    applications: Mapping[str, Application]
    commit: str = ""
    """The default branch's commit that it was read from."""
    policy_file: str = ""
    """Path of the rules that images are judged by; empty: nothing gates."""

    def applications_of(self, source: SourceRepository) -> Sequence[Application]:
        """The applications that are built from this source repository."""
        return [a for a in self.applications.values() if a.source == source]

    def environment_of(self, name: str, application: Application) -> Environment | None:
        """An environment as it is for one application; None: it goes past it.

        What takes its images from an environment that the application goes past takes them from
        where that one would, and what follows one is fed as that one would be. Where CI pushes is
        gone past by nobody.
        """
        environment = self.environments.get(name)
        if environment is None or application.skips(name):
            return None
        if application.environments is None:
            return environment
        return _as_own(self, environment, application, application.environments[name])

    def in_lane(self, lane: str) -> Sequence[Application]:
        """The applications that share pull requests; of one without a group itself alone."""
        return [one for one in self.applications.values() if one.lane == lane]

    def home_branch(self, environment: Environment, application: Application) -> str:
        """The branch that feeds the environment where CI pushes; empty: nobody names one.

        The environment is the application's own; what it follows or takes from leads down there.
        """
        seen: set[str] = set()
        at: Environment | None = environment
        while at is not None and at.below and at.name not in seen:
            seen.add(at.name)
            at = self.environment_of(at.below[0], application)
        if at is None or at.name == environment.name:
            return ""
        return next((one for one in at.branches if not _WILD.search(one)), "")

    def is_last(self, environment: Environment, application: Application) -> bool:
        """Whether nothing comes after this environment for an application."""
        others = (self.environment_of(name, application) for name in self.environments)
        return not any(one is not None and environment.name in one.below for one in others)

    def owner_of(self, path: str) -> Environment | None:
        """The environment that a file belongs to."""
        return next((e for e in self.environments.values() if e.owns(path)), None)


def _as_own(
    pipeline: Pipeline, environment: Environment, application: Application, own: Own
) -> Environment:
    found = replace(
        environment,
        branches=environment.branches if own.branches is None else own.branches,
        tags=environment.tags if own.tags is None else own.tags,
        after=environment.after if own.after is None else own.after,
        merges_itself=_or(own.merges_itself, environment.merges_itself),
        image_tags=environment.image_tags if own.image_tags is None else own.image_tags,
    )
    found = _past_feeders(pipeline, found, application)
    return _past_sources(pipeline, found, application)


def _or(own: bool | None, base: bool) -> bool:  # noqa: FBT001 - two answers to one question
    return base if own is None else own


def _past_feeders(
    pipeline: Pipeline, environment: Environment, application: Application
) -> Environment:
    """Follow what is before an environment that the application goes past, or be fed as it is."""
    seen = {environment.name}
    while True:
        past = [one for one in environment.after if application.skips(one) and one not in seen]
        known = [pipeline.environments[one] for one in past if one in pipeline.environments]
        if not known:
            return environment
        seen.update(past)
        after = [
            name
            for one in environment.after
            for name in (pipeline.environments[one].after if one in past else (one,))
        ]
        is_fed = bool(environment.branches or environment.tags or after)
        branches = environment.branches if is_fed else tuple(g for e in known for g in e.branches)
        tags = environment.tags if is_fed else tuple(g for e in known for g in e.tags)
        environment = replace(
            environment, after=tuple(dict.fromkeys(after)), branches=branches, tags=tags
        )


def _past_sources(
    pipeline: Pipeline, environment: Environment, application: Application
) -> Environment:
    """Take images from where an environment takes them that the application goes past."""
    seen = {environment.name}
    while (name := environment.source_environment) is not None:
        below = pipeline.environments.get(name)
        if below is None or name in seen or not application.skips(name):
            return environment
        seen.add(name)
        if below.is_entry:
            pushed = below.image_repository.text.replace("{environment}", name)
            return replace(environment, source_environment=None, source_pattern=Template(pushed))
        pattern = below.source_pattern
        text = pattern.text.replace("{environment}", name) if pattern else ""
        environment = replace(
            environment,
            source_environment=below.source_environment,
            source_pattern=Template(text) if pattern else None,
        )
    return environment


def holds(glob: str, path: str) -> bool:
    """Whether a glob of `paths` names a path of the source, or a folder that it is in.

    A submodule is one path, though its files stand below it: it counts for globs of those.
    """
    plain = not _WILD.search(glob)
    return (
        matches(glob, path)
        or (plain and path.startswith(f"{glob}/"))
        or _split(glob)[0].startswith(f"{path}/")
    )


def matches(glob: str, text: str) -> bool:
    """Whether ``text`` matches: ``*`` within a segment, ``**`` across them, ``?`` one character.

    Linear in ``len(glob) * len(text)``: no backtracking that a hostile name could use.
    """
    literal, parts = _split(glob)
    if not text.startswith(literal):
        return False
    if parts == ("**",):
        return True
    reached = _skip_stars(parts, {0})
    for character in text[len(literal) :]:
        reached = _step(parts, reached, character)
        if not reached:
            return False
    return len(parts) in reached


@lru_cache(maxsize=4096)
def _split(glob: str) -> tuple[str, tuple[str, ...]]:
    """What stands before the first star or question mark, and the parts from there on."""
    literal = _WILD.split(glob, maxsplit=1)[0]
    return literal, tuple(_parts(glob)[len(literal) :])


def overlap(one: str, other: str) -> bool:
    """Whether some text matches both globs.

    Linear in ``len(one) * len(other)``: pairs of states are followed, never sets of them, of which
    there are exponentially many.
    """
    if differ_at_once(one, other):
        return False
    left, right = _parts(one), _parts(other)
    left_ahead = cache(lambda state, character: _step(left, frozenset({state}), character))
    right_ahead = cache(lambda state, character: _step(right, frozenset({state}), character))
    pending = [(a, b) for a in _skip_stars(left, {0}) for b in _skip_stars(right, {0})]
    seen = set(pending)
    while pending:
        a, b = pending.pop()
        if (a, b) == (len(left), len(right)):
            return True
        for character in {*_wanted(left, a), *_wanted(right, b), "/", "\0"}:
            ahead, beside = left_ahead(a, character), right_ahead(b, character)
            for pair in ((x, y) for x in ahead for y in beside):
                if pair not in seen:
                    seen.add(pair)
                    pending.append(pair)
    return False


def differ_at_once(one: str, other: str) -> bool:
    """Whether what stands before the first star or question mark differs already."""
    left, right = _split(one)[0], _split(other)[0]
    shared = min(len(left), len(right))
    return left[:shared] != right[:shared]


def _wanted(parts: Sequence[str], state: int) -> str:
    """The one character that a state asks for; empty: several will do."""
    part = parts[state] if 0 <= state < len(parts) else ""
    return "" if "*" in part or part == "?" else part


def _parts(glob: str) -> list[str]:
    return re.findall(r"\*\*/?|\*|\?|[^*?]", glob)


def _step(parts: Sequence[str], reached: frozenset[int], character: str) -> frozenset[int]:
    """The states after one more character; ``~n`` is inside a segment that part n swallows."""
    moved: set[int] = set()
    for state in reached:
        index = state if state >= 0 else ~state
        part = parts[index] if index < len(parts) else ""
        if part == "**/":
            moved.add(index if character == "/" else ~index)
        elif part == "**" or (part == "*" and character != "/"):
            moved.add(index)
        elif part == character or (part == "?" and character != "/"):
            moved.add(index + 1)
    return _skip_stars(parts, moved)


def _skip_stars(parts: Sequence[str], states: set[int]) -> frozenset[int]:
    closure = set(states)
    pending = list(states)
    while pending:
        state = pending.pop()
        skippable = 0 <= state < len(parts) and parts[state] in {"*", "**", "**/"}
        if skippable and state + 1 not in closure:
            closure.add(state + 1)
            pending.append(state + 1)
    return frozenset(closure)


def image_tag(application: Application, image: Image, commit: str) -> str:
    """The tag that CI pushed for this image at this commit."""
    values = {
        "application": application.name,
        "image": image.name,
        "commit": commit,
        "short_sha": commit[:SHORT_COMMIT],
    }
    rendered = image.tag.render(values)
    if rendered is None:
        raise TemplateError(
            image.tag.text, "only {application}, {image}, {commit} and {short_sha} work here"
        )
    return rendered


def tag_values(
    application: Application,
    image: Image,
    environment: Environment,
    commit: str,
    built_of: str,
    ref: SourceRef,
    merged_at: datetime,
) -> dict[str, str | None]:
    """The variables of an environment's ``image_tags``; None where there is no value.

    ``built_of`` is the commit that CI tagged this image for, ``commit`` the promoted one.
    """
    return {
        "application": application.name,
        "image": image.name,
        "environment": environment.name,
        "commit": commit,
        "short_sha": commit[:SHORT_COMMIT],
        "branch": in_a_tag(ref.name) or None,
        "version": None if ref.version is None else in_a_tag(ref.version),
        "image_tag": image_tag(application, image, built_of),
        "timestamp": merged_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ"),
    }


def in_a_tag(name: str) -> str:
    """The name of a branch or git tag, or its version, as far as an image tag can hold it.

    A plus becomes an underscore, as Helm writes it: no SemVer version holds one, so that
    ``v1.2.0+build.5`` and ``v1.2.0-build.5`` stay two. All else, slashes first, becomes a hyphen.
    """
    return _NOT_IN_A_TAG.sub("-", name.replace("+", "_"))
