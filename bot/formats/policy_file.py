"""`policy.yaml` and its file of exceptions: the rules that an environment's images are judged by.

Read from the default branch, never from the pull request that is judged. Unknown keys are errors
with file, line and the nearest known key. ``lockkeeper review`` reads the same file in any CI.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import PurePosixPath
from typing import Any, Final, Literal

import msgspec

from bot.domain.environments import BadNameError, GitHubRepository
from bot.domain.errors import ConfigurationError, RejectedError
from bot.domain.evidence import Severity, Status, plain_id
from bot.domain.licences import UNKNOWN
from bot.domain.oci import Digest
from bot.domain.packages import PackageClass, known_glob, read_purl
from bot.domain.pipeline_rules import did_you_mean
from bot.domain.policy import (
    Accepted,
    AnyRule,
    BaseImageRule,
    Clock,
    ConfigurationRule,
    Configured,
    EndOfLifeRule,
    EnvironmentPolicy,
    Grace,
    LicenceRule,
    PackageRule,
    Packages,
    Required,
    RiskException,
    Scope,
    SecretRule,
    SoakRule,
    Unevaluated,
    VulnerabilityRule,
)
from bot.domain.trust import IdentityRoot, KeyRoot, Root, TrustRoots
from bot.formats.markdown import plain
from bot.formats.placed_struct import PlacedDocument, Strict

_DURATION: Final = re.compile(r"([0-9]{1,4})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_BOUND: Final = re.compile(r"(>=?)\s*(\S+)")
_METRIC: Final = re.compile(r"[A-Z]{1,3}:[A-Z]{1,2}")
_DEFAULTS: Final = "defaults"
_AT_LEAST: Final = re.compile(r">=\s*(\S+)")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WORKFLOW: Final = re.compile(r"(?:[A-Za-z0-9._-]+/)*[A-Za-z0-9._-]+\.ya?ml")
_TEAM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
_EXCEPTION_LIMIT: Final = 5_000

Shared = dict[str, Any]
At = tuple[str | int, ...]
_Scope = Literal["introduced", "present", "newly_disclosed"]


class _Grace(Strict):
    after: Literal["fix_available", "disclosed", "first_seen"]
    for_: str = msgspec.field(name="for")


class _Rule(Strict):
    id: str
    deny: _Scope | None = None
    warn: _Scope | None = None
    when_not_evaluated: Literal["block", "warn"] | None = None
    applications: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    packages_except: tuple[str, ...] = ()
    from_: str | None = msgspec.field(default=None, name="from")
    below: str | None = None
    class_: Literal["os", "library", "secret"] | None = msgspec.field(default=None, name="class")
    vulnerabilities: tuple[str, ...] = ()
    severity: str | None = None
    kev: Literal[True] | None = None
    ransomware: Literal[True] | None = None
    epss: str | float | int | None = None
    cvss: str | float | int | None = None
    cvss_vector: str | None = None
    fix: Literal["available", "none"] | None = None
    status: str | list[str] | None = None
    paths: tuple[str, ...] = ()
    age: str | None = None
    max: int | None = None
    development: Literal["ignore"] | None = None
    expired_exceptions: Literal["keep"] | None = None
    grace: _Grace | None = None
    os_end_of_life: Literal[True] | None = None
    licence: list[str] | None = None
    licence_allow: list[str] | None = None
    user: Literal["root"] | None = None
    ports_allow: list[str | int] | None = None
    labels: tuple[str, ...] = ()
    changed: tuple[Literal["entrypoint", "user", "ports", "variables"], ...] = ()
    base_image_age: str | None = None
    base_image_allow: tuple[str, ...] = ()
    soak: str | None = None


class _Scan(Strict):
    platforms: Literal["all"] = "all"
    classes: list[Literal["os", "library"]] = msgspec.field(
        default_factory=lambda: ["os", "library"]
    )
    max_database_age: str | None = None
    max_report_age: str | None = None
    attested: bool | _Root | tuple[_Root, ...] = False
    max_feed_age: str = "7d"


class _Root(Strict):
    key: str | None = None
    issuer: str | None = None
    repository: str | None = None
    repository_id: int | None = None
    workflow: str | None = None
    ref: str | None = None
    builder: Literal["github-hosted"] | None = None
    source_matches: Literal[True] | None = None
    """Is always asked for; older files say so."""


class _Vex(Strict):
    accept: list[Literal["policy-repo", "signed"]] = msgspec.field(
        default_factory=lambda: ["policy-repo", "signed"]
    )
    documents: tuple[str, ...] = ()
    identities: tuple[str | _Root, ...] = ()
    statuses: list[Literal["not_affected", "fixed"]] = msgspec.field(
        default_factory=lambda: ["not_affected", "fixed"]
    )


class _Exceptions(Strict):
    file: str
    teams: tuple[str, ...] = ()
    max_life: str | None = None
    owner: Literal["required"] | None = None


class _Attest(Strict):
    vuln: bool = False


class _Require(Strict):
    sbom: bool | Literal["every-platform"] | _Root | tuple[_Root, ...] = False
    signature: bool | _Root | tuple[_Root, ...] = False
    provenance: bool | _Root | tuple[_Root, ...] = False


class _Environment(Strict):
    when_not_evaluated: Literal["block", "warn"] = "block"
    scan: _Scan = msgspec.field(default_factory=_Scan)
    rules: tuple[dict[str, Any], ...] = ()
    unknown_severity: str | None = None
    severity_from: list[Literal["vendor", "nvd"]] = msgspec.field(
        default_factory=lambda: ["vendor", "nvd"]
    )
    vex: _Vex = msgspec.field(default_factory=_Vex)
    exceptions: str | _Exceptions | None = None
    require: _Require = msgspec.field(default_factory=_Require)
    attest: _Attest = msgspec.field(default_factory=_Attest)


class _Revoked(Strict):
    digest: str
    reason: str


class _File(Strict):
    version: Literal[1]
    environments: dict[str, Any] = msgspec.field(default_factory=dict)
    defaults: dict[str, Any] = msgspec.field(default_factory=dict)
    revoked: list[_Revoked] = msgspec.field(default_factory=list)


class _Exception(Strict):
    reason: str
    expires: str
    vulnerability: str | None = None
    licence: str | None = None
    secret: str | None = None
    os_end_of_life: str | None = None
    lost: Literal["os", "library"] | None = None
    package: str | None = None
    environments: tuple[str, ...] = ()
    applications: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    path: str = ""
    owner: str = ""
    ticket: str = ""
    approved_by: tuple[str, ...] = ()
    """A note for readers: who approved is asked of the pull request that merged the entry."""


def read_policy(
    text: str, *, file: str, environments: Iterable[str] = ()
) -> Mapping[str, EnvironmentPolicy]:
    """The rules of every environment that the file names, wholly or not at all.

    ``defaults`` are the rules of ``environments`` that it does not name, too.

    Raises:
        ConfigurationError: File, line, what is wrong and the way out.
        LimitExceededError: Larger or deeper than the limits of docs/limits.md.
    """
    return _policies(PlacedDocument.read(text, file), environments)


def read_revoked(text: str, *, file: str) -> Mapping[Digest, str]:
    """The digests that never come anywhere -> why; errors as of `read_policy`."""
    placed = PlacedDocument.read(text, file)
    return _revoked(placed, placed.convert(placed.mapping(), _File, ()))


def _revoked(placed: PlacedDocument, content: _File) -> Mapping[Digest, str]:
    found: dict[Digest, str] = {}
    for index, one in enumerate(content.revoked):
        try:
            found[Digest(one.digest)] = plain(one.reason) or "no reason is given"
        except RejectedError as error:
            remedy = "write sha256: and 64 hex digits"
            raise placed.error(("revoked", index, "digest"), str(error), remedy) from error
    return found


def policy_mistakes(
    text: str, *, file: str, environments: Iterable[str] = ()
) -> Sequence[ConfigurationError]:
    """Everything that `read_policy` refuses, by line; empty: it is valid.

    Raises:
        ConfigurationError: It is no YAML.
        LimitExceededError: As of `read_policy`.
    """
    names = tuple(environments)
    return PlacedDocument.read(text, file).mistakes(lambda placed: _policies(placed, names))


def exception_mistakes(text: str, *, file: str) -> Sequence[ConfigurationError]:
    """Everything that `read_exceptions` refuses; as of `policy_mistakes`."""
    return PlacedDocument.read(text, file).mistakes(_entries) if text.strip() else ()


def _policies(
    placed: PlacedDocument, environments: Iterable[str]
) -> Mapping[str, EnvironmentPolicy]:
    content = placed.convert(placed.mapping(), _File, ())
    _revoked(placed, content)
    if not (content.environments or content.defaults or content.revoked):
        remedy = "write `environments:` or `defaults:`"
        raise placed.error((), "the file names no environment", remedy)
    if content.defaults:
        _environment(placed, _DEFAULTS, content.defaults, {})  # wrong ones are wrong everywhere
    names = dict.fromkeys((*content.environments, *(environments if content.defaults else ())))
    return {
        name: _environment(placed, name, content.environments.get(name), content.defaults)
        for name in names
    }


def policy_of(
    policies: Mapping[str, EnvironmentPolicy], environment: str, file: str
) -> EnvironmentPolicy:
    """The rules of one environment.

    Raises:
        ConfigurationError: The file does not name it.
    """
    found = policies.get(environment)
    if found is None:
        document = PlacedDocument.read("{}", file)
        raise document.error(
            (),
            f"no environment {environment!r}",
            did_you_mean(environment, list(policies)) or f"it has {', '.join(policies)}",
        )
    return found


def _environment(
    placed: PlacedDocument, name: str, given: object, defaults: dict[str, Any]
) -> EnvironmentPolicy:
    """The policy of one environment: its own keys, then the defaults'; rules are added up.

    A rule of the environment takes the place of the default one with its id.
    """
    at: tuple[str | int, ...] = (_DEFAULTS,) if name == _DEFAULTS else ("environments", name)
    own = placed.convert({} if given is None else given, _Environment, at)
    merged = {**defaults, **(given if isinstance(given, dict) else {})}
    content = placed.convert(merged, _Environment, at)
    rules = _rules(placed, own, (*at, "rules"))
    if defaults and name != _DEFAULTS:
        shared = placed.convert(defaults, _Environment, (_DEFAULTS,))
        ids = {rule.id for rule in rules}
        common = _rules(placed, shared, (_DEFAULTS, "rules"))
        rules = [*(rule for rule in common if rule.id not in ids), *rules]
    scan = content.scan
    exceptions = _exceptions(placed, content.exceptions, (*at, "exceptions"))
    return EnvironmentPolicy(
        name,
        tuple(rules),
        blocks_unevaluated=content.when_not_evaluated == "block",
        classes=frozenset(map(PackageClass, scan.classes)),
        unknown_severity=_unknown_severity(
            placed, content.unknown_severity, (*at, "unknown_severity")
        ),
        max_feed_age=_duration(placed, scan.max_feed_age, (*at, "scan", "max_feed_age")),
        max_exception=_optional(placed, exceptions.max_life, (*at, "exceptions", "max_life")),
        needs_owner=exceptions.owner is not None,
        max_database_age=_optional(
            placed, scan.max_database_age, (*at, "scan", "max_database_age")
        ),
        max_report_age=_optional(placed, scan.max_report_age, (*at, "scan", "max_report_age")),
        severity_from=tuple(content.severity_from),
        vex_statuses=frozenset(content.vex.statuses),
        vex_documents=_vex_documents(placed, content.vex, (*at, "vex")),
        exceptions_file=exceptions.file,
        exceptions_teams=exceptions.teams,
        required=_required(content.require),
        roots=_trust_roots(placed, content, at),
        accepts_signed_vex="signed" in content.vex.accept,
        attests_scans=content.attest.vuln,
    )


def _rules(
    placed: PlacedDocument, content: _Environment, at: tuple[str | int, ...]
) -> list[AnyRule]:
    rules = [
        _rule(placed, placed.convert(rule, _Rule, (*at, index)), (*at, index))
        for index, rule in enumerate(content.rules)
    ]
    seen: set[str] = set()
    for index, rule in enumerate(rules):
        if rule.id in seen:
            raise placed.error((*at, index, "id"), f"rule id {rule.id!r} stands twice")
        seen.add(rule.id)
    return rules


def _unknown_severity(
    placed: PlacedDocument, text: str | None, at: Sequence[str | int]
) -> Severity | None:
    if text is None:
        return None
    names = [severity.word for severity in Severity if severity is not Severity.UNKNOWN]
    if text.strip().lower() not in names:
        raise placed.error(at, f"not a severity: {text!r}", did_you_mean(text.lower(), names))
    return Severity.of(text)


def _required(require: _Require) -> Required:
    return Required(
        bool(require.sbom),
        bool(require.signature),
        bool(require.provenance),
        vouched_sbom=not isinstance(require.sbom, bool | str),
    )


def _trust_roots(
    placed: PlacedDocument, content: _Environment, at: tuple[str | int, ...]
) -> TrustRoots:
    require, wanted = content.require, (*at, "require")
    return TrustRoots(
        signature=_roots(placed, require.signature, (*wanted, "signature")),
        provenance=_roots(placed, require.provenance, (*wanted, "provenance")),
        sbom=_roots(placed, require.sbom, (*wanted, "sbom")),
        vex=_roots(placed, content.vex.identities, (*at, "vex", "identities")),
        scan=_scan_roots(placed, content.scan, (*at, "scan")),
    )


def _scan_roots(placed: PlacedDocument, scan: _Scan, at: tuple[str | int, ...]) -> tuple[Root, ...]:
    """Whose vulnerability reports count; an old one knows nothing of what came since."""
    if not scan.attested:
        return ()
    if scan.max_report_age is None:
        fact = "reports that are attested count for ever"
        raise placed.error((*at, "attested"), fact, "write max_report_age: 24h beside it")
    return _roots(placed, scan.attested, (*at, "attested"))


def _roots(
    placed: PlacedDocument,
    value: bool | str | _Root | tuple[str | _Root, ...],  # noqa: FBT001 - as it is written
    at: tuple[str | int, ...],
) -> tuple[Root, ...]:
    """Whose word counts; the application's own workflows where the file names nobody."""
    if isinstance(value, _Root):
        return (_root(placed, value, at),)
    if not isinstance(value, tuple) or not value:
        return (IdentityRoot(),)
    return tuple(
        _root(placed, _Root(repository=one) if isinstance(one, str) else one, (*at, index))
        for index, one in enumerate(value)
    )


