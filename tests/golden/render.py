"""``python -m tests.golden.render [--pictures FOLDER]``: write the kept bodies and their pictures.

The bodies stand beside this file, three pictures in docs/pictures: read them before you commit.
Pictures need ``chromium``; without ``--pictures`` only the three of docs/pictures are made, with
it every body in light, dark and at the width of a phone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from bot.formats.pull_request_body import render
from tests.browser import browser, screenshot
from tests.evidence_bodies import KEPT, facts
from tests.github_rendering import page

GOLDEN: Final = Path(__file__).parent
PICTURES: Final = Path(__file__).parents[2] / "docs" / "pictures"
HEIGHTS: Final = {"blocked": 1400, "clean": 1560, "degraded": 1400}
WIDTHS: Final = {"light": 900, "dark": 900, "phone": 400}


def picture(markdown: str, scheme: str, target: Path, height: int) -> None:
    """What chromium shows."""
    chromium = browser()
    if chromium is None:
        sys.exit("chromium is missing: apt-get install chromium")
    screenshot(chromium, page(markdown, scheme), target, WIDTHS[scheme], height)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.golden.render", description=__doc__)
    parser.add_argument("--pictures", type=Path, help="a folder for every width and colour")
    folder = parser.parse_args().pictures
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        body = render(facts(name))
        (GOLDEN / f"evidence-{name}.md").write_text(body, encoding="utf-8")
        picture(body, "light", PICTURES / f"body-{name}.png", HEIGHTS[name])
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            for scheme in WIDTHS:
                picture(body, scheme, folder / f"{name}-{scheme}.png", 2200)
    return 0


if __name__ == "__main__":
    sys.exit(main())
