"""Going back, and what people ask for by command: promoted, updated, taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import sqlalchemy as sa
from tests.usecases.test_break_glass import second
from tests.usecases.test_comments import answers, receipts
from tests.usecases.test_holds import asked, check, delivered, in_stage, promoted, put_back, ready

from bot.domain.errors import RejectedError
from bot.domain.memory import HoldKind
from bot.facts.gates import holds_of
from bot.facts.going_back import NoWayBackError
from bot.reconcilers.asked import NoSuchCommitError
from bot.reconcilers.operator import (
    Request,
    RevokedError,
    adopt,
    freeze,
    promote,
    rollback,
    unhold,
)
from tests.world.driver import Driver, driven
from tests.world.github.people import User
from tests.world.github.records import PullRequest
from tests.world.stage import OVERLAY, PIPELINE

pytestmark = pytest.mark.slow

POLICY = "policy: policy.yaml\n"


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path) as up:
        up.look_first()
        yield up


def way_back(driver: Driver, environment: str = "stage") -> PullRequest:
    branch = f"lockkeeper/{environment}/payments.rollback"
    return next(p for p in driver.stage.manifests.open_pulls() if p.head_ref == branch)


def merged_promotion(driver: Driver) -> PullRequest:
    pulls = driver.stage.manifests.pulls.values()
    return [p for p in pulls if p.merged and p.head_ref == "lockkeeper/stage/payments"][-1]


def test_a_rollback_is_a_pull_request_that_says_what_is_lost_and_holds_what_is_newer(
    driver: Driver,
) -> None:
    stage = driver.stage
    old, new = in_stage(driver), in_stage(driver, "release/v2")

    written = driver.heard(stage.dana, merged_promotion(driver), "/rollback")

    assert receipts(written) == ["+1"]
    pull = way_back(driver)
    driver.heard(stage.dana, pull, "/explain")
    assert "proposed" in answers(pull)[-1], "the hold does not stop the way back"
    assert pull.title.startswith("Roll back payments in stage to ")
    assert "Rollback of" in (pull.body or "")
    assert "1 commit" in (pull.body or "")
    assert "lockkeeper/rollback" in {label.name for label in pull.labels}
    assert check(driver, pull.head)[0] == "success"
    [hold] = holds_of(driver.look(), "stage")
    assert (hold.kind, hold.actor) == (HoldKind.ROLLBACK, "dana")

    newest = stage.commit("develop")
    driver.build(stage.source, newest)
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.source, "release/v3", parent=newest)
    driver.run(driver.propose("stage"))
    assert stage.open_promotion("stage") is None, "nothing newer comes meanwhile"

    stage.dana.merge(pull)
    delivered(driver)
    assert driver.shown("stage") == old
    assert new != old

    driver.heard(stage.dana, merged_promotion(driver), "/unhold")
    assert promoted(driver).title.endswith(newest[:7])


def test_a_newer_promotion_that_is_merged_meanwhile_waits(driver: Driver) -> None:
    stage = driver.stage
    old = in_stage(driver)
    in_stage(driver, "release/v2")
    ready(driver, "release/v3")
    newer = promoted(driver)
    rollback(asked(driver, "stage", "payments"))
    driver.run(driver.propose("stage"))
    assert check(driver, newer.head) == ("failure", "Held")

    stage.dana.merge(newer)
    delivered(driver)
    assert driver.shown("stage") != old
    assert any(one.kind is HoldKind.ROLLBACK for one in holds_of(driver.look(), "stage"))


def test_the_second_version_before_and_no_further(driver: Driver) -> None:
    oldest = in_stage(driver)
    in_stage(driver, "release/v2")
    in_stage(driver, "release/v3")

    said = rollback(asked(driver, "stage", "payments", "2"))
    assert said["images"] == {"payments": oldest}
    with pytest.raises(NoWayBackError, match="number 3 before"):
        rollback(asked(driver, "stage", "payments", "3"))


def test_what_was_taken_back_is_no_version_before(driver: Driver) -> None:
    """After going back from the second to the first there is nothing to go back to."""
    old = in_stage(driver)
    in_stage(driver, "release/v2")
    put_back(driver, old)
    delivered(driver)

    with pytest.raises(NoWayBackError, match="it has shown none"):
        rollback(asked(driver, "stage", "payments"))
    assert not holds_of(driver.look(), "stage"), "a refusal leaves nothing behind"


def test_an_image_that_is_gone_is_passed_over_and_named(driver: Driver) -> None:
    old = in_stage(driver)
    in_stage(driver, "release/v2")
    remove(driver, old)

    with pytest.raises(NoWayBackError, match="not sealed there any more"):
        rollback(asked(driver, "stage", "payments"))


def remove(driver: Driver, digest: str) -> None:
    """Somebody's retention rule deletes an image; here, our record of its seal stands."""
    host = driver.stage.hosts["stage"]
    answer = requests.delete(f"http://{host}/v2/acme/payments/manifests/{digest}", timeout=10)
    if answer.status_code not in {202, 404}:
        pytest.skip("the registry of this stage deletes nothing")


