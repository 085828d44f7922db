"""What is known about an image: findings of a scanner, its inventory, what is exploited.

A finding is one vulnerability in one package of one image on one platform, at its highest
severity; versions and paths collapse into it. An absence of data is never a finding's absence: a
scan says which classes of packages it is proven to have looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import Enum, IntEnum, StrEnum
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

from bot.domain.errors import RejectedError
from bot.domain.image_configuration import ImageConfiguration
from bot.domain.packages import Inventory, PackageClass, PackageName, Purl, merged

T = TypeVar("T")
_LONGEST_DEFECT: Final = 500  # characters
_CVE: Final = re.compile(r"CVE-[0-9]{4}-[0-9]{1,19}")
_GHSA: Final = re.compile(r"GHSA(?:-[23456789cfghjmpqrvwx]{4}){3}", re.IGNORECASE)
# Databases whose ids name one vulnerability each; any other id may name an advisory about several.
_NAMES_ONE: Final = re.compile(
    r"(?:CVE|GHSA|GO|PYSEC|RUSTSEC|OSV|GMS|MAL|BIT|CGA|TEMP|SNYK|NSWG|EUVD|GSD|HSEC|RSEC|JLSEC)-.+"
    r"|[A-Z0-9]+-CVE-.+",
    re.IGNORECASE,
)

# Ids of what the CVE programme has not numbered, or never does.
_HAS_NO_CVE: Final = re.compile(r"(?:TEMP|MAL)-", re.IGNORECASE)


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


class Status(StrEnum):
    """What the distributor does about it, in Trivy's words (pkg/types/status.go)."""

    FIXED = "fixed"
    AFFECTED = "affected"
    WILL_NOT_FIX = "will_not_fix"
    FIX_DEFERRED = "fix_deferred"
    END_OF_LIFE = "end_of_life"
    UNDER_INVESTIGATION = "under_investigation"
    NOT_AFFECTED = "not_affected"
    UNKNOWN = "unknown"
    """The document does not say."""

    @classmethod
    def of(cls, text: str) -> Status:
        """By a scanner's word."""
        word = text.strip().lower().replace("-", "_")
        word = {"wont_fix": "will_not_fix", "not_fixed": "affected"}.get(word, word)
        return _STATUSES.get(word, cls.UNKNOWN)


_STATUSES: Final = {status.value: status for status in Status}


class FindingKey(NamedTuple):
    """What makes two findings the same."""

    vulnerability: str
    package: PackageName
    image: str = ""
    """Its repository; empty where nobody says, or there is one image alone."""
    platform: str = ""
    """``linux/arm64``; empty where nobody says."""


@dataclass(frozen=True, slots=True)
class Cvss:
    """A score of the Common Vulnerability Scoring System, and what it was computed from."""

    score: float
    vector: str = ""


class Sighting(NamedTuple):
    """What a document says of one installation of a package that has the vulnerability."""

    versions: tuple[str, ...]
    installed: tuple[Purl, ...]
    fixed_in: tuple[str, ...]
    fix: Fix
    status: Status
    paths: tuple[str, ...]
    is_development: bool


