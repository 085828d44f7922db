"""Webhooks that never arrived: GitHub delivers nothing again by itself, but keeps what failed.

Contract. `look` reads the App's delivery log from its newest end and hands on what failed, oldest
first, as if it had just been delivered; whoever takes it knows it by its id. What was handed on
once, and what was refused as malformed, is not asked for again by this process. The payload comes
from GitHub's own API, so it needs no signature.

https://docs.github.com/webhooks/using-webhooks/handling-failed-webhook-deliveries
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import msgspec

from bot.adapters.github import records
from bot.adapters.github.calls import Calls, cursor_of
from bot.adapters.github.tokens import Tokens
from bot.domain.errors import RejectedError, UnavailableError

_LOG: Final = logging.getLogger("lockkeeper.webhook")
Accept = Callable[[str, str, bytes], int]
"""(event, delivery's id, body) -> the status that it would have been answered with."""
_KEPT: Final = timedelta(days=3)
"""GitHub keeps deliveries so long."""
_PAUSE: Final = 300.0
_SOON: Final = 5.0
MOST: Final = 200
"""Deliveries of one look; the next one follows at once."""
_PAGES: Final = 100
_TAKEN: Final = frozenset({HTTPStatus.ACCEPTED, HTTPStatus.BAD_REQUEST})


class _Entry(msgspec.Struct):
    """Schema ``hook-delivery-item``."""

    id: int
    guid: str
    event: str
    delivered_at: str


@dataclass
class MissedWebhooks:
    """The failed deliveries of one App."""

    calls: Calls
    tokens: Tokens
    accept: Accept
    _done: set[int] = field(default_factory=set)

    def look(self) -> float:
        """Hand on what failed since; the seconds until it is worth while to look again."""
        missed = [one for one in self._failed() if one.id not in self._done]
        for entry in reversed(missed[-MOST:]):  # the oldest first
            self._hand_on(entry)
        return _SOON if len(missed) > MOST else _PAUSE

    def _hand_on(self, entry: _Entry) -> None:
        path = f"/app/hook/deliveries/{entry.id}"
        try:
            whole: dict[str, Any] = self.calls.send(self.tokens.app(), "GET", path).data
        except RejectedError as error:  # forgotten meanwhile, or refused: it stops no other
            self._done.add(entry.id)
            fields = {"webhook_delivery": entry.guid, "reason": str(error)}
            _LOG.warning("missed webhook refused", extra=fields)
            return
        payload = (whole.get("request") or {}).get("payload")
        status = self.accept(entry.event, entry.guid.lower(), json.dumps(payload).encode())
        if status not in _TAKEN:
            raise UnavailableError(f"a missed webhook cannot be recorded now: {status}")
        self._done.add(entry.id)
        fields = {"webhook_delivery": entry.guid, "event": entry.event, "at": entry.delivered_at}
        _LOG.info("missed webhook fetched", extra=fields)

    def _failed(self) -> Iterator[_Entry]:
        """The log's failures, newest first, as far back as GitHub keeps them."""
        query = {"status": "failure", "per_page": "100"}
        oldest = self.calls.clock.now() - _KEPT
        for _ in range(_PAGES):
            answer = self.calls.send(
                self.tokens.app(), "GET", "/app/hook/deliveries", query=query, allow=(404,)
            )
            if answer.status != HTTPStatus.OK:
                return  # the App has no webhook, or the server no such log
            for item in answer.data:
                entry = records.read(item, _Entry)
                if datetime.fromisoformat(entry.delivered_at) < oldest:
                    return
                yield entry
            following = cursor_of(answer.headers.get("link", ""))
            if not following:
                return
            query = {**query, "cursor": following}
