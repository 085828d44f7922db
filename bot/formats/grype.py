"""grype's JSON report (grype/presenter/models/*.go), from 0.7 to the database version 6.

Newer ones carry EPSS, KEV and the date a fix became available; older ones know less and say so
by silence. A report without ``matches`` was not written by a scan that ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final

import msgspec

from bot.domain.evidence import (
    Finding,
    FindingKey,
    Fix,
    Looked,
    Scan,
    Severity,
    Suppression,
    canonical_id,
    collapsed,
)
from bot.domain.packages import PackageName, read_purl
from bot.formats.json_document import Lax, Text, day, decoded, moment

# syft's package types -> purl types (syft syft/pkg/type.go).
_TYPES: Final = {
    "java-archive": "maven",
    "jenkins-plugin": "maven",
    "go-module": "golang",
    "python": "pypi",
    "rust-crate": "cargo",
    "php-composer": "composer",
    "dotnet": "nuget",
    "alpm": "alpm",
    "portage": "ebuild",
    "binary": "generic",
}


class _Epss(Lax):
    epss: float = 0.0


class _KnownExploited(Lax):
    dateAdded: Text = None  # noqa: N815 - grype's name


class _Available(Lax):
    date: Text = None


class _Fix(Lax):
    versions: list[str] | None = None
    state: Text = None
    available: list[_Available] | None = None


class _Vulnerability(Lax):
    id: str
    severity: Text = None
    namespace: Text = None
    fix: _Fix | None = None
    fixedInVersion: Text = None  # noqa: N815 - grype before 0.6
    epss: list[_Epss] | None = None
    knownExploited: list[_KnownExploited] | None = None  # noqa: N815 - grype's name
    risk: float | None = None


class _Alias(Lax):
    id: str


class _Related(Lax):
    id: str
    namespace: Text = None
    severity: Text = None
    epss: list[_Epss] | None = None
    knownExploited: list[_KnownExploited] | None = None  # noqa: N815 - grype's name


class _Location(Lax):
    path: Text = None


class _Artifact(Lax):
    name: str
    version: Text = None
    type: Text = None
    purl: Text = None
    locations: list[_Location] | None = None


class _Rule(Lax):
    vulnerability: Text = None
    reason: Text = None
    namespace: Text = None
    vex_status: Text = msgspec.field(default=None, name="vex-status")
    vex_justification: Text = msgspec.field(default=None, name="vex-justification")


class _Match(Lax):
    vulnerability: _Vulnerability
    artifact: _Artifact
    relatedVulnerabilities: list[_Related] | None = None  # noqa: N815 - grype's name
    aliases: list[str] | None = None
    appliedIgnoreRules: list[_Rule] | None = None  # noqa: N815 - grype's name


class _Target(Lax):
    userInput: Text = None  # noqa: N815 - grype's name
    imageID: Text = None  # noqa: N815 - grype's name
    manifestDigest: Text = None  # noqa: N815 - grype's name
    repoDigests: list[str] | None = None  # noqa: N815 - grype's name
    architecture: Text = None
    os: Text = None


class _Source(Lax):
    type: Text = None
    target: _Target | str | None = None


class _Distro(Lax):
    name: Text = None
    version: Text = None


class _DatabaseStatus(Lax):
    built: Text = None


class _Database(Lax):
    built: Text = None
    status: _DatabaseStatus | None = None


class _Descriptor(Lax):
    name: Text = None
    version: Text = None
    timestamp: Text = None
    db: _Database | None = None


class _Alerts(Lax):
    type: Text = None


class _PackageAlerts(Lax):
    alerts: list[_Alerts] | None = None


class _Report(Lax):
    matches: list[_Match]
    ignoredMatches: list[_Match] | None = None  # noqa: N815 - grype's name
    alertsByPackage: list[_PackageAlerts] | None = None  # noqa: N815 - grype's name
    source: _Source | None = None
    distro: _Distro | None = None
    descriptor: _Descriptor | None = None


def read_grype(document: bytes, file: str) -> Scan:
    """Read a report.

    Raises:
        UnreadableEvidenceError: It is none; the defect.
    """
    report = decoded(document, _Report, file, "a grype report")
    target = _target(report.source)
    platform = f"{target.os or 'linux'}/{target.architecture}" if target.architecture else ""
    findings = collapsed(_finding(match, platform) for match in report.matches)
    descriptor = report.descriptor or _Descriptor()
    distro = report.distro or _Distro()
    return Scan(
        scanner="grype",
        version=descriptor.version or "",
        findings=findings,
        suppressed=_suppressed(report.ignoredMatches or [], findings, platform),
        looked=frozenset({Looked.LIBRARY, *([Looked.OS] if distro.name else [])}),
        database=moment(_built(descriptor.db)),
        finished=moment(descriptor.timestamp),
        operating_system=f"{distro.name or ''} {distro.version or ''}".strip(),
        end_of_life=_end_of_life(report),
        platforms=(platform,) if platform else (),
        image=target.userInput or "",
        digests=frozenset(_digests(target)),
        image_id=target.imageID or "",
        # Database version 6 joins EPSS and KEV; its mark is a risk beside every match.
        knows_exploitation=any(match.vulnerability.risk is not None for match in report.matches),
    )


def _target(source: _Source | None) -> _Target:
    target = source.target if source else None
    return target if isinstance(target, _Target) else _Target(userInput=target)


def _digests(target: _Target) -> Iterable[str]:
    if target.manifestDigest:
        yield target.manifestDigest
    for digest in target.repoDigests or []:
        yield digest.rpartition("@")[2]


def _built(database: _Database | None) -> str | None:
    if database is None:
        return None
    return database.status.built if database.status else database.built


def _end_of_life(report: _Report) -> bool | None:
    if report.alertsByPackage is None:
        return None
    kinds = [alert.type or "" for p in report.alertsByPackage for alert in p.alerts or []]
    return any("eol" in kind or "end-of-life" in kind for kind in kinds)


def _finding(match: _Match, platform: str) -> Finding:
    entry, related = match.vulnerability, match.relatedVulnerabilities or []
    aliases = [*(r.id for r in related), *(match.aliases or [])]
    key = FindingKey(canonical_id(entry.id, aliases), _package(match.artifact))
    fix = entry.fix or _Fix()
    fixed_in = tuple(sorted({v for v in (*(fix.versions or []), entry.fixedInVersion) if v}))
    nvd = [r.severity for r in related if (r.namespace or "").startswith("nvd") and r.severity]
    if (entry.namespace or "").startswith("nvd") and entry.severity:
        nvd = [entry.severity]
    return Finding(
        key,
        Severity.of(entry.severity or ""),
        versions=(match.artifact.version,) if match.artifact.version else (),
        fixed_in=fixed_in,
        fix=_fix(fix.state or "", fixed_in),
        aliases=frozenset({key.vulnerability, entry.id, *aliases}),
        nvd_severity=max(map(Severity.of, nvd), default=None),
        fix_since=min(filter(None, (day(a.date) for a in fix.available or [])), default=None),
        exploited_since=_exploited_since([entry, *related]),
        epss=_epss([entry, *related]),
        platforms=(platform,) if platform else (),
        paths=tuple(sorted({x.path for x in match.artifact.locations or [] if x.path})),
    )


def _fix(state: str, fixed_in: tuple[str, ...]) -> Fix:
    if fixed_in or state == "fixed":
        return Fix.AVAILABLE
    return Fix.NONE  # not-fixed, wont-fix, unknown: nobody knows a version to go to


def _epss(entries: Iterable[_Vulnerability | _Related]) -> float | None:
    return max((row.epss for entry in entries for row in entry.epss or []), default=None)


def _exploited_since(entries: Iterable[_Vulnerability | _Related]) -> date | None:
    rows = [row for entry in entries for row in entry.knownExploited or []]
    if not rows:
        return None
    return min(filter(None, (day(row.dateAdded) for row in rows)), default=date.min)


def _package(artifact: _Artifact) -> PackageName:
    purl = read_purl(artifact.purl) if artifact.purl else None
    if purl is not None:
        return purl.package
    kind = artifact.type or ""
    return PackageName.of(_TYPES.get(kind, kind), artifact.name)


def _suppressed(
    matches: Iterable[_Match], findings: dict[FindingKey, Finding], platform: str
) -> dict[FindingKey, Suppression]:
    suppressed: dict[FindingKey, Suppression] = {}
    for match in matches:
        finding = _finding(match, platform)
        if finding.key not in findings:
            rule = next(iter(match.appliedIgnoreRules or []), _Rule())
            by = f"VEX {rule.vex_status}" if rule.vex_status else "ignore rule of grype"
            why = rule.reason or rule.vex_justification or ""
            suppressed[finding.key] = Suppression(finding, by, why)
    return suppressed
