"""Container registries: the OCI distribution protocol 1.1 over urllib3."""

from __future__ import annotations

from bot.adapters.registry.limits import HostLimits
from bot.adapters.registry.registry import Registry

__all__ = ["HostLimits", "Registry"]
