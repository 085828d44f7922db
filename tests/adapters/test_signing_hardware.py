"""Keys on a real PKCS #11 token."""

from __future__ import annotations

import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from bot.adapters.signing import RemoteKey, SigningKey, load_key
from bot.adapters.signing.hardware import HardwareAddress
from bot.domain.errors import ConfigurationError
from tests.world.softhsm import PIN, TOKEN, SoftHsm, softhsm


@pytest.fixture(scope="module")
def token() -> SoftHsm:
    found = softhsm()
    found.generate("signing", 2)
    found.generate("other", 3)
    found.generate("p384", 4, "secp384r1")
    return found


def opened(uri: str, pin: str = PIN) -> SigningKey | RemoteKey:
    return load_key(uri.encode() + b"\n", "signing.uri", pin.encode())


def test_a_key_on_a_token_signs(token: SoftHsm) -> None:
    key = opened(token.uri("signing"))

    assert key.verifies(b"message", key.sign(b"message"))
    assert not key.verifies(b"another", key.sign(b"message"))


def test_both_spellings_name_the_same_key(token: SoftHsm) -> None:
    short = f"hsm:2?label={TOKEN.replace(' ', '+')}&module-path={token.module}"
    by_id = f"pkcs11:token=lock%20keeper;id=%02?module-path={token.module}"

    assert (
        opened(short).fingerprint
        == opened(by_id).fingerprint
        == opened(token.uri("signing")).fingerprint
        != opened(token.uri("other")).fingerprint
    )


def test_many_threads_share_a_token(token: SoftHsm) -> None:
    # softhsm2 crashes the process where two threads use it at once.
    keys = [opened(token.uri(label)) for label in ("signing", "other")]

    with ThreadPoolExecutor(8) as pool:
        signatures = list(pool.map(lambda n: keys[n % 2].sign(b"m%d" % n), range(80)))

    assert all(keys[n % 2].verifies(b"m%d" % n, one) for n, one in enumerate(signatures))


def test_a_refused_pin_is_not_tried_again(token: SoftHsm) -> None:
    # Every try counts towards locking the token.
    key = opened(token.uri("signing"), "wrong")

    for _ in range(20):
        with pytest.raises(ConfigurationError, match="refuses the PIN"):
            key.sign(b"m")

    assert opened(token.uri("signing")).sign(b"m")


@pytest.mark.parametrize(
    ("uri", "fact"),
    [
        ("pkcs11:token=nobody;object=signing?module-path={module}", "0 such tokens"),
        ("pkcs11:slot-id=99;object=signing?module-path={module}", "0 such tokens"),
        ("pkcs11:object=nothing?module-path={module}", "no such public key"),
        ("pkcs11:object=p384?module-path={module}", "not an ECDSA key on P-256"),
        ("pkcs11:object=signing", "module-path"),
        ("pkcs11:object=signing?module-path=/nowhere.so", "PKCS #11 says"),
        ("pkcs11:objekt=signing?module-path={module}", "unknown attribute 'objekt'"),
        ("pkcs11:slot-id=x?module-path={module}", "slot-id"),
        ("pkcs11:object=signing?module-path={module}&pin-value={pin}", "PIN in the URI"),
        ("pkcs11:object=signing;pin-source=file:x?module-path={module}", "PIN in the URI"),
        ("hsm:signing?module-path={module}", "small number"),
    ],
)
def test_other_uris_are_refused_with_the_reason(token: SoftHsm, uri: str, fact: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^signing\.uri: ") as caught:
        opened(uri.format(module=token.module, pin=PIN))

    assert fact in str(caught.value)
    assert PIN not in "".join(traceback.format_exception(caught.value))


def test_the_pin_is_in_no_representation(token: SoftHsm) -> None:
    key = opened(token.uri("signing"))
    assert isinstance(key, RemoteKey)

    assert PIN not in repr(key) + repr(key._home)  # noqa: SLF001 - what a debugger would show


def test_a_wrong_pin_is_in_no_error(token: SoftHsm) -> None:
    key = opened(token.uri("signing"), "planted-wrong-pin")

    with pytest.raises(ConfigurationError) as caught:
        key.sign(b"m")

    assert "planted" not in "".join(traceback.format_exception(caught.value))


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)

    with pytest.raises(ConfigurationError, match=r'pip install "lockkeeper\[hsm\]"'):
        opened("pkcs11:object=signing?module-path=/m.so")


def test_escapes_of_rfc_7512_are_undone() -> None:
    uri = "pkcs11:token=a%20b+c;object=k%3B;serial=12;id=%00%ff;type=private?module-path=/m.so"

    parsed = HardwareAddress.parse(uri, "f")

    assert (parsed.module, parsed.token) == ("/m.so", "a b+c")
    assert (parsed.label, parsed.serial, parsed.id) == ("k;", "12", b"\x00\xff")
