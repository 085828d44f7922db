"""What was delivered and stands not in the branch that all begins with: told, and brought back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world.driver import Driver, driven
from tests.world.github.records import PullRequest
from tests.world.stage import PIPELINE

pytestmark = pytest.mark.slow

BACK = PIPELINE.replace("sign: true\n", "sign: true\n    back_merge: true\n")


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path, pipeline=BACK) as up:
        up.look_first()
        yield up


def deliver(driver: Driver, environment: str) -> None:
    driver.run(driver.propose(environment))
    pull = driver.stage.open_promotion(environment)
    assert pull is not None
    driver.stage.rita.approve(pull)
    driver.stage.dana.merge(pull)
    driver.run(driver.deliver(environment), driver.publish(environment))


def released(driver: Driver, *, fixed: bool) -> str:
    """A release that reaches prod through main; with a fix that was made on its branch."""
    stage = driver.stage
    commit = stage.commit("develop")
    driver.build(stage.source, commit)
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.source, "release/v1.0.0", parent=commit)
    if fixed:
        commit = stage.commit("release/v1.0.0", {"fix.py": "1\n"}, message="Fix the rounding")
        digest = driver.build(stage.source, commit)
        stage.dana.push(stage.source, "develop", {"other.py": "1\n"})
        assert digest
    deliver(driver, "stage")
    pull = stage.dana.open_pull_request(stage.source, "release/v1.0.0", "main")
    stage.dana.merge(pull, "merge")
    deliver(driver, "prod")
    return commit


def said(driver: Driver, commit: str) -> str:
    runs = driver.stage.source.check_runs.values()
    name = "lockkeeper: payments -> prod"
    found = [run for run in runs if (run.commit, run.name) == (commit, name)]
    return str(found[-1].output["summary"])


def back(driver: Driver) -> list[PullRequest]:
    pulls = driver.stage.source.pulls.values()
    return [one for one in pulls if (one.head_ref, one.base_ref) == ("main", "develop")]


def test_a_fix_of_a_release_branch_is_told_and_brought_back(driver: Driver) -> None:
    commit = released(driver, fixed=True)

    assert "Not in `develop`" in said(driver, commit)
    assert "Fix the rounding" in said(driver, commit)
    [pull] = back(driver)
    assert pull.title == "Merge main back into develop"
    assert f"pull request {pull.number}" in said(driver, commit)

    driver.run(driver.publish("prod"))
    assert len(back(driver)) == 1


def test_what_is_there_is_not_told(driver: Driver) -> None:
    commit = released(driver, fixed=False)

    assert "Not in" not in said(driver, commit)
    assert back(driver) == []


@pytest.mark.parametrize("how", ["picked", "squashed"])
def test_what_came_back_as_a_copy_is_there(driver: Driver, how: str) -> None:
    stage = driver.stage
    commit = stage.commit("develop")
    driver.build(stage.source, commit)
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.source, "release/v1.0.0", parent=commit)
    fixes = [stage.commit("release/v1.0.0", {f"fix{n}.py": f"{n}\n"}) for n in range(2)]
    driver.build(stage.source, fixes[-1])
    together = {"fix0.py": "0\n", "fix1.py": "1\n"}
    for files in [{one: text} for one, text in together.items()] if how == "picked" else [together]:
        stage.dana.push(stage.source, "develop", {**files})
    deliver(driver, "stage")
    stage.dana.merge(stage.dana.open_pull_request(stage.source, "release/v1.0.0", "main"), "merge")
    deliver(driver, "prod")

    assert "Not in" not in said(driver, fixes[-1])
    assert back(driver) == []


def test_what_github_refuses_ends_no_publication(driver: Driver) -> None:
    driver.stage.github.fail("POST", "/repos/acme/payments/pulls", 403, times=9)
    stage, before = driver.stage, driver.stage.ref("prod")

    commit = stage.commit("develop")
    driver.build(stage.source, commit)
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.source, "release/v1.0.0", parent=commit)
    fix = stage.commit("release/v1.0.0", {"fix.py": "1\n"})
    digest = driver.build(stage.source, fix)
    deliver(driver, "stage")
    stage.dana.push(stage.source, "main", parent=fix, force=True)
    deliver(driver, "prod")

    assert stage.ref("prod") != before
    assert driver.shown("prod") == digest
    assert "No pull request could be opened" in said(driver, fix)
