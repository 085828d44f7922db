"""From what asks to the commit whose images are promoted, or to the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from bot.domain.environments import Environment
from bot.domain.images import RegistryRefusesError
from bot.domain.memory import Resolution
from bot.domain.oci import Digest
from bot.domain.promotion import (
    Candidate,
    KnownBy,
    Order,
    Refused,
    Source,
    Waiting,
    choose_source,
)
from bot.domain.source_refs import commit_in_name
from bot.facts.resolution import Contradicted, Missing, is_in_source, lacks_record, resolve
from bot.facts.unchanged import ANCESTORS, stretch, to_ask
from bot.reconcilers.promotion.subject import Subject, Trigger


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What a trigger comes to."""

    trigger: Trigger
    decision: Source | Waiting | Refused
    resolution: Resolution | None = None
    order: Order = Order.FIRST
    waits: Evaluated | None = None
    """What is newer and whose image is still to come: the branch's head, or a tag."""

    @property
    def ready(self) -> Ready | None:
        """The same where it has its images; None: it has not, or nothing is promoted."""
        if not isinstance(self.decision, Source) or self.resolution is None:
            return None
        return Ready(self, self.decision, self.resolution)


@dataclass(frozen=True, slots=True)
class Ready:
    """What asks, and has its images."""

    evaluated: Evaluated
    source: Source
    resolution: Resolution

    @property
    def commits(self) -> list[str]:
        """Where the developer looks."""
        return [self.evaluated.trigger.commit.id, self.source.commit]


def evaluate(
    subject: Subject, trigger: Trigger, *, is_head: bool = True, is_near: bool = True
) -> Evaluated:
    """What a commit of a branch comes to; one before the head only by an image of its own.

    One that is not near is one of many: GitHub is not asked about it, and what lacks there is
    believed for a minute.
    """
    named = commit_in_name(trigger.ref.name)
    if named and not _is_in_history(subject, trigger, named):
        kind = "" if trigger.ref.is_tag else "branch "
        reason = f"{kind}{trigger.ref} names commit {named}, which is not in its history"
        return Evaluated(trigger, Refused(reason))
    unchanged = _unchanged(subject, trigger) if is_head else None
    if unchanged is not None:
        return unchanged
    own = [(trigger.commit.id, "the commit itself")]
    candidates = _candidates(subject, trigger, is_near=is_near) if is_head else own
    return _first_of(subject, trigger, candidates, is_near=is_near)


def evaluate_set(subject: Subject, trigger: Trigger, commit: str, why: str) -> Evaluated:
    """What the images of one commit come to, whatever the commit that asked holds."""
    whole = Trigger(trigger.ref, subject.history.commit(commit))
    return replace(_first_of(subject, whole, [(commit, why)]), trigger=trigger)


def evaluate_any(subject: Subject, trigger: Trigger, commits: Iterable[str]) -> Evaluated:
    """What the first of these commits comes to that has the trigger's files and its images."""
    return _first_of(subject, trigger, [(commit, "the same files") for commit in commits])


def same_files(subject: Subject, one: str, other: str) -> bool:
    """Whether two commits have the same bytes, as far as the application is built of them."""
    return not _differences(subject, one, other)


def _first_of(
    subject: Subject,
    trigger: Trigger,
    commits: Iterable[tuple[str, str]],
    *,
    is_near: bool = True,
) -> Evaluated:
    """The first of these commits, each with its reason, that has the trigger's images in place."""
    candidates: list[Candidate] = []
    resolutions: dict[str, Resolution] = {}
    for commit, why in commits:
        is_older = not is_near or (bool(subject.application.paths) and commit != trigger.commit.id)
        candidate = _candidate(subject, trigger, (commit, why), resolutions, is_older=is_older)
        candidates.append(candidate)
        if candidate.same_tree and (candidate.in_source or candidate.contradiction):
            break
    below = " and ".join(subject.environment.below) or "its registry"
    decision = choose_source(candidates, below)
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


def _unchanged(subject: Subject, trigger: Trigger) -> Evaluated | None:
    """What runs, where no file under the application's `paths` differs from it; None: one does."""
    if not subject.application.paths:
        return None
    running = subject.running()
    if running is None or not subject.history.fetch_commit(running):
        return None
    view = subject.view
    record = view.ports.memory.resolution(view.id, subject.application.name, running)
    if record is None or _differences(subject, running, trigger.commit.id):
        return None
    if any(subject.wished().get(name) != digest for name, digest in record.digests):
        return None
    return Evaluated(trigger, Source(running, dict(record.digests)), record)


def _standing_below(subject: Subject) -> Iterator[str]:
    """The commits whose images the environments before this one ask for: nobody has to look."""
    view, application = subject.view, subject.application
    for name in subject.environment.below:
        for location in view.locations_of(view.head, view.environment(name), application.name):
            if location.written.digest:
                image = location.image.name, Digest(location.written.digest)
                record = view.ports.memory.resolution_of(view.id, application.name, *image)
                if record is not None:
                    yield record.commit


def _known(subject: Subject, waiting: Waiting) -> Waiting:
    """What is not in the record of a new database may be there all the same."""
    view = subject.view
    unknown = (n for n in subject.environment.below if lacks_record(view, view.environment(n)))
    name = next(unknown, "")
    if not name:
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


def _candidates(subject: Subject, trigger: Trigger, *, is_near: bool) -> Iterator[tuple[str, str]]:
    """Commits whose image might be the trigger's, in the order of preference."""
    seen: set[str] = set()
    for commit, why in _all_candidates(subject, trigger, is_near=is_near):
        if commit not in seen and subject.history.fetch_commit(commit):
            seen.add(commit)
            yield commit, why


def _all_candidates(
    subject: Subject, trigger: Trigger, *, is_near: bool
) -> Iterator[tuple[str, str]]:
    head = trigger.commit
    if subject.application.paths:
        for commit in _standing_below(subject):
            yield commit, "the same files"
    yield head.id, "the commit itself"
    for parent in head.parents[1:]:  # a merge's own: nobody has to be asked for it
        yield parent, "what was merged"
    source, github = subject.application.source, subject.view.ports.github
    for pull_request in github.pull_requests_of(source, head.id) if is_near else ():
        merged_here = pull_request.merged and pull_request.merge_commit == head.id
        if merged_here and (trigger.ref.is_tag or pull_request.base_branch == trigger.ref.name):
            yield pull_request.head, f"head of pull request {pull_request.number}"
    for parent in head.parents[:1]:
        yield parent, "a parent"
    if subject.application.paths:
        for commit in to_ask(stretch(subject.history, head.id, subject.touches)):
            yield commit, "the same files"
        return
    for ancestor in subject.history.first_parents(head.id, limit=ANCESTORS)[1:]:
        if not _differences(subject, ancestor.id, head.id):
            yield ancestor.id, "an ancestor"
        else:
            return


def _candidate(
    subject: Subject,
    trigger: Trigger,
    named: tuple[str, str],
    resolutions: dict[str, Resolution],
    *,
    is_older: bool,
) -> Candidate:
    commit, why = named
    differences = _differences(subject, commit, trigger.commit.id)
    if differences:
        return Candidate(commit, why, same_tree=False, differs_in=differences)
    found = resolve(
        subject.view, subject.environment, subject.application, commit, is_older=is_older
    )
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
    changed = history.changes(commit, other)
    return tuple(path for path in sorted(changed) if subject.touches(path))
