"""VEX: an author's word on whether a vulnerability matters in a product (OpenVEX 0.2.0).

Whose word counts is decided before; here only what it says about which finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bot.domain.evidence import Finding, FindingKey, Scan, Suppression
from bot.domain.packages import Purl, read_purl

_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_IMAGE_TYPES: Final = frozenset({"oci", "docker"})


@dataclass(frozen=True, slots=True)
class VexProduct:
    """A product, and the components of it that a statement is about."""

    name: str
    """A package URL, as a rule."""
    components: tuple[str, ...] = ()
    """Empty: the whole product."""


@dataclass(frozen=True, slots=True)
class VexStatement:
    """One statement of a document."""

    vulnerabilities: frozenset[str]
    """The name and its aliases."""
    products: tuple[VexProduct, ...]
    status: str
    reason: str
    author: str
    at: datetime | None = None


def suppressions(
    statements: Sequence[VexStatement], scan: Scan, accepted: frozenset[str]
) -> dict[FindingKey, Suppression]:
    """The findings that do not count, because the last word about each has such a status."""
    if not statements:
        return {}
    by_name: dict[str, list[Finding]] = {}
    for finding in scan.findings.values():
        for name in {finding.vulnerability, *finding.aliases}:
            by_name.setdefault(name, []).append(finding)
    said: dict[FindingKey, VexStatement] = {}
    # A later statement about the same thing replaces an earlier one (OpenVEX, "Updating").
    for statement in sorted(statements, key=lambda one: one.at or _EARLIEST):
        for name in statement.vulnerabilities:
            for finding in by_name.get(name, ()):
                if _is_about(statement, finding, scan):
                    said[finding.key] = statement
    return {
        key: Suppression(
            scan.findings[key], f"VEX {statement.status} by {statement.author}", statement.reason
        )
        for key, statement in said.items()
        if statement.status in accepted
    }


def _is_about(statement: VexStatement, finding: Finding, scan: Scan) -> bool:
    return any(_matches(product, finding, scan) for product in statement.products)


def _matches(product: VexProduct, finding: Finding, scan: Scan) -> bool:
    purl = read_purl(product.name)
    if purl is not None and purl.package.type not in _IMAGE_TYPES:
        return not product.components and _covers(purl, finding)
    if not _is_image(product.name, purl, scan):
        return False
    components = [found for name in product.components if (found := read_purl(name))]
    if product.components:
        return any(_covers(component, finding) for component in components)
    return True


def _covers(purl: Purl, finding: Finding) -> bool:
    """Whether a package URL names every installed version; without a version it names all."""
    return purl.package == finding.package and (
        not purl.version or set(finding.versions) <= {purl.version}
    )


def _is_image(name: str, purl: Purl | None, scan: Scan) -> bool:
    """Whether a product is the image that was scanned: by digest, else by repository name."""
    digests = {*scan.digests, scan.image_id} - {""}
    if purl is None:
        return name in digests or (bool(scan.image) and name == scan.image)
    if purl.version.startswith("sha256:"):
        return purl.version in digests
    repository = scan.image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return not purl.version and bool(repository) and repository == purl.package.name
