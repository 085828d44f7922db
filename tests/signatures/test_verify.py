"""Statements that cosign made about an image, read under a key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.adapters.signing import load_public_key
from bot.cli.image import image
from bot.domain.oci import Digest, DigestReference, ImageRepository
from bot.domain.trust import KeyRoot
from bot.signatures.verify import Statements, Trust, statements
from tests.world.attaching import attach, provenance, statement
from tests.world.clients import client
from tests.world.images import build_image
from tests.world.keys import generate_key_pair
from tests.world.registry import Registry
from tests.world.sigstore import CLAIMS, COMMIT, ISSUER, sigstore, token
from tests.world.tools import attempt, run

pytestmark = pytest.mark.slow

IMAGE = build_image()
PAIR, OTHER = (generate_key_pair(cost=32768) for _ in range(2))
PROVENANCE = "https://slsa.dev/provenance"
PREDICATE = {"buildDefinition": {"buildType": "x"}, "runDetails": {"builder": {"id": "ci"}}}


@dataclass(frozen=True)
class Attested:
    """An image with provenance by cosign."""

    reference: DigestReference
    directory: Path

    def found(self, public: bytes, wanted: str = PROVENANCE) -> Statements:
        trust = Trust(None, {"ci.pub": [load_public_key(public, "ci.pub")]})
        registry = client(self.reference.repository.host)
        return statements(registry, self.reference, [KeyRoot("ci.pub")], trust, wanted)


@pytest.fixture(params=[2, 3], ids=["att", "bundle"])
def attested(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Attested]:
    (tmp_path / "ci.key").write_bytes(PAIR.private)
    (tmp_path / "ci.pub").write_bytes(PAIR.public)
    (tmp_path / "other.pub").write_bytes(OTHER.public)
    (tmp_path / "provenance.json").write_text(json.dumps(PREDICATE))
    with Registry() as world:
        IMAGE.push(world.host, "dev/api", "v1")
        reference = ImageRepository(world.host, "dev/api").at(Digest(IMAGE.digest))
        # Without signing services; version 3 needs a configuration that names none.
        (tmp_path / "none.json").write_text(
            '{"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",'
            ' "rekorTlogConfig": {}, "tsaConfig": {}}'
        )
        quiet = (
            ["--tlog-upload=false"]
            if request.param == 2
            else [f"--signing-config={tmp_path}/none.json"]
        )
        run(
            f"cosign{request.param}",
            "attest",
            f"--key={tmp_path}/ci.key",
            "--type=slsaprovenance1",
            f"--predicate={tmp_path}/provenance.json",
            "--yes",
            *quiet,
            str(reference),
            environment={"COSIGN_PASSWORD": ""},
        )
        yield Attested(reference, tmp_path)


def test_what_the_key_attests_is_found(attested: Attested) -> None:
    (statement,) = attested.found(PAIR.public).verified

    assert statement.by == "the key ci.pub"
    assert statement.predicate_type == f"{PROVENANCE}/v1"
    assert json.loads(statement.payload)["predicate"]["runDetails"]["builder"]["id"] == "ci"


def test_another_key_vouches_for_nothing(attested: Attested) -> None:
    found = attested.found(OTHER.public)

    assert found.verified == ()
    assert [one.reason for one in found.refused] == ["it is not signed with the key ci.pub"]


@pytest.mark.parametrize(
    "wanted", ["https://spdx.dev/Document", f"{PROVENANCE}/v0.2", "https://slsa.dev/prov"]
)
def test_another_type_is_not_what_was_asked_for(attested: Attested, wanted: str) -> None:
    assert attested.found(PAIR.public, wanted) == Statements((), ())


def test_the_command_says_so(attested: Attested) -> None:
    words = ["verify", str(attested.reference), "--type", PROVENANCE]

    right = CliRunner().invoke(image, [*words, f"--key={attested.directory}/ci.pub", "--json"])
    wrong = CliRunner().invoke(image, [*words, f"--key={attested.directory}/other.pub"])

    assert right.exit_code == 0, right.output
    assert json.loads(right.stdout)["predicate_types"] == [f"{PROVENANCE}/v1"]
    assert wrong.exit_code == 1
    assert "not attested" in wrong.stdout


# --- without keys: cosign 3 signs at a local sigstore


@dataclass(frozen=True)
class Keyless:
    """An image that a workflow signs."""

    reference: DigestReference
    directory: Path

    def cosign(self, verb: str, *arguments: str, claims: dict[str, str] | None = None) -> None:
        run(
            "cosign3",
            verb,
            f"--signing-config={self.directory}/signing_config.json",
            f"--trusted-root={self.directory}/trusted_root.json",
            f"--identity-token={token(claims)}",
            "--yes",
            *arguments,
            str(self.reference),
            environment={"HOME": str(self.directory)},
        )

    def attest(self, claims: dict[str, str] | None = None) -> None:
        predicate = self.directory / "provenance.json"
        predicate.write_text(json.dumps(provenance()))
        self.cosign("attest", "--type=slsaprovenance1", f"--predicate={predicate}", claims=claims)

    def lockkeeper(self, *words: str) -> Result:
        root = f"--trusted-root={self.directory}/trusted_root.json"
        identity = ["--repository=acme/api", "--repository-id=4711", root]
        return CliRunner().invoke(image, ["verify", str(self.reference), *identity, *words])


@pytest.fixture
def keyless(tmp_path: Path) -> Iterator[Keyless]:
    services = sigstore()
    (tmp_path / "trusted_root.json").write_bytes(services.trusted_root)
    (tmp_path / "signing_config.json").write_text(json.dumps(services.signing_config))
    with Registry() as world:
        IMAGE.push(world.host, "dev/api", "v1")
        yield Keyless(ImageRepository(world.host, "dev/api").at(Digest(IMAGE.digest)), tmp_path)


def test_what_a_workflow_attests_with_cosign_is_found(keyless: Keyless) -> None:
    keyless.attest()

    done = keyless.lockkeeper("--type", PROVENANCE, "--commit", COMMIT, "--json")

    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["predicate_types"] == [f"{PROVENANCE}/v1"]
    assert found["by"] == [CLAIMS["identity"]]


def test_what_a_workflow_signs_with_cosign_is_signed(keyless: Keyless) -> None:
    before = keyless.lockkeeper()
    keyless.cosign("sign")

    after = keyless.lockkeeper("--workflow", ".github/workflows/release.yml", "--github-hosted")

    assert before.exit_code == 1
    assert after.exit_code == 0, after.output
    assert f"verified, by {CLAIMS['identity']}" in after.stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--ref=release/*"], "on refs/heads/main, not on refs/heads/release/*"),
        (["--commit", "d" * 40], f"about commit {COMMIT}, not {'d' * 40}"),
        (["--workflow=.github/workflows/x.yml"], "not by https://github.com/acme/api/.github/work"),
        (["--issuer=https://other.example.com"], "not by https://other.example.com"),
        (["--repository-id=1"], "has the id 4711, not 1"),
    ],
    ids=lambda value: value[0].partition("=")[0] if isinstance(value, list) else "",
)
def test_whatever_differs_is_said(keyless: Keyless, words: list[str], why: str) -> None:
    keyless.cosign("sign")

    done = keyless.lockkeeper(*words)

    assert done.exit_code == 1
    assert "not signed by it" in done.stdout
    assert why in done.stderr


def test_cosign_reads_what_sigstore_python_signed(keyless: Keyless) -> None:
    attach(
        keyless.reference,
        sigstore().attest(statement(IMAGE.digest, f"{PROVENANCE}/v1", provenance())),
        annotations={"dev.sigstore.bundle.predicateType": f"{PROVENANCE}/v1"},
    )

    done = attempt(
        "cosign3",
        "verify-attestation",
        f"--trusted-root={keyless.directory}/trusted_root.json",
        f"--certificate-identity={CLAIMS['identity']}",
        f"--certificate-oidc-issuer={ISSUER}",
        "--type=slsaprovenance1",
        str(keyless.reference),
        environment={"HOME": str(keyless.directory)},
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--key=ci.pub", "--repository=acme/api"],
        ["--repository=acme/api"],
        ["--repository=acme/api", "--repository-id=1", "-a", "a=b"],
    ],
    ids=["nobody", "both", "no-id", "annotation"],
)
def test_who_counts_must_be_said(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "ci.pub").write_bytes(PAIR.public)
    given = [word.replace("ci.pub", str(tmp_path / "ci.pub")) for word in words]

    done = CliRunner().invoke(image, ["verify", "localhost:1/a:b", *given])

    assert done.exit_code == 2
