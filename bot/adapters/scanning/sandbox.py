"""Runs an executable as what it may be: hostile code.

    with sandbox.room() as room:
        ...                                          # write into room.given
        done = sandbox.run(room, ["image", "--input", str(room.given)], readable=[database])
        done.output                                  # bounded; not yet believed

The launcher (`bot.adapters.scanning.confine`) shuts the process in; this module watches from
outside: the clock, the bytes of its output, the disk. Whatever ends a run, all of its processes
are dead and its folders are gone when the call returns. May be used from several threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from bot.adapters.scanning import confine, rooms
from bot.adapters.scanning.rooms import Room
from bot.domain.errors import UnavailableError

USER: Final = 10_042  # user and group id of scanners, where the bot is root
SECONDS: Final = 600.0
MEMORY: Final = 4 * 2**30  # bytes
OUTPUT: Final = 64 * 2**20  # bytes
DISK: Final = 8 * 2**30  # bytes
DISK_RESERVE: Final = 2**30  # bytes; a scanner that leaves less free is ended
THREADS: Final = 512
_LOOK: Final = 0.25  # seconds between two looks at the disk
_MOMENT: Final = 0.005  # seconds
_SAID: Final = 64 * 1024  # bytes of standard error that are kept
_QUOTED: Final = 300  # characters of it in a message
_CHUNK: Final = 64 * 1024
_LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use."""

    seconds: float = SECONDS
    """By the clock on the wall; processor time of two cores counts twice."""
    memory: int = MEMORY
    """Bytes."""
    output: int = OUTPUT
    """Bytes of a report or SBOM."""
    disk: int = DISK
    """Bytes of temporary files."""
    threads: int = THREADS


@dataclass(frozen=True, slots=True)
class Confinement:
    """What keeps a scanner away from everything else, here."""

    landlock: int
    """The kernel's ABI; 0: none."""
    seccomp: bool
    namespaces: bool
    """A network, processes and IPC of its own."""
    other_user: bool

    @property
    def missing(self) -> tuple[str, ...]:
        """What is not kept away from the scanner, and the way out."""
        return tuple(filter(None, (self._files(), self._network(), self._processes())))

    @property
    def is_complete(self) -> bool:
        """Nothing is missing: also environments that sign may rely on it."""
        return not self.missing

    def _files(self) -> str:
        if self.landlock >= (1 if self.other_user else 3):
            return ""
        return (
            "files of the bot's user can be opened: the kernel has no Landlock of version 3"
            " (Linux 6.2, lsm=landlock)"
        )

    def _network(self) -> str:
        if not self.seccomp and not self.namespaces:
            return "the network can be reached: neither seccomp nor namespaces may be used"
        return ""

    def _processes(self) -> str:
        if self.seccomp or self.namespaces or (self.other_user and self.landlock):
            return ""
        return "processes of the bot's user can be disturbed: neither seccomp nor namespaces"


@dataclass(frozen=True, slots=True)
class Done:
    """How a run has ended."""

    status: int
    output: bytes
    """What it wrote to its standard output."""
    said: str
    """The end of what it wrote to its standard error, made printable and short."""


@dataclass(frozen=True, slots=True)
class Port:
    """The only address that a run may connect to: the inner loopback."""

    number: int
    serve: Callable[[socket.socket], contextlib.AbstractContextManager[None]]
    """Serves a listener in the background, until the context ends."""


