"""``lockkeeper image passport`` and ``image policy``, as a person runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.adapters.signing import load_signing_key
from bot.cli import verification
from bot.cli.image import image
from bot.domain.oci import Digest, ImageRepository
from bot.formats import verification_policy
from bot.formats.promotion_statement import (
    AuditHead,
    EvidenceEntry,
    MergedPullRequest,
    PromotionStatement,
    SourceCommit,
    Standing,
)
from bot.signatures.promotion_attestation import ensure_attested
from tests.world.clients import client
from tests.world.images import build_image
from tests.world.keys import generate_key_pair
from tests.world.registry import Registry
from tests.world.softhsm import PIN, softhsm
from tests.world.tools import attempt

IMAGE = build_image()
SIGNING, ATTEST = (generate_key_pair(cost=32768) for _ in range(2))


def lockkeeper(*words: str, environment: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(image, words, env=environment)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as world:
        IMAGE.push(world.host, "prod/api", "v1")
        yield world


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    (tmp_path / "attest.pub").write_bytes(ATTEST.public)
    (tmp_path / "prod.pub").write_bytes(SIGNING.public)
    return tmp_path


def attest(world: Registry) -> None:
    key = load_signing_key(ATTEST.private, "attest.key")
    repository = ImageRepository(world.host, "prod/api")
    statement = PromotionStatement(
        digest=Digest(IMAGE.digest),
        promotion="1/prod/api/" + "b" * 40,
        source=Standing("stage.example.com/acme/api", "stage", ""),
        target=Standing(str(repository), "prod", "v1"),
        git=SourceCommit("acme/api", "c" * 40, "main"),
        pull_request=MergedPullRequest("acme/deploy", 7, "b" * 40, "da\x1b[31mna", ("rita",)),
        evidence=(EvidenceEntry("https://cyclonedx.org/bom", "sha256:x", verified=True),),
        builder="https://lockkeeper.dev/lockkeeper",
        version="0.1.0",
        at=datetime(2026, 11, 20, 12, 0, tzinfo=UTC),
        audit=AuditHead(41, "e" * 64),
    )
    ensure_attested(client(world.host), key, [key], statement)


# --- passport


def test_the_passport_tells_the_story(registry: Registry, keys: Path) -> None:
    attest(registry)

    done = lockkeeper("passport", f"{registry.host}/prod/api:v1", "--key", f"{keys}/attest.pub")

    assert done.exit_code == 0
    words = done.stdout
    assert "2026-11-20 12:00 UTC: promoted to prod" in words
    assert "from stage.example.com/acme/api (stage)" in words
    assert f"built from commit {'c' * 40} of acme/api, asked for by branch main" in words
    assert "acme/deploy#7, merged by da?[31mna as bbbbbbbbbbbb, approved by rita" in words
    assert "evidence: verified https://cyclonedx.org/bom" in words
    assert "after audit entry 41" in words


def test_the_passport_as_json(registry: Registry, keys: Path) -> None:
    attest(registry)
    reference = f"{registry.host}/prod/api@{IMAGE.digest}"

    done = lockkeeper("passport", reference, "--key", f"{keys}/attest.pub", "--json")

    facts = json.loads(done.stdout)
    assert facts["reference"] == reference
    (promotion,) = facts["promotions"]
    assert promotion["pull_request"]["approved_by"] == ["rita"]
    assert promotion["at"] == "2026-11-20T12:00:00+00:00"
    key = load_signing_key(ATTEST.private, "attest.key")
    assert promotion["attested_by"] == key.fingerprint


def test_an_image_that_nobody_attests_has_no_passport(registry: Registry, keys: Path) -> None:
    attest(registry)

    done = lockkeeper("passport", f"{registry.host}/prod/api:v1", "--key", f"{keys}/prod.pub")

    assert done.exit_code == 1
    assert "no promotion that these keys attest" in done.stdout


# --- sign with a key that stays where it is


@pytest.mark.parametrize("version", [2, 3])
def test_cosign_accepts_what_a_token_signed(registry: Registry, keys: Path, version: int) -> None:
    token = softhsm()
    label = f"cli{version}"
    token.generate(label, 40 + version)
    (keys / "pin").write_text(PIN + "\n")
    reference = f"{registry.host}/prod/api:v1"

    done = lockkeeper(
        "sign", reference, "--key", token.uri(label), "--password-file", f"{keys}/pin", "--json"
    )

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["written"] == 6
    (keys / "hsm.pub").write_bytes(token.public_key(label))
    flags = [f"--key={keys}/hsm.pub", "--insecure-ignore-tlog=true", reference]
    assert attempt(f"cosign{version}", "verify", *flags).returncode == 0
    assert lockkeeper("verify", reference, "--key", f"{keys}/hsm.pub").exit_code == 0


def test_a_pin_in_the_uri_is_refused_before_anybody_is_asked(registry: Registry) -> None:
    uri = "pkcs11:object=k?module-path=/m.so&pin-value=planted"

    done = lockkeeper("sign", f"{registry.host}/prod/api:v1", "--key", uri)

    assert done.exit_code == 2
    assert "--password-file" in done.output
    assert "planted" not in done.output


def test_a_key_that_is_neither_file_nor_uri_is_wrong_usage(registry: Registry) -> None:
    done = lockkeeper("sign", f"{registry.host}/prod/api:v1", "--key", "nowhere.key")

    assert done.exit_code == 2


# --- policy


def test_the_verifiers_are_those_that_are_rendered() -> None:
    assert set(verification.VERIFIERS) == set(verification_policy.VERIFIERS)


def test_a_policy_from_a_key_and_a_repository(keys: Path) -> None:
    words = ("policy", "--for", "kyverno", "--key", f"{keys}/prod.pub")

    done = lockkeeper(*words, "--repository", "prod.example.com/acme/*")

    assert done.exit_code == 0
    assert "prod.example.com/acme/*" in done.stdout
    assert SIGNING.public.decode().splitlines()[1] in done.stdout


@pytest.mark.parametrize("verifier", verification.VERIFIERS)
def test_a_policy_from_the_grant_and_the_pipeline_file(keys: Path, verifier: str) -> None:
    grant = keys / "grants" / "prod"
    grant.mkdir(parents=True)
    (grant / "signing.key").write_bytes(SIGNING.private)
    (grant / "signing.1.pub").write_bytes(ATTEST.public)
    (keys / "lockkeeper.yaml").write_text(
        "version: 1\nenvironments:\n  prod:\n    on: {branches: [main]}\n"
        "    image_repository: prod.example.com/acme/{image}\n    manifests: [prod/**]\n"
        "applications: {api: {source: acme/api}}\n"
    )
    settings = {
        "LOCKKEEPER_GRANTS_DIR": str(keys / "grants"),
        "LOCKKEEPER_MANIFESTS": "acme/deploy",
    }
    words = ("policy", "--for", verifier, "prod", "--config", f"{keys}/lockkeeper.yaml")

    done = lockkeeper(*words, environment=settings)

    assert done.exit_code == 0, done.output
    assert "prod.example.com/acme/api" in done.stdout
    assert "PRIVATE" not in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("--for", "kyverno"),
        ("--for", "kyverno", "prod"),
        ("--for", "somebody", "prod", "--repository", "r.example.com/a"),
        ("--for", "kyverno", "prod", "--repository", "*"),
    ],
)
def test_a_policy_needs_keys_and_repositories(words: tuple[str, ...]) -> None:
    settings = {"LOCKKEEPER_MANIFESTS": "acme/deploy"}

    assert lockkeeper("policy", *words, environment=settings).exit_code == 2
