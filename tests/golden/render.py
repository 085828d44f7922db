"""``python -m tests.golden.render [--pictures FOLDER]``: write the kept bodies and their pictures.

The bodies stand beside this file, three pictures in docs/pictures: read them before you commit.
Pictures need ``chromium``; without ``--pictures`` only the three of docs/pictures are made, with
it every body in light, dark and at the width of a phone.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from bot.formats.pull_request_body import render
from tests.evidence_bodies import KEPT, facts
from tests.github_rendering import html

GOLDEN: Final = Path(__file__).parent
PICTURES: Final = Path(__file__).parents[2] / "docs" / "pictures"
HEIGHTS: Final = {"blocked": 1400, "clean": 1560, "degraded": 1400}
WIDTHS: Final = {"light": 900, "dark": 900, "phone": 400}
_ALERT: Final = re.compile(r"<blockquote>\s*<p>\[!([A-Z]+)\]<br />")

# The colours and sizes of GitHub's own pages (primer.style, markdown-body).
_PAGE: Final = """\
<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<style>
:root {{ color-scheme: {scheme}; --fg: #1f2328; --bg: #fff; --line: #d1d9e0; --dim: #59636e;
  --code: #818b981f; --row: #f6f8fa; --link: #0969da; --caution: #cf222e; --warning: #9a6700;
  --tip: #1a7f37; --note: #0969da; }}
.dark {{ --fg: #f0f6fc; --bg: #0d1117; --line: #3d444d; --dim: #9198a1; --code: #656c7633;
  --row: #151b23; --link: #4493f8; --caution: #f85149; --warning: #d29922; --tip: #3fb950; }}
body {{ font: 14px/1.5 "Noto Sans", "DejaVu Sans", Helvetica, Arial, "Noto Color Emoji", sans-serif;
  color: var(--fg); background: var(--bg); margin: 0; padding: 16px; overflow-wrap: break-word; }}
a {{ color: var(--link); }} h3 {{ font-size: 1.25em; margin: 24px 0 16px; line-height: 1.25; }}
table {{ border-collapse: collapse; display: block; width: max-content; max-width: 100%;
  overflow: auto; margin: 0 0 16px; }}
th, td {{ border: 1px solid var(--line); padding: 6px 13px; }} th {{ font-weight: 600; }}
tr:nth-child(2n) {{ background: var(--row); }}
code {{ font: 85% ui-monospace, "DejaVu Sans Mono", monospace; background: var(--code);
  padding: .2em .4em; border-radius: 6px; white-space: break-spaces; }}
details {{ margin-bottom: 16px; }} summary {{ cursor: pointer; }} sub {{ color: var(--dim); }}
.alert {{ border-left: .25em solid var(--kind); padding: 8px 16px; margin-bottom: 16px; }}
.alert b:first-child {{ color: var(--kind); display: block; }} .alert p {{ margin: 4px 0; }}
</style><body class="{scheme}">{body}"""


def page(markdown: str, scheme: str) -> str:
    """The body on a page like GitHub's, alerts included."""
    body = _ALERT.sub(
        lambda m: (
            f'<blockquote class="alert" style="--kind: var(--{m[1].lower()}); margin-left: 0; '
            f'margin-right: 0"><b>{m[1].title()}</b><p>'
        ),
        html(markdown),
    )
    return _PAGE.format(scheme="dark" if scheme == "dark" else "light", body=body)


def picture(markdown: str, scheme: str, target: Path, height: int) -> None:
    """What chromium shows."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("chromium is missing: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "body.html")
        file.write_text(page(markdown, scheme), encoding="utf-8")
        options = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            f"--user-data-dir={folder}/profile",
            f"--window-size={WIDTHS[scheme]},{height}",
            f"--screenshot={target}",
        ]
        subprocess.run(
            [chromium, *options, file.as_uri()], check=True, capture_output=True, timeout=120
        )


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
