"""Evidence about images in, a verdict with its reasons out; pure, and time is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final

from bot.domain.delta import Contents, Delta, Lost, Pair, contents, contents_of, delta, paired
from bot.domain.evidence import (
    Exploitation,
    Finding,
    FindingKey,
    Looked,
    Scan,
    Severity,
    merged_scans,
    suppressing,
    told_apart,
    with_inventory,
)
from bot.domain.judging import BaseFact, Facts, is_about_an_image, reasons_of
from bot.domain.packages import Inventory, PackageClass
from bot.domain.policy import (
    NO_POLICY,
    Accepted,
    AnyRule,
    Check,
    EnvironmentPolicy,
    Reason,
    Result,
    RiskException,
    Unevaluated,
    Verdict,
    VulnerabilityRule,
    age,
    verdict,
    words,
    worst,
)
from bot.domain.risk_exceptions import ExceptionsInForce, named
from bot.domain.vex import VexAnswer, VexStatement, unused, vex_answer

INCOMPLETE: Final = "the scan is incomplete"
"""What a rule says that only lacks the scan."""
_CLOCKS_DIFFER: Final = timedelta(days=1)
"""So far ahead a report may be: clocks and time zones differ, and ``--at`` may name a day alone."""
SHOWN_REASONS: Final = 3
"""Of a check, in its one line."""
_ACCEPTED_BY_DEFAULT: Final = frozenset({"not_affected", "fixed"})


@dataclass(frozen=True, slots=True)
class Build:
    """Where an image was built, as its provenance states."""

    image: str
    builder: str
    """The URI of what built it; empty: it does not say. Text from outside."""
    repository: str
    """``owner/name`` whose run it was; empty: it does not say. Text from outside."""
    run: str
    """The number of the run of GitHub Actions; empty: it does not say."""
    by: str
    """Who vouches for the statement; empty: nobody does, it is a claim."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was read about the new images and the ones that run."""

    new: Scan | None
    """None: nothing was scanned."""
    old: Scan | None = None
    new_inventory: Inventory | None = None
    """The SBOM, where there is one image on one platform; several bring theirs in their scans."""
    old_inventory: Inventory | None = None
    exploitation: Exploitation = field(default_factory=Exploitation)
    vex: tuple[VexStatement, ...] = ()
    """Of accepted authors only; who is accepted was decided before."""
    exceptions: tuple[RiskException, ...] = ()
    application: str = ""
    """Empty: nobody said."""
    last_promotion: date | None = None
    first_seen: Mapping[FindingKey, date] = field(default_factory=dict)
    bases: tuple[BaseFact, ...] = ()
    """What the new images were built on, where that is known."""
    soaked: timedelta | None = None
    """How long the youngest of the new images has stood in the environment before."""
    builds: tuple[Build, ...] = ()
    """Of the new images that have provenance."""
    is_whole: bool = False
    """Whether the new scan has every image and platform that there will be."""
    judges_seals: bool = True
    """Whether anybody is here who can verify signatures and provenance."""
    signature: Reason | None = None
    """What verification said; None: nobody verified."""
    provenance: Reason | None = None
    notes: tuple[str, ...] = ()
    """What hangs on the image and does not count, one sentence each."""
    missing: tuple[str, ...] = ()
    """Why evidence that was wanted is not there, one sentence each."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a reviewer is told."""

    environment: str
    verdict: Verdict
    evidence: Evidence
    delta: Delta | None
    """None: nothing was scanned."""
    contents: Contents | None
    """None: there is no inventory."""
    at: datetime
    pairs: tuple[Pair, ...] = ()
    """Each image on each platform, as judged."""

    @property
    def images(self) -> tuple[str, ...]:
        """The new images by name; what has no name is not among them."""
        new = self.evidence.new
        found = [one.repository for one in new.each] if new is not None else []
        return tuple(dict.fromkeys(name for name in found if name))


