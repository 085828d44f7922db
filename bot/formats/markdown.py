"""Text from outside, made harmless in GitHub-flavoured Markdown.

Everything that Lockkeeper did not author goes through `text` or `code` before it is written.
Sources: CommonMark 0.31 (escapes, code spans), GitHub Flavored Markdown (tables, autolinks),
GitHub documentation "Autolinked references and URLs" and "Mentioning people and teams".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

_WORD_JOINER: Final = "\u2060"
# Characters with a meaning in GFM, in HTML, or in what GitHub adds after its parser.
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()<>#+!|~&$:@^=-])")
_LINKS: Final = re.compile(r"(?i)(www|https?|ftp|mailto|xmpp|GH)(?=[.:-])")
_LONG_HEX: Final = re.compile(r"(?i)\b[0-9a-f]{7,40}\b")


def plain(value: str, limit: int = 200) -> str:
    """One line without control, bidirectional or invisible characters, at most ``limit`` long."""
    kept = "".join(
        " " if c in "\r\n\t\u2028\u2029" else c
        for c in value
        if c in "\r\n\t\u2028\u2029"
        or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
    )
    line = " ".join(kept.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def text(value: str, limit: int = 200) -> str:
    """Text that reads the same and means nothing: no tag, link, mention, reference or cell."""
    line = plain(value, limit)
    line = _LINKS.sub(lambda m: f"{m[1][0]}{_WORD_JOINER}{m[1][1:]}{_WORD_JOINER}", line)
    line = _LONG_HEX.sub(lambda m: f"{m[0][:3]}{_WORD_JOINER}{m[0][3:]}", line)
    # A numeric character reference is text for the parser wherever it stands, also in a cell;
    # the joiner behind @ and # undoes what GitHub looks for after parsing.
    return _SPECIAL.sub(lambda m: f"&#{ord(m[1])};" + (_WORD_JOINER if m[1] in "@#" else ""), line)


def code(value: str, limit: int = 200) -> str:
    """A code span: nothing inside has a meaning, and it ends where it should."""
    line = plain(value, limit).replace("|", "¦")  # a pipe ends a table cell even inside code
    if not line:
        return ""
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """A table of ready cells; ``align`` has ``l`` or ``r`` per column."""
    marks = [(" --: " if a == "r" else " :-- ") for a in align.ljust(len(header), "l")]
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(marks) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def details(summary: str, body: str) -> str:
    """A folded section; both parts are ready Markdown."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n</details>"
