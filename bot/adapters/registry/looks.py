"""What a look means: the one rule for everything that is asked before it is done.

Registries refuse looks for reasons of their own: a new repository (Quay: 401), what is missing
(Artifactory: 403), a HEAD (405, or 404 whatever is there), storage that is signed for GET (403).
So a look that is not answered is *unknown*: it ends no work, and the write or the read that
follows decides. What a registry itself answers with 2xx or 3xx is there; nobody has to follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bot.adapters.registry.calls import Reply
from bot.adapters.registry.errors import is_missing
from bot.domain.errors import NotGrantedError, RejectedError, UnavailableError
from bot.domain.images import Presence, RegistryRefusesError

_REFUSED: Final = 400  # HTTP: from here on it is no yes


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A look that a registry refused to answer: neither yes nor no."""

    error: RegistryRefusesError
    """To be raised where nothing else can decide."""


def presence(status: int, *, missing: bool) -> Presence:
    """What an answer with this status says."""
    if status < _REFUSED:
        return Presence.THERE
    return Presence.MISSING if missing else Presence.UNKNOWN


def looked(ask: Callable[[], Reply]) -> tuple[Presence, Reply | None]:
    """Ask, and say what the answer means; no answer is none, whatever the reason."""
    try:
        reply = ask()
    except NotGrantedError:
        raise  # nothing was asked: a write would not be, either
    except (RejectedError, UnavailableError):
        return Presence.UNKNOWN, None
    return presence(reply.status, missing=is_missing(reply)), reply