def _root(placed: PlacedDocument, root: _Root, at: tuple[str | int, ...]) -> Root:
    if root.key is None:
        return _identity(placed, root, at)
    if root != _Root(key=root.key):
        raise placed.error(at, "a root is a key or an identity, not both", "write two roots")
    return KeyRoot(_path(placed, root.key, (*at, "key")))


def _identity(placed: PlacedDocument, root: _Root, at: tuple[str | int, ...]) -> IdentityRoot:
    if root.repository is not None:
        _check_repository(placed, root.repository, (*at, "repository"))
    if root.issuer is not None and not root.issuer.startswith("https://"):
        raise placed.error((*at, "issuer"), f"not an issuer: {root.issuer!r}", "write https://...")
    if root.workflow is not None and not _WORKFLOW.fullmatch(root.workflow):
        remedy = "write .github/workflows/release.yml"
        raise placed.error(
            (*at, "workflow"), f"not the path of a workflow: {root.workflow!r}", remedy
        )
    if root.repository_id is not None and root.repository is None:
        fact = "repository_id without repository: the application's id is known"
        raise placed.error((*at, "repository_id"), fact)
    return IdentityRoot(
        root.issuer or "",
        root.repository or "",
        root.repository_id,
        root.workflow or "",
        root.ref or "",
        hosted=root.builder is not None,
    )


