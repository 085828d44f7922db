"""/orgs, /users, /rate_limit."""

from __future__ import annotations

from datetime import timedelta

from tests.world.github.errors import not_found
from tests.world.github.records import Team
from tests.world.github.rest.endpoint import Answer, Call, Endpoints
from tests.world.github.views import accounts as views

ENDPOINTS = Endpoints()

HOURLY = 5000
"""Requests of an installation (docs: Rate limits for the REST API)."""


def _team(call: Call) -> Team:
    """A team is seen with the organization permission ``members`` (docs: Get a team by name)."""
    organization = call.state.account(call.path["org"])
    found = call.state.teams.get((organization.login, call.path["team_slug"]))
    if found is None:
        raise not_found()
    return found


@ENDPOINTS.add("GET", "/orgs/{org}/teams/{team_slug}", "members:read")
def get_team(call: Call) -> Answer:
    """Return one team."""
    return Answer(body=views.full_team(call.state, _team(call)))


@ENDPOINTS.add("GET", "/orgs/{org}/teams/{team_slug}/members", "members:read")
def list_members(call: Call) -> Answer:
    """List the members of a team."""
    logins = sorted(_team(call).members)
    return call.page(logins, lambda login: views.simple_user(call.state, call.state.account(login)))


@ENDPOINTS.add("GET", "/orgs/{org}/teams/{team_slug}/memberships/{username}", "members:read")
def get_membership(call: Call) -> Answer:
    """Return a membership; 404 for who is no member."""
    team, account = _team(call), call.state.account(call.path["username"])
    if account.login not in team.members:
        raise not_found()
    url = f"{views.team(call.state, team)['url']}/memberships/{account.login}"
    return Answer(body={"url": url, "role": "member", "state": "active"})


@ENDPOINTS.add("GET", "/users/{username}")
def get_user(call: Call) -> Answer:
    """Return the profile of an account."""
    account = call.state.account(call.path["username"])
    return Answer(body=views.public_user(call.state, account))


@ENDPOINTS.add("GET", "/rate_limit")
def get_rate_limit(call: Call) -> Answer:
    """Return the limits; asking costs nothing. The world never runs out by itself."""
    reset = int((call.state.clock() + timedelta(hours=1)).timestamp())
    limit = {"limit": HOURLY, "remaining": HOURLY, "reset": reset, "used": 0}
    return Answer(body={"resources": {"core": limit, "search": limit}, "rate": limit})
