"""Repositories as JSON (octokit schemas repository, full-repository, minimal-repository)."""

from __future__ import annotations

from typing import Any

from tests.world.github.clock import stamp
from tests.world.github.records import Repository
from tests.world.github.state import State
from tests.world.github.views.accounts import simple_user, webhook_organization

Json = dict[str, Any]

_LINKS = {
    "archive_url": "{archive_format}{/ref}",
    "assignees_url": "assignees{/user}",
    "blobs_url": "git/blobs{/sha}",
    "branches_url": "branches{/branch}",
    "collaborators_url": "collaborators{/collaborator}",
    "comments_url": "comments{/number}",
    "commits_url": "commits{/sha}",
    "compare_url": "compare/{base}...{head}",
    "contents_url": "contents/{+path}",
    "contributors_url": "contributors",
    "deployments_url": "deployments",
    "downloads_url": "downloads",
    "events_url": "events",
    "forks_url": "forks",
    "git_commits_url": "git/commits{/sha}",
    "git_refs_url": "git/refs{/sha}",
    "git_tags_url": "git/tags{/sha}",
    "hooks_url": "hooks",
    "issue_comment_url": "issues/comments{/number}",
    "issue_events_url": "issues/events{/number}",
    "issues_url": "issues{/number}",
    "keys_url": "keys{/key_id}",
    "labels_url": "labels{/name}",
    "languages_url": "languages",
    "merges_url": "merges",
    "milestones_url": "milestones{/number}",
    "notifications_url": "notifications{?since,all,participating}",
    "pulls_url": "pulls{/number}",
    "releases_url": "releases{/id}",
    "stargazers_url": "stargazers",
    "statuses_url": "statuses/{sha}",
    "subscribers_url": "subscribers",
    "subscription_url": "subscription",
    "tags_url": "tags",
    "teams_url": "teams",
    "trees_url": "git/trees{/sha}",
}


def api_url(state: State, repository: Repository) -> str:
    """Return the REST address of a repository."""
    return f"{state.api}/repos/{repository.full_name}"


def html_url(state: State, repository: Repository) -> str:
    """Return the web address of a repository."""
    return f"{state.web}/{repository.full_name}"


def identity(state: State, repository: Repository) -> Json:
    """Return a repository as it stands inside other objects (schema ``repository``)."""
    url, page = api_url(state, repository), html_url(state, repository)
    open_pulls = sum(1 for _ in repository.open_pulls())
    return {
        "id": repository.id,
        "node_id": repository.node_id,
        "name": repository.name,
        "full_name": repository.full_name,
        "owner": simple_user(state, repository.owner),
        "private": repository.private,
        "html_url": page,
        "description": None,
        "fork": repository.parent is not None,
        "url": url,
        **{name: f"{url}/{path}" for name, path in _LINKS.items()},
        "git_url": page.replace("http://", "git://") + ".git",
        "ssh_url": f"git@localhost:{repository.full_name}.git",
        "clone_url": page + ".git",
        "svn_url": page,
        "mirror_url": None,
        "homepage": None,
        "language": None,
        "license": None,
        "forks": 0,
        "forks_count": 0,
        "stargazers_count": 0,
        "watchers": 0,
        "watchers_count": 0,
        "size": 0,
        "default_branch": repository.default_branch,
        "open_issues": open_pulls,
        "open_issues_count": open_pulls,
        "is_template": False,
        "topics": [],
        "has_issues": True,
        "has_projects": False,
        "has_wiki": False,
        "has_pages": False,
        "has_downloads": False,
        "has_discussions": False,
        "archived": repository.archived,
        "disabled": False,
        "visibility": "private" if repository.private else "public",
        "web_commit_signoff_required": False,
        "allow_forking": True,
        "pushed_at": stamp(repository.pushed_at),
        "created_at": stamp(repository.created_at),
        "updated_at": stamp(repository.updated_at),
    }


def full(state: State, repository: Repository) -> Json:
    """Return a repository alone (schema ``full-repository``)."""
    return identity(state, repository) | {
        "permissions": {"admin": False, "push": True, "pull": True},
        "allow_rebase_merge": "rebase" in repository.merge_methods,
        "allow_squash_merge": "squash" in repository.merge_methods,
        "allow_merge_commit": "merge" in repository.merge_methods,
        "allow_auto_merge": True,
        "delete_branch_on_merge": repository.delete_branch_on_merge,
        "subscribers_count": 0,
        "network_count": 0,
        "organization": simple_user(state, repository.owner),
    }


def in_push(state: State, repository: Repository) -> Json:
    """Return a repository as a push webhook has it: two times are Unix seconds, more owner."""
    owner = repository.owner
    return identity(state, repository) | {
        "created_at": int(repository.created_at.timestamp()),
        "pushed_at": int(repository.pushed_at.timestamp()),
        "owner": simple_user(state, owner) | {"name": owner.login, "email": None},
        "organization": owner.login,
        "master_branch": repository.default_branch,
        "stargazers": 0,
    }


def organization(state: State, repository: Repository) -> Json | None:
    """Return the organization that a webhook names; null for a person's repository."""
    owner = repository.owner
    return webhook_organization(state, owner) if owner.type == "Organization" else None
