"""One file of a manifests repository: its places, its remarks, and how to change it.

A *place* is found by parsing (`bot.formats.place_finder`) or named by the pipeline file. An edit
splices characters into the original text; the result is parsed again, and if anything but the
planned scalars differs, nothing is returned.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bot.domain.environments import ImageId
from bot.domain.errors import ConfigurationError, IntegrityError, LimitExceededError, RejectedError
from bot.domain.publication import FileState, LocationKey
from bot.formats.composition import composed, composing_files, fetched, writes_images
from bot.formats.image_names import ImageField, Names
from bot.formats.kustomization import (
    Entry,
    Kustomization,
    is_kustomization,
    local,
    read_kustomization,
)
from bot.formats.object_patches import Patch, flux_patches
from bot.formats.place_finder import Findings, escaped, read_document, scalars_of
from bot.formats.places import (
    HOLDING,
    ImageLocation,
    PlannedChange,
    Remark,
    RemarkKind,
    Slot,
)
from bot.formats.splice import Splice, spliced
from bot.formats.text_frame import Frame
from bot.formats.traces import Traces, traces_of
from bot.formats.value_layers import ChartValues, charts_in, value_file
from bot.formats.yaml_tree import (
    VALUE_LIMIT,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    compose_all,
    line_of,
    pairs_of,
    plain,
    scalar,
)

_SUFFIXES: Final = (".yaml", ".yml", ".json")
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_ARGO_OVERRIDES: Final = ".argocd-source"
_IMAGE_LINE: Final = re.compile(r"^[ \t-]*image:[ \t]*[\"']?([\w./:@-]+)", re.MULTILINE)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}(?![0-9a-f])")
_FLUX: Final = "kustomize.toolkit.fluxcd.io/"
_MARKERS: Final = ("$imagepolicy", "x-kargo", "argocd-image-updater")


@dataclass(frozen=True, slots=True)
class Reading:
    """What one file says of our images."""

    path: str
    locations: tuple[ImageLocation, ...] = ()
    remarks: tuple[Remark, ...] = ()
    kustomization: Kustomization | None = None
    """What it says of other files, if kustomize reads it by itself."""
    values: frozenset[str] = frozenset()
    """Repository paths that it calls Helm values."""
    outside: tuple[ImageLocation, ...] = ()
    """Places of a file that no glob of the environment names."""
    charts: tuple[ChartValues, ...] = ()
    """The charts that it deploys, with the order of their values."""
    patched: tuple[tuple[str, tuple[Patch, ...]], ...] = ()
    """Folders that Flux's Kustomizations in it deploy, and what each patches."""


def is_manifest_file(path: str) -> bool:
    """Whether a path can hold places by its name alone."""
    return path.endswith(_SUFFIXES) or is_kustomization(path)


def is_values_file(path: str) -> bool:
    """Whether a file is Helm values by its name."""
    return "values" in posixpath.basename(path).lower() and path.endswith(_SUFFIXES)


def text_of(content: bytes) -> str:
    """A file's characters; undecodable bytes come back as they were."""
    return content.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """The opposite of `text_of`."""
    return text.encode("utf-8", "surrogateescape")


def says_something(path: str, traces: Traces, names: Names) -> bool:
    """Whether a file has to be read: where it has not, `read_file` finds nothing in it."""
    if is_kustomization(path) or traces.has_charts or names.at_file(path):
        return True
    return names.meet(traces)


def read_file(
    path: str,
    text: str,
    names: Names,
    *,
    is_values: bool = False,
    traces: Traces | None = None,
) -> Reading:
    """Everything that a file says of our images; one that cannot be read says that it cannot.

    Args:
        path: the file's path in its repository.
        text: its characters.
        names: what our images are called.
        is_values: something calls it Helm values; else its name decides.
        traces: those of these characters, where they are known.
    """
    if not says_something(path, traces or traces_of(bytes_of(text)), names):
        return Reading(path)
    try:
        return _read(path, text, names, is_values=is_values or is_values_file(path))
    except (RejectedError, RecursionError) as error:
        return Reading(path, remarks=tuple(_unreadable(path, text, names, error)))


def deploys_charts(text: str) -> bool:
    """A cheap look before parsing: whether an object may say which files are Helm values."""
    return "argoproj.io/" in text or "helm.toolkit.fluxcd.io/" in text


