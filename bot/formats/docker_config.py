"""``registry.json``: docker's credential file, extended by permissions per host.

    {"auths": {"registry.example.com":      {"auth": "<base64 of user:password>"},
               "registry.example.com/team": {"username": "robot", "password": "..."},
               "auth.example.com":          {}},
     "hosts": {"127.0.0.1:5000": {"plain_http": true, "private_addresses": true, "ca": "ca.pem"},
               "gcr.example.com": {"proxy": "http://proxy:3128", "requests_per_second": 20}},
     "helpers_directory": "/opt/credential-helpers",
     "helpers_environment": {"AWS_REGION": "eu-central-1"},
     "credHelpers": {"account.ecr.example.com": "ecr-login"},
     "credsStore": "vault"}

Every host in any of the maps may be contacted; ``{}`` means without credentials. Loopback hosts
need no permission for plain HTTP and private addresses, and have no quota to keep.

``credHelpers`` name a program per host, ``credsStore`` one for the entries of ``auths`` that have
no log-in. They are run from ``helpers_directory`` alone, with ``helpers_environment`` alone.
"""

from __future__ import annotations

import base64
import difflib
import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import PurePath, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from bot.domain.errors import ConfigurationError
from bot.domain.grants import (
    REQUESTS_PER_SECOND,
    TOKEN_USER,
    CredentialHelper,
    HostGrant,
    RegistryGrant,
    is_loopback,
)
from bot.domain.oci import ImageRepository, InvalidNameError, canonical_host
from bot.domain.registry_storage import PRESETS, storage_of

_TOP_KEYS: Final = (
    "auths",
    "hosts",
    "credHelpers",
    "credsStore",
    "helpers_directory",
    "helpers_environment",
)
# docker/cli cli/config/types/authconfig.go; email is written by old versions and means nothing.
_AUTH_KEYS: Final = ("auth", "username", "password", "identitytoken", "email")
_HOST_KEYS: Final = (
    "plain_http",
    "private_addresses",
    "ca",
    "proxy",
    "requests_per_second",
    "storage",
)
# Under one domain: a star may stand for a part of a label, but for none of the last two.
_STORAGE: Final = re.compile(r"([a-z0-9*-]+\.)+[a-z0-9-]+\.[a-z]{2,}")
_HELPER_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]*")
# Variables that make the loader or an interpreter run something else than the program.
_FOREIGN_CODE: Final = re.compile(r"(LD_|DYLD_|PYTHON|NODE_|PERL|RUBY|BASH_ENV|ENV$)")


def parse_registry_grant(text: str, file: str) -> RegistryGrant:
    """Read the grant; relative ``ca`` paths are taken from the directory of ``file``.

    Raises:
        ConfigurationError: not JSON, an unknown key, or a value of the wrong kind.
    """
    return _Reader(text, file).grant()


@dataclass(frozen=True, slots=True)
class RefSnapshot:
    """Whoever reads docker's or podman's own file, which says more and less than a grant does."""

    hosts: frozenset[str]
    """Hosts that were typed: reached wherever they are."""
    find_helper: Callable[[str], str | None]
    """The path of a program by its name, or nothing."""
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """What the helpers of a person get."""


def read_docker_config(text: str, file: str, snapshot: RefSnapshot) -> RegistryGrant:
    """Read any ``config.json`` of docker or ``auth.json`` of podman.

    Keys that mean nothing here are passed over; helpers are found and run as docker does. A
    grant's own keys count as in `parse_registry_grant`.

    Raises:
        ConfigurationError: not JSON, or a value of the wrong kind.
    """
    return _DockerReader(text, file, snapshot).grant()


