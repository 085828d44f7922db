"""Environments that follow others: without places, gone back, held, and with words of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.errors import RejectedError
from bot.domain.jobs import JobKind
from bot.formats.pipeline_file import read_pipeline
from bot.formats.webhook import WebhookHint
from bot.reconcilers.intake import intake
from bot.reconcilers.operator import adopt, hold, status, unhold
from tests.stories.test_after import CHAIN, check, in_dev, merge, title_of
from tests.stories.test_holds import asked
from tests.stories.test_own_environments import grant_dev_to_prod
from tests.world.driver import Driver, driven
from tests.world.stage import OVERLAY, PIPELINE

pytestmark = pytest.mark.slow


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path, pipeline=CHAIN) as up:
        up.look_first()
        yield up


def without_place(driver: Driver, environment: str) -> None:
    """The application is not in an environment: its files there have no place for it."""
    path = f"envs/{environment}/kustomization.yaml"
    driver.stage.dana.push(driver.stage.manifests, "main", {path: "resources: []\n"})
    driver.run(driver.publish(environment))


def test_one_that_is_never_in_an_environment_before_does_not_wait_for_ever_in_silence(
    driver: Driver,
) -> None:
    """At least the way out has to be said: `environments` of the application."""
    without_place(driver, "stage")
    commit, _ = in_dev(driver)
    driver.run(driver.propose("prod"))

    title, summary = check(driver, commit, "prod")
    assert "`environments` of payments" in summary, (title, summary)


def test_what_people_merged_before_it_was_rolled_back_before_is_delivered(driver: Driver) -> None:
    """What was published in all of those before, proposed and merged stays admissible.

    Stage goes back in the moment in which prod's pull request is merged by a person.
    """
    stage = driver.stage
    _, good = in_dev(driver)
    merge(driver, "stage")
    merge(driver, "prod")
    _, later = in_dev(driver)
    pull = stage.open_promotion("stage")
    assert pull is not None
    stage.dana.merge(pull)
    driver.run(driver.deliver("stage"))
    pull = stage.open_promotion("prod")
    assert pull is not None

    text = stage.file("main", "envs/stage/kustomization.yaml").replace(later, good)
    stage.dana.push(stage.manifests, "main", {"envs/stage/kustomization.yaml": text})
    driver.run(driver.deliver("stage"), driver.publish("stage"), most=2)
    assert driver.shown("stage") == good
    stage.dana.merge(pull)
    driver.run(driver.deliver("prod"), driver.publish("prod"))

    assert driver.shown("prod") == later


def test_the_bot_merges_nothing_that_was_rolled_back_before(tmp_path: Path) -> None:
    """Prod merges by itself once GitHub lets it; stage went back meanwhile."""
    begin, end = CHAIN.split("  prod:\n")
    end = end.replace("after: [stage, dev]", "after: [stage, dev]\n    merge: auto")
    text = f"{begin}  prod:\n{end}"
    with driven(tmp_path, pipeline=text) as driver:
        driver.look_first()
        stage = driver.stage
        _, good = in_dev(driver)
        merge(driver, "stage")
        assert driver.shown("prod") == good
        _, bad = in_dev(driver)
        hold(asked(driver, "prod", "payments", "lunch"))
        merge(driver, "stage")
        text = stage.file("main", "envs/stage/kustomization.yaml").replace(bad, good)
        stage.dana.push(stage.manifests, "main", {"envs/stage/kustomization.yaml": text})
        driver.run(driver.deliver("stage"), driver.publish("stage"), most=2)
        assert driver.shown("stage") == good
        unhold(asked(driver, "prod", "payments"))

        driver.run(driver.propose("prod"))

        assert driver.shown("prod") == good


def test_a_set_that_came_back_before_goes_on_again(driver: Driver) -> None:
    """Stage went back from B to A and then on to B again: B goes on."""
    stage = driver.stage
    _, first = in_dev(driver)
    merge(driver, "stage")
    merge(driver, "prod")
    commit, second = in_dev(driver)
    pull = stage.open_promotion("stage")
    assert pull is not None
    stage.dana.merge(pull)
    driver.run(driver.deliver("stage"))
    path = "envs/stage/kustomization.yaml"
    forward = stage.file("main", path)
    stage.dana.push(stage.manifests, "main", {path: forward.replace(second, first)})
    driver.run(driver.deliver("stage"), driver.publish("stage"), driver.propose("prod"))
    assert title_of(driver, "prod") is None

    stage.dana.push(stage.manifests, "main", {path: forward})
    driver.run(driver.deliver("stage"), driver.publish("stage"), driver.propose("prod"))

    assert driver.shown("stage") == second
    assert title_of(driver, "prod") == f"Promote payments to prod: develop at {commit[:7]}"


def test_an_adopted_environment_before_says_the_way_out(tmp_path: Path) -> None:
    """What was taken over is of no commit that is known: who waits is told what to do."""
    with driven(tmp_path, pipeline=CHAIN) as driver:
        stage = driver.stage
        commit = stage.commit("develop")
        digest = driver.build(stage.source, commit)
        path = "envs/dev/kustomization.yaml"
        pinned = f"{stage.file('main', path).rstrip()}\n    digest: {digest}\n"
        stage.dana.push(stage.manifests, "main", {path: pinned})
        adopt(asked(driver, "dev"))
        driver.look_first()
        assert driver.shown("dev") == digest
        driver.run(driver.propose("stage"))

        said = str(dict(driver.ran)[driver.propose("stage").key])
        assert "the next commit that is promoted to dev goes on from there" in said, said


def test_a_hold_before_stops_nothing_here_that_was_published_there(driver: Driver) -> None:
    _, digest = in_dev(driver)
    merge(driver, "stage")
    hold(asked(driver, "stage", "payments", "load test"))

    merge(driver, "prod")

    assert driver.shown("prod") == digest


def test_an_environment_before_that_is_deleted_is_an_error_of_the_file(driver: Driver) -> None:
    text = CHAIN.format(**driver.stage.hosts)
    begin, end = text.index("  stage:\n"), text.index("  prod:\n")
    with pytest.raises(RejectedError) as found:
        read_pipeline(text[:begin] + text[end:])
    assert "stage" in str(found.value)


OVERRIDE = PIPELINE.replace(
    "  payments: {{}}\n",
    "  payments:\n    environments:\n      dev:\n      stage:\n      prod: {{ {own} }}\n",
)


def own(text: str) -> str:
    return OVERRIDE.replace("{own}", text).format(
        dev="dev.example.com", stage="stage.example.com", prod="prod.example.com"
    )


@pytest.mark.parametrize(
    "text",
    [
        "merge: auto",
        "on: {{ branches: ['**'] }}",
        "on: {{ tags: ['*'] }}",
        "on: {{ branches: ['**/*'] }}",
        "on: {{ branches: ['?*'] }}",
        "on: {{ branches: [] }}",
        "image_tags: ['sha256-{{commit}}']",
        "after: [prod]",
        "after: [nowhere]",
    ],
)
def test_an_application_loosens_no_gate_of_its_environment(text: str) -> None:
    with pytest.raises(RejectedError):
        read_pipeline(own(text))


def test_own_branches_are_all_that_asks() -> None:
    """`on` of an application is its own: no tags of the environment come along."""
    text = own("on: {{ branches: [master] }}")
    text = text.replace("on: { branches: [main] }", 'on: { branches: [main], tags: ["v*"] }')
    pipeline = read_pipeline(text)
    found = pipeline.environment_of("prod", pipeline.applications["payments"])
    assert found is not None
    assert (found.branches, found.tags) == (("master",), ())


WAVES = CHAIN  # dev -> stage -> prod (fan-in of both)


def test_a_chain_of_three_goes_on_by_itself(driver: Driver) -> None:
    _, digest = in_dev(driver)
    for environment in ("stage", "prod"):
        merge(driver, environment)
        assert driver.shown(environment) == digest


def test_two_images_of_which_stage_has_one(tmp_path: Path) -> None:
    """The set of prod is what stage has of it, and the other image is not waited for in stage."""
    both = CHAIN.replace("  payments: {{}}\n", "  payments: {{ images: [payments, worker] }}\n")
    with driven(tmp_path, pipeline=both) as driver:
        stage = driver.stage
        for name in ("dev", "prod"):
            text = OVERLAY.format(environment=name, host=stage.hosts[name])
            path = f"envs/{name}/worker/kustomization.yaml"
            stage.dana.push(stage.manifests, "main", {path: text.replace("payments", "worker")})
        driver.look_first()
        commit = stage.commit("develop")
        driver.build(stage.source, commit)
        driver.build(stage.source, commit, "worker")
        driver.run(driver.propose("dev"))
        merge(driver, "stage")
        driver.run(driver.propose("prod"))

        said = str(dict(driver.ran)[driver.propose("prod").key])
        title, summary = check(driver, commit, "prod")
        assert title_of(driver, "prod") is None, said
        assert "where worker has no place" in summary, (title, summary)
        assert "waits for stage, which shows" not in summary


def test_an_older_set_that_all_run_again_does_not_go_forward(driver: Driver) -> None:
    """After https://github.com/akuity/kargo/issues/6241: back everywhere, so nothing is newer."""
    stage = driver.stage
    _, first = in_dev(driver)
    merge(driver, "stage")
    merge(driver, "prod")
    _, second = in_dev(driver)
    merge(driver, "stage")
    merge(driver, "prod")
    assert driver.shown("prod") == second
    for name in ("dev", "stage"):
        path = f"envs/{name}/kustomization.yaml"
        text = stage.file("main", path).replace(second, first)
        stage.dana.push(stage.manifests, "main", {path: text})
        driver.run(driver.deliver(name), driver.publish(name))
        assert driver.shown(name) == first
    driver.run(driver.propose("prod"))

    assert title_of(driver, "prod") is None
    assert driver.shown("prod") == second


