from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, strategies as st

from bot.domain.oci import Digest
from bot.formats.promotion_statement import (
    PREDICATE_TYPE,
    AuditHead,
    EvidenceEntry,
    MergedPullRequest,
    PromotionStatement,
    SourceCommit,
    Standing,
    parse_promotion,
    render_promotion,
)

DIGEST = Digest("sha256:" + "a" * 64)
STATEMENT = PromotionStatement(
    digest=DIGEST,
    promotion="4711/prod/payments/" + "b" * 40,
    source=Standing("stage.example.com/acme/payments", "stage", ""),
    target=Standing("prod.example.com/acme/payments", "prod", "sha-ccccccc"),
    git=SourceCommit("acme/payments", "c" * 40, "main"),
    pull_request=MergedPullRequest("acme/deploy", 12, "b" * 40, "dana", ("rita", "remy")),
    evidence=(EvidenceEntry("https://cyclonedx.org/bom", "sha256:" + "d" * 64, verified=True),),
    builder="https://lockkeeper.dev/lockkeeper",
    version="0.1.0",
    at=datetime(2026, 11, 20, 12, 0, 7, tzinfo=UTC),
    audit=AuditHead(41, "e" * 64),
)


def changed(**fields: Any) -> bytes:  # noqa: ANN401 - any part of the document
    document = json.loads(render_promotion(STATEMENT))
    for path, value in fields.items():
        place = document
        *heads, last = path.split("__")
        for head in heads:
            place = place[head]
        place[last] = value
    return json.dumps(document).encode()


def test_the_statement_reads_like_this() -> None:
    assert json.loads(render_promotion(STATEMENT)) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "prod.example.com/acme/payments", "digest": {"sha256": "a" * 64}}],
        "predicateType": "https://lockkeeper.dev/promotion/v1",
        "predicate": {
            "promotion": "4711/prod/payments/" + "b" * 40,
            "source": {
                "repository": "stage.example.com/acme/payments",
                "environment": "stage",
                "tag": "",
            },
            "target": {
                "repository": "prod.example.com/acme/payments",
                "environment": "prod",
                "tag": "sha-ccccccc",
            },
            "git": {"repository": "acme/payments", "commit": "c" * 40, "branch": "main"},
            "pullRequest": {
                "repository": "acme/deploy",
                "number": 12,
                "mergeCommit": "b" * 40,
                "mergedBy": "dana",
                "approvedBy": ["rita", "remy"],
            },
            "evidence": [
                {
                    "predicateType": "https://cyclonedx.org/bom",
                    "digest": "sha256:" + "d" * 64,
                    "verified": True,
                }
            ],
            "builder": {"id": "https://lockkeeper.dev/lockkeeper", "version": "0.1.0"},
            "timestamp": "2026-11-20T12:00:07Z",
            "audit": {"sequence": 41, "hash": "e" * 64},
        },
    }


@given(
    st.builds(
        replace,
        st.just(STATEMENT),
        source=st.none() | st.builds(Standing, st.text(), st.text(), st.text()),
        git=st.builds(SourceCommit, st.text(), st.text(), st.text()),
        pull_request=st.none()
        | st.builds(
            MergedPullRequest,
            st.text(),
            st.integers(0, 2**31),
            st.text(),
            st.text(),
            st.lists(st.text()).map(tuple),
        ),
        evidence=st.just(()) | st.just(STATEMENT.evidence),
    )
)
def test_what_is_rendered_is_read_back(statement: PromotionStatement) -> None:
    assert parse_promotion(render_promotion(statement)) == statement


def test_times_are_written_in_utc() -> None:
    at = STATEMENT.at.astimezone(timezone(timedelta(hours=5)))

    assert render_promotion(replace(STATEMENT, at=at)) == render_promotion(STATEMENT)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b"\xff",
        changed(predicateType="https://slsa.dev/provenance/v1"),
        changed(predicateType=PREDICATE_TYPE + "/failed"),
        changed(_type="https://example.com/Statement/v1"),
        changed(subject=[]),
        changed(subject=[{"name": "prod.example.com/acme/payments", "digest": {"sha256": "a"}}]),
        # Its subject is in one repository, its predicate speaks of another.
        changed(predicate__target__repository="other.example.com/acme/payments"),
        changed(predicate__target__repository="not a repository"),
        changed(predicate__timestamp="yesterday"),
        changed(predicate__timestamp="2026-11-20T12:00:07"),
        changed(predicate__pullRequest__number="12"),
        changed(predicate={}),
    ],
)
def test_what_is_no_statement_of_ours_is_none(payload: bytes) -> None:
    assert parse_promotion(payload) is None
