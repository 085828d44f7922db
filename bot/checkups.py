"""The set-up, looked at again and again: what the log, `status` and ``/readyz`` say of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from bot.domain.doctor.diagnosis import Diagnosis
from bot.domain.doctor.findings import Finding, Severity

_LOG: Final = logging.getLogger("lockkeeper.doctor")
_LEVELS: Final = {
    Severity.FAILURE: logging.ERROR,
    Severity.UNKNOWN: logging.WARNING,
    Severity.WARNING: logging.WARNING,
    Severity.NOT_TRIED: logging.INFO,
    Severity.OK: logging.INFO,
}
SOON_SECONDS: Final = 10.0
"""Until the next look where nothing works: a person is mending it right now."""
LATER_SECONDS: Final = 300.0
"""Until the next look where something works."""


class Checkups:
    """The newest diagnosis of one process; looked at by one thread, read by many."""

    def __init__(self, doctor: Callable[[], Diagnosis]) -> None:
        """Look at nothing yet."""
        self._doctor = doctor
        self._latest: Diagnosis | None = None
        self._logged: frozenset[tuple[str, str, str]] = frozenset()
        self._was_ready = False

    def look(self) -> float:
        """Look once; the seconds until the next look. New findings are logged, one line each."""
        diagnosis = self._doctor()
        for finding in diagnosis.findings:
            if _outcome(finding) not in self._logged:
                _log(finding)
        self._logged = frozenset(map(_outcome, diagnosis.findings))
        self._latest = diagnosis
        self._was_ready = self._was_ready or not self._stopping()
        return SOON_SECONDS if self._stopping() else LATER_SECONDS

    def reason_not_ready(self) -> str:
        """Why this process can do nothing; empty as long as it can do something."""
        if self._latest is None:
            return "the set-up is being looked at"
        return "nothing can be promoted" if self._stopping() else ""

    def remarkable(self) -> Sequence[Finding]:
        """What is not in order, the worst first; nothing before the first look."""
        return self._latest.remarkable if self._latest else ()

    def _stopping(self) -> Sequence[Finding]:
        # Whoever worked once has been set up right: what is unknown since then passes.
        latest = self._latest
        return latest.reasons_not_ready(is_first=not self._was_ready) if latest else ()


def _outcome(finding: Finding) -> tuple[str, str, str]:
    """What makes a finding news: figures in its fact, such as free room, change all the time."""
    return finding.about, finding.subject, finding.severity


def _log(finding: Finding) -> None:
    _LOG.log(
        _LEVELS[finding.severity],
        "set-up",
        extra={
            "about": str(finding.about),
            "subject": finding.subject,
            "severity": str(finding.severity),
            "fact": finding.fact,
            "remedy": finding.remedy,
        },
    )
