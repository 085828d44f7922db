"""Exceptions that hold today, and why the others do not.

An exception ends, and may run no longer than the risk that it accepts allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from bot.domain.evidence import Exploitation, Finding, FindingKey, Scan, Suppression
from bot.domain.policy import (
    CEILINGS,
    EXPLOITED_CEILING,
    Check,
    Reason,
    Result,
    RiskException,
    worst,
)


class ExceptionsInForce:
    """The exceptions of an environment at a time."""

    def __init__(
        self,
        environment: str,
        exceptions: Iterable[RiskException],
        exploitation: Exploitation,
        at: datetime,
    ) -> None:
        self._all = [
            exception
            for exception in exceptions
            if not exception.environments or environment in exception.environments
        ]
        self._exploitation = exploitation
        self._today = at.astimezone(UTC).date()

    def holding(self, scan: Scan) -> dict[FindingKey, Suppression]:
        """The findings that an exception holds back today."""
        held: dict[FindingKey, Suppression] = {}
        for exception in self._all:
            for finding in self._excepted(exception, scan.findings.values()):
                if not self._defect(exception, finding):
                    held[finding.key] = Suppression(
                        finding,
                        f"exception {exception.origin}",
                        exception.reason,
                        exception.expires,
                    )
        return held

    def check(self, scan: Scan) -> Check | None:
        """What the exceptions amount to; None where there are none."""
        if not self._all:
            return None
        reasons: list[Reason] = []
        stale = 0
        for exception in self._all:
            found = list(self._excepted(exception, scan.findings.values()))
            stale += not found
            for finding in found:
                defect = self._defect(exception, finding)
                if defect:
                    reasons.append(Reason(Result.WARN, f"{named(finding)}: {defect}"))
        result = worst([Result.PASS, *(reason.result for reason in reasons)])
        detail = f"{len(self._all)} in force here"
        if reasons:
            first = f"{len(reasons)} do not hold: {reasons[0].text}"
            detail = first if len(reasons) == 1 else f"{first}; and {len(reasons) - 1} more"
        elif stale:
            detail = f"{len(self._all)}, of which {stale} match nothing in this image (stale?)"
        return Check("exceptions", "Exceptions are in date", result, detail, tuple(reasons))

    def _excepted(self, exception: RiskException, findings: Iterable[Finding]) -> Iterable[Finding]:
        return (finding for finding in findings if is_about(exception, finding))

    def _defect(self, exception: RiskException, finding: Finding) -> str:
        """Why an exception does not hold; empty if it does."""
        if exception.backing is not None and exception.backing.defect:
            return f"exception {exception.label} does not count: {exception.backing.defect}"
        left = exception.expires - self._today
        if left < timedelta(0):
            days = -left.days
            ago = "yesterday" if days == 1 else f"{days} days ago"
            return f"exception {exception.label} expired {ago}"
        ceiling = CEILINGS.get(finding.severity)
        if self._exploitation.kev_of(finding):
            ceiling = EXPLOITED_CEILING
        if ceiling is not None and left > ceiling:
            return (
                f"exception {exception.label} runs {left.days} days more; "
                f"at most {ceiling.days} are allowed for it"
            )
        return ""


def is_about(exception: RiskException, finding: Finding) -> bool:
    """Whether an exception names this finding, in every version that is installed."""
    names = {finding.vulnerability, *finding.aliases}
    if exception.vulnerability not in names or exception.package != finding.package:
        return False
    return not exception.version or set(finding.versions) <= {exception.version}


def named(finding: Finding) -> str:
    """A finding in a sentence."""
    return f"{finding.vulnerability} in {finding.package.full_name}"
