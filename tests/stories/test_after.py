"""Environments after environments: what is published in all of those before comes here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from bot.domain.jobs import JobState
from bot.domain.memory import Hold
from bot.ports.jobs import Jobs
from tests.world.driver import Driver, driven
from tests.world.stage import PIPELINE

pytestmark = pytest.mark.slow

CHAIN = (
    PIPELINE.replace('on: {{ branches: ["release/*", "hotfix/*"] }}\n    from: dev', "after: [dev]")
    .replace("on: {{ branches: [main] }}\n    from: stage", "after: [stage, dev]")
    .replace(
        "    sign: true\n    approvals: {{ count: 1, teams: [acme/release-managers] }}\n",
        "",
    )
)
assert CHAIN.count("after:") == 2


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path, pipeline=CHAIN) as up:
        up.look_first()
        yield up


def in_dev(driver: Driver) -> tuple[str, str]:
    """A commit whose image is published in dev, and its digest."""
    commit = driver.stage.commit("develop")
    digest = driver.build(driver.stage.source, commit)
    driver.run(driver.propose("dev"))
    assert driver.shown("dev") == digest
    return commit, digest


def merge(driver: Driver, environment: str) -> None:
    pull = driver.stage.open_promotion(environment)
    assert pull is not None
    driver.stage.dana.merge(pull)
    driver.run(driver.deliver(environment))


def title_of(driver: Driver, environment: str) -> str | None:
    pull = driver.stage.open_promotion(environment)
    return pull.title if pull else None


def check(driver: Driver, commit: str, environment: str) -> tuple[str, str]:
    """Title and summary of the newest check."""
    name = f"lockkeeper: payments -> {environment}"
    runs = driver.stage.source.check_runs.values()
    found = [run for run in runs if (run.commit, run.name) == (commit, name)]
    assert found, name
    return str(found[-1].output["title"]), str(found[-1].output["summary"])


def test_a_publication_asks_by_itself(driver: Driver) -> None:
    commit, digest = in_dev(driver)  # nobody looks at stage

    assert title_of(driver, "stage") == f"Promote payments to stage: develop at {commit[:7]}"
    merge(driver, "stage")
    assert driver.shown("stage") == digest


def test_a_set_goes_on_once_all_have_published_it(driver: Driver) -> None:
    commit, _ = in_dev(driver)
    driver.run(driver.propose("prod"))
    assert title_of(driver, "prod") is None
    assert check(driver, commit, "prod")[0] == "Waiting for stage"

    merge(driver, "stage")
    assert title_of(driver, "prod") == f"Promote payments to prod: develop at {commit[:7]}"

    newer, _ = in_dev(driver)  # dev has moved on: what all have published is still the first
    driver.run(driver.propose("prod"))
    assert title_of(driver, "prod") == f"Promote payments to prod: develop at {commit[:7]}"
    title, summary = check(driver, newer, "prod")
    assert title == "Waiting for stage"
    assert f"waits for stage, which shows `{commit[:7]}`" in summary


def test_a_faster_one_before_starves_nothing(driver: Driver) -> None:
    """Stage is always one behind dev: never do both show the same at once."""
    commits = [in_dev(driver)[0] for _ in range(2)]
    pull = driver.stage.open_promotion("stage")
    assert pull is not None
    driver.stage.dana.merge(pull)
    commits.append(in_dev(driver)[0])
    driver.run(driver.deliver("stage"))

    assert title_of(driver, "prod") == f"Promote payments to prod: develop at {commits[1][:7]}"


def test_what_was_rolled_back_before_does_not_go_on(driver: Driver) -> None:
    stage = driver.stage
    _, digest = in_dev(driver)
    merge(driver, "stage")
    merge(driver, "prod")
    _, bad = in_dev(driver)
    pull = stage.open_promotion("stage")
    assert pull is not None
    stage.dana.merge(pull)
    driver.run(driver.deliver("stage"))
    assert driver.shown("stage") == bad
    assert title_of(driver, "prod") is not None

    text = stage.file("main", "envs/stage/kustomization.yaml").replace(bad, digest)
    stage.dana.push(stage.manifests, "main", {"envs/stage/kustomization.yaml": text})
    driver.run(driver.deliver("stage"), driver.publish("stage"), driver.propose("prod"))

    assert driver.shown("stage") == digest
    assert title_of(driver, "prod") is None  # the open one was taken back


def test_what_is_the_matter_before_is_said(driver: Driver) -> None:
    commit, _ = in_dev(driver)
    view = driver.look()
    hold = Hold(view.scope("stage"), "load test", "rita", driver.ports.clock.now())
    driver.ports.memory.record_hold(hold)

    driver.run(driver.propose("prod"))

    assert "held by rita: load test" in check(driver, commit, "prod")[1]


@dataclass
class Troubled:
    """A queue in which a job of stage has failed."""

    jobs: Jobs
    key: str

    def __getattr__(self, name: str) -> object:
        return getattr(self.jobs, name)

    def states(self) -> Sequence[JobState]:
        own = JobState(self.key, "failed", 3, None, "the registry refuses to take a layer")
        other = JobState(f"{self.key}-2", "failed", 3, None, "of another application")
        return [own, other]


def test_a_failure_before_is_said(driver: Driver) -> None:
    commit, _ = in_dev(driver)
    troubled = Troubled(driver.queue, driver.deliver("stage").key)
    driver.ports = replace(driver.ports, jobs=cast("Jobs", troubled))
    driver.workflows = replace(driver.workflows, ports=driver.ports)

    driver.run(driver.propose("prod"))

    summary = check(driver, commit, "prod")[1]
    assert "failed there: the registry refuses to take a layer" in summary
    assert "another application" not in summary


def test_what_came_by_hand_is_held_to_it_too(driver: Driver) -> None:
    """A digest that one of those before lacks is not admitted, whoever wrote it."""
    stage = driver.stage
    _, digest = in_dev(driver)
    overlay = stage.file("main", "envs/prod/kustomization.yaml")
    pinned = f"{overlay.rstrip()}\n    digest: {digest}\n"
    stage.dana.push(stage.manifests, "main", {"envs/prod/kustomization.yaml": pinned})

    driver.run(driver.deliver("prod"))

    assert driver.shown("prod") is None or driver.shown("prod") != digest
    assert any("is not in stage and dev" in str(outcome) for _, outcome in driver.ran)


def test_a_foreign_commit_before_is_not_taken_for_nothing(driver: Driver) -> None:
    in_dev(driver)
    stage = driver.stage
    stage.dana.push(stage.manifests, "env/dev", {"x": "1\n"})

    driver.run(driver.propose("stage"))

    said = dict(driver.ran)[driver.propose("stage").key]
    assert "shows a commit that is not Lockkeeper's" in str(said)
