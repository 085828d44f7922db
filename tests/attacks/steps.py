"""The steps that lead to what is attacked, and the looks that say whether it held."""

from __future__ import annotations

from tests.journeys.walk import is_signed, overlay, pinned
from tests.world.driver import Driver
from tests.world.github.records import PullRequest

FILE = "lockkeeper.yaml"
TEAM = "teams: [acme/release-managers]"


def to_stage(driver: Driver, version: str = "v1.2.0") -> tuple[str, str]:
    """An image of a commit, published in dev and stage; the commit and the digest."""
    stage = driver.stage
    if not driver.ran:
        driver.look_first()
    commit = stage.commit("develop")
    digest = driver.build(stage.source, commit)
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.source, f"release/{version}", parent=commit)
    driver.run(driver.propose("stage"))
    pull = stage.open_promotion("stage")
    assert pull is not None, driver.ran[-5:]
    stage.dana.merge(pull)
    driver.run(driver.deliver("stage"))
    assert driver.shown("stage") == digest, driver.ran[-5:]
    return commit, digest


def asked_for_prod(driver: Driver, version: str = "v1.2.0") -> PullRequest:
    """Dana merges the release; prod's promotion is open."""
    stage = driver.stage
    release = stage.dana.open_pull_request(stage.source, f"release/{version}", "main")
    stage.dana.merge(release)
    driver.run(driver.propose("prod"))
    pull = stage.open_promotion("prod")
    assert pull is not None, driver.ran[-5:]
    return pull


def to_prod(driver: Driver, version: str = "v1.2.0") -> str:
    """All the way, approved by Rita; the digest."""
    _, digest = to_stage(driver, version)
    pull = asked_for_prod(driver, version)
    driver.stage.rita.approve(pull)
    driver.stage.dana.merge(pull)
    settle(driver)
    assert driver.shown("prod") == digest, driver.ran[-5:]
    return digest


def settle(driver: Driver, *environments: str) -> None:
    """Every look that a webhook or the periodic reconcile would lead to."""
    for name in environments or ("dev", "stage", "prod"):
        driver.run(driver.deliver(name), driver.publish(name))


def head(driver: Driver) -> str:
    return driver.stage.manifests.head("main") or ""


def rules(driver: Driver) -> str:
    return driver.stage.file(head(driver), FILE)


def wish(driver: Driver, digest: str, environment: str = "prod") -> dict[str, str]:
    """The environment's overlay as a person pins it by hand."""
    return {overlay(environment): pinned(driver.stage, environment, digest)}


def signed(driver: Driver, digest: str) -> bool:
    return is_signed(driver.stage, "prod", digest)


def said(driver: Driver, commit: str) -> dict[str, tuple[str, str]]:
    """What the bot's checks say on a commit of the manifests repository."""
    return driver.stage.checks(driver.stage.manifests, commit)