def assess(
    environment: str, evidence: Evidence, policy: EnvironmentPolicy | None, at: datetime
) -> Assessment:
    """Judge the new images; without a policy nothing gates, and everything is still shown."""
    rules = policy or EnvironmentPolicy(environment, vex_statuses=_ACCEPTED_BY_DEFAULT)
    scans = told_apart((evidence.new, evidence.old))
    new = _Side.judged(scans[0], evidence.new_inventory, environment, evidence, rules, at)
    old = _Side.judged(scans[1], evidence.old_inventory, environment, evidence, rules, at)
    difference = (
        delta(
            new.scan,
            old.scan,
            last_promotion=evidence.last_promotion,
            is_whole=evidence.is_whole,
        )
        if new.scan
        else None
    )
    pairs = paired(new.scan, old.scan) if new.scan else ()
    change = contents_of(pairs)
    listed = evidence.new_inventory or (new.scan.inventory if new.scan else None)
    if len(pairs) < 2 and old.scan is None and listed is not None:  # noqa: PLR2004 - one image
        change = contents(listed, evidence.old_inventory)
    decided = NO_POLICY
    if policy is not None:
        facts = Facts(
            new=new.scan,
            old=old.scan,
            pairs=pairs,
            delta=difference,
            contents=change,
            exploitation=evidence.exploitation,
            first_seen=evidence.first_seen,
            application=evidence.application,
            bases=evidence.bases,
            soaked=evidence.soaked,
            lapsed=new.lapsed,
            old_inventory=evidence.old_inventory if len(pairs) == 1 else None,
            excepted=new.excepted,
            max_feed_age=rules.max_feed_age,
            at=at,
        )
        decided = _judge(policy, evidence, facts, new)
    return Assessment(environment, decided, evidence, difference, change, at, pairs)


@dataclass(frozen=True, slots=True)
class _Side:
    """One side without what VEX and exceptions take out of it."""

    scan: Scan | None
    excepted: ExceptionsInForce
    lapsed: Mapping[FindingKey, str] = field(default_factory=dict)
    answers: tuple[VexAnswer, ...] = ()

    @classmethod
    def judged(  # each is a fact that decides what counts
        cls,
        scan: Scan | None,
        inventory: Inventory | None,
        environment: str,
        evidence: Evidence,
        policy: EnvironmentPolicy,
        at: datetime,
    ) -> _Side:
        excepted = ExceptionsInForce(
            environment,
            evidence.exceptions,
            evidence.exploitation,
            at,
            application=evidence.application,
            ceiling=policy.max_exception,
            needs_owner=policy.needs_owner,
        )
        if scan is None:
            return cls(None, excepted)
        parts = merged_scans([scan]).each
        if len(parts) == 1:
            parts = (with_inventory(parts[0], inventory),)
        lapsed: dict[FindingKey, str] = {}
        answers: list[VexAnswer] = []
        judged: list[Scan] = []
        for part in parts:
            rated = _rated(part, policy)
            answer = vex_answer(evidence.vex, rated, policy.vex_statuses)
            answers.append(answer)
            rated = suppressing(rated, answer.suppressed)
            held = excepted.held(rated)
            lapsed.update(held.lapsed)
            judged.append(suppressing(rated, held.suppressed))
        return cls(merged_scans(judged), excepted, lapsed, tuple(answers))


def _rated(scan: Scan, policy: EnvironmentPolicy) -> Scan:
    """The scan with the ratings that the policy takes: one word for rules, numbers and rows."""
    by_scanner = policy.severity_from[:1] == ("vendor",)

    def rated(finding: Finding) -> Finding:
        if by_scanner and finding.severity:
            return finding
        severity = _severity(finding, policy.severity_from)
        if severity is Severity.UNKNOWN and policy.unknown_severity is not None:
            severity = policy.unknown_severity
        return finding if severity is finding.severity else finding._replace(severity=severity)

    return replace(
        scan,
        findings={key: rated(one) for key, one in scan.findings.items()},
        suppressed={
            key: replace(one, finding=rated(one.finding)) for key, one in scan.suppressed.items()
        },
    )


