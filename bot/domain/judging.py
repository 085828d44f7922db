"""What each rule says of the facts: the reasons of its answer."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final, TypeVar

from bot.domain.delta import Contents, Delta, Pair
from bot.domain.environments import matches
from bot.domain.evidence import (
    CLASS_WORDS,
    Exploitation,
    Finding,
    FindingKey,
    Fix,
    Looked,
    Scan,
    Secret,
    Severity,
    Status,
)
from bot.domain.image_configuration import ImageConfiguration
from bot.domain.licences import denied_by, is_unknown, outside, outside_for_sure
from bot.domain.packages import Inventory, PackageClass, PackageName, whole_version
from bot.domain.policy import (
    Accepted,
    AnyRule,
    BaseImageRule,
    Clock,
    ConfigurationRule,
    Configured,
    EndOfLifeRule,
    Grace,
    LicenceRule,
    PackageRule,
    Packages,
    Reason,
    Result,
    Scope,
    SecretRule,
    SoakRule,
    VulnerabilityRule,
    names_base,
    names_image,
    names_path,
    words,
)
from bot.domain.risk_exceptions import ExceptionsInForce, named
from bot.domain.versions import compare

R = TypeVar("R", bound=AnyRule)
_FEED_DAYS: Final = 7
_SHOWN_LICENCE: Final = 120  # characters
_NOBODY_KNOWS: Final = "a licence that nobody knows"
# Distributions whose point releases are one release with one end; of others two numbers are.
_BY_ONE_NUMBER: Final = frozenset(
    {
        *("debian", "redhat", "rhel", "centos", "rocky", "rockylinux", "alma", "almalinux"),
        *("amazon", "amzn", "oracle", "ol", "oraclelinux", "fedora", "raspbian"),
    }
)


@dataclass(frozen=True, slots=True)
class BaseFact:
    """What one of the new images was built on."""

    image: str
    name: str
    """A reference; empty: it does not say."""
    created: date | None = None
    platform: str = ""
    """Empty where nobody says: then it is about each."""

    def is_of(self, scan: Scan) -> bool:
        """Whether this was said of an image on a platform."""
        return self.image == scan.repository and self.platform in {"", scan.platform}


def bases_of(scan: Scan | None) -> tuple[BaseFact, ...]:
    """What images were built on, as far as their reports say."""
    found = [
        BaseFact(
            one.repository,
            one.configuration.base_name,
            one.configuration.base_created,
            one.platform,
        )
        for one in (scan.each if scan is not None else ())
        if one.configuration is not None
    ]
    return tuple(dict.fromkeys(fact for fact in found if fact.name or fact.created))


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at."""

    new: Scan | None
    old: Scan | None
    pairs: tuple[Pair, ...]
    delta: Delta | None
    contents: Contents | None
    exploitation: Exploitation
    excepted: ExceptionsInForce
    at: datetime
    first_seen: Mapping[FindingKey, date] = field(default_factory=dict)
    application: str = ""
    bases: tuple[BaseFact, ...] = ()
    soaked: timedelta | None = None
    lapsed: Mapping[FindingKey, str] = field(default_factory=dict)
    old_inventory: Inventory | None = None
    """The SBOM of the one image that runs, where nobody scanned it."""
    max_feed_age: timedelta = timedelta(days=_FEED_DAYS)

    @property
    def today(self) -> date:
        """The day on which is judged."""
        return self.at.astimezone(UTC).date()

    def is_for(self, applications: Sequence[str]) -> bool:
        """Whether one of these names this application."""
        return any(matches(glob, self.application) for glob in applications)

    def silence_of_kev(self) -> str:
        """Why nobody knows that something is not listed; empty: it is known."""
        if self.new is not None and self.new.knows_exploitation:
            return ""
        return self._silence("KEV catalogue", self.exploitation.kev, self.exploitation.kev_date)

    def silence_of_epss(self) -> str:
        """Why nobody knows that something has no score; empty: it is known."""
        if self.new is not None and self.new.knows_exploitation:
            return ""
        return self._silence("EPSS scores", self.exploitation.epss, self.exploitation.epss_date)

    def _silence(self, name: str, feed: Mapping[str, object] | None, at: date | None) -> str:
        if feed is None:
            return f"no {name} were read" if name.endswith("s") else f"no {name} was read"
        if at is None:
            return f"nobody knows how old and how complete the {name} read are"
        if at > self.today + timedelta(days=1):
            return f"the {name} read: of {at}, which is to come"
        if self.today - at > self.max_feed_age:
            return f"the {name} read: of {at}, older than {words(self.max_feed_age)}"
        return ""


