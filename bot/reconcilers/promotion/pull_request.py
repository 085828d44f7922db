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
from typing import Final

from bot.domain.assessment import Assessment
from bot.domain.environments import (
    SHORT_COMMIT,
    Application,
    Environment,
    ImageId,
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
from bot.domain.promotion import promotion_id
from bot.facts.evidence import Evaluated, evaluate, report_url
from bot.facts.gates import closed, going_all, labelled, stopped, told
from bot.facts.granted import source_repository
from bot.facts.own_heads import approved_heads, own_head
from bot.facts.promotions_open import head_branch, rollback_branch
from bot.facts.snapshot import View
from bot.facts.source_changes import source_changes
from bot.facts.status import open_standing
from bot.facts.travelling import Travelling, travelling
from bot.formats.check_output import check_output
from bot.formats.edits import Edit, edit_of
from bot.formats.image_names import ImageField
from bot.formats.manifest_file import bytes_of
from bot.formats.markdown import plain, prose
from bot.formats.places import ImageLocation
from bot.formats.pull_request_body import (
    BodyFacts,
    ImageFacts,
    is_same,
    marked_promotion,
    render,
    rollback_title,
    superseded,
    title,
)
from bot.formats.travelling_section import TravellingFacts, TravellingFile, refusals
from bot.ports.git import GitHistory
from bot.reconcilers.asked import kept_for, open_asks, over
from bot.reconcilers.checks.check import answer_pull_request
from bot.reporting.reports import ask_reviewers, tell_labels, tell_source
from bot.reporting.verdicts import note_verdict

_COMMITS: Final = 250
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
    trigger: str
    branch: str
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
    def head_branch(self) -> str:
        """The stable branch of the pull request."""
        of = rollback_branch if self.is_rollback else head_branch
        return of(self.environment, self.application)

    @property
    def title(self) -> str:
        """Of the pull request, and of its commit."""
        names = self.application.name, self.environment.name
        if self.is_rollback:
            return rollback_title(*names, self.source)
        by = f"asked by {self.ask.by}" if self.ask is not None else ""
        return title(*names, self.branch or by, self.source)

    @property
    def commits(self) -> list[str]:
        """Where the developer looks."""
        return [self.trigger, self.source]


def ensure_pull_request(view: View, proposal: Proposal) -> Outcome:
    """Open, update, keep frozen, close or merge the pull request, as the facts ask for."""
    number = _id(view, proposal)
    revoked = _revoked(view, proposal)
    if revoked:
        _tell(view, proposal, CheckState.FAILURE, "Revoked", prose(revoked, 600))
        return Done(revoked)
    updates = _updates(view, proposal)
    existing, finished = _pull_requests(view, proposal)
    rejected = "" if proposal.ask or updates else _rejected(view, proposal, finished, number)
    if rejected:
        _tell(view, proposal, CheckState.NEUTRAL, "Not proposed again", rejected)
        return Done(rejected)
    if existing is not None:
        is_asked = proposal.ask is not None or bool(updates)
        stuck = "" if is_asked else _untouchable(view, proposal, existing)
        if stuck:
            _tell(view, proposal, CheckState.NEUTRAL, "Waits for the open pull request", stuck)
            return Done(stuck)
    elif _has_moved(view, proposal):
        return RequeueAt("the default branch has moved meanwhile", view.ports.clock.now())
    edit = _edit(view, proposal)
    own = [one for one in edit.refused if one.image is not None]
    if own:
        why = "; ".join(str(one) for one in own[:5])
        _tell(view, proposal, CheckState.NEUTRAL, "Not promoted", prose(why, 600))
        return Done(why)
    came = _travelling(view, proposal, existing)
    if came.refused:
        _tell(view, proposal, CheckState.NEUTRAL, "Not promoted", refusals(came.refused))
        return Done("; ".join(came.refused[:5]))
    contents = {path: bytes_of(content) for path, content in edit.contents.items()}
    contents |= {one.path: one.content for one in came.files}
    evaluated = evaluate(
        view, proposal.environment, proposal.application, proposal.images, view.rules
    )
    body = render(_facts(view, proposal, evaluated.assessment, came))
    is_current = (
        existing is not None
        and _is_current(view, proposal, existing, contents)
        and (came.is_frozen or _brought(view, proposal, existing) <= contents.keys())
    )
    commit = None if is_current else _write(view, proposal, contents)
    pull_request = _ensure(view, proposal, existing, commit, body)
    seen_in = None if existing is None else existing.number
    note_verdict(view, number, proposal.application, evaluated, seen_in)
    for job in evaluated.jobs:
        view.ports.jobs.put(job)
    for one in updates:
        over(view, one, f"pull request {pull_request.number}", proposal.source)
    offer = _Offer(pull_request, evaluated, contents, is_new=existing is None)
    return _settle(view, proposal, offer)


@dataclass(frozen=True, slots=True)
class _Offer:
    """What stands on the pull request now."""

    pull_request: PullRequest
    evaluated: Evaluated
    contents: Mapping[str, bytes]
    """The edited files, on the default branch's head."""
    is_new: bool


def _revoked(view: View, proposal: Proposal) -> str:
    """Which of the images never come, and why; empty: none."""
    return "; ".join(
        f"{name} {digest.short} is revoked: {view.rules.revoked[digest]}"
        for name, digest in sorted(proposal.images.items())
        if digest in view.rules.revoked
    )


def _updates(view: View, proposal: Proposal) -> Sequence[Asked]:
    """Commands by which the open pull request takes this, whoever approved or edited it."""
    if proposal.is_rollback:
        return ()
    asks = open_asks(view, proposal.environment, proposal.application)
    return [one for one in asks if one.kind is AskKind.UPDATE]


def _id(view: View, proposal: Proposal) -> str:
    return promotion_id(
        view.id, proposal.environment.name, proposal.application.name, proposal.images
    )


def _pull_requests(
    view: View, proposal: Proposal
) -> tuple[PullRequest | None, Sequence[PullRequest]]:
    """The open one of the promotion's branch, and the closed ones, newest first."""
    head = proposal.head_branch
    found = view.ports.github.pull_requests(view.repository, state="all", head=head)
    living = [one for one in found if one.is_open and one.base_branch == view.default_branch]
    return next(iter(living), None), [one for one in found if not one.is_open]


def _rejected(view: View, proposal: Proposal, closed: Sequence[PullRequest], promotion: str) -> str:
    """Why the same digests are not asked for again: a person closed or reverted them."""
    for pull_request in closed:
        is_same = _asked_for(view, proposal, pull_request, promotion)
        if is_same and not pull_request.merged and not _was_cleaned(view, pull_request):
            return (
                f"pull request {pull_request.number} for the same digests was closed by a person; "
                f"reopen it, or `/promote {proposal.environment.name}` on it"
            )
    taken_back = [
        pull_request.number
        for pull_request in closed
        if pull_request.merged and _asked_for(view, proposal, pull_request, promotion)
        if _was_merged_here(view, pull_request)
    ]
    if taken_back:
        return f"pull request {taken_back[0]} brought the same digests and they were taken back"
    return ""


def _was_cleaned(view: View, pull_request: PullRequest) -> bool:
    """Whether it was closed because its branch was deleted: a cleaner of branches refuses nothing.

    Whoever closes it first and deletes the branch then has closed it.
    """
    closed_at = pull_request.closed_at
    if closed_at is None:
        return False
    deleted = view.ports.github.deletions(view.repository, pull_request.head_branch)
    return any(abs(at - closed_at) <= _AT_ONCE for at in deleted)


def _asked_for(view: View, proposal: Proposal, pull_request: PullRequest, promotion: str) -> bool:
    """Whether a pull request of ours that is over asked for this set, and we did not close it.

    By our record of its head: a body is anybody's who may write. Only where somebody else pushed
    there its body has to say.
    """
    if pull_request.author.login != view.ports.github.login():
        return False
    if view.ports.audit.has(superseded_key(view, pull_request.number)):
        return False
    head = _written(view, proposal).get(pull_request.head)
    if head is None:
        return marked_promotion(pull_request.body) == (promotion, False)
    memory, name = view.ports.memory, proposal.application.name
    known = memory.resolution(view.id, name, head.source)
    return known is not None and dict(known.digests) == proposal.images


def superseded_key(view: View, number: int) -> str:
    """Names the audit's entry that the bot itself closed a pull request."""
    return f"superseded:{view.id}:{number}"


def _was_merged_here(view: View, pull_request: PullRequest) -> bool:
    """Its merge is on the default branch: what it brought is not there now, so it was undone."""
    merge = pull_request.merge_commit
    return merge is not None and view.history.is_ancestor(merge, view.head)


def _has_moved(view: View, proposal: Proposal) -> bool:
    """The files of its places are not those that were looked at: somebody has merged.

    That may have been the very pull request that is not open any more. Asked after the list of
    open ones was read, so that no merge falls between the two. What others merge into their own
    files meanwhile stands in the way of nobody, however many they are.
    """
    view.history.refresh()
    head = view.history.heads().get(view.default_branch, "")
    if head == view.head:
        return False
    own = {location.place.path for location in proposal.places}
    return not head or not own.isdisjoint(view.history.changes(view.head, head))


def _written(view: View, proposal: Proposal) -> dict[str, WrittenHead]:
    scope = view.scope(proposal.environment.name, proposal.application.name)
    return {head.commit: head for head in view.ports.memory.written_heads(scope)}


def _untouchable(view: View, proposal: Proposal, existing: PullRequest) -> str:
    """Why an open pull request must not be changed; empty: it may."""
    head = own_head(view, proposal.environment, proposal.application, existing.head)
    if head is None:
        return (
            f"pull request {existing.number} was edited by somebody else; it is theirs now. "
            "`/update` on it starts it afresh"
        )
    if head.source == proposal.source:
        return ""
    if proposal.diverging:
        return f"pull request {existing.number} is open, and this build diverges from what runs"
    kept = kept_for(view, proposal.environment, proposal.application, head.source)
    if kept is not None:
        return (
            f"pull request {existing.number} shows what {kept.by} asked for; `/update` on it takes "
            f"{proposal.branch} at {proposal.source[:SHORT_COMMIT]}"
        )
    if _is_approved(view, proposal, existing):
        newer = f"{proposal.branch} at {proposal.source[:SHORT_COMMIT]}"
        _note_newer(view, existing, newer)
        return f"pull request {existing.number} is approved and stays as it is; {newer} waits"
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


def _edit(view: View, proposal: Proposal) -> Edit:
    """The edited files: a pure function of the default branch and the wanted digests."""
    environment, application = proposal.environment, proposal.application
    wanted = {
        ImageId(application.name, image): written_for(
            environment, application, image, digest, proposal.source
        )
        for image, digest in proposal.images.items()
    }
    paths = view.history.paths(view.head)
    files = view.files(view.head, environment)
    return edit_of(files, lambda path: view.text(paths[path].blob), wanted)


def _travelling(view: View, proposal: Proposal, existing: PullRequest | None) -> Travelling:
    """The files that come with the images; an approved head keeps those that it shows."""
    environment, application = proposal.environment, proposal.application
    found = travelling(view, environment, application, proposal.images)
    if existing is None or not application.promote or not _is_approved(view, proposal, existing):
        return found
    now, shown = view.history.paths(view.head), view.history.paths(existing.head)
    files = [
        TravellingFile(path, view.history.read(now[path].blob) if path in now else None, content)
        for path in sorted(_brought(view, proposal, existing))
        for content in [view.history.read(shown[path].blob)]
    ]
    return replace(found, files=files, refused=(), is_frozen=True)


def _is_approved(view: View, proposal: Proposal, existing: PullRequest) -> bool:
    """Whether a person approved the pull request as it is now, or a head that asks for the same."""
    reviews = view.ports.github.reviews(view.repository, existing.number)
    given = [one for one in reviews if one.state == "APPROVED" and one.author.is_person]
    environment, application = proposal.environment, proposal.application
    equal = approved_heads(view, environment, application, existing, given)
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
    proposal: Proposal,
    existing: PullRequest | None,
    commit: str | None,
    body: str,
) -> PullRequest:
    """The pull request, with the commit as its head; None: its head stays."""
    github, name = view.ports.github, proposal.title
    if commit is not None:
        is_there = existing is not None
        github.set_branch(view.repository, proposal.head_branch, commit, is_there=is_there)
    if existing is None:
        opened = github.open_pull_request(
            view.repository,
            head=proposal.head_branch,
            base=view.default_branch,
            title=name,
            body=body,
        )
        _label_and_ask(view, proposal, opened)
        return opened
    _label_and_ask(view, proposal, existing)
    if existing.title != name or not is_same(existing.body, body):
        github.edit_pull_request(view.repository, existing.number, title=name, body=body)
    return replace(existing, title=name, body=body, head=commit or existing.head)


