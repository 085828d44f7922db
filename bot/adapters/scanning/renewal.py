"""Renewing a scanner's database while the bot uses it: aside, believed, then in its place.

A new folder beside the old one is filled by the scanner itself, asked the canary, compared with
what is there, and put in its place in one step. Whatever fails leaves the old database as it is.
This is the one time that a scanner has a network; it has no other right then than to write there.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from bot.adapters.scanning.scanner import ConfinedScanner
from bot.domain.errors import UnavailableError

_SECONDS: Final = 1_800  # of one download
_QUOTED: Final = 300  # characters of what the scanner says
_EXCHANGE: Final = 2  # RENAME_EXCHANGE (linux/fs.h)
_HERE: Final = -100  # AT_FDCWD
# What a download may need to know of its surroundings; no token, no login.
_PASSED: Final = (
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a renewal brought."""

    before: datetime | None
    """When the database that was there was built; None: there was none."""
    after: datetime


@dataclass(frozen=True, slots=True)
class Source:
    """How one kind of scanner fetches its database."""

    program: Path
    is_grype: bool
    mirrors: tuple[str, ...] = ()
    """Asked in this order; empty: where its makers publish it."""
    java: bool = False
    """Also Trivy's index of Java archives."""

    def downloads(self, folder: Path, mirror: str) -> list[tuple[list[str], dict[str, str]]]:
        """The commands that fill a folder, with their environment."""
        if self.is_grype:
            environment = {
                "GRYPE_DB_CACHE_DIR": str(folder),
                "GRYPE_CHECK_FOR_APP_UPDATE": "false",
                **({"GRYPE_DB_UPDATE_URL": mirror} if mirror else {}),
            }
            return [([str(self.program), "db", "update"], environment)]
        flags = [f"--cache-dir={folder}", "--no-progress", "--skip-version-check"]
        commands = [
            [
                *(str(self.program), "image", "--download-db-only", *flags),
                *([f"--db-repository={mirror}"] if mirror else []),
            ]
        ]
        if self.java:
            commands.append([str(self.program), "image", "--download-java-db-only", *flags])
        return [(command, {}) for command in commands]


def renew(
    source: Source,
    database: Path,
    scanner_with: Callable[[Path], ConfinedScanner],
    environment: Mapping[str, str],
) -> Renewed:
    """Renew the database in ``database``; the bot notices it at its next use.

    Args:
        source: which scanner, and where it fetches from.
        database: its folder, whether it is there or not.
        scanner_with: the scanner with another database, shut in as always.
        environment: where a proxy and certificates are named.

    Raises:
        UnavailableError: no mirror answers, the new database misses the canary, or is older or
            much smaller than the one that is there; that one stays.
    """
    database = database.absolute()
    with _aside(database) as fresh:
        _download(source, fresh, environment)
        after = _believed(scanner_with(fresh))
        before = _built(scanner_with, database)
        if before is not None and after < before:
            raise UnavailableError(
                f"the new database is of {after:%Y-%m-%d %H:%M} UTC, older than the one of"
                f" {before:%Y-%m-%d %H:%M} UTC that is there, which stays; ask another mirror"
            )
        _check_size(fresh, database)
        _swap(fresh, database)
    return Renewed(before, after)


@contextmanager
def _aside(database: Path) -> Iterator[Path]:
    """A folder beside the database that is gone afterwards, whatever is in it then."""
    try:
        fresh = Path(tempfile.mkdtemp(prefix=f".{database.name}.", dir=database.parent))
    except OSError as error:
        raise UnavailableError(
            f"no folder can be made in {database.parent}: {error.strerror}; the database has to be"
            " a folder inside of what this user may write"
        ) from error
    fresh.chmod(0o755)  # the scanner is another user
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _download(source: Source, folder: Path, environment: Mapping[str, str]) -> None:
    failures: list[str] = []
    for mirror in source.mirrors or ("",):
        failure = _downloaded(source, folder, mirror, environment)
        if not failure:
            return
        failures.append(f"{mirror or 'the default source'}: {failure}")
    raise UnavailableError(
        f"no database could be fetched ({'; '.join(failures)}); the one that is there stays."
        " Name a mirror with --mirror"
    )


def _downloaded(source: Source, folder: Path, mirror: str, environment: Mapping[str, str]) -> str:
    """Why a mirror gave nothing; empty: the folder is filled."""
    passed = {name: environment[name] for name in _PASSED if name in environment}
    for command, own in source.downloads(folder, mirror):
        try:
            done = subprocess.run(  # noqa: S603 - the operator's program, by its path
                command,
                capture_output=True,
                check=False,
                timeout=_SECONDS,
                cwd=folder,
                env={**passed, "HOME": str(folder), "PATH": "/usr/bin:/bin", **own},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)[:_QUOTED]
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[-_QUOTED:]
            return "".join(c if c.isprintable() else " " for c in said) or "it says nothing"
    _readable_by_all(folder)
    return ""


def _readable_by_all(folder: Path) -> None:
    """Trivy and grype write for their own user; the scanner that reads is another one."""
    for place, folders, files in os.walk(folder):
        for name in folders:
            (Path(place) / name).chmod(0o755)
        for name in files:
            (Path(place) / name).chmod(0o644)


def _believed(scanner: ConfinedScanner) -> datetime:
    """When its database was built; the canary is behind it."""
    return scanner.facts().database


def _built(scanner_with: Callable[[Path], ConfinedScanner], database: Path) -> datetime | None:
    if not database.exists():
        return None
    try:
        return scanner_with(database).built()
    except UnavailableError:
        return None  # what cannot be read is no reason to keep it


def _check_size(fresh: Path, database: Path) -> None:
    now, before = _bytes_in(fresh), _bytes_in(database)
    if now < before * 0.9:
        raise UnavailableError(
            f"the new database has {now} bytes, the one that is there {before}, which stays;"
            " if that is right, remove the old folder and renew again"
        )


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _swap(fresh: Path, database: Path) -> None:
    """Put the new folder in the place of the old one: at each moment one of them is there."""
    try:
        if database.exists():
            _exchange(fresh, database)
        else:
            fresh.rename(database)
    except OSError as error:
        raise UnavailableError(
            f"{database} cannot be replaced: {error.strerror}; a volume that is mounted there"
            " itself cannot: let the setting name a folder inside of it"
        ) from error


def _exchange(one: Path, other: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    names = [os.fsencode(path) for path in (one, other)]
    if libc.renameat2(_HERE, names[0], _HERE, names[1], ctypes.c_uint(_EXCHANGE)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def source_of(
    program: Path, *, is_grype: bool, mirrors: Sequence[str] = (), java: bool = False
) -> Source:
    """How this program fetches its database."""
    return Source(program.absolute(), is_grype, tuple(mirrors), java)
