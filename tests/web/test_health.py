from __future__ import annotations

import pytest

from bot.web.health import create_board


@pytest.mark.parametrize(
    ("reason", "status", "line"),
    [
        ("", 200, b"ready\n"),
        ("the engine has not started", 503, b"the engine has not started\n"),
    ],
)
def test_readiness_says_why_not(reason: str, status: int, line: bytes) -> None:
    client = create_board(lambda: reason).test_client()

    answer = client.get("/readyz")

    assert (answer.status_code, answer.data) == (status, line)


def test_a_process_that_cannot_work_is_still_alive() -> None:
    client = create_board(lambda: "the database failed").test_client()

    assert client.get("/healthz").status_code == 200
