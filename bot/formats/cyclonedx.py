"""CycloneDX 1.2 to 1.7 in JSON: an inventory, and a scan where the document has vulnerabilities.

Source: cyclonedx.org/docs/1.7/json. A document with ``vulnerabilities`` is a scanner's report
(Trivy and grype write them) or a VEX document; without that key it is an SBOM and says nothing
about vulnerabilities.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal
from urllib.parse import unquote

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
    UnreadableEvidenceError,
    collapsed,
    identified,
    plain_id,
    repository_of,
)
from bot.domain.licences import conjunction
from bot.domain.packages import (
    Inventory,
    Package,
    PackageClass,
    PackageName,
    Purl,
    cased,
    fuller_version,
    inventory,
    read_purl,
    whole_version,
)
from bot.domain.version_ranges import is_version
from bot.domain.vex import VexProduct, VexStatement
from bot.formats import grype, trivy
from bot.formats.json_document import decoded
from bot.formats.lax_document import Lax, Text, day, moment

VERSIONS: Final = ("1.2", "1.3", "1.4", "1.5", "1.6", "1.7")
# What is installed; the other component types are files, containers, hardware, models ...
_INSTALLED: Final = frozenset({"library", "framework", "application", "platform"})
_NO_LICENCES: Final = frozenset({"", "NOASSERTION", "NONE"})
# Analysis states (bom-1.7, impactAnalysisState) in the words of OpenVEX.
_STATUSES: Final = {
    "resolved": "fixed",
    "resolved_with_pedigree": "fixed",
    "exploitable": "affected",
    "in_triage": "under_investigation",
    "false_positive": "not_affected",
    "not_affected": "not_affected",
}
# Those that mean: this finding does not count.
_SUPPRESSED: Final = frozenset(
    state for state, status in _STATUSES.items() if status in {"fixed", "not_affected"}
)
# Most of what tools write beside a package is about its files, and is not even decoded.
_OF_TRIVY: Final = "aquasecurity:trivy:"
_DEVELOPMENT: Final = ":development"  # cdx:npm:package:development (CycloneDX property taxonomy)
_IN_BYTES: Final = (_OF_TRIVY.encode(), _DEVELOPMENT.encode())
_UPGRADE: Final = re.compile(r"Upgrade (\S+) to version ([^;]+)")
_HIGHEST: Final = 10.0  # CVSS score
_NOWHERE: Final = Purl(PackageName("", "", "(no package named)"), "")


class _Attachment(Lax):
    content: Text = None
    encoding: Literal["base64"] | None = None


class _License(Lax):
    id: Text = None
    name: Text = None
    text: _Attachment | None = None
    acknowledgement: Text = None


class _LicenseChoice(Lax):
    license: _License | None = None
    expression: Text = None
    acknowledgement: Text = None


class _Property(Lax):
    name: Text = None
    value: Text = None


class _Component(Lax):
    type: str
    name: str
    bom_ref: Text = msgspec.field(default=None, name="bom-ref")
    group: Text = None
    version: Text = None
    purl: Text = None
    scope: Literal["required", "optional", "excluded"] | None = None
    licenses: list[_LicenseChoice] | None = None
    components: list[_Component] | None = None
    properties: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    """Thousands of files in a large document: `_Properties` decodes what is asked for."""


class _Tool(Lax):
    name: Text = None
    version: Text = None


class _Tools(Lax):
    components: list[_Tool] | None = None
    services: list[_Tool] | None = None


class _Metadata(Lax):
    timestamp: Text = None
    tools: _Tools | list[_Tool] | None = None
    component: _Component | None = None


class _Source(Lax):
    name: Text = None


class _Rating(Lax):
    source: _Source | None = None
    severity: Text = None
    score: float | None = None
    method: Text = None
    vector: Text = None


class _Reference(Lax):
    id: Text = None


class _Analysis(Lax):
    state: Text = None
    justification: Text = None
    detail: Text = None
    response: list[str] | None = None
    firstIssued: Text = None  # noqa: N815 - the specification's name
    lastUpdated: Text = None  # noqa: N815 - the specification's name


class _Version(Lax):
    version: Text = None
    range: Text = None
    status: Text = None


class _Affected(Lax):
    ref: str
    versions: list[_Version] | None = None


class _Vulnerability(Lax):
    id: Text = None
    source: _Source | None = None
    references: list[_Reference] | None = None
    ratings: list[_Rating] | None = None
    recommendation: Text = None
    published: Text = None
    updated: Text = None
    rejected: Text = None
    analysis: _Analysis | None = None
    affects: list[_Affected] | None = None


class _Bom(Lax):
    bomFormat: str  # noqa: N815 - the specification's name
    specVersion: str  # noqa: N815 - the specification's name
    metadata: _Metadata | None = None
    components: list[_Component] | None = None
    vulnerabilities: list[_Vulnerability] | None = None


def read_cyclonedx(document: bytes, file: str) -> Inventory:
    """The packages of an SBOM.

    Raises:
        UnreadableEvidenceError: It is none; the defect.
    """
    bom = _bom(document, file)
    if bom.components is None:
        raise UnreadableEvidenceError(file, "a CycloneDX document without components is no SBOM")
    return _inventory(bom, _Properties(document, file))


def read_cyclonedx_scan(document: bytes, file: str) -> Scan:
    """The findings of a scanner that writes CycloneDX.

    Raises:
        UnreadableEvidenceError: It is none, or an SBOM that nobody scanned.
    """
    bom = _bom(document, file)
    if bom.vulnerabilities is None:
        raise UnreadableEvidenceError(
            file, "a CycloneDX SBOM without `vulnerabilities`: it says nothing about them"
        )
    properties = _Properties(document, file)
    listed = _inventory(bom, properties)
    by_ref = _by_ref(bom)
    name, version = _tool(bom.metadata)
    root = bom.metadata.component if bom.metadata else None
    image = root.name if root else ""
    needless = _development(bom, properties)
    sightings = [
        (finding._replace(is_development=_installation(finding) in needless), analysis)
        for finding, analysis in _sightings(bom.vulnerabilities, by_ref, repository_of(image), file)
    ]
    findings = collapsed(finding for finding, analysis in sightings if not _holds(analysis))
    suppressed = {
        finding.key: Suppression(
            finding, f"analysis {analysis.state}", _why(analysis), is_of_image=True
        )
        for finding, analysis in sightings
        if _holds(analysis) and finding.key not in findings
    }
    return Scan(
        scanner={"trivy": "Trivy"}.get(name, name) or "CycloneDX",
        version=version,
        findings=findings,
        suppressed=suppressed,
        # Trivy writes an empty list into every SBOM: it does not say that anybody looked.
        looked=_looked(listed, name) if bom.vulnerabilities else frozenset(),
        unlooked=_unlooked(listed, name),
        finished=moment(bom.metadata.timestamp if bom.metadata else None),
        operating_system=listed.operating_system,
        inventory=listed if listed.versions else None,
        image=image,
        digests=listed.subjects,
    )


def read_cyclonedx_vex(document: bytes, file: str) -> tuple[VexStatement, ...]:
    """The analyses of a VEX document; entries that nobody analysed state nothing.

    Raises:
        UnreadableEvidenceError: It is none; the defect.
    """
    bom = _bom(document, file)
    if bom.vulnerabilities is None:
        raise UnreadableEvidenceError(file, "a CycloneDX document without `vulnerabilities`")
    author, _ = _tool(bom.metadata)
    products = _Products(bom)
    issued = bom.metadata.timestamp if bom.metadata else None
    return tuple(
        _statement(entry, entry.analysis, products, author or "its author", issued)
        for entry in bom.vulnerabilities
        if entry.analysis is not None and entry.analysis.state in _STATUSES
    )


def _statement(
    entry: _Vulnerability,
    analysis: _Analysis,
    products: _Products,
    author: str,
    issued: str | None,
) -> VexStatement:
    """An analysis, of the time when it was made: that of the vulnerability is somebody else's.

    Before 1.5 no analysis has a time of its own, and the document's is the latest that it can be.
    """
    names = {entry.id, *(reference.id for reference in entry.references or [])}
    status = _STATUSES[analysis.state or ""]
    each = (products.of(one, is_holding=_holds(analysis)) for one in entry.affects or [])
    return VexStatement(
        frozenset(plain_id(name) for name in names if name),
        tuple(product for product in each if product is not None),
        status,
        _why(analysis),
        author,
        moment(analysis.lastUpdated or analysis.firstIssued or issued),
    )


class _Products:
    """What the references of a VEX document lead to; the thing that it describes is one of them."""

    def __init__(self, bom: _Bom) -> None:
        self._root = bom.metadata.component if bom.metadata else None
        self._by_ref = _by_ref(bom)
        if self._root is not None:
            for ref in _refs(self._root):
                self._by_ref.setdefault(ref, self._root)

    def of(self, one: _Affected, *, is_holding: bool) -> VexProduct | None:
        """The product that an analysis is about; None where it is about no version of it.

        An analysis by which the vulnerability does not count says nothing of versions that the
        same entry calls affected or does not know of, and the reverse.
        """
        versions = [
            version.range or version.version or ""
            for version in one.versions or []
            if (
                version.status in {None, "unaffected"}
                if is_holding
                else version.status != "unaffected"
            )
        ]
        if one.versions and not versions:
            return None
        inner = unquote(one.ref.rpartition("#")[2])
        component = self._by_ref.get(one.ref) or self._by_ref.get(inner)
        if component is None:
            return VexProduct(inner, versions=tuple(versions))
        if component is not self._root or component.purl:
            return VexProduct(component.purl or inner, versions=tuple(versions))
        version = component.version or ""
        digests = frozenset({version} if version.startswith("sha256:") else ())
        return VexProduct(component.name, digests=digests, versions=tuple(versions))


def _bom(document: bytes, file: str) -> _Bom:
    bom = decoded(document, _Bom, file, "a CycloneDX document")
    if bom.bomFormat != "CycloneDX":
        raise UnreadableEvidenceError(file, f"bomFormat is {bom.bomFormat!r}, not CycloneDX")
    if bom.specVersion not in VERSIONS:
        raise UnreadableEvidenceError(
            file, f"CycloneDX {bom.specVersion}; {VERSIONS[0]} to {VERSIONS[-1]} are read"
        )
    return bom


def _all(bom: _Bom) -> Iterator[_Component]:
    """Every component, nested ones included; the nesting limit bounds the depth."""
    root = bom.metadata.component if bom.metadata else None
    pending = [*(bom.components or []), *((root.components if root else None) or [])]
    while pending:
        component = pending.pop()
        yield component
        pending += component.components or []


def _by_ref(bom: _Bom) -> dict[str, _Component]:
    """Components by reference; one that several things carry names none of them."""
    found: dict[str, _Component] = {}
    ambiguous: set[str] = set()
    for component in _all(bom):
        for ref in _refs(component):
            known = found.setdefault(ref, component)
            if known is not component and _named(known) != _named(component):
                ambiguous.add(ref)
    return {ref: component for ref, component in found.items() if ref not in ambiguous}


def _refs(component: _Component) -> Iterator[str]:
    if component.bom_ref:
        yield component.bom_ref
    if component.purl:
        yield component.purl


def _inventory(bom: _Bom, properties: _Properties) -> Inventory:
    name, version = _tool(bom.metadata)
    root = bom.metadata.component if bom.metadata else None
    every = list(_all(bom))
    systems = [c for c in every if c.type == "operating-system"]
    return inventory(
        (found for component in every if (found := _package(component, properties)) is not None),
        operating_system=_system(systems[0]) if systems else "",
        subjects=_subjects(root, properties) if root else (),
        tool=f"{name} {version}".strip(),
        excluded=sum(component.scope == "excluded" for component in every),
    )


class _Properties:
    """What tools write beside components: decoded only where it may say what is read here."""

    def __init__(self, document: bytes, file: str) -> None:
        self._marks = tuple(mark for mark in _IN_BYTES if mark in document)
        self._file = file

    @property
    def may_say_development(self) -> bool:
        """Whether any component may be there to build or test alone."""
        return _DEVELOPMENT.encode() in self._marks

    def of(self, component: _Component) -> list[_Property]:
        """All of them."""
        written = bytes(component.properties)
        if written in {b"", b"null"}:
            return []
        return decoded(written, list[_Property], self._file, "properties of a component")

    def notes(self, component: _Component) -> dict[str, str]:
        """What is read of a package, by the last part of its name."""
        if not self._marks:
            return {}
        written = bytes(component.properties)
        if not any(mark in written for mark in self._marks):
            return {}
        return {
            one.name.rpartition(":")[2]: one.value or ""
            for one in self.of(component)
            if one.name and (one.name.startswith(_OF_TRIVY) or one.name.endswith(_DEVELOPMENT))
        }


def _system(component: _Component) -> str:
    return f"{component.name} {component.version or ''}".strip()


def _subjects(root: _Component, properties: _Properties) -> Iterator[str]:
    """Digests of the image: syft writes one as version, Trivy as properties and in the purl."""
    candidates = [root.version or "", unquote((root.purl or "").partition("?")[0])]
    candidates += [p.value or "" for p in properties.of(root) if _is_digest(p.name or "")]
    for candidate in candidates:
        _, mark, digest = candidate.rpartition("sha256:")
        if mark and len(digest) == 64:  # noqa: PLR2004 - SHA-256 in hexadecimal
            yield f"sha256:{digest}"


def _is_digest(name: str) -> bool:
    return name.rpartition(":")[2] in {"RepoDigest", "ImageID"}


def _tool(metadata: _Metadata | None) -> tuple[str, str]:
    tools = metadata.tools if metadata else None
    listed = tools.components or tools.services if isinstance(tools, _Tools) else tools
    first = next(iter(listed or []), _Tool())
    return first.name or "", first.version or ""


def _package(component: _Component, properties: _Properties) -> Package | None:
    """A component as a package; None where it is none, or is by its scope not in there."""
    named = _named(component)
    if named is None or component.scope == "excluded":
        return None
    notes = properties.notes(component)
    licence = _licence(component.licenses) if component.licenses else ""
    if not notes:
        return Package(named.package, named.version, licence, named.source)
    return Package(
        named.package,
        named.version,
        licence,
        notes.get("SrcName") or named.source,
        notes.get("LayerDiffID", ""),
        is_development=notes.get("development") == "true",
    )


def _named(component: _Component) -> Purl | None:
    purl = _purl(component)
    if purl is not None:
        return None if component.type in {"container", "operating-system"} else purl
    if component.type not in _INSTALLED or (
        component.type == "application" and not component.version
    ):
        return None  # a lock file is an application without a version, in Trivy's words
    name = PackageName("", component.group or "", component.name)
    return Purl(name, component.version or "")


def _purl(component: _Component) -> Purl | None:
    """A component's package URL, with the version that says more: the one with an epoch."""
    purl = read_purl(component.purl) if component.purl else None
    if purl is None:
        return None
    version = purl.version
    if component.version and component.version != version:
        version = fuller_version(purl.package.type, version, component.version)
    package = cased(purl.package, component.name)
    if version == purl.version and package is purl.package:
        return purl
    return purl._replace(package=package, version=version)


