"""May a wish be delivered: who caused it, is it whose it says, does it pass the rules.

By the rules as they were before the merge that brought it, and by today's: no merge loosens the
rules that judge it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bot.domain.assessment import Assessment
from bot.domain.authority import Attribution, Authorised, Unauthorised, authority, stricter
from bot.domain.environments import Approvals, Environment, ImageId
from bot.domain.errors import RejectedError, UnavailableError
from bot.ports import GitHistory
from bot.usecases.attribution import attribution, merged_pull_request
from bot.usecases.desk import is_held, pipeline_at
from bot.usecases.evidence import evaluate, said_by
from bot.usecases.resolve import (
    Contradicted,
    Missing,
    is_in_source,
    is_published,
    lacks_record,
    resolve,
)
from bot.usecases.rules import Rules, rules_at
from bot.usecases.wishes import Wish

_TRIGGERS = 300


class NotAdmittedError(RejectedError):
    """A wish that may not be delivered as things are."""

    def __init__(self, reason: str, remedy: str) -> None:
        """Say why, and who must do what."""
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy


def authorise(wish: Wish) -> Authorised:
    """Who caused it, under the rules before the merge and today's."""
    today, before = wish.environment, _rules_before(wish).environment
    needed = today.needs_authority or before.needs_authority
    required = stricter(before.approvals, today.approvals)
    verdict = authority(_attribution(wish, required, needed=needed), required, needed=needed)
    if isinstance(verdict, Unauthorised):
        raise NotAdmittedError(verdict.reason, verdict.remedy)
    return verdict


@dataclass(frozen=True, slots=True)
class _RulesBefore:
    """What held at the first parent of the merge that brought a digest."""

    environment: Environment
    rules: Rules


def _rules_before(wish: Wish) -> _RulesBefore:
    """The pipeline file and the policy as they were at the merge's first parent.

    An environment that needs authority never falls back to the rules of today alone.
    """
    view, environment = wish.view, wish.environment
    today = _RulesBefore(environment, view.rules)
    lacking = NotAdmittedError(
        f"merge {wish.merge[:7]} brought digests of {environment.name} before or together with "
        "the rules that judge them",
        f"an operator runs `lockkeeper adopt {environment.name}`, or the digest is promoted anew",
    )
    before = _rules_at_parent(wish)
    if before is None and environment.needs_authority:
        raise lacking
    return before or today


def _rules_at_parent(wish: Wish) -> _RulesBefore | None:
    """None: there was no environment of that name, or nothing valid that described it."""
    view, parents = wish.view, wish.view.history.commit(wish.merge).parents
    if not parents:
        return None
    try:
        pipeline = pipeline_at(view.repository, view.history, parents[0])
        rules = rules_at(view.history, pipeline, parents[0])
    except RejectedError:
        return None
    environment = pipeline.environments.get(wish.environment.name)
    return None if environment is None else _RulesBefore(environment, rules)


def _attribution(wish: Wish, required: Approvals, *, needed: bool) -> Attribution:
    if needed:
        found = attribution(wish.view, wish.merge, required.teams)
        return replace(found, asked_by=_asked_by(wish)) if found.pull_request else found
    brought_by = merged_pull_request(wish.view, wish.merge)
    if brought_by is None:
        return Attribution(wish.merge, None)
    github, repository = wish.view.ports.github, wish.view.repository
    return Attribution(wish.merge, github.pull_request(repository, brought_by.number))


def _asked_by(wish: Wish) -> frozenset[str]:
    """Who merged or pushed the source branch: read from git and GitHub, not from memory alone."""
    github, source = wish.view.ports.github, wish.application.source
    history = wish.view.ports.mirrors.of(source)
    asked: set[str] = set()
    for trigger in _triggers(wish, history):
        merged = [
            pull_request
            for pull_request in github.pull_requests_of(source, trigger)
            if pull_request.merged and pull_request.merge_commit == trigger
        ]
        for pull_request in merged:
            details = github.pull_request(source, pull_request.number)
            if details.merged_by is not None:
                asked.add(details.merged_by.login)
        if not merged:
            asked |= github.author_of(source, trigger)
    return frozenset(asked)


def _triggers(wish: Wish, history: GitHistory) -> list[str]:
    """The branch heads that asked: our own record, and the commits with the image's tree."""
    scope = wish.view.scope(wish.environment.name, wish.application.name)
    recorded = {
        head.trigger
        for head in wish.view.ports.memory.written_heads(scope)
        if head.source == wish.commit
    }
    if wish.commit and history.fetch_commit(wish.commit):
        tree = history.commit(wish.commit).tree
        for branch, head in history.heads().items():
            if wish.environment.fed_by(branch):
                commits = history.first_parents(head, limit=_TRIGGERS)
                recorded |= {next((c.id for c in commits if c.tree == tree), "")}
    return sorted(trigger for trigger in recorded if trigger and history.fetch_commit(trigger))


def admit(wish: Wish) -> Assessment:
    """The digest is its commit's, where the environment takes it from, and passes the rules."""
    view, environment, image = wish.view, wish.environment, wish.image.name
    if not is_in_source(view, environment, wish.application, image, wish.digest):
        source = environment.source_environment or "the registry that CI pushes to"
        if environment.source_environment and lacks_record(view, view.environment(source)):
            raise NotAdmittedError(
                f"whether {image} {wish.digest.short} is in {source} is not known: "
                "this database holds no publication of its ref",
                f"restore the database's backup, or run `lockkeeper adopt {source}`; then retry",
            )
        raise NotAdmittedError(
            f"{image} {wish.digest.short} is not in {source}",
            f"promote it to {source} first, or revert the merge",
        )
    if wish.resolution is None and environment.is_entry:
        _check_stands_under_its_tag(wish)
    assessment = _evaluate(wish)
    held = is_held(view, environment.name, wish.application.name)
    if held:
        raise NotAdmittedError(held, "whoever holds it releases it")
    return assessment


def _evaluate(wish: Wish) -> Assessment:
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
    raise NotAdmittedError(
        f"{image} {wish.digest.short} does not pass {rules}: {said_by(blocking.assessment)}",
        "promote a build that passes, or revert the merge",
    )


def _check_stands_under_its_tag(wish: Wish) -> None:
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
