"""The images in what a renderer put out: what objects run, and where a text speaks of ours.

    images_in(output, names)   # -> (RenderedImage, ...)
    label_faults(output)       # -> what no cluster accepts, because a digest stands in a label

Ours are found as in files, by `bot.formats.manifest_file`: fields of objects, Helm values and
sources of objects that deploy further ones, texts. Whatever else names us counts too, with the
tag and digest that stand behind the name: no place has to be known for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from bot.domain.environments import ImageId, matches
from bot.domain.errors import ConfigurationError, RejectedError
from bot.domain.rendering import RenderedImage
from bot.formats.foreign_images import foreign_in
from bot.formats.image_names import ImageField, Names
from bot.formats.manifest_file import read_file
from bot.formats.places import HOLDING, RemarkKind
from bot.formats.yaml_tree import MappingNode, Node, ScalarNode, SequenceNode, compose_all

_FILE: Final = "rendered.yaml"
_LABELS: Final = frozenset({"labels", "matchLabels"})
_LABEL: Final = 63
"""Characters of a label's value."""


def images_in(output: str, names: Names) -> tuple[RenderedImage, ...]:
    """Every image of ours, and every foreign one that an object runs.

    Args:
        output: objects, as kustomize and Helm put them out.
        names: what our images are called; places that the pipeline file names do not count here.

    An output that is no YAML, as Helm lets keys stand twice, is read as a text: what it names of
    ours counts all the same.
    """
    try:
        return _by_parsing(output, names)
    except (RejectedError, RecursionError):
        said = (text for _, text, _ in names.mentions(output, "image"))
        written = (ImageField.parse(text) for text in said)
        found = (
            _ours("the output", one, names.image(one.repository), names, is_run=True)
            for one in written
        )
        return tuple(dict.fromkeys(found))


def _by_parsing(output: str, names: Names) -> tuple[RenderedImage, ...]:
    roots = compose_all(output, _FILE)
    objects = [(int(root.start_mark.line) + 1, _named(root)) for root in roots]

    def object_at(line: int | None) -> str:
        before = [name for start, name in objects if start <= (line or 1)]
        return before[-1] if before else "the output"

    plain_names = replace(names, at=())
    reading = read_file(_FILE, output, plain_names)
    found: dict[RenderedImage, None] = {}
    for location in reading.locations:
        own = _ours(object_at(location.line), location.written, location.image, names, is_run=True)
        found[own] = None
    for remark in reading.remarks:
        if remark.kind is RemarkKind.UNREADABLE:
            raise ConfigurationError(_FILE, remark.line, remark.reason)
        written = ImageField.parse(remark.text)
        is_variant = remark.kind is RemarkKind.FOREIGN and bool(names.image(written.repository))
        if remark.kind in HOLDING or is_variant:
            image = remark.image or names.image(written.repository)
            is_run = remark.kind is RemarkKind.REFUSED or is_variant
            found[_ours(object_at(remark.line), written, image, names, is_run=is_run)] = None
    for foreign in foreign_in(_FILE, output, plain_names):
        object_, written = object_at(foreign.line), ImageField.parse(foreign.text)
        variant = names.image(written.repository)
        found[
            RenderedImage(object_, foreign.text)
            if variant is None
            else _ours(object_, written, variant, names, is_run=True)
        ] = None
    return tuple(found)


def label_faults(output: str) -> tuple[str, ...]:
    """Labels that a digest made invalid (Kubernetes, labels and selectors).

    A chart that writes its tag into a label takes no digest behind it.
    """
    found: dict[str, None] = {}
    try:
        roots = compose_all(output, _FILE)
    except RejectedError:
        return ()
    for root in roots:
        pending: list[Node] = [root]
        while pending:
            node = pending.pop()
            for key, value in node.value if isinstance(node, MappingNode) else ():
                if isinstance(key, ScalarNode) and key.value in _LABELS:
                    found |= {f"{_named(root)}: {fault}": None for fault in _faults_of(value)}
                pending.append(value)
            pending += node.value if isinstance(node, SequenceNode) else []
    return tuple(found)


def _faults_of(labels: Node) -> Iterator[str]:
    for key, value in labels.value if isinstance(labels, MappingNode) else ():
        if isinstance(value, ScalarNode) and "@sha" in str(value.value):
            yield (
                f"the label {key.value} would be {str(value.value)[:100]!r}, which has an '@'"
                f"{' and more than 63 characters' if len(value.value) > _LABEL else ''}: let the "
                "chart leave the digest out of its labels, or read a digest of its own"
            )


def _ours(
    object_: str, written: ImageField, image: ImageId | None, names: Names, *, is_run: bool
) -> RenderedImage:
    """An image in our repository; another variant than the application's is ours all the same."""
    known = image or ImageId("?", "?")
    repository = written.canonical or written.repository
    text = str(ImageField(repository, written.tag, written.digest))
    glob = names.tag_match.get(known, "")
    is_managed = not (glob and written.tag) or matches(glob, written.tag)
    return RenderedImage(
        object_, text, known.application, known.name, is_run=is_run, is_managed=is_managed
    )


def _named(root: Node) -> str:
    """``Deployment shop/api``, as people call an object."""
    metadata = _get(root, "metadata")
    kind, name, space = _said(root, "kind"), _said(metadata, "name"), _said(metadata, "namespace")
    return f"{kind or 'object'} {f'{space}/' if space else ''}{name or '?'}"[:200]


def _get(node: Node | None, name: str) -> Node | None:
    for key, value in node.value if isinstance(node, MappingNode) else ():
        if isinstance(key, ScalarNode) and key.value == name:
            found: Node = value
            return found
    return None


def _said(node: Node | None, name: str) -> str:
    found = _get(node, name)
    return str(found.value) if isinstance(found, ScalarNode) else ""
