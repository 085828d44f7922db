"""Notices as rows and as documents: what waits to be told, and what a signed webhook says.

A row is nobody's order by itself: its proof binds it to a secret that the database does not hold,
so that whoever can write rows cannot make the bot post anything.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Final

import msgspec

from bot.domain.errors import IntegrityError
from bot.domain.notices import Notice
from bot.formats import structs

SIGNATURE_HEADER: Final = "X-Lockkeeper-Signature-256"
DELIVERY_HEADER: Final = "X-Lockkeeper-Delivery"


def written(sink: str, notice: Notice, secret: bytes) -> bytes:
    """The notice, and the proof that this bot wrote it for this sink."""
    content = json.dumps([sink, msgspec.to_builtins(notice)]).encode()
    return hmac.digest(secret, content, "sha256") + content


def read_notice(row: bytes, sink: str, secret: bytes) -> Notice:
    """What `written` wrote for this sink.

    Raises:
        IntegrityError: this bot did not write it, or for another sink, or with another key.
    """
    size = hashlib.sha256().digest_size
    proof, content = row[:size], row[size:]
    if not hmac.compare_digest(proof, hmac.digest(secret, content, "sha256")):
        raise IntegrityError("a notice in the database was not written by this bot")
    whose, value = json.loads(content)
    if whose != sink:
        raise IntegrityError("a notice in the database stands under another sink")
    return structs.convert(value, Notice)


def webhook_document(notices: Sequence[Notice], at: str) -> bytes:
    """What a webhook says, as JSON: the moment, and every notice."""
    listed = [
        {
            "event": str(one.event),
            "manifests": one.manifests,
            "environment": one.environment,
            "application": one.application or None,
            "title": one.title,
            "text": one.text,
            "link": one.link or None,
        }
        for one in notices
    ]
    return json.dumps({"at": at, "notices": listed}, indent=1).encode()


def signature(body: bytes, secret: str) -> str:
    """The value of `SIGNATURE_HEADER`: as GitHub signs its webhooks, so that readers exist."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
