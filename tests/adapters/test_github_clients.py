"""Connections to GitHub are kept, and lent to one request at a time."""

from __future__ import annotations

from pathlib import Path

import github
import pytest

import bot.adapters.github.clients as module
from bot.adapters.clock import SystemClock
from bot.adapters.github.calls import Calls
from bot.adapters.github.clients import Clients
from bot.domain.errors import UnavailableError
from tests.world.github.fixture import running_github

ONE, OTHER = github.Auth.Token("one"), github.Auth.Token("other")


@pytest.fixture
def clients() -> Clients:
    return Clients(lambda auth: github.Github(auth=auth, lazy=True))


def test_what_is_lent_goes_to_nobody_else(clients: Clients) -> None:
    with clients.lent(ONE) as first, clients.lent(ONE) as second:
        assert first is not second


def test_a_client_is_lent_again_to_the_same_token_alone(clients: Clients) -> None:
    with clients.lent(ONE) as first:
        pass
    with clients.lent(OTHER) as other:
        assert other is not first
    with clients.lent(ONE) as again:
        assert again is first


def test_a_client_that_failed_is_not_lent_again(clients: Clients) -> None:
    with pytest.raises(OSError, match="reset"), clients.lent(ONE) as failed:
        raise ConnectionResetError("reset")
    with clients.lent(ONE) as next_one:
        assert next_one is not failed


def test_what_was_idle_for_long_is_not_lent_again(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    with clients.lent(ONE) as first:
        pass
    monkeypatch.setattr(module, "_IDLE_SECONDS", -1.0)

    with clients.lent(ONE) as next_one:
        assert next_one is not first


def test_no_more_than_some_are_kept(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE", 1)
    with clients.lent(ONE) as first, clients.lent(OTHER) as other:
        pass  # the other is given back first

    with clients.lent(ONE) as one, clients.lent(OTHER) as new:
        assert one is first
        assert new is not other


def test_requests_share_a_connection_until_github_goes_away(tmp_path: Path) -> None:
    with running_github(tmp_path / "github") as world:
        app = world.create_app("", "secret", {"contents": "read"}, [])
        auth = github.Auth.AppAuthToken(github.Auth.AppAuth(app.id, app.private_key).token)
        calls = Calls(world.api_url, SystemClock())

        for _ in range(3):
            assert calls.send(auth, "GET", "/app").data["slug"] == "lockkeeper"
        assert len(world.server.connections) == 1

        world.stop()
        with pytest.raises(UnavailableError):
            calls.send(auth, "GET", "/app")
        world.start()
        assert calls.send(auth, "GET", "/app").data["slug"] == "lockkeeper"
