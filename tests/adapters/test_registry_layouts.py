"""One platform's image on disk, as a scanner will read it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.registry import layouts
from bot.domain.errors import (
    DigestMismatchError,
    LimitExceededError,
    NotFoundError,
    UnavailableError,
)
from bot.domain.images import UnsupportedImageError
from bot.domain.oci import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    Digest,
    DigestReference,
    ImageRepository,
)
from tests.world import registry as world
from tests.world.clients import client
from tests.world.images import MANIFEST, BuiltImage, build_image, digest_of, encoded
from tests.world.registry import Registry, Repository

IMAGE = build_image(layers=3)
AMD64 = IMAGE.child("linux/amd64")
_Usage = namedtuple("_Usage", "total used free")  # noqa: PYI024 - the shape of shutil's answer


@pytest.fixture
def source() -> Iterator[Registry]:
    with Registry() as registry:
        IMAGE.push(registry.host, "dev/api", "v1")
        registry.seen.clear()
        yield registry


def named(registry: Registry, digest: str) -> DigestReference:
    return ImageRepository(registry.host, "dev/api").at(Digest(digest))


def pushed(registry: Registry, manifest: dict[str, object]) -> DigestReference:
    content = encoded(manifest)
    repository = registry.repositories.setdefault("dev/api", Repository())
    repository.manifests[digest_of(content)] = (str(manifest["mediaType"]), content)
    return named(registry, digest_of(content))


def test_every_blob_and_the_exact_manifest_are_there(source: Registry, tmp_path: Path) -> None:
    client(source.host).save_layout(named(source, AMD64), tmp_path)

    manifest = IMAGE.children["linux/amd64"]
    wanted = {AMD64: manifest, **blobs_of(IMAGE, manifest)}
    saved = {f"sha256:{path.name}": path.read_bytes() for path in tmp_path.glob("blobs/sha256/*")}
    assert saved == wanted
    assert json.loads((tmp_path / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((tmp_path / "index.json").read_text())["manifests"] == [
        {"mediaType": MANIFEST, "digest": AMD64, "size": len(manifest)}
    ]


def test_another_user_can_read_it_and_nobody_can_write(source: Registry, tmp_path: Path) -> None:
    client(source.host).save_layout(named(source, AMD64), tmp_path)

    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {0o644, 0o755}


def test_docker_media_types_are_kept(source: Registry, tmp_path: Path) -> None:
    document = json.loads(IMAGE.children["linux/amd64"])
    document["mediaType"] = DOCKER_MANIFEST
    document["config"]["mediaType"] = DOCKER_CONFIG
    reference = pushed(source, document)

    client(source.host).save_layout(reference, tmp_path)

    entry = json.loads((tmp_path / "index.json").read_text())["manifests"][0]
    assert entry["mediaType"] == DOCKER_MANIFEST


def test_an_index_is_refused(source: Registry, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedImageError, match="an index, not one platform"):
        client(source.host).save_layout(named(source, IMAGE.digest), tmp_path)


def test_an_artifact_is_refused(source: Registry, tmp_path: Path) -> None:
    document = json.loads(IMAGE.children["linux/amd64"])
    document["config"]["mediaType"] = "application/vnd.oci.empty.v1+json"

    with pytest.raises(UnsupportedImageError, match="artifact; only container images"):
        client(source.host).save_layout(pushed(source, document), tmp_path)


def test_a_layer_that_is_kept_elsewhere_is_named(source: Registry, tmp_path: Path) -> None:
    document = json.loads(IMAGE.children["linux/amd64"])
    kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    document["layers"][0]["mediaType"] = kind

    with pytest.raises(UnsupportedImageError, match=document["layers"][0]["digest"]):
        client(source.host).save_layout(pushed(source, document), tmp_path)


def test_an_image_beyond_the_limit_is_refused_before_the_first_byte(
    source: Registry, tmp_path: Path
) -> None:
    document = json.loads(IMAGE.children["linux/amd64"])
    document["layers"][0]["size"] = 20 * 2**30
    reference = pushed(source, document)

    with pytest.raises(LimitExceededError, match="the limit is 21474836480 bytes"):
        client(source.host).save_layout(reference, tmp_path)

    assert source.requests("GET", "/blobs/") == []
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_would_be_full_is_not_filled(
    source: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = layouts.DISK_RESERVE + 100
    # Nobody fills a real disk for a test; what the system would answer is all that is replaced.
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: _Usage(2 * free, free, free))

    with pytest.raises(UnavailableError, match="make room on that disk"):
        client(source.host).save_layout(named(source, AMD64), tmp_path)

    assert source.requests("GET", "/blobs/") == []


def test_a_wrong_byte_leaves_no_layout(source: Registry, tmp_path: Path) -> None:
    source.on("GET", "/blobs/", world.flip_bit(), times=100)

    with pytest.raises(DigestMismatchError):
        client(source.host).save_layout(named(source, AMD64), tmp_path)

    assert not (tmp_path / "index.json").exists()
    for path in tmp_path.glob("blobs/sha256/*"):
        content = path.read_bytes()
        partial = path.suffix == ".partial"
        assert partial or hashlib.sha256(content).hexdigest() == path.name


def test_a_folder_that_cannot_be_written_is_named(source: Registry, tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("in the way")

    with pytest.raises(UnavailableError, match=f"{tmp_path} cannot be written: "):
        client(source.host).save_layout(named(source, AMD64), tmp_path)


def test_a_missing_layer_is_named(source: Registry, tmp_path: Path) -> None:
    gone = json.loads(IMAGE.children["linux/amd64"])["layers"][1]["digest"]
    del source.repositories["dev/api"].blobs[gone]

    with pytest.raises(NotFoundError, match=gone):
        client(source.host).save_layout(named(source, AMD64), tmp_path)


def blobs_of(image: BuiltImage, manifest: bytes) -> dict[str, bytes]:
    document = json.loads(manifest)
    digests = [document["config"]["digest"], *(layer["digest"] for layer in document["layers"])]
    return {digest: image.blobs[digest] for digest in digests}
