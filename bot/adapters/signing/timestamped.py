"""Bundles of a sigstore instance without logs: GitHub's own, for private repositories.

A timestamp authority says when the certificate signed, and no log says that it did. sigstore-python
verifies only what stands in logs, so this is done here, in the steps that sigstore's client
specification names: a timestamp over the signature by a trusted authority, the chain at that time,
the certificate's purpose, the signature itself. Safe to share by threads.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from bot.adapters.signing.certificates import read_certificate
from bot.domain.trust import CertifiedEnvelope, NotCertifiedError
from bot.formats.sigstore_bundle import pre_authentication_encoding
from bot.formats.structs import decode

_TIMESTAMPS: Final = 32  # of one bundle; sigstore-go reads no more
_CHAIN: Final = 2  # certificates of a timestamp authority at least: its own, and its root
_HASHES: Final = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384()}


class _Raw(msgspec.Struct):
    raw_bytes: str = msgspec.field(name="rawBytes")


class _Timestamp(msgspec.Struct):
    signed_timestamp: str = msgspec.field(name="signedTimestamp")


class _Timestamps(msgspec.Struct):
    rfc3161: list[_Timestamp] = msgspec.field(name="rfc3161Timestamps", default_factory=list)


class _Material(msgspec.Struct, rename="camel"):
    certificate: _Raw
    timestamp_verification_data: _Timestamps


class _Signature(msgspec.Struct):
    sig: str


class _Envelope(msgspec.Struct, rename="camel"):
    payload: str
    payload_type: str
    signatures: list[_Signature]


class _Bundle(msgspec.Struct, rename="camel"):
    verification_material: _Material
    dsse_envelope: _Envelope


class _Chain(msgspec.Struct):
    certificates: list[_Raw]


class _Range(msgspec.Struct):
    start: datetime | None = None
    end: datetime | None = None


class _Authority(msgspec.Struct, rename="camel"):
    cert_chain: _Chain
    valid_for: _Range = msgspec.field(default_factory=_Range)


class _Root(msgspec.Struct, rename="camel"):
    certificate_authorities: list[_Authority]
    timestamp_authorities: list[_Authority]


@dataclass(frozen=True, slots=True)
class _Trusted:
    """An authority of the trusted root: its certificates, its own first, its root last."""

    chain: tuple[x509.Certificate, ...]
    start: datetime
    end: datetime

    @classmethod
    def of(cls, authority: _Authority) -> _Trusted:
        valid = authority.valid_for
        return cls(
            tuple(_certificate(one) for one in authority.cert_chain.certificates),
            valid.start or datetime.min.replace(tzinfo=UTC),
            valid.end or datetime.max.replace(tzinfo=UTC),
        )

    def was_valid(self, at: datetime) -> bool:
        return self.start <= at <= self.end


class TimestampedVerifier:
    """Verifies against the trusted root of one instance."""

    def __init__(self, trusted_root: bytes) -> None:
        """Read ``trusted_root.json``; ValueError if it names no authorities."""
        root = decode(trusted_root, _Root)
        self._authorities = [_Trusted.of(one) for one in root.certificate_authorities]
        self._clocks = [_Trusted.of(one) for one in root.timestamp_authorities]
        short = any(len(clock.chain) < _CHAIN for clock in self._clocks)
        if not self._authorities or not self._clocks or short:
            raise ValueError("a trusted root without authorities")

    def certified(self, bundle: bytes) -> CertifiedEnvelope:
        """The bundle's content and the certificate that vouches for it.

        Raises:
            NotCertifiedError: timestamp, chain, purpose or signature do not hold.
            ValueError: it is no such bundle.
        """
        parsed = decode(bundle, _Bundle)
        envelope, material = parsed.dsse_envelope, parsed.verification_material
        if len(envelope.signatures) != 1:
            raise NotCertifiedError(f"its envelope has {len(envelope.signatures)} signatures")
        certificate = _certificate(material.certificate)
        signature = base64.b64decode(envelope.signatures[0].sig, validate=True)
        for at in self._times(material.timestamp_verification_data, signature):
            self._check_chain(certificate, at)
        _check_purpose(certificate)
        payload = base64.b64decode(envelope.payload, validate=True)
        _check_signature(certificate, signature, envelope.payload_type, payload)
        return CertifiedEnvelope(read_certificate(certificate), envelope.payload_type, payload)

    def _times(self, timestamps: _Timestamps, signature: bytes) -> list[datetime]:
        """When trusted authorities saw the signature; at least one did."""
        if len(timestamps.rfc3161) > _TIMESTAMPS:
            raise NotCertifiedError(f"it has more than {_TIMESTAMPS} timestamps")
        contents = [
            base64.b64decode(one.signed_timestamp, validate=True) for one in timestamps.rfc3161
        ]
        times = [at for one in contents if (at := self._time(one, signature)) is not None]
        if not times:
            raise NotCertifiedError("no timestamp of a trusted authority is over its signature")
        return times

    def _time(self, timestamp: bytes, signature: bytes) -> datetime | None:
        from rfc3161_client import (  # noqa: PLC0415 - an extra
            VerificationError as TimestampError,
            VerifierBuilder,
            decode_timestamp_response,
        )

        answer = decode_timestamp_response(timestamp)
        for clock in self._clocks:
            own, *between, root = clock.chain
            builder = VerifierBuilder().tsa_certificate(own).add_root_certificate(root)
            for one in between:
                builder = builder.add_intermediate_certificate(one)
            try:
                builder.build().verify_message(answer, signature)
            except TimestampError:
                continue
            at = answer.tst_info.gen_time
            if clock.was_valid(at):
                return at
        return None

    def _check_chain(self, certificate: x509.Certificate, at: datetime) -> None:
        trusted = [one for ca in self._authorities if ca.was_valid(at) for one in ca.chain]
        if not trusted:
            raise NotCertifiedError("no certificate authority was trusted when it was made")
        # Certificates of Fulcio are for signing code: the purpose is checked on its own.
        anywhere = (x509.ExtendedKeyUsage, Criticality.NON_CRITICAL, None)
        policies = {
            "ca_policy": ExtensionPolicy.webpki_defaults_ca().may_be_present(*anywhere),
            "ee_policy": ExtensionPolicy.webpki_defaults_ee().may_be_present(*anywhere),
        }
        verifier = (
            PolicyBuilder()
            .store(Store(trusted))
            .time(at)
            .extension_policies(**policies)
            .build_client_verifier()
        )
        try:
            verifier.verify(certificate, [])
        except (VerificationError, x509.UnsupportedGeneralNameType) as error:
            raise NotCertifiedError("no trusted authority issued it for that time") from error


def _check_purpose(certificate: x509.Certificate) -> None:
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if not usage.digital_signature or ExtendedKeyUsageOID.CODE_SIGNING not in purposes:
        raise NotCertifiedError("it is not for signing code")


def _check_signature(
    certificate: x509.Certificate, signature: bytes, payload_type: str, payload: bytes
) -> None:
    key = certificate.public_key()
    algorithm = _HASHES.get(key.curve.name) if isinstance(key, ec.EllipticCurvePublicKey) else None
    if not isinstance(key, ec.EllipticCurvePublicKey) or algorithm is None:
        raise NotCertifiedError("its key is of another kind than ECDSA on P-256 or P-384")
    try:
        key.verify(
            signature, pre_authentication_encoding(payload_type, payload), ec.ECDSA(algorithm)
        )
    except InvalidSignature as error:
        raise NotCertifiedError("its signature is not over what it holds") from error


def _certificate(raw: _Raw) -> x509.Certificate:
    return x509.load_der_x509_certificate(base64.b64decode(raw.raw_bytes, validate=True))
