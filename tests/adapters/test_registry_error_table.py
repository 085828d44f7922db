"""Final, or try again: one test per answer and per failure that the peers have met.

The first half is our table of answers; the second names the thread in which another tool failed.
"""

from __future__ import annotations

import errno
import hashlib
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from urllib3.connection import HTTPConnection
from urllib3.exceptions import IncompleteRead, NameResolutionError, ProtocolError

from bot.adapters.registry.errors import connection_failure
from bot.adapters.registry.streams import HashingBody
from bot.adapters.signing import load_signing_key
from bot.domain.errors import (
    DigestMismatchError,
    IntegrityError,
    LockkeeperError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from bot.domain.images import (
    AccessoryPolicy,
    Descriptor,
    NewManifest,
    TagOutcome,
    TagTakenError,
    UnsupportedImageError,
)
from bot.domain.oci import OCI_INDEX, OCI_MANIFEST, Digest, ImageRepository
from bot.formats.image_manifest import EMPTY_CONFIG, empty_config, render_manifest
from bot.signatures.sign import ensure_signed, verify_image
from tests.world import registry as world
from tests.world.clients import client
from tests.world.images import INDEX, MANIFEST, build_image, descriptor, encoded
from tests.world.keys import generate_key_pair
from tests.world.registry import Registry

IMAGE = build_image(layer_size=300_000)
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


def dev(registry: Registry) -> ImageRepository:
    return ImageRepository(registry.host, "dev/api")


def prod(registry: Registry) -> ImageRepository:
    return ImageRepository(registry.host, "prod/api")


def copy(source: Registry, target: Registry) -> None:
    client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))


def assert_copied(target: Registry) -> None:
    assert target.repository("prod/api").blobs == IMAGE.blobs
    assert DIGEST in target.repository("prod/api").manifests


def assert_nothing_wrong(target: Registry) -> None:
    """Whatever happened: every blob is what it is called, and no manifest names a missing one."""
    there = target.repository("prod/api")
    for digest, content in there.blobs.items():
        assert "sha256:" + hashlib.sha256(content).hexdigest() == digest
    assert DIGEST not in there.manifests
    assert there.tags == {}


def unresolved(number: int) -> NameResolutionError:
    error = NameResolutionError("h", HTTPConnection("h"), socket.gaierror(number, "x"))
    error.__cause__ = socket.gaierror(number, "x")  # as urllib3 raises it
    return error


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("expired")
    error.reason = "CERTIFICATE_VERIFY_FAILED"
    return error


# --- the table


@pytest.mark.parametrize("status", [408, 425, 429, 499, 500, 502, 503, 504, 522])
def test_row_a_status_that_passes_is_tried_again(
    source: Registry, target: Registry, status: int
) -> None:
    for registry in (source, target):
        for method in ("GET", "HEAD", "POST", "PUT"):
            registry.on(method, "", world.answer(status))

    copy(source, target)

    assert_copied(target)


@pytest.mark.parametrize(
    "cause",
    [
        requests.ConnectTimeout(),
        requests.ReadTimeout(),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        BrokenPipeError(errno.EPIPE, "pipe"),
        ProtocolError("eof", IncompleteRead(1, 2)),
        ssl.SSLError("handshake"),
        requests.ConnectionError(unresolved(-3)),
    ],
    ids=lambda cause: type(cause).__name__,
)
def test_row_a_connection_that_breaks_is_tried_again(cause: Exception) -> None:
    assert isinstance(connection_failure(cause, "x", "h"), UnavailableError)


@pytest.mark.parametrize(
    "cause",
    [
        requests.exceptions.SSLError(untrusted()),
        requests.ConnectionError(unresolved(-2)),
    ],
    ids=["certificate", "no-such-name"],
)
def test_row_a_certificate_or_a_name_is_the_operators(cause: Exception) -> None:
    assert isinstance(connection_failure(cause, "x", "h"), RejectedError)


