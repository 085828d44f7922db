"""What a plan keeps for the next one: it saves work, and never changes an answer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from bot.cli import checkout
from bot.cli.checkout import CheckoutTree, cache_folder
from bot.domain.environments import ImageId
from bot.formats.environment_files import EnvironmentFiles, read_environment
from bot.formats.image_names import names_of
from bot.formats.pipeline_file import read_pipeline

PIPELINE = read_pipeline("""\
version: 1
environments:
  prod:
    on: { branches: [main] }
    image_repository: r.example/acme/{image}
    manifests: [envs/prod/**]
defaults: { source: "acme/{application}" }
applications: { payments: {}, billing: {} }
""")
PROD = PIPELINE.environments["prod"]
FILES = {
    "envs/prod/payments/kustomization.yaml": (
        "resources: [app.yaml]\nimages: [{name: payments, newName: r.example/acme/payments}]\n"
    ),
    "envs/prod/payments/app.yaml": "spec: {containers: [{image: payments}]}\n",
    "envs/prod/billing/kustomization.yaml": (
        "resources: [../../../base, https://x.example/y]\n"
        "images: [{name: billing, newName: r.example/acme/billing}]\n"
    ),
    "envs/prod/billing/service.yaml": "kind: Service\n",
    "base/kustomization.yaml": "resources: []\n",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose files are old enough."""
    monkeypatch.setattr(checkout, "_MOMENT_NS", -(10**12))
    write(tmp_path / "checkout", FILES)
    return tmp_path / "checkout"


def write(root: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def plan(root: Path, application: str, cache: Path | None) -> tuple[EnvironmentFiles, list[str]]:
    """What is found, and the files that were read for it."""
    read: list[str] = []

    class Noting(CheckoutTree):
        def content(self, path: str) -> bytes:
            read.append(path)
            return super().content(path)

    tree = Noting(root, "prod", cache)
    names = names_of(PIPELINE, PROD, only=[ImageId(application, application)])
    found = read_environment(tree, PROD, names)
    tree.keep()
    return found, read


def test_the_next_plan_reads_what_may_speak_of_its_own(root: Path, tmp_path: Path) -> None:
    _, at_first = plan(root, "payments", tmp_path / "cache")
    found, then = plan(root, "billing", tmp_path / "cache")

    assert set(at_first) == set(FILES)
    assert set(then) == {"envs/prod/billing/kustomization.yaml"}
    assert found == plan(root, "billing", None)[0]
    assert [str(one.reason) for one in found.remarks] == [
        "`resources` names https://x.example/y, which is fetched: nobody reads it here"
    ]


@pytest.mark.parametrize("application", ["payments", "billing"])
@pytest.mark.parametrize(
    "change",
    [
        {"envs/prod/billing/service.yaml": "image: r.example/acme/payments\n"},
        {"envs/prod/payments/app.yaml": "spec: {containers: [{image: paymentz}]}\n"},
        {"base/kustomization.yaml": "resources: [z]\n"},
        {"base/kustomization.yaml": "resources: ][\n"},
        {"envs/prod/new.yaml": "image: r.example/acme/billing:v1\n"},
    ],
    ids=["another size", "the same size", "beside the globs", "broken", "new"],
)
def test_what_changed_is_read(
    root: Path, tmp_path: Path, application: str, change: Mapping[str, str]
) -> None:
    plan(root, application, tmp_path / "cache")
    write(root, change)

    found, read = plan(root, application, tmp_path / "cache")

    assert set(change) <= set(read)
    assert found == plan(root, application, None)[0]


def test_a_file_that_changed_a_moment_ago_is_not_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock may stand still while it is written again."""
    monkeypatch.setattr(checkout, "_MOMENT_NS", 2 * 10**9)
    plan(root, "payments", tmp_path / "cache")

    assert not (tmp_path / "cache").exists()


def test_a_time_that_was_put_back_is_seen(root: Path, tmp_path: Path) -> None:
    file = root / "envs/prod/payments/app.yaml"
    plan(root, "payments", tmp_path / "cache")
    before = file.stat()
    file.write_text("spec: {containers: [{image: paymentz}]}\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    found, _ = plan(root, "payments", tmp_path / "cache")

    assert found == plan(root, "payments", None)[0]


@pytest.mark.parametrize("content", [b"", b"\xff", b"\x92\xa1x\x80", b"\x80" * 10_000])
def test_a_cache_that_nobody_wrote_is_none(root: Path, tmp_path: Path, content: bytes) -> None:
    cache = tmp_path / "cache"
    plan(root, "payments", cache)
    (kept,) = cache.iterdir()
    kept.write_bytes(content)

    found, read = plan(root, "payments", cache)

    assert set(read) == set(FILES)
    assert found == plan(root, "payments", None)[0]


def test_what_other_code_found_does_not_count(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(root, "payments", tmp_path / "cache")
    monkeypatch.setattr(checkout, "_code", lambda: "another")

    assert set(plan(root, "payments", tmp_path / "cache")[1]) == set(FILES)


@pytest.mark.usefixtures("root")
def test_the_cache_is_the_persons_own_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkout, "KEPT_LIMIT", 2)
    cache = tmp_path / "cache"
    for number in range(4):
        write(tmp_path / str(number), FILES)
        plan(tmp_path / str(number), "payments", cache)

    assert len(list(cache.iterdir())) == 2
    assert cache.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in cache.iterdir()} == {0o600}


def test_without_a_place_nothing_is_kept(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    found, _ = plan(root, "payments", tmp_path / "file" / "cache")

    assert found == plan(root, "payments", None)[0]


def test_caches_are_where_the_desktop_says() -> None:
    assert cache_folder({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/lockkeeper/plans")
    assert cache_folder({"HOME": "/h"}) == Path("/h/.cache/lockkeeper/plans")
    assert cache_folder({"XDG_CACHE_HOME": "relative", "HOME": "/h"}) is None
    assert cache_folder({}) is None
