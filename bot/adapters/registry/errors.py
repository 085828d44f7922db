"""What a registry's answer means: done, try again, or a person must act.

distribution-spec 1.1, "Error Codes", and what the registries really do. Texts that a registry
wrote never become part of a message of ours: they may echo what was sent to it.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec
import requests
from urllib3.exceptions import NameResolutionError

from bot.adapters.registry.calls import Reply
from bot.adapters.registry.limits import LONGEST_PAUSE
from bot.domain.errors import LockkeeperError, NotFoundError, RejectedError, UnavailableError
from bot.formats import structs

_TEMPORARY_STATUS: Final = frozenset({408, 425, 429, 499, 500, 502, 503, 504, 522})
# go-containerregistry, transport/error.go, without BLOB_UPLOAD_INVALID: that one restarts a blob.
_TEMPORARY_CODES: Final = frozenset({"TOOMANYREQUESTS", "UNAVAILABLE", "UNKNOWN"})
_GONE_CODES: Final = frozenset({"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"})
_IMMUTABLE: Final = re.compile(
    rb"immutable|cannot be overwritten|ImageTagAlreadyExists", re.IGNORECASE
)
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{1,39}")
_EPOCH: Final = 1_000_000_000  # a Retry-After beyond it is a time, not seconds
_NO_SUCH_NAME: Final = -2  # EAI_NONAME of getaddrinfo(3); EAI_AGAIN would be worth a retry


class AccessRefusedError(RejectedError):
    """A registry or its token service does not accept the credentials for this."""

    def __init__(self, thing: str, host: str, grant: str, status: int) -> None:
        """Name what was asked for, who refused it and which grant the credentials are from."""
        super().__init__(
            f"{host} refuses access to {thing} ({status}); check its credentials in {grant}"
        )
        self.thing, self.host, self.grant, self.status = thing, host, grant, status


class RegistryRefusedError(RejectedError):
    """A registry does not accept a request, and would not the next time either."""

    def __init__(self, thing: str, host: str, status: int, codes: tuple[str, ...]) -> None:
        """Name what was asked for and the registry's error codes."""
        named = " ".join((str(status), *codes))
        super().__init__(f"{host} refuses {thing} ({named})")
        self.thing, self.host, self.status, self.codes = thing, host, status, codes


class NotARegistryError(RejectedError):
    """A host answers, but not as a registry does: a proxy, a login page, a wrong name."""

    def __init__(self, thing: str, host: str, fact: str) -> None:
        """Name what was asked for and what came."""
        super().__init__(f"{host} does not answer as a registry to {thing}: {fact}")
        self.thing, self.host, self.fact = thing, host, fact


class TransportRefusedError(RejectedError):
    """A connection is not made, or not trusted, for a reason that will not pass by itself."""

    def __init__(self, host: str, fact: str) -> None:
        """Name the host and the reason."""
        super().__init__(f"{host}: {fact}")
        self.host, self.fact = host, fact


class _Entry(msgspec.Struct):
    code: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Entry] = []


def error_codes(reply: Reply) -> tuple[str, ...]:
    """The codes of an error answer; none if it has no such body."""
    try:
        found = structs.decode(reply.content, _Errors).errors
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    return tuple(entry.code for entry in found[:5] if _CODE.fullmatch(entry.code))


def is_temporary(reply: Reply) -> bool:
    """The same request may succeed later."""
    if reply.status in _TEMPORARY_STATUS:
        return True
    # Harbor and Red Hat say UNKNOWN with 404 for what is just not there.
    return 400 <= reply.status != 404 and not _TEMPORARY_CODES.isdisjoint(error_codes(reply))  # noqa: PLR2004 - HTTP


def is_throttled(reply: Reply) -> bool:
    """The host wants to be left alone for a while, by everybody."""
    if reply.status == 429:  # noqa: PLR2004 - HTTP
        return True
    return reply.retry_after is not None and is_temporary(reply)


def is_missing(reply: Reply) -> bool:
    """What was asked for is not there."""
    return reply.status == 404 or not _GONE_CODES.isdisjoint(error_codes(reply))  # noqa: PLR2004 - HTTP


def is_immutable_tag(reply: Reply) -> bool:
    """The registry refuses to give this tag another manifest."""
    refused = reply.status in {400, 403, 405, 409, 412}
    return refused and (
        "TAG_INVALID" in error_codes(reply) or bool(_IMMUTABLE.search(reply.content))
    )


def failure(reply: Reply, thing: str, grant: str) -> LockkeeperError:
    """The error that this answer is."""
    if reply.status == 401 or (reply.status == 403 and not is_temporary(reply)):  # noqa: PLR2004 - HTTP
        return AccessRefusedError(thing, reply.host, grant, reply.status)
    if is_temporary(reply):
        seconds = reply.retry_after
        return UnavailableError(f"{reply.host}: {thing} ({reply.status})", retry_after=seconds)
    if is_missing(reply):
        return NotFoundError(thing, reply.host)
    return RegistryRefusedError(thing, reply.host, reply.status, error_codes(reply))


def connection_failure(error: Exception, thing: str, host: str) -> LockkeeperError:
    """The error that a request without an answer is; the cause's text may hold URLs."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return TransportRefusedError(host, f"its certificate is not trusted ({cause.reason})")
        if isinstance(cause, NameResolutionError) and _NO_SUCH_NAME in _numbers(cause):
            return TransportRefusedError(host, "there is no such host name")
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return TransportRefusedError(host, "it answers with an address that is none")
    return UnavailableError(f"{host}: {thing} ({type(error).__name__})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps: urllib3 keeps causes in ``reason`` and in ``args``, too."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]


def _numbers(error: BaseException) -> set[int]:
    return {
        one.errno for one in _causes(error) if isinstance(one, OSError) and one.errno is not None
    }


def retry_after(header: str, now: datetime) -> float | None:
    """Seconds to wait: RFC 9110, 10.2.3, or (Docker Hub once) a time since the epoch."""
    if header.isdecimal() and len(header) < 12:  # noqa: PLR2004 - more digits are no time
        seconds = float(header)
        if seconds > _EPOCH:
            seconds -= now.timestamp()
    else:
        try:
            seconds = (parsedate_to_datetime(header).astimezone(UTC) - now).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_PAUSE)