def _check_repository(placed: PlacedDocument, name: str, at: tuple[str | int, ...]) -> None:
    if "*" in name or "?" in name:
        fact = f"wildcards over repositories trust each sandbox among them: {name!r}"
        raise placed.error(at, fact, "name each repository")
    try:
        GitHubRepository.parse(name)
    except BadNameError as error:
        raise placed.error(at, f"not a repository: {name!r}", "write owner/name") from error


def _exceptions(
    placed: PlacedDocument, value: str | _Exceptions | None, at: tuple[str | int, ...]
) -> _Exceptions:
    """The file of exceptions, and whose approval brings an entry into it."""
    if not isinstance(value, _Exceptions):
        return _Exceptions(file=_path(placed, value, at))
    for index, team in enumerate(value.teams):
        if not _TEAM.fullmatch(team):
            remedy = "write organization/team"
            raise placed.error((*at, "teams", index), f"not a team: {team!r}", remedy)
    return _Exceptions(
        file=_path(placed, value.file, (*at, "file")),
        teams=value.teams,
        max_life=value.max_life,
        owner=value.owner,
    )


def _vex_documents(placed: PlacedDocument, vex: _Vex, at: tuple[str | int, ...]) -> tuple[str, ...]:
    found = [
        _path(placed, path, (*at, "documents", index)) for index, path in enumerate(vex.documents)
    ]
    return tuple(found) if "policy-repo" in vex.accept else ()


