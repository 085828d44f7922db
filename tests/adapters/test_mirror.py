from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bot.adapters.git.bounded import Bounded
from bot.adapters.git.mirror import Mirror, Mirrors
from bot.adapters.git.objects import Reader, Readers
from bot.domain.environments import GitHubRepository
from bot.domain.errors import IntegrityError, NotFoundError, UnavailableError
from bot.domain.history import FileWrite

REPOSITORY = GitHubRepository("acme", "deploy")


class Origin:
    """A real repository over there."""

    def __init__(self, directory: Path) -> None:
        self.work = directory / "work"
        self.bare = directory / "web" / "acme" / "deploy.git"
        self.bare.parent.mkdir(parents=True)
        self.git("init", "-q", "--bare", "-b", "main", str(self.bare), cwd=directory)
        self.git("init", "-q", "-b", "main", str(self.work), cwd=directory)

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        command = ["git", "-c", "user.name=Rita", "-c", "user.email=rita@example.com", *arguments]
        return subprocess.run(
            command, cwd=cwd or self.work, check=True, capture_output=True, text=True
        ).stdout.strip()

    def write_commit(self, content: str) -> str:
        """A commit as somebody else's git may write it."""
        command = ["git", "hash-object", "-t", "commit", "-w", "--stdin"]
        done = subprocess.run(
            command, cwd=self.work, input=content, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, str | None], branch: str = "main") -> str:
        for path, content in files.items():
            target = self.work / path
            if content is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"change {min(files)}")
        self.git("push", "-q", "-f", str(self.bare), f"HEAD:refs/heads/{branch}")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path)


@pytest.fixture
def mirror(origin: Origin, tmp_path: Path) -> Mirror:
    origin.commit({"a.yaml": "one", ".github/x.yml": "x", "b/c.yaml": "c"})
    mirrors = Mirrors(tmp_path / "mirrors", str(tmp_path / "web"), lambda _: "s3cret")
    return mirrors.of(REPOSITORY)


def test_heads_commits_and_files(origin: Origin, mirror: Mirror) -> None:
    first = mirror.heads()["main"]
    second = origin.commit({"a.yaml": "two", "b/c.yaml": None, "d ü.yaml": "d"})
    mirror.refresh()

    assert mirror.heads() == {"main": second}
    assert mirror.commit(second).parents == (first,)
    assert mirror.commit(second).subject == "change a.yaml"
    assert set(mirror.paths(second)) == {"a.yaml", ".github/x.yml", "d ü.yaml"}
    assert mirror.read(mirror.paths(second)["a.yaml"].blob) == b"two"
    changes = mirror.changes(first, second)
    assert {p: (c.before is None, c.after is None) for p, c in changes.items()} == {
        "a.yaml": (False, False),
        "b/c.yaml": (False, True),
        "d ü.yaml": (True, False),
    }
    assert set(mirror.changes("", first)) == {"a.yaml", ".github/x.yml", "b/c.yaml"}
    assert mirror.is_ancestor(first, second)
    assert not mirror.is_ancestor(second, first)
    assert [c.id for c in mirror.first_parents(second, limit=9)] == [second, first]
    assert [c.id for c in mirror.first_parents(second, limit=9, until=first)] == [second]
    assert [c.id for c in mirror.between(first, second, limit=9)] == [second]
    assert mirror.messages(first, second, limit=9) == ["change a.yaml"]
    assert mirror.messages(second, second, limit=9) == []
    assert mirror.files_between(first, second, limit=9) == [
        (second, ("a.yaml", "b/c.yaml", "d ü.yaml"))
    ]
    assert mirror.files_between(second, second, limit=9) == []


def test_tags_name_the_commits_behind_them(origin: Origin, mirror: Mirror) -> None:
    commit = origin.commit({"x": "x"})
    origin.git("tag", "light", commit)
    origin.git("tag", "-a", "-m", "words", "annotated", commit)
    origin.git("tag", "-a", "-m", "words", "of-a-tag", "annotated")
    origin.git("tag", "of-a-file", f"{commit}:x")
    origin.git("tag", "of-a-tree", f"{commit}^{{tree}}")
    origin.git("push", "-q", str(origin.bare), "--tags")

    assert mirror.tags() == {"annotated": commit, "light": commit, "of-a-tag": commit}

    other = origin.commit({"x": "y"})
    origin.git("push", "-q", "-f", str(origin.bare), f"{other}:refs/tags/light", ":annotated")
    assert mirror.tags()["light"] == commit  # as of the last refresh, as branches are
    mirror.refresh()
    assert mirror.tags() == {"light": other, "of-a-tag": commit}
    assert mirror.heads() == {"main": other}


