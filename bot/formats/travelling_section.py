"""What a body says about the files that travel with the images: which, and how they change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bot.formats.markdown import code, details, plain, prose
from bot.formats.unified_diff import unified_diff

_NAMED: Final = 20
_LINES: Final = 200
_LINE: Final = 240
"""Characters of a line of a diff."""


@dataclass(frozen=True, slots=True)
class TravellingFile:
    """A file that comes from the environment below."""

    path: str
    """In the environment that it comes to."""
    before: bytes | None
    """What stands there now; None: nothing."""
    content: bytes

    @property
    def diff(self) -> str:
        """How it changes; empty where it is not text."""
        try:
            before, after = (self.before or b"").decode(), self.content.decode()
        except UnicodeDecodeError:
            return ""
        return "" if "\0" in before + after else unified_diff(self.path, before, after)


@dataclass(frozen=True, slots=True)
class TravellingFacts:
    """What is copied, and where from."""

    files: Sequence[TravellingFile] = ()
    environment: str = ""
    """The environment below."""
    commit: str = ""
    """Its publication that showed these images."""
    kept: Sequence[str] = ()
    """Files that are in this environment alone."""


def travelling_section(facts: TravellingFacts, lines: int = _LINES) -> str:
    """The files by name, and their diff folded, ``lines`` of it at most."""
    if not (facts.files or facts.kept):
        return ""
    parts = ["### Files that come with it"]
    if facts.files:
        came = f"as they stand in {code(facts.environment)} at {code(facts.commit[:7])}"
        parts += [f"Copied {came}, where these images run:", _listed(_rows(facts.files))]
        parts.append(_diffs(facts.files, min(lines, _LINES)))
    if facts.kept:
        named = _listed(f"- {code(path, 120)}" for path in facts.kept)
        parts.append(f"Not in {code(facts.environment)}, and left as they are:\n\n{named}")
    return "\n\n".join(part for part in parts if part)


def _rows(files: Sequence[TravellingFile]) -> Iterator[str]:
    for one in files:
        yield f"- {code(one.path, 120)} {_change(one)}"


def _change(one: TravellingFile) -> str:
    if one.before is None:
        return "added"
    if not one.diff:
        return "changed, not text"
    lines = one.diff.splitlines()[3:]
    more = sum(line.startswith("+") for line in lines)
    return f"+{more} −{sum(line.startswith('-') for line in lines)}"  # noqa: RUF001 - a minus sign


def _listed(rows: Iterator[str]) -> str:
    found = list(rows)
    more = len(found) - _NAMED
    return "\n".join([*found[:_NAMED], *([f"- and {more} more"] if more > 0 else [])])


def _diffs(files: Sequence[TravellingFile], most: int) -> str:
    lines = [line for one in files for line in one.diff.split("\n") if line]
    if not (lines and most):
        return "The diff is not shown here: see *Files changed*." if lines else ""
    # A line keeps its sign and its indent; nothing else in it has a meaning in a block of code.
    shown = [line[:1] + _readable(line[1:]) for line in lines[:most]]
    more = f"\n\n…and {len(lines) - most} more lines." if len(lines) > most else ""
    longest = max((len(run) for line in shown for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return details("How they change", f"{fence}diff\n" + "\n".join(shown) + f"\n{fence}{more}")


def _readable(line: str) -> str:
    indent = len(line) - len(line.lstrip(" "))
    return " " * min(indent, _LINE) + plain(line, _LINE)


def refusals(found: Sequence[str]) -> str:
    """Why a promotion is not whole without its files."""
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""  # noqa: PLR2004 - a few
    return prose("; ".join(found[:5]) + more, 600)
