"""The one living pull request of an application in an environment.

It is updated in place while nobody has approved and nobody else has pushed; approved, it stays
frozen on its digests. The bot merges only a head that it wrote itself.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from bot.domain.assessment import Assessment
from bot.domain.environments import (
    SHORT_COMMIT,
    Application,
    Environment,
    ImageId,
    Turns,
    holds,
    image_tag,
    matches,
)
from bot.domain.errors import NotFoundError, RejectedError, UnavailableError
from bot.domain.gates import Action, Closed
from bot.domain.history import (
    Asker,
    CheckState,
    Contribution,
    FileWrite,
    GitCommit,
    MergeRefusal,
    PathChange,
    PullRequest,
    WatchedChange,
)
from bot.domain.image_configuration import ImageConfiguration
from bot.domain.images import ImageDescription
from bot.domain.issues import IssueKey, issue_keys
from bot.domain.jobs import Done, Job, JobKind, Outcome, RequeueAt
from bot.domain.memory import Asked, AskKind, WrittenHead
from bot.domain.oci import Digest, DigestReference
from bot.domain.pacing import CIRCLES, WITHIN, circles, not_before, writes
from bot.domain.promotion import in_hand, promotion_id
from bot.domain.source_refs import NO_REF, SourceRef
from bot.facts.asked import kept_for, open_asks
from bot.facts.evidence import Evaluated, evaluate, report_url
from bot.facts.gates import closed, going_all, labelled, stopped, told
from bot.facts.granted import source_repository
from bot.facts.own_heads import approved_heads, own_head
from bot.facts.promotions_open import (
    BRANCHES,
    head_branch,
    lane_branch,
    note_superseded,
    rollback_branch,
    superseded_key,
)
from bot.facts.snapshot import View
from bot.facts.source_changes import source_changes
from bot.facts.status import open_standing
from bot.facts.travelling import Travelling, travelling
from bot.facts.updated_heads import before_updates
from bot.formats.check_output import check_output
from bot.formats.edits import Edit, edit_of
from bot.formats.image_names import ImageField
from bot.formats.manifest_file import bytes_of
from bot.formats.markdown import code, plain, prose
from bot.formats.places import ImageLocation
from bot.formats.pull_request_body import (
    BodyFacts,
    ImageFacts,
    is_same,
    marked_promotion,
    render,
    render_group,
    rollback_title,
    superseded,
    title,
)
from bot.formats.travelling_section import TravellingFacts, TravellingFile, refusals
from bot.ports.git import GitHistory
from bot.reconcilers.asked import over
from bot.reconcilers.checks.check import answer_pull_request
from bot.reporting.reports import ask_reviewers, tell_labels, tell_source
from bot.reporting.verdicts import note_verdict

_COMMITS: Final = 250
_MONOREPO: Final = 5_000
"""Commits of a monorepo, most of them of others, that are looked through for the body."""
_TOO_MANY_AGAIN: Final = timedelta(minutes=5)
_BEHIND: Final = re.compile(r"out.of.date|up.to.date|\bbehind\b", re.IGNORECASE)
_AT_ONCE: Final = timedelta(seconds=1)
"""GitHub tells times in whole seconds."""
_MERGE_AGAIN: Final = timedelta(seconds=15)
_MERGE_SLOW: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One application, one environment, one source commit, one set of digests."""

    environment: Environment
    application: Application
    images: Mapping[str, Digest]
    source: str
    built_of: Mapping[str, str]
    """Image -> the older commit that CI built it of, where it is not the source commit."""
    trigger: str
    ref: SourceRef
    """The branch or tag that asked."""
    known_by: str
    running: str | None
    """Source commit of what the default branch asks for now."""
    diverging: bool
    places: Sequence[ImageLocation]
    history: GitHistory
    """The source repository."""
    ask: Asked | None = None
    """The command that asks for it; None: a branch does."""

    @property
    def is_rollback(self) -> bool:
        """Whether it brings back what was there before."""
        return self.ask is not None and self.ask.kind is AskKind.ROLLBACK

    @property
    def by(self) -> str:
        """The branch or tag that asked, else who did."""
        return f"asked by {self.ask.by}" if self.ask and self.ref == NO_REF else str(self.ref)

    @property
    def commits(self) -> list[str]:
        """Where the developer looks."""
        return [self.trigger, self.source]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which images of which applications an environment is asked to run."""

    environment: str
    sets: Mapping[str, Mapping[str, Digest]]
    """Application -> image -> digest."""


@dataclass(frozen=True, slots=True)
class Request:
    """One pull request: one or more promotions to one environment."""

    environment: Environment
    lane: str
    """The application, or the group, that it is of."""
    proposals: tuple[Proposal, ...]
    """At least one, each of another application."""
    members: tuple[str, ...]
    """Every application that may be in it."""

    @property
    def is_group(self) -> bool:
        """Whether it is a group's, however many of it take part."""
        return any(one.application.group for one in self.proposals)

    @property
    def diverging(self) -> bool:
        """Whether commits would leave the environment."""
        return any(one.diverging for one in self.proposals)

    @property
    def sources(self) -> dict[str, str]:
        """Application -> source commit."""
        return {one.application.name: one.source for one in self.proposals}

    @property
    def ask(self) -> Asked | None:
        """The command that asks for it; None: branches do. No command asks for several at once."""
        return self.proposals[0].ask

    @property
    def is_rollback(self) -> bool:
        """Whether it brings back what was there before."""
        return self.proposals[0].is_rollback

    @property
    def wanted(self) -> Wanted:
        """Which images of which applications it brings."""
        sets = {one.application.name: one.images for one in self.proposals}
        return Wanted(self.environment.name, sets)

    @property
    def asked(self) -> str:
        """What asked, in a few words: ``release/v1 at 2b2e927``."""
        said = [f"{one.by} at {one.source[:SHORT_COMMIT]}" for one in self.proposals]
        if len(set(said)) == 1:
            return said[0]
        names = [one.application.name for one in self.proposals]
        return ", ".join(f"{name} {words}" for name, words in zip(names, said, strict=True))

    @property
    def head_branch(self) -> str:
        """The stable branch of the pull request."""
        if self.is_rollback:
            return rollback_branch(self.environment, self.proposals[0].application)
        return lane_branch(self.environment, self.lane)

    @property
    def title(self) -> str:
        """Of the pull request, and of its commit."""
        if self.is_rollback:
            one = self.proposals[0]
            return rollback_title(one.application.name, self.environment.name, one.source)
        return title(self.lane, self.environment.name, self.asked)

    @property
    def images(self) -> dict[str, Digest]:
        """What it brings, as the commit message and the promotion's id name it."""
        return {
            f"{one.application.name}/{image}" if self.is_group else image: digest
            for one in self.proposals
            for image, digest in one.images.items()
        }