def _severity(finding: Finding, order: Sequence[str]) -> Severity:
    ratings = {"vendor": finding.severity, "nvd": finding.nvd_severity}
    rated = (ratings.get(source) for source in order)
    return next((rating for rating in rated if rating), Severity.UNKNOWN)


def _judge(policy: EnvironmentPolicy, evidence: Evidence, facts: Facts, side: _Side) -> Verdict:
    scan = _scan_check(policy, evidence, facts)
    checks = [scan, *_age_checks(policy, facts)]
    checks += [_rule_check(rule, facts, scan) for rule in policy.rules if _is_asked(rule, facts)]
    if facts.new is not None:
        exceptions = side.excepted.check()
        checks += [exceptions] if exceptions else []
        idle = unused(evidence.vex, side.answers)
        checks += [_vex_check(idle, evidence.vex)] if evidence.vex else []
    checks += _required_checks(policy, evidence, facts)
    return verdict(checks, blocks_unevaluated=policy.blocks_unevaluated)


def _vex_check(idle: Sequence[VexStatement], every: Sequence[VexStatement]) -> Check:
    """VEX that is invalid or about nothing suppresses nothing; its authors have to hear of it."""
    flawed = [one for one in every if one.flaw]
    used = len(every) - len(idle)
    parts = []
    if flawed:
        shown = _first_few([f"{one.label}: {one.flaw}" for one in flawed])
        words_ = (
            "1 statement is invalid and suppresses"
            if len(flawed) == 1
            else (f"{len(flawed)} statements are invalid and suppress")
        )
        parts.append(f"{words_} nothing: {shown}")
    if idle:
        shown = _first_few([one.label for one in idle])
        parts.append(f"{len(idle)} statements match nothing in this image: {shown}")
    detail = f"{used} of {len(every)} statements are about something in this image"
    reasons = [Reason(Result.WARN, f"{one.label}: {one.flaw}") for one in flawed]
    reasons += [Reason(Result.PASS, f"{one.label}: matches nothing") for one in idle]
    result = Result.WARN if flawed else Result.PASS
    title = "VEX is valid and about this image"
    return Check("vex", title, result, ". ".join(parts) or detail, tuple(reasons))


def _first_few(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - SHOWN_REASONS} more" if len(texts) > SHOWN_REASONS else ""
    return "; ".join(texts[:SHOWN_REASONS]) + more


# --- what was looked at ---


def _scan_check(policy: EnvironmentPolicy, evidence: Evidence, facts: Facts) -> Check:
    title = "Scan covers what it must"
    new, old = facts.new, facts.old
    if new is None or facts.delta is None:
        missing = "; ".join(evidence.missing) or "the image was not scanned"
        return Check("scan", title, Result.NOT_EVALUATED, missing)
    reasons = [Reason(Result.NOT_EVALUATED, text) for text in evidence.missing]
    lost = {(one.image, one.platform, one.package_class) for one in facts.delta.lost}
    reasons += [_lost_reason(one, facts) for one in facts.delta.lost]
    for part in new.each:
        reasons += _gaps(part, policy, facts, lost, is_alone=len(new.each) == 1)
    if old is not None:
        reasons += _comparability(new, old)
        reasons += [Reason(Result.WARN, text) for text in facts.delta.unpaired]
        way_out = "give its report, or leave out the old one if it is not deployed any more"
        reasons += [
            Reason(Result.NOT_EVALUATED, f"{text}; {way_out}") for text in facts.delta.unlooked
        ]
    result = worst([Result.PASS, *(reason.result for reason in reasons)])
    covered = sorted(found.value for found in new.looked)
    deciding = [reason for reason in reasons if reason.result is result]
    detail = _joined(deciding) or f"{new.scanner} {new.version}: {', '.join(covered)}".strip()
    return Check("scan", title, result, detail, tuple(reasons))


