"""Whether files come back to what stood together before: configuration that goes back with images.

A promotion may bring files with its images; its revert takes both back. What ran together once is
nothing new, so where only newer things are stopped it passes.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Final

from bot.domain.environments import Environment
from bot.domain.memory import NO_COMMIT
from bot.facts.snapshot import View

_LOOKED_AT: Final = 200
"""Publications that are looked through, newest first; what is older counts as new."""


def stood_together(
    view: View, environment: Environment, commit: str, paths: Collection[str]
) -> bool:
    """Whether one publication showed all these files exactly as they are at a commit."""
    now = view.history.paths(commit)
    wanted = {path: now.get(path) for path in paths if not _is_elsewhere(view, environment, path)}
    records = view.ports.memory.latest_publications(view.scope(environment.name))
    for one in islice(records, _LOOKED_AT):
        if one.commit == NO_COMMIT or not view.history.has(one.commit):
            continue
        shown = view.history.paths(one.commit)
        if all(shown.get(path) == entry for path, entry in wanted.items()):
            return bool(wanted)
    return False


def _is_elsewhere(view: View, environment: Environment, path: str) -> bool:
    """Whether a file is another environment's own."""
    others = (one for one in view.pipeline.environments.values() if one != environment)
    return any(one.owns(path) for one in others)
