"""Names of ours that stand in two scalars: a registry, and a repository somewhere else.

    for pointer, node, text in split_names(root, names): ...

Which key is which is told by its words: `registry`, `imageRegistry`, `IMAGE_REGISTRY`, also of a
`name` and `value` (environment variables, parameters) and of dotted keys (`image.registry`).
Nothing says that a tool puts the two together, so it is a mention and never a place.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from bot.formats.image_names import ImageField, Names
from bot.formats.yaml_tree import MappingNode, Node, ScalarNode, SequenceNode

_REGISTRIES: Final = ("registry", "repo", "hub", "host", "server", "domain")
"""Words of keys that may hold what stands before a repository."""
_REPOSITORIES: Final = ("image", "repo", "name", "path")
"""Words of keys that may hold the rest."""


def split_names(root: Node, names: Names) -> Iterator[tuple[str, ScalarNode, str]]:
    """The scalars that are images of ours with a registry before them: pointer, node, both."""
    if not _has_registry(root, names):  # nearly always, and without a pointer being built
        return
    keyed = list(_keyed(root))
    registries: dict[str, str] = {}
    for around, key, _, node in keyed:
        text = str(node.value).rstrip("/")
        if _has(key, _REGISTRIES) and text and names.may_begin(text):
            registries.setdefault(text, around)
    for around, key, pointer, node in keyed if registries else ():
        text = str(node.value)
        if not _has(key, _REPOSITORIES) or not text:
            continue
        for registry, home in registries.items():
            # A name alone is no image far from a registry: objects are called like images.
            is_near = around == home or "/" in text or _has(key, ("image", "repo"))
            joined = f"{registry}/{text.lstrip('/')}"
            if is_near and names.image(ImageField.parse(joined).repository):
                yield pointer, node, joined
                break


def _has_registry(root: Node, names: Names) -> bool:
    """Whether some value under a key for registries may be the beginning of a name of ours."""
    seen: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, SequenceNode):
            pending += [one for one in node.value if not isinstance(one, ScalarNode)]
        elif isinstance(node, MappingNode):
            for key, value in node.value:
                if not isinstance(value, ScalarNode):
                    pending.append(value)
                elif isinstance(key, ScalarNode) and _may_name_registry(str(key.value)):
                    text = str(value.value).rstrip("/")
                    if text and names.may_begin(text):
                        return True
    return False


@lru_cache(4096)
def _may_name_registry(key: str) -> bool:
    """Keys repeat. What stands at `value` is named by the `name` beside it, so it may be one."""
    return key == "value" or _has(key, _REGISTRIES)


@lru_cache(4096)
def _has(key: str, words: tuple[str, ...]) -> bool:
    lower = key.lower()
    return any(word in lower for word in words)


def _keyed(root: Node) -> Iterator[tuple[str, str, str, ScalarNode]]:
    """Every value with a key: what is around it, the key, its pointer, itself."""
    seen: set[int] = set()
    pending: list[tuple[str, Node]] = [("", root)]
    while pending:
        pointer, node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, SequenceNode):
            pending += [(f"{pointer}/{index}", one) for index, one in enumerate(node.value)]
        elif isinstance(node, MappingNode):
            own = {str(k.value): v for k, v in node.value if isinstance(k, ScalarNode)}
            name, value = own.get("name"), own.get("value")
            for key, one in own.items():
                here = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
                pending.append((here, one))
                if isinstance(one, ScalarNode):
                    is_value = one is value and isinstance(name, ScalarNode)
                    around = pointer.rpartition("/")[0] if is_value else pointer
                    said = str(name.value) if is_value and isinstance(name, ScalarNode) else key
                    yield around, said, here, one
