"""`lockkeeper doctor`: what is wrong with this set-up, with the way out, and nothing changed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Final

import click

from bot.assembly import doctor_of
from bot.cli.failing import FAILED
from bot.domain.doctor.findings import About, Finding, Severity
from bot.domain.errors import LockkeeperError
from bot.settings import Settings

_BAD: Final = frozenset({Severity.FAILURE, Severity.UNKNOWN})


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(*, as_json: bool) -> None:
    """Say what is wrong with this set-up, one line each, and how to mend it.

    Needs the settings of the bot, which may run or not; changes nothing. Exit code 1 where
    something does not work, or was asked and nobody answered.
    """
    findings = _findings()
    if as_json:
        click.echo(json.dumps({"findings": [_shown(one) for one in findings]}, indent=2))
    else:
        for finding in findings:
            click.echo(finding.line)
    if any(one.severity in _BAD for one in findings):
        raise click.exceptions.Exit(FAILED)


def _findings() -> tuple[Finding, ...]:
    try:
        return doctor_of(Settings.from_process())().findings
    except LockkeeperError as error:  # the settings are wrong: there is nobody to ask
        return (Finding(About.SETTINGS, "", Severity.FAILURE, str(error)),)


def _shown(finding: Finding) -> dict[str, str]:
    found = asdict(finding)
    return {
        "id": str(found["about"]),
        **{name: str(found[name]) for name in ("subject", "severity", "fact", "remedy")},
    }
