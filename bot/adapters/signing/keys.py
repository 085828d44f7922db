"""Signing keys from files.

One algorithm, ECDSA on P-256 with SHA-256: every verifier accepts it without an option. A key is
read once and used by any number of threads; nothing is written anywhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bot.adapters.signing.cosign_key import decrypted, is_encrypted
from bot.domain.errors import ConfigurationError

_ALGORITHM: Final = ec.ECDSA(hashes.SHA256())
_WAY_OUT: Final = "make one with: cosign generate-key-pair"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The half of a key that verifies: `bot.ports.keys.Verifier`."""

    _key: ec.EllipticCurvePublicKey = field(repr=False)

    @property
    def public_key_pem(self) -> bytes:
        """The SPKI in PEM, as ``cosign.pub`` has it."""
        return self._encoded(serialization.Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        """``sha256:`` and the hex digest of the SPKI in DER: equal keys have equal ones."""
        spki = self._encoded(serialization.Encoding.DER)
        return "sha256:" + hashlib.sha256(spki).hexdigest()

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """The signature (DER) is this key's for the message."""
        try:
            self._key.verify(signature, message, _ALGORITHM)
        except InvalidSignature:
            return False
        return True

    def _encoded(self, encoding: serialization.Encoding) -> bytes:
        return self._key.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A whole key: `bot.ports.keys.Signer`."""

    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def public_key(self) -> PublicKey:
        """The half that verifies."""
        return PublicKey(self._key.public_key())

    @property
    def public_key_pem(self) -> bytes:
        """The SPKI in PEM, as ``cosign.pub`` has it."""
        return self.public_key.public_key_pem

    @property
    def fingerprint(self) -> str:
        """The public key's."""
        return self.public_key.fingerprint

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """The signature (DER) is this key's for the message."""
        return self.public_key.verifies(message, signature)

    def sign(self, message: bytes) -> bytes:
        """ECDSA over SHA-256 of the message, DER."""
        return self._key.sign(message, _ALGORITHM)


def load_signing_key(content: bytes, file: str, password: bytes = b"") -> SigningKey:
    """Read a key file of cosign, or a PEM (PKCS #8 or EC) without a password of its own.

    Raises:
        ConfigurationError: not such a file, a wrong password, or another algorithm.
    """
    try:
        if is_encrypted(content):
            der = decrypted(content, file, password)
            key = serialization.load_der_private_key(der, None)
        else:
            key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        fact = "not a private key without a password, and not cosign's"
        raise ConfigurationError(file, None, fact, _WAY_OUT) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigurationError(file, None, "not an ECDSA key on P-256", _WAY_OUT)
    return SigningKey(key)


def load_public_key(content: bytes, file: str) -> PublicKey:
    """Read a public key in PEM, such as ``cosign.pub``.

    Raises:
        ConfigurationError: not such a file, or another algorithm.
    """
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(file, None, "not a public key in PEM", _WAY_OUT) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigurationError(file, None, "not an ECDSA key on P-256", _WAY_OUT)
    return PublicKey(key)
