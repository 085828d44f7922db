"""What an environment's files deploy at a tree, by the real tools: facts, each with its reason.

Every root is rendered by itself, once for all equal files: one that fails never hides another,
and of a thousand applications only those are rendered that are another than last time. What
cannot be rendered is *not rendered*; nothing is taken for clean.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from bot.domain.environments import Environment
from bot.domain.errors import RejectedError, UnavailableError
from bot.domain.rendering import NotRenderedError, Rendered, Rendering, RenderRoot
from bot.formats.render_roots import roots_of
from bot.formats.rendered_images import images_in, label_faults
from bot.ports import Renderer, Renderings
from bot.usecases.commit_tree import CommitTree
from bot.usecases.desk import View

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
        """Everything; what is known already is asked for together."""
        clock = self.view.ports.clock
        environments = self.view.pipeline.environments.values()
        others = [one for one in environments if one.name != self.environment.name]
        roots = roots_of(self.tree, self.environment, str(self.view.repository), others)
        named = {root.identity(self.blobs, self.reader): root for root in roots}
        known = self.renderings.known(named)
        found = {named[identity].name: one for identity, one in known.items()}
        until = clock.now() + _STAY
        for identity, root in named.items():
            if identity in known:
                continue
            if clock.now() >= until:
                raise UnfinishedError(self.environment.name, len(found), len(roots))
            found[root.name] = self._render(root, identity)
        return Rendered(found)

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
