"""A look that failed is told where people look, in one place, and taken back once it goes well.

The check has a name of its own (``lockkeeper: <application> -> <environment> failed``): it never
hides how far a promotion came, and what comes later never hides it. Where it stands is in the
record, so that it is taken back after a restart as well. What cannot be told ends nothing.

It stands on every commit that somebody waits for, however many those are: the head of each branch
that asks and still stands, unless what is in the environment has it already; and on the merge, and
the commits whose images it brought and that are not published yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bot.domain.environments import Application, Environment, GitHubRepository
from bot.domain.errors import IntegrityError, LockkeeperError
from bot.domain.history import Check, CheckState
from bot.domain.jobs import Job, JobKind
from bot.domain.memory import ToldFailure
from bot.domain.oci import Digest
from bot.domain.reports import CheckReport
from bot.domain.source_refs import SourceRef
from bot.facts.resolution import record_of
from bot.facts.snapshot import Ports, View, look
from bot.formats.markdown import code, plain, prose
from bot.ports.git import GitHistory
from bot.reporting.reports import source_check

_WORDS = 600
"""Characters of an error that a check quotes."""
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
        failures = [
            ToldFailure(job.key, *place, name) for place in dict.fromkeys(_where(view, job))
        ]
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
    """Repository and commit: branch heads that ask; the newest merge, and what it brings."""
    environment = view.environment(job.environment)
    if job.kind is JobKind.PROPOSE:
        for application in view.pipeline.in_lane(job.subject):
            own = view.pipeline.environment_of(environment.name, application)
            if own is not None:
                yield from _heads(view, own, application)
        return
    yield view.repository, view.head
    if job.kind is JobKind.DELIVER:
        yield from _wanted(view, environment, view.application(job.subject))
        return
    for application in view.pipeline.applications.values():
        if _is_to_come(view, environment, application):
            yield from _wanted(view, environment, application)


def _heads(
    view: View, environment: Environment, application: Application
) -> Iterator[tuple[GitHubRepository, str]]:
    """Branches whose promotion is not over: old ones stand in the record for ever."""
    source = application.source
    seen = view.ports.memory.seen_heads(str(source)).items()
    asking = {
        ref: head.commit
        for ref, head in ((SourceRef.of(key), head) for key, head in seen)
        if head.followed and head.commit and environment.fed_by(ref)
    }
    try:
        history = view.ports.mirrors.of(source)
    except LockkeeperError:
        history = None  # nobody knows what stands; who asks is told
    wanted = [commit for _, commit in _wanted(view, environment, application)]
    tags = _newest_tag(asking)
    for ref, commit in sorted(asking.items()):
        if ref.is_tag and ref not in tags:
            continue
        if history is None or (_stands(history, ref) and not _is_over(history, commit, wanted)):
            yield source, commit


def _newest_tag(refs: Iterable[SourceRef]) -> Sequence[SourceRef]:
    """Of the tags that ask the newest version alone: the others were told what is the matter."""
    return sorted((ref for ref in refs if ref.is_tag), key=lambda ref: ref.rank)[-1:]


def _stands(history: GitHistory, ref: SourceRef) -> bool:
    """Whether the branch or tag is still there."""
    return ref.name in (history.tags() if ref.is_tag else history.heads())


def _is_over(history: GitHistory, commit: str, wanted: Sequence[str]) -> bool:
    """Whether all that the environment asks for contains the commit already."""
    return bool(wanted) and all(
        history.fetch_commit(one) and history.is_ancestor(commit, one) for one in wanted
    )


def _is_to_come(view: View, environment: Environment, application: Application) -> bool:
    """Whether the default branch asks for an image that the environment's ref does not show."""
    tip = view.history.heads().get(environment.ref, "")
    shown = (
        {one.place: one.written.digest for one in view.locations(tip, environment)} if tip else {}
    )
    return any(
        location.written.digest and shown.get(location.place) != location.written.digest
        for location in view.locations(view.head, environment)
        if location.image.application == application.name
    )


def _wanted(
    view: View, environment: Environment, application: Application
) -> Iterator[tuple[GitHubRepository, str]]:
    """The source commits of what the default branch asks for, as far as the record knows them."""
    commits: dict[str, None] = {}
    for location in view.locations_of(view.head, environment, application.name):
        if location.written.digest:
            image = location.place.image, Digest(location.written.digest)
            record = record_of(view, environment, application, view.head, image)
            if record is not None:
                commits[record.commit] = None
    for commit in commits:
        yield application.source, commit
