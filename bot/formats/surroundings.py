"""What stands beside a mention: it tells two of the same name apart, a tag of its own for example.

Everything is gathered once for a document: a file may name images ten thousand times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Final

from bot.formats.yaml_tree import MappingNode, Node, ScalarNode, SequenceNode

_SHORT: Final = 1_000
"""Characters of a scalar that may be a part of an image."""
_AROUND: Final = 300
"""Characters before and behind a mention in its line."""

Named = Callable[[str], Iterable[tuple[int, str]]]
"""Where a text names images: position, and name with version."""


class Surroundings:
    """The nodes of one document, and what stands around each."""

    def __init__(self, nodes: Iterable[tuple[str, Node]], named: Named) -> None:
        """Take nodes by their pointer, and what finds names in a text."""
        self._given, self._named = nodes, named
        self._direct: dict[int, str] = {}
        self._lines: dict[int, dict[str, set[str]]] = {}

    @cached_property
    def _nodes(self) -> dict[str, Node]:
        return dict(self._given)

    def of(self, pointer: str, said: str) -> str:
        """What may be a part of one image with what a pointer names, as one short text.

        The scalars in it, those in the mapping or list around it, and its own lines that say the
        name: a tag of its own, the next argument.
        """
        own, around = self._nodes.get(pointer), self._nodes.get(pointer.rpartition("/")[0])
        parts = [self._beside(own), self._beside(around), *sorted(self._own_lines(own, said))]
        return _hash(parts)

    def _beside(self, node: Node | None) -> str:
        """The short scalars that stand directly in a mapping or a list."""
        if node is None or isinstance(node, ScalarNode):
            return ""
        if id(node) not in self._direct:
            self._direct[id(node)] = _hash(sorted(_direct(node)))
        return self._direct[id(node)]

    def _own_lines(self, node: Node | None, said: str) -> Iterable[str]:
        if not isinstance(node, ScalarNode):
            return ()
        if id(node) not in self._lines:
            found: dict[str, set[str]] = {}
            text = str(node.value)
            for position, name in self._named(text):
                found.setdefault(name, set()).add(_line(text, position, name))
            self._lines[id(node)] = found
        return self._lines[id(node)].get(said, ())


def _line(text: str, position: int, name: str) -> str:
    """The part of its line around a name."""
    begin = text.rfind("\n", max(0, position - _AROUND), position) + 1
    end = text.find("\n", position, position + len(name) + _AROUND)
    before = begin or max(0, position - _AROUND)
    return text[before : end if end >= 0 else position + len(name) + _AROUND]


def _direct(node: Node) -> Iterator[str]:
    pairs: Iterable[tuple[str, Node]] = ()
    if isinstance(node, MappingNode):
        pairs = ((str(key.value), value) for key, value in node.value)
    elif isinstance(node, SequenceNode):
        pairs = ((str(index), value) for index, value in enumerate(node.value))
    for name, value in pairs:
        if isinstance(value, ScalarNode) and len(value.value) < _SHORT:
            yield f"{name}={value.value}"


def _hash(parts: Iterable[str]) -> str:
    text = "\0".join(parts).encode("utf-8", "replace")
    return hashlib.sha256(text).hexdigest()[:16]
