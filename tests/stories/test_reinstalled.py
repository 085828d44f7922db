"""Tokens that GitHub takes back before they end: the App was installed anew, or one was revoked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.world.driver import driven

pytestmark = pytest.mark.slow


def test_git_asks_for_a_new_token_where_the_old_one_is_not_taken_any_more(tmp_path: Path) -> None:
    """What is known of the repository lasts a minute, so nothing but git meets the old token."""
    with driven(tmp_path) as driver:
        driver.look_first()
        stage = driver.stage
        commit = stage.commit("develop")
        stage.github.state.tokens.clear()

        heads = driver.ports.mirrors.of(driver.look().pipeline.applications["payments"].source)

        assert heads.heads()["develop"] == commit
