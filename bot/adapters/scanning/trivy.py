"""Trivy: unfiltered, offline, exit status 0 whatever it finds; policy is ours.

Its JSON report has the inventory too, so that an SBOM is a conversion of the report by Trivy
itself, without a second look into the image: what it matches later is what it saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from bot.adapters.scanning.rooms import Room
from bot.adapters.scanning.sandbox import Sandbox
from bot.adapters.scanning.tools import Session, readable_version, size_of, stamp_of
from bot.domain.errors import UnavailableError
from bot.formats import structs
from bot.formats.lax_document import moment
from bot.formats.reports import read_scan
from bot.ports.scanning import Examination

NAME: Final = "Trivy"
# Both calls home; no notices, no bars, nothing left out, nothing ignored by a file that lies
# around, no look-ups of Java archives (docs/guide/advanced/air-gap.md).
UNFILTERED: Final = (
    "--format=json",
    "--exit-code=0",
    "--list-all-pkgs",
    "--show-suppressed",
    "--skip-version-check",
    "--disable-telemetry",
    "--offline-scan",
    "--no-progress",
)
LOOKED_FOR: Final = "--scanners=vuln,secret,license"
_LOCAL: Final = ("--skip-db-update", "--skip-java-db-update", "--cache-backend=memory")


class _Metadata(msgspec.Struct):
    UpdatedAt: str


class _Version(msgspec.Struct):
    Version: str = ""


@dataclass(frozen=True, slots=True)
class Trivy:
    """Trivy with a database of the operator: a folder as ``trivy --cache-dir`` has it."""

    database_folder: Path

    @property
    def name(self) -> str:
        """As its reports say."""
        return NAME

    def stamp(self) -> object:
        """The files of the database; the Java index decides which archives are recognised."""
        folder = self.database_folder
        java = folder / "java-db"
        return stamp_of(self._metadata, folder / "db" / "trivy.db", java / "metadata.json")

    def size(self) -> int | None:
        """Of its one large file."""
        return size_of(self.database_folder / "db" / "trivy.db")

    def database(self) -> datetime:
        """By its metadata (trivy-db, pkg/metadata/metadata.go)."""
        try:
            metadata = structs.decode(self._metadata.read_bytes(), _Metadata)
        except OSError as error:
            raise UnavailableError(
                f"Trivy's database {self._metadata} cannot be read: {error.strerror}; fill that"
                " folder with: trivy image --download-db-only --cache-dir FOLDER"
            ) from error
        except msgspec.DecodeError as error:
            raise UnavailableError(f"{self._metadata} is no metadata of Trivy: {error}") from error
        built = moment(metadata.UpdatedAt)
        if built is None:
            raise UnavailableError(f"{self._metadata} has no time in UpdatedAt")
        return built

    def session(self, sandbox: Sandbox, room: Room) -> Session:
        """It reads its database and no more."""
        return Session(NAME, sandbox, room, readable=(self.database_folder,))

    def version(self, session: Session) -> str:
        """By ``trivy version``."""
        return version_of(session, self._flags)

    def examine(self, session: Session, image: Path) -> Examination:
        """One look; the SBOM is converted from the report."""
        try:
            return examined(session, image, self._flags)
        except UnavailableError as error:
            if "Java DB" not in str(error) or (self.database_folder / "java-db").is_dir():
                raise
            raise UnavailableError(
                "the image has Java archives, and Trivy has no index of them in"
                f" {self.database_folder}; fill it with: trivy image --download-java-db-only"
                " --cache-dir FOLDER"
            ) from error

    def match(self, session: Session, sbom: Path) -> bytes:
        """What it finds in the SBOM."""
        return matched(session, sbom, self._flags)

    @property
    def _metadata(self) -> Path:
        return self.database_folder / "db" / "metadata.json"

    @property
    def _flags(self) -> tuple[str, ...]:
        return (f"--cache-dir={self.database_folder}", *_LOCAL)


def version_of(session: Session, flags: tuple[str, ...]) -> str:
    """What ``trivy version`` says."""
    output = session.run(["version", "--format=json", flags[0]])
    try:
        return readable_version(structs.decode(output, _Version).Version)
    except msgspec.DecodeError:
        return "unknown"


def examined(session: Session, image: Path, flags: tuple[str, ...]) -> Examination:
    """One look into an OCI layout; the SBOM is converted from its report."""
    ignored = _nothing_ignored(session)
    report = session.run(["image", f"--input={image}", LOOKED_FOR, *UNFILTERED, ignored, *flags])
    read_scan(report, f"{NAME}'s report")  # what nobody can read is not converted
    source = session.room.give("report.json", report)
    converted = ["convert", "--format=cyclonedx", flags[0], str(source)]
    return Examination(session.run(converted), report)


def matched(session: Session, sbom: Path, flags: tuple[str, ...]) -> bytes:
    """A report on an SBOM."""
    ignored = _nothing_ignored(session)
    return session.run(["sbom", "--scanners=vuln,license", *UNFILTERED, ignored, *flags, str(sbom)])


def _nothing_ignored(session: Session) -> str:
    """Without it, a ``.trivyignore`` of the working folder would count."""
    return f"--ignorefile={session.room.give('nothing-ignored', b'')}"
