"""grype's JSON report (grype/presenter/models/*.go), from 0.7 to the database version 6.

Newer ones carry EPSS, KEV and the date a fix became available; older ones know less and say so
by silence. A report without ``matches`` was not written by a scan that ended. It lists no packages
but those that it found something in: what else it looked at, an SBOM beside it has to show.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Final

import msgspec

from bot.domain.evidence import (
    Cvss,
    Finding,
    FindingKey,
    Fix,
    Identified,
    Looked,
    Scan,
    Severity,
    Status,
    Suppression,
    collapsed,
    identified,
    repository_of,
)
from bot.domain.image_configuration import ImageConfiguration
from bot.domain.packages import (
    PackageClass,
    PackageName,
    Purl,
    fuller_version,
    read_purl,
    whole_version,
)
from bot.formats import structs
from bot.formats.image_configuration import Config, image_configuration
from bot.formats.json_document import decoded
from bot.formats.lax_document import Lax, Text, day, moment

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


# Distributions that its database has vulnerabilities of, by the names of os-release
# (grype/db/v6, grype/distro/type.go).
_DISTRIBUTIONS: Final = frozenset(
    {
        *("alpine", "debian", "ubuntu", "redhat", "rhel", "centos", "almalinux", "rocky"),
        *("rockylinux", "oracle", "oraclelinux", "ol", "amazonlinux", "amazon", "amzn", "sles"),
        *("mariner", "azurelinux", "wolfi", "chainguard", "minimos", "echo", "raspbian"),
        *("arch", "archlinux", "photon", "secureos", "bottlerocket", "postmarketos", "hummingbird"),
    }
)


class _Epss(Lax):
    cve: Text = None
    epss: float = 0.0


class _KnownExploited(Lax):
    cve: Text = None
    dateAdded: Text = None  # noqa: N815 - grype's name
    knownRansomwareCampaignUse: Text = None  # noqa: N815 - grype's name


class _Metrics(Lax):
    baseScore: float | None = None  # noqa: N815 - grype's name


class _Cvss(Lax):
    version: Text = None
    vector: Text = None
    metrics: _Metrics | None = None


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
    cvss: list[_Cvss] | None = None


class _Related(Lax):
    id: str
    namespace: Text = None
    severity: Text = None
    epss: list[_Epss] | None = None
    knownExploited: list[_KnownExploited] | None = None  # noqa: N815 - grype's name
    cvss: list[_Cvss] | None = None


class _Location(Lax):
    path: Text = None


class _Upstream(Lax):
    name: Text = None


class _Artifact(Lax):
    name: str
    version: Text = None
    type: Text = None
    purl: Text = None
    locations: list[_Location] | None = None
    upstreams: list[_Upstream] | None = None


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
    config: Text = None
    """The config of the image, in base64."""


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


class _Configuration(Lax):
    exclude: list[str] | None = None
    only_fixed: bool | None = msgspec.field(default=None, name="only-fixed")
    only_not_fixed: bool | None = msgspec.field(default=None, name="only-notfixed")

    @property
    def limits(self) -> tuple[str, ...]:
        """What it was told to leave out."""
        left = (
            [f"grype was told to leave out {', '.join(self.exclude[:5])}"] if self.exclude else []
        )
        if self.only_fixed:
            left.append("grype was told to report only what has a fix (--only-fixed)")
        if self.only_not_fixed:
            left.append("grype was told to report only what has no fix (--only-notfixed)")
        return tuple(left)


class _Descriptor(Lax):
    name: Text = None
    version: Text = None
    timestamp: Text = None
    db: _Database | None = None
    configuration: _Configuration | None = None


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
    place = repository_of(target.userInput or ""), platform
    findings = collapsed(f for match in report.matches for f in _findings(match, place))
    suppressed = _suppressed(report.ignoredMatches or [], findings, place)
    descriptor = report.descriptor or _Descriptor()
    distro = report.distro or _Distro()
    system = f"{distro.name or ''} {distro.version or ''}".strip()
    shown = {f.package.package_class for f in findings.values()}
    shown |= {one.finding.package.package_class for one in suppressed.values()}
    looked, unlooked = _looked(shown, distro, system)
    return Scan(
        scanner="grype",
        version=descriptor.version or "",
        findings=findings,
        suppressed=suppressed,
        looked=looked,
        unlooked=unlooked,
        limits=descriptor.configuration.limits if descriptor.configuration else (),
        lists_by_sbom=True,
        database=moment(_built(descriptor.db)),
        finished=moment(descriptor.timestamp),
        operating_system=system,
        end_of_life=_end_of_life(report),
        platforms=(platform,) if platform else (),
        image=target.userInput or "",
        digests=frozenset(_digests(target)),
        image_id=target.imageID or "",
        configuration=_configuration(target.config),
        # Database version 6 joins EPSS and KEV; its mark is a risk beside every match.
        knows_exploitation=any(match.vulnerability.risk is not None for match in report.matches),
    )


def has_data(name: str) -> bool:
    """Whether its database has vulnerabilities of a distribution."""
    return name.lower() in _DISTRIBUTIONS


def _looked(
    shown: set[PackageClass], distro: _Distro, system: str
) -> tuple[frozenset[Looked], dict[Looked, str]]:
    """What the matches prove, and why there is no proof of the operating system."""
    looked = {Looked(one.value) for one in shown}
    if distro.name and not has_data(distro.name):
        return frozenset(looked - {Looked.OS}), {
            Looked.OS: f"grype has no vulnerability data on {system}"
        }
    if not distro.name:
        why = "grype recognised no distribution, and so knows nothing of its packages"
        return frozenset(looked - {Looked.OS}), {Looked.OS: why}
    if Looked.OS in looked:
        looked.add(Looked.LIBRARY)  # one run looks for both
    return frozenset(looked), {}


def _configuration(encoded: str | None) -> ImageConfiguration | None:
    try:
        document = base64.b64decode(encoded or "", validate=True)
        return image_configuration(structs.decode(document, Config)) if document else None
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        return None  # a report without it is as good


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


def _findings(match: _Match, place: tuple[str, str]) -> Iterator[Finding]:
    """One of each vulnerability of a match: an advisory may be about several."""
    entry, related = match.vulnerability, match.relatedVulnerabilities or []
    each = identified(entry.id, [*(r.id for r in related), *(match.aliases or [])])
    for one in each:
        yield _finding(match, one, place, is_one_of_several=len(each) > 1)


def _finding(
    match: _Match, one: Identified, place: tuple[str, str], *, is_one_of_several: bool
) -> Finding:
    entry = match.vulnerability
    names = one.aliases | {one.id}
    related = [r for r in match.relatedVulnerabilities or [] if r.id.strip() in names]
    installed = _installed(match.artifact)
    kind = installed.package.type
    fix = entry.fix or _Fix()
    written = {v for v in (*(fix.versions or []), entry.fixedInVersion) if v}
    fixed_in = tuple(sorted(whole_version(kind, version) for version in written))
    nvd = [r.severity for r in related if (r.namespace or "").startswith("nvd") and r.severity]
    if (entry.namespace or "").startswith("nvd") and entry.severity:
        nvd = [entry.severity]
    # What the advisory says without naming a CVE may be about each of its vulnerabilities.
    own: list[_Vulnerability | _Related] = [entry, *related]
    rows = [k for e in own for k in e.knownExploited or [] if _is_about(k.cve, names)]
    scores = [e.epss for x in own for e in x.epss or [] if _is_about(e.cve, names)]
    sources = [u.name for u in match.artifact.upstreams or [] if u.name]
    return Finding(
        FindingKey(one.id, installed.package, *place),
        Severity.of(entry.severity or ""),
        versions=(installed.version,) if installed.version else (),
        fixed_in=fixed_in,
        fix=_fix(fix.state or "", fixed_in),
        aliases=one.aliases,
        advisories=one.advisories,
        installed=(installed._replace(source=""),) if installed.qualifiers else (),
        status=Status.of(fix.state or ""),
        cvss=_cvss(related if is_one_of_several else own),
        vectors=_vectors(related if is_one_of_several else own),
        nvd_severity=max(map(Severity.of, nvd), default=None),
        fix_since=min(filter(None, (day(a.date) for a in fix.available or [])), default=None),
        exploited_since=min(
            filter(None, (day(row.dateAdded) for row in rows)), default=date.min if rows else None
        ),
        ransomware=any((row.knownRansomwareCampaignUse or "").lower() == "known" for row in rows),
        epss=max(scores, default=None),
        paths=tuple(sorted({x.path for x in match.artifact.locations or [] if x.path}))
        if installed.package.package_class is PackageClass.LIBRARY
        else (),
        source=sources[0] if sources else installed.source,
    )


def _is_about(cve: str | None, names: frozenset[str]) -> bool:
    return not cve or cve.strip().upper() in names


def _vectors(entries: Iterable[_Vulnerability | _Related]) -> frozenset[str]:
    """Of every score, whoever gave it."""
    return frozenset(row.vector for entry in entries for row in entry.cvss or [] if row.vector)


def _cvss(entries: Iterable[_Vulnerability | _Related]) -> Cvss | None:
    """The highest of version 3 and 4; of version 2 where there is no other."""
    found = [
        (row.version or "", Cvss(row.metrics.baseScore, row.vector or ""))
        for entry in entries
        for row in entry.cvss or []
        if row.metrics and row.metrics.baseScore
    ]
    newer = [cvss for version, cvss in found if not version.startswith("2")]
    return max(
        newer or [cvss for _, cvss in found],
        key=lambda one: (one.score, one.vector),
        default=None,
    )


def _fix(state: str, fixed_in: tuple[str, ...]) -> Fix:
    if fixed_in or state == "fixed":
        return Fix.AVAILABLE
    return Fix.NONE if state in {"not-fixed", "wont-fix"} else Fix.UNKNOWN


def _installed(artifact: _Artifact) -> Purl:
    purl = read_purl(artifact.purl) if artifact.purl else None
    if purl is None:
        kind = artifact.type or ""
        purl = Purl(PackageName.of(_TYPES.get(kind, kind), artifact.name), "")
    version = fuller_version(purl.package.type, artifact.version or "", purl.version)
    return purl._replace(version=version)


def _suppressed(
    matches: Iterable[_Match], findings: dict[FindingKey, Finding], place: tuple[str, str]
) -> dict[FindingKey, Suppression]:
    suppressed: dict[FindingKey, Suppression] = {}
    for match in matches:
        rule = next(iter(match.appliedIgnoreRules or []), _Rule())
        by = f"VEX {rule.vex_status}" if rule.vex_status else "ignore rule of grype"
        why = rule.reason or rule.vex_justification or ""
        for finding in _findings(match, place):
            if finding.key not in findings:
                suppressed[finding.key] = Suppression(
                    finding, by, why, is_of_image=bool(rule.vex_status)
                )
    return suppressed
