"""Two listeners and the engine in one process, until SIGTERM or SIGINT.

Waitress serves: one loop buffers every request before a thread sees it, so that slow clients hold
a connection and never a thread; it limits headers, bodies and connections. Pre-forking servers
(gunicorn) gain nothing here: the SQLite file allows one process, several replicas are several
containers, the engine would have to be built after the fork, and a killed master leaves its
worker behind. What waitress lacks is a limit on the time of a whole request: `_Channel` adds it.

The sockets are bound before `on_started` runs, so an address in use is known before any work
begins, and requests that come during the start wait instead of failing. At the end: no new
connections, running requests end, then `on_stop`.
"""

from __future__ import annotations

import logging
import signal
import socket
import time
from collections import ChainMap
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import FrameType
from typing import Any, Final, Protocol

from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, MultiSocketServer, create_server

from bot.domain.errors import RejectedError

_LOG: Final = logging.getLogger("lockkeeper.serving")
READ_SECONDS: Final = 10.0
"""From the first byte of a request to the last; GitHub itself gives up after 10 s."""
_HEADER_LIMIT: Final = 64 * 1024
_BODY_LIMIT: Final = 25 * 1024 * 1024
_CONNECTIONS: Final = 500
_ROOM: Final = 50
"""Connections that are kept free for whoever comes: as many idle ones are closed at a time."""
_THREADS: Final = 8
_LOOP_SECONDS: Final = 0.25
_DRAIN_SECONDS: Final = 5.0


class ListenAddress(Protocol):
    """Where to listen."""

    @property
    def host(self) -> str:
        """A name or an address."""
        ...

    @property
    def port(self) -> int:
        """0 for any free one; the log names it."""
        ...


def serve(
    intake: Flask,
    board: Flask,
    listen: ListenAddress,
    board_listen: ListenAddress,
    *,
    on_started: Callable[[], None],
    on_stop: Callable[[], None],
) -> None:
    """Serve until a signal says stop; call from the main thread.

    Args:
        intake: the application of the public listener.
        board: the application of the operator's listener.
        listen: where the public one listens.
        board_listen: where the operator's listens.
        on_started: starts the work behind; its errors end the process.
        on_stop: ends it; called whenever `on_started` was.

    Raises:
        RejectedError: an address cannot be listened on.
    """
    stopping = _StopSignal()
    with ExitStack() as cleanup:
        sockets = [_bound(listen, "LOCKKEEPER_LISTEN", cleanup)]
        sockets.append(_bound(board_listen, "LOCKKEEPER_BOARD_LISTEN", cleanup))
        cleanup.callback(on_stop)
        on_started()
        servers = _Servers()
        for app, listener in zip((intake, board), sockets, strict=True):
            servers.add(app, listener)
            host, port = listener.getsockname()[:2]
            _LOG.info("listening", extra={"listener": app.name, "host": host, "port": port})
        while not stopping.received:
            servers.turn()
        servers.drain()


class _StopSignal:
    """Remembers that SIGTERM or SIGINT came; the loop looks at it several times a second."""

    def __init__(self) -> None:
        self.received = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)

    def _remember(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True


class _Channel(HTTPChannel):
    """A connection that must deliver each request within `READ_SECONDS`."""

    _began: float | None = None

    def received(self, data: bytes) -> bool:
        now = time.monotonic()
        if self._began is not None and now - self._began > READ_SECONDS:
            self.will_close = True
            return False
        accepted = bool(super().received(data))
        unfinished = self.request is not None
        self._began = (self._began or now) if unfinished else None
        return accepted


class _Servers:
    """Waitress's servers on one loop; each counts its own connections.

    With one map for both, a stranger's connections to the public listener would use up those of
    the operator's, health included.
    """

    def __init__(self) -> None:
        self._channels: ChainMap[int, Any] = ChainMap()
        self._servers: list[BaseWSGIServer] = []
        self._listeners: list[socket.socket] = []

    def add(self, app: Flask, listener: socket.socket) -> None:
        own: dict[int, Any] = {}
        server = create_server(
            app,
            map=own,
            sockets=[listener],
            threads=_THREADS,
            ident=None,
            connection_limit=_CONNECTIONS,
            channel_timeout=READ_SECONDS,
            cleanup_interval=1,
            max_request_header_size=_HEADER_LIMIT,
            max_request_body_size=_BODY_LIMIT,
            clear_untrusted_proxy_headers=True,
        )
        if isinstance(server, MultiSocketServer):
            raise TypeError("waitress makes that for several sockets, this is one")
        server.channel_class = _Channel
        self._channels.maps.append(own)
        self._servers.append(server)
        self._listeners.append(listener)

    def turn(self) -> None:
        for own in self._channels.maps:
            if len(own) >= _CONNECTIONS - _ROOM:
                _make_room(own)
        wasyncore.loop(timeout=_LOOP_SECONDS, use_poll=True, map=self._channels, count=1)

    def drain(self) -> None:
        """Accept nothing new, answer what runs, close."""
        for server, listener in zip(self._servers, self._listeners, strict=True):
            server.del_channel()
            listener.close()
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self._is_busy() and time.monotonic() < deadline:
            self.turn()
        for server in self._servers:
            server.task_dispatcher.shutdown(timeout=1)
        for own in self._channels.maps:
            wasyncore.close_all(own)

    def _is_busy(self) -> bool:
        return any(
            channel.requests or channel.total_outbufs_len
            for channel in list(self._channels.values())
            if isinstance(channel, HTTPChannel)
        )


def _make_room(channels: Mapping[int, Any]) -> None:
    """Close the connections that have been idle longest: whoever keeps many open loses them."""
    idle = [
        channel
        for channel in channels.values()
        if isinstance(channel, HTTPChannel) and channel.request is None and not channel.requests
    ]
    for channel in sorted(idle, key=lambda one: one.last_activity)[:_ROOM]:
        channel.will_close = True


def _bound(address: ListenAddress, name: str, cleanup: ExitStack) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    cleanup.callback(listener.close)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
        listener.listen(1024)
    except OSError as error:
        place = f"{address.host}:{address.port}"
        message = f"{name}: cannot listen on {place} ({error.strerror})"
        raise RejectedError(f"{message}; choose another address") from error
    return listener
