"""A bare git repository, worked on in its object database only: no index, no work tree.

Everything is done by the ``git`` program on real objects, so whatever clones or fetches over HTTP
sees what the API shows. Objects never change, so commits, trees, differences and merge bases are
remembered; refs are remembered until one is written here or ``forget_refs`` says that a push came.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

ZERO = "0" * 40
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
GIT = shutil.which("git") or "git"

WEB_FLOW = ("GitHub", "noreply@github.com")
"""Committer of what GitHub commits and signs itself (docs: About commit signature verification)."""

FileChanges = dict[str, str | bytes | None]
"""Path to new content; None deletes."""


_MOVED = [time.monotonic()]


def last_move() -> float:
    """When a ref of any repository was last written, `time.monotonic`."""
    return _MOVED[0]


class GitError(Exception):
    """git refused; the message is its standard error."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Who and when, as git writes it into a commit."""

    name: str
    email: str
    date: datetime


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit object, read."""

    id: str
    tree: str
    parents: tuple[str, ...]
    author: Signature
    committer: Signature
    message: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One entry of a tree; ``size`` only where git knows one (blobs)."""

    mode: str
    type: str
    id: str
    path: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class FileDifference:
    """One file of a comparison, as GitHub's ``diff-entry`` shows it."""

    path: str
    status: str
    blob: str
    additions: int
    deletions: int
    patch: str | None


