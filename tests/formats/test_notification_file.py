"""The operator's list of sinks: what is wrong is said, what is secret is not."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from bot.domain.errors import ConfigurationError
from bot.domain.notices import Event, Sink
from bot.formats.notification_file import read_sinks

SECRET = "slack://token-of-the-operator"  # noqa: S105 - of this test alone


def read(*sinks: dict[str, object]) -> list[Sink]:
    content = json.dumps({"sinks": sinks}).encode()
    return list(read_sinks(content, "notifications.json", lambda _name: SECRET))


def test_a_sink_is_a_service_or_a_signed_webhook() -> None:
    service, webhook = read(
        {
            "name": "releases",
            "url_file": "slack",
            "environments": ["prod"],
            "events": ["waits", "failed"],
            "digest_seconds": 900,
        },
        {"name": "hook", "webhook": "https://hooks.example.com/x", "secret_file": "hook"},
    )

    assert service == Sink(
        "releases",
        url=SECRET,
        environments=("prod",),
        events=(Event.WAITS, Event.FAILED),
        digest=timedelta(minutes=15),
    )
    assert (webhook.webhook, webhook.secret) == ("https://hooks.example.com/x", SECRET)


@pytest.mark.parametrize(
    ("sink", "fact"),
    [
        ({"name": "a"}, "not exactly one of url_file and webhook"),
        (
            {"name": "a", "url_file": "x", "webhook": "https://h", "secret_file": "y"},
            "not exactly one",
        ),
        ({"name": "a", "webhook": "https://h"}, "without secret_file"),
        ({"name": "a", "url_file": "x", "secret_file": "y"}, "or the other way round"),
        ({"name": "a", "webhook": "http://h", "secret_file": "y"}, "is not encrypted"),
        ({"name": "a", "webhook": "https://u:p@h", "secret_file": "y"}, "has a log-in in it"),
        ({"name": "a", "url_file": "x", "evnts": ["waits"]}, "unknown field `evnts`"),
        ({"name": "a", "url_file": "x", "events": ["waiting"]}, "Invalid enum value"),
        ({"name": "a b", "url_file": "x"}, "regex"),
    ],
)
def test_a_mistake_is_named(sink: dict[str, object], fact: str) -> None:
    with pytest.raises(ConfigurationError, match=fact) as raised:
        read(sink)

    assert SECRET not in str(raised.value)


def test_two_sinks_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two sinks are called a"):
        read({"name": "a", "url_file": "x"}, {"name": "a", "url_file": "y"})


def test_a_secret_is_in_no_representation() -> None:
    (sink,) = read({"name": "a", "webhook": "https://hooks.example.com", "secret_file": "y"})

    assert SECRET not in repr(sink)