def _label_and_ask(view: View, proposal: Proposal, pull_request: PullRequest) -> None:
    """Ask for reviewers, then label: the labels tell that both were done."""
    labels = _labels(proposal)
    if pull_request.labels.issuperset(labels):
        return
    teams = proposal.environment.approvals.teams
    if teams:
        ask_reviewers(view, pull_request, tuple(teams))
    tell_labels(view, pull_request, tuple(labels))


def _labels(proposal: Proposal) -> list[str]:
    labels = ["lockkeeper", f"lockkeeper/{proposal.environment.name}"]
    labels += ["lockkeeper/rollback"] if proposal.is_rollback else []
    return [*labels, "lockkeeper/diverging"] if proposal.diverging else labels


def _is_current(
    view: View, proposal: Proposal, existing: PullRequest, contents: Mapping[str, bytes]
) -> bool:
    """The head asks for these digests, and merged as it is brings exactly the planned files.

    So what others merge into the same files takes nobody's approval away, until git cannot merge.
    """
    written = own_head(view, proposal.environment, proposal.application, existing.head)
    if written is None or written.source != proposal.source:
        return False
    if not view.history.has(existing.head):
        return False
    if proposal.environment.merges_itself and existing.head not in _written(view, proposal):
        return False  # the bot merges only what it wrote itself
    tree = view.history.merged_tree(view.head, existing.head)
    entries = view.history.paths(tree) if tree else {}
    return all(
        path in entries and view.history.read(entries[path].blob) == content
        for path, content in contents.items()
    )


