"""Exceptions that hold today, and why the others do not.

An exception ends, and may run no longer than the risk that it accepts allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from bot.domain.environments import matches
from bot.domain.evidence import Exploitation, Finding, FindingKey, Scan, Suppression
from bot.domain.packages import PackageName, Purl
from bot.domain.policy import (
    CEILINGS,
    EXPLOITED_CEILING,
    Accepted,
    Check,
    Reason,
    Result,
    RiskException,
    names_image,
    names_path,
    worst,
)
from bot.domain.vex import covers

_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Held:
    """What exceptions do for one scan."""

    suppressed: Mapping[FindingKey, Suppression] = field(default_factory=dict)
    lapsed: Mapping[FindingKey, str] = field(default_factory=dict)
    """What an exception accepted once and does not any more, and why."""


class ExceptionsInForce:
    """The exceptions of an environment at a time, for one application."""

    def __init__(  # each is a fact that some exception names
        self,
        environment: str,
        exceptions: Iterable[RiskException],
        exploitation: Exploitation,
        at: datetime,
        *,
        application: str = "",
        ceiling: timedelta | None = None,
        needs_owner: bool = False,
    ) -> None:
        self._all = [
            exception
            for exception in exceptions
            if not exception.environments or environment in exception.environments
        ]
        self._exploitation = exploitation
        self._today = at.astimezone(UTC).date()
        self._application = application
        self._ceiling, self._needs_owner = ceiling, needs_owner
        self._used: set[RiskException] = set()
        self._defects: dict[str, None] = {}

    def held(self, scan: Scan) -> Held:
        """The findings of a single scan that exceptions hold back today."""
        suppressed: dict[FindingKey, Suppression] = {}
        lapsed: dict[FindingKey, str] = {}
        about = self._by_name()
        for finding in scan.findings.values() if about else ():
            named = {finding.vulnerability, *finding.aliases}
            asked = list(dict.fromkeys(e for name in sorted(named) for e in about.get(name, ())))
            if asked:
                self._hold(finding, asked, scan, suppressed, lapsed)
        return Held(suppressed, lapsed)

    def _by_name(self) -> dict[str, list[RiskException]]:
        found: dict[str, list[RiskException]] = {}
        for exception in self._all:
            if exception.kind is Accepted.VULNERABILITY:
                found.setdefault(exception.vulnerability, []).append(exception)
        return found

    def _hold(
        self,
        finding: Finding,
        exceptions: Sequence[RiskException],
        scan: Scan,
        suppressed: dict[FindingKey, Suppression],
        lapsed: dict[FindingKey, str],
    ) -> None:
        """An installation counts unless an exception covers it; a finding, unless all are.

        One of which nobody says where it lies is at no path that an exception names.
        """
        places = [
            (installed, path)
            for one in finding.each
            for installed in one.installations
            for path in one.paths or ("",)
        ]
        holding: dict[tuple[Purl, str], RiskException] = {}
        ended: dict[tuple[Purl, str], str] = {}
        for place in places:
            for exception in exceptions:
                if not self._is_about(exception, finding, place, scan):
                    continue
                self._used.add(exception)
                defect = self._defect(exception, finding)
                if not defect:
                    holding[place] = exception
                    break
                self._defects[f"{named(finding)}: {defect}"] = None
                if exception.expires < self._today:
                    ended[place] = defect
        if len(holding) == len(places):
            exception = next(iter(holding.values()))
            suppressed[finding.key] = Suppression(
                finding,
                f"exception {exception.origin}",
                exception.reason,
                min(one.expires for one in holding.values()),
            )
        elif len(holding.keys() | ended.keys()) == len(places):
            lapsed[finding.key] = next(iter(ended.values()))

    def accepting(
        self,
        kind: Accepted,
        subject: str,
        *,
        image: str = "",
        package: PackageName | None = None,
        path: str = "",
    ) -> RiskException | None:
        """The exception that holds for something that is no vulnerability."""
        for exception in self._all:
            if exception.kind is not kind or not matches(
                exception.vulnerability.lower(), subject.lower()
            ):
                continue
            if exception.package is not None and exception.package != package:
                continue
            if exception.path and not (path and names_path(exception.path, path)):
                continue
            if not self._is_here(exception, image):
                continue
            self._used.add(exception)
            defect = self._defect(exception, None)
            if not defect:
                return exception
            self._defects[f"{subject}: {defect}"] = None
        return None

    def check(self) -> Check | None:
        """What the exceptions amount to, once everything was asked; None where there are none."""
        if not self._all:
            return None
        reasons = [Reason(Result.WARN, defect) for defect in self._defects]
        idle = [one for one in self._all if one not in self._used]
        result = worst([Result.PASS, *(reason.result for reason in reasons)])
        parts = [f"{len(self._all)} in force here"]
        if reasons:
            parts = [f"{len(reasons)} do not hold: {'; '.join(r.text for r in reasons[:_SHOWN])}"]
            if len(reasons) > _SHOWN:
                parts.append(f"and {len(reasons) - _SHOWN} more")
        if idle:
            shown = "; ".join(self._idle(one) for one in idle[:_SHOWN])
            more = f"; and {len(idle) - _SHOWN} more" if len(idle) > _SHOWN else ""
            parts.append(f"{len(idle)} match nothing in this image: {shown}{more}")
            reasons += [Reason(Result.PASS, f"{self._idle(one)}: matches nothing") for one in idle]
        return Check(
            "exceptions", "Exceptions are in date", result, "; ".join(parts), tuple(reasons)
        )

    def _idle(self, exception: RiskException) -> str:
        """An exception that is about nothing here, and why that may be."""
        what = (
            f"{exception.vulnerability} in {exception.package}"
            if exception.package
            else (f"{exception.kind} {exception.vulnerability}".strip())
        )
        if exception.applications and not self._application:
            names = ", ".join(exception.applications)
            return f"{what} (for the application {names}; say which this is with --application)"
        return what

    def _is_here(self, exception: RiskException, image: str) -> bool:
        """Whether it is about this application and image; what is not known is not named."""
        if exception.applications and not (
            self._application
            and any(matches(glob, self._application) for glob in exception.applications)
        ):
            return False
        return not exception.images or any(names_image(glob, image) for glob in exception.images)

    def _is_about(
        self, exception: RiskException, finding: Finding, place: tuple[Purl, str], scan: Scan
    ) -> bool:
        installed, path = place
        return (
            is_about(exception, finding)
            and (not exception.path or names_path(exception.path, path))
            and self._is_here(exception, finding.image or scan.repository)
            and covers(_purl(exception), installed, scan)
        )

    def _defect(self, exception: RiskException, finding: Finding | None) -> str:
        """Why an exception does not hold; empty if it does."""
        label = f"exception {exception.label}"
        if exception.backing is not None and exception.backing.defect:
            return f"{label} does not count: {exception.backing.defect}"
        if self._needs_owner and not exception.owner:
            return f"{label} names no owner"
        left = exception.expires - self._today
        if left < timedelta(0):
            days = -left.days
            ago = "yesterday" if days == 1 else f"{days} days ago"
            return f"{label} expired {ago}"
        ceiling = self._longest(finding)
        if ceiling is not None and left > ceiling:
            return f"{label} runs {left.days} days more; at most {ceiling.days} are allowed for it"
        return ""

    def _longest(self, finding: Finding | None) -> timedelta | None:
        limits = [self._ceiling]
        if finding is not None:
            limits.append(CEILINGS.get(finding.severity))
            if self._exploitation.kev_of(finding):
                limits.append(EXPLOITED_CEILING)
        return min((limit for limit in limits if limit is not None), default=None)


def is_about(exception: RiskException, finding: Finding) -> bool:
    """Whether an exception names this finding's vulnerability, package and one of its places."""
    names = {finding.vulnerability, *finding.aliases}
    if exception.vulnerability not in names or exception.package != finding.package:
        return False
    return not exception.path or any(names_path(exception.path, path) for path in finding.paths)


def concerns(exception: RiskException, findings: Iterable[Finding]) -> bool:
    """Whether anybody will ask for it: what is no vulnerability is asked for when it is judged."""
    if exception.kind is not Accepted.VULNERABILITY:
        return True
    return any(is_about(exception, finding) for finding in findings)


def _purl(exception: RiskException) -> Purl:
    package = exception.package or PackageName("", "", "")
    return Purl(package, exception.version, exception.qualifiers)


def named(finding: Finding) -> str:
    """A finding in a sentence."""
    return f"{finding.vulnerability} in {finding.package.full_name}"
