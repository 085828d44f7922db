"""The rules of an environment, and the verdict with its reasons.

Every check has four results. *Not evaluated* is what a check says that lacks data: it is neither
a pass nor a failure, and the environment says whether it blocks. Time is a fact like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from bot.domain.environments import matches
from bot.domain.evidence import Finding, Severity, Status
from bot.domain.packages import PackageClass, PackageName
from bot.domain.trust import TrustRoots


class Result(StrEnum):
    """The answer of a check, and of all of them."""

    PASS = "pass"  # noqa: S105 - an answer, no password
    WARN = "warn"
    FAIL = "fail"
    NOT_EVALUATED = "not_evaluated"


_WORST_FIRST: Final = (Result.FAIL, Result.NOT_EVALUATED, Result.WARN, Result.PASS)


def worst(results: Sequence[Result]) -> Result:
    """What several answers say together; nothing at all is *not evaluated*."""
    return next((result for result in _WORST_FIRST if result in results), Result.NOT_EVALUATED)


class Scope(StrEnum):
    """Which findings a rule looks at."""

    INTRODUCED = "introduced"
    PRESENT = "present"
    NEWLY_DISCLOSED = "newly_disclosed"


class Clock(StrEnum):
    """What starts a grace period."""

    FIX_AVAILABLE = "fix_available"
    DISCLOSED = "disclosed"
    FIRST_SEEN = "first_seen"


@dataclass(frozen=True, slots=True)
class Grace:
    """Time that a finding may stay before its rule denies it."""

    after: Clock
    length: timedelta


@dataclass(frozen=True, slots=True)
class Packages:
    """Which packages a rule is about: globs over package URLs without version."""

    only: tuple[str, ...] = ()
    """Empty: every package."""
    not_: tuple[str, ...] = ()

    def include(self, package: PackageName) -> bool:
        """Whether the rule is about this package."""
        if any(_covers(glob, package) for glob in self.not_):
            return False
        return not self.only or any(_names(glob, package) for glob in self.only)


def _names(glob: str, package: PackageName) -> bool:
    """Whether a glob may name a package: of Go and npm in another case, too.

    A policy that bans one of two packages that differ by their case alone bans both.
    """
    if package.type in {"golang", "npm"} and _covers(
        glob.lower(), PackageName(*map(str.lower, package))
    ):
        return True
    return _covers(glob, package)


def _covers(glob: str, package: PackageName) -> bool:
    """Whether a glob names the package or something that it is in: ``pkg:deb/*`` is all of deb."""
    name = str(package)
    return matches(glob, name) or matches(f"{glob}/**", name)


def names_image(glob: str, repository: str) -> bool:
    """Whether a glob names a repository, whole or by its last parts: ``shop``, ``acme/*``."""
    return bool(repository) and (matches(glob, repository) or matches(f"**/{glob}", repository))


def names_base(glob: str, reference: str) -> bool:
    """Whether a glob names a base image: whole, with the tag and with or without the digest.

    A name without a registry is Docker's own, as everywhere; anybody may call theirs so elsewhere.
    """
    name, _, digest = reference.partition("@")
    names = {_full_reference(name)} | ({_full_reference(reference)} if digest else set())
    return any(matches(_full_reference(glob), one) for one in names)


def _full_reference(name: str) -> str:
    """With the registry and `library/` that Docker leaves out of its own names."""
    first, slash, _ = name.partition("/")
    if not slash:
        return name if name == "**" else f"docker.io/library/{name}"
    if first in {"**", "localhost"} or any(sign in first for sign in ".:*"):
        return name.replace("index.docker.io/", "docker.io/", 1)
    return f"docker.io/{name}"


def names_path(glob: str, path: str) -> bool:
    """Whether a glob or folder names a path; leading slashes are left out, as Trivy does."""
    glob, path = glob.strip("/"), path.lstrip("/")
    return matches(glob, path) or matches(f"{glob}/**", path)


