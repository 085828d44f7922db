"""What each kind of registry does differently, as far as it can be seen on the wire.

One section per product; the sources are the threads that are named. None of these products runs
here: the registry of the tests behaves like them in that one point.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.adapters.signing import load_signing_key
from bot.domain.errors import NotFoundError, RejectedError, UnavailableError
from bot.domain.images import (
    AccessoryPolicy,
    Descriptor,
    ImageManifest,
    NewManifest,
    ReferrerRefusedError,
    TagOutcome,
    TagTakenError,
)
from bot.domain.oci import OCI_INDEX, OCI_MANIFEST, Digest, ImageRepository
from bot.formats.image_manifest import EMPTY_CONFIG, empty_config, render_manifest
from bot.signatures.sign import ensure_signed
from tests.world import registry as world
from tests.world.clients import HandClock, client
from tests.world.images import build_image
from tests.world.keys import generate_key_pair
from tests.world.registry import Registry

IMAGE = build_image(layer_size=50_000)
OTHER = build_image(layer_size=50_000, seed=2)
DIGEST = Digest(IMAGE.digest)
SUBJECT = Descriptor(OCI_INDEX, DIGEST, len(IMAGE.index))
NEW = NewManifest(
    render_manifest(
        empty_config(),
        (Descriptor("application/x.sbom", Digest.of(b"sbom"), 4),),
        subject=SUBJECT,
        artifact_type="application/x.sbom",
    ),
    OCI_MANIFEST,
    (EMPTY_CONFIG, b"sbom"),
)


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


def copied(source: Registry, target: Registry, **more: object) -> None:
    policy = AccessoryPolicy() if more.get("accessories") else None
    client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target), accessories=policy)
    assert target.repository("prod/api").blobs.items() >= IMAGE.blobs.items()
    assert DIGEST in target.repository("prod/api").manifests


# --- Amazon ECR


def test_ecr_does_not_make_a_repository_by_a_push(source: Registry, target: Registry) -> None:
    target.on("POST", "/uploads/", world.error(404, "NAME_UNKNOWN"), times=99)

    with pytest.raises(NotFoundError, match="image repository prod/api does not exist"):
        copied(source, target)


def test_ecr_refuses_an_immutable_tag_that_has_our_digest(target: Registry) -> None:
    """The same digest under the same tag is an error there (containers-roadmap#2380)."""
    IMAGE.push(target.host, "prod/api", "v1")
    taken = world.error(400, "ImageTagAlreadyExistsException")
    target.on("PUT", "/manifests/v1", taken, times=99)
    target.on("PUT", "/manifests/v2", taken, times=99)
    registry = client(target.host)

    assert registry.tag(prod(target).at(DIGEST), "v1", move=False) is TagOutcome.UNCHANGED

    # Somebody else sets v2 between our look and our write.
    target.on("GET", "/manifests/v2", world.error(404, "MANIFEST_UNKNOWN"))
    target.repository("prod/api").tags["v2"] = DIGEST
    assert registry.tag(prod(target).at(DIGEST), "v2", move=False) is TagOutcome.CREATED


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (
            400,
            b'{"errors":[{"code":"TAG_INVALID","message":"The image tag cannot be overwritten"}]}',
        ),
        (409, b'{"errors":[{"code":"DENIED","message":"tag v1 is immutable"}]}'),
        (412, b'{"errors":[{"code":"PRECONDITION","message":"immutable"}]}'),
        (400, b"ImageTagAlreadyExistsException"),
    ],
)
def test_a_tag_that_is_immutable_over_there_is_final(
    target: Registry, status: int, body: bytes
) -> None:
    for image, tag in ((IMAGE, None), (OTHER, "v1")):
        image.push(target.host, "prod/api", tag)
    target.on("PUT", "/manifests/v1", world.answer(status, body), times=99)

    with pytest.raises(TagTakenError) as caught:
        client(target.host).tag(prod(target).at(DIGEST), "v1", move=True)

    assert caught.value.found == OTHER.digest
    assert len(target.requests("PUT", "/manifests/v1")) == 2  # the first one set it up


def test_ecr_gets_only_the_index_under_a_tag(source: Registry, target: Registry) -> None:
    """Children by tag break immutable tags (docker/buildx#1660)."""
    copied(source, target)
    client(target.host).tag(prod(target).at(DIGEST), "v1", move=False)

    by_tag = [s for s in target.requests("PUT", "/manifests/") if "sha256:" not in s.path]
    assert [seen.path.rpartition("/")[2] for seen in by_tag] == ["v1"]


