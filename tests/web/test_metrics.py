"""Who may read the figures."""

from __future__ import annotations

import pytest
from flask import Flask

from bot.web.metrics import answers_counted, metrics_page

TOKEN = "a-token-of-32-characters-or-more"  # noqa: S105 - of this test alone


def board(token: str | None = None) -> Flask:
    app = Flask("board", static_folder=None)
    page = metrics_page(
        lambda: b"lockkeeper_ready 1.0\n", "text/plain", token=token, host="board.example.com"
    )
    app.register_blueprint(page)
    return app


def ask(
    app: Flask, *, sender: str = "127.0.0.1", host: str = "127.0.0.1:8081", **headers: str
) -> tuple[int, str]:
    answer = app.test_client().get(
        "/metrics",
        headers={"Host": host, **{name.title(): one for name, one in headers.items()}},
        environ_base={"REMOTE_ADDR": sender},
    )
    return answer.status_code, answer.text


def test_loopback_reads_them_without_a_token() -> None:
    assert ask(board()) == (200, "lockkeeper_ready 1.0\n")


@pytest.mark.parametrize("sender", ["10.0.0.7", "::ffff:10.0.0.7", ""])
def test_nobody_else_does_and_the_way_out_is_named(sender: str) -> None:
    status, said = ask(board(), sender=sender)

    assert status == 403
    assert "LOCKKEEPER_METRICS_TOKEN_FILE" in said
    assert "lockkeeper_ready" not in said


def test_a_name_that_somebody_gave_this_address_reads_nothing() -> None:
    assert ask(board(), host="evil.example.com")[0] == 421


def test_a_forwarded_address_is_nobody() -> None:
    app = board()
    spoofed = {"x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1"}

    assert ask(app, sender="10.0.0.7", **spoofed)[0] == 403


def test_whoever_sends_the_token_reads_them_from_anywhere_under_any_name() -> None:
    sent = {"authorization": f"Bearer {TOKEN}"}

    assert ask(board(TOKEN), sender="10.0.0.7", host="10.0.0.3:8081", **sent)[0] == 200


@pytest.mark.parametrize(
    "sent", ["", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ", "Basic eDp5", "é"]
)
def test_where_there_is_a_token_another_one_reads_nothing_even_here(sent: str) -> None:
    status, said = ask(board(TOKEN), authorization=sent)

    assert status == 401
    assert TOKEN not in said
    assert "lockkeeper_ready" not in said


def test_every_answer_is_counted_by_its_status() -> None:
    app, counted = board(), list[str]()
    answers_counted(app, counted.append)

    ask(app)
    ask(app, sender="10.0.0.7")
    app.test_client().get("/nothing")

    assert counted == ["200", "403", "404"]
