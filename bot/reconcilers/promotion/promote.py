"""Branch event to promotion pull request: which commit's image, in which order, as which edit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from bot.domain.environments import (
    Application,
    Environment,
    commit_in_name,
    version_of,
    version_order,
)
from bot.domain.errors import NotFoundError, RejectedError
from bot.domain.gates import Action
from bot.domain.history import CheckState, GitCommit
from bot.domain.images import RegistryRefusesError
from bot.domain.jobs import Done, Failed, Outcome, RequeueAt
from bot.domain.memory import Asked, AskKind, Resolution, SeenHead
from bot.domain.oci import Digest
from bot.domain.promotion import (
    Candidate,
    KnownBy,
    Order,
    OrderFacts,
    Refused,
    Source,
    Waiting,
    choose_source,
    order,
)
from bot.facts.gates import closed, stopped, told
from bot.facts.resolution import (
    Contradicted,
    Missing,
    is_in_source,
    lacks_record,
    proposed_as,
    resolve,
)
from bot.facts.snapshot import Ports, View, look
from bot.formats.markdown import prose
from bot.formats.places import ImageLocation, RemarkKind
from bot.ports.git import GitHistory
from bot.reconcilers.asked import closed_now, open_asks, over
from bot.reconcilers.promotion.pull_request import Proposal, close_pointless, ensure_pull_request
from bot.reporting.reports import tell_source

_ANCESTORS: Final = 500
"""First-parent commits of a source branch that are looked through."""
_READY: Final = 30
"""Commits before a branch's head that are looked at for an image while its own is to come."""
BASELINE: Final = ""
"""No branch's name: stands for "every head of this repository was seen once"."""
_SOON: Final = timedelta(seconds=5)
_SLOW: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Trigger:
    """A branch head that asks for a promotion."""

    branch: str
    commit: GitCommit


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What a trigger comes to."""

    trigger: Trigger
    decision: Source | Waiting | Refused
    resolution: Resolution | None = None
    order: Order = Order.FIRST
    waits: Evaluated | None = None
    """The branch's head, where its image is still to come and this is an older commit of it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One application in one environment, looked at once."""

    view: View
    environment: Environment
    application: Application
    history: GitHistory
    """The source repository."""
    places: Sequence[ImageLocation]
    """Where the application's images stand on the default branch."""

    def wished(self) -> dict[str, str]:
        """Image -> digest that the default branch asks for; empty where it names none."""
        return {location.place.image: location.written.digest for location in self.places}

    def running(self) -> str | None:
        """The source commit of what the default branch asks for, if the record knows one."""
        images = {name: Digest(digest) for name, digest in self.wished().items() if digest}
        proposed = proposed_as(self.view, self.environment, self.application, images)
        if proposed is not None:
            return proposed.commit
        commits = {
            record.commit if record else None
            for image, digest in self.wished().items()
            for record in [self._record(image, digest)]
        }
        return commits.pop() if len(commits) == 1 else None

    def _record(self, image: str, digest: str) -> Resolution | None:
        if not digest:
            return None
        memory = self.view.ports.memory
        return memory.resolution_of(self.view.id, self.application.name, image, Digest(digest))


def propose(ports: Ports, manifests: int, environment: str, application: str) -> Outcome:
    """Bring the promotion pull request of one application in one environment up to date."""
    view = look(ports, manifests)
    try:
        target = view.environment(environment)
        promoted = view.granted_application(application)
    except NotFoundError as error:
        return Done(str(error))
    images = {image.name for image in promoted.images}
    places = [
        s for s in view.locations_of(view.head, target, application) if s.image.name in images
    ]
    reason = "" if places else _why_nowhere(view, target, promoted)
    if not (places or reason):
        return Done(f"{application} has no place in {environment}")
    try:
        history = ports.mirrors.of(promoted.source)
    except RejectedError as error:
        if reason:
            return Done(f"{reason}; its source: {error}")
        raise
    subject = Subject(view, target, promoted, history, places)
    if reason:
        return _nowhere(subject, reason)
    asks = open_asks(view, target, promoted)
    if asks:
        view.granted_environment(environment)
        came = _carry_out_asks(subject, asks)
        if came is not None:
            return came
    triggers = _triggers(subject)
    if not triggers:
        return Done(f"no branch that feeds {environment} has moved yet")
    view.granted_environment(environment)
    evaluated = [_ordered(subject, _newest_ready(subject, trigger)) for trigger in triggers]
    chosen = _newest(evaluated)
    for other in evaluated:
        if other.waits is not None:
            _tell_unchosen(subject, other.waits)
        if other is not chosen:
            _tell_unchosen(subject, other)
    if chosen is None:
        return _waiting(view, evaluated)
    outcome = _carry_out(subject, chosen, is_all=not any(map(_is_open, evaluated)))
    if chosen.waits is None or not isinstance(outcome, Done):
        return outcome
    later = _waiting(view, [chosen.waits])
    return replace(later, summary=f"{outcome.summary}; {later.summary}")


