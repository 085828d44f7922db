"""Copied means whole, also where the target has lost something meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.domain.errors import NotFoundError
from bot.domain.oci import Digest, ImageRepository
from bot.usecases.copy_image import ensure_copied
from tests.world.clients import client
from tests.world.images import build_image
from tests.world.registry import Registry

IMAGE = build_image()
DIGEST = Digest(IMAGE.digest)


@pytest.fixture
def server() -> Iterator[Registry]:
    with Registry(mounts=False) as registry:
        IMAGE.push(registry.host, "dev/api")
        yield registry


def test_a_blob_that_the_target_has_lost_is_brought_back(server: Registry) -> None:
    dev, prod = (ImageRepository(server.host, name) for name in ("dev/api", "prod/api"))
    registry = client(server.host)
    ensure_copied(registry, dev.at(DIGEST), prod)
    lost = next(iter(IMAGE.blobs))
    del server.repository("prod/api").blobs[lost]

    report, back = ensure_copied(registry, dev.at(DIGEST), prod)

    assert (report.unchanged, report.moved) == (False, len(IMAGE.blobs[lost]))
    assert back.blobs == len(IMAGE.blobs)


def test_a_child_that_the_target_has_lost_is_brought_back(server: Registry) -> None:
    dev, prod = (ImageRepository(server.host, name) for name in ("dev/api", "prod/api"))
    registry = client(server.host)
    ensure_copied(registry, dev.at(DIGEST), prod)
    del server.repository("prod/api").manifests[IMAGE.child_digests[0]]

    _, back = ensure_copied(registry, dev.at(DIGEST), prod)

    assert back.manifests == (*IMAGE.child_digests, DIGEST)


def test_a_part_that_the_source_lacks_is_not_tried_twice(server: Registry) -> None:
    dev, prod = (ImageRepository(server.host, name) for name in ("dev/api", "prod/api"))
    del server.repository("dev/api").manifests[IMAGE.child_digests[0]]

    with pytest.raises(NotFoundError, match="dev/api"):
        ensure_copied(client(server.host), dev.at(DIGEST), prod)

    assert len(server.requests("GET", IMAGE.child_digests[0])) == 1
