"""What is known about an image: findings of a scanner, its inventory, what is exploited.

A finding is one pair of vulnerability and package at its highest severity; versions, paths and
platforms collapse into it. An absence of data is never a finding's absence: a scan says which
classes of packages it covers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import Enum, IntEnum
from typing import Final, NamedTuple, TypeVar

from bot.domain.errors import RejectedError
from bot.domain.packages import Inventory, PackageClass, PackageName, merged

T = TypeVar("T")
_LONGEST_DEFECT: Final = 500  # characters
_CVE: Final = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")


class UnreadableEvidenceError(RejectedError):
    """A report, SBOM, feed or VEX document cannot be read or recognised."""

    def __init__(self, file: str, defect: str) -> None:
        """Name the file and what is wrong with it; what is quoted from it is made printable."""
        shown = "".join(c if c.isprintable() else "\ufffd" for c in defect[:_LONGEST_DEFECT])
        super().__init__(f"{file}: {shown}")
        self.file, self.defect = file, shown


class Severity(IntEnum):
    """How bad; a known severity is higher than an unknown one."""

    UNKNOWN = 0
    NEGLIGIBLE = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5

    @property
    def word(self) -> str:
        """In lower case, as policies and ``--json`` write it."""
        return self.name.lower()

    @classmethod
    def of(cls, text: str) -> Severity:
        """By a scanner's word; one that nobody knows is UNKNOWN."""
        return _SEVERITIES.get(text.strip().lower(), cls.UNKNOWN)


_SEVERITIES: Final = {severity.word: severity for severity in Severity} | {
    "info": Severity.NEGLIGIBLE,
    "informational": Severity.NEGLIGIBLE,
    "none": Severity.NEGLIGIBLE,
    "moderate": Severity.MEDIUM,
    "important": Severity.HIGH,
}


class Fix(Enum):
    """Whether a version without the vulnerability exists."""

    AVAILABLE = "available"
    NONE = "none"
    UNKNOWN = "unknown"
    """The document does not say."""


class FindingKey(NamedTuple):
    """What makes two findings the same."""

    vulnerability: str
    package: PackageName


@dataclass(frozen=True, slots=True)
class Finding:
    """A vulnerability in a package of an image."""

    key: FindingKey
    severity: Severity
    versions: tuple[str, ...] = ()
    """The installed ones, sorted."""
    fixed_in: tuple[str, ...] = ()
    fix: Fix = Fix.UNKNOWN
    aliases: frozenset[str] = frozenset()
    """Every identifier of it, the key's included."""
    nvd_severity: Severity | None = None
    """What the National Vulnerability Database says, where the document has it."""
    disclosed: date | None = None
    fix_since: date | None = None
    """When a fixed version appeared, where the document says."""
    exploited_since: date | None = None
    """When it entered the KEV catalogue, by the scanner's own database."""
    epss: float | None = None
    """Probability of exploitation, 0 to 1, by the scanner's own database."""
    platforms: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @property
    def vulnerability(self) -> str:
        """Its identifier: a CVE where it has one."""
        return self.key.vulnerability

    @property
    def package(self) -> PackageName:
        """Where it is."""
        return self.key.package


def canonical_id(own: str, aliases: Iterable[str] = ()) -> str:
    """The CVE of an entry, or of its first alias that is one, else the entry's own id."""
    for identifier in (own, *aliases):
        if _CVE.fullmatch(identifier.strip().upper()):
            return identifier.strip().upper()
    return own.strip()


def collapsed(sightings: Iterable[Finding]) -> dict[FindingKey, Finding]:
    """One finding per pair; versions, fixes, paths and platforms are united."""
    found: dict[FindingKey, Finding] = {}
    for sighting in sightings:
        known = found.get(sighting.key)
        found[sighting.key] = sighting if known is None else _united(known, sighting)
    return found


def _united(one: Finding, other: Finding) -> Finding:
    return replace(
        one,
        severity=max(one.severity, other.severity),
        versions=_union(one.versions, other.versions),
        fixed_in=_union(one.fixed_in, other.fixed_in),
        fix=min(one.fix, other.fix, key=[Fix.AVAILABLE, Fix.NONE, Fix.UNKNOWN].index),
        aliases=one.aliases | other.aliases,
        nvd_severity=_known(max, one.nvd_severity, other.nvd_severity),
        disclosed=_known(min, one.disclosed, other.disclosed),
        fix_since=_known(min, one.fix_since, other.fix_since),
        exploited_since=_known(min, one.exploited_since, other.exploited_since),
        epss=_known(max, one.epss, other.epss),
        platforms=_union(one.platforms, other.platforms),
        paths=_union(one.paths, other.paths),
    )


