"""SPDX 2.2, 2.3 and 3.0 in JSON: an inventory.

Sources: spdx.github.io/spdx-spec, v2.3 clause 7 (packages) and v3.0.1 (``software_Package``).
Version 3 is a graph of elements; only packages, relationships and licences are read from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from bot.domain.evidence import UnreadableEvidenceError
from bot.domain.licences import conjunction, enclosed
from bot.domain.packages import (
    Inventory,
    Package,
    PackageName,
    cased,
    fuller_version,
    inventory,
    read_purl,
)
from bot.formats.json_document import decoded
from bot.formats.lax_document import Lax, Text

_VERSIONS: Final = ("SPDX-2.2", "SPDX-2.3")
_VERSIONS_3: Final = ("3.0.", "3.0")
_NO_LICENCES: Final = frozenset({"", "NOASSERTION", "NONE"})
_NOT_INSTALLED: Final = frozenset({"CONTAINER", "OPERATING-SYSTEM", "OPERATINGSYSTEM", "FILE"})
# What is described, not installed: Trivy and syft tell it in the id alone.
_ROOT_IDS: Final = (
    *("SPDXRef-ContainerImage", "SPDXRef-OperatingSystem", "SPDXRef-Application"),
    *("SPDXRef-Filesystem", "SPDXRef-Repository", "SPDXRef-DocumentRoot"),
)
_SYSTEM_IDS: Final = "SPDXRef-OperatingSystem"
_IMAGE_TYPES: Final = frozenset({"oci", "docker"})


class _ExternalRef(Lax):
    referenceType: Text = None  # noqa: N815 - the specification's name
    referenceLocator: Text = None  # noqa: N815 - the specification's name


class _Checksum(Lax):
    algorithm: Text = None
    checksumValue: Text = None  # noqa: N815 - the specification's name


class _Annotation(Lax):
    comment: Text = None


class _Package(Lax):
    SPDXID: str
    name: str
    versionInfo: Text = None  # noqa: N815 - the specification's name
    licenseConcluded: Text = None  # noqa: N815 - the specification's name
    licenseDeclared: Text = None  # noqa: N815 - the specification's name
    primaryPackagePurpose: Text = None  # noqa: N815 - the specification's name
    externalRefs: list[_ExternalRef] | None = None  # noqa: N815 - the specification's name
    checksums: list[_Checksum] | None = None
    annotations: list[_Annotation] | None = None

    def note(self, name: str) -> str:
        """What Trivy writes as ``ImageID: sha256:...``."""
        for one in self.annotations or []:
            key, _, value = (one.comment or "").partition(": ")
            if key == name:
                return value
        return ""


class _Extracted(Lax):
    licenseId: Text = None  # noqa: N815 - the specification's name
    name: Text = None


class _Relationship(Lax):
    spdxElementId: Text = None  # noqa: N815 - the specification's name
    relationshipType: Text = None  # noqa: N815 - the specification's name
    relatedSpdxElement: Text = None  # noqa: N815 - the specification's name


class _CreationInfo(Lax):
    creators: list[str] | None = None


class _Document(Lax):
    spdxVersion: str  # noqa: N815 - the specification's name
    SPDXID: str
    creationInfo: _CreationInfo | None = None  # noqa: N815 - the specification's name
    packages: list[_Package] | None = None
    documentDescribes: list[str] | None = None  # noqa: N815 - the specification's name
    hasExtractedLicensingInfos: list[_Extracted] | None = None  # noqa: N815 - as specified
    relationships: list[_Relationship] | None = None


class _Identifier(Lax):
    externalIdentifierType: Text = None  # noqa: N815 - the specification's name
    identifier: Text = None


class _Element(Lax):
    """Any element of a version 3 graph; which fields it has depends on its type."""

    type: Text = None
    at_type: Text = msgspec.field(default=None, name="@type")
    spdxId: Text = None  # noqa: N815 - the specification's name
    at_id: Text = msgspec.field(default=None, name="@id")
    name: Text = None
    specVersion: Text = None  # noqa: N815 - the specification's name
    software_packageVersion: Text = None  # noqa: N815 - the specification's name
    software_packageUrl: Text = None  # noqa: N815 - the specification's name
    software_primaryPurpose: Text = None  # noqa: N815 - the specification's name
    externalIdentifier: list[_Identifier] | None = None  # noqa: N815 - as specified
    relationshipType: Text = None  # noqa: N815 - the specification's name
    from_: Text = msgspec.field(default=None, name="from")
    to: list[str] | str | None = None
    simplelicensing_licenseExpression: Text = None  # noqa: N815 - as specified

    @property
    def kind(self) -> str:
        return self.type or self.at_type or ""

    @property
    def id(self) -> str:
        return self.spdxId or self.at_id or ""


class _Graph(Lax):
    graph: list[_Element] = msgspec.field(name="@graph")


def read_spdx(document: bytes, file: str) -> Inventory:
    """The packages of an SBOM of version 2.

    Raises:
        UnreadableEvidenceError: It is none; the defect.
    """
    found = decoded(document, _Document, file, "an SPDX document")
    if found.spdxVersion not in _VERSIONS:
        raise UnreadableEvidenceError(file, f"{found.spdxVersion}; SPDX 2.2, 2.3 and 3.0 are read")
    if found.packages is None:
        raise UnreadableEvidenceError(file, "an SPDX document without packages is no SBOM")
    extracted = {
        licence.licenseId: licence.name
        for licence in found.hasExtractedLicensingInfos or []
        if licence.licenseId and licence.name
    }
    described = set(_described(found))
    packages = [package for package in found.packages if _is_installed(package)]
    creators = (found.creationInfo.creators if found.creationInfo else None) or []
    tools = [c.removeprefix("Tool: ") for c in creators if c.startswith("Tool: ")]
    return inventory(
        (_package(package, extracted) for package in packages),
        operating_system=next(_systems(found.packages), ""),
        subjects=_subjects(p for p in found.packages if p.SPDXID in described),
        tool=next(iter(tools), ""),
    )


def _described(document: _Document) -> Iterator[str]:
    """The ids of what the document is about: the image itself, as a rule."""
    yield from document.documentDescribes or []
    for relationship in document.relationships or []:
        if relationship.relationshipType == "DESCRIBES" and relationship.relatedSpdxElement:
            yield relationship.relatedSpdxElement


def _is_installed(package: _Package) -> bool:
    purl = _purl(package)
    if purl is not None:
        found = read_purl(purl)
        return found is None or found.package.type not in _IMAGE_TYPES
    if (package.primaryPackagePurpose or "").upper() in _NOT_INSTALLED:
        return False
    return not package.SPDXID.startswith(_ROOT_IDS)


def _purl(package: _Package) -> str | None:
    refs = package.externalRefs or []
    return next((r.referenceLocator for r in refs if r.referenceType == "purl"), None)


def _package(package: _Package, extracted: dict[str, str]) -> Package:
    purl = read_purl(_purl(package) or "")
    written, named = package.versionInfo or "", purl.version if purl else ""
    licence = next(
        (
            text
            for text in (package.licenseConcluded or "", package.licenseDeclared or "")
            if text not in _NO_LICENCES
        ),
        "",
    )
    if "LicenseRef-" in licence:
        words = licence.replace("(", "( ").replace(")", " )").split()
        texts = (enclosed(extracted[word]) if word in extracted else word for word in words)
        licence = " ".join(texts) if len(words) > 1 else extracted.get(licence, licence)
    name = cased(purl.package, package.name) if purl else PackageName("", "", package.name)
    source = package.note("SrcName") or (purl.source if purl else "")
    return Package(
        name,
        fuller_version(name.type, named, written),
        licence,
        source,
        package.note("LayerDiffID"),
    )


def _systems(packages: Iterable[_Package]) -> Iterator[str]:
    for package in packages:
        purpose = (package.primaryPackagePurpose or "").upper()
        if purpose == "OPERATING-SYSTEM" or package.SPDXID.startswith(_SYSTEM_IDS):
            yield f"{package.name} {package.versionInfo or ''}".strip()


def _subjects(packages: Iterable[_Package]) -> Iterator[str]:
    for package in packages:
        if (package.versionInfo or "").startswith("sha256:"):
            yield package.versionInfo or ""
        if package.note("ImageID").startswith("sha256:"):
            yield package.note("ImageID")
        if "@sha256:" in package.note("RepoDigest"):
            yield package.note("RepoDigest").rpartition("@")[2]
        for checksum in package.checksums or []:
            if checksum.algorithm == "SHA256" and checksum.checksumValue:
                yield f"sha256:{checksum.checksumValue}"


def read_spdx_3(document: bytes, file: str) -> Inventory:
    """The packages of an SBOM of version 3.

    Raises:
        UnreadableEvidenceError: It is none; the defect.
    """
    elements = decoded(document, _Graph, file, "an SPDX 3 document").graph
    versions = {e.specVersion for e in elements if e.kind == "CreationInfo" and e.specVersion}
    strange = sorted(v for v in versions if not v.startswith(_VERSIONS_3))
    if strange or not versions:
        what = f"SPDX {strange[0]}" if strange else "an SPDX graph without a CreationInfo"
        raise UnreadableEvidenceError(file, f"{what}; SPDX 2.2, 2.3 and 3.0 are read")
    packages = [e for e in elements if e.kind == "software_Package"]
    if not packages:
        raise UnreadableEvidenceError(file, "an SPDX document without packages is no SBOM")
    licences = _licences_3(elements)
    return inventory(
        (found for e in packages if (found := _package_3(e, licences)) is not None),
        operating_system=next(
            (
                f"{e.name or ''} {e.software_packageVersion or ''}".strip()
                for e in packages
                if e.software_primaryPurpose == "operatingSystem"
            ),
            "",
        ),
        tool=next((e.name for e in elements if e.kind == "Tool" and e.name), ""),
    )


def _licences_3(elements: Iterable[_Element]) -> dict[str, str]:
    """Package -> licence; what was concluded counts before what was declared."""
    texts: dict[str, str] = {}
    declared: dict[str, str] = {}
    concluded: dict[str, str] = {}
    pending: list[_Element] = []
    for element in elements:
        if element.simplelicensing_licenseExpression:
            texts[element.id] = element.simplelicensing_licenseExpression
        elif element.relationshipType in {"hasDeclaredLicense", "hasConcludedLicense"}:
            pending.append(element)
    for element in pending:
        targets = [element.to] if isinstance(element.to, str) else element.to or []
        names = [texts[target] for target in targets if target in texts]
        side = concluded if element.relationshipType == "hasConcludedLicense" else declared
        if element.from_ and set(names) - _NO_LICENCES:
            side[element.from_] = conjunction((side.get(element.from_, ""), *names))
    return declared | concluded


def _package_3(element: _Element, licences: dict[str, str]) -> Package | None:
    identifiers = element.externalIdentifier or []
    urls = [i.identifier for i in identifiers if i.externalIdentifierType == "packageUrl"]
    purl = read_purl(element.software_packageUrl or next(filter(None, urls), ""))
    if purl is not None and purl.package.type in _IMAGE_TYPES:
        return None
    if purl is None and (element.software_primaryPurpose or "").upper() in _NOT_INSTALLED:
        return None
    written_name = element.name or element.id
    name = cased(purl.package, written_name) if purl else PackageName("", "", written_name)
    written, named = element.software_packageVersion or "", purl.version if purl else ""
    return Package(
        name,
        fuller_version(name.type, named, written),
        licences.get(element.id, ""),
        purl.source if purl else "",
    )
