"""From what happened, or from nothing at all, to the looks that are worth taking."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from bot.domain.environments import (
    Application,
    Environment,
    GitHubRepository,
    ManifestsRepository,
)
from bot.domain.errors import RejectedError, UnavailableError
from bot.domain.history import PullRequest
from bot.domain.jobs import Done, Failed, Job, JobKind, Outcome
from bot.domain.memory import SeenHead
from bot.domain.source_refs import SourceRef
from bot.domain.verbs import Channel, verbs_of
from bot.facts.members import for_each
from bot.facts.promotions_open import head_branch
from bot.facts.snapshot import Ports, View, look, look_at
from bot.formats.environment_files import EnvironmentFiles
from bot.formats.pipeline_file import PIPELINE_FILE
from bot.formats.places import ImageLocation
from bot.formats.webhook import WebhookHint

_HEAD_ACTIONS = frozenset({"opened", "reopened", "synchronize", "edited"})
"""Actions of a pull request that bring a head (or base) which has no answer yet."""
_HAND_ACTIONS = frozenset({"labeled", "unlabeled", "ready_for_review", "converted_to_draft"})
"""Actions by which a person stops a pull request, or lets it go on."""
_CHECK_EVENTS = frozenset({"check_suite", "check_run"})
"""Events of other Apps' checks on a pull request that may wait for them."""
_BUTTONS = frozenset(verb.name for verb in verbs_of(Channel.BUTTON))
_UNHEARD = frozenset({"create", "delete"})
"""Events that ask for no look: what they tell comes by another one, or is nobody's."""
_NOT_YET = frozenset(
    {
        ("check_run", "created"),
        ("check_suite", "requested"),
        ("workflow_run", "in_progress"),
        ("workflow_run", "requested"),
    }
)
"""Events and actions of something that has only begun."""
_IMAGE_EVENTS = frozenset({"check_suite", "workflow_run", "registry_package", "package", "status"})
"""Events after which an image may stand that was not there before."""


def reconcile(ports: Ports, manifests: int) -> Outcome:
    """Look at everything of one manifests repository: what no webhook told is found here."""
    view = look(ports, manifests)
    count = 0
    for count, job in enumerate(_everything(view), start=1):  # noqa: B007 - how many there were
        ports.jobs.put(job)  # at once: what cannot be listed later stops nothing before it
    ports.shelf.asked_at[view.id] = view.head
    return Done(f"{count} looks at {view.repository}")


def _everything(view: View) -> Iterator[Job]:
    for environment in view.pipeline.environments:
        for name, application in view.pipeline.applications.items():
            if not application.skips(environment):
                yield Job(JobKind.PROPOSE, view.id, environment, application.lane)
                yield Job(JobKind.DELIVER, view.id, environment, name)
        yield Job(JobKind.PUBLISH, view.id, environment)
    for pull_request in view.ports.github.pull_requests(view.repository, state="open"):
        yield Job(JobKind.ANSWER, view.id, "", str(pull_request.number))


def intake(ports: Ports, hint: WebhookHint) -> Outcome:
    """Turn a webhook delivery's hint into looks; what it says is never taken as a fact."""
    found: dict[Job, None] = {}
    pushed: list[View] = []
    if _is_echo(ports, hint):
        return Done(f"{hint.event}: of our own")

    def follow(repository: GitHubRepository) -> None:
        view = look_at(ports, repository)
        _follow(view, hint)
        for job in _looks(view, hint):
            found[job] = None  # kept although a later list may fail
        pushed.extend([view] if _is_push(view, hint) else [])

    concerned = [one for one in ports.manifests if may_concern(ports, one, hint.repository)]
    members = for_each(concerned, follow)
    for job in found:
        ports.jobs.put(job)
    for view in pushed:
        ports.shelf.asked_at[view.id] = view.head
    members.raise_unavailable()
    if members.problems and not found:
        return Failed(members.words)
    problems = f"; {members.words}" if members.problems else ""
    return Done(f"{hint.event}: {len(found)} looks{problems}")


def tells_something(hint: WebhookHint) -> bool:
    """Whether a delivery can ask for a look, whatever the pipeline file says."""
    if hint.event == "pull_request":
        return hint.action in _HEAD_ACTIONS | _HAND_ACTIONS
    if hint.event == "issue_comment":
        return bool(hint.action == "created" and hint.pull_request and hint.comment)
    return hint.event not in _UNHEARD and (hint.event, hint.action) not in _NOT_YET


def _is_echo(ports: Ports, hint: WebhookHint) -> bool:
    """A pull request or comment as the bot itself wrote it: nothing that it has not told."""
    try:
        events = {"pull_request", "issue_comment"}
        return hint.event in events and hint.sender == ports.github.login()
    except (RejectedError, UnavailableError):
        return False


