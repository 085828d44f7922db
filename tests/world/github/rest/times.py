"""Times that clients send."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.world.github.errors import unprocessable


def moment(text: str) -> datetime:
    """Parse an ISO 8601 time; without a zone it is UTC."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise unprocessable(f"{text} is not a valid date-time") from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def moment_or_none(text: str | None) -> datetime | None:
    """Parse a time that may be absent."""
    return None if text is None else moment(text)
