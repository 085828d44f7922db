"""Keys in hardware, by PKCS #11.

    pkcs11:token=prod;object=signing?module-path=/usr/lib/softhsm/libsofthsm2.so
    hsm:2?label=prod&module-path=/usr/lib/softhsm/libsofthsm2.so

The first is RFC 7512, as cosign and p11-kit write it, the second securesystemslib's spelling. The
PIN never stands in a URI. python-pkcs11 is used as it is: securesystemslib's own signer takes its
library from the process environment and cannot find a key by its label.

A PKCS #11 library is not safe to share between threads (softhsm2 crashes): one lock is around
every use of any. A PIN that was refused is not tried again, because tokens lock themselves.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_to_bytes

from bot.domain.errors import ConfigurationError, UnavailableError

_LOCK: Final = threading.Lock()
_EXAMPLE: Final = "for example pkcs11:token=prod;object=signing?module-path=/usr/lib/libsofthsm2.so"
_LEGACY_ID: Final = 2  # securesystemslib's default: PIV's slot 9c
_KNOWN: Final = frozenset(
    {"token", "object", "id", "serial", "slot-id", "module-path", "type", "label"}
)


@dataclass(frozen=True, slots=True)
class HardwareAddress:
    """Where a key lies."""

    module: str
    """Path of the PKCS #11 library."""
    token: str = ""
    serial: str = ""
    slot: int | None = None
    label: str = ""
    id: bytes = b""

    @classmethod
    def parse(cls, uri: str, file: str) -> HardwareAddress:
        """Read either spelling.

        Raises:
            ConfigurationError: an attribute is missing, unknown or a secret.
        """
        scheme, _, rest = uri.partition(":")
        path, _, query = rest.partition("?")
        fields = dict(parse_qsl(query.replace("+", "%2B") if scheme == "pkcs11" else query))
        if scheme == "pkcs11":
            pairs = (part.partition("=") for part in path.split(";") if part)
            fields |= {name: value for name, _, value in pairs}
        else:
            fields["token"] = fields.pop("label", "")
            fields["id"] = f"%{_legacy_id(path, file):02x}"
        return cls._of(fields, file)

    @classmethod
    def _of(cls, fields: dict[str, str], file: str) -> HardwareAddress:
        if {"pin-value", "pin-source"} & fields.keys():
            remedy = "write it into the .password file beside this one, or use --password-file"
            raise ConfigurationError(file, None, "has a PIN in the URI", remedy)
        unknown = sorted(fields.keys() - _KNOWN)
        if unknown:
            raise ConfigurationError(file, None, f"unknown attribute {unknown[0][:40]!r}", _EXAMPLE)
        if not fields.get("module-path"):
            raise ConfigurationError(file, None, "names no module-path", _EXAMPLE)
        slot = fields.get("slot-id", "")
        if slot and not slot.isdecimal():
            raise ConfigurationError(file, None, "slot-id is not a number", _EXAMPLE)
        return cls(
            module=fields["module-path"],
            token=_text(fields.get("token", "")),
            serial=_text(fields.get("serial", "")),
            slot=int(slot) if slot else None,
            label=_text(fields.get("object", "")),
            id=unquote_to_bytes(fields.get("id", "")),
        )


