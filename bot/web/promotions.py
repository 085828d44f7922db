"""``GET /promotions/<id>``: what was found for a promotion, complete where a body is short.

For people on the operator's listener. Nobody is asked who they are yet, so the pages answer to
loopback alone: an SSH tunnel, or a proxy on the same machine that asks. Every text is escaped by
the template; nothing is executed, loaded or framed (Content-Security-Policy, level 3).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from importlib.resources import files
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

from flask import Blueprint, Response, render_template, request

from bot.domain.errors import IntegrityError, UnavailableError
from bot.domain.evidence import Severity
from bot.domain.policy import words
from bot.formats.assessment_document import AssessmentDocument, read_assessment
from bot.formats.evidence_cells import advisory_url
from bot.formats.markdown import plain
from bot.ports.record import Evaluations, StoredEvaluation

_SENTENCE: Final = 600
"""Characters of a sentence that are shown."""
_ID: Final = re.compile(r"[0-9a-f]{26}")
_SEVERITIES: Final = tuple(severity.word for severity in sorted(Severity, reverse=True))


Explain = Callable[[str, str], tuple[Sequence[str], Mapping[str, str]]]
"""(environment, application) -> where it stands, and who could not be asked -> why."""


def promotion_pages(
    evaluations: Evaluations, *, host: str = "", explain: Explain | None = None
) -> Blueprint:
    """The pages of promotions, to be registered on the board.

    Args:
        evaluations: what was found; shown, never changed.
        explain: says where an application stands now; None: this process cannot.
        host: the name by which a proxy is reached; beside it the machine's own names count.
    """
    pages = Blueprint("promotions", __name__, template_folder="templates")
    style = files("bot.web").joinpath("templates/promotion.css").read_text(encoding="utf-8")
    policy = _content_security_policy(style)

    @pages.before_request
    def refuse_strangers() -> Response | None:
        if not _is_named(request.host, host):
            # A page elsewhere may give its own name this address (DNS rebinding).
            return _line("this name is not the board's", HTTPStatus.MISDIRECTED_REQUEST)
        if _is_loopback(request.remote_addr or ""):
            return None
        way_out = "this page answers on loopback only: use a tunnel, or a proxy that asks who it is"
        return _line(way_out, HTTPStatus.FORBIDDEN)

    @pages.get("/promotions/<promotion>")
    def page(promotion: str) -> Response:
        found = _find(evaluations, promotion)
        if found is None:
            return _line("no such promotion", HTTPStatus.NOT_FOUND)
        stands = _stands(found, explain)
        return _guarded(Response(_html(found, style, stands), mimetype="text/html"), policy)

    @pages.get("/promotions/<promotion>.json")
    def document(promotion: str) -> Response:
        found = _find(evaluations, promotion)
        if found is None:
            return _line("no such promotion", HTTPStatus.NOT_FOUND)
        return _guarded(Response(found.document, mimetype="application/json"), policy)

    @pages.errorhandler(UnavailableError)
    def unavailable(_error: UnavailableError) -> Response:
        return _line("the database does not answer; try again", HTTPStatus.SERVICE_UNAVAILABLE)

    @pages.errorhandler(IntegrityError)
    def damaged(_error: IntegrityError) -> Response:
        lost = "what was kept of it is damaged; the next evaluation replaces it"
        return _line(lost, HTTPStatus.INTERNAL_SERVER_ERROR)

    return pages


def _find(evaluations: Evaluations, promotion: str) -> StoredEvaluation | None:
    return evaluations.evaluation(promotion) if _ID.fullmatch(promotion) else None


def _stands(found: StoredEvaluation, explain: Explain | None) -> Sequence[str]:
    """Where it stands now; what nobody can say is said, too."""
    if explain is None:
        return ["where it stands: `lockkeeper status`"]
    lines, problems = explain(found.environment, found.application)
    unread = [f"{name} cannot be asked: {why}" for name, why in problems.items()]
    return [plain(line, _SENTENCE) for line in [*lines, *unread]]


def _html(found: StoredEvaluation, style: str, stands: Sequence[str]) -> str:
    document = read_assessment(found.document)
    return render_template(
        "promotion.html",
        promotion=found.promotion,
        application=plain(found.application),
        environment=plain(found.environment),
        document=document,
        stands=stands,
        answer=_answer(document),
        stood_before=_stood(document),
        severities=_SEVERITIES,
        advisory_url=advisory_url,
        style=style,
    )


def _answer(document: AssessmentDocument) -> str:
    if not document.has_policy:
        return "Policy not evaluated"
    said = {"pass": "Passes", "warn": "Passes with warnings", "fail": "Blocked"}
    undecided = "Blocked: not evaluated" if document.blocks else "Not evaluated"
    return said.get(document.verdict, undecided)


def _stood(document: AssessmentDocument) -> str:
    stood = document.stood_before
    return "" if stood is None else words(timedelta(seconds=stood))


def _is_named(asked: str, host: str) -> bool:
    """Whether a request's ``Host`` is the board's: its own name, or this machine's."""
    name = (urlsplit(f"//{asked}").hostname or "").lower()
    return name in {"localhost", host.lower()} - {""} or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback


def _content_security_policy(style: str) -> str:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _guarded(response: Response, policy: str) -> Response:
    response.headers["Content-Security-Policy"] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response


def _line(line: str, status: HTTPStatus) -> Response:
    plain = Response(f"{line}\n", status, mimetype="text/plain")
    return _guarded(plain, "default-src 'none'; frame-ancestors 'none'")