def _why_nowhere(view: View, environment: Environment, application: Application) -> str:
    """Why an application without a place here is no usual state; empty: it is just not in it."""
    about = [
        remark
        for remark in view.files(view.head, environment).remarks
        if remark.kind in {RemarkKind.REFUSED, RemarkKind.UNREADABLE}
        and remark.image is not None
        and remark.image.application == application.name
    ]
    if about:
        return "; ".join(str(one) for one in about[:5])
    for other in view.pipeline.environments.values():
        if view.locations_of(view.head, other, application.name):
            return ""
    return f"{application.name} has no place in the files of any environment"


def _nowhere(subject: Subject, reason: str) -> Outcome:
    """Say on the commits that ask why nothing is proposed."""
    triggers = _triggers(subject)
    if triggers:
        tell_source(
            subject.view,
            subject.application,
            subject.environment,
            [trigger.commit.id for trigger in triggers],
            CheckState.NEUTRAL,
            "Not promoted",
            prose(reason, 600),
        )
    return Done(reason)


# --- what people ask for by command ---


def _carry_out_asks(subject: Subject, asks: Sequence[Asked]) -> Outcome | None:
    """What the newest promotion or way back that was asked for comes to; None: branches go on.

    Of several only the newest counts. An update is for the proposal that follows: it is over with
    it.
    """
    wanted = [one for one in asks if one.kind is not AskKind.UPDATE]
    for older in wanted[:-1]:
        over(subject.view, older, "something else was asked for later")
    if not wanted:
        return None
    ask = wanted[-1]
    try:
        return _go_back(subject, ask) if ask.kind is AskKind.ROLLBACK else _promote(subject, ask)
    except RejectedError as error:
        over(subject.view, ask, str(error))  # told as a failure; branches go on at the next look
        raise


def _promote(subject: Subject, ask: Asked) -> Outcome | None:
    """The pull request of a commit that somebody named; order does not matter, but is told.

    None: its image is still to come, and branches go on meanwhile.
    """
    history, view = subject.history, subject.view
    if not history.fetch_commit(ask.commit):
        over(view, ask, "the commit is gone")
        return Done(f"commit {ask.commit[:7]} is gone")
    commit = history.commit(ask.commit)
    heads = history.heads().items()
    fed = (name for name, head in sorted(heads) if subject.environment.fed_by(name))
    branch = next((name for name in fed if history.heads()[name] == commit.id), "")
    evaluated = _ordered(subject, _evaluate(subject, Trigger(branch, commit)))
    if isinstance(evaluated.decision, Waiting):
        _tell_unchosen(subject, evaluated)
        later = _waiting(view, [evaluated])
        if isinstance(later, Done):
            over(view, ask, "its image never came")
        return None
    if isinstance(evaluated.decision, Refused):
        _tell_unchosen(subject, evaluated)
        over(view, ask, evaluated.decision.reason)
        return Done(evaluated.decision.reason)
    outcome = _carry_out(subject, evaluated, is_all=True, ask=ask)
    return _close(view, ask, outcome)


def _close(view: View, ask: Asked, outcome: Outcome) -> Outcome:
    """What was asked for is over when a look comes to its end; one that is repeated goes on."""
    is_held = closed_now(view, ask) is not None
    if isinstance(outcome, Done) and not is_held:
        over(view, ask, outcome.summary)
    return outcome


def _go_back(subject: Subject, ask: Asked) -> Outcome:
    """The pull request that brings a set back that was published before."""
    view = subject.view
    known = view.ports.memory.resolution(view.id, subject.application.name, ask.commit)
    if known is None or not subject.history.fetch_commit(ask.commit):
        over(view, ask, "the record or the commit is gone")
        return Done(f"the record of {ask.commit[:7]} is gone")
    images = dict(known.digests)
    if all(subject.wished().get(name) == digest for name, digest in images.items()):
        over(view, ask, "the default branch asks for it")
        return Done(f"{subject.environment.name} already asks for {ask.commit[:7]}")
    proposal = Proposal(
        environment=subject.environment,
        application=subject.application,
        images=images,
        source=ask.commit,
        trigger=ask.commit,
        branch="",
        known_by=known.known_by,
        running=subject.running(),
        diverging=False,
        places=subject.places,
        history=subject.history,
        ask=ask,
    )
    return _close(view, ask, ensure_pull_request(view, proposal))


