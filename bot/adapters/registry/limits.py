"""How often a host is asked, and when it is left alone: one measure for everything that we do.

Nobody knows what a registry bears: ECR and Artifact Registry say a thousand requests in a second,
others a few. So the pace adapts, up while answers are good, down where a host complains.

Copies, signatures and log-ins of all environments share it, because a registry counts them all
(promo-tools#637: the token service answers 429, too). Safe to use from many threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from bot.domain.errors import UnavailableError
from bot.domain.oci import canonical_host

if TYPE_CHECKING:
    from bot.ports.clock import Clock

LONGEST_PAUSE: Final = 120.0  # seconds; a registry may not stop us for longer
PATIENCE: Final = 20.0  # seconds; who asks for more is asked again by the engine
_UNTOLD_PAUSE: Final = 1.0  # seconds after a 429 that does not say how long
_BURST_SECONDS: Final = 2.0  # seconds' worth of requests that may come at once
_SHORTEST_SLEEP: Final = 0.001  # seconds; shorter ones round to nothing
FIRST_RATE: Final = 50.0  # requests per second, until a host has shown what it bears
_LEAST_RATE: Final = 1.0
_DOUBLED_BY: Final = 50  # good answers, until a host has complained for the first time
_REGAINED: Final = 2.0  # requests per second more, for each second's worth of good answers


class PausedError(UnavailableError):
    """A host has asked to be left alone for longer than it is worth to wait here."""

    def __init__(self, host: str, seconds: float) -> None:
        """Name the host and how long it still has to be left alone."""
        super().__init__(f"{host} asked for {seconds:.0f} s of silence", retry_after=seconds)
        self.host = host


@dataclass(slots=True)
class _Bucket:
    """Tokens: one per request; they come back at the host's rate.

    The rate grows while answers are good and it is what is waited for, twofold at first; a
    complaint halves it, and from then on it grows by little, as a sender's window does (RFC 5681).
    """

    tokens: float
    counted_at: datetime
    silent_until: datetime
    rate: float = FIRST_RATE
    has_complained: bool = False

    def answered(self) -> None:
        """Somebody was served; what nobody waits for need not grow."""
        if self.tokens > self.rate * _BURST_SECONDS / 2:
            return
        if self.has_complained:
            self.rate += _REGAINED / self.rate
        else:
            self.rate *= 2 ** (1 / _DOUBLED_BY)

    def complained(self, now: datetime) -> None:
        """The host bears less; what was under way when it said so says nothing new."""
        if self.silent_until <= now:
            self.rate = max(self.rate / 2, _LEAST_RATE)
            self.has_complained = True

    def wait(self, most: float, now: datetime) -> float:
        """Seconds until a request may be sent; 0.0 takes the token for it."""
        rate = self.rate = min(self.rate, most)
        passed = max((now - self.counted_at).total_seconds(), 0.0)
        self.counted_at = now
        self.tokens = min(self.tokens + passed * rate, max(rate * _BURST_SECONDS, 1.0))
        if self.tokens < 1.0:
            return max((1.0 - self.tokens) / rate, _SHORTEST_SLEEP)
        self.tokens -= 1.0
        return 0.0

    def silence(self, now: datetime) -> float:
        """Seconds that the host still has to be left alone; a clock set back ends it."""
        left = (self.silent_until - now).total_seconds()
        return left if left <= LONGEST_PAUSE else 0.0


class HostLimits:
    """The pace of every host; share one object among all clients of a process."""

    def __init__(
        self,
        clock: Clock,
        sleep: Callable[[float], None],
        patience: float = PATIENCE,
        silence: float | None = None,
    ) -> None:
        """Know no host yet.

        Args:
            clock: for the pace.
            sleep: waits for so many seconds.
            patience: seconds for which a host may be away.
            silence: seconds of silence that are waited for here; None: as long as patience.
        """
        self._clock, self._sleep, self.patience = clock, sleep, patience
        self.silence = patience if silence is None else silence
        self._buckets: dict[str, _Bucket] = {}
        self._guard = threading.Lock()

    def admit(self, host: str, most: float) -> None:
        """Wait until the host may be asked once more; ``most``: requests per second at most.

        Raises:
            PausedError: it has asked for a long silence.
        """
        while seconds := self._wait(canonical_host(host), most):
            self._sleep(seconds)

    def answered(self, host: str) -> None:
        """The host has served a request: it may bear more of them."""
        with self._guard:
            bucket = self._buckets.get(canonical_host(host))
            if bucket is not None:
                bucket.answered()

    def pause(self, host: str, seconds: float | None) -> None:
        """Let nobody ask the host for so long; None: it did not say how long."""
        wanted = _UNTOLD_PAUSE if seconds is None else min(seconds, LONGEST_PAUSE)
        now = self._clock.now()
        with self._guard:
            bucket = self._bucket(canonical_host(host), FIRST_RATE, now)
            bucket.complained(now)
            bucket.silent_until = max(bucket.silent_until, now + timedelta(seconds=wanted))
            # Afterwards not all at once again: the bucket fills from the end of the silence.
            bucket.tokens, bucket.counted_at = min(bucket.tokens, 1.0), bucket.silent_until

    def _wait(self, host: str, most: float) -> float:
        now = self._clock.now()
        with self._guard:
            bucket = self._bucket(host, most, now)
            silence = bucket.silence(now)
            if silence > self.silence:
                raise PausedError(host, silence)
            return max(silence, _SHORTEST_SLEEP) if silence > 0 else bucket.wait(most, now)

    def _bucket(self, host: str, most: float, now: datetime) -> _Bucket:
        first = min(FIRST_RATE, most)
        return self._buckets.setdefault(host, _Bucket(first * _BURST_SECONDS, now, now, first))
