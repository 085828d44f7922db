from __future__ import annotations

import base64
import json

import pytest

from bot.domain.errors import ConfigurationError
from bot.domain.grants import HostGrant
from bot.formats.docker_config import parse_registry_grant


def entry(document: object, prefix: str) -> HostGrant:
    grant = parse_registry_grant(json.dumps(document), "/grants/prod/registry.json")
    return next(one for one in grant.entries if one.prefix == prefix)


def test_a_login_may_be_dockers_base64_or_two_fields() -> None:
    encoded = base64.b64encode(b"ci:pa:ss").decode()
    auths = {"a.example": {"auth": encoded}, "b.example/team": {"username": "u", "password": "p"}}

    a, b = (entry({"auths": auths}, prefix) for prefix in auths)

    assert (a.username, a.password) == ("ci", "pa:ss")
    assert (b.username, b.password) == ("u", "p")


def test_an_empty_entry_is_granted_without_a_login() -> None:
    found = entry({"auths": {"auth.example.com": {}}}, "auth.example.com")

    assert not found.has_credentials


def test_an_identity_token_is_kept_apart() -> None:
    auths = {"r.example": {"identitytoken": "refresh"}}

    found = entry({"auths": auths}, "r.example")

    assert (found.identity_token, found.username, found.password) == ("refresh", "", "")


def test_permissions_of_a_host_hold_for_all_its_entries() -> None:
    document = {
        "auths": {"r.example:5000/team": {"username": "u", "password": "p"}},
        "hosts": {"r.example:5000": {"private_addresses": True, "ca": "ca.pem"}},
    }

    found = entry(document, "r.example:5000/team")

    assert found.private_addresses
    assert found.ca_file == "/grants/prod/ca.pem"
    assert not found.plain_http


@pytest.mark.parametrize("key", ["auths", "hosts"])
def test_loopback_needs_no_permission(key: str) -> None:
    found = entry({key: {"127.0.0.1:5000": {}}}, "127.0.0.1:5000")

    assert found.plain_http
    assert found.private_addresses


def test_loopback_with_an_authority_of_its_own_speaks_tls() -> None:
    found = entry({"hosts": {"localhost:5000": {"ca": "ca.pem"}}}, "localhost:5000")

    assert not found.plain_http


def test_a_host_has_a_helper_of_its_own_or_the_store() -> None:
    document = {
        "auths": {
            "a.example": {},
            "b.example": {"username": "u", "password": "p"},
            "c.example": {},
        },
        "hosts": {"storage.example": {}},
        "credHelpers": {"a.example": "ecr-login", "b.example": "x", "d.example": "acr-env"},
        "credsStore": "vault",
        "helpers_directory": "/opt/helpers",
        "helpers_environment": {"AWS_REGION": "eu-central-1"},
    }
    hosts = ("a.example", "b.example", "c.example", "d.example", "storage.example")

    helpers = [entry(document, host).helper for host in hosts]

    assert [helper and helper.program for helper in helpers] == [
        "/opt/helpers/docker-credential-ecr-login",
        None,
        "/opt/helpers/docker-credential-vault",
        "/opt/helpers/docker-credential-acr-env",
        None,
    ]
    assert helpers[0] is not None
    assert helpers[0].environment == (("AWS_REGION", "eu-central-1"),)


def test_a_host_may_have_a_proxy_and_a_pace() -> None:
    fields = {"proxy": "http://u:hunter2@proxy.example:3128", "requests_per_second": 5}

    found = entry({"hosts": {"r.example": fields}}, "r.example")

    assert (found.proxy, found.requests_per_second) == (fields["proxy"], 5.0)
    assert "hunter2" not in repr(found)


def test_every_host_may_be_asked_a_thousand_times_in_a_second_at_most() -> None:
    paces = [entry({"hosts": {h: {}}}, h).requests_per_second for h in ("r.example", "127.0.0.1:1")]

    assert paces == [1000.0, 1000.0]


def test_dockers_url_for_its_hub_is_the_hub() -> None:
    found = entry({"auths": {"https://index.docker.io/v1/": {}}}, "docker.io")

    assert found.host == "docker.io"


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("{", "registry.json:1: not JSON"),
        ("[]", "'the file' is not an object"),
        ('{"auth": {}}', "unknown key 'auth'; nearest is 'auths'"),
        ('{\n"hosts":\n{"r.example": {"plainhttp": true}}}', ":3: unknown key 'plainhttp'"),
        ('{"hosts": {"r.example": {"plain_http": "yes"}}}', "neither true nor false"),
        ('{"hosts": {"r.example/team": {}}}', "has a path"),
        ('{"auths": {"r.example": {"auth": "%%%"}}}', "not the base64"),
        ('{"auths": {"r.example": {"auth": 3}}}', "is not a text"),
        ('{"auths": {"not a host": {}}}', "is not a registry host"),
        ('{"credsStore": "desktop"}', "'helpers_directory' must be an absolute path"),
        ('{"credsStore": "a/b", "helpers_directory": "/x"}', "is not the name of a credential"),
        ('{"credsStore": "Desktop", "helpers_directory": "/x"}', "is not the name of a credential"),
        ('{"credsStore": "a", "helpers_directory": "bin"}', "must be an absolute path"),
        ('{"credsStore": "a", "helpers_directory": "/x/../y"}', "must be an absolute path"),
        ('{"credHelpers": {"r.example": 3}, "helpers_directory": "/x"}', "is not the name"),
        ('{"credHelpers": {"r.example/a": "b"}, "helpers_directory": "/x"}', "has a path"),
        (
            '{"credsStore": "a", "helpers_directory": "/x", "helpers_environment": {"LD_X": "1"}}',
            "'LD_X' is not a variable that a helper may get",
        ),
        (
            '{"credsStore": "a", "helpers_directory": "/x", "helpers_environment": {"A": 1}}',
            "'A' is not a text",
        ),
        ('{"hosts": {"r.example": {"proxy": "proxy:3128"}}}', "is not http://"),
        ('{"hosts": {"r.example": {"proxy": "http://proxy:3128/x"}}}', "is not http://"),
        ('{"hosts": {"r.example": {"proxy": "http://proxy:x"}}}', "is not http://"),
        ('{"hosts": {"r.example": {"requests_per_second": 0}}}', "is not a number above 0"),
        ('{"hosts": {"r.example": {"requests_per_second": true}}}', "is not a number above 0"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(text: str, fact: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_registry_grant(text, "registry.json")

    assert fact in str(caught.value)


def test_a_wrong_file_does_not_repeat_its_secrets() -> None:
    text = '{"auths": {"r.example": {"password": "hunter2", "auth": "hunter3"}}}'

    with pytest.raises(ConfigurationError) as caught:
        parse_registry_grant(text, "registry.json")

    assert "hunter" not in str(caught.value)


def test_nesting_is_not_followed_for_ever() -> None:
    with pytest.raises(ConfigurationError):
        parse_registry_grant("[" * 200_000, "registry.json")
