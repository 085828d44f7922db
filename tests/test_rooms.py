"""Facts and decisions reach no effect: followed from the marks of the ports through the code.

A call counts by its name, so a new method with an effect's name in these rooms fails too. That
errs on the safe side, and says which way leads there.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

import bot
import bot.ports
from bot.ports.effects import EFFECT_ATTRIBUTE

_ROOT: Final = Path(bot.__file__).parent
_LOOKING: Final = ("domain", "formats", "facts")
"""Rooms that only look, or only decide."""


def _effects() -> frozenset[str]:
    """The names of all methods of ports that change the world outside."""
    found = set()
    for module in pkgutil.iter_modules(bot.ports.__path__, "bot.ports."):
        for port in vars(importlib.import_module(module.name)).values():
            if isinstance(port, type):
                found |= {name for name, it in vars(port).items() if hasattr(it, EFFECT_ATTRIBUTE)}
    return frozenset(found)


def _functions(path: Path) -> Iterator[tuple[str, ast.AST]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield node.name, node


def _imported(path: Path) -> Mapping[str, tuple[str, str]]:
    """Local name -> module and name, of what comes from our own rooms."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bot.")
        for alias in node.names
    }


def _module(path: Path) -> str:
    return ".".join(("bot", *path.relative_to(_ROOT).with_suffix("").parts))


class _Code:
    """Which function mentions which, and which calls a method with an effect's name."""

    def __init__(self, rooms: tuple[str, ...], effects: frozenset[str]) -> None:
        self.mentions: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self.acts: dict[tuple[str, str], str] = {}
        for room in rooms:
            for path in (_ROOT / room).rglob("*.py"):
                self._read(path, effects)

    def _read(self, path: Path, effects: frozenset[str]) -> None:
        module, imported = _module(path), _imported(path)
        own = {name for name, _ in _functions(path)}
        for name, body in _functions(path):
            here = self.mentions.setdefault((module, name), set())
            for node in ast.walk(body):
                if isinstance(node, ast.Name):
                    here |= {imported[node.id]} if node.id in imported else set()
                    here |= {(module, node.id)} if node.id in own else set()
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    here |= {(module, node.attr)} if node.value.id == "self" else set()
                called = node.func if isinstance(node, ast.Call) else None
                if isinstance(called, ast.Attribute) and called.attr in effects:
                    self.acts[module, name] = called.attr

    def way(self, start: tuple[str, str]) -> list[str]:
        """From a function to an effect; empty: there is none."""
        seen, to_do = {start}, [(start, [start[1]])]
        while to_do:
            at, way = to_do.pop()
            if at in self.acts:
                return [*way, self.acts[at]]
            for mentioned in self.mentions.get(at, set()) - seen:
                seen.add(mentioned)
                to_do.append((mentioned, [*way, mentioned[1]]))
        return []


@pytest.fixture(scope="module")
def code() -> _Code:
    """Everything that facts may import."""
    return _Code((*_LOOKING, "signatures"), _effects())


def test_effects_are_found(code: _Code) -> None:
    assert {"write_commit", "copy", "attach", "set_check", "merge_pull_request"} <= _effects()
    signs = ("bot.signatures.sign", "ensure_signed")
    assert code.way(signs), "the way to an effect that is there is not found"


@pytest.mark.parametrize("room", _LOOKING)
def test_who_looks_reaches_no_effect(code: _Code, room: str) -> None:
    ways = {
        f"{module}.{name}": way
        for module, name in code.mentions
        if module.startswith(f"bot.{room}.") and (way := code.way((module, name)))
    }
    assert ways == {}