@pytest.mark.parametrize("status", [401, 403])
def test_row_a_refusal_costs_two_fresh_tokens_and_is_then_final(
    source: Registry, status: int
) -> None:
    source.login, source.users = "bearer", {}
    registry = client(source.host)
    registry.resolve(dev(source).tagged("v1"))
    source.seen.clear()
    challenge = {"WWW-Authenticate": f'Bearer realm="{source.url}/token"'}
    source.on("GET", "/manifests/", world.error(status, "DENIED", challenge), times=99)

    with pytest.raises(RejectedError, match="refuses access"):
        registry.resolve(dev(source).tagged("v1"))

    assert len(source.requests("GET", "/manifests/")) == 3
    assert len(source.requests("GET", "^/token")) == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "BLOB_UPLOAD_INVALID"),
        (404, "BLOB_UPLOAD_UNKNOWN"),
        (404, "NOT_FOUND"),
        (416, "BLOB_UPLOAD_INVALID"),
    ],
)
def test_row_a_lost_upload_restarts_the_blob_in_a_new_session(
    source: Registry, target: Registry, status: int, code: str
) -> None:
    target.on("PUT", "/uploads/", world.error(status, code))

    copy(source, target)

    assert_copied(target)
    assert len(target.requests("POST")) == len(IMAGE.blobs) + 1
    assert target.requests("PATCH") == []


@pytest.mark.parametrize("code", ["DIGEST_INVALID", "SIZE_INVALID"])
def test_row_bytes_that_the_registry_lost_are_sent_again(
    source: Registry, target: Registry, code: str
) -> None:
    target.on("PUT", "/uploads/", world.error(400, code))

    copy(source, target)

    assert_copied(target)


@pytest.mark.parametrize("code", ["DIGEST_INVALID", "SIZE_INVALID"])
def test_row_bytes_that_the_registry_loses_every_time_are_an_alarm(
    source: Registry, target: Registry, code: str
) -> None:
    target.on("PUT", "/uploads/", world.error(400, code), times=99)

    with pytest.raises(IntegrityError):
        copy(source, target)

    assert_nothing_wrong(target)


def test_row_a_source_that_is_wrong_once_is_read_again_and_twice_is_final(
    source: Registry, target: Registry
) -> None:
    source.on("GET", LARGEST, world.flip_bit())
    copy(source, target)
    assert_copied(target)

    with Registry() as other:
        source.on("GET", LARGEST, world.flip_bit(), times=2)
        with pytest.raises(DigestMismatchError):
            copy(source, other)
        assert_nothing_wrong(other)


def test_row_a_manifest_whose_blob_is_unknown_gets_it_again_once(
    source: Registry, target: Registry
) -> None:
    target.on("PUT", "/manifests/", world.error(400, "MANIFEST_BLOB_UNKNOWN"))

    copy(source, target)

    assert_copied(target)


def test_row_a_manifest_whose_blob_stays_unknown_is_final(
    source: Registry, target: Registry
) -> None:
    target.on("PUT", "/manifests/", world.error(404, "MANIFEST_BLOB_UNKNOWN"), times=99)

    with pytest.raises(RejectedError, match="lacks something"):
        copy(source, target)

    assert_nothing_wrong(target)


@pytest.mark.parametrize("code", ["MANIFEST_UNKNOWN", "NAME_UNKNOWN"])
def test_row_an_image_that_is_gone_is_final_and_one_not_yet_there_is_nothing(
    source: Registry, target: Registry, code: str
) -> None:
    source.on("GET", "/manifests/", world.error(404, code), times=99)

    assert client(source.host).resolve(dev(source).tagged("v1")) is None
    with pytest.raises(NotFoundError):
        copy(source, target)


def test_row_a_target_repository_that_is_missing_is_final(
    source: Registry, target: Registry
) -> None:
    target.on("POST", "/uploads/", world.error(404, "NAME_UNKNOWN"), times=99)

    with pytest.raises(NotFoundError, match="image repository"):
        copy(source, target)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "MANIFEST_INVALID"),
        (400, "NAME_INVALID"),
        (400, "UNSUPPORTED"),
        (405, "UNSUPPORTED"),
        (413, "SIZE"),
        (415, "MANIFEST_INVALID"),
    ],
)
def test_row_what_a_registry_does_not_take_is_final(
    source: Registry, target: Registry, status: int, code: str
) -> None:
    target.on("PUT", "/manifests/", world.error(status, code), times=99)

    with pytest.raises(RejectedError, match=str(status)):
        copy(source, target)

    assert len(target.requests("PUT", "/manifests/")) <= len(IMAGE.children)