def ensure_pull_request(view: View, request: Request) -> Outcome:
    """Open, update, keep frozen, close or merge the pull request, as the facts ask for."""
    number = _id(view, request)
    in_hand(number)
    revoked = _revoked(view, request)
    if revoked:
        _tell(view, request, CheckState.FAILURE, "Revoked", prose(revoked, 600))
        return Done(revoked)
    updates = _updates(view, request)
    is_asked = request.ask is not None or bool(updates)
    existing, finished = _pull_requests(view, request)
    rejected = "" if is_asked else _rejected(view, request.wanted, finished, number)
    if rejected:
        _tell(view, request, CheckState.NEUTRAL, "Not proposed again", rejected)
        return Done(rejected)
    if existing is not None:
        stuck = "" if is_asked else _untouchable(view, request, existing)
        if stuck:
            _tell(view, request, CheckState.NEUTRAL, "Waits for the open pull request", stuck)
            return Done(stuck)
    elif _has_moved(view, request):
        return RequeueAt("the default branch has moved meanwhile", view.ports.clock.now())
    later = None if is_asked else _too_fast(view, request, existing)
    if later is not None:
        return later
    edit = _edit(view, request)
    own = [one for one in edit.refused if one.image is not None]
    if own:
        why = "; ".join(str(one) for one in own[:5])
        _tell(view, request, CheckState.NEUTRAL, "Not promoted", prose(why, 600))
        return Done(why)
    is_frozen = existing is not None and _travels(request) and _is_approved(view, request, existing)
    came = [_travelling(view, one, existing if is_frozen else None) for one in request.proposals]
    refused = [reason for one in came for reason in one.refused]
    if refused:
        _tell(view, request, CheckState.NEUTRAL, "Not promoted", refusals(refused))
        return Done("; ".join(refused[:5]))
    contents = {path: bytes_of(content) for path, content in edit.contents.items()}
    contents |= {file.path: file.content for one in came for file in one.files}
    evaluated = [
        evaluate(view, request.environment, one.application, one.images, view.rules)
        for one in request.proposals
    ]
    facts = [
        _facts(view, proposal, one.assessment, files)
        for proposal, one, files in zip(request.proposals, evaluated, came, strict=True)
    ]
    body = render_group(number, request.lane, facts) if request.is_group else render(facts[0])
    is_current = (
        existing is not None
        and _is_current(view, request, existing, contents)
        and (is_frozen or _brought_by_any(view, request, existing) <= contents.keys())
    )
    before = {} if existing is None else _written(view, request, existing.head)
    commit = None if is_current else _write(view, request, contents)
    _tell_replaced(view, request, before)
    pull_request = _ensure(view, request, existing, commit, body)
    seen_in = None if existing is None else existing.number
    for proposal, one in zip(request.proposals, evaluated, strict=True):
        note_verdict(view, promotion_of(view, proposal), proposal.application, one, seen_in)
        for job in one.jobs:
            view.ports.jobs.put(job)
    for update, source in updates:
        over(view, update, f"pull request {pull_request.number}", source)
    offer = _Offer(pull_request, evaluated, contents, is_new=existing is None)
    return _settle(view, request, offer)


@dataclass(frozen=True, slots=True)
class _Offer:
    """What stands on the pull request now."""

    pull_request: PullRequest
    evaluated: Sequence[Evaluated]
    """Of each of its promotions."""
    contents: Mapping[str, bytes]
    """The edited files, on the default branch's head."""
    is_new: bool


