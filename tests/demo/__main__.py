"""Run the demo; 0 if everything happened that was promised."""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console

import tests.demo
from bot.adapters.signing import load_signing_key
from bot.domain.errors import LockkeeperError
from tests.contract import published
from tests.contract.validator import Contract
from tests.demo import keep
from tests.demo.bodies import BUILD
from tests.demo.play import Play
from tests.demo.scanning import Scanning, scanning
from tests.demo.screen import Screen
from tests.world.keys import generate_key_pair
from tests.world.stage import PIPELINE, NeverHappenedError, raised

_RULES: Final = """\
    scan:
      max_database_age: 24h
      max_report_age: 24h
      attested: { key: ci.pub }
    rules:
      - { id: critical, deny: introduced, severity: ">= critical", fix: available }
      - { id: high, warn: introduced, severity: ">= high" }
      - { id: licences, deny: introduced, licence: [AGPL-3.0-only, AGPL-3.0-or-later] }
      - { id: maintained, deny: present, os_end_of_life: true }
    require:
      sbom: { key: ci.pub }
      signature: { key: ci.pub }
      provenance: { key: ci.pub }
"""
POLICY: Final = f"version: 1\nenvironments:\n  stage:\n{_RULES}  prod:\n{_RULES}"


def main() -> int:
    """Play it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.demo", description=(tests.demo.__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--keep", action="store_true", help="leave all servers up")
    parser.add_argument(
        "--no-tools", action="store_true", help="as on a machine without registries and scanners"
    )
    wanted = parser.parse_args()
    screen = Screen(Console())
    BUILD.parent.mkdir(exist_ok=True)
    with BUILD.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            screen.line("[red]A demo is still up[/] in this checkout: end it with Ctrl-C first.")
            return 1
        return _played(screen, keeps=wanted.keep, real=not wanted.no_tools)


def _played(screen: Screen, *, keeps: bool, real: bool) -> int:
    """From an empty folder; its exit code."""
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    try:
        with scanning(real=real) as scanner:
            return _run(screen, scanner, keeps=keeps, real=real)
    except (NeverHappenedError, LockkeeperError, AssertionError) as error:
        screen.console.print(f"[red]The demo failed:[/] {error}", highlight=False)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(screen: Screen, scanner: Scanning, *, keeps: bool, real: bool) -> int:
    screen.title("Setting up")
    ci = generate_key_pair(cost=32768)
    variables = {
        **scanner.variables,
        **_feeds(BUILD),
        "LOCKKEEPER_BOARD_URL": "http://{board}",
    }
    with raised(
        BUILD / "world",
        contract=_contract(),
        pipeline=f"policy: policy.yaml\n{PIPELINE}",
        manifests_files={"policy.yaml": POLICY, "ci.pub": ci.public.decode()},
        variables=variables,
        real=real,
        tell=lambda line: screen.line(f"[dim]{screen.seconds:5.1f} s[/]  [green]✓[/] {line}"),
    ) as stage:
        screen.note(scanner.words)
        play = Play(stage, screen, load_signing_key(ci.private, "ci.key"))
        play.perform()
        play.check()
        _write(play, ci.public)
        play.summary()
        screen.line("")
        screen.line(f"{screen.seconds:.0f} s. The pull requests as GitHub shows them:")
        for kept in play.kept.values():
            screen.line(f"  {kept.page}")
        if keeps:
            _keep(screen, play)
    return 0


def _write(play: Play, ci: bytes) -> None:
    stage = play.stage
    (BUILD / "result.json").write_text(json.dumps(play.result(), indent=2) + "\n")
    (BUILD / "cosign.pub").write_bytes(stage.public_key)
    (BUILD / "attest.pub").write_bytes(stage.attestation_key)
    (BUILD / "ci.pub").write_bytes(ci)
    keep.write_environment(stage)


def _feeds(folder: Path) -> dict[str, str]:
    """What is known about exploitation: two rows of the real catalogues."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    kev, epss = folder / "kev.json", folder / "epss.csv"
    row = {"cveID": "CVE-2021-44228", "dateAdded": "2021-12-10"}
    catalogue = {"dateReleased": f"{today}T00:00:00Z", "count": 1, "vulnerabilities": [row]}
    kev.write_text(json.dumps(catalogue))
    scores = "CVE-2019-10744,0.02,0.9\nCVE-2023-5363,0.02,0.8\nCVE-2024-29041,0.001,0.4\n"
    epss.write_text(f"#model_version:demo,score_date:{today}\ncve,epss,percentile\n{scores}")
    return {"LOCKKEEPER_KEV_CATALOGUE": str(kev), "LOCKKEEPER_EPSS_SCORES": str(epss)}


def _contract() -> Contract | None:
    """GitHub's schemas, where they have been cut before; the demo does not need them."""
    return published.contract() if published.directory() else None


def _keep(screen: Screen, play: Play) -> None:
    screen.title("Try it yourself, in the root of the checkout")
    for command in keep.commands(play):
        screen.line("")
        screen.line(f"[dim]# {command.shows}[/]")
        for line in command.lines:
            screen.console.print(line, markup=False, highlight=False, soft_wrap=True)
    screen.line("")
    # A shell's background job ignores it, and would never end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    screen.line("Everything stays up until you press Ctrl-C.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        screen.line("bye")


if __name__ == "__main__":
    sys.exit(main())
