"""One request to GitHub: sent once, its answer classified, nothing of it in error texts.

Contract. Nothing is retried here: a request that may be repeated is repeated by the engine, which
looks first. PyGithub carries the request with its own retries and pacing switched off (its
defaults repeat a POST that was answered 502 after it was stored, and follow no 307). A PyGithub
client is used by one thread at a time (`clients`): clients shared by threads swap requests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

import github
import requests

from bot.adapters.github.clients import Clients
from bot.adapters.github.pace import Pace
from bot.adapters.github.remembered import Kept, Remembered
from bot.domain.errors import (
    LimitExceededError,
    LockkeeperError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from bot.ports.clock import Clock

GRAPHQL: Final = "/graphql"
"""Stands for the GraphQL endpoint, which GHES serves beside the REST API's root."""
APP: Final = "the App"
"""Whose budget is used by what the App asks as itself."""
_TIMEOUT: Final = 15  # seconds
_API_VERSION: Final = "2022-11-28"
_SECONDARY_LIMIT_SECONDS: Final = 60.0  # GitHub, "Rate limits for the REST API"
_PAGES: Final = 20
WINDOW: Final = 100 * _PAGES
"""Items of a list that are read at most from one end."""
_PASSING: Final = frozenset({408, 409, 425, 429})
"""Refusals that another attempt may not meet."""
_NO_API: Final = (
    "without JSON: something else answers there; check LOCKKEEPER_GITHUB_URL and proxies"
)


class GitHubRefusedError(RejectedError):
    """GitHub understood the request and will not do it."""

    def __init__(self, request: str, status: int, message: str) -> None:
        """Name the request, the HTTP status and GitHub's own words (shortened)."""
        super().__init__(f"GitHub refused {request}: {status} {message}")
        self.request, self.status, self.message = request, status, message


class StaleTokenError(UnavailableError):
    """GitHub no longer takes the token: revoked, or the installation changed."""

    def __init__(self, request: str) -> None:
        """Name the request."""
        super().__init__(f"GitHub no longer takes the token of {request}")
        self.request = request


class AccountToken(github.Auth.Token):
    """A token of the installation on an account, whose budget it uses."""

    def __init__(self, account: str, text: str) -> None:
        """Name the account (in any spelling)."""
        super().__init__(text)
        self.account = account.lower()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    data: Any