def _revoked(view: View, request: Request) -> str:
    """Which of the images never come, and why; empty: none."""
    return "; ".join(
        f"{name} {digest.short} is revoked: {view.rules.revoked[digest]}"
        for name, digest in sorted(request.images.items())
        if digest in view.rules.revoked
    )


def _updates(view: View, request: Request) -> Sequence[tuple[Asked, str]]:
    """Commands by which the open pull request takes this, whoever approved or edited it.

    Each with the source commit that it comes to.
    """
    if request.is_rollback:
        return ()
    return [
        (one, proposal.source)
        for proposal in request.proposals
        for one in open_asks(view, proposal.environment, proposal.application)
        if one.kind is AskKind.UPDATE
    ]


def promotion_of(view: View, proposal: Proposal) -> str:
    """The id of one application's promotion, whichever pull request it is in."""
    application = proposal.application.name
    return promotion_id(view.id, proposal.environment.name, application, proposal.images)


def _id(view: View, request: Request) -> str:
    """What the pull request brings, as one id."""
    return promotion_id(view.id, request.environment.name, request.lane, request.images)


def _pull_requests(
    view: View, request: Request
) -> tuple[PullRequest | None, Sequence[PullRequest]]:
    """The open one of the promotion's branch, and the closed ones, newest first."""
    head = request.head_branch
    found = view.ports.github.pull_requests(view.repository, state="all", head=head)
    living = [one for one in found if one.is_open and one.base_branch == view.default_branch]
    return next(iter(living), None), [one for one in found if not one.is_open]


def _rejected(view: View, wanted: Wanted, closed: Sequence[PullRequest], promotion: str) -> str:
    """Why the same digests are not asked for again: a person closed or reverted them."""
    for pull_request in closed:
        is_same = _asked_for(view, wanted, pull_request, promotion)
        if is_same and not pull_request.merged and not _was_cleaned(view, pull_request):
            way = "" if len(wanted.sets) > 1 else f", or `/promote {wanted.environment}` on it"
            return (
                f"pull request {pull_request.number} for the same digests was closed by a person; "
                f"reopen it{way}"
            )
    taken_back = [
        pull_request.number
        for pull_request in closed
        if pull_request.merged and _asked_for(view, wanted, pull_request, promotion)
        if _was_merged_here(view, pull_request)
    ]
    if taken_back:
        return f"pull request {taken_back[0]} brought the same digests and they were taken back"
    return ""


def was_rejected(
    view: View, environment: Environment, application: Application, images: Mapping[str, Digest]
) -> str:
    """Why this set of one application is not asked for again; empty: it may be."""
    promotion = promotion_id(view.id, environment.name, application.name, images)
    head = head_branch(environment, application)
    found = view.ports.github.pull_requests(view.repository, state="all", head=head)
    wanted = Wanted(environment.name, {application.name: images})
    return _rejected(view, wanted, [one for one in found if not one.is_open], promotion)


def _was_cleaned(view: View, pull_request: PullRequest) -> bool:
    """Whether it was closed because its branch was deleted: a cleaner of branches refuses nothing.

    Whoever closes it first and deletes the branch then has closed it.
    """
    closed_at = pull_request.closed_at
    if closed_at is None:
        return False
    deleted = view.ports.github.deletions(view.repository, pull_request.head_branch)
    return any(abs(at - closed_at) <= _AT_ONCE for at in deleted)


def _asked_for(view: View, wanted: Wanted, pull_request: PullRequest, promotion: str) -> bool:
    """Whether a pull request of ours that is over asked for this set, and we did not close it.

    By our record of its head: a body is anybody's who may write. Only where somebody else pushed
    there its body has to say.
    """
    if pull_request.author.login != view.ports.github.login():
        return False
    if view.ports.audit.has(superseded_key(view, pull_request.number)):
        return False
    heads = {
        one.scope.application: one.source
        for one in view.ports.memory.heads_at(view.id, pull_request.head)
        if one.scope.environment == wanted.environment
    }
    if not heads:
        return marked_promotion(pull_request.body) == (promotion, False)
    return heads.keys() == wanted.sets.keys() and all(
        _came_with(view, name, heads[name]) == dict(images) for name, images in wanted.sets.items()
    )


def _came_with(view: View, application: str, source: str) -> dict[str, Digest] | None:
    known = view.ports.memory.resolution(view.id, application, source)
    return None if known is None else dict(known.digests)


def _was_merged_here(view: View, pull_request: PullRequest) -> bool:
    """Its merge is on the default branch: what it brought is not there now, so it was undone."""
    merge = pull_request.merge_commit
    return merge is not None and view.history.is_ancestor(merge, view.head)


def _has_moved(view: View, request: Request) -> bool:
    """The files of its places are not those that were looked at: somebody has merged.

    That may have been the very pull request that is not open any more. Asked after the list of
    open ones was read, so that no merge falls between the two. What others merge into their own
    files meanwhile stands in the way of nobody, however many they are.
    """
    view.history.refresh()
    head = view.history.heads().get(view.default_branch, "")
    if head == view.head:
        return False
    own = {location.place.path for one in request.proposals for location in one.places}
    return not head or not own.isdisjoint(view.history.changes(view.head, head))