def _path(placed: PlacedDocument, path: str | None, at: Sequence[str | int]) -> str:
    if path is None:
        return ""
    pure = PurePosixPath(path)
    is_local = not pure.is_absolute() and ".." not in pure.parts and "\\" not in path
    if not is_local or not pure.parts or not path.isprintable():
        raise placed.error(at, f"not a path below the policy file: {path!r}")
    return str(pure)


# Kind of rule -> the keys that make it one, and those that it may have besides.
_KINDS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "end of life": (("os_end_of_life",), ()),
    "secret": ((), ("severity",)),
    "licence": (
        ("licence", "licence_allow"),
        ("packages", "packages_except", "class_", "development"),
    ),
    "configuration": (("user", "ports_allow", "labels", "changed"), ()),
    "base image": (("base_image_age", "base_image_allow"), ()),
    "soak": (("soak",), ()),
    "package": (("below", "from_"), ("packages", "packages_except")),
    "vulnerability": (
        (
            *("vulnerabilities", "severity", "kev", "ransomware", "epss", "cvss", "cvss_vector"),
            *("fix", "status", "paths", "age", "max", "grace", "expired_exceptions"),
        ),
        ("packages", "packages_except", "class_", "development"),
    ),
}
_OF_ALL: Final = frozenset({"id", "deny", "warn", "when_not_evaluated", "applications", "images"})


