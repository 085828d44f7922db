"""One call again and again in a thread of its own, with the pauses that it asks for.

Contract. A call that fails is made again; it ends neither the thread nor the process. `stop` may
be called from any thread and does not wait for a call that is under way.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from bot.domain.errors import LockkeeperError

_LOG: Final = logging.getLogger("lockkeeper.rounds")


class Rounds:
    """A call that is repeated."""

    def __init__(
        self,
        name: str,
        call: Callable[[], float],
        *,
        again_seconds: float,
        woken: threading.Event | None = None,
    ) -> None:
        """Begin nothing yet.

        Args:
            name: of the thread, for the log.
            call: answers the seconds until it wants to be called again.
            again_seconds: the pause after a call that failed.
            woken: ends a pause early, as often as somebody sets it.
        """
        self._name, self._call, self._again = name, call, again_seconds
        self._woken, self._is_stopping = woken or threading.Event(), False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Call now, and then as often as the call asks for."""
        self._thread.start()

    def stop(self) -> None:
        """Call no more."""
        self._is_stopping = True
        self._woken.set()

    def _run(self) -> None:
        pause = 0.0
        while True:
            self._woken.wait(pause)
            self._woken.clear()
            if self._is_stopping:
                return
            try:
                pause = self._call()
            except LockkeeperError as error:
                pause = self._again
                _LOG.warning("look failed", extra={"loop": self._name, "reason": str(error)})
            except Exception as error:  # noqa: BLE001 - a bug must not end the looks for good
                pause, kind = self._again, type(error).__name__
                _LOG.error("look has a bug", extra={"loop": self._name, "error": kind})
