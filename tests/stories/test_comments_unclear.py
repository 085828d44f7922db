"""Commands that are unclear, or that nobody can answer for: none of them is lost in silence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.memory import HoldKind
from bot.facts.gates import holds_of
from tests.stories.test_comments import (
    answers,
    held,
    later,
    promoted_to_prod,
    receipts,
    strip_code,
)
from tests.stories.test_holds_outlast import OPEN, rename
from tests.world.driver import Driver, driven
from tests.world.github.behaviour import pulls
from tests.world.github.records import Actor, PullRequest

pytestmark = pytest.mark.slow


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    """A promotion to stage is open."""
    with driven(tmp_path) as up:
        up.look_first()
        commit = up.stage.commit("develop")
        up.build(up.stage.source, commit)
        up.run(up.propose("dev"))
        up.stage.dana.push(up.stage.source, "release/v1", parent=commit)
        up.run(up.propose("stage"))
        yield up


@pytest.fixture
def pull(driver: Driver) -> PullRequest:
    found = driver.stage.open_promotion("stage")
    assert found is not None
    return found


def test_unhold_in_a_comment_accepts_what_made_the_bot_stop(
    driver: Driver, pull: PullRequest
) -> None:
    """The bot's own way out says `/unhold` here or `lockkeeper unhold`: both have to work."""
    stage = driver.stage
    stage.dana.merge(pull)
    driver.run(driver.deliver("stage"), driver.publish("stage"))
    tip = stage.ref("stage") or ""
    stage.dana.push(stage.manifests, "env/stage", {"README.md": "by hand\n"}, parent=tip)
    driver.run(driver.publish("stage"))
    assert [one.kind for one in holds_of(driver.look(), "stage")] == [HoldKind.BOT]

    written = driver.heard(stage.dana, pull, "/unhold")
    assert receipts(written) == ["+1"]
    driver.run(driver.publish("stage"))

    assert not held(driver), "the hold came back, and nobody is told"


def test_a_shorter_freeze_in_a_comment_does_not_end_a_longer_one(
    driver: Driver, pull: PullRequest
) -> None:
    """Dana may freeze prod, and may not unfreeze it."""
    driver.heard(driver.stage.rita, pull, "/freeze prod 2w audit")
    [before] = holds_of(driver.look(), "prod")

    driver.heard(driver.stage.dana, pull, "/freeze prod 1m oops")

    [after] = holds_of(driver.look(), "prod")
    assert before.until is not None
    assert after.until is not None
    assert after.until >= before.until


def test_a_freeze_in_a_comment_takes_no_label_off(driver: Driver) -> None:
    """Dana is not of the team that lets prod go on; a freeze must not do it for her."""
    prod = promoted_to_prod(driver)
    driver.stage.rita.label(prod, "lockkeeper/hold")

    driver.heard(driver.stage.dana, prod, "/freeze prod 1m oops")

    assert "lockkeeper/hold" in {label.name for label in prod.labels}


@pytest.mark.parametrize("status", [500, 502, 403, 404])
def test_where_nobody_says_who_may_the_command_is_not_lost(
    driver: Driver, pull: PullRequest, status: int
) -> None:
    """Neither yes nor no: it is carried out later, or answered with the reason."""
    driver.stage.github.fail("GET", "/repos/acme/deploy/collaborators/*", status, times=1)
    written = driver.heard(driver.stage.dana, pull, "/hold incident")
    driver.run(driver.comment(written))  # a waiting job runs again

    assert held(driver) == ["incident"] or answers(pull)


@pytest.mark.parametrize("status", [403, 404])
def test_a_permission_that_github_does_not_tell_is_not_called_a_no(
    driver: Driver, pull: PullRequest, status: int
) -> None:
    """Dana may write. An App that may not ask must not tell her that she may not."""
    driver.stage.github.fail("GET", "/repos/acme/deploy/collaborators/*", status, times=1)

    driver.heard(driver.stage.dana, pull, "/hold incident")

    assert not any("may not give" in one for one in answers(pull))


@pytest.mark.parametrize("status", [403, 404])
def test_a_team_that_nobody_can_read_is_not_called_a_no(driver: Driver, status: int) -> None:
    prod = promoted_to_prod(driver)
    driver.heard(driver.stage.dana, prod, "/hold incident")
    driver.stage.github.fail("GET", "/orgs/acme/teams/*", status, times=3)

    driver.heard(driver.stage.rita, prod, "/unhold")

    assert held(driver, "prod") == ["incident"]
    assert answers(prod)
    assert not any("rita may not give" in one for one in answers(prod))


