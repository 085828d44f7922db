"""YAML that people write, as strict structs: every error has file, line and the nearest key.

msgspec says *where* an error is as a path; the document knows the line of every path. Keys that
start with ``x-`` are ignored, YAML anchors and merge keys work.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self, TypeAlias, TypeGuard, TypeVar

import msgspec

from bot.domain.errors import ConfigurationError
from bot.domain.pipeline_rules import did_you_mean
from bot.formats import structs
from bot.formats.yaml_tree import Plain, compose_all, plain

_PATH: Final = re.compile(r"at `(\$[^`]*)`")
_UNKNOWN: Final = re.compile(r"unknown field `([^`]*)`")
_MISSING: Final = re.compile(r"missing required field `([^`]*)`")
_MOST: Final = 100
"""Mistakes of one struct that are named."""

_Path: TypeAlias = tuple[str | int, ...]
_Places: TypeAlias = "dict[str, _Places] | list[tuple[int, _Places]] | None"

SIZE_LIMIT: Final = 2**20
"""Bytes of a file that people write for Lockkeeper."""

T = TypeVar("T", bound=msgspec.Struct)


class Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A struct of a file that people write for Lockkeeper: unknown keys are errors."""


@dataclass(frozen=True, slots=True)
class PlacedDocument:
    """The one document of a file, and the line of everything in it."""

    file: str
    document: Plain
    places: _Places = None
    """Where things stood before something was left out; None: nothing was."""

    @classmethod
    def read(cls, text: str, file: str) -> Self:
        """Read a file that holds one document.

        Raises:
            ConfigurationError: Not YAML, or not exactly one document.
            LimitExceededError: Larger or deeper than the limits of docs/limits.md.
        """
        documents = compose_all(text, file, size_limit=SIZE_LIMIT)
        if len(documents) != 1:
            raise ConfigurationError(file, 1, f"{len(documents)} documents", "write exactly one")
        return cls(file, plain(documents[0], file))

    @property
    def value(self) -> object:
        """Everything but the ``x-`` keys."""
        return _without_extensions(self.document.value)

    def mapping(self) -> dict[str, object]:
        """The document as the mapping that it must be."""
        root = self.value
        if not isinstance(root, dict):
            raise self.error((), "the file must be a mapping", "start with `version: 1`")
        return root

    def line(self, path: Sequence[str | int]) -> int | None:
        """The line of a path, or of the nearest thing around it."""
        return self.document.line(_before(path, self.places))

    def error(self, path: Sequence[str | int], fact: str, remedy: str = "") -> ConfigurationError:
        """An error at a path."""
        return ConfigurationError(self.file, self.line(path), fact, remedy, path)

    def mistakes(self, read: Callable[[PlacedDocument], object]) -> Sequence[ConfigurationError]:
        """Every mistake that ``read`` finds, by line: what is wrong is left out, and it reads on.

        What follows only from another mistake is left out.
        """
        found: list[ConfigurationError] = []
        value, places = copy.deepcopy(self.value), _places(self.value)
        gone: set[_Path] = set()
        while len(found) < _MOST:
            rest = replace(self, document=replace(self.document, value=value), places=places)
            try:
                read(rest)
            except ConfigurationError as error:
                place = _before(error.path, places)
                if not any(one[: len(place)] == place for one in gone):
                    found.append(error)
                # What is missing is a mistake of what it is missing in.
                around = [error.path[:length] for length in range(len(error.path), 0, -1)]
            else:
                break
            left_out = next((path for path in around if _stands(places, path)), ())
            if not left_out:
                break
            gone.add(_before(left_out, places))
            _take_out(value, places, left_out)
        return sorted(found, key=lambda one: one.line or 0)

    def convert(self, value: object, kind: type[T], path: Sequence[str | int]) -> T:
        """A value that stands at ``path`` as a struct.

        Raises:
            ConfigurationError: It is not of that kind; where, what, and the nearest known key.
        """
        converted, errors = self.convert_noting(value, kind, path)
        if errors or converted is None:
            raise errors[0]
        return converted

    def convert_noting(
        self, value: object, kind: type[T], path: Sequence[str | int]
    ) -> tuple[T | None, Sequence[ConfigurationError]]:
        """The same, with every error: what is wrong is left out, and the rest is read again.

        None where too little is right for a struct.
        """
        rest, errors, left_out = copy.deepcopy(value), list[ConfigurationError](), set[_Path]()
        while True:
            try:
                return structs.convert(rest, kind), errors
            except msgspec.ValidationError as error:
                mistake = _Mistake.of(str(error))
            except UnicodeEncodeError:  # YAML's \uD83D, which JSON would join with the next
                fact = "half of a surrogate pair is no character"
                errors.append(self.error(path, fact, "write \\U0001F6A2 or the character itself"))
                return None, errors
            if not _stands_there(mistake, left_out):
                errors.append(self._placed(mistake, kind, path))
            if len(errors) == _MOST or not _leave_out(rest, mistake.path):
                return None, errors
            left_out.add(mistake.path)

    def _placed(
        self, mistake: _Mistake, kind: type[msgspec.Struct], path: Sequence[str | int]
    ) -> ConfigurationError:
        at = (*path, *mistake.path)
        if not mistake.unknown:
            return self.error(at, f"{_dotted(_before(at, self.places))}: {mistake.fact}")
        where = _dotted(_before(at[:-1], self.places)) or "the file"
        known = _known_keys(kind, mistake.path[:-1])
        fact = f"unknown key {mistake.unknown!r} in {where}"
        return self.error(at, fact, did_you_mean(mistake.unknown, known))


