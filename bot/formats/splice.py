"""Change a few characters of a text and nothing else.

No YAML library writes back what it read (dump(load(x)) differs from x for most real files), so
an edit is found by parsing and carried out on the original characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from yaml.resolver import Resolver

from bot.domain.errors import IntegrityError
from bot.formats.yaml_tree import ScalarNode


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


def spliced(text: str, splices: Iterable[Splice]) -> str:
    """The text with every splice carried out once; overlapping ones are an IntegrityError."""
    parts: list[str] = []
    position = 0
    last: Span | None = None
    for splice in sorted(set(splices)):
        span = splice.span
        if span.start < position or (span == last and span.start != span.end):
            raise IntegrityError("two edits of one file overlap")
        parts += [text[position : span.start], splice.replacement]
        position, last = span.end, span
    return "".join([*parts, text[position:]])


_NUMBER: Final = re.compile(
    r"[-+]?(?:0[box][0-9A-Fa-f_]+|(?:\.[0-9_]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?)"
)
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", ""})
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./:@+=-]*")


def scalar_text(value: str, style: str) -> str:
    """A value as a scalar in the style of the one that it replaces.

    What YAML 1.1 or 1.2 would read as another type is quoted, whatever stood there before.
    """
    if style in {"'", '"'}:
        return f"{style}{value}{style}"
    return value if _is_plain(value) else f'"{value}"'


def _is_plain(value: str) -> bool:
    if value.lower() in _WORDS or _NUMBER.fullmatch(value) or not _PLAIN.fullmatch(value):
        return False
    kind = _RESOLVER.resolve(ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]  # the library's stub says nothing
    return bool(kind == "tag:yaml.org,2002:str") and not value.endswith(":")


_RESOLVER: Final = Resolver()