def _union(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return one if one == other else tuple(sorted({*one, *other}))


def _known(choose: Callable[[T, T], T], one: T | None, other: T | None) -> T | None:
    if one is None or other is None:
        return other if one is None else one
    return choose(one, other)


class Looked(Enum):
    """What a scanner looked for."""

    OS = "os"
    LIBRARY = "library"
    SECRET = "secret"  # noqa: S105 - a kind of finding
    LICENCE = "licence"
    CONFIGURATION = "config"


@dataclass(frozen=True, slots=True, order=True)
class Secret:
    """A secret in the image: where and by which rule, never what."""

    rule: str
    target: str
    severity: Severity = Severity.UNKNOWN


@dataclass(frozen=True, slots=True)
class Suppression:
    """A finding that does not count, by whose word and why."""

    finding: Finding
    by: str
    """``VEX not_affected``, ``exception SEC-812`` ..."""
    reason: str
    expires: date | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """A scanner's word about one image."""

    scanner: str
    """``Trivy``, ``grype`` or the tool that wrote the CycloneDX document."""
    findings: Mapping[FindingKey, Finding]
    suppressed: Mapping[FindingKey, Suppression] = field(default_factory=dict)
    """Those that the scanner itself suppressed and that count nowhere else."""
    looked: frozenset[Looked] = frozenset()
    """What it had data for; empty: it looked at nothing, whatever it found."""
    version: str = ""
    database: datetime | None = None
    """When the scanner's database was built."""
    finished: datetime | None = None
    operating_system: str = ""
    """``debian 12``; empty: not recognised."""
    end_of_life: bool | None = None
    """Of the operating system; None: the document does not say."""
    inventory: Inventory | None = None
    """Where the report lists packages too."""
    secrets: frozenset[Secret] = frozenset()
    platforms: tuple[str, ...] = ()
    image: str = ""
    """The reference that was scanned."""
    digests: frozenset[str] = frozenset()
    """Of the image: requested, manifest."""
    image_id: str = ""
    """The digest of the image's config, which survives copies."""
    knows_exploitation: bool = False
    """Whether the scanner's own database has KEV and EPSS."""
    attested_by: str = ""
    """Whose word the report is; empty: our own scanner's."""

    def covers(self, package_class: PackageClass) -> bool:
        """Whether its silence about a class of packages means something."""
        return Looked(package_class.value) in self.looked


def merged_scans(scans: Sequence[Scan]) -> Scan:
    """One scan of several platforms: what counts on one of them counts."""
    first = scans[0]
    if len(scans) == 1:
        return first
    findings = collapsed(f for scan in scans for f in scan.findings.values())
    suppressed = {k: s for scan in scans for k, s in scan.suppressed.items() if k not in findings}
    return replace(
        first,
        scanner=" and ".join(dict.fromkeys(scan.scanner for scan in scans)),
        version=", ".join(dict.fromkeys(scan.version for scan in scans)),
        findings=findings,
        suppressed=suppressed,
        # A class counts as covered only where every platform's scan covers it.
        looked=frozenset.intersection(*(scan.looked for scan in scans)),
        database=_oldest(scan.database for scan in scans),
        finished=_oldest(scan.finished for scan in scans),
        inventory=merged(scan.inventory for scan in scans if scan.inventory),
        secrets=frozenset[Secret]().union(*(scan.secrets for scan in scans)),
        platforms=tuple(sorted({p for scan in scans for p in scan.platforms})),
        digests=frozenset[str]().union(*(scan.digests for scan in scans)),
        image_id=first.image_id if len({scan.image_id for scan in scans}) == 1 else "",
        knows_exploitation=all(scan.knows_exploitation for scan in scans),
        attested_by=" and ".join(dict.fromkeys(s.attested_by for s in scans if s.attested_by)),
        end_of_life=_any_of([scan.end_of_life for scan in scans]),
    )


def rematched(examined: Scan, matched: Scan) -> Scan:
    """What a later match of an image's SBOM says, with what only the image itself could tell."""
    only_in_image = {Looked.SECRET, Looked.LICENCE, Looked.CONFIGURATION}
    return replace(
        matched,
        looked=matched.looked | (examined.looked & only_in_image),
        secrets=examined.secrets,
        operating_system=matched.operating_system or examined.operating_system,
        end_of_life=examined.end_of_life if matched.end_of_life is None else matched.end_of_life,
        inventory=matched.inventory or examined.inventory,
        platforms=examined.platforms,
        image=examined.image,
        digests=examined.digests,
        image_id=examined.image_id,
    )


def _oldest(times: Iterable[datetime | None]) -> datetime | None:
    known = list(times)
    return None if None in known else min((t for t in known if t), default=None)


def _any_of(answers: Sequence[bool | None]) -> bool | None:
    return True if True in answers else None if None in answers else False


def suppressing(scan: Scan, suppressions: Mapping[FindingKey, Suppression]) -> Scan:
    """The scan in which these findings do not count."""
    moved = {key: s for key, s in suppressions.items() if key in scan.findings}
    return replace(
        scan,
        findings={key: f for key, f in scan.findings.items() if key not in moved},
        suppressed={**scan.suppressed, **moved},
    )


@dataclass(frozen=True, slots=True)
class KnownExploited:
    """A row of CISA's catalogue of known exploited vulnerabilities."""

    since: date | None
    ransomware: bool = False


@dataclass(frozen=True, slots=True)
class Exploitation:
    """What is known about exploitation, and how old that knowledge is."""

    kev: Mapping[str, KnownExploited] | None = None
    """By CVE; None: no catalogue was read."""
    kev_date: date | None = None
    epss: Mapping[str, float] | None = None
    """Probability, 0 to 1, by CVE; None: no scores were read."""
    epss_date: date | None = None

    def kev_of(self, finding: Finding) -> KnownExploited | None:
        """The catalogue's row of a finding, by any of its identifiers."""
        for identifier in (finding.vulnerability, *sorted(finding.aliases)):
            if self.kev and identifier in self.kev:
                return self.kev[identifier]
        if finding.exploited_since is not None:
            return KnownExploited(finding.exploited_since)
        return None

    def epss_of(self, finding: Finding) -> float | None:
        """The highest score of a finding's identifiers."""
        names = {finding.vulnerability, *finding.aliases}
        known = [self.epss[name] for name in names if self.epss and name in self.epss]
        return max(known, default=finding.epss)
