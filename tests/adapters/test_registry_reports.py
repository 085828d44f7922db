"""What people reported of other clients at real registries, tried on ours."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from bot.domain.images import AccessoryPolicy
from bot.domain.oci import Digest, ImageRepository
from bot.signatures.copy import ensure_copied
from tests.world import registry as world
from tests.world.clients import client
from tests.world.images import BuiltImage, build_image
from tests.world.registry import Handler, Registry

IMAGE = build_image()
LARGE = build_image(["linux/amd64"], 1, layer_size=9 * 2**20)
LOGIN = {"username": "robot", "password": "secret"}


@pytest.fixture
def source() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def target() -> Iterator[Registry]:
    with Registry(users={"robot": "secret"}) as registry:
        yield registry


def copied(source: Registry, target: Registry, image: BuiltImage = IMAGE) -> None:
    """Copied, read back and tagged, with a log-in at the target."""
    image.push(source.host, "dev/api", "v1")
    registry = client(source.host, target.host, auths={target.host: LOGIN})
    here, there = (
        ImageRepository(one.host, path) for one, path in ((source, "dev/api"), (target, "prod/api"))
    )
    report, back = ensure_copied(registry, here.at(Digest(image.digest)), there, tags=["v1"])
    registry.tag(report.target, "v1", move=False)
    assert back.blobs == len(image.blobs)
    assert target.repository("prod/api").tags["v1"] == image.digest


def test_harbor_asks_for_basic_where_a_token_has_run_out(
    source: Registry, target: Registry
) -> None:
    """goharbor/harbor#17930: with any Authorization its challenge is Basic, which it may not take.

    A token that has served and is refused has run out: the next one is asked for as the first.
    """
    target.login = "bearer"
    count = itertools.count(1)

    def runs_out(handler: Handler) -> bool:
        if handler.headers.get("Authorization", "").startswith("Basic "):
            handler.reply(401, b"", {"WWW-Authenticate": 'Basic realm="harbor"'})
            return True
        if "Authorization" in handler.headers and next(count) % 20 == 0:
            handler.world.tokens.clear()
            handler.drain()
            handler.reply(401, b"", {"WWW-Authenticate": 'Basic realm="harbor"'})
            return True
        return False

    for method in ("GET", "HEAD", "POST", "PUT"):
        target.on(method, "^/v2/", runs_out, times=10**6)

    copied(source, target)


@pytest.mark.parametrize("case", ["Bearer", "BEARER", "bearer"])
def test_artifact_registry_names_a_realm_and_nothing_else(
    source: Registry, target: Registry, case: str
) -> None:
    """nicholas-fedor/watchtower#1894, devcontainers/cli#692 (no scope), #884 (capitals)."""
    target.login = "bearer"

    def challenged(handler: Handler) -> bool:
        if handler.is_logged_in():
            return False
        handler.drain()
        realm = f'{case} realm="{handler.world.url}/token"'
        handler.reply(401, b"", {"WWW-Authenticate": realm})
        return True

    for method in ("GET", "HEAD", "POST", "PUT"):
        target.on(method, "^/v2/", challenged, times=10**6)

    copied(source, target)


@pytest.mark.parametrize("strict", [True, False], ids=["416", "appended"])
def test_aliyun_reports_the_length_of_each_chunk_alone(
    source: Registry, target: Registry, *, strict: bool
) -> None:
    """regclient/regclient#627: a range that is not where the upload stands, in every attempt."""
    target.strict_chunks = strict
    target.reported_range = lambda before, size: size - before - 1

    def too_large(handler: Handler) -> bool:
        size = int(handler.headers.get("Content-Length") or 0)
        return size > 5 * 2**20 and world.answer(413)(handler)

    for method in ("PUT", "PATCH"):
        target.on(method, "/uploads/", too_large, times=10**6)

    copied(source, target, LARGE)


def test_every_other_write_of_a_manifest_fails(source: Registry, target: Registry) -> None:
    """moby/buildkit#2043."""
    turn = itertools.count()

    def fails(handler: Handler) -> bool:
        return next(turn) % 2 == 0 and world.answer(504)(handler)

    target.on("PUT", "/manifests/", fails, times=10**6)

    copied(source, target)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_repository_that_does_not_exist_yet_fails_every_look(
    source: Registry, target: Registry, status: int
) -> None:
    """containers/skopeo#1137 (500), #2484 (GitLab: denied)."""

    def is_new(handler: Handler) -> bool:
        return not handler.world.repository("prod/api").blobs and world.answer(status)(handler)

    for method in ("GET", "HEAD"):
        target.on(method, "^/v2/prod/api/", is_new, times=10**6)

    copied(source, target)


@pytest.mark.parametrize("status", [200, 202])
def test_a_manifest_is_taken_with_another_status_and_no_location(
    source: Registry, target: Registry, status: int
) -> None:
    """distribution/distribution#142, apple/swift-container-plugin#27 (ECR)."""

    def takes(handler: Handler) -> bool:
        content = handler.drain()
        name = handler.path.rpartition("/")[2]
        here = handler.world.repository("prod/api")
        digest = str(Digest.of(content))
        here.manifests[digest] = (handler.headers["Content-Type"], content)
        if not name.startswith("sha256:"):
            here.tags[name] = digest
        handler.reply(status)
        return True

    target.on("PUT", "/manifests/", takes, times=10**6)

    copied(source, target)


def test_harbor_knows_no_project_to_mount_from(source: Registry, target: Registry) -> None:
    """goharbor/harbor#17097: 401 for the mount alone, whatever the log-in."""
    target.login = "bearer"
    target.on("POST", "mount=", world.error(401, "UNAUTHORIZED"), times=10**6)

    copied(source, target)


def test_an_upload_session_is_seen_late_by_the_next_node(
    source: Registry, target: Registry
) -> None:
    """distribution/distribution#1240 and others: the first PUT finds no session, a second does."""
    seen: set[str] = set()

    def first_time(handler: Handler) -> bool:
        session = handler.path.partition("?")[0]
        if session in seen or len(seen) >= 3:
            return False
        seen.add(session)
        return world.error(404, "BLOB_UPLOAD_UNKNOWN")(handler)

    target.on("PUT", "/blobs/uploads/", first_time, times=10**6)

    copied(source, target)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 406, 410, 415, 500, 501])
@pytest.mark.parametrize("code", ["UNKNOWN", "UNSUPPORTED", "DENIED"])
def test_a_registry_that_refuses_to_list_referrers_has_the_tag(
    source: Registry, target: Registry, status: int, code: str
) -> None:
    """Whatever it says, and whatever it calls it: what hangs on an image does not end its copy."""
    target.referrers_api = source.referrers_api = False
    for one in (source, target):
        one.on("GET", "/referrers/", world.error(status, code), times=10**6)
    IMAGE.push(source.host, "dev/api", "v1")
    registry = client(source.host, target.host, auths={target.host: LOGIN})
    here = ImageRepository(source.host, "dev/api").at(Digest(IMAGE.digest))

    report, _ = ensure_copied(
        registry,
        here,
        ImageRepository(target.host, "prod/api"),
        accessories=AccessoryPolicy(),
    )

    assert set(IMAGE.child_digests) <= set(report.manifests)
