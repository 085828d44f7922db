"""The same client against real registries, judged by crane and cosign."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bot.adapters.signing import load_signing_key
from bot.domain.images import AccessoryPolicy, TagOutcome, TagTakenError
from bot.domain.oci import Digest, ImageRepository
from bot.signatures.sign import ensure_signed
from tests.world.clients import client
from tests.world.images import build_image
from tests.world.keys import generate_key_pair
from tests.world.tools import run, run_registry

IMAGE = build_image(labels={"org.opencontainers.image.revision": "abc"}, layer_size=3 * 2**20)
DIGEST = Digest(IMAGE.digest)
KINDS = ("registry", "docker-registry", "olareg", "crane")


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with run_registry(request.param, tmp_path / "source") as host:
        IMAGE.push(host, "dev/api", "v1")
        yield host


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with run_registry(request.param, tmp_path / "target") as host:
        yield host


def test_an_image_goes_from_any_registry_to_any_other(source: str, target: str) -> None:
    registry = client(source, target)
    here, there = ImageRepository(source, "dev/api"), ImageRepository(target, "prod/api")

    assert registry.resolve(here.tagged("v1")) == DIGEST
    assert registry.resolve(there.tagged("v1")) is None
    report = registry.copy(here.at(DIGEST), there, accessories=AccessoryPolicy())
    assert registry.read_back(there.at(DIGEST)).blobs == len(IMAGE.blobs)
    assert registry.tag(there.at(DIGEST), "v1", move=False) is TagOutcome.CREATED
    assert registry.tag(there.at(DIGEST), "v1", move=False) is TagOutcome.UNCHANGED

    assert (report.moved, report.left_behind) == (IMAGE.size, ())
    assert run("crane", "digest", f"{target}/prod/api:v1", "--insecure").strip() == DIGEST
    for platform in IMAGE.children:
        found = run("crane", "digest", f"{target}/prod/api:v1", f"--platform={platform}")
        assert found.strip() == IMAGE.child(platform)
    run("crane", "validate", f"--remote={target}/prod/api:v1", "--insecure")


def test_a_repository_next_door_is_mounted_where_the_registry_can(target: str) -> None:
    IMAGE.push(target, "dev/api", "v1")
    registry = client(target)

    report = registry.copy(
        ImageRepository(target, "dev/api").at(DIGEST), ImageRepository(target, "prod/api")
    )

    assert report.mounted + report.moved + report.present == IMAGE.size
    assert registry.read_back(report.target).manifests[-1] == DIGEST


def test_signatures_are_kept_by_any_registry(target: str) -> None:
    IMAGE.push(target, "prod/api", "v1")
    registry, reference = client(target), ImageRepository(target, "prod/api").at(DIGEST)
    keys = [load_signing_key(generate_key_pair().private, "k") for _ in range(2)]
    children = [Digest(child) for child in IMAGE.child_digests]

    for key in keys:
        first = ensure_signed(registry, key, reference, "v1", {"a": "b"}, children)
        again = ensure_signed(registry, key, reference, "v1", {"a": "b"}, children)
        assert (first.written, again.written) == (6, 0)

    assert len(registry.referrers(reference)) == 2


def test_a_login_by_password_file_works(tmp_path: Path) -> None:
    with ExitStack() as stack:
        directory = tmp_path / "locked"
        directory.mkdir()
        # user ci, password secret; made with: htpasswd -nbB ci secret
        (directory / "htpasswd").write_text(
            "ci:$2b$05$8R.8ufE9q39bthJ6kTNRZOq/lp9ppJ4R2f5Msp7AVizyhoHpVRb7q\n"
        )
        realm = f"auth: {{htpasswd: {{realm: r, path: {directory}/htpasswd}}}}"
        host = stack.enter_context(run_registry("registry", directory, realm))
        auths = {host: {"username": "ci", "password": "secret"}}

        found = client(auths=auths).resolve(ImageRepository(host, "a").tagged("v1"))

    assert found is None


# --- one registry for several environments

RELEASE_TAGS = ("sha-abc1234", "v1.2.0", "release-20261120T101500Z")


def test_environments_are_namespaces_of_one_registry(target: str) -> None:
    registry = client(target)
    stage, prod = (ImageRepository(target, f"{name}/acme/api") for name in ("stage", "prod"))
    IMAGE.push(target, "stage/acme/api", "v1")

    registry.copy(stage.at(DIGEST), prod)
    for tag in RELEASE_TAGS:
        assert registry.tag(prod.at(DIGEST), tag, move=False) is TagOutcome.CREATED

    for tag in RELEASE_TAGS:
        assert (
            run("crane", "digest", f"{target}/prod/acme/api:{tag}", "--insecure").strip() == DIGEST
        )
        assert registry.tag(prod.at(DIGEST), tag, move=False) is TagOutcome.UNCHANGED
    assert registry.resolve(stage.tagged("v1.2.0")) is None


def test_environments_are_tags_of_one_repository(target: str) -> None:
    registry = client(target)
    repository = ImageRepository(target, "acme/api")
    newer = build_image(labels={"org.opencontainers.image.revision": "def"}, seed=2)
    for image, tag in ((IMAGE, "sha-abc1234"), (newer, "sha-def5678")):
        image.push(target, "acme/api", tag)
    old, new = repository.at(DIGEST), repository.at(Digest(newer.digest))

    for reference in (old, new):
        assert registry.copy(reference, repository).unchanged
    first = [registry.tag(old, tag, move=True) for tag in ("stage", "prod")]
    second = registry.tag(new, "stage", move=True)

    assert (first, second) == ([TagOutcome.CREATED] * 2, TagOutcome.MOVED)
    assert run("crane", "digest", f"{target}/acme/api:stage", "--insecure").strip() == newer.digest
    assert run("crane", "digest", f"{target}/acme/api:prod", "--insecure").strip() == DIGEST
    with pytest.raises(TagTakenError):
        registry.tag(new, "sha-abc1234", move=False)
    assert registry.resolve(repository.tagged("sha-abc1234")) == DIGEST


def test_several_names_in_one_account(target: str) -> None:
    """A naming convention in place of namespaces: ``myorg/prod-api``."""
    registry = client(target)
    IMAGE.push(target, "myorg/stage-api", "v1")
    prod = ImageRepository(target, "myorg/prod-api")

    report = registry.copy(ImageRepository(target, "myorg/stage-api").at(DIGEST), prod)

    assert registry.read_back(report.target).blobs == len(IMAGE.blobs)
    assert registry.tag(report.target, RELEASE_TAGS[2], move=False) is TagOutcome.CREATED
