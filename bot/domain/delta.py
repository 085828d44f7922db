"""What images change against those that run: findings and packages.

Each image is compared on each platform with itself, and the results are summed: what one image has
already is new in another. A finding is *fixed* only if its package left or changed version while
the inventory of its class survives: deleting the package database from an image silences a scanner
and fixes nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Final

from bot.domain.evidence import (
    CLASS_WORDS,
    Finding,
    FindingKey,
    Looked,
    Scan,
    Severity,
    Suppression,
    collapsed,
    everything,
    is_cve,
    placed,
)
from bot.domain.packages import (
    Inventory,
    PackageClass,
    PackageName,
    merged,
    same_after_rename,
)
from bot.domain.versions import compare

_NO_NAME: Final = re.compile(r"^[./~]|^sha256:|^[0-9a-f]{12,64}$|\.(?:tar|tgz|tar\.gz|oci|json)$")
_NUMBER: Final = re.compile(r"[0-9.]+|t64$")  # libicu72, libicu76; libssl1.1, libssl3t64


@dataclass(frozen=True, slots=True)
class Fixed:
    """A finding that the new image does not have any more."""

    finding: Finding
    now: tuple[str, ...] | None
    """The package's versions now; empty: it left; None: no inventory says."""


@dataclass(frozen=True, slots=True)
class Raised:
    """A finding that is in both images and is rated worse now."""

    finding: Finding
    was: Severity


@dataclass(frozen=True, slots=True)
class Delta:
    """The findings of the new images against those of the ones that run."""

    introduced: tuple[Finding, ...]
    fixed: tuple[Fixed, ...]
    unchanged: tuple[Finding, ...]
    suppressed: tuple[Suppression, ...]
    """Of the new images; they count nowhere else."""
    has_baseline: bool
    """False: nothing to compare with, so everything is introduced."""
    raised: tuple[Raised, ...] = ()
    unexplained: frozenset[FindingKey] = frozenset()
    """Among the unchanged: not reported any more, though nothing says that the package changed."""
    lowered: Mapping[FindingKey, Severity] = field(default_factory=dict)
    """Among the unchanged: what they were rated before."""
    allowed_before: Mapping[FindingKey, str] = field(default_factory=dict)
    """Among the unchanged and raised: by whose word they did not count in the image that runs."""
    paths_before: Mapping[FindingKey, tuple[str, ...]] = field(default_factory=dict)
    """Among the unchanged that lie at other paths now: where they lay, as far as that is known."""
    newly_disclosed: frozenset[FindingKey] | None = None
    """Among the unchanged: disclosed since the last promotion; None: nobody knows when it was."""
    lost: tuple[Lost, ...] = ()
    """Why a new image's inventory cannot be believed."""
    unpaired: tuple[str, ...] = ()
    """What has nothing to be compared with on the other side, one sentence each."""
    unlooked: tuple[str, ...] = ()
    """What runs and was not looked at anew, one sentence each."""

    @property
    def news(self) -> tuple[Finding, ...]:
        """What this promotion brings: introduced, or rated worse."""
        return (*self.introduced, *(one.finding for one in self.raised))

    @property
    def present(self) -> tuple[Finding, ...]:
        """Everything that the new images have, suppressed findings excepted."""
        return (*self.news, *self.unchanged)


@dataclass(frozen=True, slots=True)
class Lost:
    """A class of packages about which the new report of an image says nothing."""

    image: str
    platform: str
    package_class: PackageClass
    why: str

    @property
    def place(self) -> str:
        """Which image on which platform, for people."""
        return f"{self.image} ({self.platform})".removesuffix(" ()").strip()


@dataclass(frozen=True, slots=True)
class Pair:
    """One image on one platform, new and as it runs; one of them at least."""

    new: Scan | None
    old: Scan | None

    @property
    def listed_before(self) -> Inventory | None:
        """What the image that runs lists, by the tool that listed the new one.

        What two tools list differs by more than two images do.
        """
        new, old = (side.inventory if side else None for side in (self.new, self.old))
        return old if new and old and new.tools == old.tools else None


