"""A throw-away PostgreSQL server; each test gets an empty database of it.

Without PostgreSQL's programs the tests are skipped by name; LOCKKEEPER_REQUIRE_TOOLS=1 makes
that a failure.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
import pytest

_START_SECONDS: Final = 30.0
_DATABASES: Final = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    programs = found()
    if programs is None:
        message = "PostgreSQL's initdb is neither on PATH nor in /usr/lib/postgresql"
        if os.environ.get("LOCKKEEPER_REQUIRE_TOOLS") == "1":
            pytest.fail(message)
        pytest.skip(message)
    with serving(programs) as url:
        yield url


@pytest.fixture(scope="session")
def new_postgres(postgres_server: str) -> Callable[[], str]:
    """Make an empty database; return its URL."""

    def new() -> str:
        name = f"t{next(_DATABASES)}"
        with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"{postgres_server}/{name}"

    return new


@pytest.fixture
def postgres_url(new_postgres: Callable[[], str]) -> str:
    return new_postgres()


@contextmanager
def serving(programs: Path, *, fsync: bool = False) -> Iterator[str]:
    """A server of its own, as the URL of one; ``fsync``: as durable as a real one."""
    # Not pytest's folder: it is 0700, and the server's user must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="lockkeeper-postgres-"))
    server = _start(programs, folder, port := _free_port(), fsync=fsync)
    try:
        url = f"postgresql://lockkeeper@127.0.0.1:{port}"
        _await(url, server)
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # which waits for nobody's connections
        server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def found() -> Path | None:
    """The folder of PostgreSQL's programs."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = debian[-1] if debian else shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def _start(programs: Path, folder: Path, port: int, *, fsync: bool) -> subprocess.Popen[bytes]:
    user = _as_user(folder)
    data, log = folder / "data", folder / "log"
    initdb = [*user, str(programs / "initdb"), "-D", str(data), "-U", "lockkeeper"]
    subprocess.run(
        [*initdb, "--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale"],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    options = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": folder,
        "fsync": "on" if fsync else "off",
        "max_connections": 200,
    }
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with log.open("wb") as output:
        return subprocess.Popen(
            [*user, str(programs / "postgres"), "-D", str(data), *settings],
            stdout=output,
            stderr=output,
            cwd=folder,
        )


def _as_user(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return []
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(f"{url}/postgres").close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
