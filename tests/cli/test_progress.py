from __future__ import annotations

import io

from rich.console import Console

from bot.cli.progress import shown_progress
from bot.domain.images import Descriptor
from bot.domain.oci import Digest

BLOBS = [Descriptor("application/x", Digest.of(name), 1000) for name in (b"a", b"b")]


def test_a_terminal_shows_all_and_each_blob_on_its_way() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)

    with shown_progress("copy x", console, quiet=False) as progress:
        assert progress is not None
        progress.expect(2000)
        progress.advance(BLOBS[0], 400)
        progress.advance(BLOBS[1], 1000)
        progress.advance(BLOBS[0], -400)

    shown = screen.getvalue()
    assert "copy x" in shown
    assert BLOBS[0].digest.short in shown
    assert BLOBS[1].digest.short not in shown
    assert "1.0/2.0 kB" in shown


def test_elsewhere_there_is_a_line_per_tenth() -> None:
    screen = io.StringIO()

    with shown_progress("copy x", Console(file=screen, width=120), quiet=False) as progress:
        assert progress is not None
        progress.expect(2000)
        for _ in range(20):
            progress.advance(BLOBS[0], 50)

    lines = screen.getvalue().splitlines()
    assert lines[0] == "copy x: 10% of 2000 bytes"
    assert len(lines) == 5
