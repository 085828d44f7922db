"""A bare mirror of a GitHub repository: everything is read here, nothing is written over there.

Contract. Every method may be repeated. Fetches of one mirror are serial (a lock), reads run
concurrently with them: git's object database only ever grows. Who waits for a fetch is content
with one that began after the question. A failed fetch leaves the mirror as it was. Objects that
`build_tree` writes stay local. Work is done in the object database alone; there is no work tree
and so nothing to clean up.

What cannot change is asked once: content, commits, which commit contains which. Branches are what
the last fetch brought.

git runs as a child process with a fixed argument list and its own deadline. The access token
reaches it through the environment, never through the command line, the URL or a file.
"""

from __future__ import annotations

import base64
import contextlib
import math
import re
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from git.cmd import Git
from git.exc import CommandError, GitError

from bot.adapters.git.bounded import Bounded
from bot.adapters.git.objects import Reader, Readers
from bot.domain.environments import GitHubRepository
from bot.domain.errors import IntegrityError, NotFoundError, UnavailableError
from bot.domain.history import FileWrite, GitCommit, PathChange, TreeEntry

_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_EMPTY_TREE: Final = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # git hash-object -t tree /dev/null
_FORMAT: Final = "%H%x1f%T%x1f%P%x1f%ct%x1f%an%x1f%s"
_FETCH: Final = ("fetch", "--quiet", "--no-tags", "--force")
_TAGS: Final = "+refs/tags/*:refs/tags/*"
_FETCH_SECONDS: Final = 300
_READ_SECONDS: Final = 60
_NOT_NOW: Final = {"maintenance.auto": "false"}
_IN_FRONT: Final = {"gc.autoDetach": "false", "maintenance.autoDetach": "false"}
_FETCHES_UNTIL_TIDY: Final = 100
_REACH_SECONDS: Final = 10
_PLAIN: Final = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
_NO_BLOB: Final = "0" * 40
_CONTENTS_BYTES: Final = 16 * 2**20
"""Contents that are kept of one mirror."""
_LISTED_PATHS: Final = 100_000
"""Paths of the commits, and of the differences, that are kept listed of one mirror."""
_PREFIX: Final = re.compile(r"[0-9a-f]{4,64}")
_NOTHING_IN_COMMON: Final = 1
"""git-merge-base's exit code for histories that share no commit."""
_SAYS_NO: Final = frozenset({1, 128, 129})
"""Exit codes that git chooses itself; anything else was done to it."""
_LAST_SECOND: Final = 253402300799
"""Of the year 9999: a commit may bear any number, and Python's calendar ends there."""


@dataclass(frozen=True)
class Mirrors:
    """The mirrors below one directory."""

    directory: Path
    web_url: str
    """Where repositories are cloned from, for example ``https://github.com``."""
    token: Callable[[GitHubRepository], str]
    """An access token that may read the repository's contents."""
    forget: Callable[[GitHubRepository], None] = lambda _repository: None
    """Lets the next token be a new one: the other side did not take this one, perhaps revoked."""
    since: float | None = None
    """When all that has to be seen had happened, `time.monotonic`; None: now, at each question."""
    _mirrors: dict[GitHubRepository, Mirror] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _readers: Readers = field(default_factory=Readers)

    def as_of(self, moment: float | None) -> Mirrors:
        """The same mirrors, for one job: what was fetched after this moment is new enough."""
        return replace(self, since=moment)

    def expire(self) -> None:
        """Something was written over there: what was fetched before is not new enough any more."""
        with self._lock:
            mirrors = list(self._mirrors.values())
        for mirror in mirrors:
            mirror.expire()

    def of(self, repository: GitHubRepository) -> Mirror:
        """The mirror of a repository, new enough when it is returned."""
        mirror = self._mirror(repository)
        mirror.refresh_since(time.monotonic() if self.since is None else self.since)
        return mirror

    def _mirror(self, repository: GitHubRepository) -> Mirror:
        with self._lock:
            mirror = self._mirrors.get(repository)
            if mirror is None:
                mirror = Mirror(
                    repository,
                    self.directory / repository.owner / f"{repository.name}.git",
                    f"{self.web_url}/{repository}.git",
                    Access(lambda: self.token(repository), lambda: self.forget(repository)),
                    self._readers,
                )
                self._mirrors[repository] = mirror
            return mirror

    def reach(self, repository: GitHubRepository) -> None:
        """Ask for the repository's refs and keep nothing; UnavailableError without an answer."""
        url = f"{self.web_url}/{repository}.git"
        environment = {**_PLAIN, **_configured(_authorised(url, self.token(repository)))}
        command = ["git", "ls-remote", "--quiet", "--end-of-options", url, "HEAD"]
        try:
            Git(tempfile.gettempdir()).execute(
                command,
                with_extended_output=False,
                as_process=False,
                kill_after_timeout=_REACH_SECONDS,
                env=environment,
            )
        except (GitError, OSError) as error:
            raise UnavailableError(f"git cannot read {url}") from error


