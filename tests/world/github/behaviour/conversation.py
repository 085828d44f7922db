"""Comments, reactions and labels of pull requests."""

from __future__ import annotations

from typing import Any

from tests.world.github.behaviour import pulls
from tests.world.github.behaviour.events import publish
from tests.world.github.errors import invalid
from tests.world.github.records import Actor, Comment, Label, PullRequest, Repository
from tests.world.github.state import State
from tests.world.github.views import pulls as views

Json = dict[str, Any]

BODY_LIMIT = 65536
"""Characters (atlantis server/events/vcs/github/client.go, ``maxCommentLength``)."""


def comment(state: State, actor: Actor, pull: PullRequest, body: str) -> Comment:
    """Write a comment."""
    refuse_body("IssueComment", body)
    now = state.clock()
    found = Comment(state.new_id(), pull, actor.account, actor.app, body, now, now)
    pull.comments.append(found)
    pull.repository.comments[found.id] = found
    _tell(state, actor, found, {"action": "created"})
    return found


def edit(state: State, actor: Actor, found: Comment, body: str) -> None:
    """Rewrite a comment; the event carries what it said before."""
    refuse_body("IssueComment", body)
    before, found.body, found.updated_at = found.body, body, state.clock()
    _tell(state, actor, found, {"action": "edited", "changes": {"body": {"from": before}}})


def delete(state: State, actor: Actor, found: Comment) -> None:
    """Delete a comment."""
    found.pull.comments.remove(found)
    del found.pull.repository.comments[found.id]
    _tell(state, actor, found, {"action": "deleted"})


def refuse_body(resource: str, body: str | None) -> None:
    """Refuse a text that is empty or too long."""
    if body is not None and len(body) > BODY_LIMIT:
        raise invalid(resource, "body", "custom", "body is too long (maximum is 65536 characters)")


def _tell(state: State, actor: Actor, found: Comment, fields: Json) -> None:
    pull = found.pull
    payload = fields | {
        "issue": views.issue(state, pull),
        "comment": views.comment(state, found),
    }
    publish(state, pull.repository, actor.account, "issue_comment", payload)


def react(
    state: State, actor: Actor, found: Comment, content: str
) -> tuple[tuple[int, Any, str, Any], bool]:
    """React to a comment; the same reaction twice is one. Returns it and whether it is new."""
    if content not in views.REACTIONS:
        raise invalid("Reaction", "content", "invalid")
    for known in found.reactions:
        if known[1] is actor.account and known[2] == content:
            return known, False
    reaction = (state.new_id(), actor.account, content, state.clock())
    found.reactions.append(reaction)
    return reaction, True


def label_named(state: State, repository: Repository, name: str) -> Label:
    """Return a label of the repository, made on first use (docs: Add labels to an issue)."""
    key = name.lower()
    if key not in repository.labels:
        repository.labels[key] = Label(state.new_id(), name)
    return repository.labels[key]


def add_labels(state: State, actor: Actor, pull: PullRequest, names: list[str]) -> None:
    """Put labels on a pull request, one event each."""
    for name in names:
        label = label_named(state, pull.repository, name)
        if label not in pull.labels:
            pull.labels.append(label)
            _tell_label(state, actor, pull, label, "labeled")


def remove_label(state: State, actor: Actor, pull: PullRequest, label: Label) -> None:
    """Take a label off a pull request."""
    pull.labels.remove(label)
    _tell_label(state, actor, pull, label, "unlabeled")


def _tell_label(state: State, actor: Actor, pull: PullRequest, label: Label, action: str) -> None:
    pull.updated_at = state.clock()
    described = views.label(state, pull.repository, label)
    pulls.tell(state, actor, pull, action, {"label": described})