def _rule(placed: PlacedDocument, rule: _Rule, at: tuple[str | int, ...]) -> AnyRule:
    if not _ID.fullmatch(rule.id):
        raise placed.error((*at, "id"), f"not a rule id: {rule.id!r}", "use letters, digits, . _ -")
    if (rule.deny is None) == (rule.warn is None):
        raise placed.error(at, f"rule {rule.id!r} needs either `deny` or `warn`")
    kind = _kind(placed, rule, at)
    shared: dict[str, Any] = {
        "id": rule.id,
        "denies": rule.deny is not None,
        "scope": Scope(rule.deny or rule.warn or ""),
        "packages": Packages(
            _globs(placed, rule.packages, (*at, "packages")),
            _globs(placed, rule.packages_except, (*at, "packages_except")),
        ),
        "applications": rule.applications,
        "images": rule.images,
        "unevaluated": Unevaluated(rule.when_not_evaluated) if rule.when_not_evaluated else None,
    }
    makers: dict[str, Callable[..., AnyRule]] = {
        "end of life": lambda *_: EndOfLifeRule(**shared),
        "secret": _secret_rule,
        "licence": _licence_rule,
        "configuration": _configuration_rule,
        "base image": _base_rule,
        "soak": _soak_rule,
        "package": _package_rule,
        "vulnerability": _vulnerability_rule,
    }
    return makers[kind](placed, rule, at, shared)


