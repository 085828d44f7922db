"""Signatures without keys: sigstore bundles whose certificates say who signed.

sigstore-python (an extra) checks the chain, the certificate's log and the signature's; whose
certificate counts is `bot.domain.trust`'s question. Nothing is fetched: what is trusted is a file
of the operator, or what the library brings of the public instance. Safe to share by threads, each
verification reads only.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from bot.adapters.signing.certificates import read_certificate
from bot.adapters.signing.timestamped import TimestampedVerifier
from bot.domain.errors import ConfigurationError
from bot.domain.trust import Certificate, CertifiedEnvelope, NotCertifiedError
from bot.formats.structs import decode

if TYPE_CHECKING:
    from sigstore.verify import Verifier

_PUBLIC: Final = "https://tuf-repo-cdn.sigstore.dev"
# What others wrote goes through several parsers, each with errors of its own.
_UNREADABLE: Final = (ValueError, TypeError, AttributeError, KeyError, x509.ExtensionNotFound)
_Instance = Callable[[bytes], CertifiedEnvelope]


class _Material(msgspec.Struct, rename="camel"):
    tlog_entries: list[Any] = msgspec.field(default_factory=list)


class _Bundle(msgspec.Struct, rename="camel"):
    verification_material: _Material


class _Root(msgspec.Struct):
    tlogs: list[Any] = msgspec.field(default_factory=list)


@dataclass(frozen=True)
class KeylessVerifier:
    """`bot.ports.keys.Certificates`: who signed a bundle, by its certificate."""

    trusted_root: Path | None = None
    """``trusted_root.json``, or one of them on each line, as ``gh attestation trusted-root`` prints
    them; None: that of the public instance, as the library brings it."""
    _made: list[_Instances] = field(default_factory=list, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def certified(self, bundle: bytes) -> CertifiedEnvelope:
        """The bundle's content and the certificate that vouches for it.

        Raises:
            ConfigurationError: the extra is missing, or the trusted root cannot be read.
            NotCertifiedError: chain, logs or signature do not hold.
        """
        instances = self._instances()
        try:
            is_logged = bool(decode(bundle, _Bundle).verification_material.tlog_entries)
        except (ValueError, RecursionError) as error:
            raise NotCertifiedError("it is no bundle that can be read") from error
        if not is_logged and not instances.without_logs:
            fact = "it stands in no log; trust GitHub's own instance (gh attestation trusted-root)"
            raise NotCertifiedError(fact)
        return _first(instances.with_logs if is_logged else instances.without_logs, bundle)

    def _instances(self) -> _Instances:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]

    def _make(self) -> _Instances:
        file = str(self.trusted_root or "keyless verification")
        if importlib.util.find_spec("sigstore") is None:
            fact = "certificates cannot be verified with what is installed"
            raise ConfigurationError(file, None, fact, 'pip install "lockkeeper[keyless]"')
        from sigstore.errors import Error  # noqa: PLC0415 - an extra

        # It reports each bundle that does not hold, in words of strangers: we report it ourselves.
        logging.getLogger("sigstore").setLevel(logging.ERROR)
        try:
            return _Instances.read((self.trusted_root or _embedded()).read_bytes())
        except (Error, OSError, *_UNREADABLE) as error:
            fact = "is no trusted root of sigstore that can be read"
            remedy = "name a trusted_root.json, as its TUF repository has it"
            raise ConfigurationError(file, None, fact, remedy) from error


@dataclass(frozen=True, slots=True)
class _Instances:
    """Whom to ask about a bundle: one that has logs vouches only for what stands in them."""

    with_logs: tuple[_Instance, ...]
    without_logs: tuple[_Instance, ...]

    @classmethod
    def read(cls, content: bytes) -> _Instances:
        roots = [line for line in content.splitlines() if line.strip()]
        if not all(line.startswith(b"{") and line.rstrip().endswith(b"}") for line in roots):
            roots = [content]  # one document, laid out over several lines
        logged: list[_Instance] = []
        timestamped: list[_Instance] = []
        for root in roots:
            if decode(root, _Root).tlogs:
                logged.append(_logged(root))
            else:
                timestamped.append(TimestampedVerifier(root).certified)
        return cls(tuple(logged), tuple(timestamped))


def _logged(root: bytes) -> _Instance:
    from sigstore.models import TrustedRoot  # noqa: PLC0415 - an extra
    from sigstore.verify import Verifier  # noqa: PLC0415 - an extra
    from sigstore_models.trustroot.v1 import TrustedRoot as Document  # noqa: PLC0415 - an extra

    verifier = Verifier(trusted_root=TrustedRoot(Document.from_json(root)))
    return lambda bundle: _certified(verifier, bundle)


def _certified(verifier: Verifier, bundle: bytes) -> CertifiedEnvelope:
    from sigstore.errors import Error  # noqa: PLC0415 - an extra
    from sigstore.models import Bundle  # noqa: PLC0415 - an extra

    reading = _Reading()
    try:
        parsed = Bundle.from_json(bundle)
        if not isinstance(parsed.signing_certificate.public_key(), ec.EllipticCurvePublicKey):
            raise NotCertifiedError("its key is of another kind than ECDSA")
        payload_type, payload = verifier.verify_dsse(parsed, reading)
    except Error as error:
        raise NotCertifiedError(_first_line(error)) from error
    return CertifiedEnvelope(reading.certificate, payload_type, payload)


class _Reading:
    """A policy of sigstore-python that reads the certificate; it is judged afterwards."""

    def __init__(self) -> None:
        self.certificate = Certificate()

    def verify(self, cert: x509.Certificate) -> None:
        """Keep what the certificate says."""
        self.certificate = read_certificate(cert)


def _first(instances: tuple[_Instance, ...], bundle: bytes) -> CertifiedEnvelope:
    """The word of the first instance that vouches; else what the last one objects."""
    objection = NotCertifiedError("no instance that has logs is trusted")
    for certified in instances:
        try:
            return certified(bundle)
        except NotCertifiedError as error:
            objection = error
        except _UNREADABLE as error:
            objection = NotCertifiedError(f"it cannot be read ({type(error).__name__})")
            objection.__cause__ = error
    raise objection


def _embedded() -> Path:
    """The public instance's root that comes with the library: no TUF, no cache, no network."""
    from importlib.resources import files  # noqa: PLC0415 - with the extra
    from urllib.parse import quote  # noqa: PLC0415 - with the extra

    return Path(str(files("sigstore._store") / quote(_PUBLIC, safe="") / "trusted_root.json"))


def _first_line(error: Exception) -> str:
    line = str(error).strip().partition("\n")[0]
    return "".join(c if c.isprintable() else "\ufffd" for c in line[:200]) or "it is not valid"
