"""`lockkeeper.yaml`: the file that chooses environments, registries, gates and applications.

Read from the default branch only. Unknown keys are errors with file, line and the nearest known
key; keys that start with ``x-`` are ignored, YAML anchors and merge keys work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeGuard, TypeVar

import msgspec

from bot.domain.environments import (
    Application,
    Approvals,
    BadNameError,
    Environment,
    GitHubRepository,
    Image,
    ImageTag,
    Pipeline,
    SourceRepository,
    Template,
    image_tag,
)
from bot.domain.errors import ConfigurationError, RejectedError
from bot.domain.oci import Digest, ImageRepository, TagReference
from bot.domain.pipeline_rules import did_you_mean, findings
from bot.formats.yaml_tree import Plain, compose_all, plain

PIPELINE_FILE: Final = "lockkeeper.yaml"
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_REF: Final = re.compile(r"env/[a-z0-9](?:[a-z0-9._/-]{0,98}[a-z0-9])?")
_TEAM: Final = re.compile(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+")
_PATH: Final = re.compile(r"at `(\$[^`]*)`")
_UNKNOWN: Final = re.compile(r"unknown field `([^`]*)`")


T = TypeVar("T", bound=msgspec.Struct)


class _Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    pass


class _On(_Strict):
    branches: list[str] = []


class _Tag(_Strict):
    tag: str
    move: bool = False


class _Approvals(_Strict):
    count: int = 1
    teams: list[str] = []


class _Publish(_Strict):
    ref: str


class _Environment(_Strict):
    on: _On
    image_repository: str
    manifests: list[str]
    from_: str | None = msgspec.field(default=None, name="from")
    merge: Literal["auto", "manual"] = "manual"
    image_tags: list[str | _Tag] = msgspec.field(default_factory=lambda: ["{image_tag}"])
    sign: bool = False
    source: Literal["verified", "unverified"] = "verified"
    approvals: _Approvals | None = None
    publish: _Publish | None = None
    adopt: list[str] = []


class _Image(_Strict):
    image_tag: str | None = None


class _Application(_Strict):
    source: str | None = None
    images: list[str] | dict[str, _Image] | None = None
    image_tag: str | None = None


class _File(_Strict):
    version: Literal[1]
    environments: dict[str, _Environment]
    applications: dict[str, _Application]
    defaults: _Application | None = None


_DEFAULTS: Final = _Application(images=["{application}"], image_tag="sha-{short_sha}")


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
    documents = compose_all(text.removeprefix("\ufeff"), file)
    if len(documents) != 1:
        raise ConfigurationError(file, 1, f"{len(documents)} documents", "write exactly one")
    return _Reader(file, plain(documents[0], file)).pipeline(commit)


class _Reader:
    """One file and its lines; every finding is placed."""

    def __init__(self, file: str, document: Plain) -> None:
        self.file = file
        self.document = document

    def error(self, path: Sequence[str | int], fact: str, remedy: str = "") -> ConfigurationError:
        return ConfigurationError(self.file, self.document.line(tuple(path)), fact, remedy)

    def pipeline(self, commit: str) -> Pipeline:
        root = _without_extensions(self.document.value)
        if not isinstance(root, dict):
            raise self.error((), "the file must be a mapping", "start with `version: 1`")
        content = self._structs(root)
        environments = {n: self._environment(n, e) for n, e in content.environments.items()}
        applications = {
            name: self._application(name, application, content.defaults)
            for name, application in content.applications.items()
        }
        pipeline = Pipeline(environments, applications, commit)
        for finding in findings(pipeline):
            raise self.error(finding.path, finding.fact, finding.remedy)
        return pipeline

    def _structs(self, root: dict[str, object]) -> _File:
        """Convert each entry by itself: msgspec leaves mapping keys out of its paths."""
        shell = dict(root)
        parts: dict[str, dict[str, Any]] = {}
        kinds: tuple[tuple[str, type[_Environment | _Application]], ...] = (
            ("environments", _Environment),
            ("applications", _Application),
        )
        for section, kind in kinds:
            entries = root.get(section)
            if isinstance(entries, dict):
                shell[section] = {}
                parts[section] = {
                    name: self._convert({} if entry is None else entry, kind, (section, name))
                    for name, entry in entries.items()
                }
        return msgspec.structs.replace(self._convert(shell, _File, ()), **parts)

    def _convert(self, value: object, kind: type[T], path: tuple[str, ...]) -> T:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise self._placed(str(error), kind, path) from error

    def _placed(
        self, message: str, kind: type[msgspec.Struct], path: tuple[str, ...]
    ) -> ConfigurationError:
        """The message of msgspec with its line, its key and the nearest known one."""
        found = _PATH.search(message)
        inner = _steps(found[1]) if found else ()
        fact = message.partition(" - at ")[0]
        unknown = _UNKNOWN.search(message)
        if unknown is None:
            return self.error((*path, *inner), f"{_dotted((*path, *inner))}: {fact}")
        return self.error(
            (*path, *inner, unknown[1]),
            f"unknown key {unknown[1]!r} in {_dotted((*path, *inner)) or 'the file'}",
            did_you_mean(unknown[1], _known_keys(kind, inner)),
        )

    def _environment(self, name: str, entry: _Environment) -> Environment:
        at = ("environments", name)
        self._name(name, "environment", at)
        if not entry.manifests:
            raise self.error((*at, "manifests"), "no manifest files", "name at least one glob")
        source = entry.from_
        is_pattern = source is not None and "/" in source
        approvals = entry.approvals or _Approvals(count=1 if entry.sign else 0)
        for team in approvals.teams:
            if not _TEAM.fullmatch(team):
                raise self.error((*at, "approvals"), f"not a team: {team!r}", "write org/team")
        if approvals.count < 0:
            raise self.error((*at, "approvals", "count"), "count is negative", "write 0 or more")
        ref = entry.publish.ref if entry.publish else f"env/{name}"
        if not _REF.fullmatch(ref) or ".." in ref or "//" in ref or ref.endswith(".lock"):
            raise self.error((*at, "publish", "ref"), f"not a ref under env/: {ref!r}")
        return Environment(
            name=name,
            branches=tuple(entry.on.branches),
            image_repository=self._repository_template(entry.image_repository, at),
            manifests=tuple(entry.manifests),
            source_environment=None if is_pattern else source,
            source_pattern=(
                self._repository_template(source or "", (*at, "from")) if is_pattern else None
            ),
            merges_itself=entry.merge == "auto",
            image_tags=tuple(self._image_tag(tag, at) for tag in entry.image_tags),
            signs=entry.sign,
            accepts_unverified=entry.source == "unverified",
            approvals=Approvals(approvals.count, tuple(approvals.teams)),
            ref=ref,
            adopt=frozenset(self._digest(digest, (*at, "adopt")) for digest in entry.adopt),
            line=self.document.line(at) or 0,
        )

    def _application(
        self, name: str, entry: _Application, defaults: _Application | None
    ) -> Application:
        at = ("applications", name)
        self._name(name, "application", at)
        layers = [layer for layer in (entry, defaults, _DEFAULTS) if layer is not None]
        source = next((layer.source for layer in layers if layer.source), None)
        if source is None:
            remedy = "write `source: owner/name`, or `source: owner/{application}` in `defaults`"
            raise self.error(at, f"application {name!r} names no source repository", remedy)
        images = next(layer.images for layer in layers if layer.images)
        tag = next(layer.image_tag for layer in layers if layer.image_tag)
        named = images if isinstance(images, dict) else {image: _Image() for image in images}
        try:
            repository = GitHubRepository.parse(source.replace("{application}", name))
        except BadNameError as error:
            raise self.error((*at, "source"), f"source is {error}", "write owner/name") from error
        application = Application(
            name=name,
            source=SourceRepository(repository),
            images=tuple(
                Image(image.replace("{application}", name), Template(own.image_tag or tag))
                for image, own in named.items()
            ),
        )
        for image in application.images:
            self._check_ci_tag(application, image, at)
        return application

    def _check_ci_tag(self, application: Application, image: Image, at: Sequence[str]) -> None:
        where = (*at, "images", image.name, "image_tag")
        try:
            rendered = image_tag(application, image, "0" * 40)
            TagReference(ImageRepository("example.com", "x"), rendered)
        except RejectedError as error:
            raise self.error(where, str(error)) from error
        if not image.tag.variables & {"commit", "short_sha"}:
            raise self.error(
                where,
                f"image_tag {image.tag.text!r} is the same for every commit",
                "use {short_sha} or {commit}",
            )
        if rendered.startswith("sha256-"):
            raise self.error(where, "image_tag may not look like a signature tag (sha256-...)")

    def _repository_template(self, text: str, at: Sequence[str | int]) -> Template:
        template = Template(text)
        unknown = template.variables - {"image", "application", "environment"}
        if unknown:
            raise self.error(
                at,
                f"{text!r} uses {{{min(unknown)}}}",
                "only {image}, {application} and {environment} work in an image repository",
            )
        try:
            ImageRepository.parse(template.render(dict.fromkeys(template.variables, "x")) or "")
        except RejectedError as error:
            raise self.error(at, f"{text!r} is {error}", "write registry-host/path") from error
        return template

    def _image_tag(self, entry: str | _Tag, at: Sequence[str]) -> ImageTag:
        text, move = (entry, False) if isinstance(entry, str) else (entry.tag, entry.move)
        tag = ImageTag(Template(text), move)
        where = (*at, "image_tags")
        unknown = tag.template.variables - _TAG_VARIABLES
        if unknown:
            raise self.error(
                where,
                f"{text!r} uses {{{min(unknown)}}}",
                did_you_mean(min(unknown), _TAG_VARIABLES),
            )
        try:
            rendered = tag.template.render(dict.fromkeys(tag.template.variables, "0"))
            TagReference(ImageRepository("example.com", "x"), rendered or "")
        except RejectedError as error:
            raise self.error(where, str(error)) from error
        return tag

    def _digest(self, text: str, at: Sequence[str]) -> Digest:
        try:
            return Digest(text)
        except RejectedError as error:
            raise self.error(at, str(error)) from error

    def _name(self, name: str, kind: str, at: Sequence[str]) -> None:
        if not _NAME.fullmatch(name):
            raise self.error(
                at,
                f"not a name of an {kind}: {name!r}",
                "use a-z, 0-9 and -, at most 63 characters",
            )


def _steps(path: str) -> tuple[str | int, ...]:
    """``$.on.branches[0]`` as steps; ``[...]`` (any key) ends them."""
    steps: list[str | int] = []
    for name, index in re.findall(r"\.([^.\[\]]+)|\[([^\]]*)\]", path):
        if index and not index.isdigit():
            break
        steps.append(int(index) if index else name)
    return tuple(steps)


def _dotted(path: Sequence[str | int]) -> str:
    return ".".join(str(step) for step in path)


def _known_keys(kind: type[msgspec.Struct], path: Sequence[str | int]) -> list[str]:
    """The keys of the struct that stands at ``path`` below ``kind``."""
    for step in path:
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        inner = [t for t in _alternatives(fields.get(str(step))) if _is_struct(t)]
        if inner:
            kind = inner[0]
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def _alternatives(annotation: object) -> list[object]:
    """Every type inside a union, list or mapping annotation."""
    inner = getattr(annotation, "__args__", ())
    return [annotation, *(found for part in inner for found in _alternatives(part))]


def _is_struct(annotation: object) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)


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


def _without_extensions(value: object) -> object:
    """Leave out ``x-`` keys, wherever they stand."""
    if isinstance(value, dict):
        return {k: _without_extensions(v) for k, v in value.items() if not k.startswith("x-")}
    if isinstance(value, list):
        return [_without_extensions(item) for item in value]
    return value
