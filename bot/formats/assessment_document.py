"""An assessment as JSON: everything that was judged, complete where a body has to be short.

`render_assessment` is what is kept of an evaluation, what the promotion page shows and, indented,
what ``lockkeeper review --json`` prints. Every text is one line without control or invisible
characters, and the document is bounded: what is left out of a list is counted in ``left_out``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec

from bot.domain.assessment import Assessment, Build
from bot.domain.delta import Change, Delta, Fixed, LicenceChange, PackageChange, counts
from bot.domain.errors import IntegrityError
from bot.domain.evidence import Exploitation, Finding, Scan, Severity, Suppression
from bot.domain.packages import Inventory, PackageName
from bot.domain.policy import Check, Reason
from bot.formats import structs
from bot.formats.markdown import plain

DOCUMENT_LIMIT: Final = 8 * 2**20  # bytes of a document
# Rows of a list, from rich to poor; the poorest fits whatever the reports say.
_ROWS: Final = (20_000, 5_000, 1_000, 200)
_REASONS: Final = 500  # of one check
_VALUES: Final = 20  # versions, platforms, aliases of a finding
_PATHS: Final = 5
_NAME: Final = 200  # characters
_SENTENCE: Final = 1_000

R = TypeVar("R")
_Lists = dict[str, list[Any]]
"""The rows of each list, whole."""


class DamagedAssessmentError(IntegrityError):
    """A kept assessment is not what Lockkeeper writes."""

    def __init__(self, defect: str) -> None:
        """Say what is wrong with it."""
        super().__init__(f"the kept assessment cannot be read: {defect}")
        self.defect = defect


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """A leaf of the verdict."""

    result: str
    text: str


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One rule's answer."""

    id: str
    title: str
    result: str
    detail: str
    reasons: list[ReasonRow]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the image was compared with."""

    scanner: str
    image: str


@dataclass(frozen=True, slots=True)
class ScanRow:
    """A scanner's word about one image, without its findings."""

    scanner: str
    version: str
    database: datetime | None
    finished: datetime | None
    operating_system: str
    end_of_life: bool | None
    looked: list[str]
    platforms: list[str]
    image: str
    digests: list[str]
    attested_by: str = ""
    """Whose word the report is; empty: the bot's own scanner's."""


@dataclass(frozen=True, slots=True)
class BuildRow:
    """Where an image was built, as its provenance states."""

    image: str
    builder: str
    """The URI of what built it; empty: it does not say."""
    repository: str
    """``owner/name`` whose run it was; empty: it does not say."""
    run: str
    """The number of the run; empty: it does not say."""
    vouched_by: str
    """Who vouches for the statement; empty: nobody does."""


@dataclass(frozen=True, slots=True)
class PackageRow:
    """A package's name."""

    type: str
    namespace: str
    name: str
    full_name: str


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A vulnerability in a package."""

    vulnerability: str
    package: PackageRow
    severity: str
    versions: list[str]
    fixed_in: list[str]
    fix: str
    """``available``, ``none`` or ``unknown``."""
    aliases: list[str]
    platforms: list[str]
    paths: list[str]
    disclosed: date | None
    fix_since: date | None
    is_exploited: bool | None
    """Listed in KEV; None: no catalogue was read."""
    exploited_since: date | None
    ransomware: bool
    epss: float | None
    image: str = ""
    """Its repository; empty where the report does not say."""
    status: str = "unknown"
    """What its distributor does about it, in Trivy's words."""
    cvss: float | None = None
    lowered_from: str = ""
    """What it was rated before, where that was worse."""
    allowed_before: str = ""
    """By whose word it did not count in the image that runs."""
    newly_disclosed: bool = False
    """Disclosed after the last promotion: not promoting does not remove it."""
    unexplained: bool = False
    """Not reported any more, though nothing says that its package changed."""
    cvss_vector: str = ""
    advisories: list[str] = field(default_factory=list)
    """What names it, perhaps among others."""
    source: str = ""
    """What its package was built from, where the report says so."""
    is_development: bool = False
    """Its package is only there to build or test."""


@dataclass(frozen=True, slots=True)
class FixedRow:
    """A finding that the new image does not have any more."""

    finding: FindingRow
    now: list[str] | None
    """The package's versions now; empty: it left; None: no inventory says."""


@dataclass(frozen=True, slots=True)
class SuppressedRow:
    """A finding that does not count, by whose word and why."""

    finding: FindingRow
    by: str
    reason: str
    expires: date | None


