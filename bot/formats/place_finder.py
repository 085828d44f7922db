"""Finding places in one YAML document, by parsing: nothing is configured but `at`.

Styles: entries of a kustomization's ``images`` (also Flux's and of image transformers), ``image``
fields of objects of any kind, Helm values (maps, one string, an image beside its tag), Argo CD's
sources, JSON patches; each of them also in a text inside another scalar.

Every scalar that speaks of an image of ours is either a part of a place or becomes a remark.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bot.domain.environments import At, ImageId, Write, matches
from bot.domain.errors import RejectedError
from bot.domain.publication import LocationKey
from bot.formats.image_names import (
    ImageField,
    Names,
    WrittenVersion,
    fault,
    has_placeholder,
)
from bot.formats.kustomization import KNOWN_KEYS, Entry
from bot.formats.places import HOLDING, ImageLocation, Remark, RemarkKind, Shape, Slot
from bot.formats.splice import Span
from bot.formats.split_names import split_names
from bot.formats.surroundings import Surroundings
from bot.formats.text_frame import Frame
from bot.formats.traces import traces_of
from bot.formats.yaml_tree import (
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    compose_all,
    pairs_of,
)

Pair = tuple[ScalarNode, Node]
Fields = Mapping[str, Pair]

_BINARY: Final = frozenset({"tag:yaml.org,2002:binary", "!binary"})
_DEEPEST: Final = 3
"""Texts inside texts that are looked into."""
_ENTRY_KEYS: Final = ("name", "newName", "newTag", "digest", "tagSuffix")
_ENTRY_LOWER: Final = {key.lower(): key for key in _ENTRY_KEYS}
_ROOT_LOWER: Final = {key.lower(): key for key in KNOWN_KEYS}
_SIBLING_TAGS: Final = ("tag", "imageTag", "version")
_DIGEST_KEYS: Final = ("digest", "sha")
_TEXTS: Final = frozenset({"values", "valuesContent", "patch", "patches", "templatePatch"})
# Objects that only name images: their groups, and kinds where a group has both.
_NAMING_GROUPS: Final = (
    "image.toolkit.fluxcd.io",
    "kargo.akuity.io",
    "argocd-image-updater.argoproj.io",
    "kyverno.io",
    "policy.sigstore.dev",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "templates.gatekeeper.sh",
    "constraints.gatekeeper.sh",
)
_CHART_KINDS: Final = frozenset({"HelmRelease"})
_ENTRY_KINDS: Final = frozenset({"HelmRelease", "Kustomization", "Component", "FluxInstance"})


@dataclass
class Findings:
    """What a file holds, as it is gathered."""

    path: str
    names: Names
    locations: list[ImageLocation] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    counts: dict[ImageId, int] = field(default_factory=dict)

    def place(self, image: ImageId) -> LocationKey:
        """The next place of this image."""
        ordinal = self.counts.get(image, 0)
        self.counts[image] = ordinal + 1
        return LocationKey(self.path, image.application, image.name, ordinal)


@dataclass(frozen=True)
class Context:
    """What is known of the surroundings of a node."""

    values: bool = False
    """It is Helm values: maps of repository and tag are images."""
    names_only: str = ""
    """Why everything here only names images."""
    registry: str = ""
    """The values' ``global.imageRegistry``."""
    steps: tuple[str, ...] = ()
    """Keys from the root of the values."""
    overrides: Mapping[str, tuple[Pair, str]] = field(default_factory=dict)
    """Dotted path of a value -> the parameter that overrides it, and its pointer."""
    parent: str = ""
    """The key that the node stands at."""
    parent_of_list: str = ""
    """The key of the list that the node is an item of."""


@dataclass(frozen=True)
class _Candidate:
    """A place of ours, before it is known whether its scalars are its own."""

    image: ImageId
    kind: str
    written: ImageField
    node: Node
    pointer: str
    slots: tuple[tuple[Slot, Node | None], ...]
    home: int
    """The mapping that it was read from, by its identity."""


def _joined(said: Mapping[str, str]) -> str:
    """The repository of what an entry renders, as kustomize puts it together."""
    tag = said.get("newTag", "") + said.get("tagSuffix", "")
    name = said.get("newName", "") or said.get("name", "")
    return ImageField.parse(f"{name}:{tag}" if tag else name).repository


def read_document(
    findings: Findings,
    root: Node,
    frame: Frame,
    number: int,
    *,
    is_kustomization: bool = False,
    is_values: bool = False,
) -> None:
    """Find everything in one document of a file."""
    reader = _Reader(findings, frame, number, "", 0)
    reader.read(root, is_kustomization=is_kustomization, is_values=is_values)