def reasons_of(rule: AnyRule, facts: Facts) -> list[Reason]:
    """What a rule says of everything that it is about; what holds in several places, once."""
    return _told(_reasons(rule, facts), facts)


def _reasons(rule: AnyRule, facts: Facts) -> list[Reason]:
    match rule:
        case VulnerabilityRule():
            return _vulnerability_reasons(rule, facts)
        case BaseImageRule():
            return _base_reasons(rule, facts)
        case SoakRule():
            return [_soak_reason(rule, facts)]
        case PackageRule():
            return _without_inventory(rule, facts, "packages") + _each(rule, facts, _banned_in)
        case LicenceRule():
            return _without_inventory(rule, facts, "licences") + _each(rule, facts, _licences_in)
        case EndOfLifeRule():
            return _each(rule, facts, _end_of_life_in)
        case SecretRule():
            return _each(rule, facts, _secrets_in)
        case ConfigurationRule():
            return _each(rule, facts, _configuration_in)


def _each(rule: R, facts: Facts, judge: Callable[[R, Pair, Facts], list[Reason]]) -> list[Reason]:
    """What a rule says of each new image on each platform that it is about."""
    return [
        replace(reason, place=(pair.new.repository, pair.new.platform))
        for pair in _pairs(rule, facts)
        if pair.new is not None
        for reason in judge(rule, pair, facts)
    ]


def is_about_an_image(rule: AnyRule, facts: Facts) -> bool:
    """Whether any of the new images is one that the rule names."""
    return bool(_pairs(rule, facts))


def _pairs(rule: AnyRule, facts: Facts) -> list[Pair]:
    """The new images that a rule is about."""
    return [
        pair
        for pair in facts.pairs
        if pair.new is not None and rule.is_for_image(pair.new.repository)
    ]


def _told(reasons: Sequence[Reason], facts: Facts) -> list[Reason]:
    """The reasons, each with the images and platforms that it holds for, unless it is all."""
    every = {(pair.new.repository, pair.new.platform) for pair in facts.pairs if pair.new}
    places: dict[tuple[Result, str], set[tuple[str, str]]] = {}
    for reason in reasons:
        if reason.place is not None:
            places.setdefault((reason.result, reason.text), set()).add(reason.place)

    def told(reason: Reason) -> Reason:
        if reason.place is None:
            return reason
        found = places[reason.result, reason.text]
        where = _where(found, every)
        is_one = len(found) == 1 or reason.finding is not None
        text = f"{reason.text}{where}" if where else reason.text
        return Reason(reason.result, text, reason.finding, reason.place if is_one else None)

    return list({_identity(one): one for one in map(told, reasons)}.values())


def _identity(reason: Reason) -> tuple[object, ...]:
    """What makes two reasons the same; a finding is what its key says."""
    key = reason.finding.key if reason.finding else None
    return reason.result, reason.text, key, reason.place


def _where(places: AbstractSet[tuple[str, str]], every: AbstractSet[tuple[str, str]]) -> str:
    if places >= every:
        return ""
    images = {image for image, _ in every}
    shown: list[str] = []
    for image in sorted({image for image, _ in places}):
        platforms = {platform for name, platform in places if name == image}
        name = image if len(images) > 1 else ""
        if platforms == {platform for other, platform in every if other == image}:
            shown.append(name)
        else:
            known = " and ".join(sorted(platforms - {""}))
            shown.append(" on ".join(part for part in (name, known) if part))
    return f" ({'; '.join(shown)})" if all(shown) else ""


# --- vulnerabilities ---


def _vulnerability_reasons(rule: VulnerabilityRule, facts: Facts) -> list[Reason]:
    findings = _in_scope(rule, facts)
    if findings is None:
        return [Reason(Result.NOT_EVALUATED, "nobody knows what was disclosed when")]
    was = {one.finding.key: one.was for one in facts.delta.raised} if facts.delta else {}
    found = [reason for f in findings if (reason := _vulnerability_reason(rule, facts, f, was))]
    return _counted(rule, found) if rule.at_most else found


