"""The parts of a body that evidence fills: verdict, policy, vulnerabilities, contents.

Every part can be written at several levels of detail; finished Markdown is never cut. What is left
out is counted, and what has no data says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from bot.domain.assessment import Assessment
from bot.domain.delta import Change, Contents, Delta, Fixed, PackageChange, counts
from bot.domain.evidence import Exploitation, Finding, Fix, Scan, Severity, Suppression
from bot.domain.packages import PackageName
from bot.domain.policy import Check, Reason, Result
from bot.formats.markdown import code, details, table, text

LIMIT: Final = 65_536
"""Characters; GitHub's limit for bodies and comments."""
BUDGET: Final = 58_000
"""Bytes that a body may have; GitHub refuses some bodies a little below its limit (Renovate uses
the same figure: lib/modules/platform/github/index.ts)."""
NOT_EVALUATED: Final = "**Not evaluated.**"
_CVE: Final = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")
_GHSA: Final = re.compile(r"GHSA(?:-[23456789cfghjmpqrvwx]{4}){3}")
_NBSP: Final = "\u00a0"
_MINUS: Final = "\u2212"
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
_RESULTS: Final = {
    Result.PASS: f"✅{_NBSP}Pass",
    Result.WARN: f"⚠️{_NBSP}Warn",
    Result.FAIL: f"❌{_NBSP}**Fail**",
    Result.NOT_EVALUATED: f"❓{_NBSP}**Not evaluated**",
}
_CHANGES: Final = {
    Change.ADDED: f"➕{_NBSP}added",  # noqa: RUF001 - a sign beside its word
    Change.REMOVED: f"➖{_NBSP}removed",  # noqa: RUF001 - a sign beside its word
    Change.UPDATED: f"⬆️{_NBSP}updated",
    Change.DOWNGRADED: f"⬇️{_NBSP}downgraded",
    Change.CHANGED: f"↔️{_NBSP}changed",
}


@dataclass(frozen=True, slots=True)
class Detail:
    """How many rows of each kind are written out."""

    checks: int = 30
    introduced: int = 20
    fixed: int = 20
    unchanged: int = 10
    suppressed: int = 20
    packages: int = 40
    licences: int = 10
    commits: int = 50


# From rich to poor; what costs a reviewer least is left out first.
LEVELS: Final = (
    Detail(),
    Detail(commits=10),
    Detail(commits=10, packages=10),
    Detail(commits=10, packages=10, unchanged=5),
    Detail(commits=5, packages=5, unchanged=5, fixed=5, suppressed=5),
    Detail(commits=0, packages=0, unchanged=0, fixed=0, suppressed=5),
    Detail(15, 10, 0, 0, 0, 0, 5, 0),
    Detail(10, 5, 0, 0, 0, 0, 0, 0),
    Detail(3, 1, 0, 0, 0, 0, 0, 0),
    Detail(0, 0, 0, 0, 0, 0, 0, 0),
)


def verdict(assessment: Assessment) -> str:
    """The first lines: the answer, its reason in one sentence, the way out."""
    lines = _verdict_lines(assessment)
    return "\n".join(f"> {line}" for line in lines)


def _verdict_lines(assessment: Assessment) -> list[str]:
    name, decided = code(assessment.environment), assessment.verdict
    if not decided.has_policy:
        scanned = "" if assessment.delta else " The image was not scanned."
        return [
            "[!NOTE]",
            f"**Policy: not evaluated for {name}.** No policy is configured, so nothing gates "
            f"this promotion.{scanned} {_summary(assessment.delta)}".rstrip(),
        ]
    of_all = f"{len(decided.checks)} checks"
    if decided.result is Result.FAIL:
        failing = _with(decided.checks, Result.FAIL)
        why = _first(failing)
        return [
            "[!CAUTION]",
            f"**Policy: blocked for {name}.** {_so_many(failing, of_all, 'fails', 'fail')}: {why}",
            f"**To unblock:** {_way_out(failing)}",
        ]
    if decided.result is Result.NOT_EVALUATED:
        open_ = _with(decided.checks, Result.NOT_EVALUATED)
        said = "treats that as blocking" if decided.blocks else "lets that pass"
        number = _so_many(open_, of_all, "could", "could")
        why = f"{number} not be evaluated: {_first(open_)} {name} {said}."
        return [
            "[!WARNING]",
            f"**Policy: not decided for {name}.** {why}",
        ]
    if decided.result is Result.WARN:
        warning = _with(decided.checks, Result.WARN)
        why = f"{_so_many(warning, of_all, 'warns', 'warn')}: {_first(warning)}"
        return [
            "[!WARNING]",
            f"**Policy: passes for {name} with warnings.** {why}",
            _summary(assessment.delta),
        ]
    return [
        "[!TIP]",
        f"**Policy: all {of_all} pass for {name}.** {_summary(assessment.delta)}".rstrip(),
    ]


