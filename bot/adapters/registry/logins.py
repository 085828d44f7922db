"""The log-in of a host: as written in the grant, or asked from a credential helper.

A helper is a program of the operator's. It gets the host's name and nothing else: no argument
but ``get``, no variable that the grant does not name, no file descriptor of ours. It has a
deadline, and what it prints is limited and never shown.

Source: docker/docker-credential-helpers, README, "Development".
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from bot.domain.errors import RejectedError, UnavailableError
from bot.domain.grants import TOKEN_USER, CredentialHelper, HostGrant
from bot.formats import structs

if TYPE_CHECKING:
    from bot.ports.clock import Clock

_SECONDS: Final = 30.0  # for one answer of a helper
# What docker itself calls it where it keeps log-ins (docker/cli, registry.IndexServer).
_HUB: Final = {"docker.io": "https://index.docker.io/v1/"}
_LIMIT: Final = 64 * 1024  # bytes of it
_KEPT: Final = timedelta(minutes=15)  # ECR's live for 12 hours, Azure's for 3, Google's for 1
_NOT_FOUND: Final = b"credentials not found"  # docker-credential-helpers, credentials/error.go
_IDENTITY: Final = frozenset({"<token>", TOKEN_USER})  # docker/cli, credentials/native_store.go


class HelperError(RejectedError):
    """A credential helper gave no log-in."""

    def __init__(self, program: str, host: str, fact: str) -> None:
        """Name the program, the host and what was wrong; never what it printed."""
        super().__init__(f"{program} gives no log-in for {host}: {fact}")
        self.program, self.host, self.fact = program, host, fact


@dataclass(frozen=True, slots=True)
class Login:
    """What is sent to a registry or its token service."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        """There is something to log in with."""
        return bool(self.username or self.identity_token)


class _Answer(msgspec.Struct):
    username: str = msgspec.field(default="", name="Username")
    secret: str = msgspec.field(default="", name="Secret")


class Logins:
    """Finds log-ins and keeps those of helpers for a while; safe to use from several threads."""

    def __init__(self, clock: Clock) -> None:
        """Run nothing yet."""
        self._clock = clock
        self._kept: dict[tuple[CredentialHelper, str], tuple[Login, datetime]] = {}
        self._guard = threading.Lock()

    def of(self, entry: HostGrant) -> Login:
        """The log-in of an entry of the grant; a false one if there is none.

        Raises:
            HelperError: its helper knows none.
            UnavailableError: its helper did not answer in time.
        """
        if entry.helper is None:
            return Login(entry.username, entry.password, entry.identity_token)
        key = (entry.helper, entry.host)
        with self._guard:  # however many threads need it, a helper is asked once
            login, until = self._kept.get(key, (None, self._clock.now()))
            if login is None or until <= self._clock.now():
                login = _asked(entry.helper, entry.host)
                self._kept[key] = (login, self._clock.now() + _KEPT)
            return login

    def forget(self, entry: HostGrant, is_refused: Callable[[Login], bool]) -> bool:
        """Ask the helper again next time, if what it gave is refused; False without a helper."""
        if entry.helper is None:
            return False
        key = (entry.helper, entry.host)
        with self._guard:
            login, _ = self._kept.get(key, (None, None))
            if login is not None and is_refused(login):
                del self._kept[key]
            return True


def _asked(helper: CredentialHelper, host: str) -> Login:
    output, status = _run(helper, host)
    if status and helper.may_lack and _NOT_FOUND in output:
        return Login()
    if status:
        raise HelperError(helper.program, host, f"it ended with status {status}")
    if len(output) > _LIMIT:
        raise HelperError(helper.program, host, f"it prints more than {_LIMIT} bytes")
    try:
        answer = structs.decode(output, _Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise HelperError(helper.program, host, "it prints something else") from None
    if not answer.username or not answer.secret:
        raise HelperError(helper.program, host, "no user or no secret")
    if answer.username in _IDENTITY:
        return Login(identity_token=answer.secret)
    return Login(answer.username, answer.secret)


def _run(helper: CredentialHelper, host: str) -> tuple[bytes, int]:
    """What the helper prints, cut behind the limit, and its exit status."""
    with _started(helper, host) as process, _deadline(process) as missed:
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        with contextlib.suppress(OSError):  # it may not read what it is told
            process.stdin.write(_HUB.get(host, host).encode())
            process.stdin.close()
        output = process.stdout.read(_LIMIT + 1)
        if len(output) > _LIMIT:
            _kill(process)
            return output, 0
        status = process.wait()
    if missed.is_set():
        raise UnavailableError(f"{helper.program} does not answer within {_SECONDS:.0f} s")
    return output, status


@contextlib.contextmanager
def _started(helper: CredentialHelper, host: str) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's program, by its absolute path
            [helper.program, "get"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(helper.environment),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise HelperError(helper.program, host, str(error.strerror)) from error
    with process:
        try:
            yield process
        finally:
            _kill(process)  # what it may have left behind in its session, too


@contextlib.contextmanager
def _deadline(process: subprocess.Popen[bytes]) -> Iterator[threading.Event]:
    missed = threading.Event()

    def end() -> None:
        missed.set()
        _kill(process)

    timer = threading.Timer(_SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        yield missed
    finally:
        timer.cancel()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
