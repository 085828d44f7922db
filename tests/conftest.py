"""What holds for every test."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

TESTS: Final = Path(__file__).parent
SLOW: Final = ("adapters", "bench", "contract", "journeys", "ports", "world")
"""Folders whose tests need servers, databases or processes: `make quick` leaves them out."""
DEMO: Final = "test_demo"
"""One demo is kept up for its tests, so they share one worker; it takes a minute."""
SCANNERS: Final = ("adapters/scanning", "journeys/test_policy")
"""They count the processes of one user id, so they share one worker."""

# Time is measured by `make bench`, never by a test: a busy machine is no finding.
settings.register_profile("lockkeeper", deadline=None)
settings.load_profile("lockkeeper")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder what is slow, and what must not run beside its like."""
    for item in items:
        place = item.path.relative_to(TESTS).as_posix()
        if place.startswith((*SLOW, DEMO)):
            item.add_marker(pytest.mark.slow)
        if place.startswith(DEMO):
            item.add_marker(pytest.mark.xdist_group("demo"))
        if place.startswith(SCANNERS):
            item.add_marker(pytest.mark.xdist_group("scanners"))
