"""`lockkeeper serve` and the verbs that the running bot carries out."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final, TypeVar

import click

from bot.adapters.clock import pause
from bot.assembly import assemble, open_store
from bot.cli.failing import FAILED, failing
from bot.cli.log import to_stderr
from bot.domain.errors import UnavailableError
from bot.domain.jobs import JobKind
from bot.settings import Settings

C = TypeVar("C", bound=Callable[..., Any])
_WAIT_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.2


def _command_options(function: C) -> C:
    wait = click.option("--no-wait", is_flag=True, help="Leave the command and go.")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    return wait(as_json(function))


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
@click.argument("environment")
@_command_options
def adopt(environment: str, *, no_wait: bool, as_json: bool) -> None:
    """Take over, unsealed, what ENVIRONMENT runs now."""
    _ask("adopt", [environment], no_wait=no_wait, as_json=as_json)


@click.command()
@click.argument("environment")
@click.argument("application", required=False, default="")
@click.option("--reason", default="", help="Why, for whoever reads it at night.")
@_command_options
def hold(environment: str, application: str, reason: str, *, no_wait: bool, as_json: bool) -> None:
    """Stop ENVIRONMENT, or one APPLICATION in it."""
    _ask("hold", [environment, application, reason], no_wait=no_wait, as_json=as_json)


@click.command()
@click.argument("environment")
@click.argument("application", required=False, default="")
@_command_options
def unhold(environment: str, application: str, *, no_wait: bool, as_json: bool) -> None:
    """Let ENVIRONMENT, or one APPLICATION in it, go on."""
    _ask("unhold", [environment, application], no_wait=no_wait, as_json=as_json)


@click.command()
@click.argument("environment")
@_command_options
def reseal(environment: str, *, no_wait: bool, as_json: bool) -> None:
    """Sign again, with the first key, what is published in ENVIRONMENT."""
    _ask("reseal", [environment], no_wait=no_wait, as_json=as_json)


@click.command()
@click.argument("job")
@_command_options
def retry(job: str, *, no_wait: bool, as_json: bool) -> None:
    """Run a waiting or failed JOB (as `status` names it) now."""
    _ask("retry", [job], no_wait=no_wait, as_json=as_json)


@click.command()
@_command_options
def status(*, no_wait: bool, as_json: bool) -> None:
    """Where every application is, and which jobs are not over."""
    _ask("status", [], no_wait=no_wait, as_json=as_json)


@click.group()
def audit() -> None:
    """The chained record of what was done."""


@audit.command()
@click.option("--after", default=0, help="Only entries with a larger sequence.")
def export(after: int) -> None:
    """Print the audit as JSON lines, oldest first."""
    with failing(as_json=False):
        database, _, entries = open_store(Settings.from_process())
        while found := entries.entries(after):
            for entry in found:
                click.echo(json.dumps(asdict(entry), default=str, sort_keys=True))
            after = found[-1].sequence
        database.dispose()


def _ask(verb: str, arguments: list[str], *, no_wait: bool, as_json: bool) -> None:
    """Leave a command row and wait for the running bot's answer."""
    with failing(as_json=as_json):
        database, commands, _ = open_store(Settings.from_process())
        row = commands.submit(verb, arguments, getpass.getuser())
        if no_wait:
            click.echo(json.dumps({"command": row}) if as_json else f"left as command {row}")
            return
        waited = 0.0
        while (found := commands.get(row)) is None or found.answer is None:
            if waited > _WAIT_SECONDS:
                raise UnavailableError(
                    f"no running bot answered command {row} within {_WAIT_SECONDS:.0f} s; "
                    "start it with `lockkeeper serve`, or look at its log"
                )
            pause(_LOOK_SECONDS)
            waited += _LOOK_SECONDS
        database.dispose()
        answer = json.loads(found.answer)
        click.echo(json.dumps(answer, indent=2) if as_json else _words(verb, answer))
        if found.failed:
            raise click.exceptions.Exit(FAILED)


def _words(verb: str, answer: dict[str, Any]) -> str:
    if "error" in answer:
        return f"error: {answer['error']}"
    if verb == "status":
        return _status_words(answer)
    return ", ".join(f"{name}: {value}" for name, value in answer.items())


def _status_words(answer: dict[str, Any]) -> str:
    lines = [
        f"{p['environment']:<12} {p['image']:<24} {(p['published'] or '-')[:19]:<20} {p['state']}"
        for p in answer["places"]
    ]
    lines += [
        f"job {j['key']}: {j['state']}"
        + (f", due {j['due']}" if j["due"] else "")
        + (f": {j['summary']}" if j["summary"] else "")
        for j in answer["jobs"]
    ]
    lines += [f"{name} cannot be read: {why}" for name, why in answer.get("problems", {}).items()]
    lines += [finding["line"] for finding in answer.get("findings", [])]
    return "\n".join(lines) or "nothing is promoted anywhere yet"
