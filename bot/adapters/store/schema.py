"""The tables of the store, as they are now and as they came to be.

A migration is never edited after a release: a new one is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

MIGRATIONS: Final[Sequence[Sequence[str]]] = (
    (
        """CREATE TABLE lk_seen_head (
            source VARCHAR NOT NULL, branch VARCHAR NOT NULL, commit_id VARCHAR NOT NULL,
            followed INTEGER NOT NULL, PRIMARY KEY (source, branch))""",
        """CREATE TABLE lk_resolution (
            number {number}, manifests BIGINT NOT NULL, application VARCHAR NOT NULL,
            commit_id VARCHAR NOT NULL, known_by VARCHAR NOT NULL, at VARCHAR NOT NULL,
            UNIQUE (manifests, application, commit_id))""",
        """CREATE TABLE lk_resolved_image (
            resolution BIGINT NOT NULL REFERENCES lk_resolution (number),
            image VARCHAR NOT NULL, digest VARCHAR NOT NULL, PRIMARY KEY (resolution, image))""",
        "CREATE INDEX lk_resolved_image_digest ON lk_resolved_image (digest, image)",
        """CREATE TABLE lk_publication (
            number {number}, manifests BIGINT NOT NULL, environment VARCHAR NOT NULL,
            application VARCHAR NOT NULL, ref VARCHAR NOT NULL, commit_id VARCHAR NOT NULL,
            parent VARCHAR NOT NULL, source VARCHAR NOT NULL, at VARCHAR NOT NULL,
            UNIQUE (manifests, environment, application, ref, commit_id))""",
        """CREATE TABLE lk_adoption (
            number {number}, manifests BIGINT NOT NULL, environment VARCHAR NOT NULL,
            application VARCHAR NOT NULL, digest VARCHAR NOT NULL, actor VARCHAR NOT NULL,
            at VARCHAR NOT NULL, UNIQUE (manifests, environment, application, digest))""",
        """CREATE TABLE lk_hold (
            manifests BIGINT NOT NULL, environment VARCHAR NOT NULL,
            application VARCHAR NOT NULL, reason VARCHAR NOT NULL, actor VARCHAR NOT NULL,
            at VARCHAR NOT NULL, PRIMARY KEY (manifests, environment, application))""",
        """CREATE TABLE lk_seal (
            number {number}, manifests BIGINT NOT NULL, environment VARCHAR NOT NULL,
            application VARCHAR NOT NULL, image VARCHAR NOT NULL, repository VARCHAR NOT NULL,
            digest VARCHAR NOT NULL, merge_id VARCHAR NOT NULL, pull_request BIGINT NOT NULL,
            at VARCHAR NOT NULL,
            UNIQUE (manifests, environment, application, image, repository, digest))""",
        """CREATE TABLE lk_written_head (
            number {number}, manifests BIGINT NOT NULL, environment VARCHAR NOT NULL,
            application VARCHAR NOT NULL, branch VARCHAR NOT NULL, commit_id VARCHAR NOT NULL,
            base VARCHAR NOT NULL, trigger_id VARCHAR NOT NULL, trigger_branch VARCHAR NOT NULL,
            source VARCHAR NOT NULL, at VARCHAR NOT NULL,
            UNIQUE (manifests, environment, application, branch, commit_id))""",
        """CREATE TABLE lk_audit (
            sequence BIGINT PRIMARY KEY, at VARCHAR NOT NULL, kind VARCHAR NOT NULL,
            manifests BIGINT NOT NULL, environment VARCHAR NOT NULL,
            application VARCHAR NOT NULL, facts VARCHAR NOT NULL, previous VARCHAR NOT NULL,
            hash VARCHAR NOT NULL, once VARCHAR UNIQUE)""",
        """CREATE TABLE lk_audit_head (
            id INTEGER PRIMARY KEY, sequence BIGINT NOT NULL, hash VARCHAR NOT NULL)""",
        "INSERT INTO lk_audit_head (id, sequence, hash) VALUES (1, 0, '')",
        """CREATE TABLE lk_command (
            id {number}, verb VARCHAR NOT NULL, arguments VARCHAR NOT NULL,
            actor VARCHAR NOT NULL, at VARCHAR NOT NULL, answer VARCHAR,
            failed INTEGER NOT NULL)""",
    ),
    (
        """CREATE TABLE lk_evaluation (
            promotion VARCHAR PRIMARY KEY, environment VARCHAR NOT NULL,
            application VARCHAR NOT NULL, at VARCHAR NOT NULL, verdict VARCHAR NOT NULL,
            document {bytes} NOT NULL)""",
    ),
    (
        """CREATE TABLE lk_examination (
            scanner VARCHAR NOT NULL, digest VARCHAR NOT NULL, sbom {bytes} NOT NULL,
            report {bytes} NOT NULL, PRIMARY KEY (scanner, digest))""",
        """CREATE TABLE lk_match (
            digest VARCHAR PRIMARY KEY, generation VARCHAR NOT NULL, at VARCHAR NOT NULL,
            report {bytes} NOT NULL, failure VARCHAR NOT NULL)""",
        """CREATE TABLE lk_first_seen (
            manifests BIGINT NOT NULL, environment VARCHAR NOT NULL,
            vulnerability VARCHAR NOT NULL, package VARCHAR NOT NULL, day VARCHAR NOT NULL,
            PRIMARY KEY (manifests, environment, vulnerability, package))""",
    ),
    (
        "ALTER TABLE lk_command ADD COLUMN begun INTEGER NOT NULL DEFAULT 0",
        """CREATE TABLE lk_told_failure (
            job VARCHAR NOT NULL, repository VARCHAR NOT NULL, commit_id VARCHAR NOT NULL,
            name VARCHAR NOT NULL, PRIMARY KEY (job, repository, commit_id, name))""",
    ),
    (
        """CREATE TABLE lk_outgoing (
            key VARCHAR PRIMARY KEY, repository VARCHAR NOT NULL, content {bytes} NOT NULL,
            stamp VARCHAR NOT NULL, attempts BIGINT NOT NULL, due VARCHAR NOT NULL,
            claimed VARCHAR NOT NULL, done BIGINT NOT NULL, at VARCHAR NOT NULL)""",
        "CREATE INDEX lk_outgoing_due ON lk_outgoing (done, due)",
        """CREATE TABLE lk_shown (
            number {number}, manifests BIGINT NOT NULL, environment VARCHAR NOT NULL,
            application VARCHAR NOT NULL, image VARCHAR NOT NULL, digest VARCHAR NOT NULL,
            commit_id VARCHAR NOT NULL, at VARCHAR NOT NULL,
            UNIQUE (manifests, environment, application, image, digest, commit_id))""",
        """CREATE TABLE lk_rules (
            number {number}, manifests BIGINT NOT NULL, environment VARCHAR NOT NULL,
            application VARCHAR NOT NULL, commit_id VARCHAR NOT NULL, accepted_by VARCHAR NOT NULL,
            valid INTEGER NOT NULL, at VARCHAR NOT NULL, UNIQUE (manifests, commit_id))""",
    ),
    (
        *(
            f"ALTER TABLE {table} ADD COLUMN proof VARCHAR NOT NULL DEFAULT ''"
            for table in (
                *("lk_resolution", "lk_publication", "lk_adoption", "lk_seal", "lk_shown"),
                *("lk_rules", "lk_written_head", "lk_command", "lk_examination", "lk_match"),
            )
        ),
        "ALTER TABLE lk_publication ADD COLUMN rules VARCHAR NOT NULL DEFAULT ''",
        """CREATE TABLE lk_source (
            number {number}, manifests BIGINT NOT NULL, environment VARCHAR NOT NULL,
            application VARCHAR NOT NULL, source VARCHAR NOT NULL, github_id BIGINT NOT NULL,
            at VARCHAR NOT NULL, proof VARCHAR NOT NULL, UNIQUE (manifests, source))""",
    ),
    (
        """CREATE TABLE lk_rendering (
            identity VARCHAR PRIMARY KEY, manifests BIGINT NOT NULL, environment VARCHAR NOT NULL,
            root VARCHAR NOT NULL, at VARCHAR NOT NULL, document {bytes} NOT NULL,
            proof VARCHAR NOT NULL)""",
        "CREATE INDEX lk_rendering_root ON lk_rendering (manifests, environment, root)",
    ),
    (
        """CREATE TABLE lk_blob (
            number {number}, blob VARCHAR NOT NULL UNIQUE, version BIGINT NOT NULL,
            said {bytes} NOT NULL, proof {bytes} NOT NULL)""",
    ),
    (
        """CREATE TABLE lk_stop (
            manifests BIGINT NOT NULL, environment VARCHAR NOT NULL,
            application VARCHAR NOT NULL, kind VARCHAR NOT NULL, reason VARCHAR NOT NULL,
            actor VARCHAR NOT NULL, at VARCHAR NOT NULL, until VARCHAR NOT NULL,
            PRIMARY KEY (manifests, environment, application, kind))""",
        """INSERT INTO lk_stop
            SELECT manifests, environment, application,
                CASE actor WHEN 'lockkeeper' THEN 'lockkeeper' ELSE 'person' END,
                reason, actor, at, '' FROM lk_hold""",
        "DROP TABLE lk_hold",
        """CREATE TABLE lk_asked (
            number {number}, manifests BIGINT NOT NULL, environment VARCHAR NOT NULL,
            application VARCHAR NOT NULL, kind VARCHAR NOT NULL, commit_id VARCHAR NOT NULL,
            asked_by VARCHAR NOT NULL, account BIGINT NOT NULL, key VARCHAR NOT NULL,
            reason VARCHAR NOT NULL, at VARCHAR NOT NULL, proof VARCHAR NOT NULL,
            UNIQUE (manifests, environment, application, key))""",
    ),
    ("ALTER TABLE lk_resolved_image ADD COLUMN commit_id VARCHAR NOT NULL DEFAULT ''",),
    (
        "CREATE INDEX lk_publication_newest ON lk_publication (manifests, environment, number)",
        "CREATE INDEX lk_publication_commit ON lk_publication (manifests, commit_id)",
        "CREATE INDEX lk_publication_ref ON lk_publication (manifests, ref, number)",
        """CREATE INDEX lk_written_head_newest
            ON lk_written_head (manifests, environment, application, number)""",
        "CREATE INDEX lk_written_head_commit ON lk_written_head (manifests, commit_id)",
        "CREATE INDEX lk_written_head_source ON lk_written_head (manifests, source)",
    ),
    (
        """CREATE TABLE lk_notice (
            sink VARCHAR NOT NULL, manifests VARCHAR NOT NULL, environment VARCHAR NOT NULL,
            application VARCHAR NOT NULL, event VARCHAR NOT NULL, identity VARCHAR NOT NULL,
            content {bytes} NOT NULL, at VARCHAR NOT NULL, due VARCHAR NOT NULL,
            claimed VARCHAR NOT NULL, attempts BIGINT NOT NULL, done BIGINT NOT NULL,
            PRIMARY KEY (sink, manifests, environment, application, event))""",
        "CREATE INDEX lk_notice_due ON lk_notice (sink, done, due)",
    ),
    (
        """CREATE TABLE lk_stop_of (
            manifests BIGINT NOT NULL, environment VARCHAR NOT NULL,
            application VARCHAR NOT NULL, kind VARCHAR NOT NULL, actor VARCHAR NOT NULL,
            reason VARCHAR NOT NULL, at VARCHAR NOT NULL, until VARCHAR NOT NULL,
            PRIMARY KEY (manifests, environment, application, kind, actor))""",
        """INSERT INTO lk_stop_of
            SELECT manifests, environment, application, kind, actor, reason, at, until
            FROM lk_stop""",
        "DROP TABLE lk_stop",
    ),
)
"""For ``migrate``, part ``store``; ``{number}`` counts rows in the order they were written,
``{bytes}`` is what holds bytes."""

_TABLES = sa.MetaData()


def _table(
    name: str, *columns: str, numbers: Sequence[str] = (), contents: Sequence[str] = ()
) -> sa.Table:
    return sa.Table(
        name,
        _TABLES,
        *(sa.Column(column, sa.BigInteger) for column in numbers),
        *(sa.Column(column, sa.LargeBinary) for column in contents),
        *(sa.Column(column, sa.String) for column in columns),
    )


_SCOPE: Final = ("environment", "application")
SEEN_HEAD: Final = _table("lk_seen_head", "source", "branch", "commit_id", numbers=["followed"])
RESOLUTION: Final = _table(
    "lk_resolution",
    *("application", "commit_id", "known_by", "at", "proof"),
    numbers=["number", "manifests"],
)
RESOLVED_IMAGE: Final = _table(
    "lk_resolved_image", "image", "digest", "commit_id", numbers=["resolution"]
)
PUBLICATION: Final = _table(
    "lk_publication",
    *(*_SCOPE, "ref", "commit_id", "parent", "source", "rules", "at", "proof"),
    numbers=["number", "manifests"],
)
ADOPTION: Final = _table(
    "lk_adoption", *(*_SCOPE, "digest", "actor", "at", "proof"), numbers=["number", "manifests"]
)
RULES: Final = _table(
    "lk_rules",
    *(*_SCOPE, "commit_id", "accepted_by", "at", "proof"),
    numbers=["number", "manifests", "valid"],
)
SHOWN: Final = _table(
    "lk_shown",
    *(*_SCOPE, "image", "digest", "commit_id", "at", "proof"),
    numbers=["number", "manifests"],
)
SOURCE: Final = _table(
    "lk_source", *(*_SCOPE, "source", "at", "proof"), numbers=["number", "manifests", "github_id"]
)
HOLD: Final = _table(
    "lk_stop_of", *(*_SCOPE, "kind", "actor", "reason", "at", "until"), numbers=["manifests"]
)
ASKED: Final = _table(
    "lk_asked",
    *(*_SCOPE, "kind", "commit_id", "asked_by", "key", "reason", "at", "proof"),
    numbers=["number", "manifests", "account"],
)
SEAL: Final = _table(
    "lk_seal",
    *(*_SCOPE, "image", "repository", "digest", "merge_id", "at", "proof"),
    numbers=["number", "manifests", "pull_request"],
)
WRITTEN_HEAD: Final = _table(
    "lk_written_head",
    *(*_SCOPE, "branch", "commit_id", "base", "trigger_id", "trigger_branch", "source", "at"),
    "proof",
    numbers=["number", "manifests"],
)
AUDIT: Final = _table(
    "lk_audit",
    *("at", "kind", *_SCOPE, "facts", "previous", "hash", "once"),
    numbers=["sequence", "manifests"],
)
AUDIT_HEAD: Final = _table("lk_audit_head", "hash", numbers=["id", "sequence"])
COMMAND: Final = _table(
    "lk_command",
    *("verb", "arguments", "actor", "at", "answer", "proof"),
    numbers=["id", "failed", "begun"],
)
TOLD_FAILURE: Final = _table("lk_told_failure", "job", "repository", "commit_id", "name")
OUTGOING: Final = _table(
    "lk_outgoing",
    *("key", "repository", "stamp", "due", "claimed", "at"),
    numbers=["attempts", "done"],
    contents=["content"],
)
EVALUATION: Final = _table(
    "lk_evaluation", "promotion", *_SCOPE, "at", "verdict", contents=["document"]
)
EXAMINATION: Final = _table(
    "lk_examination", "scanner", "digest", "proof", contents=["sbom", "report"]
)
MATCH: Final = _table(
    "lk_match", "digest", "generation", "at", "failure", "proof", contents=["report"]
)
FIRST_SEEN: Final = _table(
    "lk_first_seen", "environment", "vulnerability", "package", "day", numbers=["manifests"]
)
RENDERING: Final = _table(
    "lk_rendering",
    *("identity", "environment", "root", "at", "proof"),
    numbers=["manifests"],
    contents=["document"],
)
BLOB: Final = _table("lk_blob", "blob", numbers=["number", "version"], contents=["said", "proof"])
NOTICE: Final = sa.Table(
    "lk_notice",
    _TABLES,
    *(sa.Column(name, sa.String) for name in ("sink", "manifests", *_SCOPE, "event", "identity")),
    *(sa.Column(name, sa.String) for name in ("at", "due", "claimed")),
    *(sa.Column(name, sa.BigInteger) for name in ("attempts", "done")),
    sa.Column("content", sa.LargeBinary),
)
PROVEN: Final = {
    RESOLUTION: ("manifests", "application", "commit_id"),
    PUBLICATION: ("manifests", "environment", "application", "ref", "commit_id"),
    ADOPTION: ("manifests", "environment", "application", "digest"),
    SEAL: ("manifests", "environment", "application", "image", "repository", "digest"),
    SHOWN: ("manifests", "environment", "application", "image", "digest", "commit_id"),
    RULES: ("manifests", "commit_id"),
    WRITTEN_HEAD: ("manifests", "environment", "application", "branch", "commit_id"),
    EXAMINATION: ("scanner", "digest"),
    MATCH: ("digest",),
    SOURCE: ("manifests", "source"),
    RENDERING: ("identity",),
    ASKED: ("manifests", "environment", "application", "key"),
}
"""Tables whose rows authorise something, so carry a proof -> what makes two rows the same."""
