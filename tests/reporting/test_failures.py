"""What GitHub or a registry refuses for good is read on the commits, in their own words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.jobs import Failed
from tests.world.driver import Driver, driven
from tests.world.github.records import Repository
from tests.world.stage import PIPELINE

pytestmark = pytest.mark.slow

WORDS = "Resource not accessible by integration"


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path) as up:
        yield up


def refuse(driver: Driver, method: str, path: str) -> None:
    """GitHub refuses it until `let` says otherwise."""
    driver.stage.github.fail(method, path, 403, times=10**6, message=WORDS)


def told(repository: Repository, commit: str) -> dict[str, str]:
    """Check name -> conclusion, title and summary."""
    return {
        run.name: f"{run.conclusion}: {run.output['title']}: {run.output['summary']}"
        for run in repository.check_runs.values()
        if run.commit == commit
    }


def test_a_proposal_that_github_refuses_is_told_on_the_source_commit_and_taken_back(
    driver: Driver,
) -> None:
    stage = driver.stage
    driver.look_first()
    commit = stage.commit("develop")
    driver.build(stage.source, commit)
    refuse(driver, "POST", "/repos/acme/deploy/pulls")

    driver.run(driver.propose("dev"))

    assert isinstance(driver.ran[-1][1], Failed)
    name = "lockkeeper: payments -> dev failed"
    said = told(stage.source, commit)[name]
    assert said.startswith("failure: Could not be proposed: ")
    assert WORDS in said
    assert f"lockkeeper retry {driver.propose('dev').key}" in said

    stage.github.faults.clear()
    driver.run(driver.propose("dev"))

    assert told(stage.source, commit)[name].startswith("neutral: Over")
    assert driver.shown("dev")
    assert driver.ports.memory.told_failures(driver.propose("dev").key) == []


def test_a_publication_that_github_refuses_is_told_on_the_merge_and_taken_back(
    driver: Driver,
) -> None:
    stage = driver.stage
    driver.look_first()
    commit = stage.commit("develop")
    driver.build(stage.source, commit)
    refuse(driver, "PATCH", "/repos/acme/deploy/git/refs/*")

    def merges() -> None:  # the pull request's own tree is written before
        refuse(driver, "POST", "/repos/acme/deploy/git/trees")

    stage.github.just_before("PUT", "/repos/acme/deploy/pulls/*/merge", merges)
    driver.run(driver.propose("dev"))

    head = stage.manifests.head("main")
    assert head
    for repository, one in ((stage.manifests, head), (stage.source, commit)):
        said = told(repository, one)["lockkeeper: dev failed"]
        assert said.startswith("failure: Could not be published: ")
        assert WORDS in said

    stage.github.faults.clear()
    driver.run(driver.publish("dev"))

    for repository, one in ((stage.manifests, head), (stage.source, commit)):
        assert told(repository, one)["lockkeeper: dev failed"].startswith("neutral: Over")


def test_every_branch_that_still_asks_is_told_and_no_other(tmp_path: Path) -> None:
    """Once ten were told, whichever they were; and the record keeps branches that are gone."""
    with driven(
        tmp_path, pipeline=PIPELINE.replace("[develop]", "[develop, 'feature/*']")
    ) as driver:
        stage, source = driver.stage, driver.stage.source
        driver.look_first()
        old = stage.commit("develop")
        driver.build(source, old)
        stage.dana.push(source, "feature/old", parent=old)
        driver.run(driver.propose("dev"))
        waiting = [
            stage.dana.push(source, f"feature/{n}", {"n": f"{n}"}, parent=old) for n in range(11)
        ]
        gone = stage.dana.push(source, "feature/gone", {"n": "gone"}, parent=old)
        driver.run(driver.propose("dev"))
        stage.dana.delete_branch(source, "feature/gone")
        newest = stage.dana.push(source, "develop", {"app.py": "print(9)\n"})
        driver.build(source, newest)
        refuse(driver, "POST", "/repos/acme/deploy/pulls")

        driver.run(driver.propose("dev"))

        name = "lockkeeper: payments -> dev failed"
        asking = [newest, *waiting]
        assert [name in told(source, commit) for commit in asking] == [True] * 12
        assert [name in told(source, commit) for commit in (old, gone)] == [False, False]

        stage.github.faults.clear()
        driver.run(driver.propose("dev"))

        overs = [told(source, commit)[name].startswith("neutral: Over") for commit in asking]
        assert overs == [True] * 12


def test_what_people_copy_has_nothing_invisible_in_it(driver: Driver) -> None:
    """Joiners keep GitHub from linking words; a digest with one in it is found by nobody."""
    stage = driver.stage
    driver.look_first()
    waits = stage.commit("develop")
    driver.run(driver.propose("dev"))
    said = "".join(told(stage.source, waits).values())
    commit = stage.commit("develop")
    digest = driver.build(stage.source, commit)
    refuse(driver, "POST", "/repos/acme/deploy/pulls")
    driver.run(driver.propose("dev"))
    said += "".join(told(stage.source, commit).values())
    stage.github.faults.clear()
    driver.run(driver.propose("dev"), driver.deliver("dev"), driver.publish("dev"))
    said += "".join(
        str(run.output["summary"])
        for repository in (stage.source, stage.manifests)
        for run in repository.check_runs.values()
    )
    comments = [one.body for pull in stage.manifests.pulls.values() for one in pull.comments]
    said += "".join(comments)

    host = stage.hosts["dev"]
    references = (digest, f"{host}/acme/payments@{digest}", f"{host}/acme/payments:sha-{waits[:7]}")
    for word in (*references, stage.ref("dev") or "", driver.propose("dev").key):
        assert said.count(word) == said.replace("\u2060", "").count(word) > 0, word
    for span in re.findall(r"`[^`]+`", said):
        assert "\u2060" not in span


def test_a_failure_that_cannot_be_told_is_the_failure_all_the_same(driver: Driver) -> None:
    stage = driver.stage
    driver.look_first()
    commit = stage.commit("develop")
    driver.build(stage.source, commit)
    refuse(driver, "POST", "/repos/acme/deploy/pulls")
    refuse(driver, "POST", "/repos/acme/payments/check-runs")

    driver.run(driver.propose("dev"))

    key, outcome = driver.ran[-1]
    assert (key, isinstance(outcome, Failed)) == (driver.propose("dev").key, True)
    assert WORDS in outcome.summary


def test_a_note_that_cannot_be_written_ends_nothing(driver: Driver) -> None:
    stage = driver.stage
    driver.look_first()
    driver.build(stage.source, stage.commit("develop"))
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.source, "release/1.0", {}, parent=stage.source.head("develop"))
    driver.run(driver.propose("stage"))
    promotion = stage.open_promotion("stage")
    assert promotion is not None
    stage.rita.approve(promotion)
    refuse(driver, "PATCH", f"/repos/acme/deploy/pulls/{promotion.number}")
    commit = stage.dana.push(stage.source, "release/1.0", {"app.py": "print(7)\n"})
    driver.build(stage.source, commit)
    stage.dana.push(stage.source, "develop", {}, parent=commit)
    driver.run(driver.propose("dev"))

    driver.run(driver.propose("stage"))

    key, outcome = [one for one in driver.ran if one[0] == driver.propose("stage").key][-1]
    assert "is approved and stays as it is" in outcome.summary, (key, outcome)
    assert any(m == "PATCH" and code == 403 for m, _, code in stage.github.requests)
