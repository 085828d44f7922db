"""Chunked uploads, and where registries say that they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bot.adapters.registry.uploads import CHUNK_LIMIT, CHUNK_TO_SEND
from bot.domain.errors import RejectedError
from bot.domain.oci import Digest, ImageRepository
from tests.world import registry as world
from tests.world.clients import client
from tests.world.images import BuiltImage, build_image
from tests.world.registry import Registry

MIB = 2**20
IMAGE = build_image(["linux/amd64"], 1, layer_size=9 * MIB)
LAYER = max(IMAGE.blobs, key=lambda digest: len(IMAGE.blobs[digest]))
SIZE = len(IMAGE.blobs[LAYER])


@pytest.fixture(scope="module")
def source() -> Iterator[Registry]:
    with Registry() as registry:
        IMAGE.push(registry.host, "dev/api")
        yield registry


def only_chunks(registry: Registry) -> Registry:
    """Refuse bodies in a PUT, and PATCHes without a range: what is left are chunks."""

    def refuse_bodies(handler: world.Handler) -> bool:
        has_body = int(handler.headers.get("Content-Length") or 0)
        is_chunk = handler.command == "PATCH" and "Content-Range" in handler.headers
        return bool(has_body) and not is_chunk and world.error(413, "UNSUPPORTED")(handler)

    registry.on("PUT", "/uploads/", refuse_bodies, times=999)
    registry.on("PATCH", "/uploads/", refuse_bodies, times=999)
    return registry


@pytest.fixture
def target() -> Iterator[Registry]:
    with Registry(strict_chunks=True) as registry:
        yield only_chunks(registry)


def copy(source: Registry, target: Registry, image: BuiltImage = IMAGE) -> None:
    here, there = ImageRepository(source.host, "dev/api"), ImageRepository(target.host, "prod/api")
    client(source.host, target.host).copy(here.at(Digest(image.digest)), there)


def spans(target: Registry) -> list[str]:
    """The ranges of the layer's chunks, in order; the config's is shorter than a chunk."""
    found = [seen.headers.get("Content-Range", "") for seen in target.requests("PATCH")]
    small = min(len(blob) for blob in IMAGE.blobs.values())
    return [span for span in found if span and span != f"0-{small - 1}"]


def test_chunks_follow_each_other_without_a_unit(source: Registry, target: Registry) -> None:
    copy(source, target)

    four = CHUNK_TO_SEND
    assert spans(target) == [f"0-{four - 1}", f"{four}-{2 * four - 1}", f"{2 * four}-{SIZE - 1}"]
    assert target.repository("prod/api").blobs == source.repository("dev/api").blobs


def test_the_least_length_that_a_registry_wants_is_kept(source: Registry, target: Registry) -> None:
    target.chunk_minimum = 6 * MIB

    copy(source, target)

    assert spans(target) == [f"0-{6 * MIB - 1}", f"{6 * MIB}-{SIZE - 1}"]


@pytest.mark.parametrize("least", ["1", "0", "-5", "soon", "9" * 40])
def test_a_least_length_that_is_small_or_none_changes_nothing(
    source: Registry, target: Registry, least: str
) -> None:
    target.chunk_minimum = least  # type: ignore[assignment] # whatever a registry may write

    copy(source, target)

    assert spans(target)[0] == f"0-{CHUNK_TO_SEND - 1}"


def test_a_registry_that_wants_enormous_chunks_is_refused(
    source: Registry, target: Registry
) -> None:
    target.chunk_minimum = CHUNK_LIMIT + 1

    with pytest.raises(RejectedError, match="chunks of"):
        copy(source, target)


def test_a_registry_that_took_less_gets_the_rest_again_once(
    source: Registry, target: Registry
) -> None:
    """zot under-reports (regclient#961); here it really has fewer bytes."""
    lost = 1000

    def lose(before: int, after: int) -> int:
        if before == CHUNK_TO_SEND and after == 2 * CHUNK_TO_SEND:
            for received in target.uploads.values():
                if len(received) == after:
                    del received[-lost:]
            return after - lost - 1
        return after - 1

    target.reported_range = lose

    copy(source, target)

    again = 2 * CHUNK_TO_SEND - lost
    assert f"{again}-{2 * CHUNK_TO_SEND - 1}" in spans(target)
    assert target.repository("prod/api").blobs == source.repository("dev/api").blobs


def test_a_range_that_stays_behind_is_believed_once(source: Registry, target: Registry) -> None:
    """ECR names the first chunk for ever (aws/containers-roadmap#2831), and refuses with 416."""
    target.reported_range = lambda _before, after: min(after, CHUNK_TO_SEND) - 1

    copy(source, target)

    four = CHUNK_TO_SEND
    assert spans(target) == [
        f"0-{four - 1}",
        f"{four}-{2 * four - 1}",
        f"{four}-{2 * four - 1}",
        f"{2 * four}-{SIZE - 1}",
    ]
    assert target.repository("prod/api").blobs == source.repository("dev/api").blobs


@pytest.mark.parametrize(
    "lie",
    [lambda _b, _a: 0, lambda _b, a: a * 2, lambda b, _a: max(b - 5, 0)],
    ids=["nothing", "twice", "five less"],
)
def test_a_range_that_cannot_be_is_left_to_the_digest(
    source: Registry, target: Registry, lie: Callable[[int, int], int]
) -> None:
    target.reported_range = lie

    copy(source, target)

    assert target.repository("prod/api").blobs == source.repository("dev/api").blobs


def test_a_chunk_that_is_refused_restarts_the_blob_in_a_new_session(
    source: Registry, target: Registry
) -> None:
    sessions = len(target.requests("POST"))

    def refuse_second(handler: world.Handler) -> bool:
        is_second = handler.headers.get("Content-Range", "").startswith(f"{CHUNK_TO_SEND}-")
        return is_second and world.error(416, "BLOB_UPLOAD_INVALID")(handler)

    with Registry() as fresh:
        fresh.on("PATCH", "/uploads/", refuse_second, times=2)
        only_chunks(fresh)
        fresh.on("PATCH", "/uploads/", refuse_second, times=2)

        copy(source, fresh)

        assert fresh.repository("prod/api").blobs == source.repository("dev/api").blobs
        assert len(fresh.requests("POST")) > sessions + len(IMAGE.blobs)


def test_bytes_that_were_appended_twice_are_never_committed_and_sent_anew(
    source: Registry,
) -> None:
    """distribution 2.8 ignores Content-Range and appends whatever comes."""
    with Registry(strict_chunks=False) as appending:
        only_chunks(appending)
        appending.reported_range = lambda _before, after: after - 2

        copy(source, appending)

        assert appending.repository("prod/api").blobs == source.repository("dev/api").blobs
