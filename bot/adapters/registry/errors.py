"""What a registry's answer means: done, try again, or a person must act.

distribution-spec 1.1, "Error Codes", and what the registries really do. What a registry wrote is
shown as its own words (`registry_words`), cut and without anything that could be a secret: only
it knows of a full disk or a quota.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec
from urllib3.exceptions import LocationValueError, NameResolutionError, URLSchemeUnknown

from bot.adapters.registry.calls import Reply
from bot.adapters.registry.limits import LONGEST_PAUSE
from bot.domain.errors import LockkeeperError, NotFoundError, RejectedError, UnavailableError
from bot.domain.images import RegistryFailsError, RegistryRefusesError
from bot.formats import structs

_SERVER_FAILS: Final = 500  # HTTP
_TEMPORARY_STATUS: Final = frozenset({408, 425, 429, 499, 500, 502, 503, 504, 522, 524})
# go-containerregistry, transport/error.go, without BLOB_UPLOAD_INVALID: that one restarts a blob.
# Whatever the body's code: Harbor and Red Hat say UNKNOWN with 404 for what is just not there.
_FINAL_STATUS: Final = frozenset({404, 405, 406, 410, 411, 413, 414, 415, 416, 501})
_TEMPORARY_CODES: Final = frozenset({"TOOMANYREQUESTS", "UNAVAILABLE", "UNKNOWN"})
_GONE_CODES: Final = frozenset({"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"})
_IMMUTABLE: Final = re.compile(
    # ECR, Harbor, Google, Quay; Nexus; Artifactory; Azure's locks.
    rb"immutable|cannot be (?:overwritten|updated)|already ?exists"
    rb"|not allow(?:ed to|ing)? (?:overwrit|updat)|overwrite|is locked|write-protected",
    re.IGNORECASE,
)
_TAKEN_CODES: Final = frozenset({"TAG_INVALID", "TAG_IMMUTABLE", "TAG_ALREADY_EXISTS"})
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{1,39}")
_WORDS: Final = 200  # characters of a registry's own that are shown
_TEXT: Final = 2000  # characters of it that are looked at
_LONG_WORD: Final = 40  # characters; longer ones may be tokens
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_LOGIN: Final = re.compile(
    r"\b(?:basic|bearer|password|passwd|secret|token|authorization)\b[\s:=]+\S+", re.IGNORECASE
)
_DIGEST: Final = re.compile(r"(sha(?:256|512)[:-][0-9a-f]{12})[0-9a-f]{52,116}")
_PATH: Final = re.compile(r"['\"(]?[a-z0-9._:@/-]+['\"),.;:]*")
_EPOCH: Final = 1_000_000_000  # a Retry-After beyond it is a time, not seconds
_NO_SUCH_NAME: Final = -2  # EAI_NONAME of getaddrinfo(3); EAI_AGAIN would be worth a retry


class AccessRefusedError(RegistryRefusesError):
    """A registry or its token service does not accept the credentials for this."""

    def __init__(self, thing: str, host: str, grant: str, status: int, words: str = "") -> None:
        """Name what was asked for, who refused it and which grant the credentials are from."""
        super().__init__(
            f"{host} refuses access to {thing} ({status}{words}); check its credentials in {grant}"
        )
        self.thing, self.host, self.grant, self.status = thing, host, grant, status


class RegistryRefusedError(RegistryRefusesError):
    """A registry does not accept a request, and would not the next time either."""

    def __init__(
        self, thing: str, host: str, status: int, codes: tuple[str, ...], words: str = ""
    ) -> None:
        """Name what was asked for, the registry's error codes and its words."""
        named = " ".join((str(status), *codes))
        super().__init__(f"{host} refuses {thing} ({named}{words})")
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
    code: Any = ""
    message: Any = ""


class _Errors(msgspec.Struct):
    errors: list[_Entry] | None = None
    message: Any = ""
    """Of gateways and services that are no registries themselves."""


def _errors(reply: Reply) -> _Errors:
    try:
        return structs.decode(reply.content, _Errors)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Errors()


def error_codes(reply: Reply) -> tuple[str, ...]:
    """The codes of an error answer; none if it has no such body."""
    found = [entry.code for entry in (_errors(reply).errors or [])[:5]]
    return tuple(one for one in found if isinstance(one, str) and _CODE.fullmatch(one))


