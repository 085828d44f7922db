"""Statements that cosign made about an image, read under a key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.adapters.signing import load_public_key
from bot.cli.image import image
from bot.domain.oci import Digest, DigestReference, ImageRepository
from bot.domain.trust import KeyRoot
from bot.usecases.verify_source import Statements, Trust, statements
from tests.world.clients import client
from tests.world.images import build_image
from tests.world.keys import generate_key_pair
from tests.world.registry import Registry
from tests.world.tools import run

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
