from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from bot.domain.errors import LimitExceededError
from bot.domain.evidence import UnreadableEvidenceError
from bot.domain.oci import Digest, ImageRepository
from bot.domain.policy import NO_POLICY, Check, Result, Verdict, verdict
from bot.formats.verdict_statement import (
    REPORT_LIMIT,
    SVR_TYPE,
    VULN_TYPE,
    PolicyDocument,
    VerdictStatement,
    parse_verdict,
    render_verdict,
    render_vulnerabilities,
    verified_properties,
)
from tests.evidence_bodies import CAME, scanned

DIGEST = Digest("sha256:" + "a" * 64)
REFERENCE = ImageRepository.parse("prod.example.com/acme/payments").at(DIGEST)
STATEMENT = VerdictStatement(
    digest=DIGEST,
    repository="prod.example.com/acme/payments",
    environment="prod",
    promotion="4711/prod/payments/" + "b" * 40,
    properties=("LOCKKEEPER_PROD_POLICY", "LOCKKEEPER_PROD_CHECK_SCAN"),
    policies=(
        PolicyDocument("git+https://github.com/acme/deploy@" + "c" * 40 + "#policy.yaml", DIGEST),
    ),
    version="0.1.0",
    at=datetime(2026, 11, 20, 12, 0, 7, tzinfo=UTC),
)


def test_the_statement_reads_like_this() -> None:
    assert json.loads(render_verdict(STATEMENT)) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "prod.example.com/acme/payments", "digest": {"sha256": "a" * 64}}],
        "predicateType": SVR_TYPE,
        "predicate": {
            "verifier": {
                "id": "https://lockkeeper.dev/lockkeeper/v0.1.0",
                "policies": [
                    {
                        "uri": "git+https://github.com/acme/deploy@" + "c" * 40 + "#policy.yaml",
                        "digest": {"sha256": "a" * 64},
                    }
                ],
            },
            "timeCreated": "2026-11-20T12:00:07Z",
            "properties": ["LOCKKEEPER_PROD_POLICY", "LOCKKEEPER_PROD_CHECK_SCAN"],
            "dev.lockkeeper": {
                "environment": "prod",
                "promotion": "4711/prod/payments/" + "b" * 40,
            },
        },
    }


def test_what_is_written_is_read() -> None:
    assert parse_verdict(render_verdict(STATEMENT)) == STATEMENT


@pytest.mark.parametrize(
    "change",
    [
        b"null",
        b"{}",
        render_verdict(STATEMENT).replace(b"svr/v0.2", b"svr/v9"),
        render_verdict(STATEMENT).replace(b"2026-11-20T12:00:07Z", b"2026-11-20T12:00:07"),
        render_verdict(STATEMENT).replace(b'"properties"', b'"other"'),
        render_verdict(STATEMENT).replace(b'{"sha256":"' + b"a" * 64 + b'"}}]', b'{"md5":"1"}}]'),
    ],
)
def test_what_is_no_verdict_of_ours_is_none(change: bytes) -> None:
    assert parse_verdict(change) is None


@given(st.binary())
def test_rubbish_is_none(content: bytes) -> None:
    assert parse_verdict(content) is None


def judged(*results: Result) -> Verdict:
    checks = [Check(f"rule-{n}", "", result, "") for n, result in enumerate(results)]
    return verdict(checks, blocks_unevaluated=False)


def test_a_pass_says_policy_no_warnings_and_every_check() -> None:
    assert verified_properties("prod-eu", judged(Result.PASS, Result.PASS)) == (
        "LOCKKEEPER_PROD_EU_POLICY",
        "LOCKKEEPER_PROD_EU_NO_WARNINGS",
        "LOCKKEEPER_PROD_EU_CHECK_RULE_0",
        "LOCKKEEPER_PROD_EU_CHECK_RULE_1",
    )


def test_a_warning_takes_its_property_and_the_silence_away() -> None:
    assert verified_properties("prod", judged(Result.PASS, Result.WARN)) == (
        "LOCKKEEPER_PROD_POLICY",
        "LOCKKEEPER_PROD_CHECK_RULE_0",
    )


@given(st.lists(st.sampled_from(Result)))
def test_what_failed_or_was_not_evaluated_is_never_said(results: list[Result]) -> None:
    said = verified_properties("prod", judged(*results))

    assert bool(said) == (bool(results) and set(results) <= {Result.PASS, Result.WARN})


def test_without_a_policy_nothing_is_said() -> None:
    assert verified_properties("prod", NO_POLICY) == ()
    assert verified_properties("prod", replace(judged(Result.PASS), has_policy=False)) == ()


def test_two_checks_of_one_spelling_have_to_pass_both() -> None:
    checks = [Check("a.b", "", Result.WARN, ""), Check("a-b", "", Result.PASS, "")]

    said = verified_properties("prod", verdict(checks, blocks_unevaluated=True))

    assert said == ("LOCKKEEPER_PROD_POLICY",)


def test_a_report_is_attested_whole() -> None:
    report = b'{"SchemaVersion": 2, "Results": []}'

    statement = json.loads(render_vulnerabilities(REFERENCE, scanned(CAME), report))

    assert statement["predicateType"] == VULN_TYPE
    assert statement["predicate"]["scanner"] == {
        "uri": "Trivy",
        "version": "0.74.0",
        "db": {"uri": "", "version": "2026-11-20T06:11:00Z"},
        "result": {"SchemaVersion": 2, "Results": []},
    }
    assert statement["predicate"]["metadata"]["scanFinishedOn"] == "2026-11-20T10:02:00Z"


def test_a_large_report_is_refused() -> None:
    with pytest.raises(LimitExceededError, match="512 KiB"):
        render_vulnerabilities(REFERENCE, scanned(CAME), b" " * (REPORT_LIMIT + 1))


@pytest.mark.parametrize("report", [b"null", b"", b"[" * 100_000])
def test_what_is_no_report_is_refused(report: bytes) -> None:
    with pytest.raises(UnreadableEvidenceError):
        render_vulnerabilities(REFERENCE, scanned(CAME), report)


def test_a_scan_of_no_time_is_not_attested() -> None:
    with pytest.raises(UnreadableEvidenceError, match="does not say when"):
        render_vulnerabilities(REFERENCE, replace(scanned(CAME), finished=None), b"{}")
