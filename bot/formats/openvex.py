"""OpenVEX 0.0.1 and 0.2.0: statements about vulnerabilities in products.

Source: github.com/openvex/spec. The two versions differ in shape: 0.0.1 writes vulnerability and
products as plain strings.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from bot.domain.evidence import UnreadableEvidenceError, plain_id
from bot.domain.vex import VexProduct, VexStatement
from bot.formats.json_document import decoded
from bot.formats.lax_document import Lax, Text, moment

CONTEXT: Final = "https://openvex.dev/ns"
# OpenVEX 0.2.0, "Status Justifications".
_JUSTIFICATIONS: Final = frozenset(
    {
        "component_not_present",
        "vulnerable_code_not_present",
        "vulnerable_code_not_in_execute_path",
        "vulnerable_code_cannot_be_controlled_by_adversary",
        "inline_mitigations_already_exist",
    }
)
_Status = Literal["not_affected", "affected", "fixed", "under_investigation"]


class _Vulnerability(Lax):
    name: Text = None
    id: Text = msgspec.field(default=None, name="@id")
    aliases: list[str] | None = None


class _Subcomponent(Lax):
    id: Text = msgspec.field(default=None, name="@id")
    identifiers: dict[str, str] | None = None


class _Product(Lax):
    id: Text = msgspec.field(default=None, name="@id")
    identifiers: dict[str, str] | None = None
    hashes: dict[str, str] | None = None
    subcomponents: list[_Subcomponent | str] | None = None


class _Statement(Lax):
    vulnerability: _Vulnerability | str
    status: _Status
    products: list[_Product | str] | None = None
    subcomponents: list[str] | None = None
    justification: Text = None
    impact_statement: Text = None
    timestamp: Text = None
    last_updated: Text = None


class _Document(Lax):
    context: str = msgspec.field(name="@context")
    statements: list[_Statement]
    author: Text = None
    timestamp: Text = None
    last_updated: Text = None


def read_openvex(document: bytes, file: str) -> tuple[VexStatement, ...]:
    """The statements of a document.

    Raises:
        UnreadableEvidenceError: It is none; the defect.
    """
    found = decoded(document, _Document, file, "an OpenVEX document")
    if not found.context.startswith(CONTEXT):
        raise UnreadableEvidenceError(file, f"@context is {found.context[:80]!r}, not {CONTEXT}")
    return tuple(_statement(one, found, file, n) for n, one in enumerate(found.statements))


def _statement(entry: _Statement, document: _Document, file: str, index: int) -> VexStatement:
    vulnerability = entry.vulnerability
    if isinstance(vulnerability, str):
        names = {plain_id(vulnerability)}
    else:
        own = vulnerability.name or (vulnerability.id or "").rpartition("/")[2]
        names = {plain_id(one) for one in (own, *(vulnerability.aliases or []))}
    names.discard("")
    if not names:
        raise UnreadableEvidenceError(file, f"statement {index} names no vulnerability")
    return VexStatement(
        frozenset(names),
        tuple(_product(product, entry) for product in entry.products or []),
        entry.status,
        entry.impact_statement or entry.justification or "",
        document.author or "an unnamed author",
        moment(
            entry.last_updated or entry.timestamp or document.last_updated or document.timestamp
        ),
        _flaw(entry),
    )


def _flaw(entry: _Statement) -> str:
    """Whoever says *not affected* MUST say why, in one of five words or in a sentence (0.2.0)."""
    if entry.status != "not_affected" or (entry.impact_statement or "").strip():
        return ""
    given = (entry.justification or "").strip()
    if given in _JUSTIFICATIONS:
        return ""
    said = (
        f"its justification {given[:80]!r} is none of OpenVEX's"
        if given
        else ("it has neither a justification nor an impact statement")
    )
    return f"{said}; give it one of {', '.join(sorted(_JUSTIFICATIONS))}, or an impact_statement"


def _product(product: _Product | str, entry: _Statement) -> VexProduct:
    if isinstance(product, str):
        return VexProduct(product, tuple(entry.subcomponents or []))
    return VexProduct(
        _identified(product),
        tuple(
            part if isinstance(part, str) else _identified(part)
            for part in product.subcomponents or []
        ),
        frozenset(
            # One of another algorithm is kept: it is of no image here, for all that is known.
            f"{name.lower().replace('sha-', 'sha')}:{value.lower()}"
            for name, value in (product.hashes or {}).items()
        ),
    )


def _identified(thing: _Product | _Subcomponent) -> str:
    return (thing.identifiers or {}).get("purl") or thing.id or ""
