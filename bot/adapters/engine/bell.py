"""Waking the engine: in this process by an event, from other replicas by PostgreSQL's NOTIFY.

A bell says *look*, never what has changed; rings that come together are one. A ring that gets lost
(a connection breaks) costs a delay: the engine looks by itself at each beat of its lease.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

import sqlalchemy as sa

CHANNEL: Final = "lk_job"
_NOTIFY: Final = sa.text("SELECT pg_notify(:channel, :owner)")
_LOG: Final = logging.getLogger("lockkeeper.engine")
_PROBE_SECONDS: Final = 60.0
"""A connection that is silent for so long is asked whether it still works."""
_AGAIN_SECONDS: Final = 2.0


class Bell:
    """Rung by anybody, waited for by one."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        """Let the one who waits, now or next, look."""
        self._rung.set()

    def wait(self, seconds: float) -> bool:
        """Wait until somebody rings, or for a time; whether somebody rang."""
        heard = self._rung.wait(seconds)
        if heard:  # a ring that comes now is one with this one: the look is still to come
            self._rung.clear()
        return heard


def ring_others(connection: sa.Connection, owner: str) -> None:
    """Ring the bells of other replicas when this transaction commits; on SQLite there are none.

    Args:
        connection: in the transaction.
        owner: this process, whose own bell stays still.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_NOTIFY, {"channel": CHANNEL, "owner": owner})


class Listener:
    """A thread that rings the bell whenever a replica notifies; PostgreSQL only."""

    def __init__(self, database: sa.Engine, owner: str, bell: Bell) -> None:
        self._database, self._owner, self._bell = database, owner, bell
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lockkeeper-bell", daemon=True)

    def start(self) -> None:
        """Listen until `stop`, through failures of the connection."""
        self._thread.start()

    def stop(self) -> None:
        """End; the notification that ends the wait is our own."""
        self._stopping.set()
        try:
            with self._database.begin() as connection:
                ring_others(connection, self._owner)
        except sa.exc.DBAPIError:
            return  # then the listening connection is broken as well, and the thread ends by that
        self._thread.join(timeout=_AGAIN_SECONDS)

    def _run(self) -> None:
        broken = (sa.exc.DBAPIError, self._database.dialect.loaded_dbapi.Error)
        while not self._stopping.is_set():
            try:
                self._listen()
            except broken as error:
                if not self._stopping.is_set():
                    reason = type(error).__name__
                    _LOG.warning("replicas are not heard", extra={"reason": reason})
            self._stopping.wait(_AGAIN_SECONDS)

    def _listen(self) -> None:
        with self._database.connect() as pooled:
            connection = pooled.execution_options(isolation_level="AUTOCOMMIT")
            try:
                connection.exec_driver_sql(f"LISTEN {CHANNEL}")
                self._bell.ring()  # what was said before nobody heard
                while not self._stopping.is_set():
                    self._hear(connection)
            finally:
                connection.invalidate()  # it listens: nobody else may have it

    def _hear(self, connection: sa.Connection) -> None:
        driver: Any = connection.connection.driver_connection
        heard = False
        for said in driver.notifies(timeout=_PROBE_SECONDS, stop_after=1):
            heard = True
            if said.payload != self._owner:
                self._bell.ring()
        if not heard:
            connection.exec_driver_sql("SELECT 1")
