"""Credential helpers and refresh tokens: real programs, a real token service."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.registry import Registry as Client, logins
from bot.domain.errors import RejectedError, UnavailableError
from bot.domain.oci import Digest, ImageRepository
from bot.formats.docker_config import parse_registry_grant
from tests.world import registry as world
from tests.world.clients import HandClock, client
from tests.world.images import build_image
from tests.world.registry import Registry

IMAGE = build_image()
DIGEST = Digest(IMAGE.digest)
NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def server() -> Iterator[Registry]:
    with Registry(users={"AWS": "one"}) as registry:
        IMAGE.push(registry.host, "dev/api", "v1")
        registry.login = "basic"
        registry.seen.clear()
        yield registry


class Helper:
    """A credential helper that is a shell script and notes its calls."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls = directory / "calls"

    def says(self, script: str) -> None:
        program = self.directory / "docker-credential-test-login"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def gives(self, username: str, secret: str) -> None:
        answer = json.dumps({"ServerURL": "x", "Username": username, "Secret": secret})
        self.says(
            f'read -r host || true; echo "$1 $host" >> {self.calls}\n'
            f"/usr/bin/env | /usr/bin/sort > {self.directory}/environment\n"
            f"echo '{answer}'"
        )

    def client(self, host: str, clock: HandClock | None = None) -> Client:
        document = {
            "credHelpers": {host: "test-login"},
            "helpers_directory": str(self.directory),
            "helpers_environment": {"AWS_REGION": "eu-central-1"},
        }
        hand = clock or HandClock()
        grant = parse_registry_grant(json.dumps(document), "registry.json")
        return Client(grant, clock=hand, sleep=hand.sleep)


@pytest.fixture
def helper(tmp_path: Path) -> Helper:
    return Helper(tmp_path)


def dev(registry: Registry) -> ImageRepository:
    return ImageRepository(registry.host, "dev/api")


def test_a_helper_logs_in_and_is_asked_once(server: Registry, helper: Helper) -> None:
    helper.gives("AWS", "one")
    registry = helper.client(server.host)

    registry.read_back(dev(server).at(DIGEST))

    assert registry.resolve(dev(server).tagged("v1")) == DIGEST
    assert helper.calls.read_text() == f"get {server.host}\n"


