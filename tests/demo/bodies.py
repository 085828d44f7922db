"""The pull request bodies of the demo, kept as GitHub would show them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.github_rendering import page, rendered
from tests.world.stage import ROOT

BUILD: Final = ROOT / "build" / "demo"
_BASE: Final = re.compile(r"\*\*Base image\*\* \| (?P<old>[^|]*) \| (?P<new>[^|]*) \|")
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
