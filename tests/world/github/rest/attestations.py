"""/repos/.../attestations."""

from __future__ import annotations

from tests.world.github.rest.endpoint import Answer, Call, Endpoints

ENDPOINTS = Endpoints()


@ENDPOINTS.add(
    "GET", "/repos/{owner}/{repo}/attestations/{subject_digest}", "attestations:read", people="read"
)
def list_attestations(call: Call) -> Answer:
    """List the bundles about a digest, at most one page."""
    found = call.repository.attestations.get(call.path["subject_digest"], [])
    listed = [
        {
            "bundle": bundle,
            "repository_id": call.repository.id,
            "bundle_url": f"{call.url}/bundle",
            "initiator": "user",
        }
        for bundle in found
    ]
    return Answer(body={"attestations": listed})