class HardwareKey:
    """One key on one token."""

    def __init__(self, address: HardwareAddress, file: str, pin: bytes) -> None:
        """Open nothing yet.

        Args:
            address: where it lies.
            file: what to name in errors.
            pin: the user PIN; empty for a token without one.
        """
        self._address, self._file = address, file
        self._pin = pin
        self._pin_was_refused = False

    def __repr__(self) -> str:
        return f"HardwareKey({self._address!r})"

    def public_key(self) -> bytes:
        """The SPKI in DER; read without the PIN where the token allows it."""
        from pkcs11 import ObjectClass  # noqa: PLC0415 - an extra
        from pkcs11.util.ec import encode_ec_public_key  # noqa: PLC0415 - an extra

        with _LOCK, self._translated():
            for pin in dict.fromkeys((b"", self._pin)):
                with self._session(pin) as session:
                    for key in session.get_objects(self._template(ObjectClass.PUBLIC_KEY)):
                        return bytes(encode_ec_public_key(key))
        raise ConfigurationError(self._file, None, "the token has no such public key")

    def sign(self, message: bytes) -> bytes:
        """ECDSA over SHA-256 of the message, DER."""
        from pkcs11 import Mechanism, ObjectClass  # noqa: PLC0415 - an extra
        from pkcs11.util.ec import encode_ecdsa_signature  # noqa: PLC0415 - an extra

        digest = hashlib.sha256(message).digest()
        with _LOCK, self._translated(), self._session(self._pin) as session:
            found = list(session.get_objects(self._template(ObjectClass.PRIVATE_KEY)))
            if len(found) != 1:
                fact = f"the token has {len(found)} such private keys"
                raise ConfigurationError(self._file, None, fact, "name one by object or id")
            return bytes(encode_ecdsa_signature(found[0].sign(digest, mechanism=Mechanism.ECDSA)))

    def _template(self, kind: Any) -> dict[Any, Any]:  # noqa: ANN401 - the library's enumeration
        from pkcs11 import Attribute, KeyType  # noqa: PLC0415 - an extra

        template = {Attribute.CLASS: kind, Attribute.KEY_TYPE: KeyType.EC}
        if self._address.label:
            template[Attribute.LABEL] = self._address.label
        if self._address.id:
            template[Attribute.ID] = self._address.id
        return template

    @contextmanager
    def _session(self, pin: bytes) -> Iterator[Any]:
        if pin and self._pin_was_refused:
            raise self._wrong_pin()
        token = self._token()
        with token.open(user_pin=pin.decode()) if pin else token.open() as session:
            yield session

    def _token(self) -> Any:  # noqa: ANN401 - the library's token
        import pkcs11  # noqa: PLC0415 - an extra

        address = self._address
        tokens = [
            token
            for slot in pkcs11.lib(address.module).get_slots(token_present=True)
            if address.slot in (None, slot.slot_id)
            for token in [slot.get_token()]
            if address.token in ("", token.label)
            and address.serial in ("", _serial(token.serial))
            and pkcs11.TokenFlag.TOKEN_INITIALIZED in token.flags
        ]
        if len(tokens) != 1:
            fact = f"the module has {len(tokens)} such tokens"
            raise ConfigurationError(self._file, None, fact, "name one by token, serial or slot-id")
        return tokens[0]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        from pkcs11 import exceptions  # noqa: PLC0415 - an extra

        wrong_pin = (
            exceptions.PinIncorrect,
            exceptions.PinInvalid,
            exceptions.PinLenRange,
            exceptions.PinLocked,
        )
        try:
            yield
        except wrong_pin as error:
            self._pin_was_refused = True
            raise self._wrong_pin() from error
        except (exceptions.PKCS11Error, RuntimeError) as error:
            said = f"PKCS #11 says {type(error).__name__}"
            if isinstance(error, _away(exceptions)):
                raise UnavailableError(f"{self._file}: {said}") from error
            raise ConfigurationError(self._file, None, said, _EXAMPLE) from error

    def _wrong_pin(self) -> ConfigurationError:
        remedy = "correct the .password file; this PIN is not tried again, tokens lock themselves"
        return ConfigurationError(self._file, None, "the token refuses the PIN", remedy)


def _away(exceptions: Any) -> tuple[type[Exception], ...]:  # noqa: ANN401 - a module
    """What may pass by itself: the device is busy, unplugged or out of sessions."""
    names = ("DeviceError", "DeviceMemory", "DeviceRemoved", "SessionCount", "HostMemory")
    return tuple(getattr(exceptions, name) for name in names if hasattr(exceptions, name))


def _legacy_id(path: str, file: str) -> int:
    if path and not (path.isdecimal() and int(path) < 256):  # noqa: PLR2004 - one byte
        raise ConfigurationError(file, None, "the key id of hsm: is not a small number", _EXAMPLE)
    return int(path) if path else _LEGACY_ID


def _text(escaped: str) -> str:
    return unquote_to_bytes(escaped).decode("utf-8", "replace")


def _serial(raw: bytes | str) -> str:
    return (raw.decode("ascii", "replace") if isinstance(raw, bytes) else raw).strip()
