"""Reports as rows: what is to be told on GitHub, kept until it is told.

A row is nobody's order by itself: `sealed` binds it to a secret that the database does not hold,
so that whoever can write rows cannot make the bot tell anything (a passed check, for example).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Final

import msgspec

from bot.domain.errors import IntegrityError
from bot.domain.reports import (
    CheckReport,
    CommentReport,
    LabelReport,
    ReactionReport,
    Report,
    ReviewersReport,
    TimelineReport,
)
from bot.formats import structs

_KINDS: Final[dict[str, type[Report]]] = {
    kind.kind: kind
    for kind in (
        CheckReport,
        CommentReport,
        TimelineReport,
        LabelReport,
        ReviewersReport,
        ReactionReport,
    )
}


def row_key(report: Report) -> str:
    """One text for what `Report.key` tells apart."""
    return json.dumps(report.key)


def written(report: Report, secret: bytes) -> bytes:
    """The report, and the proof that this bot wrote it."""
    content = json.dumps([report.kind, msgspec.to_builtins(report)]).encode()
    return _proof(content, secret) + content


def read_report(row: bytes, key: str, secret: bytes) -> Report:
    """What `written` wrote, of the row that has this key.

    Raises:
        IntegrityError: this bot did not write it there, or wrote it with another key of the App.
    """
    size = hashlib.sha256().digest_size
    proof, content = row[:size], row[size:]
    if not hmac.compare_digest(proof, _proof(content, secret)):
        raise IntegrityError("a report in the database was not written by this bot")
    kind, value = json.loads(content)
    report = structs.convert(value, _KINDS[kind])
    if row_key(report) != key:
        raise IntegrityError("a report in the database stands under another one's key")
    return report


def _proof(content: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, content, "sha256")
