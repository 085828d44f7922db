"""Image places in the files that Argo CD reads: where they are, what they say, how to change them.

A *place* is found by parsing, never configured: entries of a kustomization's ``images`` and
``image`` fields of workloads of any kind, whose repository is one of an application's.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from bot.domain.errors import IntegrityError, RejectedError
from bot.domain.oci import Digest, ImageReference, ImageRepository
from bot.domain.publication import FileState, Place
from bot.formats.splice import Span, Splice, spliced, value_span
from bot.formats.yaml_tree import compose_all, line_of, plain

KUSTOMIZATIONS: Final = frozenset({"kustomization.yaml", "kustomization.yml", "Kustomization"})
_SUFFIXES: Final = (".yaml", ".yml")
# Fields of a kustomization that name files or directories (kustomize, types.Kustomization).
_REFERENCES: Final = (
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
_PATH_ENTRIES: Final = ("patches", "patchesJson6902", "replacements")


@dataclass(frozen=True, slots=True)
class Names:
    """Which names in the files mean which image."""

    repositories: Mapping[str, str]
    """``host/path`` (of any environment) -> image name."""
    short: frozenset[str] = frozenset()
    """Image names themselves: what a kustomization may call an image before it is replaced."""

    def image(self, repository: str, name: str = "") -> str | None:
        """The image that a reference (or a kustomization entry called ``name``) means."""
        found = self.repositories.get(repository) or self.repositories.get(name)
        return found or (name if name in self.short else None)

    def occur_in(self, text: str) -> bool:
        """A cheap look before parsing."""
        return any(n in text for n in self.repositories) or any(n in text for n in self.short)


@dataclass(frozen=True, slots=True)
class Written:
    """An image reference as a file writes it: any part may be missing."""

    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return (
            self.repository
            + (f":{self.tag}" if self.tag else "")
            + (f"@{self.digest}" if self.digest else "")
        )

    @classmethod
    def parse(cls, text: str) -> Written:
        """Split ``repository[:tag][@digest]`` without judging the parts."""
        name, _, digest = text.partition("@")
        head, colon, tag = name.rpartition(":")
        return cls(head, tag, digest) if colon and "/" not in tag else cls(name, "", digest)

    def reference(self) -> ImageReference | None:
        """The same as a valid reference; None where it is not one."""
        try:
            return ImageReference.parse(str(self))
        except RejectedError:
            return None


@dataclass(frozen=True, slots=True)
class Spot:
    """One place in a file, with the characters of each part."""

    place: Place
    written: Written
    document: int
    """Which document of the file, from 1."""
    line: int
    """From 1."""
    pointer: str
    """RFC 6901 pointer to the scalar or entry within the document."""
    parts: Mapping[str, Span]
    """``repository``, ``tag``, ``digest`` -> its characters, where the file has them."""
    pointers: Mapping[str, str]
    """The same parts (and those that can be inserted) -> RFC 6901 pointer of their scalar."""
    insertions: Mapping[str, Splice] = field(default_factory=dict)
    """Parts that the file lacks -> how to put them in, with ``{}`` for the value."""


_INSERTED: Final = ("repository", "digest")
"""Parts that an edit puts in where a file lacks them; a tag is only written over."""


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One scalar that an edit changes."""

    path: str
    document: int
    line: int
    pointer: str
    old: str | None
    """None for an insertion."""
    new: str


def is_manifest_file(path: str) -> bool:
    """Whether a path can hold places at all."""
    return path.endswith(_SUFFIXES) or posixpath.basename(path) in KUSTOMIZATIONS


def spots(path: str, text: str, names: Names) -> list[Spot]:
    """Every place of the named images in one file, in the file's order.

    Raises:
        ConfigurationError: The file mentions an image of ours and cannot be read.
    """
    if not is_manifest_file(path) or not names.occur_in(text):
        return []
    ordinals: Counter[str] = Counter()
    found: list[Spot] = []
    is_kustomization = posixpath.basename(path) in KUSTOMIZATIONS
    for number, root in enumerate(compose_all(text, path), start=1):
        source = _Document(path, text, names, number)
        raw = source.kustomization(root) if is_kustomization else source.workloads(root)
        for image, make in raw:
            found.append(make(Place(path, image, ordinals[image])))
            ordinals[image] += 1
    return found


class _Maker:
    """A spot that only lacks its place."""

    def __init__(self, **parts: object) -> None:
        self.parts = parts

    def __call__(self, place: Place) -> Spot:
        return Spot(place=place, **self.parts)  # type: ignore[arg-type]  # built by _Document only


