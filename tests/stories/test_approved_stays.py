"""The pull request survives real rules of branches: updated, queued, overtaken in its own file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.jobs import JobKind
from bot.formats.webhook import WebhookHint
from bot.reconcilers.intake import intake
from tests.stories.test_holds import check, delivered, in_stage, promoted, ready
from tests.world.driver import Driver, driven
from tests.world.github.gitstore import FileChanges
from tests.world.github.people import User
from tests.world.github.records import PullRequest
from tests.world.stage import PIPELINE

pytestmark = pytest.mark.slow


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path) as up:
        up.look_first()
        yield up


def update_branch(driver: Driver, pull: PullRequest, who: User, *, adds: str = "") -> str:
    """Somebody presses *Update branch*; with ``adds`` they merge by hand, and add a line."""
    stage, main = driver.stage, driver.stage.manifests.head("main") or ""
    git = stage.manifests.git
    tree = git.merged_tree(main, pull.head)
    assert tree
    if adds:
        tree = git.with_files(tree, {"envs/stage/more.yaml": adds})
    signature = who.account.signature(stage.github.clock())
    commit = git.write_commit(tree, (pull.head, main), "Merge branch 'main'", signature)
    return who.push(stage.manifests, pull.head_ref, parent=commit)


def prod(driver: Driver) -> PullRequest:
    """An open promotion to prod."""
    stage = driver.stage
    in_stage(driver)
    release = stage.dana.open_pull_request(stage.source, "release/v1", base="main", title="R")
    stage.dana.merge(release, "merge")
    driver.run(driver.propose("prod"))
    found = stage.open_promotion("prod")
    assert found is not None
    return found


def into_prod(driver: Driver) -> str | None:
    driver.run(driver.deliver("prod"), driver.publish("prod"))
    return driver.shown("prod")


def test_update_branch_leaves_the_promotion_the_bot_s(driver: Driver) -> None:
    stage, digest = driver.stage, ready(driver)
    pull = promoted(driver)
    stage.dana.push(stage.manifests, "main", {"README.md": "x\n"})
    update_branch(driver, pull, stage.dana)
    head = pull.head

    driver.run(driver.answer(str(pull.number)), driver.propose("stage"))

    assert check(driver, pull.head)[0] == "success"
    assert pull.head == head, "nothing has to be written anew"
    stage.dana.merge(pull)
    delivered(driver)
    assert driver.shown("stage") == digest


def test_what_is_added_to_an_update_is_somebody_s(driver: Driver) -> None:
    ready(driver)
    pull = promoted(driver)
    driver.stage.dana.push(driver.stage.manifests, "main", {"README.md": "x\n"})
    update_branch(driver, pull, driver.stage.dana, adds="kind: ConfigMap\n")

    driver.run(driver.answer(str(pull.number)))

    assert check(driver, pull.head) == ("failure", "Edited by somebody else")


def test_an_approval_before_update_branch_counts_also_of_who_pressed_it(driver: Driver) -> None:
    stage, pull = driver.stage, prod(driver)
    stage.rita.approve(pull)
    stage.dana.push(stage.manifests, "main", {"README.md": "x\n"})
    update_branch(driver, pull, stage.rita)

    stage.dana.merge(pull)

    assert into_prod(driver) is not None


def test_an_approval_of_other_digests_does_not_count(driver: Driver) -> None:
    stage, pull = driver.stage, prod(driver)
    stage.rita.approve(pull)
    newer = in_stage(driver, "release/v2")
    release = stage.dana.open_pull_request(stage.source, "release/v2", base="main", title="R2")
    stage.dana.merge(release, "merge")
    driver.heard(stage.rita, pull, "/update")

    stage.dana.merge(pull)

    assert into_prod(driver) is None
    assert newer


def test_what_others_merge_into_its_file_rewrites_no_head(driver: Driver) -> None:
    """Of many applications in one file each merge moved the heads of all the others."""
    stage, digest = driver.stage, ready(driver)
    pull = promoted(driver)
    head, path = pull.head, "envs/stage/kustomization.yaml"
    before = stage.file(stage.manifests.head("main") or "", path)
    stage.dana.push(stage.manifests, "main", {path: f"# a note of somebody's\n{before}\n"})

    driver.run(driver.propose("stage"))

    assert pull.head == head
    stage.dana.merge(pull)
    delivered(driver)
    assert driver.shown("stage") == digest


def test_a_head_that_git_cannot_merge_is_written_anew(driver: Driver) -> None:
    stage = driver.stage
    ready(driver)
    pull = promoted(driver)
    head, path = pull.head, "envs/stage/kustomization.yaml"
    before = stage.file(stage.manifests.head("main") or "", path)
    moved = before.replace("    newName:", "    newTag: none\n    newName:")
    stage.dana.push(stage.manifests, "main", {path: moved})

    driver.run(driver.propose("stage"))

    assert pull.head != head
    assert check(driver, pull.head)[0] == "success"


def test_a_merge_queue_is_entered_and_waited_for(driver: Driver) -> None:
    stage = driver.stage
    commit = stage.commit("develop")
    driver.build(stage.source, commit)
    stage.github.protect(stage.manifests, "main", merge_queue=True)

    driver.run(driver.propose("dev"))

    pull = stage.open_promotion("dev")
    assert pull is not None
    assert [entry.pull for entry in stage.manifests.queue] == [pull]
    name = "lockkeeper: payments -> dev"
    assert stage.checks(stage.source, commit)[name][1] == "In the merge queue"
    driver.run(driver.propose("dev"))
    assert len(stage.manifests.queue) <= 1  # it is not entered twice
    assert pull.merged  # its group got the check meanwhile


def test_a_rule_of_up_to_date_branches_is_the_bot_s_to_satisfy(driver: Driver) -> None:
    stage = driver.stage
    commit = stage.commit("develop")
    digest = driver.build(stage.source, commit)
    stage.github.protect(stage.manifests, "main", approvals=1)
    driver.run(driver.propose("dev"))
    pull = stage.open_promotion("dev")
    assert pull is not None
    before = pull.head
    stage.github.protect(stage.manifests, "main", up_to_date=True)
    stage.manifests.rules["main"].pull_request = False
    stage.dana.push(stage.manifests, "main", {"README.md": "x\n"})

    driver.run(driver.propose("dev"))
    assert pull.head != before
    name = "lockkeeper: payments -> dev"
    assert stage.checks(stage.source, commit)[name][1] == "Brought up to date"
    driver.run(driver.propose("dev"))

    assert pull.merged
    driver.run(driver.publish("dev"))
    assert driver.shown("dev") == digest


def test_a_body_that_somebody_edited_says_nothing_about_who_closed(driver: Driver) -> None:
    """What a pull request asked for stands in the bot's record of its head."""
    stage = driver.stage
    ready(driver)
    pull = promoted(driver)
    stage.dana.edit(pull, body="I cleaned the description up")
    stage.dana.close(pull)

    driver.run(driver.propose("stage"))

    assert stage.open_promotion("stage") is None
    stage.dana.reopen(pull)
    driver.run(driver.propose("stage"))
    assert "lockkeeper:promotion" in (pull.body or "")


