"""What a hostile scanner tries, and that it gets nowhere (threat model, the scanner as an enemy).

The scanner here is Python code. It runs as a user of its own where these tests run as root, and
as the same user otherwise; `test_sandbox_unprivileged.py` tries the second case from root, too.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import pytest

from bot.adapters.scanning import hardening, rooms
from bot.adapters.scanning.sandbox import Confinement, Done, Limits, Sandbox
from bot.domain.errors import UnavailableError
from tests.world.scanners import interpreter, open_folder, write_program

SMALL = Limits(seconds=20, memory=512 * 2**20, output=2**20, disk=64 * 2**20, threads=64)
PARENT = os.getpid()
# By its path: another user's Python has none of the libraries that its package needs.
_HARDEN = f"import runpy, sys; runpy.run_path({hardening.__file__!r})['harden']()"


@dataclass(frozen=True)
class Stage:
    """A sandbox, and around it what must stay out of reach."""

    folder: Path
    limits: Limits = SMALL

    @property
    def secret(self) -> Path:
        """Readable by everyone: only the sandbox keeps it."""
        return self.folder / "grants" / "acme" / "signing.key"

    def run(self, code: str, limits: Limits | None = None) -> Done:
        program = write_program(self.folder / "scanner", code)
        sandbox = Sandbox(program, limits=limits or self.limits)
        with sandbox.room() as room:
            return sandbox.run(room, [str(PARENT)], readable=[self.folder / "database"])

    def tries(self, code: str, limits: Limits | None = None) -> str:
        """``refused``, with the error's name, or what the code has achieved."""
        indented = "\n".join(f"    {line}" for line in code.splitlines())
        done = self.run(f"{_PREAMBLE}try:\n{indented}\nexcept OSError as e:\n{_REFUSED}", limits)
        assert done.status == 0, done
        return done.output.decode()


_PREAMBLE = """
import ctypes, errno, os, socket, sys
parent = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
"""
_REFUSED = "    print('refused', errno.errorcode[e.errno], end='')\n"


@pytest.fixture
def stage() -> Iterator[Stage]:
    with open_folder() as folder:
        for name in ("grants/acme/signing.key", "data/lockkeeper.db", "settings/webhook.secret"):
            file = folder / name
            file.parent.mkdir(parents=True)
            file.write_text("-----BEGIN PRIVATE KEY-----")
        (folder / "database").mkdir()
        (folder / "database" / "data").write_text("old")
        yield Stage(folder)


def test_it_sees_what_it_is_given_and_writes_where_it_may(stage: Stage) -> None:
    done = stage.run(
        "import os\n"
        f"print(open('{stage.folder}/database/data').read(), sorted(os.environ))\n"
        "open('note', 'w').write('x'); print(os.listdir('.'), os.getcwd().endswith('/work'))"
    )

    assert done.output.decode().splitlines() == [
        "old ['GOMEMLIMIT', 'HOME', 'LANG', 'TMPDIR', 'TZ', 'XDG_CACHE_HOME']",
        "['note'] True",
    ]


# --- the bot's memory ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["environ", "mem", "maps", "cmdline", "root", "cwd", "fd"])
def test_the_bot_in_proc_is_out_of_reach(stage: Stage, name: str) -> None:
    path = f"f'/proc/{{parent}}/{name}'"
    code = f"print(os.listdir({path}))" if name in {"root", "cwd", "fd"} else f"open({path})"

    assert stage.tries(code) in {"refused EACCES", "refused ENOENT"}


@pytest.mark.parametrize(
    "code",
    [
        "call(101, 16, parent, 0, 0)",  # ptrace(PTRACE_ATTACH)
        "call(101, 0x4206, parent, 0, 0)",  # ptrace(PTRACE_SEIZE)
        "call(310, parent, None, 0, None, 0, 0)",  # process_vm_readv
        "call(434, parent, 0)",  # pidfd_open
        "call(312, parent, parent, 0, 0, 0)",  # kcmp
        "os.kill(parent, 0)",
        "os.kill(-1, 9)",
        "os.setpriority(os.PRIO_PROCESS, parent, 19)",
        "os.sched_setaffinity(parent, {0})",
        "import resource; resource.prlimit(parent, resource.RLIMIT_NOFILE, (1, 1))",
    ],
)
def test_the_bot_cannot_be_traced_read_or_disturbed(stage: Stage, code: str) -> None:
    assert stage.tries(code) in {"refused EPERM", "refused ESRCH"}


