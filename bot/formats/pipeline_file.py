"""`lockkeeper.yaml`: the file that chooses environments, registries, gates and applications.

Read from the default branch only. Unknown keys are errors with file, line and the nearest known
key; keys that start with ``x-`` are ignored, YAML anchors and merge keys work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, Final, Literal, TypeVar, cast

import msgspec

from bot.domain.environments import (
    Application,
    Approvals,
    At,
    BadNameError,
    Environment,
    GitHubRepository,
    Image,
    ImageId,
    ImageTag,
    Own,
    Pipeline,
    SourceRepository,
    Template,
    Turns,
    Unmanaged,
    Write,
    image_tag,
)
from bot.domain.errors import ConfigurationError, RejectedError
from bot.domain.freezes import BadWindowError, Moment, Window, time_zones
from bot.domain.issues import BadPatternError, IssuePattern
from bot.domain.oci import Digest, ImageRepository, TagReference
from bot.domain.pipeline_rules import did_you_mean, findings, unknown_sources
from bot.formats.markdown import plain
from bot.formats.placed_struct import PlacedDocument, Strict

PIPELINE_FILE: Final = "lockkeeper.yaml"
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_REF: Final = re.compile(r"env/[a-z0-9](?:[a-z0-9._/-]{0,98}[a-z0-9])?")
_REPOSITORY_GLOB: Final = re.compile(r"[A-Za-z0-9*?._:-]+(?:/[a-z0-9*?._-]+)*")
_WINDOWS: Final = 50
_WINDOW_FORMS: Final = (
    'write both ends alike: "16:00", "fri 16:00" or "2026-12-20 16:00"; a day alone is all of it'
)
_TEAM: Final = re.compile(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+")


class _On(Strict):
    branches: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


class _Tag(Strict):
    tag: str
    move: bool = False


class _Approvals(Strict):
    count: int = 1
    teams: tuple[str, ...] = ()


class _Publish(Strict):
    ref: str


class _Window(Strict):
    from_: str = msgspec.field(name="from")
    until: str
    time_zone: str
    reason: str = ""


class _Environment(Strict):
    image_repository: str
    manifests: list[str]
    on: _On | None = None
    after: tuple[str, ...] = ()
    from_: str | None = msgspec.field(default=None, name="from")
    merge: Literal["auto", "manual"] = "manual"
    image_tags: list[str | _Tag] = msgspec.field(default_factory=lambda: ["{image_tag}"])
    sign: bool = False
    source: Literal["verified", "unverified"] = "verified"
    approvals: _Approvals | None = None
    publish: _Publish | None = None
    adopt: tuple[str, ...] = ()
    unmanaged: Literal["warn", "hold", "ignore"] = "warn"
    allow_images: tuple[str, ...] = ()
    freeze: tuple[_Window, ...] = ()
    order: Literal["latest", "queue"] = "latest"
    back_merge: bool = False


class _Image(Strict):
    image_tag: str | None = None
    tag_match: str | None = None
    paths: list[str] | None = None


class _At(Strict):
    file: str
    path: str
    image: str | None = None
    write: Literal["reference", "tag", "digest", "tag@digest"] = "reference"


class _Issue(Strict):
    key: str
    link: str | None = None


class _Own(Strict):
    """What an application has otherwise in one environment."""

    on: _On | None = None
    after: tuple[str, ...] | None = None
    merge: Literal["auto", "manual"] | None = None
    image_tags: list[str | _Tag] | None = None


class _Application(Strict):
    source: str | None = None
    images: list[str] | dict[str, _Image] | None = None
    image_tag: str | None = None
    at: list[_At] | None = None
    watch: list[str] | None = None
    issues: list[str | _Issue] | None = None
    promote: list[str] | None = None
    paths: list[str] | None = None
    environments: dict[str, _Own | None] | None = None
    group: str | None = None


class _File(Strict):
    version: Literal[1]
    environments: dict[str, _Environment]
    applications: dict[str, _Application]
    defaults: _Application | None = None
    policy: str | None = None


_DEFAULTS: Final = _Application(images=["{application}"], image_tag="sha-{short_sha}")


_SECTIONS: Final = ("environments", "applications")
_UNREAD: Final = "unread"
_NO_REPOSITORY: Final = GitHubRepository("unread", "unread")
_STAND_INS: Final[dict[type[Strict], Strict]] = {
    _Environment: _Environment(
        on=_On(branches=(_UNREAD,)), image_repository=_UNREAD, manifests=[_UNREAD]
    ),
    _Application: _Application(source="unread/unread"),
}
"""For entries of which too little is right; never in a pipeline that anybody gets."""

E = TypeVar("E", bound=Strict)


def schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors."""
    found = msgspec.json.schema(_File)
    text = json.dumps(found).replace("#/$defs/_", "#/$defs/")
    document: dict[str, Any] = json.loads(text)
    document["$defs"] = {k.removeprefix("_"): v for k, v in document["$defs"].items()}
    for definition in document["$defs"].values():
        definition["title"] = definition.get("title", "").removeprefix("_")
        if definition.get("additionalProperties") is False:
            definition["patternProperties"] = {"^x-": {}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document}


