"""What kustomizations patch of which object, so far that Helm values can be told.

    patches = patches_of(path, kustomization, documents)   # in the order of kustomize
    layers_over(patches, target, "/spec/values")           # what they put over values there
    touching(patches, target, "/spec/a/tag")               # those that may write a scalar

By kustomize's own builtin transformers: strategic merge patches, then `patches`, then
`patchesJson6902`. What selects objects by more than kind and name may be meant for any of them,
and a patch that replaces or removes more than a scalar decides what cannot be told here: both are
layers that are in doubt.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bot.domain.errors import RejectedError
from bot.formats.kustomization import local
from bot.formats.value_layers import Doubt, Layer
from bot.formats.yaml_tree import compose_all, plain

_PLAIN: Final = re.compile(r"[A-Za-z0-9.-]*")
"""A name that is no pattern."""
_ANY: Final = frozenset({"", ".*", ".+"})
_WRITING: Final = ("add", "replace")
_MOVING: Final = ("move", "copy", "remove")
_DIRECTIVE: Final = "$patch"
Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Target:
    """An object, as patches name it."""

    kind: str
    name: str
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects a patch is for; patterns, and empty for any."""

    kind: str = ""
    name: str = ""
    namespace: str = ""
    has_selector: bool = False
    """It asks for labels or annotations too."""

    def meets(self, target: Target) -> bool | None:
        """Whether an object is one of them; None: it cannot be told."""
        pairs = ((self.kind, target.kind), (self.name, target.name))
        answers = [_is_meant(*pair) for pair in pairs]
        if self.namespace and target.namespace:
            same = _is_meant(self.namespace, target.namespace)
            answers.append(same or None)  # a kustomization may move it into that namespace
        answers.append(None if self.has_selector else True)
        if False in answers:
            return False
        return None if None in answers else True


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch, or one operation of a JSON patch."""

    file: str
    document: int
    pointer: str
    """Where the patch, or the operation's value, stands in the file."""
    selection: Selection
    says: object
    """The object that is merged; of an operation, its value."""
    operation: str = ""
    """Of a JSON patch; empty: it is merged."""
    path: str = ""
    """What the operation writes."""


def patches_of(
    path: str,
    fields: Fields,
    documents: Callable[[str], Sequence[object]],
    *,
    at: str = "",
    directory: str = "",
    document: int = 1,
) -> Iterator[Patch]:
    """Every patch of a kustomization, in the order in which they are applied.

    Args:
        path: its file.
        fields: what it says.
        documents: what the documents of a file say.
        at: where the fields stand in the document.
        directory: of the kustomization: paths are relative to it.
        document: in which of the file's documents.
    """
    for index, one in enumerate(_list(fields.get("patchesStrategicMerge"))):
        here = f"{at}/patchesStrategicMerge/{index}"
        source = _source(path, here, one, directory, documents)
        yield from _read(source, None, document)
    for key in ("patches", "patchesJson6902"):
        for index, one in enumerate(_list(fields.get(key))):
            entry = _map(one)
            here = f"{at}/{key}/{index}/patch"
            said = entry.get("patch") or entry.get("path")
            source = _source(path, here, said, directory, documents)
            yield from _read(source, _map(entry.get("target")) or None, document)


