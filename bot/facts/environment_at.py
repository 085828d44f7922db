"""An environment's files at a commit, read anew only where something of them is different.

What goes into them is every file that its globs name, and each path beside them that was looked
at, whether there was a file or not. Where none of these differs between two commits, they say the
same: one comparison of two trees in place of a reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final

from bot.domain.environments import Environment
from bot.domain.errors import NotFoundError
from bot.domain.history import PathChange
from bot.facts.commit_tree import CommitTree
from bot.facts.shelf import Line, Shelf
from bot.formats.environment_files import EnvironmentFiles, read_environment
from bot.formats.image_names import Names
from bot.ports.git import BlobIndex, GitHistory

_COMPARED: Final = 3
"""Commits that are known and compared with a new one, the last ones asked for."""


def files_at(
    shelf: Shelf,
    index: BlobIndex | None,
    history: GitHistory,
    manifests: int,
    commit: str,
    environment: Environment,
    names: Names,
) -> EnvironmentFiles:
    """What the environment's files say at a commit, or in a tree."""
    line = Line(manifests, environment.name, environment.manifests, names.identity)
    for kept in shelf.files(line):
        if commit in kept.commits:
            return kept.files
    found = _unchanged(shelf, line, history, commit, environment)
    if found is None:
        found = read_environment(CommitTree(history, commit, shelf, index), environment, names)
    shelf.keep_files(line, commit, found)
    return found


def _unchanged(
    shelf: Shelf, line: Line, history: GitHistory, commit: str, environment: Environment
) -> EnvironmentFiles | None:
    for kept in islice(shelf.files(line), _COMPARED):
        try:
            changes = history.changes(kept.commits[0], commit)
        except NotFoundError:
            continue  # what was known is gone, or the commit is not there: reading it says so
        if not _concern(changes, environment, kept.files):
            return kept.files
    return None


def _concern(
    changes: Mapping[str, PathChange], environment: Environment, files: EnvironmentFiles
) -> bool:
    return any(environment.owns(path) or files.depend_on(path) for path in changes)
