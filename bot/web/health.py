"""The listener for the operator: is the process alive, can it work."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Flask, Response


def create_board(
    reason_not_ready: Callable[[], str], remarks: Callable[[], Sequence[str]] = tuple
) -> Flask:
    """``/healthz`` and ``/readyz``; the board's other pages are registered on the result.

    Args:
        reason_not_ready: why the process cannot work now; empty if it can. It is shown.
        remarks: what is not in order though, one line each. They are shown below.
    """
    app = Flask("lockkeeper-board", static_folder=None)

    @app.get("/healthz")
    def healthz() -> Response:
        return _text("alive", 200)

    @app.get("/readyz")
    def readyz() -> Response:
        reason = reason_not_ready()
        lines = [reason or "ready", *remarks()]
        return _text("\n".join(lines), 503 if reason else 200)

    return app


def _text(lines: str, status: int) -> Response:
    return Response(f"{lines}\n", status, mimetype="text/plain")
