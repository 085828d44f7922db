"""YAML as a tree of nodes with exact positions, under limits that are checked before parsing.

ruamel.yaml's pure parser is used for positions only; nothing is ever dumped with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from bot.domain.errors import ConfigurationError, LimitExceededError

SIZE_LIMIT: Final = 2**20  # bytes
NESTING_LIMIT: Final = 64
NODE_LIMIT: Final = 100_000
_COMPACT: Final = re.compile(r"^(?:[ ]*[-?:][ ])*")


def compose_all(text: str, file: str) -> list[Node]:
    """The documents of a YAML text; empty documents are left out.

    Raises:
        ConfigurationError: It is not YAML; file, line and what is wrong.
        LimitExceededError: Too large or nested too deep (the limits of docs/limits.md).
    """
    if len(text.encode("utf-8", "surrogatepass")) > SIZE_LIMIT:
        raise LimitExceededError(f"YAML file {file}", "1 MiB")
    if _nesting(text) > NESTING_LIMIT:
        raise LimitExceededError(f"nesting of YAML file {file}", f"{NESTING_LIMIT} levels")
    try:
        nodes = [node for node in YAML(pure=True).compose_all(text) if node is not None]
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        raise ConfigurationError(file, line, f"not YAML: {error.problem}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(file, None, f"not YAML: {str(error)[:200]}") from error
    _check_nodes(nodes, file)
    return nodes


def _nesting(text: str) -> int:
    """An upper bound of the nesting, counted on the text: parsing 2,000 brackets takes seconds."""
    return max(_flow_depth(text), _block_depth(text))


def _flow_depth(text: str) -> int:
    depth = deepest = 0
    for bracket in re.finditer(r"[\[\]{}]", text):
        depth = depth + 1 if bracket[0] in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _block_depth(text: str) -> int:
    indents: list[int] = []
    deepest = 0
    for line in text.splitlines():
        stripped = line.lstrip(" ")
        if not stripped or stripped.startswith("#"):
            continue
        indent = len(line) - len(stripped)
        while indents and indents[-1] >= indent:
            indents.pop()
        indents.append(indent)
        compact = _COMPACT.match(line)
        inline = len(compact[0].split()) if compact else 0
        deepest = max(deepest, len(indents) + inline)
    return deepest


def _check_nodes(nodes: list[Node], file: str) -> None:
    """Count every node once, aliases included, and refuse repeated keys."""
    seen: set[int] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if len(seen) > NODE_LIMIT:
            raise LimitExceededError(f"YAML file {file}", f"{NODE_LIMIT} nodes")
        if isinstance(node, MappingNode):
            _refuse_repeated_keys(node, file)
            pending += [part for pair in node.value for part in pair]
        elif isinstance(node, SequenceNode):
            pending += node.value


def _refuse_repeated_keys(node: MappingNode, file: str) -> None:
    keys: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, ScalarNode):
            if key.value in keys and key.value != "<<":
                raise ConfigurationError(file, line_of(key), f"key {key.value!r} stands twice")
            keys.add(key.value)


def line_of(node: Node) -> int:
    """The line of a node, counted from 1."""
    return int(node.start_mark.line) + 1


@dataclass(frozen=True, slots=True)
class Plain:
    """A document as plain values, and the line of everything in it."""

    value: object
    lines: dict[tuple[str | int, ...], int]
    """Path from the root -> line, counted from 1."""

    def line(self, path: tuple[str | int, ...]) -> int | None:
        """The line of the path, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


def plain(node: Node, file: str) -> Plain:
    """Resolve scalars (YAML 1.2 core schema), aliases and merge keys into plain values."""
    lines: dict[tuple[str | int, ...], int] = {}
    budget = [NODE_LIMIT]
    try:
        return Plain(_value(node, (), lines, file, budget), lines)
    except RecursionError as error:
        raise ConfigurationError(file, line_of(node), "an alias contains itself") from error


def _value(
    node: Node,
    path: tuple[str | int, ...],
    lines: dict[tuple[str | int, ...], int],
    file: str,
    budget: list[int],
) -> object:
    budget[0] -= 1
    if budget[0] < 0:  # an alias bomb: few nodes, many paths
        raise LimitExceededError(f"YAML file {file}", f"{NODE_LIMIT} values")
    lines[path] = line_of(node)
    if isinstance(node, MappingNode):
        result: dict[str, object] = {}
        for key, child in _pairs(node, file):
            lines[(*path, key.value)] = line_of(key)
            value = _value(child, (*path, key.value), lines, file, budget)
            lines[(*path, key.value)] = line_of(key)
            result[key.value] = value
        return result
    if isinstance(node, SequenceNode):
        return [_value(c, (*path, i), lines, file, budget) for i, c in enumerate(node.value)]
    return scalar(node)


def _pairs(node: MappingNode, file: str) -> Iterator[tuple[ScalarNode, Node]]:
    """Keys and values with merge keys (``<<``) followed; own keys win."""
    own = {key.value for key, _ in node.value if isinstance(key, ScalarNode)}
    for key, value in node.value:
        if not isinstance(key, ScalarNode):
            raise ConfigurationError(file, line_of(key), "a key must be plain text")
        if key.value == "<<" and not key.style:
            for source in value.value if isinstance(value, SequenceNode) else [value]:
                if not isinstance(source, MappingNode):
                    raise ConfigurationError(file, line_of(key), "<< must name a mapping")
                for pair in _pairs(source, file):
                    if pair[0].value not in own:
                        own.add(pair[0].value)
                        yield pair
        else:
            yield key, value


_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,20}")
_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9]{1,20}|[0-9]{1,20}(?:\.[0-9]{0,20})?)(?:[eE][-+]?[0-9]{1,3})?"
)


def scalar(node: Node) -> str | int | float | bool | None:
    """A scalar by the YAML 1.2 core schema; quoted ones and longer numbers stay text."""
    text = str(node.value)
    if not isinstance(node, ScalarNode) or node.style:
        return text
    if text in {"", "~", "null", "Null", "NULL"}:
        return None
    if text in {"true", "True", "TRUE", "false", "False", "FALSE"}:
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
