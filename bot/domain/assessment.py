"""Evidence about two images in, a verdict with its reasons out; pure, and time is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

from bot.domain.delta import Contents, Delta, contents, delta
from bot.domain.evidence import (
    Exploitation,
    Finding,
    FindingKey,
    Fix,
    Looked,
    Scan,
    Severity,
    suppressing,
)
from bot.domain.licences import denied_by
from bot.domain.packages import Inventory, PackageClass
from bot.domain.policy import (
    NO_POLICY,
    AnyRule,
    Check,
    Clock,
    EndOfLifeRule,
    EnvironmentPolicy,
    Grace,
    LicenceRule,
    Reason,
    Result,
    RiskException,
    Scope,
    SecretRule,
    Verdict,
    VulnerabilityRule,
    age,
    verdict,
    words,
    worst,
)
from bot.domain.risk_exceptions import ExceptionsInForce, named
from bot.domain.vex import VexStatement, suppressions

_SHOWN_REASONS: Final = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was read about the new image and the one that runs."""

    new: Scan | None
    """None: nothing was scanned."""
    old: Scan | None = None
    new_inventory: Inventory | None = None
    old_inventory: Inventory | None = None
    exploitation: Exploitation = field(default_factory=Exploitation)
    vex: tuple[VexStatement, ...] = ()
    """Of accepted authors only; who is accepted was decided before."""
    exceptions: tuple[RiskException, ...] = ()
    last_promotion: date | None = None
    first_seen: Mapping[FindingKey, date] = field(default_factory=dict)
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


def assess(
    environment: str, evidence: Evidence, policy: EnvironmentPolicy | None, at: datetime
) -> Assessment:
    """Judge the new image; without a policy nothing gates, and everything is still shown."""
    accepted = policy.vex_statuses if policy else frozenset({"not_affected", "fixed"})
    excepted = ExceptionsInForce(environment, evidence.exceptions, evidence.exploitation, at)
    new = _judged(evidence.new, evidence.vex, accepted, excepted)
    old = _judged(evidence.old, evidence.vex, accepted, excepted)
    new_inventory = evidence.new_inventory or (new.inventory if new else None)
    old_inventory = evidence.old_inventory or (old.inventory if old else None)
    difference = None
    if new is not None:
        difference = delta(
            new,
            old,
            inventories=(new_inventory, old_inventory),
            last_promotion=evidence.last_promotion,
        )
    change = contents(new_inventory, old_inventory) if new_inventory else None
    facts = _Facts(evidence, new, old, difference, change, at)
    decided = NO_POLICY if policy is None else _judge(policy, facts, excepted)
    return Assessment(environment, decided, evidence, difference, change, at)


