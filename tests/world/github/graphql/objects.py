"""GitHub's GraphQL objects, as far as the world has them (names as in the public schema)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.world.github.behaviour import mergeability
from tests.world.github.behaviour.pulls import associated
from tests.world.github.clock import stamp, stamp_or_none
from tests.world.github.errors import ApiError
from tests.world.github.gitstore import Signature, TreeEntry
from tests.world.github.permissions import INTEGRATION, Principal, permit
from tests.world.github.records import Account, PullRequest, Repository, Review
from tests.world.github.state import State
from tests.world.github.views.pulls import Mergeability
from tests.world.github.views.repositories import html_url

Json = dict[str, Any]

INTERFACES = {"Node", "GitObject", "Actor", "UniformResourceLocatable", "RepositoryOwner"}
"""Type conditions that hold for any object that is asked."""


class GraphqlError(Exception):
    """One entry of ``errors``: ``type`` and message."""

    def __init__(self, kind: str, message: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.kind, self.message = kind, message


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks, and of what state."""

    state: State
    principal: Principal

    def repository(self, full_name: str, need: str) -> Repository:
        """Return a repository if the viewer holds ``need`` there."""
        try:
            found = self.state.repository(full_name)
            permit(self.principal, (need,), found, None)
        except ApiError as error:
            if error.status == 404:
                raise GraphqlError(
                    "NOT_FOUND", f"Could not resolve to a Repository with the name '{full_name}'."
                ) from error
            raise GraphqlError("FORBIDDEN", INTEGRATION) from error
        return found

    def repository_by_id(self, node_id: str, need: str) -> Repository:
        """Return the repository with a global node id."""
        for one in self.state.repositories.values():
            if one.node_id == node_id:
                return self.repository(one.full_name, need)
        raise unresolved(node_id)

    def pull_by_id(self, node_id: str, need: str) -> PullRequest:
        """Return the pull request with a global node id."""
        for repository in self.state.repositories.values():
            for pull in repository.pulls.values():
                if pull.node_id == node_id:
                    self.repository(repository.full_name, need)
                    return pull
        raise unresolved(node_id)


def unresolved(node_id: str) -> GraphqlError:
    """Return the error for an id that names nothing."""
    return GraphqlError(
        "NOT_FOUND", f"Could not resolve to a node with the global id of '{node_id}'"
    )


def queries(viewer: Viewer) -> Json:
    """Return the root object of queries."""

    def one_repository(owner: str, name: str, **_: object) -> Json:
        found = viewer.repository(f"{owner}/{name}", "metadata:read")
        return repository(viewer, found)

    def node(id: str) -> Json:  # noqa: A002 - the argument's name in GitHub's schema
        if id.startswith("PR_"):
            return pull(viewer, viewer.pull_by_id(id, "pull_requests:read"))
        return repository(viewer, viewer.repository_by_id(id, "metadata:read"))

    return {
        "__typename": "Query",
        "viewer": actor(viewer, viewer.principal.actor.account),
        "repository": one_repository,
        "node": node,
    }


def connection(items: Sequence[Json]) -> Json:
    """Return a connection with everything on its first page."""
    return {
        "nodes": list(items),
        "edges": [{"node": item, "cursor": str(n)} for n, item in enumerate(items)],
        "totalCount": len(items),
        "pageInfo": {
            "hasNextPage": False,
            "hasPreviousPage": False,
            "endCursor": None,
            "startCursor": None,
        },
    }


def actor(viewer: Viewer, account: Account) -> Json:
    """Return an account."""
    return {
        "__typename": account.type,
        "id": account.node_id,
        "databaseId": account.id,
        "login": account.login,
        "avatarUrl": f"{viewer.state.web}/avatars/{account.id}",
        "resourcePath": f"/{account.login}",
        "url": f"{viewer.state.web}/{account.login}",
    }


