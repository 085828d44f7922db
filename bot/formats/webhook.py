"""GitHub's webhook payloads, reduced to a hint of where to look.

Nothing of a payload is a fact: whoever acts on a hint reads everything again through the API. So
only ids and names of a known form are kept; what has another form is left out, and a payload
whose shape does not fit its event is refused, because the event's name is not signed.

https://docs.github.com/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Final

import msgspec

from bot.domain.errors import RejectedError
from bot.formats import structs
from bot.formats.nesting import nests_deeper

HANDLED: Final = frozenset(
    {
        "push",
        "create",
        "delete",
        "pull_request",
        "pull_request_review",
        "issue_comment",
        "check_suite",
        "check_run",
        "workflow_run",
        "merge_group",
        "package",
        "registry_package",
        "status",
        "installation",
        "installation_repositories",
        "repository",
    }
)
"""Events that tell where to look; every other one is accepted and ignored."""

_NESTING_LIMIT: Final = 64
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
_LOGIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,98}(?:\[bot\])?")
_WORD: Final = re.compile(r"[a-z_]{1,64}")
_REF_LIMIT: Final = 255


class MalformedWebhookError(RejectedError):
    """A signed body is not the payload of the event that it came as."""

    def __init__(self, event: str, fact: str) -> None:
        """Name the event and what is wrong, without the payload's own words."""
        super().__init__(f"not a {event} payload of GitHub: {fact}")
        self.event, self.fact = event, fact


@dataclass(frozen=True, slots=True)
class WebhookHint:
    """Where to look; empty and 0 where the payload does not say."""

    event: str
    action: str = ""
    repository: str = ""
    """``owner/name``."""
    repository_id: int = 0
    installation: int = 0
    ref: str = ""
    """A whole ref (push, merge group) or a short branch name (the others)."""
    before: str = ""
    after: str = ""
    """The commit that the event is about; zeros where a push deletes."""
    pull_request: int = 0
    comment: int = 0
    check_run: int = 0
    check_app: int = 0
    """The App that made the check run or suite; our own are nothing new."""
    requested: str = ""
    """Which button of a check was pressed."""
    conclusion: str = ""
    sender: str = ""
    sender_type: str = ""


