"""The port `bot.ports.premises.Looks`: many looks side by side, and a time by which all must have ended.

Contract. A look that raises, hangs or has a bug ends none of the others: whoever asks learns why
there is no answer. A look that hangs is left behind in a thread that does not keep the process
alive.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from bot.domain.doctor.findings import Known, Look, Unknown
from bot.domain.errors import IntegrityError, LockkeeperError, RejectedError

T = TypeVar("T")
_LOG: Final = logging.getLogger("lockkeeper.doctor")


class LooksTogether:
    """Looks that share a deadline, counted from now."""

    def __init__(self, seconds: float) -> None:
        """Begin nothing yet."""
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def begin(self, look: Callable[[], T]) -> Callable[[], Look[T]]:
        """Begin a look in a thread of its own; what is returned waits for it until the deadline."""
        begun = _Begun(look)
        begun.thread.start()

        def answer() -> Look[T]:
            begun.thread.join(max(0.0, self._deadline - time.monotonic()))
            return begun.answer or Unknown(f"no answer within {self._seconds:g} s")

        return answer


class _Begun(Generic[T]):
    """One look on its way."""

    def __init__(self, look: Callable[[], T]) -> None:
        self._look = look
        self.answer: Look[T] | None = None
        self.thread = threading.Thread(target=self._run, name="lockkeeper-look", daemon=True)

    def _run(self) -> None:
        try:
            self.answer = Known(self._look())
        except LockkeeperError as error:
            is_refusal = isinstance(error, RejectedError | IntegrityError)
            self.answer = Unknown(str(error), is_refusal=is_refusal)
        except Exception as error:  # noqa: BLE001 - the bug of one look stops no other look
            kind = type(error).__name__  # its own words may hold anything
            _LOG.error("look has a bug", extra={"error": kind})
            self.answer = Unknown(f"unexpected {kind}; this is a bug of Lockkeeper")
