"""GitHub's GraphQL mutations, as far as the world has them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from tests.world.github.behaviour import mergeability, merging, pulls, refs
from tests.world.github.clock import stamp
from tests.world.github.gitstore import WEB_FLOW, FileChanges, Signature
from tests.world.github.graphql import objects
from tests.world.github.graphql.objects import GraphqlError, Viewer
from tests.world.github.permissions import refuse_workflows
from tests.world.github.records import AutoMerge, PullRequest, Repository

Json = dict[str, Any]


def create_ref(viewer: Viewer, wish: Json) -> Json:
    """Create a ref (docs: Mutations, createRef).

    Text for a name below an existing branch: microsoft/vscode-remote-repositories-github#122.
    """
    repository, name = viewer.repository_by_id(wish["repositoryId"], "contents:write"), wish["name"]
    if repository.git.ref(name):
        message = f'A ref named "{name}" already exists in the repository.'
        raise GraphqlError("UNPROCESSABLE", message)
    if refs.collides(repository, name):
        raise GraphqlError("UNPROCESSABLE", "Ref cannot be created.")
    refuse_workflows(viewer.principal, repository, wish["oid"])
    refs.create(viewer.state, viewer.principal.actor, repository, name, wish["oid"])
    return _payload(wish, ref=objects.ref(viewer, repository, wish["name"]))


def create_commit(viewer: Viewer, wish: Json) -> Json:
    """Append a commit to a branch, if its head is still the expected one.

    docs: Mutations, createCommitOnBranch. The author is the caller, GitHub signs. Type and text of
    the stale error, both blanks included: ministryofjustice/modernisation-platform#11985.
    """
    repository, branch = _branch(viewer, wish["branch"])
    before = repository.head(branch)
    if before is None:
        raise GraphqlError("NOT_FOUND", f'Branch "{branch}" could not be found.')
    expected = wish["expectedHeadOid"]
    if before != expected:
        raise GraphqlError(
            "STALE_DATA",
            f'Expected branch to point to "{expected}" but it did not.  Pull and try again.',
        )
    refs.refuse_protected(viewer.principal.actor, repository, f"refs/heads/{branch}")
    tree = _edited(repository, before, wish.get("fileChanges") or {})
    now = viewer.state.clock()
    message = wish["message"]
    text = message["headline"] + (f"\n\n{message['body']}" if message.get("body") else "")
    actor = viewer.principal.actor
    commit = repository.git.write_commit(
        tree, (before,), text, actor.account.signature(now), Signature(*WEB_FLOW, now)
    )
    refuse_workflows(viewer.principal, repository, commit)
    repository.verified.add(commit)
    refs.advance(viewer.state, actor, repository, branch, before, commit)
    return _payload(
        wish,
        commit=objects.commit(viewer, repository, commit),
        ref=objects.ref(viewer, repository, f"refs/heads/{branch}"),
    )


def _branch(viewer: Viewer, wish: Json) -> tuple[Repository, str]:
    """Find the branch by (repository, name) or by its global id (CommittableBranch)."""
    if "id" not in wish:
        repository = viewer.repository(wish["repositoryNameWithOwner"], "contents:write")
        return repository, wish["branchName"].removeprefix("refs/heads/")
    number, _, name = base64.urlsafe_b64decode(wish["id"][4:]).decode().partition(":")
    for one in viewer.state.repositories.values():
        if str(one.id) == number:
            repository = viewer.repository(one.full_name, "contents:write")
            return repository, name.removeprefix("refs/heads/")
    raise objects.unresolved(wish["id"])


def _edited(repository: Repository, before: str, changes: Json) -> str:
    files: FileChanges = {}
    for addition in changes.get("additions") or []:
        try:
            files[addition["path"]] = base64.b64decode(addition["contents"], validate=True)
        except binascii.Error as error:
            raise GraphqlError("UNPROCESSABLE", "contents is not valid base64") from error
    tree = repository.git.commit(before).tree
    for deletion in changes.get("deletions") or []:
        if repository.git.entry(tree, deletion["path"]) is None:
            message = (
                "A path was requested for deletion which does not exist as of commit oid "
                f"`{before}`"
            )
            raise GraphqlError("UNPROCESSABLE", message)
        files[deletion["path"]] = None
    return repository.git.with_files(tree, files)


def create_pull(viewer: Viewer, wish: Json) -> Json:
    """Open a pull request."""
    repository = viewer.repository_by_id(wish["repositoryId"], "pull_requests:write")
    pull = pulls.open_pull(
        viewer.state,
        viewer.principal.actor,
        repository,
        title=wish["title"],
        head=wish["headRefName"].removeprefix("refs/heads/"),
        base=wish["baseRefName"].removeprefix("refs/heads/"),
        body=wish.get("body"),
        draft=wish.get("draft") or False,
    )
    return _pull_payload(viewer, wish, pull)


def update_pull(viewer: Viewer, wish: Json) -> Json:
    """Change title, body, base or state."""
    pull, actor = _pull(viewer, wish), viewer.principal.actor
    pulls.edit(
        viewer.state,
        actor,
        pull,
        title=wish.get("title"),
        body=wish.get("body"),
        base=wish.get("baseRefName"),
    )
    if wish.get("state") == "CLOSED":
        pulls.close(viewer.state, actor, pull)
    elif wish.get("state") == "OPEN":
        pulls.reopen(viewer.state, actor, pull)
    return _pull_payload(viewer, wish, pull)


def enable_auto_merge(viewer: Viewer, wish: Json) -> Json:
    """Merge when the rules allow it; refused where they do already.

    Text, the doubled word included: peter-evans/enable-pull-request-automerge#343.
    """
    pull = _pull(viewer, wish)
    _refuse_stale(pull, wish)
    if not mergeability.blockers(pull):
        raise GraphqlError("UNPROCESSABLE", "Pull request Pull request is in clean status")
    merging.enable_auto_merge(
        viewer.state,
        pull,
        AutoMerge(
            viewer.principal.actor.account,
            wish.get("mergeMethod", "MERGE").lower(),
            wish.get("commitHeadline"),
            wish.get("commitBody"),
        ),
    )
    return _pull_payload(viewer, wish, pull)


def disable_auto_merge(viewer: Viewer, wish: Json) -> Json:
    """Take the wish back."""
    pull = _pull(viewer, wish)
    pull.auto_merge = None
    return _pull_payload(viewer, wish, pull)


def enqueue(viewer: Viewer, wish: Json) -> Json:
    """Put a pull request into the merge queue (docs: Mutations, enqueuePullRequest)."""
    pull = _pull(viewer, wish)
    _refuse_stale(pull, wish)
    rules = pull.repository.rules_of(pull.base_ref)
    if rules is None or not rules.merge_queue:
        raise GraphqlError("UNPROCESSABLE", "Merge queue is not enabled for this branch")
    if any(entry.pull is pull for entry in pull.repository.queue):
        raise GraphqlError("UNPROCESSABLE", "Pull request is already in the queue")
    entry = merging.enqueue(viewer.state, viewer.principal.actor, pull)
    shown = {
        "__typename": "MergeQueueEntry",
        "id": f"MQE_{entry.id}",
        "position": len(pull.repository.queue),
        "state": "QUEUED",
        "enqueuedAt": stamp(entry.enqueued_at),
        "pullRequest": objects.pull(viewer, pull),
        "headCommit": objects.commit(viewer, pull.repository, entry.head),
    }
    return _payload(wish, mergeQueueEntry=shown)


def convert_to_draft(viewer: Viewer, wish: Json) -> Json:
    """Make it a draft."""
    pull = _pull(viewer, wish)
    pulls.set_draft(viewer.state, viewer.principal.actor, pull, draft=True)
    return _pull_payload(viewer, wish, pull)


def mark_ready(viewer: Viewer, wish: Json) -> Json:
    """Make it ready for review."""
    pull = _pull(viewer, wish)
    pulls.set_draft(viewer.state, viewer.principal.actor, pull, draft=False)
    return _pull_payload(viewer, wish, pull)


def _pull(viewer: Viewer, wish: Json) -> PullRequest:
    return viewer.pull_by_id(wish["pullRequestId"], "pull_requests:write")


def _refuse_stale(pull: PullRequest, wish: Json) -> None:
    expected = wish.get("expectedHeadOid")
    if expected is not None and expected != pull.head:
        raise GraphqlError("STALE_DATA", "Head sha didn't match expected head OID")


def _payload(wish: Json, **fields: object) -> Json:
    return {"clientMutationId": wish.get("clientMutationId"), **fields}


def _pull_payload(viewer: Viewer, wish: Json, pull: PullRequest) -> Json:
    actor = objects.actor(viewer, viewer.principal.actor.account)
    return _payload(wish, pullRequest=objects.pull(viewer, pull), actor=actor)


MUTATIONS: dict[str, Callable[[Viewer, Json], Json]] = {
    "createRef": create_ref,
    "createCommitOnBranch": create_commit,
    "createPullRequest": create_pull,
    "updatePullRequest": update_pull,
    "enablePullRequestAutoMerge": enable_auto_merge,
    "disablePullRequestAutoMerge": disable_auto_merge,
    "enqueuePullRequest": enqueue,
    "convertPullRequestToDraft": convert_to_draft,
    "markPullRequestReadyForReview": mark_ready,
}
