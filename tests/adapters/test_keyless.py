"""A local round trip: signed by sigstore-python at @sigstore/mock, verified by our adapter."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.signing.keyless import KeylessVerifier
from bot.domain.errors import ConfigurationError
from bot.domain.oci import Digest
from bot.domain.trust import GITHUB_ACTIONS, BuiltFrom, Certificate, IdentityRoot, NotCertifiedError
from bot.formats.sigstore_bundle import render_statement
from tests.world.sigstore import COMMIT, sigstore

DIGEST = Digest("sha256:" + "a" * 64)
STATEMENT = render_statement(DIGEST, "https://slsa.dev/provenance/v1", {}, name="api")
BUILT = BuiltFrom("acme/api", 4711, COMMIT, ("main", "release/*"))
ROOT = IdentityRoot(workflow=".github/workflows/release.yml", hosted=True)
SOMEBODY = "acme/api/.github/workflows/test.yml@refs/heads/main"


@pytest.fixture
def verifier(tmp_path: Path) -> KeylessVerifier:
    (tmp_path / "trusted_root.json").write_bytes(sigstore().trusted_root)
    return KeylessVerifier(tmp_path / "trusted_root.json")


def objection(verifier: KeylessVerifier, claims: dict[str, str]) -> str:
    found = verifier.certified(sigstore().attest(STATEMENT, claims))
    return ROOT.objection(found.certificate, BUILT)


def test_what_a_workflow_signed_is_read_with_its_certificate(verifier: KeylessVerifier) -> None:
    found = verifier.certified(sigstore().attest(STATEMENT))

    assert (found.payload_type, found.payload) == ("application/vnd.in-toto+json", STATEMENT)
    assert found.certificate == Certificate(
        issuer=GITHUB_ACTIONS,
        subject="https://github.com/acme/api/.github/workflows/release.yml@refs/heads/main",
        repository="https://github.com/acme/api",
        repository_id="4711",
        commit=COMMIT,
        ref="refs/heads/main",
        trigger="push",
        runner="github-hosted",
        workflow="https://github.com/acme/api/.github/workflows/release.yml@refs/heads/main",
    )
    assert ROOT.objection(found.certificate, BUILT) == ""


@pytest.mark.parametrize(
    ("claims", "difference"),
    [
        ({"repository_id": "666"}, "has the id 666, not 4711: another repository of that name"),
        ({"repository": "evil/api"}, "made in https://github.com/evil/api, not in https://git"),
        ({"repository": "acme/sandbox"}, "made in https://github.com/acme/sandbox, not in"),
        ({"ref": "refs/heads/feature"}, "on refs/heads/feature, not on refs/heads/main or refs"),
        ({"ref": "refs/tags/main"}, "on refs/tags/main, not on refs/heads/main"),
        ({"sha": "d" * 40}, f"about commit {'d' * 40}, not {COMMIT}"),
        ({"event_name": "pull_request"}, "a run that pull_request triggered"),
        ({"event_name": "pull_request_target"}, "a run that pull_request_target triggered"),
        ({"event_name": "workflow_run"}, "a run that workflow_run triggered"),
        ({"event_name": "issue_comment"}, "a run that issue_comment triggered"),
        ({"event_name": "Push"}, "a run that Push triggered"),
        ({"runner_environment": "self-hosted"}, "that is self-hosted, not github-hosted"),
        ({"iss": "https://gitlab.example.com"}, "issued by https://gitlab.example.com, not by"),
        ({"workflow_ref": SOMEBODY}, "test.yml@refs/heads/main, not by https://github.com/acme/"),
    ],
    ids=lambda value: "=".join(*value.items()) if isinstance(value, dict) else "",
)
def test_one_extension_that_differs_is_named(
    verifier: KeylessVerifier, claims: dict[str, str], difference: str
) -> None:
    assert difference in objection(verifier, claims)


@pytest.mark.parametrize(
    "release", ["refs/heads/release/v1.2.0", "refs/heads/main"], ids=["glob", "name"]
)
def test_each_branch_of_an_environment_counts(verifier: KeylessVerifier, release: str) -> None:
    assert objection(verifier, {"ref": release}) == ""


def corrupt_payload(bundle: dict[str, Any]) -> None:
    payload = render_statement(Digest("sha256:" + "b" * 64), "https://slsa.dev/provenance/v1", {})
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()


def drop_proof(bundle: dict[str, Any]) -> None:
    del bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]


def drop_log(bundle: dict[str, Any]) -> None:
    bundle["verificationMaterial"]["tlogEntries"] = []


def backdate(bundle: dict[str, Any]) -> None:
    bundle["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = "1"


def another_certificate(bundle: dict[str, Any]) -> None:
    other = json.loads(sigstore().attest(STATEMENT, {"repository": "acme/other"}))
    bundle["verificationMaterial"]["certificate"] = other["verificationMaterial"]["certificate"]


@pytest.mark.parametrize(
    "damage", [corrupt_payload, drop_proof, drop_log, backdate, another_certificate]
)
def test_a_bundle_that_was_touched_is_not_certified(
    verifier: KeylessVerifier, damage: Callable[[dict[str, Any]], None]
) -> None:
    bundle = json.loads(sigstore().attest(STATEMENT))
    damage(bundle)

    with pytest.raises(NotCertifiedError):
        verifier.certified(json.dumps(bundle).encode())


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"a":1e999}'])
def test_what_is_no_bundle_is_not_certified(verifier: KeylessVerifier, content: bytes) -> None:
    with pytest.raises(NotCertifiedError):
        verifier.certified(content)


def test_the_public_instance_does_not_vouch_for_ours() -> None:
    bundle = sigstore().attest(STATEMENT)

    with pytest.raises(NotCertifiedError):
        KeylessVerifier().certified(bundle)


def test_a_trusted_root_that_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "root.json"
    file.write_text('{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')

    with pytest.raises(ConfigurationError, match=r"root\.json.*trusted_root\.json"):
        KeylessVerifier(file).certified(b"{}")


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # The extra is installed wherever tests run; without it the interpreter would answer this.
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    with pytest.raises(ConfigurationError, match=r"lockkeeper\[keyless\]"):
        KeylessVerifier().certified(b"{}")


# --- an instance without logs, as GitHub has one for private repositories


@pytest.fixture
def private(tmp_path: Path) -> KeylessVerifier:
    """Both instances, one on each line: what `gh attestation trusted-root` prints."""
    file = tmp_path / "trusted_root.jsonl"
    file.write_bytes(sigstore().trusted_root + b"\n" + sigstore().private_root + b"\n")
    return KeylessVerifier(file)


def test_a_private_repository_s_bundle_has_a_timestamp_in_place_of_logs(
    private: KeylessVerifier,
) -> None:
    found = private.certified(sigstore().attest_privately(STATEMENT))

    assert (found.payload_type, found.payload) == ("application/vnd.in-toto+json", STATEMENT)
    assert ROOT.objection(found.certificate, BUILT) == ""
    assert private.certified(sigstore().attest(STATEMENT)).certificate == found.certificate


def test_its_certificate_is_judged_like_any_other(private: KeylessVerifier) -> None:
    found = private.certified(sigstore().attest_privately(STATEMENT, {"repository_id": "666"}))

    assert "has the id 666, not 4711" in ROOT.objection(found.certificate, BUILT)


def test_where_no_such_instance_is_trusted_it_says_whose_root_is_needed(
    verifier: KeylessVerifier,
) -> None:
    with pytest.raises(NotCertifiedError, match="gh attestation trusted-root"):
        verifier.certified(sigstore().attest_privately(STATEMENT))


def other_timestamp(bundle: dict[str, Any]) -> None:
    other = json.loads(sigstore().attest_privately(STATEMENT))
    material = other["verificationMaterial"]
    bundle["verificationMaterial"]["timestampVerificationData"] = material[
        "timestampVerificationData"
    ]


def no_timestamp(bundle: dict[str, Any]) -> None:
    bundle["verificationMaterial"]["timestampVerificationData"] = {"rfc3161Timestamps": []}


def many_timestamps(bundle: dict[str, Any]) -> None:
    bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"] *= 33


def other_certificate(bundle: dict[str, Any]) -> None:
    other = json.loads(sigstore().attest_privately(STATEMENT))
    bundle["verificationMaterial"]["certificate"] = other["verificationMaterial"]["certificate"]


def public_certificate(bundle: dict[str, Any]) -> None:
    other = json.loads(sigstore().attest(STATEMENT))
    bundle["verificationMaterial"]["certificate"] = other["verificationMaterial"]["certificate"]


def two_signatures(bundle: dict[str, Any]) -> None:
    bundle["dsseEnvelope"]["signatures"] *= 2


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (corrupt_payload, "its signature is not over what it holds"),
        (other_timestamp, "no timestamp of a trusted authority"),
        (no_timestamp, "no timestamp of a trusted authority"),
        (many_timestamps, "more than 32 timestamps"),
        # Its time may begin after the stamp, which is refused before the signature is looked at.
        (other_certificate, "its signature is not over what it holds|issued it for that time"),
        (public_certificate, "no trusted authority issued it for that time"),
        (two_signatures, "has 2 signatures"),
    ],
)
def test_a_timestamped_bundle_that_was_touched_is_not_certified(
    private: KeylessVerifier, damage: Callable[[dict[str, Any]], None], why: str
) -> None:
    bundle = json.loads(sigstore().attest_privately(STATEMENT))
    damage(bundle)

    with pytest.raises(NotCertifiedError, match=why):
        private.certified(json.dumps(bundle).encode())


@pytest.mark.parametrize("lacking", ["timestampAuthorities", "certificateAuthorities"])
def test_a_root_that_trusts_nobody_is_refused(tmp_path: Path, lacking: str) -> None:
    root = json.loads(sigstore().private_root)
    root[lacking] = []
    (tmp_path / "root.json").write_text(json.dumps(root, indent=2))

    with pytest.raises(ConfigurationError):
        KeylessVerifier(tmp_path / "root.json").certified(b"{}")


def test_an_authority_counts_only_while_it_was_valid(tmp_path: Path) -> None:
    root = json.loads(sigstore().private_root)
    root["timestampAuthorities"][0]["validFor"]["end"] = "2020-01-01T00:00:00Z"
    (tmp_path / "root.json").write_text(json.dumps(root, indent=2))

    with pytest.raises(NotCertifiedError, match="no timestamp of a trusted authority"):
        KeylessVerifier(tmp_path / "root.json").certified(sigstore().attest_privately(STATEMENT))


def test_what_stands_in_logs_is_not_certified_by_a_timestamp(tmp_path: Path) -> None:
    (tmp_path / "root.json").write_bytes(sigstore().private_root)

    with pytest.raises(NotCertifiedError, match="no instance that has logs is trusted"):
        KeylessVerifier(tmp_path / "root.json").certified(sigstore().attest(STATEMENT))