def _counted(rule: VulnerabilityRule, found: list[Reason]) -> list[Reason]:
    """So many may be there: what nobody could judge may be one more."""
    broken = [one for one in found if one.result is rule.broken]
    unknown = [one for one in found if one.result is Result.NOT_EVALUATED]
    if len(broken) > rule.at_most:
        return [Reason(rule.broken, f"{len(broken)} of at most {rule.at_most}"), *broken]
    if len(broken) + len(unknown) > rule.at_most:
        return unknown
    return [Reason(Result.PASS, f"{len(broken)} of at most {rule.at_most}")]


def _in_scope(rule: VulnerabilityRule, facts: Facts) -> Sequence[Finding] | None:
    difference = facts.delta
    if difference is None:
        return ()
    if rule.scope is Scope.PRESENT:
        return difference.present
    # What was accepted for a while and is not any more has to be judged like news.
    ended = [] if rule.keeps_expired else [f for f in difference.unchanged if f.key in facts.lapsed]
    if rule.scope is Scope.INTRODUCED:
        return [*difference.news, *ended, *_new_places(rule, difference)]
    disclosed = difference.newly_disclosed
    if disclosed is None:
        # An image that adds nothing to an empty environment has nothing newly disclosed either.
        return None if difference.unchanged else ()
    return [f for f in difference.unchanged if f.key in disclosed or f.disclosed is None]


def _new_places(rule: VulnerabilityRule, difference: Delta) -> list[Finding]:
    """Findings that were not below a rule's paths before, wherever else they were."""
    if not rule.paths:
        return []
    before = difference.paths_before
    return [
        finding
        for finding in difference.unchanged
        if finding.key in before
        and not any(names_path(glob, path) for glob in rule.paths for path in before[finding.key])
    ]


def _vulnerability_reason(
    rule: VulnerabilityRule, facts: Facts, finding: Finding, was: Mapping[FindingKey, Severity]
) -> Reason | None:
    """What the rule says about one finding; None if it is not about it."""
    if not _is_about(rule, finding):
        return None
    answers = [_holds(rule, one, facts) for one in finding.each]
    if True in answers:
        return _after_grace(rule, facts, finding, was.get(finding.key))
    unknown = list(dict.fromkeys(text for text in answers if isinstance(text, str)))
    if not unknown:
        return None
    text = f"{named(finding)}: {', '.join(unknown)}"
    return Reason(Result.NOT_EVALUATED, text, finding, _place(finding))


def _holds(rule: VulnerabilityRule, installation: Finding, facts: Facts) -> Answer:
    """Whether every condition of a rule holds for one installation."""
    if rule.ignores_development and installation.is_development:
        return False
    unknown: list[str] = []
    for asked in _CONDITIONS:
        answer = asked(rule, installation, facts)
        if answer is False:
            return False
        if isinstance(answer, str):
            unknown.append(answer)
    return ", ".join(unknown) or True


Answer = bool | str
"""Whether a condition holds; a text: nobody knows, and why."""


def _is_about(rule: VulnerabilityRule, finding: Finding) -> bool:
    """By what is always known of a finding."""
    return (
        finding.package.package_class in rule.classes
        and rule.packages.include(finding.package)
        and (not rule.images or any(names_image(glob, finding.image) for glob in rule.images))
        and (not rule.identifiers or _is_named(rule, finding))
    )


def _is_named(rule: VulnerabilityRule, finding: Finding) -> bool:
    """An advisory that is named is each of its CVEs."""
    return not rule.identifiers.isdisjoint(
        {finding.vulnerability, *finding.aliases, *finding.advisories}
    )


def _rated(rule: VulnerabilityRule, finding: Finding, _: Facts) -> Answer:
    if rule.at_least is None or finding.severity >= rule.at_least:
        return True
    if finding.severity is Severity.UNKNOWN:
        return "its severity is not known (`unknown_severity` may say what it is taken for)"
    return False


def _scored(rule: VulnerabilityRule, finding: Finding, _: Facts) -> Answer:
    if rule.cvss_at_least is None and not rule.vector:
        return True
    if finding.cvss is None:
        return "the report gives no CVSS score"
    score = finding.cvss.score
    if rule.cvss_at_least is not None and (
        score < rule.cvss_at_least or (rule.cvss_above and score == rule.cvss_at_least)
    ):
        return False
    return _has_vector(rule, finding) if rule.vector else True


