"""/repos/.../issues: the conversation of pull requests, labels, reactions."""

from __future__ import annotations

from typing import Any

from tests.world.github.behaviour import conversation
from tests.world.github.errors import ApiError, not_found
from tests.world.github.records import Comment, Label, PullRequest
from tests.world.github.rest.endpoint import Answer, Call, Endpoints
from tests.world.github.rest.times import moment
from tests.world.github.views import pulls as views

Json = dict[str, Any]
ENDPOINTS = Endpoints()

READ = ("issues:read", "pull_requests:read")
WRITE = ("issues:write", "pull_requests:write")
"""Either does, where the issue is a pull request (docs: Permissions required for GitHub Apps)."""


def _pull(call: Call) -> PullRequest:
    return call.repository.pull(call.number("issue_number"))


def _comment(call: Call) -> Comment:
    found = call.repository.comments.get(call.number("comment_id"))
    if found is None:
        raise not_found()
    return found


def _labels(call: Call, labels: list[Label]) -> list[Json]:
    return [views.label(call.state, call.repository, one) for one in labels]


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/issues/{issue_number}", "issues:read")
def get_issue(call: Call) -> Answer:
    """Return the issue that a pull request also is."""
    return Answer(body=views.issue(call.state, _pull(call)))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/issues/{issue_number}/comments", *READ)
def list_comments(call: Call) -> Answer:
    """List comments, oldest first; ``since`` looks at the last update."""
    found = _pull(call).comments
    if "since" in call.query:
        since = moment(call.query["since"])
        found = [one for one in found if one.updated_at >= since]
    return call.page(found, lambda one: views.comment(call.state, one))


@ENDPOINTS.add(
    "POST", "/repos/{owner}/{repo}/issues/{issue_number}/comments", *WRITE, people="read"
)
def create_comment(call: Call) -> Answer:
    """Write a comment."""
    made = conversation.comment(call.state, call.actor, _pull(call), call.field("body"))
    return Answer(201, views.comment(call.state, made))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/issues/comments/{comment_id}", *READ)
def get_comment(call: Call) -> Answer:
    """Return one comment."""
    return Answer(body=views.comment(call.state, _comment(call)))


@ENDPOINTS.add("PATCH", "/repos/{owner}/{repo}/issues/comments/{comment_id}", *WRITE)
def update_comment(call: Call) -> Answer:
    """Rewrite a comment."""
    found = _comment(call)
    conversation.edit(call.state, call.actor, found, call.field("body"))
    return Answer(body=views.comment(call.state, found))


@ENDPOINTS.add("DELETE", "/repos/{owner}/{repo}/issues/comments/{comment_id}", *WRITE)
def delete_comment(call: Call) -> Answer:
    """Delete a comment."""
    conversation.delete(call.state, call.actor, _comment(call))
    return Answer(204)


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions", *READ)
def list_reactions(call: Call) -> Answer:
    """List the reactions to a comment."""
    return call.page(_comment(call).reactions, lambda one: views.reaction(call.state, one))


@ENDPOINTS.add(
    "POST",
    "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions",
    "pull_requests:write",
    people="read",
)
def create_reaction(call: Call) -> Answer:
    """React to a comment: 201 for a new reaction, 200 for one that is there.

    The documentation asks for ``issues``; what counts is the comment's parent, a pull request
    (tried out in MakieOrg/Makie.jl#5644).
    """
    content = call.field("content")
    reaction, new = conversation.react(call.state, call.actor, _comment(call), content)
    return Answer(201 if new else 200, views.reaction(call.state, reaction))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/issues/{issue_number}/labels", *READ)
def list_labels(call: Call) -> Answer:
    """List the labels of a pull request."""
    return Answer(body=_labels(call, _pull(call).labels))


@ENDPOINTS.add("POST", "/repos/{owner}/{repo}/issues/{issue_number}/labels", *WRITE)
def add_labels(call: Call) -> Answer:
    """Add labels; a bare list is taken too, though the description only knows the object."""
    names = call.body if isinstance(call.body, list) else call.field("labels")
    pull = _pull(call)
    conversation.add_labels(call.state, call.actor, pull, names)
    return Answer(body=_labels(call, pull.labels))


@ENDPOINTS.add("DELETE", "/repos/{owner}/{repo}/issues/{issue_number}/labels/{name}", *WRITE)
def remove_label(call: Call) -> Answer:
    """Take a label off."""
    pull = _pull(call)
    label = next((one for one in pull.labels if one.name == call.path["name"]), None)
    if label is None:
        raise ApiError(404, "Label does not exist")
    conversation.remove_label(call.state, call.actor, pull, label)
    return Answer(body=_labels(call, pull.labels))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/labels", *READ)
def list_repository_labels(call: Call) -> Answer:
    """List the labels of the repository."""
    found = list(call.repository.labels.values())
    return call.page(found, lambda one: views.label(call.state, call.repository, one))


@ENDPOINTS.add("POST", "/repos/{owner}/{repo}/labels", *WRITE)
def create_label(call: Call) -> Answer:
    """Create a label."""
    name = call.field("name")
    if name.lower() in call.repository.labels:
        exists = {"resource": "Label", "code": "already_exists", "field": "name"}
        raise ApiError(422, "Validation Failed", [exists])
    label = conversation.label_named(call.state, call.repository, name)
    label.color = call.body.get("color", label.color)
    label.description = call.body.get("description") or ""
    return Answer(201, views.label(call.state, call.repository, label))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/labels/{name}", *READ)
def get_label(call: Call) -> Answer:
    """Return one label."""
    found = call.repository.labels.get(call.path["name"].lower())
    if found is None:
        raise not_found()
    return Answer(body=views.label(call.state, call.repository, found))
