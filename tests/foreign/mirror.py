"""The foreign GitHub's repositories as real git repositories, built from its own git data API.

Nothing is believed: every object is written by git itself, and the id that git finds for it must be
the one that the foreign GitHub gave it.
"""

from __future__ import annotations

import base64
import subprocess
import threading
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.foreign.emulator import Emulator
from tests.world.tools import tool


@dataclass(frozen=True)
class Mirror:
    """One bare repository per repository over there, below ``root``."""

    root: Path
    emulator: Emulator
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def path(self, repository: str) -> Path:
        """Where the bare repository is."""
        return self.root / f"{repository}.git"

    def refresh(self, repository: str) -> None:
        """Bring refs and objects to what the API shows now."""
        with self._lock:
            self._create(repository)
            wanted = self._refs(repository)
            for name, commit in wanted.items():
                self._commit(repository, commit)
                self.git(repository, "update-ref", name, commit)
            known = self.git(repository, "for-each-ref", "--format=%(refname)").split()
            for name in set(known) - wanted.keys():
                self.git(repository, "update-ref", "-d", name)

    def git(self, repository: str, *arguments: str, stdin: bytes = b"") -> str:
        """One git command in the bare repository."""
        done = self._attempt(repository, *arguments, stdin=stdin)
        assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

    def _attempt(
        self, repository: str, *arguments: str, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        command = [str(tool("git")), "-C", str(self.path(repository)), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, check=False)

    def _create(self, repository: str) -> None:
        path = self.path(repository)
        if path.exists():
            return
        path.mkdir(parents=True)
        self.git(repository, "init", "--quiet", "--bare", "--initial-branch=main", ".")
        # As GitHub does: any object may be asked for, and left out.
        self.git(repository, "config", "uploadpack.allowAnySHA1InWant", "true")
        self.git(repository, "config", "uploadpack.allowFilter", "true")

    def _refs(self, repository: str) -> dict[str, str]:
        found = self.emulator.told(f"/repos/{repository}/git/matching-refs/heads/")
        return {one["ref"]: one["object"]["sha"] for one in found}

    def _has(self, repository: str, identity: str) -> bool:
        return self._attempt(repository, "cat-file", "-e", identity).returncode == 0

    def _commit(self, repository: str, tip: str) -> None:
        waiting, path = [tip], f"/repos/{repository}/git/commits"
        found: list[dict[str, Any]] = []
        while waiting:
            one = waiting.pop()
            if not self._has(repository, one):
                found.append(self.emulator.told(f"{path}/{one}"))
                waiting += [parent["sha"] for parent in found[-1]["parents"]]
        # The oldest first: git keeps no commit without its parents for long.
        for commit in reversed(found):
            self._tree(repository, commit["tree"]["sha"])
            self._write(repository, "commit", _as_git(commit), commit["sha"])

    def _tree(self, repository: str, tree: str) -> None:
        if self._has(repository, tree):
            return
        content = b""
        listed = self.emulator.told(f"/repos/{repository}/git/trees/{tree}")["tree"]
        for entry in sorted(listed, key=_place):
            if entry["type"] == "tree":
                self._tree(repository, entry["sha"])
            elif entry["type"] == "blob":
                self._blob(repository, entry["sha"])
            content += f"{entry['mode'].lstrip('0')} {entry['path']}\0".encode()
            content += bytes.fromhex(entry["sha"])
        self._write(repository, "tree", content, tree)

    def _blob(self, repository: str, blob: str) -> None:
        if self._has(repository, blob):
            return
        found = self.emulator.told(f"/repos/{repository}/git/blobs/{blob}")
        text: str = found["content"]
        content = base64.b64decode(text) if found["encoding"] == "base64" else text.encode()
        self._write(repository, "blob", content, blob)

    def _write(self, repository: str, kind: str, content: bytes, identity: str) -> None:
        written = self.git(repository, "hash-object", "-w", "-t", kind, "--stdin", stdin=content)
        assert written == identity, f"git says {written} to the {kind} that GitHub calls {identity}"


def _place(entry: dict[str, Any]) -> bytes:
    """How git orders a tree: folders as if their names ended with a slash."""
    return f"{entry['path']}{'/' if entry['type'] == 'tree' else ''}".encode()


def _as_git(commit: dict[str, Any]) -> bytes:
    lines = [f"tree {commit['tree']['sha']}"]
    lines += [f"parent {parent['sha']}" for parent in commit["parents"]]
    lines += [f"author {_person(commit['author'])}", f"committer {_person(commit['committer'])}"]
    text: str = "\n".join([*lines, "", commit["message"]])
    return (text if text.endswith("\n") else f"{text}\n").encode()


def _person(said: dict[str, str]) -> str:
    moment = datetime.fromisoformat(said["date"])
    return f"{said['name']} <{said['email']}> {int(moment.timestamp())} {moment:%z}"