@dataclass(frozen=True, slots=True)
class _Document:
    path: str
    text: str
    names: Names
    number: int

    def kustomization(self, root: Node) -> Iterator[tuple[str, _Maker]]:
        entries = _get(root, "images")
        for index, entry in enumerate(entries.value if isinstance(entries, SequenceNode) else ()):
            if isinstance(entry, MappingNode):
                yield from self._entry(entry, f"/images/{index}")

    def _entry(self, entry: MappingNode, pointer: str) -> Iterator[tuple[str, _Maker]]:
        fields = {
            key.value: (key, value)
            for key, value in entry.value
            if isinstance(key, ScalarNode) and isinstance(value, ScalarNode)
        }
        name = str(fields["name"][1].value) if "name" in fields else ""
        keys = {"repository": "newName", "tag": "newTag", "digest": "digest"}
        values = {part: fields[key][1] for part, key in keys.items() if key in fields}
        repository = str(values["repository"].value) if "repository" in values else name
        image = self.names.image(repository, name)
        if image is None:
            return
        yield (
            image,
            _Maker(
                written=Written(
                    repository,
                    str(values["tag"].value) if "tag" in values else "",
                    str(values["digest"].value) if "digest" in values else "",
                ),
                document=self.number,
                line=line_of(entry),
                pointer=pointer,
                parts={p: value_span(self.text, node, self.path) for p, node in values.items()},
                pointers={part: f"{pointer}/{key}" for part, key in keys.items()},
                insertions={
                    part: self._insertion(entry, fields, key)
                    for part, key in keys.items()
                    if part not in values
                },
            ),
        )

    def _insertion(
        self, entry: MappingNode, fields: Mapping[str, tuple[ScalarNode, ScalarNode]], key: str
    ) -> Splice:
        """A new line behind the entry's last one-line field, or a new pair in a flow mapping."""
        last_key, last = max(fields.values(), key=lambda pair: int(pair[1].end_mark.index))
        end = int(last.end_mark.index)
        if entry.flow_style:
            return Splice(Span(end, end), f", {key}: {{}}")
        line_end = self.text.find("\n", end)
        newline = "\r\n" if self.text[max(0, line_end - 1) : line_end] == "\r" else "\n"
        at = len(self.text) if line_end < 0 else line_end - (len(newline) - 1)
        indent = " " * int(last_key.start_mark.column)
        return Splice(Span(at, at), f"{newline}{indent}{key}: {{}}")

    def workloads(self, root: Node) -> Iterator[tuple[str, _Maker]]:
        seen: set[int] = set()
        for pointer, node in _image_fields(root, "", seen):
            written = Written.parse(str(node.value))
            image = self.names.image(written.repository)
            if image is not None:
                yield image, self._scalar(pointer, node, written)

    def _scalar(self, pointer: str, node: ScalarNode, written: Written) -> _Maker:
        whole = value_span(self.text, node, self.path)
        position = whole.start + len(written.repository)
        parts = {"repository": Span(whole.start, position)}
        for part, text in (("tag", written.tag), ("digest", written.digest)):
            if text:
                parts[part] = Span(position + 1, position + 1 + len(text))
                position += 1 + len(text)
        insertions = {}
        if not written.digest:
            insertions["digest"] = Splice(Span(whole.end, whole.end), "@{}")
        return _Maker(
            written=written,
            document=self.number,
            line=line_of(node),
            pointer=pointer,
            parts=parts,
            pointers=dict.fromkeys(("repository", "tag", "digest"), pointer),
            insertions=insertions,
        )


