from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from bot.domain.assessment import Evidence, assess
from bot.domain.evidence import (
    Exploitation,
    Finding,
    Fix,
    KnownExploited,
    Looked,
    Scan,
    Secret,
    Severity,
    merged_scans,
)
from bot.domain.judging import BaseFact
from bot.domain.packages import Package, PackageClass, PackageName, inventory, merged
from bot.domain.policy import (
    AnyRule,
    BaseImageRule,
    Check,
    Clock,
    EndOfLifeRule,
    EnvironmentPolicy,
    Grace,
    LicenceRule,
    PackageRule,
    Packages,
    Reason,
    Required,
    Result,
    RiskException,
    Scope,
    SecretRule,
    Verdict,
    VulnerabilityRule,
)
from bot.domain.vex import VexProduct, VexStatement
from tests.domain.evidence import AT, BOTH, finding, listing, package, scan

CRITICAL = VulnerabilityRule(
    id="critical", denies=True, scope=Scope.INTRODUCED, at_least=Severity.CRITICAL, has_fix=True
)
BAD = finding(severity=Severity.CRITICAL)
TODAY = AT.date()


def judged(
    evidence: Evidence,
    *rules: AnyRule,
    at: datetime = AT,
    **policy: object,
) -> Verdict:
    rules_of = replace(EnvironmentPolicy("stage", rules), **policy)  # type: ignore[arg-type]  # named fields
    return assess("stage", evidence, rules_of, at).verdict


def check(verdict: Verdict, name: str) -> Check:
    return next(check for check in verdict.checks if check.id == name)


def of(*findings: Finding, old: Iterable[Finding] = (), **facts: object) -> Evidence:
    return Evidence(scan(*findings), scan(*old), **facts)  # type: ignore[arg-type]  # named fields


def test_without_a_policy_nothing_gates() -> None:
    verdict = assess("stage", of(BAD), None, AT).verdict

    assert (verdict.result, verdict.blocks, verdict.checks) == (Result.NOT_EVALUATED, False, ())


def test_an_introduced_finding_fails_and_a_present_one_does_not() -> None:
    assert judged(of(BAD), CRITICAL).result is Result.FAIL
    assert judged(of(BAD, old=[BAD]), CRITICAL).result is Result.PASS
    assert judged(of(BAD, old=[BAD]), replace(CRITICAL, scope=Scope.PRESENT)).result is Result.FAIL


def test_a_warning_never_blocks() -> None:
    verdict = judged(of(BAD), replace(CRITICAL, denies=False))

    assert (verdict.result, verdict.blocks) == (Result.WARN, False)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (finding(severity=Severity.HIGH), Result.PASS),
        (finding(severity=Severity.UNKNOWN), Result.NOT_EVALUATED),
        (finding(severity=Severity.CRITICAL, fixed_in=()), Result.PASS),
        (finding(severity=Severity.CRITICAL, fixed_in=(), fix=Fix.UNKNOWN), Result.NOT_EVALUATED),
    ],
)
def test_every_condition_counts(changed: Finding, expected: Result) -> None:
    assert judged(of(changed), CRITICAL).result is expected


def test_classes_and_packages_narrow_a_rule() -> None:
    library = replace(CRITICAL, classes=frozenset({PackageClass.LIBRARY}))
    excepted = replace(CRITICAL, packages=Packages(not_=("pkg:deb/*",)))
    only = replace(CRITICAL, packages=Packages(only=("pkg:deb/debian/libssl*",)))

    assert judged(of(BAD), library).result is Result.PASS
    assert judged(of(BAD), excepted).result is Result.PASS
    assert judged(of(BAD), only).result is Result.FAIL


KEV = VulnerabilityRule(id="kev", denies=True, scope=Scope.INTRODUCED, is_exploited=True)
LIKELY = VulnerabilityRule(id="epss", denies=True, scope=Scope.INTRODUCED, epss_at_least=0.5)
LISTED = Exploitation(kev={"CVE-2026-0001": KnownExploited(TODAY)}, epss={"CVE-2026-0001": 0.9})
UNLISTED = Exploitation({"CVE-2020-0001": KnownExploited(TODAY)}, TODAY, {}, TODAY)
OLD = TODAY - timedelta(days=8)


