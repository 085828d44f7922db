"""The life of an environment ref: only publications of ours, whatever happens to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys import walk
from tests.journeys.conftest import Raise
from tests.world.images import build_image
from tests.world.stage import Stage

OFTEN = {"LOCKKEEPER_RECONCILE_SECONDS": "2"}


@pytest.fixture
def often(raise_stage: Raise) -> Iterator[Stage]:
    """A stage whose bot reconciles every two seconds."""
    with raise_stage(variables=OFTEN) as stage:
        yield stage


def push_digest(stage: Stage, environment: str, digest: str) -> str:
    """Somebody pushes a digest onto the environment ref itself."""
    ref, path = f"env/{environment}", walk.overlay(environment)
    text = stage.file(stage.ref(environment) or "", path)
    lines = [line for line in text.splitlines() if not line.strip().startswith("digest:")]
    return stage.dana.push(
        stage.manifests, ref, {path: "\n".join([*lines, f"    digest: {digest}", ""])}
    )


@pytest.mark.parametrize("told", ["by webhook", "by reconcile"])
def test_a_foreign_commit_with_an_unsealed_digest_is_replaced(often: Stage, told: str) -> None:
    walked = walk.to_prod(often)
    evil = build_image(seed=666)
    evil.push(often.hosts["prod"], "acme/payments")
    if told == "by reconcile":
        often.github.webhooks.drop("push")

    foreign = push_digest(often, "prod", evil.digest)

    often.wait_published("prod", walked.image.digest)
    tip = often.ref("prod") or ""
    git = often.manifests.git
    assert git.commit(tip).parents == (foreign,)
    assert git.commit(tip).tree == git.commit(walked.publications["prod"]).tree
    assert "Not ours: replaced" in walk.check(often, foreign, "failure", "prod")


def test_a_foreign_commit_without_new_digests_holds_until_unhold(stage: Stage) -> None:
    walked = walk.to_prod(stage)

    foreign = stage.dana.push(stage.manifests, "env/prod", {"base/extra.yaml": "kind: ConfigMap\n"})
    said = walk.check(stage, foreign, "failure", "prod")
    stage.dana.push(stage.manifests, "main", {"base/notes.md": "more\n"})
    walk.settled(stage)
    held_at = stage.ref("prod")
    done = stage.bot.command("unhold", "prod")

    assert "lockkeeper unhold prod" in said
    assert held_at == foreign
    assert done.returncode == 0, done.stderr
    git = stage.manifests.git
    stage.eventually(lambda: stage.ref("prod") != foreign, "a publication after unhold")
    assert git.commit(stage.ref("prod") or "").parents == (foreign,)
    assert stage.published("prod") == walked.image.digest


def test_a_ref_that_was_deleted_is_put_back(often: Stage) -> None:
    _, image = walk.to_dev(often)
    before = often.ref("dev")

    often.dana.delete_branch(often.manifests, "env/dev")

    often.wait_published("dev", image.digest)
    assert often.ref("dev") == before


def test_a_branch_that_stood_before_is_never_written(raise_stage: Raise) -> None:
    with raise_stage(start=False) as stage:
        stood = stage.dana.push(
            stage.manifests,
            "env/prod",
            {walk.overlay("prod"): walk.pinned(stage, "prod", "sha256:" + "a" * 64)},
        )
        stage.bot.start()

        said = walk.check(stage, walk.head(stage), "failure", "prod")
        walk.settled(stage)

        assert "lockkeeper adopt prod" in said
        assert stage.ref("prod") == stood


def forget_everything(stage: Stage) -> None:
    """The database is lost."""
    stage.bot.stop()
    for path in Path(stage.directory / "data").glob("lockkeeper.db*"):
        path.unlink()
    stage.bot.start()


def test_a_lost_database_holds_until_adopt(stage: Stage) -> None:
    walked = walk.to_prod(stage)
    walk.settled(stage)
    signatures = walk.signature_tags(stage, "prod")
    forget_everything(stage)
    walk.check(stage, walk.head(stage), "failure", "prod")
    walk.settled(stage)

    refs = {environment: stage.ref(environment) for environment in stage.hosts}
    signed = walk.signature_tags(stage, "prod")
    for environment in stage.hosts:
        done = stage.bot.command("adopt", environment)
        assert done.returncode == 0, done.stdout + done.stderr

    assert refs == walked.publications
    assert signed == signatures
    commit, image = walk.to_stage(stage, "v1.3.0", files={"more.py": "1\n"})
    assert stage.published("prod") == walked.image.digest
    walk.release(stage, "v1.3.0")
    pull = walk.promotion(stage, "prod", image)
    stage.rita.approve(pull)
    stage.dana.merge(pull)
    stage.wait_published("prod", image.digest)
    assert commit


def test_a_rewritten_default_branch_holds_its_environments(stage: Stage) -> None:
    _, image = walk.to_dev(stage)
    walk.settled(stage)
    before = stage.ref("dev")
    first = stage.manifests.git.text("rev-list", "--max-parents=0", walk.head(stage))

    stage.dana.push(stage.manifests, "main", {"new.md": "1\n"}, parent=first, force=True)

    said = walk.check(stage, walk.head(stage), "failure", "dev")
    walk.settled(stage)
    assert "no longer contains" in said
    assert stage.ref("dev") == before
    assert stage.published("dev") == image.digest
