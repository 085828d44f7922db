"""GitHub: is it there, does it know the App and take its key, do its webhooks arrive.

Source: GitHub REST API documentation, "Apps".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from bot.domain.doctor.findings import (
    EVERYTHING,
    About,
    Finding,
    Look,
    Severity,
    Unknown,
)

WANTED_PERMISSIONS: Final[Mapping[str, str]] = {
    "metadata": "read",
    "contents": "write",
    "pull_requests": "write",
    "checks": "write",
    "deployments": "write",
    "issues": "read",
    "members": "read",
    "attestations": "read",
    "merge_queues": "read",
}
"""What `app.yml` asks for; its test holds the two together."""
WANTED_EVENTS: Final = frozenset(
    {
        "push",
        "pull_request",
        "pull_request_review",
        "issue_comment",
        "check_suite",
        "check_run",
        "merge_group",
        "repository",
    }
)
"""What `app.yml` asks for; its test holds the two together."""
_NEEDED: Final = frozenset({"metadata", "contents", "pull_requests", "checks"})
"""Without one of these nothing is promoted."""
_LEVELS: Final = ("", "read", "write", "admin")
CLOCK_TOLERANCE: Final = timedelta(seconds=30)
"""A token of the App says that it was made a minute ago and is taken for ten at most."""
_OK, _UNAUTHORIZED, _NOT_FOUND = 200, 401, 404
_REFUSED: Final = 400
NOBODY_ASKED: Final = 0
"""Stands for a status where the private key could not even sign the question."""
_UNKNOWN_APP: Final = "integration not found"
"""What GitHub says, with 404, to a token of an App that it does not know."""


@dataclass(frozen=True, slots=True)
class AppAnswer:
    """What came back when the App asked who it is (``GET /app``)."""

    status: int
    message: str = ""
    """GitHub's own words where it refused."""
    skew: timedelta | None = None
    """Our clock minus GitHub's; None where the answer had no time."""
    id: int = 0
    slug: str = ""
    permissions: Mapping[str, str] = field(default_factory=dict)
    events: frozenset[str] = frozenset()

    @property
    def is_recognised(self) -> bool:
        """GitHub knows the App and takes its token."""
        return self.status == _OK


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """One entry of the App's delivery log."""

    event: str
    status: int
    """What our side answered; 0 where nobody did."""
    words: str
    """GitHub's words for it, for example ``timed out``."""
    delivered_at: str


@dataclass(frozen=True, slots=True)
class DeliveryLog:
    """The newest deliveries of the App's webhook, newest first, and where they are sent."""

    url: str
    """Empty: the App has no webhook."""
    answers: Sequence[WebhookAnswer]


# --- the App ---


def app_findings(app: Look[AppAnswer], app_id: int, api_url: str) -> Iterator[Finding]:
    """Whether GitHub is there, knows the App, takes its key, and agrees on the time."""
    if isinstance(app, Unknown):
        remedy = "check LOCKKEEPER_GITHUB_API_URL, the network and its proxy"
        yield Finding(About.API, api_url, app.severity, app.reason, remedy, EVERYTHING)
        return
    answer = app.value
    yield from _clock(answer)
    if answer.is_recognised:
        yield Finding(About.API, api_url, Severity.OK, "answers")
        fact = f"App {answer.slug} ({answer.id}), its key is taken"
        yield Finding(About.APP_ID, str(app_id), Severity.OK, fact)
        yield from _rights(answer)
        return
    yield _refused(answer, app_id, api_url)


def _clock(answer: AppAnswer) -> Iterator[Finding]:
    if answer.skew is None:
        return
    seconds = answer.skew.total_seconds()
    if abs(answer.skew) <= CLOCK_TOLERANCE:
        yield Finding(About.CLOCK, "", Severity.OK, f"within {abs(seconds):.0f} s of GitHub's")
        return
    way = "ahead of" if seconds > 0 else "behind"
    fact = f"this machine's clock is {abs(seconds):.0f} s {way} GitHub's"
    remedy = "set the clock (NTP); GitHub takes no token from another time"
    severity = Severity.WARNING if answer.is_recognised else Severity.FAILURE
    yield Finding(About.CLOCK, "", severity, fact, remedy, _stops(severity, EVERYTHING))


def _refused(answer: AppAnswer, app_id: int, api_url: str) -> Finding:
    if answer.status == NOBODY_ASKED:
        return Finding(
            About.APP_KEY,
            str(app_id),
            Severity.FAILURE,
            answer.message,
            "name the file that was downloaded there in LOCKKEEPER_PRIVATE_KEY_FILE",
            EVERYTHING,
        )
    said = f"GitHub answers {answer.status}" + (f" ({answer.message})" if answer.message else "")
    if answer.status == _UNAUTHORIZED:
        return Finding(
            About.APP_KEY,
            str(app_id),
            Severity.FAILURE,
            f"{said} to a token of App {app_id}: the private key is not this App's",
            "make a new private key on the App's settings page and name its file in "
            "LOCKKEEPER_PRIVATE_KEY_FILE; check LOCKKEEPER_APP_ID and the clock",
            EVERYTHING,
        )
    if answer.status == _NOT_FOUND and _UNKNOWN_APP in answer.message.lower():
        return Finding(
            About.APP_ID,
            str(app_id),
            Severity.FAILURE,
            f"{said}: there is no App with the id {app_id}",
            "set LOCKKEEPER_APP_ID to the number on the App's settings page",
            EVERYTHING,
        )
    return Finding(
        About.API,
        api_url,
        Severity.FAILURE,
        f"{said} where it should say who the App is: this is not the root of GitHub's API",
        "check LOCKKEEPER_GITHUB_API_URL: https://api.github.com, or https://HOST/api/v3 on "
        "GitHub Enterprise Server",
        EVERYTHING,
    )


