from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from bot.formats.webhook import (
    HANDLED,
    MalformedWebhookError,
    WebhookHint,
    parse_webhook,
    read_hint,
    render_hint,
)
from tests.contract import published

REPOSITORY = {"id": 7, "full_name": "acme/payments"}
COMMIT = "c" * 40
RUN = {
    "id": 5,
    "head_sha": COMMIT,
    "head_branch": "develop",
    "conclusion": "success",
    "app": {"id": 9},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def parsed(event: str, **payload: object) -> WebhookHint:
    return parse_webhook(event, json.dumps({"repository": REPOSITORY, **payload}).encode())


def test_a_push_names_its_ref_and_commits() -> None:
    hint = parsed("push", ref="refs/heads/main", before="0" * 40, after=COMMIT)

    assert hint == WebhookHint(
        "push",
        repository="acme/payments",
        repository_id=7,
        ref="refs/heads/main",
        before="0" * 40,
        after=COMMIT,
    )


def test_a_pull_request_names_its_number_and_head() -> None:
    pull = {"number": 12, "head": {"ref": "lockkeeper/prod/payments", "sha": COMMIT}}

    hint = parsed("pull_request", action="closed", pull_request=pull)

    assert (hint.action, hint.pull_request, hint.after) == ("closed", 12, COMMIT)
    assert hint.ref == "lockkeeper/prod/payments"


def test_a_comment_leads_to_its_pull_request_and_nowhere_from_an_issue() -> None:
    sender = {"login": "dependabot[bot]", "type": "Bot"}
    on_pull = {"number": 12, "pull_request": {"url": "x"}}
    comment = {"id": 99, "body": "/promote"}

    hint = parsed("issue_comment", issue=on_pull, comment=comment, sender=sender)
    on_issue = parsed("issue_comment", issue={"number": 12}, comment=comment)

    assert (hint.pull_request, hint.comment) == (12, 99)
    assert (hint.sender, hint.sender_type) == ("dependabot[bot]", "Bot")
    assert on_issue.pull_request == 0


@pytest.mark.parametrize("event", ["check_suite", "check_run", "workflow_run"])
def test_a_finished_run_names_its_commit(event: str) -> None:
    hint = parsed(event, action="completed", **{event: RUN})

    assert (hint.after, hint.conclusion, hint.ref) == (COMMIT, "success", "develop")
    assert hint.check_app == 9


def test_a_pressed_button_is_named() -> None:
    hint = parsed("check_run", check_run=RUN, requested_action={"identifier": "retry"})

    assert (hint.check_run, hint.requested) == (5, "retry")


def test_a_merge_group_names_its_head() -> None:
    group = {"head_sha": COMMIT, "head_ref": "refs/heads/gh-readonly-queue/main/pr-1-x"}

    hint = parsed("merge_group", action="checks_requested", merge_group=group)

    assert (hint.after, hint.ref) == (COMMIT, "refs/heads/gh-readonly-queue/main/pr-1-x")


@pytest.mark.parametrize("event", sorted(HANDLED))
def test_a_payload_that_is_about_nothing_is_refused(event: str) -> None:
    with pytest.raises(MalformedWebhookError):
        parse_webhook(event, b"{}")


@pytest.mark.parametrize(
    "payload",
    [
        {"repository": {"id": 7, "full_name": "acme/payments/../x"}},
        {"repository": {"id": "7", "full_name": "acme/payments"}},
        {"repository": None},
    ],
    ids=["path", "text", "none"],
)
def test_a_repository_must_be_owner_and_name(payload: dict[str, Any]) -> None:
    with pytest.raises(MalformedWebhookError) as refused:
        parse_webhook("repository", json.dumps(payload).encode())
    assert "payments" not in str(refused.value)


def test_values_of_another_form_are_left_out() -> None:
    hint = parsed("push", ref="refs/heads/\n", before="HEAD", after="; rm -rf /", action="A B")

    assert hint == WebhookHint("push", repository="acme/payments", repository_id=7)


def test_other_events_are_not_looked_into() -> None:
    assert parse_webhook("star", b"{ no json") == WebhookHint("star")


def test_nesting_has_a_limit_that_strings_do_not_count_for() -> None:
    brackets = parsed("repository", description='[{"' * 1000)
    assert brackets.repository_id == 7

    with pytest.raises(MalformedWebhookError, match="deeper than 64"):
        parse_webhook("push", b'{"a":' * 65)


def test_every_example_of_github_is_understood() -> None:
    for event, payload in published.examples():
        hint = parse_webhook(event, json.dumps(payload).encode())
        assert hint.repository or event not in HANDLED or hint.installation, event


@given(st.sampled_from(sorted(HANDLED)), st.dictionaries(st.text(), JSON), st.binary())
def test_nothing_but_a_refusal_comes_of_other_bytes(
    event: str, payload: dict[str, Any], noise: bytes
) -> None:
    for body in (json.dumps(payload).encode(), noise):
        with pytest.raises(MalformedWebhookError):
            parse_webhook(event, body)


@given(
    st.builds(WebhookHint, event=st.sampled_from(sorted(HANDLED)), ref=st.text(max_size=20)),
)
def test_a_hint_survives_the_database(hint: WebhookHint) -> None:
    assert read_hint(render_hint(hint)) == hint


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"event": 1}'])
def test_what_is_no_hint_is_refused(text: str) -> None:
    with pytest.raises(MalformedWebhookError):
        read_hint(text)
