"""Keys: cosign's encrypted files and plain PEM, ECDSA on P-256 only."""

from __future__ import annotations

from bot.adapters.signing.keys import PublicKey, SigningKey, load_public_key, load_signing_key

__all__ = ["PublicKey", "SigningKey", "load_public_key", "load_signing_key"]
