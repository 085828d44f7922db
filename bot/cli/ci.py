"""`lockkeeper ci snippet`: what an application's CI has to do, from the pipeline file."""

from __future__ import annotations

from pathlib import Path

import click

from bot.cli.failing import failing
from bot.cli.groups import Group
from bot.domain.ci_builds import NoBuildError, ci_build
from bot.domain.environments import Application, Pipeline
from bot.domain.errors import ConfigurationError
from bot.formats.ci_snippet import SERVICES
from bot.formats.pipeline_file import PIPELINE_FILE, read_pipeline

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=Group)
def ci() -> None:
    """Tell application repositories what to build."""


@ci.command()
@click.option("--for", "service", required=True, type=click.Choice(sorted(SERVICES)))
@click.option(
    "--config", "file", type=_FILE, default=PIPELINE_FILE, help=f"Default: ./{PIPELINE_FILE}."
)
@click.option("--application", default="", help="Which one; needed where there are several.")
@click.option("--environment", default="", help="For which one CI pushes, where that is not clear.")
def snippet(service: str, file: Path, application: str, environment: str) -> None:
    """Print the CI file of an application's source repository."""
    with failing(as_json=False):
        pipeline = read_pipeline(_text(file), file=str(file))
        chosen = _application(pipeline, application)
        click.echo(SERVICES[service](ci_build(pipeline, chosen, environment)), nl=False)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(str(file), None, "not UTF-8", "write it as UTF-8") from error
    except OSError as error:
        fact = f"cannot be read: {error.strerror}"
        raise ConfigurationError(str(file), None, fact, "check the permissions") from error


def _application(pipeline: Pipeline, name: str) -> Application:
    known = pipeline.applications
    if name in known:
        return known[name]
    if not name and len(known) == 1:
        return next(iter(known.values()))
    names = ", ".join(known) or "none"
    fact = "is no application of the pipeline file" if name else "which application?"
    raise NoBuildError(name or "ci snippet", fact, f"say --application with one of: {names}")