def paired(new: Scan, old: Scan | None) -> tuple[Pair, ...]:
    """Each image on each platform with itself: by its whole name, else by its last part."""
    before = list(old.each) if old is not None else []
    pairs: list[Pair] = []
    for scan in new.each:
        match = _counterpart(scan, new.each, before)
        if match is not None:
            before.remove(match)
        pairs.append(Pair(scan, match))
    return (*pairs, *(Pair(None, scan) for scan in before))


def _counterpart(scan: Scan, new: Sequence[Scan], before: Sequence[Scan]) -> Scan | None:
    """The scan of the same image and platform among those that nobody took yet."""
    if (
        len(new) == len(before) == 1
        and not (scan.platform and before[0].platform)
        and not _are_others(scan, before[0])
    ):
        return before[0]
    candidates = _same_image(scan, [one.repository for one in new], before)
    same = [one for one in candidates if one.platform == scan.platform]
    if not same and len(candidates) == 1 and not (scan.platform and candidates[0].platform):
        same = list(candidates)
    return same[0] if same else None


def _same_image(scan: Scan, names: Sequence[str], before: Sequence[Scan]) -> Sequence[Scan]:
    """The scans of an image on the other side; two images may have swapped registries."""
    name = scan.repository
    is_one_each = len(set(names)) == 1 == len({one.repository for one in before})
    if is_one_each and not _are_others(scan, before[0]):
        return before
    exact = [one for one in before if one.repository == name]
    if exact:
        return exact
    last = name.rpartition("/")[2]
    alike = [one for one in before if one.repository.rpartition("/")[2] == last]
    is_clear = (
        len({other for other in names if other.rpartition("/")[2] == last}) == 1
        and len({one.repository for one in alike}) == 1
    )
    return alike if is_clear else ()


def _are_others(one: Scan, other: Scan) -> bool:
    """Whether two scans are for certain of two images, by the last parts of their names."""
    last = {scan.repository.rpartition("/")[2] for scan in (one, other)}
    return len(last) > 1 and _is_named(one) and _is_named(other)


def _is_named(scan: Scan) -> bool:
    """Whether its name is a repository's, and not that of a file or folder that was scanned."""
    host, slash, _ = scan.repository.partition("/")
    if not scan.repository or _NO_NAME.search(scan.repository):
        return False
    is_of_registry = bool(slash) and ("." in host or ":" in host or host == "localhost")
    return is_of_registry or bool(scan.digests)


def delta(
    new: Scan,
    old: Scan | None,
    *,
    inventories: tuple[Inventory | None, Inventory | None] = (None, None),
    last_promotion: date | None = None,
    is_whole: bool = False,
) -> Delta:
    """Compare two scans of the same scanner and database.

    ``inventories`` are those of the new and of the old image where there are SBOMs, else the
    packages that the reports list; ``last_promotion`` is when the old image came; ``is_whole``
    says that the new scan has every image and platform that there will be.
    """
    if old is None:
        suppressed = _ordered_suppressions(new.suppressed.values())
        return Delta(ordered(new.findings.values()), (), (), suppressed, has_baseline=False)
    pairs = paired(new, old)
    if len(pairs) > 1:
        inventories = (None, None)
    deltas = [
        _gone(pair.old, is_whole=is_whole)
        if pair.new is None and pair.old is not None
        else _of_pair(pair.new or new, pair.old, inventories, last_promotion)
        for pair in pairs
    ]
    return _sum(deltas, last_promotion)