def _written(view: View, request: Request, commit: str) -> dict[str, WrittenHead]:
    """Application -> what a commit of ours asks for there; empty: it is not ours."""
    return {
        head.scope.application: head
        for head in view.ports.memory.heads_at(view.id, commit)
        if head.scope.environment == request.environment.name
        and head.scope.application in request.members
    }


def _own(view: View, request: Request, commit: str) -> dict[str, WrittenHead]:
    """The same, where others brought a head of ours up to date, too."""
    found = _written(view, request, commit)
    if found or not view.history.fetch_commit(commit):
        return found
    return _written(view, request, before_updates(view.history, view.head, commit))


def _own_of(view: View, proposal: Proposal, commit: str) -> WrittenHead | None:
    return own_head(view, proposal.environment, proposal.application, commit)


def _kept(view: View, request: Request, written: Mapping[str, WrittenHead]) -> Asked | None:
    """The command by which the open pull request shows what it shows; None: branches brought it."""
    kept = (
        kept_for(view, one.environment, one.application, written[one.application.name].source)
        for one in request.proposals
        if one.application.name in written
    )
    return next((one for one in kept if one is not None), None)


def _too_fast(view: View, request: Request, existing: PullRequest | None) -> Outcome | None:
    """Why nothing is written now: a storm, a circle, or too much that is open; None: it may be."""
    now, limits = view.ports.clock.now(), view.ports.limits
    written = writes(
        (application, head)
        for application in request.members
        for head in view.ports.memory.written_heads(
            view.scope(request.environment.name, application)
        )
    )
    if circles(written, request.sources, now) >= CIRCLES:
        return _stopped_circle(view, request, written[-1].at + WITHIN)
    moment = not_before(written, request.sources, limits.between_proposals)
    if moment is not None and now < moment:
        # Told to nobody: of 500 pushes 499 would be told that they wait a moment.
        return RequeueAt(f"{request.asked} is proposed a moment after the set before it", moment)
    return None if existing is not None else _too_many(view, request)


def _stopped_circle(view: View, request: Request, until: datetime) -> Outcome:
    words = (
        f"This set was proposed, replaced and proposed again {CIRCLES} times within an hour, so "
        f"something takes it back each time. It is not proposed again before {until:%H:%M} UTC; a "
        "newer commit is. Find out what else writes these files, or which branches take turns."
    )
    _tell(view, request, CheckState.NEUTRAL, "Stopped: it goes in circles", words)
    scope = view.scope(request.environment.name)
    once = f"circle:{_id(view, request)}:{until:%Y-%m-%dT%H}"
    facts = {"branch": request.head_branch, "asked": request.asked}
    view.ports.audit.append("goes in circles", scope, facts, once=once)
    return RequeueAt(f"{request.asked} goes in circles", until)


def _too_many(view: View, request: Request) -> Outcome | None:
    """Why one more is not opened; nobody is asked where there cannot be so many."""
    most = view.ports.limits.open_pull_requests
    lanes = {one.lane for one in view.pipeline.applications.values()}
    if len(lanes) * len(view.pipeline.environments) <= most:
        return None
    opened = [
        one
        for one in view.ports.github.pull_requests(view.repository, state="open")
        if one.head_is_local and one.head_branch.startswith(f"{BRANCHES}/")
    ]
    if len(opened) < most:
        return None
    oldest = min(opened, key=lambda one: one.number)
    link = f"[{oldest.number}]({view.web_url}/pull/{oldest.number})"
    words = (
        f"{len(opened)} promotions are open in {view.repository}, and {most} may be "
        f"(`LOCKKEEPER_OPEN_PULL_REQUESTS`). Merge or close some: the oldest is {link}."
    )
    _tell(view, request, CheckState.NEUTRAL, "Waits: too many promotions are open", words)
    said = f"{len(opened)} promotions are open, and {most} may be"
    return RequeueAt(said, view.ports.clock.now() + _TOO_MANY_AGAIN)


def _asks_for(written: Mapping[str, WrittenHead]) -> dict[str, str]:
    """Application -> source commit."""
    return {application: head.source for application, head in written.items()}


def _untouchable(view: View, request: Request, existing: PullRequest) -> str:
    """Why an open pull request must not be changed; empty: it may."""
    written = _own(view, request, existing.head)
    if not written:
        return (
            f"pull request {existing.number} was edited by somebody else; it is theirs now. "
            "`/update` on it starts it afresh"
        )
    if _asks_for(written) == request.sources:
        return ""
    if request.environment.turns is Turns.QUEUE:
        return f"pull request {existing.number} has its turn before it"
    if request.diverging:
        return f"pull request {existing.number} is open, and this build diverges from what runs"
    kept = _kept(view, request, written)
    if kept is not None:
        return (
            f"pull request {existing.number} shows what {kept.by} asked for; `/update` on it takes "
            f"{request.asked}"
        )
    if _is_approved(view, request, existing):
        _note_newer(view, existing, request.asked)
        return (
            f"pull request {existing.number} is approved and stays as it is; {request.asked} waits"
        )
    return ""