def test_ecr_answers_201_to_a_chunk(source: Registry, target: Registry) -> None:
    def created(handler: world.Handler) -> bool:
        reply = handler.reply

        def as_created(status: int, *more: object) -> None:
            del handler.reply  # the connection goes on as it was
            reply(201 if status == 202 else status, *more)  # type: ignore[arg-type] # as it comes

        handler.reply = as_created  # type: ignore[method-assign, assignment] # of this request
        return False

    def refuse_bodies(handler: world.Handler) -> bool:
        return bool(int(handler.headers.get("Content-Length") or 0)) and world.error(
            405, "UNSUPPORTED"
        )(handler)

    target.on("PUT", "/uploads/", refuse_bodies, times=99)
    target.on("PATCH", "/uploads/", created, times=99)

    copied(source, target)

    assert target.requests("PATCH", "/uploads/"), "chunks were what went through"


@pytest.mark.parametrize("status", [400, 405, 415])
def test_ecr_refuses_artifact_types_and_the_signature_tag_is_what_is_left(
    target: Registry, status: int
) -> None:
    """405 UNSUPPORTED, "Invalid JSON syntax" (containers-roadmap#2783, oras#1133)."""
    IMAGE.push(target.host, "prod/api")
    target.on("PUT", "/manifests/", world.error(status, "UNSUPPORTED"), times=99)

    with pytest.raises(ReferrerRefusedError, match=r"application/x\.sbom"):
        client(target.host).attach(prod(target), NEW)


def test_ecr_refuses_an_accessory_and_the_image_is_still_copied(
    source: Registry, target: Registry
) -> None:
    client(source.host).attach(dev(source), NEW)
    target.on("PUT", f"/manifests/{NEW.digest}", world.error(405, "UNSUPPORTED"), times=99)

    report = client(source.host, target.host).copy(
        dev(source).at(DIGEST), prod(target), accessories=AccessoryPolicy()
    )

    assert [left.name for left in report.left_behind] == [f"referrer {NEW.digest}"]
    assert DIGEST in target.repository("prod/api").manifests


def test_ecr_forgets_where_a_retried_upload_was(source: Registry, target: Registry) -> None:
    """A retry from byte 0 in the old session is a 416 there (go-containerregistry#431)."""
    target.on("PUT", "/uploads/", world.drop())

    copied(source, target)

    sessions = [urlsplit(seen.path).path for seen in target.requests("PUT", "/uploads/")]
    assert len(sessions) == len(set(sessions)) == len(IMAGE.blobs) + 1


def test_public_ecr_calls_an_old_token_denied(source: Registry) -> None:
    """400 DENIED "Your Authorization Token is invalid" (oras-go#1227)."""
    source.login, source.users = "bearer", {"ci": "p"}
    registry = client(auths={source.host: {"username": "ci", "password": "p"}})
    registry.resolve(dev(source).tagged("v1"))
    denied = {"errors": [{"code": "DENIED", "message": "Your Authorization Token is invalid"}]}
    source.on("GET", "/manifests/", world.answer(400, json.dumps(denied).encode()))

    assert registry.resolve(dev(source).tagged("v1")) == DIGEST
    assert len(source.requests("GET", "^/token")) == 2


# --- Google Artifact Registry


def test_gar_counts_everything_together(source: Registry, target: Registry) -> None:
    clock = HandClock()
    target.on("POST", "/blobs/", world.answer(429, b"", {"Retry-After": "2"}))

    client(source.host, target.host, clock=clock).copy(dev(source).at(DIGEST), prod(target))

    assert 2 in [round(wait) for wait in clock.waits]
    assert DIGEST in target.repository("prod/api").manifests


def test_gar_takes_a_key_as_the_password(source: Registry) -> None:
    key = '{"type": "service_account", "private_key": "-----BEGIN"}'
    source.login, source.users = "bearer", {"_json_key": key}

    found = client(auths={source.host: {"username": "_json_key", "password": key}}).resolve(
        dev(source).tagged("v1")
    )

    assert found == DIGEST


# --- Azure


def test_acr_names_its_token_access_token(source: Registry) -> None:
    source.login, source.refresh_tokens = "bearer", {"refresh-me"}
    source.token_field = "access_token"  # noqa: S105 - the name of a field

    found = client(auths={source.host: {"identitytoken": "refresh-me"}}).resolve(
        dev(source).tagged("v1")
    )

    assert found == DIGEST


def test_acr_cannot_resume_an_upload(source: Registry, target: Registry) -> None:
    """404 BLOB_UPLOAD_INVALID (azure-sdk-for-python#29738)."""
    target.on("PUT", "/uploads/", world.error(404, "BLOB_UPLOAD_INVALID"))

    copied(source, target)

    assert target.requests("PATCH") == []  # a lost session is no reason to upload otherwise