def may_concern(ports: Ports, manifests: GitHubRepository, repository: str) -> bool:
    """Whether what happens in a repository may matter to a manifests repository.

    Where nobody can say (a grant that cannot be read, an event of no repository), it may: the look
    at that member says what is wrong with it.
    """
    try:
        source = GitHubRepository.parse(repository)
        is_itself = str(source).lower() == str(manifests).lower()
        return is_itself or ports.grants.allows_source(manifests, source)
    except RejectedError:
        return True


def _follow(view: View, hint: WebhookHint) -> None:
    """A branch is followed from its first event on, however the first look at it comes about."""
    ref = SourceRef.of_full(hint.ref)
    if hint.event != "push" or ref is None or not hint.after.strip("0"):
        return
    for application in view.pipeline.applications.values():
        if ref.is_tag and not _follows_tags(view, application):
            continue
        if _is(hint, application.source):
            source, memory = str(application.source), view.ports.memory
            known = memory.seen_heads(source).get(ref.key)
            is_old = known is not None and ref.is_tag and bool(hint.before.strip("0"))
            if (known is None or not known.followed) and not is_old:  # an old tag moved: it stays
                # A push of an annotated tag names the tag's own object, so the look fills it in.
                commit = (known.commit if known else "") if ref.is_tag else hint.after
                memory.record_seen([SeenHead(source, ref.key, commit, followed=True)])


def _follows_tags(view: View, application: Application) -> bool:
    """Whether tags of its source are looked at, so that a new one can be told from an old one."""
    environments = (
        view.pipeline.environment_of(n, application) for n in view.pipeline.environments
    )
    return any(one is not None and one.tags for one in environments)


def _looks(view: View, hint: WebhookHint) -> Iterator[Job]:
    if _is(hint, view.repository):
        yield from _manifests_looks(view, hint)
    for application in view.pipeline.applications.values():
        if _is(hint, application.source):
            yield from _source_looks(view, application, hint)


def _is(hint: WebhookHint, repository: GitHubRepository | ManifestsRepository) -> bool:
    return hint.repository.lower() == str(repository).lower()


def _manifests_looks(view: View, hint: WebhookHint) -> Iterator[Job]:
    if hint.event == "push":
        yield from _push_looks(view, hint)
    elif hint.event == "pull_request" and hint.action in _HEAD_ACTIONS:
        yield Job(JobKind.ANSWER, view.id, "", str(hint.pull_request))
    elif hint.event == "pull_request" and hint.action in _HAND_ACTIONS:
        yield Job(JobKind.ANSWER, view.id, "", str(hint.pull_request))
        yield from _delivery_looks(view)  # it may be merged
        yield from _meant_promotions(view, hint)
    elif hint.event == "issue_comment" and tells_something(hint):
        # One conversation's comments in the order in which they came.
        lane = f"{view.id}:{hint.pull_request}"
        yield Job(JobKind.COMMENT, view.id, "", str(hint.comment), lane=lane)
    elif hint.event == "pull_request_review":
        if hint.pull_request:
            yield Job(JobKind.ANSWER, view.id, "", str(hint.pull_request))
        yield from _delivery_looks(view)
        yield from _meant_promotions(view, hint)
    elif hint.event in _CHECK_EVENTS and hint.action == "completed":
        yield from _merging_promotions(view, hint)
    elif hint.event == "merge_group" and hint.after:
        yield Job(JobKind.ANSWER, view.id, "", hint.after)
    elif _is_asked_again(hint) or hint.event == "repository":
        yield Job(JobKind.RECONCILE, view.id)


def _is_asked_again(hint: WebhookHint) -> bool:
    """*Re-run*, or a button that only looks: who pressed it is nowhere but in the webhook."""
    if hint.event != "check_run":
        return False
    is_button = hint.action == "requested_action" and hint.requested in _BUTTONS
    return is_button or hint.action == "rerequested"


def _push_looks(view: View, hint: WebhookHint) -> Iterator[Job]:
    branch = hint.ref.removeprefix("refs/heads/")
    if _is_push(view, hint):
        yield Job(JobKind.ANSWER, view.id, "", hint.after)
        yield from _delivery_looks(view)
        yield from _moved_promotions(view)
    for environment in view.pipeline.environments.values():
        if branch == environment.ref and not _is_newest(view, environment, hint.after):
            yield Job(JobKind.PUBLISH, view.id, environment.name)


def _is_newest(view: View, environment: Environment, commit: str) -> bool:
    """The push shows what the bot itself published last."""
    newest = view.ports.memory.last_publication(view.id, environment.name)
    return newest is not None and newest.commit == commit


def _is_push(view: View, hint: WebhookHint) -> bool:
    """Whether the default branch was pushed to."""
    is_here = hint.event == "push" and _is(hint, view.repository)
    return is_here and hint.ref == f"refs/heads/{view.default_branch}"