def _globs(placed: PlacedDocument, globs: Sequence[str], at: At) -> tuple[str, ...]:
    """Globs over package names; one that can match nothing would ban nothing, silently."""
    found: list[str] = []
    for index, glob in enumerate(globs):
        try:
            found.append(known_glob(glob))
        except ValueError as error:
            remedy = "write pkg:npm/lodash or pkg:deb/*; `below` and `from` name versions"
            fact = f"no package is named by {glob!r}: {error}"
            raise placed.error((*at, index), fact, remedy) from error
    return tuple(found)


def _kind(placed: PlacedDocument, rule: _Rule, at: tuple[str | int, ...]) -> str:
    """Which kind of rule it is, by the keys that it has; two kinds in one are an error."""
    empty = _Rule(id="")
    written = {
        name
        for name in _Rule.__struct_fields__
        if name not in _OF_ALL and getattr(rule, name) != getattr(empty, name)
    }
    if rule.class_ == "secret":
        found, extra = ["secret"], written - {"class_", "severity"}
    else:
        found = [name for name, (keys, _) in _KINDS.items() if written & set(keys)]
        if not found and "packages" in written and "class_" not in written:
            found = ["package"]
        found = found or ["vulnerability"]
        keys, besides = _KINDS[found[0]]
        extra = written - {*keys, *besides}
    if len(found) > 1 or extra:
        mixed = ", ".join(sorted(name.rstrip("_") for name in written))
        raise placed.error(
            at, f"rule {rule.id!r} mixes {' with '.join(found)}: {mixed}", "write two rules"
        )
    return found[0]


def _secret_rule(placed: PlacedDocument, rule: _Rule, at: At, shared: Shared) -> AnyRule:
    return SecretRule(at_least=_severity(placed, rule.severity, (*at, "severity")), **shared)


def _licence_rule(placed: PlacedDocument, rule: _Rule, at: At, shared: Shared) -> AnyRule:
    for key in ("licence", "licence_allow"):
        if getattr(rule, key) == []:
            raise placed.error((*at, key), "no licence is named")
    denied = [one for one in rule.licence or [] if one.strip().lower() != UNKNOWN]
    return LicenceRule(
        denied=tuple(denied),
        allowed=tuple(rule.licence_allow or ()),
        denies_unknown=len(denied) < len(rule.licence or []),
        ignores_development=rule.development is not None,
        classes=_classes(rule),
        **shared,
    )


def _configuration_rule(
    placed: PlacedDocument,  # noqa: ARG001 - one signature for all kinds
    rule: _Rule,
    at: At,  # noqa: ARG001 - one signature for all kinds
    shared: Shared,
) -> AnyRule:
    return ConfigurationRule(
        no_root=rule.user is not None,
        ports=None if rule.ports_allow is None else tuple(map(str, rule.ports_allow)),
        labels=rule.labels,
        unchanged=frozenset(map(Configured, rule.changed)),
        **shared,
    )


def _base_rule(placed: PlacedDocument, rule: _Rule, at: At, shared: Shared) -> AnyRule:
    older = None
    if rule.base_image_age is not None:
        older = _older_than(placed, rule.base_image_age, (*at, "base_image_age"))
    return BaseImageRule(older_than=older, allowed=rule.base_image_allow, **shared)


def _soak_rule(placed: PlacedDocument, rule: _Rule, at: At, shared: Shared) -> AnyRule:
    return SoakRule(at_least=_duration(placed, rule.soak or "", (*at, "soak")), **shared)


