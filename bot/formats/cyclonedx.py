"""CycloneDX 1.2 to 1.7 in JSON: an inventory, and a scan where the document has vulnerabilities.

Source: cyclonedx.org/docs/1.7/json. A document with ``vulnerabilities`` is a scanner's report
(Trivy and grype write them) or a VEX document; without that key it is an SBOM and says nothing
about vulnerabilities.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal
from urllib.parse import unquote

import msgspec

from bot.domain.evidence import (
    Finding,
    FindingKey,
    Fix,
    Looked,
    Scan,
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
    Purl,
    inventory,
    read_purl,
)
from bot.domain.vex import VexProduct, VexStatement
from bot.formats.json_document import Lax, Text, day, decoded, moment

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
_NOWHERE: Final = Purl(PackageName("", "", "(no package named)"), "")


class _Attachment(Lax):
    content: Text = None
    encoding: Literal["base64"] | None = None


class _License(Lax):
    id: Text = None
    name: Text = None
    text: _Attachment | None = None


class _LicenseChoice(Lax):
    license: _License | None = None
    expression: Text = None


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
    licenses: list[_LicenseChoice] | None = None
    components: list[_Component] | None = None


class _Root(_Component):
    """What the document describes; only here properties say something about an image."""

    properties: list[_Property] | None = None


class _Tool(Lax):
    name: Text = None
    version: Text = None


class _Tools(Lax):
    components: list[_Tool] | None = None
    services: list[_Tool] | None = None


class _Metadata(Lax):
    timestamp: Text = None
    tools: _Tools | list[_Tool] | None = None
    component: _Root | None = None


class _Source(Lax):
    name: Text = None


class _Rating(Lax):
    source: _Source | None = None
    severity: Text = None


class _Reference(Lax):
    id: Text = None


class _Analysis(Lax):
    state: Text = None
    justification: Text = None
    detail: Text = None


class _Affected(Lax):
    ref: str


class _Vulnerability(Lax):
    id: Text = None
    references: list[_Reference] | None = None
    ratings: list[_Rating] | None = None
    recommendation: Text = None
    published: Text = None
    updated: Text = None
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
    return _inventory(bom)


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
    listed = _inventory(bom)
    by_ref = {ref: component for component in _all(bom) for ref in _refs(component)}
    sightings = list(_sightings(bom.vulnerabilities, by_ref, file))
    findings = collapsed(finding for finding, analysis in sightings if not _holds(analysis))
    suppressed = {
        finding.key: Suppression(
            finding, f"analysis {analysis.state}", analysis.detail or analysis.justification or ""
        )
        for finding, analysis in sightings
        if _holds(analysis) and finding.key not in findings
    }
    name, version = _tool(bom.metadata)
    root = bom.metadata.component if bom.metadata else None
    return Scan(
        scanner={"trivy": "Trivy"}.get(name, name) or "CycloneDX",
        version=version,
        findings=findings,
        suppressed=suppressed,
        # Trivy writes an empty list into every SBOM: it does not say that anybody looked.
        looked=_looked(listed) if bom.vulnerabilities else frozenset(),
        finished=moment(bom.metadata.timestamp if bom.metadata else None),
        operating_system=listed.operating_system,
        inventory=listed if listed.versions else None,
        image=root.name if root else "",
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
    by_ref = {ref: component for component in _all(bom) for ref in _refs(component)}
    return tuple(
        _statement(entry, entry.analysis, by_ref, author or "its author")
        for entry in bom.vulnerabilities
        if entry.analysis is not None and entry.analysis.state in _STATUSES
    )


def _statement(
    entry: _Vulnerability, analysis: _Analysis, by_ref: Mapping[str, _Component], author: str
) -> VexStatement:
    names = {entry.id, *(reference.id for reference in entry.references or [])}
    return VexStatement(
        frozenset(name for name in names if name),
        tuple(VexProduct(_product(one.ref, by_ref)) for one in entry.affects or []),
        _STATUSES[analysis.state or ""],
        analysis.detail or analysis.justification or "",
        author,
        moment(entry.updated or entry.published),
    )


def _product(ref: str, by_ref: Mapping[str, _Component]) -> str:
    """A package URL where the reference leads to one."""
    component = by_ref.get(ref)
    inner = unquote(ref.rpartition("#")[2])
    return (component.purl if component else None) or inner


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
    pending = list(bom.components or [])
    while pending:
        component = pending.pop()
        yield component
        pending += component.components or []


def _refs(component: _Component) -> Iterator[str]:
    if component.bom_ref:
        yield component.bom_ref
    if component.purl:
        yield component.purl


def _inventory(bom: _Bom) -> Inventory:
    name, version = _tool(bom.metadata)
    root = bom.metadata.component if bom.metadata else None
    systems = [c for c in _all(bom) if c.type == "operating-system"]
    return inventory(
        (found for component in _all(bom) if (found := _package(component)) is not None),
        operating_system=_system(systems[0]) if systems else "",
        subjects=_subjects(root) if root else (),
        tool=f"{name} {version}".strip(),
    )


def _system(component: _Component) -> str:
    return f"{component.name} {component.version or ''}".strip()


def _subjects(root: _Root) -> Iterator[str]:
    """Digests of the image: syft writes one as version, Trivy as properties and in the purl."""
    candidates = [root.version or "", unquote((root.purl or "").partition("?")[0])]
    candidates += [p.value or "" for p in root.properties or [] if _is_digest(p.name or "")]
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


def _package(component: _Component) -> Package | None:
    """A component as a package; None where it is none."""
    named = _named(component)
    if named is None:
        return None
    return Package(named.package, named.version, _licence(component.licenses or []))


def _named(component: _Component) -> Purl | None:
    purl = read_purl(component.purl) if component.purl else None
    if purl is not None:
        return None if component.type in {"container", "operating-system"} else purl
    if component.type not in _INSTALLED or (
        component.type == "application" and not component.version
    ):
        return None  # a lock file is an application without a version, in Trivy's words
    name = PackageName("", component.group or "", component.name)
    return Purl(name, component.version or "")


def _licence(choices: Iterable[_LicenseChoice]) -> str:
    names = {name for choice in choices if (name := _licence_name(choice)) not in _NO_LICENCES}
    if len(names) == 1:
        return names.pop()
    return " AND ".join(sorted(f"({name})" if " OR " in name else name for name in names))


def _licence_name(choice: _LicenseChoice) -> str:
    licence = choice.license
    return choice.expression or (licence and (licence.id or licence.name)) or ""


def _looked(listed: Inventory) -> frozenset[Looked]:
    """What there was to match: classes of packages that the document lists."""
    found = {Looked(one.value) for one in PackageClass if listed.count(one)}
    return frozenset(found | ({Looked.OS} if listed.operating_system else set()))


def _holds(analysis: _Analysis) -> bool:
    return (analysis.state or "") in _SUPPRESSED


def _sightings(
    vulnerabilities: Iterable[_Vulnerability], by_ref: Mapping[str, _Component], file: str
) -> Iterator[tuple[Finding, _Analysis]]:
    for index, entry in enumerate(vulnerabilities):
        aliases = [reference.id for reference in entry.references or [] if reference.id]
        if not entry.id and not aliases:
            raise UnreadableEvidenceError(file, f"vulnerability {index} has no id")
        own = entry.id or aliases[0]
        identifier = canonical_id(own, aliases)
        vendor, nvd = _ratings(entry)
        # An entry that names no package is a finding all the same.
        affected = [_affected(one.ref, by_ref) for one in entry.affects or []] or [_NOWHERE]
        for named in affected:
            finding = Finding(
                FindingKey(identifier, named.package),
                vendor,
                versions=(named.version,) if named.version else (),
                fix=Fix.UNKNOWN,
                aliases=frozenset({identifier, own, *aliases}),
                nvd_severity=nvd,
                disclosed=day(entry.published),
            )
            yield finding, entry.analysis or _Analysis()


def _ratings(entry: _Vulnerability) -> tuple[Severity, Severity | None]:
    """The highest rating, whoever gave it, and NVD's."""
    rated = [
        ((rating.source.name if rating.source else None) or "", Severity.of(rating.severity))
        for rating in entry.ratings or []
        if rating.severity
    ]
    nvd = [severity for name, severity in rated if name.lower() == "nvd"]
    highest = max((severity for _, severity in rated), default=Severity.UNKNOWN)
    return highest, max(nvd, default=None)


def _affected(ref: str, by_ref: Mapping[str, _Component]) -> Purl:
    """The package behind a reference: in the document, a BOM-Link, or a package URL."""
    component = by_ref.get(ref)
    if component is None and "#" in ref:
        ref = unquote(ref.rpartition("#")[2])
        component = by_ref.get(ref)
    if component is not None:
        purl = read_purl(component.purl) if component.purl else None
        name = PackageName("", component.group or "", component.name)
        return purl or Purl(name, component.version or "")
    return read_purl(ref) or Purl(PackageName("", "", ref), "")
