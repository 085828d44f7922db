"""What is sealed, onto the environment ref: one publication, fast-forward, recorded first.

The decision is `bot.domain.publication.publication`, pure; here the facts are gathered for it and
its answer is carried out. Before the ref moves the new tree is read again: every digest in it is
sealed or was published before, or nothing is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from bot.domain.environments import Application, Environment, Turns
from bot.domain.errors import IntegrityError, LockkeeperError, NotFoundError, RejectedError
from bot.domain.gates import Action, Closed, Direction
from bot.domain.history import CheckState, FileWrite, GitCommit
from bot.domain.jobs import Done, Failed, Job, JobKind, Outcome, RequeueAt
from bot.domain.memory import NO_COMMIT, Adoption, Hold, HoldKind, PublicationRecord
from bot.domain.oci import Digest
from bot.domain.publication import (
    FileState,
    LocationKey,
    Merge,
    Publication,
    Shown,
    publication,
)
from bot.domain.source_refs import NO_REF, SourceRef
from bot.facts.admission import StoppedError, authorise
from bot.facts.desired_images import DesiredImage, returning
from bot.facts.gates import closed, going, labelled, stopped, stops_now
from bot.facts.ref_snapshot import RefSnapshot, may_show
from bot.facts.renderings import UnfinishedError, render
from bot.facts.resolution import record_of
from bot.facts.restored import stood_together
from bot.facts.seals import comes_back, has_begun, needs_attestation
from bot.facts.snapshot import Ports, View, look
from bot.formats.image_names import ImageField
from bot.formats.manifest_file import edited, image_of
from bot.formats.markdown import code, prose
from bot.formats.pipeline_file import PIPELINE_FILE
from bot.formats.pull_request_body import authored
from bot.reconcilers.publication.back_merge import ensure_back_merge, lacking, said_of
from bot.reconcilers.publication.last_look import (
    LISTED,
    check_places,
    record_rendered,
    rendering_words,
    unproven_mentions,
    unsealed_in_render,
)
from bot.reporting.reports import (
    tell_deployment,
    tell_merge,
    tell_pull_request,
    tell_revoked,
    tell_source,
)

GITHUB_FOLDER: Final = ".github"
"""Never in a publication: no workflow runs on the ref, and the App needs no right to write one."""
_WINDOW: Final = 1000
_PUT_BACK: Final = 20
"""Publications that are tried, newest first, when a ref has vanished."""
_HELD: Final = re.compile(r"^Held: ([0-9a-f]{40})$", re.MULTILINE)
BOT: Final = "lockkeeper"


def publish(ports: Ports, manifests: int, environment: str) -> Outcome:
    """Bring one environment ref to what its default branch and its seals say."""
    view = look(ports, manifests)
    try:
        view.environment(environment)
    except NotFoundError as error:
        return Done(f"{error}; its ref is left alone")
    if view.cut_off:
        return _cut_off(view, view.environment(environment))
    held = closed(view, view.environment(environment), "", Action.PUBLISH, Direction.BACK)
    if held is not None:
        return stopped(held)
    owner = view.ports.memory.owner_of(view.id, view.environment(environment).ref)
    if owner not in {"", environment}:
        return _not_its_own(view, view.environment(environment), owner)
    target = view.granted_environment(environment)
    stops = stops_now(view, target)
    snapshot, stop = _at_desk(view, target)
    if stop is not None or snapshot is None:
        return stop or Done("nothing to do")
    _tell_revoked(snapshot)
    if snapshot.last is not None and snapshot.last.commit == snapshot.tip:
        _conclude(snapshot, snapshot.last.parent, snapshot.tip, snapshot.tip)
    early = _too_early(snapshot)
    if early is not None:
        return early
    try:
        merges = _merges(snapshot)
    except RejectedError as error:
        tell_merge(
            view, target, view.head, CheckState.FAILURE, f"{target.ref} waits", prose(str(error))
        )
        return Failed(str(error))
    by_label = _labelled(snapshot, merges)
    if snapshot.is_first and by_label:
        return stopped(next(iter(by_label.values())))
    desk = _Desk(snapshot, merges, stops, {commit: _why(one) for commit, one in by_label.items()})
    ahead = closed(view, target, "", Action.PUBLISH)
    return _carry_out(desk) if ahead is None else _only_back(desk, ahead)


@dataclass(frozen=True, slots=True)
class _Desk:
    """What one publication is decided from."""

    snapshot: RefSnapshot
    merges: Sequence[Merge]
    stops: object
    """What stood in the way when it was looked at, to be compared before anything is shown."""
    waiting: Mapping[str, tuple[str, ...]]
    """Merges that somebody stopped -> why."""


def _why(found: Closed) -> tuple[str, ...]:
    return (f"{found.words}; {found.way_out}",)


def _labelled(snapshot: RefSnapshot, merges: Sequence[Merge]) -> Mapping[str, Closed]:
    """Merges whose pull request has the label that holds it, sealed or not."""
    github, repository = snapshot.view.ports.github, snapshot.view.repository
    found: dict[str, Closed] = {}
    for merge in merges:
        if merge.commit in found or _is_visible(snapshot, merge):
            continue
        for number in _sealed_by(snapshot, merge):
            stop = labelled(github.pull_request(repository, number))
            if stop is not None:
                found[merge.commit] = stop
    return found


def _sealed_by(snapshot: RefSnapshot, merge: Merge) -> Iterator[int]:
    """Pull requests whose merge brought what this one shows; a way back has its own authority."""
    view, numbers = snapshot.view, set[int]()
    for place, pin in merge.brought().items():
        digest = ImageField.parse(pin).digest
        scope = view.scope(snapshot.environment.name, place.application)
        for seal in view.ports.memory.seals(scope, Digest(digest)) if digest else ():
            if seal.pull_request and (snapshot.is_first or seal.merge == merge.commit):
                numbers.add(seal.pull_request)
    yield from sorted(numbers)


def _tell_revoked(snapshot: RefSnapshot) -> None:
    """Say where people look which revoked digests run: the ref is not moved back by itself."""
    found = dict(_revoked(snapshot, snapshot.pins(snapshot.tip)))
    if not found:
        return
    lines = [f"- {prose(said, 300)} ({code(place.path)})" for place, said in found.items()]
    way = "Promote another build, or go back with `/rollback` on its promotion."
    title = f"{len(found)} revoked image{'s run' if len(found) > 1 else ' runs'}"
    summary = "\n".join([*lines[:LISTED], "", way])
    tell_revoked(snapshot.view, snapshot.environment, title, summary)
    listed = ", ".join(sorted(set(found.values())))
    facts = {"ref": snapshot.environment.ref, "running": listed[:500]}
    once = f"revoked:{snapshot.view.id}:{snapshot.environment.name}:{listed}"
    snapshot.view.ports.audit.append(
        "revoked", snapshot.view.scope(snapshot.environment.name), facts, once=once
    )


def _only_back(desk: _Desk, ahead: Closed) -> Outcome:
    """Publish what goes back; the rest waits for the opening, and says so."""
    snapshot, merges = desk.snapshot, desk.merges
    if snapshot.is_first and not all(_goes_back(snapshot, merge) for merge in merges):
        return stopped(ahead)
    waiting = {
        merge.commit: _why(ahead)
        for merge in merges
        if not _is_visible(snapshot, merge)
        and _concerns(snapshot, merge)
        and not _goes_back(snapshot, merge)
    }
    outcome = _carry_out(replace(desk, waiting={**waiting, **desk.waiting}))
    return stopped(ahead) if waiting and isinstance(outcome, Done) else outcome


def _is_visible(snapshot: RefSnapshot, merge: Merge) -> bool:
    """Whether the last publication was made with a merge, and did not hold it."""
    if snapshot.last is None or not snapshot.last.source:
        return False
    history = snapshot.view.history
    held = _HELD.findall(history.message(snapshot.last.commit))
    return merge.commit not in held and history.is_ancestor(merge.commit, snapshot.last.source)


def _concerns(snapshot: RefSnapshot, merge: Merge) -> bool:
    """Whether a merge changed anything that is not another environment's own."""
    others = [e for e in snapshot.view.pipeline.environments.values() if e != snapshot.environment]
    return any(not any(other.owns(path) for other in others) for path in merge.after)