def _package_rule(placed: PlacedDocument, rule: _Rule, at: At, shared: Shared) -> AnyRule:
    if not rule.packages:
        remedy = "write packages: [pkg:maven/org.apache.logging.log4j/log4j-core]"
        key = "from" if rule.below is None else "below"
        raise placed.error((*at, key), f"`{key}` is a version of which packages?", remedy)
    return PackageRule(least=rule.from_ or "", below=rule.below or "", **shared)


def _vulnerability_rule(placed: PlacedDocument, rule: _Rule, at: At, shared: Shared) -> AnyRule:
    epss, epss_above = _number(placed, rule.epss, (*at, "epss"), 1, "probability", ">= 0.5")
    cvss, cvss_above = _number(placed, rule.cvss, (*at, "cvss"), 10, "CVSS score", ">= 7.0")
    if rule.max is not None and rule.max < 1:
        raise placed.error((*at, "max"), f"not a number of findings: {rule.max}", "write 1 or more")
    return VulnerabilityRule(
        identifiers=frozenset(map(plain_id, rule.vulnerabilities)),
        at_least=_severity(placed, rule.severity, (*at, "severity")),
        is_exploited=rule.kev is not None,
        is_ransomware=rule.ransomware is not None,
        epss_at_least=epss,
        epss_above=epss_above,
        cvss_at_least=cvss,
        cvss_above=cvss_above,
        vector=_vector(placed, rule.cvss_vector, (*at, "cvss_vector")),
        has_fix=rule.fix == "available",
        lacks_fix=rule.fix == "none",
        statuses=_statuses(placed, rule.status, (*at, "status")),
        paths=rule.paths,
        older_than=_older_than(placed, rule.age, (*at, "age")) if rule.age else None,
        at_most=rule.max or 0,
        ignores_development=rule.development is not None,
        keeps_expired=rule.expired_exceptions is not None,
        classes=_classes(rule),
        grace=_grace(placed, rule.grace, (*at, "grace")),
        **shared,
    )


def _classes(rule: _Rule) -> frozenset[PackageClass]:
    return frozenset([PackageClass(rule.class_)] if rule.class_ else PackageClass)


def _vector(placed: PlacedDocument, text: str | None, at: At) -> tuple[str, ...]:
    metrics = tuple(part for part in (text or "").upper().split("/") if part)
    for metric in metrics:
        if not _METRIC.fullmatch(metric):
            remedy = "write AV:N/PR:N"
            raise placed.error(at, f"not a metric of CVSS: {metric!r}", remedy)
    return metrics


def _statuses(placed: PlacedDocument, value: str | list[str] | None, at: At) -> frozenset[Status]:
    words = [value] if isinstance(value, str) else value or []
    known = [status.value for status in Status if status is not Status.UNKNOWN]
    for word in words:
        if word not in known:
            raise placed.error(at, f"not a status: {word!r}", did_you_mean(word, known))
    return frozenset(map(Status, words))


def _older_than(placed: PlacedDocument, text: str, at: At) -> timedelta:
    return _duration(placed, text.strip().removeprefix(">").removeprefix("=").strip(), at)


def _severity(placed: PlacedDocument, text: str | None, at: Sequence[str | int]) -> Severity | None:
    if text is None:
        return None
    found = _AT_LEAST.fullmatch(text.strip())
    word = found[1].lower() if found else text.strip().lower()
    names = [severity.word for severity in Severity if severity is not Severity.UNKNOWN]
    if word not in names:
        raise placed.error(at, f"not a severity: {text!r}", did_you_mean(word, names))
    if found is None and word != "critical":
        raise placed.error(at, f"severity {word!r} alone is ambiguous", f'write ">= {word}"')
    return Severity.of(word)


