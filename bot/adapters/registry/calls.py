"""A question to a registry and the answer to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from bot.adapters.registry.peers import host_of
from bot.domain.grants import HostGrant

TEXT_LIMIT: Final = 64 * 1024  # bytes of an error body or a token answer
ANSWER_SECONDS: Final = 60.0  # without a byte of the answer


Piece = bytes | memoryview
"""Some bytes on their way: a view is the reader's until its thread reads again."""


class Body(Protocol):
    """A request body of known length that can be read once."""

    def __len__(self) -> int:
        """Bytes in all."""
        ...

    def read(self, size: int = -1, /) -> Piece:
        """The next bytes; empty at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that was read whole."""

    method: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    url: str = field(repr=False)
    """Where the answer came from: the base of a relative ``Location``."""
    content: bytes = field(repr=False)
    challenges: tuple[str, ...] = field(repr=False)
    """Every ``WWW-Authenticate`` line."""
    retry_after: float | None
    hidden: tuple[str, ...] = field(default=(), repr=False)
    """What it must not be quoted with: secrets that were sent, or are granted."""

    @property
    def host(self) -> str:
        """``host[:port]`` of the server that answered."""
        return host_of(self.url)


@dataclass(frozen=True, slots=True)
class Call:
    """What to ask for, on whose behalf."""

    method: str
    url: str = field(repr=False)
    thing: str
    """The words for it in errors."""
    entry: HostGrant
    scopes: tuple[str, ...]
    """What a bearer token has to allow: ``repository:acme/api:pull,push``; the main one first."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Callable[[], Body] | None = field(default=None, repr=False)
    limit: int = TEXT_LIMIT
    """Bytes of the answer that are read at most."""
    once: bool = False
    """Do not send it again: whoever asks decides what a failure means."""
    is_look: bool = False
    """It only spares work: a refusal is not worth a new log-in, nor a failure much patience."""
    seconds: float = ANSWER_SECONDS
    """How long the answer may be silent."""
    is_farewell: bool = False
    """It goes out even after everything was cut."""

    @property
    def host(self) -> str:
        """``host[:port]`` that is asked."""
        return host_of(self.url)
