"""Webhooks on their way out: signed, logged, delivered by a thread, redelivered on request.

As on GitHub: one attempt per delivery, no order promised, never a redelivery by itself, the same
GUID when somebody asks for one (docs: "Handling failed webhook deliveries", "Redelivering
webhooks"). What goes wrong on the way is chosen by a test: lost, dropped, doubled, held back.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import requests

from tests.world.github.clock import Clock, stamp
from tests.world.github.records import App

TIMEOUT = 10.0
"""Seconds that GitHub waits for an answer (docs: "Best practices for using webhooks")."""

Json = dict[str, Any]
Accident = Literal["lose", "drop", "duplicate"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to deliver one event, as the delivery log keeps it."""

    id: int
    guid: str
    app: App = field(repr=False)
    event: str
    action: str | None
    installation_id: int | None
    repository_id: int | None
    body: bytes = field(repr=False)
    redelivery: bool = False
    delivered_at: datetime | None = None
    duration: float = 0.0
    status: str = ""
    status_code: int = 0
    response_headers: dict[str, str] = field(default_factory=dict)
    response_body: str = ""

    @property
    def payload(self) -> Json:
        """The payload, parsed."""
        parsed: Json = json.loads(self.body)
        return parsed

    def headers(self) -> dict[str, str]:
        """Return the headers of the request (docs: "Webhook events and payloads")."""
        signature = hmac.new(self.app.webhook_secret.encode(), self.body, hashlib.sha256)
        return {
            "Accept": "*/*",
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/lockkeeper",
            "X-GitHub-Delivery": self.guid,
            "X-GitHub-Event": self.event,
            "X-GitHub-Hook-ID": str(self.app.id),
            "X-GitHub-Hook-Installation-Target-ID": str(self.app.id),
            "X-GitHub-Hook-Installation-Target-Type": "integration",
            "X-Hub-Signature-256": f"sha256={signature.hexdigest()}",
        }

    def shown(self) -> Json:
        """Return the entry of the delivery list (octokit schema ``hook-delivery-item``)."""
        return {
            "id": self.id,
            "guid": self.guid,
            "delivered_at": None if self.delivered_at is None else stamp(self.delivered_at),
            "redelivery": self.redelivery,
            "duration": round(self.duration, 2),
            "status": self.status,
            "status_code": self.status_code,
            "event": self.event,
            "action": self.action,
            "installation_id": self.installation_id,
            "repository_id": self.repository_id,
            "throttled_at": None,
        }

    def shown_whole(self) -> Json:
        """Return the delivery with request and response (octokit schema ``hook-delivery``)."""
        return self.shown() | {
            "url": self.app.webhook_url,
            "request": {"headers": self.headers(), "payload": self.payload},
            "response": {"headers": self.response_headers, "payload": self.response_body},
        }


@dataclass(slots=True)
class _Rule:
    accident: Accident
    event: str | None
    action: str | None
    times: int

    def meets(self, delivery: Delivery) -> bool:
        return (
            self.times > 0
            and self.event in {None, delivery.event}
            and self.action in {None, delivery.action}
        )