def _licence(every: Sequence[_LicenseChoice]) -> str:
    """What somebody concluded counts before what was declared."""
    if len(every) == 1:
        name = _licence_name(every[0])
        return "" if name in _NO_LICENCES else name
    concluded = [one for one in every if _acknowledged(one) == "concluded"]
    return conjunction(
        name for one in concluded or every if (name := _licence_name(one)) not in _NO_LICENCES
    )


def _acknowledged(choice: _LicenseChoice) -> str:
    own = choice.license.acknowledgement if choice.license else None
    return choice.acknowledgement or own or ""


def _licence_name(choice: _LicenseChoice) -> str:
    licence = choice.license
    return choice.expression or (licence and (licence.id or licence.name)) or ""


def _looked(listed: Inventory, tool: str) -> frozenset[Looked]:
    """What there was to match: classes of packages that the document lists."""
    found = {Looked(one.value) for one in PackageClass if listed.count(one)}
    if Looked.OS in found:
        found.add(Looked.LIBRARY)
    return frozenset(found - set(_unlooked(listed, tool)))


def _unlooked(listed: Inventory, tool: str) -> dict[Looked, str]:
    """Why a document says nothing about the operating system's packages."""
    name = listed.operating_system
    if name and not listed.count(PackageClass.OS):
        return {Looked.OS: f"the document names {name} and lists no package of it"}
    if name and not _has_data(tool.lower(), *name.partition(" ")[::2]):
        return {Looked.OS: f"{tool} has no vulnerability data on {name}"}
    return {}


