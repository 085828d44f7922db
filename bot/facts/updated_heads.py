"""What *Update branch* leaves: the default branch, merged into a head as git does by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bot.ports.git import GitHistory

_UPDATES: Final = 30
"""Times that a head is brought up to date, as far as they are followed."""


def before_updates(history: GitHistory, default_head: str, commit: str) -> str:
    """The commit below all that only merged the default branch into it, as git does by itself."""
    for _ in range(_UPDATES):
        if not history.has(commit):
            return commit
        parents = history.commit(commit).parents
        if len(parents) != 2 or not _is_update(history, default_head, commit, parents):  # noqa: PLR2004 - ours, the default branch's
            return commit
        commit = parents[0]
    return commit


def _is_update(history: GitHistory, default_head: str, commit: str, parents: Sequence[str]) -> bool:
    own, theirs = parents
    if not (history.has(own) and history.has(theirs)):
        return False
    merged = history.commit(commit).tree
    return history.is_ancestor(theirs, default_head) and history.merged_tree(theirs, own) == merged
