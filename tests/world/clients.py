"""Our registry client, granted the hosts that a test names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bot.adapters.registry import Registry
from bot.domain.grants import RegistryGrant
from bot.formats.docker_config import parse_registry_grant


@dataclass
class HandClock:
    """Time that moves when a test moves it, and when somebody waits."""

    moment: datetime = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    waits: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.move(seconds)

    def move(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


def granted(*hosts: str, auths: Mapping[str, Mapping[str, str]] | None = None) -> RegistryGrant:
    """A grant of these hosts, with these log-ins."""
    document = {"auths": dict(auths or {}), "hosts": {host: {} for host in hosts}}
    return parse_registry_grant(json.dumps(document), "registry.json")


def client(
    *hosts: str,
    auths: Mapping[str, Mapping[str, str]] | None = None,
    clock: HandClock | None = None,
    source: Registry | None = None,
    sleep: Callable[[float], None] | None = None,
) -> Registry:
    """A client that may contact these hosts and never really waits."""
    hand = clock or HandClock()
    return Registry(
        granted(*hosts, auths=auths), clock=hand, sleep=sleep or hand.sleep, source=source
    )