@pytest.mark.parametrize("rule", [KEV, LIKELY])
def test_exploitation_needs_its_feed(rule: AnyRule) -> None:
    assert judged(of(BAD, exploitation=LISTED), rule).result is Result.FAIL
    assert judged(of(BAD, exploitation=UNLISTED), rule).result is Result.PASS
    assert judged(of(BAD), rule).result is Result.NOT_EVALUATED
    assert judged(of(), rule).result is Result.PASS


@pytest.mark.parametrize("rule", [KEV, LIKELY])
@pytest.mark.parametrize("at", [OLD, None])
def test_the_silence_of_an_old_feed_means_nothing(rule: AnyRule, at: date | None) -> None:
    silent = replace(UNLISTED, kev_date=at, epss_date=at)
    loud = replace(LISTED, kev_date=at, epss_date=at)

    assert judged(of(BAD, exploitation=silent), rule).result is Result.NOT_EVALUATED
    assert judged(of(BAD, exploitation=loud), rule).result is Result.FAIL
    fresh = judged(of(BAD, exploitation=silent), rule, max_feed_age=timedelta(days=8))
    assert fresh.result is (Result.PASS if at else Result.NOT_EVALUATED)


def test_exploitation_is_joined_by_any_identifier() -> None:
    aliased = finding("GHSA-7q5r-r9c2-x8mj", aliases=["CVE-2026-0001"])

    assert judged(of(aliased, exploitation=LISTED), KEV).result is Result.FAIL


def test_the_scanner_may_know_by_itself() -> None:
    known = Evidence(scan(BAD, knows_exploitation=True), scan())
    exploited = BAD._replace(exploited_since=TODAY)

    assert judged(known, KEV, LIKELY).result is Result.PASS
    assert judged(of(exploited), KEV).result is Result.FAIL


def test_nvd_decides_where_the_policy_says_so() -> None:
    rated = finding(severity=Severity.LOW)._replace(nvd_severity=Severity.CRITICAL)

    assert judged(of(rated), CRITICAL).result is Result.PASS
    assert judged(of(rated), CRITICAL, severity_from=("nvd", "vendor")).result is Result.FAIL


@pytest.mark.parametrize(
    ("clock", "facts", "first_seen", "expected"),
    [
        (Clock.FIX_AVAILABLE, {"fix_since": date(2026, 11, 14)}, None, Result.WARN),
        (Clock.FIX_AVAILABLE, {"fix_since": date(2026, 11, 6)}, None, Result.FAIL),
        (Clock.FIX_AVAILABLE, {"disclosed": date(2026, 11, 14)}, None, Result.WARN),
        (Clock.FIX_AVAILABLE, {"disclosed": date(2026, 1, 1)}, None, Result.FAIL),
        (Clock.FIX_AVAILABLE, {}, None, Result.FAIL),
        (Clock.DISCLOSED, {"disclosed": date(2026, 11, 14)}, None, Result.WARN),
        (Clock.DISCLOSED, {"disclosed": date(2026, 11, 20)}, None, Result.WARN),
        (Clock.DISCLOSED, {"disclosed": date(2026, 11, 21)}, None, Result.FAIL),
        (Clock.DISCLOSED, {"disclosed": date.max}, None, Result.FAIL),
        (Clock.DISCLOSED, {"disclosed": date.min}, None, Result.FAIL),
        (Clock.FIRST_SEEN, {}, date(2026, 11, 14), Result.WARN),
        (Clock.FIRST_SEEN, {}, date(2026, 11, 1), Result.FAIL),
        (Clock.FIRST_SEEN, {}, None, Result.FAIL),
    ],
)
def test_grace_runs_from_a_known_day(
    clock: Clock, facts: dict[str, date], first_seen: date | None, expected: Result
) -> None:
    found = BAD._replace(**facts)  # type: ignore[arg-type]  # dates of a finding
    rule = replace(CRITICAL, grace=Grace(clock, timedelta(days=14)))
    seen = {found.key: first_seen} if first_seen else {}

    assert judged(of(found, first_seen=seen), rule).result is expected


def test_grace_ends_by_itself() -> None:
    found = BAD._replace(fix_since=date(2026, 11, 14))
    rule = replace(CRITICAL, grace=Grace(Clock.FIX_AVAILABLE, timedelta(days=14)))

    before = judged(of(found), rule, at=datetime(2026, 11, 27, 23, 59, tzinfo=UTC))
    after = judged(of(found), rule, at=datetime(2026, 11, 28, 0, 0, tzinfo=UTC))

    assert "blocks from 2026-11-28" in check(before, "critical").detail
    assert (before.result, after.result) == (Result.WARN, Result.FAIL)


