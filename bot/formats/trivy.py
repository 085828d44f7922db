"""Trivy's JSON report, schema 2 and the bare list of schema 1 (trivy pkg/types/report.go).

Trivy writes no results at all where it found nothing to look at: such a report is readable and
covers nothing. It does not say which scanners ran, so that no secrets in it mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from bot.domain.evidence import (
    Finding,
    FindingKey,
    Fix,
    Looked,
    Scan,
    Secret,
    Severity,
    Suppression,
    UnreadableEvidenceError,
    canonical_id,
    collapsed,
)
from bot.domain.packages import (
    Inventory,
    Package,
    PackageClass,
    PackageName,
    inventory,
    read_purl,
)
from bot.formats.json_document import Lax, Text, day, decoded, moment

# A system that has packages and does not say which one it is (trivy pkg/scan/local/service.go).
_UNRECOGNISED: Final = "none"
# Type of a result -> purl type (trivy pkg/fanal/types/const.go, pkg/purl/purl.go).
_OS_FAMILIES: Final = {
    **dict.fromkeys(("alpine", "wolfi", "chainguard", "minimos"), "apk"),
    **dict.fromkeys(("debian", "ubuntu", "echo", "activestate"), "deb"),
    **dict.fromkeys(
        (
            *("redhat", "centos", "rocky", "alma", "amazon", "oracle", "fedora", "photon"),
            *("cbl-mariner", "azurelinux", "bottlerocket", "opensuse", "opensuse.leap"),
            *("opensuse.tumbleweed", "sles", "slem", "suse linux enterprise server"),
        ),
        "rpm",
    ),
}
_LANGUAGES: Final = {
    **dict.fromkeys(("npm", "yarn", "pnpm", "bun", "node-pkg", "javascript"), "npm"),
    **dict.fromkeys(("pip", "pipenv", "poetry", "uv", "pylock", "python-pkg"), "pypi"),
    **dict.fromkeys(("bundler", "gemspec"), "gem"),
    **dict.fromkeys(("cargo", "rustbinary", "rust-binary"), "cargo"),
    **dict.fromkeys(("composer", "composer-vendor"), "composer"),
    **dict.fromkeys(("jar", "pom", "gradle", "gradle-lockfile", "sbt", "sbt-lockfile"), "maven"),
    **dict.fromkeys(("gomod", "gobinary"), "golang"),
    **dict.fromkeys(("nuget", "dotnet-core", "packages-props", "nuget-config"), "nuget"),
    **dict.fromkeys(("conda-pkg", "conda-environment"), "conda"),
    **dict.fromkeys(("mix-lock",), "hex"),
}
# VendorSeverity counts from UNKNOWN (trivy-db pkg/types/types.go).
_BY_NUMBER: Final = (
    Severity.UNKNOWN,
    Severity.LOW,
    Severity.MEDIUM,
    Severity.HIGH,
    Severity.CRITICAL,
)


class _Identifier(Lax):
    PURL: Text = None


class _Vulnerability(Lax):
    VulnerabilityID: str
    PkgName: str
    InstalledVersion: Text = None
    FixedVersion: Text = None
    Severity: Text = None
    VendorSeverity: dict[str, int] | None = None
    VendorIDs: list[str] | None = None
    PkgIdentifier: _Identifier | None = None
    PkgPath: Text = None
    PublishedDate: Text = None


class _Package(Lax):
    Name: str
    Version: Text = None
    Release: Text = None
    Epoch: int | None = None
    Identifier: _Identifier | None = None
    Licenses: list[str] | None = None


class _Secret(Lax):
    RuleID: str
    Severity: Text = None


class _License(Lax):
    Name: str
    PkgName: Text = None


class _ModifiedFinding(Lax):
    VulnerabilityID: Text = None
    PkgName: Text = None
    InstalledVersion: Text = None
    FixedVersion: Text = None
    Severity: Text = None
    VendorSeverity: dict[str, int] | None = None
    VendorIDs: list[str] | None = None
    PkgIdentifier: _Identifier | None = None
    PublishedDate: Text = None


class _Modified(Lax):
    Finding: _ModifiedFinding
    Type: Text = None
    Status: Text = None
    Statement: Text = None
    Source: Text = None


class _Result(Lax):
    Target: str
    Class: Text = None
    Type: Text = None
    Packages: list[_Package] | None = None
    Vulnerabilities: list[_Vulnerability] | None = None
    Secrets: list[_Secret] | None = None
    Licenses: list[_License] | None = None
    ExperimentalModifiedFindings: list[_Modified] | None = None


class _OS(Lax):
    Family: Text = None
    Name: Text = None
    EOSL: bool | None = None


class _ImageConfig(Lax):
    architecture: Text = None
    os: Text = None


class _Metadata(Lax):
    OS: _OS | None = None
    ImageID: Text = None
    RepoDigests: list[str] | None = None
    ImageConfig: _ImageConfig | None = None


class _Trivy(Lax):
    Version: Text = None


class _Report(Lax):
    SchemaVersion: int
    ArtifactName: Text = None
    ArtifactType: Text = None
    CreatedAt: Text = None
    Trivy: _Trivy | None = None
    Metadata: _Metadata | None = None
    Results: list[_Result] | None = None


def read_trivy(document: bytes, file: str) -> Scan:
    """Read a report of either schema.

    Raises:
        UnreadableEvidenceError: It is none; the defect.
    """
    if document.lstrip()[:1] == b"[":
        results = decoded(document, list[_Result], file, "a Trivy report of schema 1")
        if not results:
            raise UnreadableEvidenceError(file, "an empty list: Trivy looked at nothing")
        return _scan(_Report(1, Results=results), file)
    return _scan(decoded(document, _Report, file, "a Trivy report"), file)


def _scan(report: _Report, file: str) -> Scan:
    if report.SchemaVersion not in {1, 2}:
        raise UnreadableEvidenceError(
            file, f"Trivy report of schema {report.SchemaVersion}; schemas 1 and 2 are known"
        )
    results = report.Results or []
    metadata = report.Metadata or _Metadata()
    system = metadata.OS or _OS()
    if system.Family == _UNRECOGNISED:
        system = _OS()
    platform = _platform(metadata.ImageConfig)
    findings = collapsed(
        _finding(entry, result, platform)
        for result in results
        for entry in result.Vulnerabilities or []
    )
    digests = [digest.rpartition("@")[2] for digest in metadata.RepoDigests or [] if digest]
    name = f"{system.Family or ''} {system.Name or ''}".strip()
    return Scan(
        scanner="Trivy",
        version=(report.Trivy.Version if report.Trivy else None) or "",
        findings=findings,
        suppressed=_suppressed(results, findings, platform),
        looked=_looked(results, name),
        finished=moment(report.CreatedAt),
        operating_system=name or next(_families(results), ""),
        end_of_life=system.EOSL if system.EOSL is not None else (False if name else None),
        inventory=_inventory(results, name, digests),
        secrets=_secrets(results),
        platforms=(platform,) if platform else (),
        image=report.ArtifactName or "",
        digests=frozenset(digests),
        image_id=metadata.ImageID or "",
    )


def _platform(config: _ImageConfig | None) -> str:
    if config is None or not config.architecture:
        return ""
    return f"{config.os or 'linux'}/{config.architecture}"


def _looked(results: Iterable[_Result], system: str) -> frozenset[Looked]:
    """What it had data for. A recognised system or a package result was matched."""
    looked: set[Looked] = set()
    for result in results:
        found = _looked_in(result)
        if found is not None:
            looked.add(found)
    if looked & {Looked.OS, Looked.LIBRARY}:
        # Packages were matched, so lock files and binaries were looked for as well.
        looked.add(Looked.LIBRARY)
        if system:
            looked.add(Looked.OS)
    return frozenset(looked)


def _looked_in(result: _Result) -> Looked | None:
    kinds = {
        "os-pkgs": Looked.OS,
        "lang-pkgs": Looked.LIBRARY,
        "secret": Looked.SECRET,
        "license": Looked.LICENCE,
        "license-file": Looked.LICENCE,
        "config": Looked.CONFIGURATION,
    }
    if result.Type == _UNRECOGNISED:
        return None  # its packages were listed and matched with nothing
    if result.Class:
        return kinds.get(result.Class)
    # Before 0.20 there was no class.
    family = (result.Type or "").lower()
    return Looked.LIBRARY if family in _LANGUAGES else Looked.OS


def _families(results: Iterable[_Result]) -> Iterator[str]:
    return (r.Type.lower() for r in results if r.Type and r.Type.lower() in _OS_FAMILIES)


def _name(identifier: _Identifier | None, name: str, kind: str) -> PackageName:
    purl = read_purl(identifier.PURL) if identifier and identifier.PURL else None
    if purl is not None:
        return purl.package
    if kind in _OS_FAMILIES:
        return PackageName(_OS_FAMILIES[kind], kind, name)
    return PackageName.of(_LANGUAGES.get(kind, kind), name)


def _finding(entry: _Vulnerability | _ModifiedFinding, result: _Result, platform: str) -> Finding:
    own, aliases = entry.VulnerabilityID or "", entry.VendorIDs or []
    key = FindingKey(
        canonical_id(own, aliases),
        _name(entry.PkgIdentifier, entry.PkgName or "", (result.Type or "").lower()),
    )
    fixed_in = _listed(entry.FixedVersion or "")
    nvd = (entry.VendorSeverity or {}).get("nvd")
    return Finding(
        key,
        Severity.of(entry.Severity or ""),
        versions=(entry.InstalledVersion,) if entry.InstalledVersion else (),
        fixed_in=fixed_in,
        fix=Fix.AVAILABLE if fixed_in else Fix.NONE,
        aliases=frozenset({key.vulnerability, own, *aliases}),
        nvd_severity=_BY_NUMBER[nvd] if nvd is not None and 0 <= nvd < len(_BY_NUMBER) else None,
        disclosed=day(entry.PublishedDate),
        platforms=(platform,) if platform else (),
    )


def _listed(versions: str) -> tuple[str, ...]:
    """``3.1.0, 2.6.9`` as versions."""
    if "," not in versions:
        return (versions,) if versions else ()
    return tuple(sorted({version.strip() for version in versions.split(",")} - {""}))


def _suppressed(
    results: Iterable[_Result], findings: dict[FindingKey, Finding], platform: str
) -> dict[FindingKey, Suppression]:
    suppressed: dict[FindingKey, Suppression] = {}
    for result in results:
        for entry in result.ExperimentalModifiedFindings or []:
            if entry.Type in {None, "", "vulnerability"} and entry.Finding.VulnerabilityID:
                finding = _finding(entry.Finding, result, platform)
                if finding.key not in findings:
                    by = f"{entry.Status or 'ignored'} ({entry.Source or 'Trivy'})"
                    suppressed[finding.key] = Suppression(finding, by, entry.Statement or "")
    return suppressed


def _secrets(results: Iterable[_Result]) -> frozenset[Secret]:
    return frozenset(
        Secret(secret.RuleID, result.Target, Severity.of(secret.Severity or ""))
        for result in results
        for secret in result.Secrets or []
    )


def _inventory(results: Iterable[_Result], system: str, digests: Iterable[str]) -> Inventory | None:
    """The packages of the report, where it lists them (``--list-all-pkgs``)."""
    listed = [result for result in results if result.Packages is not None]
    if not listed:
        return None
    return inventory(
        (_package(package, result) for result in listed for package in result.Packages or []),
        operating_system=system,
        subjects=digests,
        tool="Trivy",
    )


def _package(package: _Package, result: _Result) -> Package:
    kind = (result.Type or "").lower()
    name = _name(package.Identifier, package.Name, kind)
    version = package.Version or ""
    if name.package_class is PackageClass.OS:
        release = f"-{package.Release}" if package.Release else ""
        epoch = f"{package.Epoch}:" if package.Epoch else ""
        version = f"{epoch}{version}{release}"
    return Package(name, version, " AND ".join(sorted(package.Licenses or [])))