def _read(path: str, text: str, names: Names, *, is_values: bool) -> Reading:
    findings = Findings(path, names)
    frame = Frame.of_file(text)
    kustomized = is_kustomization(path)
    roots = compose_all(text, path)
    for number, root in enumerate(roots, start=1):
        read_document(
            findings, root, frame, number, is_kustomization=kustomized, is_values=is_values
        )
    _missing_at(findings, roots)
    findings.remarks += _markers(path, text, findings.locations)
    documents: list[object] = []
    kustomization = None
    if kustomized:  # one document that is no plain YAML makes the whole file unreadable
        documents = [plain(root, path).value for root in roots]
        kustomization = _kustomization(path, documents, tuple(findings.entries))
    elif deploys_charts(text):
        documents = list(_readable(path, roots))
    charts = tuple(_charts(path, documents))
    patched = tuple(_flux_patches(path, roots)) if _FLUX in text else ()
    values = kustomization.values if kustomization else _values_named(path, roots)
    layers = (layer.file for chart in charts for layer in chart.layers)
    return Reading(
        path,
        tuple(findings.locations),
        tuple(findings.remarks),
        kustomization,
        values | frozenset(one for one in layers if one != path),
        charts=charts,
        patched=patched,
    )


def _readable(path: str, roots: Sequence[Node]) -> Iterator[object]:
    """The documents as plain values; None for one that is none."""
    for root in roots:
        try:
            yield plain(root, path).value
        except RejectedError:
            yield None


def _charts(path: str, documents: Sequence[object]) -> Iterator[ChartValues]:
    for number, document in enumerate(documents, start=1):
        if document is not None:
            yield from charts_in(path, document, number, is_kustomization=is_kustomization(path))


def _flux_patches(path: str, roots: Sequence[Node]) -> Iterator[tuple[str, tuple[Patch, ...]]]:
    """What Flux's Kustomizations in a file patch; they name no files."""
    for number, root in enumerate(roots, start=1):
        try:
            document = plain(root, path).value
        except RejectedError:
            continue
        found = flux_patches(path, document, number)
        if found is not None:
            yield found


def _missing_at(findings: Findings, roots: Sequence[Node]) -> None:
    """What the pipeline file names and the file lacks."""
    there = {location.pointer for location in findings.locations} | {
        r.pointer for r in findings.remarks
    }
    for at in findings.names.at_file(findings.path):
        if at.pointer not in there and roots:
            reason = f"`at` of {at.image} names {at.pointer}, which is not there"
            remark = Remark(
                RemarkKind.REFUSED, findings.path, 1, reason, at.pointer, image=at.image
            )
            findings.remarks.append(remark)


def _markers(path: str, text: str, locations: Sequence[ImageLocation]) -> Iterator[Remark]:
    """Other tools that write where we write."""
    lines = text.splitlines()
    for location in locations:
        for line in sorted({slot.line for slot in location.slots}):
            written = lines[line - 1] if line <= len(lines) else ""
            comment = written.partition("#")[2]
            found = next((marker for marker in _MARKERS if marker in comment), None)
            if found is not None:
                reason = f"another tool writes this line ({found}): two writers undo each other"
                yield Remark(
                    RemarkKind.MARKER, path, line, reason, location.pointer, image=location.image
                )
        if posixpath.basename(path).startswith(_ARGO_OVERRIDES):
            reason = "Argo CD Image Updater writes this file: two writers undo each other"
            yield Remark(
                RemarkKind.MARKER,
                path,
                location.line,
                reason,
                location.pointer,
                image=location.image,
            )


def _unreadable(
    path: str, text: str, names: Names, error: RejectedError | RecursionError
) -> Iterator[Remark]:
    """The file's state, and whether something of ours may stand in it."""
    line = error.line if isinstance(error, ConfigurationError) else None
    fact = error.fact if isinstance(error, ConfigurationError) else str(error)
    if isinstance(error, RecursionError):
        fact = "aliases go too deep"
    content = bytes_of(text)
    readable = content.decode("utf-16", "replace") if content.startswith(_UTF16) else text
    found = dict[ImageId | None, tuple[int, str]]()
    for position, said, image in (*names.mentions(readable, "image"), *_bare(readable, names)):
        found.setdefault(image, (position, said))
    for at in names.at_file(path):
        found.setdefault(at.image, (-1, ""))
    if not found:
        yield Remark(RemarkKind.BROKEN, path, line, fact)
        return
    state = hashlib.sha256(content).hexdigest()[:16]
    for image, (position, said) in found.items():
        where = readable.count("\n", 0, position) + 1
        named = f" (line {where} names an image of ours)" if position >= 0 else ""
        kind = RemarkKind.UNREADABLE
        yield Remark(kind, path, line, fact + named, image=image, text=said, state=state)


def _bare(text: str, names: Names) -> Iterator[tuple[int, str, ImageId | None]]:
    """Docker Hub's official images, which need no slash, where a line says ``image:``."""
    for found in _IMAGE_LINE.finditer(text):
        image = names.image(ImageField.parse(found[1]).repository)
        if image is not None:
            yield found.start(1), found[1], image