def test_a_comment_that_the_app_may_not_read_is_told_somewhere(
    driver: Driver, pull: PullRequest
) -> None:
    """403 once: the job must come back, or fail where people look; it must not say done."""
    driver.stage.github.fail("GET", "/repos/acme/deploy/issues/comments/*", 404, times=1)
    written = driver.heard(driver.stage.dana, pull, "/hold incident")
    driver.run(driver.comment(written))

    assert held(driver) == ["incident"]


def test_a_comment_that_is_not_there_yet_is_asked_for_again(
    driver: Driver, pull: PullRequest
) -> None:
    """GitHub's replicas lag: a webhook is often faster than what the API shows."""
    driver.stage.github.fail("GET", "/repos/acme/deploy/issues/comments/*", 404, times=1)
    written = driver.heard(driver.stage.dana, pull, "/hold incident")

    outcome = dict(driver.ran)[driver.comment(written).key]
    assert held(driver) == ["incident"] or "Requeue" in type(outcome).__name__


def test_a_receipt_that_is_refused_loses_no_command(driver: Driver, pull: PullRequest) -> None:
    driver.stage.github.fail("POST", "/repos/acme/deploy/issues/comments/*", 403, times=5)

    driver.heard(driver.stage.dana, pull, "/hold incident")

    assert held(driver) == ["incident"]


def test_a_command_that_was_begun_and_then_edited_says_what_became_of_it(
    driver: Driver, pull: PullRequest
) -> None:
    written = driver.stage.dana.comment(pull, "/hold cut short")
    view = driver.look()
    driver.ports.audit.append("commanded", view.scope(), {}, once=f"comment:{view.id}:{written.id}")
    later(driver, timedelta(minutes=1))
    written.body, written.updated_at = "/hold cut shorter", written.created_at + timedelta(30)
    driver.run(driver.comment(written))

    assert held(driver) or receipts(written) or answers(pull)


SPELLINGS = {
    "/hold\u00a0incident": "a no-break space, as telephones write it",
    "/hold: incident": "a colon",
    "/hold, please": "a comma",
    "/hold.": "a full stop",
    "\n/hold incident": "an empty line before it",
    " /hold incident": "a space before it",
    "/hold " + "why" * 150: "a long reason",
}


@pytest.mark.parametrize("body", SPELLINGS, ids=list(SPELLINGS.values()))
def test_what_is_surely_meant_as_a_command_is_not_lost_in_silence(
    driver: Driver, pull: PullRequest, body: str
) -> None:
    """It is carried out, or answered; whoever wrote it believes that it holds."""
    written = driver.heard(driver.stage.dana, pull, body)

    assert held(driver) or answers(pull) or receipts(written)


def test_a_command_on_a_renamed_application_s_pull_request_is_answered(tmp_path: Path) -> None:
    """The bot opened it, so it is the bot that has to say that it is nobody's any more."""
    with driven(tmp_path, pipeline=OPEN) as driver:
        driver.look_first()
        stage = driver.stage
        commit = stage.commit("develop")
        driver.build(stage.source, commit)
        driver.run(driver.propose("dev"))
        stage.dana.push(stage.source, "release/v1", parent=commit)
        driver.run(driver.propose("stage"))
        pull = stage.open_promotion("stage")
        assert pull is not None
        rename(driver)

        written = driver.heard(stage.dana, pull, "/hold incident")

        assert receipts(written)


def test_two_commands_in_one_comment_carry_out_the_first_and_say_so(
    driver: Driver, pull: PullRequest
) -> None:
    """Only the first line is read: a second command below it must not be thought done."""
    driver.heard(driver.stage.dana, pull, "/recheck\n/hold incident")

    assert held(driver) or any("hold" in one for one in answers(pull))


def test_a_hold_on_a_closed_promotion_that_was_never_merged_is_answered(
    driver: Driver, pull: PullRequest
) -> None:
    driver.stage.dana.close(pull)

    written = driver.heard(driver.stage.dana, pull, "/hold incident")

    assert receipts(written)


def test_a_removed_person_s_command_does_nothing(driver: Driver, pull: PullRequest) -> None:
    stage = driver.stage
    written = stage.dana.comment(pull, "/hold incident")
    stage.manifests.roles["dana"] = "none"

    driver.run(driver.comment(written))

    assert not held(driver)
    assert receipts(written) == ["confused"]


