from __future__ import annotations

import pytest

from bot.domain.errors import NotGrantedError
from bot.domain.grants import (
    HostGrant,
    KeyPlace,
    KeyRole,
    RegistryGrant,
    is_loopback,
    key_in_two_places,
)
from bot.domain.oci import ImageRepository, canonical_host

GRANT = RegistryGrant(
    "prod/registry.json",
    (
        HostGrant("registry.example.com", "all", "secret-1"),
        HostGrant("registry.example.com/team", "team", "secret-2"),
        HostGrant("auth.example.com"),
    ),
)


@pytest.mark.parametrize(
    ("repository", "user"),
    [
        ("registry.example.com/other/api", "all"),
        ("registry.example.com/team/api", "team"),
        ("registry.example.com/team", "team"),
        ("registry.example.com/teams/api", "all"),
        ("REGISTRY.example.com:443/team/api", "team"),
    ],
)
def test_the_longest_prefix_of_whole_components_wins(repository: str, user: str) -> None:
    assert GRANT.entry_for(ImageRepository.parse(repository)).username == user


@pytest.mark.parametrize(
    "repository",
    ["evil.example/team/api", "registry.example.com:5000/api", "registry.example.com.evil.io/a"],
)
def test_another_host_is_not_granted(repository: str) -> None:
    with pytest.raises(NotGrantedError, match=r"prod/registry\.json"):
        GRANT.entry_for(ImageRepository.parse(repository))


def test_a_path_alone_grants_only_that_path() -> None:
    grant = RegistryGrant("g", (HostGrant("registry.example.com/team"),))

    assert grant.allows_host("registry.example.com")
    with pytest.raises(NotGrantedError):
        grant.entry_for(ImageRepository.parse("registry.example.com/other/api"))


def test_secrets_are_not_in_the_repr() -> None:
    assert "secret" not in repr(GRANT)
    assert "token-3" not in repr(HostGrant("a.example", identity_token="token-3"))  # noqa: S106 - planted


@pytest.mark.parametrize(
    ("host", "canonical"),
    [
        ("Registry.Example.COM", "registry.example.com"),
        ("registry.example.com:443", "registry.example.com"),
        ("registry.example.com.", "registry.example.com"),
        ("registry.example.com:5000", "registry.example.com:5000"),
        ("auth.docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("registry.hub.docker.com", "docker.io"),
        ("r.example:0443", "r.example"),
        ("r.example:05000", "r.example:5000"),
        ("r.example:00", "r.example:0"),
    ],
)
def test_hosts_are_compared_in_one_spelling(host: str, canonical: str) -> None:
    assert canonical_host(host) == canonical


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.1.2.3", True),
        ("[::1]:5000", True),
        ("[::2]:5000", False),
        ("127.evil.example.com", False),
        ("localhost.evil.example", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback_is_only_what_cannot_leave_the_machine(host: str, *, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def place(
    fingerprint: str, *, manifests: str = "a/b", environment: str = "prod", role: str = "signing"
) -> KeyPlace:
    return KeyPlace(manifests, environment, KeyRole(role), f"{role}.key", fingerprint)


@pytest.mark.parametrize(
    "other",
    [place("k", manifests="c/d"), place("k", environment="stage"), place("k", role="attest")],
)
def test_a_key_has_one_place(other: KeyPlace) -> None:
    keys = [place("x"), place("k"), other]

    assert key_in_two_places(keys, (place("k").manifests, place("k").environment)) == (
        place("k"),
        other,
    )
    assert key_in_two_places(keys, (other.manifests, other.environment)) == (place("k"), other)
    assert key_in_two_places(keys, ("acme/deploy", "nowhere")) is None


def test_keys_of_one_place_may_be_many_and_twice() -> None:
    own = place("k").manifests, place("k").environment

    assert key_in_two_places([place("k"), place("l"), place("k")], own) is None