def _moved_promotions(view: View) -> Iterator[Job]:
    """Our open pull requests may have become pointless, or what they compare with has moved.

    Those alone whose places, or the files that they stand in, are different since this process
    asked for looks last; all of them where the rules are, or where it never did.
    """
    before = view.ports.shelf.asked_at.get(view.id, "")
    is_known = bool(before) and view.history.has(before)
    changed = view.history.changes(before, view.head).keys() if is_known else {PIPELINE_FILE}
    is_ruled = not changed.isdisjoint(view.rules.files | {PIPELINE_FILE})
    for environment, application, _ in _open_promotions(view):
        if is_ruled or _has_moved(view, environment, application, before, changed):
            yield Job(JobKind.PROPOSE, view.id, environment.name, application.lane)


def _has_moved(
    view: View,
    environment: Environment,
    application: Application,
    before: str,
    changed: Collection[str],
) -> bool:
    """Whether an application's places in an environment are not what they were."""
    now = view.locations_of(view.head, environment, application.name)
    if any(location.place.path in changed for location in now):
        return True
    return list(now) != list(view.locations_of(before, environment, application.name))


def _merging_promotions(view: View, hint: WebhookHint) -> Iterator[Job]:
    """Those that the bot merges itself: what GitHub waited for may be there."""
    for environment, application, pull in _open_promotions(view):
        is_meant = not hint.after or hint.after == pull.head or hint.pull_request == pull.number
        if environment.merges_itself and is_meant:
            yield Job(JobKind.PROPOSE, view.id, environment.name, application.lane)


def _meant_promotions(view: View, hint: WebhookHint) -> Iterator[Job]:
    """That of the pull request which a person did something to: what it waits for is another.

    And those that the bot merges itself, where GitHub names a commit alone.
    """
    for environment, application, pull in _open_promotions(view):
        is_one = hint.pull_request == pull.number or (hint.after and hint.after == pull.head)
        if is_one or (environment.merges_itself and not (hint.after or hint.pull_request)):
            yield Job(JobKind.PROPOSE, view.id, environment.name, application.lane)


def _open_promotions(view: View) -> Iterator[tuple[Environment, Application, PullRequest]]:
    pulls = view.ports.github.pull_requests(view.repository, state="open")
    by_branch = {pull.head_branch: pull for pull in pulls}
    for name in view.pipeline.environments:
        for application in view.pipeline.applications.values():
            environment = view.pipeline.environment_of(name, application)
            pull = by_branch.get(head_branch(environment, application)) if environment else None
            if environment is not None and pull is not None:
                yield environment, application, pull


def _delivery_looks(view: View) -> Iterator[Job]:
    """Of 1,000 applications those that a merge brought something of, and every environment."""
    for environment in view.pipeline.environments.values():
        for application in _to_deliver(view, environment):
            yield Job(JobKind.DELIVER, view.id, environment.name, application)
        yield Job(JobKind.PUBLISH, view.id, environment.name)


def _to_deliver(view: View, environment: Environment) -> Iterator[str]:
    """Applications whose places say something else than the newest publication shows."""
    newest = view.ports.memory.last_publication(view.id, environment.name)
    is_known = newest is not None and view.history.has(newest.commit)
    shown = view.files(newest.commit, environment) if newest and is_known else EnvironmentFiles()
    for application in view.pipeline.applications:
        locations = view.locations_of(view.head, environment, application)
        if any(_says_else(shown.by_place.get(location.place), location) for location in locations):
            yield application


def _says_else(shown: ImageLocation | None, location: ImageLocation) -> bool:
    return shown is None or shown.written != location.written


def _source_looks(view: View, application: Application, hint: WebhookHint) -> Iterator[Job]:
    ref = SourceRef.of_full(hint.ref) if hint.event == "push" else None
    is_rerun = _is_asked_again(hint)
    if ref is None and not is_rerun and hint.event not in _IMAGE_EVENTS:
        return
    view.ports.shelf.forget_absent()  # CI may have pushed what was looked for
    for name in view.pipeline.environments:
        environment = view.pipeline.environment_of(name, application)
        if environment is None:
            continue
        if ref is None or environment.fed_by(ref):
            yield Job(JobKind.PROPOSE, view.id, name, application.lane)
        if is_rerun:
            yield Job(JobKind.DELIVER, view.id, name, application.name)
            yield Job(JobKind.PUBLISH, view.id, name)


def put_reconcile(ports: Ports) -> None:
    """Ask for a look at everything of every manifests repository that can be seen.

    Raises:
        UnavailableError: some cannot be seen now; the others are asked for.
    """
    members = for_each(ports.manifests, lambda one: ports.github.facts(one).id)
    for manifests in members.found:
        ports.jobs.put(Job(JobKind.RECONCILE, manifests))
    members.raise_unavailable()
