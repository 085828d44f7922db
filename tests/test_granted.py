"""Grants as the use cases see them: real key files, compared by fingerprint."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bot.adapters.clock import SystemClock
from bot.adapters.grants import Grants
from bot.adapters.journal import Journal
from bot.adapters.signing import load_public_key
from bot.assembly import Granted
from bot.domain.environments import GitHubRepository, ManifestsRepository
from bot.domain.grants import KeyRole
from bot.domain.jobs import DELIVERING, Share
from bot.facts.granted import refusals
from bot.formats.pipeline_file import read_pipeline
from tests.world.keys import KeyFiles, generate_key_pair

pytestmark = pytest.mark.slow

PIPELINE = """\
version: 1
environments:
  stage:
    on: { branches: [develop] }
    image_repository: stage.example.com/acme/{image}
    manifests: [envs/stage/**]
    sign: true
  prod:
    on: { branches: [main] }
    from: stage
    image_repository: prod.example.com/acme/{image}
    manifests: [envs/prod/**]
    sign: true
defaults: { source: acme/x }
applications: { x: {} }
"""
DEPLOY, OTHER = "acme/deploy", "other/deploy"
PAIRS = [generate_key_pair(cost=32768) for _ in range(6)]


@dataclass(frozen=True)
class Folder:
    """A grants folder for two tenants."""

    root: Path

    def of(self, place: str) -> Path:
        found = self.root / DEPLOY / place
        return found if "/" not in place else self.root / place

    def put(self, place: str, name: str, content: bytes) -> None:
        self.of(place).mkdir(parents=True, exist_ok=True)
        (self.of(place) / name).write_bytes(content)

    def granted(self) -> Granted:
        return Granted(Grants(self.root, [DEPLOY, OTHER]), SystemClock(), Journal())

    def stopped(self) -> dict[str, str]:
        """Environments and applications that may do nothing -> why."""
        pipeline = read_pipeline(PIPELINE, commit="0" * 40)
        repository = ManifestsRepository(GitHubRepository.parse(DEPLOY))
        found = refusals(self.granted(), repository, pipeline)
        return {one.member: str(one.error) for one in found}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    for number, environment in enumerate(("stage", "prod")):
        hosts = b'{"auths": {"stage.example.com": {}, "prod.example.com": {}}}'
        made.put(environment, "registry.json", hosts)
        made.put(environment, "signing.key", PAIRS[2 * number].private)
        made.put(environment, "attest.key", PAIRS[2 * number + 1].private)
    (tmp_path / DEPLOY / "sources").write_text("acme/*\n")
    yield made
    shutil.rmtree(tmp_path, ignore_errors=True)


def fingerprint(pair: KeyFiles) -> str:
    return load_public_key(pair.public, "k.pub").fingerprint


def ring(folder: Folder, role: KeyRole) -> tuple[list[str], list[str]]:
    found = folder.granted().keys(GitHubRepository.parse(DEPLOY), "prod", role)
    return [key.fingerprint for key in found.signers], [key.fingerprint for key in found.verifiers]


def test_four_keys_for_two_environments_are_right(folder: Folder) -> None:
    assert folder.stopped() == {}


def test_the_first_key_signs_and_all_verify(folder: Folder) -> None:
    folder.put("prod", "signing.1.key", PAIRS[4].private)
    folder.put("prod", "signing.2.pub", PAIRS[5].public)

    signers, verifiers = ring(folder, KeyRole.SIGNING)

    assert signers == [fingerprint(PAIRS[2]), fingerprint(PAIRS[4])]
    assert verifiers == [*signers, fingerprint(PAIRS[5])]
    assert folder.stopped() == {}


def test_an_environment_without_keys_has_an_empty_ring(folder: Folder) -> None:
    (folder.of("prod") / "attest.key").unlink()

    assert ring(folder, KeyRole.ATTESTATION) == ([], [])


@pytest.mark.parametrize("name", ["signing.key", "attest.key"])
def test_where_there_is_sign_both_keys_are_needed(folder: Folder, name: str) -> None:
    (folder.of("prod") / name).unlink()
    # The public half alone signs nothing.
    folder.put("prod", name.replace(".key", ".pub"), PAIRS[5].public)

    stopped = folder.stopped()

    assert list(stopped) == ["environment prod"]
    assert name in stopped["environment prod"]


@pytest.mark.parametrize(
    ("place", "name", "key"),
    [
        ("prod", "signing.9.pub", 3),  # prod's own attestation key
        ("prod", "attest.7.key", 0),  # stage's signing key
        ("other/deploy/prod", "signing.key", 2),  # another tenant
    ],
)
def test_one_public_key_in_two_places_is_refused(
    folder: Folder, place: str, name: str, key: int
) -> None:
    # Encrypted anew, renamed, or only the public half: it is the same key by its fingerprint.
    content = PAIRS[key].public if name.endswith("pub") else PAIRS[key].private
    folder.put(place, name, content)

    stopped = folder.stopped()

    assert set(stopped) == {"environment prod", *(["environment stage"] if key == 0 else [])}
    for words in stopped.values():
        assert "are one public key" in words
        assert name in words


def test_a_broken_key_of_somebody_else_stops_nobody(folder: Folder) -> None:
    folder.put("other/deploy/prod", "signing.key", b"rubbish")
    folder.put("other/deploy/prod", "attest.uri", b"hashivault://k?address=https://v.invalid")

    assert folder.stopped() == {}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("signing.key", b"rubbish"),
        ("attest.key", b" "),
        ("signing.wrong", b"k"),
        ("registry.json", b"{"),
        ("signing.password", b"not the password"),
    ],
)
def test_a_broken_grant_stops_its_environment_alone(
    folder: Folder, name: str, content: bytes
) -> None:
    if name == "signing.password":
        folder.put("prod", "signing.key", generate_key_pair(password=b"right", cost=32768).private)
    folder.put("prod", name, content)

    assert list(folder.stopped()) == ["environment prod"]


def test_what_cannot_be_read_hides_no_shared_key_of_others(folder: Folder) -> None:
    folder.put("prod", "signing.key", b"rubbish")
    folder.put("stage", "attest.1.pub", PAIRS[3].public)  # prod's key for attestations

    stopped = folder.stopped()

    assert "are one public key" in stopped["environment stage"]


def test_a_source_that_is_not_granted_stops_its_application_alone(folder: Folder) -> None:
    (folder.root / DEPLOY / "sources").write_text("other/*\n")

    assert list(folder.stopped()) == ["application x"]


def test_a_service_with_its_public_key_beside_it_is_compared_too(folder: Folder) -> None:
    folder.put("prod", "signing.4.uri", b"hashivault://k?address=https://vault.invalid\n")
    folder.put("prod", "signing.4.password", b"token\n")
    folder.put("prod", "signing.4.pub", PAIRS[0].public)

    assert "signing.4.uri of environment 'prod'" in folder.stopped()["environment prod"]


def test_a_public_half_of_another_key_is_refused(folder: Folder) -> None:
    folder.put("prod", "signing.pub", PAIRS[5].public)

    assert "of another key" in folder.stopped()["environment prod"]


def test_who_does_not_deliver_there_needs_public_keys_alone(folder: Folder) -> None:
    for number, name in enumerate(("signing", "attest"), start=2):
        (folder.of("prod") / f"{name}.key").unlink()
        folder.put("prod", f"{name}.pub", PAIRS[number].public)
    pipeline = read_pipeline(PIPELINE, commit="0" * 40)
    repository = ManifestsRepository(GitHubRepository.parse(DEPLOY))

    def stopped(share: Share) -> list[str]:
        grants = replace(folder.granted(), share=share)
        return [one.environment for one in refusals(grants, repository, pipeline)]

    assert stopped(Share()) == ["prod"]
    assert stopped(Share(environments=frozenset({"prod"}))) == []
    assert stopped(Share(DELIVERING, frozenset({"prod"}), only=True)) == ["prod"]