def flux_patches(path: str, document: object, number: int) -> tuple[str, tuple[Patch, ...]] | None:
    """The folder that a Kustomization of Flux deploys, and what it patches; None: it is none."""
    fields = _map(document)
    group, _, _ = str(fields.get("apiVersion", "")).rpartition("/")
    if group != "kustomize.toolkit.fluxcd.io" or fields.get("kind") != "Kustomization":
        return None
    spec = _map(fields.get("spec"))
    folder = posixpath.normpath(str(spec.get("path") or "").lstrip("/"))
    own = patches_of(path, spec, lambda _: (), at="/spec", document=number)
    return "" if folder == "." else folder, tuple(own)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a patch stands, and its documents."""

    file: str
    pointer: str
    documents: Sequence[object]
    is_inline: bool


def _source(
    path: str,
    here: str,
    said: object,
    directory: str,
    documents: Callable[[str], Sequence[object]],
) -> _Source:
    text = str(said or "")
    if "\n" in text or text.lstrip().startswith(("{", "[", "- ")) or ": " in text:
        return _Source(path, here, _documents(path, text), is_inline=True)
    file = local(directory, text) or ""
    return _Source(file, "", documents(file) if file else (), is_inline=False)


def _documents(path: str, text: str) -> Sequence[object]:
    try:
        return [plain(one, path).value for one in compose_all(text, path)]
    except RejectedError:
        return []


def _read(source: _Source, target: Fields | None, outer: int) -> Iterator[Patch]:
    for number, said in enumerate(source.documents, start=1):
        begin = f"{source.pointer}#{number if number > 1 else ''}" if source.is_inline else ""
        document = outer if source.is_inline else number
        own = _map(said)
        for_whom = _selection(target) if target is not None else _own_selection(own)
        for index, one in enumerate(_list(said)):
            entry = _map(one)
            operation, path = str(entry.get("op", "")), str(entry.get("path", ""))
            here = f"{begin}/{index}/value"
            yield Patch(source.file, document, here, for_whom, entry.get("value"), operation, path)
            if operation == "move":
                gone = str(entry.get("from", ""))
                yield Patch(source.file, document, here, for_whom, None, "remove", gone)
        if own:
            yield Patch(source.file, document, begin, for_whom, own)


def _selection(target: Fields) -> Selection:
    return Selection(
        str(target.get("kind") or ""),
        str(target.get("name") or ""),
        str(target.get("namespace") or ""),
        has_selector=bool(target.get("labelSelector") or target.get("annotationSelector")),
    )


def _own_selection(said: Fields) -> Selection:
    metadata = _map(said.get("metadata"))
    name, namespace = metadata.get("name"), metadata.get("namespace")
    return Selection(str(said.get("kind") or ""), str(name or ""), str(namespace or ""))


def _is_meant(pattern: str, text: str) -> bool | None:
    if pattern in _ANY:
        return True
    return pattern == text if _PLAIN.fullmatch(pattern) else None


def layers_over(patches: Iterable[Patch], target: Target, base: str) -> Iterator[Layer]:
    """What patches put over the values of an object that stand at a pointer."""
    for patch in patches:
        met = patch.selection.meets(target)
        if met is False:
            continue
        unsure = f"{patch.file} patches objects that cannot be told" if met is None else ""
        layer = _operation(patch, base) if patch.operation else _merge(patch, base)
        if layer is None:
            continue
        if unsure:
            mount, document = layer.mount, layer.document
            doubt = Doubt(unsure, is_whole=True)
            layer = Layer(layer.file, layer.pointer, document, mount, doubt)
        yield layer


def _merge(patch: Patch, base: str) -> Layer | None:
    if not _touches(patch.says, base):
        return None
    directive = _directive(patch.says)
    doubt = Doubt(f"{patch.file} has {_DIRECTIVE}", is_whole=True) if directive else None
    return Layer(patch.file, f"{patch.pointer}{base}", patch.document, doubt=doubt)


def _operation(patch: Patch, base: str) -> Layer | None:
    path = patch.path
    inside = path == base or path.startswith(f"{base}/")
    if not inside and not base.startswith(f"{path}/") and path:
        return None
    if patch.operation in _MOVING:
        words = f"{patch.file} ({patch.operation} of {path}) decides what stands there"
        doubt = Doubt(words, is_whole=True)
    elif patch.operation in _WRITING:
        doubt = Doubt(f"{patch.file} replaces all of {path}")
    else:
        return None
    pointer = patch.pointer if inside else f"{patch.pointer}{base[len(path) :]}"
    mount = path[len(base) :] if inside else ""
    return Layer(patch.file, pointer, patch.document, mount, doubt)


def touching(patches: Iterable[Patch], target: Target, pointer: str) -> Iterator[Patch]:
    """The patches that write, or may write, a scalar of an object."""
    for patch in patches:
        if patch.selection.meets(target) is False:
            continue
        if not patch.operation:
            if _touches(patch.says, pointer):
                yield patch
        elif patch.operation in {*_WRITING, *_MOVING} and (
            pointer == patch.path
            or pointer.startswith(f"{patch.path}/")
            or patch.path.startswith(f"{pointer}/")
        ):
            yield patch


def _touches(said: object, pointer: str) -> bool:
    """Whether a merged object says something on the way to a pointer that changes what is there."""
    for step in pointer.split("/")[1:]:
        if not isinstance(said, Mapping) or _DIRECTIVE in said:
            return True
        name = step.replace("~1", "/").replace("~0", "~")
        if name not in said:
            return False
        said = said[name]
    return True


def _directive(said: object) -> bool:
    pending = [said]
    while pending:
        one = pending.pop()
        if isinstance(one, Mapping):
            if _DIRECTIVE in one:
                return True
            pending += one.values()
    return False


def _map(value: object) -> Fields:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
