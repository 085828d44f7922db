"""What one kind of scanner knows: its arguments, its database, how it names itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from bot.adapters.scanning.rooms import Room
from bot.adapters.scanning.sandbox import Port, Sandbox
from bot.domain.errors import UnavailableError
from bot.ports.scanning import Examination

_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Session:
    """One stay of a scanner in its room; it may be run several times."""

    name: str
    sandbox: Sandbox
    room: Room
    readable: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    port: Port | None = None

    def run(self, arguments: Sequence[str]) -> bytes:
        """Its output.

        Raises:
            UnavailableError: it failed, or was ended.
        """
        done = self.sandbox.run(
            self.room,
            arguments,
            readable=self.readable,
            environment=self.environment,
            port=self.port,
        )
        if done.status:
            raise UnavailableError(
                f"{self.name} failed with status {done.status}: {done.said or 'it says nothing'};"
                " if that lasts, run it by hand with the same database"
            )
        return done.output

    def written(self, name: str) -> bytes:
        """A file that it wrote into its working folder.

        Raises:
            UnavailableError: there is none of its own, or it is too large.
        """
        try:
            return self.room.written(name, self.sandbox.limits.output)
        except UnavailableError as error:
            raise UnavailableError(f"{self.name}: {error}") from error


class Tool(Protocol):
    """A kind of scanner."""

    @property
    def name(self) -> str:
        """``Trivy``, ``grype``: as its reports say."""
        ...

    def stamp(self) -> object:
        """Something that is different once its data are."""
        ...

    def size(self) -> int | None:
        """Bytes of its database; None where nobody knows."""
        ...

    def database(self) -> datetime:
        """When its database was built; UnavailableError where that cannot be read."""
        ...

    def session(self, sandbox: Sandbox, room: Room) -> Session:
        """What it may read and reach in a room."""
        ...

    def version(self, session: Session) -> str:
        """By its own word."""
        ...

    def examine(self, session: Session, image: Path) -> Examination:
        """Look into the OCI layout."""
        ...

    def match(self, session: Session, sbom: Path) -> bytes:
        """Its report on an SBOM."""
        ...


def readable_version(text: str) -> str:
    """A version as a scanner tells it, if it looks like one."""
    return text if _VERSION.fullmatch(text) else "unknown"


def size_of(path: Path) -> int | None:
    """Bytes of a file that is there."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def stamp_of(*paths: Path) -> tuple[object, ...]:
    """Which files these are now; what is missing has no stamp."""
    found: list[object] = []
    for path in paths:
        try:
            state = path.stat()
        except OSError:
            found.append(None)
            continue
        found.append((state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns))
    return tuple(found)
