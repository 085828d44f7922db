"""What hangs on an image: listing it, keeping lists, and what may travel."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bot.adapters.registry import Registry as Client
from bot.adapters.registry.referrers import LostUpdateError
from bot.adapters.signing import load_signing_key
from bot.domain.errors import RejectedError, UnavailableError
from bot.domain.images import (
    AccessoryPolicy,
    AnyManifest,
    CopyReport,
    Descriptor,
    ImageManifest,
    NewManifest,
    attached_tag,
)
from bot.domain.oci import OCI_INDEX, OCI_MANIFEST, Digest, ImageRepository
from bot.formats import sigstore_bundle, simple_signing
from bot.formats.image_manifest import EMPTY_CONFIG, empty_config, render_manifest
from bot.signatures.sign import ensure_signed, verify_image
from tests.world import registry as world
from tests.world.clients import client
from tests.world.images import build_image
from tests.world.keys import generate_key_pair
from tests.world.registry import Registry

IMAGE = build_image()
DIGEST = Digest(IMAGE.digest)
SUBJECT = Descriptor(OCI_INDEX, DIGEST, len(IMAGE.index))
KEY = load_signing_key(generate_key_pair().private, "key")
OUR_KEY = load_signing_key(generate_key_pair().private, "ours")


@pytest.fixture(params=[True, False], ids=["api", "tag"])
def source(request: pytest.FixtureRequest) -> Iterator[Registry]:
    with Registry(referrers_api=request.param) as registry:
        IMAGE.push(registry.host, "dev/api", "v1")
        yield registry


@pytest.fixture(params=[True, False], ids=["api", "tag"])
def target(request: pytest.FixtureRequest) -> Iterator[Registry]:
    with Registry(referrers_api=request.param) as registry:
        yield registry


def dev(registry: Registry) -> ImageRepository:
    return ImageRepository(registry.host, "dev/api")


def prod(registry: Registry) -> ImageRepository:
    return ImageRepository(registry.host, "prod/api")


def artifact(
    content: bytes,
    subject: Descriptor = SUBJECT,
    *,
    kind: str = "application/spdx+json",
    annotations: dict[str, str] | None = None,
    copies: int = 1,
) -> NewManifest:
    layer = Descriptor(kind, Digest.of(content), len(content))
    manifest = render_manifest(
        empty_config(),
        (layer,) * copies,
        subject=subject,
        artifact_type=kind,
        annotations=annotations,
    )
    return NewManifest(manifest, OCI_MANIFEST, (EMPTY_CONFIG, content))


def copied(source: Registry, target: Registry) -> CopyReport:
    policy = AccessoryPolicy(is_ours=OUR_KEY.verifies)
    return client(source.host, target.host).copy(
        dev(source).at(DIGEST), prod(target), accessories=policy
    )


def listed(registry: Client, repository: ImageRepository) -> set[Digest]:
    return {one.digest for one in registry.referrers(repository.at(DIGEST))}


# --- listing and attaching


def test_nothing_refers_to_a_new_image(source: Registry) -> None:
    assert client(source.host).referrers(dev(source).at(DIGEST)) == ()


def test_what_is_attached_is_listed_with_type_and_annotations(source: Registry) -> None:
    registry = client(source.host)
    sbom = artifact(b"sbom", annotations={"a": "b"})

    registry.attach(dev(source), sbom)

    (found,) = registry.referrers(dev(source).at(DIGEST))
    assert (found.digest, found.size) == (sbom.digest, len(sbom.content))
    assert (found.artifact_type, found.annotations) == ("application/spdx+json", {"a": "b"})


def test_attaching_twice_lists_once(source: Registry) -> None:
    registry = client(source.host)

    for _ in range(2):
        registry.attach(dev(source), artifact(b"sbom"))

    assert len(registry.referrers(dev(source).at(DIGEST))) == 1


def test_many_at_once_are_all_listed(source: Registry) -> None:
    manifests = [artifact(b"sbom %d" % number) for number in range(12)]

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda one: client(source.host).attach(dev(source), one), manifests))

    assert listed(client(source.host), dev(source)) == {one.digest for one in manifests}


def test_all_pages_are_read() -> None:
    with Registry(referrers_page=2) as registry:
        IMAGE.push(registry.host, "dev/api")
        for number in range(5):
            client(registry.host).attach(dev(registry), artifact(b"sbom %d" % number))

        assert len(client(registry.host).referrers(dev(registry).at(DIGEST))) == 5


def test_a_listing_that_fails_is_not_an_empty_one(source: Registry) -> None:
    source.on("GET", "/referrers/", world.answer(429), times=99)

    with pytest.raises(UnavailableError):
        client(source.host).referrers(dev(source).at(DIGEST))


def test_a_web_page_in_place_of_a_listing_means_there_is_no_api() -> None:
    with Registry(referrers_api=False) as registry:
        IMAGE.push(registry.host, "dev/api")
        client(registry.host).attach(dev(registry), artifact(b"sbom"))
        page = world.answer(200, b"<html>", {"Content-Type": "text/html"})
        registry.on("GET", "/referrers/", page)

        assert len(client(registry.host).referrers(dev(registry).at(DIGEST))) == 1


def test_an_overwritten_list_is_mended() -> None:
    with Registry(referrers_api=False) as registry:
        IMAGE.push(registry.host, "dev/api")
        ours = client(registry.host)
        tag = attached_tag(DIGEST, "")
        ours.attach(dev(registry), artifact(b"first"))
        old = registry.repository("dev/api").tags[tag]

        def overwrite() -> None:
            registry.repository("dev/api").tags[tag] = old

        # The look after our write finds what another process has put there meanwhile.
        registry.on("GET", f"/manifests/{tag}", lambda _: False)
        registry.on("GET", f"/manifests/{tag}", world.before(overwrite))
        ours.attach(dev(registry), artifact(b"second"))

        assert len(listed(client(registry.host), dev(registry))) == 2


def test_a_list_that_is_always_overwritten_is_reported() -> None:
    with Registry(referrers_api=False) as registry:
        IMAGE.push(registry.host, "dev/api")
        tag = attached_tag(DIGEST, "")
        client(registry.host).attach(dev(registry), artifact(b"theirs"))
        registry.on("PUT", f"/manifests/{tag}", world.answer(201), times=99)

        with pytest.raises(LostUpdateError, match=tag):
            client(registry.host).attach(dev(registry), artifact(b"first"))


def test_a_list_that_is_never_seen_is_not_visible_yet() -> None:
    with Registry(referrers_api=False) as registry:
        IMAGE.push(registry.host, "dev/api")
        registry.on("PUT", f"/manifests/{attached_tag(DIGEST, '')}", world.answer(201), times=99)

        with pytest.raises(UnavailableError, match="not visible yet"):
            client(registry.host).attach(dev(registry), artifact(b"first"))


def test_a_referrers_tag_that_holds_an_image_is_left_alone() -> None:
    with Registry(referrers_api=False) as registry:
        IMAGE.push(registry.host, "dev/api")
        child = build_image(["linux/amd64"])
        child.push(registry.host, "dev/api")
        repository = registry.repository("dev/api")
        tag = attached_tag(DIGEST, "")
        repository.tags[tag] = child.child_digests[0]

        with pytest.raises(RejectedError, match="remove that tag"):
            client(registry.host).attach(dev(registry), artifact(b"first"))

        assert repository.tags[tag] == child.child_digests[0]


def test_amending_ends_when_there_is_nothing_to_do(source: Registry) -> None:
    def nothing(_current: AnyManifest | None) -> NewManifest | None:
        return None

    assert not client(source.host).amend(dev(source).tagged("v1"), nothing)


# --- what travels


def test_sboms_and_foreign_signatures_travel(source: Registry, target: Registry) -> None:
    registry = client(source.host)
    sbom = artifact(b"sbom")
    registry.attach(dev(source), sbom)
    ensure_signed(registry, KEY, dev(source).at(DIGEST), "v1", {}, [])

    report = copied(source, target)

    assert report.left_behind == ()
    there = client(target.host)
    assert sbom.digest in listed(there, prod(target))
    assert len(listed(there, prod(target))) == 2
    payload = there.manifest(prod(target).tagged(attached_tag(DIGEST, "sig")))
    assert isinstance(payload, ImageManifest)
    assert len(payload.layers) == 1


def test_without_a_policy_nothing_travels(source: Registry, target: Registry) -> None:
    client(source.host).attach(dev(source), artifact(b"sbom"))

    report = client(source.host, target.host).copy(dev(source).at(DIGEST), prod(target))

    assert (report.accessories, report.left_behind) == ((), ())
    assert listed(client(target.host), prod(target)) == set()


def test_accessories_of_a_platform_travel_too(source: Registry, target: Registry) -> None:
    child = IMAGE.children["linux/arm64"]
    subject = Descriptor(OCI_MANIFEST, Digest.of(child), len(child))
    sbom = artifact(b"sbom", subject)
    client(source.host).attach(dev(source), sbom)

    assert sbom.digest in copied(source, target).accessories


def test_a_signature_on_an_sbom_travels_with_it(source: Registry, target: Registry) -> None:
    registry = client(source.host)
    sbom = artifact(b"sbom")
    on_top = artifact(b"note", Descriptor(OCI_MANIFEST, sbom.digest, len(sbom.content)))
    registry.attach(dev(source), sbom)
    registry.attach(dev(source), on_top)

    report = copied(source, target)

    assert set(report.accessories) == {sbom.digest, on_top.digest}


def test_nothing_that_our_keys_signed_travels(source: Registry, target: Registry) -> None:
    registry = client(source.host)
    ensure_signed(registry, OUR_KEY, dev(source).at(DIGEST), "v1", {}, [])

    report = copied(source, target)

    assert len(report.left_behind) == 2
    assert all("a key of ours" in left.reason for left in report.left_behind)
    result = verify_image(client(target.host), [OUR_KEY], prod(target).at(DIGEST), {})
    assert not result.verified


def test_our_signature_in_the_target_stays_beside_what_comes(
    source: Registry, target: Registry
) -> None:
    copied(source, target)
    ensure_signed(client(target.host), OUR_KEY, prod(target).at(DIGEST), "v1", {}, [])
    ensure_signed(client(source.host), KEY, dev(source).at(DIGEST), "v1", {}, [])

    copied(source, target)

    for key in (KEY, OUR_KEY):
        found = verify_image(
            client(target.host), [key], prod(target).at(DIGEST), {}, any_repository=True
        )
        assert found.bundle_layout
    tag = attached_tag(DIGEST, "sig")
    manifest = client(target.host).manifest(prod(target).tagged(tag))
    assert isinstance(manifest, ImageManifest)
    assert len(manifest.layers) == 2


def test_at_most_twenty_travel_and_the_rest_is_counted(source: Registry, target: Registry) -> None:
    registry = client(source.host)
    for number in range(23):
        registry.attach(dev(source), artifact(b"sbom %d" % number))

    report = copied(source, target)

    assert len(listed(client(target.host), prod(target))) == 20
    assert [left.reason for left in report.left_behind] == ["3 more than the 20 that travel"]


def flood(server: Registry, count: int, *, kind: str = "application/spdx+json") -> None:
    """So many referrers, put there without a request each."""
    here = server.repository("dev/api")
    entries = []
    for number in range(count):
        one = artifact(b"flood %d" % number, kind=kind)
        here.manifests[one.digest] = (OCI_MANIFEST, one.content)
        here.blobs |= {Digest.of(blob): blob for blob in one.blobs}
        here.subjects.setdefault(DIGEST, []).append(one.digest)
        entries.append({"mediaType": OCI_MANIFEST, "digest": one.digest, "size": len(one.content)})
    listing = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    content = json.dumps(listing).encode()
    here.manifests[Digest.of(content)] = (OCI_INDEX, content)
    here.tags[attached_tag(DIGEST, "")] = Digest.of(content)


def test_fifty_one_bundles_that_are_none_do_not_reach_the_target(
    source: Registry, target: Registry
) -> None:
    """Kyverno fails every verification of an image with one of them, or with 51 in all."""
    flood(source, 51, kind=sigstore_bundle.BUNDLE_TYPE)

    report = copied(source, target)

    assert listed(client(target.host), prod(target)) == set()
    assert len(report.left_behind) == 51
    assert DIGEST in target.repository("prod/api").manifests


def test_a_flood_costs_no_request_for_each(source: Registry, target: Registry) -> None:
    flood(source, 900)
    source.seen.clear()

    report = copied(source, target)

    assert len(listed(client(target.host), prod(target))) == 20
    assert [left.reason for left in report.left_behind] == ["880 more than the 20 that travel"]
    assert len(source.seen) < 300


def test_a_list_that_is_too_long_to_read_stays_behind_with_a_note(
    source: Registry, target: Registry
) -> None:
    flood(source, 1100)

    report = copied(source, target)

    (left,) = report.left_behind
    assert left.name == f"referrers of {DIGEST}"
    assert DIGEST in target.repository("prod/api").manifests


def test_a_list_that_never_ends_is_read_to_its_limit(target: Registry) -> None:
    with Registry(referrers_page=1) as endless:
        IMAGE.push(endless.host, "dev/api")
        client(endless.host).attach(dev(endless), artifact(b"one"))
        here = f"/v2/dev/api/referrers/{DIGEST}?start=0"
        again = {"Content-Type": OCI_INDEX, "Link": f'<{here}>; rel="next"'}
        page = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        endless.on(
            "GET", "/referrers/", world.answer(200, json.dumps(page).encode(), again), times=999
        )

        assert client(endless.host).referrers(dev(endless).at(DIGEST)) == ()
        assert len(endless.requests("GET", r"/referrers/.*\?start=0")) == 19

        copied(endless, target)

    assert DIGEST in target.repository("prod/api").manifests


def test_a_filter_that_a_registry_does_not_know_is_not_relied_on(source: Registry) -> None:
    """Nothing is asked to filter: a registry without it would list everything as ours."""
    client(source.host).attach(dev(source), artifact(b"sbom"))
    source.seen.clear()

    client(source.host).referrers(dev(source).at(DIGEST))

    assert all("artifactType" not in seen.path for seen in source.seen)


def test_an_accessory_that_the_target_refuses_stays_behind(
    source: Registry, target: Registry
) -> None:
    refused, taken = artifact(b"no"), artifact(b"yes")
    for one in (refused, taken):
        client(source.host).attach(dev(source), one)
    target.on("PUT", f"/manifests/{refused.digest}", world.error(405, "UNSUPPORTED"), times=9)

    report = copied(source, target)

    assert [left.name for left in report.left_behind] == [f"referrer {refused.digest}"]
    assert listed(client(target.host), prod(target)) == {taken.digest}


BUNDLE = sigstore_bundle.BUNDLE_TYPE
OTHER_STATEMENT = sigstore_bundle.render_statement(Digest("sha256:" + "1" * 64), "p", {})


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (artifact(b"rubbish", kind=BUNDLE), "not a bundle"),
        (artifact(b"rubbish", kind=BUNDLE, copies=2), "2 layers"),
        (
            artifact(
                sigstore_bundle.render_bundle(OTHER_STATEMENT, b"s", KEY.fingerprint), kind=BUNDLE
            ),
            "about another digest",
        ),
        (
            artifact(sigstore_bundle.render_bundle(b"x", b"s", KEY.fingerprint), kind=BUNDLE),
            "no in-toto statement",
        ),
        (artifact(b"x" * (16 * 2**20 + 1)), "larger than"),
    ],
    ids=["rubbish", "layers", "other-digest", "no-statement", "too-large"],
)
def test_what_is_not_well_formed_stays_behind(
    source: Registry, target: Registry, manifest: NewManifest, reason: str
) -> None:
    client(source.host).attach(dev(source), manifest)

    report = copied(source, target)

    (left,) = report.left_behind
    assert left.name == f"referrer {manifest.digest}"
    assert reason in left.reason
    assert listed(client(target.host), prod(target)) == set()
    assert DIGEST in target.repository("prod/api").manifests


def test_a_referrer_that_is_listed_and_gone_is_noted(source: Registry, target: Registry) -> None:
    sbom = artifact(b"sbom")
    client(source.host).attach(dev(source), sbom)
    source.on("GET", sbom.digest, world.error(404, "MANIFEST_UNKNOWN"), times=9)

    assert [left.reason for left in copied(source, target).left_behind] == [
        "it is listed and not there"
    ]


def test_referrers_in_a_circle_end() -> None:
    with Registry(referrers_api=False) as source, Registry() as target:
        IMAGE.push(source.host, "dev/api")
        registry = client(source.host)
        sbom = artifact(b"sbom")
        registry.attach(dev(source), sbom)
        # A list under the accessory's own tag that names the accessory itself.
        tag = attached_tag(sbom.digest, "")
        listing = source.repository("dev/api").tags[attached_tag(DIGEST, "")]
        source.repository("dev/api").tags[tag] = listing

        report = copied(source, target)

    assert report.accessories == (sbom.digest,)


def test_a_flood_of_signatures_does_not_travel(source: Registry, target: Registry) -> None:
    payload = simple_signing.render_payload(simple_signing.SimplePayload("r", DIGEST, {}))
    layers = tuple(
        simple_signing.signature_layer(payload, b"signature %d" % number) for number in range(1001)
    )
    new = simple_signing.with_layers(None, layers, (payload,))
    client(source.host).amend(
        dev(source).tagged(attached_tag(DIGEST, "sig")), lambda now: None if now else new
    )

    report = copied(source, target)

    manifest = client(target.host).manifest(prod(target).tagged(attached_tag(DIGEST, "sig")))
    assert isinstance(manifest, ImageManifest)
    assert len(manifest.layers) == 20
    assert report.left_behind[0].reason == "981 more than the 20 that travel"


def test_attestations_under_their_tag_travel_unless_they_are_ours(
    source: Registry, target: Registry
) -> None:
    statement = sigstore_bundle.render_statement(DIGEST, "https://spdx.dev/Document", {})
    message = sigstore_bundle.pre_authentication_encoding(sigstore_bundle.STATEMENT_TYPE, statement)
    envelopes = [
        json.dumps(
            {
                "payloadType": sigstore_bundle.STATEMENT_TYPE,
                "payload": base64.b64encode(statement).decode(),
                "signatures": [{"keyid": "", "sig": base64.b64encode(key.sign(message)).decode()}],
            }
        ).encode()
        for key in (KEY, OUR_KEY)
    ]
    layers = tuple(
        Descriptor(sigstore_bundle.ENVELOPE_TYPE, Digest.of(one), len(one)) for one in envelopes
    )
    new = simple_signing.with_layers(None, layers, tuple(envelopes))
    tag = attached_tag(DIGEST, "att")
    client(source.host).amend(dev(source).tagged(tag), lambda now: None if now else new)

    report = copied(source, target)

    manifest = client(target.host).manifest(prod(target).tagged(tag))
    assert isinstance(manifest, ImageManifest)
    assert [layer.digest for layer in manifest.layers] == [Digest.of(envelopes[0])]
    assert "a key of ours" in report.left_behind[0].reason


def test_an_sbom_under_its_tag_travels_once(source: Registry, target: Registry) -> None:
    tag = attached_tag(DIGEST, "sbom")
    plain = render_manifest(
        empty_config(), (Descriptor("text/spdx", Digest.of(b"sbom"), len(b"sbom")),)
    )
    new = NewManifest(plain, OCI_MANIFEST, (EMPTY_CONFIG, b"sbom"))
    client(source.host).amend(dev(source).tagged(tag), lambda now: None if now else new)

    first, second = copied(source, target), copied(source, target)

    assert first.accessories == (new.digest,)
    assert second.accessories == ()
    assert target.repository("prod/api").tags[tag] == new.digest


# --- a registry that fails, and one that is away


def _with_an_sbom(source: Registry) -> NewManifest:
    one = artifact(b"an sbom")
    client(source.host).attach(dev(source), one)
    return one


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_listing_that_always_fails_does_not_fail_the_image(status: int) -> None:
    with Registry() as source, Registry() as target:
        IMAGE.push(source.host, "dev/api", "v1")
        _with_an_sbom(source)
        source.on("GET", "/referrers/", world.answer(status), times=10**6)

        report = copied(source, target)

        assert DIGEST in target.repository("prod/api").manifests
        assert f"referrers of {DIGEST}" in {left.name for left in report.left_behind}


@pytest.mark.parametrize("status", [500, 503])
def test_an_outage_drops_nothing_that_hangs_on_the_image(status: int) -> None:
    """The listing fails because everything does: that is no finding about a signature."""
    with Registry() as source, Registry() as target:
        IMAGE.push(source.host, "dev/api", "v1")
        one = _with_an_sbom(source)

        def goes_away() -> None:
            for method in ("GET", "HEAD"):
                source.on(method, "/v2/", world.answer(status), times=10**6)

        target.on("PUT", f"/manifests/{DIGEST}", world.before(goes_away))
        source.on("GET", "/referrers/", world.answer(status), times=10**6)
        with pytest.raises(UnavailableError):
            copied(source, target)

        with Registry() as back:
            back.repositories = source.repositories
            copied(back, target)
        assert one.digest in target.repository("prod/api").manifests


@pytest.mark.parametrize("fault", [world.drop(), world.answer(429)], ids=["silent", "throttled"])
def test_a_registry_that_does_not_answer_or_throttles_says_nothing(fault: world.Fault) -> None:
    with Registry() as source, Registry() as target:
        IMAGE.push(source.host, "dev/api", "v1")
        _with_an_sbom(source)
        source.on("GET", "/referrers/", fault, times=10**6)

        with pytest.raises(UnavailableError):
            copied(source, target)


@pytest.mark.parametrize(
    "listing",
    [b"{}", b'{"schemaVersion": 2}', b'{"schemaVersion": 2, "manifests": null}'],
    ids=["nothing", "no list", "null"],
)
def test_a_registry_may_say_nothing_for_none(listing: bytes) -> None:
    with Registry() as registry:
        IMAGE.push(registry.host, "dev/api")
        registry.on("GET", "/referrers/", world.answer(200, listing, {"Content-Type": OCI_INDEX}))

        assert client(registry.host).referrers(dev(registry).at(DIGEST)) == ()