def _note_newer(view: View, existing: PullRequest, newer: str) -> None:
    note = f"> A newer build is available: {prose(newer)}."
    if note not in existing.body:
        marker, _, rest = existing.body.partition("\n\n")
        body = f"{marker}\n\n{note}\n\n{rest}"
        # The check says it as well, and the next look writes what GitHub did not take now.
        with contextlib.suppress(RejectedError, UnavailableError):
            view.ports.github.edit_pull_request(
                view.repository, existing.number, title=existing.title, body=body
            )


def _edit(view: View, request: Request) -> Edit:
    """The edited files: a pure function of the default branch and the wanted digests."""
    environment = request.environment
    wanted = {
        ImageId(one.application.name, image): written_for(
            environment, one.application, image, digest, one.built_of.get(image, one.source)
        )
        for one in request.proposals
        for image, digest in one.images.items()
    }
    paths = view.history.paths(view.head)
    files = view.files(view.head, environment)
    return edit_of(files, lambda path: view.text(paths[path].blob), wanted)


def _travels(request: Request) -> bool:
    return any(one.application.promote for one in request.proposals)


def _travelling(view: View, proposal: Proposal, frozen: PullRequest | None) -> Travelling:
    """The files that come with the images; an approved head keeps those that it shows."""
    environment, application = proposal.environment, proposal.application
    found = travelling(view, environment, application, proposal.images)
    if frozen is None or not application.promote:
        return found
    now, shown = view.history.paths(view.head), view.history.paths(frozen.head)
    files = [
        TravellingFile(path, view.history.read(now[path].blob) if path in now else None, content)
        for path in sorted(_brought(view, proposal, frozen))
        for content in [view.history.read(shown[path].blob)]
    ]
    return replace(found, files=files, refused=(), is_frozen=True)


def _is_approved(view: View, request: Request, existing: PullRequest) -> bool:
    """Whether a person approved the pull request as it is now, or a head that asks for the same."""
    reviews = view.ports.github.reviews(view.repository, existing.number)
    given = [one for one in reviews if one.state == "APPROVED" and one.author.is_person]
    equal = frozenset.intersection(
        *(
            approved_heads(view, one.environment, one.application, existing, given)
            for one in request.proposals
        )
    )
    return any(one.commit in {existing.head, *equal} for one in given)


def written_for(
    environment: Environment, application: Application, image: str, digest: Digest, source: str
) -> ImageField:
    """What a place should say for an image of a commit."""
    one = next(found for found in application.images if found.name == image)
    repository = environment.repository_of(application, image)
    return ImageField(str(repository), image_tag(application, one, source), digest)


def _ensure(
    view: View,
    request: Request,
    existing: PullRequest | None,
    commit: str | None,
    body: str,
) -> PullRequest:
    """The pull request, with the commit as its head; None: its head stays."""
    github, name = view.ports.github, request.title
    if commit is not None:
        is_there = existing is not None
        github.set_branch(view.repository, request.head_branch, commit, is_there=is_there)
    if existing is None:
        opened = github.open_pull_request(
            view.repository,
            head=request.head_branch,
            base=view.default_branch,
            title=name,
            body=body,
        )
        _label_and_ask(view, request, opened)
        return opened
    _label_and_ask(view, request, existing)
    if existing.title != name or not is_same(existing.body, body):
        github.edit_pull_request(view.repository, existing.number, title=name, body=body)
    return replace(existing, title=name, body=body, head=commit or existing.head)


def _label_and_ask(view: View, request: Request, pull_request: PullRequest) -> None:
    """Ask for reviewers, then label: the labels tell that both were done."""
    labels = _labels(request)
    if pull_request.labels.issuperset(labels):
        return
    teams = request.environment.approvals.teams
    if teams:
        ask_reviewers(view, pull_request, tuple(teams))
    tell_labels(view, pull_request, tuple(labels))


def _labels(request: Request) -> list[str]:
    labels = ["lockkeeper", f"lockkeeper/{request.environment.name}"]
    labels += ["lockkeeper/rollback"] if request.is_rollback else []
    return [*labels, "lockkeeper/diverging"] if request.diverging else labels


def _is_current(
    view: View, request: Request, existing: PullRequest, contents: Mapping[str, bytes]
) -> bool:
    """The head asks for these digests, and merged as it is brings exactly the planned files.

    So what others merge into the same files takes nobody's approval away, until git cannot merge.
    """
    if _asks_for(_own(view, request, existing.head)) != request.sources:
        return False
    if not view.history.has(existing.head):
        return False
    merges_itself = all(one.environment.merges_itself for one in request.proposals)
    if merges_itself and not _written(view, request, existing.head):
        return False  # the bot merges only what it wrote itself
    tree = view.history.merged_tree(view.head, existing.head)
    entries = view.history.paths(tree) if tree else {}
    return all(
        path in entries and view.history.read(entries[path].blob) == content
        for path, content in contents.items()
    )


def _brought_by_any(view: View, request: Request, existing: PullRequest) -> set[str]:
    return {path for one in request.proposals for path in _brought(view, one, existing)}


