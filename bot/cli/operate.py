"""`lockkeeper serve` and the verbs that the running bot carries out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

import click

from bot.assembly import assemble, open_store
from bot.cli.asking import ask
from bot.cli.completion import application_names, environment_names
from bot.cli.failing import failing
from bot.cli.groups import Group
from bot.cli.log import to_stderr
from bot.domain.jobs import JobKind
from bot.settings import Settings

C = TypeVar("C", bound=Callable[..., Any])
_ENVIRONMENT = click.argument("environment", shell_complete=environment_names)
_APPLICATION = click.argument(
    "application", required=False, default="", shell_complete=application_names
)


def _command_options(function: C) -> C:
    wait = click.option("--no-wait", is_flag=True, help="Leave the command and go.")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    return wait(as_json(function))


def _place_options(function: C) -> C:
    manifests = click.option(
        "--manifests",
        default="",
        metavar="OWNER/NAME",
        help="The manifests repository, where several have an environment of that name.",
    )
    return _command_options(manifests(function))


def _placed(environment: str, manifests: str) -> str:
    return f"{manifests}:{environment}" if manifests else environment


@click.command()
@click.option(
    "--role",
    type=click.Choice(["all", "web", "worker"]),
    default="all",
    help="What this process does: everything, webhooks only, or work only.",
)
def serve(role: str) -> None:
    """Run the App: webhooks in, promotions out."""
    to_stderr()
    with failing(as_json=False):
        lockkeeper = assemble(Settings.from_process(), () if role == "web" else tuple(JobKind))
        lockkeeper.serve(listens=role != "worker")


@click.command()
@_ENVIRONMENT
@_place_options
def adopt(environment: str, manifests: str, *, no_wait: bool, as_json: bool) -> None:
    """Take over, unsealed, what ENVIRONMENT runs now."""
    ask("adopt", [_placed(environment, manifests)], no_wait=no_wait, as_json=as_json)


@click.command()
@_ENVIRONMENT
@_APPLICATION
@click.option("--reason", default="", help="Why, for whoever reads it at night.")
@_place_options
def hold(
    environment: str,
    application: str,
    reason: str,
    manifests: str,
    *,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Stop ENVIRONMENT, or one APPLICATION in it."""
    words = [_placed(environment, manifests), application, reason]
    ask("hold", words, no_wait=no_wait, as_json=as_json)


@click.command()
@_ENVIRONMENT
@_APPLICATION
@_place_options
def unhold(
    environment: str, application: str, manifests: str, *, no_wait: bool, as_json: bool
) -> None:
    """Let ENVIRONMENT, or one APPLICATION in it, go on."""
    words = [_placed(environment, manifests), application]
    ask("unhold", words, no_wait=no_wait, as_json=as_json)


@click.command()
@_ENVIRONMENT
@_place_options
def reseal(environment: str, manifests: str, *, no_wait: bool, as_json: bool) -> None:
    """Sign again, with the first key, what is published in ENVIRONMENT."""
    ask("reseal", [_placed(environment, manifests)], no_wait=no_wait, as_json=as_json)


@click.command()
@click.argument("job")
@_command_options
def retry(job: str, *, no_wait: bool, as_json: bool) -> None:
    """Run a waiting or failed JOB (as `status` names it) now."""
    ask("retry", [job], no_wait=no_wait, as_json=as_json)


@click.command()
@_command_options
def status(*, no_wait: bool, as_json: bool) -> None:
    """Where every application is, what it waits for, and which jobs are not over."""
    ask("status", [], no_wait=no_wait, as_json=as_json)


@click.group(cls=Group)
def audit() -> None:
    """The chained record of what was done."""


@audit.command()
@click.option("--after", default=0, help="Only entries with a larger sequence.")
def export(after: int) -> None:
    """Print the audit as JSON lines, oldest first."""
    with failing(as_json=False):
        opened = open_store(Settings.from_process())
        found = opened.audit.entries(after)
        if not found:
            beyond = f" after entry {after}" if after else ""
            click.echo(f"no audit entries{beyond} in {opened.name}", err=True)
        while found:
            for entry in found:
                click.echo(json.dumps(asdict(entry), default=str, sort_keys=True))
            found = opened.audit.entries(found[-1].sequence)
        opened.database.dispose()
