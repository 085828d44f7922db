"""Keys in Vault's transit engine, played by a double that speaks its protocol."""

from __future__ import annotations

import hashlib
import traceback
from base64 import b64encode
from collections.abc import Iterator

import pytest

from bot.adapters.signing import RemoteKey, SigningKey, load_key
from bot.domain.errors import ConfigurationError, IntegrityError, LockkeeperError, UnavailableError
from tests.world.key_services import Vault
from tests.world.tools import free_port

TOKEN = "hvs.planted-token-of-vault"  # noqa: S105 - of this test alone
WRONG = "planted-wrong-token"


@pytest.fixture
def vault() -> Iterator[Vault]:
    service = Vault(TOKEN)
    with service.running():
        yield service


def opened(vault: Vault, *, token: str = TOKEN, public: bytes = b"") -> SigningKey | RemoteKey:
    uri = f"hashivault://prod?address={vault.url}\n"
    return load_key(uri.encode(), "signing.uri", token.encode(), public)


def test_a_key_in_vault_signs(vault: Vault) -> None:
    key = opened(vault)

    assert key.public_key_pem.decode() == vault.pem()
    assert key.verifies(b"message", key.sign(b"message"))


def test_only_the_digest_is_sent(vault: Vault) -> None:
    opened(vault).sign(b"message")

    assert vault.bodies[-1]["input"] == b64encode(hashlib.sha256(b"message").digest()).decode()


def test_a_version_that_comes_later_does_not_sign(vault: Vault) -> None:
    # The verifiers have the public key that was known when the key was opened.
    key = opened(vault)
    vault.rotate()

    assert key.verifies(b"m", key.sign(b"m"))
    assert opened(vault).fingerprint != key.fingerprint


def test_with_the_public_key_at_hand_vault_is_asked_only_to_sign(vault: Vault) -> None:
    key = opened(vault, public=vault.pem().encode())

    key.sign(b"m")

    assert vault.asked == ["POST /v1/transit/sign/prod/sha2-256"]


def test_another_key_than_the_known_one_signs_nothing(vault: Vault) -> None:
    known = vault.pem().encode()
    vault.rotate()

    with pytest.raises(IntegrityError, match="signs with another key"):
        opened(vault, public=known).sign(b"m")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, UnavailableError),
        (503, UnavailableError),
        (500, UnavailableError),
        (473, UnavailableError),
        (400, ConfigurationError),
        (403, ConfigurationError),
        (404, ConfigurationError),
        (301, ConfigurationError),
    ],
)
def test_vaults_refusals_are_final_or_not(
    vault: Vault, status: int, kind: type[LockkeeperError]
) -> None:
    key = opened(vault)
    vault.refuses_with = status

    with pytest.raises(kind, match=rf"answers {status}") as caught:
        key.sign(b"m")

    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_a_wrong_token_is_wrong_configuration(vault: Vault) -> None:
    with pytest.raises(ConfigurationError, match="answers 403") as caught:
        opened(vault, token=WRONG)

    assert WRONG not in "".join(traceback.format_exception(caught.value))


def test_a_vault_that_is_away_is_tried_again() -> None:
    uri = f"hashivault://prod?address=http://127.0.0.1:{free_port()}"

    with pytest.raises(UnavailableError, match="cannot be reached") as caught:
        load_key(uri.encode(), "signing.uri", TOKEN.encode())

    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_a_key_of_another_type_is_refused(vault: Vault) -> None:
    vault.kind = "ed25519"

    with pytest.raises(ConfigurationError, match="another type than ecdsa-p256"):
        opened(vault)


@pytest.mark.parametrize(
    ("uri", "fact"),
    [
        ("hashivault://prod", "no https address"),
        ("hashivault://prod?address=http://vault.example.com:8200", "no https address"),
        ("hashivault://prod?address=ftp://127.0.0.1", "no https address"),
        ("hashivault://prod?address=https://t:s@vault.example.com", "more than a host"),
        ("hashivault://prod?address=https://vault.example.com/v1", "more than a host"),
        ("hashivault://?address=https://vault.example.com", "the key's name"),
        ("hashivault://../sys/seal?address=https://vault.example.com", "the key's name"),
        ("hashivault://prod?address=https://vault.example.com&mount=a/../b", "mount"),
        ("hashivault://prod?adress=https://vault.example.com", "unknown option 'adress'"),
        ("hashivault://prod?address=https://v.example.com\nhashivault://b", "more than one line"),
    ],
)
def test_other_uris_are_refused_with_the_reason(uri: str, fact: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_key(uri.encode(), "signing.uri", TOKEN.encode())

    assert fact in str(caught.value)


@pytest.mark.parametrize("token", [b"", b"two words", b"line\nline", b"\xff\xfe"])
def test_a_token_must_be_one(token: bytes) -> None:
    with pytest.raises(ConfigurationError, match="no token for Vault"):
        load_key(b"hashivault://k?address=https://v.example.com", "signing.uri", token)


def test_the_token_is_in_no_representation(vault: Vault) -> None:
    key = opened(vault)
    assert isinstance(key, RemoteKey)

    assert TOKEN not in repr(key) + repr(key._home)  # noqa: SLF001 - what a debugger would show
