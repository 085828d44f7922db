"""Keys and certificates: what signs, and what verifies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bot.domain.trust import CertifiedEnvelope


class Verifier(Protocol):
    """A public key of ECDSA P-256."""

    @property
    def public_key_pem(self) -> bytes:
        """The SPKI in PEM."""
        ...

    @property
    def fingerprint(self) -> str:
        """``sha256:`` and the hex digest of the SPKI in DER: equal keys have equal ones."""
        ...

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """The signature (DER, ECDSA over SHA-256) is this key's for the message."""
        ...


class Certificates(Protocol):
    """Signatures without keys: a certificate, and the logs that it stands in, say who signed."""

    def certified(self, bundle: bytes) -> CertifiedEnvelope:
        """What a sigstore bundle holds, and the certificate that vouches for it.

        Raises NotCertifiedError where nothing that is trusted vouches for it. Whether that
        certificate's word counts is the caller's question.
        """
        ...


class Signer(Verifier, Protocol):
    """A key that signs; its public half verifies."""

    def sign(self, message: bytes) -> bytes:
        """ECDSA over SHA-256 of the message, DER."""
        ...


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one role in one environment."""

    signers: tuple[Signer, ...] = ()
    """The first one signs."""
    verifiers: tuple[Verifier, ...] = ()
    """All verify: the signers, and those that are kept while what they signed is published."""


class CommitKey(Protocol):
    """A key that signs publications, so that whoever deploys them can demand its signature."""

    @property
    def name(self) -> str:
        """Who commits, as the key's user id says."""
        ...

    @property
    def email(self) -> str:
        """The address of that."""
        ...

    def sign(self, payload: bytes) -> str:
        """An armored signature of a commit as git stores it, without its signature."""
        ...

    def verifies(self, payload: bytes, signature: bytes) -> bool:
        """Whether a signature of a commit is this key's."""
        ...
