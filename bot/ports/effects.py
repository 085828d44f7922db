"""Effects: what changes the world outside is marked and named; all other methods only look.

The names are the list of effects: `bot.workflows` journals each, and the tests kill the
process before, after and behind every one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")


R = TypeVar("R")


EFFECT_ATTRIBUTE: Final = "__lockkeeper_effect__"


def effect(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a port's method as an effect with a name that people read in the audit."""

    def mark(method: Callable[P, R]) -> Callable[P, R]:
        setattr(method, EFFECT_ATTRIBUTE, name)
        return method

    return mark
