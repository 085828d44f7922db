"""The port `bot.ports.premises.Premises`: the machine, asked without leaving anything behind."""

from __future__ import annotations

import platform
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bot.domain.doctor.environments import GrantsFolder
from bot.domain.doctor.machine import DatabaseState
from bot.domain.errors import RejectedError

_SECONDS: Final = 5


@dataclass(frozen=True)
class LocalPremises:
    """This machine."""

    data_dir: Path
    database: Callable[[], DatabaseState]
    """`bot.ports.premises.Premises.database`."""
    grants: Callable[[], GrantsFolder]
    """`bot.ports.premises.Premises.grants`."""

    @property
    def data_folder(self) -> str:
        """Where the data folder is."""
        return str(self.data_dir)

    def write(self) -> None:
        """Make a file without a name in the data folder, or in the one that it will be made in."""
        folder = self.data_dir
        try:
            folder = self._nearest()
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"lockkeeper")
                file.flush()
        except OSError as error:
            place = "" if folder == self.data_dir else f" ({folder})"
            raise RejectedError(f"cannot be written{place}: {error.strerror}") from error

    def free(self) -> int:
        """Bytes that are free for the bot's user."""
        try:
            return shutil.disk_usage(self._nearest()).free
        except OSError as error:
            raise RejectedError(f"its room cannot be told: {error.strerror}") from error

    def versions(self) -> Mapping[str, str]:
        """Lockkeeper, Python, SQLite and git."""
        return {
            "lockkeeper": version("lockkeeper"),
            "Python": platform.python_version(),
            "SQLite": sqlite3.sqlite_version,
            "git": _git(),
        }

    def _nearest(self) -> Path:
        """The data folder, or the nearest one above it that exists."""
        folders = (self.data_dir, *self.data_dir.parents)
        return next((one for one in folders if one.exists()), self.data_dir)


def _git() -> str:
    try:
        done = subprocess.run(
            ["git", "--version"],  # noqa: S607 - the one on the PATH is the one that is used
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RejectedError(f"git does not run ({type(error).__name__})") from error
    return done.stdout.removeprefix("git version").strip()
