"""YAML as a tree of nodes with exact positions, under limits that are checked before parsing.

libyaml parses (PyYAML's binding): it accepts what kubectl, kustomize and Argo CD accept, for Go's
parser is a port of it. Where the binding was built without it, ruamel.yaml's pure parser gives the
same marks, slower. Both are used for positions only; nothing is ever dumped with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import yaml
from yaml.error import Mark, MarkedYAMLError, YAMLError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from bot.domain.errors import ConfigurationError, LimitExceededError

__all__ = [
    "MappingNode",
    "Node",
    "Plain",
    "ScalarNode",
    "SequenceNode",
    "compose_all",
    "line_of",
    "pairs_of",
    "plain",
    "scalar",
]

SIZE_LIMIT: Final = 8 * 2**20  # bytes
NESTING_LIMIT: Final = 128
NODE_LIMIT: Final = 1_000_000
VALUE_LIMIT: Final = 200_000
_COMPACT: Final = re.compile(r"^(?:[ ]*[-?:][ ])*")
_BOM: Final = "\ufeff"
HAS_LIBYAML: Final = bool(yaml.__with_libyaml__)


def compose_all(
    text: str, file: str, *, pure: bool = not HAS_LIBYAML, size_limit: int = SIZE_LIMIT
) -> list[Node]:
    """The documents of a YAML text; empty documents are left out.

    Positions count from the first character behind a byte order mark, see `bom`.

    Args:
        text: the file's characters; undecodable bytes as surrogates are refused.
        file: its name, for errors.
        pure: parse without libyaml; for tests, and where there is none.
        size_limit: bytes that it may have.

    Raises:
        ConfigurationError: It is not YAML; file, line and what is wrong.
        LimitExceededError: Too large or nested too deep (the limits of docs/limits.md).
    """
    text = text.removeprefix(_BOM)
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        where = text.count("\n", 0, error.start) + 1
        raise ConfigurationError(file, where, "not UTF-8", "store it as UTF-8") from error
    if size > size_limit:
        raise LimitExceededError(f"YAML file {file}", f"{size_limit // 2**20} MiB")
    try:
        if _nesting_bound(text) > NESTING_LIMIT and _is_deeper(text, pure=pure):
            raise LimitExceededError(f"nesting of YAML file {file}", f"{NESTING_LIMIT} levels")
        nodes = list(_composed_purely(text) if pure else _composed(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else int(mark.line) + 1
        remedy = "correct the YAML at this line or above it"
        raise ConfigurationError(file, line, f"not YAML: {error.problem}", remedy) from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(file, None, f"not YAML: {str(error)[:200]}") from error
    _check_nodes(nodes, file)
    return nodes


def bom(text: str) -> int:
    """How many characters stand before what positions count from: 1 with a byte order mark."""
    return len(_BOM) if text.startswith(_BOM) else 0


def _composed(text: str) -> Iterator[Node]:
    loader = _positions(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if not _is_empty(node):
                yield node
    finally:
        loader.dispose()


def _positions(text: str) -> Any:  # noqa: ANN401 - a class that exists only with libyaml
    """A parser of libyaml that takes every scalar for text: kinds are `scalar`'s business."""
    return _positions_class()(text)


@cache
def _positions_class() -> Any:  # noqa: ANN401 - as above
    from yaml.cyaml import CParser  # type: ignore[attr-defined]  # noqa: PLC0415 - with libyaml

    class Positions(CParser):
        def resolve(self, *_: object) -> str:
            return ""

        def descend_resolver(self, *_: object) -> None:
            return None

        def ascend_resolver(self) -> None:
            return None

    return Positions


def _composed_purely(text: str) -> Iterator[Node]:
    from ruamel.yaml import YAML  # noqa: PLC0415 - slow import, for machines without libyaml
    from ruamel.yaml.error import (  # noqa: PLC0415 - as above
        MarkedYAMLError as RuamelError,
        YAMLError as RuamelYAMLError,
    )

    try:
        for node in YAML(typ="safe", pure=True).compose_all(text):
            converted = None if node is None else _converted(node, {})
            if converted is not None and not _is_empty(converted):
                yield converted
    except RuamelError as error:
        mark = error.problem_mark or error.context_mark
        placed = None if mark is None else _mark(mark)
        raise MarkedYAMLError(problem=error.problem, problem_mark=placed) from error
    except RuamelYAMLError as error:
        raise YAMLError(str(error)) from error


def _is_empty(node: Node | None) -> bool:
    """A document without content, as between two ``---``."""
    return node is None or (
        isinstance(node, ScalarNode) and node.value == "" and not node.style and not node.tag
    )