# An absence of data is never a pass.


@pytest.mark.parametrize(
    "blind",
    [
        Evidence(None),
        Evidence(scan(looked=frozenset()), scan()),
        Evidence(scan(looked=frozenset({Looked.LIBRARY}), system=""), scan()),
        Evidence(scan(scanner="grype"), scan(scanner="Trivy")),
        Evidence(
            scan(assumed=frozenset({Looked.LIBRARY}), listed=listing({"a": "1"})),
            scan(BAD, listed=merged([listing({"a": "1"}), listing({"left-pad": "1"}, "npm")])),
        ),
        Evidence(scan(), scan(), missing=("linux/arm64 timed out after 300 s",)),
    ],
)
def test_what_was_not_seen_did_not_pass(blind: Evidence) -> None:
    verdict = judged(blind, CRITICAL)

    assert verdict.result is Result.NOT_EVALUATED
    assert verdict.blocks
    assert check(verdict, "scan").result is Result.NOT_EVALUATED
    assert check(verdict, "critical").result is Result.NOT_EVALUATED


def test_a_failure_stays_one_where_something_else_was_not_evaluated() -> None:
    verdict = judged(of(BAD), CRITICAL, KEV)

    assert verdict.result is Result.FAIL


def test_the_environment_says_whether_it_blocks() -> None:
    verdict = judged(Evidence(None), CRITICAL, blocks_unevaluated=False)

    assert (verdict.result, verdict.blocks) == (Result.NOT_EVALUATED, False)


def test_a_policy_may_want_libraries_alone() -> None:
    static = Evidence(scan(looked=frozenset({Looked.LIBRARY}), system=""), None)
    classes = frozenset({PackageClass.LIBRARY})

    assert judged(static, CRITICAL, classes=classes).result is Result.PASS


def test_versions_of_a_scanner_that_differ_are_told() -> None:
    verdict = judged(Evidence(scan(version="0.74.0"), scan(version="0.70.0")), CRITICAL)

    assert verdict.result is Result.WARN


@pytest.mark.parametrize(
    "different",
    [
        {"platforms": ("linux/arm64",)},
        {"database": AT - timedelta(days=3)},
    ],
)
def test_sides_that_differ_are_told(different: dict[str, object]) -> None:
    one = scan(platforms=("linux/amd64",), database=AT)

    other = replace(one, **different)  # type: ignore[arg-type]  # named fields
    verdict = judged(Evidence(one, other, is_whole=True))

    assert check(verdict, "scan").result is Result.WARN


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (AT - timedelta(hours=4), Result.PASS),
        (AT - timedelta(hours=25), Result.NOT_EVALUATED),
        (None, Result.NOT_EVALUATED),
    ],
)
def test_old_data_is_missing_data(built: datetime | None, expected: Result) -> None:
    evidence = Evidence(scan(database=built, finished=built))

    verdict = judged(
        evidence, max_database_age=timedelta(hours=24), max_report_age=timedelta(hours=24)
    )

    assert check(verdict, "database-age").result is expected
    assert check(verdict, "report-age").result is expected


NEW = VulnerabilityRule(id="new", denies=True, scope=Scope.NEWLY_DISCLOSED)


def test_newly_disclosed_needs_a_date() -> None:
    young = finding(disclosed=date(2026, 11, 10))

    known = of(young, old=[young], last_promotion=date(2026, 11, 1))
    assert judged(known, NEW).result is Result.FAIL
    assert judged(of(young, old=[young]), NEW).result is Result.NOT_EVALUATED
    assert judged(of(young), NEW).result is Result.PASS


def test_end_of_life() -> None:
    rule = EndOfLifeRule(id="eol", denies=True, scope=Scope.INTRODUCED)
    dead = scan(end_of_life=True)

    assert judged(Evidence(dead), rule).result is Result.FAIL
    assert judged(Evidence(dead, dead), rule).result is Result.PASS
    assert judged(Evidence(dead, dead), replace(rule, scope=Scope.PRESENT)).result is Result.FAIL
    assert judged(Evidence(scan()), rule).result is Result.PASS
    assert judged(Evidence(scan(end_of_life=None)), rule).result is Result.NOT_EVALUATED


