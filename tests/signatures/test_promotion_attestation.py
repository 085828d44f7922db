"""Promotion attestations against a registry, judged by cosign 2 and 3."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from bot.adapters.signing import SigningKey, load_public_key, load_signing_key
from bot.domain.images import Descriptor, attached_tag
from bot.domain.oci import OCI_INDEX, Digest, DigestReference, ImageRepository
from bot.formats import sigstore_bundle
from bot.formats.promotion_statement import (
    PREDICATE_TYPE,
    AuditHead,
    MergedPullRequest,
    PromotionStatement,
    SourceCommit,
    Standing,
    render_promotion,
)
from bot.signatures.promotion_attestation import attested_promotions, ensure_attested
from bot.signatures.sign import ensure_signed, verify_image
from tests.world.clients import client
from tests.world.images import build_image
from tests.world.keys import generate_key_pair
from tests.world.registry import Registry, error
from tests.world.tools import attempt, run

pytestmark = pytest.mark.slow

IMAGE = build_image()
DIGEST = Digest(IMAGE.digest)
NAMES = ("signing", "attest", "stage-signing", "new-attest")
PAIRS = {name: generate_key_pair(cost=32768) for name in NAMES}
KEYS = {name: load_signing_key(pair.private, name) for name, pair in PAIRS.items()}
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class LocationKey:
    """An image in a registry, and files for cosign."""

    world: Registry
    directory: Path

    @property
    def reference(self) -> DigestReference:
        return ImageRepository(self.world.host, "prod/api").at(DIGEST)

    def statement(self, merge: str = "b", environment: str = "prod") -> PromotionStatement:
        return PromotionStatement(
            digest=DIGEST,
            promotion=f"1/{environment}/api/{merge * 40}",
            source=None,
            target=Standing(str(self.reference.repository), environment, "v1"),
            git=SourceCommit("acme/api", "c" * 40, "main"),
            pull_request=MergedPullRequest("acme/deploy", 1, merge * 40, "dana", ("rita",)),
            evidence=(),
            builder="https://lockkeeper.dev/lockkeeper",
            version="0.1.0",
            at=AT + timedelta(minutes=ord(merge)),
            audit=AuditHead(1, ""),
        )

    def attest(self, statement: PromotionStatement | None = None, key: str = "attest") -> int:
        verifiers = [KEYS["new-attest"], KEYS["attest"]]
        registry = client(self.world.host)
        return ensure_attested(
            registry, KEYS[key], verifiers, statement or self.statement()
        ).written

    def sign(self, key: str = "signing") -> None:
        ensure_signed(client(self.world.host), KEYS[key], self.reference, "v1", {}, [])

    def found(self, *keys: str) -> list[str]:
        verifiers = [load_public_key(PAIRS[key].public, key) for key in keys or ("attest",)]
        promotions = attested_promotions(client(self.world.host), verifiers, self.reference)
        return [one.statement.promotion for one in promotions]

    def cosign(self, version: int, verb: str, key: str, *extra: str) -> CompletedProcess[str]:
        (self.directory / f"{key}.pub").write_bytes(PAIRS[key].public)
        return attempt(
            f"cosign{version}",
            verb,
            f"--key={self.directory}/{key}.pub",
            "--insecure-ignore-tlog=true",
            *extra,
            str(self.reference),
        )


@pytest.fixture(params=[True, False], ids=["api", "tag"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocationKey]:
    with Registry(referrers_api=request.param) as registry:
        IMAGE.push(registry.host, "prod/api", "v1")
        yield LocationKey(registry, tmp_path)


# --- one key, one meaning


@pytest.mark.parametrize("version", [2, 3])
def test_an_image_with_only_our_attestation_is_not_signed(place: LocationKey, version: int) -> None:
    # cosign 3 takes any statement by a key about a digest for a signature: verify.go looks at
    # no predicate type. Only another key keeps them apart.
    place.attest()

    assert place.cosign(version, "verify", "signing").returncode != 0


@pytest.mark.parametrize("version", [2, 3])
def test_an_image_signed_for_another_environment_is_not_signed_here(
    place: LocationKey, version: int
) -> None:
    place.sign("stage-signing")
    place.attest()

    assert place.cosign(version, "verify", "signing").returncode != 0


@pytest.mark.parametrize("version", [2, 3])
def test_signature_and_attestation_do_not_hide_each_other(place: LocationKey, version: int) -> None:
    place.sign()
    place.attest()

    signed = place.cosign(version, "verify", "signing")
    attested = place.cosign(version, "verify-attestation", "attest", f"--type={PREDICATE_TYPE}")
    wrong = place.cosign(version, "verify-attestation", "signing", f"--type={PREDICATE_TYPE}")

    assert signed.returncode == 0, signed.stderr
    assert attested.returncode == 0, attested.stderr
    assert wrong.returncode != 0


def test_cosign_reads_what_we_attested(place: LocationKey) -> None:
    place.attest()

    done = place.cosign(2, "verify-attestation", "attest", f"--type={PREDICATE_TYPE}")

    payload = base64.b64decode(json.loads(done.stdout)["payload"])
    assert payload == render_promotion(place.statement())


@pytest.mark.parametrize("version", [2, 3])
def test_cosign_tree_shows_both(place: LocationKey, version: int) -> None:
    place.sign()
    place.attest()

    shown = run(f"cosign{version}", "tree", str(place.reference))

    assert f"{attached_tag(DIGEST, 'sig')}\n" in shown
    assert f"{attached_tag(DIGEST, 'att')}\n" in shown


# --- one per promotion


def test_attesting_again_writes_nothing(place: LocationKey) -> None:
    assert place.attest() == 2
    before = len(place.world.requests("PUT"))

    later = replace(place.statement(), at=AT + timedelta(days=1), audit=AuditHead(99, "f"))

    assert place.attest(later) == 0
    assert len(place.world.requests("PUT")) == before


def test_half_an_attestation_is_completed_with_the_same_statement(place: LocationKey) -> None:
    place.attest()
    del place.world.repository("prod/api").tags[attached_tag(DIGEST, "att")]

    later = replace(place.statement(), at=AT + timedelta(days=1))

    assert place.attest(later) == 1
    assert place.found() == [place.statement().promotion]


def test_the_same_digest_promoted_again_is_attested_again(place: LocationKey) -> None:
    place.attest()
    again = place.statement("d")

    assert place.attest(again) == 2
    assert place.found() == [place.statement().promotion, again.promotion]


def test_two_environments_in_one_repository_have_both(place: LocationKey) -> None:
    stage = place.statement(environment="stage")
    place.attest(stage, "stage-signing")
    place.attest()

    assert place.found() == [place.statement().promotion]
    assert sorted(place.found("attest", "stage-signing")) == sorted(
        [place.statement().promotion, stage.promotion]
    )


def test_a_new_key_attests_the_statement_that_is_there(place: LocationKey) -> None:
    place.attest()

    later = replace(place.statement(), at=AT + timedelta(days=1))

    assert place.attest(later, "new-attest") == 2
    assert place.found("attest") == place.found("new-attest") == [later.promotion]


# --- what counts


def bundle_of(statement: bytes, key: SigningKey) -> bytes:
    message = sigstore_bundle.pre_authentication_encoding(sigstore_bundle.STATEMENT_TYPE, statement)
    return sigstore_bundle.render_bundle(statement, key.sign(message), key.fingerprint)


def attach(place: LocationKey, bundle: bytes) -> None:
    subject = Descriptor(OCI_INDEX, DIGEST, len(IMAGE.index))
    manifest = sigstore_bundle.bundle_manifest(bundle, PREDICATE_TYPE, subject, "")
    client(place.world.host).attach(place.reference.repository, manifest)


def test_a_statement_by_another_key_does_not_count(place: LocationKey) -> None:
    place.attest(key="stage-signing")

    assert place.found() == []


def test_a_statement_about_another_repository_or_digest_does_not_count(place: LocationKey) -> None:
    other = replace(place.statement().target, repository=f"{place.world.host}/prod/other")
    for statement in (
        replace(place.statement(), target=other),
        replace(place.statement(), digest=Digest("sha256:" + "0" * 64)),
    ):
        attach(place, bundle_of(render_promotion(statement), KEYS["attest"]))

    assert place.found() == []


def test_what_is_damaged_hides_nothing(place: LocationKey) -> None:
    attach(place, b"rubbish")
    attach(place, bundle_of(b"not a statement", KEYS["attest"]))

    place.attest()

    assert place.found() == [place.statement().promotion]


def test_the_second_layout_is_read_only_if_the_first_has_none(place: LocationKey) -> None:
    place.attest()
    registry, keys = client(place.world.host), [KEYS["attest"]]
    repository = place.world.repository("prod/api")

    place.world.seen.clear()
    first = attested_promotions(registry, keys, place.reference, everywhere=False)
    asked = [one.path for one in place.world.seen if ".att" in one.path]
    repository.subjects.clear()
    repository.tags.pop(attached_tag(DIGEST, ""), None)
    second = attested_promotions(client(place.world.host), keys, place.reference, everywhere=False)

    assert asked == []
    assert len(first) == 1
    assert [one.payload for one in second] == [one.payload for one in first]


def test_a_changed_statement_does_not_count(place: LocationKey) -> None:
    good = render_promotion(place.statement())
    bundle = json.loads(bundle_of(good, KEYS["attest"]))
    changed = json.loads(bundle_of(good.replace(b"rita", b"mala"), KEYS["signing"]))
    bundle["dsseEnvelope"]["payload"] = changed["dsseEnvelope"]["payload"]
    attach(place, json.dumps(bundle).encode())

    assert place.found() == []


def test_our_attestation_is_no_signature_for_us_either(place: LocationKey) -> None:
    place.attest(key="signing")  # as if one key had both roles

    assert not verify_image(
        client(place.world.host), [KEYS["signing"]], place.reference, {}
    ).verified


def test_an_attestation_tag_that_holds_an_image_is_left_alone(place: LocationKey) -> None:
    repository = place.world.repository("prod/api")
    tag = attached_tag(DIGEST, "att")
    repository.tags[tag] = DIGEST

    place.attest()  # in the bundle

    assert repository.tags[tag] == DIGEST


def test_where_bundles_are_refused_the_tag_holds_the_attestation(place: LocationKey) -> None:
    """Amazon ECR (containers-roadmap#2783)."""
    place.world.on("PUT", "/manifests/sha256:", error(405, "UNSUPPORTED"), times=99)
    registry, key = client(place.world.host), KEYS["attest"]

    first = ensure_attested(registry, key, [key], place.statement())
    again = ensure_attested(registry, key, [key], place.statement())

    assert (first.written, again.written) == (1, 0)
    assert "refuses artifacts of type" in first.warnings[0]
    assert [one.statement for one in attested_promotions(registry, [key], place.reference)] == [
        place.statement()
    ]