class BareRepository:
    """A bare repository at ``path``, which is created with an unborn ``default_branch``."""

    def __init__(self, path: Path, default_branch: str) -> None:
        """Create the repository on disk."""
        self.path = path
        self._refs: dict[str, str] | None = None
        self._commits: dict[str, Commit] = {}
        self._kinds: dict[str, str] = {}
        self._listings: dict[tuple[str, ...], list[TreeEntry]] = {}
        self._merge_bases: dict[tuple[str, str], str | None] = {}
        self._differences: dict[tuple[str, str], list[FileDifference]] = {}
        path.mkdir(parents=True)
        self.run("init", "--quiet", "--bare", f"--initial-branch={default_branch}", ".")
        for key, value in {
            "http.receivepack": "true",
            "uploadpack.allowAnySHA1InWant": "true",
            "uploadpack.allowFilter": "true",
            "transfer.hideRefs": "refs/lockkeeper",
            "gc.auto": "0",
        }.items():
            self.run("config", key, value)

    def environment(self) -> dict[str, str]:
        """Return the whole environment that git gets: nothing of this machine's configuration."""
        return {
            "PATH": os.defpath,
            "HOME": str(self.path),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        environment: dict[str, str] | None = None,
        ok: tuple[int, ...] = (0,),
    ) -> bytes:
        """Run git in the repository and return its output.

        Raises:
            GitError: the exit code is not one of ``ok``.
        """
        done = subprocess.run(
            [GIT, *arguments],
            cwd=self.path,
            input=stdin,
            env=self.environment() | (environment or {}),
            capture_output=True,
            check=False,
        )
        if done.returncode not in ok:
            raise GitError(done.stderr.decode(errors="replace").strip())
        return done.stdout

    def text(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run git and return its output as text without the last line end."""
        return self.run(*arguments, stdin=stdin).decode(errors="replace").rstrip("\n")

    # --- refs -------------------------------------------------------------------------------

    def refs(self, prefix: str = "refs/") -> dict[str, str]:
        """Return all refs whose name starts with ``prefix``, name to object id, sorted."""
        if self._refs is None:
            lines = self.text("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
            self._refs = dict(line.split(" ", 1) for line in lines)
        return {name: target for name, target in self._refs.items() if name.startswith(prefix)}

    def forget_refs(self) -> None:
        """Read the refs anew: something else than this object has written them."""
        self._refs = None
        _MOVED[0] = time.monotonic()

    def ref(self, name: str) -> str | None:
        """Return the object that the full ref ``name`` points to."""
        return self.refs(name).get(name)

    def write_ref(self, name: str, new: str | None, old: str | None) -> None:
        """Move, create (``old`` None) or delete (``new`` None) one ref, compare-and-swap."""
        if new is None:
            self.run("update-ref", "-d", name, old or ZERO)
        else:
            self.run("update-ref", name, new, old or ZERO)
        _MOVED[0] = time.monotonic()
        if self._refs is not None:
            others = {one: target for one, target in self._refs.items() if one != name}
            self._refs = dict(sorted((others | ({name: new} if new else {})).items()))

    def is_ref_name(self, name: str) -> bool:
        """Tell whether git accepts ``name`` as a full ref name."""
        try:
            self.run("check-ref-format", name)
        except GitError:
            return False
        return True

    def resolve(self, name: str) -> str | None:
        """Return the commit for a branch, tag, full ref or (abbreviated) commit id."""
        for ref in (f"refs/heads/{name}", f"refs/tags/{name}", f"refs/{name}", name):
            target = self.ref(ref)
            if target is not None:
                return self._peeled(target)
        return self._peeled(name) if name == "HEAD" or _is_hex(name) else None

    def _peeled(self, object_name: str) -> str | None:
        if object_name in self._commits:
            return object_name
        query = (
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            f"{object_name}^{{commit}}",
        )
        return self.run(*query, ok=(0, 1, 128)).decode().strip() or None

    # --- objects ----------------------------------------------------------------------------

    def type_of(self, object_id: str) -> str | None:
        """Return ``commit``, ``tree``, ``blob`` or ``tag``; None for an unknown object."""
        if not _is_hex(object_id):
            return None
        if object_id in self._commits:
            return "commit"
        if object_id not in self._kinds:
            try:
                self._kinds[object_id] = self.text("cat-file", "-t", object_id)
            except GitError:
                return None
        return self._kinds[object_id]

    def blob(self, object_id: str) -> bytes:
        """Return the content of a blob."""
        return self.run("cat-file", "blob", object_id)

    def write_blob(self, content: str | bytes) -> str:
        """Store a blob and return its id."""
        raw = content.encode() if isinstance(content, str) else content
        return self.text("hash-object", "-w", "--stdin", stdin=raw)

    def entries(self, tree: str, *, recursive: bool = False) -> list[TreeEntry]:
        """Return the entries of a tree (or of a commit's), in git's order."""
        flags = ["-r", "-t"] if recursive else []
        return self._listed(tree, *flags)

    def _listed(self, tree: str, *flags: str, path: str = "") -> list[TreeEntry]:
        key = (tree, *flags, path)
        if key not in self._listings:
            paths = ["--", path] if path else []
            listing = self.run("ls-tree", "-z", "-l", *flags, tree, *paths).decode()
            found = [_entry(line) for line in listing.split("\0") if line]
            if len(tree) != len(ZERO):
                return found  # a name that may come to mean another
            self._listings[key] = found
        return self._listings[key]

    def entry(self, tree: str, path: str) -> TreeEntry | None:
        """Return the entry at ``path`` of a tree or commit."""
        if not path:
            return TreeEntry("040000", "tree", self.text("rev-parse", f"{tree}^{{tree}}"), "")
        found = self._listed(tree, path=path)
        return found[0] if len(found) == 1 and found[0].path == path else None

    def edit_tree(self, base: str | None, edits: dict[str, tuple[str, str] | None]) -> str:
        """Return the tree ``base`` with ``edits``: path to (mode, object id), None deletes.

        A directory can be set or deleted as a whole. Directories that become empty vanish.

        Raises:
            KeyError: an edit deletes a path that does not exist.
        """
        entries = {e.path: e for e in self.entries(base)} if base else {}
        below: dict[str, dict[str, tuple[str, str] | None]] = {}
        for path, edit in edits.items():
            head, _, rest = path.partition("/")
            if rest:
                below.setdefault(head, {})[rest] = edit
            elif edit is None:
                del entries[head]
            else:
                mode, object_id = edit
                entries[head] = TreeEntry(mode, _type_of_mode(mode), object_id, head)
        for head, nested in below.items():
            current = entries.get(head)
            subtree = current.id if current and current.type == "tree" else None
            tree = self.edit_tree(subtree, nested)
            entries.pop(head, None)
            if tree != EMPTY_TREE:
                entries[head] = TreeEntry("040000", "tree", tree, head)
        lines = [f"{e.mode} {e.type} {e.id}\t{e.path}\0" for e in entries.values()]
        return self.text("mktree", "-z", stdin="".join(lines).encode())

    def with_files(self, base: str | None, changes: FileChanges) -> str:
        """Return the tree ``base`` with the contents of ``changes``; file modes are kept."""
        edits: dict[str, tuple[str, str] | None] = {}
        for path, content in changes.items():
            known = self.entry(base, path) if base else None
            mode = known.mode if known and known.type == "blob" else "100644"
            edits[path] = None if content is None else (mode, self.write_blob(content))
        return self.edit_tree(base, edits)

    def commit(self, commit_id: str) -> Commit:
        """Read a commit."""
        if commit_id not in self._commits:
            raw = self.run("cat-file", "commit", commit_id).decode(errors="replace")
            self._commits[commit_id] = _parsed_commit(commit_id, raw)
        return self._commits[commit_id]

    def write_commit(
        self,
        tree: str,
        parents: tuple[str, ...],
        message: str,
        author: Signature,
        committer: Signature | None = None,
        signature: str = "",
    ) -> str:
        """Store a commit and return its id; a signature becomes its header, as git keeps it."""
        committer = committer or author
        environment = {
            "GIT_AUTHOR_NAME": author.name,
            "GIT_AUTHOR_EMAIL": author.email,
            "GIT_AUTHOR_DATE": f"{int(author.date.timestamp())} +0000",
            "GIT_COMMITTER_NAME": committer.name,
            "GIT_COMMITTER_EMAIL": committer.email,
            "GIT_COMMITTER_DATE": f"{int(committer.date.timestamp())} +0000",
        }
        flags = [flag for parent in parents for flag in ("-p", parent)]
        written = self.run(
            "commit-tree", tree, *flags, stdin=message.encode(), environment=environment
        )
        commit = written.decode().strip()
        if not signature:
            return commit
        content = self.run("cat-file", "commit", commit)
        header, _, text = content.partition(b"\n\n")
        lines = signature.strip("\n").replace("\n", "\n ")
        signed = header + f"\ngpgsig {lines}\n\n".encode() + text
        found = self.run("hash-object", "-t", "commit", "-w", "--stdin", stdin=signed)
        return found.decode().strip()

    def fetch(self, other: BareRepository, ref: str) -> None:
        """Copy the objects that ``ref`` of another repository needs; no ref is written."""
        self.run("fetch", "--quiet", "--no-write-fetch-head", str(other.path.resolve()), ref)

    # --- history ----------------------------------------------------------------------------

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Tell whether ``descendant`` contains ``ancestor`` (a commit contains itself)."""
        return ancestor == descendant or self.merge_base(ancestor, descendant) == ancestor

    def merge_base(self, one: str, other: str) -> str | None:
        """Return the best common ancestor; None for unrelated histories."""
        if (one, other) not in self._merge_bases:
            found = self.run("merge-base", one, other, ok=(0, 1)).decode().strip()
            self._merge_bases[one, other] = found or None
        return self._merge_bases[one, other]

    def history(self, *revisions: str, paths: tuple[str, ...] = ()) -> list[str]:
        """Return commit ids as ``git rev-list`` lists them, newest first."""
        limited = ["--", *paths] if paths else []
        return self.text("rev-list", *revisions, *limited).splitlines()

    def difference(self, old: str, new: str) -> list[FileDifference]:
        """Compare two trees (or commits) directly."""
        if (old, new) not in self._differences:
            self._differences[old, new] = self._compare(old, new)
        return self._differences[old, new]

    def _compare(self, old: str, new: str) -> list[FileDifference]:
        raw = self.run("diff-tree", "-r", "-z", "--no-renames", old, new).decode().split("\0")
        numbers = self.run("diff-tree", "-r", "-z", "--no-renames", "--numstat", old, new).decode()
        counts = {
            path: (additions, deletions)
            for additions, deletions, path in (
                line.split("\t", 2) for line in numbers.split("\0") if line
            )
        }
        found = []
        for line, path in zip(raw[0::2], raw[1::2], strict=False):
            *_, old_blob, new_blob, letter = line.split(" ")
            additions, deletions = counts.get(path, ("-", "-"))
            patch = self.run("diff-tree", "-p", "--no-renames", "-r", old, new, "--", path).decode(
                errors="replace"
            )
            start = patch.find("@@")
            found.append(
                FileDifference(
                    path,
                    {"A": "added", "D": "removed"}.get(letter, "modified"),
                    old_blob if letter == "D" else new_blob,
                    0 if additions == "-" else int(additions),
                    0 if deletions == "-" else int(deletions),
                    patch[start:] if start >= 0 else None,
                )
            )
        return found

    # --- merging ----------------------------------------------------------------------------

    def merged_tree(self, ours: str, theirs: str) -> str | None:
        """Return the tree of a merge of two commits; None where they conflict."""
        out = self.run("merge-tree", "--write-tree", "--no-messages", ours, theirs, ok=(0, 1))
        tree, _, conflicts = out.decode().partition("\n")
        return None if conflicts.strip() else tree

    def picked_tree(self, commit_id: str, onto: str) -> str | None:
        """Return the tree of ``onto`` plus the change of one commit; None where they conflict.

        ``git merge-tree --merge-base`` needs git 2.40; two commits made for the purpose, on one
        parent whose tree is that of the commit's parent, say the same to any git since 2.38.
        """
        commit = self.commit(commit_id)
        before = self.commit(commit.parents[0]).tree if commit.parents else EMPTY_TREE
        root = self.write_commit(before, (), "base", commit.author)
        ours = self.write_commit(self.commit(onto).tree, (root,), "ours", commit.author)
        theirs = self.write_commit(commit.tree, (root,), "theirs", commit.author)
        return self.merged_tree(ours, theirs)


def _is_hex(text: str) -> bool:
    return 4 <= len(text) <= 40 and all(c in "0123456789abcdef" for c in text.lower())


def _type_of_mode(mode: str) -> str:
    return {"040000": "tree", "160000": "commit"}.get(mode, "blob")


def _entry(line: str) -> TreeEntry:
    facts, path = line.split("\t", 1)
    mode, kind, object_id, size = facts.split()
    return TreeEntry(mode, kind, object_id, path, None if size == "-" else int(size))


def _parsed_commit(commit_id: str, raw: str) -> Commit:
    head, _, message = raw.partition("\n\n")
    fields = [line.partition(" ") for line in head.splitlines()]
    first = {name: value for name, _, value in reversed(fields)}
    return Commit(
        id=commit_id,
        tree=first["tree"],
        parents=tuple(value for name, _, value in fields if name == "parent"),
        author=_parsed_signature(first["author"]),
        committer=_parsed_signature(first["committer"]),
        message=message.rstrip("\n"),
        text=raw,
    )


def _parsed_signature(text: str) -> Signature:
    who, seconds, _zone = text.rsplit(" ", 2)
    name, _, email = who.partition(" <")
    return Signature(name, email.rstrip(">"), datetime.fromtimestamp(int(seconds), UTC))
