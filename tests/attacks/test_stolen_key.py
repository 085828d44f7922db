"""Who has stolen a signing key: what it signs about our images is named by whoever looks."""

from __future__ import annotations

import json

from click.testing import CliRunner

from bot.cli.main import lockkeeper
from bot.domain.grants import KeyRole
from bot.domain.oci import Digest, ImageRepository
from bot.formats.promotion_statement import PREDICATE_TYPE
from bot.signatures.envelopes import Said, ensure_bundled
from bot.signatures.sign import ensure_payload
from tests.attacks.steps import settle, to_prod
from tests.world.driver import Driver


def test_a_signature_that_is_gone_is_named(driver: Driver) -> None:
    to_prod(driver)
    settle(driver)
    elsewhere = dict(next(e for e in driver.ports.audit.entries() if e.kind == "signed").facts)
    elsewhere["payload"] = Digest.of(b"never written")
    driver.ports.audit.append("signed", driver.look().scope("prod"), elsewhere)

    code, found = verified(driver)

    assert (code, len(found)) == (1, 1)
    assert "what it signed is not at" in found[0]


def verified(driver: Driver) -> tuple[int, list[str]]:
    """What `lockkeeper audit verify --registries` says."""
    stage = driver.stage
    own = {k: v for k, v in stage.bot.environment.items() if k.startswith("LOCKKEEPER_")}
    done = CliRunner(env=own).invoke(lockkeeper, ["audit", "verify", "--registries", "--json"])
    assert done.exit_code in {0, 1}, done.output
    return done.exit_code, json.loads(done.stdout)["mismatches"]


def test_what_a_stolen_key_signs_is_named(driver: Driver) -> None:
    digest = to_prod(driver)
    settle(driver)
    assert verified(driver) == (0, [])
    view = driver.look()
    prod = view.environment("prod")
    registry = view.registry(prod)
    repository = ImageRepository.parse(f"{driver.stage.hosts['prod']}/acme/payments")
    reference = repository.at(Digest(digest))

    signer = view.ports.grants.keys(view.repository, "prod", KeyRole.SIGNING).signers[0]
    ensure_payload(registry, signer, reference, b'{"critical": {}, "optional": {"by": "a thief"}}')
    code, found = verified(driver)
    assert (code, len(found)) == (1, 1)
    assert "is signed by our key, and no audit entry explains it" in found[0]

    attester = view.ports.grants.keys(view.repository, "prod", KeyRole.ATTESTATION).signers[0]
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": str(repository), "digest": {"sha256": digest[7:]}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {},
    }
    said = Said(json.dumps(statement).encode(), PREDICATE_TYPE)
    ensure_bundled(registry, attester, reference, said)
    assert len(verified(driver)[1]) == 2
