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
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from bot.domain.errors import ConfigurationError
from bot.domain.trust import Certificate, CertifiedEnvelope, NotCertifiedError

if TYPE_CHECKING:
    from sigstore.verify import Verifier

# sigstore/fulcio, docs/oid-info.md: UTF8String in DER from .8 on.
_FULCIO: Final = "1.3.6.1.4.1.57264.1."
_EXTENSIONS: Final = {
    "issuer": "8",
    "runner": "11",
    "repository": "12",
    "commit": "13",
    "ref": "14",
    "repository_id": "15",
    "workflow": "18",
    "trigger": "20",
}
_PUBLIC: Final = "https://tuf-repo-cdn.sigstore.dev"
_UTF8_STRING: Final = 0x0C
_SHORT_FORM: Final = 0x80  # X.690, 8.1.3: lengths below it stand in one byte
_LONG_FORMS: Final = {0x81: 1, 0x82: 2}


@dataclass(frozen=True)
class KeylessVerifier:
    """`bot.ports.Certificates`: who signed a bundle, by its certificate."""

    trusted_root: Path | None = None
    """``trusted_root.json`` of the instance; None: the public one, as the library brings it."""
    _made: list[Verifier] = field(default_factory=list, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def certified(self, bundle: bytes) -> CertifiedEnvelope:
        """The bundle's content and the certificate that vouches for it.

        Raises:
            ConfigurationError: the extra is missing, or the trusted root cannot be read.
            NotCertifiedError: chain, logs or signature do not hold.
        """
        verifier = self._verifier()
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
        # What others wrote goes through several parsers, each with errors of its own.
        except (ValueError, TypeError, AttributeError, KeyError, x509.ExtensionNotFound) as error:
            raise NotCertifiedError(f"it cannot be read ({type(error).__name__})") from error
        return CertifiedEnvelope(reading.certificate, payload_type, payload)

    def _verifier(self) -> Verifier:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]

    def _make(self) -> Verifier:
        file = str(self.trusted_root or "keyless verification")
        if importlib.util.find_spec("sigstore") is None:
            fact = "certificates cannot be verified with what is installed"
            raise ConfigurationError(file, None, fact, 'pip install "lockkeeper[keyless]"')
        from sigstore.errors import Error  # noqa: PLC0415 - an extra
        from sigstore.models import TrustedRoot  # noqa: PLC0415 - an extra
        from sigstore.verify import Verifier  # noqa: PLC0415 - an extra

        # It reports each bundle that does not hold, in words of strangers: we report it ourselves.
        logging.getLogger("sigstore").setLevel(logging.ERROR)
        try:
            root = TrustedRoot.from_file(str(self.trusted_root or _embedded()))
            return Verifier(trusted_root=root)
        except (Error, OSError, ValueError, KeyError, TypeError) as error:
            fact = "is no trusted root of sigstore that can be read"
            remedy = "name a trusted_root.json, as its TUF repository has it"
            raise ConfigurationError(file, None, fact, remedy) from error


class _Reading:
    """A policy of sigstore-python that reads the certificate; it is judged afterwards."""

    def __init__(self) -> None:
        self.certificate = Certificate()

    def verify(self, cert: x509.Certificate) -> None:
        """Keep what the certificate says."""
        said = {name: _extension(cert, number) for name, number in _EXTENSIONS.items()}
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        mails = names.get_values_for_type(x509.RFC822Name)
        self.certificate = Certificate(subject=next(iter([*uris, *mails]), ""), **said)


def _extension(certificate: x509.Certificate, number: str) -> str:
    """The text of one of Fulcio's extensions; empty without it."""
    oid = x509.ObjectIdentifier(f"{_FULCIO}{number}")
    try:
        value = certificate.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return ""
    return _text(value.value) if isinstance(value, x509.UnrecognizedExtension) else ""


def _text(der: bytes) -> str:
    """A UTF8String in DER; an extension that is none says nothing that could count."""
    if len(der) < 2 or der[0] != _UTF8_STRING:  # noqa: PLR2004 - tag and length
        return ""
    more = _LONG_FORMS.get(der[1], 0)
    if not more and der[1] >= _SHORT_FORM:
        return ""
    length = int.from_bytes(der[2 : 2 + more], "big") if more else der[1]
    content = der[2 + more :]
    return content.decode("utf-8", "replace") if len(content) == length else ""


def _embedded() -> Path:
    """The public instance's root that comes with the library: no TUF, no cache, no network."""
    from importlib.resources import files  # noqa: PLC0415 - with the extra
    from urllib.parse import quote  # noqa: PLC0415 - with the extra

    return Path(str(files("sigstore._store") / quote(_PUBLIC, safe="") / "trusted_root.json"))


def _first_line(error: Exception) -> str:
    line = str(error).strip().partition("\n")[0]
    return "".join(c if c.isprintable() else "\ufffd" for c in line[:200]) or "it is not valid"
