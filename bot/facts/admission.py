"""May a wish be delivered: who caused it, is it whose it says, does it pass the rules.

By the rules as they were before the merge that brought it, and by today's: no merge loosens the
rules that judge it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.domain.assessment import Assessment
from bot.domain.authority import Attribution, Authorised, Unauthorised, authority
from bot.domain.environments import Application, Approvals, Environment, ImageId, Pipeline
from bot.domain.errors import RejectedError, UnavailableError
from bot.domain.gates import Action, Closed
from bot.domain.history import PullRequest
from bot.domain.source_refs import SourceRef
from bot.facts.attribution import attribution, merged_pull_request, reviewed
from bot.facts.desired_images import DesiredImage, says
from bot.facts.evidence import blocking_reasons, evaluate
from bot.facts.gates import closed, going, labelled
from bot.facts.resolution import (
    Contradicted,
    Missing,
    is_in_source,
    is_published,
    lacks_record,
    resolve,
)
from bot.facts.rules import Rules, rules_at
from bot.facts.snapshot import View, pipeline_at
from bot.ports.git import GitHistory

_TRIGGERS = 300


class StoppedError(UnavailableError):
    """Somebody has stopped a wish while it was on its way; nothing is wrong with it."""

    def __init__(self, found: Closed) -> None:
        """Say who, and who ends it."""
        super().__init__(f"{found.words}; {found.way_out}")
        self.found = found


def stopped_wish(wish: DesiredImage) -> Closed | None:
    """Who stops a delivery; one that goes back may pass."""
    view, environment, application = wish.view, wish.environment, wish.application.name
    back = going(view, environment, ImageId(application, wish.image.name), wish.digest)
    return closed(view, environment, application, Action.DELIVER, back)


class NotAdmittedError(RejectedError):
    """A wish that may not be delivered as things are."""

    def __init__(self, reason: str, remedy: str) -> None:
        """Say why, and who must do what."""
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy


def authorise(wish: DesiredImage) -> Authorised:
    """Who caused it, under the rules before the merge and today's.

    Raises:
        NotAdmittedError: nobody who may.
        StoppedError: the pull request has the label that holds it.
    """
    judging = [_rules_before(wish).environment, wish.environment]
    needed = any(one.needs_authority for one in judging)
    rules = [one.approvals for one in judging if one.needs_authority]
    found = _attribution(wish, rules, needed=needed)
    by_label = labelled(found.pull_request) if found.pull_request else None
    if by_label is not None:
        raise StoppedError(by_label)
    verdict = authority(found, rules, needed=needed)
    if isinstance(verdict, Unauthorised):
        raise NotAdmittedError(verdict.reason, verdict.remedy)
    if needed and found.pull_request is not None:
        _check_was_shown(wish, found.pull_request)
    return verdict


def _check_was_shown(wish: DesiredImage, pull_request: PullRequest) -> None:
    """What is delivered is what was approved: the digest at each of its places."""
    base, head = reviewed(wish.view.line, pull_request)
    for place in wish.places:
        shown = says(wish.view, wish.environment, head, place)
        if shown == wish.digest and says(wish.view, wish.environment, base, place) != shown:
            continue
        raise NotAdmittedError(
            f"pull request {pull_request.number}, as it was approved, does not bring "
            f"{wish.digest.short} to {place.path}",
            "revert the merge and merge a pull request that shows it",
        )


@dataclass(frozen=True, slots=True)
class _RulesBefore:
    """What held at the first parent of the merge that brought a digest."""

    environment: Environment
    rules: Rules
    pipeline: Pipeline


def _rules_before(wish: DesiredImage) -> _RulesBefore:
    """The pipeline file and the policy as they were at the merge's first parent.

    An environment that needs authority never falls back to the rules of today alone.
    """
    view, environment = wish.view, wish.environment
    today = _RulesBefore(environment, view.rules, view.pipeline)
    lacking = NotAdmittedError(
        f"merge {wish.merge[:7]} brought digests of {environment.name} before or together with "
        "the rules that judge them",
        f"an operator runs `lockkeeper adopt {environment.name}`, or the digest is promoted anew",
    )
    before = _rules_at_parent(wish)
    if before is None and environment.needs_authority:
        raise lacking
    return before or today


def _rules_at_parent(wish: DesiredImage) -> _RulesBefore | None:
    """None: there was no environment of that name, or nothing valid that described it."""
    view, parents = wish.view, wish.view.history.commit(wish.merge).parents
    if not parents:
        return None
    commit = _in_force_at(view, parents[0])
    try:
        pipeline = pipeline_at(view.repository, view.history, commit)
        rules = rules_at(view.history, pipeline, commit)
    except RejectedError:
        return None
    name = wish.environment.name
    own = pipeline.applications.get(wish.application.name)
    environment = pipeline.environments.get(name)
    if own is not None:
        environment = pipeline.environment_of(name, own) or environment
    return None if environment is None else _RulesBefore(environment, rules, pipeline)


def _in_force_at(view: View, commit: str) -> str:
    """Where the rules stand that were in force at a commit of the default branch.

    Older commits than the first look are judged by what they say themselves.
    """
    accepted = reversed(view.ports.memory.accepted_rules(view.id))
    is_before = view.history.is_ancestor
    known = (one.commit for one in accepted if one.is_valid and is_before(one.commit, commit))
    return next(known, commit)


def _attribution(wish: DesiredImage, rules: Sequence[Approvals], *, needed: bool) -> Attribution:
    if needed:
        found = attribution(
            wish.view.line, wish.merge, [team for one in rules for team in one.teams]
        )
        if found.pull_request is None:
            return found
        asked_by, unknown = _asked_by(wish, found.pull_request)
        return replace(found, asked_by=asked_by, unknown_askers=unknown)
    brought_by = merged_pull_request(wish.view.line, wish.merge)
    if brought_by is None:
        return Attribution(wish.merge, None)
    github, repository = wish.view.ports.github, wish.view.repository
    return Attribution(wish.merge, github.pull_request(repository, brought_by.number))


def _asked_by(wish: DesiredImage, pull_request: PullRequest) -> tuple[frozenset[int], int]:
    """Who merged or pushed the source branch, and how many of them nobody knows.

    Read from git and GitHub, not from memory alone. Whose pull request nobody asked for was asked
    for by its author; the bot's own was asked for by somebody.
    """
    history = wish.view.ports.mirrors.of(wish.application.source)
    asked: set[int] = set()
    unknown = 0
    triggers = _triggers(wish, history)
    for trigger, ref in triggers.items():
        known, somebody = _who_moved(wish, trigger, ref)
        asked |= known
        unknown += not somebody
    if not triggers and not pull_request.author.is_person:
        unknown = 1
    return frozenset(asked), unknown


def _who_moved(wish: DesiredImage, trigger: str, ref: SourceRef) -> tuple[set[int], bool]:
    """Accounts behind a ref that asked, and whether one of them is surely a person who moved it.

    An App or a merge queue that merged acted for somebody. The address in a commit is a claim.
    Who merged a commit that a tag names later did not ask; who pushed the tag did.
    """
    github, source = wish.view.ports.github, wish.application.source
    merged = [
        github.pull_request(source, one.number)
        for one in github.pull_requests_of(source, trigger)
        if one.merged and one.merge_commit == trigger
    ]
    if merged and not ref.is_tag:
        persons = {one.merged_by.id for one in merged if one.merged_by and one.merged_by.is_person}
        authors = {one.author.id for one in merged if one.author.is_person}
        return (persons, True) if persons else (authors, False)
    pushes = github.pushes(source, ref.full) or ()
    # Of an annotated tag GitHub names the tag's own object: it is pushed once.
    moves = [one for one in pushes if one.after == trigger or (ref.is_tag and one.creates)]
    mover = next((one.actor for one in moves), None)
    if mover is not None and mover.is_person and mover.id:
        return {mover.id}, True
    signed_by = github.people_of(source, trigger).signed_by
    return ({signed_by.id} if signed_by is not None else set()), False


def _triggers(wish: DesiredImage, history: GitHistory) -> dict[str, SourceRef]:
    """The commits that asked, and the branches and tags that named them.

    By our own record, and the commits with the image's tree.
    """
    scope = wish.view.scope(wish.environment.name, wish.application.name)
    found = {
        head.trigger: SourceRef.of(head.trigger_branch)
        for head in wish.view.ports.memory.heads_of(scope, wish.commit)
    }
    if wish.commit and history.fetch_commit(wish.commit):
        tree = history.commit(wish.commit).tree
        for branch, head in history.heads().items():
            ref = SourceRef(branch)
            if wish.environment.fed_by(ref):
                commits = history.first_parents(head, limit=_TRIGGERS)
                same = next((c.id for c in commits if c.tree == tree), "")
                found.setdefault(same, ref)
    return {
        trigger: found[trigger]
        for trigger in sorted(found)
        if trigger and history.fetch_commit(trigger)
    }


def admit(wish: DesiredImage) -> Assessment:
    """The digest is its commit's, where the environment takes it from, and passes the rules."""
    _check_comes_from(wish)
    if wish.resolution is None and wish.environment.is_entry:
        _check_stands_under_its_tag(wish)
    assessment = _evaluate(wish)
    found = stopped_wish(wish)
    if found is not None:
        raise StoppedError(found)
    return assessment