def test_an_auto_merging_follower_waits_for_what_is_held_before(tmp_path: Path) -> None:
    """stage merges by itself; a hold there stops it, and prod gets nothing round it."""
    text = CHAIN.replace("    after: [dev]\n", "    after: [dev]\n    merge: auto\n")
    with driven(tmp_path, pipeline=text) as driver:
        driver.look_first()
        hold(asked(driver, "stage", "payments", "load test"))
        _, digest = in_dev(driver)
        driver.run(driver.propose("stage"), driver.propose("prod"))

        assert driver.shown("stage") != digest
        assert title_of(driver, "prod") is None


def test_an_auto_merging_follower_goes_on_after_the_hold(tmp_path: Path) -> None:
    text = CHAIN.replace("    after: [dev]\n", "    after: [dev]\n    merge: auto\n")
    with driven(tmp_path, pipeline=text) as driver:
        driver.look_first()
        hold(asked(driver, "stage", "payments", "load test"))
        _, digest = in_dev(driver)
        unhold(asked(driver, "stage", "payments"))
        driver.run(driver.job(JobKind.RECONCILE, "", ""))

        assert driver.shown("stage") == digest


AUTO = PIPELINE.replace(
    "  payments: {{}}\n",
    "  payments:\n    environments: {{ dev: , stage: {{ merge: auto }}, prod: }}\n",
)


