"""How an endpoint is declared, what it is given, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

from tests.world.github.errors import ApiError, forbidden, unauthorized
from tests.world.github.permissions import Principal, permit
from tests.world.github.records import Actor, PullRequest, Repository
from tests.world.github.state import State

Json = dict[str, Any]
T = TypeVar("T")

PER_PAGE, MOST_PER_PAGE = 30, 100
"""docs: Using pagination in the REST API."""

MULTI_SEGMENT = {"ref", "branch", "basehead", "path", "name"}
"""Path parameters that may hold slashes (``x-multi-segment`` in the OpenAPI description)."""

APP = "app"
"""The permission of endpoints that want an App's JWT."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, JSON body (None: empty) and extra headers."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated and permitted request."""

    state: State
    principal: Principal
    path: Mapping[str, str]
    """Path parameters, decoded."""
    query: Mapping[str, str]
    body: Any
    url: str
    """Address without the query."""

    @property
    def actor(self) -> Actor:
        """Who acts."""
        return self.principal.actor

    @property
    def repository(self) -> Repository:
        """The repository that the path names."""
        return self.state.repository(f"{self.path['owner']}/{self.path['repo']}")

    @property
    def pull(self) -> PullRequest:
        """The pull request that the path names."""
        return self.repository.pull(self.number("pull_number"))

    def number(self, name: str) -> int:
        """Return a path parameter that is a number; anything else is a 404."""
        value = self.path[name]
        if not value.isdecimal():
            raise ApiError(404, "Not Found")
        return int(value)

    def field(self, name: str) -> Any:  # noqa: ANN401 - JSON has any type
        """Return a required key of the body (docs: Validation Failed, ``missing_field``)."""
        if not isinstance(self.body, dict) or self.body.get(name) is None:
            missing = {"resource": "Request", "field": name, "code": "missing_field"}
            raise ApiError(422, "Validation Failed", [missing])
        return self.body[name]

    def page(
        self, items: Sequence[T], render: Callable[[T], Json], key: str | None = None
    ) -> Answer:
        """Answer with one page of ``items``; ``key`` wraps it with ``total_count``."""
        size = min(self._positive("per_page", PER_PAGE), MOST_PER_PAGE)
        number = self._positive("page", 1)
        last = max(1, -(-len(items) // size))
        shown = [render(item) for item in items[(number - 1) * size : number * size]]
        relations = {
            "prev": number - 1 if number > 1 else None,
            "next": number + 1 if number < last else None,
            "last": last if number < last else None,
            "first": 1 if number > 1 else None,
        }
        body = shown if key is None else {"total_count": len(items), key: shown}
        return Answer(200, body, self._links({k: v for k, v in relations.items() if v}))

    def _positive(self, name: str, default: int) -> int:
        value = self.query.get(name, "")
        return int(value) if value.isdecimal() and int(value) > 0 else default

    def _links(self, relations: Mapping[str, int | None]) -> Mapping[str, str]:
        links = [
            f'<{self.url}?{urlencode({**self.query, "page": str(number)})}>; rel="{relation}"'
            for relation, number in relations.items()
        ]
        return {"Link": ", ".join(links)} if links else {}


Handler = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of the REST API."""

    method: str
    path: str
    """The template of the OpenAPI description, e.g. ``/repos/{owner}/{repo}``."""
    needs: tuple[str, ...]
    """Alternatives, e.g. ``("issues:write", "pull_requests:write")``; ``(APP,)`` for a JWT."""
    people: str | None
    """The role that a person needs in the repository."""
    handle: Handler

    @property
    def rule(self) -> str:
        """The path as a Flask rule."""
        rule = self.path.replace("{", "<").replace("}", ">")
        for name in MULTI_SEGMENT:
            rule = rule.replace(f"<{name}>", f"<path:{name}>")
        return rule

    @property
    def name(self) -> str:
        """A unique name."""
        return f"{self.method} {self.path}"

    @property
    def accepted_permissions(self) -> str:
        """The ``X-Accepted-GitHub-Permissions`` header (docs: Troubleshooting the REST API)."""
        return "; ".join(need.replace(":", "=") for need in self.needs if need != APP)

    def answer(self, call: Call) -> Answer:
        """Check the caller, then do the work."""
        if (APP in self.needs) != call.principal.is_app:
            if call.principal.is_app:
                raise forbidden("Resource not accessible by integration")
            raise unauthorized("A JSON web token could not be decoded")
        permit(call.principal, self.needs, self._repository(call), self.people)
        return self.handle(call)

    def _repository(self, call: Call) -> Repository | None:
        if APP in self.needs or "repo" not in call.path:
            return None
        return call.repository


class Endpoints(list[Endpoint]):
    """The endpoints of one subject, declared by decorating their functions."""

    def add(
        self, method: str, path: str, *needs: str, people: str | None = None
    ) -> Callable[[Handler], Handler]:
        """Declare the decorated function as ``method path``."""

        def declare(handle: Handler) -> Handler:
            self.append(Endpoint(method, path, needs, people, handle))
            return handle

        return declare