def _brought(view: View, proposal: Proposal, existing: PullRequest) -> set[str]:
    """Files that travel, of those that our open pull request changes."""
    written = _own_of(view, proposal, existing.head)
    globs = proposal.application.promote
    changed = view.history.changes(written.base, existing.head) if written and globs else {}
    return {path for path in changed if any(matches(glob, path) for glob in globs)}


def _write(view: View, request: Request, contents: Mapping[str, bytes]) -> str:
    """One commit on the default branch's head; ours by record before any branch names it."""
    message = f"{request.title}\n\n" + "\n".join(
        f"{image}: {digest}" for image, digest in sorted(request.images.items())
    )
    modes = {path: entry.mode for path, entry in view.history.paths(view.head).items()}
    commit = view.ports.github.write_commit(
        view.repository,
        view.head,
        view.history.commit(view.head).tree,
        [FileWrite(path, modes.get(path, "100644"), content) for path, content in contents.items()],
        message,
    )
    for proposal in request.proposals:
        view.ports.memory.record_written_head(
            WrittenHead(
                scope=view.scope(proposal.environment.name, proposal.application.name),
                branch=request.head_branch,
                commit=commit,
                base=view.head,
                trigger=proposal.trigger,
                trigger_branch="" if proposal.ask else proposal.ref.key,  # else nobody knows who
                source=proposal.source,
                at=view.ports.clock.now(),
            )
        )
    return commit


def _settle(view: View, request: Request, offer: _Offer) -> Outcome:
    """Say where the promotion is, and merge what the file lets the bot merge."""
    pull_request = offer.pull_request
    if isinstance(answer_pull_request(view, pull_request), RequeueAt):
        # What stops it ends by itself: its check is looked at then.
        view.ports.jobs.put(Job(JobKind.ANSWER, view.id, "", str(pull_request.number)))
    own = all(one.environment.merges_itself for one in request.proposals)
    merge_itself = own and not request.diverging
    link = f"[Pull request {pull_request.number}]({view.web_url}/pull/{pull_request.number})"
    for proposal, one in zip(request.proposals, offer.evaluated, strict=True):
        if one.assessment.verdict.blocks and not proposal.is_rollback:
            said = check_output(one.assessment, report_url(view, promotion_of(view, proposal)))
            title = "Proposed, being scanned" if one.waits else said.title
            _tell(view, request, CheckState.NEUTRAL, title, f"{link}\n\n{said.summary}")
            return Done(f"pull request {pull_request.number}: {said.title}")
    stop = _stop(view, request, pull_request)
    if stop is not None:
        title, words = told(stop)
        _tell(view, request, CheckState.NEUTRAL, f"Proposed. {title}", f"{link}\n\n{words}")
        return stopped(stop)
    if not merge_itself:
        waits = "to be merged" if not request.environment.needs_authority else "to be approved"
        for proposal in request.proposals:
            where = view, proposal.environment, proposal.application, pull_request
            words = f"{link}: {prose(open_standing(*where, is_new=offer.is_new).sentence, 600)}."
            _tell_one(view, proposal, CheckState.NEUTRAL, f"Proposed, waits {waits}", words)
        return Done(f"pull request {pull_request.number} waits {waits}")
    return _merge(view, request, offer, link)


def _merge(view: View, request: Request, offer: _Offer, link: str) -> Outcome:
    """Merge exactly the head that the bot wrote."""
    pull_request = offer.pull_request
    if pull_request.is_draft:
        words = f"{link} is a draft. **The way out:** press *Ready for review*."
        _tell(view, request, CheckState.NEUTRAL, "Waits: a draft", words)
        return Done(f"pull request {pull_request.number} is a draft")
    if not _written(view, request, pull_request.head):
        return Done(f"pull request {pull_request.number} was edited by somebody else just now")
    merged = view.ports.github.merge_pull_request(
        view.repository,
        pull_request.number,
        head=pull_request.head,
        base=view.default_branch,
        title=pull_request.title,
    )
    if isinstance(merged, MergeRefusal):
        return _not_merged(view, request, offer, link, merged)
    _tell(view, request, CheckState.IN_PROGRESS, "Delivering", f"{link} is merged.")
    for application in request.sources:
        view.ports.jobs.put(Job(JobKind.DELIVER, view.id, request.environment.name, application))
    if request.is_rollback:  # it is sealed: there may be nothing to deliver
        view.ports.jobs.put(Job(JobKind.PUBLISH, view.id, request.environment.name))
    return Done(f"pull request {pull_request.number} is merged")


