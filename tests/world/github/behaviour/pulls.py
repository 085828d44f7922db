"""Pull requests: opening, editing, reviewing, following their branch."""

from __future__ import annotations

from typing import Any

from tests.world.github.behaviour import mergeability
from tests.world.github.behaviour.events import publish
from tests.world.github.errors import invalid, refused, unprocessable
from tests.world.github.records import (
    Account,
    Actor,
    PullRequest,
    Repository,
    Review,
    Team,
)
from tests.world.github.state import State
from tests.world.github.views import pulls as views
from tests.world.github.views.accounts import simple_user, team

Json = dict[str, Any]

REVIEW_STATES = {
    "APPROVE": "APPROVED",
    "REQUEST_CHANGES": "CHANGES_REQUESTED",
    "COMMENT": "COMMENTED",
}


def shown(state: State, pull: PullRequest) -> Json:
    """Return a pull request with everything that has to be computed."""
    git = pull.repository.git
    commits = mergeability.commits_of(pull)
    changes = git.difference(mergeability.merge_base_of(pull), pull.head)
    return views.full(state, pull, mergeability.look(state, pull), len(commits), changes)


def tell(
    state: State, actor: Actor, pull: PullRequest, action: str, fields: Json | None = None
) -> None:
    """Send a ``pull_request`` event."""
    payload: Json = {
        "action": action,
        "number": pull.number,
        "pull_request": shown(state, pull),
        **(fields or {}),
    }
    publish(state, pull.repository, actor.account, "pull_request", payload)


def open_pull(
    state: State,
    actor: Actor,
    repository: Repository,
    *,
    title: str,
    head: str,
    base: str,
    body: str | None = None,
    draft: bool = False,
) -> PullRequest:
    """Open a pull request between two branches (docs: Create a pull request).

    Texts: google/go-github#1441 (exists already), cyberark/dev-flow#42 (no commits between),
    shepherd-tools/shepherd#51 (no such head).
    """
    owner, _, branch = head.rpartition(":")
    source = _head_repository(state, repository, owner)
    head_commit, base_commit = source.head(branch), repository.head(base)
    if head_commit is None:
        raise invalid("PullRequest", "head", "invalid")
    if base_commit is None:
        raise invalid("PullRequest", "base", "invalid")
    _refuse_second(repository, source, branch, base)
    _fetch(repository, source, branch)
    if repository.git.is_ancestor(head_commit, base_commit):
        raise invalid("PullRequest", "", "custom", f"No commits between {base} and {branch}")
    now = state.clock()
    pull = PullRequest(
        id=state.new_id(),
        number=max(repository.pulls, default=0) + 1,
        repository=repository,
        head_repository=source,
        author=actor.account,
        title=title,
        body=body,
        head_ref=branch,
        head=head_commit,
        base_ref=base,
        base=base_commit,
        created_at=now,
        updated_at=now,
        draft=draft,
        unknown_mergeability=state.mergeability_lag,
    )
    repository.pulls[pull.number] = pull
    repository.git.write_ref(f"refs/pull/{pull.number}/head", head_commit, None)
    tell(state, actor, pull, "opened")
    return pull


def _head_repository(state: State, repository: Repository, owner: str) -> Repository:
    """Return the repository of a head ``owner:branch``: this one or a fork (docs: ibid.)."""
    if owner.lower() in {"", repository.owner.login.lower()}:
        return repository
    for fork in state.repositories.values():
        if fork.parent is repository and fork.owner.login.lower() == owner.lower():
            return fork
    raise invalid("PullRequest", "head", "invalid")


def _fetch(repository: Repository, source: Repository, branch: str) -> None:
    """Bring the objects of a fork's branch here, as GitHub's shared object store has them."""
    if source is not repository:
        repository.git.fetch(source.git, f"refs/heads/{branch}")


def _refuse_second(repository: Repository, source: Repository, branch: str, base: str) -> None:
    for other in repository.open_pulls():
        if (other.head_repository, other.head_ref, other.base_ref) == (source, branch, base):
            raise invalid(
                "PullRequest",
                "",
                "custom",
                f"A pull request already exists for {source.owner.login}:{branch}.",
            )


def edit(
    state: State,
    actor: Actor,
    pull: PullRequest,
    *,
    title: str | None = None,
    body: str | None = None,
    base: str | None = None,
) -> None:
    """Change title, body or base; the event names what it was before."""
    changes: Json = {}
    if title is not None and title != pull.title:
        changes["title"] = {"from": pull.title}
        pull.title = title
    if body is not None and body != pull.body:
        changes["body"] = {"from": pull.body or ""}
        pull.body = body
    if base is not None and base != pull.base_ref:
        changes |= _rebased(pull, base)
    if changes:
        pull.updated_at = state.clock()
        tell(state, actor, pull, "edited", {"changes": changes})


def _rebased(pull: PullRequest, base: str) -> Json:
    tip = pull.repository.head(base)
    if tip is None:
        raise invalid("PullRequest", "base", "invalid")
    was = {"ref": {"from": pull.base_ref}, "sha": {"from": pull.base}}
    pull.base_ref, pull.base = base, tip
    return {"base": was}


def close(state: State, actor: Actor, pull: PullRequest) -> None:
    """Close without mergeability."""
    if pull.state == "closed":
        return
    pull.state, pull.closed_at, pull.closed_by = "closed", state.clock(), actor.account
    pull.updated_at, pull.auto_merge = pull.closed_at, None
    tell(state, actor, pull, "closed")


