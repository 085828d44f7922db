"""Where the great registries keep their blobs: names for a grant, in place of hosts that change.

As their owners' lists for firewalls name them. Nothing but bytes that are hashed comes from there:
see `bot.domain.grants.RegistryGrant.reachable`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bot.domain.grants import is_like

PRESETS: Final[Mapping[str, tuple[str, ...]]] = {
    "docker-hub": (
        "production.cloudflare.docker.com",
        "docker-images-prod.r2.cloudflarestorage.com",
        "docker-images-prod.*.r2.cloudflarestorage.com",
    ),
    "ghcr": ("pkg-containers.githubusercontent.com",),
    "ecr": (
        "prod-*-starport-layer-bucket.s3.*.amazonaws.com",
        "prod-*-starport-layer-bucket.s3.dualstack.*.amazonaws.com",
    ),
    "ecr-public": ("*.cloudfront.net",),
    "gar": ("storage.googleapis.com", "*.storage.googleapis.com"),
    "acr": ("*.blob.core.windows.net", "*.*.data.azurecr.io"),
    "quay": ("cdn.quay.io", "cdn0*.quay.io", "quayio-production-s3.s3.amazonaws.com"),
}
"""Name -> hosts, in which ``*`` stands for a part of one label."""

_REGISTRIES: Final = (
    ("docker.io", "docker-hub"),
    ("ghcr.io", "ghcr"),
    ("*.dkr.ecr.*.amazonaws.com", "ecr"),
    ("public.ecr.aws", "ecr-public"),
    ("*-docker.pkg.dev", "gar"),
    ("gcr.io", "gar"),
    ("*.gcr.io", "gar"),
    ("*.azurecr.io", "acr"),
    ("quay.io", "quay"),
)


def storage_of(registry: str) -> tuple[str, ...]:
    """Where a registry that is known by its host keeps its blobs; empty for others."""
    return next((PRESETS[name] for one, name in _REGISTRIES if is_like(registry, one)), ())
