"""A look that is not answered is unknown: the write that follows decides."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.adapters.registry import Registry as Client
from bot.domain.errors import UnavailableError
from bot.domain.images import Presence
from bot.domain.oci import Digest, ImageRepository
from bot.signatures.copy import ensure_copied
from tests.world import registry as world
from tests.world.clients import HandClock, client, granted
from tests.world.images import build_image
from tests.world.registry import Registry

IMAGE = build_image(["linux/amd64", "linux/arm64"], 2)
REFUSALS = [401, 403, 404, 405, 500]


def _pushed(source: Registry) -> Digest:
    IMAGE.push(source.host, "dev/api")
    return Digest(IMAGE.digest)


@pytest.mark.parametrize("status", REFUSALS)
def test_a_head_that_is_refused_ends_no_copy(status: int) -> None:
    with Registry() as source, Registry() as target:
        digest = _pushed(source)
        target.on("HEAD", "", world.answer(status), times=10**6)
        registry = client(source.host, target.host)

        ensure_copied(
            registry,
            ImageRepository(source.host, "dev/api").at(digest),
            ImageRepository(target.host, "prod/api"),
        )

        assert digest in target.repository("prod/api").manifests


@pytest.mark.parametrize("status", [401, 403, 405])
def test_a_refused_look_for_a_manifest_is_unknown(status: int) -> None:
    with Registry() as source:
        digest = _pushed(source)
        source.on("HEAD", "", world.answer(status), times=99)
        source.on("GET", "/manifests/", world.answer(status), times=99)

        found = client(source.host).exists(ImageRepository(source.host, "dev/api").at(digest))

        assert found is Presence.UNKNOWN


# --- patience is a deadline, not a count of attempts


def _away(seconds: float, clock: HandClock, *registries: Registry) -> None:
    """Nothing is answered until so much time has passed."""
    back = clock.now() + timedelta(seconds=seconds)

    def silent(handler: world.Handler) -> bool:
        handler.close_connection = True
        return clock.now() < back

    for registry in registries:
        for method in ("GET", "HEAD", "POST", "PUT"):
            registry.on(method, "", silent, times=10**6)


@pytest.mark.parametrize("side", ["source", "target", "both"])
def test_a_registry_that_is_away_for_ten_seconds_ends_no_copy(side: str) -> None:
    with Registry() as source, Registry() as target:
        digest, clock = _pushed(source), HandClock()
        sides = {"source": [source], "target": [target], "both": [source, target]}
        _away(10, clock, *sides[side])

        ensure_copied(
            client(source.host, target.host, clock=clock),
            ImageRepository(source.host, "dev/api").at(digest),
            ImageRepository(target.host, "prod/api"),
        )

        assert digest in target.repository("prod/api").manifests


def test_a_registry_that_stays_away_ends_it_soon() -> None:
    with Registry() as source:
        clock = HandClock()
        began = clock.now()
        _away(3600, clock, source)

        with pytest.raises(UnavailableError):
            client(source.host, clock=clock).resolve(
                ImageRepository(source.host, "dev/api").tagged("v1")
            )

        assert clock.now() - began < timedelta(seconds=30)


@pytest.mark.parametrize("asked", [60, 119, None])
def test_whoever_waits_for_silences_gets_the_answer_behind_them(asked: int | None) -> None:
    """The command line has nobody who comes back later."""
    with Registry() as source:
        digest, clock = _pushed(source), HandClock()
        headers = {"Retry-After": str(asked)} if asked else {}
        source.on("GET", "/manifests/", world.answer(429, b"", headers))
        patient = Client(granted(source.host), clock=clock, sleep=clock.sleep, silence=120.0)

        found = patient.manifest(ImageRepository(source.host, "dev/api").at(digest))

        assert found is not None
