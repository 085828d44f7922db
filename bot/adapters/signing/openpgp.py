"""Signatures of commits as git and Argo CD verify them: OpenPGP (the extra ``openpgp``).

    key = load_commit_key(content, "publication.asc")
    signature = key.sign(b"tree ...")       # armored, for the commit's header gpgsig

Key and signatures are the library's (Sequoia); nothing of OpenPGP is written here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bot.domain.errors import ConfigurationError

if TYPE_CHECKING:
    import pysequoia

_NAMED: Final = re.compile(r"([^<>\r\n]{1,100}) <([^<>\s]{1,200})>")


@dataclass(frozen=True)
class OpenPgpKey:
    """`bot.ports.keys.CommitKey` with a key in a file."""

    fingerprint: str
    name: str
    email: str
    _tsk: pysequoia.Tsk = field(repr=False)
    _password: str | None = field(repr=False)
    _of: str

    def sign(self, payload: bytes) -> str:
        """An armored signature of a commit without its signature."""
        sequoia = _library(self._of)
        signer = self._tsk.signer(self._password) if self._password else self._tsk.signer()
        made = sequoia.sign(signer, payload, mode=sequoia.SignatureMode.DETACHED)
        return bytes(made).decode("ascii")

    def verifies(self, payload: bytes, signature: bytes) -> bool:
        """Whether a signature of a commit is this key's."""
        sequoia = _library(self._of)
        certificate = self._tsk.extract_certificate()
        try:
            known = sequoia.Sig.from_bytes(signature)
            sequoia.verify(bytes=payload, store=lambda _ids: [certificate], signature=known)
        except RuntimeError:  # the library has no other for what is wrong with a signature
            return False
        return True


def load_commit_key(content: bytes, name: str, password: str = "") -> OpenPgpKey:
    """Read a private key, as `gpg --armor --export-secret-keys` writes it.

    Raises:
        ConfigurationError: it is none, its password is wrong, or the extra is not installed.
    """
    sequoia = _library(name)
    try:
        key = sequoia.Tsk.from_bytes(content)
        certificate = key.extract_certificate()
        users = [str(one) for one in certificate.user_ids]
        found = next((match for one in users if (match := _NAMED.fullmatch(one))), None)
        # Proven now, not at the first publication.
        (key.signer(password) if password else key.signer())
    except RuntimeError as error:
        raise ConfigurationError(
            name,
            None,
            "not a private OpenPGP key that signs, or another password",
            "export it with: gpg --armor --export-secret-keys",
        ) from error
    if found is None:
        fact = "its user id is not NAME <EMAIL>, which commits name"
        raise ConfigurationError(name, None, fact, "make one with: gpg --quick-generate-key")
    return OpenPgpKey(
        certificate.fingerprint.lower(), found[1], found[2], key, password or None, name
    )


def _library(name: str) -> Any:  # noqa: ANN401 - a module of an extra
    try:
        import pysequoia  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            name, None, "OpenPGP is not installed", 'pip install "lockkeeper[openpgp]"'
        ) from error
    return pysequoia
