"""GitHub as a budget: how many requests a promotion costs, counted in process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.world.driver import Driver, driven
from tests.world.github.gitstore import FileChanges
from tests.world.stage import PIPELINE

pytestmark = pytest.mark.slow

PROPOSED, PUBLISHED = 11, 26
"""From webhook to pull request and told, and from merge to published and told.

The publication asks for the label of the pull request again: it may have come after the seal.
"""
FLEET = tuple(f"a{number}" for number in range(5))


@contextmanager
def at_most(driver: Driver, number: int) -> Iterator[None]:
    """No more requests than this, but for tokens, which last an hour."""
    before = len(driver.stage.github.requests)
    yield
    made = [
        f"{verb} {path}"
        for verb, path, _ in driver.stage.github.requests[before:]
        if not path.endswith("/access_tokens")
    ]
    assert 0 < len(made) <= number, "\n".join(made)


def test_a_release_up_to_prod_costs_few_requests(tmp_path: Path) -> None:
    with driven(tmp_path) as driver:
        stage = driver.stage
        driver.look_first()
        commit = stage.commit("develop")
        digest = driver.build(stage.source, commit)
        driver.run(driver.propose("dev"))
        stage.dana.push(stage.source, "release/v1", parent=commit)
        with at_most(driver, PROPOSED):
            driver.run(driver.propose("stage"))
        pull = stage.open_promotion("stage")
        assert pull is not None
        stage.dana.merge(pull)
        with at_most(driver, PUBLISHED):
            driver.run(driver.deliver("stage"), driver.publish("stage"))
        assert driver.shown("stage") == digest

        release = stage.dana.open_pull_request(stage.source, "release/v1", base="main", title="R")
        stage.dana.merge(release, "merge")  # a commit of its own, so two are told
        with at_most(driver, PROPOSED + 1):
            driver.run(driver.propose("prod"))
        pull = stage.open_promotion("prod")
        assert pull is not None
        stage.rita.approve(pull)
        stage.dana.merge(pull)
        with at_most(driver, PUBLISHED):
            driver.run(driver.deliver("prod"), driver.publish("prod"))
        assert driver.shown("prod") == digest


def test_each_of_many_applications_on_one_push_costs_no_more(tmp_path: Path) -> None:
    text = PIPELINE.replace("acme/{{application}}\n", "acme/payments\n").replace(
        "  payments: {{}}\n", "".join(f"  {name}: {{{{}}}}\n" for name in FLEET)
    )
    with driven(tmp_path, pipeline=text) as driver:
        stage = driver.stage
        files: FileChanges = {}
        for name, host in stage.hosts.items():
            for one in FLEET:
                pod = f"kind: Pod\nspec: {{containers: [{{image: {host}/acme/{one}}}]}}\n"
                files[f"envs/{name}/{one}.yaml"] = pod
        stage.dana.push(stage.manifests, "main", files)
        driver.look_first(*FLEET)
        commit = stage.commit("develop")
        for name in FLEET:
            driver.build(stage.source, commit, name)
        driver.run(*[driver.propose("dev", name) for name in FLEET])
        stage.dana.push(stage.source, "release/v1", parent=commit)
        with at_most(driver, 12 * len(FLEET)):
            driver.run(*[driver.propose("stage", name) for name in FLEET])
        pulls = list(stage.manifests.open_pulls())
        assert len(pulls) == len(FLEET)
        for pull in pulls:
            stage.dana.merge(pull)
        with at_most(driver, 15 * len(FLEET)):
            driver.run(*[driver.deliver("stage", name) for name in FLEET], driver.publish("stage"))
