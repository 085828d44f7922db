"""The launcher that shuts itself in and then becomes the scanner.

    python -I -S confine.py PLAN          PLAN: `Plan` as JSON; status on descriptor `status`

A program of its own, standard library only, run by its path: between ``fork`` and ``exec`` a
process with threads may call nothing that takes a lock, and this takes many steps. It has one
thread, gives up one thing after the other, and what it cannot give up it names on the status
descriptor before the scanner's first instruction. That descriptor closes on ``exec``.

In this order: namespaces (network, processes, IPC), another user, resource limits, no new
privileges, Landlock (files, TCP, abstract sockets, signals), seccomp (sockets, processes,
tracing, keys, namespaces, other processes' limits).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import platform
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, Final, TypedDict

FAILED: Final = 125  # exit status of a launcher that never became the scanner
TOO_LARGE: Final = 124  # exit status when it was ended for its memory
_LOOK: Final = 0.1  # seconds between two looks at its memory

# include/uapi/linux/sched.h, prctl.h, landlock.h, seccomp.h, filter.h, audit.h
_CLONE_THREAD: Final = 0x00010000
# Time, mounts, control groups, host name, IPC, users, processes, network; and tracing it.
_CLONE_NAMESPACES: Final = 0x80 | 0x20000 | 0x7E000000 | 0x2000
_NEW_NAMESPACES: Final = 0x40000000 | 0x20000000 | 0x08000000  # network, processes, IPC
_NEW_USER: Final = 0x10000000
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_FILE_RIGHTS: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
# Removing, and making directories, regular files and links; no devices, sockets or pipes.
_CHANGE: Final = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 13
# Rights that a Landlock ABI knows: landlock.h, "Filesystem flags".
_RIGHTS_OF_ABI: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NETWORK_ABI: Final = 4
_SCOPE_ABI: Final = 6

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_ERRNO: Final = 0x00050000
_X32: Final = 0x40000000


class Plan(TypedDict):
    """What the sandbox asks of the launcher."""

    command: list[str]
    """Program and arguments; empty: only try what is possible, and report it."""
    environment: dict[str, str]
    cwd: str
    executable: list[str]
    """Files and folders that may be read and executed."""
    readable: list[str]
    writable: list[str]
    user: int | None
    """User and group id to become, where the launcher is root."""
    cpu_seconds: int
    memory: int
    file_size: int
    processes: int
    open_files: int
    status: int
    """Descriptor for the report."""
    port: int | None
    """The one TCP port that may be connected to."""
    listener: int | None
    """Descriptor of a Unix socket: a listener on that port of the inner loopback goes over it."""
    children: bool
    """It may start the other executables; only in process numbers of its own."""


class Report(TypedDict):
    """What the launcher achieved."""

    namespaces: bool
    other_user: bool
    landlock: int
    """The kernel's ABI; 0: none."""
    seccomp: bool
    failure: str


