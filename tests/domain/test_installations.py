"""A finding is in one package, which may be installed several times: each counts by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, strategies as st

from bot.domain.assessment import Evidence, assess
from bot.domain.evidence import (
    Cvss,
    Exploitation,
    Finding,
    Fix,
    KnownExploited,
    Scan,
    Severity,
    Status,
    collapsed,
)
from bot.domain.packages import PackageClass, Purl
from bot.domain.policy import (
    EnvironmentPolicy,
    Result,
    RiskException,
    Scope,
    VulnerabilityRule,
)
from bot.domain.vex import VexProduct, VexStatement
from tests.domain.evidence import AT, finding, package, scan

ANY = VulnerabilityRule(id="r", denies=True, scope=Scope.INTRODUCED)


def installed(
    version: str = "1", path: str = "", *, registry: str = "", **facts: object
) -> Finding:
    one = finding(name="lodash", kind="npm", versions=(version,), paths=(path,) if path else ())
    qualifiers = (("repository_url", registry),) if registry else ()
    named = Purl(package("lodash", "npm"), version, qualifiers)
    return one._replace(installed=(named,) if registry else (), **facts)  # type: ignore[arg-type]  # named fields


def scanned(*sightings: Finding) -> Scan:
    return replace(scan(), findings=collapsed(sightings))


def answer(rule: VulnerabilityRule, *sightings: Finding, **facts: object) -> Result:
    evidence = Evidence(scanned(*sightings), **facts)  # type: ignore[arg-type]  # named fields
    policy = EnvironmentPolicy("stage", (rule,), vex_statuses=frozenset({"not_affected"}))
    return assess("stage", evidence, policy, AT).verdict.result


FIXED = installed("1", "app/a", status=Status.FIXED)
AFFECTED = installed(
    "2", "opt/b", status=Status.AFFECTED, fix=Fix.NONE, fixed_in=(), is_development=True
)
UNPLACED = installed("3")


@pytest.mark.parametrize(
    ("changed", "breaking", "other"),
    [
        ({"statuses": frozenset({Status.FIXED})}, FIXED, AFFECTED),
        ({"statuses": frozenset({Status.AFFECTED})}, AFFECTED, FIXED),
        ({"lacks_fix": True}, AFFECTED, FIXED),
        ({"has_fix": True}, FIXED, AFFECTED),
        ({"has_fix": True, "paths": ("/app",)}, FIXED, AFFECTED),
        ({"ignores_development": True}, FIXED, AFFECTED),
    ],
)
def test_a_second_installation_hides_none(
    changed: dict[str, object], breaking: Finding, other: Finding
) -> None:
    rule = replace(ANY, **changed)  # type: ignore[arg-type]  # named fields
    assert answer(rule, breaking) is Result.FAIL
    assert answer(rule, other) is Result.PASS
    assert answer(rule, breaking, other) is answer(rule, other, breaking) is Result.FAIL


def test_conditions_hold_of_one_installation_together() -> None:
    rule = replace(ANY, has_fix=True, paths=("/opt",))
    assert answer(rule, FIXED, AFFECTED) is Result.PASS


def test_one_of_which_nobody_says_where_it_lies_is_not_known_to_lie_elsewhere() -> None:
    rule = replace(ANY, paths=("/srv",))
    assert answer(rule, FIXED) is Result.PASS
    assert answer(rule, FIXED, UNPLACED) is Result.NOT_EVALUATED


def exception(**facts: object) -> RiskException:
    return RiskException(
        "CVE-2026-0001",
        package("lodash", "npm"),
        environments=(),
        reason="",
        ticket="SEC-1",
        expires=AT.date() + timedelta(days=1),
        file="e.yaml",
        line=1,
        **{"version": "", **facts},  # type: ignore[arg-type]  # named fields
    )


@pytest.mark.parametrize(
    ("excepted", "sightings", "expected"),
    [
        (exception(path="/app"), (FIXED,), Result.PASS),
        (exception(path="/app"), (FIXED, UNPLACED), Result.FAIL),
        (exception(version="9"), (installed("9", registry="x.example"),), Result.PASS),
        (exception(version="9"), (installed("9", registry="x.example"), UNPLACED), Result.FAIL),
    ],
)
def test_an_exception_has_to_name_every_installation(
    excepted: RiskException, sightings: tuple[Finding, ...], expected: Result
) -> None:
    assert answer(ANY, *sightings, exceptions=(excepted,)) is expected


@pytest.mark.parametrize(
    ("sightings", "expected"),
    [
        ((installed("9", registry="x.example"),), Result.PASS),
        ((installed("9", registry="x.example"), UNPLACED), Result.FAIL),
        ((UNPLACED, installed("9", registry="x.example")), Result.FAIL),
    ],
)
def test_vex_has_to_name_every_installation(
    sightings: tuple[Finding, ...], expected: Result
) -> None:
    statement = VexStatement(
        frozenset({"CVE-2026-0001"}),
        (VexProduct("pkg:npm/lodash@9"),),
        "not_affected",
        "",
        "us",
    )
    assert answer(ANY, *sightings, vex=(statement,)) is expected


SIGHTINGS = st.builds(
    installed,
    st.sampled_from(["1", "2"]),
    st.sampled_from(["", "app/a", "opt/b"]),
    status=st.sampled_from([Status.FIXED, Status.AFFECTED]),
    fix=st.sampled_from(list(Fix)),
    is_development=st.booleans(),
)
RULES = st.builds(
    VulnerabilityRule,
    id=st.just("r"),
    denies=st.just(True),  # noqa: FBT003 - a strategy's value
    scope=st.just(Scope.INTRODUCED),
    has_fix=st.booleans(),
    statuses=st.sets(st.sampled_from([Status.FIXED, Status.AFFECTED])).map(frozenset),
    paths=st.sampled_from([(), ("/app",)]),
    ignores_development=st.booleans(),
)


@given(RULES, st.lists(SIGHTINGS, min_size=1, max_size=4), SIGHTINGS)
def test_one_more_installation_never_helps(
    rule: VulnerabilityRule, sightings: list[Finding], more: Finding
) -> None:
    if answer(rule, *sightings) is Result.FAIL:
        assert answer(rule, *sightings, more) is Result.FAIL
        assert answer(rule, more, *sightings) is Result.FAIL


def test_one_vector_of_several_meets_a_rule() -> None:
    rule = replace(ANY, vector=("AV:N",))
    one = installed(cvss=Cvss(9.0, "CVSS:3.1/AV:L/AC:L"))
    assert answer(rule, one) is Result.PASS
    assert answer(rule, one._replace(vectors=frozenset({"CVSS:3.1/AV:N/AC:L"}))) is Result.FAIL
    # All metrics have to be one vector's.
    both = replace(rule, vector=("AV:N", "AC:H"))
    other = frozenset({"CVSS:3.1/AV:N/AC:L", "CVSS:3.1/AV:L/AC:H"})
    assert answer(both, one._replace(vectors=other)) is Result.PASS


@pytest.mark.parametrize(
    ("age", "own", "expected"),
    [
        (1, False, Result.PASS),
        (1, True, Result.FAIL),
        (400, False, Result.NOT_EVALUATED),
        (400, True, Result.FAIL),
    ],
)
def test_neither_an_old_catalogue_nor_the_scanner_silences_the_other(
    age: int,
    own: bool,  # noqa: FBT001 - drawn
    expected: Result,
) -> None:
    rule = replace(ANY, is_exploited=True, is_ransomware=True)
    catalogue = Exploitation(
        kev={"CVE-2026-0001": KnownExploited(None)},
        kev_date=AT.date() - timedelta(days=age),
    )
    one = installed(exploited_since=date(2026, 1, 1) if own else None, ransomware=own)
    assert answer(rule, one, exploitation=catalogue) is expected


def test_the_highest_severity_of_a_finding_counts_for_each_installation() -> None:
    rule = replace(ANY, at_least=Severity.CRITICAL, classes=frozenset({PackageClass.LIBRARY}))
    assert answer(rule, FIXED, AFFECTED._replace(severity=Severity.CRITICAL)) is Result.FAIL