def _goes_back(snapshot: RefSnapshot, merge: Merge) -> bool:
    """Whether all digests of a merge go to older ones that ran here, or two persons let them pass.

    Other files change with them only to what ran together with them.
    """
    brought = merge.brought()
    view, environment = snapshot.view, snapshot.environment
    is_known = (  # the first one is shown whole
        snapshot.is_first
        or not merge.reshaped()
        or stood_together(view, environment, merge.commit, merge.after)
    )
    return (
        bool(brought)
        and is_known
        and all(_is_older(snapshot, place, pin) for place, pin in brought.items())
    )


def _is_older(snapshot: RefSnapshot, place: LocationKey, pin: str) -> bool:
    digest = ImageField.parse(pin).digest
    if not digest:
        return False
    image = image_of(place)
    return (
        going(snapshot.view, snapshot.environment, image, Digest(digest)) is not Direction.FORWARD
    )


def _cut_off(view: View, environment: Environment) -> Outcome:
    """A record that is not whole decides nothing; people are told where they look."""
    scope, tip = view.scope(environment.name), view.history.heads().get(environment.ref, "")
    if tip and not view.ports.memory.published(view.id, {environment.ref: tip}):
        facts = {"ref": environment.ref, "commit": tip}
        once = f"foreign:{view.id}:{tip}"
        view.ports.audit.append("foreign commit", scope, facts, once=once)
    once = f"held:{scope.manifests}:{scope.environment}:{view.cut_off}"
    view.ports.audit.append("held", scope, {"reason": view.cut_off}, once=once)
    title = f"{environment.name} is held: the database is not what it was"
    tell_merge(view, environment, view.head, CheckState.FAILURE, title, prose(view.cut_off, 600))
    return Failed(f"{environment.name} is held: {view.cut_off}")


# --- the ref and our record of it ---


