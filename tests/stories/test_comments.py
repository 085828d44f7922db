"""Commands in comments: who is heard, what is answered, and what does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.jobs import Job, JobKind
from bot.domain.memory import HoldKind
from bot.facts.gates import holds_of
from bot.formats.webhook import WebhookHint
from bot.reconcilers.intake import intake
from tests.world.clients import HandClock
from tests.world.driver import Driver, driven
from tests.world.github.records import Comment, PullRequest

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


def held(driver: Driver, environment: str = "stage") -> list[str]:
    return [one.reason for one in holds_of(driver.look(), environment)]


def receipts(written: Comment) -> list[str]:
    return [content for _, who, content, _ in written.reactions if who.type == "Bot"]


def answers(pull: PullRequest) -> list[str]:
    """What the bot answered, without its marker."""
    found = [one.body for one in pull.comments if one.author.type == "Bot"]
    return [body.split("-->", 1)[1] for body in found if "lockkeeper:answer" in body]


def test_a_hold_is_carried_out_with_a_receipt_and_few_requests(
    driver: Driver, pull: PullRequest
) -> None:
    before = len(driver.stage.github.requests)

    written = driver.stage.dana.comment(pull, "/hold the provider is down\n\nsee the chat")
    driver.run(driver.comment(written), most=1)

    assert held(driver) == ["the provider is down"]
    assert receipts(written) == ["+1"]
    assert not answers(pull), "the reaction is the receipt"
    made = [r for r in driver.stage.github.requests[before:] if "access_tokens" not in r[1]]
    assert len(made) <= 6, made  # comment, pull request, permission, list, label, reaction


def test_the_state_is_on_the_pull_request_and_the_commit_and_goes_again(
    driver: Driver, pull: PullRequest
) -> None:
    stage = driver.stage
    driver.heard(stage.dana, pull, "/hold the provider is down")

    assert "lockkeeper/hold" in {label.name for label in pull.labels}
    state, title = stage.checks(stage.manifests, pull.head)["lockkeeper"]
    assert (state, title) == ("failure", "Held")
    source = stage.source.head("release/v1") or ""
    assert stage.checks(stage.source, source)["lockkeeper: payments -> stage"][1] == "Held"

    driver.heard(stage.dana, pull, "/unhold")

    assert not held(driver)
    assert "lockkeeper/hold" not in {label.name for label in pull.labels}
    assert stage.checks(stage.manifests, pull.head)["lockkeeper"][0] != "failure"


def test_a_comment_is_carried_out_once_however_often_it_is_told(
    driver: Driver, pull: PullRequest
) -> None:
    written = driver.heard(driver.stage.dana, pull, "/hold once")
    driver.heard(driver.stage.dana, pull, "/unhold")

    driver.run(driver.comment(written))

    assert not held(driver)


def test_what_was_cut_short_is_carried_out_later(driver: Driver, pull: PullRequest) -> None:
    """The comment was heard in time; GitHub was away for an hour in the middle of it."""
    written = driver.stage.dana.comment(pull, "/hold cut short")
    view = driver.look()
    driver.ports.audit.append("commanded", view.scope(), {}, once=f"comment:{view.id}:{written.id}")
    later(driver, timedelta(hours=1))

    driver.run(driver.comment(written))

    assert held(driver) == ["cut short"]


def later(driver: Driver, by: timedelta) -> None:
    clock = HandClock(driver.ports.clock.now() + by)
    driver.workflows = replace(driver.workflows, ports=replace(driver.ports, clock=clock))


def test_a_late_command_does_nothing_and_says_so(driver: Driver, pull: PullRequest) -> None:
    written = driver.stage.dana.comment(pull, "/hold late")
    later(driver, timedelta(minutes=16))

    driver.run(driver.comment(written))

    assert not held(driver)
    assert receipts(written) == ["confused"]
    assert "give it again" in answers(pull)[0]


def test_a_command_of_last_week_does_nothing(driver: Driver, pull: PullRequest) -> None:
    written = driver.stage.dana.comment(pull, "/hold old")
    later(driver, timedelta(days=7))

    driver.run(driver.comment(written))

    assert not held(driver)
    assert (receipts(written), answers(pull)) == ([], [])


def test_what_an_app_wrote_or_somebody_edited_does_nothing(
    driver: Driver, pull: PullRequest
) -> None:
    """Whoever may write can make another's comment say anything, and make an App say it."""
    dana, app = driver.stage.dana, next(iter(driver.stage.github.state.apps.values()))
    edited, by_app, through_app = (dana.comment(pull, "/hold me") for _ in range(3))
    edited.created_at -= timedelta(seconds=1)
    by_app.author = app.bot
    through_app.app = app
    namesake = dana.comment(pull, "/hold me")
    twin = driver.stage.github.add_user("danas-old-account")
    namesake.author = replace(twin.account, login="dana")

    for written in (edited, by_app, through_app, namesake):
        driver.run(driver.comment(written))

        assert not held(driver)
        assert "+1" not in receipts(written)


