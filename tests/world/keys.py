"""Key pairs for tests and the demo, in the file formats that people have."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.secret import SecretBox

STAGE_PASSWORD: Final = b"key-password-of-the-stage"
"""Of the key that prod signs with on the stage."""
STAGE_COST: Final = 32768
_SALT: Final = hashlib.sha256(b"the salt of the tests").digest()
"""One for all: what scrypt makes of a password is then made once, in a process that remembers."""


@dataclass(frozen=True)
class KeyFiles:
    """What ``cosign generate-key-pair`` writes."""

    private: bytes
    """``cosign.key``: encrypted."""
    public: bytes
    """``cosign.pub``: PEM."""


def generate_key_pair(password: bytes = b"", *, cost: int = 65536) -> KeyFiles:
    """A new key on P-256 in cosign's encrypted format; ``cost`` is scrypt's N."""
    key = ec.generate_private_key(ec.SECP256R1())
    der = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return KeyFiles(encrypted(der, password, cost), public)


def encrypted(der: bytes, password: bytes, cost: int = 65536) -> bytes:
    """A key file of cosign around these bytes."""
    nonce = secrets.token_bytes(SecretBox.NONCE_SIZE)
    key = hashlib.scrypt(password, salt=_SALT, n=cost, r=8, p=1, maxmem=2**28, dklen=32)
    document = {
        "kdf": {
            "name": "scrypt",
            "params": {"N": cost, "r": 8, "p": 1},
            "salt": base64.b64encode(_SALT).decode(),
        },
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(SecretBox(key).encrypt(der, nonce).ciphertext).decode(),
    }
    body = base64.encodebytes(json.dumps(document, separators=(",", ":")).encode())
    lines = b"\n".join(body.replace(b"\n", b"")[i : i + 64] for i in range(0, len(body), 64))
    return (
        b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
        + lines
        + b"\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
    )