def test_secrets() -> None:
    rule = SecretRule(id="secrets", denies=True, scope=Scope.INTRODUCED)
    looked = BOTH | {Looked.SECRET}
    leaking = scan(looked=looked, secrets=frozenset({Secret("aws-key", "deploy.sh")}))

    assert judged(Evidence(leaking), rule).result is Result.FAIL
    assert judged(Evidence(leaking, leaking), rule).result is Result.PASS
    assert judged(Evidence(scan(looked=looked)), rule).result is Result.PASS
    assert judged(Evidence(scan()), rule).result is Result.NOT_EVALUATED


def test_licences() -> None:
    rule = LicenceRule(id="licences", denies=True, scope=Scope.INTRODUCED, denied=("BUSL-1.1",))
    good, bad = listing({"a": "1"}, licence="MIT"), listing({"a": "2"}, licence="BUSL-1.1")

    assert judged(Evidence(scan(), None, bad), rule).result is Result.FAIL
    assert judged(Evidence(scan(), None, bad, good), rule).result is Result.FAIL
    assert judged(Evidence(scan(), None, bad, bad), rule).result is Result.PASS
    assert judged(Evidence(scan(), None, bad, bad), replace(rule, scope=Scope.PRESENT)).blocks
    assert judged(Evidence(scan(), None, good), rule).result is Result.PASS
    assert judged(Evidence(scan()), rule).result is Result.NOT_EVALUATED


def test_required_evidence() -> None:
    required = Required(sbom=True, signature=True, provenance=True)
    verified = Evidence(
        scan(),
        new_inventory=listing({"a": "1"}),
        signature=Reason(Result.PASS, "key"),
        provenance=Reason(Result.FAIL, "another repository"),
    )

    nothing = judged(Evidence(scan()), required=required)
    something = judged(verified, required=required)

    asked = ("sbom", "signature", "provenance")
    assert {check(nothing, name).result for name in asked} == {Result.NOT_EVALUATED}
    assert [check(something, name).result for name in asked] == [
        *(Result.PASS, Result.PASS, Result.FAIL)
    ]


EXCEPTION = RiskException(
    vulnerability="CVE-2026-0001",
    package=package("libssl3"),
    version="",
    environments=("stage",),
    reason="no untrusted input",
    ticket="SEC-812",
    expires=TODAY + timedelta(days=7),
    file="policy/exceptions.yaml",
    line=14,
)


def test_an_exception_holds_a_finding_back() -> None:
    assessment = assess(
        "stage", of(BAD, exceptions=(EXCEPTION,)), EnvironmentPolicy("stage", (CRITICAL,)), AT
    )

    assert assessment.verdict.result is Result.PASS
    assert assessment.delta is not None
    (suppression,) = assessment.delta.suppressed
    assert (suppression.by, suppression.reason) == ("exception SEC-812", "no untrusted input")
    assert suppression.expires == EXCEPTION.expires


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"expires": TODAY - timedelta(days=1)}, "expired yesterday"),
        ({"expires": TODAY - timedelta(days=9)}, "expired 9 days ago"),
        ({"expires": TODAY + timedelta(days=31)}, "at most 30 are allowed"),
    ],
)
def test_an_exception_that_does_not_hold_says_why(changed: dict[str, date], words: str) -> None:
    lapsed = replace(EXCEPTION, **changed)  # type: ignore[arg-type]  # a date

    verdict = judged(of(BAD, exceptions=(lapsed,)), CRITICAL)

    assert verdict.result is Result.FAIL
    assert words in check(verdict, "exceptions").reasons[0].text


@given(st.integers(-400, 400))
def test_an_exception_holds_to_its_last_day_and_no_longer_than_allowed(days: int) -> None:
    excepted = replace(EXCEPTION, expires=TODAY + timedelta(days=days))

    verdict = judged(of(BAD, exceptions=(excepted,)), CRITICAL)

    assert (verdict.result is Result.PASS) == (0 <= days <= 30)


def test_what_is_exploited_is_excepted_for_a_week() -> None:
    eight = replace(EXCEPTION, expires=TODAY + timedelta(days=8))
    rules = (CRITICAL, KEV)

    assert judged(of(BAD, exploitation=LISTED, exceptions=(EXCEPTION,)), *rules).blocks is False
    assert judged(of(BAD, exploitation=LISTED, exceptions=(eight,)), *rules).blocks


