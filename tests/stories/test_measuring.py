"""What is measured of a promotion that really goes its way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bot.adapters.store import ChronicleStore, NoticeStore
from bot.domain.environments import GitHubRepository
from bot.domain.errors import UnavailableError
from bot.domain.memory import Scope
from bot.domain.metrics import LOOKED, PROMOTIONS
from bot.domain.notices import Sink
from bot.facts.figures import is_change_failure
from bot.measuring import Measuring
from bot.noticing import Noticing
from bot.ports.git import GitHistory, Mirrors
from bot.reconcilers.operator import Request, hold
from tests.adapters.test_metrics import samples
from tests.test_noticing import Post
from tests.world.driver import Driver, driven

pytestmark = pytest.mark.slow


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    """Published in dev, and open for stage."""
    with driven(tmp_path) as up:
        stage = up.stage
        up.look_first()
        up.build(stage.source, stage.commit("develop"))
        up.run(up.propose("dev"))
        stage.dana.push(stage.source, "release/1.0", {}, parent=stage.source.head("develop"))
        up.run(up.propose("stage"))
        yield up


def measured(driver: Driver, name: str, environment: str = "stage", **labels: str) -> float | None:
    """A metric after a look; None: it is not told."""
    driver.app.measuring.look()
    place = {"manifests": "acme/deploy", "environment": environment, **labels}
    return samples(driver.app.metrics).get((name, frozenset(place.items())))


def test_an_open_promotion_is_counted_as_proposed(driver: Driver) -> None:
    assert measured(driver, "lockkeeper_promotions", state="proposed") == 1
    assert measured(driver, "lockkeeper_promotions", "dev", state="published") == 1
    assert measured(driver, "lockkeeper_open_promotions", verdict="tolerated") == 1
    assert measured(driver, "lockkeeper_promotions_oldest_state_age_seconds", state="proposed")


def test_a_promotion_that_is_delivered_leaves_its_times(driver: Driver) -> None:
    before = measured(driver, "lockkeeper_publications_total") or 0
    promotion = driver.stage.open_promotion("stage")
    assert promotion is not None
    driver.stage.dana.merge(promotion)

    driver.run(driver.deliver("stage"))

    assert measured(driver, "lockkeeper_publications_total") == before + 1
    assert measured(driver, "lockkeeper_published_changes_total") == 1
    assert measured(driver, "lockkeeper_deliveries_total", outcome="sealed") == 1
    for name in ("lead_time", "approval_wait", "merge_to_publication"):
        assert measured(driver, f"lockkeeper_{name}_seconds_count") == 1, name
    assert measured(driver, "lockkeeper_change_failures_total", how="rolled back") is None
    assert (measured(driver, "lockkeeper_copied_bytes_total") or 0) > 1000


def test_a_look_twice_counts_once(driver: Driver) -> None:
    before = measured(driver, "lockkeeper_publications_total", "dev")

    driver.run(driver.publish("dev"), driver.publish("dev"))

    assert measured(driver, "lockkeeper_publications_total", "dev") == before
    assert measured(driver, "lockkeeper_published_changes_total", "dev") == 1


def test_a_hold_by_a_person_is_a_failed_change(driver: Driver) -> None:
    hold(Request(driver.ports, ("stage", "payments", "incident 7"), "ada", lambda _key: False))

    assert measured(driver, "lockkeeper_change_failures_total", how="held") == 1
    assert measured(driver, "lockkeeper_promotions", state="held") == 1
    text = driver.app.metrics.text().decode()
    assert "incident" not in text
    assert "ada" not in text


@dataclass
class Away:
    """Mirrors that can go away."""

    mirrors: Mirrors
    is_away: bool = False

    def as_of(self, moment: float | None) -> Away:
        return replace(self, mirrors=self.mirrors.as_of(moment))

    def of(self, repository: GitHubRepository) -> GitHistory:
        if self.is_away:
            raise UnavailableError("GitHub does not answer")
        return self.mirrors.of(repository)


@pytest.mark.parametrize(
    ("kind", "counts"), [("person", True), ("freeze", False), ("rollback", False)]
)
def test_a_freeze_is_no_failure_and_a_rollback_is_one_once(kind: str, *, counts: bool) -> None:
    """A rollback counts when what stood before is published again; its hold keeps others out."""
    scope = Scope(1, "prod", "payments")

    assert is_change_failure(scope, {"actor": "ada", "kind": kind}) is counts


def test_a_repository_that_cannot_be_seen_is_unknown_and_not_empty(driver: Driver) -> None:
    away = Away(driver.ports.mirrors)
    nowhere = GitHubRepository("acme", "nowhere")
    ports = replace(driver.ports, mirrors=away, manifests=(nowhere, *driver.ports.manifests))
    measuring = Measuring(ports, ChronicleStore(driver.app.database), driver.app.metrics, deque())

    measuring.look()
    first = measuring.readings()
    away.is_away = True
    measuring.look()

    assert {one.labels[0] for one in first if one.metric is PROMOTIONS} == {"acme/deploy"}
    looked = {one.labels[0]: one.value for one in first if one.metric is LOOKED}
    assert looked["acme/nowhere"] == 0
    assert looked["acme/deploy"] > 0
    assert {one.metric for one in measuring.readings()} == {LOOKED}
    assert {one.labels[0]: one.value for one in measuring.readings()} == looked


def test_requests_to_github_and_to_registries_are_counted(driver: Driver) -> None:
    found = samples(driver.app.metrics)

    sent = {"account": "acme", "outcome": "sent"}
    assert found["lockkeeper_github_requests_total", frozenset(sent.items())] > 5
    host = driver.stage.hosts["dev"]
    asked = {"host": host, "outcome": "sent"}
    assert found["lockkeeper_registry_requests_total", frozenset(asked.items())] > 1
    pace = "lockkeeper_registry_pace_requests_per_second"
    assert found[pace, frozenset({"host": host}.items())] > 1


def test_people_are_told_of_what_the_looks_find(driver: Driver) -> None:
    post = Post()
    rows = NoticeStore(driver.app.database, driver.ports.clock, b"secret")
    noticing = Noticing([Sink("ops", environments=("stage",))], rows, post, driver.ports.clock)
    chronicle, metrics = ChronicleStore(driver.app.database), driver.app.metrics
    measuring = Measuring(driver.ports, chronicle, metrics, deque(), noticing)
    measuring.look()  # what was so before is not told
    promotion = driver.stage.open_promotion("stage")
    assert promotion is not None
    driver.stage.dana.merge(promotion)
    driver.run(driver.deliver("stage"))
    measuring.look()
    noticing.send()
    stage = driver.stage
    driver.build(stage.source, stage.commit("develop"))
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.source, "release/1.1", {}, parent=stage.source.head("develop"))
    driver.run(driver.propose("stage"))
    measuring.look()
    measuring.look()

    noticing.send()

    assert post.carried == [("ops", "published"), ("ops", "waits")]