def _brought(view: View, proposal: Proposal, existing: PullRequest) -> set[str]:
    """Files that travel, of those that our open pull request changes."""
    written = own_head(view, proposal.environment, proposal.application, existing.head)
    if written is None:
        return set()
    base, globs = written.base, proposal.application.promote
    changed = view.history.changes(base, existing.head) if globs else {}
    return {path for path in changed if any(matches(glob, path) for glob in globs)}


def _write(view: View, proposal: Proposal, contents: Mapping[str, bytes]) -> str:
    """One commit on the default branch's head; ours by record before any branch names it."""
    message = f"{proposal.title}\n\n" + "\n".join(
        f"{image}: {digest}" for image, digest in sorted(proposal.images.items())
    )
    modes = {path: entry.mode for path, entry in view.history.paths(view.head).items()}
    commit = view.ports.github.write_commit(
        view.repository,
        view.head,
        view.history.commit(view.head).tree,
        [FileWrite(path, modes.get(path, "100644"), content) for path, content in contents.items()],
        message,
    )
    view.ports.memory.record_written_head(
        WrittenHead(
            scope=view.scope(proposal.environment.name, proposal.application.name),
            branch=proposal.head_branch,
            commit=commit,
            base=view.head,
            trigger=proposal.trigger,
            trigger_branch="" if proposal.ask else proposal.branch,  # else nobody knows who asked
            source=proposal.source,
            at=view.ports.clock.now(),
        )
    )
    return commit