HOSTILE = (
    "/hold \u202egnirts\u202c \u200b\u2066 reason",
    "/hold \x00\x07\x1b[31m",
    "/hold " + "\U0001f4a9" * 150,
    "/hold \ud800",
    "/hold {{ secrets.TOKEN }} ${HOME} `id` $(id)",
    "/freeze stage 8h \u2028\u2029 @acme/all",
)


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_reasons_break_nothing(driver: Driver, pull: PullRequest, body: str) -> None:
    try:
        driver.heard(driver.stage.dana, pull, body)
    except UnicodeEncodeError:
        pytest.skip("this GitHub cannot hold it")
    driver.heard(driver.stage.dana, pull, "/explain")

    assert answers(pull)
    assert "@acme/all" not in strip_code(answers(pull)[-1])


def test_a_team_s_namesake_does_not_let_go(driver: Driver) -> None:
    """The name was given to somebody else since the comment: only the number tells."""
    prod = promoted_to_prod(driver)
    stage = driver.stage
    driver.heard(stage.dana, prod, "/hold incident")
    written = stage.rita.comment(prod, "/unhold")
    twin = stage.github.add_user("ritas-old-account")

    written.author = replace(twin.account, login="rita")
    driver.run(driver.comment(written))

    assert held(driver, "prod") == ["incident"]


def test_the_number_of_another_repository_s_comment_does_nothing(driver: Driver) -> None:
    stage = driver.stage
    stage.dana.push(stage.source, "feature", {"x": "1\n"})
    other = stage.dana.open_pull_request(stage.source, "feature", "main")
    written = stage.dana.comment(other, "/hold incident")

    driver.run(driver.comment(written))

    assert not held(driver)
    assert not receipts(written)


def test_a_command_on_a_fork_s_pull_request_of_a_promotion_s_name_does_nothing(
    driver: Driver,
) -> None:
    stage = driver.stage
    mallory = stage.github.add_user("mallory")
    fork = stage.github.fork(stage.manifests, mallory)
    mallory.push(fork, "lockkeeper/stage/payments", {"x": "1\n"})
    foreign = mallory.open_pull_request(stage.manifests, "mallory:lockkeeper/stage/payments")

    written = driver.heard(stage.dana, foreign, "/hold incident")

    assert not held(driver)
    assert not receipts(written)


def test_a_later_unhold_of_one_who_may_not_changes_no_label(driver: Driver) -> None:
    prod = promoted_to_prod(driver)
    driver.heard(driver.stage.dana, prod, "/hold incident")
    driver.heard(driver.stage.dana, prod, "/unhold")

    assert "lockkeeper/hold" in {label.name for label in prod.labels}
    assert held(driver, "prod") == ["incident"]


def test_who_may_not_let_go_does_not_do_it_by_the_label(driver: Driver) -> None:
    """The bot put the label on for a hold; whoever takes it off by hand ends no hold."""
    prod = promoted_to_prod(driver)
    driver.heard(driver.stage.dana, prod, "/hold incident")
    prod.labels.clear()
    driver.stage.rita.approve(prod)
    driver.stage.dana.merge(prod)
    driver.run(driver.deliver("prod"), driver.publish("prod"))

    assert driver.shown("prod") is None


def test_unhold_does_not_say_that_nothing_is_held_where_the_label_holds(
    driver: Driver, pull: PullRequest
) -> None:
    driver.stage.dana.label(pull, "lockkeeper/hold")

    driver.heard(driver.stage.dana, pull, "/unhold")

    is_on = "lockkeeper/hold" in {label.name for label in pull.labels}
    assert not is_on or any("lockkeeper/hold" in one for one in answers(pull)), answers(pull)


def test_explain_names_the_label_that_holds(driver: Driver, pull: PullRequest) -> None:
    driver.stage.dana.label(pull, "lockkeeper/hold")

    driver.heard(driver.stage.dana, pull, "/explain")

    assert "lockkeeper/hold" in answers(pull)[-1]


def test_explain_names_the_draft_that_holds(driver: Driver, pull: PullRequest) -> None:
    from_now = driver.stage.github.state
    with from_now.lock:
        pulls.set_draft(from_now, Actor(driver.stage.dana.account), pull, draft=True)

    driver.heard(driver.stage.dana, pull, "/explain")

    assert "draft" in answers(pull)[-1]


def test_a_stranger_s_commands_do_not_make_the_bot_talk(driver: Driver, pull: PullRequest) -> None:
    """Whoever may only read writes twenty of them: a reaction each is enough.

    Answers count against what GitHub lets an App write in an hour, for everybody's promotions.
    """
    sam = driver.stage.github.add_user("sam")
    driver.stage.manifests.roles["sam"] = "read"

    for number in range(20):
        driver.heard(sam, pull, f"/hold {number}")

    assert not held(driver)
    assert len(answers(pull)) <= 5
