"""The bot's stories run in this process, job by job: no engine, no threads, no waiting.

    with driven(tmp_path) as driver:
        driver.run(driver.propose("dev"))
        assert driver.stage.open_promotion("stage")

The stage is the journeys' own, with the bot not started; what a job puts is run behind it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from bot.adapters.outbox import Outbox
from bot.assembly import Lockkeeper, assemble
from bot.domain.errors import LockkeeperError
from bot.domain.jobs import Failed, Job, JobKind, JobState, Outcome
from bot.facts.snapshot import Limits, Ports, View, look
from bot.settings import Settings
from bot.workflows import Workflows
from tests.contract import published
from tests.world.github.gitstore import last_move
from tests.world.github.people import User
from tests.world.github.records import Comment, PullRequest, Repository
from tests.world.images import build_image
from tests.world.stage import OVERLAY, PIPELINE, Stage, digest_in, raised

TWO = PIPELINE.replace("  payments: {{}}\n", "  payments: {{}}\n  billing: {{}}\n")
"""Two applications, each with a source repository of its own."""
_MOST = 100  # jobs of one run: a story that puts itself for ever must end


@dataclass
class Queue:
    """`bot.ports.jobs.Jobs` as a list: what is put waits, equal jobs once."""

    waiting: dict[str, Job] = field(default_factory=dict)
    put_ever: list[Job] = field(default_factory=list)

    def put(self, job: Job) -> None:
        self.waiting.setdefault(job.key, job)
        self.put_ever.append(job)

    def put_once(self, job: Job, identity: str) -> bool:
        assert identity
        self.put(job)
        return True

    def states(self) -> Sequence[JobState]:
        return []


@dataclass
class Driver:
    """The stage, and the bot's stories at hand."""

    stage: Stage
    app: Lockkeeper
    queue: Queue
    ports: Ports
    workflows: Workflows
    ran: list[tuple[str, Outcome]] = field(default_factory=list)
    """Key and outcome of every job so far; an error is Failed with its words."""

    @property
    def outbox(self) -> Outbox:
        return self.app.outbox

    def job(self, kind: JobKind, environment: str = "", application: str = "payments") -> Job:
        return Job(kind, self.stage.manifests.id, environment, application)

    def propose(self, environment: str, application: str = "payments") -> Job:
        return self.job(JobKind.PROPOSE, environment, application)

    def deliver(self, environment: str, application: str = "payments") -> Job:
        return self.job(JobKind.DELIVER, environment, application)

    def publish(self, environment: str) -> Job:
        return self.job(JobKind.PUBLISH, environment, "")

    def answer(self, subject: str) -> Job:
        return self.job(JobKind.ANSWER, "", subject)

    def heard(self, who: User, pull: PullRequest, body: str) -> Comment:
        """Somebody comments, and the bot has looked at it."""
        written = who.comment(pull, body)
        self.run(self.comment(written))
        return written

    def comment(self, written: Comment) -> Job:
        return Job(JobKind.COMMENT, self.stage.manifests.id, "", str(written.id))

    def look(self) -> View:
        """A new look, as each job takes one."""
        return look(self.ports, self.stage.manifests.id)

    def run(self, *jobs: Job, most: int = _MOST) -> None:
        """Put jobs, then run everything that waits, in order."""
        for job in jobs:
            self.queue.put(job)
        while self.queue.waiting and most:
            most -= 1
            key = next(iter(self.queue.waiting))
            self.ran.append((key, self._outcome(self.queue.waiting.pop(key))))
            self.outbox.flush()

    def _outcome(self, job: Job) -> Outcome:
        try:
            return self.workflows(job)
        except LockkeeperError as error:
            return Failed(f"{type(error).__name__}: {error}")

    def add_billing(self) -> Repository:
        """The second application's source repository and its overlays."""
        stage = self.stage
        billing = stage.github.add_repository("acme/billing", files={"b.py": "0\n"})
        stage.dana.push(billing, "develop", parent=billing.head("main"))
        installation = next(iter(stage.github.state.installations.values()))
        stage.github.add_to_installation(installation, billing)
        overlays = {
            f"envs/{name}/billing/kustomization.yaml": OVERLAY.format(
                environment=name, host=stage.hosts[name]
            ).replace("payments", "billing")
            for name in stage.hosts
        }
        stage.dana.push(stage.manifests, "main", dict(overlays))
        return billing

    def look_first(self, *applications: str) -> None:
        """The first look at everything: what stands before it asks for nothing."""
        names = applications or ("payments",)
        looks = [self.propose(env, name) for env in self.stage.hosts for name in names]
        self.run(*looks, *(self.publish(environment) for environment in self.stage.hosts))

    def build(self, repository: Repository, commit: str, name: str = "") -> str:
        """CI pushes an image of a commit to dev, by default called as its repository."""
        labels = {"org.opencontainers.image.revision": commit}
        image = build_image(labels=labels, seed=int(commit[:8], 16) + len(name), layer_size=2000)
        image.push(self.stage.hosts["dev"], f"acme/{name or repository.name}", f"sha-{commit[:7]}")
        return image.digest

    def shown(self, environment: str, path: str = "") -> str | None:
        """The digest that an environment ref shows in its overlay."""
        commit = self.stage.ref(environment)
        if commit is None:
            return None
        return digest_in(self.stage.file(commit, path or f"envs/{environment}/kustomization.yaml"))


@contextlib.contextmanager
def _since_the_last_move(_job: Job) -> Iterator[float]:
    """Every job sees the world as it is; nothing is fetched twice that did not move."""
    yield last_move()


@contextlib.contextmanager
def driven(
    directory: Path, *, pipeline: str = PIPELINE, hosts: Mapping[str, str] | None = None
) -> Iterator[Driver]:
    """Raise the stage without a bot, and put the bot's stories beside it.

    With ``hosts``, registries by environment that run already.
    """
    contract = published.contract()
    with raised(directory, contract=contract, pipeline=pipeline, hosts=hosts, start=False) as stage:
        own = {k: v for k, v in stage.bot.environment.items() if k.startswith("LOCKKEEPER_")}
        app, queue = assemble(Settings.read(own)), Queue()
        limits = Limits(timedelta(hours=1), timedelta(0), timedelta(0))
        ports = replace(app.workflows.ports, jobs=queue, limits=limits)
        workflows = replace(app.workflows, ports=ports, running=_since_the_last_move)
        try:
            yield Driver(stage, app, queue, ports, workflows)
        finally:
            app.database.dispose()
