from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.contract import published
from tests.world.postgres import new_postgres, postgres_server, postgres_url
from tests.world.stage import Stage, raised

__all__ = ["new_postgres", "postgres_server", "postgres_url"]

Raise = Callable[..., AbstractContextManager[Stage]]


@pytest.fixture(scope="module")
def raise_stage(tmp_path_factory: pytest.TempPathFactory) -> Raise:
    """Raise a stage whose every request is held against GitHub's schemas."""

    def up(**settings: Any) -> AbstractContextManager[Stage]:  # noqa: ANN401 - as `raised` takes them
        directory: Path = tmp_path_factory.mktemp("stage")
        return raised(directory, contract=published.contract(), **settings)

    return up


@pytest.fixture
def stage(raise_stage: Raise) -> Iterator[Stage]:
    with raise_stage() as up:
        yield up
