"""From facts to findings, without asking anybody."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from hypothesis import given, strategies as st

from bot.domain.doctor.app import (
    WANTED_EVENTS,
    WANTED_PERMISSIONS,
    AppAnswer,
    DeliveryLog,
    WebhookAnswer,
    app_findings,
    delivery_findings,
)
from bot.domain.doctor.branches import (
    BranchRule,
    BranchRules,
    EnvironmentPlan,
    RefState,
    ref_findings,
)
from bot.domain.doctor.diagnosis import Diagnosis, SetUp, diagnose
from bot.domain.doctor.environments import (
    Access,
    GrantsFolder,
    GrantState,
    KeyState,
    RegistryState,
)
from bot.domain.doctor.findings import About, Finding, Known, Look, Severity, Unknown
from bot.domain.doctor.machine import (
    DatabaseState,
    FolderState,
    Machine,
    ScannerState,
    machine_findings,
)
from bot.domain.doctor.members import Installation, Member, PipelineState, RepositoryState
from bot.domain.doctor.sources import Sources, SourceState

T = TypeVar("T")
NOW = datetime(2026, 8, 1, tzinfo=UTC)
PLAN = EnvironmentPlan("prod", "env/prod", merges_itself=True, approvals=1, signs=True)
GIB = 1024**3


def or_unknown(value: T) -> st.SearchStrategy[Look[T]]:
    """A look that was answered, or was not; each silence has its own words."""
    silence = st.builds(
        Unknown, st.uuids().map(lambda one: f"silence {one}"), is_refusal=st.booleans()
    )
    return st.just(Known(value)) | silence


APP = AppAnswer(
    200,
    skew=timedelta(0),
    id=1,
    slug="lockkeeper",
    permissions=WANTED_PERMISSIONS,
    events=WANTED_EVENTS,
)
MEMBERS = st.builds(
    Member,
    name=st.just("acme/deploy"),
    installation=or_unknown(Installation(2, WANTED_PERMISSIONS, WANTED_EVENTS, is_suspended=False)),
    repository=or_unknown(RepositoryState("acme/deploy", "main", is_archived=False)),
    fetch=or_unknown(None),
    pipeline=or_unknown(PipelineState(found=True, environments=(PLAN,))),
    default_rules=or_unknown(BranchRules()),
    refs=st.tuples(st.builds(RefState, st.just(PLAN), or_unknown(BranchRules()), or_unknown(()))),
)
SET_UPS = st.builds(
    SetUp,
    at=st.just(NOW),
    api_url=st.just("https://api.github.com"),
    app_id=st.just(1),
    reconcile_seconds=st.just(300),
    app=or_unknown(APP),
    deliveries=or_unknown(DeliveryLog("https://bot", (WebhookAnswer("push", 202, "OK", "now"),))),
    members=st.tuples(MEMBERS),
    sources=st.tuples(
        st.builds(
            Sources,
            manifests=st.just("acme/deploy"),
            asked=st.tuples(
                st.builds(
                    SourceState,
                    name=st.just("acme/payments"),
                    applications=st.just(("payments",)),
                    repository=or_unknown(
                        RepositoryState("acme/payments", "main", is_archived=False)
                    ),
                )
            ),
            rest=st.integers(0, 3),
        )
    ),
    grants=or_unknown(
        GrantsFolder("/g", exists=True, grants=(GrantState("acme/deploy", Known(("prod",))),))
    ),
    registries=st.tuples(
        st.builds(
            RegistryState,
            manifests=st.just("acme/deploy"),
            environment=st.just("prod"),
            repository=st.just("registry/acme/payments"),
            needs_immutable=st.booleans(),
            access=or_unknown(Access(Known(None), Known(None), Unknown("not asked"))),
        )
    ),
    keys=st.tuples(
        st.builds(
            KeyState,
            manifests=st.just("acme/deploy"),
            environment=st.just("prod"),
            is_attestation=st.booleans(),
            signs=st.booleans(),
            fingerprints=or_unknown(("sha256:1",)),
        )
    ),
    machine=st.builds(
        Machine,
        st.builds(FolderState, st.just("/data"), or_unknown(None), or_unknown(2 * GIB)),
        or_unknown(DatabaseState("SQLite", exists=True, versions={"store": 3}, known={"store": 3})),
        or_unknown({"git": "2.39"}),
        or_unknown(ScannerState("Trivy", "0.70", NOW)),
    ),
)


def silences(set_up: SetUp) -> list[str]:
    """Why looks were not answered, as far as they were worth asking for."""
    member, machine = set_up.members[0], set_up.machine
    app: list[Look[object]] = [set_up.app]
    if isinstance(set_up.app, Known):
        app += [set_up.deliveries, member.installation]
        if isinstance(member.installation, Known):
            ref = member.refs[0]
            app += [member.repository, member.fetch, member.pipeline, member.default_rules]
            app += [ref.rules, ref.tags]
    rest: list[Look[object]] = [
        set_up.grants,
        set_up.registries[0].access,
        set_up.keys[0].fingerprints,
    ]
    rest += [machine.folder.writable, machine.folder.free, machine.database, machine.versions]
    return [one.reason for one in [*app, *rest, machine.scanner] if isinstance(one, Unknown)]


@given(SET_UPS)
def test_every_look_without_an_answer_is_a_finding_and_stops_no_other(set_up: SetUp) -> None:
    found = diagnose(set_up).findings

    facts = {one.fact for one in found if one.severity in {Severity.UNKNOWN, Severity.FAILURE}}
    assert [reason for reason in silences(set_up) if reason not in facts] == []


@given(SET_UPS)
def test_an_unknown_is_never_called_in_order(set_up: SetUp) -> None:
    found = diagnose(set_up)

    fine = [one for one in found.findings if one.severity in {Severity.OK, Severity.WARNING}]
    assert [one.line for one in fine if "silence" in one.fact] == []
    assert diagnose(set_up) == found


@given(SET_UPS)
def test_what_works_later_never_makes_a_bot_less_ready(set_up: SetUp) -> None:
    found = diagnose(set_up)

    if not found.reasons_not_ready(is_first=True):
        assert found.reasons_not_ready(is_first=False) == ()


def one(findings: list[Finding], about: About) -> Finding:
    (found,) = [one for one in findings if one.about is about]
    return found


@pytest.mark.parametrize(
    ("free", "severity"),
    [(0, Severity.FAILURE), (GIB // 2, Severity.WARNING), (GIB, Severity.OK)],
)
def test_room_on_the_disk(free: int, severity: Severity) -> None:
    machine = Machine(
        FolderState("/data", Known(None), Known(free)),
        Known(DatabaseState("SQLite", exists=True)),
        Known({}),
        Known(None),
    )

    found = one(list(machine_findings(machine, NOW)), About.DISK)

    assert found.severity is severity
    assert bool(found.stops) is (severity is Severity.FAILURE)


def test_a_refusal_that_is_neither_401_nor_an_unknown_app_doubts_the_address() -> None:
    for status, message in ((404, "Not Found"), (404, ""), (410, "Gone")):
        found = list(app_findings(Known(AppAnswer(status, message)), 1, "https://x"))
        assert [f.about for f in found] == [About.API]


@pytest.mark.parametrize(
    ("statuses", "severity"),
    [
        ((202, 200), Severity.OK),
        ((202, 401), Severity.WARNING),
        ((401, 202), Severity.FAILURE),
        ((0, 202), Severity.FAILURE),
        ((504,), Severity.FAILURE),
        ((), Severity.WARNING),
    ],
)
def test_the_newest_webhook_says_how_it_is_now(
    statuses: tuple[int, ...], severity: Severity
) -> None:
    answers = [WebhookAnswer("push", status, "", "then") for status in statuses]

    (found,) = delivery_findings(Known(DeliveryLog("https://bot/webhook", answers)), 300)

    assert found.severity is severity


@pytest.mark.parametrize(
    ("rules", "exists", "severity"),
    [
        ([BranchRule("update", "always")], True, Severity.OK),
        ([BranchRule("update", "exempt"), BranchRule("creation", "exempt")], False, Severity.OK),
        ([BranchRule("update", "never")], True, Severity.FAILURE),
        ([BranchRule("update", "pull_requests_only")], True, Severity.FAILURE),
        ([BranchRule("update", "always"), BranchRule("creation", "never")], True, Severity.OK),
        (
            [BranchRule("update", "always"), BranchRule("creation", "never")],
            False,
            Severity.FAILURE,
        ),
        ([BranchRule("update", "")], True, Severity.UNKNOWN),
        ([BranchRule("pull_request", "never")], True, Severity.FAILURE),
        ([BranchRule("required_signatures", "never")], True, Severity.WARNING),
        ([BranchRule("non_fast_forward", "never")], True, Severity.WARNING),
        ([], True, Severity.WARNING),
    ],
)
def test_who_may_write_an_environment_ref(
    rules: list[BranchRule],
    exists: bool,  # noqa: FBT001 - a case
    severity: Severity,
) -> None:
    ref = RefState(PLAN, Known(BranchRules(rules, exists=exists)), Known(()))

    found = one(list(ref_findings("acme/deploy", ref)), About.REF_PROTECTED)

    assert found.severity is severity


def test_an_older_protection_rule_is_unknown_and_its_required_check_counts() -> None:
    rules = BranchRules(classic=True, classic_checks={"lockkeeper": 1})

    found = one(
        list(ref_findings("acme/deploy", RefState(PLAN, Known(rules), Known(())))),
        About.REF_PROTECTED,
    )

    assert found.severity is Severity.UNKNOWN
    assert rules.required_checks() == {"lockkeeper": 1}


def test_of_two_rules_the_one_that_names_an_app_counts() -> None:
    named = BranchRule("required_status_checks", checks={"lockkeeper": 7})
    anybody = replace(named, checks={"lockkeeper": None})

    assert BranchRules([named, anybody]).required_checks() == {"lockkeeper": 7}
    assert BranchRules([anybody, named]).required_checks() == {"lockkeeper": 7}


def test_without_manifests_that_work_nothing_is_ready_and_one_is_enough() -> None:
    broken = Finding(About.PIPELINE, "a/b", Severity.FAILURE, "none", stops="a/b")

    assert Diagnosis(NOW, ("a/b",), (broken,)).reasons_not_ready(is_first=False) == (broken,)
    assert Diagnosis(NOW, ("a/b", "c/d"), (broken,)).reasons_not_ready(is_first=False) == ()
