from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.adapters.clock import SystemClock, pause
from bot.domain.errors import RejectedError

SOON = timedelta(seconds=5)


def test_time_is_utc() -> None:
    now = SystemClock().now()

    assert now.tzinfo is UTC
    assert abs(now - datetime.fromtimestamp(time.time(), UTC)) < SOON


def test_the_offset_is_read_again_at_each_look(tmp_path: Path) -> None:
    offset = tmp_path / "clock"
    clock = SystemClock(offset)
    plain = clock.now()

    offset.write_text("3600\n")
    later = clock.now()
    offset.write_text("")

    assert timedelta(hours=1) <= later - plain < timedelta(hours=1) + SOON
    assert clock.now() - plain < SOON


@pytest.mark.parametrize("text", ["tomorrow", "1e99", "nan"])
def test_an_offset_that_is_no_number_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "clock").write_text(text)

    with pytest.raises(RejectedError, match="clock does not hold a number"):
        SystemClock(tmp_path / "clock").now()


def test_a_pause_takes_at_least_its_time() -> None:
    before = time.monotonic()

    pause(0.01)
    pause(-1)

    assert time.monotonic() - before >= 0.01