@pytest.mark.parametrize("served", ["v1+json", "v1+prettyjws"])
def test_row_schema_1_is_final(source: Registry, served: str) -> None:
    media_type = f"application/vnd.docker.distribution.manifest.{served}"
    source.on(
        "GET",
        "/manifests/",
        world.answer(200, b'{"schemaVersion": 1}', {"Content-Type": media_type}),
    )

    with pytest.raises(UnsupportedImageError, match="rebuild the image"):
        client(source.host).resolve(dev(source).tagged("v1"))


def test_row_an_immutable_tag_is_success_with_our_digest_and_final_with_another(
    source: Registry,
) -> None:
    other = build_image(seed=2)
    other.push(source.host, "dev/api")
    source.immutable_tags = True
    registry = client(source.host)

    assert registry.tag(dev(source).at(DIGEST), "v1", move=False) is TagOutcome.UNCHANGED
    with pytest.raises(TagTakenError):
        registry.tag(dev(source).at(Digest(other.digest)), "v1", move=True)


@pytest.mark.parametrize("code", ["UNKNOWN", "UNAVAILABLE", "TOOMANYREQUESTS"])
@pytest.mark.parametrize("status", [400, 403, 409, 500])
def test_row_a_code_that_passes_is_tried_again_whatever_the_status(
    source: Registry, target: Registry, status: int, code: str
) -> None:
    target.on("PUT", "/manifests/", world.error(status, code))
    target.on("POST", "/uploads/", world.error(status, code))

    copy(source, target)

    assert_copied(target)


def test_row_unknown_with_404_is_not_there(source: Registry) -> None:
    source.on("GET", "/manifests/", world.error(404, "UNKNOWN"))

    assert client(source.host).resolve(dev(source).tagged("v1")) is None


@pytest.mark.parametrize(
    "page",
    [
        world.answer(200, b"<html>sign in", {"Content-Type": "text/html"}),
        world.answer(200, b"", {"Content-Type": INDEX}),
    ],
    ids=["html", "empty"],
)
def test_row_a_page_in_place_of_an_answer_is_final(source: Registry, page: world.Fault) -> None:
    source.on("GET", "/manifests/", page)

    with pytest.raises(RejectedError, match="not answer as a registry"):
        client(source.host).resolve(dev(source).tagged("v1"))


# --- what other tools have met


def test_ggcr_2084_a_blob_beyond_four_gibibytes_is_counted_right() -> None:
    size, piece = 4 * 2**30 + 1, bytes(2**20)

    class Sparse:
        left = size

        def read(self, wanted: int, /) -> bytes:
            content = piece[: min(wanted, self.left)]
            self.left -= len(content)
            return content

        def close(self) -> None:
            """Nothing to give back."""

    blob = Descriptor("application/x", Digest("sha256:" + "0" * 64), size)
    told: list[int] = []
    body = HashingBody(Sparse(), blob, told.append, threading.Event())

    with pytest.raises(DigestMismatchError):
        deque(iter(lambda: body.read(2**20), b""), maxlen=0)

    assert len(body) == sum(told) == size
    assert told[-1] == 1  # counted, and kept back


def test_ggcr_431_a_body_is_never_sent_twice_into_one_session(
    source: Registry, target: Registry
) -> None:
    target.on("PUT", "/uploads/", world.answer(503), times=2)

    copy(source, target)

    sessions = [seen.path.partition("?")[0] for seen in target.requests("PUT", "/uploads/")]
    assert len(sessions) == len(set(sessions))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500])
def test_ggcr_1404_and_1679_a_mount_that_fails_is_an_upload(source: Registry, status: int) -> None:
    source.on("POST", "mount=", world.error(status, "UNSUPPORTED"), times=99)

    copy(source, source)

    assert_copied(source)


def artifact(content: bytes) -> NewManifest:
    layer = Descriptor("application/x", Digest.of(content), len(content))
    subject = Descriptor(OCI_INDEX, DIGEST, len(IMAGE.index))
    manifest = render_manifest(
        empty_config(), (layer,), subject=subject, artifact_type="application/x"
    )
    return NewManifest(manifest, OCI_MANIFEST, (EMPTY_CONFIG, content))


