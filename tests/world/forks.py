"""The bot's process, forked from one that has imported it: a start costs no second of imports.

What is started is a process like any other: its own id, arguments, environment, files and signals.
Only ``exec`` is left out; journeys that read a command line from the outside start it themselves.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import IO, Final

import jwt.algorithms
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.world.keys import STAGE_COST, STAGE_PASSWORD, generate_key_pair

ROOT: Final = Path(__file__).parents[2]
_MOST: Final = 1 << 20  # bytes of a request


@dataclass
class Forked:
    """A running (or ended) bot, as `subprocess.Popen` shows one."""

    pid: int
    _news: socket.socket = field(repr=False)
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._ended(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(["lockkeeper"], timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._news], [], [], timeout)[0]:
            said = self._news.recv(64)
            self._news.close()
            self.returncode = int(said) if said else -signal.SIGKILL
        return self.returncode


def start_bot(arguments: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> Forked:
    """``lockkeeper ARGUMENTS``, which writes both streams to one file."""
    return _start(arguments, environment, log, log)


def run_bot(
    arguments: Sequence[str], environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """``lockkeeper ARGUMENTS`` to its end."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = _start(arguments, environment, out, err)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            raise
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode())
    return subprocess.CompletedProcess(["lockkeeper", *arguments], code, *said)


def _start(
    arguments: Sequence[str], environment: Mapping[str, str], out: IO[bytes], err: IO[bytes]
) -> Forked:
    control = _parent(os.getpid())
    news, theirs = socket.socketpair()
    with theirs:
        request = json.dumps([list(arguments), dict(environment)]).encode()
        files = [theirs.fileno(), out.fileno(), err.fileno()]
        socket.send_fds(control, [request], files)
    return Forked(int(news.recv(64)), news)


@cache
def _parent(_process: int) -> socket.socket:
    """The process that forks, one for each that asks; it ends when nobody can ask any more."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for one in (ours, theirs):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST)
    with theirs:
        parent = subprocess.Popen(
            [sys.executable, "-m", "tests.world.forks", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        parent.wait(timeout=30)

    atexit.register(end)
    return ours


class _Parent:
    """Forks on request, and tells how each of its children ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, socket.socket] = {}
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False)
        signal.set_wakeup_fd(self._woken)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Until nobody can ask any more."""
        while True:
            control = self._control.fileno()
            ready, _, _ = select.select([control, self._wake], [], [])
            if self._wake in ready:
                os.read(self._wake, 4096)
                self._reap()
            if control in ready:
                request, files, _, _ = socket.recv_fds(self._control, _MOST, 3)
                if not request:
                    return
                self._fork(*json.loads(request), *files)

    def _fork(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        news: int,
        out: int,
        err: int,
    ) -> None:
        pid = os.fork()
        if pid == 0:
            self._become(arguments, environment, out, err)
        for file in (out, err):
            os.close(file)
        self._children[pid] = socket.socket(fileno=news)
        self._children[pid].send(str(pid).encode())
        self._reap()  # it may have ended before it was known

    def _become(
        self, arguments: Sequence[str], environment: Mapping[str, str], out: int, err: int
    ) -> None:
        """The child: an interpreter that has only just begun, as far as it can tell."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.closerange(3, max(self._woken, out, err, *self._numbers()) + 1)
            os.environ.clear()
            os.environ.update(environment)
            time.tzset()
            sys.argv = [str(ROOT / "bot" / "__main__.py"), *arguments]
            code = _run()
        except BaseException:  # noqa: BLE001 - whatever it was, a process shows it and ends
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads as an interpreter does that ends
                atexit._run_exitfuncs()  # noqa: SLF001 - the same
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _numbers(self) -> Sequence[int]:
        return [self._control.fileno(), *(one.fileno() for one in self._children.values())]

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                news = self._children.pop(pid)
                with contextlib.suppress(OSError):  # nobody listens any more
                    news.send(str(os.waitstatus_to_exitcode(status)).encode())
                news.close()


def _run() -> int:
    from bot.__main__ import main  # noqa: PLC0415 - the test that asks must not import it

    try:
        main()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
            return 1
        return ended.code or 0
    return 0


def _remember_keys() -> None:
    """Derive the stage's keys, and take the App's as it is: every bot would need half a second.

    What scrypt makes of one password and one salt is always the same; and the primes of an App's
    key, which the tests have made themselves, need no proof.
    """
    from bot.adapters.signing.keys import load_signing_key  # noqa: PLC0415 - as above

    setattr(hashlib, "scrypt", cache(hashlib.scrypt))  # noqa: B010 - typeshed knows it as a function
    for password in (STAGE_PASSWORD, b""):
        load_signing_key(generate_key_pair(password, cost=STAGE_COST).private, "key", password)
    trusting = partial(load_pem_private_key, unsafe_skip_rsa_key_validation=True)
    setattr(jwt.algorithms, "load_pem_private_key", trusting)  # noqa: B010 - as above


def _main() -> None:
    import bot.__main__  # noqa: PLC0415 - as above
    import bot.assembly  # noqa: PLC0415 - what `serve` imports when it is asked
    import bot.cli.operate  # noqa: PLC0415, F401 - the same

    _remember_keys()
    gc.collect()
    gc.freeze()
    _Parent(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    _main()