def _at_desk(view: View, environment: Environment) -> tuple[RefSnapshot | None, Outcome | None]:
    """The ref as it stands, or why nothing may be written now."""
    memory, scope = view.ports.memory, view.scope(environment.name)
    tip = view.history.heads().get(environment.ref, "")
    newest = memory.last_publication(view.id, environment.name)
    if newest is None:
        if tip:
            return None, _unknown_branch(view, environment)
        return RefSnapshot(view, environment, "", None), None
    known = memory.publication_of(scope, tip) if tip else None
    if known is not None:
        return _checked_source(RefSnapshot(view, environment, tip, known))
    if not tip and newest.commit == NO_COMMIT:
        return RefSnapshot(view, environment, "", None), None  # adopted from the record: begun anew
    if not tip:
        return None, _put_back(view, environment)
    return _foreign(RefSnapshot(view, environment, tip, _last_shown(view, environment)))


def _last_shown(view: View, environment: Environment) -> PublicationRecord | None:
    """The newest publication that can be read: one whose ref never moved may be nowhere."""
    records = view.ports.memory.latest_publications(view.scope(environment.name))
    real = (record for record in records if record.commit != NO_COMMIT)
    return next((one for one in real if view.history.fetch_commit(one.commit)), None)


def _not_its_own(view: View, environment: Environment, owner: str) -> Outcome:
    """A ref belongs to the environment that published there; a file cannot give it away."""
    reason = (
        f"{environment.ref} is {owner}'s, which has published there. Name another `publish.ref`, "
        f"or hand it over with `lockkeeper adopt {environment.name}`"
    )
    title = f"{environment.ref} is another environment's"
    tell_merge(view, environment, view.head, CheckState.FAILURE, title, prose(reason, 600))
    return Failed(reason)


def _unknown_branch(view: View, environment: Environment) -> Outcome:
    reason = (
        f"{environment.ref} exists and carries no publication of ours: it is never written. "
        f"Name another `publish.ref`, or take it over with `lockkeeper adopt {environment.name}`"
    )
    title = f"{environment.ref} is not ours"
    tell_merge(view, environment, view.head, CheckState.FAILURE, title, prose(reason, 600))
    return Failed(reason)


def _put_back(view: View, environment: Environment) -> Outcome:
    """A ref that vanished stands where the record says; a publication that never got there too."""
    refusals: list[str] = []
    records = view.ports.memory.latest_publications(view.scope(environment.name))
    for record in islice(records, _PUT_BACK):
        if record.commit == NO_COMMIT:
            continue
        try:
            view.ports.github.set_environment_ref(
                view.repository, environment.ref, record.commit, create=True
            )
        except RejectedError as error:
            refusals.append(str(error))  # a rule forbids it, or GitHub has that commit no more
            continue
        facts = {"ref": environment.ref, "commit": record.commit}
        view.ports.audit.append("put back", view.scope(environment.name), facts)
        view.ports.jobs.put(Job(JobKind.PUBLISH, view.id, environment.name))
        return Done(f"{environment.ref} was gone and is put back at {record.commit[:7]}")
    said = refusals[0] if refusals else "no publication is in the record"
    reason = (
        f"{environment.ref} vanished and cannot be put back: {said}. It is tried again at every "
        f"look. Where GitHub has its commits no more, `lockkeeper adopt {environment.name}` begins "
        "anew with what the record shows"
    )
    title = f"{environment.ref} is gone"
    tell_merge(view, environment, view.head, CheckState.FAILURE, title, prose(reason, 600))
    return Failed(reason)


def _checked_source(snapshot: RefSnapshot) -> tuple[RefSnapshot | None, Outcome | None]:
    """A rewritten default branch stops its environments until a person says go."""
    last, view = snapshot.last, snapshot.view
    if last is None or not last.source or view.history.is_ancestor(last.source, view.head):
        return snapshot, None
    reason = f"the default branch no longer contains {last.source[:7]}, which is published"
    _hold(snapshot, reason)
    return None, Failed(f"{snapshot.environment.name} is held: {reason}")


def _foreign(snapshot: RefSnapshot) -> tuple[RefSnapshot | None, Outcome | None]:
    """A tip that is not in our record: replaced at once if it brings unsealed digests, else held.

    A publication that was recorded and whose ref never moved leaves the tip at an older one of
    ours, which is in the record; so whatever comes here is somebody else's.
    """
    view, environment = snapshot.view, snapshot.environment
    unsealed = _unsealed_at_tip(snapshot)
    facts = {"ref": environment.ref, "commit": snapshot.tip, "unsealed": str(len(unsealed))}
    once = f"foreign:{view.id}:{snapshot.tip}"
    view.ports.audit.append("foreign commit", view.scope(environment.name), facts, once=once)
    summary = (
        f"{code(snapshot.tip[:7])} on {code(environment.ref)} is not a publication of Lockkeeper."
    )
    if unsealed:
        places = ", ".join(code(place) for place in unsealed[:5])
        summary += f" It shows what is not sealed ({places}) and is replaced."
        tell_merge(
            view, environment, snapshot.tip, CheckState.FAILURE, "Not ours: replaced", summary
        )
        return snapshot, None
    summary += f" The environment is held: `lockkeeper unhold {environment.name}` accepts it."
    tell_merge(view, environment, snapshot.tip, CheckState.FAILURE, "Not ours: held", summary)
    _hold(snapshot, f"a foreign commit {snapshot.tip[:7]} on {environment.ref}")
    return None, Failed(f"{environment.name} is held: a foreign commit on {environment.ref}")


