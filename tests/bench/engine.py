"""The queue on SQLite and on PostgreSQL (which writes through to the disk): as fast as it must be?

* hop: from `put` to the start of the job, median of one at a time.
* idle: a process whose queue knows 1,000 applications that wait, each for a time of its own.
* webhooks: the real listener, 16 clients, signed deliveries of 20 repositories, jobs run beside.
* kill: the process is killed while they are posted, and started again. Lost is what was answered
  202 and never handled.

Each process under measurement is one of its own: ``python -m tests.bench.engine idle|serve ...``.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from bot.adapters.clock import SystemClock
from bot.adapters.engine import MIGRATIONS, Engine
from bot.adapters.store import migrate, open_database
from bot.domain.jobs import Done, Job, JobKind, Outcome, RequeueAt
from bot.settings import Address
from bot.web.health import create_board
from bot.web.intake import Authenticity, create_intake
from bot.web.serving import serve
from tests.bench.figures import Figure
from tests.world import postgres

APPLICATIONS: Final = 1_000
CLIENTS: Final = 16
HOPS: Final = 100
_IDLE_SECONDS: Final = 20.0
_POSTING_SECONDS: Final = 10.0
_HOP_MS, _IDLE_SHARE, _IDLE_MB, _WEBHOOKS, _P99_MS = 20.0, 1.0, 100.0, 300.0, 100.0
_SECRET: Final = "of the bench"  # noqa: S105 - of the bench alone
_APP: Final = 1


def measure(folder: Path) -> list[Figure]:
    """Both databases; without PostgreSQL its lines say so."""
    figures = _on(f"sqlite:///{folder / 'queue.db'}", "SQLite", folder)
    programs = postgres.found()
    if programs is None:
        return [*figures, Figure("PostgreSQL", 0, "", "not installed")]
    with postgres.serving(programs, fsync=True) as url:
        return [*figures, *_on(f"{url}/postgres", "PostgreSQL", folder)]


def _on(url: str, name: str, folder: Path) -> list[Figure]:
    handled = folder / f"handled-{name}"
    return [*_quiet(url, name), *_webhooks(url, name, handled), _killed(url, name, handled)]


def _most(name: str, value: float, unit: str, allowed: float) -> Figure:
    return Figure(name, value, unit, "allowed", allowed, value / allowed, 1.0)


# --- hop and idle ----------------------------------------------------------------------------


def _quiet(url: str, name: str) -> list[Figure]:
    command = [sys.executable, "-m", "tests.bench.engine", "idle", url]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(run.stdout)
    return [
        _most(f"{name}: hop", found["hop"], "ms", _HOP_MS),
        _most(f"{name}: idle share of a core", found["idle"], "%", _IDLE_SHARE),
        _most(f"{name}: memory", found["memory"], "MB", _IDLE_MB),
        Figure(f"{name}: threads", found["threads"], ""),
    ]


def _idle(url: str) -> None:
    """Measure in this process; the waiting jobs are left to the measurements that follow."""
    began: list[float] = []
    clock = SystemClock()

    def run(job: Job) -> Outcome:
        began.append(time.monotonic())
        if job.kind is JobKind.PROPOSE:
            later = timedelta(hours=1, seconds=int(job.subject))
            return RequeueAt("no image yet", clock.now() + later)
        return Done("ran")

    with _engine(url, run) as jobs:
        for number in range(APPLICATIONS):
            jobs.put(Job(JobKind.PROPOSE, 7, "dev", f"{number}"))
        _until(lambda: len(began) == APPLICATIONS and not _busy(url))
        hops = [_hop(jobs, began, number) for number in range(HOPS)]
        spent = time.process_time()
        time.sleep(_IDLE_SECONDS)
        idle = (time.process_time() - spent) / _IDLE_SECONDS * 100
        said = {
            "hop": statistics.median(hops) * 1000,
            "idle": idle,
            "memory": _memory(),
            "threads": threading.active_count(),
        }
    sys.stdout.write(json.dumps(said))


def _hop(jobs: Engine, began: list[float], number: int) -> float:
    before = len(began)
    put = time.monotonic()
    jobs.put(Job(JobKind.DELIVER, 7, "prod", f"{number}", lane="prod"))
    _until(lambda: len(began) > before, pause=0.0005)
    time.sleep(0.01)
    return began[-1] - put


def _memory() -> float:
    """What is in memory now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


# --- webhooks --------------------------------------------------------------------------------


