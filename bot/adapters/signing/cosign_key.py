"""The encrypted key files of cosign: scrypt and NaCl's secretbox around a PKCS #8 key.

Sources: cosign pkg/cosign/keys.go; go-securesystemslib encrypted/encrypted.go.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

import msgspec
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from bot.domain.errors import ConfigurationError
from bot.formats import structs

_PEM: Final = re.compile(
    rb"-----BEGIN ENCRYPTED (SIGSTORE|COSIGN) PRIVATE KEY-----\s+"
    rb"([A-Za-z0-9+/=\s]+)-----END ENCRYPTED \1 PRIVATE KEY-----"
)
# Other costs are refused as go-securesystemslib refuses them: a file must not name a cost that
# stops the process. (N, r, p)
_COSTS: Final = frozenset({(32768, 8, 1), (65536, 8, 1), (131072, 8, 1)})
_MEMORY: Final = 256 * 2**20  # bytes for scrypt; OpenSSL's default is below what N=65536 needs
_KEY_SIZE: Final = 32
_SIZE_LIMIT: Final = 64 * 1024


class _Parameters(msgspec.Struct):
    N: int
    r: int
    p: int


class _Derivation(msgspec.Struct):
    name: str
    params: _Parameters
    salt: str


class _Cipher(msgspec.Struct):
    name: str
    nonce: str


class _KeyFile(msgspec.Struct):
    kdf: _Derivation
    cipher: _Cipher
    ciphertext: str


def is_encrypted(content: bytes) -> bool:
    """The file is cosign's, not a plain PEM."""
    return len(content) <= _SIZE_LIMIT and _PEM.search(content) is not None


def decrypted(content: bytes, file: str, password: bytes) -> bytes:
    """The PKCS #8 key in DER.

    Raises:
        ConfigurationError: not what cosign writes, or the password is wrong.
    """
    try:
        found = _PEM.search(content)
        document = structs.decode(base64.b64decode(found[2] if found else b""), _KeyFile)
        salt = base64.b64decode(document.kdf.salt, validate=True)
        nonce = base64.b64decode(document.cipher.nonce, validate=True)
        ciphertext = base64.b64decode(document.ciphertext, validate=True)
    except (ValueError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(file, None, "damaged cosign key file") from error
    key = _derived(document.kdf, salt, file, password)
    if document.cipher.name != "nacl/secretbox" or len(nonce) != SecretBox.NONCE_SIZE:
        raise ConfigurationError(file, None, "cosign key file with an unknown cipher")
    try:
        return SecretBox(key).decrypt(ciphertext, nonce)
    except CryptoError as error:
        remedy = "write its password into the .password file beside it"
        fact = "the password does not open this key"
        raise ConfigurationError(file, None, fact, remedy) from error


def _derived(derivation: _Derivation, salt: bytes, file: str, password: bytes) -> bytes:
    cost = derivation.params
    if derivation.name != "scrypt" or (cost.N, cost.r, cost.p) not in _COSTS:
        raise ConfigurationError(file, None, "cosign key file with an unknown key derivation")
    return hashlib.scrypt(
        password, salt=salt, n=cost.N, r=cost.r, p=cost.p, maxmem=_MEMORY, dklen=_KEY_SIZE
    )