def test_ggcr_2205_nothing_is_lost_when_many_attach_at_once() -> None:
    with Registry(referrers_api=False) as registry:
        IMAGE.push(registry.host, "dev/api")
        many = [artifact(b"%d" % number) for number in range(8)]

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda one: client(registry.host).attach(dev(registry), one), many))

        listed = client(registry.host).referrers(dev(registry).at(DIGEST))
        assert {one.digest for one in listed} == {one.digest for one in many}


def test_projquay_9183_keys_that_sign_at_once_all_stay(source: Registry) -> None:
    keys = [load_signing_key(generate_key_pair().private, "k") for _ in range(4)]
    reference = dev(source).at(DIGEST)

    def sign(key: Any) -> None:  # noqa: ANN401 - a signing key
        ensure_signed(client(source.host), key, reference, "v1", {}, [])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(sign, keys))

    for key in keys:
        assert verify_image(client(source.host), [key], reference, {}).complete


def test_regclient_331_every_attempt_reads_the_source_anew(
    source: Registry, target: Registry
) -> None:
    target.on("PUT", f"/uploads/.*{LARGEST[7:]}", world.drop(), times=2)

    copy(source, target)

    assert len(source.requests("GET", LARGEST)) == 3
    assert_copied(target)


def test_regclient_471_a_list_in_the_target_is_merged_not_replaced() -> None:
    with Registry(referrers_api=False) as old, Registry(referrers_api=False) as target:
        IMAGE.push(old.host, "dev/api")
        IMAGE.push(target.host, "prod/api")
        client(old.host).attach(dev(old), artifact(b"theirs"))
        client(target.host).attach(prod(target), artifact(b"ours"))

        client(old.host, target.host).copy(
            dev(old).at(DIGEST), prod(target), accessories=AccessoryPolicy()
        )

        assert len(client(target.host).referrers(prod(target).at(DIGEST))) == 2


def test_skopeo_1223_an_end_in_a_large_blob_is_taken_up_where_it_was(
    source: Registry, target: Registry
) -> None:
    source.on("GET", LARGEST, world.truncate(200_000))

    copy(source, target)

    ranges = [seen.headers.get("Range") for seen in source.requests("GET", LARGEST)]
    assert ranges == [None, "bytes=200000-"]


def test_skopeo_1874_and_991_types_are_copied_as_they_are(
    source: Registry, target: Registry
) -> None:
    """A BuildKit attestation, and a Docker manifest with OCI layers, in one index."""
    config = b'{"os":"linux","architecture":"amd64"}'
    statement, layer = b'{"_type":"x"}', b"layer"
    attestation = encoded(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [descriptor("application/vnd.in-toto+json", statement)],
        }
    )
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    mixed = encoded(
        {
            "schemaVersion": 2,
            "mediaType": docker,
            "config": descriptor("application/vnd.docker.container.image.v1+json", config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+zstd", layer)],
        }
    )
    index = encoded(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                descriptor(docker, mixed, platform={"os": "linux", "architecture": "amd64"}),
                descriptor(
                    MANIFEST,
                    attestation,
                    platform={"os": "unknown", "architecture": "unknown"},
                    annotations={
                        "vnd.docker.reference.type": "attestation-manifest",
                        "vnd.docker.reference.digest": Digest.of(mixed),
                    },
                ),
            ],
        }
    )
    here = source.repository("dev/api")
    here.blobs |= {Digest.of(one): one for one in (config, statement, layer)}
    here.manifests |= {
        Digest.of(mixed): (docker, mixed),
        Digest.of(attestation): (MANIFEST, attestation),
        Digest.of(index): (INDEX, index),
    }

    registry = client(source.host, target.host)
    registry.copy(dev(source).at(Digest.of(index)), prod(target))

    there = target.repository("prod/api")
    assert there.manifests[Digest.of(index)] == (INDEX, index)
    assert there.manifests[Digest.of(mixed)] == (docker, mixed)
    assert there.manifests[Digest.of(attestation)] == (MANIFEST, attestation)
    assert registry.describe(prod(target).at(Digest.of(index))).ambiguities == ()


def test_container_libs_42_a_429_for_the_index_is_waited_for(
    source: Registry, target: Registry
) -> None:
    target.on("PUT", f"/manifests/{DIGEST}", world.error(429, "TOOMANYREQUESTS"), times=2)

    copy(source, target)

    assert_copied(target)