class _Libc:
    """The calls that the standard library lacks."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def syscall(self, number: int, *arguments: Any) -> int:  # noqa: ANN401 - ctypes converts ints, bytes and structures
        """A system call; OSError where it answers -1."""
        converted = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in arguments]
        return self._checked(self._libc.syscall(ctypes.c_long(number), *converted))

    def unshare(self, flags: int) -> None:
        self._checked(self._libc.unshare(ctypes.c_int(flags)))

    def prctl(self, option: int, *arguments: Any) -> None:  # noqa: ANN401 - ctypes converts ints, bytes and structures
        """Four arguments always: the kernel refuses rubbish in the unused ones."""
        padded = [*arguments, 0, 0, 0, 0][:4]
        converted = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in padded]
        self._checked(self._libc.prctl(ctypes.c_int(option), *converted))

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


# --- namespaces ------------------------------------------------------------------------------


def _separated(libc: _Libc) -> bool:
    """Leave the network, the processes and the IPC objects of this machine, if that is allowed.

    Tried in a child first: where AppArmor or the like lets one make a user namespace and then
    refuses to map its user (Ubuntu 24.04), there would be no way back.
    """
    child = os.fork()
    if not child:
        try:
            _separate(libc)
        except OSError:
            os._exit(1)
        os._exit(0)
    _pid, status = os.waitpid(child, 0)
    if status:
        return False
    _separate(libc)
    return True


def _separate(libc: _Libc) -> None:
    user, group = os.getuid(), os.getgid()
    # In a user namespace of its own, root could not become another user any more.
    own = 0 if user == 0 else _NEW_USER
    libc.unshare(own | _NEW_NAMESPACES)
    if own:
        _map_own(user, group)


def _map_own(user: int, group: int) -> None:
    for name, content in (
        ("uid_map", f"{user} {user} 1"),
        ("setgroups", "deny"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - the kernel takes one write; pathlib is not imported
            file.write(content)


def _hand_over_listener(channel: int, port: int) -> None:
    """Raise the loopback of the new network and give a listener on it to the bot."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        request = struct.pack("16sH14x", b"lo", 0x1)  # ifreq: name, IFF_UP
        fcntl.ioctl(listener, 0x8914, request)  # SIOCSIFFLAGS
        listener.bind(("127.0.0.1", port))
        listener.listen(16)
        with socket.socket(fileno=channel) as given:
            socket.send_fds(given, [b"\0"], [listener.fileno()])


# --- the process itself ----------------------------------------------------------------------


def _die_with_parent(libc: _Libc, parent: int) -> None:
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(FAILED)


def _become(user: int | None) -> bool:
    if user is None or os.geteuid() != 0:
        return False
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    return True


def _limit(plan: Plan, *, alone: bool) -> None:
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: plan["cpu_seconds"],
        # Not RLIMIT_AS: Go and bbolt reserve and map much more than they use.
        resource.RLIMIT_DATA: plan["memory"],
        resource.RLIMIT_FSIZE: plan["file_size"],
        resource.RLIMIT_NOFILE: plan["open_files"],
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if alone:  # otherwise the bot's own threads would count, and those of other containers
        wanted[resource.RLIMIT_NPROC] = plan["processes"]
    for kind, value in wanted.items():
        _soft, hard = resource.getrlimit(kind)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (ceiling, ceiling))
    # Out of memory, the kernel takes the scanner and not the bot.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - starts without pathlib
        file.write("1000")


# --- Landlock --------------------------------------------------------------------------------


def _landlock_abi(libc: _Libc) -> int:
    try:
        return libc.syscall(444, None, 0, 1)
    except OSError:
        return 0


class _Ruleset:
    """Which files may be touched: nothing that is not named."""

    def __init__(self, libc: _Libc, abi: int) -> None:
        self._libc = libc
        self._handled = _RIGHTS_OF_ABI[max(known for known in _RIGHTS_OF_ABI if known <= abi)]
        attribute = struct.pack("=QQQ", self._handled, 0b11 if abi >= _NETWORK_ABI else 0, 0b11)
        size = 24 if abi >= _SCOPE_ABI else 16 if abi >= _NETWORK_ABI else 8
        self._descriptor = libc.syscall(444, ctypes.create_string_buffer(attribute), size, 0)

    def allow(self, path: str, rights: int) -> None:
        """Grant rights on a file, or on a folder and all in it; what is not there is skipped."""
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        granted = rights & self._handled
        if not os.path.isdir(path):  # noqa: PTH112 - starts without pathlib
            granted &= _FILE_RIGHTS
        rule = struct.pack("=Qi", granted, place)
        self._libc.syscall(445, self._descriptor, 1, ctypes.create_string_buffer(rule), 0)
        os.close(place)

    def allow_tcp(self, port: int) -> None:
        """Grant connecting to a port, wherever."""
        rule = struct.pack("=QQ", 0b10, port)
        self._libc.syscall(445, self._descriptor, 2, ctypes.create_string_buffer(rule), 0)

    def enforce(self) -> None:
        """From here on, for good."""
        self._libc.syscall(446, self._descriptor, 0)
        os.close(self._descriptor)


