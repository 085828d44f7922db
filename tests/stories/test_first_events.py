"""The first minute of an application: its first push and the first look run side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from bot.domain.memory import SeenHead
from bot.formats.webhook import WebhookHint
from bot.ports.record import Memory
from bot.reconcilers.intake import intake
from tests.world.driver import Driver, driven

pytestmark = pytest.mark.slow


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path) as up:
        yield up


@dataclass
class Interrupted:
    """A memory in which something else happens between a look's read and its write."""

    memory: Memory
    meanwhile: list[Callable[[], object]] = field(default_factory=list)

    def __getattr__(self, name: str) -> object:
        return getattr(self.memory, name)

    def record_seen(self, heads: Sequence[SeenHead]) -> None:
        while self.meanwhile:
            self.meanwhile.pop()()
        self.memory.record_seen(heads)


def pushed(commit: str) -> WebhookHint:
    return WebhookHint("push", repository="acme/payments", ref="refs/heads/develop", after=commit)


def test_a_first_push_that_comes_beside_the_first_look_is_promoted(driver: Driver) -> None:
    stage, ports = driver.stage, driver.ports
    commit = stage.commit("develop")
    digest = driver.build(stage.source, commit)
    memory = Interrupted(ports.memory, [lambda: intake(ports, pushed(commit))])
    driver.ports = replace(ports, memory=cast("Memory", memory))
    driver.workflows = replace(driver.workflows, ports=driver.ports)

    driver.run(driver.propose("dev"))

    assert not memory.meanwhile
    assert driver.shown("dev") == digest


@pytest.mark.parametrize("look_first", [True, False])
def test_a_first_push_before_or_after_the_first_look_is_promoted(
    driver: Driver, *, look_first: bool
) -> None:
    stage = driver.stage
    commit = stage.commit("develop")
    digest = driver.build(stage.source, commit)
    if look_first:  # the look sees the push, and its webhook comes later
        driver.run(driver.propose("dev"))
        assert driver.shown("dev") is None
    intake(driver.ports, pushed(commit))

    driver.run(driver.propose("dev"))

    assert driver.shown("dev") == digest


def test_what_stood_before_the_bot_came_asks_for_nothing(driver: Driver) -> None:
    driver.build(driver.stage.source, driver.stage.commit("develop"))

    for _ in range(3):
        driver.run(driver.propose("dev"))

    assert driver.shown("dev") is None
