"""Answers of GitHub that are errors; raised anywhere in the world, rendered by the server."""

from __future__ import annotations

from typing import Any

DOCUMENTATION = "https://docs.github.com/rest"


class ApiError(Exception):
    """One answer that ends a request early: status, message, ``errors`` of a 422, ``location``."""

    def __init__(
        self,
        status: int,
        message: str,
        errors: list[dict[str, str]] | list[str] | None = None,
        *,
        location: str | None = None,
    ) -> None:
        """Keep what the server renders."""
        super().__init__(message)
        self.status, self.message, self.errors = status, message, errors
        self.location = location

    def body(self) -> dict[str, Any]:
        """Return the JSON body (octokit schemas ``basic-error`` and ``validation-error``)."""
        body: dict[str, Any] = {
            "message": self.message,
            "documentation_url": DOCUMENTATION,
            "status": str(self.status),
        }
        if self.errors is not None:
            body["errors"] = self.errors
        return body


def not_found() -> ApiError:
    """Answer 404, also for what exists but may not be seen (docs: Troubleshooting the REST API)."""
    return ApiError(404, "Not Found")


def moved(full_name: str) -> ApiError:
    """Say where a renamed repository is; the server makes the status and the address of it."""
    return ApiError(301, "Moved Permanently", location=full_name)


def unauthorized(message: str = "Bad credentials") -> ApiError:
    """Answer 401."""
    return ApiError(401, message)


def forbidden(message: str) -> ApiError:
    """Answer 403."""
    return ApiError(403, message)


def not_allowed(message: str) -> ApiError:
    """Answer 405, GitHub's status for a pull request that cannot be merged."""
    return ApiError(405, message)


def conflict(message: str) -> ApiError:
    """Answer 409."""
    return ApiError(409, message)


def unprocessable(message: str) -> ApiError:
    """Answer 422 with a message alone."""
    return ApiError(422, message)


def refused(*errors: str) -> ApiError:
    """Answer 422 with plain texts (octokit schema ``validation-error-simple``)."""
    return ApiError(422, "Unprocessable Entity", list(errors))


def invalid(resource: str, field: str, code: str, message: str = "") -> ApiError:
    """Answer 422 ``Validation Failed`` with one entry (docs: Validation Failed, error codes)."""
    entry = {"resource": resource, "field": field, "code": code}
    if message:
        entry["message"] = message
    return ApiError(422, "Validation Failed", [entry])
