"""``POST /webhook``: authentic, recorded durably, then 202; nothing else happens in the request.

The body is authenticated before anything looks into it. The headers are not signed: they are
checked for their form, and the event's name must fit the payload. Every request that is not signed
gets the same answer, so that nobody learns which part was wrong; a signed one whose headers are
wrong is told which (GitHub shows it in the App's delivery log). GitHub never delivers
again by itself, but shows a 503 as failed, and what failed is fetched from its delivery log.

https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from flask import Flask, Response, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from bot.domain.errors import UnavailableError
from bot.domain.jobs import Job, JobKind
from bot.formats.webhook import (
    HANDLED,
    MalformedWebhookError,
    WebhookHint,
    parse_webhook,
    render_hint,
)
from bot.ports.jobs import Jobs

BODY_LIMIT: Final = 25 * 1024 * 1024
"""GitHub does not deliver more: webhook-events-and-payloads, "Payload cap"."""
_LOG: Final = logging.getLogger("lockkeeper.webhook")
_SIGNATURE: Final = re.compile(r"sha256=[0-9a-f]{64}")
_TARGET_TYPE: Final = "X-GitHub-Hook-Installation-Target-Type"
_TARGET_ID: Final = "X-GitHub-Hook-Installation-Target-ID"
_JSON: Final = "application/json; set the content type of the App's webhook"
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_EVENT: Final = re.compile(r"[a-z0-9_]{1,64}")
_FORMS: Final = {
    "X-GitHub-Delivery": (_UUID, "an id of GitHub's form"),
    "X-GitHub-Event": (_EVENT, "the name of an event"),
}
"""Headers that must be there: their form, and what it means."""


@dataclass(frozen=True, slots=True)
class Authenticity:
    """Whose webhooks are accepted."""

    app_id: int
    secrets: Sequence[str] = field(repr=False)
    """One, or several while one is rotated; never empty."""

    def __post_init__(self) -> None:
        if not self.secrets or not all(self.secrets):
            raise ValueError("an empty webhook secret would accept everybody")

    def is_signed(self, headers: Headers, body: bytes) -> bool:
        """The body is signed with one of the secrets."""
        signature = headers.get("X-Hub-Signature-256", "")
        signed = False
        for secret in self.secrets:
            digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            # No short cut: the time must not tell which secret is the current one.
            signed |= hmac.compare_digest(f"sha256={digest}".encode(), signature.encode())
        return signed and _SIGNATURE.fullmatch(signature) is not None

    def fault(self, headers: Headers) -> str:
        """Which header keeps a signed request from being a webhook of this App; empty: none.

        Whoever signed it knows the secret: this is said to GitHub, whose delivery log shows it.
        """
        for name, (form, meaning) in _FORMS.items():
            if form.fullmatch(headers.get(name, "")) is None:
                return f"header {name} is {_shown(headers.get(name))}, not {meaning}"
        # A hook of a repository or organisation may share the secret; it is not the App.
        kind = headers.get(_TARGET_TYPE)
        if kind != "integration":
            hint = (
                "this is no webhook of a GitHub App; configure it at the App, not at a repository"
            )
            return f"header {_TARGET_TYPE} is {_shown(kind)}, not integration: {hint}"
        target = headers.get(_TARGET_ID)
        if target != str(self.app_id):
            ours = f"LOCKKEEPER_APP_ID is {self.app_id}"
            return f"header {_TARGET_ID} is {_shown(target)}, and {ours}: another App's webhook"
        return ""


def _shown(value: str | None) -> str:
    """A header for people: short, printable, one line."""
    return "missing" if value is None else repr(value[:60].encode("ascii", "replace").decode())


def create_intake(
    authenticity: Authenticity,
    jobs: Jobs,
    *,
    is_ours: Callable[[WebhookHint], bool] = lambda _: True,
) -> Flask:
    """The application of the listener that faces the internet.

    Args:
        authenticity: whose webhooks are accepted.
        jobs: gets one INTAKE job per webhook delivery: ``subject`` is its id, ``hint`` what
            `bot.formats.webhook.render_hint` wrote.
        is_ours: says whether a repository matters; others are accepted and leave no row, so
            that strangers who install a public App cannot fill the disk.
    """
    app = Flask("lockkeeper-intake", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    accept = _Accept(jobs, is_ours)

    @app.post("/webhook")
    def webhook() -> Response:
        body = request.get_data(cache=False)
        if not authenticity.is_signed(request.headers, body):
            # Nothing else of an unauthentic request is logged: it may say anything.
            fact = "unauthentic: the signature is missing or made with another secret"
            _LOG.warning("webhook refused", extra={"decision": fact})
            return _answer(401)
        if request.mimetype != "application/json":
            return _refused(415, f"header Content-Type is {_shown(request.mimetype)}, not {_JSON}")
        if fault := authenticity.fault(request.headers):
            return _refused(401, fault)
        delivery = request.headers["X-GitHub-Delivery"].lower()
        return _answer(accept(request.headers["X-GitHub-Event"], delivery, body))

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        return _answer(error.code or 500)

    return app


def recorder(
    jobs: Jobs, *, is_ours: Callable[[WebhookHint], bool]
) -> Callable[[str, str, bytes], int]:
    """What records a delivery that is known to be authentic: (event, id, body) -> status."""
    return _Accept(jobs, is_ours)


def create_closed_intake() -> Flask:
    """The same listener of a process that only works: it knows no route."""
    return Flask("lockkeeper-closed", static_folder=None)


@dataclass(frozen=True, slots=True)
class _Accept:
    """Records an authentic webhook delivery; one line of log each."""

    jobs: Jobs
    is_ours: Callable[[WebhookHint], bool]

    def __call__(self, event: str, delivery: str, body: bytes) -> int:
        """Return the status of the answer."""
        started = time.monotonic()
        try:
            status, decision = 202, self._decision(event, delivery, body)
        except MalformedWebhookError as error:
            status, decision = 400, error.fact
        except UnavailableError as error:
            status, decision = 503, str(error)
        _LOG.log(
            logging.INFO if status == 202 else logging.WARNING,  # noqa: PLR2004 - Accepted
            "webhook delivery",
            extra={
                "webhook_delivery": delivery,
                "event": event,
                "decision": decision,
                "seconds": round(time.monotonic() - started, 3),
            },
        )
        return status

    def _decision(self, event: str, delivery: str, body: bytes) -> str:
        hint = parse_webhook(event, body)
        if event not in HANDLED:
            return "ignored: event"
        if not self.is_ours(hint):
            return "ignored: repository"
        job = Job(
            JobKind.INTAKE,
            subject=delivery,
            hint=render_hint(hint),
            # One repository's events are looked at in the order in which they came.
            lane=hint.repository.lower() or f"installation {hint.installation}",
        )
        new = self.jobs.put_once(job, f"webhook {delivery}")
        return "recorded" if new else "known"


def _refused(status: int, fact: str) -> Response:
    """Say which header is at fault, in the log and to GitHub."""
    _LOG.warning("webhook refused", extra={"decision": fact})
    return _answer(status, fact)


def _answer(status: int, fact: str = "") -> Response:
    words = f"{HTTPStatus(status).phrase}{': ' if fact else ''}{fact}\n"
    return Response(words, status, mimetype="text/plain")
