"""`lockkeeper plan` and `lockkeeper config`: what would change, and what is wrong; no network."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import unified_diff
from pathlib import Path
from typing import Final

import click

from bot.cli.completion import environment_names
from bot.cli.failing import WRONG_USAGE, failing
from bot.cli.groups import Group
from bot.domain.environments import (
    Application,
    Environment,
    GitHubRepository,
    ManifestsRepository,
    Pipeline,
)
from bot.domain.errors import ConfigurationError, LimitExceededError
from bot.domain.oci import Digest
from bot.domain.pipeline_rules import UnknownNameError
from bot.formats.manifest_file import Names, PlannedChange, Written, edited, is_manifest_file, spots
from bot.formats.pipeline_file import mistakes, read_pipeline, schema
from bot.usecases.rules import Rules, rules_of

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.option("--config", type=_FILE, required=True, help="The pipeline file.")
@click.option("--checkout", type=_FOLDER, required=True, help="A manifests repository's files.")
@click.option(
    "--environment",
    required=True,
    help="The environment to change.",
    shell_complete=environment_names,
)
@click.option("--image", "images", multiple=True, required=True, help="NAME=sha256:...")
@click.option("--write", is_flag=True, help="Change the files.")
@_JSON
def plan(
    config: Path,
    checkout: Path,
    environment: str,
    images: tuple[str, ...],
    *,
    write: bool,
    as_json: bool,
) -> None:
    """Show what a promotion would change in the manifest files, as a diff."""
    with failing(as_json=as_json):
        pipeline = read_pipeline(config.read_text(), file=str(config))
        target = pipeline.environments.get(environment)
        if target is None:
            raise UnknownNameError("environment", environment, pipeline.environments)
        wanted = _wanted(pipeline, target, images)
        names = _names(pipeline)
        changes: list[PlannedChange] = []
        for path in _files(checkout, target):
            before = _read(checkout / path)
            places = {
                spot.place: wanted[spot.place.image]
                for spot in spots(path, before, names)
                if spot.place.image in wanted
            }
            after, planned = edited(path, before, names, places)
            changes += planned
            if planned and write:
                _write(checkout / path, after)
            if planned and not as_json:
                _show(path, before, after)
        if as_json:
            click.echo(json.dumps([_as_json(change) for change in changes], indent=2))
        elif not changes:
            click.echo("nothing would change")


def _wanted(
    pipeline: Pipeline, environment: Environment, images: tuple[str, ...]
) -> dict[str, Written]:
    wanted: dict[str, Written] = {}
    for given in images:
        name, equals, digest = given.partition("=")
        if not equals:
            raise click.UsageError(f"--image {given}: write NAME=sha256:...")
        application = _application_of(pipeline, name)
        repository = environment.repository_of(application, name)
        wanted[name] = Written(str(repository), "", Digest(digest))
    return wanted


def _application_of(pipeline: Pipeline, image: str) -> Application:
    for application in pipeline.applications.values():
        if any(one.name == image for one in application.images):
            return application
    known = [one.name for two in pipeline.applications.values() for one in two.images]
    raise UnknownNameError("image", image, known)


def _names(pipeline: Pipeline) -> Names:
    repositories = {
        str(environment.repository_of(application, image.name)): image.name
        for environment in pipeline.environments.values()
        for application in pipeline.applications.values()
        for image in application.images
    }
    return Names(repositories, frozenset(repositories.values()))


def _files(checkout: Path, environment: Environment) -> Iterator[str]:
    """The environment's files; links are never followed, neither to files nor to folders."""
    for folder, names, files in os.walk(checkout, followlinks=False):
        names[:] = sorted(name for name in names if name != ".git")
        for file in sorted(files):
            path = Path(folder, file)
            relative = path.relative_to(checkout).as_posix()
            if (
                environment.owns(relative)
                and is_manifest_file(relative)
                and stat.S_ISREG(path.lstat().st_mode)
            ):
                yield relative


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape")


def _write(path: Path, text: str) -> None:
    # Between the walk and now somebody may have put a link there: it is not followed.
    file = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
    with os.fdopen(file, "wb") as stream:
        stream.write(text.encode("utf-8", "surrogateescape"))


def _show(path: str, before: str, after: str) -> None:
    lines = unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{path}", f"b/{path}"
    )
    for line in lines:
        text = "".join(c if c.isprintable() or c == "\t" else "�" for c in line.rstrip("\r\n"))
        click.echo(text)


def _as_json(change: PlannedChange) -> dict[str, object]:
    return {
        "path": change.path,
        "document": change.document,
        "line": change.line,
        "pointer": change.pointer,
        "old": change.old,
        "new": change.new,
    }


@click.group(cls=Group)
def config() -> None:
    """Check the pipeline file."""


@config.command()
@click.argument("file", type=_FILE)
@click.option("--grants", type=_FOLDER, help="Hold it against this grants folder as well.")
@click.option("--manifests", help="Whose grants: OWNER/NAME of the manifests repository.")
@_JSON
def check(file: Path, grants: Path | None, manifests: str | None, *, as_json: bool) -> None:
    """Say what is wrong with a pipeline file and the policy that it names: file, line, remedy."""
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
        rules = _rules(pipeline, file.parent)
        if grants and manifests:
            _check_grants(grants, manifests, pipeline)
        counts = {
            "environments": list(pipeline.environments),
            "applications": list(pipeline.applications),
            "policies": list(rules.policies),
        }
        if as_json:
            click.echo(json.dumps({"valid": True, **counts}, indent=2))
        else:
            click.echo(
                f"{file}: valid; {len(pipeline.environments)} environments, "
                f"{len(pipeline.applications)} applications, {len(rules.policies)} policies"
            )


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
            {"kind": kind, "line": one.line, "fact": one.fact, "remedy": one.remedy}
            for one in found
        ]
        click.echo(json.dumps({"error": first, "errors": errors}))
    for one in found:
        click.echo(f"error: {one}", err=True)
    raise click.exceptions.Exit(WRONG_USAGE)


def _rules(pipeline: Pipeline, folder: Path) -> Rules:
    """The policy that the file names, and its exceptions, as they stand beside it."""

    def content(path: str) -> bytes | None:
        file = folder / path
        return file.read_bytes() if file.is_file() else None

    return rules_of(pipeline, content)


def _check_grants(folder: Path, manifests: str, pipeline: Pipeline) -> None:
    """Hosts, sources and keys; a key in a service without a .pub beside it is asked for there."""
    from bot.assembly import granted  # noqa: PLC0415 - slow import
    from bot.usecases.desk import check_grants  # noqa: PLC0415 - slow import

    repository = ManifestsRepository(GitHubRepository.parse(manifests))
    check_grants(granted(folder, [manifests]), repository, pipeline)


@config.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of the pipeline file, for editors."""
    click.echo(json.dumps(schema(), indent=2))
