"""A diff of texts that `git apply` takes: CRLF, a missing final newline, any file name."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Final

_CONTEXT: Final = 3
_NO_NEWLINE: Final = "\\ No newline at end of file\n"
_QUOTED: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def unified_diff(path: str, before: str, after: str) -> str:
    """The difference of two versions of a file; empty where there is none."""
    if before == after:
        return ""
    old, new = _lines(before), _lines(after)
    a, b = _name(f"a/{path}"), _name(f"b/{path}")
    # A name with a space ends with a tab, so that nobody takes what follows for a date.
    tab = "\t" if " " in path and not a.startswith('"') else ""
    head = f"diff --git {a} {b}\n--- {a}{tab}\n+++ {b}{tab}\n"
    return head + "".join(_hunks(old, new))


def _lines(text: str) -> list[str]:
    """Lines as git counts them: only a line feed ends one."""
    lines = [f"{line}\n" for line in text.split("\n")]
    last = lines.pop().removesuffix("\n")
    return [*lines, last] if last else lines


def _name(name: str) -> str:
    if all(character.isprintable() and character not in _QUOTED for character in name):
        return name
    return '"' + "".join(_QUOTED.get(c, c if c.isprintable() else _octal(c)) for c in name) + '"'


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def _hunks(old: list[str], new: list[str]) -> Iterator[str]:
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    matcher = SequenceMatcher(
        None, old[start : len(old) - end], new[start : len(new) - end], autojunk=False
    )
    changed = [
        (i + start, j + start, k + start, m + start)
        for tag, i, j, k, m in matcher.get_opcodes()
        if tag != "equal"
    ]
    for group in _grouped(changed):
        yield from _hunk(old, new, group)


def _common(one: list[str], other: list[str]) -> int:
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))


Change = tuple[int, int, int, int]


def _grouped(changes: list[Change]) -> Iterator[list[Change]]:
    group: list[Change] = []
    for change in changes:
        if group and change[0] - group[-1][1] > 2 * _CONTEXT:
            yield group
            group = []
        group.append(change)
    if group:
        yield group


def _hunk(old: list[str], new: list[str], group: list[Change]) -> Iterator[str]:
    first, last = group[0], group[-1]
    begin, end = max(0, first[0] - _CONTEXT), min(len(old), last[1] + _CONTEXT)
    new_begin, new_end = first[2] - (first[0] - begin), last[3] + (end - last[1])
    yield f"@@ -{_range(begin, end)} +{_range(new_begin, new_end)} @@\n"
    position = begin
    for i, j, k, m in group:
        yield from _marked(" ", old[position:i])
        yield from _marked("-", old[i:j])
        yield from _marked("+", new[k:m])
        position = j
    yield from _marked(" ", old[position:end])


def _range(begin: int, end: int) -> str:
    length = end - begin
    return f"{begin + 1 if length else begin},{length}"


def _marked(mark: str, lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield mark + line
        if not line.endswith("\n"):
            yield "\n" + _NO_NEWLINE
