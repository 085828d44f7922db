"""What an image changes against the one that runs: findings and packages.

A finding is *fixed* only if its package left or changed version while the inventory of its class
survives: deleting the package database from an image silences a scanner and fixes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from bot.domain.evidence import Finding, FindingKey, Scan, Severity, Suppression
from bot.domain.packages import Inventory, PackageClass, PackageName
from bot.domain.versions import compare


@dataclass(frozen=True, slots=True)
class Fixed:
    """A finding that the new image does not have any more."""

    finding: Finding
    now: tuple[str, ...] | None
    """The package's versions now; empty: it left; None: no inventory says."""


@dataclass(frozen=True, slots=True)
class Delta:
    """The findings of the new image against those of the one that runs."""

    introduced: tuple[Finding, ...]
    fixed: tuple[Fixed, ...]
    unchanged: tuple[Finding, ...]
    suppressed: tuple[Suppression, ...]
    """Of the new image; they count nowhere else."""
    has_baseline: bool
    """False: nothing to compare with, so everything is introduced."""
    unexplained: frozenset[FindingKey] = frozenset()
    """Among the unchanged: not reported any more, though nothing says that the package changed."""
    newly_disclosed: frozenset[FindingKey] | None = None
    """Among the unchanged: disclosed since the last promotion; None: nobody knows when it was."""
    lost: tuple[str, ...] = ()
    """Why the new image's inventory cannot be believed, one sentence each."""

    @property
    def present(self) -> tuple[Finding, ...]:
        """Everything that the new image has, suppressed findings excepted."""
        return (*self.introduced, *self.unchanged)


def delta(
    new: Scan,
    old: Scan | None,
    *,
    inventories: tuple[Inventory | None, Inventory | None] = (None, None),
    last_promotion: date | None = None,
) -> Delta:
    """Compare two scans of the same scanner and database.

    ``inventories`` are those of the new and of the old image where there are SBOMs, else the
    packages that the reports list; ``last_promotion`` is when the old image came.
    """
    suppressed = _ordered_suppressions(new.suppressed.values())
    if old is None:
        introduced = ordered(new.findings.values())
        return Delta(introduced, (), (), suppressed, has_baseline=False)
    changes = _Changes(new, old, inventories[0] or new.inventory, inventories[1] or old.inventory)
    gone = [f for key, f in old.findings.items() if key not in new.findings]
    gone = [finding for finding in gone if finding.key not in new.suppressed]
    fixed = [changes.fixed(finding) for finding in gone]
    unexplained = [f for f, fix in zip(gone, fixed, strict=True) if fix is None]
    stayed = [finding for key, finding in new.findings.items() if key in old.findings]
    return Delta(
        introduced=ordered(f for key, f in new.findings.items() if key not in old.findings),
        fixed=tuple(
            sorted((fix for fix in fixed if fix), key=lambda fix: finding_order(fix.finding))
        ),
        unchanged=ordered([*stayed, *unexplained]),
        suppressed=suppressed,
        has_baseline=True,
        unexplained=frozenset(finding.key for finding in unexplained),
        newly_disclosed=_newly_disclosed(stayed, last_promotion),
        lost=changes.lost,
    )


