"""Images of others in an environment's files: what runs there and nobody promotes.

    for image in foreign_in(path, text, names):
        image.text, image.line

Where objects, kustomizations and Helm values name images, and nowhere else: this lists what people
should know of, and proves nothing. `is_allowed` says which of them the pipeline file lets pass.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bot.domain.environments import matches
from bot.domain.errors import RejectedError
from bot.formats.image_names import ImageField, Names, canonical_repository, has_placeholder
from bot.formats.kustomization import is_kustomization
from bot.formats.manifest_file import is_manifest_file
from bot.formats.place_finder import only_names_images
from bot.formats.yaml_tree import (
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    compose_all,
    line_of,
)

_CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")
_TAGS: Final = ("tag", "digest", "sha", "imageTag", "version")


@dataclass(frozen=True, slots=True)
class ForeignImage:
    """An image of others, where a file names it."""

    file: str
    line: int
    text: str
    """As the file writes it, put together where it stands in parts."""

    @property
    def repository(self) -> str:
        """The one spelling of its repository."""
        return ImageField.parse(self.text).canonical

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text} is no image of ours"


def foreign_in(path: str, text: str, names: Names) -> list[ForeignImage]:
    """The images of others that a file names; none where it cannot be read: that is told."""
    if not is_manifest_file(path) or "image" not in text.lower():
        return []
    try:
        roots = compose_all(text, path)
        found = [
            one
            for root in roots
            if not only_names_images(root)
            for one in _images(root, is_kustomization(path))
        ]
    except (RejectedError, RecursionError):
        return []
    images: dict[ForeignImage, None] = {}
    for line, written in found:
        repository = ImageField.parse(written).repository
        is_name = bool(canonical_repository(repository)) and not has_placeholder(written)
        if is_name and repository not in names.short and not _is_ours(written, names):
            images[ForeignImage(path, line, written)] = None
    return sorted(images, key=lambda one: (one.line, one.text))


def _is_ours(written: str, names: Names) -> bool:
    """Whether an application manages it; another variant in its repository is nobody's."""
    parts = ImageField.parse(written)
    image = names.image(parts.repository)
    glob = names.tag_match.get(image, "") if image else ""
    return image is not None and (not glob or not parts.tag or matches(glob, parts.tag))


def is_allowed(image: ForeignImage | str, globs: Sequence[str]) -> bool:
    """Whether a glob over repositories lets an image pass; both in their one spelling."""
    text = image.text if isinstance(image, ForeignImage) else image
    repository = ImageField.parse(text).canonical
    return any(matches(_canonical_glob(glob), repository) for glob in globs)


def _canonical_glob(glob: str) -> str:
    """``nginx`` and ``bitnami/*`` are Docker Hub's, as container runtimes have it."""
    head, slash, _ = glob.partition("/")
    if not slash:
        return f"docker.io/library/{glob}" if glob not in {"*", "**"} else "**"
    is_host = "." in head or ":" in head or "*" in head or head == "localhost"
    return glob if is_host else f"docker.io/{glob}"


def _images(root: Node, is_kustomization_file: bool) -> Iterator[tuple[int, str]]:  # noqa: FBT001 - a fact of the file
    pending: list[tuple[str, Node]] = [("", root)]
    seen: set[int] = set()
    while pending:
        parent, node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, SequenceNode):
            pending += [(parent, item) for item in node.value]
        elif isinstance(node, MappingNode):
            fields = {str(k.value): v for k, v in node.value if isinstance(k, ScalarNode)}
            yield from _of_mapping(fields, parent)
            is_entries = is_kustomization_file and node is root
            if is_entries and isinstance(fields.get("images"), SequenceNode):
                yield from _of_entries(fields["images"])
                fields = {key: value for key, value in fields.items() if key != "images"}
            pending += list(fields.items())


def _of_mapping(fields: Mapping[str, Node], parent: str) -> Iterator[tuple[int, str]]:
    image = fields.get("image")
    if isinstance(image, ScalarNode) and image.value:
        tag = next((_said(fields, key) for key in _TAGS if _said(fields, key)), "")
        is_container = "name" in fields or parent in _CONTAINERS
        has_tag = bool(ImageField.parse(str(image.value)).tag or "@" in str(image.value))
        behind = f":{tag}" if tag and not is_container and not has_tag else ""
        yield line_of(image), f"{image.value}{behind}"
    repository = fields.get("repository")
    is_map = any(key in fields for key in (*_TAGS, "registry", "pullPolicy"))
    is_image = is_map or parent.lower().endswith("image")
    if is_image and isinstance(repository, ScalarNode) and repository.value:
        yield line_of(repository), _put_together(fields, str(repository.value))
    reference = fields.get("reference")
    if parent == "image" and isinstance(reference, ScalarNode):
        yield line_of(reference), str(reference.value)


def _put_together(fields: Mapping[str, Node], repository: str) -> str:
    registry, tag, digest = (_said(fields, key) for key in ("registry", "tag", "digest"))
    name = posixpath.join(registry.rstrip("/"), repository) if registry else repository
    return name + (f":{tag}" if tag else "") + (f"@{digest}" if digest.startswith("sha") else "")


def _of_entries(node: SequenceNode) -> Iterator[tuple[int, str]]:
    for entry in node.value:
        if isinstance(entry, MappingNode):
            fields = {str(k.value): v for k, v in entry.value if isinstance(k, ScalarNode)}
            name = _said(fields, "newName")
            if name:  # without, the objects say which image it is
                tag, digest = _said(fields, "newTag"), _said(fields, "digest")
                text = name + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
                yield line_of(entry), text


def _said(fields: Mapping[str, Node], name: str) -> str:
    node = fields.get(name)
    text = str(node.value) if isinstance(node, ScalarNode) else ""
    return "" if text in {"~", "null"} else text
