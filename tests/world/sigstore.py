"""A sigstore of our own on loopback: certificates with the claims that a test wants."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from sigstore import dsse
from sigstore.models import ClientTrustConfig
from sigstore.oidc import IdentityToken
from sigstore.sign import SigningContext

ISSUER: Final = "https://token.actions.githubusercontent.com"
COMMIT: Final = "c" * 40
CLAIMS: Final = {
    "identity": "https://github.com/acme/api/.github/workflows/release.yml@refs/heads/main",
    "iss": ISSUER,
    "repository": "acme/api",
    "repository_id": "4711",
    "repository_owner": "acme",
    "ref": "refs/heads/main",
    "sha": COMMIT,
    "event_name": "push",
    "runner_environment": "github-hosted",
    "workflow_ref": "acme/api/.github/workflows/release.yml@refs/heads/main",
    "job_workflow_ref": "acme/api/.github/workflows/release.yml@refs/heads/main",
}
"""What GitHub Actions says of a push to main of acme/api."""
_BUILD: Final = Path(__file__).parents[2] / ".ci" / "sigstore" / "build.sh"
_SERVICES: Final = Path(__file__).with_name("sigstore_services.js")


@dataclass(frozen=True)
class Sigstore:
    """A certificate authority, a log of its certificates and a log of signatures."""

    url: str
    trusted_root: bytes
    """What a verifier is given; nothing else knows these services."""

    def attest(self, statement: bytes, claims: Mapping[str, str] | None = None) -> bytes:
        """A bundle of an in-toto statement, signed by sigstore-python as whom the claims say."""
        context = SigningContext.from_trust_config(ClientTrustConfig.from_json(self._configured()))
        with context.signer(IdentityToken(token(claims))) as signer:
            return signer.sign_dsse(dsse.Statement(statement)).to_json().encode()

    @property
    def signing_config(self) -> dict[str, object]:
        """Which services a client signs with: ``signing_config.v0.2.json``."""
        service = {
            "url": self.url,
            "majorApiVersion": 1,
            "validFor": {"start": "2020-01-01T00:00:00Z"},
            "operator": "sigstore.mock",
        }
        return {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service],
            "oidcUrls": [],
            "rekorTlogUrls": [service],
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": [],
            "tsaConfig": {"selector": "ANY"},
        }

    def _configured(self) -> str:
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
                "trustedRoot": json.loads(self.trusted_root),
                "signingConfig": self.signing_config,
            }
        )


@functools.cache
def sigstore() -> Sigstore:
    """The services, started once; the test is skipped without node, or fails where all counts."""
    built = subprocess.run(["bash", str(_BUILD)], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        message = f"the local signing services are missing: {built.stderr.strip()[-200:]}"
        if os.environ.get("LOCKKEEPER_REQUIRE_TOOLS") == "1":
            pytest.fail(message)
        pytest.skip(message)
    modules = Path(built.stdout.strip()) / "node_modules"
    process = subprocess.Popen(
        ["node", str(_SERVICES)],
        env={**os.environ, "NODE_PATH": str(modules)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.kill)
    assert process.stdout is not None
    url = f"http://127.0.0.1:{int(process.stdout.readline())}"
    answer = requests.request("GET", f"{url}/trusted_root.json", timeout=10)
    answer.raise_for_status()
    return Sigstore(url, answer.content)


def token(claims: Mapping[str, str] | None = None) -> str:
    """A token as GitHub Actions issues it; the local Fulcio believes every one."""
    now, said = int(time.time()), {**CLAIMS, **(claims or {})}
    body = {**said, "sub": said["identity"], "aud": "sigstore", "iat": now, "exp": now + 600}
    return jwt.encode(body, _issuer_key(), "RS256")


@functools.cache
def _issuer_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)