def _lost_reason(lost: Lost, facts: Facts) -> Reason:
    accepted = facts.excepted.accepting(Accepted.LOST, str(lost.package_class), image=lost.image)
    text = f"{lost.place}: {lost.why}" if len(facts.pairs) > 1 else lost.why
    if accepted is not None:
        return Reason(Result.WARN, f"{text}; accepted by exception {accepted.origin}")
    remedy = f"if they are gone for good, write an exception `lost: {lost.package_class}`"
    return Reason(Result.NOT_EVALUATED, f"{text}; {remedy}")


def _gaps(
    part: Scan,
    policy: EnvironmentPolicy,
    facts: Facts,
    lost: set[tuple[str, str, PackageClass]],
    *,
    is_alone: bool,
) -> Iterable[Reason]:
    """Why a report says nothing about what it should say something about."""
    place = "" if is_alone else f"{part.place}: "
    for package_class in sorted(policy.classes):
        if part.covers(package_class):
            continue
        is_said = (part.repository, part.platform, package_class) in lost
        if is_said:
            continue
        accepted = facts.excepted.accepting(
            Accepted.LOST, str(package_class), image=part.repository
        )
        why = _uncovered(part, package_class)
        if accepted is not None:
            yield Reason(Result.WARN, f"{place}{why}; accepted by exception {accepted.origin}")
        else:
            yield Reason(Result.NOT_EVALUATED, f"{place}{why}")
    if not policy.classes and not any(part.covers(one) for one in PackageClass):
        yield Reason(Result.NOT_EVALUATED, f"{place}the report shows that it looked at no packages")
    for limit in part.limits:
        yield Reason(Result.NOT_EVALUATED, f"{place}{limit}")


def _uncovered(part: Scan, package_class: PackageClass) -> str:
    why = part.unlooked.get(Looked(package_class.value))
    if why:
        return why
    thing = "no operating system packages" if package_class is PackageClass.OS else "no libraries"
    return f"the report covers {thing}"


def _comparability(new: Scan, old: Scan) -> Iterable[Reason]:
    """Severities and ids differ between scanners (aquasecurity/trivy#3020): never compare them."""
    if new.scanner != old.scanner:
        text = f"the images were scanned by different scanners: {new.scanner}, {old.scanner}"
        yield Reason(Result.NOT_EVALUATED, text)
    elif new.version and old.version and new.version != old.version:
        text = f"scanned by different versions of {new.scanner}: {new.version}, {old.version}"
        yield Reason(Result.WARN, text)
    if new.platforms and old.platforms and new.platforms != old.platforms:
        yield Reason(Result.WARN, "the two images were scanned on different platforms")
    if new.database and old.database and abs(new.database - old.database) > timedelta(days=1):
        yield Reason(Result.WARN, "scanned with databases of different days")


def _age_checks(policy: EnvironmentPolicy, facts: Facts) -> Iterable[Check]:
    limits: tuple[tuple[str, str, timedelta | None, Callable[[Scan], datetime | None]], ...] = (
        ("database-age", "Vulnerability database", policy.max_database_age, _database_time),
        ("report-age", "Scan report", policy.max_report_age, _report_time),
    )
    for name, thing, limit, time_of in limits:
        if limit is not None:
            title = f"{thing} at most {words(limit)} old"
            since = time_of(facts.new) if facts.new else None
            if since is None:
                detail = "nobody knows its age: the report does not say"
                yield Check(name, title, Result.NOT_EVALUATED, detail)
            elif since - facts.at > _CLOCKS_DIFFER:
                detail = f"it is dated {since:%Y-%m-%d %H:%M} UTC, which is to come"
                yield Check(name, title, Result.NOT_EVALUATED, detail)
            else:
                old = age(since, facts.at)
                # Old data is missing data: what was disclosed since is not in it.
                result = Result.PASS if old <= limit else Result.NOT_EVALUATED
                yield Check(name, title, result, f"{words(old)} old")