def test_acr_throttles_the_listing_of_referrers_and_that_is_not_none(source: Registry) -> None:
    """Signatures must not vanish by a 429 (Azure/retagger#1239 says what cosign makes of it)."""
    source.on("GET", "/referrers/", world.answer(429, b"", {"Retry-After": "60"}), times=9)

    with pytest.raises(UnavailableError) as caught:
        client(source.host).referrers(dev(source).at(DIGEST))

    assert caught.value.retry_after == 60


# --- GitHub


def test_ghcr_takes_no_patch_beyond_four_mebibytes(target: Registry) -> None:
    large = build_image(["linux/amd64"], 1, layer_size=5 * 2**20)
    target.strict_chunks = True

    def too_large(handler: world.Handler) -> bool:
        size = int(handler.headers.get("Content-Length") or 0)
        limit = 0 if handler.command == "PUT" else 4 * 2**20
        return size > limit and world.error(416, "BLOB_UPLOAD_INVALID")(handler)

    target.on("PUT", "/uploads/", too_large, times=99)
    target.on("PATCH", "/uploads/", too_large, times=99)
    with Registry() as source:
        large.push(source.host, "dev/api")

        client(source.host, target.host).copy(dev(source).at(Digest(large.digest)), prod(target))

    assert target.repository("prod/api").blobs == large.blobs


def test_ghcr_has_no_referrers_api_but_the_tag(source: Registry) -> None:
    with Registry(referrers_api=False) as target:
        client(source.host).attach(dev(source), NEW)

        copied(source, target, accessories=True)

        (found,) = client(target.host).referrers(prod(target).at(DIGEST))
        assert found.digest == NEW.digest
        assert DIGEST.replace(":", "-") in target.repository("prod/api").tags


def test_ghcr_denies_the_pull_after_a_login_that_worked(source: Registry) -> None:
    """An App's installation token (kargo#2391)."""
    source.login, source.users = "bearer", {"x": "p"}
    source.on("GET", "/manifests/v1", world.error(403, "DENIED"), times=99)

    with pytest.raises(RejectedError, match=r"refuses access to .*\(403\)"):
        client(auths={source.host: {"username": "x", "password": "p"}}).resolve(
            dev(source).tagged("v1")
        )

    assert len(source.requests("GET", "/manifests/v1")) <= 3


def test_ghcr_does_not_say_how_long_a_token_lives(source: Registry) -> None:
    source.login, source.users, source.token_life = "bearer", {}, 0
    clock = HandClock()
    registry = client(source.host, clock=clock)
    registry.resolve(dev(source).tagged("v1"))
    clock.move(61)
    source.tokens.clear()

    assert registry.resolve(dev(source).tagged("v1")) == DIGEST


# --- Docker Hub


def test_the_hub_gives_a_retry_time_since_the_epoch(source: Registry) -> None:
    clock = HandClock()
    until = str(int(clock.moment.timestamp()) + 4)
    source.on("GET", "/manifests/", world.answer(429, b"", {"Retry-After": until}))

    client(source.host, clock=clock).resolve(dev(source).tagged("v1"))

    assert clock.waits == [4]


def test_the_hubs_other_429_is_a_page_without_details(source: Registry) -> None:
    page = world.answer(429, b"<html>Too many requests", {"Content-Type": "text/html"})
    source.on("GET", "/manifests/", page)

    assert client(source.host).resolve(dev(source).tagged("v1")) == DIGEST


def test_the_hub_gets_no_mount_from_another_registry(source: Registry, target: Registry) -> None:
    """400 "invalid repository name" (go-containerregistry#1741)."""
    copied(source, target)

    named = {parse_qs(urlsplit(one.path).query)["from"][0] for one in target.requests("POST")}
    assert named == {"prod/api"}


def test_the_hub_once_lost_referrers_and_that_is_seen() -> None:
    """docker/hub-feedback#2372: the tag answers 201 and keeps nothing."""
    with Registry(referrers_api=False) as target:
        IMAGE.push(target.host, "prod/api")
        tag = DIGEST.replace(":", "-")
        target.on("PUT", f"/manifests/{tag}$", world.answer(201), times=99)

        with pytest.raises(UnavailableError, match="not visible yet"):
            client(target.host).attach(prod(target), NEW)


# --- Harbor


def test_harbor_calls_a_missing_manifest_unknown(source: Registry) -> None:
    source.on("GET", "/manifests/", world.error(404, "UNKNOWN"))

    assert client(source.host).resolve(dev(source).tagged("nope")) is None


def test_harbor_tells_another_length_than_it_sends(source: Registry) -> None:
    """HEAD and GET may differ by compression, so lengths of manifests are not compared."""
    source.on("HEAD", "/manifests/", world.answer(200, b"", {"X": "y"}), times=9)

    assert client(source.host).exists(dev(source).at(DIGEST))


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_harbor_refuses_a_mount_without_rights_on_the_other_project(
    source: Registry, status: int
) -> None:
    """oras#1892."""
    source.on("POST", "mount=", world.error(status, "DENIED"), times=99)

    copied(source, source)

    assert source.requests("POST", "mount="), "it was tried"


