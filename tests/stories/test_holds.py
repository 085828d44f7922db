"""Holds and freezes on the whole way: proposed, merged, delivered, published, and told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.domain.jobs import RequeueAt
from bot.domain.memory import HoldKind, Scope
from bot.facts.gates import holds_of
from bot.reconcilers.operator import Request, adopt, freeze, hold, status, unfreeze, unhold
from tests.world.clients import HandClock
from tests.world.driver import Driver, driven
from tests.world.github.behaviour import pulls
from tests.world.github.gitstore import last_move
from tests.world.github.records import Actor, PullRequest
from tests.world.stage import OVERLAY, PIPELINE

pytestmark = pytest.mark.slow

TUESDAY = datetime(2026, 12, 1, 12, tzinfo=UTC)
SATURDAY = datetime(2026, 12, 5, 12, tzinfo=UTC)
MONDAY = datetime(2026, 12, 7, 7, tzinfo=UTC)
FROZEN = PIPELINE.replace(
    "    from: dev\n",
    "    from: dev\n    freeze:\n"
    '      - {{ from: "fri 16:00", until: "mon 08:00", time_zone: Europe/Berlin,\n'
    "           reason: weekend }}\n",
)
"""Nothing new comes into stage at the weekend."""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path) as up:
        up.look_first()
        yield up


def asked(driver: Driver, *arguments: str, actor: str = "ada") -> Request:
    ports = driver.workflows.ports
    seen = replace(ports, mirrors=ports.mirrors.as_of(last_move()))
    return Request(seen, arguments, actor, lambda _key: False)


def at(driver: Driver, moment: datetime) -> None:
    driver.workflows = replace(
        driver.workflows, ports=replace(driver.ports, clock=HandClock(moment))
    )


def ready(driver: Driver, branch: str = "release/v1") -> str:
    """A build that is in dev, and a release branch at it; its digest."""
    stage = driver.stage
    commit = stage.commit("develop")
    digest = driver.build(stage.source, commit)
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.source, branch, parent=commit)
    driver.run(driver.propose("stage"))
    return digest


def promoted(driver: Driver) -> PullRequest:
    found = driver.stage.open_promotion("stage")
    assert found is not None
    return found


def delivered(driver: Driver) -> None:
    driver.run(driver.deliver("stage"), driver.publish("stage"))


def in_stage(driver: Driver, branch: str = "release/v1") -> str:
    digest = ready(driver, branch)
    driver.stage.dana.merge(promoted(driver))
    delivered(driver)
    assert driver.shown("stage") == digest
    return digest


def put_back(driver: Driver, digest: str) -> str:
    """A person brings an older digest back by hand, as with GitHub's Revert; the merge."""
    stage = driver.stage
    pinned = OVERLAY.format(environment="stage", host=stage.hosts["stage"])
    tail = f"    digest: {digest}\n"
    stage.dana.push(stage.manifests, "back", {"envs/stage/kustomization.yaml": pinned + tail})
    return stage.dana.merge(stage.dana.open_pull_request(stage.manifests, "back"))


def check(driver: Driver, commit: str) -> tuple[str, str]:
    return driver.stage.checks(driver.stage.manifests, commit)["lockkeeper"]


def test_a_freeze_stops_merge_delivery_and_publication_until_its_opening(tmp_path: Path) -> None:
    with driven(tmp_path, pipeline=FROZEN) as driver:
        driver.look_first()
        at(driver, SATURDAY)
        digest = ready(driver)
        pull = promoted(driver)
        driver.run(driver.answer(str(pull.number)))

        assert check(driver, pull.head) == ("failure", "Frozen until 2026-12-07 07:00 UTC")
        again = dict(driver.ran)[driver.answer(str(pull.number)).key]
        assert isinstance(again, RequeueAt)
        assert again.at == MONDAY

        source = driver.stage.source.head("release/v1") or ""
        name = "lockkeeper: payments -> stage"
        assert title_of(driver, source, name) == "Proposed. Frozen until 2026-12-07 07:00 UTC"

        driver.stage.dana.merge(pull)  # nothing requires the check here
        delivered(driver)
        assert driver.shown("stage") is None
        assert isinstance(dict(driver.ran)[driver.deliver("stage").key], RequeueAt)
        assert title_of(driver, source, name) == "Merged. Frozen until 2026-12-07 07:00 UTC"
        [place] = [p for p in places(driver) if p["environment"] == "stage"]
        assert (place["state"], place["until"]) == ("frozen", "2026-12-07T07:00:00Z")

        at(driver, MONDAY)
        delivered(driver)
        assert driver.shown("stage") == digest