def test_a_hardened_bot_is_not_read_by_its_own_user_either() -> None:
    waits = f"{_HARDEN}; print('ready', flush=True); sys.stdin.read()"
    reads = "import sys; open(f'/proc/{sys.argv[1]}/environ').read()"
    python = str(interpreter())
    with subprocess.Popen(
        [python, "-c", waits], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **_nobody()
    ) as bot:
        assert bot.stdout
        assert bot.stdout.readline() == b"ready\n"
        found = subprocess.run(
            [python, "-c", reads, str(bot.pid)],
            check=False,
            capture_output=True,
            text=True,
            **_nobody(),
        )
        bot.kill()

    assert "PermissionError" in found.stderr


def test_hardening_can_be_repeated_and_leaves_no_core() -> None:
    code = f"{_HARDEN}; {_HARDEN}; import resource; print(resource.getrlimit(4)[0])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert done.stdout == b"0\n"


# --- files -----------------------------------------------------------------------------------


def test_no_file_of_the_bot_opens(stage: Stage) -> None:
    files = [str(path) for path in stage.folder.rglob("*") if "database" not in path.parts]
    code = (
        "import os\n"
        f"for path in {[*files, '/etc/passwd', '/etc/hostname', '/root', '/home', '/', '/proc']}:\n"
        "    for attempt in (open, os.listdir):\n"
        "        try: attempt(path)\n"
        "        except OSError: continue\n"
        "        if path != __file__: print(path)\n"
    )

    assert stage.run(code).output == b""


@pytest.mark.parametrize(
    "code",
    [
        "open('{folder}/database/data', 'w')",
        "open('{folder}/database/new', 'w')",
        "open('{folder}/new', 'w')",
        "open('{shared}/escaped', 'w')",
        "open('../given/new', 'w')",
        "open('../new', 'w')",
        "os.unlink('{folder}/database/data')",
        "os.truncate('{folder}/database/data', 0)",
        "os.rename('{folder}/database/data', 'data')",
        "os.link('{folder}/grants/acme/signing.key', 'key')",
        "os.mkfifo('pipe')",
        "os.symlink('{folder}/grants/acme/signing.key', 'key'); open('key')",
        "os.chroot('.')",
        "os.setxattr('{folder}/database/data', 'user.x', b'')",
    ],
)
def test_nothing_outside_is_written(stage: Stage, code: str) -> None:
    shared = stage.folder / "shared"
    shared.mkdir()
    shared.chmod(0o1777)  # as the system's own folder for temporary files is

    answer = stage.tries(code.format(folder=stage.folder, shared=shared))

    assert answer.startswith("refused"), answer
    assert (stage.folder / "database" / "data").read_text() == "old"
    assert list(shared.iterdir()) == []


def test_modes_of_foreign_files_do_not_change(stage: Stage) -> None:
    stage.secret.chmod(0o600)

    stage.tries(f"os.chmod('{stage.secret}', 0o666)")

    assert stage.secret.stat().st_mode & 0o777 == 0o600


# --- the network -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "socket.create_connection(('127.0.0.1', {port}), 2)",
        "socket.create_connection(('169.254.169.254', 80), 2)",
        "socket.create_connection(('140.82.121.6', 443), 2)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))",
        "socket.socket(socket.AF_INET6)",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "socket.socket(socket.AF_UNIX).connect('{folder}/bot.sock')",
        "socket.socket(socket.AF_UNIX).connect(chr(0) + 'lockkeeper-{own}')",
        "socket.socketpair()",
        "call(425, 8, None)",  # io_uring_setup: another way to sockets
    ],
)
def test_the_network_is_out_of_reach(stage: Stage, code: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        named.bind(str(stage.folder / "bot.sock"))
        abstract.bind(f"\0lockkeeper-{PARENT}")
        for one in (named, abstract):
            one.listen()
        os.chmod(stage.folder / "bot.sock", 0o777)  # noqa: PTH101, S103 - only the sandbox keeps it
        port = listener.getsockname()[1]

        answer = stage.tries(code.format(port=port, folder=stage.folder, own=PARENT))

    assert answer.startswith("refused"), answer


# --- privileges ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "os.fork()",
        "call(57)",  # fork
        "call(58)",  # vfork
        "call(56, 17, 0, 0, 0, 0)",  # clone(SIGCHLD)
        "call(435, (ctypes.c_uint64 * 8)(0, 0, 0, 0, 17), 64)",  # clone3(exit_signal=SIGCHLD)
        "os.setsid()",
        "os.setpgid(0, 0)",
        "call(272, 0x10000000)",  # unshare(CLONE_NEWUSER)
        "call(165, b'a', b'/', b'tmpfs', 0, None)",  # mount
        "call(321, 0, None, 0)",  # bpf
        "call(250, 0, 0)",  # keyctl
        "os.memfd_create('x')",
        "call(0x40000000 + 39)",  # getpid by the x32 way around the filter
        "os.setuid(0); open('/etc/shadow')",
        "call(68, 0, 0o1600)",  # msgget: stays in the kernel
        "call(64, 0, 1, 0o1600)",  # semget
        "call(29, 0, 4096, 0o1600)",  # shmget
        "call(240, b'x', 0o102, 0o600, None)",  # mq_open
        "call(206, 16, (ctypes.c_uint64 * 1)())",  # io_setup: of a number that all share
        "call(294, 0)",  # inotify_init1: of a number that all of this user share
        "call(300, 0, 0)",  # fanotify_init
        "call(157, 1, 0, 0, 0, 0)",  # prctl(PR_SET_PDEATHSIG, 0): outlive the bot
        "call(72, 1, 10, 9)",  # fcntl(F_SETSIG): signals by way of files
        "call(72, 1, 8, 1)",  # fcntl(F_SETOWN)
    ],
)
def test_nothing_is_started_and_nothing_gained(stage: Stage, code: str) -> None:
    answer = stage.tries(code)

    assert answer.startswith("refused"), answer