def reopen(state: State, actor: Actor, pull: PullRequest) -> None:
    """Open again, if its branch still stands and no other pull request took its place."""
    if pull.state == "open":
        return
    if pull.merged:
        raise invalid("PullRequest", "state", "custom", "Cannot reopen a merged pull request")
    tip = pull.head_repository.head(pull.head_ref)
    if tip is None or pull.repository.head(pull.base_ref) is None:
        raise invalid("PullRequest", "state", "invalid", "state cannot be changed.")
    _refuse_second(pull.repository, pull.head_repository, pull.head_ref, pull.base_ref)
    pull.state, pull.closed_at, pull.closed_by = "open", None, None
    pull.updated_at = state.clock()
    _set_head(state, pull, tip)
    tell(state, actor, pull, "reopened")


def set_draft(state: State, actor: Actor, pull: PullRequest, *, draft: bool) -> None:
    """Convert to a draft, or mark as ready for review."""
    if pull.draft == draft:
        return
    pull.draft, pull.updated_at = draft, state.clock()
    tell(state, actor, pull, "converted_to_draft" if draft else "ready_for_review")


def submit_review(
    state: State, actor: Actor, pull: PullRequest, event: str, body: str, commit: str | None
) -> Review:
    """Review the head (docs: Create a review for a pull request; text: hubtty/hubtty#33)."""
    if event == "APPROVE" and actor.account is pull.author:
        raise refused("Can not approve your own pull request")
    if event == "REQUEST_CHANGES" and actor.account is pull.author:
        raise refused("Can not request changes on your own pull request")
    if event not in REVIEW_STATES:
        raise invalid("PullRequestReview", "event", "invalid")
    if event != "APPROVE" and not body:
        raise refused("Body can't be blank")
    now = state.clock()
    review = Review(
        state.new_id(), actor.account, REVIEW_STATES[event], body, commit or pull.head, now
    )
    pull.reviews.append(review)
    if actor.account in pull.requested_users:
        pull.requested_users.remove(actor.account)
    tell_review(state, actor, pull, review, "submitted")
    for look in state.after_gate:
        look(state, pull.repository, pull.head)
    return review


def tell_review(state: State, actor: Actor, pull: PullRequest, review: Review, action: str) -> None:
    """Send a ``pull_request_review`` event; the review's state is in lower case there."""
    described = views.review(state, pull, review)
    payload = {
        "action": action,
        "review": described | {"state": review.state.lower()},
        "pull_request": views.simple(state, pull, mergeability.look(state, pull).test_merge),
    }
    publish(state, pull.repository, actor.account, "pull_request_review", payload)


def dismiss(state: State, actor: Actor, pull: PullRequest, review: Review) -> None:
    """Dismiss a review."""
    review.state = "DISMISSED"
    tell_review(state, actor, pull, review, "dismissed")


def request_reviewers(
    state: State, actor: Actor, pull: PullRequest, users: list[Account], teams: list[Team]
) -> None:
    """Ask people and teams for a review (docs: Request reviewers for a pull request).

    Text for the author: kerthcet/github-workflow-as-kube#16.
    """
    repository = pull.repository
    if pull.author in users:
        raise unprocessable("Review cannot be requested from pull request author.")
    if any(not repository.allows(user, "read") for user in users):
        raise unprocessable(
            "Reviews may only be requested from collaborators. One or more of the users or teams "
            "you specified is not a collaborator of the "
            f"{repository.full_name} repository."
        )
    for user in users:
        if user not in pull.requested_users:
            pull.requested_users.append(user)
            fields = {"requested_reviewer": simple_user(state, user)}
            tell(state, actor, pull, "review_requested", fields)
    for one in teams:
        if one not in pull.requested_teams:
            pull.requested_teams.append(one)
            fields = {"requested_team": team(state, one)}
            tell(state, actor, pull, "review_requested", fields)


def follow_push(
    state: State, actor: Actor, repository: Repository, branch: str, tip: str | None
) -> None:
    """Let the open pull requests of a branch follow it: new head, or closed with it."""
    for pull in [p for home in state.repositories.values() for p in home.open_pulls()]:
        is_head = pull.head_repository is repository and pull.head_ref == branch
        is_base = pull.repository is repository and pull.base_ref == branch
        if is_head and tip is not None and tip != pull.head:
            _fetch(pull.repository, repository, branch)
            _synchronize(state, actor, pull, tip)
        elif tip is None and (is_head or is_base):
            close(state, actor, pull)


def _synchronize(state: State, actor: Actor, pull: PullRequest, tip: str) -> None:
    before = pull.head
    _set_head(state, pull, tip)
    pull.updated_at = state.clock()
    tell(state, actor, pull, "synchronize", {"before": before, "after": tip})
    rules = pull.repository.rules_of(pull.base_ref)
    if rules and rules.dismiss_stale:
        for review in pull.reviews:
            if review.state == "APPROVED":
                dismiss(state, actor, pull, review)


def _set_head(state: State, pull: PullRequest, tip: str) -> None:
    git = pull.repository.git
    git.write_ref(f"refs/pull/{pull.number}/head", tip, git.ref(f"refs/pull/{pull.number}/head"))
    pull.head = tip
    pull.base = pull.repository.head(pull.base_ref) or pull.base
    pull.unknown_mergeability = state.mergeability_lag


def associated(repository: Repository, commit: str) -> list[PullRequest]:
    """Return the merged ones that introduced a commit; off the default branch open ones too.

    Docs: REST "List pull requests associated with a commit"; GraphQL
    ``Commit.associatedPullRequests``.
    """
    tip = repository.head(repository.default_branch)
    on_default = tip is not None and repository.git.is_ancestor(commit, tip)
    found = []
    for pull in repository.pulls.values():
        brought = pull.merged and commit in {pull.merge_commit, *pull.final_commits}
        waits = pull.state == "open" and repository.git.is_ancestor(commit, pull.head)
        if brought or (waits and not on_default):
            found.append(pull)
    return found
