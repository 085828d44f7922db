"""What `.ci/from-npm` installs: services of others that tests run, held to their hashes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from tests.world.tools import missing

_INSTALL: Final = Path(__file__).parents[2] / ".ci" / "from-npm"


def packages(name: str) -> Path:
    """The ``node_modules`` of one folder of `.ci`; the test is skipped or fails without it."""
    done = subprocess.run(
        ["bash", str(_INSTALL), name], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        missing(f"what .ci/{name} locks is missing: {done.stderr.strip()[-200:]}")
    return Path(done.stdout.strip()) / "node_modules"