def _settle(view: View, proposal: Proposal, offer: _Offer) -> Outcome:
    """Say where the promotion is, and merge what the file lets the bot merge."""
    pull_request, evaluated = offer.pull_request, offer.evaluated
    if isinstance(answer_pull_request(view, pull_request), RequeueAt):
        # What stops it ends by itself: its check is looked at then.
        view.ports.jobs.put(Job(JobKind.ANSWER, view.id, "", str(pull_request.number)))
    merge_itself = proposal.environment.merges_itself and not proposal.diverging
    link = f"[Pull request {pull_request.number}]({view.web_url}/pull/{pull_request.number})"
    if evaluated.assessment.verdict.blocks and not proposal.is_rollback:
        said = check_output(evaluated.assessment, report_url(view, _id(view, proposal)))
        title = "Proposed, being scanned" if evaluated.waits else said.title
        _tell(view, proposal, CheckState.NEUTRAL, title, f"{link}\n\n{said.summary}")
        return Done(f"pull request {pull_request.number}: {said.title}")
    stop = _stop(view, proposal, pull_request)
    if stop is not None:
        title, words = told(stop)
        _tell(view, proposal, CheckState.NEUTRAL, f"Proposed. {title}", f"{link}\n\n{words}")
        return stopped(stop)
    if not merge_itself:
        waits = "to be merged" if not proposal.environment.needs_authority else "to be approved"
        where = view, proposal.environment, proposal.application, pull_request
        stands = open_standing(*where, is_new=offer.is_new)
        words = f"{link}: {prose(stands.sentence, 600)}."
        _tell(view, proposal, CheckState.NEUTRAL, f"Proposed, waits {waits}", words)
        return Done(f"pull request {pull_request.number} waits {waits}")
    return _merge(view, proposal, offer, link)


