"""What a registry allows, by what it answers to as little as can be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bot.domain.doctor.environments import Access
from bot.domain.doctor.findings import Known, Look, Unknown
from bot.domain.errors import LockkeeperError, UnavailableError

T = TypeVar("T")


def access(
    read: Callable[[], None], write: Callable[[], None] | None, has_api: Callable[[], bool]
) -> Access:
    """What these three questions answer; where nothing may be read, no more is asked.

    Args:
        read: a tag that nobody has.
        write: an upload that is given back; None: not asked for.
        has_api: the referrers of an image that nobody has.
    """
    pull = _answer(read)
    if isinstance(pull, Unknown) or write is None:
        return Access(pull, None, Unknown("not asked"))
    return Access(pull, _answer(write), _answer(has_api))


def _answer(look: Callable[[], T]) -> Look[T]:
    try:
        return Known(look())
    except LockkeeperError as error:
        return Unknown(str(error), is_refusal=not isinstance(error, UnavailableError))