def _has_data(tool: str, family: str, release: str) -> bool:
    """Of a tool that is not known here nobody knows better."""
    if tool == "trivy":
        return trivy.has_data(family, release)
    return tool != "grype" or grype.has_data(family)


def _why(analysis: _Analysis) -> str:
    words = (analysis.detail or analysis.justification or "", *(analysis.response or []))
    return ", ".join(word for word in words if word)


def _holds(analysis: _Analysis) -> bool:
    return (analysis.state or "") in _SUPPRESSED


def _development(bom: _Bom, properties: _Properties) -> frozenset[tuple[PackageName, str]]:
    """What is there to build or test alone, each version by itself."""
    if not properties.may_say_development:
        return frozenset()
    packages = [found for one in _all(bom) if (found := _package(one, properties)) is not None]
    needed = {(one.name, one.version) for one in packages if not one.is_development}
    return frozenset((one.name, one.version) for one in packages if one.is_development) - needed


def _installation(finding: Finding) -> tuple[PackageName, str]:
    return finding.package, next(iter(finding.versions), "")


def _sightings(
    vulnerabilities: Iterable[_Vulnerability],
    by_ref: Mapping[str, _Component],
    image: str,
    file: str,
) -> Iterator[tuple[Finding, _Analysis]]:
    by_name: dict[PackageName, list[Purl]] = {}
    for component in {id(one): one for one in by_ref.values()}.values():
        purl = _purl(component)
        if purl is not None:
            by_name.setdefault(purl.package, []).append(purl)
    for index, entry in enumerate(vulnerabilities):
        others = [reference.id for reference in entry.references or [] if reference.id]
        if not entry.id and not others:
            raise UnreadableEvidenceError(file, f"vulnerability {index} has no id")
        if entry.rejected:
            continue  # whoever gave the id took it back
        analysis = entry.analysis or _Analysis()
        for one in identified(entry.id or others[0], others):
            for named in _affected_packages(entry, by_ref, by_name):
                yield _finding(entry, one, named, image), analysis