def _merge(view: View, proposal: Proposal, offer: _Offer, link: str) -> Outcome:
    """Merge exactly the head that the bot wrote."""
    pull_request = offer.pull_request
    if pull_request.is_draft:
        words = f"{link} is a draft. **The way out:** press *Ready for review*."
        _tell(view, proposal, CheckState.NEUTRAL, "Waits: a draft", words)
        return Done(f"pull request {pull_request.number} is a draft")
    if pull_request.head not in _written(view, proposal):
        return Done(f"pull request {pull_request.number} was edited by somebody else just now")
    merged = view.ports.github.merge_pull_request(
        view.repository,
        pull_request.number,
        head=pull_request.head,
        base=view.default_branch,
        title=pull_request.title,
    )
    if isinstance(merged, MergeRefusal):
        return _not_merged(view, proposal, offer, link, merged)
    _tell(view, proposal, CheckState.IN_PROGRESS, "Delivering", f"{link} is merged.")
    deliver = Job(JobKind.DELIVER, view.id, proposal.environment.name, proposal.application.name)
    view.ports.jobs.put(deliver)
    if proposal.is_rollback:  # it is sealed: there may be nothing to deliver
        view.ports.jobs.put(Job(JobKind.PUBLISH, view.id, proposal.environment.name))
    return Done(f"pull request {pull_request.number} is merged")