def _has_vector(rule: VulnerabilityRule, finding: Finding) -> Answer:
    """Whether one vector, whoever gave it, has all the metrics."""
    own = finding.cvss.vector if finding.cvss else ""
    vectors = {*finding.vectors, own} - {""}
    if any(set(rule.vector) <= set(vector.upper().split("/")) for vector in vectors):
        return True
    return False if own else "the report gives no CVSS vector"


def _fixable(rule: VulnerabilityRule, finding: Finding, _: Facts) -> Answer:
    if rule.statuses and finding.status not in rule.statuses:
        if finding.status is Status.UNKNOWN:
            return "the report does not say what its distributor does about it"
        return False
    if rule.has_fix and finding.fix is not Fix.AVAILABLE:
        unknown = "the report does not say whether there is a fix"
        return False if finding.fix is Fix.NONE else unknown
    if rule.lacks_fix and finding.fix is not Fix.NONE:
        unknown = "the report does not say whether there is a fix"
        return False if finding.fix is Fix.AVAILABLE else unknown
    return True


def _exploited(rule: VulnerabilityRule, finding: Finding, facts: Facts) -> Answer:
    if not (rule.is_exploited or rule.is_ransomware):
        return True
    listed = facts.exploitation.kev_of(finding)
    if listed is None:
        return facts.silence_of_kev() or _unnamed(finding) or False
    if listed.ransomware or not rule.is_ransomware:
        return True
    return facts.silence_of_kev() or False


def _unnamed(finding: Finding) -> str:
    """Feeds go by the CVE: an advisory that names none can be looked up in no one of them."""
    if not finding.names_no_cve:
        return ""
    return "the report does not say which CVE this is, and feeds go by the CVE"


def _likely(rule: VulnerabilityRule, finding: Finding, facts: Facts) -> Answer:
    if rule.epss_at_least is None:
        return True
    score = facts.exploitation.epss_of(finding)
    if score is None:
        return facts.silence_of_epss() or _unnamed(finding) or False
    return score > rule.epss_at_least or (score == rule.epss_at_least and not rule.epss_above)


def _dated(rule: VulnerabilityRule, finding: Finding, _: Facts) -> Answer:
    if rule.scope is Scope.NEWLY_DISCLOSED and finding.disclosed is None:
        return "the report does not say when it was disclosed"
    return True


def _old(rule: VulnerabilityRule, finding: Finding, facts: Facts) -> Answer:
    if rule.older_than is None:
        return True
    since = finding.fix_since or finding.disclosed
    if since is None:
        return "nobody knows when it was disclosed or fixed"
    if since > facts.today:
        return f"the report dates it {since}, which is to come"
    return facts.today - since > rule.older_than


def _placed(rule: VulnerabilityRule, finding: Finding, _: Facts) -> Answer:
    if not rule.paths:
        return True
    if not finding.paths:
        # A package manager's packages are everywhere; only a library without a path is not known.
        is_everywhere = finding.package.package_class is PackageClass.OS
        return False if is_everywhere else "the report does not say where it is installed"
    return any(names_path(glob, path) for glob in rule.paths for path in finding.paths)


_CONDITIONS: Final[tuple[Callable[[VulnerabilityRule, Finding, Facts], Answer], ...]] = (
    _rated,
    _scored,
    _fixable,
    _exploited,
    _likely,
    _dated,
    _old,
    _placed,
)
"""One that does not hold ends the question; what nobody knows of several is said together."""


def _after_grace(
    rule: VulnerabilityRule, facts: Facts, finding: Finding, was: Severity | None
) -> Reason:
    subject = named(finding)
    place = _place(finding)
    ended = facts.lapsed.get(finding.key, "")
    if ended:
        return Reason(rule.broken, f"{subject}: {ended}", finding, place)
    if was is not None:
        subject += f", {was.word} before"
    if rule.grace is None:
        return Reason(rule.broken, subject, finding, place)
    since, why = _start(rule.grace, facts, finding)
    if since is None:
        text = f"{subject} (no grace: nobody knows since when)"
        return Reason(rule.broken, text, finding, place)
    # A report may claim any day up to the last one that there is.
    until = since + min(rule.grace.length, date.max - since)
    if facts.today < until:
        verb = "blocks" if rule.denies else "warns"
        text = f"{subject}: {why} {since}, {verb} from {until}"
        return Reason(Result.WARN, text, finding, place)
    text = f"{subject}: {why} {since}, grace ended {until}"
    return Reason(rule.broken, text, finding, place)