class Sandbox:
    """Runs one executable, shut in."""

    def __init__(
        self,
        executable: Path,
        *,
        limits: Limits | None = None,
        directory: Path | None = None,
        user: int = USER,
        called: str = "the scanner",
        setting: str = "LOCKKEEPER_SCANNER",
    ) -> None:
        """Run nothing yet.

        Args:
            executable: a program without dynamic libraries of its own folder, or a script.
            limits: of each run.
            directory: where its folders are made; the system's for temporary files without.
            user: who it becomes where the bot is root.
            called: what people call it, for messages.
            setting: which variable names it, for messages.
        """
        self.executable = executable
        self._called, self._setting = called, setting
        self.limits = limits or Limits()
        self._directory = directory
        self._user = user if os.geteuid() == 0 else None
        self._confinement: Confinement | None = None
        self._guard = threading.Lock()

    def confinement(self) -> Confinement:
        """What this machine allows, tried once.

        Raises:
            UnavailableError: the launcher does not even start.
        """
        with self._guard:
            if self._confinement is None:
                with self.room() as room:
                    run = self._running(room, [], [], {}, None)
                    self._confinement = _confinement(run.finish()[1])
            return self._confinement

    @contextlib.contextmanager
    def room(self) -> Iterator[Room]:
        """Folders for one run or several.

        Raises:
            UnavailableError: they cannot be made, or the scanner's user cannot reach them.
        """
        with contextlib.ExitStack() as stack:
            try:
                room = stack.enter_context(rooms.opened(self._directory, self._user))
            except OSError as error:
                where = self._directory or "the folder for temporary files"
                raise UnavailableError(f"{where} cannot be used: {error.strerror}") from error
            if self._user is not None:
                rooms.check_reachable(room.path, self._user)
            yield room

    def run(
        self,
        room: Room,
        arguments: Sequence[str],
        *,
        readable: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        port: Port | None = None,
        children: Sequence[Path] = (),
    ) -> Done:
        """Run it to its end.

        Args:
            room: where its files are.
            arguments: behind its name.
            readable: what it may read beside the room.
            environment: variables beside its own.
            port: the only address that it may connect to.
            children: other executables that it may start, within the same limits together.

        Raises:
            UnavailableError: it cannot be started, or it went over a limit and was ended.
        """
        self._check_executable(self.executable)
        for child in children:
            self._check_executable(child)
        if self._user is not None:
            for path in readable:
                if not path.is_relative_to(room.path):
                    rooms.check_readable(path, self._user)
        command = [str(self.executable), *arguments]
        run = self._running(room, command, readable, environment or {}, port, children)
        done, _report = run.finish()
        return done

    def _check_executable(self, program: Path) -> None:
        if not os.access(program, os.X_OK) or not program.is_file():
            raise UnavailableError(
                f"{self._called} {program} is not an executable file; install it there, or"
                f" correct {self._setting}"
            )
        if self._user is not None:
            rooms.check_readable(program, self._user)

    def _running(
        self,
        room: Room,
        command: list[str],
        readable: Sequence[Path],
        environment: Mapping[str, str],
        port: Port | None,
        children: Sequence[Path] = (),
    ) -> _Run:
        limits = self.limits
        plan = confine.Plan(
            command=command,
            environment={**_environment(room, limits), **environment},
            cwd=str(room.work),
            executable=[
                str(path) for one in (self.executable, *children) for path in _executable(one)
            ],
            readable=[str(room.given), *map(str, readable)],
            writable=[str(room.work)],
            user=self._user,
            cpu_seconds=int(limits.seconds * 2) + 1,
            memory=limits.memory,
            file_size=limits.disk,
            processes=limits.threads,
            open_files=4096,
            status=-1,
            port=port.number if port else None,
            listener=None,
            children=bool(children),
        )
        return _Run(self.executable.name, room, plan, limits, port)


