"""Parts of documents that others define: lax structs, and times as tools write them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Annotated, Final

import msgspec

_TIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)


class Lax(msgspec.Struct, gc=False):
    """A struct of a document that others define: extra keys are left out."""


# Go writes null for an empty list or string; absent and null mean the same in these documents.
Text = str | None
Count = Annotated[int, msgspec.Meta(ge=0)]


@lru_cache(4096)
def moment(text: str | None) -> datetime | None:
    """A time as tools write it: with nanoseconds, ``Z``, an offset, or none (UTC); else None."""
    found = _TIME.match(text or "")
    if found is None:
        return None
    offset = (found[3] or "Z").replace("Z", "+00:00")
    try:
        return datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00:00'}{offset}").astimezone(
            UTC
        )
    except (ValueError, OverflowError):
        return None


@lru_cache(4096)
def day(text: str | None) -> date | None:
    """The date of a time, in UTC; None if there is none."""
    at = moment(text)
    return at.date() if at else None