def _of_pair(
    new: Scan,
    old: Scan | None,
    inventories: tuple[Inventory | None, Inventory | None],
    last_promotion: date | None,
) -> Delta:
    if old is None:
        return replace(
            delta(new, None), unpaired=(f"{new.place} does not run there, so all of it is new",)
        )
    new = placed(new, new.repository, new.platform)
    old = placed(old, new.repository, new.platform)
    listed = (inventories[0] or new.inventory, inventories[1] or old.inventory)
    new, old = _under_one_id(new, old)
    old = _under_new_names(new, old, listed)
    return _compared(new, old, listed, last_promotion)


def _gone(old: Scan, *, is_whole: bool) -> Delta:
    """An image that nobody scanned anew has what it had, unless it is known to go."""
    if is_whole:
        return Delta(
            (),
            tuple(Fixed(finding, ()) for finding in ordered(old.findings.values())),
            (),
            (),
            has_baseline=True,
            unpaired=(f"{old.place} runs, and is no part of this promotion",),
        )
    return Delta(
        (),
        (),
        ordered(old.findings.values()),
        (),
        has_baseline=True,
        unexplained=frozenset(old.findings),
        unlooked=(f"{old.place} runs, and no new report is about it",),
    )


def _compared(
    new: Scan,
    old: Scan,
    listed: tuple[Inventory | None, Inventory | None],
    last_promotion: date | None,
) -> Delta:
    changes = _Changes(new, old, *listed)
    # What VEX says that the old image does not have comes with the new one.
    ignored = {key: one for key, one in old.suppressed.items() if not one.is_of_image}
    before = {key: one.finding for key, one in ignored.items()} | dict(old.findings)
    gone = [f for key, f in old.findings.items() if key not in new.findings]
    gone = [finding for finding in gone if finding.key not in new.suppressed]
    fixed = [changes.fixed(finding) for finding in gone]
    unexplained = [f for f, fix in zip(gone, fixed, strict=True) if fix is None]
    both = [finding for key, finding in new.findings.items() if key in before]
    raised = [f for f in both if f.severity > before[f.key].severity]
    stayed = [f for f in both if f.severity <= before[f.key].severity]
    return Delta(
        introduced=ordered(f for key, f in new.findings.items() if key not in before),
        raised=tuple(Raised(finding, before[finding.key].severity) for finding in ordered(raised)),
        fixed=tuple(
            sorted((fix for fix in fixed if fix), key=lambda fix: finding_order(fix.finding))
        ),
        unchanged=ordered([*stayed, *unexplained]),
        suppressed=_ordered_suppressions(new.suppressed.values()),
        has_baseline=True,
        unexplained=frozenset(finding.key for finding in unexplained),
        lowered={
            finding.key: before[finding.key].severity
            for finding in stayed
            if finding.severity < before[finding.key].severity
        },
        allowed_before={
            finding.key: ignored[finding.key].by
            for finding in both
            if finding.key in ignored and finding.key not in old.findings
        },
        paths_before={
            finding.key: known
            for finding in stayed
            if (known := before[finding.key].paths) and known != finding.paths
        },
        newly_disclosed=_newly_disclosed(stayed, last_promotion),
        lost=changes.lost,
    )


def _sum(deltas: Sequence[Delta], last_promotion: date | None) -> Delta:
    """All images and platforms together."""
    if len(deltas) == 1:
        return deltas[0]
    disclosed = frozenset[FindingKey]().union(*(one.newly_disclosed or () for one in deltas))
    return Delta(
        introduced=ordered(f for one in deltas for f in one.introduced),
        raised=tuple(
            sorted(
                (r for one in deltas for r in one.raised), key=lambda r: finding_order(r.finding)
            )
        ),
        fixed=tuple(
            sorted((f for one in deltas for f in one.fixed), key=lambda f: finding_order(f.finding))
        ),
        unchanged=ordered(f for one in deltas for f in one.unchanged),
        suppressed=_ordered_suppressions(s for one in deltas for s in one.suppressed),
        has_baseline=True,
        unexplained=frozenset[FindingKey]().union(*(one.unexplained for one in deltas)),
        lowered={key: was for one in deltas for key, was in one.lowered.items()},
        allowed_before={key: by for one in deltas for key, by in one.allowed_before.items()},
        newly_disclosed=None if last_promotion is None else disclosed,
        lost=tuple(lost for one in deltas for lost in one.lost),
        unpaired=tuple(text for one in deltas for text in one.unpaired),
        unlooked=tuple(text for one in deltas for text in one.unlooked),
    )