def _check_comes_from(wish: DesiredImage) -> None:
    """The digest is where the environment takes it from, by today's `from` and the one before."""
    before = _rules_before(wish)
    own = before.pipeline.applications.get(wish.application.name)
    judging = [(wish.view, wish.environment, wish.application)]
    if own is not None and before.environment != wish.environment:
        judging.append((replace(wish.view, pipeline=before.pipeline), before.environment, own))
    for view, environment, application in judging:
        _check_is_in_source(wish, view, environment, application)


def _check_is_in_source(
    wish: DesiredImage, view: View, environment: Environment, application: Application
) -> None:
    image = wish.image.name
    if not is_in_source(view, environment, application, image, wish.digest):
        source = " and ".join(environment.below) or "the registry that CI pushes to"
        for name in environment.below:
            if lacks_record(view, view.environment(name)):
                raise NotAdmittedError(
                    f"whether {image} {wish.digest.short} is in {name} is not known: "
                    "this database holds no publication of its ref",
                    f"restore the database's backup, or run `lockkeeper adopt {name}`; then retry",
                )
        raise NotAdmittedError(
            f"{image} {wish.digest.short} is not in {source}",
            f"promote it to {source} first, or revert the merge",
        )


def _evaluate(wish: DesiredImage) -> Assessment:
    """What the rules before the merge and today's say of it now; both must let it pass."""
    view, environment, image = wish.view, wish.environment, wish.image.name
    own = ImageId(wish.application.name, image)
    wanted, before = {image: wish.digest}, _rules_before(wish).rules
    today = evaluate(view, environment, wish.application, wanted, view.rules)
    for job in today.jobs:
        view.ports.jobs.put(job)
    judged = [today]
    if not before.say_the_same(view.rules, environment.name):
        judged.append(evaluate(view, environment, wish.application, wanted, before))
    blocking = next((one for one in judged if one.assessment.verdict.blocks), None)
    if blocking is None or is_published(view, environment, own, wish.digest):
        # What was published here before may come back: new findings about it are warnings.
        return today.assessment
    if blocking.waits:
        raise UnavailableError(f"{image} {wish.digest.short} is being scanned")
    rules = "today's policy" if blocking is today else "the policy as it was before the merge"
    reasons = blocking_reasons(blocking.assessment)
    raise NotAdmittedError(
        f"{image} {wish.digest.short} does not pass {rules}: {reasons}",
        "promote a build that passes, or revert the merge",
    )


def _check_stands_under_its_tag(wish: DesiredImage) -> None:
    """A digest that nobody resolved must be what a commit's tag names: the label says which."""
    labels = wish.view.registry(wish.environment).describe(wish.reference).labels
    commit = labels.get("org.opencontainers.image.revision", "").strip().lower()
    found = (
        resolve(wish.view, wish.environment, wish.application, commit)
        if len(commit) == 40 and commit.isalnum()  # noqa: PLR2004 - a full git commit id
        else None
    )
    resolved = None if found is None or isinstance(found, Missing | Contradicted) else found
    if resolved is None or dict(resolved.digests).get(wish.image.name) != wish.digest:
        raise NotAdmittedError(
            f"{wish.image.name} {wish.digest.short} does not stand under the tag of a commit",
            "promote an image that CI tagged, or revert the merge",
        )