class _Reader:
    """One document, or one text inside a document."""

    def __init__(
        self, findings: Findings, frame: Frame, number: int, prefix: str, depth: int
    ) -> None:
        self.findings, self.names, self.frame = findings, findings.names, frame
        self.number, self.prefix, self.depth = number, prefix, depth
        self.seen: set[int] = set()
        self.consumed: set[int] = set()
        self.claims: set[object] = set()
        self.candidates: list[_Candidate] = []
        self.edges: dict[int, list[tuple[object, int, str]]] = {}
        self.home: int = 0
        """The mapping that is read."""
        self.inserted: dict[str, int] = {}
        """Pointer of a key that a mapping lacks -> the mapping."""
        self.merging: list[MappingNode] = []
        """Mappings that take keys of others (``<<``)."""

    # --- the whole document ---

    def read(self, root: Node, *, is_kustomization: bool, is_values: bool) -> None:
        """Every place and every remark of a document."""
        begin = len(self.findings.remarks)
        kind, group = _kind(root)
        sops = self._sops(root)
        self._named_places(root)
        if is_kustomization:
            self._kustomization(root)
        else:
            context = Context(names_only=_names_only(kind, group))
            if group.startswith("kustomize.config.k8s.io") and kind in {
                "Kustomization",
                "Component",
            }:
                self._misnamed(root, kind)
            elif _is_patch(root):
                self._operations(root, "")
            else:
                values = is_values and not kind
                registry = _text_at(root, "global", "imageRegistry") if values else ""
                context = replace(context, values=values, registry=registry)
                self._walk(root, "", context, kind)
        self._settle(root, sops)
        names_only = _names_only(kind, group)
        self._split(root, names_only)
        self._mentions(root, names_only)
        self._surround(root, begin)

    def _split(
        self, root: Node, names_only: str, text: tuple[ScalarNode, str] | None = None
    ) -> None:
        """Names of ours in two scalars; of a text that no edit reaches, told of the text."""
        for pointer, node, joined in split_names(root, self.names):
            if id(node) not in self.consumed:
                reason = names_only or f"with the registry it is {joined}, where no place is known"
                noted = RemarkKind.NAMED if names_only else RemarkKind.MENTION
                image = self.names.image(ImageField.parse(joined).repository)
                where, before = text or (node, "")
                self._remark(noted, where, before + pointer, reason, joined, image)

    def _surround(self, root: Node, begin: int) -> None:
        """Tell remarks apart by what stands beside them: a tag that changes is another image."""
        around = Surroundings(_all_nodes(root), self._named)
        for index in range(begin, len(self.findings.remarks)):
            remark = self.findings.remarks[index]
            inner = remark.pointer.removeprefix(self.prefix)
            # A name with its digest is told apart by itself.
            is_plain = remark.kind in HOLDING and not ImageField.parse(remark.text).digest
            if is_plain and not remark.state and "#" not in inner:
                state = around.of(inner, remark.text)
                self.findings.remarks[index] = replace(remark, state=state)

    def _named(self, text: str) -> Iterator[tuple[int, str]]:
        return ((position, name) for position, name, _ in self.names.mentions(text, "image"))

    def _sops(self, root: Node) -> str:
        """Why sops would not accept an edit; empty: it does."""
        sops = _get(root, "sops")
        if not isinstance(sops, MappingNode) or _get(sops, "mac") is None:
            return ""
        only = _get(sops, "mac_only_encrypted")
        if isinstance(only, ScalarNode) and str(only.value).lower() == "true":
            return ""
        return "sops keeps a checksum over the whole file; encrypt with mac_only_encrypted: true"

    # --- walking ---

    def _walk(self, node: Node, pointer: str, context: Context, kind: str) -> None:
        if id(node) in self.seen:
            return
        if isinstance(node, MappingNode):
            self.seen.add(id(node))
            self._mapping(node, pointer, context, kind)
        elif isinstance(node, SequenceNode):
            self.seen.add(id(node))
            inner = replace(context, parent="", parent_of_list=context.parent)
            for index, item in enumerate(node.value):
                self._walk(item, f"{pointer}/{index}", inner, kind)
        elif isinstance(node, ScalarNode):
            self._text(node, pointer, context)

    def _mapping(self, node: MappingNode, pointer: str, context: Context, kind: str) -> None:
        pairs = list(pairs_of(node, self.findings.path))
        fields = {str(key.value): (key, value) for key, value in pairs}
        self.home = id(node)
        if not context.names_only:
            self._places_of(node, fields, pointer, context, kind)
        for key, value in pairs:
            name = str(key.value)
            if id(value) in self.consumed and isinstance(value, ScalarNode):
                continue
            here = f"{pointer}/{escaped(name)}"
            self._walk(value, here, self._below(context, fields, pointer, name, kind), kind)

    def _below(
        self, context: Context, fields: Fields, pointer: str, name: str, kind: str
    ) -> Context:
        """The context of a value, by its key."""
        begins = (
            (kind in _CHART_KINDS and pointer == "/spec" and name == "values")
            or (context.parent == "helm" and name == "valuesObject")
            or name == "valuesInline"
        )
        if begins:
            value = fields[name][1]
            return replace(
                context,
                values=True,
                registry=_text_at(value, "global", "imageRegistry"),
                steps=(),
                overrides=self._parameters(fields, pointer) if name == "valuesObject" else {},
                parent=name,
                parent_of_list="",
            )
        steps = (*context.steps, name) if context.values else ()
        return replace(context, parent=name, parent_of_list="", steps=steps)

    def _places_of(
        self, node: MappingNode, fields: Fields, pointer: str, context: Context, kind: str
    ) -> None:
        if "image" in fields:
            self._image(fields, pointer, context)
        if context.values and ("repository" in fields or "name" in fields):
            self._image_map(node, fields, pointer, context)
        if context.parent == "image" and "reference" in fields and not context.values:
            self._one_string(fields["reference"], f"{pointer}/reference", "image volume")
        if kind in _ENTRY_KINDS and "images" in fields and not context.values:
            self._entries(fields["images"][1], f"{pointer}/images", "flux images")
        if "imageTag" in fields and isinstance(fields["imageTag"][1], MappingNode):
            self._entry(fields["imageTag"][1], f"{pointer}/imageTag", "image transformer")
        if context.parent == "kustomize" and "images" in fields:
            self._argo_images(fields["images"][1], f"{pointer}/images")
        if context.parent == "helm" and "parameters" in fields:
            self._argo_parameters(fields, pointer)

    # --- objects of any kind, and one string of Helm values ---

    def _image(self, fields: Fields, pointer: str, context: Context) -> None:
        key, value = fields["image"]
        if not isinstance(value, ScalarNode):
            return
        here, text = f"{pointer}/image", str(value.value)
        written = ImageField.parse(text)
        image = self.names.image(written.repository)
        if image is None:
            self._templated(value, here, text)
            return
        is_container = "name" in fields and (
            context.parent_of_list.lower().endswith("containers") or not context.values
        )
        sibling = None if is_container else _sibling_tag(fields, written)
        kind = "helm values" if context.values else "workload"
        if sibling is None:
            if not written.tag and not written.digest and context.values and not is_container:
                why = "nothing shows which key holds the tag"
                self._refuse(value, here, why, text, image, remedy=True)
            else:
                self._one_string(fields["image"], here, kind)
            return
        tag_key, tag = fields[sibling]
        tag_here = f"{pointer}/{sibling}"
        if written.tag or written.digest:
            why = f"it has a tag and {sibling!r} stands beside it"
            self._refuse(value, here, why, text, image, remedy=True)
        elif not context.values and sibling == "version":
            why = "nothing shows whether 'version' is its tag"
            self._refuse(value, here, why, text, image, remedy=True)
        else:
            said = _said(tag)
            if self._is_faulty(value, here, text, image, tag_of=said):
                return
            version = WrittenVersion.parse(said)
            if version.fault:
                why = f"{sibling!r}: {version.fault}"
                self._refuse(value, here, why, text, image, remedy=True)
                return
            shape = Shape.DIGEST if version.is_digest else Shape.TAG_AND_DIGEST
            self._add(
                image,
                f"{kind}: image beside its tag",
                ImageField(written.repository, version.tag, version.digest),
                node=tag,
                pointer=tag_here,
                slots=(
                    (self._slot(Shape.REPOSITORY, key, value, here), value),
                    (self._slot(shape, tag_key, tag, tag_here), tag),
                ),
            )

    def _one_string(self, pair: Pair, pointer: str, kind: str) -> None:
        key, value = pair
        if not isinstance(value, ScalarNode):
            return
        text = str(value.value)
        written = ImageField.parse(text)
        image = self.names.image(written.repository)
        if image is None:
            self._templated(value, pointer, text)
        elif not self._is_faulty(value, pointer, text, image):
            slot = self._slot(Shape.REFERENCE, key, value, pointer)
            self._add(image, kind, written, node=value, pointer=pointer, slots=((slot, value),))

    def _templated(self, node: Node, pointer: str, text: str) -> None:
        """A name of ours that another tool completes."""
        if has_placeholder(text):
            found = next(iter(self.names.mentions(text, "image")), None)
            if found is not None:
                self._refuse(node, pointer, "another tool fills it in", text, found[2])

    def _is_faulty(
        self, node: ScalarNode, pointer: str, text: str, image: ImageId, tag_of: str = ""
    ) -> bool:
        why = fault(text) or ("another tool fills in its tag" if has_placeholder(tag_of) else "")
        if why:
            self._refuse(node, pointer, why, text, image)
        return bool(why)

    # --- Helm values ---

    def _image_map(self, node: MappingNode, fields: Fields, pointer: str, context: Context) -> None:
        found = self._repository_of(fields, pointer, context)
        if found is None:
            return
        image, key_name, spelled, slots = found
        repository = fields[key_name][1]
        written = ImageField.parse(spelled)
        digest_key = next((key for key in _DIGEST_KEYS if _is_scalar(fields, key)), "")
        here = f"{pointer}/{key_name}"
        if written.tag or written.digest:
            if "tag" in fields or digest_key:
                why = "the repository has a tag, and there are keys for it"
                self._refuse(repository, here, why, spelled, image, remedy=True)
            else:
                self._one_string(fields[key_name], here, "helm values")
            return
        digest = _said(fields[digest_key][1]) if digest_key else ""
        tag_pair, tag_here = self._tag_of(fields, pointer, context)
        said = _said(tag_pair[1]) if tag_pair else ""
        version = WrittenVersion.parse(said)
        if any(has_placeholder(text) for text in (spelled, said, digest)):
            self._refuse(repository, here, "another tool fills it in", spelled, image)
            return
        if version.fault:
            self._refuse(repository, here, f"its tag: {version.fault}", spelled, image, remedy=True)
            return
        if version.digest and (digest or (version.is_digest and digest_key)):
            why = "the tag holds a digest, and so does its own key"
            self._refuse(repository, here, why, spelled, image)
            return
        if digest_key == "sha" and digest and ":" not in digest:
            digest = f"sha256:{digest}"
        slots += self._version_slots(node, fields, pointer, digest_key, tag_pair, tag_here)
        self._add(
            image,
            "helm values",
            ImageField(written.repository, version.tag, version.digest or digest),
            node=repository,
            pointer=here,
            slots=slots,
        )

    def _version_slots(
        self,
        node: MappingNode,
        fields: Fields,
        pointer: str,
        digest_key: str,
        tag_pair: Pair | None,
        tag_here: str,
    ) -> tuple[tuple[Slot, Node | None], ...]:
        """Where tag and digest of a map stand, or will stand."""
        if digest_key:
            key, value = fields[digest_key]
            shape = Shape.HEX if digest_key == "sha" else Shape.DIGEST
            digest = (self._slot(shape, key, value, f"{pointer}/{digest_key}"), value)
            if tag_pair is None or not _said(tag_pair[1]):
                return (digest,)
            return ((self._slot(Shape.TAG, *tag_pair, tag_here), tag_pair[1]), digest)
        if tag_pair is None:
            return ((self._inserted(Shape.TAG_AND_DIGEST, node, pointer, "tag"), None),)
        is_digest = WrittenVersion.parse(_said(tag_pair[1])).is_digest
        shape = Shape.DIGEST if is_digest else Shape.TAG_AND_DIGEST
        return ((self._slot(shape, *tag_pair, tag_here), tag_pair[1]),)

    def _tag_of(self, fields: Fields, pointer: str, context: Context) -> tuple[Pair | None, str]:
        """The tag's scalar: a parameter that overrides it, else the key beside the repository."""
        override = context.overrides.get(".".join((*context.steps, "tag")))
        if override is not None:
            return override
        if _is_scalar(fields, "tag"):
            return fields["tag"], f"{pointer}/tag"
        return None, ""

    def _repository_of(
        self, fields: Fields, pointer: str, context: Context
    ) -> tuple[ImageId, str, str, tuple[tuple[Slot, Node | None], ...]] | None:
        """Whose the map is: by its repository alone, or joined with the registry."""
        is_image = context.parent.lower().endswith("image")
        for name in ("repository", "name") if is_image else ("repository",):
            if not _is_scalar(fields, name):
                continue
            key, value = fields[name]
            text = str(value.value)
            own = _said(fields["registry"][1]) if _is_scalar(fields, "registry") else ""
            registries = [one.rstrip("/") for one in (context.registry, own) if one]
            joined = [f"{one}/{text}" for one in registries] or [text]
            images = {self.names.image(ImageField.parse(one).repository) for one in joined}
            here = f"{pointer}/{name}"
            if images == {None}:
                if registries and (image := self.names.image(ImageField.parse(text).repository)):
                    why = f"it has a registry, and {registries[0]!r} is put before it"
                    self._refuse(value, here, why, text, image)
                else:
                    self._templated(value, here, text)
                continue
            image = next((one for one in images if one is not None), None)
            if image is None:
                continue
            if len(images) > 1:
                why = f"registry {own!r} and global.imageRegistry {context.registry!r} differ"
                self._refuse(value, here, why, text, image)
                return None
            slot = self._slot(Shape.PATH if registries else Shape.REPOSITORY, key, value, here)
            slots: tuple[tuple[Slot, Node | None], ...] = ((slot, value),)
            if own and not context.registry:
                registry_key, registry = fields["registry"]
                host = self._slot(Shape.HOST, registry_key, registry, f"{pointer}/registry")
                slots += ((host, registry),)
            return image, name, joined[0], slots
        return None

    # --- kustomizations, and what has their entries ---

    def _kustomization(self, root: Node) -> None:
        if not isinstance(root, MappingNode):
            return
        self.seen.add(id(root))
        pairs = list(pairs_of(root, self.findings.path))
        for key, _ in pairs:
            known = _ROOT_LOWER.get(str(key.value).lower())
            if known is not None and known != key.value:
                self._misspelled(key, known)
        for key, value in pairs:
            name = str(key.value)
            here = f"/{escaped(name)}"
            if name == "images":
                self._entries(value, here, "kustomization")
            elif name in {"helmCharts", "helmChartInflationGenerator"}:
                self._walk(value, here, Context(parent=name), "Kustomization")
            else:
                self._walk(value, here, Context(parent=name), "")

    def _misspelled(self, key: ScalarNode, known: str) -> None:
        """Go's decoder takes keys in any case; what it would read twice is not told by looking."""
        reason = f"kustomize reads key {str(key.value)!r} as {known!r}: write it so"
        self._remark(RemarkKind.REFUSED, key, f"/{escaped(str(key.value))}", reason)

    def _misnamed(self, root: Node, kind: str) -> None:
        images = _get(root, "images")
        if isinstance(images, SequenceNode):
            for index, entry in enumerate(images.value):
                found = self._names_in(entry)
                if found is not None:
                    why = f"kustomize reads no {kind} from a file of this name"
                    self._remark(RemarkKind.MENTION, entry, f"/images/{index}", why, "", found)
                    self._consume(entry)

    def _names_in(self, node: Node) -> ImageId | None:
        for scalar in _scalars(node):
            for _, _, image in self.names.mentions(str(scalar.value), "image"):
                if image is not None:
                    return image
        return None

    def _entries(self, node: Node, pointer: str, kind: str) -> None:
        if not isinstance(node, SequenceNode):
            return
        self.seen.add(id(node))
        for index, entry in enumerate(node.value):
            if isinstance(entry, MappingNode):
                self._entry(entry, f"{pointer}/{index}", kind)

    def _entry(self, entry: MappingNode, pointer: str, kind: str) -> None:
        if id(entry) in self.seen:
            return
        self.seen.add(id(entry))
        self.home = id(entry)
        pairs = list(pairs_of(entry, self.findings.path))
        for key, _ in pairs:
            known = _ENTRY_LOWER.get(str(key.value).lower())
            if known is not None and known != key.value:
                self._misspelled(key, known)
                self._consume(entry)
                return
        fields = {str(key.value): (key, value) for key, value in pairs}
        said: dict[str, str] = {n: _said(fields[n][1]) for n in _ENTRY_KEYS if n in fields}
        name, new = said.get("name", ""), said.get("newName", "")
        line = self.frame.line(entry)
        self.findings.entries.append(Entry(name, new or name, line))
        split = self.names.image(_joined(said))
        image = self._image_of_entry(entry, fields, pointer, name, new)
        if image is None and split is not None:
            why = "newName and newTag are an image of ours together: write the name in newName"
            self._refuse(entry, pointer, why, new or name, split)
            self._consume(entry)
        if image is None:
            return
        why = self._entry_fault(said)
        if why:
            self._refuse(entry, pointer, why, new or name, image)
            self._consume(entry)
            return
        tag, _, pinned = said.get("newTag", "").partition("@")
        written = ImageField.parse(new or name)
        slots: list[tuple[Slot, Node | None]] = [
            self._entry_slot(entry, fields, pointer, "newName", Shape.REPOSITORY)
        ]
        if tag:
            shape = Shape.TAG_AND_DIGEST if pinned else Shape.TAG
            slots.append(self._entry_slot(entry, fields, pointer, "newTag", shape))
        if not pinned:
            slots.append(self._entry_slot(entry, fields, pointer, "digest", Shape.DIGEST))
        if "name" in fields:
            self.consumed.add(id(fields["name"][1]))
            self.claims.add(id(fields["name"][0]))
        digest = pinned or said.get("digest", "")
        self._add(
            image,
            kind,
            ImageField(written.repository, tag or written.tag, digest),
            node=entry,
            pointer=pointer,
            slots=tuple(slots),
        )

    def _image_of_entry(
        self, entry: MappingNode, fields: Fields, pointer: str, name: str, new: str
    ) -> ImageId | None:
        """Whose an entry is: ``newName`` decides alone, a bare name where it is one image's."""
        named = ImageField.parse(new or name).repository
        image = self.names.image(named)
        if image is not None:
            return image
        bare = self.names.short.get(name, ())
        own = self.names.image(ImageField.parse(name).repository)
        if new:
            if own is not None or bare:
                if has_placeholder(new):
                    self._refuse(entry, pointer, "another tool fills it in", new, own)
                else:
                    whose = own or (bare[0] if len(bare) == 1 else None)
                    why = f"newName {new[:200]} is no image repository of ours"
                    self._remark(RemarkKind.FOREIGN, entry, pointer, why, new, whose)
                    self._consume_only(fields, "name")
            return None
        if len(bare) > 1:
            several = ", ".join(str(one) for one in bare)
            why = f"{name!r} may be any of {several}: write newName"
            for each in bare:
                self._refuse(entry, pointer, why, name, each)
            return None
        return bare[0] if bare else None

    def _consume_only(self, fields: Fields, name: str) -> None:
        self.consumed.add(id(fields[name][1]))

    def _entry_fault(self, said: Mapping[str, str]) -> str:
        if any(has_placeholder(text) for text in said.values()):
            return "another tool fills it in"
        new, tag, digest = said.get("newName", ""), said.get("newTag", ""), said.get("digest", "")
        written = ImageField.parse(new)
        if written.tag or written.digest or new.endswith((":", "@")):
            return "newName carries a tag or digest: write newName, newTag and digest apart"
        if "@" in tag and digest:
            return "newTag and digest both hold a digest: take it out of newTag"
        return ""

    def _entry_slot(
        self, entry: MappingNode, fields: Fields, pointer: str, name: str, shape: Shape
    ) -> tuple[Slot, Node | None]:
        if name in fields and isinstance(fields[name][1], ScalarNode):
            key, value = fields[name]
            return self._slot(shape, key, value, f"{pointer}/{name}"), value
        return self._inserted(shape, entry, pointer, name), None

    # --- Argo CD ---

    def _argo_images(self, node: Node, pointer: str) -> None:
        if not isinstance(node, SequenceNode):
            return
        for index, item in enumerate(node.value):
            if not isinstance(item, ScalarNode):
                continue
            text, here = str(item.value), f"{pointer}/{index}"
            reference = text.partition("=")[2] or text
            written = ImageField.parse(reference)
            image = self.names.image(written.repository)
            if image is None:
                self._templated(item, here, text)
            elif not self._is_faulty(item, here, reference, image):
                slot = self._slot(Shape.NAMED_REFERENCE, (id(node), index), item, here)
                self._add(
                    image,
                    "argocd kustomize images",
                    written,
                    node=item,
                    pointer=here,
                    slots=((slot, item),),
                )

    def _parameters(self, fields: Fields, pointer: str) -> dict[str, tuple[Pair, str]]:
        """Name of each parameter -> its value and where it stands."""
        found: dict[str, tuple[Pair, str]] = {}
        node = fields["parameters"][1] if "parameters" in fields else None
        for index, item in enumerate(node.value if isinstance(node, SequenceNode) else ()):
            name, value = _get(item, "name"), _pair(item, "value")
            if (
                value is not None
                and isinstance(name, ScalarNode)
                and isinstance(value[1], ScalarNode)
            ):
                found[str(name.value)] = value, f"{pointer}/parameters/{index}/value"
        return found

    def _argo_parameters(self, fields: Fields, pointer: str) -> None:
        found = self._parameters(fields, pointer)
        values = fields["valuesObject"][1] if "valuesObject" in fields else None
        for name, (pair, here) in found.items():
            prefix, _, last = name.rpartition(".")
            if last == "repository" or (last == "name" and prefix.lower().endswith("image")):
                self._argo_map(found, values, prefix, last)
            elif last == "image":
                written = ImageField.parse(_said(pair[1]))
                if self.names.image(written.repository) and not (written.tag or written.digest):
                    why = "nothing shows which parameter holds the tag"
                    self._refuse(pair[1], here, why, _said(pair[1]), None, remedy=True)
                else:
                    self._one_string(pair, here, "argocd parameters")

    def _argo_map(
        self,
        found: Mapping[str, tuple[Pair, str]],
        values: Node | None,
        prefix: str,
        last: str,
    ) -> None:
        def parameter(name: str) -> tuple[Pair, str] | None:
            return found.get(f"{prefix}.{name}" if prefix else name)

        repository = parameter(last)
        if repository is None:
            return
        (key, value), here = repository
        text, registry = _said(value), parameter("registry")
        host = _said(registry[0][1]) if registry else ""
        spelled = f"{host}/{text}" if host else text
        image = self.names.image(ImageField.parse(spelled).repository)
        if image is None:
            if isinstance(value, ScalarNode):
                self._templated(value, here, text)
            return
        tag, digest = parameter("tag"), parameter("digest") or parameter("sha")
        if tag is None and digest is None:
            below = _pair(_below_path(values, prefix), "tag") if values is not None else None
            if below is None or not isinstance(below[1], ScalarNode):
                why = f"no parameter {prefix}.tag stands beside it: add one"
                self._refuse(value, here, why, text, image)
                return
            tag = (
                below,
                f"{here.rpartition('/parameters/')[0]}/valuesObject/"
                + "/".join(escaped(step) for step in [*prefix.split("."), "tag"]),
            )
        said = _said(tag[0][1]) if tag else ""
        if any(has_placeholder(one) for one in (spelled, said)):
            self._refuse(value, here, "another tool fills it in", spelled, image)
            return
        version = WrittenVersion.parse(said)
        if version.fault or (version.is_digest and digest is not None):
            why = version.fault or "the tag holds a digest, and so does its own parameter"
            self._refuse(value, here, f"its tag: {why}", spelled, image, remedy=True)
            return
        slots: list[tuple[Slot, Node | None]] = [
            (self._slot(Shape.PATH if host else Shape.REPOSITORY, key, value, here), value)
        ]
        if registry is not None and host:
            slots.append((self._slot(Shape.HOST, *registry[0], registry[1]), registry[0][1]))
        if tag is not None and (said or digest is None):
            pinned = Shape.DIGEST if version.is_digest else Shape.TAG_AND_DIGEST
            shape = Shape.TAG if digest else pinned
            slots.append((self._slot(shape, *tag[0], tag[1]), tag[0][1]))
        if digest is not None:
            shape = Shape.DIGEST if parameter("digest") else Shape.HEX
            slots.append((self._slot(shape, *digest[0], digest[1]), digest[0][1]))
        at_digest = _said(digest[0][1]) if digest else ""
        if at_digest and ":" not in at_digest:
            at_digest = f"sha256:{at_digest}"
        self._add(
            image,
            "argocd parameters",
            ImageField(
                ImageField.parse(spelled).repository, version.tag, version.digest or at_digest
            ),
            node=value,
            pointer=here,
            slots=tuple(slots),
        )

    # --- patches, and texts inside texts ---

    def _operations(self, node: Node, pointer: str) -> None:
        """A JSON patch (RFC 6902): operations that set an image."""
        self.seen.add(id(node))
        for index, item in enumerate(node.value if isinstance(node, SequenceNode) else ()):
            path, value = _get(item, "path"), _pair(item, "value")
            here = f"{pointer}/{index}/value"
            if value is None or not isinstance(path, ScalarNode):
                continue
            if str(path.value).endswith("/image"):
                self._one_string(value, here, "patch")
            else:
                context = Context(parent=str(path.value).rpartition("/")[2])
                self._walk(value[1], here, context, "")

    def _text(self, node: ScalarNode, pointer: str, context: Context) -> None:
        """A text that is YAML itself: a patch, Helm values, a list of containers."""
        text = str(node.value)
        is_named = context.parent in _TEXTS
        if self.depth >= _DEEPEST or id(node) in self.consumed or not (is_named or "\n" in text):
            return
        if not self.names.meet(traces_of(text.encode("utf-8", "surrogatepass"))):
            return
        try:
            roots = compose_all(text, self.findings.path)
        except RejectedError:
            return  # what it says of us is a mention
        if all(isinstance(root, ScalarNode) for root in roots):
            return
        frame = self.frame.inner(node)
        if frame is None:
            for root in roots:
                self._split(root, context.names_only, (node, f"{pointer}#"))
            return
        here = f"{self.prefix}{pointer}"
        self.consumed.add(id(node))
        self.seen.add(id(node))
        is_values = context.values or context.parent in {"values", "valuesContent"}
        for number, root in enumerate(roots, start=1):
            inner = _Reader(
                self.findings,
                frame,
                self.number,
                f"{here}#{number if number > 1 else ''}",
                self.depth + 1,
            )
            inner.read(root, is_kustomization=False, is_values=is_values)

    # --- places that the pipeline file names ---

    def _named_places(self, root: Node) -> None:
        named = [(at, pointed(root, at.pointer)) for at in self.names.at_file(self.findings.path)]
        wanted: dict[int, set[ImageId]] = {}
        for at, pair in named:
            if pair is not None:
                wanted.setdefault(id(pair[1]), set()).add(at.image)
        for at, pair in named:
            if pair is not None:
                self._at(at, pair, wanted[id(pair[1])] - {at.image})

    def _at(self, at: At, pair: tuple[object, Node], others: Collection[ImageId]) -> None:
        """A place, unless `others` are named at the same scalar: it is nobody's then."""
        key, value = pair
        if others:
            several = ", ".join(sorted(map(str, others)))
            why = f"`at` says that it is {at.image}'s, and {several}'s as well"
            self._refuse(value, at.pointer, why, "", at.image)
            return
        if not isinstance(value, ScalarNode):
            self._refuse(value, at.pointer, "`at` names something that is no scalar", "", at.image)
            return
        text = _said(value)
        if has_placeholder(text):
            self._refuse(value, at.pointer, "another tool fills it in", text, at.image)
            return
        tag, _, digest = text.partition("@")
        home = self.names.home.get(at.image, "")
        written, shape = {
            Write.REFERENCE: (ImageField.parse(text), Shape.REFERENCE),
            Write.TAG: (ImageField(home, text), Shape.TAG),
            Write.DIGEST: (ImageField(home, "", text), Shape.DIGEST),
            Write.TAG_AND_DIGEST: (ImageField(home, tag, digest), Shape.TAG_AND_DIGEST),
        }[at.write]
        if at.write is Write.REFERENCE and self.names.image(written.repository) != at.image:
            why = f"`at` says that it is {at.image}'s, and it names another image"
            self._refuse(value, at.pointer, why, text, at.image)
            return
        slot = self._slot(shape, key, value, at.pointer)
        self._add(at.image, "at", written, node=value, pointer=at.pointer, slots=((slot, value),))

    # --- slots ---

    def _slot(self, shape: Shape, key: object, value: Node, pointer: str) -> Slot:
        """The slot of a scalar that is there; its edge is this place's."""
        self.claims.add(id(key) if isinstance(key, Node) else key)
        self.consumed.add(id(value))
        self.seen.add(id(value))
        if not isinstance(value, ScalarNode):
            return Slot(shape, self.prefix + pointer, self.frame.line(value), None, "")
        span = self.frame.value_span(value)
        is_null = span is not None and span.start == span.end
        before = self.frame.file[span.start - 1 : span.start] if span else ""
        return Slot(
            shape,
            self.prefix + pointer,
            self.frame.line(value),
            span,
            _said(value),
            style=str(value.style or "") if value.style in {"'", '"'} else "",
            before=" " if is_null and before not in {" ", "\t"} else "",
            quote=self.frame.quote,
        )

    def _inserted(self, shape: Shape, node: MappingNode, pointer: str, name: str) -> Slot:
        """A key that the mapping lacks, behind its last one-line value."""
        self.inserted[f"{self.prefix}{pointer}/{name}"] = id(node)
        is_json = self.findings.path.endswith(".json")
        key_text, style = (f'"{name}"', '"') if is_json else (name, "")
        own = [
            (key, value)
            for key, value in node.value
            if isinstance(value, ScalarNode)
            and value.style not in {"|", ">"}
            and isinstance(key, ScalarNode)
            and value.start_mark.line == value.end_mark.line
            and self.frame.position(value.end_mark) > self.frame.position(key.end_mark)
        ]
        slot = Slot(
            shape,
            f"{self.prefix}{pointer}/{name}",
            self.frame.line(node),
            None,
            None,
            style=style,
            quote=self.frame.quote,
        )
        if not own and node.flow_style:
            return slot
        if not own:
            first = node.value[0][0] if node.value else None
            if first is None or self.frame.is_one_line:
                return slot
            at = self.frame.position(first.start_mark)
            _, newline = self.frame.line_end(at)
            after = newline + self.frame.column(first)
            return replace(slot, span=Span(at, at), before=f"{key_text}: ", after=after)
        key, value = max(own, key=lambda pair: int(pair[1].end_mark.index))
        end = self.frame.position(value.end_mark)
        if node.flow_style:
            return replace(slot, span=Span(end, end), before=f", {key_text}: ")
        if self.frame.is_one_line:
            return slot
        at, newline = self.frame.line_end(end)
        before = f"{newline}{self.frame.column(key)}{key_text}: "
        return replace(slot, span=Span(at, at), before=before)

    # --- what came of it ---

    def _add(
        self,
        image: ImageId,
        kind: str,
        written: ImageField,
        *,
        node: Node,
        pointer: str,
        slots: tuple[tuple[Slot, Node | None], ...],
    ) -> None:
        glob = self.names.tag_match.get(image, "")
        if glob and written.tag and not matches(glob, written.tag):
            why = f"tag {written.tag!r} is not one of {image}'s (tag_match {glob!r})"
            self._remark(RemarkKind.FOREIGN, node, pointer, why, str(written), image)
            return
        self.candidates.append(_Candidate(image, kind, written, node, pointer, slots, self.home))

    def _settle(self, root: Node, sops: str) -> None:
        """Places from candidates: what shares a scalar with others is edited only if all agree."""
        shared = self._shared(root)
        done: set[tuple[object, ...]] = set()
        for one in self.candidates:
            key = tuple(
                id(node) if node is not None else (slot.span, slot.pointer)
                for slot, node in one.slots
            )
            if key in done:
                continue
            done.add(key)
            self.findings.locations.append(
                ImageLocation(
                    place=self.findings.place(one.image),
                    kind=one.kind,
                    written=one.written,
                    document=self.number,
                    line=self.frame.line(one.node),
                    pointer=self.prefix + one.pointer,
                    slots=tuple(slot for slot, _ in one.slots),
                    refusal=sops,
                    shared={
                        slot.pointer: shared[user]
                        for slot, node in one.slots
                        if (user := id(node) if node is not None else slot.pointer) in shared
                    },
                )
            )

    def _shared(self, root: Node) -> dict[int | str, str]:
        """Scalars that other places of the document use as well -> why they must not change."""
        self._gather(root)
        images: dict[int, set[tuple[ImageId, Shape]]] = {}
        for one in self.candidates:
            for slot, node in one.slots:
                if node is not None:
                    images.setdefault(id(node), set()).add((one.image, slot.shape))
        why = self._merged()
        for node_id, users in images.items():
            edges = self.edges.get(node_id, [])
            free = [line for edge, line, name in edges if edge not in self.claims and name]
            if free or len(users) > 1:
                lines = ", ".join(str(line) for line in sorted({line for _, line, _ in edges}))
                why[node_id] = f"an anchor that lines {lines} use for different things"
        return why

    def _merged(self) -> dict[int | str, str]:
        """Scalars, and keys to be inserted, that mappings take over which are no such image."""
        homes: dict[int, set[ImageId]] = {}
        own: dict[int, set[ImageId]] = {}
        into: dict[int, list[tuple[str, ImageId]]] = {}
        for one in self.candidates:
            homes.setdefault(one.home, set()).add(one.image)
            for slot, node in one.slots:
                if node is not None:
                    own.setdefault(id(node), set()).add(one.image)
                else:
                    where = self.inserted.get(slot.pointer, 0)
                    into.setdefault(where, []).append((slot.pointer, one.image))
        why: dict[int | str, str] = {}
        for mapping in self.merging if self.candidates else ():
            words = f"line {self.frame.line(mapping)} takes it over (<<) for something else"
            here = homes.get(id(mapping), set())
            direct = {id(key) for key, _ in mapping.value}
            pairs = list(pairs_of(mapping, self.findings.path))
            for key, value in pairs:
                if id(key) not in direct and own.get(id(value), here) - here:
                    why[id(value)] = words
            names = {str(key.value) for key, _ in pairs}
            for source in _merged_into(mapping):
                for pointer, image in into.get(id(source), ()):
                    if image not in here and pointer.rpartition("/")[2] not in names:
                        why[pointer] = words
        return why

    def _gather(self, root: Node) -> None:
        """Every way in which a scalar is reached: key or index, its line, whether it counts."""
        seen: set[int] = set()
        pending: list[Node] = [root]
        while pending:
            node = pending.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, MappingNode):
                if any(_is_merge(key) for key, _ in node.value):
                    self.merging.append(node)
                for key, value in node.value:
                    name = str(key.value) if isinstance(key, ScalarNode) else "?"
                    counts = "" if node is root and name.startswith(("x-", ".")) else name
                    self._edge(value, id(key), self.frame.line(key), counts, pending)
            elif isinstance(node, SequenceNode):
                for index, value in enumerate(node.value):
                    self._edge(value, (id(node), index), self.frame.line(node), "item", pending)

    def _edge(self, value: Node, edge: object, line: int, counts: str, pending: list[Node]) -> None:
        if isinstance(value, ScalarNode):
            self.edges.setdefault(id(value), []).append((edge, line, counts))
        else:
            pending.append(value)

    def _consume(self, node: Node) -> None:
        self.consumed |= {id(scalar) for scalar in _scalars(node)}

    def _refuse(
        self,
        node: Node,
        pointer: str,
        reason: str,
        text: str,
        image: ImageId | None,
        *,
        remedy: bool = False,
    ) -> None:
        way = "; name the place with `at` in lockkeeper.yaml" if remedy else ""
        self._remark(RemarkKind.REFUSED, node, pointer, reason + way, text, image)
        if isinstance(node, ScalarNode):
            self.consumed.add(id(node))

    def _remark(
        self,
        kind: RemarkKind,
        node: Node,
        pointer: str,
        reason: str,
        text: str = "",
        image: ImageId | None = None,
        *,
        line: int | None = None,
    ) -> None:
        where = self.frame.line(node) if line is None else line
        self.findings.remarks.append(
            Remark(kind, self.findings.path, where, reason, self.prefix + pointer, text, image)
        )

    def _mentions(self, root: Node, names_only: str) -> None:
        """What speaks of us and belongs to no place."""
        for pointer, key, node in _all_scalars(root):
            if id(node) in self.consumed:
                continue
            text = str(node.value)
            for position, name, image in self.names.mentions(_decoded(node), key):
                kind = RemarkKind.NAMED if names_only else RemarkKind.MENTION
                reason = names_only or "an image of ours where no place is known"
                line = self.frame.line_within(node, position if _decoded(node) == text else 0)
                self._remark(kind, node, pointer, reason, name, image, line=line)