def _webhooks(url: str, name: str, handled: Path) -> list[Figure]:
    with _serving(url, handled) as (_, port):
        answers = _posted(port, _POSTING_SECONDS)
    seconds = sorted(took for status, _, took in answers if status == 202)
    rate = len(seconds) / _POSTING_SECONDS
    p99 = seconds[int(len(seconds) * 0.99)] * 1000
    return [
        Figure(f"{name}: webhooks", rate, "1/s", "at least", _WEBHOOKS, _WEBHOOKS / rate, 1.0),
        _most(f"{name}: webhooks, p99", p99, "ms", _P99_MS),
    ]


def _killed(url: str, name: str, handled: Path) -> Figure:
    with _serving(url, handled) as (process, port), ThreadPoolExecutor() as beside:
        posting = beside.submit(_posted, port, _POSTING_SECONDS / 2)
        time.sleep(_POSTING_SECONDS / 4)
        process.kill()
        process.wait()
        with _serving(url, handled, port):
            answers = posting.result()
            accepted = {delivery for status, delivery, _ in answers if status == 202}
            _until(lambda: not _busy(url))
    lost = accepted - set(handled.read_text().split())
    return Figure(f"{name}: lost of {len(accepted)} after a kill", len(lost), "", target=0.0)


Answer = tuple[int, str, float]
"""Status (0: no answer), delivery, seconds."""


def _posted(port: int, seconds: float) -> list[Answer]:
    deadline = time.monotonic() + seconds
    with ThreadPoolExecutor(CLIENTS) as clients:
        running = [clients.submit(_client, port, number, deadline) for number in range(CLIENTS)]
        return [answer for one in running for answer in one.result()]


def _client(port: int, number: int, deadline: float) -> list[Answer]:
    answers: list[Answer] = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while time.monotonic() < deadline:
        delivery = str(uuid.uuid4())
        body, headers = _delivery(delivery, (number + len(answers)) % 20)
        started = time.monotonic()
        try:
            connection.request("POST", "/webhook", body, headers)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            connection.close()
            time.sleep(0.05)
            status = 0
        answers.append((status, delivery, time.monotonic() - started))
    connection.close()
    return answers


def _delivery(delivery: str, repository: int) -> tuple[bytes, dict[str, str]]:
    push = {
        "ref": "refs/heads/main",
        "before": "0" * 40,
        "after": "1" * 40,
        "repository": {"id": repository + 1, "full_name": f"acme/app-{repository}"},
        "commits": [{"id": f"{n:040x}", "message": "Change it " * 20} for n in range(20)],
    }
    body = json.dumps(push).encode()
    signature = hmac.new(_SECRET.encode(), body, hashlib.sha256).hexdigest()
    return body, {
        "Content-Type": "application/json",
        "X-GitHub-Delivery": delivery,
        "X-GitHub-Event": "push",
        "X-GitHub-Hook-Installation-Target-ID": f"{_APP}",
        "X-GitHub-Hook-Installation-Target-Type": "integration",
        "X-Hub-Signature-256": f"sha256={signature}",
    }


@contextmanager
def _serving(
    url: str, handled: Path, port: int = 0
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = port or _free_port()
    command = [sys.executable, "-m", "tests.bench.engine", "serve", url, str(handled), str(port)]
    process = subprocess.Popen(command)
    try:
        _until(lambda: _answers(port))
        yield process, port
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _serve(url: str, handled: Path, port: int) -> None:
    logging.disable(logging.CRITICAL)
    with handled.open("a", buffering=1, encoding="utf-8") as output, ExitStack() as stack:

        def run(job: Job) -> Outcome:
            output.write(job.subject + "\n")
            return Done("handled")

        jobs = stack.enter_context(_engine(url, run, start=False))
        intake = create_intake(Authenticity(_APP, [_SECRET]), jobs)
        board = create_board(jobs.reason_not_ready)
        here, any_port = Address("127.0.0.1", port), Address("127.0.0.1", 0)
        serve(intake, board, here, any_port, on_started=jobs.start, on_stop=jobs.stop)


# --- both ------------------------------------------------------------------------------------


@contextmanager
def _engine(url: str, run: Callable[[Job], Outcome], *, start: bool = True) -> Iterator[Engine]:
    database = open_database(url)
    migrate(database, "engine", MIGRATIONS)
    jobs = Engine(database, SystemClock(), run)
    if start:
        jobs.start()
    yield jobs
    if start:
        jobs.stop()
    database.dispose()


def _busy(url: str) -> bool:
    database = open_database(url)
    busy = sa.text("SELECT count(*) FROM lk_job WHERE state IN ('queued', 'running')")
    with database.connect() as connection:
        count = connection.scalar(busy)
    database.dispose()
    return bool(count)


def _until(condition: Callable[[], object], *, pause: float = 0.02) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it never happened")
        time.sleep(pause)


if __name__ == "__main__":
    if sys.argv[1] == "idle":
        _idle(sys.argv[2])
    else:
        _serve(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