def _kustomization(
    path: str, documents: Sequence[object], entries: tuple[Entry, ...]
) -> Kustomization:
    merged: dict[str, object] = {}
    for value in documents:
        if isinstance(value, dict):
            merged |= value
    named, inline = composing_files(merged)
    directory = posixpath.dirname(path)
    texts = ["an inline text writes a part of an image"] if _compose(inline, path) else []
    return replace(
        read_kustomization(path, merged, entries),
        fetches=tuple(fetched(merged, directory)),
        composes=(*dict.fromkeys(composed(merged)), *texts),
        composing=frozenset(one for text in named if (one := local(directory, text))),
    )


def _compose(texts: Iterable[str], path: str) -> bool:
    return any(composes(text, path) for text in texts)


def composes(text: str, path: str) -> bool:
    """Whether a transformer, its configuration or a replacement may write a part of an image.

    What cannot be read may.
    """
    try:
        return any(writes_images(plain(root, path).value) for root in compose_all(text, path))
    except (RejectedError, RecursionError):
        return True


def skeleton_of(text: str, locations: Sequence[ImageLocation]) -> str:
    """What a file says beside its places, as one short text."""
    blanks = [blank for location in locations for blank in location.blanks()]
    return hashlib.sha256(bytes_of(spliced(text, blanks))).hexdigest()


def _values_named(path: str, roots: Sequence[Node]) -> frozenset[str]:
    """Values files that an Argo CD source names; ``$ref`` is another source's repository."""
    found: set[str] = set()
    for root in roots:
        pending: list[tuple[str, Node]] = [("", root)]
        seen: set[int] = set()
        while pending:
            base, node = pending.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, MappingNode):
                own = {str(key.value): value for key, value in pairs_of(node, path)}
                source = own.get("path")
                base = str(source.value) if isinstance(source, ScalarNode) else base
                files = own.get("valueFiles")
                for item in files.value if isinstance(files, SequenceNode) else ():
                    if isinstance(item, ScalarNode):
                        found.add(value_file(base, str(item.value)))
                pending += [(base, value) for value in own.values()]
            elif isinstance(node, SequenceNode):
                pending += [(base, item) for item in node.value]
    return frozenset(found - {""})


def locations(path: str, text: str, names: Names) -> list[ImageLocation]:
    """Every place of ours in one file, in the file's order; none where it cannot be read."""
    return list(read_file(path, text, names).locations)


def edited(
    path: str, text: str, reading: Reading, wanted: Mapping[LocationKey, ImageField]
) -> tuple[str, list[PlannedChange]]:
    """Bring each wanted place to what is wanted; every other byte stays.

    The result is parsed again, and what differs must be what was planned, or nothing is returned.

    Raises:
        ConfigurationError: A place is written so that it cannot be changed in place.
        IntegrityError: The edit would have changed something else.
    """
    splices: list[Splice] = []
    planned: list[PlannedChange] = []
    slots: list[Slot] = []
    for location in reading.locations:
        if location.place in wanted:
            for slot, value in location.changes(wanted[location.place]):
                splice = slot.splice(value)
                if splice is None:
                    raise IntegrityError(f"{path}: a slot without a place")
                splices.append(splice)
                slots.append(slot)
                planned.append(_change(location, slot, value))
    if not planned:
        return text, []
    result = spliced(text, splices)
    _check_only_planned(path, text, result, planned, slots)
    return result, planned


def _change(location: ImageLocation, slot: Slot, value: str) -> PlannedChange:
    return PlannedChange(
        location.place.path,
        location.document,
        slot.line,
        slot.pointer,
        slot.old,
        value,
        location.kind,
    )


def _check_only_planned(
    path: str,
    before: str,
    after: str,
    planned: Sequence[PlannedChange],
    slots: Sequence[Slot],
) -> None:
    """The changed scalars must be the planned ones, and say what was planned.

    Both texts are parsed and compared leaf by leaf; a text that places stand in is parsed too.
    """
    hosts = {host for slot in slots for host in slot.hosts}
    old, shared = _leaves(path, before, hosts)
    new, inserted = _leaves(path, after, hosts)
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    expected: dict[tuple[int, str], str] = {}
    for change in planned:
        own = change.document, change.pointer
        users = inserted if change.old is None else shared
        for key in users.get(own, [own]):
            expected[key] = change.new
    wrong = sorted(changed ^ expected.keys())
    wrong += sorted(key for key, value in expected.items() if new.get(key) != value)
    if wrong:
        raise IntegrityError(f"{path}: the edit would change {wrong[:5]}")


Key = tuple[int, str]


