"""What an environment's files deploy, as the tools say that put them together.

A *root* is what a deployer starts from: a kustomization that no other one refers to, or a chart
of the repository with its values. Its *rendering* is every image in the objects that come of it,
or the reason why nobody can say; a reason is a fact of its own and never an empty list.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from enum import StrEnum

from bot.domain.errors import RejectedError


class RenderTool(StrEnum):
    """Which tool puts a root together."""

    KUSTOMIZE = "kustomize"
    HELM = "helm"


@dataclass(frozen=True, slots=True)
class Values:
    """Helm values, in the order in which they override each other."""

    file: str = ""
    """Path in the repository; empty: they stand in `text`."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One ``--set`` of a chart."""

    name: str
    value: str
    is_text: bool = False
    """``forceString``: never read as a number."""


@dataclass(frozen=True, slots=True)
class RenderRoot:
    """What a deployer starts from, and all that it may read."""

    name: str
    """For people: the folder, or the object that deploys it and its file."""
    renderer: RenderTool
    folder: str
    """Of the kustomization or the chart; empty: the repository's root."""
    files: tuple[str, ...] = ()
    """Everything that goes into it, sorted; nothing else is there while it is rendered."""
    kustomization: str = ""
    """Path of the kustomization; of what a deployer makes up: where it would lie."""
    overlay: str = ""
    """That kustomization with what the deployer adds to it (Argo CD's or Flux's images)."""
    values: tuple[Values, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    release: str = "release"
    namespace: str = "default"
    has_charts: bool = False
    """A kustomization with ``helmCharts``: kustomize starts Helm."""
    obstacle: str = ""
    """Why it cannot be rendered here; empty: it can be tried."""

    def identity(self, blobs: Mapping[str, str], reader: str) -> str:
        """The same whenever the rendering must be the same.

        Args:
            blobs: path -> mode and blob, of at least its files.
            reader: who renders and reads: versions of the tools, the names of our images.
        """
        own = [astuple(self), [(path, blobs.get(path, "")) for path in self.files], reader]
        return hashlib.sha256(json.dumps(own).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """One image in what came of a root."""

    object: str
    """Kind, namespace and name of the object that has it."""
    written: str
    """The reference as it stands there, as far as it is one."""
    application: str = ""
    """Whose it is; empty: it is foreign."""
    image: str = ""
    is_run: bool = True
    """It stands where objects name what they run; else a text speaks of it."""
    is_managed: bool = True
    """False: it lies in our repository, under a tag that is none of the image's (`tag_match`)."""

    def __str__(self) -> str:
        return f"{self.written} in {self.object}"


@dataclass(frozen=True, slots=True)
class Rendering:
    """What came of one root."""

    images: tuple[RenderedImage, ...] = ()
    faults: tuple[str, ...] = ()
    """What no cluster accepts and a digest may have caused: labels with a digest in them."""
    failure: str = ""
    """Why it is not rendered; empty: it is."""
    lasts: bool = True
    """The failure lies in the files; else another try may do better."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """All roots of an environment at one tree."""

    renderings: Mapping[str, Rendering] = field(default_factory=dict)
    """Name of each root -> what came of it."""

    @property
    def not_rendered(self) -> dict[str, str]:
        """Name of each root that is not rendered -> why."""
        return {name: one.failure for name, one in self.renderings.items() if one.failure}

    @property
    def ours(self) -> list[tuple[str, RenderedImage]]:
        """Every image of ours, with its root."""
        return [
            (name, image)
            for name, one in self.renderings.items()
            for image in one.images
            if image.application
        ]

    @property
    def faults(self) -> list[tuple[str, str]]:
        """What no cluster accepts, with its root."""
        return [(name, fault) for name, one in self.renderings.items() for fault in one.faults]

    @property
    def foreign(self) -> list[tuple[str, RenderedImage]]:
        """Every image of others that an object runs, with its root."""
        return [
            (name, image)
            for name, one in self.renderings.items()
            for image in one.images
            if not image.application and image.is_run
        ]

    @property
    def unmanaged(self) -> list[tuple[str, RenderedImage]]:
        """What nobody promotes, with its root: images of others, and other variants of ours."""
        return [*self.foreign, *((root, one) for root, one in self.ours if not one.is_managed)]


class NotRenderedError(RejectedError):
    """The files of a root cannot be put together; another try says the same."""

    def __init__(self, root: str, reason: str) -> None:
        """Name the root and what its tool said."""
        super().__init__(f"{root} is not rendered: {reason}")
        self.root, self.reason = root, reason


def reasons(rendered: Rendered, most: int = 20) -> Sequence[str]:
    """What is not rendered, one line each, for people."""
    found = [f"{name}: {why}" for name, why in sorted(rendered.not_rendered.items())]
    more = len(found) - most
    return [*found[:most], f"and {more} more"] if more > 0 else found
