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
from bot.domain.evidence import Finding, Severity
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
        return not self.only or any(_covers(glob, package) for glob in self.only)


def _covers(glob: str, package: PackageName) -> bool:
    """Whether a glob names the package or something that it is in: ``pkg:deb/*`` is all of deb."""
    name = str(package)
    return matches(glob, name) or matches(f"{glob}/**", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What every rule has."""

    id: str
    denies: bool
    """Else it warns."""
    scope: Scope
    packages: Packages = field(default_factory=Packages)

    @property
    def broken(self) -> Result:
        """What it answers where something breaks it."""
        return Result.FAIL if self.denies else Result.WARN


@dataclass(frozen=True, slots=True, kw_only=True)
class VulnerabilityRule(Rule):
    """A vulnerability that has all of these is not wanted."""

    at_least: Severity | None = None
    is_exploited: bool = False
    """Listed in CISA's catalogue (``kev``)."""
    epss_at_least: float | None = None
    has_fix: bool = False
    classes: frozenset[PackageClass] = frozenset(PackageClass)
    grace: Grace | None = None

    @property
    def title(self) -> str:
        """The rule as a sentence."""
        words = [
            *([f"rated {self.at_least.word} or worse"] if self.at_least else []),
            *(["listed as exploited (KEV)"] if self.is_exploited else []),
            *([f"with EPSS {self.epss_at_least:.0%} or more"] if self.epss_at_least else []),
            *(["with a fix"] if self.has_fix else []),
        ]
        if self.classes != frozenset(PackageClass):
            words.append(f"in {' and '.join(sorted(self.classes))} packages")
        return " ".join((f"No {_SCOPES[self.scope]} vulnerability", *words))


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

    @property
    def title(self) -> str:
        """The rule as a sentence."""
        return f"No {_SCOPES[self.scope]} secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceRule(Rule):
    """Packages under these licences are not wanted."""

    denied: tuple[str, ...]

    @property
    def title(self) -> str:
        """The rule as a sentence."""
        return f"No {_SCOPES[self.scope]} package under a denied licence"


_SCOPES: Final = {
    Scope.INTRODUCED: "introduced",
    Scope.PRESENT: "present",
    Scope.NEWLY_DISCLOSED: "newly disclosed",
}
AnyRule = VulnerabilityRule | EndOfLifeRule | SecretRule | LicenceRule


@dataclass(frozen=True, slots=True)
class Backing:
    """Who let an exception into the file: the merged pull request that brought it."""

    pull_request: int = 0
    """0: none did."""
    approved_by: tuple[str, ...] = ()
    defect: str = ""
    """Why the exception holds nothing; empty: it may."""


@dataclass(frozen=True, slots=True)
class RiskException:
    """A vulnerability in a package that is accepted for a while, and why."""

    vulnerability: str
    package: PackageName
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
    backing: Backing | None = None
    """None: nobody asked, as where files are reviewed without a repository."""

    @property
    def label(self) -> str:
        """What people call it."""
        return self.ticket or f"{self.file} line {self.line}"

    @property
    def origin(self) -> str:
        """The label, the pull request that brought it, and who approved that."""
        if self.backing is None or not self.backing.pull_request:
            return self.label
        approved = ", ".join(self.backing.approved_by) or "nobody"
        return f"{self.label} (pull request {self.backing.pull_request}, approved by {approved})"


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


@dataclass(frozen=True, slots=True)
class Check:
    """One rule's answer and what led to it."""

    id: str
    title: str
    result: Result
    detail: str
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a policy."""

    result: Result
    checks: tuple[Check, ...]
    blocks: bool
    """Whether the promotion may not go on."""
    has_policy: bool = True


NO_POLICY: Final = Verdict(Result.NOT_EVALUATED, (), blocks=False, has_policy=False)


def verdict(checks: Sequence[Check], *, blocks_unevaluated: bool) -> Verdict:
    """All answers together: one failure fails, then what was not evaluated decides."""
    result = worst([check.result for check in checks])
    blocks = result is Result.FAIL or (result is Result.NOT_EVALUATED and blocks_unevaluated)
    return Verdict(result, tuple(checks), blocks)


def age(since: datetime, at: datetime) -> timedelta:
    """How old something is; never negative."""
    return max(timedelta(0), at - since)


def words(length: timedelta) -> str:
    """A length of time for people: ``4 h``, ``3 days``."""
    hours = int(length.total_seconds() // 3600)
    if hours < 48:  # noqa: PLR2004 - beyond two days nobody counts hours
        return f"{hours} h" if hours else f"{int(length.total_seconds() // 60)} min"
    return f"{hours // 24} days"
