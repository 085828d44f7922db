from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.adapters.store import MIGRATIONS, MemoryStore, migrate, open_database
from bot.domain.environments import GitHubRepository, ImageId
from bot.domain.memory import (
    Adoption,
    Hold,
    HoldKind,
    KnownSource,
    PublicationRecord,
    Resolution,
    Scope,
    Seal,
    SeenHead,
    ToldFailure,
    WrittenHead,
)
from bot.domain.oci import Digest
from bot.ports.record import Memory
from tests.world.rows import PROOFS

pytest_plugins = ["tests.world.postgres"]

AT = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
PROD = Scope(7, "prod")
PAYMENTS = Scope(7, "prod", "payments")
ONE = Digest("sha256:" + "1" * 64)
TWO = Digest("sha256:" + "2" * 64)
RESOLUTION = Resolution(
    7, "payments", "c" * 40, (("api", ONE), ("worker", TWO)), known_by="label", at=AT
)
SEAL = Seal(PAYMENTS, "api", "registry.example.com/acme/api", ONE, "m" * 40, 12, AT)
PUBLICATION = PublicationRecord(PROD, "env/prod", "b" * 40, "a" * 40, "d" * 40, AT)


@pytest.fixture(params=["sqlite", "postgresql"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Memory]:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    database = open_database(url)
    migrate(database, "store", MIGRATIONS)
    yield MemoryStore(database, PROOFS)
    database.dispose()


def test_a_repository_that_was_never_looked_at_has_no_heads(memory: Memory) -> None:
    assert memory.seen_heads("acme/payments") == {}


def test_a_seen_head_is_replaced(memory: Memory) -> None:
    old = SeenHead("acme/payments", "main", "a" * 40, followed=False)
    other = SeenHead("acme/payments", "develop", "b" * 40, followed=True)
    new = SeenHead("acme/payments", "main", "c" * 40, followed=True)

    memory.record_seen([old, other])
    memory.record_seen([new])

    assert memory.seen_heads("acme/payments") == {"main": new, "develop": other}
    assert memory.seen_heads("acme/other") == {}


def test_a_head_that_is_followed_stays_so(memory: Memory) -> None:
    pushed = SeenHead("acme/payments", "main", "a" * 40, followed=True)
    looked_at = replace(pushed, commit="b" * 40, followed=False)

    memory.record_seen([pushed])
    memory.record_seen([looked_at])

    assert memory.seen_heads("acme/payments") == {"main": replace(looked_at, followed=True)}


def test_an_image_may_be_an_older_commits(memory: Memory) -> None:
    older = replace(RESOLUTION, commits=(("worker", "a" * 40),))

    memory.record_resolution(older)
    found = memory.resolution(7, "payments", "c" * 40)

    assert found == older
    assert (older.commit_of("api"), older.commit_of("worker")) == ("c" * 40, "a" * 40)


def test_the_first_resolution_wins(memory: Memory) -> None:
    moved = replace(RESOLUTION, digests=(("api", TWO),), known_by="tag only")

    first = memory.record_resolution(RESOLUTION)
    second = memory.record_resolution(moved)

    assert first == second == RESOLUTION
    assert memory.resolution(7, "payments", "c" * 40) == RESOLUTION
    assert memory.resolution(8, "payments", "c" * 40) is None


def test_a_source_means_the_repository_that_was_recorded_last(memory: Memory) -> None:
    assert memory.known_source(7, "acme/payments") is None

    memory.record_source(KnownSource(Scope(7), "Acme/Payments", 4711, AT))
    memory.record_source(KnownSource(Scope(7), "acme/payments", 4712, AT))

    known = memory.known_source(7, "ACME/payments")
    assert known is not None
    assert (known.id, known.source) == (4712, "acme/payments")
    assert memory.known_source(8, "acme/payments") is None


def test_the_last_publication_is_that_of_any_environment(memory: Memory) -> None:
    stage = replace(PUBLICATION, scope=Scope(7, "stage"), ref="env/stage", commit="e" * 40)
    for publication in (PUBLICATION, replace(stage, rules="f" * 40)):
        memory.record_publication(publication)

    assert memory.last_publication(7) == replace(stage, rules="f" * 40)
    assert memory.last_publication(8) is None
    assert memory.last_publication(7, "prod") == PUBLICATION
    assert memory.last_publication(7, "dev") is None
    tips = {"env/prod": "b" * 40, "env/stage": "b" * 40, "env/dev": "0" * 40}
    assert set(memory.published(7, tips)) == {"env/prod"}
    assert not memory.published(8, tips)
    assert not memory.published(7, {})


def test_a_digest_leads_to_its_newest_resolution(memory: Memory) -> None:
    newer = replace(RESOLUTION, commit="e" * 40)
    memory.record_resolution(RESOLUTION)
    memory.record_resolution(newer)

    assert memory.resolution_of(7, "payments", "api", ONE) == newer
    assert memory.resolution_of(7, "payments", "api", TWO) is None
    assert memory.resolution_of(8, "payments", "api", ONE) is None


def test_publications_come_in_the_order_of_their_records(memory: Memory) -> None:
    second = replace(PUBLICATION, commit="e" * 40, parent="b" * 40, at=AT - timedelta(days=1))

    for publication in (PUBLICATION, second, PUBLICATION):
        memory.record_publication(publication)

    assert list(memory.latest_publications(PROD)) == [second, PUBLICATION]
    assert list(memory.latest_publications(Scope(7, "stage"))) == []
    assert list(memory.latest_publications(Scope(8, "prod"))) == []


def test_of_many_publications_each_is_found(memory: Memory) -> None:
    many = [replace(PUBLICATION, commit=f"{number:040x}") for number in range(120)]
    for publication in many:
        memory.record_publication(publication)

    assert list(memory.latest_publications(PROD)) == many[::-1]
    assert memory.publication_of(PROD, many[7].commit) == many[7]
    assert memory.publication_of(Scope(7, "stage"), many[7].commit) is None
    asked = [many[9].commit, "f" * 40, many[3].commit, many[9].commit]
    assert memory.published_among(PROD, asked) == [many[3], many[9]]
    assert memory.published_among(PROD, []) == []


def test_an_adoption_is_remembered_once(memory: Memory) -> None:
    adoption = Adoption(PAYMENTS, ONE, "ada", AT)

    memory.record_adoption(adoption)
    memory.record_adoption(replace(adoption, actor="bob"))

    assert memory.adoptions(PROD) == [adoption]


def test_holds_of_an_environment_and_its_applications_stop_it(memory: Memory) -> None:
    own = Hold(PROD, "freeze", "ada", AT)
    of_application = Hold(PAYMENTS, "incident", "bob", AT)
    everywhere = Hold(Scope(7), "restored from a backup", "lockkeeper", AT)
    for hold in (own, of_application, everywhere, Hold(Scope(7, "stage"), "x", "ada", AT)):
        memory.record_hold(hold)

    assert set(memory.holds(PROD)) == {own, of_application, everywhere}


def test_a_person_s_second_hold_replaces_the_reason_and_nobody_else_s(memory: Memory) -> None:
    bobs = Hold(PROD, "incident", "bob", AT)
    for one in (Hold(PROD, "freeze", "ada", AT), bobs, Hold(PROD, "audit", "ada", AT)):
        memory.record_hold(one)

    assert set(memory.holds(PROD)) == {Hold(PROD, "audit", "ada", AT), bobs}
    assert memory.release_hold(PROD, HoldKind.PERSON, "ada")
    assert not memory.release_hold(PROD, HoldKind.PERSON, "ada")
    assert memory.holds(PROD) == [bobs]
    assert memory.release_hold(PROD, HoldKind.PERSON)
    assert not memory.release_hold(PROD, HoldKind.PERSON)


def test_holds_of_a_person_and_of_the_bot_never_replace_each_other(memory: Memory) -> None:
    until = AT + timedelta(hours=8)
    given = [
        Hold(PROD, "incident", "ada", AT),
        Hold(PROD, "a foreign commit", "lockkeeper", AT, HoldKind.BOT),
        Hold(PROD, "rolled back", "bob", AT, HoldKind.ROLLBACK),
        Hold(PROD, "the fair", "bob", AT, HoldKind.FREEZE, until),
    ]
    for one in given:
        memory.record_hold(one)

    assert {hold.kind: hold for hold in memory.holds(PROD)} == {hold.kind: hold for hold in given}
    assert memory.release_hold(PROD, HoldKind.BOT)
    assert HoldKind.BOT not in {hold.kind for hold in memory.holds(PROD)}
    assert len(memory.holds(PROD)) == len(given) - 1


def test_holds_of_an_older_version_are_kept_apart(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'old.db'}")
    migrate(database, "store", MIGRATIONS[:8])
    with database.begin() as connection:
        for application, actor in (("", "lockkeeper"), ("payments", "ada")):
            row = {"m": 7, "e": "prod", "a": application, "r": "x", "w": actor, "t": AT.isoformat()}
            insert = "INSERT INTO lk_hold VALUES (:m, :e, :a, :r, :w, :t)"
            connection.execute(sa.text(insert), row)

    migrate(database, "store", MIGRATIONS)

    found = MemoryStore(database, PROOFS).holds(PROD)
    assert [(one.kind, one.actor) for one in found] == [
        (HoldKind.BOT, "lockkeeper"),
        (HoldKind.PERSON, "ada"),
    ]
    database.dispose()


def test_the_first_seal_of_a_digest_stays(memory: Memory) -> None:
    memory.record_seal(SEAL)
    memory.record_seal(replace(SEAL, merge="n" * 40))
    other = replace(SEAL, scope=Scope(7, "prod", "checkout"), digest=TWO)
    memory.record_seal(other)

    assert memory.seals(PAYMENTS) == [SEAL]
    assert memory.seals(PROD) == [SEAL, other]
    assert memory.seals(Scope(7, "stage")) == []


def test_written_heads_come_oldest_first(memory: Memory) -> None:
    first = WrittenHead(
        PAYMENTS, "lockkeeper/prod/payments", "a" * 40, "b" * 40, "t" * 40, "main", "s" * 40, AT
    )
    second = replace(first, commit="c" * 40)

    for head in (first, second, first):
        memory.record_written_head(head)

    assert memory.written_heads(PAYMENTS) == [first, second]
    assert list(memory.latest_heads(PAYMENTS)) == [second, first]
    assert list(memory.latest_heads(Scope(7, "prod", "billing"))) == []
    assert memory.heads_of(PAYMENTS, first.source)[0] == first
    assert memory.heads_of(PAYMENTS, "0" * 40) == []
    assert memory.heads_at(7, second.commit) == [second]
    assert memory.heads_at(8, second.commit) == []
    assert memory.written_heads(Scope(8, "prod", "payments")) == []


def test_told_failures_stay_until_they_are_forgotten(memory: Memory) -> None:
    one = ToldFailure("publish:7:prod:", GitHubRepository("acme", "deploy"), "c" * 40, "failed")
    other = replace(one, job="publish:7:stage:")

    memory.record_told_failures([one, replace(one, commit="b" * 40), other])
    memory.record_told_failures([one])

    assert memory.told_failures(one.job) == [replace(one, commit="b" * 40), one]
    memory.forget_told_failures(one.job)
    assert memory.told_failures(one.job) == []
    assert memory.told_failures(other.job) == [other]


def test_what_a_publication_shows_is_remembered_once_per_environment_and_image(
    memory: Memory,
) -> None:
    api, worker = ImageId("payments", "api"), ImageId("payments", "worker")

    for commit in ("a" * 40, "b" * 40, "a" * 40):
        memory.record_shown(PROD, commit, [(api, ONE), (worker, TWO)], AT)
    memory.record_shown(Scope(7, "stage"), "c" * 40, [(api, ONE)], AT)
    memory.record_shown(Scope(8, "prod"), "d" * 40, [(api, ONE)], AT)

    assert memory.shown_by(PROD, api, ONE) == ["b" * 40, "a" * 40]
    assert memory.shown_by(PROD, api, TWO) == []
    assert memory.shown_by(PROD, ImageId("billing", "api"), ONE) == []


def test_digests_that_were_resolved_are_known(memory: Memory) -> None:
    memory.record_resolution(RESOLUTION)
    many = [Digest(f"sha256:{number:064x}") for number in range(1200)]

    assert memory.known_digests(7, [*many, ONE]) == {ONE: ImageId("payments", "api")}
    assert memory.known_digests(8, [ONE, TWO]) == {}
    assert memory.known_digests(7, []) == {}