class Webhooks:
    """The delivery thread, its log, and the accidents that a test asked for."""

    def __init__(
        self, clock: Clock, new_id: Callable[[], int], watch: Callable[[str, Json], None]
    ) -> None:
        """Prepare; nothing is sent before ``start``; ``watch`` sees every event and payload."""
        self._clock, self._new_id, self._watch = clock, new_id, watch
        self._changed = threading.Condition()
        self._queue: deque[Delivery] = deque()
        self._held: list[Delivery] | None = None
        self._busy = False
        self._running = False
        self._thread: threading.Thread | None = None
        self._rules: list[_Rule] = []
        self.log: list[Delivery] = []
        """Every attempt that GitHub knows of, oldest first."""
        self.sent: list[Delivery] = []
        """Every event as it was emitted, also of an App without webhooks, oldest first."""

    def start(self) -> None:
        """Begin to deliver."""
        self._running = True
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop delivering; what waits is kept."""
        with self._changed:
            self._running = False
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    # --- accidents --------------------------------------------------------------------------

    def lose(self, event: str | None = None, action: str | None = None, times: int = 1) -> None:
        """Let the next matching deliveries fail on the way: logged as failed, redeliverable."""
        self._rules.append(_Rule("lose", event, action, times))

    def drop(self, event: str | None = None, action: str | None = None, times: int = 1) -> None:
        """Let the next matching events vanish: not even the delivery log knows them."""
        self._rules.append(_Rule("drop", event, action, times))

    def duplicate(
        self, event: str | None = None, action: str | None = None, times: int = 1
    ) -> None:
        """Send the next matching deliveries twice, with one GUID."""
        self._rules.append(_Rule("duplicate", event, action, times))

    def hold(self) -> None:
        """Keep back everything from now on until ``release``."""
        with self._changed:
            self._held = self._held or []

    def release(self, order: Callable[[list[Delivery]], list[Delivery]] | None = None) -> None:
        """Deliver what was kept back; ``order`` may permute it."""
        with self._changed:
            held, self._held = self._held or [], None
            self._queue.extend(order(held) if order else held)
            self._changed.notify_all()

    # --- in and out -------------------------------------------------------------------------

    def enqueue(
        self,
        app: App,
        event: str,
        payload: Json,
        installation_id: int | None,
        repository_id: int | None,
    ) -> None:
        """Queue an event for an App; the payload is frozen now."""
        delivery = Delivery(
            id=self._new_id(),
            guid=str(uuid.uuid4()),
            app=app,
            event=event,
            action=payload.get("action"),
            installation_id=installation_id,
            repository_id=repository_id,
            body=json.dumps(payload).encode(),
        )
        self._watch(event, payload)
        self.sent.append(delivery)
        if app.webhook_active:
            self._add(delivery)

    def redeliver(self, delivery: Delivery) -> None:
        """Queue a logged delivery again: new id, same GUID, same body."""
        self._add(replace(delivery, id=self._new_id(), redelivery=True))

    def wait_until_delivered(self, timeout: float = 10.0) -> None:
        """Wait until nothing is queued or under way (what is held back does not count).

        Raises:
            TimeoutError: after ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._queue and not self._busy, timeout):
                raise TimeoutError(f"{len(self._queue)} webhooks are still waiting")

    def _add(self, delivery: Delivery) -> None:
        with self._changed:
            (self._queue if self._held is None else self._held).append(delivery)
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._queue) or not self._running)
                if not self._running:
                    return
                delivery = self._queue.popleft()
                self._busy = True
            try:
                self._handle(delivery)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _accident(self, delivery: Delivery) -> Accident | None:
        rule = next((rule for rule in self._rules if rule.meets(delivery)), None)
        if rule is None:
            return None
        rule.times -= 1
        return rule.accident

    def _handle(self, delivery: Delivery) -> None:
        match self._accident(delivery):
            case "drop":
                return
            case "lose":
                failed = replace(delivery, status="failed to connect to host", status_code=502)
                self.log.append(replace(failed, delivered_at=self._clock()))
            case "duplicate":
                self.log.append(self._attempt(delivery))
                self.log.append(self._attempt(replace(delivery, id=self._new_id())))
            case None:
                self.log.append(self._attempt(delivery))

    def _attempt(self, delivery: Delivery) -> Delivery:
        began = time.monotonic()
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.post(
                    delivery.app.webhook_url,
                    data=delivery.body,
                    headers=delivery.headers(),
                    timeout=TIMEOUT,
                    allow_redirects=False,
                )
        except requests.Timeout:
            outcome = replace(delivery, status="timed out", status_code=504)
        except requests.RequestException:
            outcome = replace(delivery, status="failed to connect to host", status_code=502)
        else:
            outcome = replace(
                delivery,
                status="OK" if answer.ok else f"Invalid HTTP Response: {answer.status_code}",
                status_code=answer.status_code,
                response_headers=dict(answer.headers),
                response_body=answer.text,
            )
        took = time.monotonic() - began
        return replace(outcome, delivered_at=self._clock(), duration=took)
