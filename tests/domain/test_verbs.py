"""The one table of verbs: every channel knows those that may come so, and no other."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from click import Context
from hypothesis import given, strategies as st

from bot.cli.main import lockkeeper
from bot.domain.errors import RejectedError
from bot.domain.verbs import VERBS, Channel, May, Verb, WrongUsageError, arguments_of, verbs_of
from bot.formats.slash_command import further_commands, read_command
from bot.reconcilers import comments, operator as commands

NAMES = [verb.name for verb in verbs_of(Channel.COMMENT)]


def test_every_verb_is_carried_out_where_it_may_come_from() -> None:
    assert set(commands.VERBS) == {verb.name for verb in verbs_of(Channel.COMMAND_LINE)}
    assert set(comments.VERBS_IN_COMMENTS) == set(NAMES)
    typed = lockkeeper.list_commands(Context(lockkeeper))
    assert {verb.name for verb in verbs_of(Channel.COMMAND_LINE)} <= set(typed)


def test_buttons_only_look() -> None:
    """Who pressed one stands in the webhook alone, which anybody with its secret can write."""
    assert {verb.name for verb in verbs_of(Channel.BUTTON)} == {"explain", "recheck", "retry"}
    assert all(verb.may is May.WRITE for verb in verbs_of(Channel.BUTTON))
    assert all(len(verb.effect) <= 40 and len(verb.name) <= 20 for verb in verbs_of(Channel.BUTTON))


def test_what_lets_something_in_needs_a_proof_or_the_team() -> None:
    stops_or_looks = {name for name, verb in VERBS.items() if not verb.needs_proof}

    assert stops_or_looks == {"explain", "recheck", "retry", "hold", "freeze", "status"}


@given(st.text(max_size=300))
def test_for_every_text_the_first_line_is_a_verb_or_nothing(body: str) -> None:
    try:
        found = read_command(body, NAMES)
    except RejectedError:
        return
    assert found is None or found.verb in NAMES


@given(st.sampled_from(NAMES), st.text(max_size=300))
def test_for_every_line_the_arguments_fit_their_forms(name: str, rest: str) -> None:
    verb = VERBS[name]
    found: Mapping[str, str] = {}
    refused: Verb | None = None
    try:
        found = arguments_of(verb, rest)
    except WrongUsageError as error:
        refused = error.verb
    assert refused in {None, verb}
    assert set(found) <= {argument.name for argument in verb.arguments}
    needed = {argument.name for argument in verb.arguments if argument.required}
    assert refused or needed <= set(found)


def test_a_mistake_says_how_it_is_written() -> None:
    with pytest.raises(WrongUsageError, match=r"write `/freeze ENVIRONMENT DURATION REASON`"):
        arguments_of(VERBS["freeze"], "prod")


@pytest.mark.parametrize("body", ["/HOLD it", "/hold it\r\nmore", "/hold it  ", "/hold\tit"])
def test_a_verb_is_read_however_it_is_typed(body: str) -> None:
    found = read_command(body, NAMES)

    assert found is not None
    assert (found.verb, found.rest) == ("hold", "it")


def test_commands_below_the_first_line_are_named_and_code_is_not_one() -> None:
    body = "/recheck\n\n/hold incident\n```\n/freeze prod 8h x\n```\n    /unhold\nplease /retry\n"

    assert further_commands(body, NAMES) == ["hold"]
