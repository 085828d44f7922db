"""``GET /metrics``: this process in figures, for Prometheus.

They name environments, repositories and registries, so they are not for everybody: without a
token they answer to loopback alone, with one to whoever sends it (``authorization`` of a scrape
configuration), from wherever.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from flask import Blueprint, Flask, Response, request

from bot.web.callers import is_loopback, is_named

_PLAIN: Final = "text/plain"


def metrics_page(
    text: Callable[[], bytes], content_type: str, *, token: str | None, host: str = ""
) -> Blueprint:
    """The page, to be registered on the board.

    Args:
        text: makes the figures of now.
        content_type: of them.
        token: who sends it may read them; None: whoever asks from this machine.
        host: the name by which a proxy is reached; beside it the machine's own names count.
    """
    page = Blueprint("metrics", __name__)

    @page.get("/metrics")
    def metrics() -> Response:
        refusal = _refusal(token, host)
        return refusal or _kept_back(Response(text(), content_type=content_type))

    return page


def answers_counted(app: Flask, count: Callable[[str], None]) -> None:
    """Have every answer of an application counted, by its status."""

    @app.after_request
    def counted(response: Response) -> Response:
        count(str(response.status_code))
        return response


def _refusal(token: str | None, host: str) -> Response | None:
    """Why whoever asks gets nothing; None: the figures are for them."""
    if token is not None:
        sent = request.headers.get("Authorization", "")
        # Of equal length in time, whatever was sent.
        if hmac.compare_digest(f"Bearer {token}".encode(), sent.encode()):
            return None
        refused = _line("the token is missing or another one", HTTPStatus.UNAUTHORIZED)
        refused.headers["WWW-Authenticate"] = "Bearer"
        return refused
    if not is_named(request.host, host):
        # A page elsewhere may give its own name this address (DNS rebinding).
        return _line("this name is not the board's", HTTPStatus.MISDIRECTED_REQUEST)
    if is_loopback(request.remote_addr or ""):
        return None
    way_out = "metrics answer on loopback only; set LOCKKEEPER_METRICS_TOKEN_FILE to read them here"
    return _line(way_out, HTTPStatus.FORBIDDEN)


def _line(line: str, status: HTTPStatus) -> Response:
    return _kept_back(Response(f"{line}\n", status, mimetype=_PLAIN))


def _kept_back(response: Response) -> Response:
    """Nobody keeps a copy, and nobody takes it for something else."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