def test_harbor_wants_the_image_before_its_signature(source: Registry, target: Registry) -> None:
    """goharbor/harbor#17095."""
    key = load_signing_key(generate_key_pair().private, "key")
    ensure_signed(client(source.host), key, dev(source).at(DIGEST), "v1", {}, [])

    copied(source, target, accessories=True)

    written = [seen.path.rpartition("/")[2] for seen in target.requests("PUT", "/manifests/")]
    assert written.index(DIGEST) < written.index(DIGEST.replace(":", "-") + ".sig")
    assert len(written) == 5  # two children, the index, the bundle, the tag


def test_harbor_needs_no_right_to_list_tags(source: Registry, target: Registry) -> None:
    """goharbor/harbor#16310."""
    copied(source, target, accessories=True)

    assert source.requests("GET", "/tags/") == target.requests("GET", "/tags/") == []


# --- Quay, GitLab, Nexus, any port


def test_quay_gets_no_mount_without_a_from(source: Registry) -> None:
    copied(source, source)

    mounts = source.requests("POST", "mount=")
    assert mounts
    assert all("from" in parse_qs(urlsplit(seen.path).query) for seen in mounts)


def test_gitlab_looks_at_one_scope_and_the_mount_becomes_an_upload(source: Registry) -> None:
    """manifest-tool#53: of several scopes one is honoured."""
    source.login, source.users = "bearer", {"ci": "p"}
    genuine = world.Handler._token  # noqa: SLF001 - the token service, with one scope only

    def first_scope_only(handler: world.Handler) -> bool:
        query = parse_qs(urlsplit(handler.path).query)
        query["scope"] = query.get("scope", [])[:1]
        genuine(handler, query)
        return True

    source.on("GET", "^/token", first_scope_only, times=99)
    known = source.repository("dev/api").blobs

    def without_rights(handler: world.Handler) -> bool:
        return world.error(401, "UNAUTHORIZED")(handler)

    source.on("POST", "mount=", without_rights, times=99)

    report = client(auths={source.host: {"username": "ci", "password": "p"}}).copy(
        dev(source).at(DIGEST), prod(source)
    )

    assert report.moved == sum(len(blob) for blob in known.values())


def test_nexus_wants_basic_at_every_request(source: Registry, target: Registry) -> None:
    target.login, target.users = "basic", {"ci": "p"}
    registry = client(source.host, auths={target.host: {"username": "ci", "password": "p"}})

    registry.copy(dev(source).at(DIGEST), prod(target))

    without = [seen for seen in target.seen if "Authorization" not in seen.headers]
    assert len(without) == 1  # the one that learns it


def test_of_several_challenges_one_that_we_know_is_answered(source: Registry) -> None:
    source.login, source.users = "basic", {"ci": "p"}
    both = {"WWW-Authenticate": 'Negotiate, Basic realm="x"'}
    source.on("GET", "/manifests/", world.error(401, "UNAUTHORIZED", both))

    found = client(auths={source.host: {"username": "ci", "password": "p"}}).resolve(
        dev(source).tagged("v1")
    )

    assert found == DIGEST


def test_a_signature_may_be_typed_as_dockers_manifest(source: Registry, target: Registry) -> None:
    """containers/skopeo#2351."""
    key = load_signing_key(generate_key_pair().private, "key")
    ensure_signed(client(source.host), key, dev(source).at(DIGEST), "v1", {}, [])
    tag = DIGEST.replace(":", "-") + ".sig"
    here = source.repository("dev/api")
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    document = json.loads(here.manifests[here.tags[tag]][1])
    content = json.dumps({**document, "mediaType": docker}).encode()
    here.tags[tag] = Digest.of(content)
    here.manifests[Digest.of(content)] = (docker, content)

    copied(source, target, accessories=True)

    found = client(target.host).manifest(prod(target).tagged(tag))
    assert isinstance(found, ImageManifest)
    assert len(found.layers) == 1


def test_a_session_that_was_throttled_is_used_again(source: Registry, target: Registry) -> None:
    """Nothing was taken: a gateway that counts by address would refuse every new session anew."""
    refused: set[str] = set()

    def once_each(handler: world.Handler) -> bool:
        if handler.path in refused:
            return False
        refused.add(handler.path)
        return world.answer(429, b"", {"Retry-After": "2"})(handler)

    target.on("PUT", "/uploads/", once_each, times=10**6)

    copied(source, target)

    assert len(target.requests("PUT", "/uploads/")) == 2 * len(refused)