def _not_merged(
    view: View, request: Request, offer: _Offer, link: str, refusal: MergeRefusal
) -> Outcome:
    """Wait for the queue, satisfy a rule that the bot can, or say what GitHub says."""
    pull_request = offer.pull_request
    if refusal.is_queued:
        words = f"{link} stands in GitHub's merge queue, which merges it."
        _tell(view, request, CheckState.NEUTRAL, "In the merge queue", words)
        return Done(f"pull request {pull_request.number} is in the merge queue")
    if _is_behind(view, request, pull_request, refusal):
        commit = _write(view, request, offer.contents)
        github = view.ports.github
        github.set_branch(view.repository, request.head_branch, commit, is_there=True)
        words = f"{link} has to be up to date, and is written anew."
        _tell(view, request, CheckState.NEUTRAL, "Brought up to date", words)
        at = view.ports.clock.now() + _MERGE_AGAIN
        return RequeueAt(f"pull request {pull_request.number} is brought up to date", at)
    words = prose(refusal.words, 400)
    reason = f"GitHub does not merge {link} yet and says: {words}"
    _tell(view, request, CheckState.NEUTRAL, "Cannot be merged yet", reason)
    return RequeueAt(
        f"GitHub does not merge pull request {pull_request.number} yet: {plain(refusal.words)}",
        _merge_again(view, request, pull_request),
    )


def _is_behind(
    view: View, request: Request, pull_request: PullRequest, refusal: MergeRefusal
) -> bool:
    """Whether a rule wants the head on the newest default branch, and it stands on an older one.

    Only of what the bot merges itself: a head that people approve is brought up to date by them,
    and its approvals count.
    """
    heads = _written(view, request, pull_request.head).values()
    is_older = any(one.base != view.head for one in heads)
    return is_older and _BEHIND.search(refusal.words) is not None


def _stop(view: View, request: Request, pull_request: PullRequest) -> Closed | None:
    """What stops the merge; it is asked again when it is over, or by whoever ends it."""
    stops = (_stop_of(view, one) for one in request.proposals)
    return labelled(pull_request) or next((one for one in stops if one is not None), None)


def _stop_of(view: View, proposal: Proposal) -> Closed | None:
    environment, application = proposal.environment, proposal.application.name
    images = [(ImageId(application, name), digest) for name, digest in proposal.images.items()]
    back = going_all(view, environment, images)
    return closed(view, environment, application, Action.MERGE, back)


def _merge_again(view: View, request: Request, pull_request: PullRequest) -> datetime:
    """Soon for a young head, slowly for an old one: reviews and checks wake this look anyway."""
    now = view.ports.clock.now()
    written = next(iter(_written(view, request, pull_request.head).values()), None)
    age = now - written.at if written else timedelta(0)
    return now + min(max(age / 4, _MERGE_AGAIN), _MERGE_SLOW)


def _tell(view: View, request: Request, state: CheckState, heading: str, summary: str) -> None:
    for proposal in request.proposals:
        _tell_one(view, proposal, state, heading, summary)


def _tell_one(view: View, one: Proposal, state: CheckState, heading: str, summary: str) -> None:
    tell_source(view, one.application, one.environment, one.commits, state, heading, summary)


def _tell_replaced(view: View, request: Request, before: Mapping[str, WrittenHead]) -> None:
    """Say on the commits that asked before that another one has taken their place."""
    for proposal in request.proposals:
        old = before.get(proposal.application.name)
        if old is None or old.source == proposal.source:
            continue
        commits = [one for one in (old.trigger, old.source) if one not in proposal.commits]
        words = (
            f"{code(str(proposal.ref))} at {code(proposal.source[:SHORT_COMMIT])} takes its place."
        )
        environment, application = proposal.environment, proposal.application
        state = CheckState.NEUTRAL
        tell_source(view, application, environment, commits, state, "Superseded", words)


def close_pointless(view: View, environment: Environment, application: Application) -> None:
    """Close an open pull request of ours that asks for what the default branch has anyway.

    It is marked first, so that its closing is not taken for a person's rejection.
    """
    github = view.ports.github
    branch = head_branch(environment, application)
    for pull_request in github.pull_requests(view.repository, state="open", head=branch):
        if pull_request.author.login == github.login():
            github.edit_pull_request(
                view.repository,
                pull_request.number,
                title=pull_request.title,
                body=superseded(pull_request.body),
            )
            note_superseded(view, pull_request.number, environment.name)
            github.close_pull_request(view.repository, pull_request.number)


# --- the body's facts ---


def _facts(view: View, proposal: Proposal, assessment: Assessment, came: Travelling) -> BodyFacts:
    environment, application = proposal.environment, proposal.application
    found = _between(proposal, proposal.running, proposal.source)
    commits = found[:_COMMITS] if found is not None else None
    contributions = source_changes(view.ports.github, application.source, commits, proposal.trigger)
    sources = [
        source_repository(view.pipeline, environment, application, image.name)
        for image in application.images
    ]
    return BodyFacts(
        promotion=promotion_of(view, proposal),
        application=application.name,
        environment=environment.name,
        ref=environment.ref,
        source_repository=str(application.source),
        web_url=view.ports.web_url,
        branch=str(proposal.ref),
        commit=proposal.source,
        now_commit=proposal.running,
        known_by=proposal.known_by,
        images=[_image_facts(view, proposal, name) for name in sorted(proposal.images)],
        source_repositories=sorted({str(source) for source in sources if source}),
        target_repositories=sorted(
            str(environment.repository_of(application, image.name)) for image in application.images
        ),
        commits=commits,
        is_cut=found is not None and len(found) > _COMMITS,
        contributions=contributions,
        asker=_asker(proposal, contributions),
        issues=_issues(proposal, commits, contributions),
        watching=application.watched,
        watched=_watched(proposal),
        travelling=TravellingFacts(
            came.files, environment.source_environment or "", came.commit, came.kept
        ),
        before=environment.source_environment or "",
        leaving=_leaving(proposal),
        signs=environment.signs,
        approvals=environment.approvals,
        merges_itself=environment.merges_itself,
        assessment=assessment,
        report_url=report_url(view, promotion_of(view, proposal)),
        rollback_by=proposal.ask.by if proposal.ask and proposal.is_rollback else "",
    )