TALK = (
    "> /hold quoted",
    "    /hold in code",
    "```\n/hold in a block\n```",
    "please\n/hold further down",
    "/lgtm",
    "//hold",
    "/ hold",
)


def test_talk_about_a_command_is_none(driver: Driver, pull: PullRequest) -> None:
    for body in TALK:
        written = driver.heard(driver.stage.dana, pull, body)

        assert not held(driver), body
        assert (receipts(written), answers(pull)) == ([], []), body


def test_a_command_on_another_pull_request_does_nothing(driver: Driver) -> None:
    stage = driver.stage
    stage.dana.push(stage.manifests, "lockkeeper/stage/billing", {"README.md": "x\n"})
    other = stage.dana.open_pull_request(stage.manifests, "lockkeeper/stage/billing")

    written = driver.heard(stage.dana, other, "/hold here")

    assert not held(driver)
    assert (receipts(written), answers(other)) == ([], [])


def test_a_merged_promotion_takes_commands(driver: Driver, pull: PullRequest) -> None:
    driver.stage.dana.merge(pull)

    driver.heard(driver.stage.dana, pull, "/hold do not deliver")
    driver.run(driver.deliver("stage"), driver.publish("stage"))

    assert driver.shown("stage") is None
    assert held(driver) == ["do not deliver"]


def test_who_may_only_read_is_refused_with_the_way_out(driver: Driver, pull: PullRequest) -> None:
    sam = driver.stage.github.add_user("sam")
    driver.stage.manifests.roles["sam"] = "read"

    written = driver.heard(sam, pull, "/hold")

    assert not held(driver)
    assert receipts(written) == ["confused"]
    assert "people who may write" in answers(pull)[0]


def test_a_verb_that_lets_go_is_for_the_approvals_team(driver: Driver) -> None:
    stage = driver.stage
    prod = promoted_to_prod(driver)
    driver.heard(stage.dana, prod, "/hold incident")  # anybody may stop

    refused = driver.heard(stage.dana, prod, "/unhold")
    assert receipts(refused) == ["confused"]
    assert "acme/release-managers" in answers(prod)[0].replace("`", "")
    assert held(driver, "prod") == ["incident"]

    driver.heard(stage.rita, prod, "/unhold")
    assert not held(driver, "prod")


def test_who_left_the_team_lets_nothing_go(driver: Driver) -> None:
    prod = promoted_to_prod(driver)
    driver.heard(driver.stage.dana, prod, "/hold incident")
    for team in driver.stage.github.state.teams.values():
        team.members.clear()

    driver.heard(driver.stage.rita, prod, "/unhold")

    assert held(driver, "prod") == ["incident"]


def promoted_to_prod(driver: Driver) -> PullRequest:
    stage = driver.stage
    pull = stage.open_promotion("stage")
    assert pull is not None
    stage.dana.merge(pull)
    driver.run(driver.deliver("stage"), driver.publish("stage"))
    release = stage.dana.open_pull_request(stage.source, "release/v1", base="main", title="R")
    stage.dana.merge(release, "merge")
    driver.run(driver.propose("prod"))
    found = stage.open_promotion("prod")
    assert found is not None
    return found


def test_a_freeze_of_another_environment_asks_for_the_rights_there(
    driver: Driver, pull: PullRequest
) -> None:
    driver.heard(driver.stage.dana, pull, "/freeze prod 8h the fair")

    [one] = holds_of(driver.look(), "prod")
    assert (one.kind, one.reason) == (HoldKind.FREEZE, "the fair")
    assert one.until is not None
    assert "UTC" in answers(pull)[0]

    refused = driver.heard(driver.stage.dana, pull, "/unfreeze prod")
    assert receipts(refused) == ["confused"]
    driver.heard(driver.stage.rita, pull, "/unfreeze prod")
    assert not holds_of(driver.look(), "prod")


def test_hostile_text_means_nothing_in_the_answer(driver: Driver, pull: PullRequest) -> None:
    evil = "/freeze @acme/all<img>![x](//e) <!--lockkeeper:answer--> #1"

    driver.heard(driver.stage.dana, pull, evil)

    [answer] = answers(pull)
    read = strip_code(answer)
    assert [text for text in ("@acme", "![", "<!--", "<img", "#1") if text in read] == []


