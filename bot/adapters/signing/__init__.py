"""Keys: cosign's encrypted files, plain PEM, hardware, Vault and clouds; ECDSA on P-256 only."""

from __future__ import annotations

from bot.adapters.signing.by_uri import RemoteKey, is_key_uri, load_key
from bot.adapters.signing.keys import PublicKey, SigningKey, load_public_key, load_signing_key

__all__ = [
    "PublicKey",
    "RemoteKey",
    "SigningKey",
    "is_key_uri",
    "load_key",
    "load_public_key",
    "load_signing_key",
]
