"""Chromium, for what only a browser can tell: how wide a page is, and what it looks like."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_SECONDS: Final = 120
_OPTIONS: Final = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


def browser() -> str | None:
    """The executable, if there is one."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def after_scripts(executable: str, page: str) -> str:
    """The page as it stands when its scripts have run."""
    return _run(executable, page, "--dump-dom", "--virtual-time-budget=20000")


def screenshot(executable: str, page: str, target: Path, width: int, height: int) -> None:
    """What is seen at this size."""
    _run(executable, page, f"--window-size={width},{height}", f"--screenshot={target}")


def _run(executable: str, page: str, *options: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "page.html")
        file.write_text(page, encoding="utf-8")
        command = [executable, *_OPTIONS, f"--user-data-dir={folder}/profile", *options]
        done = subprocess.run(
            [*command, file.as_uri()], check=True, capture_output=True, timeout=_SECONDS
        )
    return done.stdout.decode()
