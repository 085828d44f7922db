"""A scanner in its sandbox: the port `bot.ports.scanning.Scanner`.

Its word counts only while it finds everything that the canary has: asked anew whenever its
program or its database is another file than before. Every report is bound to the image by the
digest of the image's configuration, which the bot itself wrote into the layout. Safe to repeat,
and to use from several threads; a broken run leaves nothing behind.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from bot.adapters.scanning.sandbox import Confinement, Sandbox
from bot.adapters.scanning.tools import Tool, stamp_of
from bot.domain.errors import ConfigurationError, RejectedError, UnavailableError
from bot.domain.evidence import FindingKey, Scan, UnreadableEvidenceError
from bot.formats.json_document import checked, decoded
from bot.formats.reports import read_sbom, read_scan
from bot.ports.clock import Clock
from bot.ports.scanning import Examination, ScannerFacts

DEFAULT_CANARY: Final = Path(__file__).with_name("canary.cdx.json")
_AT_ONCE: Final = 2  # runs of one scanner
_SHRUNK: Final = 0.9  # of a database: less than that is a broken one, or somebody's work
_SHOWN: Final = 5  # missed findings that a message names


@dataclass(frozen=True, slots=True)
class Canary:
    """An SBOM whose vulnerabilities must all be found."""

    file: Path
    sbom: bytes
    """Without the vulnerabilities."""
    expected: frozenset[FindingKey]
    """In no image: what a scanner calls the SBOM that it is asked about is its own affair."""

    @classmethod
    def read(cls, file: Path) -> Canary:
        """Read a CycloneDX document whose ``vulnerabilities`` name what must be found.

        Raises:
            ConfigurationError: it cannot be read, or names none.
        """
        try:
            document = file.read_bytes()
            expected = _anywhere(read_scan(document, str(file)))
        except OSError as error:
            raise _useless(file, f"cannot be read ({error.strerror})") from error
        except UnreadableEvidenceError as error:
            raise _useless(file, error.defect) from error
        if not expected:
            raise _useless(file, "names no vulnerability that must be found")
        shown: dict[str, Any] = json.loads(document)
        del shown["vulnerabilities"]
        return cls(file, json.dumps(shown).encode(), expected)


def _useless(file: Path, fact: str) -> ConfigurationError:
    remedy = "write a CycloneDX SBOM with components and their known vulnerabilities"
    return ConfigurationError(str(file), None, fact, remedy)


@dataclass(frozen=True, slots=True)
class _Proven:
    """Data with which the canary was found."""

    stamp: object
    size: int | None
    facts: ScannerFacts


class ConfinedScanner:
    """One scanner, kept away from everything else."""

    def __init__(
        self,
        tool: Tool,
        sandbox: Sandbox,
        *,
        canary: Canary,
        clock: Clock,
        oldest: timedelta,
    ) -> None:
        """Run nothing yet.

        Args:
            tool: which kind it is.
            sandbox: where its program runs.
            canary: what it must find before its word counts.
            clock: for the age of its database.
            oldest: a database beyond this age is not believed in any environment.
        """
        self._tool, self._sandbox, self._canary = tool, sandbox, canary
        self._clock, self._oldest = clock, oldest
        self._proven: _Proven | None = None
        self._guard = threading.Lock()
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    @property
    def confinement(self) -> Confinement:
        """What keeps it apart here; where it is not complete, environments that sign refuse it.

        Raises:
            UnavailableError: it cannot even be tried.
        """
        return self._sandbox.confinement()

    def built(self) -> datetime:
        """When its database was built, by its own word; nothing is run."""
        return self._tool.database()

    def facts(self) -> ScannerFacts:
        """Who answers, with which data; the canary is behind it."""
        facts = self._proven_facts()
        age = self._clock.now() - facts.database
        if age > self._oldest:
            raise UnavailableError(
                f"{facts.name}'s database is of {facts.database:%Y-%m-%d %H:%M} UTC, older than"
                f" {self._oldest.days} days; update it, or raise LOCKKEEPER_SCANNER_DATABASE_DAYS"
            )
        return facts

    def gaps(self) -> Sequence[str]:
        """What does not keep it apart here; empty: nothing."""
        return self.confinement.missing

    def examine(self, save: Callable[[Path], None]) -> Examination:
        """Look into one platform's image."""
        self.facts()
        with self._turns, self._sandbox.room() as room:
            image = room.give_folder("image")
            save(image)
            asked = _digests_of(image)
            seen = self._tool.examine(self._tool.session(self._sandbox, room), image)
        name = self._tool.name
        seen = replace(seen, sbom=_without_vulnerabilities(seen.sbom, f"{name}'s SBOM"))
        _check_bound(f"{name}'s report", _subjects_of_report(seen.report, name), asked)
        _check_bound(f"{name}'s SBOM", read_sbom(seen.sbom, f"{name}'s SBOM").subjects, asked)
        return seen

    def match(self, sbom: bytes) -> bytes:
        """Its report on an SBOM that it wrote earlier."""
        self.facts()
        return self._matched(sbom)

    def _matched(self, sbom: bytes) -> bytes:
        with self._turns, self._sandbox.room() as room:
            session = self._tool.session(self._sandbox, room)
            report = self._tool.match(session, session.room.give("sbom.cdx.json", sbom))
        name = self._tool.name
        told = _subjects_of_report(report, name)
        if told:
            _check_bound(f"{name}'s report", told, read_sbom(sbom, "the SBOM").subjects)
        return report

    def _proven_facts(self) -> ScannerFacts:
        with self._guard:
            now = (stamp_of(self._sandbox.executable), self._tool.stamp())
            known = self._proven
            if known is None or known.stamp != now:
                size = self._tool.size()
                self._check_shrinkage(known.size if known else None, size)
                known = self._proven = _Proven(now, size, self._prove())
            return known.facts

    def _prove(self) -> ScannerFacts:
        try:
            facts = self._asked_facts()
            self._ask_canary(facts)
        except RejectedError as error:  # whoever asks for facts asks whether its word counts
            program = self._sandbox.executable
            raise UnavailableError(
                f"{self._tool.name} answers nonsense to what is known ({error}): its word does not"
                f" count; check {program} and its database"
            ) from error
        return facts

    def _check_shrinkage(self, before: int | None, now: int | None) -> None:
        if before and now is not None and now < before * _SHRUNK:
            raise UnavailableError(
                f"{self._tool.name}'s database has shrunk from {before} to {now} bytes and is not"
                " taken over; look at where it comes from, or restart Lockkeeper if that is right"
            )

    def _asked_facts(self) -> ScannerFacts:
        database = self._tool.database()
        with self._sandbox.room() as room:
            version = self._tool.version(self._tool.session(self._sandbox, room))
        return ScannerFacts(self._tool.name, version, database)

    def _ask_canary(self, facts: ScannerFacts) -> None:
        report = self._matched(self._canary.sbom)
        missed = self._canary.expected - _anywhere(read_scan(report, f"{facts.name}'s report"))
        if missed:
            shown = sorted(missed)[:_SHOWN]
            named = ", ".join(f"{key.vulnerability} in {key.package.name}" for key in shown)
            raise UnavailableError(
                f"{facts.name} {facts.version} with its database of {facts.database:%Y-%m-%d}"
                f" misses {len(missed)} of {len(self._canary.expected)} findings that"
                f" {self._canary.file.name} has ({named}): its word does not count;"
                " check the scanner and its database, or name another canary in"
                " LOCKKEEPER_SCANNER_CANARY"
            )