def test_threads_are_allowed(stage: Stage) -> None:
    code = (
        "import threading\nt = threading.Thread(target=print, args=('ran',)); t.start(); t.join()\n"
    )

    assert stage.run(code).output == b"ran\n"


# --- limits ----------------------------------------------------------------------------------


def test_memory_is_bounded(stage: Stage) -> None:
    done = stage.run("try: bytearray(2**31)\nexcept MemoryError: print('bounded')")

    assert done.output == b"bounded\n"


def test_shared_memory_is_bounded_too(stage: Stage) -> None:
    code = (
        "import mmap, time\n"
        "m = mmap.mmap(-1, 2**30)\n"
        "for at in range(0, 2**30, 4096): m[at] = 1\n"
        "time.sleep(5)\n"
    )

    with pytest.raises(UnavailableError, match="used more than 536870912 bytes of memory"):
        stage.run(code)


@pytest.mark.parametrize(
    ("code", "fact"),
    [
        ("import time\nwhile True: time.sleep(1)", "has not ended within 2 s"),
        ("while True: pass", "has not ended within 2 s"),
        ("import os\nos.close(1); os.close(2)\nwhile True: pass", "has not ended within 2 s"),
        ("import os\nwhile True: os.write(1, b'x' * 2**20)", "wrote more than 1048576 bytes"),
        (
            "for n in range(2**20):\n    with open(f'{n}', 'wb') as f: f.write(b'x' * 2**20)",
            "bytes of temporary files",
        ),
    ],
)
def test_whatever_has_no_end_is_ended(stage: Stage, code: str, fact: str) -> None:
    limits = Limits(seconds=2, memory=2**29, output=2**20, disk=2**26, threads=64)
    started = time.monotonic()

    with pytest.raises(UnavailableError, match=fact):
        stage.run(code, limits)

    assert time.monotonic() - started < 10


def test_ten_gigabytes_in_one_file_stop_at_the_limit(stage: Stage) -> None:
    code = (
        "import os\n"
        "with open('x', 'wb', buffering=0) as f:\n"
        "    try:\n"
        "        while f.write(b'x' * 2**20): pass\n"
        "    except OSError as e: print(e.strerror, os.path.getsize('x'))\n"
    )

    assert stage.run(code).output == f"File too large {SMALL.disk}\n".encode()


def test_nothing_is_left_of_it(stage: Stage) -> None:
    deep = "import os\nfor _ in range(3000):\n    os.mkdir('d', 0o300); os.chdir('d')\n"
    sandbox = Sandbox(write_program(stage.folder / "scanner", deep), limits=SMALL)

    with sandbox.room() as room:
        sandbox.run(room, [])
        path = room.path

    assert not list(path.parent.glob(f"{path.name}*"))