def _converted(node: Any, seen: dict[int, Node]) -> Node:  # noqa: ANN401 - ruamel's node
    """A node of ruamel.yaml as one of PyYAML, so that the rest knows one kind."""
    if id(node) in seen:
        return seen[id(node)]
    start, end = _mark(node.start_mark), _mark(node.end_mark)
    tag = _explicit_tag(node)
    result: Node
    if node.id == "mapping":
        result = seen[id(node)] = MappingNode(tag, [], start, end, flow_style=node.flow_style)
        result.value.extend((_converted(k, seen), _converted(v, seen)) for k, v in node.value)
    elif node.id == "sequence":
        result = seen[id(node)] = SequenceNode(tag, [], start, end, flow_style=node.flow_style)
        result.value.extend(_converted(item, seen) for item in node.value)
    else:
        style = node.style or ""
        result = seen[id(node)] = ScalarNode(tag, str(node.value), start, end, style=style)
    return result


_CORE: Final = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("bool", "float", "int", "map", "merge", "null", "seq", "str", "timestamp", "value")
)


def _explicit_tag(node: Any) -> str:  # noqa: ANN401 - ruamel's node
    """Tags that change what a value is; the parser's own guesses are left out."""
    tag = str(node.tag or "")
    return "" if tag in _CORE else tag


def _mark(mark: Any) -> Mark:  # noqa: ANN401 - ruamel's mark
    return Mark("", int(mark.index), int(mark.line), int(mark.column), None, 0)


def _is_deeper(text: str, *, pure: bool) -> bool:
    """Whether the nesting really exceeds the limit: brackets in a text are none.

    Events come one by one, so that nothing deep is ever built.
    """
    if pure:
        return True
    loader, depth = _positions(text), 0
    try:
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > NESTING_LIMIT:
                return True
    finally:
        loader.dispose()
    return False


def _nesting_bound(text: str) -> int:
    """An upper bound of the nesting, counted on the text: parsing 2,000 brackets takes seconds."""
    return max(_flow_depth(text), _block_depth(text))


def _flow_depth(text: str) -> int:
    if text.count("[") + text.count("{") <= NESTING_LIMIT:
        return 0
    depth = deepest = 0
    for bracket in re.finditer(r"[\[\]{}]", text):
        depth = depth + 1 if bracket[0] in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _block_depth(text: str) -> int:
    if not _may_be_deep(text):
        return 0
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


_DEEP: Final = re.compile(
    rf"^(?: {{{NESTING_LIMIT // 2}}}|[-?: ]{{{NESTING_LIMIT // 2}}})", re.MULTILINE
)


def _may_be_deep(text: str) -> bool:
    """Whether a line begins with so many spaces or dashes that blocks could be nested deep."""
    return _DEEP.search(text) is not None


def _check_nodes(nodes: Iterable[Node], file: str) -> None:
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
            for pair in node.value:
                pending += pair
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
    budget = [VALUE_LIMIT]
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
        raise LimitExceededError(f"YAML file {file}", f"{VALUE_LIMIT} values")
    lines[path] = line_of(node)
    if isinstance(node, MappingNode):
        result: dict[str, object] = {}
        for key, child in pairs_of(node, file):
            lines[(*path, key.value)] = line_of(key)
            value = _value(child, (*path, key.value), lines, file, budget)
            lines[(*path, key.value)] = line_of(key)
            result[key.value] = value
        return result
    if isinstance(node, SequenceNode):
        return [_value(c, (*path, i), lines, file, budget) for i, c in enumerate(node.value)]
    return scalar(node)


def pairs_of(node: MappingNode, file: str) -> Iterator[tuple[ScalarNode, Node]]:
    """Keys and values with merge keys (``<<``) followed; own keys win."""
    own = {key.value for key, _ in node.value if isinstance(key, ScalarNode)}
    yield from _pairs(node, file, own, {id(node)})


def _pairs(
    node: MappingNode, file: str, own: set[str], seen: set[int]
) -> Iterator[tuple[ScalarNode, Node]]:
    """Each merged mapping is read once: what it says again is said already."""
    for key, value in node.value:
        if not isinstance(key, ScalarNode):
            raise ConfigurationError(file, line_of(key), "a key must be plain text")
        if key.value != "<<" or key.style:
            yield key, value
            continue
        for source in value.value if isinstance(value, SequenceNode) else [value]:
            if not isinstance(source, MappingNode):
                raise ConfigurationError(file, line_of(key), "<< must name a mapping")
            if id(source) not in seen:
                seen.add(id(source))
                for pair in _pairs(source, file, set(), seen):
                    if pair[0].value not in own:
                        own.add(pair[0].value)
                        yield pair


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