# --- which branch heads ask ---


def _triggers(subject: Subject) -> list[Trigger]:
    """Heads that moved since they were first seen; those that stood before ask for nothing."""
    memory = subject.view.ports.memory
    source = str(subject.application.source)
    heads = subject.history.heads()
    seen = memory.seen_heads(source)
    is_known = BASELINE in seen
    updates = [] if is_known else [SeenHead(source, BASELINE, "", followed=False)]
    for branch, commit in heads.items():
        before = seen.get(branch)
        if before is None:
            updates.append(SeenHead(source, branch, commit, followed=is_known))
        elif before.commit != commit:
            updates.append(SeenHead(source, branch, commit, followed=True))
    if updates:
        memory.record_seen(updates)
        seen = memory.seen_heads(source)  # somebody else may have seen a push meanwhile
    followed = {head.branch: head.followed for head in seen.values()}
    return [
        Trigger(branch, subject.history.commit(commit))
        for branch, commit in sorted(heads.items())
        if subject.environment.fed_by(branch) and followed.get(branch)
    ]


# --- which commit's image ---


def _newest_ready(subject: Subject, trigger: Trigger) -> Evaluated:
    """The branch's head, or while its image is still to come, the newest commit that has one.

    Only commits that came after what runs here: others asked for nothing or were promoted before.
    """
    head = _evaluate(subject, trigger)
    running = subject.running()
    if not isinstance(head.decision, Waiting) or running is None:
        return head
    history = subject.history
    if not (history.fetch_commit(running) and history.is_ancestor(running, trigger.commit.id)):
        return head
    for commit in history.first_parents(trigger.commit.id, limit=_READY, until=running)[1:]:
        found = _evaluate(subject, Trigger(trigger.branch, commit), is_head=False)
        if isinstance(found.decision, Source):
            return replace(found, waits=head)
    return head


def _is_open(evaluated: Evaluated) -> bool:
    """Nobody knows yet what this branch's head comes to."""
    return evaluated.waits is not None or isinstance(evaluated.decision, Waiting)


def _evaluate(subject: Subject, trigger: Trigger, *, is_head: bool = True) -> Evaluated:
    """What a commit of a branch comes to; one before the head only by an image of its own."""
    named = commit_in_name(trigger.branch)
    if named and not _is_in_history(subject, trigger, named):
        reason = f"branch {trigger.branch} names commit {named}, which is not in its history"
        return Evaluated(trigger, Refused(reason))
    candidates: list[Candidate] = []
    resolutions: dict[str, Resolution] = {}
    own = [(trigger.commit.id, "the commit itself")]
    for commit, why in _candidates(subject, trigger) if is_head else own:
        candidate = _candidate(subject, trigger, commit, why, resolutions)
        candidates.append(candidate)
        if candidate.same_tree and (candidate.in_source or candidate.contradiction):
            break
    decision = choose_source(candidates, subject.environment.source_environment or "its registry")
    if isinstance(decision, Waiting) and decision.for_environment:
        decision = _known(subject, decision)
    resolution = resolutions.get(decision.commit) if isinstance(decision, Source) else None
    if resolution is not None and _is_too_weak(subject.environment, resolution):
        decision = Refused(
            f"only the tag ties the image to commit {resolution.commit[:7]}, and "
            f"{subject.environment.name} signs: let CI set the label "
            "org.opencontainers.image.revision, or write `source: unverified`"
        )
    return Evaluated(trigger, decision, resolution)


def _known(subject: Subject, waiting: Waiting) -> Waiting:
    """What is not in the record of a new database may be there all the same."""
    name = subject.environment.source_environment
    if name is None or not lacks_record(subject.view, subject.view.environment(name)):
        return waiting
    way = f"restore the database's backup, or run `lockkeeper adopt {name}`"
    fact = f"this database holds no publication of {name}'s ref, so nobody knows what was there"
    return replace(waiting, reason=f"{waiting.reason}: {fact}; {way}")


