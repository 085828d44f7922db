"""Hostile addresses, endless and crawling bodies, proxies, and somebody who wants to stop."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bot.adapters.registry import Registry as Client
from bot.adapters.registry.peers import ForbiddenAddressError
from bot.domain.errors import (
    LimitExceededError,
    LockkeeperError,
    NotGrantedError,
    RejectedError,
    UnavailableError,
)
from bot.domain.images import Descriptor
from bot.domain.oci import Digest, ImageRepository
from bot.formats.docker_config import parse_registry_grant
from tests.adapters.test_registry_hosts import certificate
from tests.world import registry as world
from tests.world.clients import HandClock, client
from tests.world.images import INDEX, MANIFEST, build_image, descriptor, encoded
from tests.world.registry import Registry

IMAGE = build_image(layer_size=300_000)
DIGEST = Digest(IMAGE.digest)
LARGEST = max(IMAGE.blobs, key=lambda digest: len(IMAGE.blobs[digest]))


@pytest.fixture
def source() -> Iterator[Registry]:
    with Registry() as registry:
        IMAGE.push(registry.host, "dev/api", "v1")
        registry.seen.clear()
        yield registry


@pytest.fixture
def target() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


def dev(registry: Registry) -> ImageRepository:
    return ImageRepository(registry.host, "dev/api")


def prod(registry: Registry) -> ImageRepository:
    return ImageRepository(registry.host, "prod/api")


def granting(hosts: dict[str, dict[str, object]], file: str = "registry.json") -> Client:
    clock = HandClock()
    grant = parse_registry_grant(json.dumps({"hosts": hosts}), file)
    return Client(grant, clock=clock, sleep=clock.sleep)


# --- addresses


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Let every name lead to these addresses, one after the other; the last one stays."""
    genuine, asked = socket.getaddrinfo, []

    def hostile(host: str, port: int, *_: object) -> object:
        asked.append(host)
        address = answers[min(len(asked), len(answers)) - 1]
        return genuine(address, port, 0, socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", hostile)
    return asked


def test_a_resolver_that_answers_differently_the_second_time_gains_nothing(
    source: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check is made on the peer itself: there is no second resolution to lie to."""
    port = source.host.rpartition(":")[2]
    host = f"rebound.example.com:{port}"
    registry = granting({host: {"plain_http": True}})
    asked = resolving(monkeypatch, "127.0.0.1", "169.254.169.254")

    with pytest.raises(ForbiddenAddressError, match=r"127\.0\.0\.1"):
        registry.resolve(ImageRepository(host, "dev/api").tagged("v1"))

    assert len(asked) == 1
    assert source.seen == []


def test_a_mapped_address_is_the_one_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"mapped.example.com:{server.getsockname()[1]}"
        resolving(monkeypatch, "::ffff:127.0.0.1")

        with pytest.raises(ForbiddenAddressError, match=r"leads to 127\.0\.0\.1"):
            granting({host: {"plain_http": True}}).resolve(ImageRepository(host, "a").tagged("v"))


@pytest.mark.parametrize(
    "host",
    ["[::ffff:127.0.0.1]", "0x7f.1", "127.1", "2130706433", "localhost.", "LOCALHOST", "0"],
)
def test_an_odd_spelling_of_this_machine_is_not_granted_by_another_name(
    source: Registry, host: str
) -> None:
    port = source.host.rpartition(":")[2]
    away = {"Location": f"http://{host}:{port}/v2/dev/api/manifests/v2"}
    source.on("GET", "/manifests/v1", world.answer(307, b"", away))

    with pytest.raises(NotGrantedError):
        client(source.host).resolve(dev(source).tagged("v1"))


@pytest.mark.parametrize("host", ["0x7f.1", "127.1", "2130706433"])
def test_an_odd_spelling_that_is_granted_still_needs_a_permission(
    source: Registry, host: str
) -> None:
    port = source.host.rpartition(":")[2]
    registry = granting({f"{host}:{port}": {"plain_http": True}})

    with pytest.raises(LockkeeperError) as caught:
        registry.resolve(ImageRepository(f"{host}:{port}", "dev/api").tagged("v1"))

    assert isinstance(caught.value, RejectedError)
    assert source.seen == []


@pytest.mark.parametrize(
    "place",
    [
        "http://user@{host}/v2/x",
        "http://{host}@evil.example/v2/x",
        "http://evil.example#@{host}/v2/x",
        "http://{host}.evil.example/v2/x",
        "http://\uff45xample.com/v2/x",
        "http://127\u30020\u30020\u30021:{port}/v2/x",
        "http://127.0.0.1:{port}\\@evil.example/",
    ],
)
def test_addresses_that_only_look_granted_are_not_followed(source: Registry, place: str) -> None:
    port = source.host.rpartition(":")[2]
    url = place.format(host=source.host, port=port)
    away = {"Location": url.encode().decode("latin-1")}
    source.on("GET", "/manifests/v1", world.answer(307, b"", away))

    with pytest.raises(LockkeeperError):
        client(source.host).resolve(dev(source).tagged("v1"))

    assert len(source.seen) == 1


def test_a_trailing_dot_and_the_default_port_are_the_same_host() -> None:
    grant = parse_registry_grant('{"hosts": {"r.example.com": {}}}', "g")

    assert grant.allows_host("R.EXAMPLE.com.")
    assert grant.allows_host("r.example.com:443")
    assert not grant.allows_host("r.example.com:444")


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::169.254.169.254",
        "2002:a9fe:a9fe::",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
    ],
)
def test_metadata_is_not_contacted_whatever_the_grant_says(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    registry = granting({"r.example.com": {"plain_http": True, "private_addresses": True}})
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        registry = granting(
            {f"r.example.com:{port}": {"plain_http": True, "private_addresses": True}}
        )
        resolving(monkeypatch, "127.0.0.1")
        # Nothing answers at a metadata address here: the peer's name is what is played.
        monkeypatch.setattr(socket.socket, "getpeername", lambda _socket: (address, port))

        with pytest.raises(ForbiddenAddressError, match="metadata"):
            registry.resolve(ImageRepository(f"r.example.com:{port}", "a").tagged("v"))


# --- bodies


def test_an_endless_manifest_is_cut_at_its_limit(source: Registry) -> None:
    def endless(handler: world.Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Type", INDEX)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b" " * 65536)
        return True

    source.on("GET", "/manifests/v1", endless)

    with pytest.raises(LimitExceededError):
        client(source.host).resolve(dev(source).tagged("v1"))


def crawling(clock: HandClock) -> world.Fault:
    def while_after_while() -> None:
        clock.move(50)
        time.sleep(0.02)  # lets the client read what was sent before

    return world.dribble(while_after_while)


def test_a_source_that_crawls_is_given_up(source: Registry, target: Registry) -> None:
    """A byte every 50 seconds keeps every timeout away."""
    clock = HandClock()
    source.on("GET", LARGEST, crawling(clock), times=99)

    with pytest.raises(UnavailableError):
        client(source.host, target.host, clock=clock).copy(dev(source).at(DIGEST), prod(target))

    assert LARGEST not in target.repository("prod/api").blobs
    assert target.repository("prod/api").manifests == {}


def test_a_manifest_that_crawls_is_given_up(source: Registry) -> None:
    clock = HandClock()
    source.on("GET", "/manifests/v1", crawling(clock), times=99)

    with pytest.raises(UnavailableError, match="in a minute"):
        client(source.host, clock=clock).resolve(dev(source).tagged("v1"))


def test_headers_that_crawl_are_given_up(source: Registry) -> None:
    clock = HandClock()
    sent: list[bytes] = []

    def crawl(handler: world.Handler) -> bool:
        handler.close_connection = True
        with contextlib.suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Endless: ")
            for _ in range(1000):
                clock.move(50)
                time.sleep(0.02)  # lets the client read what was sent before
                handler.wfile.write(b"x")
                sent.append(b"x")
        return True

    source.on("GET", "/manifests/v1", crawl, times=99)

    with pytest.raises(UnavailableError):
        client(source.host, clock=clock).resolve(dev(source).tagged("v1"))

    assert len(sent) < 100


def test_a_source_that_crawls_once_is_taken_up_elsewhere(
    source: Registry, target: Registry
) -> None:
    clock = HandClock()
    source.on("GET", LARGEST, crawling(clock))

    client(source.host, target.host, clock=clock).copy(dev(source).at(DIGEST), prod(target))

    assert target.repository("prod/api").blobs == IMAGE.blobs
    assert len(source.requests("GET", LARGEST)) == 2


# --- somebody wants to stop


def test_ctrl_c_does_not_wait_for_a_read_that_hangs(source: Registry, target: Registry) -> None:
    hanging, let_go = threading.Event(), threading.Event()

    def hang(_handler: world.Handler) -> bool:
        hanging.set()
        return let_go.wait(30)

    class Impatient:
        def expect(self, size: int) -> None:
            """Nothing to show."""

        def advance(self, blob: Descriptor, size: int) -> None:
            """Nothing to show."""

    source.on("GET", LARGEST, hang, times=99)
    registry = client(source.host, target.host)
    began = time.monotonic()

    def interrupt() -> None:
        hanging.wait(10)
        registry._blobs.cut()  # noqa: SLF001 - what the interrupt of the main thread does

    with ThreadPoolExecutor(1) as pool:
        pool.submit(interrupt)
        with pytest.raises(LockkeeperError):
            registry.copy(dev(source).at(DIGEST), prod(target), progress=Impatient())

    let_go.set()
    assert time.monotonic() - began < 10
    assert target.repository("prod/api").manifests == {}


# --- proxies


class Proxy(socketserver.ThreadingTCPServer):
    """CONNECT and absolute addresses; notes the first line and the log-in of every request."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.logins: list[str] = []
        self.elsewhere: str = ""
        super().__init__(("127.0.0.1", 0), _Relay)

    @property
    def url(self) -> str:
        return f"http://bot:pl4nted@127.0.0.1:{self.server_address[1]}"


class _Relay(socketserver.StreamRequestHandler):
    server: Proxy  # type: ignore[mutable-override] # socketserver's idiom

    def handle(self) -> None:
        line = self.rfile.readline().decode()
        headers = []
        while (header := self.rfile.readline()) not in (b"\r\n", b""):
            headers.append(header)
        self.server.lines.append(line.strip())
        self.server.logins += [
            h.decode().strip() for h in headers if h.lower().startswith(b"proxy-authorization")
        ]
        host, _, port = self.server.elsewhere.partition(":")
        with socket.create_connection((host, int(port))) as far:
            if line.startswith("CONNECT"):
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                method, url, version = line.split()
                path = "/" + url.split("/", 3)[3]
                close = [h for h in headers if not h.lower().startswith(b"connection")]
                request = f"{method} {path} {version}\r\n".encode() + b"".join(close)
                far.sendall(request + b"Connection: close\r\n\r\n")
            back = threading.Thread(target=_pump, args=(far, self.connection), daemon=True)
            back.start()
            _pump(self.connection, far)
            back.join(5)


def _pump(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := one.recv(65536):
            other.sendall(content)
        other.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_host_behind_a_proxy_is_reached_through_it_alone(source: Registry, proxy: Proxy) -> None:
    proxy.elsewhere = source.host
    host = "registry.inside.example:5000"
    registry = granting({host: {"plain_http": True, "proxy": proxy.url}})

    assert registry.resolve(ImageRepository(host, "dev/api").tagged("v1")) == DIGEST
    assert proxy.lines == [f"GET http://{host}/v2/dev/api/manifests/v1 HTTP/1.1"]
    assert len(proxy.logins) == 1


def test_tls_goes_through_the_proxy_and_not_to_it(proxy: Proxy, tmp_path: Path) -> None:
    with Registry(tls=certificate(tmp_path)) as registry:
        proxy.elsewhere = registry.host
        fields: dict[str, object] = {"ca": "ca.pem", "proxy": proxy.url}
        host = "localhost:5001"

        found = granting({host: fields}, f"{tmp_path}/registry.json").resolve(
            ImageRepository(host, "a").tagged("v1")
        )

    assert found is None
    assert [line.rpartition(" ")[0] for line in proxy.lines] == [f"CONNECT {host}"]


def test_no_proxy_comes_from_the_environment(
    source: Registry, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)

    assert client(source.host).resolve(dev(source).tagged("v1")) == DIGEST
    assert proxy.lines == []


def test_a_proxy_that_is_down_is_unavailable_and_its_password_stays_secret() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    host = "registry.inside.example:5000"
    dead = f"http://bot:pl4nted@127.0.0.1:{port}"
    registry = granting({host: {"plain_http": True, "proxy": dead}})

    with pytest.raises(UnavailableError) as caught:
        registry.resolve(ImageRepository(host, "a").tagged("v1"))

    assert "pl4nted" not in str(caught.value)


# --- images that cannot be judged whole


def listing(source: Registry, *entries: dict[str, object]) -> Digest:
    content = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)})
    source.repository("dev/api").manifests[Digest.of(content)] = (INDEX, content)
    return Digest.of(content)


def test_doubtful_indexes_say_so(source: Registry) -> None:
    """An environment that signs refuses what has ambiguities (`bot.reconcilers.delivery.deliver`)."""
    amd = {"os": "linux", "architecture": "amd64"}
    one, two = IMAGE.children["linux/amd64"], IMAGE.children["linux/arm64"]
    unlabelled = {"os": "unknown", "architecture": "unknown"}
    images = {
        "is there 2 times": listing(
            source, descriptor(MANIFEST, one, platform=amd), descriptor(MANIFEST, two, platform=amd)
        ),
        "index inside the index": listing(source, descriptor(INDEX, IMAGE.index)),
        "neither a platform nor": listing(
            source,
            descriptor(MANIFEST, one, platform=amd),
            descriptor(MANIFEST, two, platform=unlabelled),
        ),
    }

    for words, digest in images.items():
        found = client(source.host).describe(dev(source).at(digest)).ambiguities
        assert any(words in one for one in found)
