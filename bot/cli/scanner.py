"""`lockkeeper scanner`: what an operator does about the scanner."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bot.adapters.clock import SystemClock
from bot.adapters.scanning import renewal_of
from bot.cli.failing import failing
from bot.settings import process_environment


@click.group()
def scanner() -> None:
    """Renew the scanner's database while the bot runs."""


@scanner.command()
@click.option(
    "--program",
    envvar="LOCKKEEPER_SCANNER",
    required=True,
    help="Its path, as LOCKKEEPER_SCANNER names it.",
)
@click.option(
    "--database",
    envvar="LOCKKEEPER_SCANNER_DATABASE",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to renew, as LOCKKEEPER_SCANNER_DATABASE names it.",
)
@click.option(
    "--canary",
    envvar="LOCKKEEPER_SCANNER_CANARY",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What the new database must find before it counts.",
)
@click.option("--mirror", "mirrors", multiple=True, help="Where to fetch from, in this order.")
@click.option("--java", is_flag=True, help="Trivy's index of Java archives, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def renew(
    program: str,
    database: Path,
    canary: Path | None,
    mirrors: tuple[str, ...],
    *,
    java: bool,
    as_json: bool,
) -> None:
    """Fetch a newer database aside, ask it the canary, put it in the place of the old one.

    The bot may run meanwhile. Whatever fails leaves the old database as it is.
    """
    with failing(as_json=as_json):
        done = renewal_of(
            program,
            database,
            clock=SystemClock(),
            mirrors=mirrors,
            java=java,
            canary=canary,
            environment=process_environment(),
        )
        if as_json:
            before = done.before.isoformat() if done.before else None
            click.echo(json.dumps({"before": before, "after": done.after.isoformat()}))
        else:
            was = f"{done.before:%Y-%m-%d %H:%M} UTC" if done.before else "none"
            click.echo(f"{database}: database of {was} -> {done.after:%Y-%m-%d %H:%M} UTC")