def _place(finding: Finding) -> tuple[str, str]:
    return finding.image, finding.platform


def _start(grace: Grace, facts: Facts, finding: Finding) -> tuple[date | None, str]:
    """When the clock started. The day of disclosure is the fallback: it is never later."""
    dates = {
        Clock.FIX_AVAILABLE: (finding.fix_since, "fix available since"),
        Clock.FIRST_SEEN: (facts.first_seen.get(finding.key), "first seen"),
        Clock.DISCLOSED: (finding.disclosed, "disclosed"),
    }
    since, why = dates[grace.after]
    since, why = (since, why) if since else dates[Clock.DISCLOSED]
    # A day that is to come is a mistake or a lie: it starts nothing.
    return (None, why) if since is not None and since > facts.today else (since, why)


# --- packages and licences ---


def _listed(pair: Pair, facts: Facts) -> tuple[Inventory | None, Inventory | None]:
    """What is listed in a new image, and what it is held against."""
    new = pair.new.inventory if pair.new else None
    return new, pair.listed_before if pair.old else facts.old_inventory


def _without_inventory(rule: AnyRule, facts: Facts, thing: str) -> list[Reason]:
    """Why nothing can be said about some image; empty: each has its list."""
    asked = _pairs(rule, facts)
    if rule.images and facts.pairs and not asked:
        return []
    lists = [new for pair in asked for new, _ in [_listed(pair, facts)] if new is not None]
    listed = [new for new in lists if new.versions or new.excluded]
    if not listed or len(listed) < len(asked):
        return [Reason(Result.NOT_EVALUATED, f"there is no SBOM, so nobody knows the {thing}")]
    return [reason for pair in asked for reason in _unlisted(rule, pair, thing)]


def _unlisted(rule: AnyRule, pair: Pair, thing: str) -> list[Reason]:
    """Classes of packages that a rule is about, and that nothing shows anybody looked for."""
    new = pair.new
    if new is None or new.inventory is None:
        return []
    return [
        Reason(
            Result.NOT_EVALUATED,
            f"no {CLASS_WORDS[one]} are listed, and nothing shows that anybody looked for them,"
            f" so nobody knows their {thing}",
            place=(new.repository, new.platform),
        )
        for one in sorted(_classes_of(rule))
        if not new.inventory.count(one) and not new.covers(one)
    ]


def _classes_of(rule: AnyRule) -> frozenset[PackageClass]:
    if isinstance(rule, LicenceRule):
        return rule.classes
    kinds = {glob.removeprefix("pkg:").partition("/")[0] for glob in rule.packages.only}
    if not kinds or any("*" in kind or "?" in kind for kind in kinds):
        return frozenset(PackageClass)
    return frozenset(PackageName(kind, "", "").package_class for kind in kinds)


def _banned_in(rule: PackageRule, pair: Pair, facts: Facts) -> list[Reason]:
    new, old = _listed(pair, facts)
    reasons: list[Reason] = []
    before = old.versions if old is not None and rule.scope is not Scope.PRESENT else {}
    for name, versions in sorted(new.versions.items()) if new is not None else ():
        if rule.packages.include(name):
            came = [version for version in versions if version not in before.get(name, ())]
            found = [_banned(rule, name, version) for version in came]
            reasons += [reason for reason in found if reason is not None]
    return reasons


def _banned(rule: PackageRule, name: PackageName, version: str) -> Reason | None:
    bounds = ((rule.least, "at least", (0, 1)), (rule.below, "below", (-1,)))
    unknown: list[str] = []
    for bound, words_, inside in bounds:
        if not bound:
            continue
        limit = whole_version(name.type, bound)
        order = compare(name.type, version, limit, name=name.name)
        if order is None:
            unknown.append(f"{words_} {bound}")
        elif order not in inside:
            return None
    if unknown:
        text = f"{name.full_name}: nobody can say whether {version} is {' and '.join(unknown)}"
        return Reason(Result.NOT_EVALUATED, text)
    return Reason(rule.broken, f"{name.full_name} {version} is banned")


