"""Real data beside the checkout: missing, a test skips by name, or fails where all is required."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "shared" / "samples"


def sample(name: str) -> Path:
    """A sample file or folder."""
    path = SAMPLES / name
    if not path.exists():
        (pytest.fail if os.environ.get("LOCKKEEPER_REQUIRE_TOOLS") else pytest.skip)(
            f"sample {name} is missing"
        )
    return path


CASES = Path(__file__).parents[2] / "shared" / "cases"


def cases(name: str) -> Path:
    """A folder of cases that once showed a fault."""
    path = CASES / name
    if not path.exists():
        (pytest.fail if os.environ.get("LOCKKEEPER_REQUIRE_TOOLS") else pytest.skip)(
            f"cases {name} are missing"
        )
    return path
