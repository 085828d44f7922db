"""A year in a busy repository: what a promotion costs in the first weeks, and in the last.

The bot's stories run in this process, on the local GitHub and three registries, and are told of
what happens as webhooks tell it. ``BENCH_WEEKS`` (52) weeks of five days, ``BENCH_A_DAY`` (20)
builds on each, over 40 applications; four of them are released up to prod each week, 30 other
branches stay alive. Twice a month GitHub does not answer for a while and the webhooks of that time
are lost; each month all tokens are revoked; once the App is installed anew.

Counted is what the bot's own thread does: the local GitHub's work is not the bot's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from bot.domain.jobs import Failed, Job, JobKind
from bot.formats.webhook import WebhookHint, render_hint
from tests.bench.figures import Figure
from tests.world.driver import Driver, driven
from tests.world.github.faults import Fault
from tests.world.github.records import PullRequest, Repository
from tests.world.images import build_image
from tests.world.stage import digest_in

WEEKS: Final = int(os.environ.get("BENCH_WEEKS", "52"))
A_DAY: Final = int(os.environ.get("BENCH_A_DAY", "20"))
APPLICATIONS: Final = tuple(f"svc-{number:02d}" for number in range(40))
BRANCHES: Final = 30
RELEASED: Final = 4
_SIDE: Final = 4
"""Weeks at each end that are compared."""
_MOST: Final = 5000
_TRIES: Final = 3
PIPELINE: Final = """\
version: 1
environments:
  dev:
    on: {{ branches: [develop] }}
    image_repository: {dev}/acme/{{image}}
    manifests: [envs/dev/**]
    merge: auto
  stage:
    on: {{ branches: ["release/*"] }}
    from: dev
    image_repository: {stage}/acme/{{image}}
    manifests: [envs/stage/**]
  prod:
    on: {{ branches: [main] }}
    from: stage
    image_repository: {prod}/acme/{{image}}
    manifests: [envs/prod/**]
    sign: true
    approvals: {{ count: 1, teams: [acme/release-managers] }}
defaults:
  source: acme/{{application}}
applications:
""" + "".join(f"  {name}: {{{{}}}}\n" for name in APPLICATIONS)
_PLACE: Final = """\
kind: Deployment
spec:
  template:
    spec:
      containers:
        - name: app
          image: {host}/acme/{name}
"""


@dataclass
class Costs:
    """Of all promotions of one week."""

    promotions: int = 0
    requests: int = 0
    processes: int = 0
    seconds: float = 0.0


@dataclass
class Year:
    """The scene, what is expected to run at the end, and what each week cost."""

    driver: Driver
    sources: dict[str, Repository]
    expected: dict[tuple[str, str], str] = field(default_factory=dict)
    weeks: list[Costs] = field(default_factory=list)
    builds: int = 0

    # --- the bot ---

    def told(self, hint: WebhookHint, *, away: bool = False) -> None:
        """A webhook arrives and everything that it asks for is done; ``away``: GitHub is."""
        week, github = self.weeks[-1], self.driver.stage.github
        before, processor = len(github.requests), time.thread_time()
        with _git_processes() as started:
            hint_row = Job(JobKind.INTAKE, subject=f"{self.builds}", hint=render_hint(hint))
            self.run(hint_row, tries=1 if away else _TRIES)
        week.seconds += time.thread_time() - processor
        week.requests += len(github.requests) - before
        week.processes += started()
        if not away and (failed := [one for one in self.driver.ran if isinstance(one[1], Failed)]):
            raise AssertionError(failed[:3])

    def run(self, job: Job, *, tries: int = 1) -> None:
        """Run a job and what it asks for; what fails is tried again, as the engine would."""
        jobs = [job]
        for _ in range(tries):
            self.driver.ran.clear()
            self.driver.queue.put_ever.clear()
            self.driver.run(*jobs, most=_MOST)
            failed = {key for key, outcome in self.driver.ran if isinstance(outcome, Failed)}
            jobs = [one for one in (job, *self.driver.queue.put_ever) if one.key in failed]
            if not jobs:
                break

    def reconcile(self) -> None:
        """The periodic look, which finds what no webhook told."""
        self.run(Job(JobKind.RECONCILE, self.driver.stage.manifests.id), tries=_TRIES)

    def pushed(self, repository: Repository, branch: str, *, away: bool = False) -> None:
        head = repository.head(branch) or ""
        name = f"{repository.owner.login}/{repository.name}"
        hint = WebhookHint("push", repository=name, ref=f"refs/heads/{branch}", after=head)
        self.told(hint, away=away)

    def deployed(self) -> None:
        """The default branch of the manifests repository moved."""
        self.pushed(self.driver.stage.manifests, "main")

    # --- people ---

    def build(self, name: str, *, away: bool = False) -> str:
        """A merge to develop, built by CI and run in dev; its digest."""
        stage, source = self.driver.stage, self.sources[name]
        self.builds += 1
        commit = stage.dana.push(source, "develop", {"app.py": f"print({self.builds})\n"})
        labels = {"org.opencontainers.image.revision": commit}
        image = build_image(labels=labels, seed=self.builds, layers=1, layer_size=64)
        image.push(stage.hosts["dev"], f"acme/{name}", f"sha-{commit[:7]}")
        self.weeks[-1].promotions += 1
        self.pushed(source, "develop", away=away)
        if not away:
            self.deployed()
        self.expected["dev", name] = image.digest
        return image.digest

    def release(self, name: str, version: str) -> None:
        """What runs in dev goes to stage and prod, each by a pull request that people merge."""
        stage, source, digest = self.driver.stage, self.sources[name], self.expected["dev", name]
        branch = f"release/{version}"
        stage.dana.push(source, branch, parent=source.head("develop"))
        self.weeks[-1].promotions += 2
        self.pushed(source, branch)
        stage.dana.merge(self.promotion("stage", name))
        self.deployed()
        self.expected["stage", name] = digest
        done = stage.dana.open_pull_request(source, branch, base="main", title=version)
        stage.dana.merge(done, "merge")
        self.pushed(source, "main")
        pull = self.promotion("prod", name)
        stage.rita.approve(pull)
        stage.dana.merge(pull)
        self.deployed()
        self.expected["prod", name] = digest

    def promotion(self, environment: str, name: str) -> PullRequest:
        pulls = self.driver.stage.manifests.open_pulls()
        return next(one for one in pulls if one.head_ref == f"lockkeeper/{environment}/{name}")

    # --- faults ---

    def outage(self, name: str) -> None:
        """GitHub answers nothing while a build is told; what it would have told is lost."""
        faults = self.driver.stage.github.faults
        faults.add(Fault("*", "/*", 503, times=100_000))
        self.build(name, away=True)
        faults.clear()
        self.driver.queue.waiting.clear()
        self.reconcile()
        self.reconcile()

    def revoke(self) -> None:
        """Every token of the App is worth nothing from now on."""
        self.driver.stage.github.state.tokens.clear()

    def wrong(self) -> list[str]:
        """Where an environment shows something else than what was promoted there last."""
        driver = self.driver
        return [
            f"{environment}/{name}: {shown} instead of {digest}"
            for (environment, name), digest in self.expected.items()
            if (shown := _shown(driver, environment, name)) != digest
        ]


def _shown(driver: Driver, environment: str, name: str) -> str | None:
    commit = driver.stage.ref(environment)
    if commit is None:
        return None
    text = driver.stage.file(commit, f"envs/{environment}/{name}.yaml")
    return text.partition("@")[2].split()[0] if "@" in text else digest_in(text)


@contextmanager
def _git_processes() -> Iterator[Callable[[], int]]:
    """How many git processes this thread starts; the local GitHub's threads start others."""
    here, started = threading.get_ident(), 0
    begin = subprocess.Popen.__init__

    def counted(self: subprocess.Popen[Any], args: Any, *rest: Any, **more: Any) -> None:  # noqa: ANN401 - as the original
        nonlocal started
        started += threading.get_ident() == here
        begin(self, args, *rest, **more)

    subprocess.Popen.__init__ = counted  # type: ignore[method-assign]  # put back below
    try:
        yield lambda: started
    finally:
        subprocess.Popen.__init__ = begin  # type: ignore[method-assign]  # as it was


def _begin(driver: Driver) -> Year:
    stage = driver.stage
    installation = next(iter(stage.github.state.installations.values()))
    sources: dict[str, Repository] = {}
    for name in APPLICATIONS:
        source = stage.github.add_repository(f"acme/{name}", files={"app.py": "0\n"})
        stage.dana.push(source, "develop", parent=source.head("main"))
        stage.github.add_to_installation(installation, source)
        sources[name] = source
    for number in range(BRANCHES):
        source = sources[APPLICATIONS[number % len(APPLICATIONS)]]
        stage.dana.push(source, f"release/0.{number}", parent=source.head("main"))
    files: dict[str, str | bytes | None] = {
        f"envs/{environment}/{name}.yaml": _PLACE.format(host=host, name=name)
        for environment, host in stage.hosts.items()
        for name in APPLICATIONS
    }
    stage.dana.push(stage.manifests, "main", files)
    driver.run(*(driver.propose("dev", name) for name in APPLICATIONS), most=_MOST)
    driver.run(*(driver.publish(environment) for environment in stage.hosts), most=_MOST)
    for name in APPLICATIONS:
        for environment in stage.hosts:
            driver.run(driver.propose(environment, name), most=_MOST)
    driver.ran.clear()
    return Year(driver, sources)


def _week(year: Year, number: int) -> None:
    year.weeks.append(Costs())
    names = [
        APPLICATIONS[(number * 5 * A_DAY + one) % len(APPLICATIONS)] for one in range(5 * A_DAY)
    ]
    for name in names:
        year.build(name)
    if number % 2:
        year.outage(names[0])
    if number % 4 == 0:
        year.revoke()
    for one in range(RELEASED):
        year.release(names[one % len(names)], f"1.{number}.{one}")


def _measured(year: Year) -> Iterator[Figure]:
    def each(of: Callable[[Costs], float], weeks: list[Costs]) -> float:
        return median(of(week) / max(week.promotions, 1) for week in weeks)

    counts: dict[str, tuple[Callable[[Costs], float], str]] = {
        "requests for a promotion": (lambda week: week.requests, ""),
        "git processes for a promotion": (lambda week: week.processes, ""),
        "processor time for a promotion": (lambda week: week.seconds, "s"),
    }
    quiet = [week for number, week in enumerate(year.weeks) if number % 2 == 0] or year.weeks
    for name, (of, unit) in counts.items():
        first, last = each(of, quiet[:_SIDE]), each(of, quiet[-_SIDE:])
        yield Figure(f"{name}, last weeks", last, unit, "first weeks", first, last / first, 1.15)


def measure(directory: Path) -> list[Figure]:
    with driven(directory, pipeline=PIPELINE) as driver:
        year = _begin(driver)
        for number in range(WEEKS):
            _week(year, number)
            week = year.weeks[-1]
            sys.stderr.write(
                f"week {number + 1}: {week.promotions} promotions, "
                f"{week.requests / week.promotions:.1f} requests, "
                f"{week.processes / week.promotions:.1f} git processes, "
                f"{week.seconds / week.promotions:.3f} s each\n"
            )
        wrong = year.wrong()
        sys.stderr.write("".join(f"{one}\n" for one in wrong))
        promotions = sum(week.promotions for week in year.weeks)
        return [
            Figure("promotions", promotions, ""),
            Figure("places that show something else than promoted", len(wrong), "", target=0.0),
            *_measured(year),
        ]