def _licences_in(rule: LicenceRule, pair: Pair, facts: Facts) -> list[Reason]:
    new, old = _listed(pair, facts)
    if new is None:
        return []
    reasons: list[Reason] = []
    is_narrow = rule.packages != Packages() or not rule.classes.issuperset(PackageClass)
    asked = list(new.versions)
    if is_narrow or rule.ignores_development:
        asked = [name for name in asked if _is_asked(rule, name, new)]
    texts = {name: new.licences.get(name, "") for name in asked}
    # Thousands of packages are under a few licences: each text is judged once.
    broken_by = {text: _broken_licence(rule, text) for text in {*texts.values()}}
    nobody = {
        text
        for text, broken in broken_by.items()
        if (broken is None or rule.denies_unknown) and _turns_on_unknown(rule, text)
    }
    unknown = sorted(name for name, text in texts.items() if text in nobody)
    image = pair.new.repository if pair.new else ""
    for name in sorted(name for name, text in texts.items() if broken_by[text] is not None):
        before: frozenset[str] = frozenset()
        if old is not None and name in old.versions and rule.scope is not Scope.PRESENT:
            before = frozenset(_broken_licences(rule, old.licences.get(name, "")))
        reasons += _licence_reasons(rule, name, texts[name], before, facts, image)
    if unknown and not rule.denies_unknown and (rule.allowed or len(unknown) == len(asked)):
        shown = ", ".join(name.full_name for name in unknown[:3])
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""  # noqa: PLR2004 - shown
        words_ = (
            f"nobody knows the licence of {len(unknown)} of {len(asked)} packages: {shown}{more};"
            " `licence: [unknown]` decides about them"
        )
        reasons.append(Reason(Result.NOT_EVALUATED, words_))
    elif unknown:
        text = f"{len(unknown)} of {len(asked)} packages name no licence"
        reasons.append(Reason(Result.PASS, text))
    return reasons


def _licence_reasons(  # each is a fact that decides what is said
    rule: LicenceRule,
    name: PackageName,
    text: str,
    before: frozenset[str],
    facts: Facts,
    image: str,
) -> list[Reason]:
    """What each licence breaks that was not there before; none hides another."""
    reasons: list[Reason] = []
    for broken in _broken_licences(rule, text):
        if broken in before:
            continue
        accepted = facts.excepted.accepting(
            Accepted.LICENCE, broken, image=image, package=name
        ) or facts.excepted.accepting(Accepted.LICENCE, text, image=image, package=name)
        what = f"{name.full_name} is under {_licence_words(rule, text, broken)}"
        if accepted is not None:
            reasons.append(Reason(Result.PASS, f"{what}; accepted by exception {accepted.origin}"))
        else:
            reasons.append(Reason(rule.broken, what))
    return reasons


def _broken_licences(rule: LicenceRule, text: str) -> list[str]:
    """Every licence of a text that breaks a rule: each that would, were the others none."""
    found: list[str] = []
    while (broken := _broken_licence(rule, text)) is not None and broken not in found:
        found.append(broken)
        rule = replace(
            rule,
            denied=tuple(one for one in rule.denied if not _is_same_denial(one, broken)),
            allowed=(*rule.allowed, broken) if rule.allowed else (),
            denies_unknown=rule.denies_unknown and broken != _NOBODY_KNOWS,
        )
    return found


def _is_same_denial(one: str, broken: str) -> bool:
    """Whether two names of a rule are about one licence: ``-only`` and ``-or-later``."""
    return one == broken or bool(denied_by(one, (broken,)) or denied_by(broken, (one,)))


def _is_asked(rule: LicenceRule, name: PackageName, listed: Inventory) -> bool:
    return (
        name.package_class in rule.classes
        and rule.packages.include(name)
        and not (rule.ignores_development and name in listed.development)
    )


def _broken_licence(rule: LicenceRule, text: str) -> str | None:
    denied = denied_by(text, rule.denied) if rule.denied else None
    denied = denied or (outside_for_sure(text, rule.allowed) if rule.allowed else None)
    if denied is None and rule.denies_unknown and _turns_on_unknown(rule, text):
        return _NOBODY_KNOWS
    return denied


