"""Deployments and their statuses."""

from __future__ import annotations

from typing import Any

from tests.world.github.behaviour.events import publish
from tests.world.github.errors import conflict, unprocessable
from tests.world.github.records import Actor, Deployment, DeploymentStatus, Repository
from tests.world.github.state import State
from tests.world.github.views import checks as views

Json = dict[str, Any]


def create(state: State, actor: Actor, repository: Repository, wish: Json) -> Deployment:
    """Create a deployment (docs: Create a deployment).

    With ``auto_merge`` (the default!) a ref that is behind the default branch is a 409 here, where
    GitHub would merge first; contexts that are required (default: all) and not green are a 409 too.
    """
    ref = wish["ref"]
    commit = repository.git.resolve(ref)
    if commit is None:
        raise unprocessable(f"No ref found for: {ref}")
    tip = repository.head(repository.default_branch)
    if wish.get("auto_merge", True) and tip and not repository.git.is_ancestor(tip, commit):
        raise conflict(f"Conflict merging {repository.default_branch} into {ref}.")
    _refuse_red(repository, commit, wish.get("required_contexts"))
    now = state.clock()
    environment = wish.get("environment", "production")
    made = Deployment(
        id=state.new_id(),
        creator=actor.account,
        app=actor.app,
        commit=commit,
        ref=ref,
        task=wish.get("task", "deploy"),
        payload=wish.get("payload", {}),
        environment=environment,
        description=wish.get("description"),
        transient=wish.get("transient_environment", False),
        production=wish.get("production_environment", environment == "production"),
        created_at=now,
        updated_at=now,
    )
    repository.deployments[made.id] = made
    fields = {
        "action": "created",
        "deployment": views.deployment(state, repository, made),
        "workflow": None,
        "workflow_run": None,
    }
    publish(state, repository, actor.account, "deployment", fields)
    return made


def _refuse_red(repository: Repository, commit: str, required: list[str] | None) -> None:
    runs = {run.name: run for run in repository.check_runs.values() if run.commit == commit}
    names = list(runs) if required is None else required
    for name in names:
        run = runs.get(name)
        if run is None or run.conclusion not in {"success", "neutral", "skipped"}:
            raise conflict("Conflict: Commit status checks failed for " + commit + ".")


def add_status(
    state: State, actor: Actor, repository: Repository, of: Deployment, wish: Json
) -> DeploymentStatus:
    """Add a status; a success makes earlier ones of the environment inactive.

    docs: Create a deployment status, ``auto_inactive`` (default true; production and transient
    environments excepted).
    """
    now = state.clock()
    status = DeploymentStatus(
        id=state.new_id(),
        creator=actor.account,
        app=actor.app,
        state=wish["state"],
        description=wish.get("description", ""),
        environment=wish.get("environment", of.environment),
        environment_url=wish.get("environment_url", ""),
        log_url=wish.get("log_url") or wish.get("target_url") or "",
        created_at=now,
    )
    of.statuses.append(status)
    of.updated_at = now
    if status.state == "success" and wish.get("auto_inactive", True):
        _retire_others(state, actor, repository, of)
    fields = {
        "action": "created",
        "deployment_status": views.deployment_status(state, repository, of, status),
        "deployment": views.deployment(state, repository, of),
        "workflow": None,
        "workflow_run": None,
    }
    publish(state, repository, actor.account, "deployment_status", fields)
    return status


def _retire_others(state: State, actor: Actor, repository: Repository, of: Deployment) -> None:
    for other in repository.deployments.values():
        same = other.environment == of.environment and other is not of
        live = other.statuses and other.statuses[-1].state == "success"
        if same and live and not other.transient and not other.production:
            add_status(
                state, actor, repository, other, {"state": "inactive", "auto_inactive": False}
            )
