"""The same walls where the bot may less: as an ordinary user, and without namespaces.

A process of its own, because both are for good: it gives up what a container has not, raises a
`Sandbox`, and lets a scanner try the ways out.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.world.scanners import interpreter, open_folder, write_program

ROOT = Path(__file__).parents[3]

# The package's own __init__ needs libraries that another user's Python has not.
RAISES = f"""
import json, os, platform, socket, sys, types
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
package = types.ModuleType("bot.adapters.scanning")
package.__path__ = [{str(ROOT / "bot/adapters/scanning")!r}]
sys.modules["bot.adapters.scanning"] = package
from bot.adapters.scanning import confine, hardening
from bot.adapters.scanning.sandbox import Limits, Port, Sandbox
from bot.domain.errors import UnavailableError
hardening.harden()
if "container" in sys.argv:
    libc = confine._Libc()
    libc.prctl(38, 1)
    filter = confine._Filter(*confine._MACHINES[platform.machine()])
    filter.refuse((272, 97), 1)  # unshare, as Docker's default profile does
    filter.enforce(libc)
sandbox = Sandbox(Path(sys.argv[1]), limits=Limits(seconds=20), directory=Path(sys.argv[2]))
found = sandbox.confinement()
with sandbox.room() as room:
    done = sandbox.run(room, [str(os.getpid()), sys.argv[3]])
    try:
        sandbox.run(room, [], port=Port(4954, lambda listener: listener))
    except UnavailableError as error:
        server = str(error)
    else:
        server = "started"
print(json.dumps({{
    "namespaces": found.namespaces, "other_user": found.other_user, "missing": found.missing,
    "escaped": done.output.decode(), "said": done.said, "server": server,
}}))
"""

TRIES = """
import ctypes, os, resource, socket, sys
if len(sys.argv) == 1: sys.exit(0)
bot, secret = int(sys.argv[1]), sys.argv[2]
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
for way in (lambda: os.chmod(secret, 0o777), lambda: os.utime(secret, (0, 0))):
    try: way()
    except OSError: pass  # either way nothing may change
ways = {
    "environ": lambda: open(f"/proc/{bot}/environ").read(),
    "memory": lambda: open(f"/proc/{bot}/mem", "rb"),
    "ptrace": lambda: call(101 if os.uname().machine == "x86_64" else 117, 16, bot, 0, 0),
    "secret": lambda: open(secret),
    "truncate": lambda: os.truncate(secret, 0),
    "unlink": lambda: os.unlink(secret),
    "list": lambda: os.listdir(os.path.dirname(secret)),
    "kill": lambda: os.kill(bot, 0),
    "prlimit": lambda: resource.prlimit(bot, resource.RLIMIT_NOFILE, (9, 9)),
    "tcp": lambda: socket.create_connection(("127.0.0.1", 22), 2),
    "metadata": lambda: socket.create_connection(("169.254.169.254", 80), 2),
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "unix": lambda: socket.socket(socket.AF_UNIX),
    "given": lambda: open("../given/image", "w"),
    "program": lambda: open(__file__, "a"),
    "fork": os.fork,
    "session": os.setsid,
}
for name, way in ways.items():
    try: way()
    except OSError: continue
    print(name)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as found:
        found.chmod(0o777)
        yield found


def raised(folder: Path, *, container: bool, ordinary: bool) -> dict[str, Any]:
    if os.geteuid() != 0 and not ordinary:
        pytest.skip("only root can be root")
    if not all(parent.stat().st_mode & 0o001 for parent in (ROOT, *ROOT.parents)):
        pytest.skip("another user cannot read the bot's modules here")
    rooms = folder / "rooms"
    rooms.mkdir()
    rooms.chmod(0o777)
    secret = folder / "secret"
    secret.write_text("s3cret")
    secret.chmod(0o600)
    program = write_program(folder / "scanner", TRIES)
    given = ["container"] if container else []
    user = 10_055 if ordinary and os.geteuid() == 0 else None
    if user:
        os.chown(secret, user, user)
    done = subprocess.run(
        [interpreter(), "-c", RAISES, program, rooms, secret, *given],
        capture_output=True,
        text=True,
        check=False,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    assert secret.read_text() == "s3cret"
    assert (secret.stat().st_mode & 0o777, secret.stat().st_mtime > 0) == (0o600, True)
    assert list(rooms.iterdir()) == []
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_an_ordinary_user_in_a_container_keeps_it_in(folder: Path) -> None:
    found = raised(folder, container=True, ordinary=True)

    assert (found["escaped"], found["missing"]) == ("", [])
    assert not found["namespaces"]
    assert not found["other_user"]
    assert "needs a network namespace of its own" in found["server"]


def test_root_in_a_container_keeps_it_in(folder: Path) -> None:
    found = raised(folder, container=True, ordinary=False)

    assert (found["escaped"], found["missing"]) == ("", [])
    assert not found["namespaces"]
    assert found["other_user"]


def test_an_ordinary_user_keeps_it_in(folder: Path) -> None:
    found = raised(folder, container=False, ordinary=True)

    assert (found["escaped"], found["missing"]) == ("", [])