def test_tags_are_fetched_for_those_alone_who_ask(
    origin: Origin, mirror: Mirror, tmp_path: Path
) -> None:
    bare = tmp_path / "mirrors" / "acme" / "deploy.git"
    origin.git("tag", "v1", origin.commit({"x": "x"}))
    origin.git("push", "-q", str(origin.bare), "--tags")
    mirror.refresh()

    assert not origin.git("for-each-ref", "refs/tags", cwd=bare)
    assert "v1" in mirror.tags()


def test_a_branch_that_vanished_stays_readable(origin: Origin, mirror: Mirror) -> None:
    gone = origin.commit({"x": "x"}, branch="old")
    mirror.refresh()
    origin.git("push", "-q", str(origin.bare), ":refs/heads/old")
    mirror.refresh()

    assert "old" not in mirror.heads()
    assert mirror.has(gone)


def test_commits_that_touch_a_path_against_their_first_parent(
    origin: Origin, mirror: Mirror
) -> None:
    first = mirror.heads()["main"]
    changed = origin.commit({"a.yaml": "two"})
    origin.commit({"b/c.yaml": "other"})
    origin.git("checkout", "-q", "-b", "side", first)
    origin.commit({":(glob)*": "a name like a pattern", "b/c.yaml": "side"}, branch="side")
    origin.git("checkout", "-q", "main")
    origin.git("merge", "-q", "--no-ff", "-X", "ours", "-m", "merge", "side")
    merge = origin.commit({"z": "z"})
    merged = origin.git("rev-parse", "HEAD~1")
    mirror.refresh()

    def touching(*paths: str, limit: int = 9) -> list[str]:
        return [one.id for one in mirror.touching(merge, paths, limit=limit)]

    assert touching("a.yaml") == [changed, first]
    assert touching("a.yaml", limit=1) == [changed]
    assert touching(":(glob)*") == [merged]
    assert touching("a.yaml", ":(glob)*") == [merged, changed, first]
    assert touching("nothing") == []


def test_build_tree_is_what_git_would_make(origin: Origin, mirror: Mirror) -> None:
    head = mirror.heads()["main"]

    files = [
        FileWrite("a.yaml", "100644", b"two"),
        FileWrite("n/w.yaml", "100644", b"new"),
        FileWrite("b/c.yaml", "100644", None),
    ]
    tree = mirror.build_tree(head, files, ".github")

    expected = origin.commit(
        {"a.yaml": "two", "n/w.yaml": "new", "b/c.yaml": None, ".github/x.yml": None}
    )
    assert tree == origin.git("rev-parse", f"{expected}^{{tree}}")


def test_what_is_not_there(mirror: Mirror) -> None:
    with pytest.raises(NotFoundError):
        mirror.commit("1" * 40)
    assert not mirror.has("1" * 40)
    assert not mirror.fetch_commit("1" * 40)


@pytest.mark.parametrize("text", ["--output=x", "main", "HEAD~1", "", "1" * 39])
def test_nothing_from_outside_becomes_an_option(mirror: Mirror, text: str) -> None:
    with pytest.raises(IntegrityError):
        mirror.commit(text)


def test_an_unreachable_origin_is_unavailable_and_keeps_its_secret(tmp_path: Path) -> None:
    mirrors = Mirrors(tmp_path / "m", "http://127.0.0.1:9", lambda _: "s3cret")

    with pytest.raises(UnavailableError) as caught:
        mirrors.of(REPOSITORY)

    chain = [caught.value, caught.value.__cause__, caught.value.__cause__.__cause__]  # type: ignore[union-attr]  # raised from two errors
    assert not any("s3cret" in str(error) for error in chain)


# --- a git that does not answer ---