def _leaves(
    path: str, text: str, hosts: set[str]
) -> tuple[dict[Key, object], dict[Key, list[Key]]]:
    """Every scalar of a file by document and pointer; and all pointers of each that has several."""
    leaves: dict[Key, object] = {}
    nodes: dict[int, list[Key]] = {}
    keep: list[Node] = []
    for number, root in enumerate(compose_all(text, path), start=1):
        keep.append(root)
        _add_leaves(path, number, "", root, hosts, leaves, nodes, keep)
    shared = {key: keys for keys in nodes.values() if len(keys) > 1 for key in keys}
    return leaves, shared


def _add_leaves(
    path: str,
    number: int,
    prefix: str,
    root: Node,
    hosts: set[str],
    leaves: dict[Key, object],
    nodes: dict[int, list[Key]],
    keep: list[Node],
) -> None:
    pending: list[tuple[str, Node]] = [(prefix, root)]
    while pending:
        pointer, node = pending.pop()
        if len(leaves) > VALUE_LIMIT or len(pending) > VALUE_LIMIT:
            raise LimitExceededError(f"YAML file {path}", f"{VALUE_LIMIT} values")
        if isinstance(node, MappingNode):
            leaves[number, f"{pointer}/"] = "mapping"
            pending += [(f"{pointer}/{escaped(k.value)}", v) for k, v in pairs_of(node, path)]
        elif isinstance(node, SequenceNode):
            leaves[number, f"{pointer}/"] = f"sequence of {len(node.value)}"
            pending += [(f"{pointer}/{index}", item) for index, item in enumerate(node.value)]
        elif pointer in hosts and isinstance(node, ScalarNode):
            for count, inner in enumerate(compose_all(str(node.value), path), start=1):
                keep.append(inner)
                name = f"{pointer}#{count if count > 1 else ''}"
                _add_leaves(path, number, name, inner, hosts, leaves, nodes, keep)
        else:
            leaves[number, pointer] = _value(node)
            nodes.setdefault(id(node), []).append((number, pointer))


def _value(node: Node) -> object:
    """A leaf with its type, so that ``1.0`` and ``"1.0"`` differ; texts compare as texts."""
    value = scalar(node)
    return value if isinstance(value, str) else (type(value).__name__, str(node.value))


def file_state(text: str, reading: Reading) -> FileState:
    """The file as a publication sees it: skeleton, pins and references.

    A scalar that stands nowhere yet is blanked where the editor would put it in, so that a first
    promotion is a change of pins like every later one.
    """
    skeleton = skeleton_of(text, reading.locations)
    pins = {location.place: str(location.written) for location in reading.locations}
    return FileState(skeleton, pins, references(reading))


def references(reading: Reading) -> frozenset[str]:
    """Repository paths that a file needs; remote ones and unreadable files name none."""
    own = reading.kustomization.references if reading.kustomization else frozenset()
    return own | reading.values


def unsealable(remarks: Sequence[Remark]) -> dict[str, str]:
    """What names us and is no place: its identity -> what people read."""
    return {one.identity: str(one) for one in remarks if one.kind in HOLDING}


def image_of(place: LocationKey) -> ImageId:
    """Whose a place is."""
    return ImageId(place.application, place.image)


def digests_in(path: str, text: str) -> dict[str, tuple[int | None, str]]:
    """Every digest that a file says anywhere but in comments -> line and pointer of the first."""
    if "sha256:" not in text:
        return {}
    found: dict[str, tuple[int | None, str]] = {}
    try:
        for root in compose_all(text, path):
            for pointer, node in scalars_of(root):
                for digest in _DIGEST.findall(str(node.value)):
                    found.setdefault(digest, (line_of(node), pointer))
    except (RejectedError, RecursionError):
        for match in _DIGEST.finditer(text):
            found.setdefault(match[0], (text.count("\n", 0, match.start()) + 1, ""))
    return found


def container_images(text: str, path: str) -> frozenset[str] | None:
    """The images of an object's containers, as they are written; None: it cannot be told.

    kustomize's image transformer looks at containers and init containers (api/internal/accumulator,
    api/filters/imagetag), at any depth, and nowhere else.
    """
    try:
        roots = compose_all(text, path)
        return frozenset(image for root in roots for image in _container_images(root, path))
    except RejectedError:
        return None


def _container_images(root: Node, path: str) -> Iterator[str]:
    pending: list[tuple[Node, bool]] = [(root, False)]
    seen: set[int] = set()
    while pending:
        node, is_container = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, SequenceNode):
            pending += [(item, is_container) for item in node.value]
        elif isinstance(node, MappingNode):
            for key, value in pairs_of(node, path):
                if is_container and key.value == "image" and isinstance(value, ScalarNode):
                    yield str(value.value)
                pending.append((value, key.value in {"containers", "initContainers"}))


def is_named(text: str, name: str) -> bool:
    """Whether kustomize's entry of this name replaces an image that is written so."""
    return text == name or text.startswith((f"{name}:", f"{name}@"))
