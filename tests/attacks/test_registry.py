"""Who may write to the first registry: CI's tags and what hangs on images are theirs to change."""

from __future__ import annotations

from tests.attacks.steps import asked_for_prod, settle, to_stage
from tests.world.driver import Driver
from tests.world.images import build_image
from tests.world.stage import digest_in


def test_a_tag_that_moves_later_moves_no_environment(driver: Driver) -> None:
    """F4: the first resolution of (application, commit) is what every later environment gets."""
    stage = driver.stage
    commit, digest = to_stage(driver)
    evil = build_image(labels={"org.opencontainers.image.revision": commit}, seed=666)
    evil.push(stage.hosts["dev"], "acme/payments", f"sha-{commit[:7]}")
    evil.push(stage.hosts["stage"], "acme/payments", f"sha-{commit[:7]}")

    pull = asked_for_prod(driver)
    settle(driver)

    wished = stage.file(pull.head, "envs/prod/kustomization.yaml")
    assert digest_in(wished) == digest != evil.digest
    assert (driver.shown("dev"), driver.shown("stage")) == (digest, digest)


def test_a_tag_whose_image_names_another_commit_is_nobodys(driver: Driver) -> None:
    """The tag says this commit and the label another one: neither is believed."""
    stage = driver.stage
    driver.look_first()
    other, commit = stage.commit("develop"), stage.commit("develop")
    image = build_image(labels={"org.opencontainers.image.revision": other}, seed=7)
    image.push(stage.hosts["dev"], "acme/payments", f"sha-{commit[:7]}")

    driver.run(driver.propose("dev"))
    settle(driver, "dev")

    assert driver.shown("dev") != image.digest
    assert stage.open_promotion("dev") is None


def test_an_image_that_stands_in_stage_alone_reaches_no_prod(driver: Driver) -> None:
    """Who may push to stage's registry has delivered nothing: our own record says what was."""
    stage = driver.stage
    to_stage(driver)
    pull = asked_for_prod(driver)
    evil = build_image(labels={}, seed=666)
    evil.push(stage.hosts["stage"], "acme/payments", "x")
    good = digest_in(stage.file(pull.head, "envs/prod/kustomization.yaml"))
    text = stage.file(pull.head, "envs/prod/kustomization.yaml")
    stage.dana.push(
        stage.manifests,
        "evil",
        {"envs/prod/kustomization.yaml": text.replace(str(good), evil.digest)},
    )
    own = stage.dana.open_pull_request(stage.manifests, "evil", "main")
    stage.rita.approve(own)
    stage.dana.merge(own)

    settle(driver)

    assert driver.shown("prod") != evil.digest
    assert any("is not in stage" in str(outcome) for _, outcome in driver.ran[-12:])
