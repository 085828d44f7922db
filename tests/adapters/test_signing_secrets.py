"""No password, PIN or token of a key leaves the module that uses it, however it fails."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from bot.adapters.signing import load_key
from bot.domain.errors import LockkeeperError
from tests.world.key_services import Vault
from tests.world.keys import generate_key_pair
from tests.world.softhsm import PIN, softhsm

PASSWORD = "planted-password-4711"  # noqa: S105 - of this test alone
FILE = generate_key_pair(PASSWORD.encode(), cost=32768).private
# Long enough not to be in a message by chance; printable, as people choose them.
SECRETS = st.text(st.characters(codec="ascii", min_codepoint=33), min_size=12, max_size=40)


@dataclass
class Watched:
    """What became visible outside the process or in its log."""

    log: pytest.LogCaptureFixture
    started: list[str] = field(default_factory=list)

    def text(self, key: object, errors: list[LockkeeperError]) -> str:
        said = [
            *("".join(traceback.format_exception_only(error)) for error in errors),
            *(repr(error.__cause__) + repr(error.__context__) for error in errors),
            *(repr(vars(error)) for error in errors),
        ]
        return repr(key) + self.log.text + "".join(self.started) + "".join(said)


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Iterator[Watched]:
    softhsm()  # its own tool takes the PIN as an argument
    caplog.set_level(logging.DEBUG)
    seen, active = Watched(caplog), [True]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if active and event in {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"}:
            seen.started.append(repr(arguments))

    sys.addaudithook(hook)  # it stays for ever, and says nothing once the test is over
    yield seen
    active.clear()


def used(content: bytes, secret: str) -> tuple[object, list[LockkeeperError]]:
    """Open a key and sign with it; what went wrong, at most once each."""
    errors: list[LockkeeperError] = []
    try:
        name = "signing.key" if content == FILE else "signing.uri"
        key = load_key(content, name, secret.encode())
        key.sign(b"message")
    except LockkeeperError as error:
        errors.append(error)
        return None, errors
    return key, errors


def test_right_secrets_stay_inside(watched: Watched) -> None:
    token, vault = softhsm(), Vault("planted-token-of-vault")
    token.generate("secret", 60)
    with vault.running():
        uri = f"hashivault://prod?address={vault.url}".encode()
        places = [
            (token.uri("secret").encode(), PIN),
            (uri, vault.secret),
            (FILE, PASSWORD),
        ]

        for content, secret in places:
            key, errors = used(content, secret)

            assert errors == []
            assert secret not in watched.text(key, errors)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(secret=SECRETS)
def test_wrong_secrets_stay_inside(watched: Watched, secret: str) -> None:
    token, vault = softhsm(), Vault("another")
    with vault.running():
        uri = f"hashivault://prod?address={vault.url}".encode()
        for content in (FILE, uri, token.uri("nothing").encode(), b"rubbish"):
            key, errors = used(content, secret)

            assert key is None
            assert secret not in watched.text(key, errors)
