"""Thirty threads that lose one log-in at once, fifty times: all get the new one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bot.adapters.registry import Registry as Client
from bot.domain.oci import Digest, ImageRepository
from tests.adapters.test_registry_logins import Helper
from tests.world.clients import HandClock, client
from tests.world.images import build_image
from tests.world.registry import Handler, Registry

IMAGE = build_image()
DIGEST = Digest(IMAGE.digest)
THREADS, TIMES = 30, 50


@pytest.fixture
def server() -> Iterator[Registry]:
    with Registry(login="bearer", users={"robot": "secret"}) as registry:
        registry.login = "none"
        IMAGE.push(registry.host, "dev/api", "v1")
        registry.login = "bearer"
        yield registry


def _race(reader: Client, place: ImageRepository, lose: Callable[[int], None]) -> None:
    """Everybody begins at once, after the log-in was lost."""
    with ThreadPoolExecutor(THREADS) as pool:
        for turn in range(TIMES):
            lose(turn)
            found = pool.map(reader.resolve, [place.tagged("v1")] * THREADS)
            assert set(found) == {DIGEST}


def test_a_token_that_the_registry_forgets(server: Registry) -> None:
    reader = client(server.host, auths={server.host: {"username": "robot", "password": "secret"}})

    _race(reader, ImageRepository(server.host, "dev/api"), lambda _turn: server.tokens.clear())

    # One for each loss, and one more where a thread was late to see it.
    assert len(server.requests("GET", "^/token")) <= 3 * TIMES


@pytest.mark.parametrize("stated", [30, 1, 0])
def test_a_token_that_ends_while_they_run(server: Registry, stated: int) -> None:
    """Thirty seconds pass again and again, as each of them is served."""
    server.token_life = stated
    clock, guard, served = HandClock(), threading.Lock(), 0

    def passes(_handler: Handler) -> bool:
        nonlocal served
        with guard:
            served += 1
            if served % 20 == 0:
                clock.move(31)
                server.tokens.clear()
        return False

    server.on("GET", "/manifests/", passes, times=10**6)
    login = {"username": "robot", "password": "secret"}
    reader = client(server.host, auths={server.host: login}, clock=clock)

    _race(reader, ImageRepository(server.host, "dev/api"), lambda _turn: None)


def test_a_login_of_a_helper_that_runs_out(server: Registry, tmp_path: Path) -> None:
    server.login, helper = "basic", Helper(tmp_path)
    server.users = {"AWS": "0"}
    helper.gives("AWS", "0")
    reader = helper.client(server.host)

    def lose(turn: int) -> None:
        helper.gives("AWS", str(turn))
        server.users = {"AWS": str(turn)}

    _race(reader, ImageRepository(server.host, "dev/api"), lose)

    assert len(helper.calls.read_text().splitlines()) <= 2 * TIMES
