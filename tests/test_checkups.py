from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from bot.checkups import LATER_SECONDS, SOON_SECONDS, Checkups
from bot.domain.doctor.diagnosis import Diagnosis
from bot.domain.doctor.findings import EVERYTHING, About, Finding, Severity, ordered

AT = datetime(2026, 8, 1, tzinfo=UTC)
MEMBERS = ("acme/deploy", "acme/other")
OK = Finding(About.APP_ID, "1", Severity.OK, "known")
WARNING = Finding(About.CHECK_REQUIRED, "acme/deploy", Severity.WARNING, "not required", "do it")
NO_API = Finding(About.API, "http://x", Severity.UNKNOWN, "silence", stops=EVERYTHING)
ONE = Finding(About.PIPELINE, "acme/deploy", Severity.FAILURE, "none", stops="acme/deploy")
OTHER = replace(ONE, subject="acme/other", stops="acme/other")


@dataclass
class Told:
    """A doctor who finds what the test says."""

    findings: Sequence[Finding] = field(default_factory=tuple)

    def __call__(self) -> Diagnosis:
        return Diagnosis(AT, MEMBERS, ordered(self.findings))


def looked(*findings: Finding) -> tuple[Told, Checkups]:
    told = Told(findings)
    checkups = Checkups(told)
    checkups.look()
    return told, checkups


def test_nothing_is_ready_before_the_first_look() -> None:
    assert Checkups(Told()).reason_not_ready() == "the set-up is being looked at"


def test_a_bot_that_can_do_nothing_is_not_ready_and_looks_again_soon() -> None:
    checkups = Checkups(Told([OK, ONE, OTHER]))

    assert checkups.look() == SOON_SECONDS
    assert checkups.reason_not_ready() == "nothing can be promoted"
    assert list(checkups.remarkable()) == [ONE, OTHER]


def test_one_manifests_repository_that_works_is_enough() -> None:
    checkups = Checkups(Told([ONE, WARNING]))

    assert checkups.look() == LATER_SECONDS
    assert checkups.reason_not_ready() == ""
    assert list(checkups.remarkable()) == [ONE, WARNING]


def test_a_github_that_never_answered_is_a_reason_and_an_outage_is_none() -> None:
    told, checkups = looked(NO_API)
    assert checkups.reason_not_ready() != ""

    told.findings = [OK]
    checkups.look()
    told.findings = [NO_API]
    checkups.look()

    assert checkups.reason_not_ready() == ""
    assert list(checkups.remarkable()) == [NO_API]


def test_a_failure_after_a_good_start_is_a_reason() -> None:
    told, checkups = looked(OK)

    told.findings = [replace(NO_API, severity=Severity.FAILURE)]
    checkups.look()

    assert checkups.reason_not_ready() == "nothing can be promoted"


def test_each_finding_is_one_line_of_the_log_and_again_when_it_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    told, checkups = looked(OK, WARNING)
    checkups.look()
    told.findings = [OK, replace(WARNING, severity=Severity.FAILURE)]
    checkups.look()

    levels = [(one.levelname, vars(one)["about"]) for one in caplog.records]
    assert levels == [
        ("WARNING", "rules.check"),
        ("INFO", "app.id"),
        ("ERROR", "rules.check"),
    ]
    assert vars(caplog.records[0])["remedy"] == "do it"


def test_text_from_outside_stays_on_its_line() -> None:
    hostile = replace(ONE, fact="a\nfailure: app.id: gone\x1b[2J" + "x" * 5000)

    assert "\n" not in hostile.line
    assert "\x1b" not in hostile.line
    assert len(hostile.line) < 1000
