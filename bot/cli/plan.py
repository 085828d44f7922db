"""`lockkeeper plan` and `lockkeeper config`: what would change, and what is wrong; no network."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from bot.cli.checkout import CheckoutTree, cache_folder
from bot.cli.completion import environment_names
from bot.cli.failing import WRONG_USAGE, failing
from bot.cli.groups import Group
from bot.domain.environments import (
    Application,
    Environment,
    GitHubRepository,
    Image,
    ImageId,
    ManifestsRepository,
    Pipeline,
    Unmanaged,
    image_tag,
)
from bot.domain.errors import ConfigurationError, LimitExceededError, LockkeeperError
from bot.domain.oci import Digest, TagReference
from bot.domain.pipeline_rules import UnknownNameError
from bot.formats.edits import Edit, State, edit_of
from bot.formats.environment_files import read_environment
from bot.formats.foreign_images import ForeignImage, foreign_in, is_allowed
from bot.formats.image_names import ImageField, Names, names_of
from bot.formats.links import LINK
from bot.formats.manifest_file import bytes_of, is_manifest_file, text_of
from bot.formats.pipeline_file import mistakes, read_pipeline, schema
from bot.formats.places import Remark
from bot.formats.unified_diff import unified_diff
from bot.settings import callers_environment

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LISTED: Final = 20
"""Images of others that are printed one by one."""
_COLOURS: Final = {"+": "green", "-": "red", "@": "cyan"}


@click.command()
@click.option("--config", type=_FILE, required=True, help="The pipeline file.")
@click.option("--checkout", type=_FOLDER, required=True, help="A manifests repository's files.")
@click.option(
    "--environment",
    required=True,
    help="The environment to change.",
    shell_complete=environment_names,
)
@click.option(
    "--image",
    "images",
    multiple=True,
    required=True,
    help="NAME=[TAG@]sha256:..., or APPLICATION/NAME=...; may be repeated.",
)
@click.option("--commit", default="", help="The source commit: tells the tag that CI pushed.")
@click.option("--write", is_flag=True, help="Change the files: all that is wanted, or nothing.")
@_JSON
def plan(
    config: Path,
    checkout: Path,
    environment: str,
    images: tuple[str, ...],
    commit: str,
    *,
    write: bool,
    as_json: bool,
) -> None:
    """Show what a promotion would change in the manifest files, as a diff."""
    if commit and not _COMMIT.fullmatch(commit):
        raise click.UsageError(f"--commit {commit}: write all 40 digits")
    with failing(as_json=as_json):
        pipeline = read_pipeline(config.read_text(), file=str(config))
        target = pipeline.environments.get(environment)
        if target is None:
            raise UnknownNameError("environment", environment, pipeline.environments)
        wanted = _wanted(pipeline, target, images, commit)
        tree = CheckoutTree(checkout, environment, cache_folder(callers_environment()))
        names = names_of(pipeline, target, only=wanted)
        files = read_environment(tree, target, names)
        edit = edit_of(files, lambda path: text_of(tree.content(path)), wanted)
        tree.keep()
        if write:
            _write_all(checkout, edit)
        beside = [path for path, one in sorted(files.readings.items()) if one.locations]
        foreign = list(_unmanaged(tree, beside, target, names))
        if foreign:  # or another application's: that takes the names of all
            foreign = list(_unmanaged(tree, beside, target, names_of(pipeline, target)))
        _print(edit, tree, foreign, as_json=as_json)
    if edit.state in {State.UNSUPPORTED, State.UNREADABLE}:
        raise click.exceptions.Exit(WRONG_USAGE)


def _wanted(
    pipeline: Pipeline, environment: Environment, images: tuple[str, ...], commit: str
) -> dict[ImageId, ImageField]:
    wanted: dict[ImageId, ImageField] = {}
    for given in images:
        name, equals, version = given.partition("=")
        tag, at, digest = version.rpartition("@")
        if not equals or (at and not tag):
            raise click.UsageError(f"--image {given}: write NAME=[TAG@]sha256:...")
        application, image = _image_of(pipeline, name)
        if commit and not tag:
            tag = image_tag(application, image, commit)
        repository = environment.repository_of(application, image.name)
        if tag:
            TagReference(repository, tag)
        own = ImageId(application.name, image.name)
        wanted[own] = ImageField(str(repository), tag, Digest(digest))
    return wanted


def _image_of(pipeline: Pipeline, name: str) -> tuple[Application, Image]:
    """An image by its name, or by its application's and its own where several have that name."""
    found = [
        (application, image)
        for application in pipeline.applications.values()
        for image in application.images
        if name in {image.name, f"{application.name}/{image.name}"}
    ]
    if not found:
        known = [one.name for two in pipeline.applications.values() for one in two.images]
        raise UnknownNameError("image", name, known)
    if len(found) > 1:
        written = ", ".join(f"{application.name}/{image.name}" for application, image in found)
        raise click.UsageError(f"--image {name}: several have that name; write one of {written}")
    return found[0]


