"""PyGithub's clients, kept with their open connections, each lent to one request at a time.

A new connection costs two or three round trips before the first byte (TCP, TLS), which is most of
what a small request takes. Clients that threads share swap requests, so none is shared: who asks
gets an idle client of the same token, or a new one. A client whose request failed is closed, and
so is one that was idle for longer than servers keep connections. Safe to use concurrently.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import github

_IDLE_SECONDS: Final = 20.0  # well below the minute after which proxies and servers close
_IDLE: Final = 16
"""Clients that are kept; beyond them the one that was idle for longest is closed."""


@dataclass(frozen=True, slots=True)
class _Idle:
    token: str = field(repr=False)
    client: github.Github
    since: float


@dataclass(frozen=True)
class Clients:
    """The clients of one API."""

    new: Callable[[github.Auth.Auth], github.Github]
    _idle: list[_Idle] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def lent(self, authentication: github.Auth.Auth) -> Iterator[github.Github]:
        """A client for one request; it is kept if the request got its answer."""
        token = authentication.token
        client = self._taken(token) or self.new(authentication)
        try:
            yield client
        except BaseException:
            client.close()
            raise
        self._keep(_Idle(token, client, time.monotonic()))

    def _taken(self, token: str) -> github.Github | None:
        """The idle client of a token that was used last."""
        oldest = time.monotonic() - _IDLE_SECONDS
        with self._lock:
            stale = [one for one in self._idle if one.since < oldest]
            fresh = [one for one in self._idle if one.since >= oldest]
            ours = next((one for one in reversed(fresh) if one.token == token), None)
            self._idle[:] = [one for one in fresh if one is not ours]
        for one in stale:
            one.client.close()
        return None if ours is None else ours.client

    def _keep(self, idle: _Idle) -> None:
        with self._lock:
            self._idle.append(idle)
            beyond = self._idle[:-_IDLE]
            del self._idle[:-_IDLE]
        for one in beyond:
            one.client.close()
