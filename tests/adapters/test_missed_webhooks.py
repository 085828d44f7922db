"""Webhooks that never arrived are fetched from the App's delivery log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.adapters.clock import SystemClock
from bot.adapters.github.calls import Calls
from bot.adapters.github.missed import MOST, MissedWebhooks
from bot.adapters.github.tokens import Tokens
from bot.domain.errors import UnavailableError
from bot.formats.webhook import parse_webhook
from tests.world.github.fixture import running_github
from tests.world.github.people import User
from tests.world.github.records import Repository
from tests.world.github.world import GitHubWorld

pytestmark = pytest.mark.slow


@dataclass
class Taken:
    """Records what it gets."""

    status: int = 202
    got: list[tuple[str, str, str]] = field(default_factory=list)

    def __call__(self, event: str, delivery: str, body: bytes) -> int:
        if self.status == 202:
            self.got.append((event, delivery, parse_webhook(event, body).after))
        return self.status


@dataclass
class Scene:
    world: GitHubWorld
    source: Repository
    dana: User
    taken: Taken
    missed: MissedWebhooks

    def push(self, text: str) -> str:
        """A commit whose webhook reaches nobody."""
        commit = self.dana.push(self.source, "main", {"a.txt": text})
        self.world.state.webhooks.wait_until_delivered()
        return commit


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with running_github(tmp_path / "github") as world:
        world.add_organization("acme")
        dana = world.add_user("dana")
        source = world.add_repository("acme/payments", files={"a.txt": "0\n"})
        app = world.create_app(
            "http://127.0.0.1:9/webhook", "secret", {"contents": "read"}, ["push"]
        )
        world.install(app, [source])
        calls, taken = Calls(world.api_url, SystemClock()), Taken()
        missed = MissedWebhooks(calls, Tokens(calls, str(app.id), app.private_key), taken)
        yield Scene(world, source, dana, taken, missed)


def test_what_failed_is_handed_on_once_in_its_order(scene: Scene) -> None:
    commits = [scene.push("1\n"), scene.push("2\n")]
    scene.missed.look()
    scene.missed.look()
    later = scene.push("3\n")
    scene.missed.look()

    pushes = [after for event, _, after in scene.taken.got if event == "push"]
    assert pushes == [*commits, later]
    assert len({delivery for _, delivery, _ in scene.taken.got}) == len(scene.taken.got)


def test_what_cannot_be_recorded_now_is_asked_for_again(scene: Scene) -> None:
    commit = scene.push("1\n")
    scene.taken.status = 503
    with pytest.raises(UnavailableError):
        scene.missed.look()
    scene.taken.status = 202
    scene.missed.look()

    assert [after for event, _, after in scene.taken.got if event == "push"] == [commit]


def test_more_than_one_look_takes_follow_at_once_the_oldest_first(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.adapters.github.missed.MOST", 2)
    commits = [scene.push(f"{n}\n") for n in range(5)]
    before = len(scene.taken.got)
    pauses = [scene.missed.look()]
    while pauses[-1] < 60 and len(pauses) < 20:
        pauses.append(scene.missed.look())

    assert before == 0
    assert [after for event, _, after in scene.taken.got if event == "push"] == commits
    assert MOST > 2


def test_one_that_github_refuses_stops_no_other(scene: Scene) -> None:
    scene.push("1\n")
    later = scene.push("2\n")
    scene.world.fail("GET", "/app/hook/deliveries/*", 422)
    scene.missed.look()
    scene.missed.look()

    pushes = [after for event, _, after in scene.taken.got if event == "push"]
    assert pushes[-1] == later


def test_an_app_without_such_a_log_is_asked_no_more_than_now_and_then(scene: Scene) -> None:
    scene.world.fail("GET", "/app/hook/deliveries", 404)

    assert scene.missed.look() >= 60