def _unsealed_at_tip(snapshot: RefSnapshot) -> Sequence[str]:
    """Where the tip shows what was not published before and is not sealed.

    Files, else what names us elsewhere in them or comes of them; UnfinishedError as of `render`.
    """
    before = set(snapshot.pins(snapshot.last.commit if snapshot.last else "").items())
    places = [
        place.path
        for place, pin in snapshot.pins(snapshot.tip).items()
        if (place, pin) not in before and not may_show(snapshot, pin, place)
    ]
    if places or not snapshot.tip:
        return places
    shown = replace(snapshot, rendered=render(snapshot.view, snapshot.environment, snapshot.tip))
    return [*unproven_mentions(shown, snapshot.tip), *unsealed_in_render(shown)]


def brings_unsealed(view: View, environment: Environment, tip: str) -> bool:
    """Whether a foreign tip shows an image that is not sealed: no command accepts that one."""
    shown = _last_shown(view, environment)
    return bool(_unsealed_at_tip(RefSnapshot(view, environment, tip, shown)))


def _hold(snapshot: RefSnapshot, reason: str) -> None:
    scope = snapshot.view.scope(snapshot.environment.name)
    snapshot.view.ports.memory.record_hold(
        Hold(scope, reason, BOT, snapshot.view.ports.clock.now(), HoldKind.BOT)
    )
    snapshot.view.ports.audit.append(
        "held",
        scope,
        {"reason": reason},
        once=f"held:{scope.manifests}:{scope.environment}:{reason}",
    )
    title = f"{snapshot.environment.name} is held"
    advice = f"{prose(reason, 400)}. `lockkeeper unhold {snapshot.environment.name}` lets it go on."
    tell_merge(
        snapshot.view, snapshot.environment, snapshot.view.head, CheckState.FAILURE, title, advice
    )


def _too_early(snapshot: RefSnapshot) -> Outcome | None:
    """The first publication goes at once, then at most one in the interval."""
    if snapshot.last is None or snapshot.tip != snapshot.last.commit:
        return None
    at = snapshot.last.at + snapshot.view.ports.limits.between_publications
    return (
        RequeueAt(f"{snapshot.environment.ref} was published just now", at)
        if (snapshot.view.ports.clock.now() < at)
        else None
    )


# --- look ---


def _merges(snapshot: RefSnapshot) -> list[Merge]:
    """First-parent commits from the oldest held in the last publication, else after its source.

    Those of other environments and applications never count, however many they are.
    """
    view = snapshot.view
    if snapshot.is_first or snapshot.last is None:
        return [_as_merge(snapshot, view.history.commit(view.head), "")]
    until = _window_start(snapshot, snapshot.last)
    read = {
        path
        for commit in (view.head, snapshot.tip)
        for path in view.files(commit, snapshot.environment).readings
    }
    commits = [
        view.history.commit(commit)
        for commit, paths in view.history.walk(view.head, until=until)
        if commit == view.head
        or any(path in read or snapshot.environment.owns(path) for path in paths)
    ]
    if len(commits) >= _WINDOW:
        raise TooFarBehindError(snapshot.environment.name, _WINDOW)
    return [
        _as_merge(snapshot, commit, commit.parents[0] if commit.parents else "")
        for commit in reversed(commits)
    ]


def _read_anew(snapshot: RefSnapshot, commit: GitCommit, parent: str) -> Iterator[str]:
    """Files that say something else because another file changed.

    A kustomization that needs a file, or no longer replaces what it says, brings its images.
    """
    if not parent:
        return
    before = snapshot.view.files(parent, snapshot.environment)
    after = snapshot.view.files(commit.id, snapshot.environment)
    for path in before.readings.keys() | after.readings.keys():
        old, new = before.reading(path), after.reading(path)
        if (old.locations, old.remarks) != (new.locations, new.remarks):
            yield path


class TooFarBehindError(RejectedError):
    """More merges wait than one publication looks through."""

    def __init__(self, environment: str, limit: int) -> None:
        """Name the environment and the limit."""
        super().__init__(
            f"{environment} is more than {limit} merges behind; "
            f"run `lockkeeper adopt {environment}` to begin anew from what is published"
        )
        self.environment, self.limit = environment, limit


def _window_start(snapshot: RefSnapshot, last: PublicationRecord) -> str:
    """The newest commit of which everything is visible already."""
    history = snapshot.view.history
    held = _HELD.findall(history.message(last.commit))
    oldest = next((commit for commit in held if history.has(commit)), None)
    if oldest is None:
        return last.source
    parents = history.commit(oldest).parents
    return parents[0] if parents else last.source


def _as_merge(snapshot: RefSnapshot, commit: GitCommit, parent: str) -> Merge:
    differing = {
        *snapshot.view.history.changes(parent, commit.id),
        *_read_anew(snapshot, commit, parent),
    }
    changed = [path for path in sorted(differing) if not path.startswith(f"{GITHUB_FOLDER}/")]
    return Merge(
        commit.id,
        {path: snapshot.state(parent, path) for path in changed},
        {path: snapshot.state(commit.id, path) for path in changed},
    )