@pytest.mark.parametrize(
    "changed",
    [
        {"environments": ("prod",)},
        {"package": package("openssl")},
        {"version": "9"},
        {"vulnerability": "CVE-2026-0002"},
    ],
)
def test_an_exception_excepts_nothing_else(changed: dict[str, object]) -> None:
    other = replace(EXCEPTION, **changed)  # type: ignore[arg-type]  # named fields

    assert judged(of(BAD, exceptions=(other,)), CRITICAL).result is Result.FAIL


def test_an_exception_that_matches_nothing_is_told() -> None:
    verdict = judged(of(exceptions=(EXCEPTION,)), CRITICAL)

    assert verdict.result is Result.PASS
    assert "1 match nothing" in check(verdict, "exceptions").detail


def vex(
    status: str = "not_affected", product: str = "pkg:deb/debian/libssl3", *parts: str
) -> VexStatement:
    return VexStatement(
        frozenset({"CVE-2026-0001"}), (VexProduct(product, parts),), status, "unused", "acme", AT
    )


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (vex(), Result.PASS),
        (vex("fixed"), Result.PASS),
        (vex("affected"), Result.FAIL),
        (vex("under_investigation"), Result.FAIL),
        (vex(product="pkg:deb/debian/libssl3@1"), Result.PASS),
        (vex(product="pkg:deb/debian/libssl3@2"), Result.FAIL),
        (vex(product="pkg:deb/debian/openssl"), Result.FAIL),
        (vex(product="pkg:oci/shop@sha256%3A" + "1" * 64), Result.PASS),
        (vex(product="pkg:oci/shop@sha256%3A" + "2" * 64), Result.FAIL),
        (vex(product="pkg:oci/shop?repository_url=r/shop"), Result.PASS),
        (vex(product="pkg:oci/other?repository_url=r/other"), Result.FAIL),
        (vex("not_affected", "pkg:oci/shop", "pkg:deb/debian/libssl3"), Result.PASS),
        (vex("not_affected", "pkg:oci/shop", "pkg:deb/debian/openssl"), Result.FAIL),
        (vex(product="r/shop:1"), Result.PASS),
        (vex(product="pkg:deb/debian/libssl3?os_name=debian&os_version=12"), Result.PASS),
        (vex(product="pkg:deb/debian/libssl3?os_name=debian&os_version=11"), Result.FAIL),
        (vex(product="pkg:deb/debian/libssl3?os_distro=bookworm"), Result.PASS),
        (vex(product="anything"), Result.FAIL),
    ],
)
def test_vex_counts_for_its_product(statement: VexStatement, expected: Result) -> None:
    new = scan(BAD, image="r/shop:1", digests=frozenset({"sha256:" + "1" * 64}))

    assert judged(Evidence(new, scan(), vex=(statement,)), CRITICAL).result is expected


def test_the_last_statement_counts() -> None:
    later = replace(vex("affected"), at=AT + timedelta(days=1))

    assert judged(of(BAD, vex=(later, vex())), CRITICAL).result is Result.FAIL


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("/usr", "/app"), Result.PASS),
        (("/usr",), Result.FAIL),
        (("/app",), Result.FAIL),
        (("/usr", "/ap"), Result.FAIL),
        (("/**",), Result.PASS),
        ((), Result.FAIL),
    ],
)
def test_exceptions_of_several_paths_hold_together(
    paths: tuple[str, ...], expected: Result
) -> None:
    found = BAD._replace(paths=("app/a/package.json", "usr/lib/a/package.json"))
    accepted = tuple(replace(EXCEPTION, path=path) for path in paths)

    assert judged(of(found, exceptions=accepted), CRITICAL).result is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SUSE-SU-2025:02889-1", Result.NOT_EVALUATED),
        ("DLA-3482-1", Result.NOT_EVALUATED),
        ("ALAS2-2026-1", Result.NOT_EVALUATED),
        ("CVE-2026-0007", Result.PASS),
        ("GHSA-7q5r-r9c2-x8mj", Result.NOT_EVALUATED),
        ("GO-2024-2687", Result.NOT_EVALUATED),
        ("MAL-2026-1", Result.PASS),
        ("TEMP-0000000-ABCDEF", Result.PASS),
    ],
)
def test_an_advisory_that_names_no_cve_is_not_known_to_be_unlisted(
    name: str, expected: Result
) -> None:
    """Trivy reports advisories of SUSE without their CVEs: feeds cannot be asked about them."""
    evidence = Evidence(
        scan(finding(name)),
        scan(),
        exploitation=Exploitation(kev={}, kev_date=TODAY, epss={}, epss_date=TODAY),
    )

    assert judged(evidence, KEV).result is expected
    assert judged(evidence, LIKELY).result is expected


