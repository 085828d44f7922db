"""What a kustomization says: which files it needs, and which image names it replaces.

By kustomize's own types (api/types/kustomization.go); names of files as its loader knows them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

KUSTOMIZATIONS: Final = frozenset({"kustomization.yaml", "kustomization.yml", "Kustomization"})
_FILES: Final = (
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "patchesStrategicMerge",
)
_PATHS: Final = ("patches", "patchesJson6902", "replacements")
_GENERATORS: Final = ("configMapGenerator", "secretGenerator")
_CHARTS: Final = ("helmCharts", "helmChartInflationGenerator")
KNOWN_KEYS: Final = frozenset(
    {
        *_FILES,
        *_PATHS,
        *_GENERATORS,
        *_CHARTS,
        "images",
        "kind",
        "openapi",
        "helmGlobals",
        "namespace",
    }
)
_UNSEEN: Final = (
    "components",
    "patches",
    "patchesJson6902",
    "patchesStrategicMerge",
    "generators",
    "transformers",
    "replacements",
    "configurations",
    "crds",
    "helmCharts",
    "helmChartInflationGenerator",
)
"""Fields that can bring or change images in ways that are not followed here."""


_PATTERN: Final = frozenset("*+?[](){}|^$\\")
"""What makes more than one text of a regular expression (api/image/image.go, IsImageMatched)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One of its `images`, as far as others are concerned."""

    name: str
    becomes: str
    """``newName``, else the name."""
    line: int

    @property
    def is_pattern(self) -> bool:
        """Whether the name may mean others: kustomize takes it for a regular expression.

        A dot means any character too, and stands in every name of a host.
        """
        return not _PATTERN.isdisjoint(self.name)


@dataclass(frozen=True, slots=True)
class Kustomization:
    """What a kustomization says of other files."""

    references: frozenset[str] = frozenset()
    """Repository paths that it needs: files or directories."""
    resources: frozenset[str] = frozenset()
    """Those whose objects go through it."""
    values: frozenset[str] = frozenset()
    """Those that are Helm values."""
    is_plain: bool = False
    """Nothing but local resources goes into it: what it renders can be told."""
    entries: tuple[Entry, ...] = ()
    fetches: tuple[str, ...] = ()
    """What it brings that no file here shows, for people."""
    composes: tuple[str, ...] = ()
    """How it puts images together, for people."""
    composing: frozenset[str] = frozenset()
    """Files that may do the same for it: configurations, transformers, replacements."""


def is_kustomization(path: str) -> bool:
    """Whether kustomize reads a file of this name by itself."""
    return posixpath.basename(path) in KUSTOMIZATIONS


def local(directory: str, reference: str) -> str | None:
    """A reference as a path in the repository; None for remote ones and those that leave it."""
    if "\n" in reference or "://" in reference or reference.startswith(("git@", "/")):
        return None
    if "?" in reference:
        return None
    path = posixpath.normpath(posixpath.join(directory, reference))
    return None if path.startswith(("..", "/")) or path == "." else path


def read_kustomization(
    path: str, root: Mapping[str, object], entries: tuple[Entry, ...]
) -> Kustomization:
    """What a kustomization at this path says of other files."""
    directory = posixpath.dirname(path)
    resources = [*_texts(root.get("resources")), *_texts(root.get("bases"))]
    named = [*_named(root), *_charts(root)]
    found = {one for text in named if (one := local(directory, text))}
    own = {one for text in resources if (one := local(directory, text))}
    plain = bool(own) and len(own) == len(resources) and not any(root.get(k) for k in _UNSEEN)
    charted = [*_charts(root), *_generated_values(root)]
    values = {one for text in charted if (one := local(directory, text))}
    parts = {one for text in _texts(root.get("components")) if (one := local(directory, text))}
    return Kustomization(
        frozenset(found),
        frozenset(own | parts),
        frozenset(values),
        is_plain=plain,
        entries=entries,
    )


def _named(root: Mapping[str, object]) -> Iterator[str]:
    for key in _FILES:
        yield from _texts(root.get(key))
    for key in _PATHS:
        for entry in _mappings(root.get(key)):
            yield from _texts([entry.get("path")])
    for key in _GENERATORS:
        for entry in _mappings(root.get(key)):
            files = _texts(entry.get("files"))
            yield from (text.partition("=")[2] or text for text in files)
            yield from _texts(entry.get("envs"))
            yield from _texts([entry.get("env")])
    openapi = root.get("openapi")
    if isinstance(openapi, Mapping):
        yield from _texts([openapi.get("path")])


def generated(root: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """What generators put together of files: the object's name, the key in it, the path."""
    for key in _GENERATORS:
        for entry in _mappings(root.get(key)):
            for text in _texts(entry.get("files")):
                name, equals, path = text.partition("=")
                yield (
                    str(entry.get("name", "")),
                    *((name, path) if equals else (posixpath.basename(text), text)),
                )


def _generated_values(root: Mapping[str, object]) -> Iterator[str]:
    """Files that a generator puts under ``values.yaml``: what a HelmRelease takes values from."""
    for key in _GENERATORS:
        for entry in _mappings(root.get(key)):
            for text in _texts(entry.get("files")):
                name, equals, path = text.partition("=")
                if equals and "values" in name.lower() and name.endswith((".yaml", ".yml")):
                    yield path


def _charts(root: Mapping[str, object]) -> Iterator[str]:
    for key in _CHARTS:
        for entry in _mappings(root.get(key)):
            yield from _texts([entry.get("valuesFile"), entry.get("values")])
            yield from _texts(entry.get("additionalValuesFiles"))


def _mappings(value: object) -> Iterator[Mapping[str, object]]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, Mapping):
            yield item


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