def _turns_on_unknown(rule: LicenceRule, text: str) -> bool:
    """Whether what the rule says depends on a licence that nobody knows, or on a part of one."""
    if rule.allowed:
        return is_unknown(text) or (
            outside(text, rule.allowed) is not None and outside_for_sure(text, rule.allowed) is None
        )
    return is_unknown(text)


def _licence_words(rule: LicenceRule, text: str, broken: str) -> str:
    """The licence as it is written, and what of it breaks the rule."""
    if broken == text.strip() or is_unknown(text):
        return broken
    if " " not in text.strip():
        return text.strip()[:_SHOWN_LICENCE]
    why = "denied" if broken in rule.denied else "not allowed"
    return f"{text.strip()[:_SHOWN_LICENCE]} ({broken} is {why})"


# --- images ---


def _end_of_life_in(rule: EndOfLifeRule, pair: Pair, facts: Facts) -> list[Reason]:
    return [_end_of_life(rule, pair, facts)]


def _end_of_life(rule: EndOfLifeRule, pair: Pair, facts: Facts) -> Reason:
    scan, old = pair.new, pair.old
    if scan is None or scan.end_of_life is None:
        return Reason(Result.NOT_EVALUATED, "the report does not say whether it is maintained")
    name = scan.operating_system or "the operating system"
    if not scan.end_of_life:
        return Reason(Result.PASS, f"{name} is maintained")
    is_new = old is None or not (
        old.end_of_life and _release_of(old.operating_system) == _release_of(scan.operating_system)
    )
    if rule.scope is Scope.INTRODUCED and not is_new:
        return Reason(Result.PASS, f"{name} is at its end of life, as before")
    text = f"{name} gets no fixes any more"
    accepted = facts.excepted.accepting(Accepted.END_OF_LIFE, name, image=scan.repository)
    if accepted is not None:
        return Reason(Result.PASS, f"{text}; accepted by exception {accepted.origin}")
    return Reason(rule.broken, text)


def _release_of(system: str) -> str:
    """The release that is maintained or not: ``debian 10`` of every 10.x, ``ubuntu 20.04``."""
    family, _, version = system.partition(" ")
    numbers = re.split(r"[.-]", version)
    kept = 1 if family.lower() in _BY_ONE_NUMBER else 2
    return f"{family.lower()} {'.'.join(numbers[:kept])}"


def _secrets_in(rule: SecretRule, pair: Pair, facts: Facts) -> list[Reason]:
    scan, old = pair.new, pair.old
    if scan is None or Looked.SECRET not in scan.looked:
        return [
            Reason(Result.NOT_EVALUATED, "the report does not say that secrets were looked for")
        ]
    secrets = scan.secrets
    if rule.scope is not Scope.PRESENT and old is not None:
        secrets -= old.secrets
    found = [_secret_reason(rule, one, pair, facts) for one in sorted(secrets)]
    return [reason for reason in found if reason is not None]


def _secret_reason(rule: SecretRule, secret: Secret, pair: Pair, facts: Facts) -> Reason | None:
    text = f"{secret.rule} in {secret.target}"
    if rule.at_least is not None and secret.severity < rule.at_least:
        if secret.severity is not Severity.UNKNOWN:
            return None
        return Reason(Result.NOT_EVALUATED, f"{text}: its severity is not known")
    image = pair.new.repository if pair.new else ""
    accepted = facts.excepted.accepting(
        Accepted.SECRET, secret.rule, image=image, path=secret.target
    )
    if accepted is not None:
        return Reason(Result.PASS, f"{text}; accepted by exception {accepted.origin}")
    return Reason(rule.broken, text)


def _configuration_in(rule: ConfigurationRule, pair: Pair, _: Facts) -> list[Reason]:
    new = pair.new.configuration if pair.new else None
    if new is None:
        text = "the report does not say how the image runs: its user, ports, labels and entrypoint"
        return [Reason(Result.NOT_EVALUATED, text)]
    old = pair.old.configuration if pair.old else None
    broken: list[str] = []
    if rule.no_root and new.is_root and not (_is_old(rule, old) and old and old.is_root):
        broken.append(
            f"it runs as root ({f'user {new.user!r}' if new.user else 'it names no user'})"
        )
    if rule.ports is not None:
        before = old.ports if old is not None and _is_old(rule, old) else frozenset[str]()
        broken += [
            f"it exposes {port}"
            for port in sorted(new.ports - before)
            if port not in rule.ports and port.partition("/")[0] not in rule.ports
        ]
    broken += [f"it has no label {name}" for name in rule.labels if not new.labels.get(name)]
    reasons = [Reason(rule.broken, text) for text in broken]
    return reasons + _change_reasons(rule, new, old, has_baseline=pair.old is not None)