# --- decide ---


def _decide(
    snapshot: RefSnapshot, merges: Sequence[Merge], stopped: Mapping[str, tuple[str, ...]]
) -> Publication:
    paths = snapshot.view.history.paths(snapshot.view.head)
    visible = {p: None for p in paths if not p.startswith(f"{GITHUB_FOLDER}/")}
    trusted = snapshot.last.commit if snapshot.last else ""
    origins = {} if snapshot.is_first else _origins(merges)
    cache: dict[tuple[LocationKey, str], bool] = {}

    def is_shown(place: LocationKey, pin: str) -> bool:
        if (place, pin) not in cache:
            cache[place, pin] = may_show(snapshot, pin, place) and _had_authority(
                snapshot, pin, place, origins.get((place, ImageField.parse(pin).digest), "")
            )
        return cache[place, pin]

    return publication(snapshot.pins(trusted), merges, is_shown, visible, stopped)


def _origins(merges: Sequence[Merge]) -> dict[tuple[LocationKey, str], str]:
    """Place and digest -> the newest merge that brought that digest there."""
    origins: dict[tuple[LocationKey, str], str] = {}
    for merge in merges:
        before = {
            place: ImageField.parse(pin).digest
            for state in merge.before.values()
            for place, pin in (state.pins.items() if state else ())
        }
        for place, pin in merge.brought().items():
            digest = ImageField.parse(pin).digest
            if before.get(place) != digest:
                origins[place, digest] = merge.commit
    return origins


def _had_authority(snapshot: RefSnapshot, pin: str, place: LocationKey, merge: str) -> bool:
    """Whether the merge that brought a digest here is attested, where promotions are.

    A digest that was sealed once and comes back, as in a rollback, needs authority again.
    """
    view, environment, reference = (
        snapshot.view,
        snapshot.environment,
        ImageField.parse(pin).reference(),
    )
    application = view.pipeline.applications.get(place.application)
    if not merge or reference is None or reference.digest is None or application is None:
        return True
    digest = environment.repository_of(application, place.image).at(reference.digest)
    if comes_back(view, environment, image_of(place), digest, merge):
        return _is_authorised(
            returning(view, environment, application, place, reference.digest, merge)
        )
    return not needs_attestation(view, environment, application.name, digest, merge)


def _is_authorised(wish: DesiredImage) -> bool:
    try:
        authorise(wish)
    except (RejectedError, StoppedError):
        return False  # its delivery says why
    return True


# --- act ---


def _carry_out(desk: _Desk) -> Outcome:
    snapshot, merges = desk.snapshot, desk.merges
    decided = _decide(snapshot, merges, desk.waiting)
    view, environment = snapshot.view, snapshot.environment
    if snapshot.is_first and decided.held:
        return _needs_adoption(snapshot, decided)
    files = _files(snapshot, merges, decided)
    tree = view.history.build_tree(view.head, files, GITHUB_FOLDER)
    check_places(snapshot, tree)
    if snapshot.tip and not _is_relevant(snapshot, tree):
        return _held_outcome(snapshot, merges, decided) or Done(
            f"{environment.ref} shows all there is to show"
        )
    try:
        snapshot = replace(snapshot, rendered=render(view, environment, tree))
        unproven = [*unproven_mentions(snapshot, tree), *unsealed_in_render(snapshot)]
    except UnfinishedError as error:
        return RequeueAt(str(error), view.ports.clock.now())
    if unproven:
        return _refused(snapshot, unproven)
    _adopt_by_file(snapshot, tree)
    commit = _write(snapshot, decided, files, tree)
    if stops_now(view, environment) != desk.stops:  # the commit is nowhere to be seen yet
        words = f"somebody stopped {environment.name}, or let it go on, meanwhile: decided anew"
        return RequeueAt(words, view.ports.clock.now())
    _record_shown(snapshot, commit, tree)
    view.ports.memory.record_publication(
        PublicationRecord(
            scope=view.scope(environment.name),
            ref=environment.ref,
            commit=commit,
            parent=snapshot.tip,
            source=view.head,
            at=view.ports.clock.now(),
            rules=rules_in_record(view),
        )
    )
    record_rendered(snapshot, commit)
    view.ports.github.set_environment_ref(
        view.repository, environment.ref, commit, create=not snapshot.tip
    )
    _tell_visible(snapshot, merges, decided, tree, commit)
    _conclude(snapshot, snapshot.tip, commit, tree)
    return _held_outcome(snapshot, merges, decided) or Done(
        f"published {commit[:7]} on {environment.ref}"
    )


def rules_in_record(view: View) -> str:
    """The rules that were let in last, which a later record without them has lost."""
    accepted = view.ports.memory.accepted_rules(view.id)
    return accepted[-1].commit if accepted else ""


def _record_shown(snapshot: RefSnapshot, commit: str, tree: str) -> None:
    """Which digests this publication brings: what it once showed counts for ever."""
    view, environment = snapshot.view, snapshot.environment
    before = snapshot.pins(snapshot.tip)
    shown = [
        (location.image, Digest(location.written.digest))
        for location in view.locations(tree, environment)
        if location.written.digest and before.get(location.place) != str(location.written)
    ]
    scope, now = view.scope(environment.name), view.ports.clock.now()
    view.ports.memory.record_shown(scope, commit, shown, now)