def places(driver: Driver) -> list[dict[str, object]]:
    found = status(asked(driver))["places"]
    assert isinstance(found, list)
    return found


def test_a_freeze_lets_what_ran_before_come_back_and_configuration_wait(tmp_path: Path) -> None:
    with driven(tmp_path, pipeline=FROZEN) as driver:
        driver.look_first()
        at(driver, TUESDAY)
        old = in_stage(driver)
        new = in_stage(driver, "release/v2")
        at(driver, SATURDAY)
        stage = driver.stage
        stage.dana.push(stage.manifests, "main", {"envs/stage/more.yaml": "kind: ConfigMap\n"})
        driver.run(driver.publish("stage"))
        assert driver.shown("stage") == new

        put_back(driver, old)
        delivered(driver)

        assert driver.shown("stage") == old
        ref = stage.ref("stage") or ""
        assert "envs/stage/more.yaml" not in stage.manifests.git.text("ls-tree", "-r", ref)
        at(driver, MONDAY)
        driver.run(driver.publish("stage"))
        ref = stage.ref("stage") or ""
        assert "envs/stage/more.yaml" in stage.manifests.git.text("ls-tree", "-r", ref)


def test_a_freeze_takes_nothing_away_that_is_visible_behind_a_merge_that_waits(
    driver: Driver,
) -> None:
    """An older merge waits for its seal; what was published over it stays during a freeze."""
    stage = driver.stage
    in_stage(driver)
    path, never = "envs/stage/job.yaml", "sha256:" + "9" * 64
    image = f"{stage.hosts['stage']}/acme/payments@{never}"
    job = f"kind: Pod\nspec: {{containers: [{{image: '{image}'}}]}}\n"
    stage.dana.push(stage.manifests, "main", {path: job})
    driver.run(driver.publish("stage"))
    stage.dana.push(stage.manifests, "main", {"envs/stage/more.yaml": "kind: ConfigMap\n"})
    driver.run(driver.publish("stage"))
    seen = stage.manifests.git.text("ls-tree", "-r", stage.ref("stage") or "")
    assert "envs/stage/more.yaml" in seen

    freeze(asked(driver, "stage", "8h", "the fair"))
    stage.dana.push(stage.manifests, "main", {"envs/stage/late.yaml": "kind: ConfigMap\n"})
    driver.run(driver.publish("stage"))

    now = stage.manifests.git.text("ls-tree", "-r", stage.ref("stage") or "")
    assert "envs/stage/more.yaml" in now
    assert "envs/stage/late.yaml" not in now


def test_what_was_taken_back_is_no_way_back(driver: Driver) -> None:
    """After a rollback the newer digest has been there too; it stays out all the same."""
    old = in_stage(driver)
    new = in_stage(driver, "release/v2")
    put_back(driver, old)
    delivered(driver)
    freeze(asked(driver, "stage", "8h", "the fair"))

    put_back(driver, new)
    delivered(driver)

    assert driver.shown("stage") == old


def test_a_hold_stops_a_way_back_too(driver: Driver) -> None:
    old = in_stage(driver)
    new = in_stage(driver, "release/v2")
    hold(asked(driver, "stage", "payments", "look at the database first"))

    merge = put_back(driver, old)
    delivered(driver)

    assert driver.shown("stage") == new
    assert merge
    unhold(asked(driver, "stage", "payments"))
    delivered(driver)
    assert driver.shown("stage") == old


