"""Which of several layers of Helm values is the place of an image.

    layered = Layered(readings, documents_at, ...)
    layered.add(chart)            # for every deployed chart
    layered.versions()            # scalars that hold a version and no repository: file -> At
    layered.overridden()          # places that something above them overrides: file -> pointers

The highest layer that sets tag or digest is the place. A place that is overridden in every chart
that has it is none; where what overrides it cannot be edited, it is refused with both names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bot.domain.environments import At, ImageId, Template, Write
from bot.domain.errors import RejectedError
from bot.formats.chart_reads import Reads
from bot.formats.image_names import ImageField, WrittenVersion, canonical_repository
from bot.formats.manifest_file import Reading
from bot.formats.place_finder import pointed, scalars_of
from bot.formats.places import ImageLocation, Remark, RemarkKind, Shape
from bot.formats.value_layers import ChartValues, Layer
from bot.formats.yaml_tree import Node, ScalarNode, compose_all, line_of

_PLAIN: Final = re.compile(r"[^*?{}]+")
"""A path that is no glob and no template."""
_TOGETHER: Final = "write repository and version in one place"
_DIGESTS: Final = ("digest", "sha")
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Overridden:
    """Why a place is none, or cannot be edited."""

    words: str
    is_refused: bool = False


@dataclass
class Layered:
    """The places of all charts of an environment."""

    readings: Mapping[str, Reading]
    documents_at: Callable[[str], Sequence[Node]]
    """A file's documents; none where there is no such file, or it cannot be read."""
    labels_of: Callable[[str], Mapping[str, str]]
    """A chart's folder -> dotted values that it writes into labels, and where."""
    reads_of: Callable[[str], Reads]
    """A chart's folder -> which values its templates read."""
    home: Mapping[ImageId, str]
    """Image -> its repository in this environment."""
    owns: Callable[[str], bool]
    """Whether a file is the environment's own."""
    image_of: Callable[[str], ImageId | None]
    """The image that a repository means."""
    has_registry: Callable[[str], bool]
    """Whether a file says something of a registry."""
    at: dict[tuple[str, str], At] = field(default_factory=dict)
    """File and pointer of a version -> whose it is."""
    effective: set[tuple[str, str]] = field(default_factory=set)
    lost: dict[tuple[str, str], Overridden] = field(default_factory=dict)
    written: dict[tuple[str, str], ImageLocation] = field(default_factory=dict)
    """File and pointer of a place -> the place as it has to be written."""
    told: dict[tuple[str, str], Remark] = field(default_factory=dict)
    """File and pointer of a repository that is ours with a registry elsewhere, and no place."""

    def add(self, chart: ChartValues) -> None:
        """Look at the layers of one chart, the lowest first."""
        for layer in chart.unread:
            for location in self._spots_at(layer):
                why = Overridden(f"{chart.file} or a file over it names values that take its place")
                self.lost.setdefault((layer.file, location.pointer), why)
        for index, layer in enumerate(chart.layers):
            for location, inner in self._spots(layer):
                key = layer.file, location.pointer
                above = self._above(chart, chart.layers[index + 1 :], location, inner)
                own = self._read(chart, location, inner)
                if isinstance(own, Overridden):
                    above = above or own
                else:
                    above = above or self._labelled(chart, own, inner)
                    if own is not location:
                        self.written[key] = own
                if above is None:
                    self.effective.add(key)
                elif above.is_refused or key not in self.lost:
                    self.lost[key] = above
        if any(self.has_registry(layer.file) for layer in chart.layers):
            for pointer in self._repositories(chart):
                self._join(chart, pointer)

    # --- a registry and a repository in different layers ---

    def _repositories(self, chart: ChartValues) -> list[str]:
        """Where the chart's values may hold a repository."""
        found: dict[str, None] = {}
        for layer in chart.layers:
            root = self._document(layer)
            for inner, node in scalars_of(root) if root is not None else ():
                pointer = layer.mount + inner
                above, _, last = pointer.rpartition("/")
                is_named = last == "name" and above.lower().endswith("image")
                if (is_named or last in {"repository", "image"}) and node.value:
                    found[pointer] = None
        return list(found)

    def _join(self, chart: ChartValues, pointer: str) -> None:
        """One repository with the registry that another layer puts before it."""
        folder, _, last = pointer.rpartition("/")
        top = self._highest(chart, pointer)
        names = [f"{folder}/registry", *_globals(folder)]
        registries = [
            found
            for one in names
            if (found := self._highest(chart, one)) and self._is_asked(chart, one)
        ]
        if top is None or all(layer is top[0] for layer, _ in registries):
            return  # whoever reads the file joins them
        layer, text = top[0], str(top[1].value)
        joined = [f"{str(said.value).rstrip('/')}/{text}" for _, said in registries]
        written = ImageField.parse(joined[0])
        images = {self.image_of(ImageField.parse(one).repository) for one in joined}
        image = next((one for one in images if one is not None), None)
        key = layer.file, self._pointer(layer, pointer)
        location = next((one for one, inner in self._spots(layer) if inner == pointer), None)
        same = {ImageField.parse(one).canonical for one in joined}
        if location is not None and same == {location.written.canonical}:
            return
        files = ", ".join(dict.fromkeys(one.file for one, _ in registries))
        words = f"{files} puts a registry before it ({joined[0][:200]}): {_TOGETHER}"
        if location is not None:
            self.lost[key] = Overridden(words, is_refused=True)
        elif image is not None:
            own = canonical_repository(self.home.get(image, ""))
            is_home = same == {own} and last != "image"
            if not is_home or not self._join_version(chart, folder, image):
                line = None if "#" in key[1] else line_of(top[1])
                self.told[key] = Remark(
                    RemarkKind.REFUSED, *key[:1], line, words, key[1], str(written), image
                )

    def _join_version(self, chart: ChartValues, folder: str, image: ImageId) -> bool:
        """Make the scalar of the version the place of an image; whether it can be one."""
        keys = self._keys(chart, chart.layers, folder)
        version = self._version_above(chart.layers, folder, keys)
        if version is None or not self._is_writable(*version[:2]) or version[2] == "sha":
            return False
        if any(self._doubt(one, [f"{folder}/{key}" for key in keys]) for one in chart.layers):
            return False
        dotted = f"{folder}/{version[2]}"[1:].replace("/", ".")
        if chart.folder and dotted in self.labels_of(chart.folder):
            return False
        self._name(image, *version)
        return True

    def _highest(self, chart: ChartValues, pointer: str) -> tuple[Layer, ScalarNode] | None:
        """What the chart's values say at a pointer, and in which layer."""
        for one in reversed(chart.layers):
            found = self._scalar(one, pointer)
            if found is not None:
                return None if _is_null(found) or not found.value else (one, found)
        return None

    def _is_asked(self, chart: ChartValues, pointer: str) -> bool:
        """Whether a template of the chart may read a value."""
        dotted, _, key = pointer[1:].replace("/", ".").rpartition(".")
        return not chart.folder or self.reads_of(chart.folder).key(dotted, key)

    def _keys(self, chart: ChartValues, higher: Sequence[Layer], folder: str) -> tuple[str, ...]:
        """The keys that may hold a version in a mapping: a digest's only where it is read."""

        def is_unread(key: str) -> bool:
            said = any(self._scalar(one, f"{folder}/{key}") is not None for one in higher)
            return said and not self._is_read(chart, folder, key)

        return (*(key for key in _DIGESTS if not is_unread(key)), "tag")

    def _is_read(self, chart: ChartValues, folder: str, key: str) -> bool:
        dotted = folder[1:].replace("/", ".")
        return not chart.folder or self.reads_of(chart.folder).key(dotted, key)

    def _read(
        self, chart: ChartValues, location: ImageLocation, inner: str
    ) -> ImageLocation | Overridden:
        """A place without a digest of its own that no template reads, or why there is none."""
        folder = inner.rpartition("/")[0]
        pinned = next(
            (one for one in location.slots if one.shape in {Shape.DIGEST, Shape.HEX}), None
        )
        key = pinned.pointer.rpartition("/")[2] if pinned else ""
        if pinned is None or key not in _DIGESTS or self._is_read(chart, folder, key):
            return location
        words = f"no template of {chart.folder} reads {inner[1:].replace('/', '.')}'s {key}"
        slots = tuple(
            replace(one, shape=Shape.TAG_AND_DIGEST) if one.shape is Shape.TAG else one
            for one in location.slots
            if one is not pinned
        )
        has_tag = any(one.shape is Shape.TAG_AND_DIGEST for one in slots)
        if pinned.old or not has_tag:
            way = "take the key out" if has_tag else "take the key out and write a tag"
            return Overridden(f"{words}: {way}", is_refused=True)
        return replace(location, slots=slots)

    def _labelled(
        self, chart: ChartValues, location: ImageLocation, inner: str
    ) -> Overridden | None:
        """Why a digest must not stand behind the tag: the chart writes it into a label."""
        folder, _, last = inner.rpartition("/")
        key = last if "beside" in location.kind else "tag"
        if (
            not any(slot.shape is Shape.TAG_AND_DIGEST for slot in location.slots)
            or not chart.folder
        ):
            return None
        dotted = f"{folder}/{key}"[1:].replace("/", ".")
        where = self.labels_of(chart.folder).get(dotted)
        if where is None:
            return None
        words = (
            f"{where} writes {dotted} into a label, which takes no '@' and no more than 63 "
            'characters: let the label leave the digest out, as by `splitList "@"`, or let the '
            "chart read a digest of its own"
        )
        return Overridden(words, is_refused=True)

    def versions(self) -> dict[str, list[At]]:
        """The scalars that hold a version alone, by file."""
        found: dict[str, list[At]] = {}
        for (path, _), at in self.at.items():
            found.setdefault(path, []).append(at)
        return found

    def rewritten(self) -> dict[str, dict[str, ImageLocation]]:
        """The places that are written in another way than their file tells, by file and pointer."""
        found: dict[str, dict[str, ImageLocation]] = {}
        for (path, pointer), location in self.written.items():
            found.setdefault(path, {})[pointer] = location
        return found

    def overridden(self) -> dict[str, dict[str, Overridden]]:
        """The places that nothing deploys as they are, by file and pointer."""
        found: dict[str, dict[str, Overridden]] = {}
        for (path, pointer), why in self.lost.items():
            if why.is_refused or (path, pointer) not in self.effective:
                found.setdefault(path, {})[pointer] = why
        return found

    def _spots(self, layer: Layer) -> Iterator[tuple[ImageLocation, str]]:
        """The places in the values of a layer, each with its pointer in the chart's values."""
        for location in self._spots_at(layer):
            inner = location.pointer.removeprefix(layer.pointer).removeprefix("#")
            if "#" not in inner and location.kind.startswith("helm values"):
                yield location, layer.mount + inner

    def _spots_at(self, layer: Layer) -> Iterator[ImageLocation]:
        """The places below where a layer stands."""
        reading = self.readings.get(layer.file)
        for location in (*reading.locations, *reading.outside) if reading else ():
            is_same = not layer.pointer or location.document == layer.document
            is_below = location.pointer.startswith((f"{layer.pointer}/", f"{layer.pointer}#"))
            if is_same and is_below:
                yield location

    def _above(
        self, chart: ChartValues, higher: Sequence[Layer], location: ImageLocation, inner: str
    ) -> Overridden | None:
        """What overrides a place; None: nothing."""
        folder, _, last = inner.rpartition("/")
        is_beside = "beside" in location.kind
        name = f"{folder}/image" if is_beside else inner
        keys = (last,) if is_beside else self._keys(chart, higher, folder)
        is_one = last == "image" and not is_beside  # one string: only the same key overrides it
        pointers = (name,) if is_one else (name, *(f"{folder}/{key}" for key in keys))
        for one in reversed(higher):
            doubt = self._doubt(one, pointers)
            if doubt:
                return Overridden(f"{doubt}: {_TOGETHER}", is_refused=True)
            found = self._scalar(one, name)
            if found is not None:
                words = f"{one.file} puts another one over it"
                return Overridden(words, is_refused=_is_null(found))
        if is_one:
            return None
        version = self._version_above(higher, folder, keys)
        return None if version is None else self._moved(location, *version)

    def _doubt(self, layer: Layer, pointers: Sequence[str]) -> str:
        """Why nobody can tell what a layer makes of an image; empty: it can be told."""
        if layer.doubt is None:
            return ""
        if layer.doubt.is_whole:
            is_all = not layer.mount and self._document(layer) is None
            met = any(
                self._scalar(layer, one) is not None
                or (layer.mount and _below(layer, one) is not None)
                for one in pointers
            )
            return layer.doubt.words if is_all or met else ""
        name = pointers[0]
        is_lost = _below(layer, name) is not None and self._scalar(layer, name) is None
        return layer.doubt.words if is_lost else ""

    def _version_above(
        self, higher: Sequence[Layer], folder: str, keys: tuple[str, ...]
    ) -> tuple[str, str, str] | None:
        """The highest scalar above that sets the version: its file, pointer and key."""
        said = [
            (found, (one.file, self._pointer(one, f"{folder}/{key}"), key))
            for one in reversed(higher)
            for key in keys
            if (found := self._scalar(one, f"{folder}/{key}")) is not None
            and (key == "tag" or not _is_null(found))
        ]
        pinned = [where for found, where in said if where[2] in _DIGESTS and found.value]
        return next(iter((*pinned, *(where for _, where in said))), None)

    def _moved(
        self, location: ImageLocation, file: str, pointer: str, key: str
    ) -> Overridden | None:
        """Make the scalar above the place, or say why it cannot be."""
        if file == location.place.path and any(slot.pointer == pointer for slot in location.slots):
            return None  # the place has it already
        words = f"{file} ({pointer}) sets its {key} over it"
        own = canonical_repository(self.home.get(location.image, ""))
        has_digest = any(slot.shape in {Shape.DIGEST, Shape.HEX} for slot in location.slots)
        can_move = (
            self._is_writable(file, pointer)
            and location.written.canonical == own
            and key != "sha"
            and (key in _DIGESTS or not (has_digest and location.written.digest))
        )
        if not can_move:
            both = f"{words}: {_TOGETHER}"
            return Overridden(both, is_refused=True)
        self._name(location.image, file, pointer, key)
        return Overridden(words)

    def _is_writable(self, file: str, pointer: str) -> bool:
        """Whether a scalar can be named as a place."""
        is_plain = _PLAIN.fullmatch(file) is not None and "#" not in pointer
        return is_plain and self.owns(file) and len(self.documents_at(file)) == 1

    def _name(self, image: ImageId, file: str, pointer: str, key: str) -> None:
        """A scalar that holds a version is a place of an image from now on."""
        found = pointed(self.documents_at(file)[0], pointer)
        is_digest = found is not None and WrittenVersion.parse(str(found[1].value)).is_digest
        write = Write.DIGEST if key in _DIGESTS or is_digest else Write.TAG_AND_DIGEST
        self.at[file, pointer] = At(image, Template(file), pointer, write)

    def _scalar(self, layer: Layer, pointer: str) -> ScalarNode | None:
        """What a layer says at a pointer of the chart's values."""
        inner = _below(layer, pointer)
        root = self._document(layer) if inner is not None else None
        if root is None or inner is None:
            return None
        found = pointed(root, inner) if inner else (None, root)
        return found[1] if found and isinstance(found[1], ScalarNode) else None

    def _pointer(self, layer: Layer, pointer: str) -> str:
        """Where something of the chart's values stands in a layer's file."""
        inner = _below(layer, pointer) or ""
        in_text = bool(inner) and isinstance(self._node(layer), ScalarNode)
        return f"{layer.pointer}#{inner}" if in_text else f"{layer.pointer}{inner}"

    def _node(self, layer: Layer) -> Node | None:
        """Where a layer stands; behind each ``#`` of its pointer within the text before it."""
        documents, number = self.documents_at(layer.file), layer.document
        found: Node | None = None
        for index, part in enumerate(layer.pointer.split("#")):
            own = part
            if index:
                digits, _, rest = part.partition("/")
                number, own = int(digits or 1), f"/{rest}" if rest else ""
                documents = _documents(found, layer.file)
            if len(documents) < number:
                return None
            root = documents[number - 1]
            at = pointed(root, own) if own else (None, root)
            if at is None:
                return None
            found = at[1]
        return found

    def _document(self, layer: Layer) -> Node | None:
        """The values of a layer; those of a text are read."""
        node = self._node(layer)
        if not isinstance(node, ScalarNode) or layer.mount:
            return node
        inner = _documents(node, layer.file)
        return inner[0] if inner else None


def _documents(node: Node | None, path: str) -> Sequence[Node]:
    """The documents of a text; none where it is none, or cannot be read."""
    if not isinstance(node, ScalarNode):
        return []
    try:
        return compose_all(str(node.value), path)
    except RejectedError:
        return []


def _below(layer: Layer, pointer: str) -> str | None:
    """A pointer of the chart's values within a layer's; None: it cannot be there."""
    inner = pointer.removeprefix(layer.mount)
    is_there = pointer.startswith(layer.mount) and (not inner or inner.startswith("/"))
    return inner if is_there else None


def _globals(folder: str) -> list[str]:
    """Where a registry for everything may stand, of a chart and of those that it lies below."""
    steps = folder.split("/")
    return [
        "/".join([*steps[:count], "global/imageRegistry"]) for count in range(1, len(steps) + 1)
    ]


def _is_null(node: ScalarNode) -> bool:
    return not node.style and node.value in _NULL
