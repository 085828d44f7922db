from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.domain.memory import Scope, Seal, stood
from bot.domain.oci import Digest

FIRST, SECOND = Digest(f"sha256:{'1' * 64}"), Digest(f"sha256:{'2' * 64}")
START = datetime(2026, 11, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)


def seal(digest: Digest, hours: int, image: str = "api") -> Seal:
    return Seal(Scope(1, "dev"), image, f"r/{image}", digest, "m", 1, START + hours * HOUR)


@pytest.mark.parametrize(
    ("seals", "until", "expected"),
    [
        ([seal(FIRST, 0)], 5, 5 * HOUR),
        ([seal(FIRST, 0), seal(SECOND, 1)], None, HOUR),
        # Sealed again: the first time counts, and what stood in between ended it.
        ([seal(FIRST, 0), seal(SECOND, 1), seal(FIRST, 2)], 9, HOUR),
        ([seal(SECOND, 0), seal(FIRST, 3)], 4, HOUR),
        ([seal(FIRST, 0), seal(SECOND, 1, "worker")], 5, 5 * HOUR),
        # It does not stand there any more, and nothing says since when.
        ([seal(FIRST, 0)], None, None),
        ([seal(SECOND, 0)], 5, None),
        ([], 5, None),
    ],
)
def test_what_another_one_replaced_stands_no_longer(
    seals: list[Seal], until: int | None, expected: timedelta | None
) -> None:
    now = START + until * HOUR if until is not None else None

    assert stood(seals, "api", FIRST, now) == expected
