"""Carries notices to services by apprise, and to webhooks of the operator's own, signed.

Contract. One message a call; nothing is retried here. A message that a service took and whose
answer got lost is sent again. Errors name the sink, never its address: it holds secrets.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import requests

from bot.domain.errors import RejectedError, UnavailableError
from bot.domain.notices import Notice, Sink, message
from bot.formats.notice_row import (
    DELIVERY_HEADER,
    SIGNATURE_HEADER,
    signature,
    webhook_document,
)
from bot.ports.clock import Clock

if TYPE_CHECKING:
    from apprise import Apprise  # slow, an extra, and only named here

_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class Courier:
    """`bot.noticing.Carries`."""

    clock: Clock
    _session: requests.Session = field(default_factory=requests.Session)

    def check(self, sink: Sink) -> None:
        """Hold that a message could be sent.

        Raises:
            RejectedError: apprise is missing, or its URL is of no service that apprise knows.
        """
        if sink.url:
            self._service(sink)

    def carry(self, sink: Sink, notices: Sequence[Notice]) -> None:
        """Send one message about all of them.

        Raises:
            UnavailableError: it was not taken; another attempt may be.
        """
        if sink.webhook:
            self._post(sink, notices)
            return
        from apprise import NotifyFormat  # noqa: PLC0415 - slow import, an extra

        title, body = message(notices)
        taken = self._service(sink).notify(body=body, title=title, body_format=NotifyFormat.TEXT)
        if not taken:
            raise UnavailableError(f"the service of sink {sink.name} did not take it")

    def _service(self, sink: Sink) -> Apprise:
        try:
            from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - slow import, an extra
        except ModuleNotFoundError as error:
            fact = f"sink {sink.name} needs apprise, which is not installed"
            raise RejectedError(f'{fact}; say pip install "lockkeeper[notify]"') from error
        # Its own lines may hold addresses.
        logging.getLogger("apprise").setLevel(logging.CRITICAL)
        service = Apprise(
            asset=AppriseAsset(secure_logging=True, async_mode=False, http_redirects=False)
        )
        if not service.add(sink.url):
            raise RejectedError(
                f"the URL of sink {sink.name} is of no service that apprise knows; see its list"
            )
        return service

    def _post(self, sink: Sink, notices: Sequence[Notice]) -> None:
        body = webhook_document(notices, self.clock.now().isoformat(timespec="seconds"))
        said = "\n".join(f"{one.event} {one.identity}" for one in notices)
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: signature(body, sink.secret),
            # The same for the same notices, so that a message that comes twice is known.
            DELIVERY_HEADER: sha256(said.encode()).hexdigest()[:32],
        }
        try:
            answer = self._session.post(
                sink.webhook,
                data=body,
                headers=headers,
                timeout=_SECONDS,
                allow_redirects=False,
                stream=True,
            )
        except (requests.RequestException, OSError) as error:
            raise UnavailableError(f"the webhook of sink {sink.name} does not answer") from error
        with answer:
            if answer.status_code >= HTTPStatus.MULTIPLE_CHOICES:
                raise UnavailableError(
                    f"the webhook of sink {sink.name} answered {answer.status_code}"
                )
