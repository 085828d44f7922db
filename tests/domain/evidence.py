"""Findings, scans and inventories for the tests of rules."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime

from bot.domain.evidence import (
    Finding,
    FindingKey,
    Fix,
    Looked,
    Scan,
    Severity,
    Suppression,
)
from bot.domain.packages import Inventory, Package, PackageName, inventory

AT = datetime(2026, 11, 20, 10, 4, tzinfo=UTC)
BOTH = frozenset({Looked.OS, Looked.LIBRARY})


def package(name: str, kind: str = "deb") -> PackageName:
    return PackageName(kind, "debian" if kind == "deb" else "", name)


def finding(  # every argument is a fact that some rule looks at
    vulnerability: str = "CVE-2026-0001",
    name: str = "libssl3",
    severity: Severity = Severity.HIGH,
    *,
    kind: str = "deb",
    versions: tuple[str, ...] = ("1",),
    fixed_in: tuple[str, ...] = ("2",),
    fix: Fix | None = None,
    disclosed: date | None = None,
    fix_since: date | None = None,
    epss: float | None = None,
    aliases: Iterable[str] = (),
    paths: tuple[str, ...] = (),
) -> Finding:
    return Finding(
        FindingKey(vulnerability, package(name, kind)),
        severity,
        versions=versions,
        fixed_in=fixed_in,
        fix=fix or (Fix.AVAILABLE if fixed_in else Fix.NONE),
        aliases=frozenset({vulnerability, *aliases}),
        disclosed=disclosed,
        fix_since=fix_since,
        epss=epss,
        paths=paths,
    )


def scan(
    *findings: Finding,
    suppressed: Iterable[Finding] = (),
    looked: frozenset[Looked] = BOTH,
    system: str = "debian 12",
    listed: Inventory | None = None,
    **facts: object,
) -> Scan:
    known: dict[str, object] = {"version": "0.74.0", "end_of_life": False, **facts}
    return Scan(
        scanner=str(known.pop("scanner", "Trivy")),
        findings={one.key: one for one in findings},
        suppressed={one.key: Suppression(one, "VEX not_affected", "unused") for one in suppressed},
        looked=looked,
        operating_system=system,
        inventory=listed,
        **known,  # type: ignore[arg-type]  # named fields of Scan, checked when it is made
    )


def listing(packages: dict[str, str], kind: str = "deb", licence: str = "") -> Inventory:
    return inventory(
        [Package(package(name, kind), version, licence) for name, version in packages.items()],
        operating_system="debian 12" if kind == "deb" else "",
    )