class _Reader:
    """One file, so that every error can say where it is."""

    def __init__(self, text: str, file: str) -> None:
        self._text, self._file = text, file

    def grant(self) -> RegistryGrant:
        document = self._object(self._document(), "the file", _TOP_KEYS)
        auths = self._object(document.get("auths", {}), "auths")
        hosts = self._object(document.get("hosts", {}), "hosts")
        helpers = self._helpers(document)
        permissions = {canonical_host(host): self._permissions(host, hosts[host]) for host in hosts}
        entries = [self._credentials(prefix, auths[prefix], permissions) for prefix in auths]
        if store := self._store(document):
            entries = [
                entry if entry.has_credentials else replace(entry, helper=store)
                for entry in entries
            ]
        named = {entry.prefix for entry in entries}
        entries += [
            permissions.get(host) or self._permissions(host, {})
            for host in dict.fromkeys((*permissions, *helpers))
            if host not in named
        ]
        return RegistryGrant(self._file, tuple(_helped(entry, helpers) for entry in entries))

    def _helpers(self, document: dict[str, Any]) -> dict[str, CredentialHelper]:
        """Canonical host -> its program."""
        named = self._object(document.get("credHelpers", {}), "credHelpers")
        for host in named:
            self._check_prefix(host, path_allowed=False)
        return {canonical_host(host): self._helper(document, named[host]) for host in named}

    def _store(self, document: dict[str, Any]) -> CredentialHelper | None:
        name = document.get("credsStore")
        return None if name is None else self._helper(document, name)

    def _helper(self, document: dict[str, Any], name: object) -> CredentialHelper:
        if not isinstance(name, str) or not _HELPER_NAME.fullmatch(name):
            raise self._wrong(str(name), "is not the name of a credential helper")
        directory = document.get("helpers_directory")
        if not isinstance(directory, str) or not _is_absolute(directory):
            raise self._wrong("helpers_directory", "must be an absolute path to run helpers from")
        environment = self._object(document.get("helpers_environment", {}), "helpers_environment")
        for variable, value in environment.items():
            if not _VARIABLE.fullmatch(variable) or _FOREIGN_CODE.match(variable):
                raise self._wrong(variable, "is not a variable that a helper may get")
            if not isinstance(value, str) or "\0" in value:
                raise self._wrong(variable, "is not a text")
        program = PurePosixPath(directory) / f"docker-credential-{name}"
        return CredentialHelper(str(program), tuple(environment.items()))

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
            proxy=self._proxy(fields),
            requests_per_second=self._rate(fields, default=REQUESTS_PER_SECOND),
            storage=self._storage(fields),
        )

    def _storage(self, fields: dict[str, Any]) -> tuple[str, ...]:
        """Where the host keeps its blobs: a preset's name, or hosts with stars under a domain."""
        named = fields.get("storage", [])
        found: list[str] = []
        for one in [named] if isinstance(named, str) else named if isinstance(named, list) else [0]:
            if isinstance(one, str) and one in PRESETS:
                found += PRESETS[one]
            elif isinstance(one, str) and _STORAGE.fullmatch(one):
                found.append(one)
            else:
                names = ", ".join(sorted(PRESETS))
                fact = f"is neither one of {names} nor a host such as *.storage.example.com"
                raise self._wrong("storage", fact)
        return tuple(found)

    def _proxy(self, fields: dict[str, Any]) -> str:
        url = fields.get("proxy", "")
        if not isinstance(url, str) or (url and not _is_proxy(url)):
            raise self._wrong("proxy", "is not http://[user:password@]host:port")
        return url.rstrip("/")

    def _rate(self, fields: dict[str, Any], *, default: float) -> float:
        rate = fields.get("requests_per_second", default)
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not rate > 0:
            raise self._wrong("requests_per_second", "is not a number above 0")
        return float(rate)

    def _credentials(self, key: str, value: object, permissions: dict[str, HostGrant]) -> HostGrant:
        fields = self._object(value, key, _AUTH_KEYS)
        for name, text in fields.items():
            if not isinstance(text, str):
                raise self._wrong(name, "is not a text")
        prefix = self._check_prefix(_without_scheme(key), path_allowed=True)
        host, slash, path = prefix.partition("/")
        allowed = permissions.get(canonical_host(host)) or self._permissions(host, {})
        username, password, token = self._login(fields)
        return replace(
            allowed,
            prefix=canonical_host(host) + slash + path,
            username=username,
            password=password,
            identity_token=token,
        )

    def _login(self, fields: dict[str, Any]) -> tuple[str, str, str]:
        username, password = fields.get("username", ""), fields.get("password", "")
        if encoded := fields.get("auth", ""):
            username, password = self._decoded(encoded)
        token = fields.get("identitytoken", "")
        if username == TOKEN_USER and not token:
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


