"""GitHub's published schemas on this machine, and the example payloads among them."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.validator import Contract

BUILD = Path(__file__).parents[2] / ".ci" / "contracts" / "build.sh"


@functools.cache
def directory() -> Path | None:
    """Return where the cut schemas are, fetching them first; None where that is impossible."""
    done = subprocess.run(
        ["bash", str(BUILD)],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def required() -> Path:
    """Return the directory; without it the test is skipped, or fails where all is demanded."""
    found = directory()
    if found is None:
        message = "GitHub's schemas are missing and npm could not fetch them"
        if os.environ.get("LOCKKEEPER_REQUIRE_TOOLS") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return found


@functools.cache
def contract() -> Contract | None:
    """Return the contract, read once; None where the schemas cannot be had."""
    found = directory()
    return None if found is None else Contract(found)


def examples() -> list[tuple[str, dict[str, Any]]]:
    """Return GitHub's example webhook payloads (event, payload).

    For the robustness of parsers: many are older than the schemas and do not hold against them.
    """
    listed = json.loads((required() / "examples.json").read_bytes())
    return [(event, payload) for event, payload in listed]
