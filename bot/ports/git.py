"""Git histories, read from mirrors."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from bot.domain.environments import GitHubRepository
from bot.domain.history import (
    FileWrite,
    GitCommit,
    PathChange,
    TreeEntry,
)


class GitHistory(Protocol):
    """One repository, read from a local mirror; commits are named by their full id."""

    def refresh(self) -> None:
        """Fetch every branch; what was fetched stays readable after it is gone over there."""
        ...

    def fetch_commit(self, commit: str) -> bool:
        """Make a commit readable that no branch names (any more); False if it cannot be had."""
        ...

    def heads(self) -> Mapping[str, str]:
        """Branch -> commit, as of the last refresh."""
        ...

    def tags(self) -> Mapping[str, str]:
        """Git tag -> the commit that it names, annotated ones too; no older than the branches."""
        ...

    def has(self, commit: str) -> bool:
        """Whether the commit can be read."""
        ...

    def commits_like(self, prefix: str) -> Sequence[str]:
        """Every commit whose id begins so; at least four digits."""
        ...

    def commit(self, commit: str) -> GitCommit:
        """One commit; NotFoundError if it is not there."""
        ...

    def message(self, commit: str) -> str:
        """A commit's whole message."""
        ...

    def signature(self, commit: str) -> tuple[bytes, bytes] | None:
        """A commit without its signature, and the signature; None: it has none."""
        ...

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether ``descendant`` contains ``ancestor`` (or is it)."""
        ...

    def merge_base(self, one: str, other: str) -> str:
        """The newest commit that both contain; empty: there is none."""
        ...

    def merged_tree(self, onto: str, head: str) -> str:
        """The tree of merging ``head`` as git does it by itself; empty: there are conflicts."""
        ...

    def first_parents(self, commit: str, *, limit: int, until: str = "") -> Sequence[GitCommit]:
        """The commit and its first-parent ancestors, newest first, without ``until``."""
        ...

    def walk(self, commit: str, *, until: str) -> Sequence[tuple[str, Sequence[str]]]:
        """All first-parent commits after ``until``, newest first, with the paths each changed."""
        ...

    def touching(self, commit: str, paths: Sequence[str], *, limit: int) -> Sequence[GitCommit]:
        """Those of the commit and its first-parent ancestors that changed one of these paths.

        Against their first parent; newest first.
        """
        ...

    def between(self, old: str, new: str, *, limit: int) -> Sequence[GitCommit]:
        """Commits in ``new`` and not in ``old``, newest first."""
        ...

    def lacking(self, branch: str, commit: str, *, limit: int) -> Sequence[GitCommit]:
        """Commits of ``commit`` that ``branch`` lacks, also as a copy; newest first, no merges."""
        ...

    def messages(self, old: str, new: str, *, limit: int) -> Sequence[str]:
        """The whole messages of `between`."""
        ...

    def paths(self, tree: str) -> Mapping[str, TreeEntry]:
        """Every file of a commit or tree."""
        ...

    def changes(self, old: str, new: str) -> Mapping[str, PathChange]:
        """Every path that differs between two commits or trees; an empty ``old`` is no files."""
        ...

    def read(self, blob: str) -> bytes:
        """The content of a file."""
        ...

    def read_all(self, blobs: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """The contents of many files, one after the other."""
        ...

    def build_tree(self, tree: str, files: Sequence[FileWrite], without: str) -> str:
        """The id of ``tree`` with these files, without one top folder."""
        ...


class BlobIndex(Protocol):
    """What was found in files, by the blobs that they are: a blob never says anything else."""

    def known(self, version: int, blobs: Collection[str]) -> Mapping[str, bytes]:
        """What that version of the reader kept of these; of some nothing may be kept."""
        ...

    def keep(self, version: int, rows: Mapping[str, bytes]) -> None:
        """Keep what was found, for later processes; what cannot be kept is found again."""
        ...


class Mirrors(Protocol):
    """The local mirrors, one for each repository."""

    def of(self, repository: GitHubRepository) -> GitHistory:
        """The mirror of a repository, new enough when it is returned."""
        ...

    def as_of(self, moment: float | None) -> Mirrors:
        """The same, where a fetch that began after this moment is new enough.

        ``moment`` is one of `time.monotonic`; None: each question fetches.
        """
        ...