def _not_merged(
    view: View, proposal: Proposal, offer: _Offer, link: str, refusal: MergeRefusal
) -> Outcome:
    """Wait for the queue, satisfy a rule that the bot can, or say what GitHub says."""
    pull_request = offer.pull_request
    if refusal.is_queued:
        words = f"{link} stands in GitHub's merge queue, which merges it."
        _tell(view, proposal, CheckState.NEUTRAL, "In the merge queue", words)
        return Done(f"pull request {pull_request.number} is in the merge queue")
    if _is_behind(view, proposal, pull_request, refusal):
        commit = _write(view, proposal, offer.contents)
        github = view.ports.github
        github.set_branch(view.repository, proposal.head_branch, commit, is_there=True)
        words = f"{link} has to be up to date, and is written anew."
        _tell(view, proposal, CheckState.NEUTRAL, "Brought up to date", words)
        at = view.ports.clock.now() + _MERGE_AGAIN
        return RequeueAt(f"pull request {pull_request.number} is brought up to date", at)
    words = prose(refusal.words, 400)
    reason = f"GitHub does not merge {link} yet and says: {words}"
    _tell(view, proposal, CheckState.NEUTRAL, "Cannot be merged yet", reason)
    return RequeueAt(
        f"GitHub does not merge pull request {pull_request.number} yet: {plain(refusal.words)}",
        _merge_again(view, proposal, pull_request),
    )


def _is_behind(
    view: View, proposal: Proposal, pull_request: PullRequest, refusal: MergeRefusal
) -> bool:
    """Whether a rule wants the head on the newest default branch, and it stands on an older one.

    Only of what the bot merges itself: a head that people approve is brought up to date by them,
    and its approvals count.
    """
    head = _written(view, proposal).get(pull_request.head)
    is_older = head is not None and head.base != view.head
    return is_older and _BEHIND.search(refusal.words) is not None


def _stop(view: View, proposal: Proposal, pull_request: PullRequest) -> Closed | None:
    """What stops the merge; it is asked again when it is over, or by whoever ends it."""
    environment, application = proposal.environment, proposal.application.name
    images = [(ImageId(application, name), digest) for name, digest in proposal.images.items()]
    back = going_all(view, environment, images)
    gated = closed(view, environment, application, Action.MERGE, back)
    return labelled(pull_request) or gated


def _merge_again(view: View, proposal: Proposal, pull_request: PullRequest) -> datetime:
    """Soon for a young head, slowly for an old one: reviews and checks wake this look anyway."""
    now, ours = view.ports.clock.now(), _written(view, proposal)
    written = ours.get(pull_request.head)
    age = now - written.at if written else timedelta(0)
    return now + min(max(age / 4, _MERGE_AGAIN), _MERGE_SLOW)


def _tell(view: View, proposal: Proposal, state: CheckState, heading: str, summary: str) -> None:
    tell_source(
        view,
        proposal.application,
        proposal.environment,
        proposal.commits,
        state,
        heading,
        summary,
    )


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
            scope = view.scope(environment.name, application.name)
            facts = {"pull_request": str(pull_request.number)}
            once = superseded_key(view, pull_request.number)
            view.ports.audit.append("superseded", scope, facts, once=once)
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
        promotion=_id(view, proposal),
        application=application.name,
        environment=environment.name,
        ref=environment.ref,
        source_repository=str(application.source),
        web_url=view.ports.web_url,
        branch=proposal.branch,
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
        report_url=report_url(view, _id(view, proposal)),
        rollback_by=proposal.ask.by if proposal.ask and proposal.is_rollback else "",
    )


def _between(proposal: Proposal, old: str | None, new: str) -> Sequence[GitCommit] | None:
    history = proposal.history
    if old is None or not (history.has(old) and history.has(new)):
        return None
    return history.between(old, new, limit=_COMMITS + 1)  # one more tells that there are more


def _asker(proposal: Proposal, contributions: Mapping[str, Contribution] | None) -> Asker:
    """Whose commit the branch head is that asked, by GitHub's word, else by git's."""
    known = (contributions or {}).get(proposal.trigger)
    brought = known.pull_request if known else None
    named = proposal.history.has(proposal.trigger)
    return Asker(
        proposal.branch,
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
        if any(matches(glob, path) for glob in globs)
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