class Finding(NamedTuple):
    """A vulnerability in a package of an image.

    A tuple because there are thousands: a frozen dataclass of as many fields takes four times as
    long to make.
    """

    key: FindingKey
    severity: Severity
    versions: tuple[str, ...] = ()
    """The installed ones, sorted."""
    fixed_in: tuple[str, ...] = ()
    fix: Fix = Fix.UNKNOWN
    aliases: frozenset[str] = frozenset()
    """Every identifier of this very vulnerability, the key's included."""
    advisories: frozenset[str] = frozenset()
    """What names it, perhaps among others: fixes of a distributor."""
    installed: tuple[Purl, ...] = ()
    """Each installation, where the document names them; sorted."""
    status: Status = Status.UNKNOWN
    cvss: Cvss | None = None
    """The highest score that the document gives."""
    nvd_severity: Severity | None = None
    """What the National Vulnerability Database says, where the document has it."""
    disclosed: date | None = None
    fix_since: date | None = None
    """When a fixed version appeared, where the document says."""
    exploited_since: date | None = None
    """When it entered the KEV catalogue, by the scanner's own database."""
    epss: float | None = None
    """Probability of exploitation, 0 to 1, by the scanner's own database."""
    ransomware: bool = False
    """Used in ransomware campaigns, by the scanner's own database."""
    paths: tuple[str, ...] = ()
    source: str = ""
    """What its package was built from, where the document says so."""
    is_development: bool = False
    """Its package is only there to build or test, by the word of the document."""
    vectors: frozenset[str] = frozenset()
    """Of every CVSS score that the document gives, the highest one's included."""
    sightings: frozenset[Sighting] = frozenset()
    """What it was united from; empty: it is one sighting itself."""

    @property
    def vulnerability(self) -> str:
        """Its identifier: a CVE where it has one."""
        return self.key.vulnerability

    @property
    def package(self) -> PackageName:
        """Where it is."""
        return self.key.package

    @property
    def image(self) -> str:
        """The repository of the image that it is in; empty where nobody says."""
        return self.key.image

    @property
    def platform(self) -> str:
        """The platform that it is on; empty where nobody says."""
        return self.key.platform

    @property
    def each(self) -> tuple[Finding, ...]:
        """It, once for each installation that differs: what holds of one is not said of another."""
        if len(self.sightings) < 2:  # noqa: PLR2004 - as of nearly all
            return (self,)
        ordered = sorted(self.sightings, key=lambda one: (one.versions, one.paths, one.status))
        return tuple(self._replace(**one._asdict(), sightings=frozenset()) for one in ordered)

    @property
    def names_no_cve(self) -> bool:
        """Nothing says by which CVE to look it up, though it may have one.

        Debian's TEMP ids stand for what has none yet, and MAL ids for what never gets one.
        """
        names = {self.vulnerability, *self.aliases}
        return not any(map(is_cve, names)) and _HAS_NO_CVE.match(self.vulnerability) is None

    @property
    def installations(self) -> tuple[Purl, ...]:
        """Everything that has it, one at least; what has no package URL is one as well."""
        if self.sightings:
            return tuple(sorted({purl for one in self.each for purl in one.installations}))
        named = {purl.version for purl in self.installed}
        rest = [version for version in self.versions if version not in named]
        found = (*self.installed, *(Purl(self.package, version) for version in rest))
        return found or (Purl(self.package, ""),)


class Identified(NamedTuple):
    """One vulnerability of an entry, by all its names."""

    id: str
    """A CVE where it has one."""
    aliases: frozenset[str]
    advisories: frozenset[str]


def is_cve(identifier: str) -> bool:
    """Whether an id is of the CVE programme."""
    return _CVE.fullmatch(identifier.strip().upper()) is not None


def identified(own: str, others: Iterable[str] = ()) -> tuple[Identified, ...]:
    """The vulnerabilities of a scanner's entry: several where it is an advisory about several CVEs.

    An alias is the same vulnerability; an advisory contains some, and its name is no name of
    each. Ids that may be either count as advisories, unless they are all that there is.
    """
    others = tuple(others)
    if not others and is_cve(own):
        return _a_cve(own.strip().upper())
    names = list(dict.fromkeys(plain_id(name) for name in (own, *others) if name.strip()))
    own = plain_id(own)
    cves = [own] if is_cve(own) else [name for name in names if is_cve(name)]
    rest = [name for name in names if not is_cve(name)]
    single = frozenset(name for name in rest if _NAMES_ONE.fullmatch(name))
    several = frozenset(rest) - single
    if not cves:
        return (Identified(own, single | {own}, several - {own}),)
    if len(cves) == 1:
        return (Identified(cves[0], single | {cves[0]}, several),)
    return tuple(Identified(cve, frozenset({cve}), frozenset(rest)) for cve in cves)


@lru_cache(8192)
def _a_cve(cve: str) -> tuple[Identified]:
    """One that has no other name: most are in several packages, and in both images."""
    return (Identified(cve, frozenset({cve}), frozenset()),)


