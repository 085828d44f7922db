"""/repos/.../deployments."""

from __future__ import annotations

from tests.world.github.behaviour import deploying
from tests.world.github.errors import not_found
from tests.world.github.records import Deployment
from tests.world.github.rest.endpoint import Answer, Call, Endpoints
from tests.world.github.views import checks as views

ENDPOINTS = Endpoints()


def _deployment(call: Call) -> Deployment:
    found = call.repository.deployments.get(call.number("deployment_id"))
    if found is None:
        raise not_found()
    return found


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/deployments", "deployments:read")
def list_deployments(call: Call) -> Answer:
    """List deployments, newest first, by commit, ref, task, environment."""
    query = call.query
    found = [
        one
        for one in reversed(call.repository.deployments.values())
        if query.get("sha") in {None, "none", one.commit}
        and query.get("ref") in {None, "none", one.ref}
        and query.get("task") in {None, "none", one.task}
        and query.get("environment") in {None, "none", one.environment}
    ]
    return call.page(found, lambda one: views.deployment(call.state, call.repository, one))


@ENDPOINTS.add("POST", "/repos/{owner}/{repo}/deployments", "deployments:write")
def create_deployment(call: Call) -> Answer:
    """Create a deployment."""
    call.field("ref")
    made = deploying.create(call.state, call.actor, call.repository, call.body)
    return Answer(201, views.deployment(call.state, call.repository, made))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/deployments/{deployment_id}", "deployments:read")
def get_deployment(call: Call) -> Answer:
    """Return one deployment."""
    return Answer(body=views.deployment(call.state, call.repository, _deployment(call)))


@ENDPOINTS.add(
    "GET", "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses", "deployments:read"
)
def list_statuses(call: Call) -> Answer:
    """List the statuses of a deployment, newest first."""
    of = _deployment(call)
    return call.page(
        of.statuses[::-1],
        lambda one: views.deployment_status(call.state, call.repository, of, one),
    )


@ENDPOINTS.add(
    "POST", "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses", "deployments:write"
)
def create_status(call: Call) -> Answer:
    """Add a status to a deployment."""
    of = _deployment(call)
    call.field("state")
    made = deploying.add_status(call.state, call.actor, call.repository, of, call.body)
    return Answer(201, views.deployment_status(call.state, call.repository, of, made))
