"""What looks share is what each of them would have read by itself."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest
from git.cmd import Git
from hypothesis import HealthCheck, given, settings, strategies as st

from bot.adapters.git.mirror import Mirror
from bot.adapters.git.objects import Readers
from bot.adapters.store import MIGRATIONS, BlobStore, migrate, open_database
from bot.domain.environments import GitHubRepository
from bot.domain.history import FileWrite
from bot.facts.environment_at import files_at
from bot.facts.shelf import COMMITS, Line, Recent, Shelf
from bot.formats.environment_files import EnvironmentFiles
from bot.formats.image_names import names_of
from bot.formats.pipeline_file import read_pipeline
from tests.world.rows import PROOFS

PIPELINE = read_pipeline("""\
version: 1
environments:
  prod:
    on: { branches: [main] }
    image_repository: r.example/acme/{image}
    manifests: [envs/prod/**]
defaults: { source: "acme/{application}" }
applications: { payments: {} }
""")
PROD = PIPELINE.environments["prod"]
NAMES = names_of(PIPELINE, PROD)
WORKLOAD = "kind: Deployment\nspec: {containers: [{image: payments}]}\n"
OURS = "kind: Deployment\nspec: {containers: [{image: 'r.example/acme/payments:v1'}]}\n"
ENTRY = "images: [{name: payments, newName: r.example/acme/payments, newTag: v2}]\n"
EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
TEXTS = (
    *(WORKLOAD, OURS, ENTRY, "a: [\n", "kind: Service\n"),
    *(f"resources: [{one}]\n{ENTRY}" for one in ("app.yaml", "../../base", "../../base/app.yaml")),
    *("resources: [../deep/app.yaml]\n", "resources: [app.yaml]\n", "vars: [{name: x}]\n" + ENTRY),
    "x: r.example/acme/payments\nspec: {path: envs/prod, helm: {valueFiles: [values.yaml]}}\n",
    "image: {repository: r.example/acme/payments, tag: v1}\n",
)
LINKS = ("../../base", "../../base/app.yaml", "app.yaml", "/etc")
PATHS = (
    *("envs/prod/kustomization.yaml", "envs/prod/app.yaml", "envs/prod/values.yaml"),
    *("envs/prod/on.yaml", "base/kustomization.yaml", "base/app.yaml", "deep/app.yaml"),
    *("base", "else/where.yaml"),
)
START = [
    FileWrite("envs/prod/kustomization.yaml", "100644", b"resources: [on.yaml, ../../base]\n"),
    FileWrite("envs/prod/on.yaml", "120000", b"../../deep/app.yaml"),
    FileWrite("base/kustomization.yaml", "100644", b"resources: [app.yaml]\n"),
    FileWrite("base/app.yaml", "100644", OURS.encode()),
]
WRITES = st.builds(
    lambda path, text, link: FileWrite(path, "120000" if link else "100644", text),
    st.sampled_from(PATHS),
    st.one_of(st.none(), st.sampled_from(TEXTS).map(str.encode)),
    st.just(value=False),
) | st.builds(
    lambda path, to: FileWrite(path, "120000", to.encode()),
    st.sampled_from(("envs/prod/on.yaml", "base", "base/app.yaml")),
    st.sampled_from(LINKS),
)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    folder = tmp_path_factory.mktemp("mirror")
    return Mirror(GitHubRepository("acme", "deploy"), folder, "", lambda: "", Readers())


def read(mirror: Mirror, shelf: Shelf, tree: str) -> EnvironmentFiles:
    return files_at(shelf, None, mirror, 1, tree, PROD, NAMES)


@given(st.lists(st.lists(WRITES, min_size=1, max_size=2), min_size=2, max_size=5))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_shared_is_what_each_would_read(
    mirror: Mirror, steps: list[list[FileWrite]]
) -> None:
    shelf, seen = Shelf(), [mirror.build_tree(EMPTY, START, "")]
    files = {one.path: one for one in START}
    for step in steps:
        for one in step:
            files = {k: v for k, v in files.items() if not _clash(k, one.path)} | {one.path: one}
        there = [one for one in files.values() if one.content is not None]
        seen.append(mirror.build_tree(EMPTY, there, ""))

    for tree in [*seen, *reversed(seen)]:
        shared, alone = read(mirror, shelf, tree), read(mirror, Shelf(), tree)
        assert shared.readings == alone.readings
        assert shared.beyond == alone.beyond


def _clash(one: str, other: str) -> bool:
    """A path that is a file and a folder at once."""
    return one.startswith(f"{other}/") or other.startswith(f"{one}/")


def tree_of(mirror: Mirror, files: Mapping[str, str]) -> str:
    writes = [FileWrite(path, "100644", text.encode()) for path, text in files.items()]
    return mirror.build_tree(EMPTY, writes, "")


def test_what_is_different_elsewhere_is_read_by_nobody(mirror: Mirror) -> None:
    shelf, own = Shelf(), {"envs/prod/app.yaml": OURS, "envs/dev/app.yaml": OURS}
    before = read(mirror, shelf, tree_of(mirror, own))

    after = read(mirror, shelf, tree_of(mirror, {**own, "envs/dev/app.yaml": WORKLOAD}))

    assert after is before


def test_a_base_that_comes_into_being_is_read(mirror: Mirror) -> None:
    shelf, own = Shelf(), {"envs/prod/kustomization.yaml": "resources: [../../base]\n"}
    before = read(mirror, shelf, tree_of(mirror, own))
    base = {"base/kustomization.yaml": "resources: [app.yaml]\n", "base/app.yaml": OURS}

    after = read(mirror, shelf, tree_of(mirror, {**own, **base}))

    assert (len(before.remarks), len(after.remarks)) == (0, 1)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The git processes that are started, by their verbs."""
    started: list[str] = []
    execute = Git.execute

    def counted(self: Git, command: list[str], **options: object) -> object:
        started.append(command[1])
        return execute(self, command, **options)  # type: ignore[call-overload]  # whatever was asked for

    monkeypatch.setattr(Git, "execute", counted)
    return started


def test_many_files_are_read_by_few_processes(tmp_path: Path, processes: list[str]) -> None:
    fresh = Mirror(GitHubRepository("acme", "deploy"), tmp_path, "", lambda: "", Readers())
    base = {f"base/{n}/kustomization.yaml": "resources: [app.yaml]\n" for n in range(100)}
    base |= {f"base/{n}/app.yaml": OURS + f"# {n}\n" for n in range(100)}
    own = {
        f"envs/prod/{n}/kustomization.yaml": f"resources: [../../../base/{n}]\n{ENTRY}"
        for n in range(100)
    }
    tree = _imported(tmp_path, {**own, **base})
    other = _imported(tmp_path, {**own, **base, "envs/prod/x.yaml": OURS})
    shelf = Shelf()
    processes.clear()

    first = read(fresh, shelf, tree)
    assert (len(first.locations), processes) == (100, ["ls-tree", "cat-file"])
    second = read(fresh, shelf, other)
    assert (len(second.locations), processes[2:]) == (101, ["diff-tree"])
    assert read(fresh, shelf, tree) is first
    assert len(processes) == 3


def _imported(folder: Path, files: Mapping[str, str]) -> str:
    """A commit with many files, by one process."""
    lines = [
        "commit refs/heads/main",
        "committer D <d@example.com> 1 +0000",
        "data 1",
        "x",
        "deleteall",
    ]
    for path, text in files.items():
        lines += [f"M 100644 inline {path}", f"data {len(text.encode())}", text]
    git = ["git", "-C", str(folder)]
    said = "\n".join(lines).encode()
    subprocess.run([*git, "fast-import", "--quiet", "--force"], input=said, check=True)
    done = subprocess.run([*git, "rev-parse", "main"], capture_output=True, check=True)
    return done.stdout.decode().strip()


# --- what is kept for the next process ---


@pytest.fixture
def index(tmp_path: Path) -> Iterator[BlobStore]:
    database = open_database(f"sqlite:///{tmp_path / 'store.db'}")
    migrate(database, "store", MIGRATIONS)
    yield BlobStore(database, PROOFS)
    database.dispose()


def found_by(mirror: Mirror, index: BlobStore, tree: str) -> tuple[EnvironmentFiles, list[str]]:
    """What a process that knows nothing finds, and the blobs that it reads for that."""
    asked: list[str] = []
    read_all = mirror.read_all

    def noted(blobs: Collection[str]) -> Iterator[tuple[str, bytes]]:
        asked.extend(blobs)
        return read_all(blobs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mirror, "read_all", noted)
        return files_at(Shelf(), index, mirror, 1, tree, PROD, NAMES), asked


def test_the_next_process_reads_what_may_be_ours_alone(mirror: Mirror, index: BlobStore) -> None:
    others = {f"envs/prod/{n}.yaml": f"kind: Service # {n}\n" for n in range(20)}
    tree = tree_of(mirror, {**others, "envs/prod/app.yaml": OURS})

    first, read_at_first = found_by(mirror, index, tree)
    second, read_then = found_by(mirror, index, tree)

    assert (len(read_at_first), len(read_then)) == (21, 1)
    assert (second.readings, len(second.locations)) == (first.readings, 1)


@pytest.mark.parametrize("said", ["X'00'", "''", "X'0000000000'"])
def test_a_row_of_somebody_else_hides_no_file(mirror: Mirror, index: BlobStore, said: str) -> None:
    tree = tree_of(mirror, {"envs/prod/app.yaml": OURS})
    first, _ = found_by(mirror, index, tree)
    with index.database.begin() as connection:
        for change in ("said", "proof"):
            connection.exec_driver_sql(f"UPDATE lk_blob SET {change} = {said}")  # noqa: S608 - from above

    second, _ = found_by(mirror, index, tree)

    assert (second.readings, len(second.locations)) == (first.readings, 1)


def test_what_is_remembered_has_a_bound() -> None:
    recent = Recent[int, int](10)
    for number in range(1000):
        recent.put(number, number)
        recent.get(0)

    assert recent.get(0) == 0
    assert recent.get(999) == 999
    assert recent.get(900) is None


def test_environments_that_are_kept_have_a_bound(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.facts.shelf.FILES", 5)
    shelf = Shelf()
    trees = [tree_of(mirror, {"envs/prod/app.yaml": OURS + f"# {n}\n"}) for n in range(9)]
    for tree in trees:
        read(mirror, shelf, tree)
    same = [tree_of(mirror, {"envs/prod/app.yaml": OURS, f"{n}": ""}) for n in range(3)]
    for _ in range(COMMITS):
        for tree in same:
            read(mirror, shelf, tree)

    kept = list(shelf.files(Line(1, "prod", PROD.manifests, NAMES.identity)))
    assert len(kept) == 2  # each says something of one file, and is one itself
    assert set(kept[0].commits) == set(same)