class _DockerReader(_Reader):
    """Docker's own file: what it does not know it passes over."""

    def __init__(self, text: str, file: str, snapshot: RefSnapshot) -> None:
        super().__init__(text, file)
        self._desk = snapshot

    def grant(self) -> RegistryGrant:
        """The file's hosts, and those that were typed: the store may know more than the file."""
        found = super().grant()
        store = self._store(self._object(self._document(), "the file", _TOP_KEYS))
        lacking = [host for host in sorted(self._desk.hosts) if not found.allows_host(host)]
        added = [replace(self._permissions(host, {}), helper=store) for host in lacking]
        return RegistryGrant(found.name, (*found.entries, *added))

    def _object(
        self, value: object, name: str, keys: Collection[str] | None = None
    ) -> dict[str, Any]:
        found = super()._object({} if value is None else value, name)
        return {key: found[key] for key in found if keys is None or key in keys}

    def _permissions(self, host: str, value: object) -> HostGrant:
        found = super()._permissions(host, value)
        is_typed = found.host in self._desk.hosts and "private_addresses" not in self._object(
            value, host
        )
        return replace(
            found,
            private_addresses=found.private_addresses or is_typed,
            storage=found.storage or storage_of(found.host),
        )

    def _credentials(self, key: str, value: object, permissions: dict[str, HostGrant]) -> HostGrant:
        fields = {name: text for name, text in self._object(value, key).items() if text}
        return super()._credentials(key, fields, permissions)

    def _helper(self, document: dict[str, Any], name: object) -> CredentialHelper:
        if "helpers_directory" in document:
            return super()._helper(document, name)
        if not isinstance(name, str) or not _HELPER_NAME.fullmatch(name):
            raise self._wrong(str(name), "is not the name of a credential helper")
        program = f"docker-credential-{name}"
        path = self._desk.find_helper(program) or program
        return CredentialHelper(path, self._desk.environment, may_lack=True)

    def _store(self, document: dict[str, Any]) -> CredentialHelper | None:
        return super()._store(document) if document.get("credsStore") else None

    def _helpers(self, document: dict[str, Any]) -> dict[str, CredentialHelper]:
        named = self._object(document.get("credHelpers"), "credHelpers")
        return super()._helpers({**document, "credHelpers": {k: v for k, v in named.items() if v}})


def _helped(entry: HostGrant, helpers: dict[str, CredentialHelper]) -> HostGrant:
    """A log-in that is written down comes first; a helper of the host before the store."""
    written = entry.username or entry.identity_token
    return (
        entry
        if written or entry.host not in helpers
        else replace(entry, helper=helpers[entry.host])
    )


def _is_absolute(directory: str) -> bool:
    path = PurePosixPath(directory)
    return path.is_absolute() and ".." not in path.parts and "\0" not in directory


def _is_proxy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and bool(parts.port)
            and (parts.path in ("", "/") and not parts.query and not parts.fragment)
        )
    except ValueError:
        return False


def _without_scheme(key: str) -> str:
    """Docker once wrote URLs as keys: ``https://index.docker.io/v1/``."""
    name = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    for version in ("/v1", "/v2"):
        name = name.removesuffix(version)
    return "docker.io" if name == "index.docker.io" else name