@dataclass(frozen=True, slots=True)
class Access:
    """To one repository over there."""

    token: Callable[[], str]
    forget: Callable[[], object]


class RefusedFetchError(UnavailableError):
    """The other side gave nothing: it is away, the token is not taken, or nothing is there."""

    def __init__(self, repository: GitHubRepository) -> None:
        """Name the repository."""
        super().__init__(f"cannot fetch {repository}")


class Mirror:
    """One repository's mirror."""

    def __init__(
        self,
        repository: GitHubRepository,
        path: Path,
        url: str,
        access: Access,
        readers: Readers,
    ) -> None:
        """Create the mirror's directory if it is not there; nothing is fetched yet."""
        self.repository = repository
        self._path = path
        self._url = url
        self._access = access
        self._fetching = threading.Lock()
        self._fetches = 0
        self._fetched = self._expired = -math.inf
        self._heads: Mapping[str, str] | None = None
        self._tags: Mapping[str, str] | None = None
        """None until somebody asks: most repositories have many, which nobody needs."""
        self._objects = Reader(path, readers)
        self._contents = Bounded[str, bytes](_CONTENTS_BYTES, len)
        self._differences = Bounded[tuple[str, str], Mapping[str, PathChange]](_LISTED_PATHS, len)
        self._listings = Bounded[str, Mapping[str, TreeEntry]](_LISTED_PATHS, len)
        self.commit = lru_cache(maxsize=4096)(self._commit)
        self._kind = lru_cache(maxsize=16384)(self._kind_of)
        self._contains = lru_cache(maxsize=16384)(self._contains_it)
        path.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            path.chmod(0o700)  # private repositories are nobody else's
        if not (path / "HEAD").exists():
            self._git(["init", "--quiet", "--bare", "."])

    def refresh(self) -> None:
        """Fetch every branch; UnavailableError if the other side does not answer."""
        self.refresh_since(time.monotonic())

    def refresh_since(self, moment: float) -> None:
        """The same, unless a fetch began after this moment and after the last `expire`."""
        with self._fetching:
            if self._fetched >= max(moment, self._expired):
                return
            began = time.monotonic()
            tags = () if self._tags is None else (_TAGS,)
            self._renewing("+refs/heads/*:refs/heads/*", *tags, options=("--prune",))
            self._heads = self._read_heads()
            self._tags = self._read_tags() if tags else None
            self._fetched = began
            self._tidy()

    def expire(self) -> None:
        """Let what was fetched until now be old."""
        self._expired = time.monotonic()

    def fetch_commit(self, commit: str) -> bool:
        """Make a commit readable that no branch names; False if it cannot be had."""
        if self.has(commit):
            return True
        try:
            with self._fetching:
                self._fetch(_checked(commit))
        except UnavailableError:
            return False
        return self.has(commit)

    def heads(self) -> Mapping[str, str]:
        """Branch -> commit, as of the last refresh."""
        known = self._heads
        return self._read_heads() if known is None else known

    def _read_heads(self) -> Mapping[str, str]:
        lines = self._git(["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads"])
        pairs = (line.split(" ", 1) for line in lines.splitlines())
        return {name.removeprefix("refs/heads/"): commit for commit, name in pairs}

    def tags(self) -> Mapping[str, str]:
        """Tag -> the commit that it names at last, no older than the branches are.

        Whoever asks first waits for a fetch of its own; later ones bring the tags along.
        """
        known = self._tags
        if known is not None:
            return known
        with self._fetching:
            if self._tags is None:
                self._renewing(_TAGS, options=("--prune",))
                self._tags = self._read_tags()
            return self._tags

    def _read_tags(self) -> Mapping[str, str]:
        """Those that name a commit: a tag may name a tag, a file or a tree as well."""
        fields = "%(objectname) %(objecttype) %(*objecttype) %(*objectname) %(refname)"
        lines = self._git(["for-each-ref", f"--format={fields}", "refs/tags"]).splitlines()
        found: dict[str, str] = {}
        for line in lines:
            thing, kind, inner, target, name = line.split(" ", 4)
            commit = {"commit": thing, "tag": target if inner == "commit" else ""}.get(kind)
            if commit == "":
                commit = self._peeled(thing)
            if commit:
                found[name.removeprefix("refs/tags/")] = commit
        return found

    def _peeled(self, tag: str) -> str:
        """The commit behind a tag of a tag; empty: it ends elsewhere."""
        try:
            return self._git(["rev-parse", "--verify", "--quiet", f"{_checked(tag)}^{{commit}}"])
        except NotFoundError:
            return ""

    def has(self, commit: str) -> bool:
        """Whether the commit can be read; git says so itself, and its failure says neither."""
        try:
            return self._kind(_checked(commit)) == "commit"
        except NotFoundError:
            return False

    def commits_like(self, prefix: str) -> Sequence[str]:
        """Every commit whose id begins so; at least four digits."""
        if not _PREFIX.fullmatch(prefix):
            return ()
        found = self._git(["rev-parse", f"--disambiguate={prefix}"]).split()
        return [one for one in found if self._kind(one) == "commit"]

    def _kind_of(self, thing: str) -> str:
        """The kind of an object; NotFoundError: there is none of that id."""
        found = self._objects.kind(thing)
        if found is None:
            raise NotFoundError(thing, f"the mirror of {self.repository}")
        return found

    def message(self, commit: str) -> str:
        """A commit's whole message."""
        return self._git(["log", "-n1", "--format=%B", _checked(commit), "--"])

    def signature(self, commit: str) -> tuple[bytes, bytes] | None:
        """A commit without its signature, and the signature; None: it has none.

        As git keeps it: a header whose further lines begin with a space (gitformat-signature).
        """
        content = self._run(["cat-file", "commit", _checked(commit)])
        header, blank, message = content.partition(b"\n\n")
        kept: list[bytes] = []
        signature: list[bytes] = []
        is_signature = False
        for line in header.split(b"\n"):
            is_signature = line.startswith(b"gpgsig ") or (is_signature and line.startswith(b" "))
            if is_signature:
                signature.append(line.removeprefix(b"gpgsig").removeprefix(b" "))
            else:
                kept.append(line)
        if not signature:
            return None
        return b"\n".join(kept) + blank + message, b"\n".join(signature) + b"\n"

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether ``descendant`` contains ``ancestor`` (or is it)."""
        if not (self.has(ancestor) and self.has(descendant)):
            return False
        return ancestor == descendant or self._contains(ancestor, descendant)

    def _contains_it(self, ancestor: str, descendant: str) -> bool:
        """The same of two commits that are there."""
        try:
            # Not rev-list: where clocks were wrong it stops too early, and says no.
            return self._git(["merge-base", "--all", ancestor, descendant]) == ancestor
        except NotFoundError as error:
            cause = error.__cause__
            if isinstance(cause, CommandError) and cause.status == _NOTHING_IN_COMMON:
                return False
            # Both are there: whatever else stopped git is no answer.
            raise UnavailableError(f"git cannot walk the mirror of {self.repository}") from error

    def merge_base(self, one: str, other: str) -> str:
        """The newest commit that both contain; empty: there is none."""
        try:
            return self._git(["merge-base", _checked(one), _checked(other)])
        except NotFoundError:
            return ""

    def merged_tree(self, onto: str, head: str) -> str:
        """The tree of merging ``head`` as git does it by itself; empty: there are conflicts.

        git-merge-tree ends with 1 for conflicts, as it does where a commit is not there.
        """
        commits = [self.commit(onto).id, self.commit(head).id]
        try:
            return self._git(["merge-tree", "--write-tree", "--no-messages", *commits])
        except NotFoundError:
            return ""

    def first_parents(self, commit: str, *, limit: int, until: str = "") -> Sequence[GitCommit]:
        """The commit and its first-parent ancestors, newest first, without ``until``."""
        excluded = [f"^{_checked(until)}"] if until else []
        return self._log(["--first-parent", f"-n{limit}", _checked(commit), *excluded])

    def walk(self, commit: str, *, until: str) -> Sequence[tuple[str, Sequence[str]]]:
        """The first-parent commits after ``until``, newest first, with the paths that each changed.

        However many they are: one process reads them all.
        """
        mark = secrets.token_hex(16)  # paths may hold anything but this
        options = ["--first-parent", "-m", "--name-only", "--no-renames", "-z"]
        commits = [_checked(commit), f"^{_checked(until)}"]
        said = self._git(["log", f"--format={mark}%H", *options, *commits])
        found = (record.partition("\0") for record in said.split(mark)[1:])
        return [
            (name, tuple(path for path in paths.removeprefix("\n").split("\0") if path))
            for name, _, paths in found
        ]

    def touching(self, commit: str, paths: Sequence[str], *, limit: int) -> Sequence[GitCommit]:
        """Those of the commit and its first-parent ancestors that changed one of these paths."""
        # git-log, "History Simplification": with --first-parent a merge is compared with its first
        # parent alone, and shown if it differs there. Paths are taken literally.
        specs = [f":(top,literal){path}" for path in paths]
        return self._log(["--first-parent", f"-n{limit}", _checked(commit)], specs)

    def between(self, old: str, new: str, *, limit: int) -> Sequence[GitCommit]:
        """Commits in ``new`` and not in ``old``, newest first."""
        return self._log([f"-n{limit}", _checked(new), f"^{_checked(old)}"])

    def lacking(self, branch: str, commit: str, *, limit: int) -> Sequence[GitCommit]:
        """Commits of ``commit`` that ``branch`` lacks, newest first; not those that it has copied.

        No merges; what was cherry-picked is known by its changes (git-log, ``--cherry-pick``).
        """
        span = f"{_checked(branch)}...{_checked(commit)}"
        return self._log(["--cherry-pick", "--right-only", "--no-merges", f"-n{limit}", span])

    def messages(self, old: str, new: str, *, limit: int) -> Sequence[str]:
        """The whole messages of `between`."""
        revisions = [f"-n{limit}", _checked(new), f"^{_checked(old)}"]
        found = self._git(["log", "-z", "--format=%B", *revisions, "--"])
        return [message.strip("\n") for message in found.split("\0") if message.strip("\n")]

    def changes(self, old: str, new: str) -> Mapping[str, PathChange]:
        """Every path that differs between two commits or trees; an empty ``old`` is no files."""
        if old == new:
            return {}
        found = self._differences.get((old, new))
        if found is None:
            found = self._changes(old, new)
            if old:  # else it is everything, and asked once
                self._differences.put((old, new), found)
        return found

    def _changes(self, old: str, new: str) -> Mapping[str, PathChange]:
        before = _checked(old) if old else _EMPTY_TREE
        fields = self._git(["diff-tree", "-r", "-z", "--no-renames", before, _checked(new)]).split(
            "\0"
        )
        return {
            path: _change(header)
            for header, path in zip(fields[0:-1:2], fields[1::2], strict=False)
        }

    def build_tree(self, tree: str, files: Sequence[FileWrite], without: str) -> str:
        """The id of ``tree`` with these files, without one top folder."""
        present = self.paths(tree)
        entries = [f"0 {_NO_BLOB}\t{p}" for p in present if without and p.startswith(f"{without}/")]
        entries += [
            f"0 {_NO_BLOB}\t{file.path}"
            if file.content is None
            else f"{file.mode} {self._store(file.content)}\t{file.path}"
            for file in files
        ]
        with tempfile.TemporaryDirectory() as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
            self._git(["read-tree", _checked(tree)], environment=index)
            self._git(
                ["update-index", "-z", "--index-info"],
                environment=index,
                stdin="".join(f"{entry}\0" for entry in entries).encode(),
            )
            return self._git(["write-tree"], environment=index)

    def _commit(self, commit: str) -> GitCommit:
        """One commit; NotFoundError if it is not there."""
        return self._log(["-n1", _checked(commit)])[0]

    def paths(self, tree: str) -> Mapping[str, TreeEntry]:
        """Every file of a commit or tree.

        By what is different in one that was listed before: of a large tree that is a hundredth of
        the work, and of the memory, for entries that are equal are the same.
        """
        found = self._listings.get(tree)
        if found is None:
            known = self._listings.newest()
            found = self._listed(tree) if known is None else self._listed_by(tree, *known)
            self._listings.put(tree, found)
        return found

    def _listed(self, tree: str) -> Mapping[str, TreeEntry]:
        listing = self._git(["ls-tree", "-r", "-z", "--full-tree", _checked(tree)])
        entries = (line.split("\t", 1) for line in listing.split("\0") if line)
        return {
            path: TreeEntry(sys.intern(mode), blob)
            for (mode, _, blob), path in ((meta.split(" "), path) for meta, path in entries)
        }

    def _listed_by(
        self, tree: str, known: str, listing: Mapping[str, TreeEntry]
    ) -> Mapping[str, TreeEntry]:
        try:
            changes = self.changes(known, tree)
        except NotFoundError:
            return self._listed(tree)  # one of the two is not there, or not any more
        found = dict(listing)
        for path, change in changes.items():
            if change.after is None:
                found.pop(path, None)
            else:
                found[path] = change.after
        return found

    def read(self, blob: str) -> bytes:
        """The content of a file; NotFoundError if it is not there."""
        found = self._contents.get(blob)
        if found is None:
            found = self._there(blob, self._objects.content(_checked(blob)))
            self._contents.put(blob, found)
        return found

    def read_all(self, blobs: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """The contents of many files, one after the other; nothing of them is kept."""
        wanted = [_checked(blob) for blob in blobs]
        for blob, content in self._objects.contents(wanted):
            yield blob, self._there(blob, content)

    def _there(self, blob: str, content: bytes | None) -> bytes:
        if content is None:
            raise NotFoundError(blob, f"the mirror of {self.repository}")
        return content

    def _store(self, content: bytes) -> str:
        return self._git(["hash-object", "-w", "--stdin"], stdin=content)

    def _log(self, arguments: Sequence[str], paths: Sequence[str] = ()) -> list[GitCommit]:
        lines = self._git(["log", f"--format={_FORMAT}", *arguments, "--", *paths])
        return [_parsed(line) for line in lines.split("\n") if line]

    def _renewing(self, *refspecs: str, options: Sequence[str]) -> None:
        """Fetch, with a new token where the one at hand was refused: git says of neither why."""
        refused = self._access.token()
        try:
            self._fetch(*refspecs, options=options)
        except RefusedFetchError:
            self._access.forget()
            if self._access.token() == refused:
                raise
            self._fetch(*refspecs, options=options)

    def _fetch(self, *refspecs: str, options: Sequence[str] = ()) -> None:
        environment = _configured({**_NOT_NOW, **_authorised(self._url, self._access.token())})
        try:
            self._run(
                [*_FETCH, *options, "--end-of-options", self._url, *refspecs],
                environment=environment,
                seconds=_FETCH_SECONDS,
            )
        except NotFoundError as error:
            raise RefusedFetchError(self.repository) from error

    def _tidy(self) -> None:
        """Let git pack what many fetches have left, now and then; what it prunes is forgotten."""
        self._fetches += 1
        if self._fetches % _FETCHES_UNTIL_TIDY != 1:
            return
        with contextlib.suppress(NotFoundError, UnavailableError):
            self._run(
                ["maintenance", "run", "--auto", "--quiet"],
                environment=_configured(_IN_FRONT),
                seconds=_FETCH_SECONDS,
            )
        self._kind.cache_clear()
        self._objects.end()  # it holds packs that are gone

    def _git(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
    ) -> str:
        output = self._run(arguments, environment=environment, stdin=stdin)
        return output.decode("utf-8", "surrogateescape").rstrip("\n")

    def _run(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        seconds: float = _READ_SECONDS,
    ) -> bytes:
        """Run git; its failure means "not there" for reads, and its texts never leave here."""
        with tempfile.TemporaryFile() as file:
            file.write(stdin or b"")
            file.seek(0)
            try:
                output = Git(str(self._path)).execute(
                    ["git", *arguments],
                    istream=file,
                    with_extended_output=False,
                    as_process=False,
                    stdout_as_string=False,
                    strip_newline_in_stdout=False,
                    kill_after_timeout=seconds,
                    env={**_PLAIN, **(environment or {})},
                )
            except CommandError as error:
                if error.status not in _SAYS_NO:
                    # Killed, out of time or memory: nobody knows what it would have said.
                    raise UnavailableError(
                        f"git {arguments[0]} was ended early in the mirror of {self.repository}"
                    ) from error
                raise NotFoundError(
                    f"what git {arguments[0]} asks for", f"the mirror of {self.repository}"
                ) from error
            except (GitError, OSError) as error:
                raise UnavailableError(f"git cannot run for {self.repository}") from error
        return bytes(output)


def _authorised(url: str, token: str) -> Mapping[str, str]:
    """The token for git: in the environment, where no list of processes shows it.

    For this URL alone, and no answer leads elsewhere: git sends an extra header along to whatever
    a redirect names (git-config, ``http.extraHeader``, ``http.followRedirects``).
    """
    secret = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        f"http.{url}.extraHeader": f"Authorization: Basic {secret}",
        "http.followRedirects": "false",
    }


def _configured(settings: Mapping[str, str]) -> Mapping[str, str]:
    """Settings of git for one command, in its environment (git-config, ``GIT_CONFIG_COUNT``)."""
    found = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        found[f"GIT_CONFIG_KEY_{number}"], found[f"GIT_CONFIG_VALUE_{number}"] = key, value
    return found


def _checked(commit: str) -> str:
    """Only full ids ever reach git's command line: nothing from outside can become an option."""
    if not _COMMIT.fullmatch(commit):
        raise IntegrityError(f"not a full git object id: {commit[:80]!r}")
    return commit


def _parsed(line: str) -> GitCommit:
    commit, tree, parents, seconds, author, subject = line.split("\x1f", 5)
    return GitCommit(
        id=commit,
        tree=tree,
        parents=tuple(parents.split()),
        committed_at=datetime.fromtimestamp(min(max(int(seconds), 0), _LAST_SECOND), UTC),
        subject=subject,
        author=author,
    )


def _change(header: str) -> PathChange:
    """``:oldmode newmode oldblob newblob status`` (git-diff-tree, raw output format)."""
    old_mode, new_mode, old, new, _ = header.removeprefix(":").split(" ")
    return PathChange(
        None if old == _NO_BLOB else TreeEntry(old_mode, old),
        None if new == _NO_BLOB else TreeEntry(new_mode, new),
    )