def escaped(key: str) -> str:
    """A key as a step of a pointer (RFC 6901, section 3)."""
    return key.replace("~", "~0").replace("/", "~1")


def _decoded(node: ScalarNode) -> str:
    """What a scalar says where its tag makes other bytes of it."""
    if str(node.tag or "") not in _BINARY:
        return str(node.value)
    try:
        return base64.b64decode("".join(str(node.value).split())).decode("utf-8", "replace")
    except ValueError:
        return str(node.value)


def _kind(root: Node) -> tuple[str, str]:
    """Kind and group of an object; empty where it is none."""
    kind, version = _get(root, "kind"), _get(root, "apiVersion")
    if not isinstance(kind, ScalarNode):
        return "", ""
    group = str(version.value).rpartition("/")[0] if isinstance(version, ScalarNode) else ""
    return str(kind.value), group


def _names_only(kind: str, group: str) -> str:
    if any(group == one or group.endswith(f".{one}") for one in _NAMING_GROUPS):
        return f"{kind} only names images"
    return ""


def only_names_images(root: Node) -> bool:
    """Whether an object runs none of the images that it names: policies, definitions, scanners."""
    return bool(_names_only(*_kind(root)))


def _is_patch(root: Node) -> bool:
    """Whether a document is a JSON patch."""
    return (
        isinstance(root, SequenceNode)
        and bool(root.value)
        and all(
            _get(item, "op") is not None and _get(item, "path") is not None for item in root.value
        )
    )


