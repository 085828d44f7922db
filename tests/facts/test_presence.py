"""Whether an image is there, where much depends on it: an unanswered look is no yes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.domain.errors import UnavailableError
from bot.domain.images import RegistryRefusesError
from bot.domain.oci import Digest, DigestReference, ImageRepository
from bot.facts.presence import is_there
from tests.world import registry as world
from tests.world.clients import client
from tests.world.images import build_image
from tests.world.registry import Registry

IMAGE = build_image(["linux/amd64"], 1)


@pytest.fixture
def ci() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


def _image(ci: Registry) -> DigestReference:
    return ImageRepository(ci.host, "dev/api").at(Digest(IMAGE.digest))


def test_what_was_pushed_is_there_and_nothing_else(ci: Registry) -> None:
    assert not is_there(client(ci.host), _image(ci))
    IMAGE.push(ci.host, "dev/api")
    assert is_there(client(ci.host), _image(ci))


@pytest.mark.parametrize("status", [401, 403, 405])
@pytest.mark.parametrize("pushed", [True, False])
def test_a_registry_that_refuses_to_say_says_neither_yes_nor_no(
    ci: Registry, status: int, *, pushed: bool
) -> None:
    if pushed:
        IMAGE.push(ci.host, "dev/api")
    for method in ("HEAD", "GET"):
        ci.on(method, "/manifests/", world.answer(status), times=10**6)

    with pytest.raises(RegistryRefusesError, match=str(status)):
        is_there(client(ci.host), _image(ci))


@pytest.mark.parametrize(
    "fault", [world.answer(500), world.answer(503), world.drop()], ids=["500", "503", "silent"]
)
def test_an_outage_is_neither(ci: Registry, fault: world.Fault) -> None:
    for method in ("HEAD", "GET"):
        ci.on(method, "/manifests/", fault, times=10**6)

    with pytest.raises(UnavailableError):
        is_there(client(ci.host), _image(ci))


@pytest.mark.parametrize("status", [401, 403, 404, 405, 500])
def test_a_head_that_is_refused_hides_nothing(ci: Registry, status: int) -> None:
    IMAGE.push(ci.host, "dev/api")
    ci.on("HEAD", "/manifests/", world.answer(status), times=10**6)

    assert is_there(client(ci.host), _image(ci))
