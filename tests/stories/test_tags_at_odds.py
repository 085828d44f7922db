"""Git tags that ask: with candidates, build metadata, many of them, moved and deleted ones."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.source_refs import SourceRef
from tests.stories.test_git_tags import TAGS, built, merge, said, tag, title_of
from tests.world.driver import Driver, driven

pytestmark = pytest.mark.slow


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path, pipeline=TAGS) as up:
        up.look_first()
        yield up


def test_a_release_on_the_candidate_s_commit_is_not_passed_over_in_silence(
    driver: Driver,
) -> None:
    """At least the check says that the version is not written; *Published* is of the candidate."""
    commit = built(driver)
    tag(driver, "v1.0.0-rc.1", commit)
    merge(driver)
    tag(driver, "v1.0.0", commit)

    checks = [r for r in driver.stage.source.check_runs.values() if r.commit == commit]
    texts = " ".join(f"{r.output.get('title')} {r.output.get('summary')}" for r in checks)
    assert "v1.0.0" in texts.replace("v1.0.0-rc.1", "")


def test_a_candidate_after_its_release_is_late(driver: Driver) -> None:
    """v1.0.0 was put on rc.1's commit and counts: rc.2 comes after it and is older."""
    first, second = built(driver), built(driver)
    tag(driver, "v1.0.0-rc.1", first)
    merge(driver)
    tag(driver, "v1.0.0", first)
    if title_of(driver):
        merge(driver)

    tag(driver, "v1.0.0-rc.2", second)

    assert title_of(driver) is None


@pytest.mark.parametrize("name", ["v1.2.0+build.5", "v1.2.0-rc.1+exp.sha.5114f85"])
def test_a_version_with_build_metadata_is_delivered(driver: Driver, name: str) -> None:
    """No image tag holds a plus (OCI distribution), and SemVer allows it."""
    commit = built(driver)
    tag(driver, name, commit)
    merge(driver)

    assert driver.shown("stage") is not None, driver.ran[-3:]


def test_an_old_tag_that_moves_there_and_back_asks_for_nothing(tmp_path: Path) -> None:
    """It stood before the first look, so it asks for nothing, whatever happens to it."""
    with driven(tmp_path, pipeline=TAGS) as driver:
        stage = driver.stage
        commit = stage.commit("develop")
        digest = driver.build(stage.source, commit)
        stage.dana.tag(stage.source, "v9.0.0", commit)
        driver.look_first()
        driver.run(driver.propose("dev"))
        newer = built(driver)
        stage.dana.tag(stage.source, "v9.0.0", newer, force=True)
        driver.run(driver.propose("stage"))
        stage.dana.tag(stage.source, "v9.0.0", commit, force=True)
        driver.run(driver.propose("stage"))

        assert title_of(driver) is None
        assert digest


@pytest.mark.parametrize("is_one", [True, False])
def test_thirty_newer_tags_that_are_never_built_starve_no_ready_one(
    driver: Driver,
    is_one: bool,  # noqa: FBT001 - a table's column
) -> None:
    """Nightlies that CI did not build stand for ever: the ready release before them goes on."""
    commit = built(driver)
    driver.stage.dana.tag(driver.stage.source, "v1.0.0", commit)
    source, unbuilt = driver.stage.source, driver.stage.commit("develop")
    for number in range(31):
        if not is_one:
            unbuilt = driver.stage.dana.commit(source, {"n": f"{number}\n"}, parents=(unbuilt,))
        driver.stage.dana.tag(source, f"v1.1.0-nightly.{number}", unbuilt)

    driver.run(driver.propose("stage"))

    assert title_of(driver) == f"Promote payments to stage: tag v1.0.0 at {commit[:7]}"


def test_a_tag_that_nobody_could_build_starves_nothing_for_ever(driver: Driver) -> None:
    """A higher version than all others, by a slip (v11 for v1.1): the lower ones go on."""
    slip = driver.stage.commit("develop")
    driver.stage.dana.tag(driver.stage.source, "v11.0.0", slip)
    commit = built(driver)

    tag(driver, "v1.1.0", commit)

    assert title_of(driver) == f"Promote payments to stage: tag v1.1.0 at {commit[:7]}"


def test_a_tag_on_a_commit_that_no_branch_has(driver: Driver) -> None:
    stage = driver.stage
    commit = stage.dana.push(stage.source, "gone", {"x": "1\n"}, parent=built(driver))
    digest = driver.build(stage.source, commit)
    stage.dana.push(stage.source, "develop", parent=commit)
    driver.run(driver.propose("dev"))
    assert driver.shown("dev") == digest
    base = stage.source.git.commit(commit).parents[0]
    stage.dana.push(stage.source, "develop", parent=base, force=True)
    stage.dana.delete_branch(stage.source, "gone")

    tag(driver, "v1.0.0", commit)

    assert title_of(driver) == f"Promote payments to stage: tag v1.0.0 at {commit[:7]}"


def test_tags_of_files_trees_and_tags_stop_no_other(driver: Driver) -> None:
    stage, commit = driver.stage, built(driver)
    git = stage.source.git
    git.run("update-ref", "refs/tags/v0.1.0", git.write_blob("a key\n"))
    git.run("update-ref", "refs/tags/v0.2.0", git.commit(commit).tree)
    signature = stage.dana.account.signature(stage.github.state.clock())
    inner = git.write_tag(commit, "v1.0.0-inner", signature)
    git.run("update-ref", "refs/tags/v1.0.0", git.write_tag(inner, "v1.0.0", signature))
    stage.dana.push(stage.source, "moves", parent=commit)  # what git did alone is told by this

    driver.run(driver.propose("stage"))

    assert title_of(driver) == f"Promote payments to stage: tag v1.0.0 at {commit[:7]}"


