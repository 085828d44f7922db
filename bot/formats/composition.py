"""What a kustomization puts together or fetches, so that no file shows what is deployed.

A replacement may write a part of an image, an entry of a transformer's configuration may add to
one, a remote base brings objects that nobody here reads. Each is one text for people; whoever
promises that only sealed images run has to stop there.

    fetched(kustomization, directory)   # what nobody here reads
    composed(kustomization)             # how it puts images together
    composing_files(kustomization)      # files and texts that may do the same for it
    writes_images(plain)                # whether one of them does

Keys are compared in any case, as kustomize reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from bot.formats.kustomization import local

_TOKEN: Final = re.compile(r"(?:\[[^\]]*\]|\\.|[^./\[\\])+")
_LISTS: Final = ("containers", "initcontainers", "ephemeralcontainers", "volumes", "items")
_WHOLE: Final = frozenset({"spec", "template", "jobtemplate", "podtemplate", "*", *_LISTS})
"""Fields that hold images somewhere below: to write one of them is to write its images."""
_PARTS: Final = frozenset({"tag", "digest", "repository", "registry", "reference", "version"})
_HARMLESS_ROOTS: Final = frozenset({"metadata", "data", "stringdata", "binarydata"})
_RESOURCES: Final = ("resources", "bases", "components", "crds", "generators", "transformers")
_CHARTS: Final = ("helmcharts", "helmchartinflationgenerator")
_RENDERERS: Final = frozenset({"HelmChartInflationGenerator"})
_OWN_PLACES: Final = frozenset({"ImageTagTransformer", "PatchTransformer"})
"""Transformers whose texts are places or mentions of their own."""
_DEEPEST: Final = 64


def may_write_image(path: str) -> bool:
    """Whether a field path (``spec.a.[name=b].image``, ``spec/a[]/image``) may reach an image."""
    tokens = [token.lower().removesuffix("[]") for token in _TOKEN.findall(path)]
    if not tokens:
        return True
    if tokens[0] in _HARMLESS_ROOTS:
        return False
    last, before = tokens[-1], tokens[-2] if len(tokens) > 1 else ""
    if any("image" in token and not token.startswith("imagepull") for token in tokens):
        return True
    return last in _WHOLE or last in _PARTS or before in _LISTS


def fetched(kustomization: Mapping[str, object], directory: str) -> Iterator[str]:
    """What a kustomization brings from elsewhere."""
    own = _lowered(kustomization)
    for key in _RESOURCES:
        for reference in _texts(own.get(key)):
            is_inline = "\n" in reference or reference.lstrip().startswith("{")
            if not is_inline and local(directory, reference) is None and _is_remote(reference):
                yield f"`{key}` names {reference[:200]}, which is fetched: nobody reads it here"
    for key in _CHARTS:
        for entry in _mappings(own.get(key)):
            said = " ".join(str(entry.get(name, "")) for name in ("repo", "name", "version"))
            yield f"the chart {said.strip()[:200]} is rendered elsewhere: nobody reads it here"


def composed(kustomization: Mapping[str, object]) -> Iterator[str]:
    """How a kustomization puts texts together that may be an image."""
    own = _lowered(kustomization)
    if own.get("vars"):
        yield "`vars` put texts together"
    for one in _mappings(own.get("replacements")):
        if writes_images(one):
            yield "`replacements` write a part of an image"
    for label in _mappings(own.get("labels")):
        if writes_images(label):
            yield "`labels` write into an image"


def composing_files(kustomization: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """References to files that may put images together, and such texts that stand inline."""
    own = _lowered(kustomization)
    keys = ("configurations", "transformers", "generators")
    named = [text for key in keys for text in _texts(own.get(key))]
    named += [str(one["path"]) for one in _mappings(own.get("replacements")) if "path" in one]
    inline = [text for text in named if "\n" in text or text.lstrip().startswith("{")]
    return [text for text in named if text not in inline], inline


def writes_images(value: object) -> bool:
    """Whether a transformer, its configuration or a replacement may write an image's field."""
    pending: list[tuple[object, int]] = [(value, 0)]
    while pending:
        one, depth = pending.pop()
        if depth > _DEEPEST:
            return True
        if isinstance(one, list):
            pending += [(item, depth + 1) for item in one]
        elif isinstance(one, Mapping):
            own = _lowered(one)
            if str(own.get("kind", "")) in _OWN_PLACES:
                continue
            if str(own.get("kind", "")) in _RENDERERS:
                return True
            if any(may_write_image(path) for path in _targets(own)):
                return True
            # Where a value is taken from, and which objects are meant, writes nothing. The
            # configuration `images` names fields for entries, which are places by themselves.
            skipped = ("source", "select", "reject", "options", "images", "namereference")
            pending += [(v, depth + 1) for k, v in own.items() if k not in skipped]
    return False


def _targets(own: Mapping[str, object]) -> Iterator[str]:
    yield from _texts(own.get("fieldpaths"))
    for key in ("fieldpath", "path"):
        found = own.get(key)
        # With `op` it is a JSON patch, whose values are read; with a suffix it names a file.
        if isinstance(found, str) and "op" not in own and not found.endswith((".yaml", ".yml")):
            yield found


def _is_remote(reference: str) -> bool:
    """Whether kustomize would fetch it: a URL, or a host with a path; else it only goes astray."""
    host = reference.partition("/")[0]
    return "://" in reference or "?" in reference or ":" in host or "." in host.strip(".")


def _lowered(mapping: Mapping[str, object]) -> dict[str, object]:
    return {str(key).lower(): value for key, value in mapping.items()}


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _mappings(value: object) -> Iterator[Mapping[str, object]]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, Mapping):
            yield _lowered(item)