def registry_words(reply: Reply) -> str:
    """What the registry says about its refusal, behind a colon; empty if it says nothing.

    Printable, at most 200 characters, no address, and nothing that could be a secret that it
    echoes: no log-in of ours, no word that is as long as a token. Digests are shortened.
    """
    found = _errors(reply)
    said = [
        entry.message
        for entry in (found.errors or [])[:5]
        # The code once more is no word.
        if _letters(entry.message) != _letters(entry.code)
    ] or [found.message]
    texts = dict.fromkeys(one for one in said if isinstance(one, str))
    if not any(texts) and reply.headers.get("Content-Type", "").startswith("text/plain"):
        texts = {reply.content[:_TEXT].decode("utf-8", "replace"): None}
    words = _shown("; ".join(filter(None, texts)), reply.hidden)
    return f": {words}" if words else ""


def _letters(said: object) -> str:
    return "".join(filter(str.isalnum, said)).lower() if isinstance(said, str) else ""


def _shown(text: str, hidden: tuple[str, ...]) -> str:
    printable = "".join(one if one.isprintable() else " " for one in text[:_TEXT])
    for secret in hidden:
        printable = printable.replace(secret, "...")
    shorter = _DIGEST.sub(r"\1", printable)
    masked = _LOGIN.sub("...", _ADDRESS.sub("...", shorter))
    words = " ".join(word if _is_harmless(word) else "..." for word in masked.split())
    return words if len(words) <= _WORDS else f"{words[: _WORDS - 3]}..."


def _is_harmless(word: str) -> bool:
    """Too short for a token, or a path in small letters of parts that are."""
    parts = word.split("/") if _PATH.fullmatch(word) else [word]
    return all(len(part) <= _LONG_WORD for part in parts)


def is_temporary(reply: Reply) -> bool:
    """The same request may succeed later."""
    if reply.status in _TEMPORARY_STATUS:
        return True
    is_refusal = reply.status >= 400 and reply.status not in _FINAL_STATUS  # noqa: PLR2004 - HTTP
    return is_refusal and not _TEMPORARY_CODES.isdisjoint(error_codes(reply))


def is_login_refused(reply: Reply) -> bool:
    """Another ``Authorization`` may do better.

    403: a token may lack a right that was given since. Public ECR says 400 DENIED for a token that
    is too old (oras-go#1227).
    """
    if reply.status in (401, 403):
        return True
    return reply.status == 400 and "DENIED" in error_codes(reply)  # noqa: PLR2004 - HTTP


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
    refused = reply.status in {400, 403, 405, 409, 412, 423}
    return refused and (
        not _TAKEN_CODES.isdisjoint(error_codes(reply)) or bool(_IMMUTABLE.search(reply.content))
    )


def failure(reply: Reply, thing: str, grant: str) -> LockkeeperError:
    """The error that this answer is."""
    if reply.status == 401 or (reply.status == 403 and not is_temporary(reply)):  # noqa: PLR2004 - HTTP
        return AccessRefusedError(thing, reply.host, grant, reply.status, registry_words(reply))
    if is_temporary(reply):
        seconds, words = reply.retry_after, registry_words(reply)
        fact = f"{reply.host}: {thing} ({reply.status}{words})"
        fails = reply.status >= _SERVER_FAILS or "UNKNOWN" in error_codes(reply)
        kind = RegistryFailsError if fails and seconds is None else UnavailableError
        return kind(fact, retry_after=seconds)
    if is_missing(reply):
        return NotFoundError(thing, reply.host)
    codes, words = error_codes(reply), registry_words(reply)
    return RegistryRefusedError(thing, reply.host, reply.status, codes, words)


def connection_failure(error: Exception, thing: str, host: str) -> LockkeeperError:
    """The error that a request without an answer is; the cause's text may hold URLs."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return TransportRefusedError(host, f"its certificate is not trusted ({cause.reason})")
        if isinstance(cause, NameResolutionError) and _NO_SUCH_NAME in _numbers(cause):
            return TransportRefusedError(host, "there is no such host name")
    if isinstance(error, LocationValueError | URLSchemeUnknown):
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
