"""What holds for every two reports: each finding counts once, no failure becomes a pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

from hypothesis import given, settings, strategies as st

from bot.domain.assessment import Evidence, assess
from bot.domain.delta import delta
from bot.domain.evidence import Finding, FindingKey, Scan, Severity, merged_scans
from bot.domain.policy import (
    EnvironmentPolicy,
    LicenceRule,
    PackageRule,
    Packages,
    Result,
    RiskException,
    Scope,
    VulnerabilityRule,
)
from tests.domain.evidence import AT, finding, listing, package, scan

PLACES = [("r/api", "linux/amd64"), ("r/api", "linux/arm64"), ("r/worker", "linux/amd64")]
IDS = ["CVE-2026-0001", "CVE-2026-0002", "CVE-2026-0003"]
FINDINGS = st.builds(
    finding,
    st.sampled_from([*IDS, "GHSA-7q5r-r9c2-x8mj"]),
    st.sampled_from(list("ab")),
    st.sampled_from([Severity.LOW, Severity.HIGH, Severity.CRITICAL]),
    versions=st.sampled_from([("1",), ("2",)]),
    aliases=st.sampled_from([[], ["GHSA-7q5r-r9c2-x8mj"]]),
    paths=st.sampled_from([(), ("app/a",), ("usr/a", "app/a")]),
)


def single(place: tuple[str, str], findings: Sequence[Finding], hidden: Sequence[Finding]) -> Scan:
    shown = {one.key for one in findings}
    return scan(
        *findings,
        suppressed=[one for one in hidden if one.key not in shown],
        image=f"{place[0]}:1",
        platforms=(place[1],),
        listed=listing({"a": "1", "b": "1"}),
    )


SIDES = st.lists(
    st.tuples(
        st.sampled_from(PLACES), st.lists(FINDINGS, max_size=4), st.lists(FINDINGS, max_size=2)
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda one: one[0],
).map(lambda parts: merged_scans([single(*part) for part in parts]))


@settings(max_examples=300)
@given(SIDES, SIDES)
def test_every_finding_of_both_sides_stands_in_exactly_one_place(new: Scan, old: Scan) -> None:
    found = delta(new, old)
    groups = [
        [f.key for f in found.introduced],
        [r.finding.key for r in found.raised],
        [f.finding.key for f in found.fixed],
        [f.key for f in found.unchanged],
        [s.finding.key for s in found.suppressed],
    ]
    counted = Counter(key for group in groups for key in group)

    assert set(counted.values()) <= {1}
    # By the CVE of a finding where either side knows it: two names are one finding.
    assert {key.package for key in counted} >= {f.package for f in new.findings.values()}
    present = {f.key for f in found.present} | {s.finding.key for s in found.suppressed}
    for finding_ in new.findings.values():
        assert any(_same(key, finding_) for key in present)
    gone = {f.finding.key for f in found.fixed}
    for finding_ in old.findings.values():
        assert any(_is_one(key, finding_) for key in present | gone)


@settings(max_examples=200)
@given(SIDES, SIDES)
def test_the_sum_is_each_image_on_each_platform_by_itself(new: Scan, old: Scan) -> None:
    """What one image has says nothing of another one, on either side."""
    whole = delta(new, old)
    before = {(one.repository, one.platform): one for one in old.each}

    for part in new.each:
        place = (part.repository, part.platform)
        if place not in before or len({one.repository for one in new.each}) != len(
            {one.repository for one in old.each}
        ):
            continue  # new there, or compared with what it replaces
        alone = delta(part, before[place])
        for name in ("introduced", "unchanged"):
            kept = [f.key for f in getattr(whole, name) if f.key[2:] == place]
            assert kept == [f.key for f in getattr(alone, name)], name
        assert [r for r in whole.raised if r.finding.key[2:] == place] == list(alone.raised)
        assert [x for x in whole.fixed if x.finding.key[2:] == place] == list(alone.fixed)
        assert {s.finding.key for s in whole.suppressed if s.finding.key[2:] == place} == {
            s.finding.key for s in alone.suppressed
        }


def _is_one(key: FindingKey, one: Finding) -> bool:
    """The same vulnerability and package; the old side may stand in another registry."""
    names = {one.vulnerability, *one.aliases}
    return key.package == one.package and (
        key.vulnerability in names or one.vulnerability.startswith("GHSA")
    )


def _same(key: FindingKey, one: Finding) -> bool:
    return _is_one(key, one) and (key.image, key.platform) == (one.image, one.platform)


@settings(max_examples=100)
@given(SIDES)
def test_what_stays_the_same_changes_nothing(one: Scan) -> None:
    found = delta(one, one)

    assert not (found.introduced)
    assert not (found.raised)
    assert not (found.fixed)
    assert not (found.lost)
    assert not (found.unpaired)


RULES = (
    VulnerabilityRule(id="high", denies=True, scope=Scope.INTRODUCED, at_least=Severity.HIGH),
    VulnerabilityRule(
        id="many", denies=True, scope=Scope.PRESENT, at_least=Severity.LOW, at_most=3
    ),
    VulnerabilityRule(
        id="one", denies=True, scope=Scope.PRESENT, identifiers=frozenset({"CVE-2026-0003"})
    ),
    PackageRule(id="b", denies=True, scope=Scope.INTRODUCED, packages=Packages(("pkg:deb/*/zz",))),
    LicenceRule(id="l", denies=True, scope=Scope.INTRODUCED, denied=("AGPL-3.0-only",)),
)
# Each rule by itself, or one that fails hides what another one does.
POLICIES = st.sampled_from([RULES, *((rule,) for rule in RULES)]).map(
    lambda rules: EnvironmentPolicy("stage", rules)
)
EXCEPTIONS = st.lists(
    st.builds(
        lambda name, where, days, image, path: RiskException(
            vulnerability=name,
            package=package(where),
            version="",
            environments=(),
            reason="r",
            ticket="",
            expires=AT.date() + timedelta(days=days),
            file="e.yaml",
            line=1,
            images=image,
            path=path,
        ),
        st.sampled_from(IDS),
        st.sampled_from(list("ab")),
        st.integers(0, 6),
        st.sampled_from([(), ("worker",)]),
        st.sampled_from(["", "/app", "/usr"]),
    ),
    max_size=4,
    unique=True,
)


def _result(
    policy: EnvironmentPolicy, new: Scan, old: Scan | None, exceptions: Sequence[RiskException]
) -> Result:
    evidence = Evidence(new, old, exceptions=tuple(exceptions))
    return assess("stage", evidence, policy, AT).verdict.result


@settings(max_examples=600)
@given(POLICIES, SIDES, st.none() | SIDES, EXCEPTIONS, FINDINGS)
def test_one_finding_more_never_turns_a_failure_into_a_pass(
    policy: EnvironmentPolicy,
    new: Scan,
    old: Scan | None,
    exceptions: list[RiskException],
    more: Finding,
) -> None:
    before = _result(policy, new, old, exceptions)
    first, *rest = new.each
    key = more.key._replace(image=first.repository, platform=first.platform)
    taken = {f.vulnerability for f in first.findings.values() if f.package == more.package}
    names = {more.vulnerability, *more.aliases}
    if key in first.findings or key in first.suppressed or names & taken:
        return  # it would take another one's place
    grown = replace(first, findings={**first.findings, key: more._replace(key=key)})

    if before is Result.FAIL:
        after = _result(policy, merged_scans([grown, *rest]), old, exceptions)
        assert after is Result.FAIL


@settings(max_examples=200)
@given(POLICIES, SIDES, st.none() | SIDES, EXCEPTIONS, st.data())
def test_one_exception_less_never_turns_a_failure_into_a_pass(
    policy: EnvironmentPolicy,
    new: Scan,
    old: Scan | None,
    exceptions: list[RiskException],
    data: st.DataObject,
) -> None:
    if not exceptions or _result(policy, new, old, exceptions) is not Result.FAIL:
        return
    left = list(exceptions)
    left.remove(data.draw(st.sampled_from(exceptions)))

    assert _result(policy, new, old, left) is Result.FAIL


def test_dates_do_not_matter_to_what_is_counted() -> None:
    early = finding(disclosed=date(2020, 1, 1))
    late = finding(disclosed=date(2026, 1, 1))

    assert not delta(scan(late), scan(early)).introduced
