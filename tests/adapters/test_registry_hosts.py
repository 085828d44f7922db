"""Only granted hosts, only allowed addresses, no secret in any error."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.registry.peers import ForbiddenAddressError, authority, check_address, host_of
from bot.domain.errors import LockkeeperError, NotGrantedError, RejectedError, UnavailableError
from bot.domain.oci import Digest, ImageRepository
from bot.formats.docker_config import parse_registry_grant
from tests.world import registry as world
from tests.world.clients import HandClock, client
from tests.world.images import build_image
from tests.world.registry import Registry
from tests.world.tools import free_port

IMAGE = build_image()
DIGEST = Digest(IMAGE.digest)


@pytest.fixture
def granted() -> Iterator[Registry]:
    with Registry() as registry:
        IMAGE.push(registry.host, "dev/api", "v1")
        yield registry


@pytest.fixture
def stranger() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


def dev(registry: Registry) -> ImageRepository:
    return ImageRepository(registry.host, "dev/api")


# --- hosts


def test_a_host_outside_the_grant_sees_no_connection(granted: Registry, stranger: Registry) -> None:
    registry = client(granted.host)
    there = dev(stranger)

    attempts = (
        lambda: registry.resolve(there.tagged("v1")),
        lambda: registry.exists(there.at(DIGEST)),
        lambda: registry.describe(there.at(DIGEST)),
        lambda: registry.read_back(there.at(DIGEST)),
        lambda: registry.tag(there.at(DIGEST), "v1", move=True),
        lambda: registry.referrers(there.at(DIGEST)),
        lambda: registry.copy(dev(granted).at(DIGEST), there),
        lambda: registry.copy(there.at(DIGEST), dev(granted)),
    )
    for attempt in attempts:
        with pytest.raises(NotGrantedError, match=stranger.host):
            attempt()

    assert stranger.connections == 0


@pytest.mark.parametrize("pattern", ["/manifests/", "/blobs/"])
def test_a_redirect_to_a_stranger_is_not_followed(
    granted: Registry, stranger: Registry, pattern: str
) -> None:
    away = world.answer(307, b"", {"Location": f"{stranger.url}/v2/x"})
    granted.on("GET", pattern, away, times=99)

    with pytest.raises(NotGrantedError, match=stranger.host):
        client(granted.host).describe(dev(granted).at(DIGEST))

    assert stranger.connections == 0


def test_an_upload_location_at_a_strangers_is_not_used(
    granted: Registry, stranger: Registry
) -> None:
    away = world.answer(202, b"", {"Location": f"{stranger.url}/v2/x/blobs/uploads/1"})
    granted.on("POST", "/uploads/", away, times=99)

    with pytest.raises(NotGrantedError, match=stranger.host):
        client(granted.host).copy(
            dev(granted).at(DIGEST), ImageRepository(granted.host, "prod/api")
        )

    assert stranger.connections == 0


def test_the_next_page_of_a_listing_stays_at_the_host(
    granted: Registry, stranger: Registry
) -> None:
    listing = (
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    )
    headers = {
        "Content-Type": "application/vnd.oci.image.index.v1+json",
        "Link": f'<{stranger.url}/v2/x/referrers/y>; rel="next"',
    }
    granted.on("GET", "/referrers/", world.answer(200, listing, headers))

    with pytest.raises(RejectedError, match="elsewhere"):
        client(granted.host, stranger.host).referrers(dev(granted).at(DIGEST))

    assert stranger.connections == 0


@pytest.mark.parametrize(
    "location",
    [
        "ftp://{host}/x",
        "file:///etc/passwd",
        "https://user:pw@{host}/x",
        "http://{host}:99999/x",
        "http://[::1/x",
        "//",
        "https://",
        "gopher:x",
    ],
)
def test_locations_that_are_none_are_refused(granted: Registry, location: str) -> None:
    away = world.answer(307, b"", {"Location": location.format(host=granted.host)})
    granted.on("GET", "/manifests/", away, times=99)

    with pytest.raises(LockkeeperError):
        client(granted.host).resolve(dev(granted).tagged("v1"))


def test_redirects_end(granted: Registry) -> None:
    granted.on(
        "GET", "/manifests/", world.answer(307, b"", {"Location": "/v2/x/manifests/y"}), times=99
    )

    with pytest.raises(RejectedError, match="too many redirects"):
        client(granted.host).resolve(dev(granted).tagged("v1"))


def test_plain_http_needs_a_permission() -> None:
    grant = parse_registry_grant('{"hosts": {"r.example.com:5000": {}}}', "g")

    assert not grant.entries[0].plain_http


# --- addresses


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "169.254.1.1",
        "::1",
        "fe80::1%eth0",
        "fc00::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ],
)
def test_private_addresses_need_a_permission(address: str) -> None:
    with pytest.raises(ForbiddenAddressError, match="private_addresses"):
        check_address(address, "r.example.com", private_allowed=False)

    check_address(address, "r.example.com", private_allowed=True)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "fd00:ec2::254",
        "100.100.100.200",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "224.0.0.1",
    ],
)
def test_metadata_is_never_contacted(address: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        check_address(address, "r.example.com", private_allowed=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_public_addresses_need_nothing(address: str) -> None:
    check_address(address, "r.example.com", private_allowed=False)


def test_the_peer_is_checked_not_the_name(
    granted: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = granted.host.rpartition(":")[2]
    host = f"rebound.example.com:{port}"
    document = f'{{"hosts": {{"{host}": {{"plain_http": true}}}}}}'
    rebind(monkeypatch)
    registry = client(auths=None)
    registry = type(registry)(
        parse_registry_grant(document, "g"), clock=HandClock(), sleep=HandClock().sleep
    )

    with pytest.raises(ForbiddenAddressError, match="rebound"):
        registry.resolve(ImageRepository(host, "dev/api").tagged("v1"))

    assert [seen for seen in granted.seen if "v1" in seen.path and seen.method == "GET"] == []


def rebind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every name lead to this machine, as a hostile resolver would."""
    genuine = socket.getaddrinfo

    def hostile(_host: str, port: int, *_: object) -> object:
        return genuine("127.0.0.1", port, socket.AF_INET, socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", hostile)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://r.example.com/v2/", "r.example.com"),
        ("https://r.example.com:443/v2/", "r.example.com"),
        ("http://r.example.com:80/v2/", "r.example.com"),
        ("http://r.example.com:443/", "r.example.com:443"),
        ("https://[2001:db8::1]:5000/", "[2001:db8::1]:5000"),
        ("https://user@evil.example/", "evil.example"),
        ("https://r.example.com:x/", ""),
        ("mailto:a@b", ""),
    ],
)
def test_the_host_of_an_address(url: str, host: str) -> None:
    assert host_of(url) == host


