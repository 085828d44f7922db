"""How long a failed job waits."""

from __future__ import annotations

import secrets
from typing import Final

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 300.0
LONGEST_ASKED_SECONDS: Final = 3600.0
"""What another side may ask for: GitHub's rate limit resets after at most an hour."""

_RANDOM: Final = secrets.SystemRandom()


def delay(failures: int, retry_after: float | None) -> float:
    """Seconds to wait after ``failures`` (from 1) in a row, with full jitter.

    ``retry_after`` wins where the other side said so.
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    if retry_after is not None:
        return min(max(retry_after, FIRST_SECONDS), LONGEST_ASKED_SECONDS)
    # 2 ** 9 is more than the longest wait; larger powers only cost.
    ceiling = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(failures, 9))
    return _RANDOM.uniform(FIRST_SECONDS, ceiling)