def _ruleset(libc: _Libc, abi: int, plan: Plan) -> _Ruleset:
    rules = _Ruleset(libc, abi)
    for path in plan["executable"]:
        rules.allow(path, _EXECUTE | _READ_FILE | _READ_DIR)
    for path in plan["readable"]:
        rules.allow(path, _READ_FILE | _READ_DIR)
    for path in plan["writable"]:
        rules.allow(path, _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE | _CHANGE)
    rules.allow("/dev/null", _READ_FILE | _WRITE_FILE)
    for source in ("/dev/zero", "/dev/urandom", "/dev/random"):
        rules.allow(source, _READ_FILE)
    if plan["port"] is not None and abi >= _NETWORK_ABI:
        rules.allow_tcp(plan["port"])
    return rules


# --- seccomp ---------------------------------------------------------------------------------

# System calls by name: their numbers on x86-64 and on ARM 64; None: not there.
_SYSCALLS: Final[dict[str, tuple[int | None, int | None]]] = {
    # processes and namespaces
    "fork": (57, None),
    "vfork": (58, None),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # other processes: their memory, descriptors, signals, limits, priority
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "setpriority": (141, 140),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # the kernel's less walked rooms
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    # memory that no limit counts
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    # what stays behind in the kernel, or is taken from others of this user and machine
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "io_setup": (206, 0),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    # what others may read from inode attributes
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
}
_STARTING: Final = frozenset({"fork", "vfork"})
# Landlock does not govern them, and scanners tidy up with them: done without doing anything.
_PRETENDED: Final[dict[str, tuple[int | None, int | None]]] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
}
_SOCKET: Final = (41, 198)
_SOCKETPAIR: Final = (53, 199)
_CLONE: Final = (56, 220)
_CLONE3: Final = (435, 435)
_TGKILL: Final = (234, 131)
_PRLIMIT: Final = (302, 261)
_FCNTL: Final = (72, 25)
_SIGNAL_COMMANDS: Final = [8, 10, 15]  # F_SETOWN, F_SETSIG, F_SETOWN_EX: signals by way of files
_PRCTL: Final = (157, 167)
_MACHINES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # AUDIT_ARCH_*