def test_a_licence_that_is_known_in_part_is_open_for_what_is_allowed_and_unknown() -> None:
    """DependencyTrack, spdx-maven-plugin 192: ``Apache-2.0 AND NOASSERTION``."""
    listed = inventory([Package(PackageName("npm", "", "x"), "1", "MIT AND NOASSERTION")])
    allowed = LicenceRule(id="a", denies=True, scope=Scope.PRESENT, allowed=("MIT",))
    unknown = replace(allowed, id="u", allowed=(), denies_unknown=True)
    worse = inventory([Package(PackageName("npm", "", "x"), "1", "AGPL-3.0-only AND NONE")])

    assert judged(Evidence(scan(), None, listed), allowed).result is Result.NOT_EVALUATED
    assert judged(Evidence(scan(), None, listed), unknown).result is Result.FAIL
    assert judged(Evidence(scan(), None, worse), allowed).result is Result.FAIL


def test_what_is_no_statement_suppresses_nothing_and_replaces_nothing() -> None:
    """And whoever wrote it hears of it, with the way out."""
    flawed = replace(vex(), flaw="it has no reason; give it one", at=AT + timedelta(days=1))

    alone, after = (judged(of(BAD, vex=words), CRITICAL) for words in ((flawed,), (vex(), flawed)))

    assert alone.result is Result.FAIL
    assert after.result is Result.WARN, "the valid one before it counts"
    for verdict in (alone, after):
        told = check(verdict, "vex")
        assert told.result is Result.WARN
        assert "1 statement is invalid and suppresses nothing: VEX not_affected" in told.detail
        assert "it has no reason; give it one" in told.detail
        assert "match nothing" not in told.detail


def test_a_policy_may_refuse_vex() -> None:
    evidence = of(BAD, vex=(vex(),))

    assert judged(evidence, CRITICAL, vex_statuses=frozenset({"fixed"})).result is Result.FAIL


SEVERITIES = st.sampled_from(list(Severity))


@given(st.lists(SEVERITIES, max_size=5), st.booleans())
def test_more_findings_never_help(severities: list[Severity], known: bool) -> None:  # noqa: FBT001 - drawn
    findings = [finding(f"CVE-2026-1{n:03d}", severity=s) for n, s in enumerate(severities)]
    exploitation = LISTED if known else Exploitation()
    order = [Result.PASS, Result.WARN, Result.NOT_EVALUATED, Result.FAIL]

    fewer = judged(of(*findings, exploitation=exploitation), CRITICAL, KEV)
    more = judged(of(*findings, BAD, exploitation=exploitation), CRITICAL, KEV)

    assert order.index(more.result) >= order.index(fewer.result)


def test_an_empty_sbom_is_none() -> None:
    empty = Evidence(scan(), new_inventory=listing({}))
    licences = LicenceRule(id="licences", denies=True, scope=Scope.PRESENT, denied=("MIT",))

    verdict = judged(empty, licences, required=Required(sbom=True))

    assert check(verdict, "sbom").detail == "it lists no package"
    assert check(verdict, "licences").result is Result.NOT_EVALUATED


API, WORKER = (
    scan(BAD, image="registry.example/api", platforms=("linux/amd64",)),
    scan(BAD, image="registry.example/worker", platforms=("linux/amd64",)),
)


def on(platform: str, found: Scan) -> Scan:
    return replace(found, platforms=(platform,))


@pytest.mark.parametrize(
    ("scans", "where"),
    [
        ((API, on("linux/arm64", API)), ""),
        ((API, replace(on("linux/arm64", API), findings={})), " (linux/amd64)"),
        ((API, WORKER), ""),
        ((API, replace(WORKER, findings={})), " (registry.example/api)"),
        (
            (API, on("linux/arm64", API), WORKER, replace(on("linux/arm64", WORKER), findings={})),
            " (registry.example/api; registry.example/worker on linux/amd64)",
        ),
    ],
)
def test_where_it_holds_is_said_unless_it_is_everywhere(
    scans: tuple[Scan, ...], where: str
) -> None:
    new = merged_scans(scans)
    found = check(judged(Evidence(new), CRITICAL), "critical")

    assert found.result is Result.FAIL
    assert found.detail == f"CVE-2026-0001 in libssl3{where}"
    assert len(found.reasons) == len(new.findings), "each finding stays one"