def test_container_libs_388_both_layouts_are_written(source: Registry) -> None:
    key = load_signing_key(generate_key_pair().private, "k")
    reference = dev(source).at(DIGEST)

    ensure_signed(client(source.host), key, reference, "v1", {}, [])

    found = verify_image(client(source.host), [key], reference, {})
    assert (found.tag_layout, found.bundle_layout) == (True, True)


def test_oras_1892_two_repositories_of_a_host_have_their_own_login(source: Registry) -> None:
    source.login, source.users = "basic", {"reader": "r", "writer": "w"}
    auths = {
        f"{source.host}/dev": {"username": "reader", "password": "r"},
        f"{source.host}/prod": {"username": "writer", "password": "w"},
    }
    source.mounts = False

    client(auths=auths).copy(dev(source).at(DIGEST), prod(source))

    users = {
        (seen.path.split("/")[2], seen.headers["Authorization"])
        for seen in source.seen
        if "Authorization" in seen.headers
    }
    assert len(users) == 2


def test_promo_tools_1714_one_server_error_does_not_end_a_long_run(source: Registry) -> None:
    key = load_signing_key(generate_key_pair().private, "k")
    for method in ("GET", "HEAD", "POST", "PUT"):
        source.on(method, "", world.answer(502), times=1)

    done = ensure_signed(client(source.host), key, dev(source).at(DIGEST), "v1", {}, [])

    assert done.written == 2


def test_promo_tools_1943_foreign_attestations_are_not_invalid_ones(source: Registry) -> None:
    ours, theirs = (load_signing_key(generate_key_pair().private, "k") for _ in range(2))
    reference = dev(source).at(DIGEST)
    for key in (theirs, ours):
        ensure_signed(client(source.host), key, reference, "v1", {}, [])

    assert verify_image(client(source.host), [ours], reference, {}).complete


def test_promo_tools_1944_signing_again_writes_nothing(source: Registry) -> None:
    key = load_signing_key(generate_key_pair().private, "k")
    reference = dev(source).at(DIGEST)
    ensure_signed(client(source.host), key, reference, "v1", {}, [])
    source.seen.clear()

    again = ensure_signed(client(source.host), key, reference, "v1", {}, [])

    assert again.written == 0
    assert source.requests("PUT") == source.requests("POST") == []


def test_retagger_1239_a_throttled_listing_is_not_unsigned(source: Registry) -> None:
    key = load_signing_key(generate_key_pair().private, "k")
    ensure_signed(client(source.host), key, dev(source).at(DIGEST), "v1", {}, [])
    source.on("GET", "/referrers/", world.answer(429, b"", {"Retry-After": "60"}), times=9)

    with pytest.raises(UnavailableError):
        client(source.host).referrers(dev(source).at(DIGEST))


def test_harbor_23210_bundles_are_copied_by_us(source: Registry, target: Registry) -> None:
    key = load_signing_key(generate_key_pair().private, "k")
    ensure_signed(client(source.host), key, dev(source).at(DIGEST), "v1", {}, [])

    client(source.host, target.host).copy(
        dev(source).at(DIGEST), prod(target), accessories=AccessoryPolicy()
    )

    found = verify_image(
        client(target.host), [key], prod(target).at(DIGEST), {}, any_repository=True
    )
    assert found.bundle_layout


# --- nothing wrong, ever


@pytest.mark.parametrize(
    "fault",
    [
        world.flip_bit(),
        world.truncate(300),
        world.substitute(b"other"),
        world.answer(200, b"", {"Docker-Content-Digest": DIGEST}),
        world.answer(206, b"part"),
        world.error(404, "BLOB_UNKNOWN"),
        world.answer(302, b"", {"Location": "http://evil.example/"}),
    ],
    ids=["flipped", "cut", "other", "lying-header", "partial", "gone", "redirected"],
)
@pytest.mark.parametrize("what", ["/blobs/", "/manifests/"])
def test_whatever_a_source_serves_nothing_wrong_is_committed_or_tagged(
    source: Registry, target: Registry, fault: world.Fault, what: str
) -> None:
    source.on("GET", what, fault, times=999)

    with pytest.raises(LockkeeperError):
        copy(source, target)

    assert_nothing_wrong(target)
