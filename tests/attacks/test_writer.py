"""A writer: may push to, or merge into, the manifests repository's default branch; no approver."""

from __future__ import annotations

from bot.domain.jobs import Failed
from bot.usecases.commands import Request, adopt, hold, unhold
from tests.attacks.steps import FILE, head, rules, settle, signed, to_prod, to_stage, wish
from tests.journeys.walk import overlay
from tests.world.driver import Driver
from tests.world.images import build_image


def foreign_image(driver: Driver, environment: str = "prod") -> str:
    """An image that CI never built, in the environment's own repository."""
    evil = build_image(labels={}, seed=666)
    evil.push(driver.stage.hosts[environment], "acme/payments", "x")
    return evil.digest


def command(driver: Driver, *arguments: str) -> Request:
    return Request(driver.ports, arguments, "ops", lambda _key: False)


# --- adoption is an event -----------------------------------------------------------------------


def adopting(driver: Driver, digest: str) -> str:
    text = rules(driver).replace("    sign: true\n", f"    sign: true\n    adopt: [{digest}]\n", 1)
    assert text != rules(driver)
    return text


def test_the_key_adopt_in_the_file_takes_nothing_over_later(driver: Driver) -> None:
    good = to_prod(driver)
    evil = foreign_image(driver)

    files = {FILE: adopting(driver, evil), **wish(driver, evil)}
    driver.stage.dana.push(driver.stage.manifests, "main", dict(files), message="tidy up")
    settle(driver)

    assert driver.shown("prod") == good
    assert not signed(driver, evil)


def test_the_key_adopt_alone_and_the_wish_afterwards_take_nothing_over(driver: Driver) -> None:
    good = to_prod(driver)
    evil = foreign_image(driver)

    driver.stage.dana.push(driver.stage.manifests, "main", {FILE: adopting(driver, evil)})
    settle(driver)
    driver.stage.dana.push(driver.stage.manifests, "main", dict(wish(driver, evil)))
    settle(driver)

    assert driver.shown("prod") == good


def test_without_a_ref_adopt_takes_what_the_record_shows_and_no_wish(driver: Driver) -> None:
    good = to_prod(driver)
    stage, evil = driver.stage, foreign_image(driver)
    stage.dana.push(stage.manifests, "main", dict(wish(driver, evil)))
    stage.dana.delete_branch(stage.manifests, "env/prod")
    stage.github.fail("POST", "/repos/acme/deploy/git/refs", 422, times=1000, message="Not here")
    settle(driver, "prod")
    outcomes = [one for key, one in driver.ran if key.startswith("publish:") and "prod" in key]

    taken = adopt(command(driver, "prod"))
    stage.github.faults.clear()
    settle(driver, "prod")

    assert isinstance(outcomes[-1], Failed)
    assert "Not here" in outcomes[-1].summary
    assert taken["adopted"] == [good]
    assert driver.shown("prod") in {None, good}


def test_unhold_accepts_no_image_that_is_not_sealed(driver: Driver) -> None:
    good = to_prod(driver)
    stage, evil = driver.stage, foreign_image(driver)
    hold(command(driver, "prod"))
    text = stage.file(stage.ref("prod") or "", overlay("prod")).replace(good, evil)
    stage.dana.push(stage.manifests, "env/prod", {overlay("prod"): text})

    unhold(command(driver, "prod"))
    settle(driver, "prod")

    assert driver.shown("prod") == good


def test_what_is_adopted_by_the_first_publication_is_in_the_audit(driver: Driver) -> None:
    stage, runs = driver.stage, foreign_image(driver, "prod")
    files = {FILE: adopting(driver, runs), **wish(driver, runs)}
    stage.dana.push(stage.manifests, "main", dict(files))

    driver.look_first()

    assert driver.shown("prod") == runs
    entries = [one for one in driver.ports.audit.entries() if one.kind == "adopted"]
    assert [one.facts["digests"] for one in entries] == [runs]
    to_stage(driver)
    assert head(driver)
    assert driver.shown("prod") == runs
