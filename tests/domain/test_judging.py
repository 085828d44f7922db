"""What rules say where one fact hid another, or an unknown one was taken for no."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from bot.domain.assessment import Evidence, assess
from bot.domain.evidence import Exploitation, merged_scans
from bot.domain.image_configuration import ImageConfiguration
from bot.domain.judging import bases_of, configuration_changes
from bot.domain.policy import (
    Accepted,
    AnyRule,
    BaseImageRule,
    EndOfLifeRule,
    EnvironmentPolicy,
    LicenceRule,
    Result,
    RiskException,
    Scope,
    Verdict,
    VulnerabilityRule,
    names_base,
)
from bot.domain.vex import VexProduct, VexStatement, vex_answer
from tests.domain.evidence import AT, finding, listing, scan

LICENCES = LicenceRule(
    id="r", denies=True, scope=Scope.INTRODUCED, denied=("AGPL-3.0-only", "SSPL-1.0")
)
ALLOWED = replace(LICENCES, denied=(), allowed=("MIT",))


def judged(rule: AnyRule, evidence: Evidence) -> Verdict:
    return assess("stage", evidence, EnvironmentPolicy("stage", (rule,)), AT).verdict


def excepting(licence: str) -> RiskException:
    return RiskException(
        licence,
        None,
        version="",
        environments=(),
        reason="",
        ticket="SEC-1",
        expires=AT.date() + timedelta(days=1),
        file="e.yaml",
        line=1,
        kind=Accepted.LICENCE,
    )


BOTH_LICENCES = "AGPL-3.0-only AND SSPL-1.0"


@pytest.mark.parametrize("rule", [LICENCES, ALLOWED])
@pytest.mark.parametrize(
    ("excepted", "expected"),
    [
        (("AGPL-3.0-only",), Result.FAIL),
        (("SSPL-1.0",), Result.FAIL),
        (("AGPL-3.0-only", "SSPL-1.0"), Result.PASS),
        ((BOTH_LICENCES,), Result.PASS),
    ],
)
def test_an_accepted_licence_hides_no_other(
    rule: AnyRule, excepted: tuple[str, ...], expected: Result
) -> None:
    new = scan(listed=listing({"a": "1"}, licence=BOTH_LICENCES))
    evidence = Evidence(new, exceptions=tuple(map(excepting, excepted)))
    assert judged(rule, evidence).result is expected


def test_two_names_of_a_rule_for_one_licence_need_one_exception() -> None:
    rule = replace(LICENCES, denied=("AGPL-3.0-only", "AGPL-3.0-or-later"))
    new = scan(listed=listing({"a": "1"}, licence="AGPL-3.0-or-later AND MIT"))
    evidence = Evidence(new, exceptions=(excepting("AGPL-3.0-only"),))
    assert judged(rule, evidence).result is Result.PASS


@pytest.mark.parametrize("rule", [LICENCES, ALLOWED])
@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("AGPL-3.0-only", Result.FAIL),
        ("SSPL-1.0", Result.FAIL),
        (BOTH_LICENCES, Result.PASS),
        ("MIT", Result.FAIL),
    ],
)
def test_a_licence_that_was_there_hides_no_new_one(
    rule: AnyRule, before: str, expected: Result
) -> None:
    new = scan(listed=listing({"a": "1"}, licence=BOTH_LICENCES))
    old = scan(listed=listing({"a": "1"}, licence=before))
    assert judged(rule, Evidence(new, old)).result is expected


def test_what_was_disclosed_on_a_day_that_nobody_knows_may_be_new() -> None:
    rule = VulnerabilityRule(id="r", denies=True, scope=Scope.NEWLY_DISCLOSED)
    promoted = date(2026, 11, 1)
    for disclosed, expected in (
        (None, Result.NOT_EVALUATED),
        (date(2026, 10, 1), Result.PASS),
        (date(2026, 11, 2), Result.FAIL),
    ):
        found = scan(finding(disclosed=disclosed))
        verdict = judged(rule, Evidence(found, found, last_promotion=promoted))
        assert verdict.result is expected


def built_on(name: str, created: date | None, platform: str) -> ImageConfiguration:
    labels = {"org.opencontainers.image.base.name": name} if name else {}
    return ImageConfiguration(user=platform, labels=labels, base_created=created)


@pytest.mark.parametrize(
    "rule",
    [
        BaseImageRule(id="r", denies=True, scope=Scope.PRESENT, older_than=timedelta(days=30)),
        BaseImageRule(id="r", denies=True, scope=Scope.PRESENT, allowed=("debian:*",)),
    ],
)
@pytest.mark.parametrize("is_silent", [False, True])
def test_the_base_of_one_platform_says_nothing_of_another(
    rule: BaseImageRule,
    is_silent: bool,  # noqa: FBT001 - drawn
) -> None:
    known = built_on("debian:12", AT.date(), "a")
    other = built_on("", None, "b") if is_silent else known
    new = merged_scans(
        [
            scan(image="r.example/a", platforms=("linux/amd64",), configuration=known),
            scan(image="r.example/a", platforms=("linux/arm64",), configuration=other),
        ]
    )
    verdict = judged(rule, Evidence(new, bases=bases_of(new)))
    assert verdict.result is (Result.NOT_EVALUATED if is_silent else Result.PASS)


@pytest.mark.parametrize(
    ("glob", "reference", "expected"),
    [
        ("debian:*", "debian:12", True),
        ("debian:*", "docker.io/library/debian:12", True),
        ("debian:*", "index.docker.io/library/debian:12", True),
        ("debian:*", "library/debian:12", True),
        ("docker.io/library/debian:*", "debian:12", True),
        ("debian:*", "ghcr.io/someone/debian:12", False),
        ("debian:*", "someone/debian:12", False),
        ("acme/debian:*", "ghcr.io/acme/debian:12", False),
        ("ghcr.io/acme/*:*", "ghcr.io/acme/debian:12", True),
        ("**/debian:*", "ghcr.io/someone/debian:12", True),
        ("**", "ghcr.io/someone/debian:12", True),
        ("debian:12", f"debian:12@sha256:{'a' * 64}", True),
        ("debian:12", f"debian:13@sha256:{'a' * 64}", False),
        (f"debian:12@sha256:{'a' * 64}", f"debian:12@sha256:{'a' * 64}", True),
        (f"debian:12@sha256:{'b' * 64}", f"debian:12@sha256:{'a' * 64}", False),
        ("registry:5000/debian:*", "registry:5000/debian:12", True),
    ],
)
def test_a_base_image_is_allowed_by_its_whole_name(
    glob: str,
    reference: str,
    expected: bool,  # noqa: FBT001 - drawn
) -> None:
    assert names_base(glob, reference) is expected


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ({"entrypoint": ("sh", "-c", "a b")}, {"entrypoint": ("sh", "-c", "a", "b")}, True),
        ({"entrypoint": ("a b",)}, {"entrypoint": ("a", "b")}, True),
        ({"entrypoint": ("a",), "command": ("b",)}, {"entrypoint": ("a", "b")}, False),
        ({"user": ""}, {"user": "0"}, False),
        ({"user": "root"}, {"user": "0:0"}, False),
        ({"user": "0"}, {"user": "1000"}, True),
        ({"user": "0"}, {"user": "0:1000"}, True),
    ],
)
def test_what_runs_is_its_arguments_and_its_user(
    old: dict[str, object],
    new: dict[str, object],
    changed: bool,  # noqa: FBT001 - drawn
) -> None:
    sides = (ImageConfiguration(**one) for one in (old, new))  # type: ignore[arg-type]  # named fields
    assert bool(configuration_changes(*sides)) is changed


@pytest.mark.parametrize("user", ["", "0", "00", "root", "+0", "0:1000"])
def test_every_spelling_of_root_is_root(user: str) -> None:
    assert ImageConfiguration(user=user).is_root


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("debian 10.12", "debian 10.13", Result.PASS),
        ("ubuntu 20.04", "ubuntu 20.10", Result.FAIL),
        ("alpine 3.15.1", "alpine 3.15.2", Result.PASS),
        ("alpine 3.14.1", "alpine 3.15.2", Result.FAIL),
        ("debian 9.1", "debian 10.1", Result.FAIL),
        ("centos 7.9", "redhat 7.9", Result.FAIL),
    ],
)
def test_a_point_release_brings_no_end_of_life(old: str, new: str, expected: Result) -> None:
    rule = EndOfLifeRule(id="r", denies=True, scope=Scope.INTRODUCED)
    evidence = Evidence(scan(system=new, end_of_life=True), scan(system=old, end_of_life=True))
    assert judged(rule, evidence).result is expected


def test_a_report_of_a_day_to_come_has_no_age() -> None:
    policy = EnvironmentPolicy("stage", max_report_age=timedelta(hours=12))
    for ahead, expected in (
        (timedelta(hours=6), Result.PASS),
        (timedelta(days=2), Result.NOT_EVALUATED),
        (timedelta(days=36_500), Result.NOT_EVALUATED),
    ):
        evidence = Evidence(scan(finished=AT + ahead))
        assert assess("stage", evidence, policy, AT).verdict.result is expected


@pytest.mark.parametrize("ahead", [-8, 1, 9_999])
def test_an_age_from_a_day_to_come_is_not_known(ahead: int) -> None:
    rule = VulnerabilityRule(id="r", denies=True, scope=Scope.PRESENT, older_than=timedelta(days=7))
    found = finding(disclosed=AT.date() + timedelta(days=ahead))
    expected = Result.FAIL if ahead < 0 else Result.NOT_EVALUATED
    assert judged(rule, Evidence(scan(found))).result is expected


def test_a_catalogue_of_a_day_to_come_is_silent_about_nothing() -> None:
    rule = VulnerabilityRule(id="r", denies=True, scope=Scope.PRESENT, is_exploited=True)
    for ahead, expected in ((0, Result.PASS), (400, Result.NOT_EVALUATED)):
        feed = Exploitation(kev={}, kev_date=AT.date() + timedelta(days=ahead))
        evidence = Evidence(scan(finding()), exploitation=feed)
        assert judged(rule, evidence).result is expected


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (("opt/x",), ("app/x", "opt/x"), Result.FAIL),
        (("opt/x",), ("app/x",), Result.FAIL),
        (("app/x-1.jar",), ("app/x-2.jar",), Result.PASS),
        (("opt/x",), ("srv/x",), Result.PASS),
        ((), ("app/x",), Result.PASS),
    ],
)
def test_a_copy_below_a_path_that_had_none_is_introduced_there(
    before: tuple[str, ...], now: tuple[str, ...], expected: Result
) -> None:
    rule = VulnerabilityRule(id="r", denies=True, scope=Scope.INTRODUCED, paths=("/app",))
    new, old = (scan(finding(kind="npm", paths=paths)) for paths in (now, before))
    assert judged(rule, Evidence(new, old)).result is expected


@pytest.mark.parametrize("first", ["affected", "not_affected"])
def test_of_two_words_at_one_time_neither_suppresses(first: str) -> None:
    statements = [
        VexStatement(
            frozenset({"CVE-2026-0001"}),
            (VexProduct("pkg:deb/debian/libssl3"),),
            status,
            "",
            "us",
            AT,
        )
        for status in ("affected", "not_affected")
    ]
    if statements[0].status != first:
        statements.reverse()
    answer = vex_answer(statements, scan(finding()), frozenset({"not_affected"}))
    assert not answer.suppressed