def _image_fields(node: Node, pointer: str, seen: set[int]) -> Iterator[tuple[str, ScalarNode]]:
    """Every ``image: text`` of a document; what an alias repeats is visited once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, MappingNode):
        for key, value in node.value:
            here = f"{pointer}/{_escaped(str(key.value))}"
            if key.value == "image" and isinstance(value, ScalarNode):
                if id(value) not in seen:
                    seen.add(id(value))
                    yield here, value
            else:
                yield from _image_fields(value, here, seen)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            yield from _image_fields(value, f"{pointer}/{index}", seen)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")  # RFC 6901, section 3


def _get(node: Node, name: str) -> Node | None:
    pairs = node.value if isinstance(node, MappingNode) else ()
    return next((value for key, value in pairs if key.value == name), None)


def edited(
    path: str, text: str, names: Names, wanted: Mapping[Place, Written]
) -> tuple[str, list[PlannedChange]]:
    """Bring each wanted place to what is wanted; every other byte stays.

    A tag is written only where the file has one. The result is parsed again, and what differs
    must be what was planned, or nothing is returned.

    Raises:
        ConfigurationError: A place is written so that it cannot be changed in place.
        IntegrityError: The edit would have changed something else.
    """
    splices: list[Splice] = []
    planned: list[PlannedChange] = []
    for spot in spots(path, text, names):
        if spot.place in wanted:
            for part, value in _parts_to_write(spot, wanted[spot.place]):
                splices.append(_splice(spot, part, value))
                planned.append(_change(spot, part, value, text))
    result = spliced(text, splices)
    _check_only_planned(path, text, result, planned)
    return result, planned


def _parts_to_write(spot: Spot, wanted: Written) -> Iterator[tuple[str, str]]:
    if spot.written.repository != wanted.repository:
        yield "repository", wanted.repository
    if "tag" in spot.parts and wanted.tag and spot.written.tag != wanted.tag:
        yield "tag", wanted.tag
    if spot.written.digest != wanted.digest:
        if not wanted.digest:
            raise IntegrityError(f"{spot.place.path}: a digest is never taken away")
        yield "digest", wanted.digest


def _splice(spot: Spot, part: str, value: str) -> Splice:
    if part in spot.parts:
        return Splice(spot.parts[part], value)
    insertion = spot.insertions[part]
    return Splice(insertion.span, insertion.replacement.format(value))


def _change(spot: Spot, part: str, value: str, text: str) -> PlannedChange:
    old = spot.parts[part].of(text) if part in spot.parts else None
    pointer = spot.pointers[part]
    return PlannedChange(spot.place.path, spot.document, spot.line, pointer, old, value)


def _check_only_planned(
    path: str, before: str, after: str, planned: Sequence[PlannedChange]
) -> None:
    """The changed scalars must be the planned ones: parse both and compare leaf by leaf."""
    old, new = _leaves(path, before), _leaves(path, after)
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    if changed != {(change.document, change.pointer) for change in planned}:
        raise IntegrityError(f"{path}: the edit would change {sorted(changed)[:5]}")


def _leaves(path: str, text: str) -> dict[tuple[int, str], object]:
    leaves: dict[tuple[int, str], object] = {}
    for number, root in enumerate(compose_all(text, path), start=1):
        pending: list[tuple[str, object]] = [("", plain(root, path).value)]
        while pending:
            pointer, value = pending.pop()
            if isinstance(value, dict):
                pending += [(f"{pointer}/{_escaped(k)}", v) for k, v in value.items()]
            elif isinstance(value, list):
                pending += [(f"{pointer}/{i}", v) for i, v in enumerate(value)]
            else:
                leaves[number, pointer] = value
    return leaves


def file_state(path: str, text: str, names: Names) -> FileState:
    """The file as a publication sees it: skeleton, pins and references.

    A digest that stands nowhere yet is blanked where the editor would put it in, so that a first
    promotion is a change of pins like every later one.
    """
    found = spots(path, text, names)
    blanks = [Splice(span, "\0") for spot in found for span in spot.parts.values()]
    for spot in found:
        missing = (spot.insertions[part] for part in _INSERTED if part in spot.insertions)
        blanks += [Splice(one.span, one.replacement.format("\0")) for one in missing]
    skeleton = hashlib.sha256(spliced(text, blanks).encode("utf-8", "surrogateescape")).hexdigest()
    pins = {spot.place: str(spot.written) for spot in found}
    return FileState(skeleton, pins, references(path, text))


def references(path: str, text: str) -> frozenset[str]:
    """Repository paths that a kustomization needs; remote ones and unreadable files name none."""
    if posixpath.basename(path) not in KUSTOMIZATIONS:
        return frozenset()
    try:
        roots = [plain(node, path).value for node in compose_all(text, path)]
    except RejectedError:
        return frozenset()
    directory = posixpath.dirname(path)
    needed = (posixpath.normpath(posixpath.join(directory, r)) for r in _named(roots))
    return frozenset(p for p in needed if not p.startswith(("..", "/")) and p != ".")


def _named(roots: Iterable[object]) -> Iterator[str]:
    for root in roots:
        if isinstance(root, dict):
            for key in _REFERENCES:
                yield from _paths(root.get(key))
            for key in _PATH_ENTRIES:
                entries = root.get(key)
                for entry in entries if isinstance(entries, list) else ():
                    if isinstance(entry, dict):
                        yield from _paths([entry.get("path")])


def _paths(value: object) -> Iterator[str]:
    for item in value if isinstance(value, list) else ():
        is_text = isinstance(item, str) and "\n" not in item
        if is_text and "://" not in item and "?" not in item and not item.startswith("git@"):
            yield item


def pin(repository: ImageRepository, tag: str, digest: Digest) -> Written:
    """What a place should say for this image."""
    return Written(str(repository), tag, digest)