def _so_many(checks: Sequence[Check], of_all: str, one: str, several: str) -> str:
    return f"{len(checks)} of {of_all} {one if len(checks) == 1 else several}"


def _with(checks: Iterable[Check], result: Result) -> list[Check]:
    return [check for check in checks if check.result is result]


def _first(checks: Sequence[Check]) -> str:
    """The first check in words, and how many more there are."""
    first = f"*{text(checks[0].title, 120)}* ({text(checks[0].detail, 160)})"
    more = len(checks) - 1
    return f"{first}, and {more} more below." if more else f"{first}."


def _way_out(failing: Sequence[Check]) -> str:
    broken = [r.finding for c in failing for r in c.reasons if r.result is Result.FAIL]
    findings = [finding for finding in broken if finding is not None]
    updates = {
        f.package: f"update {_package_name(f.package)} to {code(f.fixed_in[0], 60)}"
        for f in findings
        if f.fixed_in
    }
    ways = list(updates.values())[:3]
    if len(updates) > len(ways):
        ways.append(f"{len(updates) - len(ways)} more packages")
    update = ", ".join(ways) + ", and promote that build; or " if ways else ""
    if findings:
        return f"{update}merge an exception with an expiry date for what is accepted."
    return "promote a build without it."


def _summary(delta: Delta | None) -> str:
    if delta is None:
        return ""
    if not delta.has_baseline:
        found = _of_severities(delta.introduced) or "no vulnerability"
        return f"There is no baseline, so everything counts as introduced: {found}."
    introduced = _of_severities(delta.introduced)
    start = f"{introduced} introduced" if introduced else "No vulnerability is introduced"
    return f"{start}, {len(delta.fixed)} fixed."


def _of_severities(findings: Iterable[Finding]) -> str:
    return ", ".join(
        f"{count} {severity.word.capitalize()}"
        for severity, count in counts(findings).items()
        if count
    )


def policy(assessment: Assessment, detail: Detail) -> str:
    """What fails, warns or could not be evaluated; what passes is folded."""
    heading = "### Policy"
    if not assessment.verdict.has_policy:
        return f"{heading}\n\n{NOT_EVALUATED} No policy is configured."
    checks = assessment.verdict.checks
    order = (Result.FAIL, Result.NOT_EVALUATED, Result.WARN)
    open_ = [check for result in order for check in _with(checks, result)]
    passing = _with(checks, Result.PASS)
    parts = [heading]
    if open_:
        parts.append(_check_table(open_, detail.checks))
    if passing:
        plural = f"{len(passing)} checks pass" if len(passing) > 1 else "1 check passes"
        parts.append(details(plural, _check_table(passing, detail.checks)))
    return "\n\n".join(parts)


def _check_table(checks: Sequence[Check], shown: int) -> str:
    rows = [
        [_RESULTS[check.result], text(check.title, 120), text(check.detail, 300)]
        for check in checks[:shown]
    ]
    return _rows(["Result", "Check", "Detail"], rows, len(checks))


