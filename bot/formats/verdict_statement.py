"""A verdict that passes, as an in-toto Simple Verification Result; a scan, as cosign's ``vuln``.

    {"_type": "https://in-toto.io/Statement/v1",
     "subject": [{"name": "registry.example.com/acme/api", "digest": {"sha256": "..."}}],
     "predicateType": "https://in-toto.io/attestation/svr/v0.2",
     "predicate": {"verifier": {"id": "https://lockkeeper.dev/lockkeeper/v0.1.0",
                                "policies": [{"uri": "git+https://...", "digest": {...}}]},
                   "timeCreated": "...", "properties": ["LOCKKEEPER_PROD_POLICY", ...],
                   "dev.lockkeeper": {"environment": "prod", "promotion": "..."}}}

A property is there because it was verified; one that is not there says nothing. Nothing that
failed or was not evaluated has a statement. Sources: in-toto/attestation, spec/predicates/svr.md;
sigstore/cosign, specs/COSIGN_VULN_ATTESTATION_SPEC.md. Decided in docs/adr/0012.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from bot.domain.errors import LimitExceededError
from bot.domain.evidence import Scan, UnreadableEvidenceError
from bot.domain.oci import Digest, DigestReference, InvalidNameError
from bot.domain.policy import Check, Result, Verdict
from bot.formats import sigstore_bundle, structs

SVR_TYPE: Final = "https://in-toto.io/attestation/svr/v0.2"
VULN_TYPE: Final = "https://cosign.sigstore.dev/attestation/vuln/v1"
VERIFIER: Final = "https://lockkeeper.dev/lockkeeper"
REPORT_LIMIT: Final = 512 * 2**10
"""Bytes of a report in an attestation: twice in base64, and still found again in 1 MiB."""
_EXTENSION: Final = "dev.lockkeeper"
_NOT_A_WORD: Final = re.compile(r"[^A-Z0-9]+")


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A file that the image was judged by: an in-toto ResourceDescriptor."""

    uri: str
    """Where it stands: ``git+https://github.com/acme/deploy@<commit>#policy.yaml``."""
    digest: Digest
    """Of its content."""


@dataclass(frozen=True, slots=True)
class VerdictStatement:
    """One verdict about one digest, on its way into one environment."""

    digest: Digest
    repository: str
    """``host/path`` of the target."""
    environment: str
    promotion: str
    """As in the promotion attestation: the same digest promoted again is judged again."""
    properties: tuple[str, ...]
    policies: tuple[PolicyDocument, ...]
    version: str
    """Of Lockkeeper."""
    at: datetime


class _Extension(msgspec.Struct):
    environment: str
    promotion: str


class _Policy(msgspec.Struct):
    uri: str
    digest: dict[str, str]


class _Verifier(msgspec.Struct):
    id: str
    policies: tuple[_Policy, ...]


class _Predicate(msgspec.Struct):
    verifier: _Verifier
    time_created: datetime = msgspec.field(name="timeCreated")
    properties: tuple[str, ...]
    extension: _Extension = msgspec.field(name=_EXTENSION)


class _Document(msgspec.Struct):
    predicate: _Predicate


def verified_properties(environment: str, verdict: Verdict) -> tuple[str, ...]:
    """What may be said of an image with this verdict; empty: nothing.

    ``LOCKKEEPER_<ENVIRONMENT>_POLICY``: no rule denies it, and every rule was evaluated.
    ``..._NO_WARNINGS``: nor does any warn. ``..._CHECK_<ID>``: that check passes.
    """
    if not verdict.has_policy or verdict.result not in {Result.PASS, Result.WARN}:
        return ()
    prefix = f"LOCKKEEPER_{_word(environment)}"
    quiet = [f"{prefix}_NO_WARNINGS"] if verdict.result is Result.PASS else []
    checks = [f"{prefix}_CHECK_{name}" for name in _passing(verdict.checks)]
    return (f"{prefix}_POLICY", *quiet, *checks)


def _passing(checks: Sequence[Check]) -> list[str]:
    """Names of checks that pass; two checks of one spelling have to pass both."""
    open_ = {_word(check.id) for check in checks if check.result is not Result.PASS}
    return sorted({_word(check.id) for check in checks} - open_)


def _word(name: str) -> str:
    return _NOT_A_WORD.sub("_", name.upper()).strip("_")


def render_verdict(statement: VerdictStatement) -> bytes:
    """The bytes that are signed."""
    predicate: dict[str, Any] = {
        "verifier": {
            "id": f"{VERIFIER}/v{statement.version}",
            "policies": [
                {"uri": one.uri, "digest": {one.digest.algorithm: one.digest.hex}}
                for one in statement.policies
            ],
        },
        "timeCreated": _time(statement.at),
        "properties": list(statement.properties),
        _EXTENSION: {"environment": statement.environment, "promotion": statement.promotion},
    }
    return sigstore_bundle.render_statement(
        statement.digest, SVR_TYPE, predicate, name=statement.repository
    )


def parse_verdict(payload: bytes) -> VerdictStatement | None:
    """Read a statement of ours; None if it is none."""
    statement = sigstore_bundle.parse_statement(payload)
    if statement is None or statement.predicate_type != SVR_TYPE or len(statement.subjects) != 1:
        return None
    try:
        found = structs.decode(payload, _Document).predicate
        policies = [
            PolicyDocument(one.uri, Digest(f"sha256:{one.digest['sha256']}"))
            for one in found.verifier.policies
        ]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, InvalidNameError):
        return None
    if found.time_created.tzinfo is None:
        return None
    subject = statement.subjects[0]
    return VerdictStatement(
        digest=subject.digest,
        repository=subject.name,
        environment=found.extension.environment,
        promotion=found.extension.promotion,
        properties=found.properties,
        policies=tuple(policies),
        version=found.verifier.id.rpartition("/v")[2],
        at=found.time_created.astimezone(UTC),
    )


def render_vulnerabilities(reference: DigestReference, scan: Scan, report: bytes) -> bytes:
    """A scanner's whole report about one platform, as ``cosign attest --type vuln`` writes it.

    Raises:
        LimitExceededError: The report is too large to be found again.
        UnreadableEvidenceError: It is no JSON, or the scan does not say when it was made.
    """
    if len(report) > REPORT_LIMIT:
        thing = f"the report of {reference.digest} in an attestation"
        raise LimitExceededError(thing, "512 KiB", f"{len(report)} bytes")
    finished = scan.finished
    if finished is None:
        raise UnreadableEvidenceError(f"report of {reference.digest}", "it does not say when")
    predicate: dict[str, Any] = {
        "invocation": {"parameters": [], "uri": "", "event_id": "", "builder.id": VERIFIER},
        "scanner": {
            "uri": scan.scanner,
            "version": scan.version,
            "db": {"uri": "", "version": _time(scan.database) if scan.database else ""},
            "result": _decoded(report, reference),
        },
        "metadata": {"scanStartedOn": _time(finished), "scanFinishedOn": _time(finished)},
    }
    return sigstore_bundle.render_statement(
        reference.digest, VULN_TYPE, predicate, name=str(reference.repository)
    )


def _decoded(report: bytes, reference: DigestReference) -> Mapping[str, Any]:
    try:
        return structs.decode(report, dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableEvidenceError(f"report of {reference.digest}", str(error)) from error


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
