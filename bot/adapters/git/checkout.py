"""A person's own clone of a manifests repository: only read, whatever its configuration says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from git.cmd import Git
from git.exc import GitError

from bot.domain.audit_anchors import PublishedCommit
from bot.domain.errors import NotFoundError

_SECONDS: Final = 120
# Settings of the clone that would run a program.
_SAFE: Final = ("-c", "log.showSignature=false", "-c", "core.fsmonitor=false")
_FORMAT: Final = "--format=%H%x1f%B%x1e"


def environment_refs(directory: Path) -> Mapping[str, Sequence[PublishedCommit]]:
    """``env/...`` -> the commits of that branch (local, else of a remote), newest first.

    Raises:
        NotFoundError: there is no repository.
    """
    listed = _git(directory, "for-each-ref", "--format=%(refname)", "refs/remotes", "refs/heads")
    names: dict[str, str] = {}
    for full in listed.splitlines():
        _, _, short = full.partition("/heads/" if "/heads/" in full else "/remotes/")
        ref = short if "/heads/" in full else short.partition("/")[2]
        if ref.startswith("env/"):
            names[ref] = full  # heads come last and win
    return {ref: _commits(directory, ref, full) for ref, full in sorted(names.items())}


def _commits(directory: Path, ref: str, full: str) -> list[PublishedCommit]:
    shown = _git(directory, "log", "--first-parent", _FORMAT, "--end-of-options", full)
    pairs = (one.strip("\n").partition("\x1f") for one in shown.split("\x1e"))
    return [PublishedCommit(ref, commit, message) for commit, _, message in pairs if commit]


def _git(directory: Path, *arguments: str) -> str:
    try:
        found = Git(str(directory)).execute(
            ["git", *_SAFE, *arguments],
            with_extended_output=False,
            as_process=False,
            stdout_as_string=False,
            kill_after_timeout=_SECONDS,
            env={"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
        )
    except (GitError, OSError) as error:
        raise NotFoundError("a git repository", str(directory)) from error
    return bytes(found).decode("utf-8", "replace")
