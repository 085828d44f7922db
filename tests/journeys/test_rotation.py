"""Keys come and go; promotions come back: what signatures and attestations say then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bot.adapters.signing import load_public_key, load_signing_key
from bot.domain.oci import Digest, DigestReference, ImageRepository
from bot.formats.promotion_statement import PromotionStatement
from bot.signatures.promotion_attestation import attested_promotions
from bot.signatures.sign import ensure_signed, verify_image
from tests.journeys import walk
from tests.journeys.conftest import Raise
from tests.world.clients import client
from tests.world.keys import KeyFiles, generate_key_pair
from tests.world.stage import PASSWORD, Stage

FORGED = {"dev.lockkeeper/environment": "everywhere"}


@dataclass(frozen=True)
class Prod:
    """The walked stage, and its keys in prod."""

    walked: walk.Walked

    @property
    def stage(self) -> Stage:
        return self.walked.stage

    @property
    def reference(self) -> DigestReference:
        repository = ImageRepository(self.stage.hosts["prod"], "acme/payments")
        return repository.at(Digest(self.walked.image.digest))

    def rotate(self, role: str) -> KeyFiles:
        """The operator puts a new key in the first place and keeps the old one behind it."""
        folder = self.stage.directory / "grants" / "prod"
        for kind in ("key", "password"):
            if (folder / f"{role}.{kind}").exists():
                (folder / f"{role}.{kind}").rename(folder / f"{role}.1.{kind}")
        pair = generate_key_pair(cost=32768)
        (folder / f"{role}.key").write_bytes(pair.private)
        return pair

    def reseal(self) -> dict[str, object]:
        done = self.stage.bot.command("reseal", "prod", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer

    def is_signed_with(self, public: bytes) -> bool:
        key, registry = load_public_key(public, "k.pub"), client(self.reference.repository.host)
        return verify_image(registry, [key], self.reference, {}).complete

    def forge(self, name: str) -> None:
        """Somebody who stole a key signs what we never did."""
        content = (self.stage.directory / "grants" / "prod" / f"{name}.key").read_bytes()
        key = load_signing_key(content, name, PASSWORD)
        registry = client(self.reference.repository.host)
        ensure_signed(registry, key, self.reference, None, FORGED, [])

    def is_forged_with(self, public: bytes) -> bool:
        key, registry = load_public_key(public, "k.pub"), client(self.reference.repository.host)
        return verify_image(registry, [key], self.reference, FORGED).verified

    def promotions(self, public: bytes) -> list[PromotionStatement]:
        key, registry = load_public_key(public, "k.pub"), client(self.reference.repository.host)
        found = attested_promotions(registry, [key], self.reference)
        return [one.statement for one in found]

    def audit(self, kind: str) -> list[dict[str, str]]:
        lines = self.stage.bot.command("audit", "export").stdout.splitlines()
        return [one["facts"] for one in map(json.loads, lines) if one["kind"] == kind]


@pytest.fixture(scope="module")
def prod(raise_stage: Raise) -> Iterator[Prod]:
    with raise_stage() as stage:
        yield Prod(walk.to_prod(stage))


def test_the_attestation_tells_who_brought_it(prod: Prod) -> None:
    (story,) = prod.promotions(prod.stage.attestation_key)

    promotion = prod.walked.promotions["prod"]
    assert story.pull_request is not None
    assert (story.pull_request.repository, story.pull_request.number) == (
        "acme/deploy",
        promotion.number,
    )
    assert story.pull_request.merge_commit == promotion.merge_commit
    assert (story.pull_request.merged_by, story.pull_request.approved_by) == ("dana", ("rita",))
    assert (story.git.repository, story.git.commit) == ("acme/payments", prod.walked.commit)
    assert story.source is not None
    assert story.source.environment == "stage"
    assert story.target.environment == "prod"
    assert story.evidence == ()
    assert story.audit.sequence > 0


def test_every_signature_is_in_the_audit_once(prod: Prod) -> None:
    # The index and two platforms in two layouts, and one statement in two.
    entries = prod.audit("signed")

    assert len(entries) == 7
    assert len({entry["payload"] for entry in entries}) == 7
    attesting = load_public_key(prod.stage.attestation_key, "k").fingerprint
    assert sum(entry["key"] == attesting for entry in entries) == 1


def test_keys_are_rotated_without_a_gap(prod: Prod) -> None:
    old = prod.stage.public_key
    new, attest = prod.rotate("signing"), prod.rotate("attest")
    sealed = prod.audit("sealed")
    prod.stage.dana.push(prod.stage.manifests, "main", {"README.md": "look again"})
    walk.settled(prod.stage)
    assert prod.audit("sealed") == sealed  # the old signature still seals
    assert not prod.is_signed_with(new.public)
    prod.forge("signing.1")

    first, second = prod.reseal(), prod.reseal()

    assert (first["written"], second["written"]) == (8, 0)
    assert first["digests"] == [str(prod.reference)]
    assert first["left"] == []
    assert first["may_leave"] == [
        load_public_key(old, "k").fingerprint,
        load_public_key(prod.stage.attestation_key, "k").fingerprint,
    ]
    assert prod.is_signed_with(old)
    assert prod.is_signed_with(new.public)
    assert not prod.is_forged_with(new.public)
    assert prod.promotions(attest.public) == prod.promotions(prod.stage.attestation_key)
    assert len(prod.audit("signed")) == 14


def test_a_digest_that_comes_back_is_attested_again(prod: Prod) -> None:
    stage, first = prod.stage, prod.walked.image.digest
    key = (stage.directory / "grants" / "prod" / "attest.key").read_bytes()
    public = load_signing_key(key, "attest.key").public_key_pem
    before = prod.promotions(public)
    commit, image = walk.to_stage(stage, "v1.3.0")
    walk.release(stage, "v1.3.0")
    forward = walk.promotion(stage, "prod", image)
    stage.rita.approve(forward)
    stage.dana.merge(forward)
    stage.wait_published("prod", image.digest)

    text = stage.file(walk.head(stage), walk.overlay("prod"))
    stage.dana.push(
        stage.manifests, "back", {walk.overlay("prod"): text.replace(image.digest, first)}
    )
    back = stage.dana.open_pull_request(stage.manifests, "back", "main", title="Back to v1.2.0")
    stage.rita.approve(back)
    stage.dana.merge(back)
    stage.wait_published("prod", first)
    walk.settled(stage)

    promotions = prod.promotions(public)
    assert promotions[:-1] == before
    assert promotions[-1].pull_request is not None
    assert promotions[-1].pull_request.number == back.number
    assert promotions[-1].git.commit == prod.walked.commit != commit


def test_a_digest_that_is_pushed_back_is_not_published(prod: Prod) -> None:
    # It is sealed for prod, and still: nobody with authority asked for it again.
    stage = prod.stage
    shown = stage.published("prod") or ""
    history = stage.manifests.git.text("log", "--format=%H", "env/prod").split()
    texts = [stage.file(one, walk.overlay("prod")) for one in history]
    older = next(text for text in texts if "digest:" in text and shown not in text)

    pushed = stage.dana.push(stage.manifests, "main", {walk.overlay("prod"): older})

    said = walk.check(stage, pushed, "failure", "payments -> prod")
    walk.settled(stage)
    assert "pull request" in said
    assert stage.published("prod") == shown


def test_a_digest_that_only_moves_is_configuration(prod: Prod) -> None:
    stage, shown = prod.stage, prod.stage.published("prod") or ""
    path = walk.overlay("prod")
    text = stage.file(stage.ref("prod") or "", path)
    moved = path.replace("envs/prod/", "envs/prod/eu/")

    there = text.replace("../../base", "../../../base")
    stage.dana.push(stage.manifests, "main", {path: None, moved: there})

    def look() -> bool:
        names = stage.manifests.git.text("ls-tree", "-r", "--name-only", "env/prod")
        return moved in names.split()

    stage.eventually(look, f"{moved} on env/prod")
    assert shown in stage.file(stage.ref("prod") or "", moved)
