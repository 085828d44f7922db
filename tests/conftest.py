"""What holds for every test."""

from __future__ import annotations

import gc
import hashlib
from functools import cache
from pathlib import Path
from typing import Final

import jwt.algorithms
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import settings

TESTS: Final = Path(__file__).parent
ALONE: Final = ("adapters/scanning", "foreign", "journeys", "test_demo", "walked")
"""They wait for real processes, or count what is left of those of one user id: beside each other
they run out of patience, or find what another left."""
LONGEST: Final = ("journeys/test_kill_points", "journeys/test_policy")
"""They begin first: one that is last has all other workers wait for it."""
SLOW: Final = (*ALONE, "adapters", "bench", "contract", "ports", "world")
"""Tests that need servers, databases or processes: `make quick` leaves them out."""

# Some name it as a plugin and others import it: whichever is read first, its assertions speak.
pytest.register_assert_rewrite("tests.world.postgres")

# A tenth of a second for each key that a test's bot reads, and always the same for the same key.
setattr(hashlib, "scrypt", cache(hashlib.scrypt))  # noqa: B010 - typeshed knows it as a function
setattr(jwt.algorithms, "load_pem_private_key", cache(load_pem_private_key))  # noqa: B010 - the same

# Time is measured by `make bench`, never by a test: a busy machine is no finding.
settings.register_profile("lockkeeper", deadline=None)
settings.load_profile("lockkeeper")


def _place(path: Path) -> str:
    return path.relative_to(TESTS).as_posix()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Read no file of the other half, where `make test` asks for one half by its mark."""
    if not collection_path.match("test_*.py"):
        return None
    is_alone = _place(collection_path).startswith(ALONE)
    return {"alone": not is_alone, "not alone": is_alone}.get(config.getoption("markexpr")) or None


def pytest_collection_finish() -> None:
    """What was imported stays: looking through it for garbage took a tenth of the time."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder what is slow, and what must not run beside others; the longest first."""
    items.sort(key=lambda item: not _place(item.path).startswith(LONGEST))
    for item in items:
        place = _place(item.path)
        if place.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
        if place.startswith(ALONE):
            item.add_marker(pytest.mark.alone)