def _is_merge(key: Node) -> bool:
    return isinstance(key, ScalarNode) and key.value == "<<" and not key.style


def _merged_into(mapping: MappingNode) -> Iterator[MappingNode]:
    """The mappings whose keys one takes over, directly or through others."""
    pending, seen = [mapping], {id(mapping)}
    while pending:
        for key, value in pending.pop().value:
            for one in value.value if isinstance(value, SequenceNode) else [value]:
                if _is_merge(key) and isinstance(one, MappingNode) and id(one) not in seen:
                    seen.add(id(one))
                    pending.append(one)
                    yield one


def _sibling_tag(fields: Fields, written: ImageField) -> str | None:
    """The key beside an image that holds its tag, if one does."""
    for name in _SIBLING_TAGS:
        if not _is_scalar(fields, name):
            continue
        if name == "version" and (written.tag or written.digest):
            continue
        if _said(fields[name][1]) or not written.tag:
            return name
    return None


def _said(node: Node) -> str:
    """A scalar's text; null says nothing."""
    text = str(node.value) if isinstance(node, ScalarNode) else ""
    return "" if not getattr(node, "style", "") and text in {"~", "null", "Null", "NULL"} else text


def _is_scalar(fields: Fields, name: str) -> bool:
    return name in fields and isinstance(fields[name][1], ScalarNode)


