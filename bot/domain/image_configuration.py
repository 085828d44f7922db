"""How an image runs: entrypoint, user, ports, names of variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date


@dataclass(frozen=True, slots=True)
class ImageConfiguration:
    """How an image runs, by its config (OCI image-spec, config.md)."""

    user: str = ""
    """Empty: root."""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    ports: frozenset[str] = frozenset()
    """``8080/tcp``."""
    variables: frozenset[str] = frozenset()
    """Names of environment variables, never their values."""
    labels: Mapping[str, str] = field(default_factory=dict)
    created: date | None = None
    base_created: date | None = None
    """When its oldest layer was made: what it was built on is no older than that."""

    @property
    def base_name(self) -> str:
        """What it says that it was built on; empty where it does not say."""
        return self.labels.get("org.opencontainers.image.base.name", "")

    @property
    def is_root(self) -> bool:
        """Whether it runs as user 0."""
        return self.user.partition(":")[0] in {"", "0", "root"}
