from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from bot.adapters.signing import load_public_key, load_signing_key
from bot.domain.errors import ConfigurationError
from tests.world.keys import encrypted, generate_key_pair
from tests.world.tools import run

PKCS8 = serialization.PrivateFormat.PKCS8
Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def pem(
    key: Private, form: serialization.PrivateFormat = PKCS8, password: bytes | None = None
) -> bytes:
    protection: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, form, protection)


def test_a_key_that_cosign_made_signs_what_cosign_verifies(tmp_path: Path) -> None:
    run(
        "cosign3",
        "generate-key-pair",
        f"--output-key-prefix={tmp_path}/k",
        environment={"COSIGN_PASSWORD": "pass word"},
    )

    signer = load_signing_key((tmp_path / "k.key").read_bytes(), "k.key", b"pass word")

    public = load_public_key((tmp_path / "k.pub").read_bytes(), "k.pub")
    assert signer.public_key_pem == (tmp_path / "k.pub").read_bytes()
    assert public.verifies(b"message", signer.sign(b"message"))


def test_cosign_opens_a_key_that_we_made(tmp_path: Path) -> None:
    pair = generate_key_pair(b"x")
    (tmp_path / "k.key").write_bytes(pair.private)

    printed = run(
        "cosign3",
        "public-key",
        f"--key={tmp_path}/k.key",
        environment={"COSIGN_PASSWORD": "x"},
    )

    assert printed.encode() == pair.public


@pytest.mark.parametrize("form", [PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_a_plain_pem_is_a_key_too(form: serialization.PrivateFormat) -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    signer = load_signing_key(pem(key, form), "k.pem")

    assert signer.verifies(b"m", signer.sign(b"m"))


def test_the_fingerprint_is_of_the_public_key_however_it_is_spelled() -> None:
    pair = generate_key_pair()
    signer = load_signing_key(pair.private, "k")
    der = serialization.load_pem_public_key(pair.public).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    other = load_public_key(b"comment\n" + pair.public.replace(b"\n", b"\r\n"), "k.pub")

    assert signer.fingerprint == other.fingerprint == "sha256:" + hashlib.sha256(der).hexdigest()


def test_another_message_or_key_does_not_verify() -> None:
    signer, other = (load_signing_key(generate_key_pair().private, "k") for _ in range(2))
    signature = signer.sign(b"m")

    assert not signer.verifies(b"n", signature)
    assert not other.verifies(b"m", signature)
    assert not signer.verifies(b"m", b"rubbish")
    assert not signer.verifies(b"m", b"")


def test_the_old_label_of_cosign_is_read() -> None:
    content = generate_key_pair().private.replace(b"SIGSTORE", b"COSIGN")

    assert load_signing_key(content, "k").fingerprint.startswith("sha256:")


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (generate_key_pair(b"right").private, "the password does not open this key"),
        (generate_key_pair(cost=16384).private, "unknown key derivation"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "not an ECDSA key on P-256"),
        (pem(rsa.generate_private_key(65537, 2048)), "not an ECDSA key on P-256"),
        (pem(ed25519.Ed25519PrivateKey.generate()), "not an ECDSA key on P-256"),
        (pem(ec.generate_private_key(ec.SECP256R1()), PKCS8, b"p"), "without a password"),
        (encrypted(b"rubbish", b""), "not a private key"),
        (b"rubbish", "not a private key"),
        (b"", "not a private key"),
        (generate_key_pair().public, "not a private key"),
    ],
)
def test_other_keys_are_refused_with_the_reason(content: bytes, fact: str) -> None:
    with pytest.raises(ConfigurationError, match=r"k\.key") as caught:
        load_signing_key(content, "k.key", b"")

    assert fact in str(caught.value)


def test_a_damaged_key_file_is_refused() -> None:
    content = generate_key_pair().private
    damaged = content[:80] + content[150:]

    with pytest.raises(ConfigurationError):
        load_signing_key(damaged, "k")


@pytest.mark.parametrize("content", [b"", b"rubbish", generate_key_pair().private])
def test_what_is_no_public_key_is_refused(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"k\.pub"):
        load_public_key(content, "k.pub")


def test_a_public_key_of_another_algorithm_is_refused() -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    content = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    with pytest.raises(ConfigurationError, match="P-256"):
        load_public_key(content, "k.pub")


def test_the_private_key_is_not_in_the_repr() -> None:
    assert repr(load_signing_key(generate_key_pair().private, "k")) == "SigningKey()"
