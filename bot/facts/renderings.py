"""What an environment's files deploy at a tree, by the real tools: facts, each with its reason.

Every root is rendered by itself, once for all equal files: one that fails never hides another,
and of a thousand applications only those are rendered that are another than last time. What
cannot be rendered is *not rendered*; nothing is taken for clean.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from bot.domain.environments import Environment
from bot.domain.errors import RejectedError, UnavailableError
from bot.domain.rendering import NotRenderedError, Rendered, Rendering, RenderRoot
from bot.facts.commit_tree import CommitTree
from bot.facts.snapshot import View
from bot.formats.render_roots import roots_of
from bot.formats.rendered_images import images_in, label_faults
from bot.ports.rendering import Renderer, Renderings

EVERYTHING: Final = "everything"
"""The name of what is not rendered where no root was looked at."""
_READER: Final = 2
"""Another number means: read again what was rendered before."""
_STAY: Final = timedelta(seconds=60)
"""How long one look renders; what is known by then is kept, and the next look goes on."""


class UnfinishedError(UnavailableError):
    """There is more to render than one look takes time for; what was rendered is kept."""

    def __init__(self, environment: str, done: int, total: int) -> None:
        """Say how far it came."""
        super().__init__(f"{environment}: {done} of {total} roots are rendered, it goes on")
        self.done, self.total = done, total


def render(view: View, environment: Environment, tree: str) -> Rendered:
    """What comes of every root of an environment at a commit or tree.

    Raises:
        UnfinishedError: it takes longer than one look may; ask again.
    """
    renderer, renderings = view.ports.renderer, view.ports.renderings
    if renderer is None or renderings is None:
        return _not("neither kustomize nor Helm is set (LOCKKEEPER_KUSTOMIZE, LOCKKEEPER_HELM)")
    try:
        gaps = renderer.gaps()
        generation = renderer.generation()
    except UnavailableError as error:
        return _not(str(error))
    if gaps and (environment.signs or not view.ports.scanner_may_be_partial):
        return _not(f"the tools are not kept apart here: {'; '.join(gaps)}")
    work = _Work(view, environment, tree, renderer, renderings, generation)
    return work.rendered()


def _not(reason: str) -> Rendered:
    return Rendered({EVERYTHING: Rendering(failure=reason, lasts=False)})


class _Work:
    """One environment at one tree."""

    def __init__(
        self,
        view: View,
        environment: Environment,
        tree: str,
        renderer: Renderer,
        renderings: Renderings,
        generation: str,
    ) -> None:
        self.view, self.environment = view, environment
        self.renderer, self.renderings = renderer, renderings
        self.tree = CommitTree(view.history, tree, view.ports.shelf, view.ports.blobs)
        entries = view.history.paths(tree)
        self.modes = {path: entry.mode for path, entry in entries.items()}
        self.blobs = {path: f"{entry.mode}:{entry.blob}" for path, entry in entries.items()}
        self.names = view.names(environment)
        self.reader = f"{_READER} {generation} {self.names.identity[:16]}"

    def rendered(self) -> Rendered:
        """Everything; a kustomization that fails hides none that it refers to."""
        environments = self.view.pipeline.environments.values()
        others = [one for one in environments if one.name != self.environment.name]
        until = self.view.ports.clock.now() + _STAY
        found: dict[str, Rendering] = {}
        failed: set[str] = set()
        while True:
            own = str(self.view.repository)
            roots = {
                root.identity(self.blobs, self.reader): root
                for root in roots_of(self.tree, self.environment, own, others, failed)
            }
            self._find(roots, found, until)
            broken = {root.kustomization for key, root in roots.items() if found[key].failure}
            if broken <= {"", *failed}:
                return Rendered({root.name: found[key] for key, root in roots.items()})
            failed |= broken

    def _find(
        self, roots: Mapping[str, RenderRoot], found: dict[str, Rendering], until: datetime
    ) -> None:
        """Add what comes of each; what is known already is asked for together."""
        clock = self.view.ports.clock
        found |= self.renderings.known(roots.keys() - found.keys())
        for identity in [one for one in roots if one not in found]:
            if clock.now() >= until:
                done = len(roots.keys() & found.keys())
                raise UnfinishedError(self.environment.name, done, len(roots))
            found[identity] = self._render(roots[identity], identity)

    def _render(self, root: RenderRoot, identity: str) -> Rendering:
        made = self._tried(root)
        if made.lasts:
            scope = self.view.scope(self.environment.name)
            self.renderings.record_rendering(scope, root.name, identity, made)
        return made

    def _tried(self, root: RenderRoot) -> Rendering:
        try:
            files = {path: (self.modes[path], self.tree.content(path)) for path in root.files}
            output = self.renderer.render(root, files)
            return Rendering(images_in(output, self.names), label_faults(output))
        except NotRenderedError as error:
            return Rendering(failure=error.reason)
        except RejectedError as error:
            return Rendering(failure=str(error))
        except UnavailableError as error:
            return Rendering(failure=str(error), lasts=False)