def _affected_packages(
    entry: _Vulnerability,
    by_ref: Mapping[str, _Component],
    by_name: Mapping[PackageName, Sequence[Purl]],
) -> list[Purl]:
    """The packages that have it. An entry that names none is a finding all the same.

    OSV-Scanner names every package of the advisory, without versions: those that are installed
    have it, and the others do not where at least one is (google/osv-scanner 1564).
    """
    if not entry.affects:
        return [_NOWHERE]
    found: list[tuple[Purl, Sequence[_Version]]] = []
    absent: list[tuple[Purl, Sequence[_Version]]] = []
    for one in entry.affects:
        named, is_there = _affected(one.ref, by_ref)
        installed = () if is_there or named.version else by_name.get(named.package, ())
        for purl in installed or (named,):
            (found if is_there or installed else absent).append((purl, one.versions or []))
    return [purl for purl, versions in found or absent if not _is_unaffected(purl, versions)]


def _is_unaffected(purl: Purl, versions: Sequence[_Version]) -> bool:
    """Whether the document says so of this very version; absent status means affected.

    What may be affected by another line of the same entry is not unaffected.
    """
    kind, name = purl.package.type, purl.package.name
    said = [
        (one.status, is_version(kind, one.range or one.version or "", purl.version, name=name))
        for one in versions
        if one.version or one.range
    ]
    is_said = any(status == "unaffected" and fits for status, fits in said)
    return is_said and not any(
        status != "unaffected" and fits is not False for status, fits in said
    )


