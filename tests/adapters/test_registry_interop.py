"""What we copy, as other tools read it; and what they made, as we read it.

The source carries what people's pipelines leave on an image: signatures and attestations of
cosign 2 and 3, an SBOM under its tag, an artifact attached by oras, BuildKit's provenance. It is
copied by us into each kind of registry, and there every reader has to see the same.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from bot.adapters.signing import load_public_key
from bot.domain.images import AccessoryPolicy, CopyReport
from bot.domain.oci import Digest, ImageRepository
from bot.signatures.copy import ensure_copied
from bot.signatures.sign import verify_image
from tests.world.clients import client
from tests.world.images import (
    CONFIG,
    INDEX,
    MANIFEST,
    BuiltImage,
    build_image,
    descriptor,
    digest_of,
    encoded,
)
from tests.world.tools import attempt, run, run_registry

TARGETS: Final = ("registry", "docker-registry", "olareg", "crane")
SOURCES: Final = ("registry", "docker-registry")
"""With the referrers API, and without it: there the tools keep lists under tags."""
PASSWORD: Final = {"COSIGN_PASSWORD": ""}
SBOM: Final = b'{"spdxVersion": "SPDX-2.3", "name": "api"}'


def with_provenance(image: BuiltImage) -> BuiltImage:
    """The image as BuildKit leaves it: an attestation beside each platform."""
    entries = json.loads(image.index)["manifests"]
    blobs, children = dict(image.blobs), dict(image.children)
    for platform in image.children:
        statement = encoded({"_type": "https://in-toto.io/Statement/v0.1", "of": platform})
        rootfs = {"type": "layers", "diff_ids": [digest_of(statement)]}
        config = encoded({"architecture": "unknown", "os": "unknown", "rootfs": rootfs})
        manifest = encoded(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(CONFIG, config),
                "layers": [descriptor("application/vnd.in-toto+json", statement)],
            }
        )
        blobs |= {digest_of(one): one for one in (statement, config)}
        children[f"attestation of {platform}"] = manifest
        entries.append(
            descriptor(
                MANIFEST,
                manifest,
                platform={"architecture": "unknown", "os": "unknown"},
                annotations={
                    "vnd.docker.reference.type": "attestation-manifest",
                    "vnd.docker.reference.digest": image.child(platform),
                },
            )
        )
    index = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    return BuiltImage(index, children, blobs)


IMAGE: Final = with_provenance(build_image(layer_size=100_000))
DIGEST: Final = Digest(IMAGE.digest)


@dataclass(frozen=True)
class LocationKey:
    """A repository that has the image, and the files that the tools need."""

    host: str
    path: str
    files: Path

    @property
    def repository(self) -> ImageRepository:
        return ImageRepository(self.host, self.path)

    @property
    def reference(self) -> str:
        return f"{self.host}/{self.path}@{DIGEST}"

    @property
    def tagged(self) -> str:
        return f"{self.host}/{self.path}:v1"

    def cosign(self, version: int, verb: str, layout: str, *more: str) -> str:
        """What ``cosign verify...`` prints; AssertionError if it does not verify."""
        roots = [f"--trusted-root={self.files}/root.json"] if version == 2 else []
        return run(
            f"cosign{version}",
            verb,
            f"--key={self.files}/k.pub",
            "--insecure-ignore-tlog=true",
            "--allow-http-registry",
            f"--new-bundle-format={'true' if layout == 'bundle' else 'false'}",
            *roots,
            *more,
            self.reference,
        )


def decorate(place: LocationKey) -> None:
    """Sign, attest and attach, with the tools that people use."""
    files = place.files
    run("cosign3", "generate-key-pair", f"--output-key-prefix={files}/k", environment=PASSWORD)
    run("cosign3", "signing-config", "create", "--out", f"{files}/signing.json")
    run("cosign3", "trusted-root", "create", "--out", f"{files}/root.json")
    (files / "predicate.json").write_text('{"builder": "ci"}')
    (files / "sbom.json").write_bytes(SBOM)
    flags = {
        "cosign2": ["--tlog-upload=false"],
        "cosign3": [f"--signing-config={files}/signing.json"],
    }
    for tool, more in flags.items():
        common = [f"--key={files}/k.key", "--yes", "--allow-http-registry", *more]
        run(tool, "sign", *common, place.reference, environment=PASSWORD)
        predicate = ["--type=custom", f"--predicate={files}/predicate.json"]
        run(tool, "attest", *common, *predicate, place.reference, environment=PASSWORD)
    attach = ("attach", "sbom", "--allow-http-registry", "--type=spdx")
    run("cosign2", *attach, f"--sbom={files}/sbom.json", place.reference)
    run(
        "oras",
        "attach",
        "--plain-http",
        "--disable-path-validation",
        "--artifact-type=application/vnd.acme.report",
        place.reference,
        f"{files}/sbom.json:application/json",
    )


@pytest.fixture(scope="module", params=SOURCES)
def source(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocationKey]:
    files = tmp_path_factory.mktemp(f"from-{request.param}")
    with run_registry(request.param, files / "registry") as host:
        place = LocationKey(host, "dev/api", files)
        IMAGE.push(host, "dev/api", "v1")
        decorate(place)
        yield place


@dataclass(frozen=True)
class Copied:
    source: LocationKey
    target: LocationKey
    report: CopyReport


@pytest.fixture(scope="module", params=TARGETS)
def copied(
    request: pytest.FixtureRequest, source: LocationKey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Copied]:
    directory = tmp_path_factory.mktemp(f"to-{request.param}")
    with run_registry(request.param, directory) as host:
        target = LocationKey(host, "prod/api", source.files)
        registry = client(source.host, host)
        report, _ = ensure_copied(
            registry,
            source.repository.at(DIGEST),
            target.repository,
            accessories=AccessoryPolicy(),
        )
        registry.tag(report.target, "v1", move=False)
        yield Copied(source, target, report)


def test_everything_went_along(copied: Copied) -> None:
    assert copied.report.left_behind == ()
    # Two bundles of cosign 3 and oras' artifact refer to it; .sig, .att and .sbom are tags.
    assert len(copied.report.accessories) == 6


def crane(place: LocationKey) -> str:
    return run("crane", "digest", "--insecure", place.tagged)


def regctl(place: LocationKey) -> str:
    return run("regctl", f"--host=reg={place.host},tls=disabled", "manifest", "head", place.tagged)


def oras(place: LocationKey) -> str:
    return run("oras", "resolve", "--plain-http", place.tagged)


def skopeo(place: LocationKey) -> str:
    words = ("inspect", "--raw", "--tls-verify=false", f"docker://{place.tagged}")
    return digest_of(run("skopeo", *words).encode())


@pytest.mark.parametrize("reader", [crane, regctl, oras, skopeo])
def test_every_reader_sees_the_digest(copied: Copied, reader: Callable[[LocationKey], str]) -> None:
    assert reader(copied.target).strip() == reader(copied.source).strip() == DIGEST


@pytest.mark.parametrize("platform", [name for name in IMAGE.children if "/" in name][:2])
def test_every_reader_sees_every_platform(copied: Copied, platform: str) -> None:
    place, child = copied.target, IMAGE.child(platform)
    host = f"--host=reg={place.host},tls=disabled"
    flag = f"--platform={platform}"

    found = {
        "crane": run("crane", "digest", "--insecure", flag, place.tagged),
        "regctl": run("regctl", host, "manifest", "head", flag, place.tagged),
        "oras": run("oras", "resolve", "--plain-http", flag, place.tagged),
    }

    assert {name: text.strip() for name, text in found.items()} == dict.fromkeys(found, child)


def test_every_layer_is_what_it_says(copied: Copied) -> None:
    done = attempt("crane", "validate", "--insecure", f"--remote={copied.target.tagged}")

    assert done.returncode == 0, done.stderr


def test_skopeo_copies_it_on(copied: Copied, tmp_path: Path) -> None:
    place = f"dir:{tmp_path}/out"

    run("skopeo", "copy", "--src-tls-verify=false", f"docker://{copied.target.tagged}", place)

    assert len(list((tmp_path / "out").iterdir())) >= len(IMAGE.blobs) // 2 - 2


@pytest.mark.parametrize("layout", ["tag", "bundle"])
@pytest.mark.parametrize("version", [2, 3])
def test_cosign_verifies_what_travelled(copied: Copied, version: int, layout: str) -> None:
    copied.target.cosign(version, "verify", layout)
    said = copied.target.cosign(version, "verify-attestation", layout, "--type=custom")

    assert '"payload' in said


@pytest.mark.parametrize("version", [2, 3])
def test_cosign_draws_the_same_tree(copied: Copied, version: int) -> None:
    def cherries(place: LocationKey) -> set[str]:
        tree = run(f"cosign{version}", "tree", "--allow-http-registry", place.reference)
        return set(re.findall(r"🍒 (sha256:\w+)", tree))

    assert cherries(copied.target) == cherries(copied.source)


def referrers_seen(tool: str, place: LocationKey) -> set[str]:
    host = f"--host=reg={place.host},tls=disabled"
    if tool == "regctl":
        listed = run(tool, host, "artifact", "list", "--format={{jsonPretty .}}", place.reference)
        entries = json.loads(listed)["descriptors"]
    else:
        words = ("discover", "--plain-http", "--format=json", "--depth=1", place.reference)
        entries = json.loads(run(tool, *words))["referrers"]
    return {entry["digest"] for entry in entries}


@pytest.mark.parametrize("tool", ["regctl", "oras"])
def test_every_reader_sees_the_referrers(copied: Copied, tool: str) -> None:
    found = referrers_seen(tool, copied.target)

    ours = client(copied.target.host).referrers(copied.target.repository.at(DIGEST))
    assert len(found) == 3
    assert found == {one.digest for one in ours} == referrers_seen(tool, copied.source)


def test_an_sbom_is_downloaded_as_it_was_attached(copied: Copied) -> None:
    words = ("download", "sbom", "--allow-http-registry", copied.target.reference)

    assert run("cosign2", *words).encode().strip() == SBOM


def test_we_verify_what_cosign_signed(copied: Copied) -> None:
    key = load_public_key((copied.source.files / "k.pub").read_bytes(), "k.pub")

    at_home, away = (
        verify_image(client(place.host), [key], place.repository.at(DIGEST), {})
        for place in (copied.source, copied.target)
    )

    # A payload of cosign's names its repository; a bundle of cosign's does not, so that it would
    # count wherever somebody brings it: `any_repository` is for those who want that.
    assert (at_home.tag_layout, at_home.bundle_layout) == (True, False)
    assert not away.verified
    assert away.reasons == (
        f"a signature for {copied.source.repository}",
        "a bundle that names no repository",
    )
    anywhere = verify_image(
        client(copied.target.host),
        [key],
        copied.target.repository.at(DIGEST),
        {},
        any_repository=True,
    )
    assert anywhere.complete


def test_a_second_copy_changes_nothing(copied: Copied) -> None:
    place = copied.target
    tags = sorted(run("crane", "ls", "--insecure", f"{place.host}/{place.path}").split())

    again = client(copied.source.host, place.host).copy(
        copied.source.repository.at(DIGEST), place.repository, accessories=AccessoryPolicy()
    )

    assert again.unchanged
    assert again.left_behind == ()
    assert sorted(run("crane", "ls", "--insecure", f"{place.host}/{place.path}").split()) == tags
    assert len(referrers_seen("oras", place)) == 3


def test_a_copy_by_a_peer_is_nothing_to_do_for_us(source: LocationKey, tmp_path: Path) -> None:
    with ExitStack() as stack:
        host = stack.enter_context(run_registry("registry", tmp_path / "target"))
        there = f"{host}/prod/api:v1"
        run("crane", "copy", "--insecure", source.reference, there)

        report, _ = ensure_copied(
            client(source.host, host),
            source.repository.at(DIGEST),
            ImageRepository(host, "prod/api"),
        )

    assert report.unchanged


def test_what_only_another_key_signed_is_refused(copied: Copied, tmp_path: Path) -> None:
    run("cosign3", "generate-key-pair", f"--output-key-prefix={tmp_path}/k", environment=PASSWORD)
    shutil.copy(copied.source.files / "root.json", tmp_path)
    flags = ("--insecure-ignore-tlog=true", "--allow-http-registry", f"--key={tmp_path}/k.pub")

    for version in (2, 3):
        roots = [f"--trusted-root={tmp_path}/root.json"] if version == 2 else []
        words = (f"cosign{version}", "verify", *flags, *roots, copied.target.reference)
        assert attempt(*words).returncode != 0
