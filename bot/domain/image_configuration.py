"""How an image runs: entrypoint, user, ports, names of variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

_ZERO: Final = re.compile(r"[+-]?0+")  # as strconv.Atoi of the container runtimes reads it


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
        return _is_zero(self.user.partition(":")[0])

    @property
    def runs_as(self) -> str:
        """Its user in one spelling: nobody, 0 and root are the same."""
        user, _, group = self.user.partition(":")
        if not _is_zero(user):
            return self.user
        return "root" if _is_zero(group) else f"root:{group}"


def _is_zero(name: str) -> bool:
    return name in {"", "root"} or _ZERO.fullmatch(name) is not None
