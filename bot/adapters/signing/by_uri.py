"""A signing key by what names it: a file's content, or the URI of a key that stays where it is.

What a service signs is verified before it is used, so that a key that was exchanged behind its
name signs nothing that we publish.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from bot.adapters.signing.cloud import CloudKey
from bot.adapters.signing.hardware import HardwareAddress, HardwareKey
from bot.adapters.signing.keys import PublicKey, SigningKey, load_public_key, load_signing_key
from bot.adapters.signing.transit import TransitKey
from bot.domain.errors import ConfigurationError, IntegrityError

EXTRAS: Final = {
    "pkcs11": ("hsm", "pkcs11"),
    "hsm": ("hsm", "pkcs11"),
    "awskms": ("awskms", "boto3"),
    "gcpkms": ("gcpkms", "google.cloud.kms"),
    "azurekms": ("azurekms", "azure.keyvault.keys"),
    "hashivault": ("", ""),
}
"""Scheme -> the extra of this package that it needs, and a module that comes with it."""


class _Home(Protocol):
    """Where a key lies that never leaves it."""

    def public_key(self) -> bytes:
        """The SPKI, in PEM or DER."""
        ...

    def sign(self, message: bytes) -> bytes:
        """ECDSA over SHA-256, DER."""
        ...


@dataclass(frozen=True, slots=True)
class RemoteKey:
    """A key that stays where it is: `bot.ports.keys.Signer`."""

    uri: str
    public_key: PublicKey
    _home: _Home = field(repr=False)

    @property
    def public_key_pem(self) -> bytes:
        """The SPKI in PEM."""
        return self.public_key.public_key_pem

    @property
    def fingerprint(self) -> str:
        """The public key's."""
        return self.public_key.fingerprint

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """The signature (DER) is this key's for the message."""
        return self.public_key.verifies(message, signature)

    def sign(self, message: bytes) -> bytes:
        """ECDSA over SHA-256 of the message, DER.

        Raises:
            ConfigurationError: the service refuses.
            UnavailableError: it does not answer now.
            IntegrityError: it signed with another key than the one that was known.
        """
        signature = self._home.sign(message)
        if not self.verifies(message, signature):
            raise IntegrityError(
                f"{self.uri} signs with another key than {self.fingerprint}; nothing was written"
            )
        return signature


def is_key_uri(text: str) -> bool:
    """Whether the text names a key by one of the known schemes."""
    return text.partition(":")[0] in EXTRAS and ":" in text


def load_key(
    content: bytes, file: str, password: bytes = b"", public: bytes = b""
) -> SigningKey | RemoteKey:
    """The key of a key file: cosign's, PEM, or one line with a URI.

    Args:
        content: of the file, or the URI itself.
        file: its name, for errors.
        password: of the key file, the PIN or the token.
        public: the public key in PEM where it is known. A service is then asked for signatures
            only; for a file it has to be the other half.

    Raises:
        ConfigurationError: it is no key, or not one that can be used here.
        UnavailableError: a service does not answer now.
    """
    uri = content.strip().decode("utf-8", "replace")
    if not is_key_uri(uri):
        return _from_file(content, file, password, public)
    if "\n" in uri:
        raise ConfigurationError(file, None, "has more than one line", "one file, one URI")
    _check_extra(uri, file)
    home = _home_of(uri, file, password)
    if not public:
        found = _public_key(home.public_key(), file)
    else:
        found = load_public_key(public, f"{file}'s .pub")
        if isinstance(home, CloudKey):
            home.expect(found.public_key_pem)
    return RemoteKey(uri, found, home)


def _from_file(content: bytes, file: str, password: bytes, public: bytes) -> SigningKey:
    if file.endswith(".uri"):
        known = ", ".join(sorted(EXTRAS))
        raise ConfigurationError(file, None, "is no URI of a key", f"schemes: {known}")
    key = load_signing_key(content, file, password)
    if public and load_public_key(public, f"{file}'s .pub").fingerprint != key.fingerprint:
        raise ConfigurationError(file, None, "the .pub beside it is of another key")
    return key


def _home_of(uri: str, file: str, password: bytes) -> _Home:
    scheme = uri.partition(":")[0]
    if scheme in {"pkcs11", "hsm"}:
        return HardwareKey(HardwareAddress.parse(uri, file), file, password)
    if scheme == "hashivault":
        return TransitKey(uri, file, password)
    return CloudKey(uri, file)


def _check_extra(uri: str, file: str) -> None:
    scheme = uri.partition(":")[0]
    extra, module = EXTRAS[scheme]
    if not module:
        return
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a parent package is missing
        found = None
    if found is None:
        fact = f"keys of {scheme}: need more than is installed"
        raise ConfigurationError(file, None, fact, f'pip install "lockkeeper[{extra}]"')


def _public_key(spki: bytes, file: str) -> PublicKey:
    try:
        pem = spki
        if not spki.startswith(b"-----BEGIN"):
            pem = serialization.load_der_public_key(spki).public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(file, None, "not a public key") from error
    return load_public_key(pem, file)
