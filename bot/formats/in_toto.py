"""in-toto statements, bare, in a DSSE envelope or in a sigstore bundle; what they state.

Sources: github.com/in-toto/attestation (Statement v0.1 and v1), secure-systems-lab/dsse, cosign
COSIGN_PREDICATE_SPEC.md. Signatures are not verified here: whoever needs them does that first.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import msgspec

from bot.domain.evidence import UnreadableEvidenceError
from bot.formats.json_document import decoded
from bot.formats.lax_document import Lax, Text, moment

_STATEMENTS: Final = ("https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1")
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"


class _Envelope(Lax):
    payload: str
    payloadType: str  # noqa: N815 - DSSE's name


class _Bundle(Lax):
    dsseEnvelope: _Envelope  # noqa: N815 - sigstore's name


class _Subject(Lax):
    digest: dict[str, str]
    name: Text = None


class _Statement(Lax):
    type: str = msgspec.field(name="_type")
    predicateType: str  # noqa: N815 - in-toto's name
    subject: list[_Subject]
    predicate: msgspec.Raw


class _Wrapped(Lax):
    """How cosign 1.x carries a document that it does not know: as text, or as a value."""

    Data: msgspec.Raw


class _Database(Lax):
    version: Text = None
    lastUpdate: Text = None  # noqa: N815 - cosign's name


class _Scanner(Lax):
    result: msgspec.Raw = msgspec.Raw(b"null")
    db: _Database | None = None


class _Times(Lax):
    scanFinishedOn: Text = None  # noqa: N815 - cosign's name


class _VulnerabilityPredicate(Lax):
    scanner: _Scanner
    metadata: _Times | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """What somebody states about digests."""

    predicate_type: str
    subjects: frozenset[str]
    """``sha256:...`` each."""
    predicate: bytes
    """A JSON document: cosign's wrapping is taken off."""
    scanned: datetime | None = None
    """When a scanner finished, in cosign's vuln predicate."""
    database: datetime | None = None
    """When that scanner's database was built."""


def read_statement(document: bytes, file: str) -> Statement:
    """The statement in a document, however it is wrapped.

    Raises:
        UnreadableEvidenceError: There is none; the defect.
    """
    keys = decoded(document, dict[str, msgspec.Raw], file, "an in-toto statement")
    if "dsseEnvelope" in keys:
        envelope = decoded(document, _Bundle, file, "a sigstore bundle").dsseEnvelope
        return _statement(_payload(envelope, file), file)
    if "payload" in keys:
        return _statement(
            _payload(decoded(document, _Envelope, file, "a DSSE envelope"), file), file
        )
    return _statement(document, file)


def _payload(envelope: _Envelope, file: str) -> bytes:
    if envelope.payloadType != PAYLOAD_TYPE:
        raise UnreadableEvidenceError(file, f"payload of type {envelope.payloadType[:80]!r}")
    try:
        return base64.b64decode(envelope.payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableEvidenceError(file, "the payload is no base64") from error


def _statement(document: bytes, file: str) -> Statement:
    found = decoded(document, _Statement, file, "an in-toto statement")
    if found.type not in _STATEMENTS:
        raise UnreadableEvidenceError(file, f"statement of type {found.type[:80]!r}")
    subjects = frozenset(
        f"sha256:{subject.digest['sha256']}"
        for subject in found.subject
        if "sha256" in subject.digest
    )
    return _unwrapped(Statement(found.predicateType, subjects, bytes(found.predicate)), file)


def _unwrapped(statement: Statement, file: str) -> Statement:
    """The document inside: cosign wraps in ``Data``, its vuln predicate in ``scanner.result``."""
    predicate = statement.predicate
    if predicate.lstrip()[:1] != b"{":
        raise UnreadableEvidenceError(file, "the predicate is no object")
    keys = decoded(predicate, dict[str, msgspec.Raw], file, "a predicate")
    if "Data" in keys:
        inner = bytes(decoded(predicate, _Wrapped, file, "cosign's predicate").Data)
        is_text = inner.lstrip()[:1] == b'"'
        text = decoded(inner, str, file, "cosign's predicate").encode() if is_text else inner
        return replace(statement, predicate=text)
    if "scanner" in keys:
        found = decoded(predicate, _VulnerabilityPredicate, file, "a vuln predicate")
        result, database = bytes(found.scanner.result), found.scanner.db or _Database()
        if result.strip() == b"null":
            raise UnreadableEvidenceError(file, "the vuln predicate has no scanner result")
        return replace(
            statement,
            predicate=result,
            scanned=moment((found.metadata or _Times()).scanFinishedOn),
            database=moment(database.lastUpdate) or moment(database.version),
        )
    return statement