def finding_order(finding: Finding) -> tuple[int, float, FindingKey]:
    """The most severe first, then the most probably exploited."""
    return (-finding.severity, -(finding.epss or 0), finding.key)


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


# --- one vulnerability, whatever each side calls it ---


def _under_one_id(new: Scan, old: Scan) -> tuple[Scan, Scan]:
    """Both sides with the CVE of each finding, where one side knows it and the other does not."""
    of_new, of_old = _names(new), _names(old)
    cves = {
        place: {
            name for name in of_new.get(place, set()) | of_old.get(place, set()) if is_cve(name)
        }
        for place in of_new.keys() | of_old.keys()
    }
    new = _renamed(new, cves)
    old = _renamed(old, cves)
    old = _renamed(old, of_new)  # two ids without a CVE: the new side's
    is_same_data = new.database is not None and new.database == old.database
    return new, old if is_same_data else _renamed(old, _replaced_ids(new, old))


def _names(scan: Scan) -> dict[tuple[PackageName, str], set[str]]:
    """Other name of a finding -> its ids, in each package."""
    known: dict[tuple[PackageName, str], set[str]] = {}
    for finding in everything(scan):
        for name in (finding.aliases | finding.advisories) - {finding.vulnerability}:
            known.setdefault((finding.package, name), set()).add(finding.vulnerability)
    return known


def _renamed(scan: Scan, known: Mapping[tuple[PackageName, str], set[str]]) -> Scan:
    def under(finding: Finding) -> list[Finding]:
        names = known.get((finding.package, finding.vulnerability), set())
        if not names or is_cve(finding.vulnerability):
            return [finding]
        return [
            finding._replace(
                key=finding.key._replace(vulnerability=name),
                aliases=finding.aliases | {name} if len(names) == 1 else frozenset({name}),
                advisories=finding.advisories | {finding.vulnerability},
            )
            for name in sorted(names)
        ]

    if not known or not any((f.package, f.vulnerability) in known for f in everything(scan)):
        return scan
    findings = collapsed(one for f in scan.findings.values() for one in under(f))
    suppressed = {
        one.key: replace(suppression, finding=one)
        for suppression in scan.suppressed.values()
        for one in under(suppression.finding)
    }
    return replace(
        scan,
        findings=findings,
        suppressed={key: one for key, one in suppressed.items() if key not in findings},
    )


def _replaced_ids(new: Scan, old: Scan) -> dict[tuple[PackageName, str], set[str]]:
    """Ids that a database replaced by a CVE without saying so.

    Of one package in the same versions, exactly one finding vanished that has no CVE, and exactly
    one came that has: with the same fixed versions and the same severity they are one
    vulnerability. It is a guess, and can hide nothing that an image brings: its package is the
    same. The same data gives the same ids, so that nothing was replaced there.
    """
    vanished = _by_fix([f for key, f in old.findings.items() if key not in new.findings])
    came = _by_fix([f for key, f in new.findings.items() if key not in old.findings])
    replaced: dict[tuple[PackageName, str], set[str]] = {}
    for place, before in vanished.items():
        after = came.get(place, [])
        if len(before) == len(after) == 1:
            was, now = before[0], after[0]
            if not is_cve(was.vulnerability) and is_cve(now.vulnerability):
                replaced[was.package, was.vulnerability] = {now.vulnerability}
    return replaced


def _by_fix(findings: Iterable[Finding]) -> dict[tuple[object, ...], list[Finding]]:
    """Findings of one package in one version with one fix."""
    found: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        if finding.fixed_in and finding.versions:
            place = (finding.package, finding.versions, finding.fixed_in, finding.severity)
            found.setdefault(place, []).append(finding)
    return found