def _number(
    placed: PlacedDocument,
    value: str | float | None,
    at: Sequence[str | int],
    most: float,
    what: str,
    example: str,
) -> tuple[float | None, bool]:
    """``>= 0.5`` and ``> 0.5``; the second answer: whether the bound itself is outside."""
    if value is None:
        return None, False
    found = _BOUND.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        number = float(found[2] if found else value)
    except ValueError:
        number = -1
    if not 0 < number <= most:
        raise placed.error(at, f"not a {what}: {value!r}", f'write "{example}"')
    return number, bool(found) and found is not None and found[1] == ">"


def _grace(placed: PlacedDocument, grace: _Grace | None, at: tuple[str | int, ...]) -> Grace | None:
    if grace is None:
        return None
    return Grace(Clock(grace.after), _duration(placed, grace.for_, (*at, "for")))


def _optional(
    placed: PlacedDocument, text: str | None, at: Sequence[str | int]
) -> timedelta | None:
    return None if text is None else _duration(placed, text, at)


def _duration(placed: PlacedDocument, text: str, at: Sequence[str | int]) -> timedelta:
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise placed.error(at, f"not a length of time: {text!r}", "write 30m, 24h, 14d or 2w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def read_exceptions(text: str, *, file: str) -> tuple[RiskException, ...]:
    """The file of exceptions: a list, each entry with a reason and an end.

    Raises:
        ConfigurationError: File, line, what is wrong and the way out.
        LimitExceededError: Larger or deeper than the limits of docs/limits.md.
    """
    if not text.strip():
        return ()
    return _entries(PlacedDocument.read(text, file))


def _entries(placed: PlacedDocument) -> tuple[RiskException, ...]:
    entries = placed.value if placed.value is not None else []
    if not isinstance(entries, list):
        raise placed.error((), "the file must be a list", "start each exception with `- `")
    if len(entries) > _EXCEPTION_LIMIT:
        raise placed.error((), f"more than {_EXCEPTION_LIMIT} exceptions")
    return tuple(
        _exception(placed, placed.convert(entry, _Exception, (index,)), index)
        for index, entry in enumerate(entries)
    )


def _exception(placed: PlacedDocument, entry: _Exception, index: int) -> RiskException:
    kind, subject = _accepted(placed, entry, index)
    purl = read_purl(entry.package) if entry.package is not None else None
    wants_package = kind is Accepted.VULNERABILITY or entry.package is not None
    if wants_package and purl is None:
        raise placed.error(
            (index, "package") if entry.package is not None else (index,),
            f"not a package URL: {entry.package!r}"
            if entry.package is not None
            else "no package is named",
            "write pkg:deb/debian/perl-base; an exception for every package is none",
        )
    if not entry.reason.strip():
        raise placed.error((index, "reason"), "reason is empty")
    try:
        expires = date.fromisoformat(entry.expires)
    except ValueError as error:
        raise placed.error(
            (index, "expires"), f"not a date: {entry.expires!r}", "write YYYY-MM-DD"
        ) from error
    return RiskException(
        vulnerability=subject,
        package=purl.package if purl else None,
        version=purl.version if purl else "",
        environments=tuple(entry.environments),
        reason=entry.reason,
        ticket=entry.ticket,
        expires=expires,
        file=placed.file,
        line=placed.line((index,)) or 0,
        kind=kind,
        qualifiers=purl.qualifiers if purl else (),
        applications=entry.applications,
        images=entry.images,
        path=entry.path,
        owner=entry.owner,
    )


def _accepted(placed: PlacedDocument, entry: _Exception, index: int) -> tuple[Accepted, str]:
    """What an entry accepts: exactly one thing."""
    named = [
        (kind, value) for kind in Accepted if (value := getattr(entry, kind.value)) is not None
    ]
    if len(named) != 1:
        words = ", ".join(f"`{kind.value}`" for kind in Accepted)
        raise placed.error((index,), "an exception is for one thing", f"write one of {words}")
    kind, subject = named[0]
    if not subject.strip():
        raise placed.error((index, kind.value), f"{kind.value} is empty")
    return kind, plain_id(subject) if kind is Accepted.VULNERABILITY else subject.strip()