@pytest.fixture
def own_auto(tmp_path: Path) -> Iterator[Driver]:
    """In stage the bot merges for this application alone; GitHub does not let it yet."""
    with driven(tmp_path, pipeline=AUTO) as up:
        up.look_first()
        commit, _ = in_dev(up)
        up.stage.github.protect(up.stage.manifests, "main", approvals=1)
        up.stage.dana.push(up.stage.source, "release/v1.0.0", parent=commit)
        up.run(up.propose("stage"))
        assert up.stage.open_promotion("stage") is not None
        yield up


@pytest.mark.parametrize(
    ("event", "action"),
    [
        ("pull_request", "unlabeled"),
        ("pull_request", "ready_for_review"),
        ("pull_request_review", "submitted"),
        ("check_suite", "completed"),
    ],
)
def test_what_the_bot_merges_for_one_application_alone_is_woken_too(
    own_auto: Driver, event: str, action: str
) -> None:
    pull = own_auto.stage.open_promotion("stage")
    assert pull is not None
    own_auto.queue.waiting.clear()
    hint = WebhookHint(event, action, "acme/deploy", pull_request=pull.number)
    after = pull.head if event == "check_suite" else ""
    intake(own_auto.ports, replace(hint, after=after))

    assert own_auto.propose("stage").key in own_auto.queue.waiting


def test_status_says_who_merges_for_this_application(own_auto: Driver) -> None:
    [place] = [p for p in status(asked(own_auto))["places"] if p["environment"] == "stage"]  # type: ignore[attr-defined]  # an answer is a mapping of anything

    assert "somebody who merges it" not in str(place)


@pytest.mark.parametrize(
    "mine",
    ["{ on: { branches: [develop] } }", "{ on: { branches: [main], tags: [v1] }, after: [] }"],
)
def test_own_triggers_of_a_signing_environment_are_rules(tmp_path: Path, mine: str) -> None:
    """Dana alone lets her application into prod from develop: not without prod's team."""
    with driven(tmp_path) as driver:
        driver.look_first()
        commit, digest = in_dev(driver)
        stage = driver.stage
        stage.dana.push(stage.source, "release/v1.0.0", parent=commit)
        driver.run(driver.propose("stage"))
        merge(driver, "stage")
        text = PIPELINE.format(**stage.hosts).replace(
            "  payments: {}\n",
            f"  payments:\n    environments: {{ dev: , stage: , prod: {mine} }}\n",
        )
        stage.dana.push(stage.manifests, "main", {"lockkeeper.yaml": text})

        own = driver.look().pipeline.applications["payments"].environments

        assert own is None
        assert digest


def test_what_is_asked_for_waits_for_all_before_it(tmp_path: Path) -> None:
    """`after` together with `on`: main asks, and dev alone has it; stage has to have it too."""
    text = PIPELINE.replace(
        "    on: {{ branches: [main] }}\n    from: stage\n",
        "    on: {{ branches: [main] }}\n    from: dev\n    after: [stage]\n",
    )
    with driven(tmp_path, pipeline=text) as driver:
        driver.look_first()
        grant_dev_to_prod(driver)
        commit, digest = in_dev(driver)
        stage = driver.stage
        stage.dana.push(stage.source, "main", parent=commit, force=True)
        driver.run(driver.propose("prod"))
        assert title_of(driver, "prod") is None
        stage.dana.push(stage.source, "release/v1.0.0", parent=commit)
        driver.run(driver.propose("stage"))
        merge(driver, "stage")
        assert driver.shown("stage") == digest

        assert title_of(driver, "prod") == f"Promote payments to prod: main at {commit[:7]}"
