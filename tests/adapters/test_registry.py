"""Copy, read-back and tags against a registry that misbehaves on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.domain.errors import (
    DigestMismatchError,
    IntegrityError,
    LimitExceededError,
    LockkeeperError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from bot.domain.images import (
    Descriptor,
    MalformedManifestError,
    TagOutcome,
    TagTakenError,
    UnsupportedImageError,
)
from bot.domain.oci import Digest, ImageRepository, Platform
from tests.world import registry as world
from tests.world.clients import HandClock, client
from tests.world.images import INDEX, MANIFEST, build_image, descriptor, digest_of, encoded
from tests.world.registry import Registry, Repository

IMAGE = build_image(labels={"org.opencontainers.image.revision": "abc"}, layer_size=300_000)
DIGEST = Digest(IMAGE.digest)
LARGEST = max(IMAGE.blobs, key=lambda digest: len(IMAGE.blobs[digest]))


@pytest.fixture
def source() -> Iterator[Registry]:
    with Registry() as registry:
        IMAGE.push(registry.host, "dev/api", "v1")
        registry.seen.clear()
        yield registry


@pytest.fixture
def target() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


def dev(source: Registry) -> ImageRepository:
    return ImageRepository(source.host, "dev/api")


def prod(target: Registry) -> ImageRepository:
    return ImageRepository(target.host, "prod/api")


def is_empty(repository: Repository) -> bool:
    return not (repository.manifests or repository.tags)


class Watcher:
    """Counts what a copy says."""

    def __init__(self) -> None:
        self.expected, self.done = 0, 0
        self.blobs: dict[str, int] = {}
        self._guard = threading.Lock()

    def expect(self, size: int) -> None:
        self.expected = size

    def advance(self, blob: Descriptor, size: int) -> None:
        with self._guard:
            self.done += size
            self.blobs[blob.digest] = self.blobs.get(blob.digest, 0) + size


# --- resolve, exists, describe


def test_a_tag_is_resolved_by_its_bytes(source: Registry) -> None:
    source.on("GET", "/manifests/v1", world.substitute(IMAGE.index + b" "))

    found = client(source.host).resolve(dev(source).tagged("v1"))

    assert found == Digest.of(IMAGE.index + b" ")


@pytest.mark.parametrize("reference", ["dev/api:other", "nobody/here:v1"])
def test_what_is_not_there_yet_resolves_to_nothing(source: Registry, reference: str) -> None:
    path, _, tag = reference.partition(":")

    found = client(source.host).resolve(ImageRepository(source.host, path).tagged(tag))

    assert found is None


def test_a_missing_image_that_is_called_unknown_is_missing(source: Registry) -> None:
    source.on("GET", "/manifests/", world.error(404, "UNKNOWN"))

    assert client(source.host).resolve(dev(source).tagged("v1")) is None


def test_existence_is_asked_by_digest(source: Registry) -> None:
    registry = client(source.host)

    assert registry.exists(dev(source).at(DIGEST))
    assert not registry.exists(dev(source).at(Digest("sha256:" + "0" * 64)))


def test_a_description_has_platforms_labels_and_time(source: Registry) -> None:
    found = client(source.host).describe(dev(source).at(DIGEST))

    assert found.child(Platform("linux", "arm64")) == IMAGE.child("linux/arm64")
    assert found.labels == {"org.opencontainers.image.revision": "abc"}
    assert found.created is not None
    assert found.ambiguities == ()


def test_a_description_of_nothing_is_not_found(source: Registry) -> None:
    with pytest.raises(NotFoundError):
        client(source.host).describe(dev(source).at(Digest("sha256:" + "0" * 64)))


# --- copy


def test_a_copy_has_the_same_bytes_everywhere(source: Registry, target: Registry) -> None:
    report = client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    there, here = target.repository("prod/api"), source.repository("dev/api")
    assert there.manifests == here.manifests
    assert there.blobs == here.blobs
    assert there.tags == {}
    assert report.moved == IMAGE.size
    assert report.manifests[-1] == DIGEST


def test_children_are_written_before_the_index(source: Registry, target: Registry) -> None:
    client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    written = [seen.path.rpartition("/")[2] for seen in target.requests("PUT", "/manifests/")]
    assert set(written[:-1]) == set(IMAGE.child_digests)
    assert written[-1] == DIGEST


def test_a_second_copy_moves_nothing(source: Registry, target: Registry) -> None:
    registry = client(source.host, target.host)
    registry.copy(dev(source).at(DIGEST), prod(target))
    target.seen.clear()

    source.seen.clear()

    report = registry.copy(dev(source).at(DIGEST), prod(target))

    assert (report.moved, report.unchanged) == (0, True)
    assert report.manifests == (*IMAGE.child_digests, DIGEST)
    assert [seen.method for seen in (*source.seen, *target.seen)] == ["GET"]


def test_what_a_reading_back_misses_is_looked_for_by_the_next_copy(
    source: Registry, target: Registry
) -> None:
    registry = client(source.host, target.host)
    registry.copy(dev(source).at(DIGEST), prod(target))
    del target.repository("prod/api").blobs[LARGEST]
    with pytest.raises(UnavailableError, match="not visible yet"):
        registry.read_back(prod(target).at(DIGEST))

    report = registry.copy(dev(source).at(DIGEST), prod(target))

    assert report.moved == len(IMAGE.blobs[LARGEST])
    assert registry.read_back(prod(target).at(DIGEST)).blobs == len(IMAGE.blobs)


def test_an_index_in_the_index_is_found_unchanged_too(source: Registry, target: Registry) -> None:
    digest = index_of(source, IMAGE.index, INDEX, mediaType=INDEX)
    registry = client(source.host, target.host)
    first = registry.copy(dev(source).at(digest), prod(target))

    second = registry.copy(dev(source).at(digest), prod(target))

    assert second.manifests == first.manifests == (*IMAGE.child_digests, DIGEST, digest)
    assert second.unchanged


def test_a_copy_within_one_host_mounts(source: Registry) -> None:
    report = client(source.host).copy(
        dev(source).at(DIGEST), ImageRepository(source.host, "prod/api")
    )

    assert (report.mounted, report.moved) == (IMAGE.size, 0)
    assert source.requests("GET", "/blobs/") == []


def test_a_registry_that_does_not_mount_gets_the_bytes_in_the_same_session(
    source: Registry,
) -> None:
    source.mounts = False

    report = client(source.host).copy(
        dev(source).at(DIGEST), ImageRepository(source.host, "prod/api")
    )

    assert (report.mounted, report.moved) == (0, IMAGE.size)
    assert len(source.requests("POST", "/uploads/")) == len(IMAGE.blobs)


def test_a_refused_mount_is_an_upload(source: Registry) -> None:
    source.on("POST", "mount=", world.error(403, "DENIED"), times=99)

    report = client(source.host).copy(
        dev(source).at(DIGEST), ImageRepository(source.host, "prod/api")
    )

    assert report.moved == IMAGE.size
    assert len(source.requests("POST", "mount=")) <= 6  # one per worker, then no more


def test_connections_are_kept(source: Registry, target: Registry) -> None:
    source.connections = target.connections = 0
    registry = client(source.host, target.host)

    for _ in range(3):
        registry.copy(dev(source).at(DIGEST), prod(target))
        registry.read_back(prod(target).at(DIGEST))

    assert source.connections <= 6
    assert target.connections <= 6


def test_copies_at_the_same_moment_do_not_wait_for_each_other(source: Registry) -> None:
    source.mounts = False
    registry = client(source.host)

    with ThreadPoolExecutor(4) as pool:
        names = [f"prod/api-{number}" for number in range(4)]
        places = [ImageRepository(source.host, name) for name in names]
        reports = list(pool.map(lambda place: registry.copy(dev(source).at(DIGEST), place), places))

    assert [report.moved for report in reports] == [IMAGE.size] * 4


def test_no_mount_from_another_host_is_asked_for(source: Registry, target: Registry) -> None:
    client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    named = {parse_qs(urlsplit(one.path).query)["from"][0] for one in target.requests("POST")}
    assert named == {"prod/api"}  # itself: "have it", or a session


def test_the_source_is_read_with_its_own_client(source: Registry, target: Registry) -> None:
    writing = client(target.host, source=client(source.host))

    writing.copy(dev(source).at(DIGEST), prod(target))

    assert DIGEST in target.repository("prod/api").manifests


def test_progress_ends_at_what_was_expected(source: Registry, target: Registry) -> None:
    watcher = Watcher()
    source.on("GET", LARGEST, world.flip_bit())

    client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target), progress=watcher)

    assert watcher.done == watcher.expected == IMAGE.size
    assert watcher.blobs == {digest: len(blob) for digest, blob in IMAGE.blobs.items()}


def test_the_empty_blob_and_unknown_types_are_copied(source: Registry, target: Registry) -> None:
    config, nothing = b"{}", b""
    manifest = encoded(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": "application/x.unheard-of",
            "config": descriptor("application/x.config", config),
            "layers": [descriptor("application/x.layer", nothing)],
        }
    )
    here = source.repository("dev/thing")
    here.blobs = {Digest.of(blob): blob for blob in (config, nothing)}
    here.manifests[Digest.of(manifest)] = (MANIFEST, manifest)

    client(source.host, target.host).copy(
        ImageRepository(source.host, "dev/thing").at(Digest.of(manifest)), prod(target)
    )

    assert target.repository("prod/api").blobs == here.blobs


def test_layers_that_may_not_be_distributed_stay_and_are_listed(
    source: Registry, target: Registry
) -> None:
    config = b"{}"
    layer = descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", b"windows")
    manifest = encoded(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [layer],
        }
    )
    here = source.repository("dev/thing")
    here.blobs = {Digest.of(config): config}
    here.manifests[Digest.of(manifest)] = (MANIFEST, manifest)

    report = client(source.host, target.host).copy(
        ImageRepository(source.host, "dev/thing").at(Digest.of(manifest)), prod(target)
    )

    assert [left.name for left in report.left_behind] == [layer["digest"]]
    assert source.requests("GET", str(layer["digest"])) == []


# --- damage


@pytest.mark.parametrize(
    "fault",
    [world.flip_bit(), world.truncate(1000), world.drop()],
    ids=["flipped", "cut", "dropped"],
)
def test_a_blob_that_is_damaged_once_is_read_again(
    source: Registry, target: Registry, fault: world.Fault
) -> None:
    source.on("GET", LARGEST, fault)

    client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    assert target.repository("prod/api").blobs == source.repository("dev/api").blobs


def test_a_blob_that_stays_damaged_leaves_neither_blob_nor_manifest(
    source: Registry, target: Registry
) -> None:
    source.on("GET", LARGEST, world.flip_bit(), times=99)

    with pytest.raises(DigestMismatchError, match=LARGEST):
        client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    assert LARGEST not in target.repository("prod/api").blobs
    assert is_empty(target.repository("prod/api"))


def test_a_blob_that_is_too_short_leaves_neither_blob_nor_manifest(
    source: Registry, target: Registry
) -> None:
    source.on("GET", LARGEST, world.substitute(b"short"), times=99)

    with pytest.raises(IntegrityError, match=LARGEST):
        client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    assert LARGEST not in target.repository("prod/api").blobs
    assert is_empty(target.repository("prod/api"))


def test_a_broken_download_is_resumed_where_it_broke(source: Registry, target: Registry) -> None:
    source.on("GET", LARGEST, world.truncate(100_000))

    client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    asked = [seen.headers.get("Range") for seen in source.requests("GET", LARGEST)]
    assert asked == [None, "bytes=100000-"]
    assert len(target.requests("PUT", LARGEST.replace(":", "%3A"))) == 1


def test_a_download_that_breaks_for_ever_is_unavailable(source: Registry, target: Registry) -> None:
    source.on("GET", LARGEST, world.truncate(10), times=999)

    with pytest.raises(UnavailableError):
        client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    assert is_empty(target.repository("prod/api"))


def test_an_index_with_other_bytes_is_never_copied(source: Registry, target: Registry) -> None:
    source.on("GET", "/manifests/", world.flip_bit(), times=99)

    with pytest.raises(DigestMismatchError):
        client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    assert {seen.method for seen in target.seen} == {"GET"}  # nothing is written


def test_a_missing_child_is_found_before_anything_is_written(
    source: Registry, target: Registry
) -> None:
    del source.repository("dev/api").manifests[IMAGE.child_digests[1]]

    with pytest.raises(NotFoundError, match=IMAGE.child_digests[1]):
        client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    assert {seen.method for seen in target.seen} == {"GET"}  # nothing is written


def index_of(source: Registry, child: bytes, served_as: str, **changed: object) -> Digest:
    """An index in the source that lists this child, with a changed entry."""
    here = source.repository("dev/api")
    entry = {**descriptor(MANIFEST, child), **changed}
    content = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
    here.manifests[Digest.of(child)] = (served_as, child)
    here.manifests[Digest.of(content)] = (INDEX, content)
    return Digest.of(content)


def test_a_child_that_is_served_as_another_type_is_refused(source: Registry) -> None:
    child = json.loads(IMAGE.children["linux/amd64"])
    del child["mediaType"]
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    digest = index_of(source, encoded(child), docker)

    with pytest.raises(MalformedManifestError, match="served as"):
        client(source.host).read_back(dev(source).at(digest))


def test_a_child_of_another_length_than_promised_is_refused(source: Registry) -> None:
    digest = index_of(source, IMAGE.children["linux/amd64"], MANIFEST, size=1)

    with pytest.raises(MalformedManifestError, match="its index says 1"):
        client(source.host).read_back(dev(source).at(digest))


def test_a_source_that_cannot_resume_is_unavailable_not_corrupt(
    source: Registry, target: Registry
) -> None:
    def start_anew(handler: world.Handler) -> bool:
        del handler.headers["Range"]
        handler.keep = 100_000
        return False

    source.on("GET", LARGEST, start_anew, times=999)

    with pytest.raises(UnavailableError, match="cannot be resumed"):
        client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))


def test_the_first_failure_stops_the_others_and_is_the_one_that_is_told(
    source: Registry, target: Registry
) -> None:
    smallest = min(IMAGE.blobs, key=lambda digest: len(IMAGE.blobs[digest]))
    failed = threading.Event()

    def until_it_failed(_handler: world.Handler) -> bool:
        failed.wait(10)
        threading.Event().wait(0.2)
        return False

    source.on("GET", smallest, world.flip_bit(), times=1)
    source.on("GET", smallest, world.before(failed.set))
    source.repository("dev/api").blobs[smallest] = b"?" * len(IMAGE.blobs[smallest])
    source.on("GET", "/blobs/", until_it_failed, times=99)

    with pytest.raises(DigestMismatchError, match=smallest):
        client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    assert LARGEST not in target.repository("prod/api").blobs


# --- registries that push back


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "GET"])
def test_a_temporary_failure_is_tried_again(
    source: Registry, target: Registry, status: int, method: str
) -> None:
    (source if method == "GET" else target).on(method, "", world.answer(status))

    client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    assert DIGEST in target.repository("prod/api").manifests


def test_a_registry_that_stays_down_is_unavailable_and_says_how_long(
    source: Registry, target: Registry
) -> None:
    busy = world.error(429, "TOOMANYREQUESTS", {"Retry-After": "30"})
    target.on("PUT", "/manifests/", busy, times=99)
    clock = HandClock()

    with pytest.raises(UnavailableError) as caught:
        client(source.host, target.host, clock=clock).copy(dev(source).at(DIGEST), prod(target))

    assert caught.value.retry_after == 30
    assert sum(clock.waits) < 5


def test_a_short_retry_after_is_waited_for(source: Registry) -> None:
    source.on("GET", "/manifests/", world.answer(429, b"", {"Retry-After": "2"}))
    clock = HandClock()

    client(source.host, clock=clock).resolve(dev(source).tagged("v1"))

    assert clock.waits == [2]


@pytest.mark.parametrize("status", [400, 404, 405, 411, 413, 416, 501])
def test_a_registry_without_single_puts_gets_a_patch(
    source: Registry, target: Registry, status: int
) -> None:
    def refuse_bodies(handler: world.Handler) -> bool:
        if not int(handler.headers.get("Content-Length") or 0):
            return False
        return world.error(status, "UNSUPPORTED")(handler)

    target.on("PUT", "/uploads/", refuse_bodies, times=999)

    client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    assert target.repository("prod/api").blobs == source.repository("dev/api").blobs
    assert target.requests("PATCH")


def test_a_registry_that_takes_only_small_bodies_gets_chunks(target: Registry) -> None:
    image = build_image(["linux/amd64"], 1, layer_size=9 * 2**20)
    most = 4 * 2**20

    def refuse_large(handler: world.Handler) -> bool:
        if int(handler.headers.get("Content-Length") or 0) <= most:
            return False
        return world.error(413, "SIZE_INVALID_FOR_PROXY")(handler)

    target.on("PUT", "/uploads/", refuse_large, times=999)
    target.on("PATCH", "/uploads/", refuse_large, times=999)
    with Registry() as source:
        image.push(source.host, "dev/api")

        client(source.host, target.host).copy(dev(source).at(Digest(image.digest)), prod(target))

    spans = [
        s.headers["Content-Range"] for s in target.requests("PATCH") if "Content-Range" in s.headers
    ]
    assert spans[:2] == [f"0-{most - 1}", f"{most}-{2 * most - 1}"]
    assert target.repository("prod/api").blobs.keys() == image.blobs.keys()


def test_bytes_that_a_registry_damages_are_sent_again_then_it_is_an_alarm(
    source: Registry, target: Registry
) -> None:
    target.on("PUT", "/uploads/", world.error(400, "DIGEST_INVALID"), times=999)

    with pytest.raises(IntegrityError, match="arrives damaged"):
        client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))


def test_a_lost_upload_session_is_replaced(source: Registry, target: Registry) -> None:
    target.on("PUT", "/uploads/", world.error(404, "BLOB_UPLOAD_UNKNOWN"))

    client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    assert DIGEST in target.repository("prod/api").manifests


def test_a_target_repository_that_cannot_be_made_is_named(
    source: Registry, target: Registry
) -> None:
    target.on("POST", "/uploads/", world.error(404, "NAME_UNKNOWN"), times=99)

    with pytest.raises(NotFoundError, match="image repository prod/api"):
        client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))


def test_a_blob_that_vanished_after_the_look_is_sent_again(
    source: Registry, target: Registry
) -> None:
    def vanish() -> None:
        target.repository("prod/api").blobs.pop(LARGEST, None)

    target.on("PUT", "/manifests/", world.before(vanish))

    client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    assert LARGEST in target.repository("prod/api").blobs


def test_a_registry_that_stores_another_digest_is_an_alarm(
    source: Registry, target: Registry
) -> None:
    other = {"Docker-Content-Digest": "sha256:" + "0" * 64}
    target.on("PUT", "/manifests/", world.answer(201, b"", other), times=99)

    with pytest.raises(DigestMismatchError):
        client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (world.answer(200, b"<html>", {"Content-Type": "text/html"}), RejectedError),
        (world.answer(200, b"", {"Content-Type": INDEX}), RejectedError),
        (world.answer(200, b"{}", {"Content-Type": INDEX}), IntegrityError),
        (world.answer(200, b" " * (4 * 2**20 + 1), {"Content-Type": INDEX}), LimitExceededError),
        (world.answer(403, b"x" * 100_000), RejectedError),
        (world.answer(400, b"rubbish"), RejectedError),
        (
            world.answer(
                200,
                b'{"schemaVersion": 1}',
                {"Content-Type": "application/vnd.docker.distribution.manifest.v1+prettyjws"},
            ),
            UnsupportedImageError,
        ),
    ],
    ids=["page", "empty", "not-index", "too-large", "long-error", "rubbish", "schema-1"],
)
def test_answers_that_are_no_manifest_are_refused(
    source: Registry, fault: world.Fault, kind: type[LockkeeperError]
) -> None:
    source.on("GET", "/manifests/v1", fault, times=9)

    with pytest.raises(kind):
        client(source.host).resolve(dev(source).tagged("v1"))


def test_a_bomb_of_promised_bytes_is_refused_before_the_first(
    source: Registry, target: Registry
) -> None:
    layer = {**descriptor("application/vnd.oci.image.layer.v1.tar", b""), "size": 2**40}
    config = descriptor("application/vnd.oci.image.config.v1+json", b"{}")
    manifest = encoded(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
    )
    source.repository("dev/api").manifests[Digest.of(manifest)] = (MANIFEST, manifest)

    with pytest.raises(LimitExceededError, match="bytes"):
        client(source.host, target.host).copy(dev(source).at(Digest.of(manifest)), prod(target))

    assert {seen.method for seen in target.seen} == {"GET"}  # nothing is written
    assert source.requests("GET", "/blobs/") == []


def test_an_index_in_an_index_and_more_children_than_are_signed_are_copied(
    source: Registry, target: Registry
) -> None:
    here, config = source.repository("dev/api"), b"{}"
    here.blobs[digest_of(config)] = config
    entries = []
    for number in range(70):
        child = encoded(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor("application/vnd.oci.image.config.v1+json", config),
                "layers": [],
                "annotations": {"number": str(number)},
            }
        )
        here.manifests[digest_of(child)] = (MANIFEST, child)
        entries.append(descriptor(MANIFEST, child))
    entries.append(descriptor(INDEX, IMAGE.index))
    index = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    here.manifests[digest_of(index)] = (INDEX, index)
    registry = client(source.host, target.host)

    registry.copy(dev(source).at(Digest.of(index)), prod(target))

    there = target.repository("prod/api")
    assert {*(one["digest"] for one in entries), digest_of(index)} <= set(there.manifests)
    assert set(IMAGE.child_digests) <= set(there.manifests)
    back = registry.read_back(prod(target).at(Digest.of(index)))
    assert len(back.manifests) == 74
    said = registry.describe(prod(target).at(Digest.of(index))).ambiguities
    assert "it has 71 children, more than 64" in said


def test_indexes_inside_indexes_end_somewhere(source: Registry) -> None:
    content, media_type = IMAGE.index, INDEX
    here = source.repository("dev/api")
    for _ in range(4):
        entry = descriptor(media_type, content)
        content = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
        here.manifests[Digest.of(content)] = (INDEX, content)

    with pytest.raises(LimitExceededError, match="depth"):
        client(source.host).read_back(dev(source).at(Digest.of(content)))


def test_an_interrupted_copy_stops_the_others_and_leaves_no_manifest(
    source: Registry, target: Registry
) -> None:
    class Impatient(Watcher):
        def expect(self, size: int) -> None:
            super().expect(size)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client(source.host, target.host).copy(
            dev(source).at(DIGEST), prod(target), progress=Impatient()
        )

    assert is_empty(target.repository("prod/api"))


# --- read-back


def test_read_back_proves_a_whole_image(source: Registry) -> None:
    found = client(source.host).read_back(dev(source).at(DIGEST))

    assert found.manifests == (*IMAGE.child_digests, DIGEST)
    assert found.blobs == len(IMAGE.blobs)


def test_read_back_misses_a_blob(source: Registry) -> None:
    del source.repository("dev/api").blobs[LARGEST]

    with pytest.raises(NotFoundError, match=LARGEST):
        client(source.host).read_back(dev(source).at(DIGEST))


def test_read_back_misses_a_child(source: Registry) -> None:
    del source.repository("dev/api").manifests[IMAGE.child_digests[0]]

    with pytest.raises(NotFoundError, match=IMAGE.child_digests[0]):
        client(source.host).read_back(dev(source).at(DIGEST))


def test_read_back_sees_a_changed_child(source: Registry) -> None:
    source.on("GET", IMAGE.child_digests[0], world.flip_bit(), times=9)

    with pytest.raises(DigestMismatchError):
        client(source.host).read_back(dev(source).at(DIGEST))


def test_read_back_sees_a_blob_of_another_length(source: Registry) -> None:
    source.repository("dev/api").blobs[LARGEST] += b"!"

    with pytest.raises(IntegrityError, match=LARGEST):
        client(source.host).read_back(dev(source).at(DIGEST))


# --- tags


def test_a_tag_is_created_kept_and_moved(source: Registry) -> None:
    other = build_image(seed=2)
    other.push(source.host, "dev/api")
    registry = client(source.host)

    outcomes = [
        registry.tag(dev(source).at(digest), "v2", move=True)
        for digest in (DIGEST, DIGEST, Digest(other.digest))
    ]

    assert outcomes == [TagOutcome.CREATED, TagOutcome.UNCHANGED, TagOutcome.MOVED]
    assert source.repository("dev/api").tags["v2"] == other.digest


def test_an_immutable_tag_is_not_moved(source: Registry) -> None:
    other = build_image(seed=2)
    other.push(source.host, "dev/api")

    with pytest.raises(TagTakenError, match=IMAGE.digest) as caught:
        client(source.host).tag(dev(source).at(Digest(other.digest)), "v1", move=False)

    assert caught.value.found == DIGEST
    assert source.repository("dev/api").tags["v1"] == DIGEST


def test_a_tag_that_the_registry_keeps_immutable_is_reported(source: Registry) -> None:
    other = build_image(seed=2)
    other.push(source.host, "dev/api")
    source.immutable_tags = True

    with pytest.raises(TagTakenError):
        client(source.host).tag(dev(source).at(Digest(other.digest)), "v1", move=True)


def test_a_tag_that_somebody_else_set_to_the_same_image_is_done(source: Registry) -> None:
    def set_it() -> None:
        source.repository("dev/api").tags["v9"] = DIGEST

    def refuse(handler: world.Handler) -> bool:
        set_it()
        return world.error(400, "TAG_INVALID")(handler)

    source.on("PUT", "/manifests/v9", refuse)

    assert client(source.host).tag(dev(source).at(DIGEST), "v9", move=False) is TagOutcome.CREATED


def test_a_tag_that_does_not_stick_is_not_seen_yet(source: Registry) -> None:
    source.on("PUT", "/manifests/v9", world.answer(201))

    with pytest.raises(UnavailableError, match="v9"):
        client(source.host).tag(dev(source).at(DIGEST), "v9", move=False)


def test_nothing_is_tagged_that_is_not_there(source: Registry) -> None:
    with pytest.raises(NotFoundError):
        client(source.host).tag(dev(source).at(Digest("sha256:" + "0" * 64)), "v9", move=False)