def _pair(node: Node | None, name: str) -> Pair | None:
    for key, value in node.value if isinstance(node, MappingNode) else ():
        if isinstance(key, ScalarNode) and key.value == name:
            return key, value
    return None


def _get(node: Node | None, name: str) -> Node | None:
    pair = _pair(node, name)
    return pair[1] if pair else None


def _text_at(node: Node | None, *steps: str) -> str:
    for step in steps:
        node = _get(node, step)
    return _said(node) if node is not None else ""


def _below_path(node: Node | None, dotted: str) -> Node | None:
    for step in dotted.split("."):
        node = _get(node, step)
    return node


def pointed(root: Node, pointer: str) -> tuple[object, Node] | None:
    """What a pointer names, and the edge that leads there."""
    node: Node = root
    edge: object = None
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, SequenceNode):
            if not name.isdigit() or int(name) >= len(node.value):
                return None
            edge, node = (id(node), int(name)), node.value[int(name)]
        else:
            pair = _pair(node, name)
            if pair is None:
                return None
            edge, node = pair
    return None if edge is None else (edge, node)


def _scalars(root: Node) -> Iterator[ScalarNode]:
    for _, _, node in _all_scalars(root):
        yield node


def scalars_of(root: Node) -> Iterator[tuple[str, ScalarNode]]:
    """Every scalar of a document once, keys too, with its pointer."""
    for pointer, _, node in _all_scalars(root):
        yield pointer, node


