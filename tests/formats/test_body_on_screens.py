"""Bodies in a browser: nothing is wider than the screen, at the width of a page and of a phone."""

from __future__ import annotations

import json
import re
from html import escape, unescape

import pytest

from bot.formats.markdown import table
from bot.formats.pull_request_body import render
from tests.browser import after_scripts, browser
from tests.evidence_bodies import shown
from tests.github_rendering import page
from tests.world.tools import missing

WIDTHS = (860, 390)
SCHEMES = ("light", "dark")
# Blocks that would be moved sideways, and anything that ends beyond the padding of the page.
MEASURE = """
function wide(frame) {
  const inner = frame.contentDocument, found = [];
  for (const open of [false, true]) {
    inner.querySelectorAll("details").forEach(one => { one.open = open; });
    const edge = inner.documentElement.clientWidth - 15;
    for (const one of inner.querySelectorAll("html, body, body *")) {
      const scrolls = one.clientWidth > 0 && one.scrollWidth > one.clientWidth;
      const inside = one.tagName !== "HTML" && one.tagName !== "BODY";
      if (scrolls || (inside && one.getBoundingClientRect().right > edge))
        found.push(`${one.tagName} ${one.scrollWidth}: ${one.textContent.slice(0, 80)}`);
    }
  }
  return found;
}
addEventListener("load", () => {
  const said = {};
  document.querySelectorAll("iframe").forEach(one => { said[one.title] = wide(one); });
  const result = document.createElement("pre");
  result.textContent = JSON.stringify(said);
  document.body.replaceChildren(result);
});
"""


def too_wide(bodies: dict[str, str]) -> dict[str, list[str]]:
    """What is wider than its screen, by the name of the body, the width and the colours."""
    executable = browser()
    if executable is None:
        missing("chromium is missing; run: apt-get install chromium")
    frames = [
        f'<iframe title="{name}, {width}, {scheme}" width="{width}" height="900" '
        f'frameborder="0" srcdoc="{escape(page(body, scheme))}"></iframe>'
        for name, body in bodies.items()
        for width in WIDTHS
        for scheme in SCHEMES
    ]
    html = f'<!doctype html><meta charset="utf-8"><body>{"".join(frames)}'
    seen = after_scripts(executable, f"{html}<script>{MEASURE}</script>")
    result = re.search(r"<pre>(.*)</pre>", seen, re.DOTALL)
    assert result, "the page measured nothing"
    measured: dict[str, list[str]] = json.loads(unescape(result[1]))
    assert len(measured) == len(frames)
    return {name: found for name, found in measured.items() if found}


@pytest.mark.slow
def test_nothing_is_wider_than_a_screen_or_a_phone() -> None:
    assert too_wide({name: render(facts) for name, facts in shown().items()}) == {}


@pytest.mark.slow
def test_what_is_too_wide_is_seen() -> None:
    row = ["a long word: " + "x" * 60, "y" * 20]

    found = too_wide({"wide": table(["a", "b"], [row])})

    assert {"wide, 390, light", "wide, 390, dark"} <= found.keys()
