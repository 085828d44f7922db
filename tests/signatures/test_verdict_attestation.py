"""Verdicts that pass, in real registries, judged by cosign 2 and 3."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from bot.adapters.signing import load_signing_key
from bot.domain.assessment import Assessment
from bot.domain.images import Descriptor
from bot.domain.oci import OCI_INDEX, Digest, DigestReference, ImageRepository
from bot.domain.policy import Result
from bot.formats import sigstore_bundle
from bot.formats.verdict_statement import (
    SVR_TYPE,
    VULN_TYPE,
    PolicyDocument,
    VerdictStatement,
    render_verdict,
)
from bot.ports.keys import KeyRing
from bot.signatures.promotion_attestation import Attestation
from bot.signatures.sign import ensure_signed
from bot.signatures.verdict_attestation import (
    Judged,
    attest_verdict,
    attest_vulnerabilities,
    attested_verdicts,
)
from tests.evidence_bodies import CAME, KEPT, scanned
from tests.world.clients import client
from tests.world.images import build_image
from tests.world.keys import generate_key_pair
from tests.world.tools import attempt, run_registry

pytestmark = pytest.mark.slow

IMAGE = build_image()
DIGEST = Digest(IMAGE.digest)
PAIRS = {name: generate_key_pair(cost=32768) for name in ("signing", "attest", "other")}
KEYS = {name: load_signing_key(pair.private, name) for name, pair in PAIRS.items()}
RING = KeyRing((KEYS["attest"],), (KEYS["attest"],))
POLICY = PolicyDocument(
    "git+https://github.com/acme/deploy@" + "c" * 40 + "#policy.yaml", Digest("sha256:" + "d" * 64)
)
JUDGED = Judged("1/stage/api/" + "b" * 40, (POLICY,), "0.1.0")


def warned() -> Assessment:
    judged = KEPT["clean"]()
    first, *rest = judged.verdict.checks
    checks = (replace(first, result=Result.WARN), *rest)
    return replace(judged, verdict=replace(judged.verdict, result=Result.WARN, checks=checks))


@dataclass(frozen=True)
class LocationKey:
    """An image in a real registry, and files for cosign."""

    host: str
    directory: Path

    @property
    def reference(self) -> DigestReference:
        return ImageRepository(self.host, "stage/api").at(DIGEST)

    def attest(
        self, judged: Assessment | None = None, about: Judged = JUDGED, ring: KeyRing = RING
    ) -> Attestation | None:
        found = judged or KEPT["clean"]()
        return attest_verdict(client(self.host), ring, self.reference, found, about)

    def written(self, judged: Assessment | None = None, about: Judged = JUDGED) -> int:
        done = self.attest(judged, about)
        return done.written if done else -1

    def found(self) -> tuple[VerdictStatement, ...]:
        return attested_verdicts(client(self.host), [KEYS["attest"]], self.reference)

    def attach(self, statement: bytes, key: str) -> None:
        message = sigstore_bundle.pre_authentication_encoding(
            sigstore_bundle.STATEMENT_TYPE, statement
        )
        signature = KEYS[key].sign(message)
        bundle = sigstore_bundle.render_bundle(statement, signature, KEYS[key].fingerprint)
        subject = Descriptor(OCI_INDEX, DIGEST, len(IMAGE.index))
        manifest = sigstore_bundle.bundle_manifest(bundle, SVR_TYPE, subject, "")
        client(self.host).attach(self.reference.repository, manifest)

    def cosign(self, version: int, verb: str, key: str, *extra: str) -> CompletedProcess[str]:
        (self.directory / f"{key}.pub").write_bytes(PAIRS[key].public)
        return attempt(
            f"cosign{version}",
            verb,
            f"--key={self.directory}/{key}.pub",
            "--insecure-ignore-tlog=true",
            *extra,
            str(self.reference),
        )


@pytest.fixture(params=["registry", "olareg"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocationKey]:
    with run_registry(request.param, tmp_path / "content") as host:
        IMAGE.push(host, "stage/api", "v1")
        yield LocationKey(host, tmp_path)


@pytest.mark.parametrize("version", [2, 3])
def test_cosign_accepts_the_verdict(place: LocationKey, version: int) -> None:
    place.attest()

    done = place.cosign(version, "verify-attestation", "attest", f"--type={SVR_TYPE}")
    wrong = place.cosign(version, "verify-attestation", "other", f"--type={SVR_TYPE}")

    assert done.returncode == 0, done.stderr
    assert wrong.returncode != 0
    payload = json.loads(base64.b64decode(json.loads(done.stdout.splitlines()[0])["payload"]))
    assert payload["predicate"]["properties"][:2] == [
        "LOCKKEEPER_STAGE_POLICY",
        "LOCKKEEPER_STAGE_NO_WARNINGS",
    ]


@pytest.mark.parametrize("version", [2, 3])
def test_an_image_with_only_a_verdict_is_not_signed(place: LocationKey, version: int) -> None:
    place.attest()
    assert place.cosign(version, "verify", "signing").returncode != 0

    ensure_signed(client(place.host), KEYS["signing"], place.reference, "v1", {}, [])
    assert place.cosign(version, "verify", "signing").returncode == 0


@pytest.mark.parametrize("version", [2, 3])
def test_cosign_accepts_the_scan(place: LocationKey, version: int) -> None:
    report = b'{"SchemaVersion":2,"Results":[]}'
    scan = scanned(CAME)
    registry = client(place.host)

    first = attest_vulnerabilities(registry, RING, place.reference, scan, report)
    again = attest_vulnerabilities(registry, RING, place.reference, scan, report)

    done = place.cosign(version, "verify-attestation", "attest", "--type=vuln")
    assert done.returncode == 0, done.stderr
    assert first is not None
    assert again is not None
    assert (first.written, again.written) == (2, 0)
    by_uri = place.cosign(version, "verify-attestation", "attest", f"--type={VULN_TYPE}")
    assert by_uri.returncode == 0, by_uri.stderr


def test_attesting_again_writes_nothing(place: LocationKey) -> None:
    later = replace(KEPT["clean"](), at=KEPT["clean"]().at + timedelta(days=1))

    assert place.written() == 2
    assert place.written(later) == 0
    assert len(place.found()) == 1


def test_the_same_digest_promoted_again_is_attested_again(place: LocationKey) -> None:
    again = replace(JUDGED, promotion="1/stage/api/" + "e" * 40)
    place.attest()

    assert place.written(about=again) == 2
    assert [one.promotion for one in place.found()] == [JUDGED.promotion, again.promotion]


def test_a_verdict_with_warnings_says_less(place: LocationKey) -> None:
    place.attest(warned())

    (found,) = place.found()
    assert "LOCKKEEPER_STAGE_POLICY" in found.properties
    assert "LOCKKEEPER_STAGE_NO_WARNINGS" not in found.properties
    assert "LOCKKEEPER_STAGE_CHECK_SCAN" not in found.properties


@pytest.mark.parametrize("name", ["blocked", "degraded"])
def test_what_does_not_pass_is_never_attested(place: LocationKey, name: str) -> None:
    assert place.attest(KEPT[name]()) is None
    assert place.found() == ()


def test_without_a_key_nothing_is_attested(place: LocationKey) -> None:
    assert place.attest(ring=KeyRing((), (KEYS["attest"],))) is None


def test_a_foreign_verdict_hides_and_replaces_nothing(place: LocationKey) -> None:
    reference = place.reference
    statement = VerdictStatement(
        DIGEST,
        str(reference.repository),
        "stage",
        JUDGED.promotion,
        ("LOCKKEEPER_STAGE_POLICY",),
        (POLICY,),
        "0.1.0",
        KEPT["clean"]().at,
    )
    place.attach(render_verdict(statement), "other")
    place.attach(render_verdict(replace(statement, repository="elsewhere/api")), "attest")
    place.attach(b"rubbish", "attest")

    assert place.found() == ()
    assert place.written() == 2
    assert len(place.found()) == 1
