"""The process that `tests.bench.manifests` measures: a bot that takes looks, and nothing else.

``python -m tests.bench.looks MANIFESTS_ID`` tells a line of figures at each step, and waits for a
line before the next one.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from bot.assembly import Lockkeeper, assemble
from bot.cli.groups import settle
from bot.domain.environments import GitHubRepository, ImageId
from bot.domain.jobs import Job, JobKind, JobState
from bot.domain.oci import Digest
from bot.facts.snapshot import View, look
from bot.formats.edits import edit_of
from bot.reconcilers.promotion.pull_request import written_for
from bot.settings import Settings

APPLICATIONS: Final = int(os.environ.get("BENCH_APPLICATIONS", "1000"))
AT_ONCE: Final = 50
NEW: Final = "sha256:" + "2" * 64


def names() -> list[str]:
    return [f"svc-{number:04d}" for number in range(APPLICATIONS)]


@contextmanager
def spent() -> Iterator[Callable[[], float]]:
    """Processor seconds of this process and of its children that ended."""
    before = _processor()
    yield lambda: _processor() - before


def _processor() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


class _Kept:
    """`bot.ports.jobs.Jobs`: what looks ask for is not what is measured here."""

    def put(self, job: Job) -> None: ...

    def put_once(self, job: Job, identity: str) -> bool:
        del job, identity
        return True

    def states(self) -> list[JobState]:
        return []


def _peak() -> float:
    """The most memory that this process had, in MB; `getrusage` counts that of who started it."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6


def _tell(**figures: float) -> None:
    sys.stdout.write(json.dumps({**figures, "peak": _peak()}) + "\n")
    sys.stdout.flush()


def _asked() -> Mapping[str, int]:
    found: Mapping[str, int] = json.loads(sys.stdin.readline() or "{}")
    return found


def _look(manifests: int) -> None:
    """The process under measurement."""
    settle()  # as every command does
    bot = assemble(Settings.read(os.environ))
    ports = replace(bot.workflows.ports, jobs=_Kept())
    workflows = replace(bot.workflows, ports=ports)

    def prod(view: View) -> View:
        view.files(view.head, view.environment("prod"))
        return view

    with spent() as clone_spent:
        ports.mirrors.of(GitHubRepository("acme", "deploy"))
        clone = clone_spent()
    with spent() as first_spent:
        view = prod(look(ports, manifests))
        first = first_spent()
    with spent() as others_spent:
        for environment in view.pipeline.environments.values():
            view.files(view.head, environment)
        others = others_spent()
    with spent() as again_spent:
        for _ in range(20):
            prod(look(ports, manifests))
        again = again_spent() / 20
    _tell(clone=clone, first=first, others=others, again=again)
    pull = _asked().get("pull")
    if pull is None:
        return
    for name in view.pipeline.environments:
        workflows(Job(JobKind.PUBLISH, manifests, name))
    prod(look(ports, manifests))  # what was published meanwhile is fetched
    with spent() as check:
        workflows(Job(JobKind.ANSWER, manifests, "", str(pull)))
    _tell(check=check())
    with spent() as edit:
        for number in range(20):
            _edit(view, f"svc-{number:04d}")
    _tell(edit=edit() / 20)
    _asked()
    _reconcile(bot, manifests)
    _asked()
    _promote(bot, manifests)
    bot.engine.stop()


def _edit(view: View, name: str) -> None:
    """What a promotion writes, from the files as they are known."""
    environment, application = view.environment("prod"), view.application(name)
    written = written_for(environment, application, name, Digest(NEW), "1" * 40)
    paths = view.history.paths(view.head)
    files = view.files(view.head, environment)
    edit = edit_of(files, lambda path: view.text(paths[path].blob), {ImageId(name, name): written})
    assert len(edit.contents) == 1


def _reconcile(bot: Lockkeeper, manifests: int) -> None:
    """With the queue as it is: rows are put, run and taken away."""
    most = 0
    with spent() as total:
        bot.engine.start()
        bot.workflows.ports.jobs.put(Job(JobKind.RECONCILE, manifests))
        while waiting := _waiting(bot.database):
            most = max(most, waiting)
            time.sleep(0.5)
        reconcile = total()
    _tell(looks=most, reconcile=reconcile)


def _promote(bot: Lockkeeper, manifests: int) -> None:
    """By the queue, which tries again what was not answered; then everything is told."""
    jobs = [Job(JobKind.PROPOSE, manifests, "dev", name) for name in names()[:AT_ONCE]]
    keys = {job.key for job in jobs}
    with spent() as total:
        for job in jobs:
            bot.workflows.ports.jobs.put(job)
        while any(one.key in keys and one.state != "failed" for one in bot.engine.states()):
            time.sleep(0.5)
        bot.outbox.flush()
        promotions = total()
    _tell(promotions=promotions)


def _waiting(database: sa.Engine) -> int:
    busy = sa.text("SELECT count(*) FROM lk_job WHERE state IN ('queued', 'running')")
    with database.connect() as connection:
        return int(connection.scalar(busy) or 0)


if __name__ == "__main__":
    _look(int(sys.argv[1]))
