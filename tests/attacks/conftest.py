"""The attacks' scene: the bot's stories in process, on real git, real registries and a GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world.driver import Driver, driven


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path) as up:
        yield up
