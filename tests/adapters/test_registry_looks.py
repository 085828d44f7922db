"""A look that is not answered is unknown: the write that follows decides."""

from __future__ import annotations

import pytest

from bot.domain.images import Presence
from bot.domain.oci import Digest, ImageRepository
from bot.usecases.copy_image import ensure_copied
from tests.world import registry as world
from tests.world.clients import client
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
