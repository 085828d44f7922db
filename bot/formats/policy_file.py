"""`policy.yaml` and its file of exceptions: the rules that an environment's images are judged by.

Read from the default branch, never from the pull request that is judged. Unknown keys are errors
with file, line and the nearest known key. ``lockkeeper review`` reads the same file in any CI.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import PurePosixPath
from typing import Any, Final, Literal

import msgspec

from bot.domain.environments import BadNameError, GitHubRepository
from bot.domain.evidence import Severity
from bot.domain.packages import PackageClass, read_purl
from bot.domain.pipeline_rules import did_you_mean
from bot.domain.policy import (
    AnyRule,
    Clock,
    EndOfLifeRule,
    EnvironmentPolicy,
    Grace,
    LicenceRule,
    Packages,
    Required,
    RiskException,
    Scope,
    SecretRule,
    VulnerabilityRule,
)
from bot.domain.trust import IdentityRoot, KeyRoot, Root, TrustRoots
from bot.formats.placed_struct import PlacedDocument, Strict

_DURATION: Final = re.compile(r"([0-9]{1,4})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AT_LEAST: Final = re.compile(r">=\s*(\S+)")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WORKFLOW: Final = re.compile(r"(?:[A-Za-z0-9._-]+/)*[A-Za-z0-9._-]+\.ya?ml")
_TEAM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
_EXCEPTION_LIMIT: Final = 5_000

_Scope = Literal["introduced", "present", "newly_disclosed"]


class _Grace(Strict):
    after: Literal["fix_available", "disclosed", "first_seen"]
    for_: str = msgspec.field(name="for")


class _Rule(Strict):
    id: str
    deny: _Scope | None = None
    warn: _Scope | None = None
    severity: str | None = None
    kev: Literal[True] | None = None
    epss: str | float | int | None = None
    fix: Literal["available"] | None = None
    grace: _Grace | None = None
    class_: Literal["os", "library", "secret"] | None = msgspec.field(default=None, name="class")
    os_end_of_life: Literal[True] | None = None
    licence: list[str] | None = None
    packages: tuple[str, ...] = ()
    packages_except: tuple[str, ...] = ()


class _Scan(Strict):
    platforms: Literal["all"] = "all"
    classes: list[Literal["os", "library"]] = msgspec.field(
        default_factory=lambda: ["os", "library"]
    )
    max_database_age: str | None = None
    max_report_age: str | None = None
    attested: bool | _Root | tuple[_Root, ...] = False


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
    severity_from: list[Literal["vendor", "nvd"]] = msgspec.field(
        default_factory=lambda: ["vendor", "nvd"]
    )
    vex: _Vex = msgspec.field(default_factory=_Vex)
    exceptions: str | _Exceptions | None = None
    require: _Require = msgspec.field(default_factory=_Require)
    attest: _Attest = msgspec.field(default_factory=_Attest)


class _File(Strict):
    version: Literal[1]
    environments: dict[str, dict[str, Any] | None]


class _Exception(Strict):
    vulnerability: str
    package: str
    reason: str
    expires: str
    environments: tuple[str, ...] = ()
    ticket: str = ""
    approved_by: tuple[str, ...] = ()
    """A note for readers: who approved is asked of the pull request that merged the entry."""


def read_policy(text: str, *, file: str) -> Mapping[str, EnvironmentPolicy]:
    """The rules of every environment that the file names, wholly or not at all.

    Raises:
        ConfigurationError: File, line, what is wrong and the way out.
        LimitExceededError: Larger or deeper than the limits of docs/limits.md.
    """
    placed = PlacedDocument.read(text, file)
    content = placed.convert(placed.mapping(), _File, ())
    return {
        name: _environment(placed, name, entry or {})
        for name, entry in content.environments.items()
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


def _environment(placed: PlacedDocument, name: str, entry: dict[str, Any]) -> EnvironmentPolicy:
    at = ("environments", name)
    content = placed.convert(entry, _Environment, at)
    rules = [
        _rule(placed, placed.convert(rule, _Rule, (*at, "rules", index)), (*at, "rules", index))
        for index, rule in enumerate(content.rules)
    ]
    seen: set[str] = set()
    for index, rule in enumerate(rules):
        if rule.id in seen:
            raise placed.error((*at, "rules", index, "id"), f"rule id {rule.id!r} stands twice")
        seen.add(rule.id)
    scan = content.scan
    exceptions = _exceptions(placed, content.exceptions, (*at, "exceptions"))
    return EnvironmentPolicy(
        name,
        tuple(rules),
        blocks_unevaluated=content.when_not_evaluated == "block",
        classes=frozenset(map(PackageClass, scan.classes)),
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
        return _Exceptions(_path(placed, value, at))
    for index, team in enumerate(value.teams):
        if not _TEAM.fullmatch(team):
            remedy = "write organization/team"
            raise placed.error((*at, "teams", index), f"not a team: {team!r}", remedy)
    return _Exceptions(_path(placed, value.file, (*at, "file")), value.teams)


def _vex_documents(placed: PlacedDocument, vex: _Vex, at: tuple[str | int, ...]) -> tuple[str, ...]:
    found = [
        _path(placed, path, (*at, "documents", index)) for index, path in enumerate(vex.documents)
    ]
    return tuple(found) if "policy-repo" in vex.accept else ()


def _path(placed: PlacedDocument, path: str | None, at: Sequence[str | int]) -> str:
    if path is None:
        return ""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path or not pure.parts:
        raise placed.error(at, f"not a path below the policy file: {path!r}")
    return str(pure)


def _rule(placed: PlacedDocument, rule: _Rule, at: tuple[str | int, ...]) -> AnyRule:
    if not _ID.fullmatch(rule.id):
        raise placed.error((*at, "id"), f"not a rule id: {rule.id!r}", "use letters, digits, . _ -")
    if (rule.deny is None) == (rule.warn is None):
        raise placed.error(at, f"rule {rule.id!r} needs either `deny` or `warn`")
    shared: dict[str, Any] = {
        "id": rule.id,
        "denies": rule.deny is not None,
        "scope": Scope(rule.deny or rule.warn or ""),
        "packages": Packages(tuple(rule.packages), tuple(rule.packages_except)),
    }
    is_about_vulnerabilities = any(
        part is not None for part in (rule.severity, rule.kev, rule.epss, rule.fix, rule.grace)
    ) or rule.class_ in {"os", "library"}
    kinds = [
        *(["os_end_of_life"] if rule.os_end_of_life else []),
        *(["class: secret"] if rule.class_ == "secret" else []),
        *(["licence"] if rule.licence is not None else []),
        *(["severity, kev, epss, fix, grace or class"] if is_about_vulnerabilities else []),
    ]
    if len(kinds) > 1:
        raise placed.error(at, f"rule {rule.id!r} mixes {' with '.join(kinds)}", "write two rules")
    if rule.os_end_of_life:
        return EndOfLifeRule(**shared)
    if rule.class_ == "secret":
        return SecretRule(**shared)
    if rule.licence is not None:
        if not rule.licence:
            raise placed.error((*at, "licence"), "no licence is named")
        return LicenceRule(denied=tuple(rule.licence), **shared)
    return VulnerabilityRule(
        at_least=_severity(placed, rule.severity, (*at, "severity")),
        is_exploited=rule.kev is not None,
        epss_at_least=_epss(placed, rule.epss, (*at, "epss")),
        has_fix=rule.fix is not None,
        classes=frozenset([PackageClass(rule.class_)] if rule.class_ else PackageClass),
        grace=_grace(placed, rule.grace, (*at, "grace")),
        **shared,
    )


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


def _epss(
    placed: PlacedDocument, value: str | float | None, at: Sequence[str | int]
) -> float | None:
    if value is None:
        return None
    found = _AT_LEAST.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        score = float(found[1] if found else value)
    except ValueError:
        score = -1
    if not 0 < score <= 1:
        raise placed.error(at, f"not a probability: {value!r}", 'write ">= 0.5"')
    return score


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
    placed = PlacedDocument.read(text, file)
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
    purl = read_purl(entry.package)
    if purl is None:
        raise placed.error(
            (index, "package"),
            f"not a package URL: {entry.package!r}",
            "write pkg:deb/debian/perl-base; an exception for every package is none",
        )
    for name in ("reason", "vulnerability"):
        if not getattr(entry, name).strip():
            raise placed.error((index, name), f"{name} is empty")
    try:
        expires = date.fromisoformat(entry.expires)
    except ValueError as error:
        raise placed.error(
            (index, "expires"), f"not a date: {entry.expires!r}", "write YYYY-MM-DD"
        ) from error
    return RiskException(
        vulnerability=entry.vulnerability.strip(),
        package=purl.package,
        version=purl.version,
        environments=tuple(entry.environments),
        reason=entry.reason,
        ticket=entry.ticket,
        expires=expires,
        file=placed.file,
        line=placed.line((index,)) or 0,
    )
