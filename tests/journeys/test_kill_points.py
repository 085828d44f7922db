"""Wherever the process dies, the final world is that of the run without deaths."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bot.adapters.journal import WHEN, effects
from tests.journeys import walk
from tests.journeys.conftest import Raise
from tests.journeys.outcome import Outcome, assert_becomes, outcome
from tests.journeys.walk import Walked
from tests.world.stage import Stage

ELSEWHERE = {
    "GitHub.close_pull_request": "only where somebody else brought the same digests",
    "GitHub.react": "only after a command; cut short in tests/stories/test_comments.py",
    "GitHub.set_label": "only after a hold; cut short in tests/stories/test_comments.py",
}
"""Effects that the path below does not contain, each with its reason."""


def walked_with_deaths(stage: Stage, points: Path) -> Walked:
    """The main path with an update of the open promotion, until every point was met."""
    walk.looked_at(
        stage
    )  # a push that comes before, and whose webhook dies too, stood there before
    commit, _ = walk.to_dev(stage)
    pull = walk.propose_stage(stage, commit)
    newer, image = walk.to_dev(stage)
    stage.dana.push(stage.source, "release/v1.2.0", parent=newer)
    walk.promotion(stage, "stage", image)
    stage.dana.merge(pull)
    stage.wait_published("stage", image.digest)
    trigger = walk.release(stage)
    prod = walk.promotion(stage, "prod", image)
    stage.rita.approve(prod)
    stage.dana.merge(prod)
    stage.wait_published("prod", image.digest)
    stage.eventually(lambda: left(points) == [] or None, f"{left(points)}, all of them")
    stage.eventually(lambda: is_at_rest(stage, newer) or None, "all is reported")
    dev = [p for p in stage.manifests.pulls.values() if "/dev/" in p.head_ref][-1]
    promotions = {"dev": dev, "stage": pull, "prod": prod}
    refs = {environment: stage.ref(environment) or "" for environment in stage.hosts}
    return Walked(stage, image, newer, trigger, promotions, refs)


def is_at_rest(stage: Stage, commit: str) -> bool:
    checks = stage.checks(stage.source, commit)
    published = [state for state in checks.values() if state == ("success", "Published")]
    comments = [p for p in stage.manifests.pulls.values() if p.merged and p.comments]
    return len(published) == len(stage.hosts) and len(comments) == 4


def left(points: Path) -> list[str]:
    return points.read_text().split()


def expected(when: str) -> list[str]:
    return [f"{when}:{effect}" for effect in effects() if effect not in ELSEWHERE]


def test_every_effect_is_on_the_path_or_elsewhere_for_a_reason() -> None:
    assert set(ELSEWHERE) <= set(effects())


@pytest.fixture(scope="module")
def undisturbed(raise_stage: Raise, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    points = tmp_path_factory.mktemp("none") / "points"
    points.write_text("")
    with raise_stage() as stage:
        walked = walked_with_deaths(stage, points)
        walk.settled(stage)
        seen = outcome(walked)
        while True:  # the last reports come after the last publication
            time.sleep(3)
            before, seen = seen, outcome(walked)
            if before == seen:
                return seen


@pytest.fixture
def points(tmp_path: Path) -> Path:
    return tmp_path / "points"


@pytest.fixture
def mortal(raise_stage: Raise, points: Path) -> Iterator[Callable[..., Walked]]:
    """Walk with deaths at these points."""

    def walked(deaths: Sequence[str], **variables: str) -> Walked:
        points.write_text("".join(f"{point}\n" for point in deaths))
        variables = {"LOCKKEEPER_TEST_KILL": str(points), **variables}
        stage = stack.enter_context(raise_stage(variables=variables, start=False))
        stage.bot.restarts = True
        stage.patience = 180  # it contains many starts
        stage.bot.start()
        walk_done = walked_with_deaths(stage, points)
        # A request that its sender did not live to send whole is no operation at all.
        said = stage.github.violations
        said[:] = [one for one in said if "no such operation" not in one]
        return walk_done

    with contextlib.ExitStack() as stack:
        yield walked


@pytest.mark.parametrize("when", WHEN)
def test_a_death_at_any_effect_changes_nothing(
    mortal: Callable[..., Walked], undisturbed: Outcome, when: str
) -> None:
    deaths = expected(when)

    walked = mortal(deaths)

    assert set(walked.stage.bot.exit_codes) == {-signal.SIGKILL}, walked.stage.bot.last_words()
    assert_becomes(walked, undisturbed)


def test_deaths_on_postgresql_change_nothing(
    mortal: Callable[..., Walked], undisturbed: Outcome, postgres_url: str
) -> None:
    """A few of them: a dead replica's work is taken over only when its lease has lapsed."""
    deaths = ["after:ImageRegistry.copy", "after:GitHub.merge_pull_request"]

    walked = mortal(deaths, LOCKKEEPER_DATABASE_URL=postgres_url)

    assert walked.stage.bot.kills == len(deaths)
    assert_becomes(walked, undisturbed)