def test_a_branch_and_a_tag_of_one_name_stay_two(tmp_path: Path) -> None:
    both = TAGS.replace('tags: ["v*"]', 'branches: ["v*"], tags: ["v*"]')
    with driven(tmp_path, pipeline=both) as driver:
        driver.look_first()
        first, second = built(driver), built(driver)
        driver.stage.dana.push(driver.stage.source, "v1.0.0", parent=first)
        driver.run(driver.propose("stage"))
        merge(driver)
        tag(driver, "v1.0.0", second)

        assert title_of(driver) == f"Promote payments to stage: tag v1.0.0 at {second[:7]}"


def test_tags_that_differ_by_their_v_alone_are_one_version() -> None:
    assert not SourceRef("1.2.0", is_tag=True).is_older_than(SourceRef("v1.2.0", is_tag=True))
    assert SourceRef("payments-v1.9.0").is_older_than(SourceRef("payments-v1.10.0"))


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("payments@1.9.0", "payments@1.10.0"),
        ("@acme/payments@1.9.0", "@acme/payments@1.10.0"),
        ("release-2026.3.9", "release-2026.3.10"),
        ("release/2026-3-9", "release/2026-3-10"),
        ("release/2026-9-1", "release/2026-10-1"),
        ("v1.0.0-rc1", "v1.0.0-rc2"),
        ("v1.0.0-rc9", "v1.0.0"),
        ("v1.0.0-alpha", "v1.0.0-alpha.1"),
        ("v1.0.0-alpha.beta", "v1.0.0-beta"),
        ("v1.9", "v1.10"),
    ],
)
def test_the_usual_names_are_ordered(older: str, newer: str) -> None:
    assert SourceRef(older, is_tag=True).is_older_than(SourceRef(newer, is_tag=True))
    assert not SourceRef(newer, is_tag=True).is_older_than(SourceRef(older, is_tag=True))


def test_an_older_version_on_a_newer_commit_says_superseded(driver: Driver) -> None:
    older, newer = built(driver), built(driver)
    tag(driver, "v2.0.0", older)
    merge(driver)
    tag(driver, "v1.9.9", newer)

    assert title_of(driver) is None
    assert said(driver, newer) == "Superseded"


def test_a_deleted_tag_s_open_pull_request_does_not_go_on_by_itself(tmp_path: Path) -> None:
    """A tag that is taken back before the merge: nothing may be merged by the bot for it."""
    auto = TAGS.replace("    from: dev\n", "    from: dev\n    merge: auto\n")
    with driven(tmp_path, pipeline=auto) as driver:
        driver.look_first()
        stage, commit = driver.stage, built(driver)
        stage.github.protect(stage.manifests, "main", approvals=1)
        tag(driver, "v1.0.0", commit)
        assert title_of(driver) is not None
        stage.dana.delete_tag(stage.source, "v1.0.0")
        stage.github.protect(stage.manifests, "main", approvals=0)

        driver.run(driver.propose("stage"))
        driver.run(driver.deliver("stage"), driver.publish("stage"))

        assert driver.shown("stage") is None


def test_a_tag_that_is_older_than_an_open_pull_request_does_not_take_it_back(
    driver: Driver,
) -> None:
    older, newer = built(driver), built(driver)
    tag(driver, "v1.1.0", newer)
    tag(driver, "v1.0.2", older)

    assert title_of(driver) == f"Promote payments to stage: tag v1.1.0 at {newer[:7]}"


def test_two_new_tags_on_one_commit_bring_the_higher_version(driver: Driver) -> None:
    commit = built(driver)
    driver.stage.dana.tag(driver.stage.source, "v1.0.0", commit)
    driver.stage.dana.tag(driver.stage.source, "v1.0.0-rc.3", commit)
    driver.run(driver.propose("stage"))
    assert title_of(driver) == f"Promote payments to stage: tag v1.0.0 at {commit[:7]}"


def test_many_late_tags_of_many_commits_do_not_eat_the_budget(driver: Driver) -> None:
    """Somebody pushes the tags of the old repository: none of them asks, few are worth a check."""
    stage = driver.stage
    tag(driver, "v2.0.0", built(driver))
    merge(driver)
    source = stage.source
    signature = stage.dana.account.signature(stage.github.state.clock())
    tip = source.head("develop") or ""
    for number in range(60):
        tree = source.git.with_files(source.git.commit(tip).tree, {"n": f"{number}\n"})
        tip = source.git.write_commit(tree, (tip,), "Old", signature)
        stage.dana.tag(source, f"v1.0.{number}", tip)
    before = len(stage.github.requests)

    driver.run(driver.propose("stage"))

    made = [r for r in stage.github.requests[before:] if r[0] in {"POST", "PATCH"}]
    assert len(made) <= 30, len(made)


def test_a_thousand_new_tags_cost_no_more_than_the_newest(driver: Driver) -> None:
    """Only thirty are ever looked at: the others need not be read one by one."""
    stage, commit = driver.stage, built(driver)
    source = stage.source
    lines = "".join(f"create refs/tags/v0.{n}.0 {commit}\n" for n in range(1000))
    subprocess.run(
        ["git", "-C", str(source.git.path), "update-ref", "--stdin"],
        input=lines.encode(),
        check=True,
    )
    stage.dana.push(source, "moves", parent=commit)
    begun = time.process_time()
    driver.run(driver.propose("stage"))

    assert title_of(driver) == f"Promote payments to stage: tag v0.999.0 at {commit[:7]}"
    assert time.process_time() - begun < 10
