"""Messages over real HTTP: by apprise to a service, and signed to a webhook."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from bot.adapters.courier import Courier
from bot.domain.errors import RejectedError, UnavailableError
from bot.domain.notices import Event, Notice, Sink
from bot.formats.notice_row import DELIVERY_HEADER, SIGNATURE_HEADER, signature

pytest.importorskip("apprise")
# The library looks for a module that Python 3.13 has dropped.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

NOTICE = Notice(
    Event.FAILED, "acme/deploy", "prod", "payments", "1", "no such key", "https://github.com/x"
)
SECRET = "a-secret-of-the-webhook"  # noqa: S105 - of this test alone


@dataclass(frozen=True)
class Clock:
    def now(self) -> datetime:
        return datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass
class Listener:
    """Somebody who takes messages, or does not."""

    port: int = 0
    status: int = 200
    heard: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            found.heard.append((self.path, dict(self.headers), body))
            self.send_response(found.status)
            if found.status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield found
        server.shutdown()
        thread.join(10)


def service(listener: Listener) -> Sink:
    return Sink("ops", url=f"json://user:token-of-ops@127.0.0.1:{listener.port}/hook")


def webhook(listener: Listener) -> Sink:
    return Sink("hook", webhook=f"http://127.0.0.1:{listener.port}/hook", secret=SECRET)


def test_a_service_gets_one_message_as_text(listener: Listener) -> None:
    Courier(Clock()).carry(service(listener), [NOTICE])

    ((path, _, body),) = listener.heard
    said = json.loads(body)
    assert path == "/hook"
    assert said["title"] == "payments cannot go on in prod (acme/deploy)"
    assert said["message"] == "no such key\nhttps://github.com/x"


def test_a_webhook_gets_a_document_that_only_who_has_the_secret_can_have_signed(
    listener: Listener,
) -> None:
    Courier(Clock()).carry(webhook(listener), [NOTICE])

    ((_, headers, body),) = listener.heard
    assert headers[SIGNATURE_HEADER] == signature(body, SECRET)
    assert headers[SIGNATURE_HEADER] != signature(body + b" ", SECRET)
    assert json.loads(body) == {
        "at": "2026-11-20T12:00:00+00:00",
        "notices": [
            {
                "event": "failed",
                "manifests": "acme/deploy",
                "environment": "prod",
                "application": "payments",
                "title": "payments cannot go on in prod",
                "text": "no such key",
                "link": "https://github.com/x",
            }
        ],
    }


def test_a_message_that_comes_twice_is_known_by_its_id(listener: Listener) -> None:
    for _ in range(2):
        Courier(Clock()).carry(webhook(listener), [NOTICE])

    first, second = (headers[DELIVERY_HEADER] for _, headers, _ in listener.heard)
    assert first == second


@pytest.mark.parametrize("kind", [service, webhook])
@pytest.mark.parametrize("status", [302, 404, 500])
def test_what_was_not_taken_is_said_by_the_name_of_the_sink_alone(
    kind: Callable[[Listener], Sink], status: int, listener: Listener
) -> None:
    listener.status = status

    with pytest.raises(UnavailableError) as raised:
        Courier(Clock()).carry(kind(listener), [NOTICE])

    assert "of sink" in str(raised.value)
    for secret in ("token-of-ops", SECRET, str(listener.port)):
        assert secret not in str(raised.value)
    assert {path for path, _, _ in listener.heard} == {"/hook"}


def test_a_url_of_no_service_is_known_at_the_start() -> None:
    with pytest.raises(RejectedError, match="sink ops is of no service") as raised:
        Courier(Clock()).check(Sink("ops", url="slak://secret-token"))

    assert "secret-token" not in str(raised.value)