# --- one package, whatever its distributor calls it ---


def _under_new_names(
    new: Scan, old: Scan, listed: tuple[Inventory | None, Inventory | None]
) -> Scan:
    """The old side with the new names of packages that their distributor renamed."""
    names = _package_renames(new, old, listed)
    if not names:
        return old

    def under(finding: Finding) -> Finding:
        name = names.get(finding.package)
        return finding if name is None else finding._replace(key=finding.key._replace(package=name))

    findings = collapsed(map(under, old.findings.values()))
    suppressed = {
        one.key: replace(suppression, finding=one)
        for suppression in old.suppressed.values()
        for one in [under(suppression.finding)]
    }
    return replace(old, findings=findings, suppressed=suppressed)


def _package_renames(
    new: Scan, old: Scan, listed: tuple[Inventory | None, Inventory | None]
) -> dict[PackageName, PackageName]:
    """Old name -> new name: built from the same source, alike but for a number in their names.

    One source builds a client and a server: that one left and one came makes them no rename.
    """
    left = _of_sources(old, listed[1], new, listed[0])
    came = _of_sources(new, listed[0], old, listed[1])
    names: dict[PackageName, PackageName] = {}
    for source, before in left.items():
        after = came.get(source, set())
        for was in before:
            alike = {now for now in after if same_after_rename(was.name, now.name)}
            if not alike and len(before) == len(after) == 1:
                alike = {
                    now for now in after if _NUMBER.sub("", was.name) == _NUMBER.sub("", now.name)
                }
            if len(alike) == 1:
                names[was] = next(iter(alike))
    return names


def _of_sources(
    scan: Scan, listed: Inventory | None, other: Scan, other_listed: Inventory | None
) -> dict[tuple[str, str, str], set[PackageName]]:
    """Source -> packages with findings that the other side does not have at all."""
    elsewhere = {finding.package for finding in everything(other)}
    elsewhere |= set(other_listed.versions) if other_listed else set()
    found: dict[tuple[str, str, str], set[PackageName]] = {}
    for finding in everything(scan):
        name = finding.package
        source = finding.source or (listed.sources.get(name, "") if listed else "")
        if source and name.package_class is PackageClass.OS and name not in elsewhere:
            found.setdefault((name.type, name.namespace, source), set()).add(name)
    return found


class _Changes:
    """What is known about the packages behind findings that are not reported any more."""

    def __init__(
        self, new: Scan, old: Scan, inventory: Inventory | None, old_inventory: Inventory | None
    ) -> None:
        self._is_same_image = bool(new.image_id) and new.image_id == old.image_id
        self._new, self._old = inventory, old_inventory
        self._scanner = new.scanner.lower()
        self._reported: dict[PackageName, set[str]] = {}
        for finding in new.findings.values():
            self._reported.setdefault(finding.package, set()).update(finding.versions)
        self.lost = tuple(
            Lost(new.repository, new.platform, package_class, why)
            for package_class, why in _lost_classes(new, old, inventory, old_inventory).items()
        )
        self._lost = {one.package_class for one in self.lost}

    def fixed(self, finding: Finding) -> Fixed | None:
        """How the finding was fixed; None: nothing says that it was."""
        if self._is_same_image or finding.package.package_class in self._lost:
            return None
        was = set(finding.versions)
        if self._new is not None and self._is_listed(finding.package):
            now = self._new.versions.get(finding.package, ())
            return None if was & set(now) or (not was and now) else Fixed(finding, now)
        # Without a list only another version that is reported shows that this one left.
        reported = self._reported.get(finding.package, set())
        return Fixed(finding, None) if was and reported and not was & reported else None

    def _is_listed(self, package: PackageName) -> bool:
        """Whether the new list would have a package, did the image have it.

        The scanner that found it lists it under the same name; of another tool, its other list
        shows whether it does.
        """
        if self._new is None:
            return False
        is_own = self._scanner in self._new.tools and self._new.count(package.package_class)
        lists = (self._new, self._old)
        return bool(is_own) or any(one is not None and package in one.versions for one in lists)


