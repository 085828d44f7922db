"""What a certificate of Fulcio says, read into the domain's words."""

from __future__ import annotations

from typing import Final

from cryptography import x509

from bot.domain.trust import Certificate

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
_UTF8_STRING: Final = 0x0C
_SHORT_FORM: Final = 0x80  # X.690, 8.1.3: lengths below it stand in one byte
_LONG_FORMS: Final = {0x81: 1, 0x82: 2}


def read_certificate(certificate: x509.Certificate) -> Certificate:
    """Who signed; whether the certificate holds is asked elsewhere."""
    said = {name: _extension(certificate, number) for name, number in _EXTENSIONS.items()}
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    mails = names.get_values_for_type(x509.RFC822Name)
    return Certificate(subject=next(iter([*uris, *mails]), ""), **said)


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
