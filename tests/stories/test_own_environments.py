"""An application that goes past an environment, or is fed there by other branches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.formats.webhook import WebhookHint
from bot.reconcilers.intake import intake
from tests.world.driver import Driver, driven
from tests.world.stage import PIPELINE

pytestmark = pytest.mark.slow

SKIPPING = PIPELINE.replace(
    "  payments: {{}}\n",
    "  payments:\n    environments:\n      dev:\n      prod: {{ on: {{ branches: [master] }} }}\n",
)


def grant_dev_to_prod(driver: Driver) -> None:
    """The operator lets prod read where dev's images stand."""
    path = driver.stage.directory / "grants" / "prod" / "registry.json"
    found = json.loads(path.read_text())
    found["auths"][driver.stage.hosts["dev"]] = {}
    path.write_text(json.dumps(found))


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path, pipeline=SKIPPING) as up:
        up.look_first()
        yield up


def in_dev(driver: Driver) -> tuple[str, str]:
    commit = driver.stage.commit("develop")
    digest = driver.build(driver.stage.source, commit)
    driver.run(driver.propose("dev"))
    assert driver.shown("dev") == digest
    return commit, digest


def test_it_goes_past_and_other_branches_ask(driver: Driver) -> None:
    grant_dev_to_prod(driver)
    stage = driver.stage
    commit, digest = in_dev(driver)
    stage.dana.push(stage.source, "release/v1.0.0", parent=commit)
    stage.dana.push(stage.source, "main", {"x": "1\n"})
    stage.dana.push(stage.source, "master", parent=commit)

    driver.run(driver.propose("stage"), driver.propose("prod"))

    assert stage.open_promotion("stage") is None
    pull = stage.open_promotion("prod")
    assert pull is not None
    assert pull.title == f"Promote payments to prod: master at {commit[:7]}"
    stage.rita.approve(pull)
    stage.dana.merge(pull)
    driver.run(driver.deliver("prod"), driver.publish("prod"))
    assert driver.shown("prod") == digest


def test_without_a_grant_for_where_it_comes_from_it_alone_stops(driver: Driver) -> None:
    commit, _ = in_dev(driver)
    driver.stage.dana.push(driver.stage.source, "master", parent=commit)

    driver.run(driver.propose("prod"))

    assert driver.stage.open_promotion("prod") is None
    said = str(dict(driver.ran)[driver.propose("prod").key])
    assert "application 'payments' in 'prod'" in said
    view = driver.look()
    assert view.granted_environment("prod") is view.environment("prod")


def test_its_webhooks_ask_where_it_is(driver: Driver) -> None:
    for branch, environments in (("master", ["prod"]), ("main", []), ("release/v1", [])):
        hint = WebhookHint(
            "push", repository="acme/payments", ref=f"refs/heads/{branch}", after="a" * 40
        )
        intake(driver.ports, hint)
        assert list(driver.queue.waiting) == [driver.propose(one).key for one in environments]
        driver.queue.waiting.clear()


def test_a_digest_by_hand_where_it_goes_past_fails_the_check(driver: Driver) -> None:
    stage = driver.stage
    _, digest = in_dev(driver)
    overlay = stage.file("main", "envs/stage/kustomization.yaml")
    head = stage.dana.push(
        stage.manifests,
        "by-hand",
        {"envs/stage/kustomization.yaml": f"{overlay.rstrip()}\n    digest: {digest}\n"},
        parent=stage.manifests.head("main"),
    )
    pull = stage.dana.open_pull_request(stage.manifests, "by-hand", "main")

    driver.run(driver.answer(str(pull.number)))

    state, title = stage.checks(stage.manifests, head)["lockkeeper"]
    assert (state, title) == ("failure", "These digests cannot be delivered")
