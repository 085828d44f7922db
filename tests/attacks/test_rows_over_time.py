"""Random histories of records, with an adversary who writes to the database whatever he likes.

The model knows one sentence: what is believed was recorded, there and so, and in that order. Rows
may be gone; nothing else ever is there.
"""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bot.adapters.store import MIGRATIONS, MemoryStore, Proofs, migrate, open_database
from bot.domain.memory import Adoption, PublicationRecord, RulesAccepted, Scope, Seal
from bot.domain.oci import Digest

pytestmark = pytest.mark.slow

AT = datetime(2026, 11, 20, tzinfo=UTC)
SCOPES = [Scope(manifests, name) for manifests in (1, 2) for name in ("stage", "prod")]
DIGESTS = [Digest("sha256:" + digit * 64) for digit in "abc"]
COMMITS = [digit * 40 for digit in "def"]
TABLES = ("lk_adoption", "lk_seal", "lk_publication", "lk_rules")
_SCOPE = st.sampled_from(SCOPES)
_TABLE = st.sampled_from(TABLES)


class Histories(RuleBasedStateMachine):
    """The bot records, restarts and rotates its key; the adversary has SQL."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="lockkeeper-rows-"))
        self.database = open_database(f"sqlite:///{self.folder / 'store.db'}")
        migrate(self.database, "store", MIGRATIONS)
        self.key = 0
        self.memory = MemoryStore(self.database, Proofs((b"key 0",)))
        self.adoptions: set[tuple[Scope, Digest]] = set()
        self.seals: set[tuple[Scope, Digest]] = set()
        self.published: list[tuple[Scope, str]] = []
        self.accepted: list[tuple[int, str]] = []
        self.moment = AT

    def teardown(self) -> None:
        self.database.dispose()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, statement: str, **values: object) -> None:
        """One statement of the adversary; what the tables' own rules forbid does nothing."""
        try:
            with self.database.begin() as connection:
                connection.execute(sa.text(statement), values)
        except sa.exc.IntegrityError:
            return

    # --- the bot ---

    @rule(scope=_SCOPE, digest=st.sampled_from(DIGESTS))
    def adopt(self, scope: Scope, digest: Digest) -> None:
        self.memory.record_adoption(Adoption(scope, digest, "ada", AT))
        self.adoptions.add((scope, digest))

    @rule(scope=_SCOPE, digest=st.sampled_from(DIGESTS))
    def seal(self, scope: Scope, digest: Digest) -> None:
        self.memory.record_seal(Seal(scope, "api", "r.example.com/api", digest, "m" * 40, 1, AT))
        self.seals.add((scope, digest))

    @rule(scope=_SCOPE, commit=st.sampled_from(COMMITS))
    def publish(self, scope: Scope, commit: str) -> None:
        self.moment += timedelta(seconds=1)
        self.memory.record_publication(
            PublicationRecord(scope, f"env/{scope.environment}", commit, "", "", self.moment)
        )
        self.published.append((scope, commit))

    @rule(manifests=st.sampled_from([1, 2]), commit=st.sampled_from(COMMITS))
    def let_in(self, manifests: int, commit: str) -> None:
        self.memory.record_rules(RulesAccepted(Scope(manifests), commit, "x", AT))
        self.accepted.append((manifests, commit))

    @rule()
    def restart(self) -> None:
        self.memory = MemoryStore(self.database, Proofs(self.memory.proofs.keys))

    @rule()
    def rotate(self) -> None:
        old, self.key = self.memory.proofs.keys[0], self.key + 1
        new = f"key {self.key}".encode()
        Proofs((new, old)).renew(self.database)
        self.memory = MemoryStore(self.database, Proofs((new,)))

    # --- the adversary ---

    @rule(table=_TABLE, to=_SCOPE)
    def move(self, table: str, to: Scope) -> None:
        place = "manifests = :manifests, environment = :environment"
        said = {"manifests": to.manifests, "environment": to.environment}
        one = f"number = (SELECT min(number) FROM {table})"  # noqa: S608 - our own names
        self.sql(f"UPDATE {table} SET {place} WHERE {one}", **said)  # noqa: S608 - our own names

    @rule(table=_TABLE, by=st.integers(-9, 9))
    def renumber(self, table: str, by: int) -> None:
        one = f"number = (SELECT max(number) FROM {table})"  # noqa: S608 - our own names
        self.sql(f"UPDATE {table} SET number = number + :by WHERE {one}", by=by)  # noqa: S608 - our own names

    @rule(digest=st.sampled_from(DIGESTS), table=st.sampled_from(["lk_adoption", "lk_seal"]))
    def swap(self, digest: Digest, table: str) -> None:
        self.sql(f"UPDATE {table} SET digest = :digest", digest=str(digest))  # noqa: S608 - our own names

    @rule(commit=st.sampled_from(COMMITS), table=st.sampled_from(["lk_publication", "lk_rules"]))
    def turn(self, commit: str, table: str) -> None:
        self.sql(f"UPDATE {table} SET commit_id = :commit", commit=commit)  # noqa: S608 - our own names

    @rule(scope=_SCOPE, digest=st.sampled_from(DIGESTS))
    def forge(self, scope: Scope, digest: Digest) -> None:
        self.sql(
            "INSERT INTO lk_adoption"
            " (manifests, environment, application, digest, actor, at, proof)"
            " VALUES (:manifests, :environment, '', :digest, 'eve', :at,"
            " (SELECT max(proof) FROM lk_adoption))",
            manifests=scope.manifests,
            environment=scope.environment,
            digest=str(digest),
            at=AT.isoformat(timespec="microseconds"),
        )

    @rule(table=_TABLE)
    def take_away(self, table: str) -> None:
        self.sql(f"DELETE FROM {table} WHERE number = (SELECT max(number) FROM {table})")  # noqa: S608 - our own names

    # --- the sentence ---

    @invariant()
    def what_is_believed_was_recorded(self) -> None:
        for scope in SCOPES:
            for adoption in self.memory.adoptions(scope):
                assert (adoption.scope, adoption.digest) in self.adoptions
                assert adoption.actor == "ada"
            for seal in self.memory.seals(scope):
                assert (seal.scope, seal.digest) in self.seals

    @invariant()
    def and_in_that_order(self) -> None:
        for scope in SCOPES:
            found = [(one.scope, one.commit) for one in self.memory.latest_publications(scope)][
                ::-1
            ]
            assert is_within(found, self.published)
        for manifests in (1, 2):
            accepted = self.memory.accepted_rules(manifests)
            assert is_within([(manifests, one.commit) for one in accepted], self.accepted)


def is_within(found: list[tuple[Scope, str]] | list[tuple[int, str]], of: object) -> bool:
    """Whether a list is another one with some of it left out."""
    assert isinstance(of, list)
    rest = iter(of)
    return all(one in rest for one in found)


Histories.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestHistories = Histories.TestCase