def test_nothing_of_it_is_another_bots_prey_while_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders that were moved beside the room were swept by whoever came: two removed one."""
    rename, beside = Path.rename, set[Path]()

    def watched(self: Path, target: Path) -> Path:
        moved = rename(self, target)
        beside.update(tmp_path.iterdir())
        return moved

    with rooms.opened(tmp_path, None) as room:
        room.work.joinpath(*"abcdef").mkdir(parents=True)
        monkeypatch.setattr(Path, "rename", watched)
    monkeypatch.undo()

    assert beside == {room.path}
    assert list(tmp_path.iterdir()) == []


def test_a_room_that_a_killed_bot_left_is_swept(tmp_path: Path) -> None:
    left = tmp_path / "lockkeeper-scan-left"
    (left / "given").mkdir(parents=True)
    sandbox = Sandbox(interpreter(), directory=tmp_path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bot.adapters.scanning.rooms.check_reachable", lambda _path, _user: None)
        with sandbox.room() as first, sandbox.room() as second:
            assert first.path.exists()
            assert second.path.exists()

    assert not left.exists()


def test_the_bot_dies_and_takes_the_scanner_along(stage: Stage) -> None:
    program = write_program(stage.folder / "scanner", "import time\nwhile True: time.sleep(1)")
    code = (
        "import sys; from pathlib import Path\n"
        "from bot.adapters.scanning.sandbox import Sandbox\n"
        "sandbox = Sandbox(Path(sys.argv[1]))\n"
        "with sandbox.room() as room:\n"
        "    print(room.path, flush=True); sandbox.run(room, ['marker-of-this-test'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(program)], stdout=subprocess.PIPE, env=environment
    ) as bot:
        assert bot.stdout
        room = bot.stdout.readline().decode().strip()
        assert room
        _await(lambda: _running(room))
        bot.kill()

    _await(lambda: not _running(room))


# --- what it writes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "os.symlink('{secret}', 'out')",
        "os.mkdir('out')",
        "pass",
        "open('other', 'w'); os.link('other', 'out')",
        "open('out', 'wb').write(b'x' * 2000)",
    ],
)
def test_an_output_that_is_no_file_of_its_own_is_refused(stage: Stage, code: str) -> None:
    program = write_program(
        stage.folder / "scanner", f"import os\n{code.format(secret=stage.secret)}"
    )
    sandbox = Sandbox(program, limits=SMALL)

    with sandbox.room() as room:
        sandbox.run(room, [])
        with pytest.raises(UnavailableError, match="its output out"):
            room.written("out", 1000)


def test_a_program_that_is_not_there_is_named(stage: Stage) -> None:
    sandbox = Sandbox(stage.folder / "trivy")

    with (
        sandbox.room() as room,
        pytest.raises(UnavailableError, match="not an executable file; install it there"),
    ):
        sandbox.run(room, [])


def test_what_another_user_cannot_reach_is_named(stage: Stage) -> None:
    if os.geteuid() != 0:
        pytest.skip("the scanner has the same user")
    closed = stage.folder / "closed"
    closed.mkdir(mode=0o700)
    sandbox = Sandbox(write_program(closed / "scanner", ""))

    with sandbox.room() as room, pytest.raises(UnavailableError, match=f"{closed} is closed"):
        sandbox.run(room, [])


# --- what is said about it -------------------------------------------------------------------


def test_here_nothing_is_missing() -> None:
    found = Sandbox(interpreter()).confinement()

    assert found.is_complete, found
    assert found.other_user == (os.geteuid() == 0)


@pytest.mark.parametrize(
    ("found", "missing"),
    [
        (Confinement(7, seccomp=True, namespaces=True, other_user=True), []),
        (Confinement(3, seccomp=True, namespaces=False, other_user=False), []),
        (Confinement(1, seccomp=True, namespaces=False, other_user=True), []),
        (Confinement(1, seccomp=True, namespaces=False, other_user=False), ["files"]),
        (Confinement(0, seccomp=True, namespaces=True, other_user=True), ["files"]),
        (Confinement(7, seccomp=False, namespaces=True, other_user=False), []),
        (
            Confinement(7, seccomp=False, namespaces=False, other_user=False),
            ["the network", "processes"],
        ),
        (Confinement(7, seccomp=False, namespaces=False, other_user=True), ["the network"]),
    ],
)
def test_what_is_missing_is_said(found: Confinement, missing: list[str]) -> None:
    assert len(found.missing) == len(missing)
    assert all(s.startswith(m) for s, m in zip(found.missing, missing, strict=True))
    assert found.is_complete == (not missing)


def test_several_run_at_once(stage: Stage) -> None:
    sandbox = Sandbox(write_program(stage.folder / "scanner", "print('done')"), limits=SMALL)
    outputs: list[bytes] = []

    def run() -> None:
        with sandbox.room() as room:
            outputs.append(sandbox.run(room, []).output)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outputs == [b"done\n"] * 4


def _running(marker: str) -> bool:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            if marker.encode() in (process / "environ").read_bytes() and state != "Z":
                return True
        except OSError:
            continue
    return False


def _await(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class _User(TypedDict, total=False):
    user: int
    group: int


def _nobody() -> _User:
    return {"user": 10_055, "group": 10_055} if os.geteuid() == 0 else {}
