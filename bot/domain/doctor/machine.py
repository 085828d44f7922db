"""The machine and what stands on it: database, data folder, room, programs, scanner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bot.domain.doctor.findings import EVERYTHING, About, Finding, Known, Look, Severity, Unknown

ROOM_LIMIT: Final = 1024 * 1024 * 1024
"""Bytes that should be free in the data folder: git mirrors and the database grow there."""
LITTLE_ROOM_LIMIT: Final = 64 * 1024 * 1024
"""Bytes below which neither a fetch nor a commit of the database can be expected to end well."""
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FolderState:
    """The data folder."""

    path: str
    writable: Look[None]
    free: Look[int]
    """Bytes."""


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """The database; never made or changed by whoever asks."""

    kind: str
    """``SQLite`` or ``PostgreSQL``, with its version."""
    exists: bool
    versions: Mapping[str, int] = field(default_factory=dict)
    """Part of the tables -> version that the database has."""
    known: Mapping[str, int] = field(default_factory=dict)
    """The same -> newest version that this Lockkeeper knows."""


@dataclass(frozen=True, slots=True)
class ScannerState:
    """What the scanner says of itself."""

    name: str
    version: str
    database: datetime
    gaps: Sequence[str] = ()
    """What does not keep it apart on this machine."""


@dataclass(frozen=True, slots=True)
class RenderingState:
    """What renders manifests here."""

    generation: str
    """The tools that are set, each with its hash."""
    gaps: Sequence[str] = ()
    """What does not keep them apart on this machine."""


_NOT_SET: Final[Look[RenderingState | None]] = Known(None)


@dataclass(frozen=True, slots=True)
class Machine:
    """What was asked about the machine."""

    folder: FolderState
    database: Look[DatabaseState]
    versions: Look[Mapping[str, str]]
    """Program -> version."""
    scanner: Look[ScannerState | None]
    """None: there is none."""
    rendering: Look[RenderingState | None] = _NOT_SET
    """None: no tool is set."""


def machine_findings(machine: Machine, now: datetime) -> Iterator[Finding]:
    """Everything that is not GitHub and not a registry."""
    yield from _folder(machine.folder)
    yield from _database(machine.database)
    yield from _scanner(machine.scanner, now)
    yield _rendering(machine.rendering)
    if isinstance(machine.versions, Unknown):
        remedy = "install git, and see that it is on the PATH"
        reason = machine.versions.reason
        yield Finding(About.VERSIONS, "", Severity.FAILURE, reason, remedy, EVERYTHING)
    else:
        fact = ", ".join(f"{name} {number}" for name, number in machine.versions.value.items())
        yield Finding(About.VERSIONS, "", Severity.OK, fact)


def _folder(folder: FolderState) -> Iterator[Finding]:
    if isinstance(folder.writable, Unknown):
        remedy = "give the bot's user this folder, or name another in LOCKKEEPER_DATA_DIR"
        reason = folder.writable.reason
        yield Finding(About.DATA_FOLDER, folder.path, Severity.FAILURE, reason, remedy, EVERYTHING)
    else:
        yield Finding(About.DATA_FOLDER, folder.path, Severity.OK, "can be written")
    yield _room(folder)


def _room(folder: FolderState) -> Finding:
    if isinstance(folder.free, Unknown):
        return Finding(About.DISK, folder.path, Severity.UNKNOWN, folder.free.reason)
    free, remedy = folder.free.value, "make room, or give the data folder a larger volume"
    fact = f"{free // _MIB:,} MiB are free"
    if free < LITTLE_ROOM_LIMIT:
        return Finding(About.DISK, folder.path, Severity.FAILURE, fact, remedy, EVERYTHING)
    if free < ROOM_LIMIT:
        return Finding(About.DISK, folder.path, Severity.WARNING, fact, remedy)
    return Finding(About.DISK, folder.path, Severity.OK, fact)


def _database(look: Look[DatabaseState]) -> Iterator[Finding]:
    about = About.DATABASE
    if isinstance(look, Unknown):
        remedy = (
            "check LOCKKEEPER_DATABASE_URL and LOCKKEEPER_DATA_DIR: a file must be the bot's own, "
            "a server must run"
        )
        yield Finding(about, "", look.severity, look.reason, remedy, EVERYTHING)
        return
    state = look.value
    if not state.exists:
        fact, remedy = "there is none yet", "`lockkeeper serve` makes it at its first start"
        yield Finding(about, state.kind, Severity.WARNING, fact, remedy)
        return
    for part, version in state.versions.items():
        known = state.known.get(part, 0)
        if version > known:
            fact = f"has version {version} of {part}, and this Lockkeeper knows {known}"
            remedy = "start a newer Lockkeeper, or restore the backup from before the upgrade"
            yield Finding(about, state.kind, Severity.FAILURE, fact, remedy, EVERYTHING)
            return
    numbers = ", ".join(f"{part} {version}" for part, version in state.versions.items())
    yield Finding(about, state.kind, Severity.OK, numbers or "without tables yet")


def _scanner(look: Look[ScannerState | None], now: datetime) -> Iterator[Finding]:
    about = About.SCANNER
    if isinstance(look, Unknown):
        remedy = "see LOCKKEEPER_SCANNER and its database (docs/operating.md, Scanners)"
        yield Finding(about, "", look.severity, look.reason, remedy)
    elif look.value is None:
        fact = (
            "there is none: what a policy asks about vulnerabilities comes from CI, or from nobody"
        )
        yield Finding(about, "", Severity.OK, fact)
    elif look.value.gaps:
        fact = f"it is not kept apart here: {'; '.join(look.value.gaps)}"
        remedy = "environments that sign do not ask it (docs/operating.md, Scanners)"
        yield Finding(about, look.value.name, Severity.WARNING, fact, remedy)
    else:
        state = look.value
        age = (now - state.database).days
        fact = f"{state.version} answers; its database is {age} days old"
        yield Finding(about, state.name, Severity.OK, fact)


def _rendering(look: Look[RenderingState | None]) -> Finding:
    about = About.RENDERING
    if isinstance(look, Unknown):
        remedy = "see LOCKKEEPER_KUSTOMIZE and LOCKKEEPER_HELM (docs/operating.md, Rendering)"
        return Finding(about, "", look.severity, look.reason, remedy)
    if look.value is None:
        fact = "neither kustomize nor Helm is set: publications are not rendered"
        return Finding(about, "", Severity.OK, fact)
    if look.value.gaps:
        fact = f"the tools are not kept apart here: {'; '.join(look.value.gaps)}"
        remedy = "environments that sign are not rendered (docs/operating.md, Rendering)"
        return Finding(about, "", Severity.WARNING, fact, remedy)
    return Finding(about, "", Severity.OK, look.value.generation)
