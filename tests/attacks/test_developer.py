"""An application developer: writes to a source repository, or makes one of its name anew."""

from __future__ import annotations

from bot.reconcilers.operator import Request, trust_source
from tests.attacks.steps import settle
from tests.world.driver import Driver


def test_a_repository_of_the_same_name_feeds_nothing(driver: Driver) -> None:
    """F33: deleted and made anew by somebody else, or renamed and the name taken over."""
    stage = driver.stage
    driver.look_first()
    first = driver.build(stage.source, stage.commit("develop"))
    driver.run(driver.propose("dev"))
    settle(driver, "dev")
    assert driver.shown("dev") == first

    with stage.github.state.lock:
        stage.source.id = stage.github.state.new_id()
    driver.build(stage.source, stage.commit("develop"))
    vars(driver.ports.github)["_adapter"]._facts.clear()  # noqa: SLF001 - a minute passes
    driver.run(driver.propose("dev"))
    settle(driver, "dev")

    assert driver.shown("dev") == first
    assert any("another one than before" in str(outcome) for _, outcome in driver.ran[-6:])

    trust_source(Request(driver.ports, ("acme/payments",), "ops", lambda _key: False))
    driver.run(driver.propose("dev"))
    settle(driver, "dev")
    assert driver.shown("dev") != first