def _between(proposal: Proposal, old: str | None, new: str) -> Sequence[GitCommit] | None:
    history, application = proposal.history, proposal.application
    if old is None or not (history.has(old) and history.has(new)):
        return None
    if not application.paths:
        return history.between(old, new, limit=_COMMITS + 1)  # one more tells that there are more
    own = (
        commit
        for commit, paths in history.files_between(old, new, limit=_MONOREPO)
        if any(application.is_built_of(path) for path in paths)
    )
    return [history.commit(commit) for commit in islice(own, _COMMITS + 1)]


def _asker(proposal: Proposal, contributions: Mapping[str, Contribution] | None) -> Asker:
    """Whose commit the branch head is that asked, by GitHub's word, else by git's."""
    known = (contributions or {}).get(proposal.trigger)
    brought = known.pull_request if known else None
    named = proposal.history.has(proposal.trigger)
    return Asker(
        str(proposal.ref),
        proposal.trigger,
        (known.author if known else None) or "",
        proposal.history.commit(proposal.trigger).author if named else "",
        brought.number if brought and brought.merged else 0,
    )


def _issues(
    proposal: Proposal,
    commits: Sequence[GitCommit] | None,
    contributions: Mapping[str, Contribution] | None,
) -> Sequence[IssueKey] | None:
    """What the new commits' messages, and title and branch of what was merged with them, name."""
    patterns = proposal.application.issues
    if not patterns:
        return ()
    if commits is None or proposal.running is None:
        return None
    messages = proposal.history.messages(proposal.running, proposal.source, limit=_COMMITS)
    # Whose commit it is, is asked beside them: the head may be none of the new commits.
    known = [contributions.get(commit.id) for commit in commits] if contributions else []
    brought = [one.pull_request for one in known if one and one.pull_request]
    # Anybody may open a pull request that holds a commit, and call it what they like.
    words = [text for one in brought if one.merged for text in (one.title, one.branch)]
    return issue_keys(patterns, [*messages, *dict.fromkeys(words)])


def _watched(proposal: Proposal) -> Sequence[WatchedChange] | None:
    """The files under the application's `watch` that differ between the two versions."""
    globs, old, new = proposal.application.watched, proposal.running, proposal.source
    if not globs:
        return ()
    if old is None or not (proposal.history.has(old) and proposal.history.has(new)):
        return None
    changes = proposal.history.changes(old, new)
    return [
        WatchedChange(path, _what(changes[path]))
        for path in sorted(changes)
        if any(holds(glob, path) for glob in globs)
    ]


def _what(change: PathChange) -> str:
    if change.before is None:
        return "added"
    return "removed" if change.after is None else "changed"


def _leaving(proposal: Proposal) -> Sequence[GitCommit]:
    if not (proposal.diverging or proposal.is_rollback) or proposal.running is None:
        return ()
    return _between(proposal, proposal.source, proposal.running) or ()


def _image_facts(view: View, proposal: Proposal, image: str) -> ImageFacts:
    environment, application = proposal.environment, proposal.application
    target = environment.repository_of(application, image)
    source = source_repository(view.pipeline, environment, application, image) or target
    digest = proposal.images[image]
    now = next(
        (
            Digest(s.written.digest)
            for s in proposal.places
            if s.place.image == image and s.written.digest
        ),
        None,
    )
    new_image = _described(view, environment, source.at(digest))
    now_image = _described(view, environment, target.at(now)) if now else None
    return ImageFacts(
        name=image,
        new=digest,
        now=now,
        new_platforms=_platforms(new_image),
        now_platforms=_platforms(now_image),
        new_size=_size(new_image),
        now_size=_size(now_image),
        new_created=new_image.created if new_image else None,
        now_created=now_image.created if now_image else None,
        new_bases=new_image.bases if new_image else (),
        now_bases=now_image.bases if now_image else (),
        new_runs=_runs(new_image),
        now_runs=_runs(now_image),
    )


def _runs(image: ImageDescription | None) -> dict[str, ImageConfiguration | None]:
    return {str(one.platform): one.runs for one in image.platforms} if image else {}


def _described(
    view: View, environment: Environment, reference: DigestReference
) -> ImageDescription | None:
    """What the registry says; an image that is gone is shown as not known, never as clean."""
    try:
        return view.registry(environment).describe(reference)
    except NotFoundError:
        return None


def _platforms(image: ImageDescription | None) -> tuple[str, ...]:
    return tuple(str(one.platform) for one in image.platforms) if image else ()


def _size(image: ImageDescription | None) -> int | None:
    sizes = [one.compressed_size for one in image.platforms] if image else []
    return max(sizes, default=None)