def _finding(entry: _Vulnerability, one: Identified, named: Purl, image: str) -> Finding:
    kind = named.package.type
    vendor, nvd = _ratings(entry, named)
    fixed_in = tuple(sorted(_recommended(entry.recommendation or "", named)))
    declined = "will_not_fix" in ((entry.analysis.response if entry.analysis else None) or [])
    return Finding(
        FindingKey(one.id, named.package, image),
        vendor,
        versions=(named.version,) if named.version else (),
        fixed_in=tuple(whole_version(kind, version) for version in fixed_in),
        fix=Fix.AVAILABLE if fixed_in else Fix.UNKNOWN,
        aliases=one.aliases,
        advisories=one.advisories,
        installed=(named._replace(source=""),) if named.qualifiers else (),
        status=Status.FIXED if fixed_in else Status.WILL_NOT_FIX if declined else Status.UNKNOWN,
        cvss=_cvss(entry),
        vectors=frozenset(r.vector for r in entry.ratings or [] if r.vector and _is_cvss(r)),
        nvd_severity=nvd,
        disclosed=day(entry.published),
        source=named.source,
    )


def _recommended(text: str, named: Purl) -> set[str]:
    """``Upgrade NAME to version A, B; Upgrade ...`` (Trivy, pkg/sbom/cyclonedx/marshal.go)."""
    full = {named.package.name, named.package.full_name}
    return {
        version.strip()
        for found in _UPGRADE.finditer(text)
        if found[1] in full
        for version in found[2].split(",")
        if version.strip()
    }