def strip_code(text: str) -> str:
    """What GitHub would look into: not what stands in code spans."""
    return "".join(part for n, part in enumerate(text.split("`")) if n % 2 == 0)


MISTAKES = {
    "/freeze stage": "DURATION is missing",
    "/freeze stage 9x no": "a duration like",
    "/freeze stage 9000w too long": "pipeline file",
    "/freeze stagee 8h typo": "did you mean",
    "/unfreez stage": "/unfreeze",
    "/explain all of it": "is too much",
}


def test_what_cannot_be_understood_is_answered_with_how_it_is_written(
    driver: Driver, pull: PullRequest
) -> None:
    for line, words in MISTAKES.items():
        written = driver.heard(driver.stage.dana, pull, line)

        assert receipts(written) == ["confused"], line
        assert words in answers(pull)[-1].replace("`", ""), line


def test_explain_says_where_it_stands(driver: Driver, pull: PullRequest) -> None:
    driver.heard(driver.stage.dana, pull, "/explain")

    assert "proposed" in answers(pull)[0]
    assert "somebody who merges it" in answers(pull)[0]


def test_recheck_and_retry_look_again(driver: Driver, pull: PullRequest) -> None:
    driver.queue.put_ever.clear()
    driver.run(driver.comment(driver.stage.dana.comment(pull, "/recheck")), most=1)

    assert driver.propose("stage").key in {job.key for job in driver.queue.put_ever}
    driver.heard(driver.stage.dana, pull, "/retry")
    assert "nothing waits" in answers(pull)[-1]


def test_only_a_new_comment_on_a_pull_request_is_looked_at(driver: Driver) -> None:
    def looks(action: str, sender: str = "dana") -> list[Job]:
        driver.queue.put_ever.clear()
        hint = WebhookHint("issue_comment", action, "acme/deploy", pull_request=7, comment=123)
        intake(driver.ports, replace(hint, sender=sender))
        return [job for job in driver.queue.put_ever if job.kind is JobKind.COMMENT]

    assert [(job.subject, job.hint) for job in looks("created")] == [("123", "")]
    assert looks("edited") == []
    assert looks("created", "lockkeeper[bot]") == []


def test_a_comment_that_does_not_exist_does_nothing(driver: Driver) -> None:
    """Whoever has the webhook secret may name any number."""
    for subject in ("999999", "0", "-1", "1e3", "9" * 30, "../1"):
        driver.run(Job(JobKind.COMMENT, driver.stage.manifests.id, "", subject))

    assert not held(driver)


def test_a_button_only_looks_whatever_the_webhook_says(driver: Driver, pull: PullRequest) -> None:
    """Whoever has the webhook's secret may say that somebody pressed any button."""
    runs = driver.stage.manifests.check_runs.values()
    shown = {action["identifier"] for run in runs for action in run.actions}
    assert shown == {"explain", "recheck", "retry"}

    def looks(button: str) -> set[JobKind]:
        driver.queue.put_ever.clear()
        hint = WebhookHint("check_run", "requested_action", "acme/deploy", requested=button)
        intake(driver.ports, replace(hint, after=pull.head, sender="rita"))
        return {job.kind for job in driver.queue.put_ever}

    assert looks("recheck") == {JobKind.RECONCILE}
    assert looks("rollback") == set()
    assert looks("unhold") == set()


def test_explain_on_a_closed_pull_request_says_what_became_of_it(
    driver: Driver, pull: PullRequest
) -> None:
    driver.stage.dana.close(pull)

    driver.heard(driver.stage.dana, pull, "/explain")
    assert "was closed" in answers(pull)[-1]
    assert "`/promote stage`" in answers(pull)[-1]

    driver.heard(driver.stage.dana, pull, "/promote stage")
    assert driver.stage.open_promotion("stage") is not None


def test_unhold_accepts_the_foreign_commit_for_which_the_bot_held(
    driver: Driver, pull: PullRequest
) -> None:
    """As on the command line: else the next look holds for the same commit."""
    stage = driver.stage
    stage.dana.merge(pull)
    driver.run(driver.deliver("stage"), driver.publish("stage"))
    tip = stage.ref("stage") or ""
    stage.dana.push(stage.manifests, "env/stage", {"README.md": "by hand\n"}, parent=tip)
    driver.run(driver.publish("stage"))
    assert [one.kind for one in holds_of(driver.look(), "stage")] == [HoldKind.BOT]

    driver.heard(stage.dana, pull, "/unhold")
    driver.run(driver.publish("stage"))

    assert not holds_of(driver.look(), "stage")
