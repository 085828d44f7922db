"""Whether a registry has an image, where much depends on it: a look that is not answered is no yes.

`bot.ports.registry.ImageRegistry.exists` may say *unknown*. That is enough for whoever writes next, and
never for who admits, seals or shows something.
"""

from __future__ import annotations

from bot.domain.images import Presence
from bot.domain.oci import DigestReference
from bot.ports.registry import ImageRegistry


def is_there(registry: ImageRegistry, reference: DigestReference) -> bool:
    """Whether the repository has the image, for certain.

    Raises:
        RegistryRefusesError: the registry refuses to say; some do so for what is missing.
        UnavailableError: it cannot say now.
    """
    found = registry.exists(reference)
    if found is Presence.UNKNOWN:
        # To read it is the last question; what stands against that is the registry's to tell.
        return registry.manifest(reference) is not None
    return found is Presence.THERE
