"""Check runs, check suites and deployments as JSON."""

from __future__ import annotations

from typing import Any

from tests.world.github.clock import stamp, stamp_or_none
from tests.world.github.records import (
    CheckRun,
    CheckSuite,
    Deployment,
    DeploymentStatus,
    Repository,
    node_id,
)
from tests.world.github.state import State
from tests.world.github.views import repositories
from tests.world.github.views.accounts import simple_user
from tests.world.github.views.apps import app, app_or_none
from tests.world.github.views.commits import simple_commit
from tests.world.github.views.pulls import minimal
from tests.world.github.views.repositories import api_url, html_url

Json = dict[str, Any]


def _pulls(state: State, repository: Repository, commit: str) -> list[Json]:
    return [minimal(state, pull) for pull in repository.open_pulls() if pull.head == commit]


def check_run(state: State, repository: Repository, run: CheckRun) -> Json:
    """Return a check run."""
    url = f"{api_url(state, repository)}/check-runs/{run.id}"
    page = f"{html_url(state, repository)}/runs/{run.id}"
    return {
        "id": run.id,
        "head_sha": run.commit,
        "node_id": node_id("CR", run.id),
        "external_id": run.external_id or "",
        "url": url,
        "html_url": page,
        "details_url": run.details_url or page,
        "status": run.status,
        "conclusion": run.conclusion,
        "started_at": stamp_or_none(run.started_at),
        "completed_at": stamp_or_none(run.completed_at),
        "output": {
            "title": run.output.get("title"),
            "summary": run.output.get("summary"),
            "text": run.output.get("text"),
            "annotations_count": len(run.annotations),
            "annotations_url": f"{url}/annotations",
        },
        "name": run.name,
        "check_suite": {"id": run.suite.id},
        "app": app(state, run.suite.app),
        "pull_requests": _pulls(state, repository, run.commit),
    }


def check_suite(state: State, repository: Repository, suite: CheckSuite) -> Json:
    """Return a check suite as REST has it."""
    return webhook_suite(state, repository, suite) | {
        "repository": repositories.identity(state, repository),
    }


def webhook_suite(state: State, repository: Repository, suite: CheckSuite) -> Json:
    """Return a check suite as webhooks have it: without the repository."""
    url = f"{api_url(state, repository)}/check-suites/{suite.id}"
    parents = repository.git.commit(suite.commit).parents
    return {
        "id": suite.id,
        "node_id": node_id("CS", suite.id),
        "head_branch": suite.branch,
        "head_sha": suite.commit,
        "status": suite.status,
        "conclusion": suite.conclusion,
        "url": url,
        "before": parents[0] if parents else None,
        "after": suite.commit,
        "pull_requests": _pulls(state, repository, suite.commit),
        "app": app(state, suite.app),
        "created_at": stamp(suite.created_at),
        "updated_at": stamp(suite.updated_at),
        "rerequestable": True,
        "runs_rerequestable": True,
        "latest_check_runs_count": len(suite.runs),
        "check_runs_url": f"{url}/check-runs",
        "head_commit": simple_commit(repository, suite.commit),
    }


def webhook_run(state: State, repository: Repository, run: CheckRun) -> Json:
    """Return a check run as webhooks have it: with its suite."""
    return check_run(state, repository, run) | {
        "check_suite": webhook_suite(state, repository, run.suite)
    }


def annotation(run: CheckRun, one: Json) -> Json:
    """Return an annotation of a check run."""
    return {
        "path": one["path"],
        "start_line": one["start_line"],
        "end_line": one["end_line"],
        "start_column": one.get("start_column"),
        "end_column": one.get("end_column"),
        "annotation_level": one["annotation_level"],
        "title": one.get("title"),
        "message": one["message"],
        "raw_details": one.get("raw_details"),
        "blob_href": f"{run.commit}/{one['path']}",
    }


def deployment(state: State, repository: Repository, found: Deployment) -> Json:
    """Return a deployment."""
    url = f"{api_url(state, repository)}/deployments/{found.id}"
    return {
        "url": url,
        "id": found.id,
        "node_id": node_id("DE", found.id),
        "sha": found.commit,
        "ref": found.ref,
        "task": found.task,
        "payload": found.payload,
        "original_environment": found.environment,
        "environment": found.environment,
        "description": found.description,
        "creator": simple_user(state, found.creator),
        "created_at": stamp(found.created_at),
        "updated_at": stamp(found.updated_at),
        "statuses_url": f"{url}/statuses",
        "repository_url": api_url(state, repository),
        "transient_environment": found.transient,
        "production_environment": found.production,
        "performed_via_github_app": app_or_none(state, found.app),
    }


def deployment_status(
    state: State, repository: Repository, of: Deployment, found: DeploymentStatus
) -> Json:
    """Return a status of a deployment."""
    deployment_url = f"{api_url(state, repository)}/deployments/{of.id}"
    return {
        "url": f"{deployment_url}/statuses/{found.id}",
        "id": found.id,
        "node_id": node_id("DES", found.id),
        "state": found.state,
        "creator": simple_user(state, found.creator),
        "description": found.description,
        "environment": found.environment,
        "target_url": found.log_url,
        "created_at": stamp(found.created_at),
        "updated_at": stamp(found.created_at),
        "deployment_url": deployment_url,
        "repository_url": api_url(state, repository),
        "environment_url": found.environment_url,
        "log_url": found.log_url,
        "performed_via_github_app": app_or_none(state, found.app),
    }