def _is_too_weak(environment: Environment, resolution: Resolution) -> bool:
    weak = resolution.known_by == KnownBy.TAG_ONLY
    return weak and environment.signs and not environment.accepts_unverified


def _is_in_history(subject: Subject, trigger: Trigger, abbreviated: str) -> bool:
    history, head = subject.history, trigger.commit.id
    return any(history.is_ancestor(one, head) for one in history.commits_like(abbreviated))


def _candidates(subject: Subject, trigger: Trigger) -> Iterator[tuple[str, str]]:
    """Commits whose image might be the trigger's, in the order of preference."""
    seen: set[str] = set()
    for commit, why in _all_candidates(subject, trigger):
        if commit not in seen and subject.history.fetch_commit(commit):
            seen.add(commit)
            yield commit, why


def _all_candidates(subject: Subject, trigger: Trigger) -> Iterator[tuple[str, str]]:
    head = trigger.commit
    yield head.id, "the commit itself"
    for parent in head.parents[1:]:  # a merge's own: nobody has to be asked for it
        yield parent, "what was merged"
    source = subject.application.source
    for pull_request in subject.view.ports.github.pull_requests_of(source, head.id):
        merged_here = pull_request.merged and pull_request.merge_commit == head.id
        if merged_here and pull_request.base_branch == trigger.branch:
            yield pull_request.head, f"head of pull request {pull_request.number}"
    for parent in head.parents[:1]:
        yield parent, "a parent"
    for ancestor in subject.history.first_parents(head.id, limit=_ANCESTORS)[1:]:
        if not _differences(subject, ancestor.id, head.id):
            yield ancestor.id, "an ancestor"
        else:
            return


def _candidate(
    subject: Subject,
    trigger: Trigger,
    commit: str,
    why: str,
    resolutions: dict[str, Resolution],
) -> Candidate:
    differences = _differences(subject, commit, trigger.commit.id)
    if differences:
        return Candidate(commit, why, same_tree=False, differs_in=differences)
    found = resolve(subject.view, subject.environment, subject.application, commit)
    if isinstance(found, Missing):
        return Candidate(commit, why, same_tree=True, missing=found.looked_for)
    if isinstance(found, Contradicted):
        return Candidate(commit, why, same_tree=True, contradiction=found.reason)
    try:
        in_source = all(
            is_in_source(subject.view, subject.environment, subject.application, image, digest)
            for image, digest in found.digests
        )
    except RegistryRefusesError as error:
        return Candidate(commit, why, same_tree=True, missing=(str(error),))
    resolutions[commit] = found
    images = dict(found.digests)
    return Candidate(commit, why, same_tree=True, images=images, in_source=in_source)


def _differences(subject: Subject, commit: str, other: str) -> tuple[str, ...]:
    """Paths in which two commits differ; files that belong to an environment never count."""
    history = subject.history
    if history.commit(commit).tree == history.commit(other).tree:
        return ()
    pipeline = subject.view.pipeline
    is_manifests = str(subject.application.source) == str(subject.view.repository)
    changed = history.changes(commit, other)
    return tuple(p for p in sorted(changed) if not (is_manifests and pipeline.owner_of(p)))


# --- in which order ---


def _ordered(subject: Subject, evaluated: Evaluated) -> Evaluated:
    if not isinstance(evaluated.decision, Source):
        return evaluated
    wished = subject.wished()
    running = subject.running()
    facts = OrderFacts(
        candidate=evaluated.decision.commit,
        running=running,
        candidate_contains_running=running is not None
        and _contains(subject, evaluated.trigger, evaluated.decision.commit, running),
        running_contains_candidate=running is not None
        and subject.history.is_ancestor(evaluated.decision.commit, running),
        candidate_branch=evaluated.trigger.branch,
        running_branch=_branch_of(subject, running),
        something_runs=any(wished.values()),
    )
    same = all(wished.get(name) == d for name, d in evaluated.decision.images.items())
    return replace(evaluated, order=Order.SAME if same else order(facts))


def _contains(subject: Subject, trigger: Trigger, candidate: str, running: str) -> bool:
    """An ancestor of the candidate or the trigger, or a tree equal to one of the branch."""
    history = subject.history
    if not history.fetch_commit(running):
        return False
    if history.is_ancestor(running, candidate) or history.is_ancestor(running, trigger.commit.id):
        return True
    tree = history.commit(running).tree
    return any(c.tree == tree for c in history.first_parents(trigger.commit.id, limit=_ANCESTORS))