def test_a_person_s_hold_and_the_bot_s_stand_side_by_side(driver: Driver) -> None:
    in_stage(driver)
    stage = driver.stage
    hold(asked(driver, "stage", "", "incident 42"))
    unhold(asked(driver, "stage"))
    tip = stage.ref("stage") or ""
    stage.dana.push(stage.manifests, "env/stage", {"README.md": "by hand\n"}, parent=tip)
    driver.run(driver.publish("stage"))  # the bot holds for a foreign commit
    hold(asked(driver, "stage", "", "incident 42"))

    kinds = [one.kind for one in holds_of(driver.look(), "stage")]
    assert sorted(kinds) == [HoldKind.BOT, HoldKind.PERSON]

    first = unhold(asked(driver, "stage"))
    assert [one["by"] for one in first["left"]] == ["lockkeeper"]  # type: ignore[attr-defined]  # an answer is a mapping of anything
    second = unhold(asked(driver, "stage"))
    assert (second["was_held"], second["left"]) == (True, [])


def test_adoption_ends_what_the_bot_held_and_nobody_else_s(driver: Driver) -> None:
    in_stage(driver)
    hold(asked(driver, "stage", "", "incident 42"))

    adopt(asked(driver, "stage"))

    assert [one.reason for one in holds_of(driver.look(), "stage")] == ["incident 42"]


def test_a_label_by_hand_holds_until_it_is_taken_off(driver: Driver) -> None:
    stage, digest = driver.stage, ready(driver)
    pull = promoted(driver)
    stage.dana.label(pull, "lockkeeper/hold")
    driver.run(driver.answer(str(pull.number)))
    assert check(driver, pull.head) == ("failure", "Held")

    stage.dana.merge(pull)
    delivered(driver)
    assert driver.shown("stage") is None

    unhold(asked(driver, "stage", "payments"))  # there is no hold that it could end
    delivered(driver)
    assert driver.shown("stage") is None
    pull.labels.clear()
    delivered(driver)
    assert driver.shown("stage") == digest


def test_a_freeze_takes_nobody_s_label_off(driver: Driver) -> None:
    ready(driver)
    pull = promoted(driver)
    driver.stage.dana.label(pull, "lockkeeper/hold")

    freeze(asked(driver, "stage", "8h", "the fair"))

    assert "lockkeeper/hold" in {label.name for label in pull.labels}


def test_the_bot_merges_neither_a_draft_nor_what_is_labelled(driver: Driver) -> None:
    stage = driver.stage
    stage.github.protect(stage.manifests, "main", approvals=1)
    commit = stage.commit("develop")
    driver.build(stage.source, commit)
    driver.run(driver.propose("dev"))
    pull = stage.open_promotion("dev")
    assert pull is not None
    stage.github.protect(stage.manifests, "main", approvals=0)
    with stage.github.state.lock:
        pulls.set_draft(stage.github.state, Actor(stage.dana.account), pull, draft=True)

    driver.run(driver.propose("dev"))
    assert title_of(driver, commit) == "Waits: a draft"
    with stage.github.state.lock:
        pulls.set_draft(stage.github.state, Actor(stage.dana.account), pull, draft=False)
    stage.dana.label(pull, "lockkeeper/hold")
    driver.run(driver.propose("dev"))
    assert title_of(driver, commit) == "Proposed. Held"
    assert not pull.merged

    pull.labels.clear()
    driver.run(driver.propose("dev"))
    assert pull.merged


def title_of(driver: Driver, commit: str, name: str = "lockkeeper: payments -> dev") -> str:
    return driver.stage.checks(driver.stage.source, commit)[name][1]


def test_a_freeze_by_command_ends_by_itself_or_early(driver: Driver) -> None:
    said = freeze(asked(driver, "stage", "8h", "the", "fair"))
    assert said["reason"] == "the fair"
    [one] = holds_of(driver.look(), "stage")
    assert one.until is not None
    assert one.until - one.at == timedelta(hours=8)

    assert unfreeze(asked(driver, "stage"))["was_held"]
    assert not unfreeze(asked(driver, "stage"))["was_held"]
    assert driver.ports.memory.holds(Scope(driver.stage.manifests.id, "stage")) == []
