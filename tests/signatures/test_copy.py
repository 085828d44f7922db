"""Copied means whole, also where the target has lost something meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests

from bot.adapters.signing import load_public_key, load_signing_key
from bot.adapters.signing.keyless import KeylessVerifier
from bot.domain.errors import NotFoundError
from bot.domain.images import AccessoryPolicy, CopyReport, ImageManifest, attached_tag
from bot.domain.oci import Digest, DigestReference, ImageRepository
from bot.domain.policy import EnvironmentPolicy, Result
from bot.domain.trust import BuiltFrom, KeyRoot, TrustRoots
from bot.formats.promotion_statement import PREDICATE_TYPE as PROMOTION
from bot.formats.sigstore_bundle import STATEMENT_TYPE
from bot.formats.simple_signing import SimplePayload, render_payload, signature_layer, with_layers
from bot.signatures.accessories import verified_accessories
from bot.signatures.attached_documents import attested_evidence
from bot.signatures.copy import ensure_copied
from bot.signatures.sign import ensure_signed
from bot.signatures.verify import Trust
from tests.world.attaching import (
    CYCLONEDX,
    OPENVEX,
    PROVENANCE,
    VULN,
    attach,
    attach_under_tag,
    cyclonedx,
    envelope,
    key_bundle,
    openvex,
    provenance,
    statement,
    vulnerabilities,
)
from tests.world.clients import client
from tests.world.images import build_image, push_blob, push_manifest
from tests.world.keys import generate_key_pair
from tests.world.registry import Registry
from tests.world.sigstore import COMMIT, sigstore

pytestmark = pytest.mark.slow

IMAGE = build_image()
DIGEST = Digest(IMAGE.digest)
PAIR = generate_key_pair(cost=32768)
CI = load_signing_key(PAIR.private, "ci.key")
OURS, STRANGER = (
    load_signing_key(generate_key_pair(cost=32768).private, name) for name in ("ours", "x")
)
BUILT = BuiltFrom("acme/api", 4711, COMMIT, ("main",))
TRUST = Trust(BUILT, {"ci.pub": [load_public_key(PAIR.public, "ci.pub")]})
ROOTS = TrustRoots(*[(KeyRoot("ci.pub"),) for _ in range(4)])
POLICY = EnvironmentPolicy("prod", roots=ROOTS)


@pytest.fixture
def server() -> Iterator[Registry]:
    with Registry(mounts=False) as registry:
        IMAGE.push(registry.host, "dev/api")
        yield registry


def test_a_blob_that_the_target_has_lost_is_brought_back(server: Registry) -> None:
    dev, prod = (ImageRepository(server.host, name) for name in ("dev/api", "prod/api"))
    registry = client(server.host)
    ensure_copied(registry, dev.at(DIGEST), prod)
    lost = next(iter(IMAGE.blobs))
    del server.repository("prod/api").blobs[lost]

    report, back = ensure_copied(registry, dev.at(DIGEST), prod)

    assert (report.unchanged, report.moved) == (False, len(IMAGE.blobs[lost]))
    assert back.blobs == len(IMAGE.blobs)


def test_a_child_that_the_target_has_lost_is_brought_back(server: Registry) -> None:
    dev, prod = (ImageRepository(server.host, name) for name in ("dev/api", "prod/api"))
    registry = client(server.host)
    ensure_copied(registry, dev.at(DIGEST), prod)
    del server.repository("prod/api").manifests[IMAGE.child_digests[0]]

    _, back = ensure_copied(registry, dev.at(DIGEST), prod)

    assert back.manifests == (*IMAGE.child_digests, DIGEST)


def test_a_part_that_the_source_lacks_is_not_tried_twice(server: Registry) -> None:
    dev, prod = (ImageRepository(server.host, name) for name in ("dev/api", "prod/api"))
    del server.repository("dev/api").manifests[IMAGE.child_digests[0]]

    with pytest.raises(NotFoundError, match="dev/api"):
        ensure_copied(client(server.host), dev.at(DIGEST), prod)

    assert len(server.requests("GET", IMAGE.child_digests[0])) == 1


def test_what_was_deleted_in_the_source_is_not_copied_from_memory(server: Registry) -> None:
    dev, prod = (ImageRepository(server.host, name) for name in ("dev/api", "prod/api"))
    registry = client(server.host)
    registry.describe(dev.at(DIGEST))
    del server.repository("dev/api").manifests[DIGEST]

    with pytest.raises(NotFoundError, match="dev/api"):
        ensure_copied(registry, dev.at(DIGEST), prod)

    assert DIGEST not in server.repository("prod/api").manifests


# --- what hangs on it: an environment that signs takes what somebody vouches for


@dataclass(frozen=True)
class Scene:
    host: str

    @property
    def source(self) -> DigestReference:
        return ImageRepository(self.host, "dev/api").at(DIGEST)

    @property
    def target(self) -> ImageRepository:
        return ImageRepository(self.host, "prod/api")

    def copied(self, policy: AccessoryPolicy | None = None) -> CopyReport:
        wanted = verified_accessories(TRUST, ROOTS, OURS.verifies)
        registry = client(self.host)
        report, _ = ensure_copied(registry, self.source, self.target, accessories=policy or wanted)
        return report

    def delivered(self, report: CopyReport) -> None:
        """The image is there, whatever stayed behind, and nothing hangs on it."""
        registry = client(self.host)
        assert registry.read_back(self.target.at(DIGEST)).reference == report.target
        assert report.accessories == ()
        assert list(registry.referrers(self.target.at(DIGEST))) == []
        for suffix in ("sig", "att", "sbom"):
            assert registry.manifest(self.target.tagged(attached_tag(DIGEST, suffix))) is None


@pytest.fixture(params=[True, False], ids=["api", "tag"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    with Registry(referrers_api=request.param) as registry:
        IMAGE.push(registry.host, "dev/api")
        yield Scene(registry.host)


def test_what_the_roots_vouch_for_travels(scene: Scene) -> None:
    registry = client(scene.host)
    ensure_signed(registry, CI, scene.source, None, {}, [])
    attach(scene.source, key_bundle(CI, statement(DIGEST, PROVENANCE, provenance())))
    attach(scene.source, key_bundle(CI, statement(DIGEST, OPENVEX, openvex("CVE-2026-1"))))
    attach_under_tag(scene.source, envelope(CI, statement(DIGEST, CYCLONEDX, cyclonedx("p"))))

    report = scene.copied()

    assert report.left_behind == ()
    assert len(registry.referrers(scene.target.at(DIGEST))) == 3
    copied = attested_evidence(registry, scene.target.at(DIGEST), TRUST, POLICY)
    assert copied.signature.result is Result.PASS
    assert copied.provenance_reason.result is Result.PASS
    assert len(copied.vex) == 1
    att = registry.manifest(scene.target.tagged(attached_tag(DIGEST, "att")))
    assert isinstance(att, ImageManifest)
    assert len(att.layers) == 1


def foreign_promotion(reference: DigestReference) -> None:
    """By another environment's attestation key, which no root names."""
    attach(reference, key_bundle(STRANGER, statement(DIGEST, PROMOTION, {})))
    attach_under_tag(reference, envelope(STRANGER, statement(DIGEST, PROMOTION, {})))


