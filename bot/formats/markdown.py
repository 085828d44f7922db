"""Text from outside, made harmless in GitHub-flavoured Markdown.

Everything that Lockkeeper did not author goes through `text` or `code` before it is written.
Sources: CommonMark 0.31 (escapes, code spans), GitHub Flavored Markdown (tables, autolinks),
GitHub documentation "Autolinked references and URLs" and "Mentioning people and teams".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

_WORD_JOINER: Final = "\u2060"
# Characters with a meaning in GFM, in HTML, or in what GitHub adds after its parser.
# List marks and underlines have one at the start of a line only, a colon before an emoji's name.
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()<>#!|~&$@^]|^[-+=]|:(?=\S))")
_LIST_NUMBER: Final = re.compile(r"^([0-9]{1,9})\.(?= |$)")
# What GitHub looks for after parsing: mentions, references, emoji, formulas.
_SOUGHT: Final = frozenset("@#$:\\")
_LINKS: Final = re.compile(r"(?i)(www|https?|ftp|mailto|xmpp|GH)(?=[.:-])")
# A commit is linked from 7 digits on, so that no run of 7 may stay.
_LONG_HEX: Final = re.compile(r"(?i)(?<![0-9a-f])[0-9a-f]{7,}")
_HEX_STEP: Final = 6
# What is copied: between backquotes, or letters, digits and what references hold besides them.
_COPIED: Final = re.compile(
    r"`([^`]+)`|(?<![\w@])@?[A-Za-z0-9](?:[A-Za-z0-9._/:@+~-]*[A-Za-z0-9])?"
)
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})
_LEFT_TO_RIGHT: Final = "\u200e"
_DROPPED: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_MARKS: Final = re.compile(
    r"(\S)((?:[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0"
    r"\ufe20-\ufe2f]){2})[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff"
    r"\u20d0-\u20f0\ufe20-\ufe2f]+"
)


def plain(value: str, limit: int = 200) -> str:
    """One line without control, bidirectional or invisible characters, at most ``limit`` long."""
    if not (value.isascii() and value.isprintable()):
        # No more than a few characters per shown one are looked at: the rest is cut off anyway.
        value = unicodedata.normalize("NFC", value[: 16 * limit])
        value = "".join(
            " " if c in "\r\n\t\u2028\u2029" else c
            for c in value
            if c in "\r\n\t\u2028\u2029" or unicodedata.category(c) not in _DROPPED
        )
        value = _MARKS.sub(r"\1\2", value)
    line = " ".join(value.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def text(value: str, limit: int = 200) -> str:
    """Text that reads the same and means nothing: no tag, link, mention, reference or cell."""
    line = plain(value, limit)
    return _set_apart(line, _escaped(line))


def prose(value: str, limit: int = 200) -> str:
    """The same for sentences in checks and comments, where people copy from.

    References, tags, commits and what stands in backquotes are code spans, not broken up.

    >>> prose("no image yet: looked for r.example/api:sha-2b2e927")
    'no image yet: looked for `r.example/api:sha-2b2e927`'
    """
    line = plain(value, limit)
    parts: list[str] = []
    done = 0
    for match in _COPIED.finditer(line):
        quoted = match[1]
        if quoted or _WORD_JOINER in _escaped(match[0]):
            parts += [_escaped(line[done : match.start()]), code(quoted or match[0])]
            done = match.end()
    return "".join([*parts, _escaped(line[done:])])


def _escaped(line: str) -> str:
    line = _LINKS.sub(lambda m: f"{m[1][0]}{_WORD_JOINER}{m[1][1:]}{_WORD_JOINER}", line)
    line = _LONG_HEX.sub(_broken_up, line)
    # A numeric character reference is text for the parser wherever it stands, also in a cell;
    # the joiner behind it undoes what GitHub looks for after parsing.
    line = _SPECIAL.sub(
        lambda m: f"&#{ord(m[1])};" + (_WORD_JOINER if m[1] in _SOUGHT else ""), line
    )
    return _LIST_NUMBER.sub(r"\1&#46;", line)


def _broken_up(match: re.Match[str]) -> str:
    run = match[0]
    return _WORD_JOINER.join(run[i : i + _HEX_STEP] for i in range(0, len(run), _HEX_STEP))


def code(value: str, limit: int = 200) -> str:
    """A code span: nothing inside has a meaning, and it ends where it should."""
    line = plain(value, limit).replace("|", "¦")  # a pipe ends a table cell even inside code
    if not line:
        return ""
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return _set_apart(line, f"{fence}{pad}{line}{pad}{fence}")


def _set_apart(line: str, written: str) -> str:
    """Letters that run from right to left take no number or arrow beside them along.

    Without the marks "of X: 1000 → Y" is shown as "of X → 1000: Y" (Unicode Annex 9, rule N1).
    """
    if line.isascii() or not any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in line):
        return written
    return f"{_LEFT_TO_RIGHT}{written}{_LEFT_TO_RIGHT}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """A table of ready cells; ``align`` has ``l`` or ``r`` per column."""
    marks = [(" --: " if a == "r" else " :-- ") for a in align.ljust(len(header), "l")]
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(marks) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def moved(now: str, new: str) -> str:
    """What is now and what is new, as one."""
    return f"{new} (as now)" if now == new and now != "not known" else f"{now} → {new}"


def items(rows: Iterable[Sequence[str]]) -> str:
    """A list of ready parts; what is empty is left out.

    What others wrote stands in lists, never in tables: a line of any length breaks on a phone,
    where a table has to be moved sideways to be read.
    """
    return "\n".join("- " + " · ".join(part for part in row if part) for row in rows)


def details(summary: str, body: str) -> str:
    """A folded section; both parts are ready Markdown."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n</details>"