def _write_all(checkout: Path, edit: Edit) -> None:
    """Write every file, or none: beside each first, then all are put in place."""
    if edit.refused:
        first = edit.refused[0]
        raise ConfigurationError(first.file, first.line, f"{first.reason}; nothing was written")
    ready: list[tuple[Path, Path]] = []
    try:
        for path, text in edit.contents.items():
            target = checkout / path
            ready.append((_beside(target, bytes_of(text)), target))
        for new, target in ready:
            new.replace(target)
    finally:
        for new, _ in ready:
            new.unlink(missing_ok=True)


def _beside(target: Path, content: bytes) -> Path:
    """The new bytes in a file of their own, with the old one's rights.

    Between the walk and now somebody may have put a link there: it is replaced, never followed.
    """
    mode = stat.S_IMODE(target.lstat().st_mode)
    number, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    with os.fdopen(number, "wb") as stream:
        stream.write(content)
        os.fchmod(stream.fileno(), mode)
    return Path(name)


def _unmanaged(
    tree: CheckoutTree, paths: Iterable[str], environment: Environment, names: Names
) -> Iterator[ForeignImage]:
    """Images of others in these files that the pipeline file lets not pass."""
    if environment.unmanaged is Unmanaged.IGNORE:
        return
    for path in paths:
        if is_manifest_file(path) and tree.mode(path) not in {"", LINK}:
            for one in foreign_in(path, text_of(tree.content(path)), names):
                if not is_allowed(one, environment.allow_images):
                    yield one


def _print(
    edit: Edit, tree: CheckoutTree, foreign: Sequence[ForeignImage], *, as_json: bool
) -> None:
    if as_json:
        document = {**_as_json(edit), "unmanaged": [_image(one) for one in foreign]}
        click.echo(json.dumps(document, indent=2))
        return
    colours = sys.stdout.isatty()
    before = {change.file: change for change in edit.changes}
    for path in sorted(before):
        diff = unified_diff(path, text_of(tree.content(path)), edit.contents[path])
        click.echo(_for_people(diff) if colours else bytes_of(diff), nl=False)
    if not edit.changes:
        click.echo("nothing would change")
    for remark in (*edit.refused, *edit.skipped, *edit.warnings):
        click.echo(f"{remark.kind}: {_printable(str(remark))}", err=True)
    _print_unmanaged(foreign)


def _print_unmanaged(foreign: Sequence[ForeignImage]) -> None:
    for one in foreign[:_LISTED]:
        click.echo(f"unmanaged: {_printable(str(one))}", err=True)
    if len(foreign) > _LISTED:
        click.echo(f"unmanaged: and {len(foreign) - _LISTED} more (--json has all)", err=True)


def _image(one: ForeignImage) -> dict[str, object]:
    return {"file": one.file, "line": one.line, "image": one.text}


def _for_people(diff: str) -> str:
    """The diff in colours, with nothing that a terminal could take for a command."""
    lines = (_printable(line.rstrip("\r")) for line in diff.split("\n"))
    return "\n".join(click.style(line, fg=_COLOURS.get(line[:1])) for line in lines)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else "�" for c in text)


def _as_json(edit: Edit) -> dict[str, object]:
    return {
        "state": edit.state.value,
        "states": {str(image): state.value for image, state in edit.states.items()},
        "changes": [
            {
                "file": change.file,
                "document": change.document,
                "line": change.line,
                "path": change.pointer,
                "old": change.old,
                "new": change.new,
                "kind": change.kind,
            }
            for change in edit.changes
        ],
        "skipped": [_remark(one) for one in (*edit.refused, *edit.skipped)],
        "warnings": [_remark(one) for one in edit.warnings],
    }


def _remark(one: Remark) -> dict[str, object]:
    return {
        "file": one.file,
        "line": one.line,
        "path": one.pointer,
        "reason": one.reason,
        "kind": one.kind.value,
        "image": str(one.image) if one.image else None,
    }


@click.group(cls=Group)
def config() -> None:
    """Check the pipeline file."""