def _anywhere(scan: Scan) -> frozenset[FindingKey]:
    """Which vulnerabilities are in which packages."""
    return frozenset(FindingKey(key.vulnerability, key.package) for key in scan.findings)


def _without_vulnerabilities(sbom: bytes, file: str) -> bytes:
    """Scanners add what they found today; an SBOM is kept and does not change."""
    document = decoded(checked(sbom, file), dict[str, msgspec.Raw], file, "a CycloneDX document")
    document.pop("vulnerabilities", None)
    return msgspec.json.encode(document)


def _digests_of(image: Path) -> frozenset[str]:
    """The manifest and the configuration of the layout that the bot has just written."""
    manifest = json.loads((image / "index.json").read_bytes())["manifests"][0]["digest"]
    algorithm, _, digest = manifest.partition(":")
    content = json.loads((image / "blobs" / algorithm / digest).read_bytes())
    return frozenset({manifest, content["config"]["digest"]})


def _subjects_of_report(report: bytes, name: str) -> frozenset[str]:
    """Digests only: for an SBOM, grype writes an identifier of its own where others have one."""
    scan = read_scan(report, f"{name}'s report")
    return frozenset(one for one in (*scan.digests, scan.image_id) if one.startswith("sha256:"))


def _check_bound(document: str, told: Iterable[str], asked: Iterable[str]) -> None:
    """Every digest that a document names is of the image; one at least."""
    named, wanted = set(told), set(asked)
    if not named:
        raise UnreadableEvidenceError(document, "names no image, and so says nothing about this")
    if not named <= wanted:
        other = min(named - wanted)
        raise UnreadableEvidenceError(
            document, f"is about {other}, asked was {' or '.join(sorted(wanted))}"
        )