def finding_order(finding: Finding) -> tuple[int, float, str, PackageName]:
    """The most severe first, then the most probably exploited."""
    return (-finding.severity, -(finding.epss or 0), finding.vulnerability, finding.package)


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings, the most severe first; the same for the same findings in any order."""
    return tuple(sorted(findings, key=finding_order))


def counts(findings: Iterable[Finding]) -> dict[Severity, int]:
    """How many there are of every severity, the highest first."""
    found = Counter(finding.severity for finding in findings)
    return {severity: found[severity] for severity in sorted(Severity, reverse=True)}


def _ordered_suppressions(suppressed: Iterable[Suppression]) -> tuple[Suppression, ...]:
    return tuple(sorted(suppressed, key=lambda one: finding_order(one.finding)))


def _newly_disclosed(
    findings: Iterable[Finding], last_promotion: date | None
) -> frozenset[FindingKey] | None:
    if last_promotion is None:
        return None
    return frozenset(f.key for f in findings if f.disclosed and f.disclosed > last_promotion)


class _Changes:
    """What is known about the packages behind findings that are not reported any more."""

    def __init__(
        self, new: Scan, old: Scan, inventory: Inventory | None, old_inventory: Inventory | None
    ) -> None:
        self._is_same_image = bool(new.image_id) and new.image_id == old.image_id
        self._new, self._old = inventory, old_inventory
        self._reported: dict[PackageName, set[str]] = {}
        for finding in new.findings.values():
            self._reported.setdefault(finding.package, set()).update(finding.versions)
        self._lost = dict(_lost_classes(new, old, inventory, old_inventory))
        self.lost = tuple(self._lost.values())

    def fixed(self, finding: Finding) -> Fixed | None:
        """How the finding was fixed; None: nothing says that it was."""
        if self._is_same_image or finding.package.package_class in self._lost:
            return None
        was = set(finding.versions)
        if (
            self._new is not None
            and self._old is not None
            and finding.package in self._old.versions
        ):
            now = self._new.versions.get(finding.package, ())
            return None if was & set(now) or (not was and now) else Fixed(finding, now)
        reported = self._reported.get(finding.package, set())
        return None if was & reported else Fixed(finding, None)


def _lost_classes(
    new: Scan, old: Scan, inventory: Inventory | None, old_inventory: Inventory | None
) -> Iterable[tuple[PackageClass, str]]:
    """Classes of packages about which the new image's scan says nothing any more."""
    if old.operating_system and not new.operating_system:
        yield (
            PackageClass.OS,
            f"the operating system ({old.operating_system}) is not recognised any more",
        )
    words = {PackageClass.OS: "operating system packages", PackageClass.LIBRARY: "libraries"}
    for package_class, word in words.items():
        if old.covers(package_class) and not new.covers(package_class):
            yield package_class, f"the new scan does not cover {word}, the old one did"
        elif inventory is not None and old_inventory is not None:
            before, after = old_inventory.count(package_class), inventory.count(package_class)
            if after * 2 < before:
                left = f"only {after} of" if after else "none of"
                yield package_class, f"{left} {before} {word} are listed any more"


class Change(StrEnum):
    """What happened to a package."""

    ADDED = "added"
    REMOVED = "removed"
    UPDATED = "updated"
    DOWNGRADED = "downgraded"
    CHANGED = "changed"
    """Another version, and nobody can say which one is newer."""


@dataclass(frozen=True, slots=True)
class PackageChange:
    """A package that differs between two inventories."""

    package: PackageName
    change: Change
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LicenceChange:
    """A package that is in both inventories, under another licence."""

    package: PackageName
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Contents:
    """How the packages of two images differ."""

    changes: tuple[PackageChange, ...]
    licences: tuple[LicenceChange, ...]
    new: Inventory
    old: Inventory | None = None
    """None: there is nothing to compare with."""
    counts: Mapping[Change, int] = field(default_factory=dict)


def contents(new: Inventory, old: Inventory | None) -> Contents:
    """Compare two inventories; without an old one nothing is called added."""
    if old is None:
        return Contents((), (), new)
    names = new.versions.keys() | old.versions.keys()
    found = [
        _package_change(name, old.versions.get(name, ()), new.versions.get(name, ()))
        for name in names
        if new.versions.get(name) != old.versions.get(name)
    ]
    changes = tuple(sorted(found, key=lambda change: (change.change, change.package)))
    licences = [
        LicenceChange(name, old.licences[name], new.licences[name])
        for name in new.licences.keys() & old.licences.keys()
        if new.licences[name] != old.licences[name]
    ]
    return Contents(
        changes,
        tuple(sorted(licences, key=lambda change: change.package)),
        new,
        old,
        Counter(change.change for change in changes),
    )


def _package_change(
    name: PackageName, before: Sequence[str], after: Sequence[str]
) -> PackageChange:
    left = [version for version in before if version not in after]
    came = [version for version in after if version not in before]
    if not before:
        change = Change.ADDED
    elif not after:
        change = Change.REMOVED
    else:
        change = _direction(name.type, left, came)
    return PackageChange(name, change, tuple(before), tuple(after))


def _direction(kind: str, left: Sequence[str], came: Sequence[str]) -> Change:
    """By the versions that left and came; all of them must compare the same way."""
    orders = {compare(kind, new, old) for old in left for new in came}
    if orders == {1}:
        return Change.UPDATED
    return Change.DOWNGRADED if orders == {-1} else Change.CHANGED