def _adopt_by_file(snapshot: RefSnapshot, tree: str) -> None:
    """Record what the key `adopt` takes over with the first publication; later it says nothing."""
    view, environment = snapshot.view, snapshot.environment
    if not environment.adopt or has_begun(view, environment):
        return
    scope, now = view.scope(environment.name), view.ports.clock.now()
    shown = {ImageField.parse(pin).digest for pin in snapshot.pins(tree).values()}
    taken = sorted(digest for digest in environment.adopt if str(digest) in shown)
    for digest in taken:
        view.ports.memory.record_adoption(Adoption(scope, digest, PIPELINE_FILE, now))
    if taken:
        view.ports.audit.append(
            "adopted",
            scope,
            {
                "actor": PIPELINE_FILE,
                "rules": view.pipeline.commit,
                "ref": environment.ref,
                "digests": " ".join(taken),
            },
        )


def _needs_adoption(snapshot: RefSnapshot, decided: Publication) -> Outcome:
    reasons = [reason for reasons in decided.held.values() for reason in reasons]
    listed = "; ".join(sorted(set(reasons))[:5])
    view = snapshot.view
    begun = view.ports.memory.last_publication(view.id, snapshot.environment.name) is not None
    way = (
        "What was not adopted is promoted anew, or taken back."
        if begun
        else f"What runs already is taken over with `lockkeeper adopt {snapshot.environment.name}`."
    )
    summary = f"{snapshot.environment.ref} has no publication yet, and {listed}. {way}"
    title = f"{snapshot.environment.name} waits for its first publication"
    tell_merge(
        snapshot.view,
        snapshot.environment,
        snapshot.view.head,
        CheckState.NEUTRAL,
        title,
        prose(summary, 800),
    )
    return Done(summary)


def _held_outcome(
    snapshot: RefSnapshot, merges: Sequence[Merge], decided: Publication
) -> Outcome | None:
    """Say on each merge that is not visible yet what it waits for.

    *Held* is what somebody stopped; a merge that waits for its delivery only waits.
    """
    stopped = {merge.commit: _stopped(snapshot, merge) for merge in merges}
    for commit, reasons in decided.held.items():
        by = stopped.get(commit, [])
        summary = "\n".join(f"- {prose(reason, 300)}" for reason in [*by, *reasons][:20])
        title = f"{'Held' if by else 'Waits'}: not yet on {snapshot.environment.ref}"
        tell_merge(snapshot.view, snapshot.environment, commit, CheckState.NEUTRAL, title, summary)
    if not decided.held:
        return None
    first, reasons = next(iter(decided.held.items()))
    return Done(f"{len(decided.held)} merges wait, the oldest {first[:7]}: {reasons[0]}")


def _stopped(snapshot: RefSnapshot, merge: Merge) -> list[str]:
    """Why the applications of a merge may not move now, by the holds of people and the bot."""
    view, environment = snapshot.view, snapshot.environment
    applications = {place.application for place in merge.brought()}
    found = [closed(view, environment, one, Action.PUBLISH) for one in applications]
    words = {one.words for one in found if one is not None}
    return sorted(words | {said for _, said in _revoked(snapshot, merge.brought())})


def _revoked(
    snapshot: RefSnapshot, pins: Mapping[LocationKey, str]
) -> Iterator[tuple[LocationKey, str]]:
    """Which of these places name a digest that never comes -> what people read."""
    for place, pin in pins.items():
        digest = ImageField.parse(pin).digest
        why = snapshot.view.rules.revoked.get(Digest(digest)) if digest else None
        if why is not None:
            yield place, f"{place.image} {digest[:19]} is revoked: {why}"


def _files(snapshot: RefSnapshot, merges: Sequence[Merge], decided: Publication) -> list[FileWrite]:
    """What differs from the default branch: the files of held merges, as they must look."""
    files: list[FileWrite] = []
    head = snapshot.view.history.paths(snapshot.view.head)
    for path, shown in decided.files.items():
        current = snapshot.state(snapshot.view.head, path)
        if shown is None:
            if path in head:
                files.append(FileWrite(path, head[path].mode, None))
        elif current is None or (current.skeleton, dict(current.pins)) != (
            shown.skeleton_of.skeleton,
            dict(shown.pins),
        ):
            files.append(_rendered(snapshot, merges, path, shown))
    return files


def _rendered(snapshot: RefSnapshot, merges: Sequence[Merge], path: str, shown: Shown) -> FileWrite:
    """The bytes around the pins from the history, the pins by the editor."""
    commit = _commit_with(snapshot, merges, path, shown)
    entry = snapshot.view.history.paths(commit)[path]
    content = snapshot.view.history.read(entry.blob)
    if shown.pins:
        wanted = {place: ImageField.parse(pin) for place, pin in shown.pins.items()}
        reading = snapshot.view.files(commit, snapshot.environment).reading(path)
        after, _ = edited(path, snapshot.view.text(entry.blob), reading, wanted)
        content = after.encode("utf-8", "surrogateescape")
    return FileWrite(path, entry.mode, content)


