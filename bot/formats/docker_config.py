"""``registry.json``: docker's credential file, extended by permissions per host.

    {"auths": {"registry.example.com":      {"auth": "<base64 of user:password>"},
               "registry.example.com/team": {"username": "robot", "password": "..."},
               "auth.example.com":          {}},
     "hosts": {"127.0.0.1:5000": {"plain_http": true, "private_addresses": true, "ca": "ca.pem"}}}

Every host in either map may be contacted; ``{}`` means without credentials. Loopback hosts need
no permission for plain HTTP and private addresses.
"""

from __future__ import annotations

import base64
import difflib
import json
from collections.abc import Collection
from pathlib import PurePath
from typing import Any, Final

from bot.domain.errors import ConfigurationError
from bot.domain.grants import HostGrant, RegistryGrant, canonical_host, is_loopback
from bot.domain.oci import ImageRepository, InvalidNameError

_TOP_KEYS: Final = ("auths", "hosts")
# docker/cli cli/config/types/authconfig.go; email is written by old versions and means nothing.
_AUTH_KEYS: Final = ("auth", "username", "password", "identitytoken", "email")
_HOST_KEYS: Final = ("plain_http", "private_addresses", "ca")
# Azure's and docker's user name for a refresh token in place of a password.
_TOKEN_USER: Final = "00000000-0000-0000-0000-000000000000"  # noqa: S105 - a user name


def parse_registry_grant(text: str, file: str) -> RegistryGrant:
    """Read the grant; relative ``ca`` paths are taken from the directory of ``file``.

    Raises:
        ConfigurationError: not JSON, an unknown key, or a value of the wrong kind.
    """
    return _Reader(text, file).grant()


class _Reader:
    """One file, so that every error can say where it is."""

    def __init__(self, text: str, file: str) -> None:
        self._text, self._file = text, file

    def grant(self) -> RegistryGrant:
        document = self._object(self._document(), "the file", _TOP_KEYS)
        auths = self._object(document.get("auths", {}), "auths")
        hosts = self._object(document.get("hosts", {}), "hosts")
        permissions = {canonical_host(host): self._permissions(host, hosts[host]) for host in hosts}
        entries = [self._credentials(prefix, auths[prefix], permissions) for prefix in auths]
        named = {entry.prefix for entry in entries}
        entries += [grant for host, grant in permissions.items() if host not in named]
        return RegistryGrant(self._file, tuple(entries))

    def _document(self) -> object:
        try:
            return json.loads(self._text)
        except json.JSONDecodeError as error:
            raise ConfigurationError(self._file, error.lineno, f"not JSON: {error.msg}") from error
        except RecursionError as error:
            raise ConfigurationError(self._file, None, "nested too deeply") from error

    def _permissions(self, host: str, value: object) -> HostGrant:
        fields = self._object(value, host, _HOST_KEYS)
        self._check_prefix(host, path_allowed=False)
        ca_file = fields.get("ca")
        if ca_file is not None and not isinstance(ca_file, str):
            raise self._wrong("ca", "is not a path")
        local = is_loopback(host)
        return HostGrant(
            prefix=canonical_host(host),
            plain_http=self._flag(fields, "plain_http", default=local and ca_file is None),
            private_addresses=self._flag(fields, "private_addresses", default=local),
            ca_file=str(PurePath(self._file).parent / ca_file) if ca_file else None,
        )

    def _credentials(self, key: str, value: object, permissions: dict[str, HostGrant]) -> HostGrant:
        fields = self._object(value, key, _AUTH_KEYS)
        for name, text in fields.items():
            if not isinstance(text, str):
                raise self._wrong(name, "is not a text")
        prefix = self._check_prefix(_without_scheme(key), path_allowed=True)
        host, slash, path = prefix.partition("/")
        allowed = permissions.get(canonical_host(host)) or self._permissions(host, {})
        username, password, token = self._login(fields)
        return HostGrant(
            prefix=canonical_host(host) + slash + path,
            username=username,
            password=password,
            identity_token=token,
            plain_http=allowed.plain_http,
            private_addresses=allowed.private_addresses,
            ca_file=allowed.ca_file,
        )

    def _login(self, fields: dict[str, Any]) -> tuple[str, str, str]:
        username, password = fields.get("username", ""), fields.get("password", "")
        if encoded := fields.get("auth", ""):
            username, password = self._decoded(encoded)
        token = fields.get("identitytoken", "")
        if username == _TOKEN_USER and not token:
            return "", "", password
        return username, password, token

    def _decoded(self, encoded: str) -> tuple[str, str]:
        try:
            username, colon, password = (
                base64.b64decode(encoded, validate=True).decode().partition(":")
            )
        except (ValueError, UnicodeDecodeError) as error:
            raise self._wrong("auth", "is not the base64 of user:password") from error
        if not colon or not username:
            raise self._wrong("auth", "is not the base64 of user:password")
        # Old docker versions padded the password with NUL bytes (docker/cli decodeAuth).
        return username, password.strip("\x00")

    def _check_prefix(self, prefix: str, *, path_allowed: bool) -> str:
        host, slash, path = prefix.partition("/")
        try:
            ImageRepository(host, path if slash else "any")
        except InvalidNameError as error:
            raise self._wrong(prefix, "is not a registry host, or host/path") from error
        if slash and not path_allowed:
            raise self._wrong(prefix, "has a path; permissions are per host")
        return prefix

    def _flag(self, fields: dict[str, Any], name: str, *, default: bool) -> bool:
        value = fields.get(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "is neither true nor false")
        return value

    def _object(
        self, value: object, name: str, keys: Collection[str] | None = None
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._wrong(name, "is not an object")
        for key in value:
            if keys is not None and key not in keys:
                near = difflib.get_close_matches(key, keys, 1, 0.4) or [" or ".join(keys)]
                raise ConfigurationError(
                    self._file,
                    self._line_of(key),
                    f"unknown key {key!r}",
                    f"nearest is {near[0]!r}",
                )
        return value

    def _wrong(self, key: str, fact: str) -> ConfigurationError:
        return ConfigurationError(self._file, self._line_of(key), f"{key!r} {fact}")

    def _line_of(self, key: str) -> int | None:
        position = self._text.find(json.dumps(key))
        return None if position < 0 else self._text.count("\n", 0, position) + 1


def _without_scheme(key: str) -> str:
    """Docker once wrote URLs as keys: ``https://index.docker.io/v1/``."""
    name = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    for version in ("/v1", "/v2"):
        name = name.removesuffix(version)
    return "docker.io" if name == "index.docker.io" else name
