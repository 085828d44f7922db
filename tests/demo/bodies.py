"""The pull request bodies of the demo, kept as GitHub would show them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.github_rendering import page, rendered
from tests.world.stage import ROOT

BUILD: Final = ROOT / "build" / os.environ.get("DEMO_BUILD", "demo")
"""Two demos at a time need two folders."""
GOLDEN: Final = ROOT / "tests" / "golden"
SHOWN: Final = {"blocked": 1230, "passing": 930}
"""The bodies that README shows, and the height of their pictures."""
_BASE: Final = re.compile(r"\*\*Base image\*\* \| (?P<old>[^|]*) → (?P<new>[^|]*) \|")
_VARYING: Final = (
    (re.compile(r"\b[0-9a-f]{26}\b"), "0" * 26),
    (re.compile(r"127\.0\.0\.1:[0-9]+"), "127.0.0.1:1"),
    (re.compile(r"sha256:[0-9a-f]{8}…[0-9a-f]{4}"), "sha256:00000000…0000"),
    (re.compile(r"\b[0-9a-f]{40}\b"), "0" * 40),
    (re.compile(r"`[0-9a-f]{7}`"), "`0000000`"),
    (re.compile(r"\b[0-9a-f]{7}\.\.\.[0-9a-f]{7}\b"), "0000000...0000000"),
    (re.compile(r"\b[0-9a-f]{40}\.\.\.[0-9a-f]{40}\b"), f"{'0' * 40}...{'0' * 40}"),
    (re.compile(r"\b20[0-9-]{8} \((?:[0-9]+ days? ago|today)\)"), "2026-01-01 (today)"),
    (re.compile(r"(has stood in `[a-z]+`) for [0-9]+ (?:min|s|h)\b"), r"\1 for 0 min"),
    (re.compile(r" at [0-9a-f\u2060]{12,13},"), " at 000000000000,"),
    (re.compile(r"\b20[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}\b"), "2026-01-01 00:00"),
    (re.compile(r"\b(KEV|EPSS) of 20[0-9-]{8}"), r"\1 of 2026-01-01"),
)
_NAME: Final = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Kept:
    """One body."""

    markdown: str
    page: str
    """Its file, from the root of the checkout."""


def keep(name: str, title: str, markdown: str) -> Kept:
    """Write the body, and the page that GitHub would make of it."""
    file = BUILD / f"{name}.html"
    file.write_text(page(f"## {title}\n\n{markdown}", "light", title=title), encoding="utf-8")
    file.with_suffix(".md").write_text(markdown, encoding="utf-8")
    assert rendered(markdown).cells, f"{name}: the body has no table"
    return Kept(markdown, relative(file))


def normalised(markdown: str) -> str:
    """The body without what differs from run to run: digests, commits, ports, times."""
    for pattern, stands_in in _VARYING:
        markdown = pattern.sub(stands_in, markdown)
    return markdown


def base_images(markdown: str) -> tuple[str, str]:
    """The names of the base images that run and that come; empty where the body has none."""
    found = _BASE.search(markdown)
    if found is None:
        return "", ""
    old, new = (_NAME.search(found[side]) for side in ("old", "new"))
    return (old[1] if old else ""), (new[1] if new else "")


def relative(path: Path) -> str:
    """A path as a command in the root of the checkout takes it."""
    return str(path.relative_to(ROOT))