def test_a_rollback_is_merged_by_the_bot_where_it_merges_by_itself(driver: Driver) -> None:
    stage = driver.stage
    digests = []
    for _ in range(2):
        commit = stage.commit("develop")
        digests.append(driver.build(stage.source, commit))
        driver.run(driver.propose("dev"))
    assert driver.shown("dev") == digests[1]

    rollback(asked(driver, "dev", "payments"))
    driver.run(driver.propose("dev"))

    assert driver.shown("dev") == digests[0], driver.ran[-8:]


def test_a_commit_by_name_opens_its_pull_request_and_keeps_it(driver: Driver) -> None:
    stage = driver.stage
    commits = []
    for _ in range(2):
        commits.append(stage.commit("develop"))
        driver.build(stage.source, commits[-1])
        driver.run(driver.propose("dev"))

    promote(asked(driver, "stage", "payments", commits[0][:9]))
    driver.run(driver.propose("stage"))
    pull = promoted(driver)
    assert commits[0][:7] in pull.title

    stage.dana.push(stage.source, "release/v1", parent=commits[1])
    driver.run(driver.propose("stage"))
    assert commits[0][:7] in pull.title, "a branch does not replace what somebody asked for"

    driver.heard(stage.dana, pull, "/update")
    assert commits[1][:7] in pull.title


def test_without_a_commit_what_the_environment_below_shows_is_meant(driver: Driver) -> None:
    commit = driver.stage.commit("develop")
    driver.build(driver.stage.source, commit)
    driver.run(driver.propose("dev"))

    assert promote(asked(driver, "stage", "payments"))["commit"] == commit


def test_an_older_commit_is_diverging_and_never_merged_by_the_bot(driver: Driver) -> None:
    stage = driver.stage
    commits = []
    for _ in range(2):
        commits.append(stage.commit("develop"))
        driver.build(stage.source, commits[-1])
        driver.run(driver.propose("dev"))

    promote(asked(driver, "dev", "payments", commits[0]))
    driver.run(driver.propose("dev"))

    pull = stage.open_promotion("dev")
    assert pull is not None
    assert "lockkeeper/diverging" in {label.name for label in pull.labels}


def test_a_commit_that_nobody_knows_is_refused(driver: Driver) -> None:
    with pytest.raises(NoSuchCommitError, match="names no commit"):
        promote(asked(driver, "stage", "payments", "0123456789"))


def test_what_is_held_is_not_promoted_by_command_either(driver: Driver) -> None:
    commit = driver.stage.commit("develop")
    ready(driver)
    driver.heard(driver.stage.dana, promoted(driver), "/hold incident")

    written = driver.heard(driver.stage.dana, promoted(driver), f"/promote stage {commit}")

    assert receipts(written) == ["confused"]
    assert "unhold" in answers(promoted(driver))[-1]


def test_who_asked_does_not_approve_it_too(driver: Driver) -> None:
    """The release manager asks for a promotion to prod, and is the only one who approves it."""
    stage = driver.stage
    in_stage(driver)
    release = stage.dana.open_pull_request(stage.source, "release/v1", base="main", title="R")
    stage.dana.merge(release, "merge")
    driver.run(driver.propose("prod"))
    pull = stage.open_promotion("prod")
    assert pull is not None
    driver.heard(stage.rita, pull, "/promote prod")
    stage.rita.approve(pull)
    stage.dana.merge(pull)
    driver.run(driver.deliver("prod"), driver.publish("prod"))
    assert driver.shown("prod") is None

    rosa = stage.github.add_user("rosa")
    next(iter(stage.github.state.teams.values())).members.add(rosa.login)
    stage.manifests.owner.members.add(rosa.login)
    rosa.approve(pull)
    driver.run(driver.deliver("prod"), driver.publish("prod"))
    assert driver.shown("prod") is not None


def test_update_starts_an_edited_pull_request_afresh(driver: Driver) -> None:
    """Somebody pushed to the bot's branch: the advice that the check gives works."""
    stage, digest = driver.stage, ready(driver)
    pull = promoted(driver)
    stage.dana.push(stage.manifests, pull.head_ref, {"envs/stage/x.yaml": "kind: ConfigMap\n"})
    driver.run(driver.answer(str(pull.number)), driver.propose("stage"))
    state, title = check(driver, pull.head)
    assert (state, title) == ("failure", "Edited by somebody else")
    [run] = [r for r in stage.manifests.check_runs.values() if r.commit == pull.head]
    assert "/update" in str(run.output["summary"])

    driver.heard(stage.dana, pull, "/update")

    assert pull.state == "open"
    assert check(driver, pull.head)[0] == "success"
    stage.dana.merge(pull)
    delivered(driver)
    assert driver.shown("stage") == digest


