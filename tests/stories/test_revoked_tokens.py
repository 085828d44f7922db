"""Tokens that GitHub no longer takes, by API and by git, cost one look and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.domain.errors import UnavailableError
from bot.domain.jobs import Failed
from tests.world.driver import driven

pytestmark = pytest.mark.slow


def test_a_revoked_token_is_asked_for_anew(tmp_path: Path) -> None:
    with driven(tmp_path) as driver:
        stage = driver.stage
        driver.look_first()
        digest = driver.build(stage.source, stage.commit("develop"))
        stage.github.state.tokens.clear()
        for _ in range(2):  # the engine tries again what the API refused
            driver.run(driver.propose("dev"))
        driver.ran.clear()
        driver.run(driver.propose("dev"))
        assert not [one for one in driver.ran if isinstance(one[1], Failed)]
        assert driver.shown("dev") == digest


def test_git_itself_renews_what_it_was_refused(tmp_path: Path) -> None:
    with driven(tmp_path) as driver:
        stage, mirrors = driver.stage, driver.ports.mirrors
        repository = driver.look().repository
        stage.github.state.tokens.clear()
        head = stage.dana.push(stage.manifests, "main", {"README.md": "new"})
        mirror = mirrors.of(repository)
        mirror.refresh()
        assert mirror.heads()["main"] == head


def test_what_is_refused_with_a_new_token_too_is_not_tried_for_ever(tmp_path: Path) -> None:
    with driven(tmp_path) as driver:
        stage = driver.stage
        repository = driver.look().repository
        mirror = driver.ports.mirrors.of(repository)
        installation = next(iter(stage.github.state.installations.values()))
        stage.github.suspend(installation)
        with pytest.raises(UnavailableError):
            mirror.refresh()
        stage.github.unsuspend(installation)
        mirror.refresh()
