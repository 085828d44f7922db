"""Pull requests, reviews, comments and labels as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.world.github.clock import stamp, stamp_or_none
from tests.world.github.gitstore import FileDifference
from tests.world.github.records import (
    Account,
    AutoMerge,
    Comment,
    Label,
    PullRequest,
    Repository,
    Review,
    node_id,
)
from tests.world.github.state import State
from tests.world.github.views import repositories
from tests.world.github.views.accounts import simple_user, team, user_or_none
from tests.world.github.views.apps import app_or_none
from tests.world.github.views.repositories import api_url, html_url

Json = dict[str, Any]

REACTIONS = ("+1", "-1", "laugh", "confused", "heart", "hooray", "eyes", "rocket")


@dataclass(frozen=True, slots=True)
class Mergeability:
    """What GitHub's background job found out about a pull request."""

    mergeable: bool | None
    state: str
    test_merge: str | None


def label(state: State, repository: Repository, found: Label) -> Json:
    """Return a label."""
    return {
        "id": found.id,
        "node_id": node_id("LA", found.id),
        "url": f"{api_url(state, repository)}/labels/{quote(found.name)}",
        "name": found.name,
        "description": found.description,
        "color": found.color,
        "default": False,
    }


def association(repository: Repository, account: Account) -> str:
    """Return ``author_association``."""
    if account.type == "User" and account.login in repository.owner.members:
        return "MEMBER"
    return "COLLABORATOR" if account.login in repository.roles else "NONE"


def simple(state: State, pull: PullRequest, merge_commit: str | None) -> Json:
    """Return a pull request as a list has it (schema ``pull-request-simple``)."""
    repository = pull.repository
    url = f"{api_url(state, repository)}/pulls/{pull.number}"
    page = f"{html_url(state, repository)}/pull/{pull.number}"
    issue = f"{api_url(state, repository)}/issues/{pull.number}"
    links = {
        "self": url,
        "html": page,
        "issue": issue,
        "comments": f"{issue}/comments",
        "review_comments": f"{url}/comments",
        "review_comment": f"{api_url(state, repository)}/pulls/comments{{/number}}",
        "commits": f"{url}/commits",
        "statuses": f"{api_url(state, repository)}/statuses/{pull.head}",
    }
    return {
        "url": url,
        "id": pull.id,
        "node_id": pull.node_id,
        "html_url": page,
        "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch",
        "issue_url": issue,
        "commits_url": links["commits"],
        "review_comments_url": links["review_comments"],
        "review_comment_url": links["review_comment"],
        "comments_url": links["comments"],
        "statuses_url": links["statuses"],
        "number": pull.number,
        "state": pull.state,
        "locked": False,
        "active_lock_reason": None,
        "title": pull.title,
        "user": simple_user(state, pull.author),
        "body": pull.body,
        "labels": [label(state, repository, one) for one in pull.labels],
        "milestone": None,
        "created_at": stamp(pull.created_at),
        "updated_at": stamp(pull.updated_at),
        "closed_at": stamp_or_none(pull.closed_at),
        "merged_at": stamp_or_none(pull.merged_at),
        "merge_commit_sha": merge_commit,
        "assignee": None,
        "assignees": [],
        "requested_reviewers": [simple_user(state, one) for one in pull.requested_users],
        "requested_teams": [team(state, one) for one in pull.requested_teams],
        "head": _side(state, pull.head_repository, pull.head_ref, pull.head),
        "base": _side(state, repository, pull.base_ref, pull.base),
        "_links": {name: {"href": href} for name, href in links.items()},
        "author_association": association(repository, pull.author),
        "auto_merge": _auto_merge(state, pull.auto_merge),
        "draft": pull.draft,
    }


def full(
    state: State,
    pull: PullRequest,
    mergeability: Mergeability,
    commits: int,
    changes: list[FileDifference],
) -> Json:
    """Return a pull request alone (schema ``pull-request``)."""
    return simple(state, pull, mergeability.test_merge) | {
        "merged": pull.merged,
        "mergeable": mergeability.mergeable,
        "rebaseable": mergeability.mergeable,
        "mergeable_state": mergeability.state,
        "merged_by": user_or_none(state, pull.merged_by),
        "comments": len(pull.comments),
        "review_comments": 0,
        "maintainer_can_modify": False,
        "commits": commits,
        "additions": sum(c.additions for c in changes),
        "deletions": sum(c.deletions for c in changes),
        "changed_files": len(changes),
    }