def test_what_holds_on_every_platform_is_said_once() -> None:
    listed = listing({"left-pad": "1"}, "npm", "AGPL-3.0-only")
    both = [replace(on(one, API), inventory=listed) for one in ("linux/amd64", "linux/arm64")]
    rule = LicenceRule(id="licences", denies=True, scope=Scope.PRESENT, denied=("AGPL-3.0-only",))

    (reason,) = check(judged(Evidence(merged_scans(both)), rule), "licences").reasons
    assert "linux/" not in reason.text

    lone = merged_scans(
        [both[0], replace(both[1], inventory=listing({"left-pad": "1"}, "npm", "MIT"))]
    )
    told = [one.text for one in check(judged(Evidence(lone), rule), "licences").reasons]
    assert any(text.endswith(" (linux/amd64)") for text in told)


def test_the_base_of_one_image_says_nothing_of_another() -> None:
    rule = BaseImageRule(id="base", denies=True, scope=Scope.PRESENT, allowed=("*/golden/*",))
    known = (BaseFact("registry.example/api", "registry.example/golden/debian:12"),)
    evidence = Evidence(merged_scans([API, WORKER]), bases=known)

    found = check(judged(evidence, rule), "base")

    assert found.result is Result.NOT_EVALUATED
    assert "registry.example/worker" in found.detail


def test_another_denied_licence_than_before_is_news_and_is_named_in_full() -> None:
    def under(licence: str) -> Scan:
        return scan(listed=listing({"left-pad": "1"}, "npm", licence))

    rule = LicenceRule(
        id="licences",
        denies=True,
        scope=Scope.INTRODUCED,
        denied=("GPL-3.0-only", "AGPL-3.0-only"),
    )

    worse = judged(Evidence(under("AGPL-3.0-or-later"), under("GPL-3.0-only")), rule)
    found = check(worse, "licences")
    assert found.result is Result.FAIL
    assert found.detail == "left-pad is under AGPL-3.0-or-later"
    both = judged(Evidence(under("MIT AND AGPL-3.0-only"), under("GPL-3.0-only")), rule)
    words = "left-pad is under MIT AND AGPL-3.0-only (AGPL-3.0-only is denied)"
    assert check(both, "licences").detail == words
    same = judged(Evidence(under("GPL-3.0-only"), under("GPL-3.0-only")), rule)
    assert check(same, "licences").result is Result.PASS


def test_what_nobody_scanned_anew_is_not_fixed() -> None:
    """Of two images that run only one has a new report."""
    clean = replace(API, findings={})
    evidence = Evidence(clean, merged_scans([clean, WORKER]))

    blind = assess("stage", evidence, EnvironmentPolicy("stage", (CRITICAL,)), AT)

    assert blind.verdict.blocks
    assert "registry.example/worker" in check(blind.verdict, "scan").detail
    assert blind.delta is not None
    assert (blind.delta.fixed, len(blind.delta.unchanged)) == ((), 1)

    told = assess("stage", replace(evidence, is_whole=True), EnvironmentPolicy("stage"), AT)
    assert told.verdict.result is Result.WARN
    assert told.delta is not None
    assert len(told.delta.fixed) == 1


def test_vex_of_the_image_that_runs_says_nothing_of_the_new_one() -> None:
    old = replace(API, digests=frozenset({f"sha256:{'a' * 64}"}))
    new = replace(API, digests=frozenset({f"sha256:{'b' * 64}"}))
    product = VexProduct(f"pkg:oci/api@sha256:{'a' * 64}")
    word = VexStatement(frozenset({"CVE-2026-0001"}), (product,), "not_affected", "why", "team")

    found = judged(Evidence(new, old, vex=(word,)), CRITICAL)

    assert check(found, "critical").result is Result.FAIL
    assert judged(Evidence(old, old, vex=(word,)), CRITICAL).result is Result.PASS


def test_what_names_two_vulnerabilities_is_no_name_of_either() -> None:
    """Trivy writes the same advisory beside each of its CVEs."""
    one = finding(severity=Severity.CRITICAL, aliases=["GHSA-7q5r-r9c2-x8mj"])
    two = finding("CVE-2026-0002", severity=Severity.CRITICAL, aliases=["GHSA-7q5r-r9c2-x8mj"])
    accepted = replace(EXCEPTION, vulnerability="GHSA-7q5r-r9c2-x8mj")

    both = judged(of(one, two, exceptions=(accepted,)), CRITICAL)
    alone = judged(of(one, exceptions=(accepted,)), CRITICAL)

    assert check(both, "critical").result is Result.FAIL
    assert check(alone, "critical").result is Result.PASS


