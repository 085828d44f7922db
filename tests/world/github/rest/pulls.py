"""/repos/.../pulls: pull requests, reviews, merging."""

from __future__ import annotations

from typing import Any

from tests.world.github.behaviour import conversation, mergeability, merging, pulls
from tests.world.github.errors import invalid, not_found, unprocessable
from tests.world.github.permissions import refuse_workflows
from tests.world.github.records import PullRequest, Review, Team
from tests.world.github.rest.endpoint import Answer, Call, Endpoints
from tests.world.github.views import commits, pulls as views

Json = dict[str, Any]
ENDPOINTS = Endpoints()


def _simple(call: Call, pull: PullRequest) -> Json:
    merge_commit = mergeability.look(call.state, pull).test_merge
    return views.simple(call.state, pull, merge_commit)


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/pulls", "pull_requests:read")
def list_pulls(call: Call) -> Answer:
    """List pull requests, by default the open ones, newest first."""
    query = call.query
    state = query.get("state", "open")
    found = [p for p in call.repository.pulls.values() if state in {"all", p.state}]
    if "head" in query:
        # A head without "owner:" is ignored, as on GitHub (docs: List pull requests).
        owner, colon, branch = query["head"].partition(":")
        wanted = (owner.lower(), branch)
        found = [p for p in found if not colon or _head(p) == wanted]
    if "base" in query:
        found = [p for p in found if p.base_ref == query["base"]]
    by_update = query.get("sort") == "updated"
    down = query.get("direction", "asc" if "sort" in query and by_update else "desc") == "desc"
    found.sort(key=lambda p: p.updated_at if by_update else p.created_at)
    ordered = found[::-1] if down else found
    return call.page(ordered, lambda one: _simple(call, one))


def _head(pull: PullRequest) -> tuple[str, str]:
    return pull.head_repository.owner.login.lower(), pull.head_ref


@ENDPOINTS.add("POST", "/repos/{owner}/{repo}/pulls", "pull_requests:write", people="read")
def create_pull(call: Call) -> Answer:
    """Open a pull request."""
    conversation.refuse_body("PullRequest", call.body.get("body"))
    pull = pulls.open_pull(
        call.state,
        call.actor,
        call.repository,
        title=call.field("title"),
        head=call.field("head"),
        base=call.field("base"),
        body=call.body.get("body"),
        draft=call.body.get("draft", False),
    )
    return Answer(201, pulls.shown(call.state, pull))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/pulls/{pull_number}", "pull_requests:read")
def get_pull(call: Call) -> Answer:
    """Return one pull request; a look starts the computation of ``mergeable`` (docs: ibid.)."""
    shown = pulls.shown(call.state, call.pull)
    call.pull.unknown_mergeability = max(0, call.pull.unknown_mergeability - 1)
    return Answer(body=shown)


@ENDPOINTS.add("PATCH", "/repos/{owner}/{repo}/pulls/{pull_number}", "pull_requests:write")
def update_pull(call: Call) -> Answer:
    """Change title, body, base or state."""
    pull, body = call.pull, call.body or {}
    conversation.refuse_body("PullRequest", body.get("body"))
    pulls.edit(
        call.state,
        call.actor,
        pull,
        title=body.get("title"),
        body=body.get("body"),
        base=body.get("base"),
    )
    match body.get("state"):
        case "closed":
            pulls.close(call.state, call.actor, pull)
        case "open":
            pulls.reopen(call.state, call.actor, pull)
        case None:
            pass
        case _:
            raise invalid("PullRequest", "state", "invalid")
    return Answer(body=pulls.shown(call.state, pull))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/merge", "pull_requests:read")
def is_merged(call: Call) -> Answer:
    """Answer 204 for a merged pull request, 404 for another."""
    if not call.pull.merged:
        raise not_found()
    return Answer(204)


@ENDPOINTS.add("PUT", "/repos/{owner}/{repo}/pulls/{pull_number}/merge", "contents:write")
def merge(call: Call) -> Answer:
    """Merge."""
    body = call.body or {}
    if call.pull.state == "open":
        refuse_workflows(call.principal, call.repository, call.pull.head)
    commit = merging.merge_checked(
        call.state,
        call.actor,
        call.pull,
        method=body.get("merge_method", "merge"),
        title=body.get("commit_title"),
        message=body.get("commit_message"),
        expected_head=body.get("sha"),
    )
    merged = {"sha": commit, "merged": True, "message": "Pull Request successfully merged"}
    return Answer(body=merged)


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/files", "pull_requests:read")
def list_files(call: Call) -> Answer:
    """List the changed files."""
    repository, pull = call.repository, call.pull
    changes = repository.git.difference(mergeability.merge_base_of(pull), pull.head)
    shown = commits.files(call.state, repository, changes, pull.head)
    return call.page(shown, lambda one: one)


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/commits", "pull_requests:read")
def list_commits(call: Call) -> Answer:
    """List the commits, oldest first."""
    found = mergeability.commits_of(call.pull)
    return call.page(found, lambda one: commits.commit(call.state, call.repository, one))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/reviews", "pull_requests:read")
def list_reviews(call: Call) -> Answer:
    """List the reviews, oldest first."""
    return call.page(call.pull.reviews, lambda one: views.review(call.state, call.pull, one))


@ENDPOINTS.add(
    "POST",
    "/repos/{owner}/{repo}/pulls/{pull_number}/reviews",
    "pull_requests:write",
    people="read",
)
def create_review(call: Call) -> Answer:
    """Submit a review at once (pending ones are not kept)."""
    body = call.body or {}
    review = pulls.submit_review(
        call.state,
        call.actor,
        call.pull,
        call.field("event"),
        body.get("body", ""),
        body.get("commit_id"),
    )
    return Answer(body=views.review(call.state, call.pull, review))


def _review(call: Call) -> Review:
    for one in call.pull.reviews:
        if one.id == call.number("review_id"):
            return one
    raise not_found()


@ENDPOINTS.add(
    "PUT",
    "/repos/{owner}/{repo}/pulls/{pull_number}/reviews/{review_id}/dismissals",
    "pull_requests:write",
)
def dismiss_review(call: Call) -> Answer:
    """Dismiss a review."""
    review = _review(call)
    pulls.dismiss(call.state, call.actor, call.pull, review)
    return Answer(body=views.review(call.state, call.pull, review))


@ENDPOINTS.add(
    "POST",
    "/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers",
    "pull_requests:write",
)
def request_reviewers(call: Call) -> Answer:
    """Ask for reviews."""
    body = call.body or {}
    accounts = call.state.accounts
    users = [accounts.get(login.lower()) for login in body.get("reviewers", [])]
    known = [user for user in users if user is not None]
    if len(known) != len(users):
        raise unprocessable(
            "Reviews may only be requested from collaborators. One or more of the users or teams "
            "you specified is not a collaborator of the "
            f"{call.repository.full_name} repository."
        )
    teams = [_team(call, slug) for slug in body.get("team_reviewers", [])]
    pulls.request_reviewers(call.state, call.actor, call.pull, known, teams)
    return Answer(201, _simple(call, call.pull))


def _team(call: Call, slug: str) -> Team:
    found = call.state.teams.get((call.repository.owner.login, slug))
    if found is None:
        raise unprocessable(f"Could not resolve to a node with the global id of '{slug}'")
    return found
