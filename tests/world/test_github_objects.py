"""What the local GitHub stores without git is what git would have stored."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from tests.world.github.gitstore import EMPTY_TREE, BareRepository, GitError, Signature
from tests.world.github.looseobjects import identity

WHEN = datetime(2026, 8, 1, 12, tzinfo=UTC)
DANA = Signature("Dana", "dana@example.com", WHEN)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@pytest.fixture
def store(tmp_path: Path) -> BareRepository:
    return BareRepository(tmp_path / "one.git", "main")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> BareRepository:
    return BareRepository(tmp_path_factory.mktemp("git") / "one.git", "main")


def test_objects_have_the_names_that_git_gives(store: BareRepository) -> None:
    blob = store.write_blob("bytes\0and more\n")
    tree = store.with_files(None, {"a/b": "1", "a.b": "2", "a0": "3", "é": "4", "x/y/z": "5"})
    listed = store.run("ls-tree", tree)

    assert store.run("hash-object", "--stdin", stdin=b"bytes\0and more\n").decode().strip() == blob
    assert store.run("mktree", stdin=listed).decode().strip() == tree
    store.run("fsck", "--strict")


@given(name=NAMES, message=NAMES)
def test_commits_have_the_names_that_git_gives(
    shared: BareRepository, name: str, message: str
) -> None:
    said = identity(name, "d@e", WHEN)
    if said.startswith(" <"):
        return  # git refuses a name of which nothing is left
    environment = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", name), ("EMAIL", "d@e"), ("DATE", "1785585600 +0000"))
    }

    ours = shared.write_commit(EMPTY_TREE, (), message, Signature(name, "d@e", WHEN))
    theirs = shared.run("commit-tree", EMPTY_TREE, stdin=message.encode(), environment=environment)

    assert theirs.decode().strip() == ours


def test_every_walk_is_that_of_git(store: BareRepository) -> None:
    """A line, a fork, a merge, and the criss-cross that has two merge bases."""
    commits = [store.write_commit(EMPTY_TREE, (), "root", DANA)]
    for number, before in enumerate([(0,), (0,), (1,), (1, 2), (2, 1), (4,), (5, 6), (3, 7)]):
        parents = tuple(commits[one] for one in before)
        commits.append(store.write_commit(EMPTY_TREE, parents, f"{number}", DANA))

    for one in commits:
        for other in commits:
            bases = store.text("merge-base", "--all", one, other).split()
            flags = ("--reverse", "--topo-order")
            assert store.merge_base(one, other) in bases
            assert (
                store.history(one, f"^{other}") == store.text("rev-list", one, f"^{other}").split()
            )
            assert (
                store.history(one, f"^{other}", *flags)
                == store.text("rev-list", one, f"^{other}", *flags).split()
            )


def test_a_ref_moves_from_what_it_was_and_git_sees_it(store: BareRepository) -> None:
    first, second = (store.write_commit(EMPTY_TREE, (), text, DANA) for text in "ab")
    store.write_ref("refs/heads/env/dev", first, None)

    with pytest.raises(GitError, match="expected None"):
        store.write_ref("refs/heads/env/dev", second, None)
    with pytest.raises(GitError, match="exists"):
        store.write_ref("refs/heads/env", second, None)
    with pytest.raises(GitError, match="exists"):
        store.write_ref("refs/heads/env/dev/x", second, None)
    with pytest.raises(GitError, match="may not stand there"):
        store.write_ref("refs/heads/a..b", second, None)
    with pytest.raises(GitError, match="may not stand there"):
        store.write_ref("refs/heads/c", EMPTY_TREE, None)

    assert store.text("for-each-ref", "--format=%(refname) %(objectname)").split() == [
        "refs/heads/env/dev",
        first,
    ]
    store.write_ref("refs/heads/env/dev", None, first)
    store.write_ref("refs/heads/env", second, None)
    assert store.text("rev-parse", "refs/heads/env") == second


def test_packed_refs_and_objects_are_found_as_well(store: BareRepository) -> None:
    tree = store.with_files(None, {"a": "1", "b/c": "2"})
    first = store.write_commit(tree, (), "first", DANA)
    store.write_ref("refs/heads/main", first, None)
    store.run("gc", "--quiet", "--prune=now")
    anew = BareRepository.__new__(BareRepository)
    anew.__dict__.update(store.__dict__, _commits={}, _kinds={}, _listings={}, _refs=None)
    anew.__dict__["_objects"] = type(store._objects)(store.path)  # noqa: SLF001 - what it remembers is in the way

    second = anew.write_commit(tree, (first,), "second", DANA)
    anew.write_ref("refs/heads/main", second, first)

    assert anew.history(second, f"^{first}") == [second]
    assert anew.is_ancestor(first, second)
    assert [one.path for one in anew.entries(first, recursive=True)] == ["a", "b", "b/c"]
    assert anew.text("rev-parse", "main") == second


def test_a_difference_is_what_git_says_of_each_file(store: BareRepository) -> None:
    old = store.with_files(None, {"gone": "a\n", "kept": "1\n2\n", "binary": b"\0\1", "same": "x"})
    new = store.with_files(old, {"gone": None, "kept": "1\n3\n", "binary": b"\0\2", "new/é": "n\n"})
    linked = store.edit_tree(new, {"kept": ("120000", store.write_blob("same"))})

    found = {one.path: one for one in store.difference(old, new)}

    assert {path: one.status for path, one in found.items()} == {
        "gone": "removed",
        "kept": "modified",
        "binary": "modified",
        "new/é": "added",
    }
    assert found["kept"].patch == "@@ -1,2 +1,2 @@\n 1\n-2\n+3\n"
    assert (found["kept"].additions, found["kept"].deletions) == (1, 1)
    assert found["binary"].patch is None
    assert found["gone"].blob == store.write_blob("a\n")
    assert [one.path for one in store.difference(new, linked)] == ["kept"]
    assert store.difference(new, new) == []