def plain_id(name: str) -> str:
    """An id in the one spelling that it has here, however somebody wrote it."""
    name = name.strip()
    return name.upper() if is_cve(name) else _plain_ghsa(name)


def _plain_ghsa(name: str) -> str:
    return f"GHSA{name[4:].lower()}" if _GHSA.fullmatch(name) else name


def collapsed(sightings: Iterable[Finding]) -> dict[FindingKey, Finding]:
    """One finding per pair; versions, fixes, paths and platforms are united."""
    found: dict[FindingKey, Finding] = {}
    for sighting in sightings:
        known = found.get(sighting.key)
        found[sighting.key] = sighting if known is None else _united(known, sighting)
    return found


def _united(one: Finding, other: Finding) -> Finding:
    return one._replace(
        severity=max(one.severity, other.severity),
        versions=_union(one.versions, other.versions),
        installed=one.installed
        if one.installed == other.installed
        else tuple(sorted({*one.installed, *other.installed})),
        status=_status(one, other),
        cvss=_known(_higher, one.cvss, other.cvss),
        advisories=one.advisories | other.advisories,
        ransomware=one.ransomware or other.ransomware,
        source=one.source or other.source,
        is_development=one.is_development and other.is_development,
        fixed_in=_union(one.fixed_in, other.fixed_in),
        fix=min(one.fix, other.fix, key=[Fix.AVAILABLE, Fix.NONE, Fix.UNKNOWN].index),
        aliases=one.aliases | other.aliases,
        nvd_severity=_known(max, one.nvd_severity, other.nvd_severity),
        disclosed=_known(min, one.disclosed, other.disclosed),
        fix_since=_known(min, one.fix_since, other.fix_since),
        exploited_since=_known(min, one.exploited_since, other.exploited_since),
        epss=_known(max, one.epss, other.epss),
        paths=_union(one.paths, other.paths),
        vectors=one.vectors | other.vectors,
        sightings=_sightings(one) | _sightings(other),
    )


def _sightings(finding: Finding) -> frozenset[Sighting]:
    """What a finding was united from, or itself."""
    return finding.sightings or frozenset(
        {
            Sighting(
                finding.versions,
                finding.installed,
                finding.fixed_in,
                finding.fix,
                finding.status,
                finding.paths,
                finding.is_development,
            )
        }
    )


def _status(one: Finding, other: Finding) -> Status:
    """Of two words on the same, the one that is known; of two known ones, what is still open."""
    known = [one.status, other.status]
    if Status.UNKNOWN in known:
        known.remove(Status.UNKNOWN)
    return next((status for status in known if status is not Status.FIXED), known[0])


def _higher(one: Cvss, other: Cvss) -> Cvss:
    return max(one, other, key=lambda cvss: (cvss.score, cvss.vector))


