"""`lockkeeper review`: evidence about two images in, a pull request body and a verdict out.

No network, no database: it runs in any CI on the files that scanners and builders wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from bot.adapters.clock import SystemClock
from bot.cli.failing import failing
from bot.domain.assessment import Evidence, assess
from bot.domain.errors import ConfigurationError, LimitExceededError, RejectedError
from bot.domain.evidence import Exploitation, Scan, bound, merged_scans
from bot.domain.judging import bases_of
from bot.domain.packages import Inventory, merged
from bot.domain.policy import EnvironmentPolicy, RiskException
from bot.formats.assessment_document import indented, render_assessment
from bot.formats.evidence_body import review as body
from bot.formats.exploitation_feeds import read_epss, read_kev
from bot.formats.json_document import SIZE_LIMIT
from bot.formats.policy_file import policy_of, read_exceptions, read_policy
from bot.formats.reports import read_sbom, read_scan, read_vex

BLOCKED: Final = 3
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_TIMES: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])


def _files(name: str, text: str, *, required: bool = False) -> Callable[[Command], Command]:
    return click.option(name, type=_FILE, multiple=True, required=required, help=text)


@click.command()
@click.option("--environment", required=True, help="Whose rules judge.")
@click.option("--policy", "policy_file", type=_FILE, help="The policy file; absent: nothing gates.")
@_files("--new-scan", "Trivy, grype or CycloneDX JSON of the new image.", required=True)
@_files("--old-scan", "The same of the image that runs there.")
@_files("--new-sbom", "CycloneDX or SPDX JSON of the new image.")
@_files("--old-sbom", "The same of the image that runs there.")
@click.option("--kev", type=_FILE, help="CISA's catalogue of known exploited vulnerabilities.")
@click.option("--epss", type=_FILE, help="EPSS scores, CSV (also gzip) or JSON.")
@_files("--vex", "OpenVEX or CycloneDX statements that count.")
@click.option("--application", default="", help="Which application it is, for rules that ask.")
@click.option("--promoted", type=_TIMES, help="When the image that runs there came.")
@click.option("--at", type=_TIMES, help="Judge as of this time (UTC); default: now.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def review(
    environment: str,
    policy_file: Path | None,
    new_scan: tuple[Path, ...],
    old_scan: tuple[Path, ...],
    new_sbom: tuple[Path, ...],
    old_sbom: tuple[Path, ...],
    kev: Path | None,
    epss: Path | None,
    vex: tuple[Path, ...],
    application: str,
    promoted: datetime | None,
    at: datetime | None,
    *,
    as_json: bool,
) -> None:
    """Judge a new image against the one that runs: a body on stdout, the verdict as exit code.

    0: pass, warn, or nothing gates. 3: blocked. 1: a file cannot be read. 2: wrong usage or policy.
    """
    with failing(as_json=as_json):
        policy, exceptions = _policy(policy_file, environment)
        documents = _vex_documents(policy_file, policy)
        listed, listed_before = _named(new_sbom), _named(old_sbom)
        new, old = _scan(new_scan, listed), _scan(old_scan, listed_before)
        evidence = Evidence(
            new=new,
            old=old,
            new_inventory=merged(one for _, one in listed),
            old_inventory=merged(one for _, one in listed_before),
            exploitation=_exploitation(kev, epss, new, old),
            vex=tuple(s for statements in _each([*documents, *vex], read_vex) for s in statements),
            exceptions=exceptions,
            application=application,
            bases=bases_of(new),
            judges_seals=False,
            last_promotion=promoted.date() if promoted else None,
        )
        now = at.replace(tzinfo=UTC) if at else SystemClock().now()
        assessment = assess(environment, evidence, policy, now)
        if as_json:
            click.echo(indented(render_assessment(assessment)))
        else:
            click.echo(body(assessment, _images(new, old)), nl=False)
        if assessment.verdict.blocks:
            raise click.exceptions.Exit(BLOCKED)


def _policy(
    file: Path | None, environment: str
) -> tuple[EnvironmentPolicy | None, tuple[RiskException, ...]]:
    if file is None:
        return None, ()
    policies = read_policy(_text(file), file=str(file), environments=[environment])
    policy = policy_of(policies, environment, str(file))
    if not policy.exceptions_file:
        return policy, ()
    beside = file.parent / policy.exceptions_file
    if not beside.is_file():
        raise ConfigurationError(
            str(file), None, f"{policy.exceptions_file} does not exist beside it"
        )
    return policy, read_exceptions(_text(beside), file=policy.exceptions_file)


def _vex_documents(file: Path | None, policy: EnvironmentPolicy | None) -> list[Path]:
    """What the policy names itself; the command line may add to it."""
    if file is None or policy is None:
        return []
    for name in policy.vex_documents:
        if not (file.parent / name).is_file():
            raise ConfigurationError(str(file), None, f"{name} does not exist beside it")
    return [file.parent / name for name in policy.vex_documents]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(str(file), None, "not UTF-8") from error


def _each(files: Sequence[Path], read: Callable[[bytes, str], T]) -> list[T]:
    return [read(_bytes(file), str(file)) for file in files]


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise RejectedError(f"{file}: {error.strerror}") from error
    if len(data) > SIZE_LIMIT:
        raise LimitExceededError(str(file), "64 MiB")
    return data


def _named(sboms: Sequence[Path]) -> list[tuple[str, Inventory]]:
    return [(str(file), read_sbom(_bytes(file), str(file))) for file in sboms]


def _scan(files: Sequence[Path], listed: Sequence[tuple[str, Inventory]]) -> Scan | None:
    """The scans of one side, each with the SBOM of its own image."""
    if not files:
        return None
    return merged_scans(bound(merged_scans(_each(files, read_scan)).each, listed))


def _exploitation(
    kev: Path | None, epss: Path | None, new: Scan | None, old: Scan | None
) -> Exploitation:
    rows, released = read_kev(_bytes(kev), str(kev)) if kev else (None, None)
    wanted = {
        name
        for scan in (new, old)
        if scan is not None
        for finding in scan.findings.values()
        for name in (finding.vulnerability, *finding.aliases)
    }
    scores, scored = read_epss(_bytes(epss), str(epss), wanted) if epss else (None, None)
    return Exploitation(rows, released, scores, scored)


def _images(new: Scan | None, old: Scan | None) -> list[tuple[str, str, str]]:
    """What the reports say about the images that they are of."""

    def side(scan: Scan | None, value: Callable[[Scan], str]) -> str:
        return "nothing to compare with" if scan is None else value(scan) or "not known"

    facts: tuple[tuple[str, Callable[[Scan], str]], ...] = (
        ("Image", lambda scan: scan.image),
        ("Digest", lambda scan: ", ".join(sorted(scan.digests))[:150]),
        ("Platforms", lambda scan: ", ".join(scan.platforms)),
        ("Operating system", lambda scan: scan.operating_system),
    )
    return [(name, side(old, value), side(new, value)) for name, value in facts]
