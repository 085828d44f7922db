"""One pace per host, whoever asks; time moves by hand, nothing waits."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from bot.adapters.registry import HostLimits, Registry as Client
from bot.adapters.registry.limits import LONGEST_PAUSE, PATIENCE, PausedError
from bot.adapters.signing import load_signing_key
from bot.domain.errors import UnavailableError
from bot.domain.oci import Digest, ImageRepository
from bot.formats.docker_config import parse_registry_grant
from bot.signatures.sign import ensure_signed
from tests.world import registry as world
from tests.world.clients import HandClock, granted
from tests.world.images import build_image
from tests.world.keys import generate_key_pair
from tests.world.registry import Registry

IMAGE = build_image()
DIGEST = Digest(IMAGE.digest)
HOST = "registry.example.com"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def limits(clock: HandClock) -> HostLimits:
    return HostLimits(clock, clock.sleep)


@pytest.fixture
def server() -> Iterator[Registry]:
    with Registry() as registry:
        IMAGE.push(registry.host, "dev/api", "v1")
        registry.seen.clear()
        yield registry


# --- the bucket


def test_a_burst_is_free_and_the_rest_comes_at_the_rate(
    limits: HostLimits, clock: HandClock
) -> None:
    began = clock.now()

    for _ in range(600):
        limits.admit(HOST, 50)

    passed = (clock.now() - began).total_seconds()
    assert passed == pytest.approx((600 - 100) / 50, abs=0.1)


def test_hosts_do_not_wait_for_each_other(limits: HostLimits, clock: HandClock) -> None:
    for number in range(50):
        limits.admit(f"{number}.{HOST}", 1)

    assert clock.waits == []


def test_spellings_of_a_host_share_one_bucket(limits: HostLimits, clock: HandClock) -> None:
    for host in ("r.example.com", "R.example.com", "r.example.com.", "r.example.com:443"):
        limits.admit(host, 1)

    assert len(clock.waits) == 2  # a burst of two seconds' worth is free


def test_idle_time_is_not_saved_for_later(limits: HostLimits, clock: HandClock) -> None:
    limits.admit(HOST, 10)
    clock.move(3600)

    for _ in range(20):
        limits.admit(HOST, 10)
    assert clock.waits == []

    limits.admit(HOST, 10)
    assert clock.waits


def test_a_clock_that_is_set_back_does_not_stop_anything(
    limits: HostLimits, clock: HandClock
) -> None:
    limits.admit(HOST, 10)
    limits.pause(HOST, 3)
    clock.moment -= timedelta(days=1)

    limits.admit(HOST, 10)

    assert clock.waits == []


# --- the rate


def _rate(limits: HostLimits, clock: HandClock, most: float = 1000.0) -> float:
    """Requests in a second of full demand, behind any burst; no answer comes to them."""
    limits.admit(HOST, most)
    while not clock.waits:
        limits.admit(HOST, most)
    began, count = clock.now(), 200
    for _ in range(count):
        limits.admit(HOST, most)
    return count / (clock.now() - began).total_seconds()


def _served(limits: HostLimits, count: int, most: float = 1000.0) -> None:
    for _ in range(count):
        limits.admit(HOST, most)
        limits.answered(HOST)


def test_good_answers_make_a_host_be_asked_more_often(limits: HostLimits, clock: HandClock) -> None:
    began = clock.now()

    _served(limits, 2000)

    # 40 s at a fixed rate of 50
    assert (clock.now() - began).total_seconds() < 5
    clock.waits.clear()
    assert _rate(limits, clock) == pytest.approx(1000, rel=0.05)


def test_never_more_often_than_the_operator_says(limits: HostLimits, clock: HandClock) -> None:
    _served(limits, 1000, most=80)
    clock.waits.clear()

    assert _rate(limits, clock, most=80) == pytest.approx(80, rel=0.05)


def test_what_nobody_waits_for_does_not_grow(limits: HostLimits, clock: HandClock) -> None:
    for _ in range(1000):
        clock.move(1)
        _served(limits, 1)

    assert _rate(limits, clock) == pytest.approx(50, rel=0.05)


def test_a_complaint_halves_the_rate_once_however_many_hear_it(
    limits: HostLimits, clock: HandClock
) -> None:
    _served(limits, 2000)
    for _ in range(30):  # all that were under way
        limits.pause(HOST, 1)
    clock.move(1)
    clock.waits.clear()

    assert _rate(limits, clock) == pytest.approx(500, rel=0.05)


def test_after_a_complaint_it_grows_by_little(limits: HostLimits, clock: HandClock) -> None:
    _served(limits, 150)
    limits.pause(HOST, 1)
    clock.waits.clear()
    before = _rate(limits, clock)
    began = clock.now()

    _served(limits, 1000)

    passed = (clock.now() - began).total_seconds()
    clock.waits.clear()
    assert 0 < _rate(limits, clock) - before <= 2.2 * passed


def test_complaints_without_end_leave_one_request_in_a_second(
    limits: HostLimits, clock: HandClock
) -> None:
    for _ in range(100):
        limits.pause(HOST, 1)
        clock.move(1)

    assert _rate(limits, clock) == pytest.approx(1, rel=0.05)


def test_a_registry_with_a_quota_is_not_run_into_again_and_again(server: Registry) -> None:
    """A quota of 40 requests in a second, told by 429 alone; virtual time."""
    clock = HandClock()
    limits = HostLimits(clock, clock.sleep, patience=600)
    window: list[float] = []
    refused = 0

    def quota(handler: world.Handler) -> bool:
        nonlocal refused
        now = clock.now().timestamp()
        window[:] = [one for one in window if now - one < 1]
        if len(window) < 40:
            window.append(now)
            return False
        refused += 1
        return world.error(429, "TOOMANYREQUESTS")(handler)

    server.on("GET", "/manifests/", quota, times=10_000)
    reader = Client(granted(server.host), clock=clock, sleep=clock.sleep, limits=limits)

    for _ in range(1000):
        assert reader.resolve(ImageRepository(server.host, "dev/api").tagged("v1")) == DIGEST

    assert refused < 100


# --- silence


def test_silence_holds_for_everybody_at_that_host(limits: HostLimits, clock: HandClock) -> None:
    limits.pause(HOST, 4)

    limits.admit("other.example.com", 50)
    assert clock.waits == []

    limits.admit(HOST, 50)
    assert clock.waits == [4]


def test_a_long_silence_is_for_the_engine(limits: HostLimits, clock: HandClock) -> None:
    limits.pause(HOST, PATIENCE + 25)

    with pytest.raises(PausedError) as caught:
        limits.admit(HOST, 50)

    assert caught.value.retry_after == PATIENCE + 25
    assert clock.waits == []


def test_nobody_can_silence_us_for_ever(limits: HostLimits, clock: HandClock) -> None:
    limits.pause(HOST, 10**9)
    clock.move(LONGEST_PAUSE)

    limits.admit(HOST, 50)

    assert clock.waits == []


def test_a_shorter_silence_does_not_end_a_longer_one(limits: HostLimits, clock: HandClock) -> None:
    limits.pause(HOST, 5)
    limits.pause(HOST, 1)

    limits.admit(HOST, 50)

    assert clock.waits == [5]


def test_after_a_silence_they_do_not_all_come_at_once(limits: HostLimits, clock: HandClock) -> None:
    limits.pause(HOST, 2)
    for _ in range(11):
        limits.admit(HOST, 10)

    assert clock.waits[0] == 2
    assert sum(clock.waits[1:]) == pytest.approx(1.0, abs=0.1)


def test_many_threads_get_the_rate_and_no_more() -> None:
    clock = HandClock()
    guard = threading.Lock()

    def sleep(seconds: float) -> None:
        with guard:
            clock.move(seconds)

    limits = HostLimits(clock, sleep)
    began = clock.now()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: limits.admit(HOST, 10), range(200)))

    assert (clock.now() - began).total_seconds() >= (200 - 20) / 10 - 0.1


# --- in the client


def shared(clock: HandClock, *hosts: str, auths: dict[str, dict[str, str]] | None = None) -> Client:
    limits = HostLimits(clock, clock.sleep)
    return Client(granted(*hosts, auths=auths), clock=clock, sleep=clock.sleep, limits=limits)


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (429, "3", 3),
        (429, "Fri, 20 Nov 2026 12:00:03 GMT", 3),
        (429, str(int(HandClock().moment.timestamp()) + 3), 3),
        (503, "3", 3),
    ],
    ids=["seconds", "date", "epoch", "503"],
)
def test_retry_after_is_waited_for(
    server: Registry, clock: HandClock, status: int, header: str, seconds: float
) -> None:
    server.on("GET", "/manifests/", world.answer(status, b"", {"Retry-After": header}))
    repository = ImageRepository(server.host, "dev/api")

    found = shared(clock, server.host).resolve(repository.tagged("v1"))

    assert (found, clock.waits) == (DIGEST, [seconds])


def test_a_429_without_retry_after_is_a_second_for_all(server: Registry, clock: HandClock) -> None:
    server.on("GET", "/manifests/", world.answer(429))
    repository = ImageRepository(server.host, "dev/api")

    shared(clock, server.host).resolve(repository.tagged("v1"))

    assert sum(clock.waits) == pytest.approx(1.0, abs=0.01)


def test_what_silences_one_client_silences_the_other(server: Registry, clock: HandClock) -> None:
    limits = HostLimits(clock, clock.sleep)
    one, other = (
        Client(granted(server.host), clock=clock, sleep=clock.sleep, limits=limits)
        for _ in range(2)
    )
    server.on("GET", "/manifests/", world.answer(429, b"", {"Retry-After": "30"}))
    tag = ImageRepository(server.host, "dev/api").tagged("v1")

    for registry in (one, other):
        with pytest.raises(UnavailableError) as caught:
            registry.resolve(tag)
        assert caught.value.retry_after == 30

    assert len(server.seen) == 1


def test_a_token_service_that_is_throttled_stops_the_registry_too(
    server: Registry, clock: HandClock
) -> None:
    server.login, server.users = "bearer", {"ci": "p"}
    busy = world.answer(429, b"", {"Retry-After": "60"})
    server.on("GET", "^/token", busy, times=99)
    login = {"username": "ci", "password": "p"}
    registry = shared(clock, auths={server.host: login})
    repository = ImageRepository(server.host, "dev/api")

    for _ in range(3):
        with pytest.raises(UnavailableError) as caught:
            registry.resolve(repository.tagged("v1"))
        assert caught.value.retry_after == 60

    assert len(server.requests("GET", "^/token")) == 1


def test_copying_and_signing_draw_from_one_bucket(server: Registry) -> None:
    clock = HandClock()
    paced = {server.host: {"requests_per_second": 2}}
    grant = parse_registry_grant(json.dumps({"hosts": paced}), "registry.json")
    registry = Client(grant, clock=clock, sleep=clock.sleep)
    key = load_signing_key(generate_key_pair().private, "key")
    prod = ImageRepository(server.host, "prod/api")
    began = clock.now()

    registry.copy(ImageRepository(server.host, "dev/api").at(DIGEST), prod)
    ensure_signed(registry, key, prod.at(DIGEST), None, {}, [])

    passed = (clock.now() - began).total_seconds()
    assert passed >= (len(server.seen) - 4) / 2 - 1


def test_a_429_for_a_manifest_that_is_written_is_waited_for(
    server: Registry, clock: HandClock
) -> None:
    server.on("PUT", "/manifests/", world.answer(429, b"", {"Retry-After": "1"}))
    prod = ImageRepository(server.host, "prod/api")

    shared(clock, server.host).copy(ImageRepository(server.host, "dev/api").at(DIGEST), prod)

    assert DIGEST in server.repository("prod/api").manifests
