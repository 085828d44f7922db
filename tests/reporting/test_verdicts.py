"""Whoever says a new verdict first, its readers are told when it becomes another one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.oci import Digest
from bot.domain.policy import Result
from bot.facts.evidence import evaluate
from bot.reporting.verdicts import note_verdict
from tests.world.driver import Driver, driven
from tests.world.github.records import PullRequest
from tests.world.stage import PIPELINE

pytestmark = pytest.mark.slow

BLOCKS = "    rules: [{ id: all, deny: introduced }]\n"
TOLERATES = f"    when_not_evaluated: warn\n{BLOCKS}"


def set_policy(driver: Driver, rules: str) -> None:
    policy = f"version: 1\nenvironments:\n  stage:\n{rules}"
    driver.stage.dana.push(driver.stage.manifests, "main", {"policy.yaml": policy})


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path, pipeline=f"{PIPELINE}policy: policy.yaml\n") as up:
        set_policy(up, BLOCKS)
        up.look_first()
        yield up


@pytest.fixture
def pull(driver: Driver) -> PullRequest:
    """A promotion to stage, opened while nothing was known."""
    commit = driver.stage.commit("develop")
    driver.build(driver.stage.source, commit)
    driver.run(driver.propose("dev"))
    driver.stage.dana.push(driver.stage.source, "release/v1.0.0", parent=commit)
    driver.run(driver.propose("stage"))
    found = driver.stage.open_promotion("stage")
    assert found is not None
    return found


def test_what_the_check_said_first_is_what_the_next_verdict_is_compared_with(
    driver: Driver, pull: PullRequest
) -> None:
    set_policy(driver, TOLERATES)
    driver.run(driver.answer(str(pull.number)))
    assert driver.stage.checks(driver.stage.manifests, pull.head)["lockkeeper"][0] == "success"
    assert len(pull.comments) == 1

    set_policy(driver, BLOCKS)
    driver.run(driver.propose("stage"))

    assert len(pull.comments) == 2
    assert "not evaluated, not blocked → not decided" in pull.comments[1].body
    driver.run(driver.answer(str(pull.number)), driver.propose("stage"))
    assert len(pull.comments) == 2


def test_what_was_waited_for_is_no_change(driver: Driver, pull: PullRequest) -> None:
    view = driver.look()
    environment, application = view.environment("stage"), view.pipeline.applications["payments"]
    images = {"payments": Digest("sha256:" + "0" * 64)}
    evaluated = evaluate(view, environment, application, images, view.rules)
    assert evaluated.assessment.verdict.result is Result.NOT_EVALUATED
    waits = replace(evaluated, jobs=(driver.propose("stage"),))
    assert waits.waits

    for one in (waits, waits, evaluated, waits, evaluated):
        note_verdict(view, "one", application, one, pull.number)
    driver.outbox.flush()

    assert pull.comments == []


def test_a_death_before_the_verdict_was_kept_tells_it_once(
    driver: Driver, pull: PullRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_policy(driver, TOLERATES)
    driver.run(driver.answer(str(pull.number)))
    set_policy(driver, BLOCKS)
    evaluations = driver.ports.evaluations
    assert evaluations is not None

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(type(evaluations), "record", die)
        with pytest.raises(KeyboardInterrupt):
            driver.run(driver.answer(str(pull.number)))
    driver.queue.waiting.clear()
    driver.run(driver.propose("stage"))

    assert len(pull.comments) == 2