def broken_git(folder: Path, monkeypatch: pytest.MonkeyPatch, when: str, how: str) -> None:
    """A git that does something else where its arguments contain ``when``."""
    real, script = shutil.which("git"), folder / "broken" / "git"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\ncase "$*" in *{when}*) {how};; esac\nexec {real} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")


@pytest.mark.parametrize("how", ["kill -9 $$", "kill -15 $$", "exit 137", "echo rubbish; exit 0"])
def test_a_git_that_was_killed_has_not_said_no(
    origin: Origin, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    first = mirror.heads()["main"]
    second = origin.commit({"a.yaml": "two"})
    mirror.refresh()
    broken_git(tmp_path, monkeypatch, "--batch-command", how)

    looks: list[Callable[[], object]] = [
        lambda: mirror.has(first),
        lambda: mirror.is_ancestor(first, second),
        lambda: mirror.fetch_commit(first),
    ]
    for look in looks:
        with pytest.raises(UnavailableError):
            look()


@pytest.mark.parametrize("how", ["kill -9 $$", "echo fatal >&2; exit 128"])
def test_a_walk_that_broke_off_is_no_answer(
    origin: Origin, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    first = mirror.heads()["main"]
    second = origin.commit({"a.yaml": "two"})
    mirror.refresh()
    broken_git(tmp_path, monkeypatch, "merge-base", how)

    with pytest.raises(UnavailableError):
        mirror.is_ancestor(first, second)


def test_a_walk_names_what_each_commit_changed(origin: Origin, mirror: Mirror) -> None:
    first = mirror.heads()["main"]
    second = origin.commit({"a.yaml": "two", "b/ü \\x.yaml": "1", "\n\x1e": "1"})
    origin.git("checkout", "-q", "-b", "side", first)
    origin.commit({"side.yaml": "1"}, "side")
    origin.git("checkout", "-q", "main")
    origin.git("merge", "-q", "--no-ff", "-m", "merge\n\x1e", "side")
    third = origin.commit({"a.yaml": "three"})
    mirror.refresh()

    walked = mirror.walk(third, until=first)

    merge = mirror.commit(third).parents[0]
    assert [(commit, set(paths)) for commit, paths in walked] == [
        (third, {"a.yaml"}),
        (merge, {"side.yaml"}),
        (second, {"a.yaml", "b/ü \\x.yaml", "\n\x1e"}),
    ]
    assert mirror.walk(first, until=first) == []


def test_wrong_clocks_change_no_history(origin: Origin, mirror: Mirror) -> None:
    first = mirror.heads()["main"]
    tree, head = origin.git("rev-parse", f"{first}^{{tree}}"), first
    for number in range(40):
        long_ago = f"{1000000000 + number} +0000"
        who = f"Eve <eve@example.com> {long_ago}"
        content = f"tree {tree}\nparent {head}\nauthor {who}\ncommitter {who}\n\nx\n"
        head = origin.write_commit(content)
    origin.git("push", "-q", "-f", str(origin.bare), f"{head}:refs/heads/main")
    mirror.refresh()

    assert mirror.is_ancestor(first, head)
    assert not mirror.is_ancestor(head, first)


def test_commits_are_found_by_their_first_digits(origin: Origin, mirror: Mirror) -> None:
    first = mirror.heads()["main"]
    tree = origin.git("rev-parse", f"{first}^{{tree}}")

    assert mirror.commits_like(first[:7]) == [first]
    assert mirror.commits_like(tree[:12]) == []
    assert mirror.commits_like("0" * 12) == []
    assert mirror.commits_like("ab") == mirror.commits_like("--all") == ()


def test_histories_without_a_common_commit_contain_nothing_of_each_other(
    origin: Origin, mirror: Mirror
) -> None:
    first = mirror.heads()["main"]
    origin.git("checkout", "-q", "--orphan", "other")
    other = origin.commit({"z.yaml": "z"}, "other")
    mirror.refresh()

    assert not mirror.is_ancestor(first, other)
    assert not mirror.is_ancestor(other, first)
    assert mirror.is_ancestor(other, other)


@pytest.mark.parametrize("seconds", [253402300800, 2**62, 0])
def test_a_commit_of_an_impossible_time_is_read(tmp_path: Path, seconds: int) -> None:
    """git-fsck has nothing against the year 10000; Python's calendar ends before it."""
    origin = Origin(tmp_path)
    first = origin.commit({"a": "1"})
    tree = origin.git("rev-parse", f"{first}^{{tree}}")
    who = f"Eve <eve@example.com> {seconds} +0000"
    content = f"tree {tree}\nparent {first}\nauthor {who}\ncommitter {who}\n\nx\n"
    poison = subprocess.run(
        ["git", "--git-dir", str(origin.bare), "hash-object", "-t", "commit", "-w", "--stdin"],
        input=content.encode(),
        check=True,
        capture_output=True,
    ).stdout.decode()
    origin.git("--git-dir", str(origin.bare), "update-ref", "refs/heads/main", poison.strip())
    mirror = Mirrors(tmp_path / "mirrors", f"file://{tmp_path}/web", lambda _: "t").of(REPOSITORY)

    read = mirror.first_parents(poison.strip(), limit=10)

    assert [one.id for one in read] == [poison.strip(), first]
    assert read[0].committed_at.year in {1970, 9999}


def test_a_redirect_never_carries_the_token(tmp_path: Path) -> None:
    """git sends an extra header along to whatever a redirect names, from the second request on."""
    came: list[tuple[str, str | None]] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def _note(self) -> None:
            came.append((self.path, self.headers.get("Authorization")))
            self.send_response(404)
            self.end_headers()

        do_GET = do_POST = _note  # noqa: N815 - the names that http.server asks for

        def log_message(self, *_: object) -> None: ...

    with listening(Elsewhere) as elsewhere:

        class Leading(Elsewhere):
            def do_GET(self) -> None:
                self.send_response(302)
                self.send_header("Location", f"http://localhost:{elsewhere}{self.path}")
                self.end_headers()

        with listening(Leading) as here:
            mirrors = Mirrors(tmp_path, f"http://127.0.0.1:{here}", lambda _: "secret")
            with pytest.raises(UnavailableError):
                mirrors.of(GitHubRepository("acme", "deploy"))

    assert came == []


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """A server on a port of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def mirrors(origin: Origin, tmp_path: Path) -> Mirrors:
    origin.commit({"a.yaml": "one"})
    return Mirrors(tmp_path / "mirrors", str(tmp_path / "web"), lambda _: "s3cret")


def test_what_was_fetched_after_the_question_is_new_enough(
    origin: Origin, mirrors: Mirrors
) -> None:
    asked = time.monotonic()
    first = mirrors.as_of(asked).of(REPOSITORY).heads()
    later = origin.commit({"a.yaml": "two"})

    assert mirrors.as_of(asked).of(REPOSITORY).heads() == first
    assert mirrors.as_of(time.monotonic()).of(REPOSITORY).heads() == {"main": later}


def test_without_a_moment_each_question_fetches(origin: Origin, mirrors: Mirrors) -> None:
    mirrors.as_of(time.monotonic()).of(REPOSITORY)
    later = origin.commit({"a.yaml": "two"})

    assert mirrors.as_of(None).of(REPOSITORY).heads() == {"main": later}


def test_what_was_written_since_is_fetched(origin: Origin, mirrors: Mirrors) -> None:
    view = mirrors.as_of(time.monotonic())
    view.of(REPOSITORY)
    later = origin.commit({"a.yaml": "two"})
    mirrors.expire()

    assert view.of(REPOSITORY).heads() == {"main": later}


def test_a_fetch_that_failed_makes_nothing_new(origin: Origin, mirrors: Mirrors) -> None:
    mirror = mirrors.of(REPOSITORY)
    before = mirror.heads()
    later = origin.commit({"a.yaml": "two"})
    away = origin.bare.rename(origin.bare.with_name("away.git"))
    asked = time.monotonic()
    with pytest.raises(UnavailableError):
        mirrors.as_of(asked).of(REPOSITORY)
    assert mirror.heads() == before

    away.rename(origin.bare)

    assert mirrors.as_of(asked).of(REPOSITORY).heads() == {"main": later}


def test_a_fetch_by_name_does_not_make_the_branches_new(origin: Origin, mirrors: Mirrors) -> None:
    mirror = mirrors.of(REPOSITORY)
    asked = time.monotonic()
    later = origin.commit({"a.yaml": "two"})
    assert mirror.fetch_commit(later)

    assert mirrors.as_of(asked).of(REPOSITORY).heads() == {"main": later}


def test_a_commit_that_comes_later_is_there_then(origin: Origin, mirrors: Mirrors) -> None:
    mirror = mirrors.of(REPOSITORY)
    first = mirror.heads()["main"]
    later = origin.commit({"a.yaml": "two"})
    assert not mirror.has(later)
    assert not mirror.is_ancestor(first, later)

    mirror.refresh()

    assert mirror.has(later)
    assert mirror.is_ancestor(first, later)


def test_after_many_fetches_git_tidies(
    origin: Origin, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.adapters.git.mirror._FETCHES_UNTIL_TIDY", 2)
    mirror = mirrors.of(REPOSITORY)
    mirror.refresh()
    folder = mirrors.directory / "acme" / "deploy.git"
    for name, value in (("fetch.unpackLimit", "1"), ("gc.autoPackLimit", "3")):
        subprocess.run(["git", "config", name, value], cwd=folder, check=True)
    for number in range(9):
        origin.commit({"a.yaml": str(number)})
        mirror.refresh()

    assert len(list((folder / "objects" / "pack").glob("*.pack"))) < 6
    assert mirror.commit(mirror.heads()["main"]).subject == "change a.yaml"


# --- what is kept, and who reads ---


def test_files_are_listed_by_what_differs(origin: Origin, mirror: Mirror, tmp_path: Path) -> None:
    commits = [mirror.heads()["main"]]
    commits += [
        origin.commit({"a.yaml": "two", "b/c.yaml": None}),
        origin.commit({"b/c.yaml/d": "a folder where a file was", "a.yaml": None}),
        origin.commit({"ü": "1"}),
    ]
    mirror.refresh()

    for commit in [*commits, *reversed(commits)]:
        alone = Mirrors(tmp_path / "mirrors", str(tmp_path / "web"), lambda _: "t").of(REPOSITORY)
        assert mirror.paths(commit) == alone.paths(commit)


def test_a_reader_that_was_killed_is_followed_by_another(
    origin: Origin, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = origin.commit({"a.yaml": "two"})
    mirror.refresh()
    blob = mirror.paths(first)["a.yaml"].blob
    with monkeypatch.context() as patched:
        broken_git(tmp_path, patched, "--batch-command", "kill -9 $$")
        with pytest.raises(UnavailableError):
            mirror.read(blob)

    assert list(mirror.read_all([blob, blob])) == [(blob, b"two")] * 2
    with pytest.raises(NotFoundError):
        list(mirror.read_all([blob, "1" * 40]))


def test_few_mirrors_have_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.adapters.git.objects.OPEN_LIMIT", 2)
    ended: list[Path] = []
    end = Reader.end

    def noted(self: Reader) -> None:
        ended.append(self.path)
        end(self)

    monkeypatch.setattr(Reader, "end", noted)
    readers = Readers()
    made = [Reader(tmp_path / str(number), readers) for number in range(3)]
    for one in made:
        subprocess.run(["git", "init", "-q", "--bare", str(one.path)], check=True)
    for one in (*made, made[0]):
        assert one.content("1" * 40) is None

    assert ended == [made[0].path, made[1].path]


def test_what_is_kept_has_a_bound() -> None:
    kept = Bounded[str, bytes](10, len)
    kept.put("a", b"1234")
    kept.put("b", b"1234")
    assert kept.get("a") == b"1234"
    kept.put("c", b"1234")

    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (b"1234", None, b"1234")
    kept.put("whole", b"0" * 100)
    assert (kept.get("a"), kept.newest()) == (None, ("whole", b"0" * 100))


def test_objects_are_read_however_many_files_are_open(mirror: Mirror) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(1100):  # `select` takes no descriptor from 1,024 on
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        blob = mirror.paths(mirror.heads()["main"])["a.yaml"].blob
        assert mirror.read(blob) == b"one"