def test_the_commit_says_what_is_lacking_and_when_nothing_is(driver: Driver) -> None:
    """A review changes what the promotion waits for, and so its check."""
    stage, pull = driver.stage, prod(driver)
    source = stage.source.head("main") or ""

    def said() -> str:
        name = "lockkeeper: payments -> prod"
        runs = stage.source.check_runs.values()
        [run] = [r for r in runs if r.commit == source and r.name == name]
        return str(run.output["summary"])

    assert "1 approval of acme/release-managers and a merge" in said().replace("`", "")
    stage.dana.approve(pull)  # who is in no team
    hint = WebhookHint("pull_request_review", "submitted", "acme/deploy", pull_request=pull.number)
    intake(driver.ports, hint)
    driver.run(*[job for job in driver.queue.put_ever[-4:] if job.kind is JobKind.PROPOSE])
    assert "0 of 1 required approvals" in said()

    stage.rita.approve(pull)
    intake(driver.ports, hint)
    driver.run()
    assert "which is approved" in said()


def test_a_cleaner_of_branches_refuses_nothing(driver: Driver) -> None:
    ready(driver)
    first = promoted(driver)
    driver.stage.dana.delete_branch(driver.stage.manifests, first.head_ref)
    assert first.state == "closed"

    driver.run(driver.propose("stage"))

    again = promoted(driver)
    assert again.number != first.number
    assert again.title == first.title


def test_who_closes_and_deletes_the_branch_later_has_refused(driver: Driver) -> None:
    ready(driver)
    pull = promoted(driver)
    driver.stage.dana.close(pull)
    assert pull.closed_at
    pull.closed_at -= timedelta(minutes=1)
    driver.stage.dana.delete_branch(driver.stage.manifests, pull.head_ref)

    driver.run(driver.propose("stage"))

    assert driver.stage.open_promotion("stage") is None


FLEET = ("a0", "a1", "a2")
IN_ONE_FILE = PIPELINE.replace("acme/{{application}}\n", "acme/payments\n").replace(
    "  payments: {{}}\n", "".join(f"  {name}: {{{{}}}}\n" for name in FLEET)
)


def test_of_many_in_one_file_each_approval_counts_after_the_others_merged(tmp_path: Path) -> None:
    with driven(tmp_path, pipeline=IN_ONE_FILE) as driver:
        stage = driver.stage
        files: FileChanges = {}
        for name, host in stage.hosts.items():
            lines = [f"  - name: {one}\n    newName: {host}/acme/{one}\n" for one in FLEET]
            head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nimages:\n"
            files[f"envs/{name}/kustomization.yaml"] = head + "".join(lines)
        stage.dana.push(stage.manifests, "main", files)
        driver.look_first(*FLEET)
        commit = stage.commit("develop")
        digests = {driver.build(stage.source, commit, name) for name in FLEET}
        driver.run(*[driver.propose("dev", name) for name in FLEET])
        stage.dana.push(stage.source, "release/v1", parent=commit)
        driver.run(*[driver.propose("stage", name) for name in FLEET])
        merge_all(driver, "stage")
        release = stage.dana.open_pull_request(stage.source, "release/v1", base="main", title="R")
        stage.dana.merge(release, "merge")
        driver.run(*[driver.propose("prod", name) for name in FLEET])
        for pull in stage.manifests.open_pulls():
            stage.rita.approve(pull)

        merge_all(driver, "prod")

        shown = stage.file(stage.ref("prod") or "", "envs/prod/kustomization.yaml")
        assert shown.count("digest: ") == len(FLEET)
        assert all(digest in shown for digest in digests)


def merge_all(driver: Driver, environment: str) -> None:
    """Each open promotion, one after the other, with all that follows."""
    for pull in list(driver.stage.manifests.open_pulls()):
        heads = {one.number: one.head for one in driver.stage.manifests.open_pulls()}
        driver.stage.dana.merge(pull)
        driver.run(
            *[driver.propose(environment, name) for name in FLEET],
            *[driver.deliver(environment, name) for name in FLEET],
            driver.publish(environment),
        )
        still = {one.number: one.head for one in driver.stage.manifests.open_pulls()}
        assert still == {number: heads[number] for number in still}, "a head was written anew"
