"""Connections that are opened before there are questions for them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from bot.domain.oci import ImageRepository
from tests.world.clients import client
from tests.world.registry import Registry, before


def test_what_was_opened_early_is_what_is_used() -> None:
    with Registry() as registry:
        place = ImageRepository(registry.host, "dev/api")
        reader = client(registry.host)
        all_there = threading.Barrier(3, timeout=10)

        def together() -> None:
            all_there.wait()

        registry.on("GET", "/manifests/", before(together), times=3)

        reader.warm(place, 3)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(reader.resolve, map(place.tagged, ("a", "b", "c"))))

        assert registry.connections == 3


def test_a_host_that_is_away_is_no_news_before_it_is_asked() -> None:
    with Registry() as registry:
        host = registry.host

    client(host).warm(ImageRepository(host, "dev/api"), 3)
