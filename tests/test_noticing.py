"""Who is told: one sink that fails keeps no other, and no promotion."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.adapters.sinks import load_sinks
from bot.adapters.store import MIGRATIONS, NoticeStore, migrate, open_database
from bot.domain.errors import ConfigurationError, UnavailableError
from bot.domain.metrics import Stands
from bot.domain.notices import Event, Notice, Sink
from bot.noticing import Noticing
from tests.domain.test_notices import PROPOSED

MANIFESTS = "acme/deploy"


@dataclass
class Clock:
    at: datetime = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


@dataclass
class Post:
    """Carries to whoever is not broken."""

    broken: set[str] = field(default_factory=set)
    carried: list[tuple[str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def carry(self, sink: Sink, notices: Sequence[Notice]) -> None:
        if sink.name in self.broken:
            raise UnavailableError(f"the service of sink {sink.name} did not take it")
        self.messages.append(sink.name)
        self.carried += [(sink.name, str(one.event)) for one in notices]


@dataclass
class Office:
    """Two sinks, and everything that belongs to them."""

    clock: Clock
    post: Post
    noticing: Noticing

    def looked(self, *stands: Stands) -> None:
        self.noticing.heard(MANIFESTS, stands)

    def send(self) -> None:
        with contextlib.suppress(UnavailableError):
            self.noticing.send()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    database = open_database(f"sqlite:///{tmp_path / 'store.db'}")
    migrate(database, "store", MIGRATIONS)
    clock, post = Clock(), Post()
    rows = NoticeStore(database, clock, b"secret of this bot")
    sinks = [Sink("broken"), Sink("ops", events=(Event.WAITS,)), Sink("all")]
    made = Office(clock, post, Noticing(sinks, rows, post, clock))
    made.looked()
    yield made
    database.dispose()


def test_everybody_is_told_what_they_asked_for(office: Office) -> None:
    office.looked(PROPOSED, replace(PROPOSED, application="billing", state="held"))

    office.send()

    assert sorted(office.post.carried) == [
        ("all", "held"),
        ("all", "waits"),
        ("broken", "held"),
        ("broken", "waits"),
        ("ops", "waits"),
    ]


def test_a_sink_that_fails_keeps_no_other_and_is_a_finding_until_it_works(office: Office) -> None:
    office.post.broken = {"broken"}
    office.looked(PROPOSED)

    office.send()

    assert office.post.carried == [("ops", "waits"), ("all", "waits")]
    (finding,) = office.noticing.findings()
    assert (finding.subject, finding.severity) == ("broken", "warning")

    office.post.broken = set()
    office.clock.at += timedelta(minutes=1)
    office.send()

    assert office.post.carried[2:] == [("broken", "waits")]
    assert office.noticing.findings() == ()


def test_pauses_grow_while_a_sink_fails(office: Office) -> None:
    office.post.broken = {"broken"}
    office.looked(PROPOSED)
    tried: list[int] = []
    for minute in range(20):
        before = len(office.noticing.findings())
        try:
            office.noticing.send()
        except UnavailableError:
            tried.append(minute)
        assert before in {0, 1}
        office.clock.at += timedelta(minutes=1)

    assert tried == [0, 1, 3, 7, 15]


def test_what_stops_an_environment_is_one_message(office: Office) -> None:
    office.post.carried.clear()
    held = replace(PROPOSED, state="held")

    office.looked(*(replace(held, application=f"app-{number}") for number in range(1000)))
    office.send()

    assert office.post.messages == ["broken", "all"]


def test_a_foreign_commit_is_told_of(office: Office) -> None:
    office.noticing.foreign(MANIFESTS, "prod", {"ref": "env/prod", "commit": "a" * 40})

    office.send()

    assert sorted(office.post.carried) == [("all", "foreign"), ("broken", "foreign")]


def test_the_file_and_the_secrets_beside_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "slack").write_text("slack://a/b/c\n")
    file = tmp_path / "notifications.json"
    file.write_text(json.dumps({"sinks": [{"name": "ops", "url_file": "slack"}]}))

    (sink,) = load_sinks(file)

    assert sink.url == "slack://a/b/c"


@pytest.mark.parametrize(("content", "fact"), [(None, "cannot be read"), ("", "is empty")])
def test_a_secret_that_is_not_there_ends_the_start(
    content: str | None, fact: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "slack").write_text(content)
    file = tmp_path / "notifications.json"
    file.write_text(json.dumps({"sinks": [{"name": "ops", "url_file": "slack"}]}))

    with pytest.raises(ConfigurationError, match=fact):
        load_sinks(file)