def _is_old(rule: ConfigurationRule, old: ImageConfiguration | None) -> bool:
    return rule.scope is not Scope.PRESENT and old is not None


def _change_reasons(
    rule: ConfigurationRule,
    new: ImageConfiguration,
    old: ImageConfiguration | None,
    *,
    has_baseline: bool,
) -> list[Reason]:
    if not rule.unchanged or not has_baseline:
        return []
    if old is None:
        return [Reason(Result.NOT_EVALUATED, "nobody knows how the image that runs is configured")]
    return [
        Reason(rule.broken, f"{what} changed from {was or 'none'} to {now or 'none'}")
        for what, was, now in configuration_changes(old, new)
        if what in rule.unchanged
    ]


def configuration_changes(
    old: ImageConfiguration, new: ImageConfiguration
) -> list[tuple[Configured, str, str]]:
    """What differs in how two images run: what, before, after."""
    sides = [
        (Configured.ENTRYPOINT, _run(old), _run(new)),
        (Configured.PORTS, ", ".join(sorted(old.ports)), ", ".join(sorted(new.ports))),
        (
            Configured.VARIABLES,
            ", ".join(sorted(old.variables - new.variables)),
            ", ".join(sorted(new.variables - old.variables)),
        ),
    ]
    if old.runs_as != new.runs_as:
        sides.insert(1, (Configured.USER, old.user or "root", new.user or "root"))
    return [(what, was, now) for what, was, now in sides if was != now]


def _run(configuration: ImageConfiguration) -> str:
    """Its arguments, quoted as a shell would: where they end is part of what runs."""
    return shlex.join((*configuration.entrypoint, *configuration.command))


def _base_reasons(rule: BaseImageRule, facts: Facts) -> list[Reason]:
    """What a rule says of each image on each platform: each has a base of its own."""
    reasons: list[Reason] = []
    for pair in _pairs(rule, facts):
        if pair.new is None:
            continue
        known = [fact for fact in facts.bases if fact.is_of(pair.new)]
        found = [reason for fact in known for reason in _base_reason(rule, fact, facts)]
        if not known:
            image = pair.new.repository or "it"
            text = f"nobody knows which base image {image} was built on"
            found = [Reason(Result.NOT_EVALUATED, text)]
        place = (pair.new.repository, pair.new.platform)
        reasons += [replace(reason, place=place) for reason in found]
    return reasons


def _base_reason(rule: BaseImageRule, fact: BaseFact, facts: Facts) -> list[Reason]:
    reasons: list[Reason] = []
    if rule.allowed and not fact.name:
        reasons.append(Reason(Result.NOT_EVALUATED, "the image does not name its base image"))
    elif rule.allowed and not any(names_base(glob, fact.name) for glob in rule.allowed):
        reasons.append(Reason(rule.broken, f"{fact.name} is not among the allowed base images"))
    if rule.older_than is not None:
        reasons.append(_base_age(rule, rule.older_than, fact, facts))
    return reasons


def _base_age(rule: BaseImageRule, limit: timedelta, fact: BaseFact, facts: Facts) -> Reason:
    name = fact.name or "its base image"
    if fact.created is None:
        return Reason(Result.NOT_EVALUATED, f"nobody knows how old {name} is (the base image)")
    old = facts.today - fact.created
    if old > limit:
        return Reason(rule.broken, f"{name} is of {fact.created}, {old.days} days old")
    return Reason(Result.PASS, f"{name} is {old.days} days old")


def _soak_reason(rule: SoakRule, facts: Facts) -> Reason:
    if facts.soaked is None:
        return Reason(
            Result.NOT_EVALUATED, "nobody knows since when it stands in the environment before"
        )
    if facts.soaked < rule.at_least:
        left = words(rule.at_least - facts.soaked)
        return Reason(rule.broken, f"it stands there for {words(facts.soaked)}; wait {left} more")
    return Reason(Result.PASS, f"it stands there for {words(facts.soaked)}")
