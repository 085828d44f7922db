"""A real PKCS #11 token, by softhsm2 (Debian's package): one for the whole test process.

A PKCS #11 library is initialised once in a process, and softhsm2 reads its configuration then.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pkcs11
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from tests.world.tools import installed, run

_MODULES: Final = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/pkcs11/libsofthsm2.so")
TOKEN: Final = "lock keeper"  # noqa: S105 - a label, with a space to be escaped
PIN: Final = "pin-of-the-token-4711"


@dataclass(frozen=True)
class SoftHsm:
    """The token."""

    module: str

    def generate(self, label: str, number: int, curve: str = "secp256r1") -> None:
        """Make a key pair on the token."""
        kind = pkcs11.KeyType.EC
        parameters = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
        token = pkcs11.lib(self.module).get_token(token_label=TOKEN)
        with token.open(user_pin=PIN, rw=True) as session:
            domain = session.create_domain_parameters(kind, parameters, local=True)
            domain.generate_keypair(store=True, label=label, id=bytes([number]))

    def public_key(self, label: str) -> bytes:
        """The public half in PEM, read from the token."""
        token = pkcs11.lib(self.module).get_token(token_label=TOKEN)
        with token.open() as session:
            kind = pkcs11.ObjectClass.PUBLIC_KEY
            found = session.get_key(kind, pkcs11.KeyType.EC, label=label)
            assert isinstance(found, pkcs11.PublicKey)
            der = encode_ec_public_key(found)
        return load_der_public_key(der).public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    def uri(self, label: str) -> str:
        """As cosign and p11-kit write it."""
        return f"pkcs11:token={TOKEN.replace(' ', '%20')};object={label}?module-path={self.module}"


@functools.cache
def softhsm() -> SoftHsm:
    """The token; the test is skipped without softhsm2, or fails where every tool is demanded."""
    module = next((path for path in _MODULES if Path(path).exists()), "")
    if not module or installed("softhsm2-util") is None:
        if os.environ.get("LOCKKEEPER_REQUIRE_TOOLS") == "1":
            pytest.fail("softhsm2 is missing; run: apt-get install softhsm2")
        pytest.skip("softhsm2 is missing; run: apt-get install softhsm2")
    folder = Path(tempfile.mkdtemp(prefix="softhsm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    run(
        "softhsm2-util",
        "--init-token",
        "--free",
        f"--label={TOKEN}",
        f"--pin={PIN}",
        "--so-pin=5678",
    )
    return SoftHsm(module)