def read_pipeline(text: str, *, file: str = PIPELINE_FILE, commit: str = "") -> Pipeline:
    """Read a pipeline file, wholly or not at all.

    Raises:
        ConfigurationError: File, line, what is wrong and the way out.
        LimitExceededError: Larger or deeper than the limits of docs/limits.md.
    """
    return replace(_read(text, file), commit=commit)


@lru_cache(maxsize=32)
def _read(text: str, file: str) -> Pipeline:
    """Every look reads the file that is in force: 1,000 applications take 0.1 s."""
    reader = _Reader(PlacedDocument.read(text, file))
    pipeline = reader.pipeline("")
    if reader.errors:
        raise min(reader.errors, key=_line)
    return pipeline


def mistakes(text: str, *, file: str = PIPELINE_FILE) -> Sequence[ConfigurationError]:
    """Everything that is wrong with a pipeline file, by line; empty: it is valid.

    What follows only from another mistake is left out.

    Raises:
        ConfigurationError: It is no YAML mapping: nothing else can be said.
        LimitExceededError: As of `read_pipeline`.
    """
    reader = _Reader(PlacedDocument.read(text, file))
    reader.pipeline("")
    return sorted(reader.errors, key=_line)


def _is_inside(path: str) -> bool:
    """Whether a path or glob stays in this repository, and may be one at all.

    What is not printable is in no name that people read; NUL ends a name for git.
    """
    pure = PurePosixPath(path)
    is_local = not pure.is_absolute() and ".." not in pure.parts and "\\" not in path
    return is_local and path.isprintable()


def _is_matchable(glob: str) -> bool:
    """Whether a path as git writes it can match: without ``./``, doubled or trailing slashes.

    Nothing is taken out by a ``!``, and braces are no choice: both would be characters of a name.
    """
    is_plain = str(PurePosixPath(glob)) == glob and glob == glob.strip()
    return is_plain and glob != "." and not glob.startswith("!") and "{" not in glob


def _only_unknown(error: ConfigurationError) -> bool:
    """Whether everything that is known was read."""
    return error.fact.startswith("unknown key")


def _line(error: ConfigurationError) -> int:
    return error.line or 0


