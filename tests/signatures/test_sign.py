"""Signing against a registry, judged by cosign 2 and 3."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from bot.adapters.signing import SigningKey, load_signing_key
from bot.domain.errors import NotFoundError
from bot.domain.images import Descriptor, ImageManifest, attached_tag
from bot.domain.oci import OCI_INDEX, Digest, DigestReference, ImageRepository
from bot.formats import sigstore_bundle, simple_signing
from bot.signatures.envelopes import LostSignatureError, NoLayoutError
from bot.signatures.sign import ensure_payload, ensure_signed, verify_image
from tests.world.clients import client
from tests.world.images import build_image
from tests.world.keys import generate_key_pair
from tests.world.registry import Registry, answer, before, error
from tests.world.tools import attempt, run

pytestmark = pytest.mark.slow

IMAGE = build_image()
DIGEST = Digest(IMAGE.digest)
CHILDREN = [Digest(child) for child in IMAGE.child_digests]
ANNOTATIONS = {"dev.lockkeeper/environment": "prod", "dev.lockkeeper/team": "payments"}
PAIR, OTHER_PAIR = generate_key_pair(), generate_key_pair()
KEY = load_signing_key(PAIR.private, "key")
OTHER = load_signing_key(OTHER_PAIR.private, "other")


@dataclass(frozen=True)
class LocationKey:
    """An image in a registry, and files for cosign."""

    world: Registry
    directory: Path

    @property
    def reference(self) -> DigestReference:
        return ImageRepository(self.world.host, "prod/api").at(DIGEST)

    def sign(self, key: SigningKey = KEY, *, children: list[Digest] | None = None) -> int:
        return ensure_signed(
            client(self.world.host),
            key,
            self.reference,
            "v1",
            ANNOTATIONS,
            CHILDREN if children is None else children,
        ).written

    def cosign(
        self, version: int, *extra: str, reference: DigestReference | None = None
    ) -> CompletedProcess[str]:
        """``cosign verify`` as the documentation tells people to."""
        (self.directory / "cosign.pub").write_bytes(PAIR.public)
        return attempt(
            f"cosign{version}",
            "verify",
            f"--key={self.directory}/cosign.pub",
            "--insecure-ignore-tlog=true",
            *extra,
            str(reference or self.reference),
        )


@pytest.fixture(params=[True, False], ids=["api", "tag"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocationKey]:
    with Registry(referrers_api=request.param) as registry:
        IMAGE.push(registry.host, "prod/api", "v1")
        yield LocationKey(registry, tmp_path)


# --- what cosign says


@pytest.mark.parametrize("version", [2, 3])
def test_cosign_accepts_the_image_and_each_platform(place: LocationKey, version: int) -> None:
    place.sign()

    for digest in (DIGEST, *CHILDREN):
        done = place.cosign(version, reference=place.reference.repository.at(digest))
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("version", [2, 3])
def test_cosign_refuses_an_unsigned_image(place: LocationKey, version: int) -> None:
    assert place.cosign(version).returncode != 0


@pytest.mark.parametrize("version", [2, 3])
def test_cosign_refuses_a_signature_by_another_key(place: LocationKey, version: int) -> None:
    place.sign(OTHER)

    assert place.cosign(version).returncode != 0


def test_cosign_3_checks_the_annotations(place: LocationKey) -> None:
    # cosign 2.6.3 does not look at them once there is a bundle; our own verification does.
    place.sign()

    right = place.cosign(3, "-a", "dev.lockkeeper/environment=prod")
    wrong = place.cosign(3, "-a", "dev.lockkeeper/environment=stage")

    assert right.returncode == 0
    assert wrong.returncode != 0


def test_cosign_2_accepts_the_tag_layout_alone(place: LocationKey) -> None:
    place.sign()
    repository = place.world.repository("prod/api")
    repository.subjects.clear()
    for tag in [tag for tag in repository.tags if "." not in tag and tag != "v1"]:
        del repository.tags[tag]

    done = place.cosign(2)

    assert done.returncode == 0, done.stderr
    (payload,) = json.loads(done.stdout)
    identity = payload["critical"]["identity"]["docker-reference"]
    assert identity == f"{place.world.host}/prod/api:v1"
    here = {"dev.lockkeeper/repository": f"{place.world.host}/prod/api"}
    assert payload["optional"] == {**ANNOTATIONS, **here}
    assert place.cosign(2, "-a", "dev.lockkeeper/environment=stage").returncode != 0


def test_cosign_and_we_sign_beside_each_other(place: LocationKey) -> None:
    place.sign()
    (place.directory / "other.key").write_bytes(OTHER_PAIR.private)

    run(
        "cosign2",
        "sign",
        f"--key={place.directory}/other.key",
        "--tlog-upload=false",
        "--yes",
        str(place.reference),
        environment={"COSIGN_PASSWORD": ""},
    )

    assert place.sign() == 0
    registry = client(place.world.host)
    for key in (KEY, OTHER):
        demands = ANNOTATIONS if key is KEY else {}
        assert verify_image(registry, [key], place.reference, demands).tag_layout


# --- idempotence


def test_signing_again_writes_nothing(place: LocationKey) -> None:
    assert place.sign() == 6
    before = len(place.world.requests("PUT"))

    assert place.sign() == 0
    assert len(place.world.requests("PUT")) == before


def test_other_annotations_are_another_signature(place: LocationKey) -> None:
    registry = client(place.world.host)
    place.sign(children=[])

    again = ensure_signed(registry, KEY, place.reference, "v1", {"promotion": "2"}, [])

    assert again.written == 2
    assert verify_image(registry, [KEY], place.reference, {"promotion": "2"}).complete
    assert verify_image(registry, [KEY], place.reference, ANNOTATIONS).complete


def test_half_a_signature_is_completed(place: LocationKey) -> None:
    place.sign(children=[])
    tag = attached_tag(DIGEST, "sig")
    del place.world.repository("prod/api").tags[tag]

    assert place.sign(children=[]) == 1


def test_a_second_key_is_added_to_the_first(place: LocationKey) -> None:
    place.sign()

    place.sign(OTHER)

    registry = client(place.world.host)
    for key in (KEY, OTHER):
        assert verify_image(registry, [key], place.reference, ANNOTATIONS).complete


def test_a_forged_copy_of_our_payload_does_not_count(place: LocationKey) -> None:
    place.sign(children=[])
    repository = place.world.repository("prod/api")
    tag = attached_tag(DIGEST, "sig")
    media_type, content = repository.manifests[repository.tags[tag]]
    document = json.loads(content)
    document["layers"][0]["annotations"]["dev.cosignproject.cosign/signature"] = "QUJD"
    forged = json.dumps(document).encode()
    repository.manifests[Digest.of(forged)] = (media_type, forged)
    repository.tags[tag] = Digest.of(forged)

    assert place.sign(children=[]) == 1


def test_the_time_is_noted_in_the_bundles_manifest(place: LocationKey) -> None:
    registry = client(place.world.host)
    at = datetime(2026, 11, 20, 10, 14, 47, tzinfo=UTC)

    ensure_signed(registry, KEY, place.reference, "v1", {}, [], at=at)

    (bundle,) = registry.referrers(place.reference)
    assert bundle.annotations["org.opencontainers.image.created"] == "2026-11-20T10:14:47Z"


def test_nothing_is_signed_that_is_not_there(place: LocationKey) -> None:
    missing = place.reference.repository.at(Digest("sha256:" + "0" * 64))

    with pytest.raises(NotFoundError):
        ensure_signed(client(place.world.host), KEY, missing, "v1", {}, [])


def test_a_signature_tag_that_holds_an_image_is_left_alone(place: LocationKey) -> None:
    repository = place.world.repository("prod/api")
    tag = attached_tag(DIGEST, "sig")
    repository.tags[tag] = DIGEST

    signed = ensure_signed(client(place.world.host), KEY, place.reference, "v1", {}, [])

    assert repository.tags[tag] == DIGEST
    (warning,) = signed.warnings
    assert "remove that tag" in warning
    found = verify_image(client(place.world.host), [KEY], place.reference, {})
    assert (found.tag_layout, found.bundle_layout) == (False, True)


# --- verification


def test_a_signed_image_verifies_completely(place: LocationKey) -> None:
    place.sign()

    found = verify_image(client(place.world.host), [OTHER, KEY], place.reference, ANNOTATIONS)

    assert found.complete
    assert found.reasons == ()


def test_an_unsigned_image_has_no_reasons_and_no_signature(place: LocationKey) -> None:
    found = verify_image(client(place.world.host), [KEY], place.reference, {})

    assert (found.verified, found.reasons) == (False, ())


def test_another_key_does_not_count(place: LocationKey) -> None:
    place.sign()

    found = verify_image(client(place.world.host), [OTHER], place.reference, {})

    assert not found.verified
    assert found.reasons == ("a signature by another key", "a bundle by another key")


def test_every_demanded_annotation_is_needed(place: LocationKey) -> None:
    place.sign()

    found = verify_image(
        client(place.world.host), [KEY], place.reference, {"dev.lockkeeper/environment": "stage"}
    )

    assert not found.verified
    assert found.reasons == ("a signature without the annotation dev.lockkeeper/environment",)


# --- replay: a signature for one repository, brought to another


def elsewhere(place: LocationKey) -> DigestReference:
    """Another repository, with everything that whoever may write to it can bring there."""
    here = place.world.repository("prod/api")
    there = place.world.repository("copied/api")
    there.blobs, there.manifests, there.tags = here.blobs, here.manifests, here.tags
    there.subjects = here.subjects
    return ImageRepository(place.world.host, "copied/api").at(DIGEST)


def test_a_signature_for_another_repository_counts_in_neither_layout(place: LocationKey) -> None:
    place.sign(children=[])

    found = verify_image(client(place.world.host), [KEY], elsewhere(place), {})

    assert not found.verified
    assert found.reasons == (
        f"a signature for {place.world.host}/prod/api:v1",
        f"a bundle for {place.world.host}/prod/api",
    )


def test_whoever_asks_for_it_gets_a_signature_for_any_repository(place: LocationKey) -> None:
    place.sign(children=[])

    found = verify_image(
        client(place.world.host), [KEY], elsewhere(place), ANNOTATIONS, any_repository=True
    )

    assert found.complete


def bundle_of(place: LocationKey, statement: bytes) -> None:
    message = sigstore_bundle.pre_authentication_encoding(sigstore_bundle.STATEMENT_TYPE, statement)
    bundle = sigstore_bundle.render_bundle(statement, KEY.sign(message), KEY.fingerprint)
    subject = Descriptor(OCI_INDEX, DIGEST, len(IMAGE.index))
    manifest = sigstore_bundle.bundle_manifest(bundle, sigstore_bundle.SIGN_PREDICATE, subject, "")
    client(place.world.host).attach(place.reference.repository, manifest)


@pytest.mark.parametrize(
    ("name", "annotated", "reason"),
    [
        ("", None, "a bundle that names no repository"),
        ("HERE", None, ""),
        ("HERE:v1", None, ""),
        ("", "HERE", ""),
        ("HERE", "HERE", ""),
        ("HERE", "r.example.com/prod/api", "a bundle for r.example.com/prod/api"),
        ("r.example.com/prod/api", "HERE", "a bundle for r.example.com/prod/api"),
        ("HERE/more", None, "a bundle for HERE/more"),
        ("prod/api", None, "a bundle for prod/api"),
    ],
)
def test_a_bundle_names_its_repository_as_subject_or_annotation(
    place: LocationKey, name: str, annotated: str | None, reason: str
) -> None:
    here = f"{place.world.host}/prod/api"
    annotations = (
        {"dev.lockkeeper/repository": annotated.replace("HERE", here)} if annotated else {}
    )
    bundle_of(
        place,
        sigstore_bundle.render_statement(
            DIGEST,
            sigstore_bundle.SIGN_PREDICATE,
            {},
            name=name.replace("HERE", here),
            annotations=annotations,
        ),
    )

    found = verify_image(client(place.world.host), [KEY], place.reference, {})

    assert found.reasons == ((reason.replace("HERE", here),) if reason else ())
    assert found.bundle_layout is not bool(reason)


@pytest.mark.parametrize(
    ("signed", "counts"),
    [
        ("HERE", True),
        ("HERE:v9", True),
        (f"HERE@{DIGEST}", True),
        (f"HERE:v1@{DIGEST}", True),
        ("", False),
        ("HERE-too:v1", False),
        ("HERE:v1:v2", False),
        ("prod/api:v1", False),
    ],
)
def test_a_payload_names_its_repository_with_or_without_a_tag(
    place: LocationKey, signed: str, *, counts: bool
) -> None:
    here = f"{place.world.host}/prod/api"
    payload = simple_signing.render_payload(
        simple_signing.SimplePayload(signed.replace("HERE", here), DIGEST, {})
    )
    ensure_payload(client(place.world.host), KEY, place.reference, payload)

    found = verify_image(client(place.world.host), [KEY], place.reference, {})

    assert found.tag_layout is counts
    assert bool(found.reasons) is not counts


def test_a_statement_that_means_something_else_is_no_signature(place: LocationKey) -> None:
    statement = sigstore_bundle.render_statement(DIGEST, "https://example.com/verdict/fail", {})
    message = sigstore_bundle.pre_authentication_encoding(sigstore_bundle.STATEMENT_TYPE, statement)
    bundle = sigstore_bundle.render_bundle(statement, KEY.sign(message), KEY.fingerprint)
    subject = Descriptor(OCI_INDEX, DIGEST, len(IMAGE.index))
    # It even claims to be a signature in its annotations.
    manifest = sigstore_bundle.bundle_manifest(bundle, sigstore_bundle.SIGN_PREDICATE, subject, "")
    registry = client(place.world.host)
    registry.attach(place.reference.repository, manifest)

    found = verify_image(registry, [KEY], place.reference, {})

    assert not found.verified
    assert found.reasons == ("a bundle that is no signature",)


def test_a_damaged_bundle_of_somebody_else_hides_nothing(place: LocationKey) -> None:
    registry = client(place.world.host)
    subject = Descriptor(OCI_INDEX, DIGEST, len(IMAGE.index))
    rubbish = sigstore_bundle.bundle_manifest(b"rubbish", "p", subject, "")
    registry.attach(place.reference.repository, rubbish)
    also = sigstore_bundle.bundle_manifest(
        b"more rubbish", sigstore_bundle.SIGN_PREDICATE, subject, ""
    )
    registry.attach(place.reference.repository, also)

    place.sign()

    assert verify_image(registry, [KEY], place.reference, ANNOTATIONS).complete


def test_a_damaged_signature_of_somebody_else_hides_nothing(place: LocationKey) -> None:
    registry = client(place.world.host)
    ensure_payload(registry, OTHER, place.reference, b"theirs")
    place.sign(children=[])
    del place.world.repository("prod/api").blobs[Digest.of(b"theirs")]

    assert verify_image(registry, [KEY], place.reference, ANNOTATIONS).complete


def test_the_payload_is_signed_under_the_tag_it_was_given(place: LocationKey) -> None:
    place.sign(children=[])

    registry = client(place.world.host)
    tag = place.reference.repository.tagged(attached_tag(DIGEST, "sig"))
    manifest = registry.manifest(tag)
    assert isinstance(manifest, ImageManifest)
    (layer,) = manifest.layers
    payload = json.loads(registry.blob(place.reference.repository, layer, 65536))
    assert payload["critical"]["identity"]["docker-reference"].endswith("/prod/api:v1")


# --- registries that take no bundles (Amazon ECR, containers-roadmap#2783)


def test_where_bundles_are_refused_the_tag_is_signed_and_a_warning_left(place: LocationKey) -> None:
    place.world.on("PUT", "/manifests/sha256:", error(405, "UNSUPPORTED"), times=99)

    for expected in (3, 0):
        signed = ensure_signed(
            client(place.world.host), KEY, place.reference, "v1", ANNOTATIONS, CHILDREN
        )
        (warning,) = signed.warnings

        assert signed.written == expected
        assert "refuses artifacts of type application/vnd.dev.sigstore.bundle" in warning
        assert warning.endswith("what is signed stands under its tag alone")
    result = verify_image(client(place.world.host), [KEY], place.reference, ANNOTATIONS)
    assert (result.tag_layout, result.bundle_layout) == (True, False)


def test_where_the_tag_is_refused_the_bundle_is_signed_and_a_warning_left(
    place: LocationKey,
) -> None:
    place.world.on("PUT", r"/manifests/sha256-.*\.sig", error(405, "UNSUPPORTED"), times=99)

    signed = ensure_signed(
        client(place.world.host), KEY, place.reference, "v1", ANNOTATIONS, CHILDREN
    )

    assert len(signed.warnings) == 3
    assert all("in a bundle alone" in warning for warning in signed.warnings)
    result = verify_image(client(place.world.host), [KEY], place.reference, ANNOTATIONS)
    assert (result.tag_layout, result.bundle_layout) == (False, True)


def test_where_both_layouts_are_refused_nothing_is_called_signed(place: LocationKey) -> None:
    place.world.on("PUT", "/manifests/sha256", error(405, "UNSUPPORTED"), times=99)

    with pytest.raises(NoLayoutError, match="405") as caught:
        place.sign()

    assert "sha256-*" not in str(caught.value)  # no rule of tags is in the way


# --- immutable tags (ECR IMMUTABLE, Harbor's rules)


def test_a_second_key_is_signed_beside_an_immutable_tag_of_the_first(place: LocationKey) -> None:
    place.world.immutable_tags = place.world.referrers_api = True
    place.sign(OTHER, children=[])

    signed = ensure_signed(client(place.world.host), KEY, place.reference, "v1", {}, [])

    first, *_ = signed.warnings
    assert "sha256-*" in first
    own = verify_image(client(place.world.host), [KEY], place.reference, {})
    theirs = verify_image(client(place.world.host), [OTHER], place.reference, {})
    assert (own.tag_layout, own.bundle_layout) == (False, True)
    assert theirs.complete


def test_where_tag_and_list_are_immutable_nothing_is_called_signed(place: LocationKey) -> None:
    place.world.immutable_tags, place.world.referrers_api = True, False
    place.sign(OTHER, children=[])

    with pytest.raises(NoLayoutError, match=r"leave out sha256-\*"):
        place.sign(children=[])


@pytest.mark.parametrize("status", [400, 403, 409, 412])
def test_the_registrys_way_to_say_immutable_does_not_matter(
    place: LocationKey, status: int
) -> None:
    place.sign(OTHER, children=[])
    say = f"tag of {status} is immutable and cannot be overwritten".encode()
    place.world.on("PUT", r"/manifests/sha256-.*\.sig", answer(status, say), times=99)

    signed = ensure_signed(client(place.world.host), KEY, place.reference, "v1", {}, [])

    (warning,) = signed.warnings
    assert "sha256-*" in warning
    assert verify_image(client(place.world.host), [KEY], place.reference, {}).bundle_layout


# --- several signers at once


def _on_each_look(place: LocationKey, act: Callable[[int], None]) -> None:
    """Something happens before the n-th look at the signature tag; a write is read once, too."""
    looks = itertools.count(1)
    place.world.on("GET", r"\.sig$", before(lambda: act(next(looks))), times=10**6)


def test_a_signature_that_somebody_overwrote_is_written_again(place: LocationKey) -> None:
    tag = attached_tag(DIGEST, "sig")
    tags = place.world.repository("prod/api").tags

    def overwrite(look: int) -> None:
        if look == 3:  # the last look, after ours was written and read again
            del tags[tag]

    _on_each_look(place, overwrite)
    place.sign(children=[])

    assert verify_image(client(place.world.host), [KEY], place.reference, ANNOTATIONS).complete


def test_a_signature_that_never_lasts_is_not_called_signed(place: LocationKey) -> None:
    tag = attached_tag(DIGEST, "sig")
    tags = place.world.repository("prod/api").tags

    def overwrite(look: int) -> None:
        if look % 2:  # whenever somebody looks, and not when a write is read again
            tags.pop(tag, None)

    _on_each_look(place, overwrite)

    with pytest.raises(LostSignatureError):
        place.sign(children=[])


def test_a_registry_that_does_not_list_what_it_took_leaves_a_warning(place: LocationKey) -> None:
    place.world.referrers_api = True
    nothing = b'{"schemaVersion": 2, "manifests": null}'
    listing = answer(200, nothing, {"Content-Type": OCI_INDEX})
    place.world.on("GET", "/referrers/", listing, times=10**6)

    signed = ensure_signed(client(place.world.host), KEY, place.reference, "v1", {}, [])

    (warning,) = signed.warnings
    assert "is not listed" in warning


@pytest.mark.parametrize("status", [500, 503])
def test_referrers_that_always_fail_do_not_keep_an_image_from_being_signed(
    place: LocationKey, status: int
) -> None:
    place.world.on("GET", "/referrers/", answer(status), times=10**6)

    place.sign(children=[])

    found = verify_image(client(place.world.host), [KEY], place.reference, ANNOTATIONS)
    assert found.tag_layout


def test_a_signature_that_both_layouts_took_warns_of_nothing(place: LocationKey) -> None:
    signed = ensure_signed(client(place.world.host), KEY, place.reference, "v1", {}, [])

    assert signed.warnings == ()
