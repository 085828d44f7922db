"""From what happened, or from nothing at all, to the looks that are worth taking."""

from __future__ import annotations

from collections.abc import Iterator

from bot.domain.environments import GitHubRepository, ManifestsRepository
from bot.domain.errors import NotFoundError, RejectedError
from bot.domain.jobs import Done, Failed, Job, JobKind, Outcome
from bot.domain.memory import SeenHead
from bot.formats.webhook import WebhookHint
from bot.usecases.desk import Ports, View, look
from bot.usecases.review_request import head_branch

_HEAD_ACTIONS = frozenset({"opened", "reopened", "synchronize", "edited"})
"""Actions of a pull request that bring a head (or base) which has no answer yet."""
_IMAGE_EVENTS = frozenset({"check_suite", "workflow_run", "registry_package", "package", "status"})
"""Events after which an image may stand that was not there before."""


def reconcile(ports: Ports, manifests: int) -> Outcome:
    """Look at everything of one manifests repository: what no webhook told is found here."""
    view = look(ports, manifests)
    jobs = list(_everything(view))
    for job in jobs:
        ports.jobs.put(job)
    return Done(f"{len(jobs)} looks at {view.repository}")


def _everything(view: View) -> Iterator[Job]:
    for environment in view.pipeline.environments:
        for application in view.pipeline.applications:
            yield Job(JobKind.PROPOSE, view.id, environment, application)
            yield Job(JobKind.DELIVER, view.id, environment, application)
        yield Job(JobKind.PUBLISH, view.id, environment)
    for pull_request in view.ports.github.pull_requests(view.repository, state="open"):
        yield Job(JobKind.ANSWER, view.id, "", str(pull_request.number))


def intake(ports: Ports, hint: WebhookHint) -> Outcome:
    """Turn a webhook delivery's hint into looks; what it says is never taken as a fact."""
    found: list[Job] = []
    problems: list[str] = []
    for repository in ports.manifests:
        try:
            view = look(ports, ports.github.facts(repository).id)
        except RejectedError as error:
            problems.append(str(error))
            continue
        _follow(view, hint)
        found += _looks(view, hint)
    for job in dict.fromkeys(found):
        ports.jobs.put(job)
    if problems and not found:
        return Failed("; ".join(problems))
    return Done(f"{hint.event}: {len(found)} looks")


def _follow(view: View, hint: WebhookHint) -> None:
    """A branch is followed from its first event on, however the first look at it comes about."""
    branch = hint.ref.removeprefix("refs/heads/")
    if hint.event != "push" or branch == hint.ref or not hint.after.strip("0"):
        return
    for application in view.pipeline.applications.values():
        if _is(hint, application.source):
            source, memory = str(application.source), view.ports.memory
            known = memory.seen_heads(source).get(branch)
            if known is None or not known.followed:
                memory.record_seen([SeenHead(source, branch, hint.after, followed=True)])


def _looks(view: View, hint: WebhookHint) -> Iterator[Job]:
    if _is(hint, view.repository):
        yield from _manifests_looks(view, hint)
    for application in view.pipeline.applications.values():
        if _is(hint, application.source):
            yield from _source_looks(view, application.name, hint)


def _is(hint: WebhookHint, repository: GitHubRepository | ManifestsRepository) -> bool:
    return hint.repository.lower() == str(repository).lower()


def _manifests_looks(view: View, hint: WebhookHint) -> Iterator[Job]:
    if hint.event == "push":
        yield from _push_looks(view, hint)
    elif hint.event == "pull_request" and hint.action in _HEAD_ACTIONS:
        yield Job(JobKind.ANSWER, view.id, "", str(hint.pull_request))
    elif hint.event == "pull_request_review":
        if hint.pull_request:
            yield Job(JobKind.ANSWER, view.id, "", str(hint.pull_request))
        yield from _delivery_looks(view)
    elif hint.event == "merge_group" and hint.after:
        yield Job(JobKind.ANSWER, view.id, "", hint.after)
    elif (
        hint.event == "check_run" and hint.action in {"rerequested", "requested_action"}
    ) or hint.event == "repository":
        yield Job(JobKind.RECONCILE, view.id)


def _push_looks(view: View, hint: WebhookHint) -> Iterator[Job]:
    branch = hint.ref.removeprefix("refs/heads/")
    if branch == view.default_branch:
        yield Job(JobKind.ANSWER, view.id, "", hint.after)
        yield from _delivery_looks(view)
        yield from _open_promotions(view)
    for environment in view.pipeline.environments.values():
        if branch == environment.ref:
            yield Job(JobKind.PUBLISH, view.id, environment.name)


def _open_promotions(view: View) -> Iterator[Job]:
    """Our open pull requests may have become pointless, and what they compare with has moved."""
    heads = {p.head_branch for p in view.ports.github.pull_requests(view.repository, state="open")}
    for environment in view.pipeline.environments.values():
        for application in view.pipeline.applications.values():
            if head_branch(environment, application) in heads:
                yield Job(JobKind.PROPOSE, view.id, environment.name, application.name)


def _delivery_looks(view: View) -> Iterator[Job]:
    for environment in view.pipeline.environments:
        for application in view.pipeline.applications:
            yield Job(JobKind.DELIVER, view.id, environment, application)
        yield Job(JobKind.PUBLISH, view.id, environment)


def _source_looks(view: View, application: str, hint: WebhookHint) -> Iterator[Job]:
    branch = hint.ref.removeprefix("refs/heads/")
    is_push = hint.event == "push" and hint.ref.startswith("refs/heads/")
    is_rerun = hint.event == "check_run" and hint.action == "rerequested"
    if not is_push and not is_rerun and hint.event not in _IMAGE_EVENTS:
        return
    for environment in view.pipeline.environments.values():
        if not is_push or environment.fed_by(branch):
            yield Job(JobKind.PROPOSE, view.id, environment.name, application)
        if is_rerun:
            yield Job(JobKind.DELIVER, view.id, environment.name, application)
            yield Job(JobKind.PUBLISH, view.id, environment.name)


def manifests_ids(ports: Ports) -> list[int]:
    """Ids of the manifests repositories; those where the App is not installed are left out."""
    found: list[int] = []
    for repository in ports.manifests:
        try:
            found.append(ports.github.facts(repository).id)
        except NotFoundError:
            continue
    return found
