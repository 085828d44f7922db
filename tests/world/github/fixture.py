"""The local GitHub as tests take it: started, watched, and held to GitHub's schemas at the end.

from tests.world.github.fixture import running_github

@pytest.fixture
def github(tmp_path: Path) -> Iterator[GitHubWorld]:
    with running_github(tmp_path / "github") as world:
        yield world
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.contract import published
from tests.world.github.clock import Clock
from tests.world.github.world import GitHubWorld


@contextlib.contextmanager
def running_github(directory: Path, *, clock: Clock | None = None) -> Iterator[GitHubWorld]:
    """Run a GitHub whose every request, answer and webhook is checked when the block ends.

    The test is skipped without GitHub's schemas, or fails where all tools are demanded.
    """
    published.required()
    world = GitHubWorld(directory, clock=clock, contract=published.contract())
    world.start()
    try:
        yield world
    finally:
        world.stop()
    assert not world.violations, "\n".join(world.violations)