class _Filter:
    """A program of classic BPF over a system call's number and arguments."""

    def __init__(self, column: int, architecture: int) -> None:
        self._column = column
        self._code: list[bytes] = []
        self._load(4)
        self._answer_unless(architecture, _KILL)
        self._load(0)
        if column == 0:
            self._emit(0x35, 0, 1, _X32)  # jump if greater or equal
            self._return(_ERRNO | errno.ENOSYS)

    def refuse(self, numbers: tuple[int | None, int | None], error: int) -> None:
        """Answer this call with an error; 0: as if it had been done."""
        number = numbers[self._column]
        if number is not None:
            self._emit(0x15, 0, 1, number)
            self._return(_ERRNO | error)

    def only_bits(self, numbers: tuple[int, int], argument: int, bits: int) -> None:
        """Allow this call if any of the bits is set in its argument."""
        self._emit(0x15, 0, 4, numbers[self._column])
        self._load_argument(argument)
        self._emit(0x45, 0, 1, bits)  # jump if any bit is set
        self._return(_ALLOW)
        self._return(_ERRNO | errno.EPERM)

    def only_values(self, numbers: tuple[int, int], argument: int, values: list[int]) -> None:
        """Allow this call if the lower half of its argument is one of the values."""
        self._emit(0x15, 0, 2 + 2 * len(values), numbers[self._column])
        self._load_argument(argument)
        for value in values:
            self._emit(0x15, 0, 1, value)
            self._return(_ALLOW)
        self._return(_ERRNO | errno.EPERM)

    def refuse_bits(self, numbers: tuple[int, int], argument: int, bits: int) -> None:
        """Refuse this call if any of the bits is set in its argument."""
        self._emit(0x15, 0, 4, numbers[self._column])
        self._load_argument(argument)
        self._emit(0x45, 0, 1, bits)  # jump if any bit is set
        self._return(_ERRNO | errno.EPERM)
        self._return(_ALLOW)

    def refuse_values(self, numbers: tuple[int, int], argument: int, values: list[int]) -> None:
        """Refuse this call if the lower half of its argument is one of the values."""
        self._emit(0x15, 0, 2 + 2 * len(values), numbers[self._column])
        self._load_argument(argument)
        for value in values:
            self._emit(0x15, 0, 1, value)
            self._return(_ERRNO | errno.EPERM)
        self._load(0)  # the number again, for the rules behind

    def only_internet_streams(self, numbers: tuple[int, int]) -> None:
        """Allow a socket if it is one of TCP."""
        self._emit(0x15, 0, 7, numbers[self._column])
        self._load_argument(0)
        self._emit(0x15, 0, 4, int(socket.AF_INET))
        self._load_argument(1)
        self._emit(0x54, 0, 0, 0xF)  # and: without SOCK_CLOEXEC and SOCK_NONBLOCK
        self._emit(0x15, 0, 1, int(socket.SOCK_STREAM))
        self._return(_ALLOW)
        self._return(_ERRNO | errno.EPERM)

    def enforce(self, libc: _Libc) -> None:
        """From here on, for good."""
        self._return(_ALLOW)
        code = ctypes.create_string_buffer(b"".join(self._code))
        program = struct.pack("@HP", len(self._code), ctypes.addressof(code))
        libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.create_string_buffer(program))

    def _emit(self, code: int, true: int, false: int, value: int) -> None:
        self._code.append(struct.pack("=HBBI", code, true, false, value))

    def _load(self, offset: int) -> None:
        self._emit(0x20, 0, 0, offset)

    def _load_argument(self, argument: int) -> None:
        """The lower 32 bits; seccomp_data has the arguments from byte 16 on, little end first."""
        self._load(16 + 8 * argument)

    def _answer_unless(self, value: int, answer: int) -> None:
        self._emit(0x15, 1, 0, value)
        self._return(answer)

    def _return(self, answer: int) -> None:
        self._emit(0x06, 0, 0, answer)


def _filter(*, network: bool, children: bool) -> _Filter | None:
    known = _MACHINES.get(platform.machine())
    if known is None:
        return None
    made = _Filter(*known)
    own = os.getpid()
    if network:
        made.only_internet_streams(_SOCKET)
    made.refuse(_SOCKET, errno.EPERM)
    made.refuse(_SOCKETPAIR, errno.EPERM)
    if children:
        made.refuse_bits(_CLONE, 0, _CLONE_NAMESPACES)
    else:
        made.only_bits(_CLONE, 0, _CLONE_THREAD)
        made.only_values(_TGKILL, 0, [own])
    made.refuse(_CLONE3, errno.ENOSYS)  # its flags are out of reach; libc falls back to clone
    made.only_values(_PRLIMIT, 0, [0, own])
    made.refuse_values(_FCNTL, 1, _SIGNAL_COMMANDS)
    made.refuse_values(_PRCTL, 0, [_PR_SET_PDEATHSIG])  # nothing outlives the bot
    for name, refused in _SYSCALLS.items():
        if not (children and name in _STARTING):
            made.refuse(refused, errno.EPERM)
    for pretended in _PRETENDED.values():
        made.refuse(pretended, 0)
    return made


def _filtered(libc: _Libc, *, network: bool, children: bool) -> bool:
    made = _filter(network=network, children=children)
    if made is None:
        return False
    try:
        made.enforce(libc)
    except OSError:
        return False
    return True


# --- all of it -------------------------------------------------------------------------------


