"""What a bot meets after years: histories that are longer than any window."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.git.mirror import Mirror
from bot.adapters.github.api import GitHubApi
from bot.domain.environments import ImageId
from bot.domain.jobs import Failed
from bot.domain.oci import Digest
from bot.facts import resolution as resolve
from bot.facts.snapshot import look
from bot.reconcilers.operator import Request, unhold
from tests.world.driver import Driver, driven

pytestmark = pytest.mark.slow

DEV = "envs/dev/kustomization.yaml"


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path) as up:
        up.look_first()
        yield up


def merges_of_others(driver: Driver, path: str, count: int) -> None:
    """So many commits on the default branch that change another file."""
    git = driver.stage.manifests.git
    tip = driver.stage.manifests.head("main")
    who, tip_line = "committer Dana <dana@example.com>", f"from {tip}\n"
    lines = [
        f"commit refs/heads/main\n{who} {1790000000 + i} +0000\ndata 1\nX\n"
        f"{'' if i else tip_line}M 100644 inline {path}\ndata 5\nn: {i % 9}\n"
        for i in range(count)
    ]
    subprocess.run(
        ["git", "-C", str(git.path), "fast-import", "--quiet", "--force"],
        input="\n".join(lines).encode(),
        check=True,
    )
    git.forget_refs()


@pytest.mark.parametrize("path", ["envs/prod/other.yaml", "elsewhere.yaml"])
def test_a_digest_that_1500_merges_of_others_follow_is_delivered(driver: Driver, path: str) -> None:
    stage = driver.stage
    digest = driver.build(stage.source, stage.commit("develop"))
    driver.run(driver.propose("dev"))
    merges_of_others(driver, path, 1500)

    driver.ran.clear()
    driver.run(driver.deliver("dev"), driver.publish("dev"))

    assert not [outcome for _, outcome in driver.ran if isinstance(outcome, Failed)]
    assert driver.shown("dev") == digest


def test_a_digest_that_was_published_long_ago_counts_for_from(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "_PUBLICATIONS", 1)
    stage = driver.stage
    first = stage.commit("develop")
    digest = driver.build(stage.source, first)
    driver.run(driver.propose("dev"))
    for _ in range(2):
        driver.build(stage.source, stage.commit("develop"))
        driver.run(driver.propose("dev"))

    view = look(driver.ports, stage.manifests.id)
    dev, image = view.environment("dev"), ImageId("payments", "payments")

    assert resolve.is_published(view, dev, image, Digest(digest))
    assert not resolve.is_published(view, dev, ImageId("billing", "payments"), Digest(digest))
    assert not resolve.is_published(view, dev, image, Digest(f"sha256:{'0' * 64}"))


def test_a_record_alone_shows_nothing(driver: Driver) -> None:
    """Whoever writes rows cannot make a digest count: what a publication shows, git says."""
    stage = driver.stage
    driver.build(stage.source, stage.commit("develop"))
    driver.run(driver.propose("dev"))
    view = look(driver.ports, stage.manifests.id)
    other, image = Digest(f"sha256:{'0' * 64}"), ImageId("payments", "payments")
    tip = stage.ref("dev") or ""
    now = driver.ports.clock.now()
    for commit in (tip, stage.manifests.head("main") or "", "f" * 40):
        driver.ports.memory.record_shown(view.scope("dev"), commit, [(image, other)], now)

    assert not resolve.is_published(view, view.environment("dev"), image, other)
    assert isinstance(view.history, Mirror)


def test_a_foreign_push_between_record_and_ref_heals(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies after the record and before the ref moves; somebody pushes to the ref."""
    stage = driver.stage
    digest = driver.build(stage.source, stage.commit("develop"))
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.manifests, "main", {"envs/dev/note.yaml": "a: 1\n"})

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(GitHubApi, "set_environment_ref", die)
        with pytest.raises(KeyboardInterrupt):
            driver.run(driver.publish("dev"))
    stage.dana.push(stage.manifests, "env/dev", {"README.md": "hello\n"}, message="By hand")

    driver.ran.clear()
    driver.run(driver.publish("dev"))
    (said,) = [outcome for _, outcome in driver.ran]
    assert isinstance(said, Failed)
    assert "a foreign commit on env/dev" in said.summary

    unhold(Request(driver.ports, ("dev",), "ops", lambda _key: False))
    driver.run(driver.publish("dev"))
    assert driver.shown("dev") == digest
    assert "note.yaml" in stage.manifests.git.text("ls-tree", "-r", "--name-only", "env/dev")
