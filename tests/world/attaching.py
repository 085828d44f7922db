"""Hanging things on an image of a test registry, as the tools of others do."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from bot.domain.images import Descriptor, NewManifest
from bot.domain.oci import OCI_MANIFEST, Digest, DigestReference
from bot.formats import sigstore_bundle
from bot.formats.image_manifest import EMPTY_CONFIG, empty_config, render_manifest
from bot.formats.simple_signing import with_layers
from bot.ports.keys import Signer
from tests.world.clients import client
from tests.world.sigstore import COMMIT

PROVENANCE = "https://slsa.dev/provenance/v1"
SPDX = "https://spdx.dev/Document/v2.3"
CYCLONEDX = "https://cyclonedx.org/bom"
OPENVEX = "https://openvex.dev/ns/v0.2.0"
VULN = "https://cosign.sigstore.dev/attestation/vuln/v1"


def provenance(commit: str = COMMIT, repository: str = "acme/api") -> dict[str, Any]:
    """As actions/attest-build-provenance writes it."""
    source = {
        "uri": f"git+https://github.com/{repository}@refs/heads/main",
        "digest": {"gitCommit": commit},
    }
    return {
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {},
            "resolvedDependencies": [source],
        },
        "runDetails": {"builder": {"id": "https://github.com/actions/runner/github-hosted"}},
    }


def cyclonedx(*packages: str) -> dict[str, Any]:
    components = [
        {"type": "library", "name": name, "version": "1", "purl": f"pkg:npm/{name}@1"}
        for name in packages
    ]
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "components": components}


def vulnerabilities(
    report: Mapping[str, Any], finished: str = "2026-11-20T10:00:00Z", database: str = ""
) -> dict[str, Any]:
    """As ``trivy image --format cosign-vuln`` writes it, and as cosign's specification has it."""
    return {
        "invocation": {"parameters": None, "uri": "", "event_id": "", "builder.id": ""},
        "scanner": {
            "uri": "pkg:github/aquasecurity/trivy@0.74.0",
            "version": "0.74.0",
            "db": {"uri": "", "version": "", **({"lastUpdate": database} if database else {})},
            "result": report,
        },
        "metadata": {"scanStartedOn": finished, "scanFinishedOn": finished},
    }


def openvex(vulnerability: str) -> dict[str, Any]:
    return {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "author": "The best security team",
        "timestamp": "2026-11-20T10:00:00Z",
        "statements": [
            {
                "vulnerability": {"name": vulnerability},
                "products": [{"@id": "pkg:npm/left-pad@1"}],
                "status": "not_affected",
                "justification": "vulnerable_code_not_present",
            }
        ],
    }


def statement(about: str, predicate_type: str, predicate: Mapping[str, Any]) -> bytes:
    return sigstore_bundle.render_statement(Digest(about), predicate_type, predicate, name="api")


def key_bundle(signer: Signer, payload: bytes) -> bytes:
    """A bundle by a key, as cosign 3 writes it."""
    signature = signer.sign(
        sigstore_bundle.pre_authentication_encoding(sigstore_bundle.STATEMENT_TYPE, payload)
    )
    return sigstore_bundle.render_bundle(payload, signature, signer.fingerprint)


def envelope(signer: Signer, payload: bytes) -> bytes:
    signature = signer.sign(
        sigstore_bundle.pre_authentication_encoding(sigstore_bundle.STATEMENT_TYPE, payload)
    )
    return sigstore_bundle.render_envelope(payload, signature)


def attach(
    reference: DigestReference,
    content: bytes,
    media_type: str = sigstore_bundle.BUNDLE_TYPE,
    annotations: Mapping[str, str] | None = None,
) -> Digest:
    """A referrer with one layer."""
    registry = client(reference.repository.host)
    found = registry.manifest(reference)
    assert found is not None
    manifest = NewManifest(
        render_manifest(
            empty_config(),
            (Descriptor(media_type, Digest.of(content), len(content)),),
            annotations=dict(annotations or {}),
            subject=Descriptor(found.media_type, reference.digest, len(found.content)),
            artifact_type=media_type,
        ),
        OCI_MANIFEST,
        (EMPTY_CONFIG, content),
    )
    registry.attach(reference.repository, manifest)
    return manifest.digest


def attach_under_tag(reference: DigestReference, *contents: bytes) -> None:
    """Layers under ``.att``, as cosign 2 writes them."""
    layers = [sigstore_bundle.envelope_layer(one, _type_of(one)) for one in contents]
    tag = f"sha256-{reference.digest.hex}.att"
    client(reference.repository.host).amend(
        reference.repository.tagged(tag),
        lambda current: None if current else with_layers(None, tuple(layers), contents),
    )


def _type_of(envelope: bytes) -> str:
    payload = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    return str(payload["predicateType"])