def test_a_helper_sees_only_the_variables_of_the_grant(
    server: Registry, helper: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKKEEPER_WEBHOOK_SECRET", "pl4nted")
    helper.gives("AWS", "one")

    helper.client(server.host).resolve(dev(server).tagged("v1"))

    names = {
        line.partition("=")[0] for line in (helper.directory / "environment").read_text().split()
    }
    assert names - {"PWD", "_", "OLDPWD", "SHLVL"} == {"AWS_REGION"}


def test_a_login_that_ran_out_is_asked_for_again(server: Registry, helper: Helper) -> None:
    helper.gives("AWS", "one")
    registry = helper.client(server.host)
    registry.resolve(dev(server).tagged("v1"))
    server.users = {"AWS": "two"}
    helper.gives("AWS", "two")

    assert registry.resolve(dev(server).tagged("v1")) == DIGEST
    assert len(helper.calls.read_text().splitlines()) == 2


def test_a_login_that_stays_wrong_is_refused_after_two(server: Registry, helper: Helper) -> None:
    helper.gives("AWS", "hunter2")

    with pytest.raises(RejectedError, match="refuses access") as caught:
        helper.client(server.host).resolve(dev(server).tagged("v1"))

    assert "hunter2" not in str(caught.value)
    assert len(server.requests("GET", "/manifests/")) <= 3


def test_a_login_is_kept_for_a_quarter_of_an_hour(server: Registry, helper: Helper) -> None:
    helper.gives("AWS", "one")
    clock = HandClock()
    registry = helper.client(server.host, clock)

    for minutes in (0, 14, 2):
        clock.move(minutes * 60)
        registry.resolve(dev(server).tagged("v1"))

    assert len(helper.calls.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("script", "fact"),
    [
        ("echo credentials not found in native keychain hunter2; exit 1", "status 1"),
        ("echo hunter2", "something else"),
        ("""echo '{"Username": "AWS", "Secret": 3, "x": "hunter2"}'""", "something else"),
        ("""echo '{"Username": "", "Secret": "hunter2"}'""", "no user"),
        ("""echo '{"Username": "AWS", "Secret": ""}'""", "no user or no secret"),
        ("exec /usr/bin/yes hunter2", "prints more than"),
        ("kill -9 $$", "status -9"),
    ],
    ids=["unknown", "prose", "number", "no-user", "no-secret", "endless", "killed"],
)
def test_a_helper_that_gives_no_login_is_reported_without_its_words(
    server: Registry, helper: Helper, script: str, fact: str
) -> None:
    helper.says(script)

    with pytest.raises(RejectedError, match=fact) as caught:
        helper.client(server.host).resolve(dev(server).tagged("v1"))

    assert "docker-credential-test-login" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_helper_that_is_not_there_is_named(server: Registry, helper: Helper) -> None:
    with pytest.raises(RejectedError, match="docker-credential-test-login"):
        helper.client(server.host).resolve(dev(server).tagged("v1"))


def test_a_helper_that_hangs_is_ended_with_its_children(
    server: Registry, helper: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins, "_SECONDS", 0.3)
    helper.says("/bin/sleep 600 & /bin/sleep 600")

    with pytest.raises(UnavailableError, match="does not answer"):
        helper.client(server.host).resolve(dev(server).tagged("v1"))


def test_a_helper_may_not_read_what_it_is_told(server: Registry, helper: Helper) -> None:
    helper.says("""exec 0<&-; echo '{"Username": "AWS", "Secret": "one"}'""")

    assert helper.client(server.host).resolve(dev(server).tagged("v1")) == DIGEST


@pytest.mark.parametrize("username", ["<token>", NOBODY])
def test_a_helpers_refresh_token_is_exchanged(
    server: Registry, helper: Helper, username: str
) -> None:
    server.login, server.refresh_tokens = "bearer", {"refresh-me"}
    helper.gives(username, "refresh-me")

    assert helper.client(server.host).resolve(dev(server).tagged("v1")) == DIGEST
    assert len(server.requests("POST", "^/token")) == 1


def test_a_stale_refresh_token_is_asked_for_again(server: Registry, helper: Helper) -> None:
    server.login, server.refresh_tokens = "bearer", {"old"}
    helper.gives("<token>", "old")
    registry = helper.client(server.host)
    registry.resolve(dev(server).tagged("v1"))
    server.refresh_tokens, server.tokens = {"new"}, {}
    helper.gives("<token>", "new")

    assert registry.resolve(dev(server).tagged("v1")) == DIGEST


# --- refresh tokens that are written down


@pytest.mark.parametrize("status", [404, 405])
def test_without_an_exchange_the_refresh_token_is_a_password(server: Registry, status: int) -> None:
    server.login, server.users = "bearer", {NOBODY: "refresh-me"}
    server.on("POST", "^/token", world.answer(status), times=9)

    found = client(auths={server.host: {"identitytoken": "refresh-me"}}).resolve(
        dev(server).tagged("v1")
    )

    (asked,) = server.requests("GET", "^/token")
    assert found == DIGEST
    assert asked.headers["Authorization"] == (
        "Basic " + base64.b64encode(f"{NOBODY}:refresh-me".encode()).decode()
    )


def test_a_refused_exchange_is_final_and_not_tried_another_way(server: Registry) -> None:
    server.login = "bearer"

    with pytest.raises(RejectedError, match="a token for"):
        client(auths={server.host: {"identitytoken": "wrong"}}).resolve(dev(server).tagged("v1"))

    assert server.requests("GET", "^/token") == []


@pytest.mark.parametrize("life", [0, 60])
def test_a_token_lives_a_minute_where_nothing_is_said_less_ten_seconds_before_the_end(
    server: Registry, life: int
) -> None:
    server.login, server.token_life, server.users = "bearer", life, {}
    clock = HandClock()
    registry = client(server.host, clock=clock)
    registry.resolve(dev(server).tagged("v1"))

    clock.move(47)
    registry.resolve(dev(server).tagged("v1"))
    assert len(server.requests("GET", "^/token")) == 1

    clock.move(2)
    registry.resolve(dev(server).tagged("v1"))
    assert len(server.requests("GET", "^/token")) == 2