def _stops(severity: Severity, subject: str) -> str:
    return subject if severity is Severity.FAILURE else ""


def _rights(answer: AppAnswer) -> Iterator[Finding]:
    missed = lacking(answer.permissions)
    if missed:
        stops = stops_by(missed, EVERYTHING)
        severity = Severity.FAILURE if stops else Severity.WARNING
        yield Finding(
            About.PERMISSIONS,
            "the App",
            severity,
            f"lacks {listed(missed)}",
            "add it on the App's settings page (app.yml says what each is for), then accept it "
            "on every installation",
            stops,
        )
    else:
        yield Finding(About.PERMISSIONS, "the App", Severity.OK, "all that app.yml asks for")
    missing = sorted(WANTED_EVENTS - answer.events)
    if missing:
        yield Finding(
            About.EVENTS,
            "the App",
            Severity.WARNING,
            f"is not subscribed to {', '.join(missing)}: what they tell is found late",
            "subscribe on the App's settings page, Permissions & events",
        )
    else:
        yield Finding(About.EVENTS, "the App", Severity.OK, "all that app.yml asks for")


def lacking(granted: Mapping[str, str]) -> dict[str, str]:
    """Which of the wanted permissions are not there, with their level."""
    return {
        name: level
        for name, level in WANTED_PERMISSIONS.items()
        if _rank(granted.get(name, "")) < _rank(level)
    }


def _rank(level: str) -> int:
    return _LEVELS.index(level) if level in _LEVELS else 0


def stops_by(missed: Mapping[str, str], subject: str) -> str:
    """Who can do nothing without these permissions; empty: nobody."""
    return subject if _NEEDED & missed.keys() else ""


def listed(permissions: Mapping[str, str]) -> str:
    """Permissions as GitHub writes them."""
    return ", ".join(f"{name}: {level}" for name, level in permissions.items())


# --- webhooks ---


def delivery_findings(log: Look[DeliveryLog], reconcile_seconds: int) -> Iterator[Finding]:
    """How our side answered GitHub's newest webhooks."""
    about, slow = About.DELIVERIES, f"without webhooks everything waits {reconcile_seconds} s"
    if isinstance(log, Unknown):
        yield Finding(about, "", Severity.UNKNOWN, log.reason, "look at the App's Advanced page")
    elif not log.value.url:
        fact = f"the App has no webhook: {slow}"
        remedy = "set the webhook URL on the App's settings page, if GitHub can reach this bot"
        yield Finding(about, "", Severity.WARNING, fact, remedy)
    elif not log.value.answers:
        fact = "GitHub has sent nothing in the last days"
        remedy = "install the App, or push to a repository of it"
        yield Finding(about, log.value.url, Severity.WARNING, fact, remedy)
    else:
        yield _answered(log.value.url, log.value.answers)


def _answered(url: str, answers: Sequence[WebhookAnswer]) -> Finding:
    newest, failed = answers[0], [one for one in answers if not _is_taken(one)]
    counted = f"{len(failed)} of the newest {len(answers)} were not taken"
    if _is_taken(newest):
        if not failed:
            fact = f"the newest {len(answers)} were taken, the last at {newest.delivered_at}"
            return Finding(About.DELIVERIES, url, Severity.OK, fact)
        fact = f"{counted}, the last was"
        remedy = (
            "redeliver them on the App's Advanced page, or wait for the next look at everything"
        )
        return Finding(About.DELIVERIES, url, Severity.WARNING, fact, remedy)
    said = f"{newest.status} {newest.words}".strip()
    fact = f"the newest ({newest.event}, {newest.delivered_at}) was answered {said}; {counted}"
    remedy = f"{_way_out(newest)}; then redeliver it on the App's Advanced page"
    return Finding(About.DELIVERIES, url, Severity.FAILURE, fact, remedy)


def _is_taken(answer: WebhookAnswer) -> bool:
    return 0 < answer.status < _REFUSED


def _way_out(answer: WebhookAnswer) -> str:
    if answer.status == _UNAUTHORIZED:
        return (
            "set LOCKKEEPER_WEBHOOK_SECRET to the secret on the App's settings page; the bot's log "
            "says what was wrong with the request"
        )
    if answer.status == _NOT_FOUND:
        return "end the webhook URL in /webhook, and send it to a process that takes webhooks"
    return "see that GitHub reaches LOCKKEEPER_LISTEN at this URL"