@dataclass(frozen=True)
class Calls:
    """Requests to one API."""

    api_url: str
    clock: Clock
    timeout: int = _TIMEOUT
    """Seconds without a byte after which an answer is given up."""

    @cached_property
    def _pace(self) -> Pace:
        host = urlsplit(self.api_url).hostname or ""
        return Pace(self.clock, host == "api.github.com" or host.endswith(".ghe.com"))

    @cached_property
    def _remembered(self) -> Remembered:
        return Remembered()

    @cached_property
    def _clients(self) -> Clients:
        return Clients(self._new_client)

    def _new_client(self, authentication: github.Auth.Auth) -> github.Github:
        return github.Github(
            auth=authentication,
            base_url=self.api_url,
            timeout=self.timeout,
            per_page=100,
            retry=0,
            seconds_between_requests=None,
            seconds_between_writes=None,
            lazy=True,
            user_agent="lockkeeper",
        )

    def silence(self, account: str, seconds: float) -> None:
        """Send nothing for the installation on an account for a while."""
        self._pace.silence(account.lower(), seconds)

    def send(
        self,
        authentication: github.Auth.Auth,
        verb: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        allow: tuple[int, ...] = (),
    ) -> Answer:
        """Send one request.

        Args:
            authentication: A token or JWT.
            verb: The HTTP method.
            path: Below the API's root; variable parts already quoted with `quoted`.
            query: Query parameters.
            body: JSON.
            allow: Statuses from 400 on that are answers here, not errors.
        """
        request = f"{verb} {path}"
        account = authentication.account if isinstance(authentication, AccountToken) else APP
        self._pace.admit(account, request)
        key = authentication.token, path, tuple(sorted((query or {}).items()))
        known = self._remembered.get(key) if verb == "GET" else None
        extra = {"If-None-Match": known.etag} if known else {}
        try:
            with self._clients.lent(authentication) as client:
                status, headers, text = client.requester.requestJson(
                    verb,
                    client.requester.graphql_url if path == GRAPHQL else path,
                    parameters=dict(query) if query else None,
                    headers={"X-GitHub-Api-Version": _API_VERSION, **extra},
                    input=body,
                )
        except (requests.RequestException, OSError) as error:
            raise UnavailableError(f"GitHub does not answer {request}") from error
        if known and status == HTTPStatus.NOT_MODIFIED:
            status, headers, text = 200, {**known.headers, **headers}, known.text
        elif verb == "GET" and status == HTTPStatus.OK:
            self._remembered.put(key, Kept(headers.get("etag", ""), headers, text))
        data = _parsed(text, request, None if status in allow else status)
        answer = Answer(status, headers, data)
        self._pace.heard(account, headers)
        wait = self._rate_limited(answer)
        if wait is not None:  # whatever a refusal would mean here, this is none
            self._pace.silence(account, wait)
            raise UnavailableError(f"GitHub's rate limit stops {request}", retry_after=wait)
        if status >= HTTPStatus.MULTIPLE_CHOICES and status not in allow:
            raise self._error(answer, request)
        return answer

    def pages(
        self,
        authentication: github.Auth.Auth,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        whole: bool = True,
        within: str = "",
    ) -> Iterator[Any]:
        """Every item of a list, page by page, following ``Link`` by its page number only.

        Raises LimitExceededError for a list that is longer; without ``whole`` its beginning is
        enough, as where the newest come first. Some lists stand ``within`` an object, by this key.
        """
        parameters = {"per_page": "100", **(query or {})}
        for _ in range(_PAGES):
            answer = self.send(authentication, "GET", path, query=parameters)
            yield from answer.data[within] if within else answer.data
            following = _next(answer.headers.get("link", ""))
            if not following:
                return
            parameters |= following
        if whole:
            raise LimitExceededError(f"GitHub's list GET {path}", f"{_PAGES} pages of 100")

    def newest_pages(self, authentication: github.Auth.Auth, path: str) -> list[Any]:
        """The end of a list that has the oldest first, in its order: the last pages of it."""
        first = self.send(authentication, "GET", path, query={"per_page": "100"})
        named = _numbered(first.headers.get("link", ""), "last").get("page", "1")
        last = int(named) if named.isdecimal() else 1
        found = [] if last > _PAGES else list(first.data)
        for page in range(max(2, last - _PAGES + 1), last + 1):
            query = {"per_page": "100", "page": str(page)}
            found += self.send(authentication, "GET", path, query=query).data
        return found

    def _error(self, answer: Answer, request: str) -> LockkeeperError:
        """What a refusal means, by GitHub's documentation of its rate limits and errors."""
        message = message_of(answer.data)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            return StaleTokenError(request)
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status in _PASSING:
            return UnavailableError(f"GitHub cannot answer {request} now: {answer.status}")
        if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:  # renamed, moved
            return GitHubRefusedError(request, answer.status, "the repository has moved")
        if answer.status in {404, 410}:
            return NotFoundError(request, "GitHub (or the App may not see it)")
        missing = answer.headers.get("x-accepted-github-permissions", "")
        if answer.status == HTTPStatus.FORBIDDEN and missing:
            message += f" (needs {missing[:100]})"
        return GitHubRefusedError(request, answer.status, message)

    def _rate_limited(self, answer: Answer) -> float | None:
        """Seconds of silence that GitHub asks for; None: it does not."""
        if answer.status not in {403, 429}:
            return None
        after = answer.headers.get("retry-after", "")
        if after.isdigit():
            return float(after)
        if answer.headers.get("x-ratelimit-remaining") == "0":
            reset = answer.headers.get("x-ratelimit-reset", "")
            seconds = float(reset) - self.clock.now().timestamp() if reset.isdigit() else 0.0
            return max(1.0, seconds + 1)
        too_many = answer.status == HTTPStatus.TOO_MANY_REQUESTS
        limited = too_many or "rate limit" in message_of(answer.data).lower()
        return _SECONDARY_LIMIT_SECONDS if limited else None


def quoted(text: str) -> str:
    """A path parameter; slashes stay (git refs and file paths)."""
    return quote(text, safe="/")


def _parsed(text: str, request: str, status: int | None) -> Any:  # noqa: ANN401 - JSON of any shape
    """The body; what is no JSON is nothing where a refusal is an answer (None), else no answer.

    A refusal (400 to 499) without JSON comes from something before the API or beside it. That
    does not pass by waiting, so it is told.
    """
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        if status is None:
            return None
        if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            if status in _PASSING or status == HTTPStatus.UNAUTHORIZED:
                return None
            raise GitHubRefusedError(request, status, _NO_API) from error
        raise UnavailableError(f"GitHub answered {request} with something else") from error


def message_of(data: object) -> str:
    """GitHub's own words: they name fields and rules, never secrets; shortened all the same."""
    if not isinstance(data, dict):
        return ""
    errors = data.get("errors")
    texts = [data.get("message", "")]
    texts += [
        error.get("message", "") if isinstance(error, dict) else error
        for error in (errors if isinstance(errors, list) else [])
    ]
    return "; ".join(str(text)[:200] for text in texts if text)


def cursor_of(link: str) -> str:
    """The cursor of ``rel="next"``; empty where the list ends."""
    return _next(link).get("cursor", "")


def _next(link: str) -> dict[str, str]:
    """Page parameters of ``rel="next"``; the link's host and path are never followed."""
    return _numbered(link, "next")


def _numbered(link: str, relation: str) -> dict[str, str]:
    """Page parameters of a relation; empty where the header has none."""
    for part in link.split(","):
        target, _, said = part.partition(";")
        if f'rel="{relation}"' in said:
            pairs = parse_qsl(urlsplit(target.strip(" <>")).query)
            return {name: value for name, value in pairs if name in {"page", "after", "cursor"}}
    return {}