def _rows(header: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> str:
    """A table, and how many rows it leaves out."""
    parts = [table(header, rows)] if rows else []
    if total > len(rows):
        left = total - len(rows)
        parts.append(f"…and {left} more." if rows else f"{left} are not listed here.")
    return "\n\n".join(parts)


def vulnerabilities(assessment: Assessment, detail: Detail) -> str:
    """The matrix, what is introduced, and folded: fixed, unchanged, suppressed."""
    delta, scan = assessment.delta, assessment.evidence.new
    if delta is None or scan is None:
        why = text("; ".join(assessment.evidence.missing), 400)
        said = why or "No scan was read; this says nothing about the image"
        return f"### Vulnerabilities\n\n{NOT_EVALUATED} {said}."
    parts = ["### Vulnerabilities" + _platforms_of(scan)]
    if not scan.looked:
        parts.append(
            f"{NOT_EVALUATED} The report covers neither operating system packages nor libraries; "
            "its silence says nothing about the image."
        )
    parts += [
        f"{NOT_EVALUATED} {text(lost, 200)}; findings that vanished are not counted as fixed."
        for lost in delta.lost
    ]
    parts += [_matrix(assessment.environment, delta), _provenance_of_numbers(assessment)]
    parts += _introduced(assessment, delta, detail.introduced)
    parts += _folded(delta, detail)
    return "\n\n".join(part for part in parts if part)


def _platforms_of(scan: Scan) -> str:
    return f" ({text(', '.join(scan.platforms), 100)})" if scan.platforms else ""


def _matrix(environment: str, delta: Delta) -> str:
    """Now, fixed, introduced, after merge; every row adds up."""
    fixed = counts(one.finding for one in delta.fixed)
    introduced, unchanged = counts(delta.introduced), counts(delta.unchanged)
    fixable = counts(f for f in delta.present if f.fix is Fix.AVAILABLE)
    is_fix_known = any(f.fix is not Fix.UNKNOWN for f in delta.present) or not delta.present
    header = ["Severity", f"In {code(environment)} now", "Fixed", "Introduced", "After merge"]
    header.append("…of which fixable")
    rows = []
    for severity in [*sorted(Severity, reverse=True), None]:
        cells = [
            sum(column.values()) if severity is None else column[severity]
            for column in (fixed, introduced, unchanged, fixable)
        ]
        is_named = severity is None or severity in _ALWAYS_SHOWN
        if is_named or any(cells[:3]):
            rows.append(_matrix_row(severity, cells, has_baseline=delta.has_baseline))
            if not is_fix_known:
                rows[-1][-1] = "not known"
    return table(header, rows, "lrrrrr")


_ALWAYS_SHOWN: Final = frozenset({Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW})


def _matrix_row(
    severity: Severity | None, cells: Sequence[int], *, has_baseline: bool
) -> list[str]:
    fixed, introduced, unchanged, fixable = cells
    name = "**Total**" if severity is None else _severity(severity)
    is_serious = severity in {Severity.CRITICAL, Severity.HIGH} and introduced
    row = [
        str(fixed + unchanged) if has_baseline else "not known",
        f"{_MINUS}{fixed}" if fixed else "0",
        f"+{introduced}" if introduced else "0",
        str(introduced + unchanged),
        str(fixable),
    ]
    if severity is None:
        return [name, *(f"**{cell}**" for cell in row)]
    if is_serious:
        row[1 + 1] = f"**{row[1 + 1]}**"
    return [name, *row]


def _severity(severity: Severity) -> str:
    return f"{_SQUARES[severity]}{_NBSP}{severity.word.capitalize()}"


def _provenance_of_numbers(assessment: Assessment) -> str:
    """Which scanner, which database, whether both sides used the same."""
    new, old = assessment.evidence.new, assessment.evidence.old
    if new is None:
        return ""
    by = _scanner(new)
    if old is None:
        return f"Scanned by {by}. There is nothing to compare with, so everything is introduced."
    is_same = (new.scanner, new.version, new.database) == (old.scanner, old.version, old.database)
    if is_same and new.database:
        return (
            f"Both images were scanned with the same scanner and database ({by}), "
            "so every difference comes from the image."
        )
    if is_same:
        return f"Both images were scanned by {by}; whether with the same database is not known."
    return f"This image was scanned by {by}, the one that runs there by {_scanner(old)}."


def _scanner(scan: Scan) -> str:
    database = f", database of {_time(scan.database)}" if scan.database else ""
    return f"{text(scan.scanner, 40)} {text(scan.version, 40)}".strip() + database


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _introduced(assessment: Assessment, delta: Delta, shown: int) -> list[str]:
    findings = delta.introduced
    if not findings:
        return []
    title = "**Introduced by this promotion**"
    if not delta.has_baseline:
        title = "**In this image**"
    groups = _grouped(findings, assessment.evidence.exploitation)
    rows = [
        [
            _severity(group.head.severity),
            _vulnerability(group.head),
            _package_and_fix(group, assessment),
            _exploitation(group.head, assessment.evidence.exploitation),
        ]
        for group in groups[:shown]
    ]
    parts = [title]
    if rows:
        parts.append(table(["Severity", "Vulnerability", "Package and fix", "Exploitation"], rows))
    left = [finding for group in groups[shown:] for finding in (group.head, *group.others)]
    if left:
        more = "more introduced findings" if rows else "introduced findings"
        parts.append(f"{len(left)} {more} are not listed here: {_of_severities(left)}.")
    parts.append(_feeds(assessment))
    return parts


@dataclass(frozen=True, slots=True)
class _Group:
    """A row: a finding, and the less urgent ones of the same package."""

    head: Finding
    others: tuple[Finding, ...] = ()


_ROWS_PER_PACKAGE: Final = 3


def _grouped(findings: Iterable[Finding], exploitation: Exploitation) -> list[_Group]:
    """The most urgent first; a package with many findings takes one row and what is exploited."""
    by_package: dict[PackageName, list[Finding]] = {}
    for finding in sorted(findings, key=lambda one: _urgency(one, exploitation)):
        by_package.setdefault(finding.package, []).append(finding)
    groups: list[_Group] = []
    for members in by_package.values():
        if len(members) <= _ROWS_PER_PACKAGE:
            groups += [_Group(member) for member in members]
            continue
        exploited = [m for m in members[1:] if exploitation.kev_of(m)]
        rest = tuple(m for m in members[1:] if not exploitation.kev_of(m))
        groups += [_Group(members[0], rest), *(_Group(member) for member in exploited)]
    return sorted(groups, key=lambda group: _urgency(group.head, exploitation))


def _urgency(
    finding: Finding, exploitation: Exploitation
) -> tuple[bool, int, float, str, PackageName]:
    return (
        exploitation.kev_of(finding) is None,
        -finding.severity,
        -(exploitation.epss_of(finding) or 0),
        finding.vulnerability,
        finding.package,
    )


def _vulnerability(finding: Finding) -> str:
    """Links are built from ids of a known form, never taken from a report."""
    name = finding.vulnerability
    if _CVE.fullmatch(name):
        return f"[{name}](https://nvd.nist.gov/vuln/detail/{name})"
    if _GHSA.fullmatch(name):
        return f"[{name}](https://github.com/advisories/{name})"
    return code(name, _LONGEST_ID)


def _package_name(package: PackageName) -> str:
    return code(package.full_name, _LONGEST_NAME)


def _package(package: PackageName) -> str:
    kind = f" ({text(package.type, 20)})" if package.type else ""
    return _package_name(package) + kind


def _versions(versions: Sequence[str]) -> str:
    shown = ", ".join(code(version, 60) for version in versions[:_SHOWN_VERSIONS])
    more = len(versions) - _SHOWN_VERSIONS
    return f"{shown} and {more} more" if more > 0 else shown


def _package_and_fix(group: _Group, assessment: Assessment) -> str:
    finding = group.head
    words = f"{_package(finding.package)} {_versions(finding.versions)}".rstrip() + _fix(finding)
    scan = assessment.evidence.new
    if scan and finding.platforms and set(finding.platforms) < set(scan.platforms):
        words += f"; {text(', '.join(finding.platforms), 60)} only"
    if group.others:
        words += f". {len(group.others)} more in the same package"
    return words


def _fix(finding: Finding) -> str:
    if finding.fixed_in:
        return f" → {_versions(finding.fixed_in)}"
    if finding.fix is Fix.NONE:
        return ", no fix yet"
    return ", fix not known" if finding.fix is Fix.UNKNOWN else ", fix available"


def _exploitation(finding: Finding, exploitation: Exploitation) -> str:
    listed, score = exploitation.kev_of(finding), exploitation.epss_of(finding)
    words = []
    if listed is not None:
        since = f" since {listed.since}" if listed.since and listed.since != date.min else ""
        words.append(f"**KEV**{since}" + (", ransomware" if listed.ransomware else ""))
    if score is not None:
        words.append(f"EPSS {score:.0%}" if score >= 0.01 else "EPSS < 1%")  # noqa: PLR2004 - 1 %
    silent = "not listed" if exploitation.kev is not None else "not known"
    return ", ".join(words).replace("%", f"{_NBSP}%").replace("< ", "&lt; ") or silent


def _feeds(assessment: Assessment) -> str:
    """What is known about exploitation, and how old it is."""
    known = assessment.evidence.exploitation
    scan = assessment.evidence.new
    parts = [
        _feed("KEV", known.kev is not None, known.kev_date, assessment.at.date()),
        _feed("EPSS", known.epss is not None, known.epss_date, assessment.at.date()),
    ]
    if scan and scan.knows_exploitation:
        parts = [*(part for part in parts if "not read" not in part), "the scanner's own database"]
    return f"<sub>Exploitation data: {'; '.join(parts)}.</sub>"


def _feed(name: str, is_read: bool, at: date | None, today: date) -> str:  # noqa: FBT001 - private
    if not is_read:
        return f"{name} not read"
    if at is None:
        return f"{name} of unknown age"
    days = (today - at).days
    old = "" if days <= 0 else f" ({days} day{'s' if days > 1 else ''} old)"
    return f"{name} of {at}{old}"


def _folded(delta: Delta, detail: Detail) -> list[str]:
    parts = []
    if delta.fixed:
        summary = (
            f"<b>{len(delta.fixed)} fixed</b>: {_of_severities(f.finding for f in delta.fixed)}"
        )
        rows = [_fixed_row(fixed) for fixed in delta.fixed[: detail.fixed]]
        header = ["Severity", "Vulnerability", "Package", "Was", "Now"]
        parts.append(details(summary, _rows(header, rows, len(delta.fixed))))
    if delta.unchanged:
        parts.append(_unchanged(delta, detail.unchanged))
    if delta.suppressed:
        ends = sorted(one.expires for one in delta.suppressed if one.expires)
        expiry = f" (next expiry {ends[0]})" if ends else ""
        summary = f"<b>{len(delta.suppressed)} suppressed</b>{expiry}"
        rows = [_suppressed_row(one) for one in delta.suppressed[: detail.suppressed]]
        header = ["Vulnerability", "Package", "By", "Reason", "Expires"]
        parts.append(details(summary, _rows(header, rows, len(delta.suppressed))))
    return parts


def _fixed_row(fixed: Fixed) -> list[str]:
    finding = fixed.finding
    now = "not reported" if fixed.now is None else _versions(fixed.now) or "removed"
    return [
        _severity(finding.severity),
        _vulnerability(finding),
        _package(finding.package),
        _versions(finding.versions),
        now,
    ]


def _unchanged(delta: Delta, shown: int) -> str:
    disclosed = delta.newly_disclosed or frozenset()
    summary = f"<b>{len(delta.unchanged)} unchanged</b>: {_of_severities(delta.unchanged)}"
    if disclosed:
        summary += f"; {len(disclosed)} of them disclosed after the last promotion"
    if delta.unexplained:
        summary += f"; {len(delta.unexplained)} not reported any more, without a reason"
    first = sorted(
        delta.unchanged, key=lambda f: (f.key not in delta.unexplained, f.key not in disclosed)
    )
    rows = [
        [
            _severity(finding.severity),
            _vulnerability(finding),
            f"{_package(finding.package)} {_versions(finding.versions)}",
            _versions(finding.fixed_in) or "no fix yet",
            _note(finding, delta),
        ]
        for finding in first[:shown]
    ]
    header = ["Severity", "Vulnerability", "Package", "Fixed in", "Note"]
    return details(summary, _rows(header, rows, len(delta.unchanged)))


def _note(finding: Finding, delta: Delta) -> str:
    if finding.key in delta.unexplained:
        return "not reported any more, but nothing says that the package changed"
    if finding.key in (delta.newly_disclosed or ()):
        return f"disclosed {finding.disclosed}; not promoting does not remove it"
    return ""


def _suppressed_row(one: Suppression) -> list[str]:
    return [
        _vulnerability(one.finding),
        _package(one.finding.package),
        text(one.by, 120),
        text(one.reason, 200),
        str(one.expires or ""),
    ]


def contents(assessment: Assessment, detail: Detail) -> str:
    """What is in the image now: packages and licences that changed."""
    found, heading = assessment.contents, "### Contents (SBOM)"
    if found is None:
        words = "No SBOM was read; this says nothing about the image."
        return f"{heading}\n\n{NOT_EVALUATED} {words}"
    if found.old is None:
        words = f"{len(found.new.versions)} packages; there is no SBOM to compare them with."
        return f"{heading}\n\n{words}"
    parts = [heading, _contents_line(found), *_licences(found, detail.licences)]
    if found.changes:
        rows = [_change_row(change, found) for change in found.changes[: detail.packages]]
        header = ["Change", "Package", "From", "To", "Licence"]
        listed = _rows(header, rows, len(found.changes))
        parts.append(details("Added, removed and changed packages", listed))
    return "\n\n".join(parts)


def _contents_line(found: Contents) -> str:
    total = len(found.changes)
    if not total:
        return f"**No package changes**; {len(found.new.versions)} packages."
    words = [f"{found.counts.get(change, 0)} {change}" for change in Change]
    if not found.counts.get(Change.CHANGED, 0):
        words.pop()
    verb = "packages change" if total > 1 else "package changes"
    return f"**{total} {verb}**: {', '.join(words)}."


def _licences(found: Contents, shown: int) -> list[str]:
    """Changes of licence are never folded."""
    total = len(found.licences)
    if not total:
        return []
    listed = [
        f"{_package(one.package)} {code(one.before, 80)} → {code(one.after, 80)}"
        for one in found.licences[:shown]
    ]
    more = [f"and {total - len(listed)} more"] if total > len(listed) else []
    name = "licence change" if total == 1 else "licence changes"
    return [f"⚠️ **{total} {name}**: {', '.join([*listed, *more])}."]


def _change_row(change: PackageChange, found: Contents) -> list[str]:
    licences = [
        side.licences.get(change.package, "") if side else "" for side in (found.old, found.new)
    ]
    shown = [code(licence, 80) for licence in dict.fromkeys(licences) if licence]
    return [
        _CHANGES[change.change],
        _package(change.package),
        _versions(change.before),
        _versions(change.after),
        " → ".join(shown),
    ]


def review(assessment: Assessment, images: Sequence[tuple[str, str, str]]) -> str:
    """A whole body for two images without a promotion: what ``lockkeeper review`` prints.

    ``images`` has a row per fact: its name, what runs now, what is new.
    """
    facts = [[f"**{text(name, 40)}**", text(now, 120), text(new, 120)] for name, now, new in images]
    header = ["", f"In {code(assessment.environment)} now", "This image"]
    identity = f"### Images\n\n{table(header, facts)}"
    evidence = "### Supply chain\n\n" + table(["Evidence", "Status"], supply_chain(assessment))
    foot = f"<sub>Evaluated {_time(assessment.at)} by Lockkeeper.</sub>"
    return fitting(
        lambda detail: [
            verdict(assessment),
            identity,
            policy(assessment, detail),
            vulnerabilities(assessment, detail),
            contents(assessment, detail),
            evidence,
            foot,
        ]
    )


def fitting(sections: Callable[[Detail], Sequence[str]]) -> str:
    """The richest body within the budget; the same for the same facts."""
    body = ""
    for detail in LEVELS:
        body = "\n\n".join(section for section in sections(detail) if section) + "\n"
        if len(body.encode()) <= BUDGET:
            return body
    return body


def supply_chain(assessment: Assessment) -> list[list[str]]:
    """Rows: signature, provenance, SBOM, scan."""
    evidence = assessment.evidence
    new, sbom = evidence.new, assessment.contents.new if assessment.contents else None
    none = "not evaluated"
    scan = none
    if new is not None:
        finished = f", finished {_time(new.finished)}" if new.finished else ""
        scan = f"{_scanner(new)}{finished}{_platforms_of(new)}"
    packages = f"{len(sbom.versions)} packages {text(sbom.tool, 60)}".rstrip() if sbom else none
    rows = [
        ["Signature", _said(evidence.signature)],
        ["Provenance", _said(evidence.provenance)],
        ["SBOM", packages],
        ["Scan", scan],
    ]
    return rows + [["Missing", text(missing, 200)] for missing in evidence.missing[:10]]


def _said(reason: Reason | None) -> str:
    if reason is None:
        return "not evaluated"
    return f"{_RESULTS[reason.result]}: {text(reason.text, 200)}"