def _cvss(entry: _Vulnerability) -> Cvss | None:
    found = [
        (rating.method or "", Cvss(rating.score, rating.vector or ""))
        for rating in entry.ratings or []
        if rating.score and _is_cvss(rating)
    ]
    newer = [cvss for method, cvss in found if method != "CVSSv2"]
    return max(
        newer or [cvss for _, cvss in found],
        key=lambda one: (one.score, one.vector),
        default=None,
    )


def _ratings(entry: _Vulnerability, named: Purl) -> tuple[Severity, Severity | None]:
    """The word of whoever the entry is from, else of the distributor, else the highest; NVD's."""
    rated = [
        (((rating.source.name if rating.source else None) or "").lower(), _severity(rating))
        for rating in entry.ratings or []
        if rating.severity or rating.score
    ]
    nvd = [severity for name, severity in rated if name == "nvd"]
    own = (entry.source.name if entry.source else None) or ""
    for name in (own.lower(), named.package.namespace):
        chosen = [severity for source, severity in rated if name and source == name]
        if chosen:
            return max(chosen), max(nvd, default=None)
    highest = max((severity for _, severity in rated), default=Severity.UNKNOWN)
    return highest, max(nvd, default=None)


def _is_cvss(rating: _Rating) -> bool:
    """Whether its score is CVSS's; those of EPSS, OWASP and others are on scales of their own."""
    if rating.method:
        return rating.method.startswith("CVSS")
    source = ((rating.source.name if rating.source else None) or "").lower()
    return "epss" not in source and 0 < (rating.score or 0) <= _HIGHEST


def _severity(rating: _Rating) -> Severity:
    """The word, else the band that the score is in (CVSS 3.1, section 5)."""
    severity = Severity.of(rating.severity or "")
    if severity is not Severity.UNKNOWN or not rating.score or not _is_cvss(rating):
        return severity
    bands = ((9.0, Severity.CRITICAL), (7.0, Severity.HIGH), (4.0, Severity.MEDIUM))
    return next((band for least, band in bands if rating.score >= least), Severity.LOW)


def _affected(ref: str, by_ref: Mapping[str, _Component]) -> tuple[Purl, bool]:
    """The package behind a reference, and whether the document lists it.

    A reference is one of the document's own, a BOM-Link, or a package URL.
    """
    component = by_ref.get(ref)
    if component is None and "#" in ref:
        ref = unquote(ref.rpartition("#")[2])
        component = by_ref.get(ref)
    if component is not None:
        name = PackageName("", component.group or "", component.name)
        return _purl(component) or Purl(name, component.version or ""), True
    return read_purl(ref) or Purl(PackageName("", "", ref), ""), False
