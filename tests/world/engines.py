"""Engines to test against: in this process, and in one that may be killed.

``python -m tests.world.engines URL FOLDER`` runs an engine whose jobs write their subject into
``FOLDER/began`` and ``FOLDER/ended``; a job with the hint ``wait`` first puts a job that is named
after its process, then waits for ``FOLDER/go``. One with the hint ``alone`` takes a moment, and
writes its subject into ``FOLDER/clash`` where another one of its lane runs. SIGTERM stops as
`lockkeeper serve` does.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bot.adapters.clock import SystemClock
from bot.adapters.engine import MIGRATIONS, Engine, Pace
from bot.adapters.store import migrate, open_database
from bot.domain.jobs import Done, Job, JobKind, Outcome, Share
from bot.ports.clock import Clock

PACE: Final = Pace(clock=0.02, beat=0.3, lease=2.0)
_PATIENCE_SECONDS: Final = 30.0


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until the condition holds; fail with ``what`` if it never does."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"it never happened: {what}")
        time.sleep(0.02)


@contextmanager
def engine(
    url: str,
    run: Callable[[Job], Outcome],
    clock: Clock | None = None,
    *,
    pace: Pace = PACE,
    start: bool = True,
    kinds: Sequence[JobKind] = tuple(JobKind),
) -> Iterator[Engine]:
    """An engine in this process."""
    database = open_database(url)
    migrate(database, "engine", MIGRATIONS)
    running = Engine(database, clock or SystemClock(), run, share=Share(tuple(kinds)), pace=pace)
    if start:
        running.start()
    try:
        yield running
    finally:
        if start:
            running.stop(grace_seconds=5)
        database.dispose()


@dataclass(frozen=True, slots=True)
class Process:
    """An engine in a process of its own."""

    popen: subprocess.Popen[str]
    folder: Path

    def began(self) -> list[str]:
        return _lines(self.folder / "began")

    def ended(self) -> list[str]:
        return _lines(self.folder / "ended")

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait(timeout=10)

    def stop(self) -> None:
        self.popen.send_signal(signal.SIGTERM)
        assert self.popen.wait(timeout=30) == 0

    def freeze(self) -> None:
        self.popen.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.popen.send_signal(signal.SIGCONT)


@contextmanager
def engine_process(url: str, folder: Path) -> Iterator[Process]:
    """Start a process, wait until its engine runs; kill it at the end."""
    folder.mkdir(exist_ok=True)
    popen = subprocess.Popen(
        [sys.executable, "-m", "tests.world.engines", url, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert popen.stdout is not None
    try:
        assert popen.stdout.readline() == "running\n"
        yield Process(popen, folder)
    finally:
        popen.kill()
        popen.wait(timeout=10)
        popen.stdout.close()


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").split() if file.exists() else []


def _main(url: str, folder: Path) -> None:
    def run(job: Job) -> Outcome:
        if job.hint == "wait":
            jobs.put(replace(job, subject=f"after-{os.getpid()}", hint="", lane="after"))
        _write(folder / "began", job.subject)
        if job.hint == "wait":
            eventually((folder / "go").exists, "go")
        if job.hint == "alone":
            _alone(folder, job)
        _write(folder / "ended", job.subject)
        return Done("ran")

    logging.basicConfig(level=logging.WARNING)
    with engine(url, run) as jobs:
        stopping = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopping.set())
        sys.stdout.write("running\n")
        sys.stdout.flush()
        stopping.wait()


def _alone(folder: Path, job: Job) -> None:
    mark = folder / f"{job.lane}.lock"
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        _write(folder / "clash", job.subject)
        return
    time.sleep(0.002)
    mark.unlink()


def _write(file: Path, subject: str) -> None:
    with file.open("a", encoding="utf-8") as output:
        output.write(subject + "\n")


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