class Unevaluated(StrEnum):
    """What follows where a rule lacks its data."""

    BLOCK = "block"
    WARN = "warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What every rule has."""

    id: str
    denies: bool
    """Else it warns."""
    scope: Scope
    packages: Packages = field(default_factory=Packages)
    applications: tuple[str, ...] = ()
    """Globs; empty: every application."""
    images: tuple[str, ...] = ()
    """Globs over repositories; empty: every image."""
    unevaluated: Unevaluated | None = None
    """``when_not_evaluated`` of this rule; None: as the environment says."""

    @property
    def broken(self) -> Result:
        """What it answers where something breaks it."""
        return Result.FAIL if self.denies else Result.WARN

    def is_for_image(self, repository: str) -> bool:
        """Whether it is about this image."""
        return not self.images or any(names_image(glob, repository) for glob in self.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class VulnerabilityRule(Rule):
    """A vulnerability that has all of these is not wanted."""

    at_least: Severity | None = None
    is_exploited: bool = False
    """Listed in CISA's catalogue (``kev``)."""
    is_ransomware: bool = False
    """Used in ransomware campaigns, by that catalogue."""
    epss_at_least: float | None = None
    epss_above: bool = False
    """``>`` in place of ``>=``."""
    cvss_at_least: float | None = None
    cvss_above: bool = False
    vector: tuple[str, ...] = ()
    """Metrics that its CVSS vector has: ``AV:N``."""
    has_fix: bool = False
    lacks_fix: bool = False
    statuses: frozenset[Status] = frozenset()
    """Empty: any."""
    identifiers: frozenset[str] = frozenset()
    """Empty: any."""
    paths: tuple[str, ...] = ()
    older_than: timedelta | None = None
    """Since its fix appeared, else since its disclosure."""
    at_most: int = 0
    """So many may be there."""
    ignores_development: bool = False
    keeps_expired: bool = False
    """What was accepted for a while and is not any more may stay where it is already."""
    classes: frozenset[PackageClass] = frozenset(PackageClass)
    grace: Grace | None = None

    @property
    def title(self) -> str:
        """The rule as a sentence."""
        start = f"No {_SCOPES[self.scope]} vulnerability"
        if self.at_most:
            start = f"At most {self.at_most} {_SCOPES[self.scope]} vulnerabilities"
        return " ".join((start, *self._conditions))

    @property
    def _conditions(self) -> list[str]:
        age = words(self.older_than) if self.older_than else ""
        named = [
            (bool(self.identifiers), f"among {len(self.identifiers)} named ones"),
            (self.at_least is not None, f"rated {(self.at_least or Severity.LOW).word} or worse"),
            (self.is_exploited and not self.is_ransomware, "listed as exploited (KEV)"),
            (self.is_ransomware, "used for ransomware (KEV)"),
            (
                self.epss_at_least is not None,
                f"with EPSS {_bound(f'{self.epss_at_least or 0:.0%}', above=self.epss_above)}",
            ),
            (
                self.cvss_at_least is not None,
                f"with CVSS {_bound(f'{self.cvss_at_least or 0:g}', above=self.cvss_above)}",
            ),
            (bool(self.vector), f"with CVSS {'/'.join(self.vector)}"),
            (self.has_fix, "with a fix"),
            (self.lacks_fix, "without a fix"),
            (bool(self.statuses), f"that is {' or '.join(sorted(self.statuses))}"),
            (bool(age), f"known for more than {age}, since its fix where that is known"),
            (bool(self.paths), f"below {', '.join(self.paths[:3])}"),
            (self.ignores_development, "outside development dependencies"),
            (
                self.classes != frozenset(PackageClass),
                f"in {' and '.join(sorted(self.classes))} packages",
            ),
        ]
        return [text for holds, text in named if holds]


def _bound(value: str, *, above: bool) -> str:
    return f"above {value}" if above else f"{value} or more"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRule(Rule):
    """These packages are not wanted, whatever is known about them."""

    least: str = ""
    """Of these only versions from this one on; empty: any."""
    below: str = ""
    """Of these only versions below this one; empty: any."""

    @property
    def title(self) -> str:
        """The rule as a sentence."""
        least = f" from {self.least}" if self.least else ""
        below = f" below {self.below}" if self.below else ""
        return f"No {_SCOPES[self.scope]} package that is banned{least}{below}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfLifeRule(Rule):
    """An operating system that gets no fixes any more is not wanted."""

    @property
    def title(self) -> str:
        """The rule as a sentence."""
        return "Operating system is maintained"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRule(Rule):
    """Secrets in the image are not wanted."""

    at_least: Severity | None = None

    @property
    def title(self) -> str:
        """The rule as a sentence."""
        rated = f" rated {self.at_least.word} or worse" if self.at_least else ""
        return f"No {_SCOPES[self.scope]} secret{rated}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceRule(Rule):
    """Packages under these licences are not wanted, or under any other than these."""

    denied: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    """Empty: every licence that is not denied."""
    denies_unknown: bool = False
    """Whether a package without a known licence breaks it."""
    ignores_development: bool = False
    classes: frozenset[PackageClass] = frozenset(PackageClass)

    @property
    def title(self) -> str:
        """The rule as a sentence."""
        kind = "outside the allowed licences" if self.allowed else "under a denied licence"
        return f"No {_SCOPES[self.scope]} package {kind}"


class Configured(StrEnum):
    """What of an image's configuration a change is told of."""

    ENTRYPOINT = "entrypoint"
    USER = "user"
    PORTS = "ports"
    VARIABLES = "variables"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationRule(Rule):
    """How an image must not run."""

    no_root: bool = False
    ports: tuple[str, ...] | None = None
    """The only ones that it may expose; None: any."""
    labels: tuple[str, ...] = ()
    """Labels that it must have."""
    unchanged: frozenset[Configured] = frozenset()
    """What has to be as in the image that runs."""

    @property
    def title(self) -> str:
        """The rule as a sentence."""
        parts = [
            *(["does not run as root"] if self.no_root else []),
            *(
                [f"exposes no port but {', '.join(self.ports) or 'none'}"]
                if self.ports is not None
                else []
            ),
            *([f"has the labels {', '.join(self.labels)}"] if self.labels else []),
            *([f"keeps its {', '.join(sorted(self.unchanged))}"] if self.unchanged else []),
        ]
        return f"Image {' and '.join(parts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImageRule(Rule):
    """What images may be built on."""

    older_than: timedelta | None = None
    allowed: tuple[str, ...] = ()
    """Globs over references; empty: any."""

    @property
    def title(self) -> str:
        """The rule as a sentence."""
        parts = [
            *([f"is at most {words(self.older_than)} old"] if self.older_than else []),
            *(["is one of the allowed ones"] if self.allowed else []),
        ]
        return f"Base image {' and '.join(parts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakRule(Rule):
    """How long an image must have stood in the environment before."""

    at_least: timedelta

    @property
    def title(self) -> str:
        """The rule as a sentence."""
        return f"Stood for {words(self.at_least)} in the environment before"


_SCOPES: Final = {
    Scope.INTRODUCED: "introduced",
    Scope.PRESENT: "present",
    Scope.NEWLY_DISCLOSED: "newly disclosed",
}
AnyRule = (
    VulnerabilityRule
    | PackageRule
    | EndOfLifeRule
    | SecretRule
    | LicenceRule
    | ConfigurationRule
    | BaseImageRule
    | SoakRule
)


@dataclass(frozen=True, slots=True)
class Authorisation:
    """Who let an exception into the file: the merged pull request that brought it."""

    pull_request: int = 0
    """0: none did."""
    approved_by: tuple[str, ...] = ()
    defect: str = ""
    """Why the exception holds nothing; empty: it may."""


class Accepted(StrEnum):
    """What an exception accepts."""

    VULNERABILITY = "vulnerability"
    LICENCE = "licence"
    SECRET = "secret"  # noqa: S105 - a kind of finding
    END_OF_LIFE = "os_end_of_life"
    LOST = "lost"
    """Packages of a class about which the new report says nothing."""


@dataclass(frozen=True, slots=True)
class RiskException:
    """A risk that is accepted for a while, and why."""

    vulnerability: str
    """Or whatever else is accepted: a licence, the rule of a secret, a class of packages."""
    package: PackageName | None
    """None: where it is about no package."""
    version: str
    """Empty: every version."""
    environments: tuple[str, ...]
    """Empty: every environment."""
    reason: str
    ticket: str
    expires: date
    """The last day on which it holds, UTC."""
    file: str
    line: int
    backing: Authorisation | None = None
    """None: nobody asked, as where files are reviewed without a repository."""
    kind: Accepted = Accepted.VULNERABILITY
    qualifiers: tuple[tuple[str, str], ...] = ()
    """Of the package: where there are some, they have to be the installed one's."""
    applications: tuple[str, ...] = ()
    """Globs; empty: every application."""
    images: tuple[str, ...] = ()
    """Globs over repositories; empty: every image."""
    path: str = ""
    """A glob or folder below which it is installed; empty: anywhere."""
    owner: str = ""
    """Who answers for it."""

    @property
    def label(self) -> str:
        """What people call it."""
        return self.ticket or f"{self.file} line {self.line}"

    @property
    def origin(self) -> str:
        """The label, the pull request that brought it, and who approved that."""
        label = f"{self.label}, owner {self.owner}" if self.owner else self.label
        if self.backing is None or not self.backing.pull_request:
            return label
        approved = ", ".join(self.backing.approved_by) or "nobody"
        return f"{label} (pull request {self.backing.pull_request}, approved by {approved})"


# The longest that an exception may still run, by what it excepts.
EXPLOITED_CEILING: Final = timedelta(days=7)
CEILINGS: Final = {Severity.CRITICAL: timedelta(days=30), Severity.HIGH: timedelta(days=90)}


@dataclass(frozen=True, slots=True)
class Required:
    """Evidence that must be there."""

    sbom: bool = False
    signature: bool = False
    provenance: bool = False
    vouched_sbom: bool = False
    """An SBOM that nobody who counts signed is none."""


@dataclass(frozen=True, slots=True)
class EnvironmentPolicy:
    """The rules of one environment."""

    environment: str
    rules: tuple[AnyRule, ...] = ()
    unknown_severity: Severity | None = None
    """What an unrated vulnerability is taken for; None: nobody knows."""
    max_feed_age: timedelta = timedelta(days=7)
    """Older KEV and EPSS say nothing any more."""
    max_exception: timedelta | None = None
    """The longest that any exception may still run."""
    needs_owner: bool = False
    """Whether an exception without an owner holds nothing."""
    blocks_unevaluated: bool = True
    """``when_not_evaluated: block``."""
    classes: frozenset[PackageClass] = frozenset(PackageClass)
    """What a scan must cover."""
    max_database_age: timedelta | None = None
    max_report_age: timedelta | None = None
    severity_from: tuple[str, ...] = ("vendor", "nvd")
    vex_statuses: frozenset[str] = frozenset({"not_affected", "fixed"})
    vex_documents: tuple[str, ...] = ()
    """VEX that counts because it stands beside the policy; relative to the policy file."""
    exceptions_file: str = ""
    """Relative to the policy file; empty: none."""
    exceptions_teams: tuple[str, ...] = ()
    """``organization/team`` of which one has to approve what brings an exception; empty: any
    merged pull request may."""
    required: Required = field(default_factory=Required)
    roots: TrustRoots = field(default_factory=TrustRoots)
    """Whose word about an image counts."""
    attests_scans: bool = False
    """Whether what the scanner said of each platform is attested when it is sealed."""
    accepts_signed_vex: bool = True
    """Whether VEX counts that hangs on the image and that a root vouches for."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A leaf of the verdict: one fact about one thing."""

    result: Result
    text: str
    finding: Finding | None = None
    """What it is about, where it is about a vulnerability."""
    place: tuple[str, str] | None = None
    """The image and the platform that it is about; None: it is about no single one."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule's answer and what led to it."""

    id: str
    title: str
    result: Result
    detail: str
    reasons: tuple[Reason, ...] = ()
    unevaluated: Unevaluated | None = None
    """What follows where it was not evaluated; None: as the environment says."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a policy."""

    result: Result
    checks: tuple[Check, ...]
    blocks: bool
    """Whether the promotion may not go on."""
    has_policy: bool = True

    @property
    def shown(self) -> Shown:
        """What people read off it."""
        is_tolerated = self.result is Result.NOT_EVALUATED and not self.blocks
        return Shown.TOLERATED if is_tolerated else Shown(self.result)


class Shown(StrEnum):
    """What people read off a verdict: the answer, and whether what is not known stops it."""

    PASS = "pass"  # noqa: S105 - an answer, no password
    WARN = "warn"
    FAIL = "fail"
    UNDECIDED = "not_evaluated"
    TOLERATED = "tolerated"
    """Not evaluated, and not blocked for that."""


NO_POLICY: Final = Verdict(Result.NOT_EVALUATED, (), blocks=False, has_policy=False)


def verdict(checks: Sequence[Check], *, blocks_unevaluated: bool) -> Verdict:
    """All answers together: one failure fails, then what was not evaluated decides."""
    result = worst([check.result for check in checks])
    blocking = [
        check
        for check in checks
        if check.result is Result.NOT_EVALUATED
        and (blocks_unevaluated or check.unevaluated is Unevaluated.BLOCK)
    ]
    return Verdict(result, tuple(checks), result is Result.FAIL or bool(blocking))


def age(since: datetime, at: datetime) -> timedelta:
    """How old something is; never negative."""
    return max(timedelta(0), at - since)


def words(length: timedelta) -> str:
    """A length of time for people: ``4 h``, ``3 days``."""
    hours = int(length.total_seconds() // 3600)
    if hours < 48:  # noqa: PLR2004 - beyond two days nobody counts hours
        return f"{hours} h" if hours else f"{int(length.total_seconds() // 60)} min"
    return f"{hours // 24} days"
