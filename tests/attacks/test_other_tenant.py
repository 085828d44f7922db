"""Another tenant of one bot: a manifests repository with environments of the same names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.adapters.clock import SystemClock
from bot.adapters.grants import Grants
from bot.adapters.journal import Journal
from bot.adapters.store import MIGRATIONS, MemoryStore, migrate, open_database
from bot.assembly import Granted
from bot.domain.environments import GitHubRepository, ImageId
from bot.domain.errors import ConfigurationError, LockkeeperError, NotGrantedError
from bot.domain.grants import KeyRole, key_in_two_places
from bot.domain.memory import (
    Adoption,
    Hold,
    HoldKind,
    KnownSource,
    PublicationRecord,
    Resolution,
    RulesAccepted,
    Scope,
    Seal,
    WrittenHead,
)
from bot.domain.oci import Digest, ImageRepository
from tests.world.keys import generate_key_pair
from tests.world.rows import PROOFS

A, B = GitHubRepository.parse("acme/deploy"), GitHubRepository.parse("evil/deploy")
AT = datetime(2026, 11, 20, tzinfo=UTC)
ONE = Digest("sha256:" + "1" * 64)
KEY = generate_key_pair(cost=32768)


@pytest.fixture
def granted(tmp_path: Path) -> Granted:
    for repository, hosts in ((A, ["prod.example.com"]), (B, ["evil.example.com"])):
        folder = tmp_path / str(repository) / "prod"
        folder.mkdir(parents=True)
        (folder / "registry.json").write_text(json.dumps({"auths": {host: {} for host in hosts}}))
    (tmp_path / str(A) / "prod" / "signing.key").write_bytes(KEY.private)
    (tmp_path / str(A) / "sources").write_text("acme/*\n")
    (tmp_path / str(B) / "sources").write_text("evil/*\n")
    return Granted(Grants(tmp_path, [str(A), str(B)]), SystemClock(), Journal())


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[MemoryStore]:
    database = open_database(f"sqlite:///{tmp_path / 'store.db'}")
    migrate(database, "store", MIGRATIONS)
    yield MemoryStore(database, PROOFS)
    database.dispose()


def test_an_environment_of_the_same_name_opens_nothing_of_anothers(granted: Granted) -> None:
    there = ImageRepository.parse("prod.example.com/acme/payments")

    granted.check(A, "prod", [there])
    with pytest.raises(NotGrantedError):
        granted.check(B, "prod", [there])
    assert granted.keys(A, "prod", KeyRole.SIGNING).signers
    assert not granted.keys(B, "prod", KeyRole.SIGNING).verifiers
    assert granted.allows_source(A, GitHubRepository.parse("acme/payments"))
    assert not granted.allows_source(B, GitHubRepository.parse("acme/payments"))


@pytest.mark.parametrize(
    "name", ["../acme/deploy/prod", "../../acme/deploy/prod", "prod/../../../acme/deploy/prod", "."]
)
def test_no_name_of_an_environment_leads_to_anothers_grant(granted: Granted, name: str) -> None:
    with pytest.raises(LockkeeperError):
        granted.keys(B, name, KeyRole.SIGNING)
    with pytest.raises(LockkeeperError):
        granted.registry(B, name)


def test_a_key_that_two_tenants_have_stops_both(granted: Granted, tmp_path: Path) -> None:
    (tmp_path / str(B) / "prod" / "signing.pub").write_bytes(KEY.public)

    assert key_in_two_places(granted.key_places(), (str(A), "prod")) is not None
    assert key_in_two_places(granted.key_places(), (str(B), "prod")) is not None


def test_a_grant_that_cannot_be_read_keeps_nothing_of_anothers(
    granted: Granted, tmp_path: Path
) -> None:
    (tmp_path / str(B) / "prod" / "registry.json").write_text("{" * 10_000)

    with pytest.raises(ConfigurationError):
        granted.registry(B, "prod")
    granted.registry(A, "prod")


def test_no_row_of_one_tenant_is_anothers(memory: MemoryStore) -> None:
    """The same names everywhere, and GitHub's id of the manifests repository between them."""
    own, other = Scope(1, "prod", "payments"), Scope(2, "prod", "payments")
    image = ImageId("payments", "payments")
    memory.record_adoption(Adoption(other, ONE, "eve", AT))
    memory.record_seal(Seal(other, "payments", "r.example.com/x", ONE, "m" * 40, 1, AT))
    memory.record_publication(PublicationRecord(other, "env/prod", "b" * 40, "", "", AT))
    memory.record_shown(other, "b" * 40, [(image, ONE)], AT)
    memory.record_rules(RulesAccepted(Scope(2), "d" * 40, "x", AT))
    memory.record_hold(Hold(Scope(2, "prod"), "stop", "eve", AT))
    memory.record_source(KnownSource(Scope(2), "acme/payments", 666, AT))
    memory.record_written_head(
        WrittenHead(other, "l/prod", "c" * 40, "d" * 40, "t" * 40, "main", "s" * 40, AT)
    )
    memory.record_resolution(Resolution(2, "payments", "s" * 40, (("payments", ONE),), "x", AT))

    assert not memory.adoptions(own)
    assert not memory.seals(own)
    assert not [*memory.latest_publications(own)]
    assert not memory.shown_by(own, image, ONE)
    assert not memory.accepted_rules(1)
    assert not memory.holds(own)
    assert not memory.written_heads(own)
    assert memory.known_source(1, "acme/payments") is None
    assert memory.resolution(1, "payments", "s" * 40) is None
    assert memory.resolution_of(1, "payments", "payments", ONE) is None
    assert not memory.published(1, {"env/prod": "b" * 40})
    assert memory.last_publication(1) is None
    assert memory.owner_of(1, "env/prod") == ""
    assert not memory.release_hold(Scope(1, "prod"), HoldKind.PERSON)
    assert memory.holds(Scope(2, "prod"))
