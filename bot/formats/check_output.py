"""The same assessment where a body has no room: a check run's output, and a comment.

A check run has a summary and a text of 65,535 characters each (GitHub REST API, "Create a check
run"); both are kept below that in bytes of UTF-8 too. The complete lists are on the promotion page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bot.domain.assessment import Assessment
from bot.domain.policy import Result, Shown
from bot.formats.body_budget import LEVELS, Detail, fitting
from bot.formats.contents_section import contents
from bot.formats.evidence_body import (
    policy,
    supply_chain,
    supply_chain_section,
    verdict,
    verdict_prose,
)
from bot.formats.evidence_cells import minute
from bot.formats.markdown import code
from bot.formats.vulnerability_section import blocking, vulnerabilities

OUTPUT_LIMIT: Final = 65_000
"""Bytes of a check run's summary, and of its text; GitHub refuses more than 65,535 characters."""
# From rich to poor; richer than a body, because nobody has to scroll past a check's text.
_LEVELS: Final = (
    *(
        Detail(rows, rows, rows, rows, rows, rows, rows, 0, rows, rows, per_package=rows)
        for rows in (1000, 300, 150, 80)
    ),
    *LEVELS,
)
_COMMENTED: Final = Detail(checks=10)
_WORDS: Final = {
    Shown.PASS: "pass",
    Shown.WARN: "pass with warnings",
    Shown.FAIL: "blocked",
    Shown.UNDECIDED: "not decided",
    Shown.TOLERATED: "not evaluated, not blocked",
}


@dataclass(frozen=True, slots=True)
class CheckOutput:
    """What a check run says of an assessment."""

    title: str
    """In fixed words."""
    summary: str
    text: str


def check_output(assessment: Assessment, report_url: str = "") -> CheckOutput:
    """The verdict with every check, and below it every finding and package that has room.

    Args:
        assessment: What was judged.
        report_url: Where the complete lists stand; empty: nowhere.
    """
    return CheckOutput(title(assessment), _summary(assessment, report_url), _text(assessment))


def title(assessment: Assessment) -> str:
    """The answer in one line of fixed words and numbers."""
    decided = assessment.verdict
    if not decided.has_policy:
        return "Policy not evaluated: none is configured"
    total = len(decided.checks)
    found = sum(check.result is decided.result for check in decided.checks)
    if decided.result is Result.PASS:
        return f"All {total} checks pass"
    if decided.result is Result.WARN:
        return f"Passes; {found} of {total} checks warn"
    if decided.result is Result.FAIL:
        return f"Blocked: {found} of {total} checks fail"
    answer = "Blocked" if decided.blocks else "Not blocked"
    return f"{answer}: {found} of {total} checks could not be evaluated"


def _summary(assessment: Assessment, report_url: str) -> str:
    return fitting(
        lambda detail: [
            verdict_prose(assessment),
            policy(assessment, detail),
            _foot(assessment, report_url),
        ],
        _LEVELS,
        OUTPUT_LIMIT,
    )


def _text(assessment: Assessment) -> str:
    chain = supply_chain_section(supply_chain(assessment))
    return fitting(
        lambda detail: [
            blocking(assessment, detail),
            vulnerabilities(assessment, detail),
            contents(assessment, detail),
            chain,
        ],
        _LEVELS,
        OUTPUT_LIMIT,
    )


def verdict_changed(assessment: Assessment, before: Shown, report_url: str = "") -> str:
    """A comment for those who have read another verdict: edits of a body notify nobody."""
    now = assessment.verdict.shown
    changed = (
        f"**The verdict for {code(assessment.environment)} changed: "
        f"{_WORDS[before]} → {_WORDS[now]}.**"
    )
    sections: Sequence[str] = [
        verdict(assessment),
        changed,
        policy(assessment, _COMMENTED),
        _foot(assessment, report_url),
    ]
    return "\n\n".join(sections) + "\n"


def _foot(assessment: Assessment, report_url: str) -> str:
    report = f"[Full report]({report_url}) · " if report_url else ""
    return f"<sub>{report}evaluated {minute(assessment.at)}</sub>"