def repository(viewer: Viewer, found: Repository) -> Json:
    """Return a repository."""

    def one_ref(qualifiedName: str) -> Json | None:  # noqa: N803 - GitHub's name
        full = qualifiedName if qualifiedName.startswith("refs/") else f"refs/heads/{qualifiedName}"
        return ref(viewer, found, full)

    def one_object(expression: str | None = None, oid: str | None = None) -> Json | None:
        return git_object(viewer, found, oid or expression or "")

    def one_pull(number: int) -> Json:
        if number not in found.pulls:
            raise GraphqlError(
                "NOT_FOUND",
                f"Could not resolve to a PullRequest with the number of {number}.",
            )
        return pull(viewer, found.pulls[number])

    def pulls(
        states: list[str] | str | None = None,
        headRefName: str | None = None,  # noqa: N803 - GitHub's name
        baseRefName: str | None = None,  # noqa: N803 - GitHub's name
        **_: object,
    ) -> Json:
        wanted = [states] if isinstance(states, str) else states
        return connection(
            [
                pull(viewer, one)
                for one in found.pulls.values()
                if (wanted is None or _pull_state(one) in wanted)
                and headRefName in {None, one.head_ref}
                and baseRefName in {None, one.base_ref}
            ]
        )

    return {
        "__typename": "Repository",
        "id": found.node_id,
        "databaseId": found.id,
        "name": found.name,
        "nameWithOwner": found.full_name,
        "owner": actor(viewer, found.owner),
        "url": html_url(viewer.state, found),
        "isPrivate": found.private,
        "isArchived": found.archived,
        "isFork": False,
        "autoMergeAllowed": True,
        "mergeCommitAllowed": "merge" in found.merge_methods,
        "squashMergeAllowed": "squash" in found.merge_methods,
        "rebaseMergeAllowed": "rebase" in found.merge_methods,
        "defaultBranchRef": lambda: ref(viewer, found, f"refs/heads/{found.default_branch}"),
        "ref": one_ref,
        "object": one_object,
        "pullRequest": one_pull,
        "pullRequests": pulls,
    }


def ref(viewer: Viewer, found: Repository, full: str) -> Json | None:
    """Return a ref by its full name, null where there is none."""
    target = found.git.ref(full)
    if target is None:
        return None
    prefix = "refs/tags/" if full.startswith("refs/tags/") else "refs/heads/"
    return {
        "__typename": "Ref",
        "id": "REF_" + base64.urlsafe_b64encode(f"{found.id}:{full}".encode()).decode(),
        "name": full.removeprefix(prefix),
        "prefix": prefix,
        "target": lambda: commit(viewer, found, target),
        "repository": lambda: repository(viewer, found),
    }


def git_object(viewer: Viewer, found: Repository, expression: str) -> Json | None:
    """Return what a Git revision expression names, e.g. ``main:envs/dev/kustomization.yaml``."""
    name, colon, path = expression.partition(":")
    at = found.git.resolve(name)
    if at is None:
        return _by_id(found, expression)
    if not colon:
        return commit(viewer, found, at)
    entry = found.git.entry(at, path.strip("/"))
    return None if entry is None else _entry_object(found, entry)


def _by_id(found: Repository, oid: str) -> Json | None:
    kind = found.git.type_of(oid)
    if kind == "tree":
        return _tree(found, oid)
    return _blob(found, oid) if kind == "blob" else None


def _entry_object(found: Repository, entry: TreeEntry) -> Json:
    return _tree(found, entry.id) if entry.type == "tree" else _blob(found, entry.id)


def _blob(found: Repository, oid: str) -> Json:
    content = found.git.blob(oid)
    binary = b"\0" in content
    return {
        "__typename": "Blob",
        "id": f"B_{oid}",
        "oid": oid,
        "byteSize": len(content),
        "isBinary": binary,
        "isTruncated": False,
        "text": None if binary else content.decode(errors="replace"),
    }


def _tree(found: Repository, oid: str) -> Json:
    def entry(one: TreeEntry) -> Json:
        return {
            "__typename": "TreeEntry",
            "name": one.path.rpartition("/")[2],
            "path": one.path,
            "type": one.type,
            "mode": int(one.mode, 8),
            "oid": one.id,
            "object": lambda: _entry_object(found, one),
        }

    return {
        "__typename": "Tree",
        "id": f"T_{oid}",
        "oid": oid,
        "entries": lambda: [entry(one) for one in found.git.entries(oid)],
    }


_SIGNATURE = {
    "__typename": "GpgSignature",
    "isValid": True,
    "state": "VALID",
    "wasSignedByGitHub": True,
}


