"""A bare git repository, worked on in its object database only: no index, no work tree.

Objects and refs are files in git's own form, so whatever clones or fetches over HTTP sees what the
API shows. What is one loose object or one ref is read and written here, since a start of ``git``
costs a hundred times as much; merges, differences and all that is packed or not a plain line of
commits is asked of the ``git`` program. Objects never change, so they are remembered; refs are
remembered until one is written here or ``forget_refs`` says that a push came.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

from tests.world.github.looseobjects import (
    LooseObjects,
    RawEntry,
    identity,
    tree_content,
    tree_entries,
)

ZERO = "0" * 40
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
GIT = shutil.which("git") or "git"

WEB_FLOW = ("GitHub", "noreply@github.com")
"""Committer of what GitHub commits and signs itself (docs: About commit signature verification)."""

FileChanges = dict[str, str | bytes | None]
"""Path to new content; None deletes."""


_MOVED = [time.monotonic()]
_ID: Final = len(ZERO)
_CONFIGURATION: Final = """\
[http]
	receivepack = true
[uploadpack]
	allowAnySHA1InWant = true
	allowFilter = true
[transfer]
	hideRefs = refs/lockkeeper
[gc]
	auto = 0
"""


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
        self._objects = LooseObjects(path)
        self._listings: dict[tuple[str, ...], list[TreeEntry]] = {}
        self._merge_bases: dict[tuple[str, str], str | None] = {}
        self._differences: dict[tuple[str, str], list[FileDifference]] = {}
        path.mkdir(parents=True)
        self.run("init", "--quiet", "--bare", "--template=", f"--initial-branch={default_branch}")
        with (path / "config").open("a") as configuration:
            configuration.write(_CONFIGURATION)

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
        if new is not None and not (_is_ref_name(name) and self._may_be_named(name, new)):
            raise GitError(f"cannot update ref '{name}': '{new}' may not stand there")
        if (self.path / "packed-refs").exists():
            self.run("update-ref", *(["-d", name] if new is None else [name, new]), old or ZERO)
        else:
            self._swap(self.path / name, new, old)
        _MOVED[0] = time.monotonic()
        if self._refs is not None:
            others = {one: target for one, target in self._refs.items() if one != name}
            self._refs = dict(sorted((others | ({name: new} if new else {})).items()))

    def _may_be_named(self, name: str, target: str) -> bool:
        kind = self.type_of(target)
        return kind == "commit" or (kind is not None and not name.startswith("refs/heads/"))

    def _swap(self, file: Path, new: str | None, old: str | None) -> None:
        """Write, or remove, one loose ref under git's own lock (gitformat-ref files)."""
        for folder in file.parents[: len(file.relative_to(self.path).parts) - 1]:
            if folder.is_file():
                raise GitError(f"cannot lock ref '{file}': '{folder}' exists")
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.with_name(f"{file.name}.lock")
        with lock.open("x") as content:  # who else writes it has to wait
            content.write(f"{new}\n")
        try:
            found = file.read_text().strip() if file.is_file() else None
            if found != old:
                raise GitError(f"cannot lock ref '{file}': is at {found} but expected {old}")
            if new is None:
                file.unlink(missing_ok=True)
            else:
                _without_empty_folders(file)
                lock.replace(file)
        finally:
            lock.unlink(missing_ok=True)

    def is_ref_name(self, name: str) -> bool:
        """Tell whether git accepts ``name`` as a full ref name."""
        return _is_ref_name(name)

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
        loose = self._objects.read(object_id) if len(object_id) == _ID else None
        if loose is not None:
            return loose.kind
        if object_id not in self._kinds:
            try:
                self._kinds[object_id] = self.text("cat-file", "-t", object_id)
            except GitError:
                return None
        return self._kinds[object_id]

    def blob(self, object_id: str) -> bytes:
        """Return the content of a blob."""
        loose = self._objects.read(object_id)
        if loose is not None and loose.kind == "blob":
            return loose.content
        return self.run("cat-file", "blob", object_id)

    def write_blob(self, content: str | bytes) -> str:
        """Store a blob and return its id."""
        raw = content.encode() if isinstance(content, str) else content
        return self._objects.write("blob", raw)

    def entries(self, tree: str, *, recursive: bool = False) -> list[TreeEntry]:
        """Return the entries of a tree (or of a commit's), in git's order."""
        loose = self._loose_entries(tree, recursive=recursive)
        return self._listed(tree, *(["-r", "-t"] if recursive else [])) if loose is None else loose

    def _loose_entries(
        self, name: str, *, recursive: bool = False, above: str = ""
    ) -> list[TreeEntry] | None:
        """The same from loose objects; None where one of them is none."""
        tree = self._loose_tree(name)
        if tree is None:
            return None
        found: list[TreeEntry] = []
        for one in tree:
            shown = self._shown(one, above)
            if shown is None:
                return None
            found.append(shown)
            if recursive and shown.type == "tree":
                below = self._loose_entries(one.id, recursive=True, above=f"{shown.path}/")
                if below is None:
                    return None
                found += below
        return found

    def _loose_tree(self, name: str) -> Sequence[RawEntry] | None:
        """The entries of a tree, or of a commit's, as they are stored."""
        loose = self._objects.read(name) if len(name) == _ID else None
        if loose is not None and loose.kind == "commit":
            loose = self._objects.read(self.commit(name).tree)
        return None if loose is None or loose.kind != "tree" else list(tree_entries(loose.content))

    def _shown(self, entry: RawEntry, above: str) -> TreeEntry | None:
        kind, size = _type_of_mode(entry.mode), None
        if kind == "blob":
            loose = self._objects.read(entry.id)
            if loose is None:
                return None
            size = len(loose.content)
        return TreeEntry(entry.mode, kind, entry.id, f"{above}{entry.name}", size)

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
            root = self.commit(tree).tree if tree in self._commits else ""
            root = root or self.text("rev-parse", f"{tree}^{{tree}}")
            return TreeEntry("040000", "tree", root, "")
        if path.endswith("/"):
            return None
        above, _, name = path.rpartition("/")
        folder = self.entry(tree, above) if above else None
        if above and (folder is None or folder.type != "tree"):
            return None
        inside = self._loose_tree(folder.id if folder else tree)
        if inside is None:
            found = self._listed(tree, path=path)
            return found[0] if len(found) == 1 and found[0].path == path else None
        one = next((one for one in inside if one.name == name), None)
        return None if one is None else self._shown(one, f"{above}/" if above else "")

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
        for one in entries.values():
            if one.type != "commit" and self.type_of(one.id) != one.type:
                raise GitError(f"entry '{one.path}' object {one.id} is no {one.type}")
        raw = (RawEntry(one.mode, one.id, one.path) for one in entries.values())
        return self._objects.write("tree", tree_content(raw))

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
            loose = self._objects.read(commit_id) if len(commit_id) == _ID else None
            if loose is None or loose.kind != "commit":
                raw = self.run("cat-file", "commit", commit_id)
            else:
                raw = loose.content
            self._commits[commit_id] = _parsed_commit(commit_id, raw.decode(errors="replace"))
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
        by = committer or author
        lines = [f"tree {tree}", *(f"parent {one}" for one in dict.fromkeys(parents))]
        lines.append(f"author {identity(author.name, author.email, author.date)}")
        lines.append(f"committer {identity(by.name, by.email, by.date)}")
        if signature:
            signed = signature.strip("\n").replace("\n", "\n ")
            lines.append(f"gpgsig {signed}")
        return self._objects.write("commit", "\n".join([*lines, "", message]).encode())

    def write_tag(self, commit: str, name: str, tagger: Signature) -> str:
        """Store an annotated tag and return its id; no ref names it yet (git-mktag)."""
        lines = [f"object {commit}", f"type {self.type_of(commit)}", f"tag {name}"]
        lines.append(f"tagger {identity(tagger.name, tagger.email, tagger.date)}")
        return self._objects.write("tag", "\n".join([*lines, "", f"{name}\n"]).encode())

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
            plain = self._only_merge_base(one, other)
            found = plain or self.run("merge-base", one, other, ok=(0, 1)).decode().strip()
            self._merge_bases[one, other] = found or None
        return self._merge_bases[one, other]

    def _only_merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor where no other is as good; None where git has to choose."""
        ours, theirs = self._ancestors([one]), self._ancestors([other])
        if ours is None or theirs is None:
            return None
        shared = ours & theirs
        best = shared - {parent for each in shared for parent in self.commit(each).parents}
        return best.pop() if len(best) == 1 else None

    def _ancestors(self, tips: Iterable[str]) -> set[str] | None:
        """Commits and all before them; None where one of them is not loose."""
        found: set[str] = set()
        waiting = list(tips)
        while waiting:
            commit = waiting.pop()
            if commit in found:
                continue
            if commit not in self._commits:
                loose = self._objects.read(commit) if len(commit) == _ID else None
                if loose is None or loose.kind != "commit":
                    return None
            found.add(commit)
            waiting += self.commit(commit).parents
        return found

    def _line(self, tip: str, without: Sequence[str]) -> list[str] | None:
        """What a tip has and others lack, newest first; None where it is no plain line."""
        excluded = self._ancestors(without)
        known = None if excluded is None else self._ancestors([tip])
        if excluded is None or known is None:
            return None
        line: list[str] = []
        ahead = [tip] if tip not in excluded else []
        while ahead:
            if len(ahead) > 1:
                return None
            line.append(ahead[0])
            ahead = [one for one in self.commit(ahead[0]).parents if one not in excluded]
        return line

    def history(self, *revisions: str, paths: tuple[str, ...] = ()) -> list[str]:
        """Return commit ids as ``git rev-list`` lists them, newest first."""
        tips = [one for one in revisions if not one.startswith(("^", "-"))]
        flags = {one for one in revisions if one.startswith("-")}
        if len(tips) == 1 and not paths and flags <= {"--reverse", "--topo-order"}:
            line = self._line(tips[0], [one[1:] for one in revisions if one.startswith("^")])
            if line is not None:
                return line[::-1] if "--reverse" in flags else line
        limited = ["--", *paths] if paths else []
        return self.text("rev-list", *revisions, *limited).splitlines()

    def difference(self, old: str, new: str) -> list[FileDifference]:
        """Compare two trees (or commits) directly."""
        if (old, new) not in self._differences:
            self._differences[old, new] = self._compare(old, new)
        return self._differences[old, new]

    def _compare(self, old: str, new: str) -> list[FileDifference]:
        forms = ("--raw", "--numstat", "-p")
        said = self.run("diff-tree", "-r", "-z", "--no-renames", "--full-index", *forms, old, new)
        return _differences(said.decode(errors="replace"))

    # --- merging ----------------------------------------------------------------------------

    def merged_tree(self, ours: str, theirs: str) -> str | None:
        """Return the tree of a merge of two commits; None where they conflict."""
        base = self.merge_base(ours, theirs)
        if base in {ours, theirs}:
            return self.commit(theirs if base == ours else ours).tree
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


def _without_empty_folders(place: Path) -> None:
    """Folders of refs that are gone do not stand in the way of a ref; those of others do."""
    if place.is_dir():
        for below in place.iterdir():
            if below.is_file():
                raise GitError(f"cannot lock ref '{place}': '{below}' exists")
            _without_empty_folders(below)
        place.rmdir()


@cache
def _is_ref_name(name: str) -> bool:
    return subprocess.run([GIT, "check-ref-format", name], check=False).returncode == 0


def _differences(said: str) -> list[FileDifference]:
    """What ``git diff-tree -z --raw --numstat -p`` says, file by file."""
    fields, _, patches = said.partition("\0\0")
    words = fields.split("\0") if fields else []
    raw = [one for one in zip(words[0::2], words[1::2], strict=False) if one[0].startswith(":")]
    counts = [line.split("\t", 2) for line in words[2 * len(raw) :]]
    texts = iter(re.split(r"^diff --git ", patches, flags=re.MULTILINE)[1:])
    return [
        _difference(line, counted, "".join(islice(texts, 2 if line.endswith("T") else 1)))
        for (line, _), counted in zip(raw, counts, strict=True)
    ]


def _difference(line: str, counted: Sequence[str], patch: str) -> FileDifference:
    *_, old_blob, new_blob, letter = line.split(" ")
    additions, deletions, path = counted
    start = patch.find("\n@@")
    return FileDifference(
        path,
        {"A": "added", "D": "removed"}.get(letter, "modified"),
        old_blob if letter == "D" else new_blob,
        0 if additions == "-" else int(additions),
        0 if deletions == "-" else int(deletions),
        patch[start + 1 :] if start >= 0 else None,
    )


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