def minimal(state: State, pull: PullRequest) -> Json:
    """Return a pull request as check runs list it (schema ``pull-request-minimal``)."""
    home, away = _place(state, pull.repository), _place(state, pull.head_repository)
    return {
        "id": pull.id,
        "number": pull.number,
        "url": f"{home['url']}/pulls/{pull.number}",
        "head": {"ref": pull.head_ref, "sha": pull.head, "repo": away},
        "base": {"ref": pull.base_ref, "sha": pull.base, "repo": home},
    }


def _place(state: State, repository: Repository) -> Json:
    return {"id": repository.id, "url": api_url(state, repository), "name": repository.name}


def _side(state: State, repository: Repository, ref: str, commit: str) -> Json:
    return {
        "label": f"{repository.owner.login}:{ref}",
        "ref": ref,
        "sha": commit,
        "user": simple_user(state, repository.owner),
        "repo": repositories.identity(state, repository),
    }


def _auto_merge(state: State, wish: AutoMerge | None) -> Json | None:
    if wish is None:
        return None
    return {
        "enabled_by": simple_user(state, wish.by),
        "merge_method": wish.method,
        "commit_title": wish.title or "",
        "commit_message": wish.message or "",
    }


def review(state: State, pull: PullRequest, found: Review) -> Json:
    """Return a review."""
    url = f"{api_url(state, pull.repository)}/pulls/{pull.number}"
    page = f"{html_url(state, pull.repository)}/pull/{pull.number}"
    anchor = f"{page}#pullrequestreview-{found.id}"
    return {
        "id": found.id,
        "node_id": node_id("PRR", found.id),
        "user": simple_user(state, found.author),
        "body": found.body,
        "state": found.state,
        "html_url": anchor,
        "pull_request_url": url,
        "_links": {"html": {"href": anchor}, "pull_request": {"href": url}},
        "submitted_at": stamp(found.submitted_at),
        "commit_id": found.commit,
        "author_association": association(pull.repository, found.author),
    }


def comment(state: State, found: Comment) -> Json:
    """Return a comment on the conversation of a pull request (schema ``issue-comment``)."""
    pull = found.pull
    url = f"{api_url(state, pull.repository)}/issues/comments/{found.id}"
    page = f"{html_url(state, pull.repository)}/pull/{pull.number}"
    return {
        "id": found.id,
        "node_id": node_id("IC", found.id),
        "url": url,
        "html_url": f"{page}#issuecomment-{found.id}",
        "issue_url": f"{api_url(state, pull.repository)}/issues/{pull.number}",
        "body": found.body,
        "user": simple_user(state, found.author),
        "created_at": stamp(found.created_at),
        "updated_at": stamp(found.updated_at),
        "author_association": association(pull.repository, found.author),
        "performed_via_github_app": app_or_none(state, found.app),
        "reactions": _reactions(f"{url}/reactions", [r[2] for r in found.reactions]),
    }


def reaction(state: State, found: tuple[int, Account, str, Any]) -> Json:
    """Return one reaction."""
    number, who, content, when = found
    return {
        "id": number,
        "node_id": node_id("REA", number),
        "user": simple_user(state, who),
        "content": content,
        "created_at": stamp(when),
    }


def _reactions(url: str, contents: list[str]) -> Json:
    counts = {name: contents.count(name) for name in REACTIONS}
    return {"url": url, "total_count": len(contents), **counts}


def issue(state: State, pull: PullRequest) -> Json:
    """Return the issue that every pull request also is (schema ``issue``)."""
    repository = pull.repository
    url = f"{api_url(state, repository)}/issues/{pull.number}"
    page = f"{html_url(state, repository)}/pull/{pull.number}"
    return {
        "id": pull.id,
        "node_id": pull.node_id,
        "url": url,
        "repository_url": api_url(state, repository),
        "labels_url": f"{url}/labels{{/name}}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "timeline_url": f"{url}/timeline",
        "html_url": page,
        "number": pull.number,
        "state": pull.state,
        "state_reason": None,
        "title": pull.title,
        "body": pull.body,
        "user": simple_user(state, pull.author),
        "labels": [label(state, repository, one) for one in pull.labels],
        "assignee": None,
        "assignees": [],
        "milestone": None,
        "locked": False,
        "active_lock_reason": None,
        "comments": len(pull.comments),
        "pull_request": {
            "url": f"{api_url(state, repository)}/pulls/{pull.number}",
            "html_url": page,
            "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch",
            "merged_at": stamp_or_none(pull.merged_at),
        },
        "closed_at": stamp_or_none(pull.closed_at),
        "created_at": stamp(pull.created_at),
        "updated_at": stamp(pull.updated_at),
        "draft": pull.draft,
        "closed_by": user_or_none(state, pull.closed_by),
        "author_association": association(repository, pull.author),
        "performed_via_github_app": None,
        "reactions": _reactions(f"{url}/reactions", []),
    }