def commit(viewer: Viewer, found: Repository, oid: str) -> Json:
    """Return a commit."""
    read = found.git.commit(oid)
    headline, _, body = read.message.partition("\n")
    verified = oid in found.verified
    return {
        "__typename": "Commit",
        "id": f"C_{oid}",
        "oid": oid,
        "url": f"{html_url(viewer.state, found)}/commit/{oid}",
        "commitUrl": f"{html_url(viewer.state, found)}/commit/{oid}",
        "message": read.message,
        "messageHeadline": headline,
        "messageBody": body.strip(),
        "authoredDate": stamp(read.author.date),
        "committedDate": stamp(read.committer.date),
        "tree": lambda: _tree(found, read.tree),
        "parents": lambda **_: connection([commit(viewer, found, p) for p in read.parents]),
        "signature": _SIGNATURE if verified else None,
        "author": _git_actor(viewer, read.author),
        "associatedPullRequests": lambda **_: connection(
            [pull(viewer, one) for one in _associated(viewer, found, oid)]
        ),
        "repository": lambda: repository(viewer, found),
    }


def _git_actor(viewer: Viewer, signature: Signature) -> Json:
    account = viewer.state.account_of_email(signature.email)
    return {
        "__typename": "GitActor",
        "name": signature.name,
        "email": signature.email,
        "user": actor(viewer, account) if account else None,
    }


def _associated(viewer: Viewer, found: Repository, oid: str) -> list[PullRequest]:
    viewer.repository(found.full_name, "pull_requests:read")
    return associated(found, oid)


def _pull_state(found: PullRequest) -> str:
    return "MERGED" if found.merged else found.state.upper()


def pull(viewer: Viewer, found: PullRequest) -> Json:
    """Return a pull request."""
    home = found.repository
    states = {True: "MERGEABLE", False: "CONFLICTING", None: "UNKNOWN"}

    def look() -> Mergeability:
        return mergeability.look(viewer.state, found)

    wish = found.auto_merge
    return {
        "__typename": "PullRequest",
        "id": found.node_id,
        "databaseId": found.id,
        "fullDatabaseId": str(found.id),
        "number": found.number,
        "title": found.title,
        "body": found.body or "",
        "url": f"{html_url(viewer.state, home)}/pull/{found.number}",
        "state": _pull_state(found),
        "closed": found.state == "closed",
        "isDraft": found.draft,
        "merged": found.merged,
        "createdAt": stamp(found.created_at),
        "updatedAt": stamp(found.updated_at),
        "mergedAt": stamp_or_none(found.merged_at),
        "author": actor(viewer, found.author),
        "mergedBy": actor(viewer, found.merged_by) if found.merged_by else None,
        "headRefName": found.head_ref,
        "headRefOid": found.head,
        "baseRefName": found.base_ref,
        "baseRefOid": home.head(found.base_ref) or found.base,
        "headRepository": lambda: repository(viewer, found.head_repository),
        "isCrossRepository": found.head_repository is not home,
        "headRef": lambda: ref(viewer, found.head_repository, f"refs/heads/{found.head_ref}"),
        "baseRef": lambda: ref(viewer, home, f"refs/heads/{found.base_ref}"),
        "mergeCommit": lambda: (
            commit(viewer, home, found.merge_commit) if found.merge_commit else None
        ),
        "mergeable": lambda: states[look().mergeable],
        "mergeStateStatus": lambda: str(look().state).upper(),
        "autoMergeRequest": None
        if wish is None
        else {"mergeMethod": wish.method.upper(), "enabledBy": actor(viewer, wish.by)},
        "isInMergeQueue": any(entry.pull is found for entry in home.queue),
        "labels": lambda **_: connection([{"name": one.name} for one in found.labels]),
        "reviews": lambda **_: connection([_review(viewer, home, one) for one in found.reviews]),
        "repository": lambda: repository(viewer, home),
    }


def _review(viewer: Viewer, home: Repository, found: Review) -> Json:
    return {
        "__typename": "PullRequestReview",
        "databaseId": found.id,
        "state": found.state,
        "body": found.body,
        "author": actor(viewer, found.author),
        "submittedAt": stamp(found.submitted_at),
        "commit": lambda: commit(viewer, home, found.commit),
    }
