"""The operator's ``notifications.json``: who is told what.

>>> file = b'{"sinks": [{"name": "ops", "url_file": "slack", "events": ["failed"]}]}'
>>> read_sinks(file, "n.json", lambda _name: "slack://secret")[0].name
'ops'
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from bot.domain.errors import ConfigurationError
from bot.domain.notices import Event, Sink
from bot.formats import structs

_Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,40}$")]
_EXAMPLE = 'for example {"sinks": [{"name": "ops", "url_file": "slack-url", "events": ["failed"]}]}'


class _Sink(msgspec.Struct, forbid_unknown_fields=True):
    name: _Name
    url_file: str = ""
    webhook: str = ""
    secret_file: str = ""
    manifests: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    digest_seconds: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 0


class _File(msgspec.Struct, forbid_unknown_fields=True):
    sinks: tuple[_Sink, ...]


def read_sinks(content: bytes, file: str, secret: Callable[[str], str]) -> Sequence[Sink]:
    """Read the file; a key that it does not know is a mistake, never nothing.

    Args:
        content: of the file.
        file: its name, for messages.
        secret: reads the file of this name beside it; what it holds is in no message.

    Raises:
        ConfigurationError: what is wrong, and the way out.
    """
    try:
        found = structs.decode(content, _File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(file, None, f"is no list of sinks: {error}", _EXAMPLE) from error
    names = [one.name for one in found.sinks]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(file, None, f"two sinks are called {name}", "rename one")
    return [_sink(one, file, secret) for one in found.sinks]


def _sink(one: _Sink, file: str, secret: Callable[[str], str]) -> Sink:
    if bool(one.url_file) == bool(one.webhook):
        fact = f"sink {one.name} has not exactly one of url_file and webhook"
        raise ConfigurationError(file, None, fact, "a service's URL, or a webhook of your own")
    if bool(one.webhook) != bool(one.secret_file):
        fact = f"sink {one.name} has a webhook without secret_file, or the other way round"
        raise ConfigurationError(file, None, fact, "a webhook is always signed")
    if one.webhook:
        _check(one, file)
    return Sink(
        one.name,
        url=secret(one.url_file) if one.url_file else "",
        webhook=one.webhook,
        secret=secret(one.secret_file) if one.secret_file else "",
        manifests=one.manifests,
        environments=one.environments,
        events=one.events,
        digest=timedelta(seconds=one.digest_seconds),
    )


def _check(one: _Sink, file: str) -> None:
    """The address holds no secret, so it may be named; and what it is told is not for everybody."""
    parts = urlsplit(one.webhook)
    is_here = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if parts.scheme != "https" and not (parts.scheme == "http" and is_here):
        fact = f"the webhook of sink {one.name} is not encrypted"
        raise ConfigurationError(file, None, fact, "write https://...")
    if parts.username or parts.password:
        fact = f"the webhook of sink {one.name} has a log-in in it"
        raise ConfigurationError(file, None, fact, "the signature says who it is")