def parse_webhook(event: str, body: bytes) -> WebhookHint:
    """Reduce a payload to its hint; events that are not `HANDLED` are not looked into.

    Raises:
        MalformedWebhookError: it is not JSON, nested deeper than 64, or not this event's.
    """
    if event not in HANDLED:
        return WebhookHint(event)
    _check_nesting(event, body)
    try:
        payload = structs.decode(body, _Payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Without the cause: its text quotes the payload.
        raise MalformedWebhookError(event, "it does not have the shape") from None
    if not _fits(event, payload):
        raise MalformedWebhookError(event, "what the event is about is missing")
    return _hint(event, payload)


def render_hint(hint: WebhookHint) -> str:
    """The hint as JSON, without what is empty."""
    said = {name: value for name, value in asdict(hint).items() if value}
    return msgspec.json.encode(said).decode()


def read_hint(text: str) -> WebhookHint:
    """Read what `render_hint` wrote.

    Raises:
        MalformedWebhookError: it wrote something else.
    """
    try:
        return structs.decode(text, WebhookHint)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        raise MalformedWebhookError("stored", "it is not a hint") from None


def _check_nesting(event: str, body: bytes) -> None:
    # Counted before parsing: a parser that recurses ends the process at some depth.
    if nests_deeper(body, _NESTING_LIMIT):
        raise MalformedWebhookError(event, f"it is nested deeper than {_NESTING_LIMIT}")


class _Id(msgspec.Struct):
    id: int = 0


class _Repository(msgspec.Struct):
    id: int = 0
    full_name: str = ""


class _Sender(msgspec.Struct):
    login: str = ""
    type: str = ""


class _Head(msgspec.Struct):
    ref: str | None = None
    sha: str = ""


class _PullRequest(msgspec.Struct):
    number: int
    head: _Head = msgspec.field(default_factory=_Head)


class _Link(msgspec.Struct):
    url: str | None = None


class _Issue(msgspec.Struct):
    number: int
    pull_request: _Link | None = None


class _Run(msgspec.Struct):
    """A check suite, check run, workflow run or merge group."""

    id: int = 0
    head_sha: str = ""
    head_branch: str | None = None
    head_ref: str | None = None
    conclusion: str | None = None
    app: _Id | None = None


class _Requested(msgspec.Struct):
    identifier: str = ""


class _Payload(msgspec.Struct):
    action: str = ""
    repository: _Repository | None = None
    installation: _Id | None = None
    sender: _Sender | None = None
    ref: str | None = None
    before: str | None = None
    after: str | None = None
    sha: str | None = None
    pull_request: _PullRequest | None = None
    issue: _Issue | None = None
    comment: _Id | None = None
    check_suite: _Run | None = None
    check_run: _Run | None = None
    workflow_run: _Run | None = None
    merge_group: _Run | None = None
    requested_action: _Requested | None = None


def _fits(event: str, payload: _Payload) -> bool:
    """Whether the payload is about what its event is about."""
    if event in {"installation", "installation_repositories"}:
        return payload.installation is not None
    if payload.repository is None or not _REPOSITORY.fullmatch(payload.repository.full_name):
        return False
    match event:
        case "push":
            return all((payload.ref, payload.before, payload.after))
        case "create" | "delete":
            return payload.ref is not None
        case "pull_request" | "pull_request_review":
            return payload.pull_request is not None
        case "issue_comment":
            return payload.issue is not None and payload.comment is not None
        case "check_suite":
            return payload.check_suite is not None
        case "check_run":
            return payload.check_run is not None
        case "workflow_run":
            return payload.workflow_run is not None
        case "merge_group":
            return payload.merge_group is not None
        case "status":
            return payload.sha is not None
        case _:
            return True


def _hint(event: str, payload: _Payload) -> WebhookHint:
    repository = payload.repository or _Repository()
    sender = payload.sender or _Sender()
    run = (
        payload.check_run
        or payload.check_suite
        or payload.workflow_run
        or payload.merge_group
        or _Run()
    )
    head = payload.pull_request.head if payload.pull_request else _Head()
    return WebhookHint(
        event=event,
        action=_formed(_WORD, payload.action),
        repository=_formed(_REPOSITORY, repository.full_name),
        repository_id=max(repository.id, 0),
        installation=max(payload.installation.id, 0) if payload.installation else 0,
        ref=_ref(payload.ref or run.head_ref or run.head_branch or head.ref),
        before=_formed(_COMMIT, payload.before),
        after=_formed(_COMMIT, payload.after or payload.sha or run.head_sha or head.sha),
        pull_request=_pull_request(payload),
        comment=max(payload.comment.id, 0) if payload.comment else 0,
        check_run=max(payload.check_run.id, 0) if payload.check_run else 0,
        check_app=max(run.app.id, 0) if run.app else 0,
        requested=_formed(
            _WORD, payload.requested_action.identifier if payload.requested_action else ""
        ),
        conclusion=_formed(_WORD, run.conclusion),
        sender=_formed(_LOGIN, sender.login),
        sender_type=sender.type if sender.type in ("User", "Bot", "Organization") else "",
    )


def _pull_request(payload: _Payload) -> int:
    if payload.pull_request:
        return max(payload.pull_request.number, 0)
    # A comment on an issue that is no pull request leads nowhere.
    if payload.issue and payload.issue.pull_request is not None:
        return max(payload.issue.number, 0)
    return 0


def _formed(form: re.Pattern[str], text: str | None) -> str:
    return text if text and form.fullmatch(text) else ""


def _ref(text: str | None) -> str:
    return text if text and len(text) <= _REF_LIMIT and text.isprintable() else ""