class _Reader:
    """One file and its lines; every mistake is placed, and reading goes on with what is right."""

    def __init__(self, placed: PlacedDocument) -> None:
        self.placed = placed
        self.errors: list[ConfigurationError] = []
        self.broken: set[str] = set()
        """Environments that have a mistake of their own."""
        self.misread: set[str] = set()
        """Environments of which something could not be read."""

    def pipeline(self, commit: str) -> Pipeline:
        """The file, as far as it is right; `errors` has the rest."""
        root = self.placed.mapping()
        environments = self._entries(root, "environments", _Environment)
        applications = self._entries(root, "applications", _Application)
        content = self._shell(root)
        pipeline = Pipeline(
            {name: self._environment(name, entry) for name, entry in environments.items()},
            {n: self._application(n, e, content.defaults) for n, e in applications.items()},
            commit,
            self._policy(content.policy),
        )
        self._judge(pipeline)
        return pipeline

    def _shell(self, root: dict[str, object]) -> _File:
        """Everything but the entries."""
        parts = {k: v for k, v in root.items() if k in _SECTIONS and isinstance(v, dict)}
        content, errors = self.placed.convert_noting(root | {key: {} for key in parts}, _File, ())
        self.errors += errors
        if content is None:  # a section is missing; what the others say counts all the same
            whole = {**root, "version": 1, **{key: {} for key in _SECTIONS}}
            content, _ = self.placed.convert_noting(whole, _File, ())
        return content or _File(version=1, environments={}, applications={})

    def _wrong(self, path: Sequence[str | int], fact: str, remedy: str = "") -> None:
        self.errors.append(self.placed.error(path, fact, remedy))
        if path[0] == "environments":
            self.broken.add(str(path[1]))

    def _judge(self, pipeline: Pipeline) -> None:
        """What is wrong with the whole, unless it only follows from an entry that is broken.

        With a stand-in for the broken environments their names are known; without them nothing
        that they seem to say counts. What is true both ways is a mistake of its own.
        """
        found = list(findings(pipeline))
        if self.broken:
            sound = {n: e for n, e in pipeline.environments.items() if n not in self.broken}
            surely = {f[:2] for f in findings(replace(pipeline, environments=sound))}
            surely |= {unknown[:2] for unknown in unknown_sources(pipeline)}
            found = [one for one in found if one[:2] in surely]
        self.errors += [self.placed.error(*finding) for finding in found]

    def _entries(self, root: dict[str, object], section: str, kind: type[E]) -> dict[str, E]:
        """Convert each entry by itself: msgspec leaves mapping keys out of its paths."""
        entries = root.get(section)
        found: dict[str, E] = {}
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            given = {} if entry is None else entry
            converted, errors = self.placed.convert_noting(given, kind, (section, name))
            self.errors += errors
            if errors and section == "environments":
                self.misread.add(name)
            if section == "environments" and not all(_only_unknown(one) for one in errors):
                self.broken.add(name)
            found[name] = converted or cast("E", _STAND_INS[kind])
        return found

    def _policy(self, path: str | None) -> str:
        if path is None:
            return ""
        pure = PurePosixPath(path)
        if not _is_inside(path) or not pure.parts:
            self._wrong(
                ("policy",), f"not a path in this repository: {path!r}", "write policy.yaml"
            )
        return str(pure)

    def _environment(self, name: str, entry: _Environment) -> Environment:
        at = ("environments", name)
        self._name(name, "environment", at)
        if not entry.manifests:
            self._wrong((*at, "manifests"), "no manifest files", "name at least one glob")
        for index, glob in enumerate(entry.manifests):
            if not (_is_inside(glob) and _is_matchable(glob)):
                fact = f"not a path or glob in this repository: {glob!r}"
                self._wrong((*at, "manifests", index), fact, "write it like envs/prod/**")
        is_fed = entry.after or (entry.on and (entry.on.branches or entry.on.tags))
        if not is_fed and name not in self.misread:  # else a misspelt key is the mistake
            remedy = "name branches or tags under `on`, or the environments before it under `after`"
            self._wrong(at, f"nothing asks for promotions to {name!r}", remedy)
        on = entry.on or _On()
        source = entry.from_ or next(iter(entry.after), None)
        is_pattern = source is not None and "/" in source
        if entry.image_repository != _UNREAD:
            self._repository_template(entry.image_repository, at)
        if is_pattern:
            self._repository_template(source or "", (*at, "from"))
        return Environment(
            name=name,
            branches=tuple(on.branches),
            tags=tuple(on.tags),
            after=tuple(dict.fromkeys(entry.after)),
            image_repository=Template(entry.image_repository),
            manifests=tuple(entry.manifests),
            source_environment=None if is_pattern else source,
            source_pattern=Template(source or "") if is_pattern else None,
            merges_itself=entry.merge == "auto",
            turns=Turns(entry.order),
            back_merge=entry.back_merge,
            image_tags=tuple(self._image_tag(tag, at) for tag in entry.image_tags),
            signs=entry.sign,
            accepts_unverified=entry.source == "unverified",
            approvals=self._approvals(entry, at),
            ref=self._ref(entry, name, at),
            adopt=self._digests(entry.adopt, (*at, "adopt")),
            unmanaged=Unmanaged(entry.unmanaged),
            allow_images=self._allowed(entry.allow_images, (*at, "allow_images")),
            freeze=tuple(self._windows(entry.freeze, (*at, "freeze"))),
            line=self.placed.line(at) or 0,
        )

    def _windows(self, entries: Sequence[_Window], at: Sequence[str | int]) -> Iterator[Window]:
        """When nothing new goes into an environment."""
        if len(entries) > _WINDOWS:
            fact = f"{len(entries)} windows, the limit is {_WINDOWS} (docs/limits.md)"
            self._wrong(at, fact, "join them, or take out those that are over")
            return
        for index, one in enumerate(entries):
            where = (*at, index)
            if one.time_zone not in time_zones():
                fact = f"no time zone {one.time_zone[:60]!r} is known on this machine"
                near = get_close_matches(one.time_zone, time_zones(), 1)
                remedy = did_you_mean(near[0], near) if near else "write one like Europe/Berlin"
                self._wrong((*where, "time_zone"), fact, remedy)
                continue
            try:
                moments = Moment.parse(one.from_), Moment.parse(one.until, ends=True)
                yield Window(*moments, one.time_zone, plain(one.reason))
            except BadWindowError as error:
                self._wrong(where, str(error), _WINDOW_FORMS)

    def _allowed(self, globs: Sequence[str], at: Sequence[str]) -> tuple[str, ...]:
        for index, glob in enumerate(globs):
            if not _REPOSITORY_GLOB.fullmatch(glob):
                fact = f"not a glob over image repositories: {glob[:200]!r}"
                remedy = "write host/path without tag or digest, as quay.io/prometheus/**"
                self._wrong((*at, index), fact, remedy)
        return tuple(globs)

    def _approvals(self, entry: _Environment, at: Sequence[str]) -> Approvals:
        approvals = entry.approvals or _Approvals(count=1 if entry.sign else 0)
        for team in approvals.teams:
            if not _TEAM.fullmatch(team):
                self._wrong((*at, "approvals"), f"not a team: {team!r}", "write org/team")
        if approvals.count < 0:
            self._wrong((*at, "approvals", "count"), "count is negative", "write 0 or more")
        return Approvals(approvals.count, tuple(approvals.teams))

    def _ref(self, entry: _Environment, name: str, at: Sequence[str]) -> str:
        ref = entry.publish.ref if entry.publish else f"env/{name}"
        is_ref = _REF.fullmatch(ref) and ".." not in ref and "//" not in ref
        if entry.publish and (not is_ref or ref.endswith(".lock")):  # else the name is the mistake
            self._wrong((*at, "publish", "ref"), f"not a ref under env/: {ref!r}")
        return ref

    def _application(
        self, name: str, entry: _Application, defaults: _Application | None
    ) -> Application:
        at = ("applications", name)
        self._name(name, "application", at)
        layers = [layer for layer in (entry, defaults, _DEFAULTS) if layer is not None]
        images = next(layer.images for layer in layers if layer.images)
        tag = next(layer.image_tag for layer in layers if layer.image_tag)
        named = images if isinstance(images, dict) else {image: _Image() for image in images}
        application = Application(
            name=name,
            source=SourceRepository(self._source(name, layers, at)),
            images=tuple(
                Image(
                    image.replace("{application}", name),
                    Template(own.image_tag or tag),
                    own.tag_match or "",
                    self._source_globs(own.paths or [], (*at, "images", image, "paths")),
                )
                for image, own in named.items()
            ),
        )
        places = next((layer.at for layer in layers if layer.at), ())
        application = replace(
            application,
            at=tuple(
                self._at(place, application, (*at, "at", i)) for i, place in enumerate(places)
            ),
            watched=self._globs_of("watch", layers, at),
            paths=self._globs_of("paths", layers, at),
            issues=self._issues(layers, at),
            promote=self._promote(name, layers, at),
            environments=self._own(layers, at),
            group=self._group(layers, at),
        )
        for image in application.images:
            self._check_ci_tag(application, image, at)
        return application

    def _group(self, layers: Sequence[_Application], at: Sequence[str]) -> str:
        group = next((layer.group for layer in layers if layer.group is not None), "")
        if group and not _NAME.fullmatch(group):
            remedy = "use a-z, 0-9 and -, at most 63 characters"
            self._wrong((*at, "group"), f"not a name of a group: {group!r}", remedy)
        return group

    def _own(self, layers: Sequence[_Application], at: Sequence[str]) -> Mapping[str, Own] | None:
        entries = (layer.environments for layer in layers)
        found = next((one for one in entries if one is not None), None)
        if found is None:
            return None
        if not found:
            remedy = "leave `environments` out: it is in each whose files have a place for it"
            self._wrong((*at, "environments"), "in no environment at all", remedy)
        return {
            name: Own(
                branches=tuple(own.on.branches) if own.on else None,
                tags=tuple(own.on.tags) if own.on else None,
                after=None if own.after is None else tuple(dict.fromkeys(own.after)),
                merges_itself=None if own.merge is None else own.merge == "auto",
                image_tags=None
                if own.image_tags is None
                else tuple(
                    self._image_tag(tag, (*at, "environments", name)) for tag in own.image_tags
                ),
            )
            for name, own in ((name, own or _Own()) for name, own in found.items())
        }

    def _globs_of(
        self, key: Literal["watch", "paths"], layers: Sequence[_Application], at: Sequence[str]
    ) -> tuple[str, ...]:
        """Globs over the source repository; `{application}` works, for `defaults`."""
        found = (layer.watch if key == "watch" else layer.paths for layer in layers)
        globs = next((one for one in found if one is not None), [])
        named = [glob.replace("{application}", str(at[1])) for glob in globs]
        return self._source_globs(named, (*at, key))

    def _source_globs(self, globs: Sequence[str], at: Sequence[str | int]) -> tuple[str, ...]:
        for glob in globs:
            if not (_is_inside(glob) and _is_matchable(glob)):
                fact = f"not a path or glob in the source repository: {glob!r}"
                remedy = "write it like services/api/**, one glob for each; nothing is taken out"
                self._wrong(at, fact, remedy)
        return tuple(globs)

    def _promote(
        self, name: str, layers: Sequence[_Application], at: Sequence[str | int]
    ) -> tuple[str, ...]:
        globs = next((layer.promote for layer in layers if layer.promote is not None), [])
        for glob in globs:
            if not _is_inside(glob) or not PurePosixPath(glob).parts:
                fact = f"not a path or glob in this repository: {glob!r}"
                self._wrong((*at, "promote"), fact, "write it like envs/*/{application}/config/**")
        return tuple(glob.replace("{application}", name) for glob in globs)

    def _issues(
        self, layers: Sequence[_Application], at: Sequence[str | int]
    ) -> tuple[IssuePattern, ...]:
        entries = next((layer.issues for layer in layers if layer.issues is not None), [])
        found: list[IssuePattern] = []
        for entry in entries:
            one = _Issue(key=entry) if isinstance(entry, str) else entry
            try:
                found.append(IssuePattern(one.key, one.link or ""))
            except BadPatternError as error:
                self._wrong((*at, "issues"), str(error), 'write it like "PAY-{number}"')
        return tuple(found)

    def _source(
        self, name: str, layers: Sequence[_Application], at: Sequence[str]
    ) -> GitHubRepository:
        source = next((layer.source for layer in layers if layer.source), None)
        if source is None:
            remedy = "write `source: owner/name`, or `source: owner/{application}` in `defaults`"
            self._wrong(at, f"application {name!r} names no source repository", remedy)
            return _NO_REPOSITORY
        try:
            return GitHubRepository.parse(source.replace("{application}", name))
        except BadNameError as error:
            self._wrong((*at, "source"), f"source is {error}", "write owner/name")
            return _NO_REPOSITORY

    def _at(self, place: _At, application: Application, at: Sequence[str | int]) -> At:
        """A place that is named, because nothing in its file shows whose it is."""
        names = [image.name for image in application.images]
        file = Template(place.file.replace("{application}", application.name))
        if file.variables - {"environment"} or not _is_inside(place.file):
            fact = f"not a path or glob in this repository: {place.file!r}"
            self._wrong(at, fact, "only {application} and {environment} work in it")
        if not place.path.startswith("/"):
            fact = f"path {place.path!r} is no pointer (RFC 6901)"
            self._wrong(at, fact, "write it like /image/tag")
        image = place.image or names[0]
        if place.image is None and len(names) > 1:
            self._wrong(at, f"{application.name!r} has several images", "say which with `image`")
        elif image not in names:
            fact = f"{application.name!r} has no image {image!r}"
            self._wrong(at, fact, did_you_mean(image, names))
        return At(ImageId(application.name, image), file, place.path, Write(place.write))

    def _check_ci_tag(self, application: Application, image: Image, at: Sequence[str]) -> None:
        where = (*at, "images", image.name, "image_tag")
        try:
            rendered = image_tag(application, image, "0" * 40)
            TagReference(ImageRepository("example.com", "x"), rendered)
        except RejectedError as error:
            self._wrong(where, str(error))
            return
        if not image.tag.variables & {"commit", "short_sha"}:
            fact = f"image_tag {image.tag.text!r} is the same for every commit"
            self._wrong(where, fact, "use {short_sha} or {commit}")
        if rendered.startswith("sha256-"):
            self._wrong(where, "image_tag may not look like a signature tag (sha256-...)")

    def _repository_template(self, text: str, at: Sequence[str | int]) -> None:
        template = Template(text)
        unknown = template.variables - {"image", "application", "environment"}
        if unknown:
            remedy = "only {image}, {application} and {environment} work in an image repository"
            self._wrong(at, f"{text!r} uses {{{min(unknown)}}}", remedy)
            return
        try:
            ImageRepository.parse(template.render(dict.fromkeys(template.variables, "x")) or "")
        except RejectedError as error:
            self._wrong(at, f"{text!r} is {error}", "write registry-host/path")

    def _image_tag(self, entry: str | _Tag, at: Sequence[str]) -> ImageTag:
        text, move = (entry, False) if isinstance(entry, str) else (entry.tag, entry.move)
        tag = ImageTag(Template(text), move)
        where = (*at, "image_tags")
        unknown = tag.template.variables - _TAG_VARIABLES
        if unknown:
            remedy = did_you_mean(min(unknown), _TAG_VARIABLES)
            self._wrong(where, f"{text!r} uses {{{min(unknown)}}}", remedy)
            return tag
        try:
            rendered = tag.template.render(dict.fromkeys(tag.template.variables, "0"))
            TagReference(ImageRepository("example.com", "x"), rendered or "")
        except RejectedError as error:
            self._wrong(where, str(error))
        return tag

    def _digests(self, texts: Sequence[str], at: Sequence[str | int]) -> frozenset[Digest]:
        found: set[Digest] = set()
        for text in texts:
            try:
                found.add(Digest(text))
            except RejectedError as error:
                self._wrong(at, str(error))
        return frozenset(found)

    def _name(self, name: str, kind: str, at: Sequence[str]) -> None:
        if not _NAME.fullmatch(name):
            remedy = "use a-z, 0-9 and -, at most 63 characters"
            self._wrong(at, f"not a name of an {kind}: {name!r}", remedy)


_TAG_VARIABLES: Final = frozenset(
    {
        "application",
        "image",
        "environment",
        "commit",
        "short_sha",
        "branch",
        "version",
        "image_tag",
        "timestamp",
    }
)
