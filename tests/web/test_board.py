"""The board of a real process: pages on one listener, webhooks on the other, nothing on both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from bot.formats.assessment_document import render_assessment
from bot.ports.record import StoredEvaluation
from tests.evidence_bodies import AT, KEPT
from tests.world.local_bot import running_local_bot
from tests.world.stage import Bot
from tests.world.tools import free_port

pytestmark = pytest.mark.slow

ID = "0123456789abcdef0123456789"


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    files = {"policy.yaml": "version: 1\nenvironments: {}\n"}
    with running_local_bot(tmp_path, files) as local:
        kept = local.ports.evaluations
        assert kept is not None
        document = render_assessment(KEPT["blocked"]())
        kept.record(StoredEvaluation(ID, "stage", "shop", AT, "fail", document))
        board = f"127.0.0.1:{free_port()}"
        environment = {
            "PATH": os.environ["PATH"],
            **local.settings,
            "LOCKKEEPER_LISTEN": f"127.0.0.1:{free_port()}",
            "LOCKKEEPER_BOARD_LISTEN": board,
        }
        found = Bot(environment, tmp_path / "bot.log", board)
        found.start()
        yield found
        assert found.stop() == 0


def test_the_page_is_on_the_board_and_nowhere_else(bot: Bot) -> None:
    page = requests.get(f"http://{bot.board}/promotions/{ID}", timeout=10)
    public = bot.environment["LOCKKEEPER_LISTEN"]

    assert page.status_code == 200
    assert "<title>shop to stage: Blocked</title>" in page.text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert requests.get(f"http://{public}/promotions/{ID}", timeout=10).status_code == 404
    document = requests.get(f"http://{bot.board}/promotions/{ID}.json", timeout=10)
    assert document.json()["verdict"] == "fail"
    posted = requests.post(f"http://{bot.board}/promotions/{ID}", timeout=10)
    assert posted.status_code == 405
