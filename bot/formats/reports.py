"""Which format a file is in, by its content; names and media types are claims.

What is not evidence of the asked kind is refused by the name of what it is: an SBOM is no scan,
and SARIF carries neither packages nor a severity that its scanner stands by.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Final, TypeVar

import msgspec

from bot.domain.evidence import Scan, UnreadableEvidenceError
from bot.domain.packages import Inventory
from bot.domain.vex import VexStatement
from bot.formats.cyclonedx import read_cyclonedx, read_cyclonedx_scan, read_cyclonedx_vex
from bot.formats.exploitation_feeds import inflated
from bot.formats.grype import read_grype
from bot.formats.in_toto import read_statement
from bot.formats.json_document import checked, decoded
from bot.formats.openvex import read_openvex
from bot.formats.spdx import read_spdx, read_spdx_3
from bot.formats.trivy import read_trivy

T = TypeVar("T")


class Format(Enum):
    """What a document is."""

    TRIVY = "a Trivy report"
    GRYPE = "a grype report"
    CYCLONEDX = "a CycloneDX document"
    SPDX = "an SPDX document"
    SPDX_3 = "an SPDX 3 document"
    OPENVEX = "an OpenVEX document"
    STATEMENT = "an in-toto statement"
    SARIF = "a SARIF log"
    GITLAB = "a GitLab security report"
    SYFT = "a syft document"
    KUBERNETES = "Trivy's report of a cluster"
    CSAF = "a CSAF document"
    ASFF = "findings in AWS's format"
    KEV = "the KEV catalogue"
    HADOLINT = "hadolint's report"


# The first whose keys all stand at the top.
_BY_KEYS: Final[tuple[tuple[Format, frozenset[str]], ...]] = (
    (Format.STATEMENT, frozenset({"payloadType", "payload"})),
    (Format.STATEMENT, frozenset({"dsseEnvelope"})),
    (Format.STATEMENT, frozenset({"_type", "predicateType"})),
    (Format.CYCLONEDX, frozenset({"bomFormat"})),
    (Format.SPDX, frozenset({"spdxVersion"})),
    (Format.SPDX_3, frozenset({"@graph"})),
    (Format.TRIVY, frozenset({"SchemaVersion"})),
    (Format.GRYPE, frozenset({"matches"})),
    (Format.OPENVEX, frozenset({"@context", "statements"})),
    (Format.SARIF, frozenset({"runs"})),
    (Format.GITLAB, frozenset({"scan", "vulnerabilities"})),
    (Format.SYFT, frozenset({"artifacts", "descriptor"})),
    (Format.KUBERNETES, frozenset({"ClusterName"})),
    (Format.CSAF, frozenset({"document", "product_tree"})),
    (Format.ASFF, frozenset({"Findings"})),
    (Format.KEV, frozenset({"catalogVersion"})),
)
_BEGINNING: Final = 2_000  # bytes
_MARK: Final = re.compile(rb'"(SchemaVersion|bomFormat|spdxVersion|matches)"\s*:')
_BY_MARK: Final = {
    b"SchemaVersion": Format.TRIVY,
    b"bomFormat": Format.CYCLONEDX,
    b"spdxVersion": Format.SPDX,
    b"matches": Format.GRYPE,
}
_SCANS: Final[dict[Format, Callable[[bytes, str], Scan]]] = {
    Format.TRIVY: read_trivy,
    Format.GRYPE: read_grype,
    Format.CYCLONEDX: read_cyclonedx_scan,
}
_REPORTED: Final = "write the scanner's own JSON (Trivy, grype) or CycloneDX"
_SBOMS: Final[dict[Format, Callable[[bytes, str], Inventory]]] = {
    Format.CYCLONEDX: read_cyclonedx,
    Format.SPDX: read_spdx,
    Format.SPDX_3: read_spdx_3,
}
_VEX: Final[dict[Format, Callable[[bytes, str], tuple[VexStatement, ...]]]] = {
    Format.OPENVEX: read_openvex,
    Format.CYCLONEDX: read_cyclonedx_vex,
}


def sniffed(document: bytes, file: str) -> Format:
    """The format of a checked document.

    Raises:
        UnreadableEvidenceError: Nobody knows it.
    """
    start = document.lstrip()[:1]
    if start == b"{":
        keys = frozenset(decoded(document, dict[str, msgspec.Raw], file, "a JSON object"))
        found = next((kind for kind, needed in _BY_KEYS if needed <= keys), None)
        if found is None:
            shown = ", ".join(sorted(keys)[:8])[:200] or "none"
            raise UnreadableEvidenceError(file, f"no known format; its keys are: {shown}")
        return found
    if start == b"[":
        return _sniffed_list(document, file)
    value = decoded(document, msgspec.Raw, file, "a JSON value")
    raise UnreadableEvidenceError(file, f"no report: the JSON value {bytes(value)[:20].decode()}")


def _sniffed_list(document: bytes, file: str) -> Format:
    entries = decoded(document, list[msgspec.Raw], file, "a JSON list")
    if not entries:
        raise UnreadableEvidenceError(file, "an empty list: nothing was looked at")
    first = bytes(entries[0])
    keys = frozenset(decoded(first, dict[str, msgspec.Raw], file, "a list of objects"))
    if "Target" in keys:
        return Format.TRIVY
    if {"code", "level", "line"} <= keys:
        return Format.HADOLINT
    shown = ", ".join(sorted(keys)[:8])[:200] or "none"
    raise UnreadableEvidenceError(file, f"no known format; its entries have the keys: {shown}")


def read_scan(data: bytes, file: str) -> Scan:
    """A scanner's report.

    Raises:
        UnreadableEvidenceError: Not a report that is read here; the defect.
        LimitExceededError: Larger or deeper than docs/limits.md allows.
    """
    return _read(data, file, _SCANS, f"a scan is wanted; {_REPORTED}")


def read_sbom(data: bytes, file: str) -> Inventory:
    """An SBOM; Trivy's JSON report counts where it lists packages.

    Raises:
        UnreadableEvidenceError: Not an SBOM that is read here; the defect.
        LimitExceededError: Larger or deeper than docs/limits.md allows.
    """
    return _read(data, file, {**_SBOMS, Format.TRIVY: _packages}, "an SBOM is wanted")


def read_vex(data: bytes, file: str) -> tuple[VexStatement, ...]:
    """Statements in OpenVEX or CycloneDX.

    Raises:
        UnreadableEvidenceError: Neither; the defect.
        LimitExceededError: Larger or deeper than docs/limits.md allows.
    """
    return _read(data, file, _VEX, "an OpenVEX or CycloneDX document is wanted")


def _packages(document: bytes, file: str) -> Inventory:
    listed = read_trivy(document, file).inventory
    if listed is None:
        raise UnreadableEvidenceError(file, "the Trivy report lists no packages")
    return listed


def _guessed(document: bytes) -> Format | None:
    """The format that the first bytes look like; its reader asks for the key at the top."""
    found = _MARK.search(document, 0, _BEGINNING)
    return _BY_MARK[found[1]] if found else None


def _read(
    data: bytes, file: str, readers: dict[Format, Callable[[bytes, str], T]], wanted: str
) -> T:
    document = checked(inflated(data, file), file)
    guess = _guessed(document)
    if guess in readers:
        try:
            return readers[guess](document, file)
        except UnreadableEvidenceError:
            pass  # not what its beginning looks like, or broken: say which
    found = sniffed(document, file)
    if found is Format.STATEMENT:
        document = checked(read_statement(document, file).predicate, file)
        found = sniffed(document, file)
    reader = readers.get(found)
    if reader is None:
        raise UnreadableEvidenceError(file, f"{found.value}; {wanted}")
    return reader(document, file)