@dataclass(frozen=True, slots=True)
class RaisedRow:
    """A finding that both images have and that is rated worse now."""

    finding: FindingRow
    was: str


@dataclass(frozen=True, slots=True)
class Findings:
    """Every finding in its place."""

    introduced: list[FindingRow]
    fixed: list[FixedRow]
    unchanged: list[FindingRow]
    suppressed: list[SuppressedRow]
    raised: list[RaisedRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PackageChangeRow:
    """A package that differs between the two inventories."""

    package: PackageRow
    change: str
    before: list[str]
    after: list[str]
    licence_before: str
    licence_after: str


@dataclass(frozen=True, slots=True)
class LicenceChangeRow:
    """A package that is there in both, under another licence."""

    package: PackageRow
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class InventoryRow:
    """Where the packages were read."""

    tool: str
    packages: int
    operating_system: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The answer and its numbers."""

    verdict: str
    """``pass``, ``warn``, ``fail`` or ``not_evaluated``."""
    checks: list[CheckRow]
    counts: dict[str, dict[str, int]]
    """Findings by what happened to them and by severity; empty: nothing was scanned."""
    packages: dict[str, int | None]
    """None where there are no two inventories to compare."""
    baseline: Baseline | None


@dataclass(frozen=True, slots=True)
class AssessmentDocument:
    """Everything that was judged; the fields of `Summary` come first."""

    verdict: str
    checks: list[CheckRow]
    counts: dict[str, dict[str, int]]
    packages: dict[str, int | None]
    baseline: Baseline | None
    environment: str
    at: datetime
    blocks: bool
    has_policy: bool
    scan: ScanRow | None
    """None: nothing was scanned."""
    old_scan: ScanRow | None
    inventory: InventoryRow | None
    old_inventory: InventoryRow | None
    findings: Findings | None
    """None: nothing was scanned, which says nothing about the image."""
    package_changes: list[PackageChangeRow] | None
    """None: there are no two inventories to compare."""
    licence_changes: list[LicenceChangeRow] | None
    lost: list[str]
    """Why the new image's inventory cannot be believed."""
    missing: list[str]
    """Evidence that was wanted and is not there."""
    signature: ReasonRow | None
    """None: nobody verified."""
    provenance: ReasonRow | None
    kev_date: date | None
    epss_date: date | None
    left_out: dict[str, int] = field(default_factory=dict)
    """List -> rows that did not fit."""
    images: list[str] = field(default_factory=list)
    """The new images by name; findings name theirs."""
    builds: list[BuildRow] = field(default_factory=list)
    """Of the new images that have provenance."""
    stood_before: int | None = None
    """Whole seconds that this build has stood in the environment before; None: not known."""
    running_since: date | None = None
    """When what runs came; None: not known."""
    notes: list[str] = field(default_factory=list)
    """What hangs on the image and does not count."""


def indented(document: bytes) -> bytes:
    """A document for people who read JSON."""
    return msgspec.json.format(document, indent=2)


def render_assessment(assessment: Assessment) -> bytes:
    """The whole document, at most `DOCUMENT_LIMIT` long."""
    rendered = b""
    lists: _Lists = {}
    for rows in _ROWS:
        rendered = msgspec.json.encode(_document(assessment, _LeftOut(rows, lists)))
        if len(rendered) <= DOCUMENT_LIMIT:
            break
    return rendered


def read_assessment(document: bytes) -> AssessmentDocument:
    """Read what `render_assessment` wrote.

    Raises:
        DamagedAssessmentError: It was written by something else.
    """
    try:
        return structs.decode(document, AssessmentDocument)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedAssessmentError(plain(str(error))) from error


def _summary(assessment: Assessment) -> Summary:
    old = assessment.evidence.old
    return Summary(
        verdict=str(assessment.verdict.result),
        checks=[_check(check) for check in assessment.verdict.checks],
        counts=_counts(assessment.delta),
        packages=_package_counts(assessment),
        baseline=Baseline(_name(old.scanner), _name(old.image)) if old else None,
    )


def _document(assessment: Assessment, left_out: _LeftOut) -> AssessmentDocument:
    summary, evidence = _summary(assessment), assessment.evidence
    difference, found = assessment.delta, assessment.contents
    return AssessmentDocument(
        verdict=summary.verdict,
        checks=summary.checks,
        counts=summary.counts,
        packages=summary.packages,
        baseline=summary.baseline,
        environment=_name(assessment.environment),
        at=assessment.at,
        blocks=assessment.verdict.blocks,
        has_policy=assessment.verdict.has_policy,
        scan=_scan(evidence.new),
        old_scan=_scan(evidence.old),
        inventory=_inventory(found.new if found else None),
        old_inventory=_inventory(found.old if found else None),
        findings=_findings(assessment, difference, left_out) if difference else None,
        package_changes=left_out.of("package_changes", _package_changes(assessment))
        if found and found.old
        else None,
        licence_changes=left_out.of("licence_changes", map(_licence_change, found.licences))
        if found and found.old
        else None,
        lost=_sentences(_lost(assessment, difference)) if difference else [],
        missing=_sentences(evidence.missing),
        signature=_reason(evidence.signature) if evidence.signature else None,
        provenance=_reason(evidence.provenance) if evidence.provenance else None,
        kev_date=evidence.exploitation.kev_date,
        epss_date=evidence.exploitation.epss_date,
        left_out=left_out.counted,
        images=_names(assessment.images),
        builds=[_build(one) for one in evidence.builds[:_VALUES]],
        stood_before=_seconds(evidence.soaked),
        running_since=evidence.last_promotion,
        notes=_sentences(evidence.notes),
    )


def _build(one: Build) -> BuildRow:
    return BuildRow(
        _name(one.image),
        _name(one.builder),
        _name(one.repository),
        _name(one.run),
        _name(one.by),
    )


def _seconds(length: timedelta | None) -> int | None:
    return None if length is None else int(length.total_seconds())


def _lost(assessment: Assessment, difference: Delta) -> list[str]:
    """Why inventories cannot be believed, with the image where there are several."""
    is_alone = len(assessment.pairs) < 2  # noqa: PLR2004 - one is no choice
    return [one.why if is_alone else f"{one.place}: {one.why}" for one in difference.lost]


class _LeftOut:
    """Lists of at most so many rows; what does not fit is counted.

    Each list is made once, however often it has to become shorter.
    """

    def __init__(self, rows: int, lists: _Lists) -> None:
        self._rows, self._lists = rows, lists
        self.counted: dict[str, int] = {}

    def of(self, name: str, rows: Iterable[R]) -> list[R]:
        if name not in self._lists:
            self._lists[name] = list(rows)
        found = self._lists[name]
        if len(found) > self._rows:
            self.counted[name] = len(found) - self._rows
        return found[: self._rows]


# --- the answer ---


def _check(check: Check) -> CheckRow:
    return CheckRow(
        _name(check.id),
        _sentence(check.title),
        str(check.result),
        _sentence(check.detail),
        [_reason(reason) for reason in check.reasons[:_REASONS]],
    )


def _reason(reason: Reason) -> ReasonRow:
    return ReasonRow(str(reason.result), _sentence(reason.text))


def _counts(difference: Delta | None) -> dict[str, dict[str, int]]:
    if difference is None:
        return {}
    found: Mapping[str, Sequence[Finding]] = {
        "introduced": difference.introduced,
        "raised": [one.finding for one in difference.raised],
        "fixed": [one.finding for one in difference.fixed],
        "unchanged": difference.unchanged,
        "suppressed": [one.finding for one in difference.suppressed],
    }
    return {name: _by_severity(findings) for name, findings in found.items()}


def _by_severity(findings: Sequence[Finding]) -> dict[str, int]:
    found = counts(findings)
    return {severity.word: found[severity] for severity in sorted(Severity, reverse=True)}


def _package_counts(assessment: Assessment) -> dict[str, int | None]:
    found = assessment.contents
    names = ("added", "removed", "updated", "downgraded", "licence_changes")
    if found is None or found.old is None:
        return dict.fromkeys(names)
    # Another version that nobody can order is an update here; the body calls it changed.
    updated = found.counts.get(Change.UPDATED, 0) + found.counts.get(Change.CHANGED, 0)
    return {
        "added": found.counts.get(Change.ADDED, 0),
        "removed": found.counts.get(Change.REMOVED, 0),
        "updated": updated,
        "downgraded": found.counts.get(Change.DOWNGRADED, 0),
        "licence_changes": len(found.licences),
    }


# --- findings ---


def _findings(assessment: Assessment, difference: Delta, left_out: _LeftOut) -> Findings:
    row = _FindingRows(assessment.evidence.exploitation)
    return Findings(
        introduced=left_out.of("introduced", map(row, difference.introduced)),
        raised=left_out.of(
            "raised", (RaisedRow(row(one.finding), one.was.word) for one in difference.raised)
        ),
        fixed=left_out.of("fixed", (_fixed(one, row) for one in difference.fixed)),
        unchanged=left_out.of("unchanged", _unchanged(difference, row)),
        suppressed=left_out.of(
            "suppressed", (_suppressed(one, row) for one in difference.suppressed)
        ),
    )


def _unchanged(difference: Delta, row: Callable[[Finding], FindingRow]) -> Iterator[FindingRow]:
    disclosed = difference.newly_disclosed or frozenset()
    for finding in difference.unchanged:
        yield replace(
            row(finding),
            newly_disclosed=finding.key in disclosed,
            unexplained=finding.key in difference.unexplained,
            lowered_from=difference.lowered[finding.key].word
            if finding.key in difference.lowered
            else "",
            allowed_before=_sentence(difference.allowed_before.get(finding.key, "")),
        )


@dataclass(frozen=True, slots=True)
class _FindingRows:
    exploitation: Exploitation

    def __call__(self, finding: Finding) -> FindingRow:
        listed = self.exploitation.kev_of(finding)
        is_known = listed is not None or (
            self.exploitation.kev is not None and not finding.names_no_cve
        )
        return FindingRow(
            vulnerability=_name(finding.vulnerability),
            package=_package(finding.package),
            severity=finding.severity.word,
            versions=_names(finding.versions),
            fixed_in=_names(finding.fixed_in),
            fix=finding.fix.value,
            aliases=_names(sorted(finding.aliases - {finding.vulnerability})),
            platforms=_names([finding.platform] if finding.platform else []),
            image=_name(finding.image),
            status=finding.status.value,
            cvss=finding.cvss.score if finding.cvss else None,
            cvss_vector=_name(finding.cvss.vector) if finding.cvss else "",
            advisories=_names(sorted(finding.advisories)),
            source=_name(finding.source),
            is_development=finding.is_development,
            paths=_names(finding.paths[:_PATHS]),
            disclosed=finding.disclosed,
            fix_since=finding.fix_since,
            is_exploited=listed is not None if is_known else None,
            exploited_since=listed.since if listed and listed.since != date.min else None,
            ransomware=bool(listed and listed.ransomware),
            epss=self.exploitation.epss_of(finding),
        )


def _fixed(fixed: Fixed, row: Callable[[Finding], FindingRow]) -> FixedRow:
    return FixedRow(row(fixed.finding), None if fixed.now is None else _names(fixed.now))


def _suppressed(one: Suppression, row: Callable[[Finding], FindingRow]) -> SuppressedRow:
    return SuppressedRow(row(one.finding), _sentence(one.by), _sentence(one.reason), one.expires)


# --- packages ---


def _package_changes(assessment: Assessment) -> Iterator[PackageChangeRow]:
    found = assessment.contents
    if found is not None:
        for change in found.changes:
            yield _package_change(change, found.old, found.new)


def _package_change(
    change: PackageChange, old: Inventory | None, new: Inventory
) -> PackageChangeRow:
    before, after = (side.licences.get(change.package, "") if side else "" for side in (old, new))
    return PackageChangeRow(
        _package(change.package),
        str(change.change),
        _names(change.before),
        _names(change.after),
        _name(before),
        _name(after),
    )


def _licence_change(change: LicenceChange) -> LicenceChangeRow:
    return LicenceChangeRow(_package(change.package), _name(change.before), _name(change.after))


def _package(name: PackageName) -> PackageRow:
    return PackageRow(
        _name(name.type), _name(name.namespace), _name(name.name), _name(name.full_name)
    )


def _inventory(found: Inventory | None) -> InventoryRow | None:
    if found is None:
        return None
    return InventoryRow(_name(found.tool), len(found.versions), _name(found.operating_system))


def _scan(scan: Scan | None) -> ScanRow | None:
    if scan is None:
        return None
    return ScanRow(
        scanner=_name(scan.scanner),
        version=_name(scan.version),
        database=scan.database,
        finished=scan.finished,
        operating_system=_name(scan.operating_system),
        end_of_life=scan.end_of_life,
        looked=sorted(one.value for one in scan.looked),
        platforms=_names(scan.platforms),
        image=_name(scan.image),
        digests=_names(sorted(scan.digests)),
        attested_by=_name(scan.attested_by),
    )


# --- texts ---


def _name(text: str) -> str:
    return plain(text, _NAME)


def _names(texts: Iterable[str]) -> list[str]:
    return [_name(text) for text in islice(texts, _VALUES)]


def _sentence(text: str) -> str:
    return plain(text, _SENTENCE)


def _sentences(texts: Iterable[str]) -> list[str]:
    return [_sentence(text) for text in islice(texts, _VALUES)]