@config.command()
@click.argument("file", type=_FILE)
@click.option("--grants", type=_FOLDER, help="Hold it against this grants folder as well.")
@click.option("--manifests", help="Whose grants: OWNER/NAME of the manifests repository.")
@click.option("--checkout", type=_FOLDER, help="List the images of others in these files as well.")
@_JSON
def check(
    file: Path,
    grants: Path | None,
    manifests: str | None,
    checkout: Path | None,
    *,
    as_json: bool,
) -> None:
    """Say what is wrong with a pipeline file and the policy that it names: file, line, remedy."""
    from bot.facts.rules import mistakes_of, rules_of  # noqa: PLC0415 - slow import

    if (grants is None) != (manifests is None):
        raise click.UsageError("--grants and --manifests belong together")
    with failing(as_json=as_json), _as_mistake(file):
        try:
            text = file.read_text()
        except UnicodeDecodeError as error:
            raise ConfigurationError(str(file), None, "not UTF-8") from error
        except OSError as error:
            raise ConfigurationError(
                str(file), None, f"cannot be read: {error.strerror}"
            ) from error
        _tell_mistakes(mistakes(text, file=str(file)), as_json=as_json)
        pipeline = read_pipeline(text, file=str(file))
        _tell_mistakes(mistakes_of(pipeline, _contents(file.parent)), as_json=as_json)
        rules = rules_of(pipeline, _contents(file.parent))
        if grants and manifests:
            _check_grants(grants, manifests, pipeline, file, as_json=as_json)
        unmanaged = _all_unmanaged(pipeline, checkout) if checkout else {}
        _tell_held(pipeline, unmanaged, as_json=as_json)
        counts = {
            "environments": list(pipeline.environments),
            "applications": list(pipeline.applications),
            "policies": list(rules.policies),
        }
        if as_json:
            listed = {name: [_image(one) for one in own] for name, own in unmanaged.items()}
            more = {"unmanaged": listed} if checkout else {}
            click.echo(json.dumps({"valid": True, **counts, **more}, indent=2))
        else:
            for own in unmanaged.values():
                _print_unmanaged(own)
            click.echo(
                f"{file}: valid; {len(pipeline.environments)} environments, "
                f"{len(pipeline.applications)} applications, {len(rules.policies)} policies"
            )


def _all_unmanaged(pipeline: Pipeline, checkout: Path) -> dict[str, list[ForeignImage]]:
    """Environment -> the images of others in all its files."""
    tree = CheckoutTree(checkout)
    paths = list(tree.under(""))
    return {
        name: list(
            _unmanaged(
                tree,
                (path for path in paths if environment.owns(path)),
                environment,
                names_of(pipeline, environment),
            )
        )
        for name, environment in pipeline.environments.items()
    }


def _tell_held(
    pipeline: Pipeline, unmanaged: Mapping[str, Sequence[ForeignImage]], *, as_json: bool
) -> None:
    """An image that would hold a merge is a mistake like any other."""
    way = "promote it, name its repository in `allow_images`, or take it out"
    held = [
        ConfigurationError(one.file, one.line, f"{one.text} is no image of ours ({name})", way)
        for name, own in unmanaged.items()
        if pipeline.environments[name].unmanaged is Unmanaged.HOLD
        for one in own
    ]
    _tell_mistakes(held, as_json=as_json)


@contextmanager
def _as_mistake(file: Path) -> Iterator[None]:
    """What is too large to be read is wrong like anything else in the file: exit code 2."""
    try:
        yield
    except LimitExceededError as error:
        raise ConfigurationError(str(file), None, str(error)) from error


def _tell_mistakes(found: Sequence[ConfigurationError], *, as_json: bool) -> None:
    """Every mistake of the file at once; the exit code says that there are some."""
    if not found:
        return
    if as_json:
        kind = ConfigurationError.__name__
        first = {"kind": kind, "text": str(found[0])}
        errors = [
            {
                "kind": kind,
                "file": one.file,
                "line": one.line,
                "fact": one.fact,
                "remedy": one.remedy,
            }
            for one in found
        ]
        click.echo(json.dumps({"error": first, "errors": errors}))
    for one in found:
        click.echo(f"error: {one}", err=True)
    raise click.exceptions.Exit(WRONG_USAGE)


def _contents(folder: Path) -> Callable[[str], bytes | None]:
    """What the policy file and what it names hold, as they stand beside the pipeline file."""

    def content(path: str) -> bytes | None:
        file = folder / path
        return file.read_bytes() if file.is_file() else None

    return content


def _check_grants(
    folder: Path, manifests: str, pipeline: Pipeline, file: Path, *, as_json: bool
) -> None:
    """Hosts, sources and keys; a key in a service without a .pub beside it is asked for there."""
    from bot.assembly import granted  # noqa: PLC0415 - slow import
    from bot.facts.granted import refusals  # noqa: PLC0415 - slow import

    repository = ManifestsRepository(GitHubRepository.parse(manifests))
    found = refusals(granted(folder, [manifests]), repository, pipeline)
    _tell_mistakes([_as_mistake_of(file, one.error) for one in found], as_json=as_json)


def _as_mistake_of(file: Path, error: LockkeeperError) -> ConfigurationError:
    if isinstance(error, ConfigurationError):
        return error
    return ConfigurationError(str(file), None, str(error))


@config.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of the pipeline file, for editors."""
    click.echo(json.dumps(schema(), indent=2))
