"""Change a few characters of a text and nothing else.

No YAML library writes back what it read (dump(load(x)) differs from x for most real files), so
an edit is found by parsing and carried out on the original characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ruamel.yaml.nodes import ScalarNode

from bot.domain.errors import ConfigurationError, IntegrityError
from bot.formats.yaml_tree import line_of


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Characters ``start`` to ``end`` (exclusive) of a text; empty spans are insertions."""

    start: int
    end: int

    def of(self, text: str) -> str:
        """The characters themselves."""
        return text[self.start : self.end]


@dataclass(frozen=True, slots=True, order=True)
class Splice:
    """Put ``replacement`` where the span is."""

    span: Span
    replacement: str


def spliced(text: str, splices: Sequence[Splice]) -> str:
    """The text with every splice carried out; overlapping ones are an IntegrityError."""
    parts: list[str] = []
    position = 0
    for splice in sorted(splices):
        if splice.span.start < position:
            raise IntegrityError("two edits of one file overlap")
        parts += [text[position : splice.span.start], splice.replacement]
        position = splice.span.end
    return "".join([*parts, text[position:]])


def value_span(text: str, node: ScalarNode, file: str) -> Span:
    """Where the characters of a scalar's value stand, without quotes, anchor and tag.

    Raises:
        ConfigurationError: The value is written with escapes or as a block, so that its
            characters do not stand in the file one by one.
    """
    value = str(node.value)
    quote = node.style if node.style in {"'", '"'} else ""
    end = int(node.end_mark.index) - len(quote)
    start = end - len(value)
    if node.style in {"|", ">"} or start < node.start_mark.index or text[start:end] != value:
        raise ConfigurationError(
            file,
            line_of(node),
            f"{value[:80]!r} is written with escapes or as a block",
            "write it plainly on one line",
        )
    return Span(start, end)