def own_promotion(reference: DigestReference) -> None:
    attach(reference, key_bundle(OURS, statement(DIGEST, PROMOTION, {})))


def promotion_by_ci(reference: DigestReference) -> None:
    """By a key that counts for provenance; nobody is asked for promotions of others."""
    attach(reference, key_bundle(CI, statement(DIGEST, PROMOTION, {})))


def malformed_bundle(reference: DigestReference) -> None:
    attach(reference, b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"')


def fifty_one_referrers(reference: DigestReference) -> None:
    for number in range(51):
        payload = statement(DIGEST, PROVENANCE, {"number": number})
        attach(reference, key_bundle(STRANGER, payload))


def unsigned_vex(reference: DigestReference) -> None:
    payload = statement(DIGEST, OPENVEX, openvex("CVE-2026-1"))
    attach(reference, payload, STATEMENT_TYPE)
    attach(reference, json.dumps(openvex("CVE-2026-1")).encode(), "application/vnd.openvex+json")
    attach(reference, key_bundle(STRANGER, payload))


def foreign_signatures(reference: DigestReference) -> None:
    """1001 layers under `.sig`, each well-formed: cosign reads no more than 1000."""
    payload = render_payload(SimplePayload("dev/api", DIGEST, {}))
    layers = tuple(signature_layer(payload, STRANGER.sign(payload)) for _ in range(1001))
    made = with_layers(None, layers, (payload,))
    with requests.Session() as session:
        base = f"http://{reference.repository.host}/v2/{reference.repository.path}"
        for blob in made.blobs:
            push_blob(session, base, Digest.of(blob), blob)
        tag = attached_tag(DIGEST, "sig")
        push_manifest(session, base, tag, made.content, made.media_type)


def bare_sbom(reference: DigestReference) -> None:
    attach(reference, json.dumps(cyclonedx("p")).encode(), "application/vnd.cyclonedx+json")


def stale_provenance(reference: DigestReference) -> None:
    """By the right key about the right digest, and of another commit."""
    attach(reference, key_bundle(CI, statement(DIGEST, PROVENANCE, provenance("d" * 40))))


def statement_about_another(reference: DigestReference) -> None:
    payload = statement("sha256:" + "e" * 64, PROVENANCE, provenance())
    attach(reference, key_bundle(CI, payload))


@pytest.mark.parametrize(
    "hang",
    [
        foreign_promotion,
        own_promotion,
        promotion_by_ci,
        malformed_bundle,
        fifty_one_referrers,
        unsigned_vex,
        foreign_signatures,
        bare_sbom,
        stale_provenance,
        statement_about_another,
    ],
)
def test_nothing_else_reaches_the_target_and_the_image_does(
    scene: Scene, hang: Callable[[DigestReference], None]
) -> None:
    hang(scene.source)

    report = scene.copied()

    assert report.left_behind != ()
    scene.delivered(report)


def test_what_stays_behind_hides_nothing(scene: Scene) -> None:
    fifty_one_referrers(scene.source)
    malformed_bundle(scene.source)
    good = attach(scene.source, key_bundle(CI, statement(DIGEST, PROVENANCE, provenance())))

    report = scene.copied()

    assert report.accessories == (good,)
    assert len(report.left_behind) == 52


def test_a_workflow_s_bundle_travels(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "root.json").write_bytes(sigstore().trusted_root)
    trust = Trust(BUILT, certificates=KeylessVerifier(tmp_path / "root.json"))
    payload = statement(DIGEST, PROVENANCE, provenance())
    ours = attach(scene.source, sigstore().attest(payload))
    attach(scene.source, sigstore().attest(payload, {"event_name": "pull_request"}))

    report = scene.copied(verified_accessories(trust, TrustRoots(), lambda _m, _s: False))

    assert report.accessories == (ours,)
    (left,) = report.left_behind
    assert left.reason == "it was made by a run that pull_request triggered"


def test_a_report_travels_where_the_policy_takes_reports(scene: Scene) -> None:
    report = statement(scene.source.digest, VULN, vulnerabilities({"SchemaVersion": 2}))
    attach(scene.source, key_bundle(CI, report))
    taking = replace(ROOTS, scan=(KeyRoot("ci.pub"),))

    refused = scene.copied(verified_accessories(TRUST, ROOTS, lambda _m, _s: False))
    taken = scene.copied(verified_accessories(TRUST, taking, lambda _m, _s: False))

    assert len(refused.left_behind) == 1
    assert taken.left_behind == ()


def test_without_a_demand_the_form_is_enough(scene: Scene) -> None:
    attach(scene.source, key_bundle(STRANGER, statement(DIGEST, PROVENANCE, provenance())))
    bare_sbom(scene.source)

    assert len(scene.copied(AccessoryPolicy()).accessories) == 2


def test_referrers_in_a_circle_end() -> None:
    with Registry(referrers_api=False) as world:
        IMAGE.push(world.host, "dev/api")
        scene = Scene(world.host)
        good = attach(scene.source, key_bundle(CI, statement(DIGEST, PROVENANCE, provenance())))
        tags = world.repository("dev/api").tags
        tags[attached_tag(good, "")] = tags[attached_tag(DIGEST, "")]

        report = scene.copied()

    assert report.accessories == (good,)