def _all_scalars(root: Node) -> Iterator[tuple[str, str, ScalarNode]]:
    """Every scalar once, keys too: its pointer, the key that it stands at, itself."""
    for pointer, key, node in _everything(root):
        if isinstance(node, ScalarNode):
            yield pointer, key, node


def _all_nodes(root: Node) -> Iterator[tuple[str, Node]]:
    """Every value by its pointer; keys stand at the pointers of theirs, and come before them."""
    return ((pointer, node) for pointer, _, node in _everything(root))


def _everything(root: Node) -> Iterator[tuple[str, str, Node]]:
    """Every node once: its pointer, the key that it stands at, itself."""
    seen: set[int] = set()
    pending: list[tuple[str, str, Node]] = [("", "", root)]
    while pending:
        pointer, key, node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield pointer, key, node
        if not isinstance(node, ScalarNode):
            pending += reversed(list(_children(node, pointer, key)))


def _children(node: Node, pointer: str, key: str) -> Iterable[tuple[str, str, Node]]:
    if isinstance(node, SequenceNode):
        return [(f"{pointer}/{i}", key, item) for i, item in enumerate(node.value)]
    found: list[tuple[str, str, Node]] = []
    for name, value in node.value:
        text = str(name.value) if isinstance(name, ScalarNode) else "?"
        here = f"{pointer}/{escaped(text)}"
        found += [(here, "", name), (here, text, value)]
    return found