def _commit_with(snapshot: RefSnapshot, merges: Sequence[Merge], path: str, shown: Shown) -> str:
    """A commit in which the file has the wanted skeleton, and no digest that is not wanted yet."""
    for merge in merges:
        if _is_shown(merge.after.get(path), shown):
            return merge.commit
        if _is_shown(merge.before.get(path), shown):
            return snapshot.view.history.commit(merge.commit).parents[0]
    raise IntegrityError(f"{path}: no merge holds the bytes that should be shown")


def _is_shown(state: FileState | None, shown: Shown) -> bool:
    """Whether the editor can make the shown file of this one: it never takes a digest away."""
    return (
        state is not None
        and state.skeleton == shown.skeleton_of.skeleton
        and all(
            bool(ImageField.parse(pin).digest) or not ImageField.parse(state.pins[place]).digest
            for place, pin in shown.pins.items()
        )
    )


def _refused(snapshot: RefSnapshot, unproven: Sequence[str]) -> Outcome:
    """Nothing is written, and people are told which image, in which object, from which root."""
    listed = "\n".join(f"- {prose(one, 400)}" for one in unproven[:LISTED])
    more = len(unproven) - LISTED
    listed += f"\n- and {more} more" if more > 0 else ""
    way = (
        "Promote it, write a sealed digest, or take it out. What ran before Lockkeeper came is "
        f"taken over with {code(f'lockkeeper adopt {snapshot.environment.name}')}."
    )
    tell_merge(
        snapshot.view,
        snapshot.environment,
        snapshot.view.head,
        CheckState.FAILURE,
        f"Not published: {snapshot.environment.ref} would show what is not sealed",
        f"{listed}\n\n{way}\n\n{rendering_words(snapshot)}".strip(),
    )
    return Failed(f"nothing was written to {snapshot.environment.ref}: {unproven[0]}")


def _is_relevant(snapshot: RefSnapshot, tree: str) -> bool:
    """Whether anything differs from the tip that is not another environment's own file."""
    others = [e for e in snapshot.view.pipeline.environments.values() if e != snapshot.environment]
    return any(
        not any(other.owns(path) for other in others)
        for path in snapshot.view.history.changes(snapshot.tip, tree)
    )


def _write(
    snapshot: RefSnapshot, decided: Publication, files: Sequence[FileWrite], tree: str
) -> str:
    view = snapshot.view
    paths = view.history.paths(view.head)
    has_folder = any(path.startswith(f"{GITHUB_FOLDER}/") for path in paths)
    return view.ports.github.write_publication(
        view.repository,
        base_tree=view.history.commit(view.head).tree,
        files=files,
        without=GITHUB_FOLDER if has_folder else "",
        tree=tree,
        parent=snapshot.tip,
        message=_message(snapshot, decided, tree),
        key=view.ports.grants.commit_key(view.repository, snapshot.environment.name),
    )


def _message(snapshot: RefSnapshot, decided: Publication, tree: str) -> str:
    """The deployment history as people read it with ``git log``."""
    sequence, head = snapshot.view.ports.audit.head()
    lines = [f"Source: {snapshot.view.head}"]
    lines += [f"Held: {commit}" for commit in decided.held]
    lines.append(f"Lockkeeper-Audit: {sequence} {head or '-'}")
    lines += [
        authored(f"Promotion: {pin.application.name} {pin.image} {pin.digest} {pin.commit}")
        + (f" PR {pin.pull_request}" if pin.pull_request else "")
        for pin in _promoted(snapshot, snapshot.tip, tree)
    ]
    subject = authored(f"Publish {snapshot.environment.name} at {snapshot.view.head[:7]}")
    return f"{subject}\n\n" + "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Promoted:
    """One image that a publication changes."""

    application: Application
    image: str
    digest: Digest
    commit: str
    """Source commit; ``-`` where nobody knows."""
    pull_request: int
    merge: str
    """The merge that brought it; empty where nobody knows."""


def _promoted(snapshot: RefSnapshot, parent: str, tree: str) -> list[Promoted]:
    """The images that differ between two publications."""
    before = snapshot.pins(parent)
    found: dict[tuple[str, str, str], Promoted] = {}
    for place, pin in snapshot.pins(tree).items():
        reference = ImageField.parse(pin).reference()
        application = snapshot.view.pipeline.applications.get(place.application)
        if before.get(place) == pin or reference is None or application is None:
            continue
        if reference.digest is not None:
            key = (place.application, place.image, str(reference.digest))
            image = place.image, reference.digest
            found[key] = _as_promoted(snapshot, application, image, tree)
    return list(found.values())


def _as_promoted(
    snapshot: RefSnapshot, application: Application, what: tuple[str, Digest], tree: str
) -> Promoted:
    memory, (image, digest) = snapshot.view.ports.memory, what
    record = record_of(snapshot.view, snapshot.environment, application, tree, what)
    scope = snapshot.view.scope(snapshot.environment.name, application.name)
    seals = [s for s in memory.seals(scope) if (s.image, s.digest) == (image, digest)]
    number, merge = (seals[-1].pull_request, seals[-1].merge) if seals else (0, "")
    commit = record.commit if record else "-"
    return Promoted(application, image, digest, commit, number, merge)


# --- report ---