def _branch_of(subject: Subject, running: str | None) -> str:
    """The branch that brought what runs, as far as our own commits tell."""
    scope = subject.view.scope(subject.environment.name, subject.application.name)
    heads = reversed(subject.view.ports.memory.written_heads(scope))
    return next((head.trigger_branch for head in heads if head.source == running), "")


def _newest(evaluated: Sequence[Evaluated]) -> Evaluated | None:
    """The one to propose: what goes forward before what diverges, higher versions first."""
    for wanted in ({Order.FIRST, Order.FORWARD}, {Order.DIVERGING}, {Order.SAME}):
        found = [e for e in evaluated if isinstance(e.decision, Source) and e.order in wanted]
        if found:
            return max(found, key=_rank)
    return None


def _rank(evaluated: Evaluated) -> tuple[bool, tuple[tuple[int, ...], bool, str], str]:
    version = version_of(evaluated.trigger.branch)
    key = version_order(version) if version else ((), False, "")
    return version is not None, key, evaluated.trigger.commit.committed_at.isoformat()


# --- what comes of it ---


def _carry_out(
    subject: Subject, chosen: Evaluated, *, is_all: bool, ask: Asked | None = None
) -> Outcome:
    """Propose what was chosen; ``is_all``: no other commit may still turn out to be newer."""
    source, resolution = chosen.decision, chosen.resolution
    if not isinstance(source, Source) or resolution is None:
        return Failed("nothing was chosen")
    view, environment, application = subject.view, subject.environment, subject.application
    commits = [chosen.trigger.commit.id, source.commit]
    found = closed(view, environment, application.name, Action.PROPOSE)
    if found is not None:
        tell_source(view, application, environment, commits, CheckState.NEUTRAL, *told(found))
        return stopped(found)
    if chosen.order is Order.SAME:
        if is_all:  # else the open one may be that of a branch whose newest image is to come
            close_pointless(view, environment, application)
        return Done(f"{environment.name} already asks for {source.commit[:7]}")
    return ensure_pull_request(
        view,
        Proposal(
            environment=environment,
            application=application,
            images=source.images,
            source=source.commit,
            trigger=chosen.trigger.commit.id,
            branch=chosen.trigger.branch,
            known_by=resolution.known_by,
            running=subject.running(),
            diverging=chosen.order in {Order.DIVERGING, *([Order.LATE] if ask else [])},
            places=subject.places,
            history=subject.history,
            ask=ask,
        ),
    )


def _tell_unchosen(subject: Subject, evaluated: Evaluated) -> None:
    decision = evaluated.decision
    commits = [evaluated.trigger.commit.id]
    if isinstance(decision, Waiting):
        late = _is_late(subject.view, evaluated)
        waits_for = subject.environment.source_environment if decision.for_environment else "image"
        title = f"Waiting for {waits_for}"
        advice = (
            "\n\nThis takes longer than usual: check that CI built this commit and pushed the tag, "
            "then re-run or push again."
            if late
            else ""
        )
        summary = prose(decision.reason, 600) + advice
    elif isinstance(decision, Refused):
        title, summary = "Not promoted", prose(decision.reason, 600)
    elif evaluated.order is Order.LATE:
        title, summary = "Superseded", "What runs there is newer; going back is a rollback."
    else:
        return
    tell_source(
        subject.view,
        subject.application,
        subject.environment,
        commits,
        CheckState.NEUTRAL,
        title,
        summary,
    )


def _is_late(view: View, evaluated: Evaluated) -> bool:
    age = view.ports.clock.now() - evaluated.trigger.commit.committed_at
    return age > view.ports.limits.wait


def _waiting(view: View, evaluated: Sequence[Evaluated]) -> Outcome:
    """Look again by itself: soon for young commits, slowly for old ones, and at last not at all."""
    waiting = [e for e in evaluated if isinstance(e.decision, Waiting)]
    reasons: Mapping[str, str] = {
        e.trigger.branch: e.decision.reason
        for e in evaluated
        if isinstance(e.decision, Waiting | Refused)
    }
    summary = "; ".join(f"{branch}: {reason}" for branch, reason in reasons.items())
    if not waiting:
        return Done(summary or "nothing newer to promote")
    now = view.ports.clock.now()
    age = now - max(e.trigger.commit.committed_at for e in waiting)
    if age > view.ports.limits.wait * 24:
        return Done(summary)
    return RequeueAt(summary, now + min(max(age / 10, _SOON), _SLOW))