def _judged(
    scan: Scan | None,
    vex: Sequence[VexStatement],
    accepted: frozenset[str],
    excepted: ExceptionsInForce,
) -> Scan | None:
    """The scan without what VEX and exceptions take out of it; both sides alike."""
    if scan is None:
        return None
    scan = suppressing(scan, suppressions(vex, scan, accepted))
    return suppressing(scan, excepted.holding(scan))


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the rules look at: the window of `_judge` to the world."""

    evidence: Evidence
    new: Scan | None
    old: Scan | None
    delta: Delta | None
    contents: Contents | None
    at: datetime

    @property
    def today(self) -> date:
        return self.at.astimezone(UTC).date()

    @property
    def knows_kev(self) -> bool:
        from_scan = self.new is not None and self.new.knows_exploitation
        return self.evidence.exploitation.kev is not None or from_scan

    @property
    def knows_epss(self) -> bool:
        from_scan = self.new is not None and self.new.knows_exploitation
        return self.evidence.exploitation.epss is not None or from_scan


def _judge(policy: EnvironmentPolicy, facts: _Facts, excepted: ExceptionsInForce) -> Verdict:
    scan = _scan_check(policy, facts)
    checks = [scan, *_age_checks(policy, facts)]
    checks += [_rule_check(rule, policy, facts, scan) for rule in policy.rules]
    if facts.evidence.new is not None:
        exceptions = excepted.check(facts.evidence.new)
        checks += [exceptions] if exceptions else []
    checks += _required_checks(policy, facts)
    return verdict(checks, blocks_unevaluated=policy.blocks_unevaluated)


def _scan_check(policy: EnvironmentPolicy, facts: _Facts) -> Check:
    title = "Scan covers what it must"
    new, old = facts.new, facts.old
    if new is None or facts.delta is None:
        missing = "; ".join(facts.evidence.missing) or "the image was not scanned"
        return Check("scan", title, Result.NOT_EVALUATED, missing)
    reasons = [Reason(Result.NOT_EVALUATED, text) for text in facts.evidence.missing]
    reasons += [Reason(Result.NOT_EVALUATED, text) for text in facts.delta.lost]
    reasons += [
        Reason(Result.NOT_EVALUATED, _uncovered(package_class))
        for package_class in sorted(policy.classes)
        if not new.covers(package_class)
    ]
    if old is not None:
        reasons += _comparability(new, old)
    result = worst([Result.PASS, *(reason.result for reason in reasons)])
    covered = sorted(found.value for found in new.looked)
    detail = _joined(reasons) or f"{new.scanner} {new.version}: {', '.join(covered)}".strip()
    return Check("scan", title, result, detail, tuple(reasons))


def _uncovered(package_class: PackageClass) -> str:
    if package_class is PackageClass.OS:
        return "the report covers no operating system packages"
    return "the report covers no libraries"


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


def _age_checks(policy: EnvironmentPolicy, facts: _Facts) -> Iterable[Check]:
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
            else:
                old = age(since, facts.at)
                # Old data is missing data: what was disclosed since is not in it.
                result = Result.PASS if old <= limit else Result.NOT_EVALUATED
                yield Check(name, title, result, f"{words(old)} old")


def _database_time(scan: Scan) -> datetime | None:
    return scan.database


def _report_time(scan: Scan) -> datetime | None:
    return scan.finished


def _rule_check(rule: AnyRule, policy: EnvironmentPolicy, facts: _Facts, scan: Check) -> Check:
    reasons = _reasons(rule, policy, facts)
    result = worst([Result.PASS, *(reason.result for reason in reasons)])
    is_blind = isinstance(rule, VulnerabilityRule) and scan.result is Result.NOT_EVALUATED
    if result is Result.PASS and is_blind:
        return Check(rule.id, rule.title, Result.NOT_EVALUATED, "the scan is incomplete")
    deciding = [reason for reason in reasons if reason.result is result]
    return Check(rule.id, rule.title, result, _joined(deciding) or "none", tuple(reasons))


def _reasons(rule: AnyRule, policy: EnvironmentPolicy, facts: _Facts) -> list[Reason]:
    match rule:
        case VulnerabilityRule():
            return _vulnerability_reasons(rule, policy, facts)
        case EndOfLifeRule():
            return [_end_of_life_reason(rule, facts)]
        case SecretRule():
            return _secret_reasons(rule, facts)
        case LicenceRule():
            return _licence_reasons(rule, facts)


def _joined(reasons: Sequence[Reason]) -> str:
    """The first few reasons; many that differ in their finding alone are one."""
    rests = {reason.text.removeprefix(_subject(reason)) for reason in reasons}
    if len(reasons) > 1 and len(rests) == 1 and rests != {""} and _subject(reasons[0]):
        return f"{len(reasons)} findings{rests.pop()}"
    shown = "; ".join(reason.text for reason in reasons[:_SHOWN_REASONS])
    more = len(reasons) - _SHOWN_REASONS
    return f"{shown}; and {more} more" if more > 0 else shown


def _subject(reason: Reason) -> str:
    return named(reason.finding) if reason.finding else ""


def _vulnerability_reasons(
    rule: VulnerabilityRule, policy: EnvironmentPolicy, facts: _Facts
) -> list[Reason]:
    findings = _in_scope(rule.scope, facts)
    if findings is None:
        return [Reason(Result.NOT_EVALUATED, "nobody knows what was disclosed when")]
    found = [_vulnerability_reason(rule, policy, facts, finding) for finding in findings]
    return [reason for reason in found if reason is not None]


def _in_scope(scope: Scope, facts: _Facts) -> Sequence[Finding] | None:
    if facts.delta is None:
        return ()
    if scope is Scope.INTRODUCED:
        return facts.delta.introduced
    if scope is Scope.PRESENT:
        return facts.delta.present
    disclosed = facts.delta.newly_disclosed
    if disclosed is None:
        # An image that adds nothing to an empty environment has nothing newly disclosed either.
        return None if facts.delta.unchanged else ()
    return [finding for finding in facts.delta.unchanged if finding.key in disclosed]


def _vulnerability_reason(
    rule: VulnerabilityRule, policy: EnvironmentPolicy, facts: _Facts, finding: Finding
) -> Reason | None:
    """What the rule says about one finding; None if it is not about it."""
    severity = _severity(finding, policy.severity_from)
    unknown: list[str] = []
    if finding.package.package_class not in rule.classes:
        return None
    if not rule.packages.include(finding.package):
        return None
    if rule.at_least is not None:
        if severity is Severity.UNKNOWN:
            unknown.append("its severity is not known")
        elif severity < rule.at_least:
            return None
    if rule.has_fix and finding.fix is not Fix.AVAILABLE:
        if finding.fix is Fix.NONE:
            return None
        unknown.append("the report does not say whether there is a fix")
    if rule.is_exploited and not facts.evidence.exploitation.kev_of(finding):
        if facts.knows_kev:
            return None
        unknown.append("no KEV catalogue was read")
    if rule.epss_at_least is not None:
        score = facts.evidence.exploitation.epss_of(finding)
        if score is None and not facts.knows_epss:
            unknown.append("no EPSS scores were read")
        elif score is None or score < rule.epss_at_least:
            return None
    if unknown:
        return Reason(Result.NOT_EVALUATED, f"{named(finding)}: {', '.join(unknown)}", finding)
    return _after_grace(rule, facts, finding)


def _severity(finding: Finding, order: Sequence[str]) -> Severity:
    ratings = {"vendor": finding.severity, "nvd": finding.nvd_severity}
    rated = (ratings.get(source) for source in order)
    return next((rating for rating in rated if rating), Severity.UNKNOWN)


def _after_grace(rule: VulnerabilityRule, facts: _Facts, finding: Finding) -> Reason:
    if rule.grace is None:
        return Reason(rule.broken, named(finding), finding)
    since, why = _start(rule.grace, facts, finding)
    if since is None:
        return Reason(rule.broken, f"{named(finding)} (no grace: nobody knows since when)", finding)
    # A report may claim any day up to the last one that there is.
    until = since + min(rule.grace.length, date.max - since)
    if facts.today < until:
        verb = "blocks" if rule.denies else "warns"
        return Reason(Result.WARN, f"{named(finding)}: {why} {since}, {verb} from {until}", finding)
    return Reason(rule.broken, f"{named(finding)}: {why} {since}, grace ended {until}", finding)


def _start(grace: Grace, facts: _Facts, finding: Finding) -> tuple[date | None, str]:
    """When the clock started. The day of disclosure is the fallback: it is never later."""
    dates = {
        Clock.FIX_AVAILABLE: (finding.fix_since, "fix available since"),
        Clock.FIRST_SEEN: (facts.evidence.first_seen.get(finding.key), "first seen"),
        Clock.DISCLOSED: (finding.disclosed, "disclosed"),
    }
    since, why = dates[grace.after]
    return (since, why) if since else dates[Clock.DISCLOSED]


def _end_of_life_reason(rule: EndOfLifeRule, facts: _Facts) -> Reason:
    scan = facts.new
    if scan is None or scan.end_of_life is None:
        return Reason(Result.NOT_EVALUATED, "the report does not say whether it is maintained")
    name = scan.operating_system or "the operating system"
    if not scan.end_of_life:
        return Reason(Result.PASS, f"{name} is maintained")
    old = facts.old
    is_new = old is None or not (old.end_of_life and old.operating_system == scan.operating_system)
    if rule.scope is Scope.INTRODUCED and not is_new:
        return Reason(Result.PASS, f"{name} is at its end of life, as before")
    return Reason(rule.broken, f"{name} gets no fixes any more")


def _secret_reasons(rule: SecretRule, facts: _Facts) -> list[Reason]:
    scan, old = facts.new, facts.old
    if scan is None or (Looked.SECRET not in scan.looked):
        return [
            Reason(Result.NOT_EVALUATED, "the report does not say that secrets were looked for")
        ]
    secrets = scan.secrets
    if rule.scope is not Scope.PRESENT and old is not None:
        secrets -= old.secrets
    return [Reason(rule.broken, f"{s.rule} in {s.target}") for s in sorted(secrets)]


def _licence_reasons(rule: LicenceRule, facts: _Facts) -> list[Reason]:
    if facts.contents is None or not facts.contents.new.versions:
        return [Reason(Result.NOT_EVALUATED, "there is no SBOM, so nobody knows the licences")]
    new, old = facts.contents.new, facts.contents.old
    reasons: list[Reason] = []
    texts = set(new.licences.values())
    avoided = {text for text in texts if denied_by(text, rule.denied) is None}
    for name, licence in sorted(
        (n, text) for n, text in new.licences.items() if text not in avoided
    ):
        denied = denied_by(licence, rule.denied) if rule.packages.include(name) else None
        before = old.licences.get(name, "") if old and rule.scope is not Scope.PRESENT else ""
        if denied and not denied_by(before, rule.denied):
            reasons.append(Reason(rule.broken, f"{name.full_name} is under {denied}"))
    return reasons


def _required_checks(policy: EnvironmentPolicy, facts: _Facts) -> Iterable[Check]:
    required = policy.required
    if required.sbom:
        yield Check("sbom", "SBOM", *_sbom_answer(facts.evidence.new_inventory))
    asked = (
        (required.signature, "signature", "Signature", facts.evidence.signature),
        (required.provenance, "provenance", "Provenance", facts.evidence.provenance),
    )
    for is_required, name, title, answer in asked:
        if is_required:
            said = answer or Reason(Result.NOT_EVALUATED, "nobody verified it")
            yield Check(name, title, said.result, said.text)


def _sbom_answer(sbom: Inventory | None) -> tuple[Result, str]:
    if sbom is None:
        return Result.NOT_EVALUATED, "there is none"
    if not sbom.versions:
        # A list of nothing is what a tool writes that looked in the wrong place.
        return Result.NOT_EVALUATED, "it lists no package"
    return Result.PASS, f"{len(sbom.versions)} packages, {sbom.tool}"