def test_default_ports_are_not_named() -> None:
    assert authority("r", 443, "https") == "r"
    assert authority("r", 443, "http") == "r:443"


# --- connections


def test_nobody_there_is_unavailable() -> None:
    host = f"127.0.0.1:{free_port()}"

    with pytest.raises(UnavailableError, match=host):
        client(host).resolve(ImageRepository(host, "a").tagged("v1"))


def certificate(directory: Path) -> ssl.SSLContext:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", "key.pem"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", "ca.pem"),
        ],
        cwd=directory,
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "ca.pem", directory / "key.pem")
    return context


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_tls_needs_a_trusted_certificate(tmp_path: Path) -> None:
    with Registry(tls=certificate(tmp_path)) as registry:
        untrusted = parse_registry_grant(
            f'{{"hosts": {{"{registry.host}": {{"plain_http": false}}}}}}', "g"
        )
        trusted = parse_registry_grant(
            f'{{"hosts": {{"{registry.host}": {{"ca": "ca.pem"}}}}}}', f"{tmp_path}/registry.json"
        )
        clock = HandClock()
        make = type(client("localhost"))
        reference = ImageRepository(registry.host, "a").tagged("v1")

        assert make(trusted, clock=clock, sleep=clock.sleep).resolve(reference) is None
        with pytest.raises(RejectedError, match="certificate is not trusted"):
            make(untrusted, clock=clock, sleep=clock.sleep).resolve(reference)


# --- secrets


def test_no_error_shows_a_secret(granted: Registry) -> None:
    granted.login, granted.users = "bearer", {"ci": "pl4nted"}
    auths = {granted.host: {"username": "ci", "password": "pl4nted"}}
    secret_place = {"Location": f"{granted.url}/v2/x?X-Amz-Signature=pl4nted"}
    echo = world.answer(400, b'{"errors":[{"code":"pl4nted","message":"pl4nted"}]}')
    faults = [
        world.answer(307, b"", secret_place),
        echo,
        world.answer(500, b"pl4nted"),
        world.error(401, "DENIED", {"WWW-Authenticate": 'Bearer realm="http://pl4nted.example/"'}),
        world.error(401, "DENIED", {"WWW-Authenticate": "Basic realm=pl4nted"}),
        world.drop(),
        world.truncate(3),
        world.substitute(b"pl4nted"),
        world.answer(200, b"pl4nted", {"Content-Type": "text/html"}),
    ]
    for fault in faults:
        for method, pattern in (("GET", "/manifests/"), ("GET", "^/token"), ("POST", "/uploads/")):
            registry = client(auths=auths)
            granted._planned.clear()  # noqa: SLF001 - each fault alone
            granted.on(method, pattern, fault, times=99)
            try:
                registry.copy(dev(granted).at(DIGEST), ImageRepository(granted.host, "p/api"))
            except LockkeeperError as error:
                shown: BaseException | None = error
                while shown is not None and isinstance(shown, LockkeeperError):
                    if "pl4nted.example" not in str(shown):
                        assert "pl4nted" not in str(shown)
                    shown = shown.__cause__


def test_no_log_line_shows_a_secret_address(
    granted: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    place = {"Location": f"{granted.url}/v2/dev/api/manifests/v1?X-Amz-Signature=pl4nted"}
    granted.on("GET", "/manifests/v1$", world.answer(307, b"", place))

    with caplog.at_level("DEBUG"):
        client(granted.host).resolve(dev(granted).tagged("v1"))

    assert len(granted.requests("GET", "pl4nted")) == 1
    assert "pl4nted" not in caplog.text
