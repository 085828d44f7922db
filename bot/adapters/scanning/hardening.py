"""What the bot does to itself, so that no other process of its user reads its memory."""

from __future__ import annotations

import ctypes
import resource

_PR_SET_DUMPABLE = 4  # prctl(2)


def harden() -> None:
    """Leave no core file, and let nobody of the same user trace this process or read its memory.

    ``/proc/<pid>/environ`` and ``/proc/<pid>/mem`` belong to root from then on, and ptrace(2) is
    refused. Safe to repeat; where the kernel has no such call, nothing happens.
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
