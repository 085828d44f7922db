"""Small rules of the transport that need no registry."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.adapters.registry.errors import retry_after
from bot.adapters.registry.limits import HostLimits
from bot.adapters.registry.transport import Transport, pull_scope, push_scope
from bot.domain.oci import ImageRepository
from tests.world.clients import HandClock, granted

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("999", 120),
        ("Fri, 20 Nov 2026 12:00:30 GMT", 30),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0),
        (str(int(NOW.timestamp()) + 42), 42),
        ("soon", None),
        ("-1", None),
        ("9" * 400, None),
        ("²", None),
    ],
)
def test_retry_after_is_seconds_a_date_or_an_epoch(header: str, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize(
    ("repository", "url"),
    [
        ("docker.io/alpine", "https://registry-1.docker.io/v2/library/alpine/tags/list"),
        ("docker.io/acme/api", "https://registry-1.docker.io/v2/acme/api/tags/list"),
        ("r.example.com/acme/api", "https://r.example.com/v2/acme/api/tags/list"),
        ("127.0.0.1:5000/api", "http://127.0.0.1:5000/v2/api/tags/list"),
    ],
)
def test_where_a_repository_is(repository: str, url: str) -> None:
    clock = HandClock()
    grant = granted("docker.io", "r.example.com", "127.0.0.1:5000")
    limits = HostLimits(clock, clock.sleep)
    transport = Transport(grant, clock=clock, sleep=clock.sleep, workers=1, limits=limits)

    assert transport.url(ImageRepository.parse(repository), "tags", "list") == url


def test_scopes_name_the_repository_as_its_registry_does() -> None:
    assert pull_scope(ImageRepository.parse("docker.io/alpine")) == "repository:library/alpine:pull"
    assert push_scope(ImageRepository.parse("r.example/a/b")) == "repository:a/b:pull,push"
