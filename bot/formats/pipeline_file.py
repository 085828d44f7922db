"""`lockkeeper.yaml`: the file that chooses environments, registries, gates and applications.

Read from the default branch only. Unknown keys are errors with file, line and the nearest known
key; keys that start with ``x-`` are ignored, YAML anchors and merge keys work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Final, Literal

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
    Pipeline,
    SourceRepository,
    Template,
    Write,
    image_tag,
)
from bot.domain.errors import RejectedError
from bot.domain.oci import Digest, ImageRepository, TagReference
from bot.domain.pipeline_rules import did_you_mean, findings
from bot.formats.placed_struct import PlacedDocument, Strict

PIPELINE_FILE: Final = "lockkeeper.yaml"
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_REF: Final = re.compile(r"env/[a-z0-9](?:[a-z0-9._/-]{0,98}[a-z0-9])?")
_TEAM: Final = re.compile(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+")


class _On(Strict):
    branches: tuple[str, ...] = ()


class _Tag(Strict):
    tag: str
    move: bool = False


class _Approvals(Strict):
    count: int = 1
    teams: tuple[str, ...] = ()


class _Publish(Strict):
    ref: str


class _Environment(Strict):
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
    adopt: tuple[str, ...] = ()


class _Image(Strict):
    image_tag: str | None = None
    tag_match: str | None = None


class _At(Strict):
    file: str
    path: str
    image: str | None = None
    write: Literal["reference", "tag", "digest", "tag@digest"] = "reference"


class _Application(Strict):
    source: str | None = None
    images: list[str] | dict[str, _Image] | None = None
    image_tag: str | None = None
    at: list[_At] | None = None


class _File(Strict):
    version: Literal[1]
    environments: dict[str, _Environment]
    applications: dict[str, _Application]
    defaults: _Application | None = None
    policy: str | None = None


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
    return _Reader(PlacedDocument.read(text, file)).pipeline(commit)


class _Reader:
    """One file and its lines; every finding is placed."""

    def __init__(self, placed: PlacedDocument) -> None:
        self.placed = placed

    def pipeline(self, commit: str) -> Pipeline:
        content = self._structs(self.placed.mapping())
        environments = {n: self._environment(n, e) for n, e in content.environments.items()}
        applications = {
            name: self._application(name, application, content.defaults)
            for name, application in content.applications.items()
        }
        policy = self._policy(content.policy)
        pipeline = Pipeline(environments, applications, commit, policy)
        for finding in findings(pipeline):
            raise self.placed.error(finding.path, finding.fact, finding.remedy)
        return pipeline

    def _policy(self, path: str | None) -> str:
        if path is None:
            return ""
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\\" in path or not pure.parts:
            fact = f"not a path in this repository: {path!r}"
            raise self.placed.error(("policy",), fact, "write policy.yaml")
        return str(pure)

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
                    name: self.placed.convert({} if entry is None else entry, kind, (section, name))
                    for name, entry in entries.items()
                }
        return msgspec.structs.replace(self.placed.convert(shell, _File, ()), **parts)

    def _environment(self, name: str, entry: _Environment) -> Environment:
        at = ("environments", name)
        self._name(name, "environment", at)
        if not entry.manifests:
            raise self.placed.error(
                (*at, "manifests"), "no manifest files", "name at least one glob"
            )
        source = entry.from_
        is_pattern = source is not None and "/" in source
        approvals = entry.approvals or _Approvals(count=1 if entry.sign else 0)
        for team in approvals.teams:
            if not _TEAM.fullmatch(team):
                raise self.placed.error(
                    (*at, "approvals"), f"not a team: {team!r}", "write org/team"
                )
        if approvals.count < 0:
            raise self.placed.error(
                (*at, "approvals", "count"), "count is negative", "write 0 or more"
            )
        ref = entry.publish.ref if entry.publish else f"env/{name}"
        if not _REF.fullmatch(ref) or ".." in ref or "//" in ref or ref.endswith(".lock"):
            raise self.placed.error((*at, "publish", "ref"), f"not a ref under env/: {ref!r}")
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
            line=self.placed.line(at) or 0,
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
            raise self.placed.error(at, f"application {name!r} names no source repository", remedy)
        images = next(layer.images for layer in layers if layer.images)
        tag = next(layer.image_tag for layer in layers if layer.image_tag)
        named = images if isinstance(images, dict) else {image: _Image() for image in images}
        try:
            repository = GitHubRepository.parse(source.replace("{application}", name))
        except BadNameError as error:
            raise self.placed.error(
                (*at, "source"), f"source is {error}", "write owner/name"
            ) from error
        application = Application(
            name=name,
            source=SourceRepository(repository),
            images=tuple(
                Image(
                    image.replace("{application}", name),
                    Template(own.image_tag or tag),
                    own.tag_match or "",
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
        )
        for image in application.images:
            self._check_ci_tag(application, image, at)
        return application

    def _at(self, place: _At, application: Application, at: Sequence[str | int]) -> At:
        """A place that is named, because nothing in its file shows whose it is."""
        names = [image.name for image in application.images]
        file = Template(place.file.replace("{application}", application.name))
        unknown = file.variables - {"environment"}
        if unknown or place.file.startswith("/") or ".." in PurePosixPath(place.file).parts:
            fact = f"not a path or glob in this repository: {place.file!r}"
            raise self.placed.error(at, fact, "only {application} and {environment} work in it")
        if not place.path.startswith("/"):
            fact = f"path {place.path!r} is no pointer (RFC 6901)"
            raise self.placed.error(at, fact, "write it like /image/tag")
        if place.image is None and len(names) > 1:
            fact = f"{application.name!r} has several images"
            raise self.placed.error(at, fact, "say which with `image`")
        image = place.image or names[0]
        if image not in names:
            fact = f"{application.name!r} has no image {image!r}"
            raise self.placed.error(at, fact, did_you_mean(image, names))
        return At(ImageId(application.name, image), file, place.path, Write(place.write))

    def _check_ci_tag(self, application: Application, image: Image, at: Sequence[str]) -> None:
        where = (*at, "images", image.name, "image_tag")
        try:
            rendered = image_tag(application, image, "0" * 40)
            TagReference(ImageRepository("example.com", "x"), rendered)
        except RejectedError as error:
            raise self.placed.error(where, str(error)) from error
        if not image.tag.variables & {"commit", "short_sha"}:
            raise self.placed.error(
                where,
                f"image_tag {image.tag.text!r} is the same for every commit",
                "use {short_sha} or {commit}",
            )
        if rendered.startswith("sha256-"):
            raise self.placed.error(
                where, "image_tag may not look like a signature tag (sha256-...)"
            )

    def _repository_template(self, text: str, at: Sequence[str | int]) -> Template:
        template = Template(text)
        unknown = template.variables - {"image", "application", "environment"}
        if unknown:
            raise self.placed.error(
                at,
                f"{text!r} uses {{{min(unknown)}}}",
                "only {image}, {application} and {environment} work in an image repository",
            )
        try:
            ImageRepository.parse(template.render(dict.fromkeys(template.variables, "x")) or "")
        except RejectedError as error:
            raise self.placed.error(
                at, f"{text!r} is {error}", "write registry-host/path"
            ) from error
        return template

    def _image_tag(self, entry: str | _Tag, at: Sequence[str]) -> ImageTag:
        text, move = (entry, False) if isinstance(entry, str) else (entry.tag, entry.move)
        tag = ImageTag(Template(text), move)
        where = (*at, "image_tags")
        unknown = tag.template.variables - _TAG_VARIABLES
        if unknown:
            raise self.placed.error(
                where,
                f"{text!r} uses {{{min(unknown)}}}",
                did_you_mean(min(unknown), _TAG_VARIABLES),
            )
        try:
            rendered = tag.template.render(dict.fromkeys(tag.template.variables, "0"))
            TagReference(ImageRepository("example.com", "x"), rendered or "")
        except RejectedError as error:
            raise self.placed.error(where, str(error)) from error
        return tag

    def _digest(self, text: str, at: Sequence[str]) -> Digest:
        try:
            return Digest(text)
        except RejectedError as error:
            raise self.placed.error(at, str(error)) from error

    def _name(self, name: str, kind: str, at: Sequence[str]) -> None:
        if not _NAME.fullmatch(name):
            raise self.placed.error(
                at,
                f"not a name of an {kind}: {name!r}",
                "use a-z, 0-9 and -, at most 63 characters",
            )


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
