"""Findings, packages, versions and scanners as Markdown on one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from bot.domain.delta import counts
from bot.domain.evidence import Finding, Scan, Severity
from bot.domain.packages import PackageName
from bot.formats.markdown import code, text

NOT_EVALUATED: Final = "**Not evaluated.**"
NBSP: Final = "\u00a0"
_CVE: Final = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")
_GHSA: Final = re.compile(r"GHSA(?:-[23456789cfghjmpqrvwx]{4}){3}")
_LONGEST_ID: Final = 60
_LONGEST_NAME: Final = 80
_SHOWN_VERSIONS: Final = 3
_SQUARES: Final = {
    Severity.CRITICAL: "🟥",
    Severity.HIGH: "🟧",
    Severity.MEDIUM: "🟨",
    Severity.LOW: "⬜",
    Severity.NEGLIGIBLE: "⬜",
    Severity.UNKNOWN: "❓",
}


def severity_cell(severity: Severity) -> str:
    """A square and the word: colour is never alone."""
    return f"{_SQUARES[severity]}{NBSP}{severity.word.capitalize()}"


def of_severities(findings: Iterable[Finding]) -> str:
    """How many of each, the highest first: ``1 Critical, 3 High``; empty without any."""
    return ", ".join(
        f"{count} {severity.word.capitalize()}"
        for severity, count in counts(findings).items()
        if count
    )


def advisory_url(identifier: str) -> str:
    """Where people read about it: of ids of a known form only, never taken from a report."""
    if _CVE.fullmatch(identifier):
        return f"https://nvd.nist.gov/vuln/detail/{identifier}"
    if _GHSA.fullmatch(identifier):
        return f"https://github.com/advisories/{identifier}"
    return ""


def vulnerability(finding: Finding) -> str:
    """Its id, with a link where there is one."""
    name = finding.vulnerability
    url = advisory_url(name)
    return f"[{name}]({url})" if url else code(name, _LONGEST_ID)


def vulnerability_name(finding: Finding) -> str:
    """Its id, without a link."""
    return code(finding.vulnerability, _LONGEST_ID)


def package_name(package: PackageName) -> str:
    """What its ecosystem calls it."""
    return code(package.full_name, _LONGEST_NAME)


def package_cell(package: PackageName) -> str:
    """Its name and its type."""
    kind = f" ({text(package.type, 20)})" if package.type else ""
    return package_name(package) + kind


def versions_cell(versions: Sequence[str]) -> str:
    """A few versions, and how many more there are."""
    shown = ", ".join(code(version, 60) for version in versions[:_SHOWN_VERSIONS])
    more = len(versions) - _SHOWN_VERSIONS
    return f"{shown} and {more} more" if more > 0 else shown


def scanner(scan: Scan) -> str:
    """Name, version and database of a scanner."""
    database = f", database of {minute(scan.database)}" if scan.database else ""
    return f"{text(scan.scanner, 40)} {text(scan.version, 40)}".strip() + database


def platforms_of(scan: Scan) -> str:
    """The platforms in brackets, behind a space; empty where nobody knows."""
    return f" ({text(', '.join(scan.platforms), 100)})" if scan.platforms else ""


def minute(at: datetime) -> str:
    """A time, to the minute."""
    return f"{at:%Y-%m-%d %H:%M} UTC"
