"""A look that failed is told where people look, in one place, and taken back once it goes well.

The check has a name of its own (``lockkeeper: <application> -> <environment> failed``): it never
hides how far a promotion came, and what comes later never hides it. Where it stands is in the
record, so that it is taken back after a restart as well. What cannot be told ends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from bot.domain.environments import Environment, GitHubRepository
from bot.domain.errors import IntegrityError, LockkeeperError
from bot.domain.history import Check, CheckState
from bot.domain.jobs import Job, JobKind
from bot.domain.memory import ToldFailure
from bot.domain.oci import Digest
from bot.domain.reports import CheckReport
from bot.formats.markdown import code, plain, prose
from bot.usecases.desk import Ports, View, look
from bot.usecases.resolve import record_of
from bot.usecases.told import source_check

_WORDS = 600
"""Characters of an error that a check quotes."""
_MOST = 10
"""Commits that are told: many branches may feed one environment."""
_TOLD = frozenset({JobKind.PROPOSE, JobKind.DELIVER, JobKind.PUBLISH})
_STEPS = {
    JobKind.PROPOSE: "Could not be proposed",
    JobKind.DELIVER: "Could not be delivered",
    JobKind.PUBLISH: "Could not be published",
}


def tell_failure(ports: Ports, job: Job, error: LockkeeperError) -> None:
    """Put a failed check with the error's own words on the commits that the job is about."""
    if job.kind not in _TOLD:
        return
    try:
        view = look(ports, job.manifests)
        name = f"{source_check(ports, view.repository, job.subject, job.environment)} failed"
        places = islice(dict.fromkeys(_where(view, job)), _MOST)
        failures = [ToldFailure(job.key, *place, name) for place in places]
    except LockkeeperError:
        return  # nobody can say where; the log, `status` and `doctor` have it
    ports.memory.record_told_failures(failures)
    title = _STEPS[job.kind]
    if isinstance(error, IntegrityError):
        title += ": something is not what it claims to be"
    advice = f"Somebody has to change this. {code(f'lockkeeper retry {job.key}')} looks again now."
    summary = f"{prose(str(error), _WORDS)}\n\n{advice}"
    for one in failures:
        _tell(ports, one, CheckState.FAILURE, title, summary)


def tell_over(ports: Ports, job: Job) -> None:
    """Take back what was told of earlier failures of this job."""
    if job.kind not in _TOLD:
        return
    told = ports.memory.told_failures(job.key)
    for one in told:
        _tell(ports, one, CheckState.NEUTRAL, "Over", "A later look went well.")
    if told:
        ports.memory.forget_told_failures(job.key)


def _tell(ports: Ports, one: ToldFailure, state: CheckState, title: str, summary: str) -> None:
    check = Check(one.name, one.commit, state, plain(title), summary)
    ports.outbox.tell(CheckReport(one.repository, check))


def _where(view: View, job: Job) -> Iterator[tuple[GitHubRepository, str]]:
    """Repository and commit: branch heads that ask, the newest merge, what it wants."""
    environment = view.environment(job.environment)
    if job.kind is not JobKind.PROPOSE:
        yield view.repository, view.head
    if job.kind is JobKind.PROPOSE:
        yield from _heads(view, environment, job.subject)
    elif job.kind is JobKind.DELIVER:
        yield from _wanted(view, environment, job.subject)


def _heads(
    view: View, environment: Environment, name: str
) -> Iterator[tuple[GitHubRepository, str]]:
    source = view.application(name).source
    for branch, head in sorted(view.ports.memory.seen_heads(str(source)).items()):
        if head.followed and head.commit and environment.fed_by(branch):
            yield source, head.commit


def _wanted(
    view: View, environment: Environment, name: str
) -> Iterator[tuple[GitHubRepository, str]]:
    application = view.application(name)
    commits: dict[str, None] = {}
    for spot in view.spots_of(view.head, environment, name):
        if spot.written.digest:
            digest = Digest(spot.written.digest)
            image = spot.place.image, digest
            record = record_of(view, environment, application, view.head, image)
            if record is not None:
                commits[record.commit] = None
    for commit in commits:
        yield application.source, commit