def main(plan: Plan) -> int:
    """Launch; returns the scanner's exit status, 128 and the signal if one has ended it."""
    libc = _Libc()
    os.set_inheritable(plan["status"], False)  # noqa: FBT003 - takes it by position alone
    _die_with_parent(libc, os.getppid())
    report = Report(namespaces=False, other_user=False, landlock=0, seccomp=False, failure="")
    try:
        _leave(libc, plan, report)
    except OSError as error:
        _tell(plan, {**report, "failure": f"namespaces: {error.strerror}"})
        return FAILED
    # Waited for below, and so not to get lost in between; the scanner has it back.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    pid = os.fork()
    if not pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        _enter(libc, plan, report)
    os.close(plan["status"])
    return _watch(pid, plan["memory"], _family if plan["children"] else _alone)


def _watch(pid: int, memory: int, family: Callable[[int], list[int]]) -> int:
    """Wait for the scanner; its exit status, or `TOO_LARGE` once it was that."""
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        if sum(map(_resident, family(pid))) > memory:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return TOO_LARGE
        signal.sigtimedwait([signal.SIGCHLD], _LOOK)


def _alone(pid: int) -> list[int]:
    return [pid]


def _family(pid: int) -> list[int]:
    """A process and all that it has started, as this side numbers them."""
    found, pending = [], [pid]
    while pending:
        one = pending.pop()
        found.append(one)
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{one}/task"):  # noqa: PTH208 - starts without pathlib
                with open(f"/proc/{one}/task/{thread}/children") as file:  # noqa: PTH123 - starts without pathlib
                    pending += map(int, file.read().split())
    return found


def _resident(pid: int) -> int:
    """Bytes of memory of its own: also what it shares with nobody, which no limit counts."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as file:  # noqa: PTH123 - starts without pathlib
        return sum(
            int(line.split()[1]) * 1024
            for line in file
            if line.startswith(("RssAnon:", "RssShmem:"))
        )
    return 0


def _leave(libc: _Libc, plan: Plan, report: Report) -> None:
    """Enter namespaces of its own; what shall reach a port does not start without them."""
    report["namespaces"] = _separated(libc)
    if plan["children"] and not report["namespaces"]:
        raise PermissionError(errno.EPERM, "process numbers of its own cannot be had here")
    if plan["listener"] is None or plan["port"] is None:
        return
    if not report["namespaces"]:
        raise PermissionError(errno.EPERM, "a network of its own cannot be made here")
    _hand_over_listener(plan["listener"], plan["port"])


def _enter(libc: _Libc, plan: Plan, report: Report) -> None:
    """Shut the child in and become the scanner; never returns."""
    try:
        # The first process of a new namespace sees its parent as 0.
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        _confine(libc, plan, report)
        _tell(plan, dict(report))
        if not plan["command"]:
            os._exit(0)
        os.execve(plan["command"][0], plan["command"], plan["environment"])  # noqa: S606 - the confined program takes our place, without a shell
    except OSError as error:
        _tell(plan, {**report, "failure": f"{error.strerror} ({error.filename or 'confinement'})"})
    os._exit(FAILED)


def _confine(libc: _Libc, plan: Plan, report: Report) -> None:
    abi = _landlock_abi(libc)
    # Opened before the user changes: the way to a folder need not be open to the other one.
    rules = _ruleset(libc, abi, plan) if abi else None
    os.chdir(plan["cwd"])
    _limit(plan, alone=report["namespaces"] or plan["user"] is not None)
    report["other_user"] = _become(plan["user"])
    # Another user clears it (prctl(2), PR_SET_PDEATHSIG).
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if rules:
        rules.enforce()
        report["landlock"] = abi
    network, children = plan["port"] is not None, plan["children"]
    report["seccomp"] = _filtered(libc, network=network, children=children)


def _tell(plan: Plan, facts: dict[str, Any]) -> None:
    os.write(plan["status"], json.dumps(facts).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
