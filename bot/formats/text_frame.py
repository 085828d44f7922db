"""Where the characters of a YAML text stand in its file: the text may stand inside another one.

A patch or Helm values are often written as text inside a YAML scalar. Both levels are parsed, and
an edit of the inner one is a splice of the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from yaml.error import Mark

from bot.formats.splice import Span
from bot.formats.yaml_tree import Node, ScalarNode, bom, line_of

_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_INDICATOR: Final = re.compile(r"[|>]([-+0-9]*)[ \t]*(?:#[^\n\r]*)?(?:\r\n|\n|\r)")


@dataclass(frozen=True)
class Frame:
    """A YAML text and its place in the file."""

    file: str
    """The whole file's characters."""
    text: str
    """What is parsed here."""
    shift: int = 0
    """Characters of the file before the text, where it stands there as it is."""
    line_starts: tuple[int, ...] = ()
    """Where each line of the text stands in the file, behind its indent; empty: see `shift`."""
    first_line: int = 0
    """Lines of the file before the text."""
    indent: str = ""
    """What stands before every line of the text in the file."""
    is_one_line: bool = False
    """No line can be added."""
    quote: str = ""
    """The quote that the text stands in: its characters cannot hold another one."""

    @classmethod
    def of_file(cls, content: str) -> Frame:
        """The frame of a whole file."""
        return cls(content, content, shift=bom(content))

    def position(self, mark: Mark) -> int:
        """Where a mark stands in the file."""
        if not self.line_starts:
            return self.shift + int(mark.index)
        line = int(mark.line)
        if line >= len(self.line_starts):
            last = self.line_starts[-1]
            return last + len(self.text.split("\n")[len(self.line_starts) - 1])
        return self.line_starts[line] + int(mark.column)

    def line(self, node: Node) -> int:
        """The line of a node in the file, from 1."""
        return self.first_line + line_of(node)

    def line_within(self, node: ScalarNode, position: int) -> int:
        """The line of a character of a scalar's value: exact in blocks, else the scalar's own."""
        within = str(node.value).count("\n", 0, position)
        return self.line(node) + (within + 1 if node.style in {"|", ">"} else 0)

    def column(self, node: Node) -> str:
        """The indent that puts a key under this one."""
        return self.indent + " " * int(node.start_mark.column)

    def line_end(self, position: int) -> tuple[int, str]:
        """Where the line of a position ends in the file, and how lines end there."""
        found = _LINE_END.search(self.file, position)
        if found is None:
            before = _LINE_END.search(self.file)
            return len(self.file), before[0] if before else "\n"
        return found.start(), found[0]

    def value_span(self, node: ScalarNode) -> Span | None:
        """Where a scalar's value stands, quotes included, without anchor and tag.

        None: it is written with escapes or as a block, so that its characters do not stand in
        the file one by one.
        """
        if node.style in {"|", ">"}:
            return None
        value, width = str(node.value), 1 if node.style in {"'", '"'} else 0
        end = self.position(node.end_mark)
        start = end - len(value) - 2 * width
        if start < self.position(node.start_mark) or (width and node.style == self.quote):
            return None
        if self.file[start + width : end - width] != value:
            return None
        if not value and not width and self.file[start - 1 : start] not in {":", " ", "\t"}:
            return None
        return Span(start, end)

    def inner(self, node: ScalarNode) -> Frame | None:
        """The frame of a scalar's value as a text of its own; None where it cannot be mapped.

        A text that cannot be mapped can be read all the same, see `unmapped`.
        """
        if node.style == "|":
            return self._literal(node)
        span = self.value_span(node)
        if span is None or node.style not in {"'", '"', ""} or not node.value:
            return None
        width = 1 if node.style else 0
        return Frame(
            self.file,
            str(node.value),
            shift=span.start + width,
            first_line=self.line(node) - 1,
            is_one_line=True,
            quote=str(node.style or ""),
        )

    def _literal(self, node: ScalarNode) -> Frame | None:
        if self.quote:
            return None
        start = self.position(node.start_mark)
        head = _INDICATOR.search(self.file, start)
        if head is None or head.start() > self.line_end(start)[0]:
            return None
        lines = str(node.value).split("\n")
        if lines[-1] == "":
            lines.pop()
        first = next((line for line in lines if line), "")
        starts: list[int] = []
        indent: str | None = None
        position = head.end()
        for line in lines:
            end, newline = self.line_end(position)
            raw = self.file[position:end]
            if indent is None and line and line is first:
                indent = raw[: len(raw) - len(line)]
            if line and not (indent is not None and raw == indent + line):
                return None
            starts.append(position + (len(indent) if indent is not None and line else 0))
            position = end + len(newline)
        if indent is None or indent.strip(" "):
            return None
        line_number = self.file.count("\n", 0, head.end())
        return Frame(
            self.file,
            str(node.value),
            line_starts=tuple(starts),
            first_line=line_number,
            indent=indent,
        )