XZ = Packages(only=("pkg:deb/*/xz-utils",))


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("5.4.5-1", Result.PASS),
        ("5.6.0-1", Result.FAIL),
        ("5.6.1-2", Result.FAIL),
        ("5.6.1+really5.4.5-1", Result.FAIL),
        ("5.6.2-1", Result.PASS),
        ("1:5.6.0-1", Result.PASS),
        ("x:5", Result.NOT_EVALUATED),
    ],
)
def test_a_range_of_versions_is_banned(version: str, expected: Result) -> None:
    rule = PackageRule(
        id="xz", denies=True, scope=Scope.PRESENT, packages=XZ, least="5.6.0", below="5.6.2"
    )
    listed = scan(listed=listing({"xz-utils": version}))

    assert check(judged(Evidence(listed), rule), "xz").result is expected


@pytest.mark.parametrize("glob", ["pkg:deb/*/xz-utils", "pkg:*/**/xz-utils"])
def test_a_list_of_libraries_clears_no_package_of_the_system(glob: str) -> None:
    rule = PackageRule(id="xz", denies=True, scope=Scope.PRESENT, packages=Packages(only=(glob,)))
    blind = scan(listed=listing({"left-pad": "1"}, "npm"), looked=frozenset({Looked.LIBRARY}))
    seen = scan(listed=listing({"left-pad": "1"}, "npm"))

    found = check(judged(Evidence(blind), rule), "xz")

    assert found.result is Result.NOT_EVALUATED
    assert "operating system packages" in found.detail
    assert check(judged(Evidence(seen), rule), "xz").result is Result.PASS


def test_one_image_without_a_finding_does_not_silence_what_grype_knows() -> None:
    """Its report has a risk beside each match, and an image without a match has none."""
    knows = replace(API, knows_exploitation=True)
    both = merged_scans([knows, replace(WORKER, findings={}, knows_exploitation=False)])

    assert check(judged(Evidence(both), KEV), "kev").result is Result.PASS


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        ("pkg:oci/payments?repository_url=ghcr.io/acme/payments", Result.PASS),
        ("pkg:oci/payments?repository_url=ghcr.io/acme", Result.PASS),
        ("pkg:oci/payments?repository_url=ghcr.io/other/payments", Result.FAIL),
        ("pkg:oci/payments", Result.PASS),
        ("pkg:oci/worker", Result.FAIL),
    ],
)
def test_vex_names_a_repository_that_the_image_goes_through(product: str, expected: Result) -> None:
    """In the App an image has the name of the pipeline file, and stands in several registries."""
    places = frozenset({"ghcr.io/acme/payments", "registry.example/prod/payments"})
    image = replace(API, image="payments", places=places)
    word = VexStatement(
        frozenset({"CVE-2026-0001"}), (VexProduct(product),), "not_affected", "why", "team"
    )

    found = judged(Evidence(image, vex=(word,)), CRITICAL)

    assert check(found, "critical").result is expected


def test_a_named_advisory_is_each_vulnerability_of_it() -> None:
    rule = VulnerabilityRule(
        id="one",
        denies=True,
        scope=Scope.PRESENT,
        identifiers=frozenset({"GHSA-7q5r-r9c2-x8mj"}),
    )
    one = finding(aliases=["GHSA-7q5r-r9c2-x8mj"])
    two = finding("CVE-2026-0002", aliases=["GHSA-7q5r-r9c2-x8mj"])

    found = check(judged(of(one, two), rule), "one")

    assert found.result is Result.FAIL
    assert len(found.reasons) == 2


@pytest.mark.parametrize("rule", [CRITICAL, SecretRule(id="s", denies=True, scope=Scope.PRESENT)])
def test_a_rule_for_no_image_here_says_so(rule: AnyRule) -> None:
    """A name that was mistyped must not look like a rule that holds."""
    typed = replace(rule, images=("wroker",))

    found = check(judged(Evidence(merged_scans([API, WORKER])), typed), typed.id)

    assert found.result is Result.PASS
    assert found.detail == "it is for wroker, and no image here is called so"