class _Run:
    """One run, watched from outside."""

    def __init__(
        self, name: str, room: Room, plan: confine.Plan, limits: Limits, port: Port | None
    ) -> None:
        self._name, self._room, self._plan = name, room, plan
        self._limits, self._port = limits, port
        self._output = bytearray()
        self._said = bytearray()
        self._facts = bytearray()

    def finish(self) -> tuple[Done, confine.Report]:
        """Start it and watch it to its end."""
        with contextlib.ExitStack() as stack:
            process, facts = self._start(stack)
            self._watch(process, facts)
            _kill(process)  # what may be left of its group
            status = process.wait()
        if status == confine.TOO_LARGE:
            raise self._over(f"used more than {self._limits.memory} bytes of memory")
        report = self._report()
        done = Done(status, bytes(self._output), _printable(bytes(self._said)))
        if status == confine.FAILED or report["failure"]:
            reason = report["failure"] or done.said or "no reason given"
            raise UnavailableError(f"{self._name} cannot be started apart: {reason}")
        return done, report

    def _start(self, stack: contextlib.ExitStack) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        reader, writer = os.pipe()
        facts = stack.enter_context(os.fdopen(reader, "rb", buffering=0))
        passed = [writer]
        plan = self._plan
        plan["status"] = writer
        ours: socket.socket | None = None
        if self._port:
            ours, theirs = socket.socketpair()
            stack.enter_context(ours)
            plan["listener"] = channel = theirs.detach()
            passed.append(channel)
        try:
            process = subprocess.Popen(  # noqa: S603 - our own launcher, by its path, without a shell
                [sys.executable, "-I", "-S", confine.__file__, json.dumps(plan)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={},
                cwd="/",
                pass_fds=passed,
                start_new_session=True,
            )
        except OSError as error:
            raise UnavailableError(f"{self._name} cannot be started: {error.strerror}") from error
        finally:
            for descriptor in passed:
                os.close(descriptor)
        stack.enter_context(process)
        stack.callback(_kill, process)
        if self._port and ours:
            stack.enter_context(self._port.serve(_received(ours)))
        return process, facts

    def _watch(self, process: subprocess.Popen[bytes], facts: IO[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 - for mypy: PIPE was asked for
        assert process.stderr is not None  # noqa: S101 - for mypy: PIPE was asked for
        deadline = time.monotonic() + self._limits.seconds
        looked = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, self._take_output)
            selector.register(process.stderr, selectors.EVENT_READ, self._take_said)
            selector.register(facts, selectors.EVENT_READ, self._take_facts)
            while selector.get_map() or not _has_ended(process):
                # Its pipes close a moment before it ends, unless it closes them to hide.
                for key, _events in selector.select(_LOOK if selector.get_map() else _MOMENT):
                    chunk = os.read(key.fd, _CHUNK)
                    key.data(chunk)
                    if not chunk:
                        selector.unregister(key.fileobj)
                if time.monotonic() >= deadline:
                    raise self._over(f"has not ended within {self._limits.seconds:.0f} s")
                if time.monotonic() >= looked + _LOOK:
                    self._check_disk()
                    looked = time.monotonic()

    def _take_output(self, chunk: bytes) -> None:
        self._output += chunk
        if len(self._output) > self._limits.output:
            raise self._over(f"wrote more than {self._limits.output} bytes of output")

    def _take_said(self, chunk: bytes) -> None:
        self._said += chunk
        del self._said[:-_SAID]

    def _take_facts(self, chunk: bytes) -> None:
        self._facts += chunk[:_SAID]

    def _check_disk(self) -> None:
        used = self._room.used()
        if used > self._limits.disk:
            raise self._over(f"wrote more than {self._limits.disk} bytes of temporary files")
        if used and shutil.disk_usage(self._room.path).free < DISK_RESERVE:
            raise self._over(f"left less than {DISK_RESERVE} bytes free on its disk")

    def _over(self, fact: str) -> UnavailableError:
        return UnavailableError(
            f"{self._name} {fact} and was ended: see its limits in docs/limits.md"
        )

    def _report(self) -> confine.Report:
        report = confine.Report(
            namespaces=False, other_user=False, landlock=0, seccomp=False, failure=""
        )
        for line in bytes(self._facts).splitlines():
            report = json.loads(line)
        return report


def _received(ours: socket.socket) -> socket.socket:
    """The listener that the launcher made in the inner network."""
    ours.settimeout(10)
    try:
        _nothing, descriptors, _flags, _address = socket.recv_fds(ours, 1, 1)
    except OSError:
        descriptors = []
    if not descriptors:
        raise UnavailableError(
            "a scanner with a server needs a network namespace of its own, which cannot be made"
            " here; allow user namespaces, or give it a database (LOCKKEEPER_SCANNER_DATABASE)"
        )
    return socket.socket(fileno=descriptors[0])


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """The launcher has; it stays a zombie, so that its group's number is nobody else's yet."""
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, options) is not None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the launcher, the scanner and all it may have started; harmless once waited for."""
    if process.returncode is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)


def _confinement(report: confine.Report) -> Confinement:
    return Confinement(
        landlock=report["landlock"],
        seccomp=report["seccomp"],
        namespaces=report["namespaces"],
        other_user=report["other_user"],
    )


def _environment(room: Room, limits: Limits) -> dict[str, str]:
    work = str(room.work)
    return {
        "HOME": work,
        "TMPDIR": work,
        "XDG_CACHE_HOME": f"{work}/cache",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        # Go collects harder instead of running into the limit.
        "GOMEMLIMIT": str(limits.memory * 3 // 4),
    }


def _executable(program: Path) -> list[Path]:
    """The program, the system's libraries, and the interpreter's home if it is a script."""
    found = [program, *map(Path, _LIBRARIES)]
    try:
        with program.open("rb") as file:
            first = file.readline(256)
    except OSError:
        return found
    if first.startswith(b"#!"):
        named = Path(os.fsdecode(first[2:].split()[0])) if first[2:].split() else program
        interpreter = named.resolve()
        home = interpreter.parent.parent
        found += [named, interpreter, *([home] if home != Path("/") else [])]
    return found


def _printable(said: bytes) -> str:
    """The last words, on one line."""
    text = " ".join(said.decode("utf-8", "replace").split())
    return "".join(c if c.isprintable() else "\ufffd" for c in text)[-_QUOTED:]