def test_a_revoked_digest_never_comes_and_is_told_where_it_runs(tmp_path: Path) -> None:
    with driven(tmp_path, pipeline=PIPELINE.replace("version: 1\n", f"version: 1\n{POLICY}")) as up:
        stage = up.stage

        def revoke(*digests: str) -> None:
            lines = [f"  - {{ digest: '{one}', reason: stolen }}\n" for one in digests]
            policy = "version: 1\nrevoked:\n" + "".join(lines)
            stage.dana.push(stage.manifests, "rules", {"policy.yaml": policy})
            pull = stage.dana.open_pull_request(stage.manifests, "rules")
            stage.rita.approve(pull)  # rules need authority, those that revoke too
            stage.dana.merge(pull)
            stage.dana.delete_branch(stage.manifests, "rules")

        revoke("sha256:" + "0" * 64)
        up.look_first()
        old, new = in_stage(up), in_stage(up, "release/v2")
        revoke(old)

        with pytest.raises(NoWayBackError, match="is revoked"):
            rollback(asked(up, "stage", "payments"))
        put_back(up, old)
        delivered(up)
        assert up.shown("stage") == new

        revoke(old, new)
        up.run(up.publish("stage"))
        head = stage.manifests.head("main") or ""
        found = stage.checks(stage.manifests, head)["lockkeeper: stage revoked"]
        assert found == ("failure", "1 revoked image runs")
        with pytest.raises(RevokedError):
            adopt(asked(up, "stage"))


def test_a_command_row_cannot_ask_without_a_number(driver: Driver) -> None:
    for text in ("0", "51", "-1", "x", "1e1", "²"):
        with pytest.raises(RejectedError):
            rollback(asked(driver, "stage", "payments", text))


def test_a_rollback_of_an_application_that_does_not_exist_is_refused(driver: Driver) -> None:
    request: Request = asked(driver, "stage", "billing")

    with pytest.raises(RejectedError, match="does not exist"):
        rollback(request)
    assert unhold(asked(driver, "stage"))["was_held"] is False


def to_prod(driver: Driver, branch: str, approving: User) -> str:
    """A build that is published, signed and attested in prod; its digest."""
    stage = driver.stage
    digest = in_stage(driver, branch)
    release = stage.dana.open_pull_request(stage.source, branch, base="main", title=branch)
    stage.dana.merge(release, "merge")
    driver.run(driver.propose("prod"))
    pull = stage.open_promotion("prod")
    assert pull is not None
    approving.approve(pull)
    stage.dana.merge(pull)
    driver.run(driver.deliver("prod"), driver.publish("prod"))
    assert driver.shown("prod") == digest
    return digest


def test_a_way_back_in_prod_needs_the_approval_of_who_did_not_ask(driver: Driver) -> None:
    stage = driver.stage
    old = to_prod(driver, "release/v1", stage.rita)
    new = to_prod(driver, "release/v2", stage.rita)
    rosa = second(driver)
    pulls = stage.manifests.pulls.values()
    promotion = [p for p in pulls if p.head_ref == "lockkeeper/prod/payments"]

    refused = driver.heard(stage.dana, promotion[-1], "/rollback")
    assert receipts(refused) == ["confused"]
    driver.heard(stage.rita, promotion[-1], "/rollback")
    pull = way_back(driver, "prod")
    stage.rita.approve(pull)
    stage.dana.merge(pull)
    driver.run(driver.deliver("prod"), driver.publish("prod"))
    assert driver.shown("prod") == new, "who asked does not approve it"

    rosa.approve(pull)
    driver.run(driver.deliver("prod"), driver.publish("prod"))
    assert driver.shown("prod") == old


def test_a_revert_by_hand_is_a_way_back_that_a_freeze_lets_pass(driver: Driver) -> None:
    """GitHub's Revert makes a pull request of a person's; its check says what it is."""
    stage = driver.stage
    old = in_stage(driver)
    in_stage(driver, "release/v2")
    freeze(asked(driver, "stage", "8h", "the fair"))
    pinned = OVERLAY.format(environment="stage", host=stage.hosts["stage"])
    text = pinned + f"    digest: {old}\n"
    stage.dana.push(stage.manifests, "revert-2", {"envs/stage/kustomization.yaml": text})
    pull = stage.dana.open_pull_request(stage.manifests, "revert-2", title="Revert")

    driver.run(driver.answer(str(pull.number)))

    assert check(driver, pull.head)[0] == "success"
    [run] = [r for r in stage.manifests.check_runs.values() if r.commit == pull.head]
    assert "Goes back to what was published here before" in str(run.output["summary"])
    stage.dana.merge(pull)
    delivered(driver)
    assert driver.shown("stage") == old


def test_a_row_of_who_asked_that_is_gone_makes_them_unknown(driver: Driver) -> None:
    """Whoever can delete rows cannot approve what they asked for: one approval more is needed."""
    stage = driver.stage
    to_prod(driver, "release/v1", stage.rita)
    new = to_prod(driver, "release/v2", stage.rita)
    pulls = [p for p in stage.manifests.pulls.values() if p.head_ref == "lockkeeper/prod/payments"]
    driver.heard(stage.rita, pulls[-1], "/rollback")
    with driver.app.database.begin() as connection:
        connection.execute(sa.text("DELETE FROM lk_asked"))
    pull = way_back(driver, "prod")
    stage.rita.approve(pull)
    stage.dana.merge(pull)

    driver.run(driver.deliver("prod"), driver.publish("prod"))

    assert driver.shown("prod") == new
