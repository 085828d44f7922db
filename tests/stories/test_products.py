"""A promotion against registries as the products answer: copied, signed, attested, tagged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.adapters.registry import Registry as Client
from bot.adapters.signing import load_signing_key
from bot.domain.images import AccessoryPolicy, TagOutcome, TagTakenError
from bot.domain.oci import Digest, DigestReference, ImageRepository
from bot.signatures.copy import ensure_copied
from bot.signatures.envelopes import Said, ensure_in_both_layouts
from bot.signatures.sign import ensure_signed, verify_image
from tests.world.attaching import statement
from tests.world.clients import HandClock, granted
from tests.world.images import BuiltImage, build_image
from tests.world.keys import generate_key_pair
from tests.world.products import PRODUCTS, Product, product
from tests.world.registry import Registry

IMAGE, NEXT = build_image(), build_image(seed=2)
CI, OURS, ATTEST = (
    load_signing_key(generate_key_pair(cost=32768).private, name) for name in ("ci", "own", "att")
)
TYPE = "https://example.com/promotion/v1"


@pytest.fixture(params=sorted(PRODUCTS))
def target(request: pytest.FixtureRequest) -> Iterator[Product]:
    with product(request.param) as made:
        made.repositories.add("prod/api")
        yield made


@pytest.fixture
def source() -> Iterator[Registry]:
    with Registry() as ci:
        yield ci


def _client(ci: Registry, target: Product) -> Client:
    clock = HandClock()
    return Client(
        granted(ci.host, *target.hosts, auths=target.auths), clock=clock, sleep=clock.sleep
    )


def _built(ci: Registry, image: BuiltImage) -> DigestReference:
    """What CI has pushed and signed."""
    image.push(ci.host, "dev/api")
    reference = ImageRepository(ci.host, "dev/api").at(Digest(image.digest))
    clock = HandClock()
    registry = Client(granted(ci.host), clock=clock, sleep=clock.sleep)
    ensure_signed(registry, CI, reference, None, {}, [])
    return reference


def _promoted(
    registry: Client, built: DigestReference, target: Product, image: BuiltImage, tag: str
) -> tuple[str, ...]:
    """The steps of a delivery, in its order; what the registry would not take."""
    prod = ImageRepository(target.registry.host, "prod/api")
    report, back = ensure_copied(registry, built, prod)
    children = [Digest(child) for child in image.child_digests]
    signed = ensure_signed(registry, OURS, report.target, tag, {}, children)
    said = Said(statement(report.target.digest, TYPE, {}), TYPE)
    attested = ensure_in_both_layouts(registry, ATTEST, report.target, said)
    registry.copy(built, prod, accessories=AccessoryPolicy())
    registry.tag(report.target, tag, move=False)
    assert back.blobs == len(image.blobs)
    return (*signed.warnings, *attested.warnings)


def test_a_promotion_ends_signed_attested_and_tagged(source: Registry, target: Product) -> None:
    built = _built(source, IMAGE)
    registry = _client(source, target)

    warnings = _promoted(registry, built, target, IMAGE, "v1")

    fresh = _client(source, target)
    prod = ImageRepository(target.registry.host, "prod/api")
    assert fresh.resolve(prod.tagged("v1")) == built.digest
    for digest in (built.digest, *map(Digest, IMAGE.child_digests)):
        found = verify_image(fresh, [OURS], prod.at(digest), {})
        assert found.verified
        assert found.bundle_layout is target.lists_bundles
        assert warnings or found.complete


def test_the_same_promotion_again_changes_nothing(source: Registry, target: Product) -> None:
    built = _built(source, IMAGE)
    _promoted(_client(source, target), built, target, IMAGE, "v1")
    here = target.registry.repository("prod/api")
    before = (dict(here.manifests), dict(here.tags))

    _promoted(_client(source, target), built, target, IMAGE, "v1")

    assert (here.manifests, here.tags) == before


def test_the_next_release_follows(source: Registry, target: Product) -> None:
    registry = _client(source, target)
    _promoted(registry, _built(source, IMAGE), target, IMAGE, "v1")
    built = _built(source, NEXT)

    _promoted(registry, built, target, NEXT, "v2")

    prod = ImageRepository(target.registry.host, "prod/api")
    assert verify_image(_client(source, target), [OURS], prod.at(built.digest), {}).verified
    with pytest.raises(TagTakenError):
        registry.tag(prod.at(built.digest), "v1", move=False)
    assert registry.tag(prod.at(built.digest), "v2", move=False) is TagOutcome.UNCHANGED
