"""The bot merges only what it wrote itself."""

from __future__ import annotations

from tests.journeys import walk
from tests.journeys.conftest import Raise
from tests.world.stage import Stage

BRANCH = "lockkeeper/dev/payments"


def test_a_commit_on_top_of_the_bots_is_not_merged(stage: Stage) -> None:
    stage.github.protect(stage.manifests, "main", checks=("lint",))
    commit = stage.commit("develop")
    image = stage.build(commit)
    pull = walk.promotion(stage, "dev", image)

    extra = stage.dana.push(
        stage.manifests, BRANCH, {walk.overlay("prod"): walk.pinned(stage, "prod", image.digest)}
    )
    said = walk.check(stage, extra, "failure")
    stage.manifests.rules.clear()
    stage.github.complete_checks(stage.source, commit)
    walk.settled(stage)

    assert "dana" in said
    assert "is not Lockkeeper's" in said
    assert not pull.merged
    assert stage.published("dev") is None


def test_a_commit_before_the_bots_check_is_not_merged(raise_stage: Raise) -> None:
    with raise_stage() as stage:
        stage.github.protect(stage.manifests, "main", checks=("lint",))
        stage.github.webhooks.hold()
        commit = stage.commit("develop")
        stage.build(commit)
        stage.github.webhooks.release()
        pull = stage.eventually(lambda: stage.open_promotion("dev"), "a promotion to dev")

        extra = stage.dana.push(stage.manifests, BRANCH, {"notes.md": "mine\n"})
        stage.manifests.rules.clear()
        walk.check(stage, extra, "failure")
        walk.settled(stage)

        assert pull.head == extra
        assert not pull.merged


def test_a_branch_that_somebody_made_before_is_not_merged_with_its_commits(stage: Stage) -> None:
    mine = stage.dana.push(stage.manifests, BRANCH, {"evil.yaml": "kind: Evil\n"})

    _, image = walk.to_dev(stage)

    git = stage.manifests.git
    assert not git.is_ancestor(mine, walk.head(stage))
    assert "evil.yaml" not in git.text("ls-tree", "--name-only", walk.head(stage)).splitlines()
    assert image.digest in walk.wished(stage, walk.head(stage))


def test_a_pull_request_that_somebody_opened_from_the_bots_branch_is_not_merged(
    stage: Stage,
) -> None:
    stage.dana.push(stage.manifests, BRANCH, {"evil.yaml": "kind: Evil\n"})
    pull = stage.dana.open_pull_request(stage.manifests, BRANCH)
    commit = stage.commit("develop")
    stage.build(commit)
    walk.settled(stage)

    assert not pull.merged
    assert stage.published("dev") is None
    said = walk.source_check(stage, commit, "dev", "Waits for the open pull request")
    assert "edited by somebody else" in said
