"""Trivy's JSON report, schema 2 and the bare list of schema 1 (trivy pkg/types/report.go).

Trivy writes no results at all where it found nothing to look at: such a report is readable and
covers nothing. It does not say which scanners ran, so that no secrets in it mean nothing; and it
names an operating system without listing one package of it where the package database is gone,
where its flags leave those packages out, or where it has no data on that distribution.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from bot.domain.evidence import (
    Cvss,
    Finding,
    FindingKey,
    Fix,
    Looked,
    Scan,
    Secret,
    Severity,
    Status,
    Suppression,
    UnreadableEvidenceError,
    collapsed,
    identified,
    repository_of,
)
from bot.domain.licences import conjunction
from bot.domain.packages import (
    Inventory,
    Package,
    PackageName,
    Purl,
    cased,
    inventory,
    read_purl,
    whole_version,
)
from bot.formats.image_configuration import Config, image_configuration
from bot.formats.json_document import decoded
from bot.formats.lax_document import Lax, Text, day, moment

# A system that has packages and does not say which one it is (trivy pkg/scan/local/service.go).
_UNRECOGNISED: Final = "none"
# Type of a result -> purl type (trivy pkg/fanal/types/const.go, pkg/purl/purl.go).
_OS_FAMILIES: Final = {
    **dict.fromkeys(("alpine", "wolfi", "chainguard", "minimos"), "apk"),
    **dict.fromkeys(("debian", "ubuntu", "echo", "activestate"), "deb"),
    **dict.fromkeys(
        (
            *("redhat", "centos", "rocky", "alma", "amazon", "oracle", "fedora", "photon"),
            *("cbl-mariner", "azurelinux", "bottlerocket", "centos-stream", "coreos", "opensuse"),
            *("opensuse-leap", "opensuse.leap", "opensuse-tumbleweed", "opensuse.tumbleweed"),
            *("sles", "slem", "suse linux enterprise server"),
        ),
        "rpm",
    ),
}
# Distributions that it lists packages of and has no vulnerabilities of (pkg/detector/ospkg).
_WITHOUT_DATA: Final = frozenset({"activestate", "centos-stream", "coreos", "fedora", "opensuse"})
# Its data on the others is of numbered releases: `trixie/sid` is none of them.
_ROLLING: Final = frozenset(
    {
        *("bottlerocket", "chainguard", "echo", "minimos", "opensuse-tumbleweed"),
        *("opensuse.tumbleweed", "wolfi"),
    }
)
_RELEASE: Final = re.compile(r"[0-9]|edge\b")
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


# What VEX says of an image; `ignored` is what its owner decided (pkg/types/finding.go).
_SAID_OF_THE_IMAGE: Final = frozenset({"not_affected", "fixed"})


class _Identifier(Lax):
    PURL: Text = None


class _Cvss(Lax):
    V2Score: float | None = None
    V3Score: float | None = None
    V3Vector: Text = None
    V40Score: float | None = None
    V40Vector: Text = None


class _Found(Lax):
    """What a vulnerability and a suppressed one have in common."""

    VulnerabilityID: Text = None
    PkgName: Text = None
    InstalledVersion: Text = None
    FixedVersion: Text = None
    Status: Text = None
    Severity: Text = None
    VendorSeverity: dict[str, int] | None = None
    VendorIDs: list[str] | None = None
    PkgIdentifier: _Identifier | None = None
    PkgPath: Text = None
    PublishedDate: Text = None
    CVSS: dict[str, _Cvss] | None = None


class _Vulnerability(_Found):
    VulnerabilityID: str  # type: ignore[mutable-override]  # here it has to be there
    PkgName: str  # type: ignore[mutable-override]  # here it has to be there


class _Layer(Lax):
    DiffID: Text = None


class _Package(Lax):
    Name: str
    Version: Text = None
    Release: Text = None
    Epoch: int | None = None
    Arch: Text = None
    SrcName: Text = None
    Identifier: _Identifier | None = None
    Licenses: list[str] | None = None
    Layer: _Layer | None = None
    FilePath: Text = None
    Dev: bool | None = None


class _Secret(Lax):
    RuleID: str
    Severity: Text = None


class _License(Lax):
    Name: str
    PkgName: Text = None


class _Modified(Lax):
    Finding: _Found
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


class _Metadata(Lax):
    OS: _OS | None = None
    ImageID: Text = None
    DiffIDs: list[str] | None = None
    RepoDigests: list[str] | None = None
    RepoTags: list[str] | None = None
    ImageConfig: Config | None = None


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
    config = metadata.ImageConfig
    platform = config.platform if config else ""
    packages = _Packages(results)
    image = _image(report.ArtifactName or "", metadata)
    place = repository_of(image), platform
    findings = collapsed(
        finding
        for result in results
        for entry in result.Vulnerabilities or []
        for finding in _findings(entry, result, packages, place)
    )
    digests = [digest.rpartition("@")[2] for digest in metadata.RepoDigests or [] if digest]
    name = f"{system.Family or ''} {system.Name or ''}".strip()
    looked, unlooked = _looked(results, system, name)
    return Scan(
        scanner="Trivy",
        version=(report.Trivy.Version if report.Trivy else None) or "",
        findings=findings,
        suppressed=_suppressed(results, findings, packages, place),
        looked=looked,
        assumed=looked - {found for r in results if (found := _looked_in(r))},
        unlooked=unlooked,
        finished=moment(report.CreatedAt),
        operating_system=name or next(_families(results), ""),
        end_of_life=_end_of_life(system),
        inventory=_inventory(results, name, [*digests, metadata.ImageID or ""]),
        secrets=_secrets(results),
        platforms=(platform,) if platform else (),
        image=image,
        digests=frozenset(digests),
        image_id=metadata.ImageID or "",
        layers=frozenset(metadata.DiffIDs or []),
        configuration=image_configuration(config),
    )


def _image(artifact: str, metadata: _Metadata) -> str:
    """What the image is called: of an archive or an id that was scanned, by the tag in it."""

    def last(image: str) -> str:
        return repository_of(image).rpartition("/")[2]

    tags = [tag for tag in metadata.RepoTags or [] if tag]
    known = {last(name) for name in (*tags, *(metadata.RepoDigests or []))}
    return artifact if not tags or last(artifact) in known else tags[0]


def has_data(family: str, release: str) -> bool:
    """Whether it knows vulnerabilities of this release of a distribution."""
    family = family.lower()
    if family not in _OS_FAMILIES or family in _WITHOUT_DATA:
        return False
    return family in _ROLLING or bool(_RELEASE.match(release))


def _end_of_life(system: _OS) -> bool | None:
    """It writes that a system is at its end and leaves out that it is not."""
    if system.EOSL is not None:
        return system.EOSL
    return False if has_data(system.Family or "", system.Name or "") else None


def _looked(
    results: Iterable[_Result], system: _OS, name: str
) -> tuple[frozenset[Looked], dict[Looked, str]]:
    """What it had data for, and why it has none for the rest.

    An image without a library has no result about any; an image whose operating system packages
    were matched was looked through for libraries as well, unless flags forbade it.
    """
    looked = {found for result in results if (found := _looked_in(result)) is not None}
    unlooked: dict[Looked, str] = {}
    if system.Family and not has_data(system.Family, system.Name or ""):
        looked.discard(Looked.OS)
        unlooked[Looked.OS] = f"Trivy has no vulnerability data on {name}"
    elif name and Looked.OS not in looked:
        unlooked[Looked.OS] = (
            f"the report names {name} and lists no package of it: its package database is gone, or"
            " the report was limited (--pkg-types, --list-all-pkgs)"
        )
    if Looked.OS in looked:
        looked.add(Looked.LIBRARY)
    return frozenset(looked), unlooked


def _looked_in(result: _Result) -> Looked | None:
    kinds = {
        "os-pkgs": Looked.OS,
        "lang-pkgs": Looked.LIBRARY,
        "secret": Looked.SECRET,
        "license": Looked.LICENCE,
        "license-file": Looked.LICENCE,
        "config": Looked.CONFIGURATION,
    }
    family = (result.Type or "").lower()
    if family in {_UNRECOGNISED, *_WITHOUT_DATA}:
        return None  # its packages were listed and matched with nothing
    # Before 0.20 there was no class.
    by_type = Looked.LIBRARY if family in _LANGUAGES else Looked.OS
    found = kinds.get(result.Class) if result.Class else by_type
    is_shown = result.Packages or result.Vulnerabilities or result.ExperimentalModifiedFindings
    return None if found is Looked.OS and not is_shown else found


def _families(results: Iterable[_Result]) -> Iterator[str]:
    return (r.Type.lower() for r in results if r.Type and r.Type.lower() in _OS_FAMILIES)


def _named(identifier: _Identifier | None, name: str, kind: str, version: str) -> Purl:
    """A package by its package URL, else by what its ecosystem calls it."""
    purl = read_purl(identifier.PURL) if identifier and identifier.PURL else None
    if purl is None:
        if kind in _OS_FAMILIES:
            package = PackageName.of(_OS_FAMILIES[kind], name, kind)
        else:
            package = PackageName.of(_LANGUAGES.get(kind, kind), name)
        return Purl(package, whole_version(package.type, version))
    package, version = cased(purl.package, name), whole_version(purl.package.type, version)
    if package is purl.package and version == purl.version:
        return purl
    is_module = package is not purl.package and package.type == "golang"
    spelled = str(purl.package) if is_module else ""
    return purl._replace(package=package, version=version, spelled=spelled)


class _Packages:
    """What a report says of packages apart from their findings.

    One lock file may hold a package several times: in two versions, or once to build and once to
    run. A finding is in those of its own version, and a word on one of them is none on the others.
    """

    def __init__(self, results: Iterable[_Result]) -> None:
        self._known: dict[tuple[str, str], list[tuple[str, _Package]]] = {}
        for result in results:
            kind = (result.Type or "").lower()
            for package in result.Packages or []:
                version = _whole(package, kind)
                self._known.setdefault((result.Target, package.Name), []).append((version, package))

    def of(self, entry: _Found, result: _Result) -> Sequence[_Package]:
        """The packages that a finding may be in; the most exact that the report tells apart."""
        named = self._known.get((result.Target, entry.PkgName or ""), ())
        found = [package for version, package in named if version == entry.InstalledVersion]
        found = found or [package for _, package in named]
        placed = [package for package in found if entry.PkgPath in {package.FilePath, None, ""}]
        return placed or found


def _whole(package: _Package, kind: str) -> str:
    """A version as findings have it: with epoch and release."""
    version = package.Version or ""
    if kind not in _OS_FAMILIES:
        return version
    release = f"-{package.Release}" if package.Release else ""
    epoch = f"{package.Epoch}:" if package.Epoch else ""
    return f"{epoch}{version}{release}"


def _findings(
    entry: _Found, result: _Result, packages: _Packages, place: tuple[str, str]
) -> Iterator[Finding]:
    kind = (result.Type or "").lower()
    installed = _named(entry.PkgIdentifier, entry.PkgName or "", kind, entry.InstalledVersion or "")
    listed = packages.of(entry, result)
    fixed_in = _listed(entry.FixedVersion) if entry.FixedVersion else ()
    if fixed_in:
        fixed_in = tuple([whole_version(installed.package.type, fix) for fix in fixed_in])
    nvd = (entry.VendorSeverity or {}).get("nvd")
    paths = [entry.PkgPath] if entry.PkgPath else [one.FilePath for one in listed]
    status = Status.of(entry.Status) if entry.Status else Status.UNKNOWN
    for one in identified(entry.VulnerabilityID or "", entry.VendorIDs or []):
        yield Finding(
            FindingKey(one.id, installed.package, *place),
            Severity.of(entry.Severity or ""),
            versions=(installed.version,) if installed.version else (),
            fixed_in=fixed_in,
            fix=Fix.AVAILABLE if fixed_in else Fix.NONE,
            aliases=one.aliases,
            advisories=one.advisories,
            installed=(_without_source(installed),)
            if installed.qualifiers or installed.spelled
            else (),
            status=Status.FIXED if fixed_in and status is Status.UNKNOWN else status,
            cvss=_cvss(entry.CVSS) if entry.CVSS else None,
            nvd_severity=_BY_NUMBER[nvd]
            if nvd is not None and 0 <= nvd < len(_BY_NUMBER)
            else None,
            disclosed=day(entry.PublishedDate),
            paths=tuple(sorted({path for path in paths if path})),
            source=next((one.SrcName for one in listed if one.SrcName), ""),
            is_development=bool(listed) and all(one.Dev for one in listed),
            vectors=_vectors(entry.CVSS) if entry.CVSS else frozenset(),
        )


def _without_source(installed: Purl) -> Purl:
    return installed._replace(source="") if installed.source else installed


def _vectors(scores: dict[str, _Cvss]) -> frozenset[str]:
    """Of every version 3 and 4, whoever gave them."""
    each = [vector for one in scores.values() for vector in (one.V40Vector, one.V3Vector)]
    return frozenset(filter(None, each))


def _cvss(scores: dict[str, _Cvss]) -> Cvss | None:
    """The highest of version 4 and 3, whoever gave it; of version 2 where there is no other."""
    found = [
        Cvss(score, vector or "")
        for one in scores.values()
        for score, vector in ((one.V40Score, one.V40Vector), (one.V3Score, one.V3Vector))
        if score
    ]
    found = found or [Cvss(one.V2Score) for one in scores.values() if one.V2Score]
    return max(found, key=lambda one: (one.score, one.vector), default=None)


def _listed(versions: str) -> tuple[str, ...]:
    """``3.1.0, 2.6.9`` as versions."""
    if "," not in versions:
        return (versions,)
    return tuple(sorted({version.strip() for version in versions.split(",")} - {""}))


def _suppressed(
    results: Iterable[_Result],
    findings: dict[FindingKey, Finding],
    packages: _Packages,
    place: tuple[str, str],
) -> dict[FindingKey, Suppression]:
    suppressed: dict[FindingKey, Suppression] = {}
    for result in results:
        for entry in result.ExperimentalModifiedFindings or []:
            if entry.Type in {None, "", "vulnerability"} and entry.Finding.VulnerabilityID:
                by = f"{entry.Status or 'ignored'} ({entry.Source or 'Trivy'})"
                for finding in _findings(entry.Finding, result, packages, place):
                    if finding.key not in findings:
                        suppressed[finding.key] = Suppression(
                            finding,
                            by,
                            entry.Statement or "",
                            is_of_image=entry.Status in _SAID_OF_THE_IMAGE,
                        )
    return suppressed


def _secrets(results: Iterable[_Result]) -> frozenset[Secret]:
    found = Counter(
        (secret.RuleID, result.Target, Severity.of(secret.Severity or ""))
        for result in results
        for secret in result.Secrets or []
    )
    return frozenset(
        Secret(*one, number) for one, times in found.items() for number in range(1, times + 1)
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
    named = _named(package.Identifier, package.Name, kind, _whole(package, kind))
    return Package(
        named.package,
        named.version,
        conjunction(package.Licenses) if package.Licenses else "",
        package.SrcName or "",
        (package.Layer.DiffID if package.Layer else None) or "",
        is_development=bool(package.Dev),
    )