def _lost_classes(
    new: Scan, old: Scan, inventory: Inventory | None, old_inventory: Inventory | None
) -> dict[PackageClass, str]:
    """Classes of packages about which the new image's report says nothing any more.

    Fewer packages are no loss where the report shows that it still looks at their class: they
    left. They are one where the layers that brought most of them are in the image as before.
    """
    lost: dict[PackageClass, str] = {}
    for package_class in PackageClass:
        before = old_inventory.count(package_class) if old_inventory else 0
        after = inventory.count(package_class) if inventory else 0
        words = CLASS_WORDS[package_class]
        looked = Looked(package_class.value)
        if package_class is PackageClass.OS and old.operating_system and not new.operating_system:
            lost[package_class] = (
                f"the operating system ({old.operating_system}) is not recognised any more"
            )
        elif old.covers(package_class) and not new.covers(package_class):
            why = new.unlooked.get(looked) or f"the new scan does not cover {words}"
            lost[package_class] = f"{why}; the old one did"
        elif before and not after and inventory is not None and looked in new.assumed:
            lost[package_class] = (
                f"none of {before} {words} are listed any more, and nothing in the report shows"
                " that it was looked for any"
            )
        elif inventory is not None and old_inventory is not None:
            hidden = _hidden(package_class, new, inventory, old_inventory)
            if hidden * 2 > before:
                lost[package_class] = (
                    f"{hidden} of {before} {words} are not listed any more, though the layers that"
                    " brought them are still in the image"
                )
    return lost


def _hidden(
    package_class: PackageClass, new: Scan, inventory: Inventory, old_inventory: Inventory
) -> int:
    """How many packages are not listed any more while their layer is still there."""
    return sum(
        name.package_class is package_class and layer in new.layers
        for name, layer in old_inventory.layers.items()
        if name not in inventory.versions
    )


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
    return _contents(new, old, _package_changes(new, old), _licence_changes(new, old))


def contents_of(pairs: Sequence[Pair]) -> Contents | None:
    """The same for several images and platforms: what changes alike in several stands once."""
    listed = [
        (pair.new.inventory, pair.listed_before)
        for pair in pairs
        if pair.new is not None and pair.new.inventory is not None
    ]
    new = merged(one for one, _ in listed)
    if new is None:
        return None
    both = [(after, before) for after, before in listed if before is not None]
    old = merged(before for _, before in both)
    if old is None:
        return Contents((), (), new)
    changes = {change for one in both for change in _package_changes(*one)}
    licences = {change for one in both for change in _licence_changes(*one)}
    return _contents(new, old, changes, licences)


def _contents(
    new: Inventory,
    old: Inventory,
    changes: Iterable[PackageChange],
    licences: Iterable[LicenceChange],
) -> Contents:
    ordered_changes = tuple(
        sorted(changes, key=lambda one: (one.change, one.package, one.before, one.after))
    )
    return Contents(
        ordered_changes,
        tuple(sorted(licences, key=lambda one: (one.package, one.before, one.after))),
        new,
        old,
        Counter(change.change for change in ordered_changes),
    )


def _package_changes(new: Inventory, old: Inventory) -> list[PackageChange]:
    return [
        _package_change(name, before, after)
        for name, after in new.versions.items()
        if (before := old.versions.get(name, ())) != after
    ] + [
        _package_change(name, before, ())
        for name, before in old.versions.items()
        if name not in new.versions
    ]


def _licence_changes(new: Inventory, old: Inventory) -> list[LicenceChange]:
    return [
        LicenceChange(name, before, after)
        for name, after in new.licences.items()
        if (before := old.licences.get(name, after)) != after
    ]


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