def _union(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return one if one == other else tuple(sorted({*one, *other}))


def _known(choose: Callable[[T, T], T], one: T | None, other: T | None) -> T | None:
    if one is None or other is None:
        return other if one is None else one
    return choose(one, other)


def told_apart(scans: Iterable[Scan | None]) -> list[Scan | None]:
    """The scans without the aliases that several vulnerabilities claim.

    What names two CVEs anywhere contains both and is neither: an advisory, whatever it is called.
    """
    every = list(scans)
    owners: dict[str, set[str]] = {}
    for scan in every:
        for finding in everything(scan) if scan is not None else ():
            if len(finding.aliases) < 2:  # noqa: PLR2004 - its own name alone, as of nearly all
                continue
            for name in finding.aliases - {finding.vulnerability}:
                owners.setdefault(name, set()).add(finding.vulnerability)
    shared = frozenset(name for name, ids in owners.items() if len(ids) > 1)
    return [_without_aliases(scan, shared) if scan is not None else None for scan in every]


def everything(scan: Scan) -> Iterator[Finding]:
    """What a scanner found, whether it counts or not."""
    yield from scan.findings.values()
    yield from (one.finding for one in scan.suppressed.values())


def _without_aliases(scan: Scan, shared: frozenset[str]) -> Scan:
    def told(finding: Finding) -> Finding:
        several = (finding.aliases & shared) - {finding.vulnerability}
        if not several:
            return finding
        return finding._replace(
            aliases=finding.aliases - several, advisories=finding.advisories | several
        )

    if not shared:
        return scan
    return replace(
        scan,
        findings={key: told(one) for key, one in scan.findings.items()},
        suppressed={
            key: replace(one, finding=told(one.finding)) for key, one in scan.suppressed.items()
        },
        parts=tuple(_without_aliases(part, shared) for part in scan.parts),
    )


CLASS_WORDS: Final = {
    PackageClass.OS: "operating system packages",
    PackageClass.LIBRARY: "libraries",
}


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
    number: int = 1
    """Which one of this rule in this file: lines move, and a second one is new."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """A finding that does not count, by whose word and why."""

    finding: Finding
    by: str
    """``VEX not_affected``, ``exception SEC-812`` ..."""
    reason: str
    expires: date | None = None
    is_of_image: bool = False
    """It says that this image has it not, which says nothing of another one: VEX."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A scanner's word about one image."""

    scanner: str
    """``Trivy``, ``grype`` or the tool that wrote the CycloneDX document."""
    findings: Mapping[FindingKey, Finding]
    suppressed: Mapping[FindingKey, Suppression] = field(default_factory=dict)
    """Those that the scanner itself suppressed and that count nowhere else."""
    looked: frozenset[Looked] = frozenset()
    """What the report shows that it had data for; empty: nothing, whatever it found."""
    assumed: frozenset[Looked] = frozenset()
    """What it is taken to have looked at among these, because nothing shows that it did not."""
    unlooked: Mapping[Looked, str] = field(default_factory=dict)
    """Why it says nothing about the others, where the report shows why."""
    limits: tuple[str, ...] = ()
    """What it was told to leave out, one sentence each: its silence means less."""
    lists_by_sbom: bool = False
    """Whether an SBOM beside it proves what it looked at: the report itself lists no packages."""
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
    places: frozenset[str] = frozenset()
    """Repositories that this very image is promoted through, where that is known."""
    digests: frozenset[str] = frozenset()
    """Of the image: requested, manifest."""
    image_id: str = ""
    """The digest of the image's config, which survives copies."""
    knows_exploitation: bool = False
    """Whether the scanner's own database has KEV and EPSS."""
    attested_by: str = ""
    """Whose word the report is; empty: our own scanner's."""
    layers: frozenset[str] = frozenset()
    """Of the image; empty where the document does not say."""
    configuration: ImageConfiguration | None = None
    """How the image runs; None where the document does not say."""
    parts: tuple[Scan, ...] = ()
    """The single scans that this one sums up; empty: it is one itself."""

    @property
    def each(self) -> tuple[Scan, ...]:
        """The scans of one image on one platform each."""
        return self.parts or (self,)

    @property
    def repository(self) -> str:
        """The image without its tag and digest."""
        return repository_of(self.image)

    @property
    def platform(self) -> str:
        """Of a single scan."""
        return self.platforms[0] if len(self.platforms) == 1 else ""

    @property
    def place(self) -> str:
        """Which image on which platform, for people."""
        return f"{self.repository or 'the image'} ({self.platform})".removesuffix(" ()")

    def covers(self, package_class: PackageClass) -> bool:
        """Whether its silence about a class of packages means something."""
        return Looked(package_class.value) in self.looked


def repository_of(image: str) -> str:
    """A reference without its tag and digest."""
    name = image.partition("@")[0]
    path, colon, tag = name.rpartition(":")
    return path if colon and "/" not in tag else name


def with_inventory(scan: Scan, listed: Inventory | None) -> Scan:
    """A scan with the SBOM of the same image, which may show what the scanner looked at.

    An SBOM lists what a report is silent about, so that the report's silence means nothing.
    """
    if listed is None:
        return scan
    numbers = {one: listed.count(one) for one in PackageClass}
    shown = {Looked(one.value) for one, number in numbers.items() if number}
    looked, unlooked = scan.looked, dict(scan.unlooked)
    if scan.lists_by_sbom:
        looked |= {one for one in shown if one not in unlooked}
        if Looked.OS in looked:
            looked |= {Looked.LIBRARY}
    own = scan.inventory
    for one, number in numbers.items():
        if number and not scan.lists_by_sbom and own is not None and not own.count(one):
            words = f"the SBOM lists {number} {CLASS_WORDS[one]}, the scan's report none"
            unlooked.setdefault(Looked(one.value), words)
            looked -= {Looked(one.value)}
    return replace(scan, inventory=listed, looked=looked, unlooked=unlooked)


def bound(scans: Sequence[Scan], listed: Iterable[tuple[str, Inventory]]) -> list[Scan]:
    """The single scans, each with the SBOM that describes its image; SBOMs come with their file.

    Raises:
        UnreadableEvidenceError: an SBOM describes another image, or nobody can say which one.
    """
    found: dict[int, list[Inventory]] = {}
    for file, sbom in listed:
        places = [n for n, scan in enumerate(scans) if _describes(sbom, scan)]
        if not places:
            known = ", ".join(sorted({d for scan in scans for d in _names_of(scan)}))
            raise UnreadableEvidenceError(
                file,
                f"it describes another image: {', '.join(sorted(sbom.subjects))}; scanned was"
                f" {known} (scan and list the digest of a platform, not of an index)",
            )
        if len(places) > 1 and not sbom.subjects:
            raise UnreadableEvidenceError(
                file, "it does not say which image it describes, and there are several"
            )
        for place in places:
            found.setdefault(place, []).append(sbom)
    return [with_inventory(scan, merged(found.get(n, []))) for n, scan in enumerate(scans)]


def _names_of(scan: Scan) -> frozenset[str]:
    return frozenset({*scan.digests, scan.image_id} - {""})


def _describes(sbom: Inventory, scan: Scan) -> bool:
    """Whether they are of one image; one of which nobody says its digest may be any."""
    names = _names_of(scan)
    return not sbom.subjects or not names or bool(sbom.subjects & names)


def merged_scans(scans: Sequence[Scan]) -> Scan:
    """The sum of scans of several images and platforms; each finding stays where it is.

    Raises:
        RejectedError: two of them are about different images of one name on one platform.
    """
    singles: dict[tuple[str, str], Scan] = {}
    for scan in scans:
        for one in scan.each:
            place = (one.repository, one.platform)
            known = singles.get(place)
            singles[place] = placed(one, *place) if known is None else _of_one_image(known, one)
    parts = tuple(singles.values())
    return parts[0] if len(parts) == 1 else _summed(parts)


def named(scan: Scan, image: str, places: frozenset[str] = frozenset()) -> Scan:
    """All platforms of one image, called as the promotion calls it, wherever it was scanned."""
    return merged_scans([replace(one, image=image, places=places) for one in scan.each])


def _of_one_image(known: Scan, other: Scan) -> Scan:
    """Two reports on the same: what one of them looked at was looked at."""
    ids = {known.image_id, other.image_id} - {""}
    digests = (known.digests, other.digests)
    if len(ids) > 1 or (not ids and all(digests) and not digests[0] & digests[1]):
        raise RejectedError(
            f"two reports are about different images, both called {known.place}: "
            "they cannot be told apart; give each image one report for each platform"
        )
    other = placed(other, known.repository, known.platform)
    findings = collapsed([*known.findings.values(), *other.findings.values()])
    suppressed = {**known.suppressed, **other.suppressed}
    return replace(
        _summed((known, other)),
        parts=(),
        findings=findings,
        suppressed={key: one for key, one in suppressed.items() if key not in findings},
        looked=known.looked | other.looked,
        assumed=(known.assumed | other.assumed)
        - ((known.looked - known.assumed) | (other.looked - other.assumed)),
        unlooked={
            one: why
            for one, why in {**known.unlooked, **other.unlooked}.items()
            if one not in known.looked | other.looked
        },
        image_id=next(iter(ids), ""),
        operating_system=known.operating_system or other.operating_system,
        end_of_life=known.end_of_life if other.end_of_life is None else other.end_of_life,
        layers=known.layers | other.layers,
        configuration=known.configuration or other.configuration,
    )


def _summed(scans: Sequence[Scan]) -> Scan:
    first = scans[0]
    images = dict.fromkeys(scan.repository for scan in scans)
    return replace(
        first,
        parts=tuple(scans),
        scanner=" and ".join(dict.fromkeys(scan.scanner for scan in scans)),
        version=", ".join(dict.fromkeys(scan.version for scan in scans)),
        findings={key: one for scan in scans for key, one in scan.findings.items()},
        suppressed={key: one for scan in scans for key, one in scan.suppressed.items()},
        # A class counts as covered only where every single scan covers it.
        looked=frozenset.intersection(*(scan.looked for scan in scans)),
        assumed=frozenset[Looked]().union(*(scan.assumed for scan in scans)),
        unlooked={one: why for scan in scans for one, why in scan.unlooked.items()},
        limits=tuple(dict.fromkeys(limit for scan in scans for limit in scan.limits)),
        database=_oldest(scan.database for scan in scans),
        finished=_oldest(scan.finished for scan in scans),
        inventory=merged(scan.inventory for scan in scans if scan.inventory),
        secrets=frozenset[Secret]().union(*(scan.secrets for scan in scans)),
        platforms=tuple(sorted({p for scan in scans for p in scan.platforms})),
        image=", ".join(images) if len(images) > 1 else first.image,
        digests=frozenset[str]().union(*(scan.digests for scan in scans)),
        image_id="",
        operating_system=", ".join(
            dict.fromkeys(scan.operating_system for scan in scans if scan.operating_system)
        ),
        # A report without findings knows of nothing that is exploited, and nobody asks it.
        knows_exploitation=all(
            scan.knows_exploitation for scan in [s for s in scans if s.findings] or scans
        ),
        attested_by=" and ".join(dict.fromkeys(s.attested_by for s in scans if s.attested_by)),
        end_of_life=_any_of([scan.end_of_life for scan in scans]),
        configuration=None,
        layers=frozenset(),
    )


def placed(scan: Scan, image: str, platform: str) -> Scan:
    """The single scan whose findings are in this image on this platform."""

    def there(finding: Finding) -> Finding:
        vulnerability, package, *_ = finding.key
        return finding._replace(key=FindingKey(vulnerability, package, image, platform))

    if all(key[2:] == (image, platform) for key in (*scan.findings, *scan.suppressed)):
        return scan
    return replace(
        scan,
        findings={one.key: one for one in map(there, scan.findings.values())},
        suppressed={
            one.key: replace(suppression, finding=one)
            for suppression in scan.suppressed.values()
            for one in [there(suppression.finding)]
        },
    )


def rematched(examined: Scan, matched: Scan) -> Scan:
    """What a later match of an image's SBOM says, with what only the image itself could tell."""
    only_in_image = {Looked.SECRET, Looked.LICENCE, Looked.CONFIGURATION}
    return replace(
        matched,
        looked=matched.looked | (examined.looked & only_in_image),
        configuration=examined.configuration or matched.configuration,
        layers=examined.layers or matched.layers,
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
        """What the catalogue or the scanner's own copy of it says, by any of its identifiers.

        Each may be older than the other: what one of them knows is known.
        """
        kev, own = self.kev or {}, finding.vulnerability
        rows = [kev[own]] if own in kev else []
        if len(finding.aliases) > 1:  # of nearly all their own name alone
            rows += [kev[name] for name in finding.aliases if name != own and name in kev]
        if finding.exploited_since is not None:
            rows.append(KnownExploited(finding.exploited_since, finding.ransomware))
        if not rows:
            return None
        since = min((row.since for row in rows if row.since is not None), default=None)
        return KnownExploited(since, any(row.ransomware for row in rows))

    def epss_of(self, finding: Finding) -> float | None:
        """The highest score of a finding's identifiers."""
        names = {finding.vulnerability, *finding.aliases}
        known = [self.epss[name] for name in names if self.epss and name in self.epss]
        return max(known, default=finding.epss)
