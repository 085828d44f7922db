"""What goes forward, what is late, what people have refused or taken back."""

from __future__ import annotations

from tests.journeys import walk
from tests.world.stage import Stage


def test_a_release_cut_from_an_older_commit_is_late(stage: Stage) -> None:
    older, _ = walk.to_dev(stage)
    _, newest = walk.to_stage(stage, "v1.3.0")

    stage.dana.push(stage.source, "release/v1.1.0", parent=older)

    walk.source_check(stage, older, "stage", "Superseded")
    walk.settled(stage)
    assert stage.checks(stage.source, older)["lockkeeper: payments -> stage"] == (
        "neutral",
        "Superseded",
    )
    assert stage.open_promotion("stage") is None
    assert stage.published("stage") == newest.digest


def test_a_promotion_that_was_reverted_is_not_proposed_again(stage: Stage) -> None:
    _, old = walk.to_dev(stage)
    commit, new = walk.to_dev(stage)

    stage.dana.push(
        stage.manifests,
        "revert",
        {walk.overlay("dev"): walk.pinned(stage, "dev", old.digest)},
    )
    stage.dana.merge(stage.dana.open_pull_request(stage.manifests, "revert"))
    stage.wait_published("dev", old.digest)
    stage.github.complete_checks(stage.source, commit)

    said = walk.source_check(stage, commit, "dev", "Not proposed again")
    walk.settled(stage)
    assert "taken back" in said
    assert stage.open_promotion("dev") is None
    assert stage.published("dev") == old.digest
    _, newer = walk.to_dev(stage)
    assert stage.published("dev") == newer.digest != new.digest


def test_a_pull_request_that_a_person_closed_is_not_opened_again(stage: Stage) -> None:
    commit, image = walk.to_dev(stage)
    pull = walk.propose_stage(stage, commit)
    stage.dana.close(pull)

    stage.github.complete_checks(stage.source, commit)

    said = walk.source_check(stage, commit, "stage", "Not proposed again")
    walk.settled(stage)
    assert f"pull request {pull.number}" in said
    assert stage.open_promotion("stage") is None
    newer = stage.commit("release/v1.2.0")
    built = stage.build(newer)
    stage.dana.push(stage.source, "develop", parent=newer)
    stage.wait_published("dev", built.digest)
    again = walk.promotion(stage, "stage", built)
    assert again.number != pull.number
    assert image.digest != built.digest


def test_a_newer_commit_updates_the_open_pull_request_in_place(stage: Stage) -> None:
    commit, image = walk.to_dev(stage)
    pull = walk.propose_stage(stage, commit)
    newer, built = walk.to_dev(stage)

    stage.dana.push(stage.source, "release/v1.2.0", parent=newer)

    updated = walk.promotion(stage, "stage", built)
    assert updated is pull
    assert image.digest not in walk.wished(stage, pull.head)
    assert newer[:7] in f"{pull.title} {pull.body}"
    assert stage.manifests.git.commit(pull.head).parents == (walk.head(stage),)


def test_an_approved_pull_request_stays_frozen(stage: Stage) -> None:
    _, image = walk.to_stage(stage)
    walk.release(stage)
    pull = walk.promotion(stage, "prod", image)
    stage.rita.approve(pull)
    approved = pull.head
    newer, _ = walk.to_stage(stage, "v1.3.0", files={"more.py": "1\n"})

    trigger = walk.release(stage, "v1.3.0")

    said = walk.source_check(stage, trigger, "prod", "Waits for the open pull request")
    walk.settled(stage)
    assert newer[:7] in said
    assert pull.head == approved
    assert "A newer build is available" in (pull.body or "")
    stage.dana.merge(pull)
    stage.wait_published("prod", image.digest)


def test_a_merge_behind_a_look_opens_no_second_pull_request(stage: Stage) -> None:
    commit, image = walk.to_dev(stage)
    pull = walk.propose_stage(stage, commit)
    walk.settled(stage)
    listing = f"/repos/{stage.manifests.full_name}/pulls"
    stage.github.just_before("GET", listing, lambda: stage.dana.merge(pull))

    stage.github.complete_checks(stage.source, commit)

    stage.wait_published("stage", image.digest)
    walk.settled(stage)
    assert stage.open_promotion("stage") is None
    assert [p for p in stage.manifests.pulls.values() if "/stage/" in p.head_ref] == [pull]
