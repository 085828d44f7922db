"""A promotion into each product's registry, to the environment ref: signed, attested, published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.adapters.registry import Registry as Client
from bot.adapters.signing import load_public_key
from bot.domain.jobs import Done
from bot.domain.oci import Digest, ImageRepository
from bot.signatures.promotion_attestation import attested_promotions
from bot.signatures.sign import verify_image
from tests.world.clients import HandClock, granted
from tests.world.driver import Driver, driven
from tests.world.products import PRODUCTS, Product, product
from tests.world.registry import Registry
from tests.world.stage import PIPELINE

pytestmark = pytest.mark.slow

STRAIGHT = PIPELINE.replace("from: stage", "from: dev")
"""From dev to prod, which signs."""


@dataclass(frozen=True)
class Scene:
    driver: Driver
    prod: Product

    @property
    def repository(self) -> ImageRepository:
        return ImageRepository(self.prod.registry.host, "acme/payments")

    def client(self) -> Client:
        clock = HandClock()
        grant = granted(*self.prod.hosts, auths=self.prod.auths)
        return Client(grant, clock=clock, sleep=clock.sleep)


@pytest.fixture(params=sorted(PRODUCTS))
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        made = stack.enter_context(product(request.param))
        made.repositories.add("acme/payments")
        hosts = {name: stack.enter_context(Registry()).host for name in ("dev", "stage")}
        hosts["prod"] = made.registry.host
        driver = stack.enter_context(driven(tmp_path, pipeline=STRAIGHT, hosts=hosts))
        document = {
            "auths": {hosts["dev"]: {}, **made.auths},
            "hosts": {host: {} for host in made.hosts},
        }
        (tmp_path / "grants" / "prod" / "registry.json").write_text(json.dumps(document))
        driver.look_first()
        yield Scene(driver, made)


def promoted(scene: Scene) -> str:
    """Built, promoted to dev, then merged to prod; the digest."""
    driver, stage = scene.driver, scene.driver.stage
    commit = stage.commit("develop")
    digest = driver.build(stage.source, commit)
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.source, "main", parent=commit)
    driver.run(driver.propose("prod"))
    pull = stage.open_promotion("prod")
    assert pull is not None, driver.ran[-5:]
    stage.rita.approve(pull)
    stage.dana.merge(pull)
    driver.run(driver.deliver("prod"), driver.publish("prod"))
    return digest


def test_promotions_into_the_product_end_signed_attested_and_published(scene: Scene) -> None:
    promoted(scene)
    digest = promoted(scene)

    driver = scene.driver
    assert driver.shown("prod") == digest, driver.ran[-2:]
    reader, reference = scene.client(), scene.repository.at(Digest(digest))
    signing = load_public_key(driver.stage.public_key, "prod")
    attesting = load_public_key(driver.stage.attestation_key, "prod")
    for one in (reference.digest, *reader.describe(reference).instances):
        assert verify_image(reader, [signing], scene.repository.at(one), {}).verified
    (attested,) = attested_promotions(reader, [attesting], reference)
    assert attested.statement.target.environment == "prod"

    here = scene.prod.registry.repository("acme/payments")
    before = (dict(here.manifests), dict(here.tags))
    driver.run(driver.deliver("prod"), driver.publish("prod"))
    assert (here.manifests, here.tags) == before
    assert all(isinstance(outcome, Done) for _, outcome in driver.ran[-2:])
