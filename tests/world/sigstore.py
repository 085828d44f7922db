"""A sigstore of our own on loopback: certificates with the claims that a test wants."""

from __future__ import annotations

import atexit
import base64
import functools
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jwt
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from sigstore import dsse
from sigstore.models import ClientTrustConfig
from sigstore.oidc import IdentityToken
from sigstore.sign import SigningContext

from tests.world.npm import packages
from tests.world.tools import tool

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
_SERVICES: Final = Path(__file__).with_name("sigstore_services.js")


@dataclass(frozen=True)
class Sigstore:
    """A certificate authority, a log of its certificates and a log of signatures."""

    url: str
    trusted_root: bytes
    """What a verifier is given; nothing else knows these services."""
    private_root: bytes
    """Of the instance without logs, as GitHub has one for private repositories."""

    def attest(self, statement: bytes, claims: Mapping[str, str] | None = None) -> bytes:
        """A bundle of an in-toto statement, signed by sigstore-python as whom the claims say."""
        context = SigningContext.from_trust_config(ClientTrustConfig.from_json(self._configured()))
        with context.signer(IdentityToken(token(claims))) as signer:
            return signer.sign_dsse(dsse.Statement(statement)).to_json().encode()

    def attest_privately(self, statement: bytes, claims: Mapping[str, str] | None = None) -> bytes:
        """A bundle as GitHub makes it for a private repository: a timestamp, and no log."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certificate(key, claims)  # it holds from now on: before the timestamp
        kind = "application/vnd.in-toto+json"
        encoded = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(statement), statement)
        signature = key.sign(encoded, ec.ECDSA(hashes.SHA256()))
        asked = {
            "artifactHash": _base64(hashlib.sha256(signature).digest()),
            "hashAlgorithm": "sha256",
            "certificates": True,
        }
        timestamp = self._asked("/private/api/v1/timestamp", json=asked).content
        material = {
            "certificate": {"rawBytes": _base64(certificate)},
            "timestampVerificationData": {
                "rfc3161Timestamps": [{"signedTimestamp": _base64(timestamp)}]
            },
        }
        bundle = {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": _base64(statement),
                "payloadType": kind,
                "signatures": [{"sig": _base64(signature)}],
            },
        }
        return json.dumps(bundle).encode()

    def _certificate(
        self, key: ec.EllipticCurvePrivateKey, claims: Mapping[str, str] | None
    ) -> bytes:
        pem = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        answer = self._asked(
            "/private/api/v2/signingCert",
            json={"publicKeyRequest": {"publicKey": {"content": pem.decode()}}},
            headers={"Authorization": f"Bearer {token(claims)}"},
        ).json()
        leaf = answer["signedCertificateEmbeddedSct"]["chain"]["certificates"][0]
        certificate = x509.load_pem_x509_certificate(leaf.encode())
        return certificate.public_bytes(serialization.Encoding.DER)

    def _asked(
        self, path: str, *, json: object, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        answer = requests.request(
            "POST", f"{self.url}{path}", json=json, headers=headers, timeout=10
        )
        answer.raise_for_status()
        return answer

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
    modules = packages("sigstore")
    process = subprocess.Popen(
        [tool("node"), str(_SERVICES)],
        env={**os.environ, "NODE_PATH": str(modules)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.kill)
    assert process.stdout is not None
    url = f"http://127.0.0.1:{int(process.stdout.readline())}"
    answers = [
        requests.request("GET", f"{url}{path}/trusted_root.json", timeout=10)
        for path in ("", "/private")
    ]
    for answer in answers:
        answer.raise_for_status()
    return Sigstore(url, *(answer.content for answer in answers))


def token(claims: Mapping[str, str] | None = None) -> str:
    """A token as GitHub Actions issues it; the local Fulcio believes every one."""
    now, said = int(time.time()), {**CLAIMS, **(claims or {})}
    body = {**said, "sub": said["identity"], "aud": "sigstore", "iat": now, "exp": now + 600}
    return jwt.encode(body, _issuer_key(), "RS256")


@functools.cache
def _issuer_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
