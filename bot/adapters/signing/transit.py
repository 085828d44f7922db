"""Keys in the transit engine of Vault (or OpenBao).

    hashivault://KEY?address=https://vault.example.com:8200[&mount=transit][&namespace=N][&ca=FILE]

The token comes from the password file beside the URI. Only the message's digest is sent, to the
one host of the URI; redirects are not followed. Sources: Vault's HTTP API, secret/transit,
"Read key" and "Sign data".
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
import requests

from bot.domain.errors import ConfigurationError, IntegrityError, UnavailableError
from bot.domain.grants import is_loopback
from bot.formats import structs

_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_./-]{0,200}[A-Za-z0-9_])?")
_TIMEOUT: Final = (10.0, 60.0)  # seconds to connect, and between two bytes
_ANSWER_LIMIT: Final = 256 * 1024  # bytes
_EXAMPLE: Final = "for example hashivault://prod-signing?address=https://vault.example.com:8200"
_OPTIONS: Final = frozenset({"address", "mount", "namespace", "ca"})
_Answer = TypeVar("_Answer", bound=msgspec.Struct)
_TEMPORARY: Final = frozenset({408, 412, 429, 472, 473})  # Vault: 412 and 47x are standbys


class _Version(msgspec.Struct):
    public_key: str = ""


class _Key(msgspec.Struct):
    type: str
    latest_version: int
    keys: dict[str, _Version | int]


class _KeyAnswer(msgspec.Struct):
    data: _Key


class _Signed(msgspec.Struct):
    signature: str


class _SignAnswer(msgspec.Struct):
    data: _Signed


class TransitKey:
    """One key of one transit engine, in its newest version at the first look."""

    def __init__(self, uri: str, file: str, token: bytes) -> None:
        """Contact nobody yet.

        Raises:
            ConfigurationError: the URI or the token is not one.
        """
        parts = urlsplit(uri)
        options = dict(parse_qsl(parts.query))
        unknown = sorted(options.keys() - _OPTIONS)
        if unknown:
            raise ConfigurationError(file, None, f"unknown option {unknown[0][:40]!r}", _EXAMPLE)
        self._file = file
        self._name = _checked(f"{parts.netloc}{parts.path}", "the key's name", file)
        self._mount = _checked(options.get("mount", "transit"), "mount", file)
        self._address = _address(options.get("address", ""), file)
        self._ca = options.get("ca") or True
        self._version: int | None = None
        self._headers = {"X-Vault-Token": _token(token, file), "X-Vault-Request": "true"}
        if options.get("namespace"):
            self._headers["X-Vault-Namespace"] = _checked(options["namespace"], "namespace", file)

    def __repr__(self) -> str:
        return f"TransitKey({self._address}, {self._mount}/{self._name})"

    def public_key(self) -> bytes:
        """The newest version's public key in PEM; that version signs from now on."""
        key = self._ask("GET", f"keys/{self._name}", None, _KeyAnswer).data
        if key.type != "ecdsa-p256":
            fact = f"{self._mount}/{self._name} is of another type than ecdsa-p256"
            raise ConfigurationError(self._file, None, fact)
        version = key.keys.get(str(key.latest_version))
        if not isinstance(version, _Version):
            raise IntegrityError(f"{self._file}: Vault's answer lacks the key's newest version")
        self._version = key.latest_version
        return version.public_key.encode()

    def sign(self, message: bytes) -> bytes:
        """ECDSA over SHA-256 of the message, DER."""
        body: dict[str, object] = {
            "input": base64.b64encode(hashlib.sha256(message).digest()).decode(),
            "prehashed": True,
            "marshaling_algorithm": "asn1",
        }
        if self._version is not None:
            body["key_version"] = self._version
        answer = self._ask("POST", f"sign/{self._name}/sha2-256", body, _SignAnswer)
        try:
            return base64.b64decode(answer.data.signature.rpartition(":")[2], validate=True)
        except ValueError as error:
            raise IntegrityError(f"{self._file}: Vault's signature is not base64") from error

    def _ask(
        self, method: str, path: str, body: dict[str, object] | None, answer: type[_Answer]
    ) -> _Answer:
        url = f"{self._address}/v1/{self._mount}/{path}"
        try:
            with requests.Session() as session:
                session.trust_env = False
                with session.request(
                    method,
                    url,
                    json=body,
                    headers=self._headers,
                    timeout=_TIMEOUT,
                    verify=self._ca,
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    self._check(response.status_code)
                    content = response.raw.read(_ANSWER_LIMIT + 1, decode_content=True)
        except (requests.RequestException, OSError) as error:
            fact = f"Vault at {self._address} cannot be reached ({type(error).__name__})"
            raise UnavailableError(f"{self._file}: {fact}") from error
        try:
            return structs.decode(content, answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise IntegrityError(f"{self._file}: {self._address} does not answer as Vault") from (
                error
            )

    def _check(self, status: int) -> None:
        if status == 200:  # noqa: PLR2004 - OK
            return
        fact = f"Vault at {self._address} answers {status} for {self._mount}/{self._name}"
        if status in _TEMPORARY or status >= 500:  # noqa: PLR2004 - the server's own errors
            raise UnavailableError(f"{self._file}: {fact}")
        remedy = "check the token, its policy (read keys/, update sign/) and the key's name"
        raise ConfigurationError(self._file, None, fact, remedy)


def _address(text: str, file: str) -> str:
    """Scheme, host and port; plain HTTP only to this machine."""
    parts = urlsplit(text)
    plain = parts.scheme == "http" and is_loopback(parts.netloc)
    if not parts.hostname or not (parts.scheme == "https" or plain):
        raise ConfigurationError(file, None, "names no https address of Vault", _EXAMPLE)
    if parts.username or parts.password or parts.query or parts.path.strip("/"):
        raise ConfigurationError(file, None, "the address is more than a host", _EXAMPLE)
    return f"{parts.scheme}://{parts.netloc}"


def _checked(name: str, meaning: str, file: str) -> str:
    if not _NAME.fullmatch(name) or ".." in name:
        raise ConfigurationError(file, None, f"{meaning} is not one of Vault's", _EXAMPLE)
    return name


def _token(token: bytes, file: str) -> str:
    text = token.decode("ascii", "replace")
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        remedy = "write it into the .password file beside this one, or use --password-file"
        raise ConfigurationError(file, None, "there is no token for Vault", remedy)
    return text
