"""What the operator granted to one environment: registries to contact, and keys.

>>> grant = RegistryGrant("prod/registry.json", (HostGrant("registry.example.com"),))
>>> grant.allows_host("registry.example.com"), grant.allows_host("evil.example")
(True, False)

The list of hosts is closed: token services, redirects and upload locations count as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from bot.domain.errors import NotGrantedError
from bot.domain.oci import ImageRepository, canonical_host

REQUESTS_PER_SECOND: Final = 1000.0
"""To one host at most, of all kinds together, where the grant does not say less."""
REGISTRY_HOST: Final = "registry host "
"""How a host is named that nothing grants."""
# Azure's and docker's user name for a refresh token in place of a password.
TOKEN_USER: Final = "00000000-0000-0000-0000-000000000000"  # noqa: S105 - a user name


class KeyRole(Enum):
    """What a key signs; one key never has two of them."""

    SIGNING = "signing"
    """Image signatures of admitted digests, and nothing else."""
    ATTESTATION = "attest"
    """Statements about promotions, such as who approved."""


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """A public key, and where it counts."""

    manifests: str
    """``owner/name`` of the manifests repository."""
    environment: str
    role: KeyRole
    file: str
    """The file's name in the environment's folder."""
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.file} of environment {self.environment!r}"


def key_in_two_places(
    places: Iterable[KeyPlace], own: tuple[str, str]
) -> tuple[KeyPlace, KeyPlace] | None:
    """A key of ``own`` (manifests repository, environment) that has another role or place too.

    Fingerprints are compared, not names: verifiers such as ``cosign verify`` accept whatever a
    key has signed about a digest, whoever meant it how.
    """
    by_key: dict[str, list[KeyPlace]] = {}
    for place in places:
        by_key.setdefault(place.fingerprint, []).append(place)
    for same in by_key.values():
        for place in same:
            if (place.manifests, place.environment) != own:
                continue
            for other in same:
                if (other.environment, other.role, other.manifests) != (
                    place.environment,
                    place.role,
                    place.manifests,
                ):
                    first, second = sorted((place, other), key=same.index)
                    return first, second
    return None


@dataclass(frozen=True, slots=True)
class CredentialHelper:
    """A program that knows the log-in of a host: docker's credential helper protocol."""

    program: str
    """Its absolute path."""
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Every variable that it gets; nothing is inherited."""
    may_lack: bool = False
    """It may have no log-in for a host: docker then asks without one."""


@dataclass(frozen=True, slots=True)
class HostGrant:
    """One host, or one path prefix on it, with credentials and permissions."""

    prefix: str
    """``host[:port]`` or ``host[:port]/path``; a path matches whole components."""
    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """An OAuth2 refresh token (docker's ``identitytoken``), exchanged at the token service."""
    plain_http: bool = False
    private_addresses: bool = False
    """The host may resolve to private, loopback or link-local addresses; metadata never."""
    ca_file: str | None = None
    """Path of a PEM file with the only authorities that are trusted for this host."""
    helper: CredentialHelper | None = None
    """Where the log-in comes from if none is written here."""
    proxy: str = field(default="", repr=False)
    """The only way to this host: ``http://[user:password@]proxy:port``."""
    requests_per_second: float = REQUESTS_PER_SECOND
    """How often the host is asked at most, on average; how often it is, it shows itself."""
    storage: tuple[str, ...] = ()
    """Where its blobs may lie: names of hosts, in which ``*`` stands for a part of one label."""

    @property
    def host(self) -> str:
        """``host[:port]`` of the prefix, in the spelling that is compared."""
        return canonical_host(self.prefix.partition("/")[0])

    @property
    def path(self) -> str:
        """The repository path that the prefix demands; empty for the whole host."""
        return self.prefix.partition("/")[2].strip("/")

    @property
    def has_credentials(self) -> bool:
        """There is something to log in with."""
        return bool(self.username or self.identity_token or self.helper)

    def covers(self, repository: ImageRepository) -> bool:
        """The prefix holds for this repository."""
        if canonical_host(repository.host) != self.host:
            return False
        return not self.path or f"{repository.path}/".startswith(f"{self.path}/")


@dataclass(frozen=True, slots=True)
class RegistryGrant:
    """Every registry host of one environment."""

    name: str
    """Where the grant is written, for error messages."""
    entries: tuple[HostGrant, ...]

    def entry_for(self, repository: ImageRepository) -> HostGrant:
        """The entry with the longest prefix that covers the repository.

        Raises:
            NotGrantedError: no entry does; nothing may be sent to that host.
        """
        matching = [entry for entry in self.entries if entry.covers(repository)]
        if not matching:
            raise NotGrantedError(f"image repository {repository}", self.name)
        return max(matching, key=lambda entry: len(entry.path))

    def entry_for_host(self, host: str) -> HostGrant:
        """The permissions of a host, whatever the path.

        Raises:
            NotGrantedError: the host is not named at all.
        """
        wanted = canonical_host(host)
        matching = [entry for entry in self.entries if entry.host == wanted]
        if not matching:
            raise NotGrantedError(REGISTRY_HOST + wanted, self.name)
        return min(matching, key=lambda entry: len(entry.path))

    def reachable(self, host: str) -> HostGrant:
        """The permissions of a host that bytes may come from: granted, or a storage of one.

        Storage gets no credentials, is no token service, and is reached by TLS at public
        addresses only.

        Raises:
            NotGrantedError: the host is neither.
        """
        wanted = canonical_host(host)
        if not self.allows_host(wanted) and any(
            is_like(wanted, pattern) for entry in self.entries for pattern in entry.storage
        ):
            return HostGrant(wanted)
        return self.entry_for_host(wanted)

    def allows_host(self, host: str) -> bool:
        """The host may be contacted."""
        return any(entry.host == canonical_host(host) for entry in self.entries)


def is_like(host: str, pattern: str) -> bool:
    """Whether a host is meant by a pattern whose stars stand for a part of one label each."""
    expression = re.escape(pattern).replace(r"\*", "[a-z0-9-]+")
    return re.fullmatch(expression, canonical_host(host)) is not None


def is_loopback(host: str) -> bool:
    """The name can only mean this machine: ``localhost``, ``127.x.y.z`` or ``[::1]``."""
    name = canonical_host(host)
    if name.startswith("["):
        return name.partition("]")[0] == "[::1"
    name = name.partition(":")[0]
    parts = name.split(".")
    return name == "localhost" or (
        len(parts) == 4 and parts[0] == "127" and all(part.isdecimal() for part in parts)  # noqa: PLR2004 - four octets
    )
