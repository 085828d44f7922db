"""A real Trivy where there is one, with a database made for the demo."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bot.adapters.clock import SystemClock
from bot.adapters.scanning import scanner_of
from bot.domain.errors import LockkeeperError
from tests.demo.builds import ADVISORIES
from tests.world.scanners import open_folder, placed, write_trivy_database
from tests.world.tools import installed


@dataclass(frozen=True)
class Scanning:
    """How images are scanned."""

    words: str
    """For people."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the bot's environment."""


@contextlib.contextmanager
def scanning(*, real: bool) -> Iterator[Scanning]:
    """Trivy, where it is installed and can be kept apart as environments that sign demand."""
    program = installed("trivy") if real else None
    if program is None:
        yield Scanning("no scanner here: the reports that CI attests are taken")
        return
    with open_folder() as folder:
        built = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
        database = write_trivy_database(folder / "database", ADVISORIES, built)
        reachable = placed(program, folder)
        try:
            scanner = scanner_of(str(reachable), clock=SystemClock(None), database=database)
            assert scanner is not None
            gaps = ", ".join(scanner.gaps())
            version = "" if gaps else scanner.facts().version
        except LockkeeperError as error:
            gaps, version = str(error), ""
        if gaps:
            yield Scanning(f"Trivy cannot be shut in here ({gaps}): CI's reports are taken")
            return
        yield Scanning(
            f"Trivy {version}, with a database made for the demo",
            {
                "LOCKKEEPER_SCANNER": str(reachable),
                "LOCKKEEPER_SCANNER_DATABASE": str(database),
            },
        )
