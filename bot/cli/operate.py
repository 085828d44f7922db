"""`lockkeeper serve` and the verbs that the running bot carries out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from bot.adapters.git.checkout import environment_refs
from bot.assembly import assemble, assemble_web, granted, open_store
from bot.cli.asking import WAIT_SECONDS, Asking
from bot.cli.completion import application_names, environment_names
from bot.cli.failing import failing
from bot.cli.groups import Group
from bot.cli.log import to_stderr
from bot.domain.audit_anchors import mismatches
from bot.domain.audit_chain import verify
from bot.domain.environments import GitHubRepository
from bot.domain.jobs import DELIVERING, Share
from bot.domain.memory import AuditEntry
from bot.ports.record import Audit
from bot.settings import Settings
from bot.signatures.record import signature_mismatches

C = TypeVar("C", bound=Callable[..., Any])
_ENVIRONMENT = click.argument("environment", shell_complete=environment_names)
_APPLICATION = click.argument(
    "application", required=False, default="", shell_complete=application_names
)


def _asks(function: C) -> C:
    """A verb that the running bot carries out; it gets `Asking` as its first argument."""

    @wraps(function)
    def run(*given: Any, seconds: float, no_wait: bool, as_json: bool, **named: Any) -> Any:  # noqa: ANN401 - any verb
        return function(Asking(seconds, no_wait, as_json), *given, **named)

    seconds = click.option(
        "--wait",
        "seconds",
        type=click.FloatRange(min=0),
        default=WAIT_SECONDS,
        show_default=True,
        help="Seconds to wait for the running bot; then the command is withdrawn.",
    )
    no_wait = click.option("--no-wait", is_flag=True, help="Leave the command and go.")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    return cast("C", seconds(no_wait(as_json(run))))


_MANIFESTS = click.option(
    "--manifests",
    default="",
    metavar="OWNER/NAME",
    help="The manifests repository, where several have an environment of that name.",
)


def _placed(environment: str, manifests: str) -> str:
    return f"{manifests}:{environment}" if manifests else environment


@click.command()
@click.option(
    "--role",
    type=click.Choice(["all", "web", "worker"]),
    default="all",
    help="What this process does: everything, webhooks only, or work only.",
)
@click.option(
    "--environments",
    default="",
    metavar="NAMES",
    help="Only deliver and publish, to these environments alone (with commas).",
)
@click.option(
    "--except-environments",
    "others",
    default="",
    metavar="NAMES",
    help="Deliver and publish to all but these; another process has their keys.",
)
def serve(role: str, environments: str, others: str) -> None:
    """Run the App: webhooks in, promotions out."""
    if (environments or others) and (role != "worker" or (environments and others)):
        fact = "--environments and --except-environments are for --role worker, one of them"
        raise click.UsageError(fact)
    to_stderr()
    with failing(as_json=False):
        settings = Settings.from_process()
        if role == "web":
            assemble_web(settings).serve()
            return
        share = Share(environments=_names(others))
        if environments:
            share = Share(DELIVERING, _names(environments), only=True)
        assemble(settings, share).serve(listens=role != "worker")


def _names(listed: str) -> frozenset[str]:
    return frozenset(filter(None, (name.strip() for name in listed.split(","))))


@click.command()
@_ENVIRONMENT
@_MANIFESTS
@_asks
def adopt(ask: Asking, environment: str, manifests: str) -> None:
    """Take over, unsealed, what ENVIRONMENT runs now."""
    ask("adopt", _placed(environment, manifests))


@click.command()
@_ENVIRONMENT
@click.argument("commit")
@_MANIFESTS
@_asks
def accept(ask: Asking, environment: str, commit: str, manifests: str) -> None:
    """Put the rules of COMMIT into force where ENVIRONMENT is, in place of approvals."""
    ask("accept", _placed(environment, manifests), commit)


@click.command(name="trust-source")
@click.argument("repository")
@_asks
def trust_source(ask: Asking, repository: str) -> None:
    """Let the name of a source mean the REPOSITORY that has it now."""
    ask("trust-source", repository)


@click.command()
@_MANIFESTS
@click.option(
    "--rules",
    default="",
    metavar="COMMIT",
    help="Whose rules come into force, where the database knows none.",
)
@_asks
def resume(ask: Asking, manifests: str, rules: str) -> None:
    """Go on from what the refs show, after a database was restored, emptied or changed."""
    ask("resume", manifests, rules)


@click.command()
@_ENVIRONMENT
@_APPLICATION
@click.option("--reason", default="", help="Why, for whoever reads it at night.")
@_MANIFESTS
@_asks
def hold(ask: Asking, environment: str, application: str, reason: str, manifests: str) -> None:
    """Stop ENVIRONMENT, or one APPLICATION in it."""
    ask("hold", _placed(environment, manifests), application, reason)


@click.command()
@_ENVIRONMENT
@_APPLICATION
@_MANIFESTS
@_asks
def unhold(ask: Asking, environment: str, application: str, manifests: str) -> None:
    """Let ENVIRONMENT, or one APPLICATION in it, go on."""
    ask("unhold", _placed(environment, manifests), application)


_PROMOTED = click.argument("application", shell_complete=application_names)


@click.command()
@_PROMOTED
@_ENVIRONMENT
@click.argument("commit", required=False, default="")
@_MANIFESTS
@_asks
def promote(ask: Asking, application: str, environment: str, commit: str, manifests: str) -> None:
    """Open the pull request of a COMMIT of APPLICATION in ENVIRONMENT.

    Without COMMIT, of what is published in the environment that it takes its images from.
    """
    more = [commit] if commit else []
    ask("promote", _placed(environment, manifests), application, *more)


@click.command()
@_PROMOTED
@_ENVIRONMENT
@click.argument("number", type=click.IntRange(1, 50), default=1)
@_MANIFESTS
@_asks
def rollback(ask: Asking, application: str, environment: str, number: int, manifests: str) -> None:
    """Open the pull request that takes APPLICATION in ENVIRONMENT back by NUMBER versions."""
    ask("rollback", _placed(environment, manifests), application, str(number))


@click.command()
@_ENVIRONMENT
@click.argument("duration")
@click.argument("reason", nargs=-1, required=True)
@_MANIFESTS
@_asks
def freeze(
    ask: Asking, environment: str, duration: str, reason: tuple[str, ...], manifests: str
) -> None:
    """Let nothing new into ENVIRONMENT for DURATION (45m, 8h, 3d, 2w), for this REASON."""
    ask("freeze", _placed(environment, manifests), duration, " ".join(reason))


@click.command()
@_ENVIRONMENT
@_MANIFESTS
@_asks
def unfreeze(ask: Asking, environment: str, manifests: str) -> None:
    """End a freeze of ENVIRONMENT that somebody gave."""
    ask("unfreeze", _placed(environment, manifests))


@click.command()
@_ENVIRONMENT
@_MANIFESTS
@_asks
def reseal(ask: Asking, environment: str, manifests: str) -> None:
    """Sign again, with the first key, what is published in ENVIRONMENT."""
    ask("reseal", _placed(environment, manifests))


@click.command()
@click.argument("job")
@_asks
def retry(ask: Asking, job: str) -> None:
    """Run a waiting or failed JOB (as `status` names it) now."""
    ask("retry", job)


@click.command()
@_asks
def status(ask: Asking) -> None:
    """Where every application is, what it waits for, and which jobs are not over."""
    ask("status")


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


@audit.command(name="verify")
@click.option(
    "--checkout",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A clone of the manifests repository with its environment refs.",
)
@click.option(
    "--registries",
    is_flag=True,
    help="Also read what our keys have signed there, with the grants of the bot.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify_audit(checkout: Path | None, *, registries: bool, as_json: bool) -> None:
    """Check the chain, and that publications, signatures and entries name each other."""
    with failing(as_json=as_json):
        settings = Settings.from_process()
        opened = open_store(settings)
        entries = list(_all_entries(opened.audit))
        opened.database.dispose()
        sequence, head = verify(entries)
        refs = environment_refs(checkout) if checkout else {}
        found = mismatches(entries, refs)
        if registries:
            names = settings.required_manifests()
            grants = granted(settings.grants_dir, names)
            found += signature_mismatches(entries, grants, [*map(GitHubRepository.parse, names)])
    commits = sum(map(len, refs.values()))
    if as_json:
        said = {"entries": sequence, "head": head, "publications": commits, "mismatches": found}
        click.echo(json.dumps(said, sort_keys=True))
    else:
        against = f"; {commits} commits on {len(refs)} environment refs" if checkout else ""
        click.echo(f"{sequence} entries in one chain, head {head or '-'}{against}")
        for one in found:
            click.echo(one)
    if found:
        raise SystemExit(1)


def _all_entries(kept: Audit) -> Iterator[AuditEntry]:
    found = kept.entries()
    while found:
        yield from found
        found = kept.entries(found[-1].sequence)
