"""What deployers would make of files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from bot.domain.memory import (
    Scope,
)
from bot.domain.rendering import Rendering, RenderRoot


class Renderer(Protocol):
    """kustomize and Helm, kept away from the network and from every file but those of a root.

    What they put out is text from outside like any other.
    """

    def generation(self) -> str:
        """Another one means: render again."""
        ...

    def gaps(self) -> Sequence[str]:
        """What does not keep them apart here; with a gap they are not asked, unless allowed."""
        ...

    def render(self, root: RenderRoot, files: Mapping[str, tuple[str, bytes]]) -> str:
        """The objects that come of a root.

        Args:
            root: what to render.
            files: path -> git's mode and the content, of exactly the root's files.

        Raises:
            NotRenderedError: the files cannot be put together, or the tool for them is not set.
            UnavailableError: the tool was ended at a limit, or cannot be started.
        """
        ...


class Renderings(Protocol):
    """What came of roots, kept by their identity: equal files give equal objects."""

    def known(self, identities: Collection[str]) -> Mapping[str, Rendering]:
        """What came of the roots of these identities, as far as that is known."""
        ...

    def record_rendering(self, scope: Scope, root: str, identity: str, found: Rendering) -> None:
        """Keep it; of one root of an environment the newest few are kept."""
        ...
