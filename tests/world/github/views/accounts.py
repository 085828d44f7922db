"""Accounts, organizations and teams as JSON (octokit schemas simple-user, public-user, team...)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.world.github.clock import stamp
from tests.world.github.records import Account, Team, node_id
from tests.world.github.state import State

Json = dict[str, Any]


def simple_user(state: State, account: Account) -> Json:
    """Return an account as it stands inside other objects."""
    name = quote(account.login)
    url = f"{state.api}/users/{name}"
    page = f"apps/{account.login.removesuffix('[bot]')}" if account.type == "Bot" else name
    return {
        "login": account.login,
        "id": account.id,
        "node_id": account.node_id,
        "avatar_url": f"{state.web}/avatars/{account.id}",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{state.web}/{page}",
        "followers_url": f"{url}/followers",
        "following_url": f"{url}/following{{/other_user}}",
        "gists_url": f"{url}/gists{{/gist_id}}",
        "starred_url": f"{url}/starred{{/owner}}{{/repo}}",
        "subscriptions_url": f"{url}/subscriptions",
        "organizations_url": f"{url}/orgs",
        "repos_url": f"{url}/repos",
        "events_url": f"{url}/events{{/privacy}}",
        "received_events_url": f"{url}/received_events",
        "type": account.type,
        "site_admin": False,
    }


def user_or_none(state: State, account: Account | None) -> Json | None:
    """Return an account, null where there is none."""
    return None if account is None else simple_user(state, account)


def public_user(state: State, account: Account) -> Json:
    """Return the profile of an account."""
    return simple_user(state, account) | {
        "name": account.login.capitalize(),
        "company": None,
        "blog": None,
        "location": None,
        "email": None,
        "hireable": None,
        "bio": None,
        "public_repos": 0,
        "public_gists": 0,
        "followers": 0,
        "following": 0,
        "created_at": stamp(account.created_at),
        "updated_at": stamp(account.created_at),
    }


def webhook_organization(state: State, account: Account) -> Json:
    """Return an organization as webhooks carry it (organization-simple-webhooks)."""
    url = f"{state.api}/orgs/{account.login}"
    return {
        "login": account.login,
        "id": account.id,
        "node_id": account.node_id,
        "url": url,
        "repos_url": f"{url}/repos",
        "events_url": f"{url}/events",
        "hooks_url": f"{url}/hooks",
        "issues_url": f"{url}/issues",
        "members_url": f"{url}/members{{/member}}",
        "public_members_url": f"{url}/public_members{{/member}}",
        "avatar_url": f"{state.web}/avatars/{account.id}",
        "description": None,
    }


def team(state: State, team: Team) -> Json:
    """Return a team as it stands in a list or a pull request."""
    url = f"{state.api}/organizations/{team.organization.id}/team/{team.id}"
    return {
        "id": team.id,
        "node_id": node_id("T", team.id),
        "url": url,
        "html_url": f"{state.web}/orgs/{team.organization.login}/teams/{team.slug}",
        "name": team.slug,
        "slug": team.slug,
        "description": None,
        "privacy": "closed",
        "notification_setting": "notifications_enabled",
        "permission": "pull",
        "members_url": f"{url}/members{{/member}}",
        "repositories_url": f"{url}/repos",
        "type": "organization",
        "organization_id": team.organization.id,
        "parent": None,
    }


def full_team(state: State, found: Team) -> Json:
    """Return a team with its organization and counts."""
    organization = found.organization
    described = webhook_organization(state, organization) | {
        "html_url": f"{state.web}/{organization.login}",
        "type": "Organization",
        "has_organization_projects": True,
        "has_repository_projects": True,
        "public_repos": 0,
        "public_gists": 0,
        "followers": 0,
        "following": 0,
        "created_at": stamp(organization.created_at),
        "updated_at": stamp(organization.created_at),
        "archived_at": None,
    }
    return team(state, found) | {
        "members_count": len(found.members),
        "repos_count": 0,
        "created_at": stamp(found.created_at),
        "updated_at": stamp(found.created_at),
        "organization": described,
    }
