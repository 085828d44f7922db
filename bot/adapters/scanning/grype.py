"""grype: unfiltered, offline, exit status 0 whatever it finds; policy is ours.

One run writes both documents: its report, and the SBOM that syft, which is inside it, made.
"""

from __future__ import annotations

import contextlib
import sqlite3
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
from bot.ports.scanning import Examination

NAME: Final = "grype"
_SCHEMA: Final = "6"  # the folder of the database's version
_SBOM: Final = "sbom.cdx.json"
_OFFLINE: Final = {
    "GRYPE_CHECK_FOR_APP_UPDATE": "false",
    "GRYPE_DB_AUTO_UPDATE": "false",
    # Its own limit of five days is a fixed one; ours is a setting and a policy.
    "GRYPE_DB_VALIDATE_AGE": "false",
    # Its one built-in filter: headers of a kernel that has a vulnerability.
    "GRYPE_MATCH_UPSTREAM_KERNEL_HEADERS": "true",
}


class _Version(msgspec.Struct):
    version: str = ""


@dataclass(frozen=True, slots=True)
class Grype:
    """Grype with a database of the operator: a folder as ``GRYPE_DB_CACHE_DIR`` names it."""

    database_folder: Path

    @property
    def name(self) -> str:
        """As its reports say."""
        return NAME

    def stamp(self) -> object:
        """The files of the database."""
        return stamp_of(self._file, self._file.with_name("import.json"))

    def size(self) -> int | None:
        """Of its one large file."""
        return size_of(self._file)

    def database(self) -> datetime:
        """By its own table (grype/db/v6/models.go, DBMetadata)."""
        uri = f"{self._file.absolute().as_uri()}?mode=ro&immutable=1"
        try:
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
                row = database.execute("SELECT build_timestamp FROM db_metadata").fetchone()
        except sqlite3.Error as error:
            raise UnavailableError(
                f"grype's database {self._file} cannot be read: {error}; fill that folder with:"
                " GRYPE_DB_CACHE_DIR=FOLDER grype db update"
            ) from error
        built = moment(str(row[0])) if row else None
        if built is None:
            raise UnavailableError(f"{self._file} does not say when it was built")
        return built

    def session(self, sandbox: Sandbox, room: Room) -> Session:
        """It reads its database and no more."""
        environment = {**_OFFLINE, "GRYPE_DB_CACHE_DIR": str(self.database_folder)}
        readable = (self.database_folder,)
        return Session(NAME, sandbox, room, readable=readable, environment=environment)

    def version(self, session: Session) -> str:
        """By ``grype version``."""
        output = session.run(["version", "-o", "json"])
        try:
            return readable_version(structs.decode(output, _Version).version)
        except msgspec.DecodeError:
            return "unknown"

    def examine(self, session: Session, image: Path) -> Examination:
        """One run for both documents."""
        outputs = ["-o", "json", "-o", f"cyclonedx-json={session.room.work / _SBOM}"]
        report = session.run([f"oci-dir:{image}", *outputs])
        return Examination(session.written(_SBOM), report)

    def match(self, session: Session, sbom: Path) -> bytes:
        """What it finds in the SBOM."""
        return session.run([f"sbom:{sbom}", "-o", "json"])

    @property
    def _file(self) -> Path:
        return self.database_folder / _SCHEMA / "vulnerability.db"
