"""Monorepos: an application is promoted by what it is built of, whatever else its source holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from bot.ports.grants import Grants
from tests.world.driver import Driver
from tests.world.monorepo import NAMES, build, change, everything, monorepo, open_pulls, shown

pytestmark = pytest.mark.slow


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with monorepo(tmp_path) as up:
        yield up


@dataclass
class Listening:
    """Something of the bot's, and the image tags that are asked for through it."""

    inner: object
    asked: list[str]

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def registry(self, *whose: object) -> object:
        found = self.inner.registry(*whose)  # type: ignore[attr-defined]  # grants have it
        return Listening(found, self.asked)

    def resolve(self, reference: object) -> object:
        self.asked.append(str(reference))
        return self.inner.resolve(reference)  # type: ignore[attr-defined]  # registries have it


@contextmanager
def counted(driver: Driver, asked: list[str]) -> Iterator[None]:
    """Image tags that are asked for meanwhile."""
    workflows = driver.workflows
    grants = cast("Grants", Listening(driver.ports.grants, asked))
    driver.workflows = replace(workflows, ports=replace(driver.ports, grants=grants))
    try:
        yield
    finally:
        driver.workflows = workflows


def test_what_a_push_does_not_touch_has_nothing_to_do(driver: Driver) -> None:
    everything(driver)
    before = shown(driver, "dev", "web"), len(driver.stage.manifests.pulls)
    commit = change(driver, "services/api/y")
    build(driver, commit, "api")

    asked: list[str] = []
    with counted(driver, asked):
        driver.run(*[driver.propose("dev", name) for name in NAMES])

    assert commit[:7] in shown(driver, "dev", "api")
    assert shown(driver, "dev", "web") == before[0]
    assert len(driver.stage.manifests.pulls) == before[1] + 1
    assert {one.rsplit("/", 1)[1].partition(":")[0] for one in asked} == {"api"}


def test_a_release_takes_the_image_of_an_older_commit_with_the_same_bytes(driver: Driver) -> None:
    first = everything(driver)
    commit = change(driver, "services/api/y")
    build(driver, commit, "api")
    driver.run(*[driver.propose("dev", name) for name in NAMES])
    for _ in range(3):
        change(driver, "docs/readme.md")  # nobody builds anything
    head = driver.stage.source.head("develop")
    driver.stage.dana.push(driver.stage.source, "release/v1.0.0", parent=head)

    driver.run(*[driver.propose("stage", name) for name in NAMES])

    assert open_pulls(driver) == [f"lockkeeper/stage/{name}" for name in sorted(NAMES)]
    titles = {pull.head_ref: pull.title for pull in driver.stage.manifests.open_pulls()}
    assert titles["lockkeeper/stage/api"].endswith(f"release/v1.0.0 at {commit[:7]}")
    assert titles["lockkeeper/stage/web"].endswith(f"release/v1.0.0 at {first[:7]}")


def test_ci_that_names_the_last_commit_of_a_push_is_found(driver: Driver) -> None:
    everything(driver)
    change(driver, "services/web/y")
    last = change(driver, "docs/readme.md")  # of the same push: its images bear this name
    build(driver, last, "web")
    for _ in range(40):
        change(driver, "services/api/z")

    driver.run(driver.propose("dev", "web"))

    assert last[:7] in shown(driver, "dev", "web")


def test_an_image_with_paths_of_its_own_stays_an_older_commits(driver: Driver) -> None:
    first = everything(driver)
    commit = change(driver, "services/job/x")  # and nothing of its db
    build(driver, commit, "job")

    driver.run(driver.propose("dev", "job"))

    text = shown(driver, "dev", "job")
    assert f"sha-{commit[:7]}@" in text
    assert f"migrate-{first[:7]}@" in text

    driver.stage.dana.push(driver.stage.source, "release/v2.0.0", parent=commit)
    driver.run(driver.propose("stage", "job"))
    [pull] = driver.stage.manifests.open_pulls()
    driver.stage.dana.merge(pull)
    driver.run(driver.deliver("stage", "job"))
    assert f"migrate-{first[:7]}@" in shown(driver, "stage", "job")


def test_an_image_whose_own_files_changed_is_waited_for(driver: Driver) -> None:
    everything(driver)
    commit = change(driver, "services/job/x", "services/job/db/2.sql")
    build(driver, commit, "job")  # its db is not built yet

    driver.run(driver.propose("dev", "job"))

    assert commit[:7] not in shown(driver, "dev", "job")
    said = driver.stage.checks(driver.stage.source, commit)["lockkeeper: job -> dev"][1]
    assert said == "Waiting for image"


def test_a_commit_that_is_never_built_starves_no_older_one(driver: Driver) -> None:
    everything(driver)
    built = change(driver, "services/web/y")
    build(driver, built, "web")
    for _ in range(35):
        change(driver, "services/api/z")
    never = change(driver, "services/web/z")
    for _ in range(35):
        change(driver, "services/api/z")

    driver.run(driver.propose("dev", "web"))

    assert built[:7] in shown(driver, "dev", "web")
    assert never[:7] not in shown(driver, "dev", "web")


def test_what_is_not_there_is_asked_for_once_by_all_environments(driver: Driver) -> None:
    everything(driver)
    change(driver, "services/web/y")
    for _ in range(10):
        change(driver, "docs/readme.md")
    head = driver.stage.source.head("develop")
    driver.stage.dana.push(driver.stage.source, "release/v1.0.0", parent=head)
    first: list[str] = []
    second: list[str] = []
    with counted(driver, first):
        driver.run(driver.propose("dev", "web"))
    with counted(driver, second):
        driver.run(driver.propose("stage", "web"))

    assert len(first) == len(set(first)) > 10
    assert set(second) & set(first) <= {first[0]}  # the head itself is asked for again


def test_a_squash_among_others_commits_goes_forward(driver: Driver) -> None:
    stage = driver.stage
    base = everything(driver)
    side = stage.dana.push(stage.source, "feature", {"services/web/a": "1\n"}, parent=base)
    build(driver, side, "web")
    pull = stage.dana.open_pull_request(stage.source, "feature", "develop")
    change(driver, "services/api/q")  # so the squash is no copy of the side branch's tree
    stage.dana.merge(pull, "squash")
    driver.run(driver.propose("dev", "web"))
    assert side[:7] in shown(driver, "dev", "web")
    newer = change(driver, "services/web/c")
    build(driver, newer, "web")

    driver.run(driver.propose("dev", "web"))

    assert newer[:7] in shown(driver, "dev", "web")