def _database_time(scan: Scan) -> datetime | None:
    return scan.database


def _report_time(scan: Scan) -> datetime | None:
    return scan.finished


# --- rules ---


def _is_asked(rule: AnyRule, facts: Facts) -> bool:
    """Whether a rule is for this application; of one that nobody named, it may be."""
    return not rule.applications or not facts.application or facts.is_for(rule.applications)


def _rule_check(rule: AnyRule, facts: Facts, scan: Check) -> Check:
    if rule.applications and not facts.application:
        which = ", ".join(rule.applications)
        text = f"it is for {which}; say which application this is with --application"
        return _answered(rule, Result.NOT_EVALUATED, text, ())
    if rule.images and facts.new is not None and not is_about_an_image(rule, facts):
        which = ", ".join(rule.images)
        return _answered(
            rule, Result.PASS, f"it is for {which}, and no image here is called so", ()
        )
    reasons = reasons_of(rule, facts)
    result = worst([Result.PASS, *(reason.result for reason in reasons)])
    is_blind = isinstance(rule, VulnerabilityRule) and scan.result is Result.NOT_EVALUATED
    if result is Result.PASS and is_blind:
        return _answered(rule, Result.NOT_EVALUATED, INCOMPLETE, tuple(reasons))
    deciding = [reason for reason in reasons if reason.result is result]
    return _answered(rule, result, _joined(deciding) or "none", tuple(reasons))


def _answered(rule: AnyRule, result: Result, detail: str, reasons: tuple[Reason, ...]) -> Check:
    if result is Result.NOT_EVALUATED and rule.unevaluated is Unevaluated.WARN:
        return Check(rule.id, rule.title, Result.WARN, f"not evaluated: {detail}", reasons)
    return Check(rule.id, rule.title, result, detail, reasons, rule.unevaluated)


def _joined(reasons: Sequence[Reason]) -> str:
    """The first few reasons; many that differ in their finding alone are one."""
    texts = list(dict.fromkeys(reason.text for reason in reasons))
    rests = {reason.text.removeprefix(_subject(reason)) for reason in reasons}
    if len(texts) > 1 and len(rests) == 1 and rests != {""} and _subject(reasons[0]):
        return f"{len(texts)} findings{rests.pop()}"
    shown = "; ".join(texts[:SHOWN_REASONS])
    more = len(texts) - SHOWN_REASONS
    return f"{shown}; and {more} more" if more > 0 else shown


def _subject(reason: Reason) -> str:
    return named(reason.finding) if reason.finding else ""


# --- what has to be there ---


def _required_checks(
    policy: EnvironmentPolicy, evidence: Evidence, facts: Facts
) -> Iterable[Check]:
    required = policy.required
    if required.sbom:
        yield Check("sbom", "SBOM", *_sbom_answer(evidence, facts))
    asked = (
        (required.signature, "signature", "Signature", evidence.signature),
        (required.provenance, "provenance", "Provenance", evidence.provenance),
    )
    for is_required, name, title, answer in asked:
        if is_required and (evidence.judges_seals or answer is not None):
            said = answer or Reason(Result.NOT_EVALUATED, "nobody verified it")
            yield Check(name, title, said.result, said.text)


def _sbom_answer(evidence: Evidence, facts: Facts) -> tuple[Result, str]:
    listed = evidence.new_inventory
    if listed is None and facts.new is not None and facts.new.parts:
        each = [one.inventory for one in facts.new.parts]
        listed = facts.contents.new if all(each) and facts.contents else None
    if listed is None:
        return Result.NOT_EVALUATED, "there is none"
    if not listed.versions:
        # A list of nothing is what a tool writes that looked in the wrong place.
        return Result.NOT_EVALUATED, "it lists no package"
    return Result.PASS, f"{len(listed.versions)} packages, {listed.tool}"
