from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from bot.cli.bars import shown_bars
from bot.cli.progress import shown_progress
from bot.domain.images import Descriptor
from bot.domain.oci import Digest

_VISIBLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
BLOBS = [Descriptor("application/x", Digest.of(name), 1000) for name in (b"a", b"b")]


def test_a_terminal_shows_all_and_each_blob_on_its_way() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)

    with shown_bars("copy x", console) as progress:
        progress.expect(2000)
        progress.advance(BLOBS[0], 400)
        progress.advance(BLOBS[1], 1000)
        progress.advance(BLOBS[0], -400)

    shown = screen.getvalue()
    assert "copy x" in shown
    assert BLOBS[0].digest.short in shown
    assert BLOBS[1].digest.short not in shown
    assert "1.0/2.0 kB" in shown


@pytest.mark.parametrize("width", [58, 80, 200])
def test_the_bars_fit_the_terminal_with_all_that_they_say(width: int) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)

    with shown_bars("copy sha256:4c0bda7a92a5", console) as progress:
        progress.expect(2_000_000_000)
        progress.advance(replace(BLOBS[0], size=1_900_000_000), 999_000_000)

    lines = re.split(r"[\r\n]", _VISIBLE.sub("", screen.getvalue()))
    shown = [line for line in lines if "sha256:" in line]
    assert shown
    assert max(map(len, shown)) <= width
    assert any("copy sha256:4c0bda7a92a5 " in line and "1.0/2.0 GB" in line for line in shown)
    assert any(f"{BLOBS[0].digest.short} " in line and "1.0/1.9 GB" in line for line in shown)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("screen", "terminal"),
    [(io.StringIO(), "xterm"), (_Terminal(), "dumb"), (_Terminal(), "")],
    ids=["a file", "TERM=dumb", "no TERM"],
)
def test_elsewhere_there_is_a_line_per_tenth(screen: io.StringIO, terminal: str) -> None:
    shown = shown_progress("copy x", screen, terminal=terminal, quiet=False)
    with shown as progress:
        assert progress is not None
        progress.expect(2000)
        for _ in range(20):
            progress.advance(BLOBS[0], 50)

    lines = screen.getvalue().splitlines()
    assert lines[0] == "copy x: 10% of 2000 bytes"
    assert len(lines) == 5


def test_a_terminal_that_can_go_back_shows_bars() -> None:
    screen = _Terminal()

    with shown_progress("copy x", screen, terminal="xterm", quiet=False) as progress:
        assert progress is not None
        progress.expect(2000)

    assert "\x1b[" in screen.getvalue()
