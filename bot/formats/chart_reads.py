"""Which keys of its values a chart reads, as far as its templates show.

    reads = reads_of([("templates/pod.yaml", text), ...])
    reads.key("image", "digest")     # whether some template may read image.digest

A template names a value by its whole path (``.Values.image.digest``), or by the last step alone
where something around it was taken before (``with``, ``include``, ``index``): then it may be any.
Comments read nothing, and neither do notes for people.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_COMMENT: Final = re.compile(r"{{-?[ \t\r\n]?/\*")
_LINE_COMMENT: Final = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_ACTION: Final = re.compile(r"{{[^{}]*}}")
_PATH: Final = re.compile(r"\.Values((?:\.\w+)+)")
_STEP: Final = re.compile(r"[.\"'`](\w+)")
_SUFFIXES: Final = (".yaml", ".yml", ".tpl", ".json", ".txt")
_NOTES: Final = "NOTES.txt"


@dataclass(frozen=True, slots=True)
class Reads:
    """What the templates of a chart, and of those below it, name of values."""

    paths: frozenset[str] = frozenset()
    """Dotted, of the chart's own templates."""
    below: frozenset[str] = frozenset()
    """The same of charts below it, by their own names."""
    steps: frozenset[str] = frozenset()
    """Last steps that stand alone."""
    is_whole: bool = True
    """All templates are here; else any key may be read."""

    def key(self, folder: str, name: str) -> bool:
        """Whether a key of a mapping may be read."""
        dotted = f"{folder}.{name}" if folder else name
        is_below = any(dotted.endswith(f".{one}") for one in self.below)
        return not self.is_whole or name in self.steps or dotted in self.paths or is_below


def reads_of(files: Iterable[tuple[str, str]]) -> Reads:
    """What a chart's files read: paths relative to the chart, and texts."""
    paths: set[str] = set()
    below: set[str] = set()
    steps: set[str] = set()
    templates = 0
    for path, text in files:
        if posixpath.basename(path) == _NOTES or not path.endswith(_SUFFIXES):
            continue
        templates += "templates" in path.split("/")
        own = below if path.startswith("charts/") else paths
        for action in _ACTION.findall(_LINE_COMMENT.sub("", _without_comments(text))):
            own |= {found[1:] for found in _PATH.findall(action)}
            steps |= set(_STEP.findall(_PATH.sub("", action)))
    return Reads(frozenset(paths), frozenset(below), frozenset(steps), is_whole=templates > 0)


def _without_comments(text: str) -> str:
    """A template without its comments, in one pass."""
    parts: list[str] = []
    at = 0
    while (begin := _COMMENT.search(text, at)) and (end := text.find("*/", begin.end())) >= 0:
        parts.append(text[at : begin.start()])
        at = end + 2
    return "".join([*parts, text[at:]])