@dataclass(frozen=True, slots=True)
class _Mistake:
    """What msgspec says, in parts."""

    fact: str
    path: _Path
    unknown: str = ""
    """The last step of the path, where that is a key that does not exist."""
    missing: str = ""
    """A key that must be at the path and is not."""

    @classmethod
    def of(cls, message: str) -> Self:
        found, unknown = _PATH.search(message), _UNKNOWN.search(message)
        missing = _MISSING.search(message)
        path = _steps(found[1]) if found else ()
        return cls(
            message.partition(" - at ")[0],
            (*path, unknown[1]) if unknown else path,
            unknown[1] if unknown else "",
            missing[1] if missing else "",
        )


def _stands_there(mistake: _Mistake, left_out: set[_Path]) -> bool:
    """Whether what is missing was left out itself, perhaps under a misspelt name."""
    beside = [str(path[-1]) for path in left_out if path[:-1] == mistake.path]
    return bool(mistake.missing) and bool(difflib.get_close_matches(mistake.missing, beside, 1))


def _leave_out(value: object, path: _Path) -> bool:
    """Remove what stands at ``path``, or the list that holds it; False if that is everything."""
    while path and isinstance(path[-1], int):
        path = path[:-1]  # items behind it keep their places
    for step in path[:-1]:
        value = value[step] if isinstance(value, dict | list) else None  # type: ignore[index]  # as the path says
    return isinstance(value, dict) and bool(path) and value.pop(path[-1], None) is not None


def _places(value: object) -> _Places:
    """The shape of a value: what stands where."""
    if isinstance(value, dict):
        return {key: _places(one) for key, one in value.items()}
    if isinstance(value, list):
        return [(index, _places(one)) for index, one in enumerate(value)]
    return None


def _before(path: Sequence[str | int], places: _Places) -> _Path:
    """Where a thing stood before others were taken out of the lists around it."""
    found: list[str | int] = []
    for step in path:
        if isinstance(places, list) and isinstance(step, int) and step < len(places):
            index, places = places[step]
            found.append(index)
        else:
            places = places.get(str(step)) if isinstance(places, dict) else None
            found.append(step)
    return tuple(found)


def _stands(places: _Places, path: _Path) -> bool:
    """Whether something stands at a path."""
    for step in path:
        if isinstance(places, list) and isinstance(step, int) and step < len(places):
            places = places[step][1]
        elif isinstance(places, dict) and step in places:
            places = places[str(step)]
        else:
            return False
    return True


def _take_out(value: Any, places: Any, path: _Path) -> None:  # noqa: ANN401 - shapes that `_stands` has seen
    """Remove what stands at a path, from the value and from its shape."""
    for step in path[:-1]:
        value, stands = value[step], places[step]
        places = stands[1] if isinstance(stands, tuple) else stands
    del value[path[-1]], places[path[-1]]


def _steps(path: str) -> tuple[str | int, ...]:
    """``$.on.branches[0]`` as steps; ``[...]`` (any key) ends them."""
    steps: list[str | int] = []
    for name, index in re.findall(r"\.([^.\[\]]+)|\[([^\]]*)\]", path):
        if index and not index.isdigit():
            break
        steps.append(int(index) if index else name)
    return tuple(steps)


def _dotted(path: Sequence[str | int]) -> str:
    return ".".join(str(step) for step in path)


def _known_keys(kind: type[msgspec.Struct], path: Sequence[str | int]) -> list[str]:
    """The keys of the struct that stands at ``path`` below ``kind``."""
    for step in path:
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        inner = [t for t in _alternatives(fields.get(str(step))) if _is_struct(t)]
        if inner:
            kind = inner[0]
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def _alternatives(annotation: object) -> list[object]:
    """Every type inside a union, list or mapping annotation."""
    inner = getattr(annotation, "__args__", ())
    return [annotation, *(found for part in inner for found in _alternatives(part))]


def _is_struct(annotation: object) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)


def _without_extensions(value: object) -> object:
    """Leave out ``x-`` keys, wherever they stand."""
    if isinstance(value, dict):
        return {k: _without_extensions(v) for k, v in value.items() if not k.startswith("x-")}
    if isinstance(value, list):
        return [_without_extensions(item) for item in value]
    return value