def _conclude(snapshot: RefSnapshot, before: str, commit: str, tree: str) -> None:
    """Report a publication and enter it into the audit, which tells that nothing is missing.

    Asked at every look: whoever moved the ref may have died before people were told.
    """
    view, environment = snapshot.view, snapshot.environment
    once = f"published:{view.id}:{commit}"
    records = view.ports.memory.published_among(view.scope(environment.name), [commit])
    record = next((one for one in records if one.source), None)
    if record is None or view.ports.audit.has(once):
        return
    if snapshot.rendered is None:
        with suppress(UnfinishedError):
            snapshot = replace(snapshot, rendered=render(view, environment, tree))
    _report(snapshot, before, commit, tree)
    facts = {"ref": environment.ref, "commit": commit, "source": record.source}
    view.ports.audit.append("published", view.scope(environment.name), facts, once=once)


def _report(snapshot: RefSnapshot, before: str, commit: str, tree: str) -> None:
    """Tell the developer, the reviewer and the environments that take their images from here."""
    view, environment = snapshot.view, snapshot.environment
    promoted = _promoted(snapshot, before, tree)
    for one in promoted:
        _report_one(snapshot, one, commit)
    applications = {one.application.name: one.application for one in promoted}
    for name in view.pipeline.environments:
        for application in applications.values():
            follower = view.pipeline.environment_of(name, application)
            has_turn = name == environment.name and environment.turns is Turns.QUEUE
            if follower is not None and (has_turn or environment.name in follower.below):
                view.ports.jobs.put(Job(JobKind.PROPOSE, view.id, name, application.lane))


def _report_one(snapshot: RefSnapshot, promoted: Promoted, commit: str) -> None:
    """Tell of one image; each report by itself."""
    view, environment = snapshot.view, snapshot.environment
    if promoted.merge:
        _tell_published(snapshot, promoted.merge, commit)
    link = f"[{commit[:7]}]({view.web_url}/commit/{commit})"
    summary = f"{code(str(promoted.digest))} is published on {code(environment.ref)} as {link}."
    if promoted.commit != "-":
        scope = view.scope(environment.name, promoted.application.name)
        asked = view.ports.memory.heads_of(scope, promoted.commit)[-1:]
        back = _back(snapshot, promoted, SourceRef.of(asked[0].trigger_branch) if asked else NO_REF)
        tell_source(
            view,
            promoted.application,
            environment,
            [*(head.trigger for head in asked), promoted.commit],
            CheckState.SUCCESS,
            "Published",
            f"{summary}\n\n{back}".strip(),
        )
        tell_deployment(
            view,
            promoted.application,
            environment,
            promoted.commit,
            "success",
            f"Published on {environment.ref} as {commit[:7]}",
        )
    if promoted.pull_request:
        tell_pull_request(view, promoted.pull_request, _sealed_words(snapshot, promoted, summary))


def _back(snapshot: RefSnapshot, promoted: Promoted, ref: SourceRef) -> str:
    """What the branch lacks that all begins with; telling never fails what it tells."""
    view, environment = snapshot.view, snapshot.environment
    try:
        found = lacking(view, environment, promoted.application, promoted.commit, ref)
    except LockkeeperError as error:
        return f"Whether all of it is merged back is not known: {prose(str(error), 200)}"
    if found is None:
        return ""
    said = said_of(found, view.ports.web_url)
    return f"{said}\n\n{ensure_back_merge(view, found)}" if environment.back_merge else said


def _tell_visible(
    snapshot: RefSnapshot, merges: Sequence[Merge], decided: Publication, tree: str, commit: str
) -> None:
    """End what was said of merges that waited: each is out now, or something newer is."""
    shown = snapshot.pins(tree)
    for merge in merges:
        brought = merge.brought()
        is_head = merge.commit == snapshot.view.head
        if merge.commit in decided.held or not (brought or is_head):
            continue
        if all(shown.get(place) == pin for place, pin in brought.items()):
            _tell_published(snapshot, merge.commit, commit)
        else:
            title, summary = "Replaced by a newer merge", _stands_at(snapshot, commit)
            tell_merge(
                snapshot.view,
                snapshot.environment,
                merge.commit,
                CheckState.NEUTRAL,
                title,
                summary,
            )


def _tell_published(snapshot: RefSnapshot, merge: str, commit: str) -> None:
    title, summary = f"Published on {snapshot.environment.ref}", _stands_at(snapshot, commit)
    tell_merge(snapshot.view, snapshot.environment, merge, CheckState.SUCCESS, title, summary)


def _stands_at(snapshot: RefSnapshot, commit: str) -> str:
    link = f"[{commit[:7]}]({snapshot.view.web_url}/commit/{commit})"
    return f"{code(snapshot.environment.ref)} is at {link}.\n\n{rendering_words(snapshot)}".strip()


def _sealed_words(snapshot: RefSnapshot, promoted: Promoted, summary: str) -> str:
    target = snapshot.environment.repository_of(promoted.application, promoted.image)
    signed = ", signed" if snapshot.environment.signs else ""
    return (
        f"**Delivered to {code(snapshot.environment.name)}.** {code(str(target))} holds every "
        f"platform, read back{signed}. {summary}"
    )
