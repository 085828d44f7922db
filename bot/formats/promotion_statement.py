"""The promotion attestation: how a digest came into an environment.

    {"_type": "https://in-toto.io/Statement/v1",
     "subject": [{"name": "registry.example.com/acme/api", "digest": {"sha256": "..."}}],
     "predicateType": "https://lockkeeper.dev/promotion/v1",
     "predicate": {"promotion": "4711/prod/payments/<merge commit>", "source": {...}, ...}}

One per (digest, target repository, environment, promotion). People are named by their logins, and
by nothing else, because many can read a registry. Decided in docs/adr/0002; in-toto/attestation,
spec/v1/statement.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from bot.domain.oci import Digest, ImageRepository, InvalidNameError
from bot.formats import sigstore_bundle, structs

PREDICATE_TYPE: Final = "https://lockkeeper.dev/promotion/v1"


@dataclass(frozen=True, slots=True)
class Standing:
    """An image in an environment."""

    repository: str
    """``host/path``."""
    environment: str
    """Empty where CI's registry belongs to none."""
    tag: str
    """Empty where there is none."""


@dataclass(frozen=True, slots=True)
class SourceCommit:
    """Which commit's image it is."""

    repository: str
    commit: str
    """Empty where nobody knows."""
    branch: str
    """The branch that asked; a git tag as ``refs/tags/...``."""


@dataclass(frozen=True, slots=True)
class MergedPullRequest:
    """Who said so."""

    repository: str
    """Of the manifests."""
    number: int
    merge_commit: str
    merged_by: str
    approved_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EvidenceEntry:
    """Something that was looked at before the promotion."""

    predicate_type: str
    digest: str
    """Of the report or attestation."""
    verified: bool


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest audit entry at that time: an anchor outside the database."""

    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class PromotionStatement:
    """One promotion of one digest."""

    digest: Digest
    promotion: str
    """``<manifests repository id>/<environment>/<application>/<merge commit>``."""
    source: Standing | None
    """None where CI pushes to the environment itself."""
    target: Standing
    git: SourceCommit
    pull_request: MergedPullRequest | None
    """None where none was needed and none was found."""
    evidence: tuple[EvidenceEntry, ...]
    """Empty: nothing was evaluated."""
    builder: str
    version: str
    at: datetime
    audit: AuditHead


class _PullRequest(msgspec.Struct, rename="camel"):
    repository: str
    number: int
    merge_commit: str
    merged_by: str
    approved_by: tuple[str, ...]


class _Evidence(msgspec.Struct, rename="camel"):
    predicate_type: str
    digest: str
    verified: bool


class _Builder(msgspec.Struct):
    id: str
    version: str


class _Predicate(msgspec.Struct, rename="camel"):
    promotion: str
    source: Standing | None
    target: Standing
    git: SourceCommit
    pull_request: _PullRequest | None
    evidence: tuple[_Evidence, ...]
    builder: _Builder
    timestamp: str
    audit: AuditHead


class _Document(msgspec.Struct, rename="camel"):
    predicate: _Predicate


def render_promotion(statement: PromotionStatement) -> bytes:
    """The bytes that are signed."""
    asked = statement.pull_request
    predicate = _Predicate(
        promotion=statement.promotion,
        source=statement.source,
        target=statement.target,
        git=statement.git,
        pull_request=_PullRequest(
            asked.repository, asked.number, asked.merge_commit, asked.merged_by, asked.approved_by
        )
        if asked
        else None,
        evidence=tuple(
            _Evidence(one.predicate_type, str(one.digest), one.verified)
            for one in statement.evidence
        ),
        builder=_Builder(statement.builder, statement.version),
        timestamp=statement.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        audit=statement.audit,
    )
    document: dict[str, Any] = msgspec.to_builtins(predicate)
    return sigstore_bundle.render_statement(
        statement.digest, PREDICATE_TYPE, document, name=statement.target.repository
    )


def parse_promotion(payload: bytes) -> PromotionStatement | None:
    """Read a statement of ours; None if it is none, or contradicts itself."""
    statement = sigstore_bundle.parse_statement(payload)
    if statement is None or statement.predicate_type != PREDICATE_TYPE:
        return None
    try:
        found = structs.decode(payload, _Document).predicate
        at = datetime.fromisoformat(found.timestamp)
        ImageRepository.parse(found.target.repository)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidNameError, ValueError):
        return None
    subjects = [(one.name, one.digest) for one in statement.subjects]
    if len(subjects) != 1 or subjects[0][0] != found.target.repository or at.tzinfo is None:
        return None
    return PromotionStatement(
        digest=subjects[0][1],
        promotion=found.promotion,
        source=found.source,
        target=found.target,
        git=found.git,
        pull_request=_pull_request(found.pull_request),
        evidence=_evidence(found.evidence),
        builder=found.builder.id,
        version=found.builder.version,
        at=at.astimezone(UTC),
        audit=found.audit,
    )


def _pull_request(found: _PullRequest | None) -> MergedPullRequest | None:
    if found is None:
        return None
    return MergedPullRequest(
        found.repository, found.number, found.merge_commit, found.merged_by, found.approved_by
    )


def _evidence(found: Sequence[_Evidence]) -> tuple[EvidenceEntry, ...]:
    return tuple(EvidenceEntry(one.predicate_type, one.digest, one.verified) for one in found)
