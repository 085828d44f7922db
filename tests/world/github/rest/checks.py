"""/repos/.../check-runs, check-suites."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.world.github.behaviour import checks
from tests.world.github.errors import forbidden, invalid, not_found, unprocessable
from tests.world.github.records import App, CheckRun, CheckSuite
from tests.world.github.rest.endpoint import Answer, Call, Endpoints
from tests.world.github.rest.repositories import commit_named
from tests.world.github.rest.times import moment_or_none
from tests.world.github.views import checks as views

Json = dict[str, Any]
ENDPOINTS = Endpoints()

ANNOTATIONS = 50
"""Annotations in one request (docs: Create a check run)."""
ACTIONS = 3
TEXT_LIMIT = 65535
"""Characters of summary and of text (``maxLength`` in the OpenAPI description)."""


def _app(call: Call) -> App:
    """Check runs are written by Apps only (docs: Using the REST API to interact with checks)."""
    if call.principal.app is None:
        raise forbidden("You must authenticate via a GitHub App.")
    return call.principal.app


def _run(call: Call) -> CheckRun:
    found = call.repository.check_runs.get(call.number("check_run_id"))
    if found is None:
        raise not_found()
    return found


@ENDPOINTS.add("POST", "/repos/{owner}/{repo}/check-runs", "checks:write")
def create_run(call: Call) -> Answer:
    """Create a check run on a commit."""
    app, repository, state = _app(call), call.repository, call.state
    commit = call.field("head_sha")
    if repository.git.type_of(commit) != "commit":
        raise unprocessable(f"No commit found for SHA: {commit}")
    suite = checks.suite_of(state, repository, app, commit)
    run = CheckRun(
        id=state.new_id(),
        suite=suite,
        name=call.field("name"),
        commit=commit,
        status="queued",
        conclusion=None,
        started_at=state.clock(),
        completed_at=None,
        details_url=None,
        external_id=None,
    )
    _apply(call, run)
    suite.runs.append(run)
    repository.check_runs[run.id] = run
    checks.publish_run(state, repository, call.actor, run, "created")
    _tell_completed(call, run)
    return Answer(201, views.check_run(state, repository, run))


@ENDPOINTS.add("PATCH", "/repos/{owner}/{repo}/check-runs/{check_run_id}", "checks:write")
def update_run(call: Call) -> Answer:
    """Change a check run; annotations are added to those it has."""
    run = _run(call)
    if run.suite.app is not _app(call):
        raise forbidden(
            "Invalid app_id `" + str(_app(call).id) + "` - check run can only be "
            "modified by the GitHub App that created it."
        )
    was_completed = run.status == "completed"
    _apply(call, run)
    for look in call.state.after_gate:
        look(call.state, call.repository, run.commit)
    if not was_completed:
        _tell_completed(call, run)
    return Answer(body=views.check_run(call.state, call.repository, run))


def _tell_completed(call: Call, run: CheckRun) -> None:
    if run.status == "completed":
        checks.publish_run(call.state, call.repository, call.actor, run, "completed")


def _apply(call: Call, run: CheckRun) -> None:
    body: Json = call.body
    output, actions = body.get("output"), body.get("actions", run.actions)
    if output is not None:
        _refuse_output(output)
    if len(actions) > ACTIONS:
        raise invalid("CheckRun", "actions", "invalid", f"Only {ACTIONS} actions are allowed")
    run.name = body.get("name", run.name)
    run.details_url = body.get("details_url", run.details_url)
    run.external_id = body.get("external_id", run.external_id)
    run.actions = actions
    run.started_at = moment_or_none(body.get("started_at")) or run.started_at
    if output is not None:
        run.annotations += output.get("annotations", [])
        run.output = {**run.output, **{k: v for k, v in output.items() if k != "annotations"}}
    run.status = body.get("status", run.status)
    if body.get("conclusion"):
        # Providing a conclusion sets the status to completed (docs: Create a check run).
        run.status, run.conclusion = "completed", body["conclusion"]
        run.completed_at = moment_or_none(body.get("completed_at")) or call.state.clock()
    elif run.status == "completed" and run.conclusion is None:
        raise unprocessable("Conclusion is required when status is completed")
    elif run.status != "completed":
        run.conclusion = run.completed_at = None


def _refuse_output(output: Json) -> None:
    if len(output.get("annotations", [])) > ANNOTATIONS:
        raise invalid(
            "CheckRun", "annotations", "invalid", f"Only {ANNOTATIONS} annotations are allowed"
        )
    for name in ("summary", "text"):
        if len(output.get(name) or "") > TEXT_LIMIT:
            raise invalid(
                "CheckRun", name, "invalid", f"{name} exceeds a maximum bytesize of 65535"
            )


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/check-runs/{check_run_id}", "checks:read")
def get_run(call: Call) -> Answer:
    """Return one check run."""
    return Answer(body=views.check_run(call.state, call.repository, _run(call)))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/check-runs/{check_run_id}/annotations", "checks:read")
def list_annotations(call: Call) -> Answer:
    """List the annotations of a check run."""
    run = _run(call)
    return call.page(run.annotations, lambda one: views.annotation(run, one))


def _filtered(call: Call, runs: Iterable[CheckRun]) -> list[CheckRun]:
    """Apply ``check_name``, ``status``, ``app_id`` and ``filter`` (default: latest of a name)."""
    query = call.query
    found = [
        run
        for run in runs
        if query.get("check_name") in {None, run.name}
        and query.get("status") in {None, run.status}
        and query.get("app_id") in {None, str(run.suite.app.id)}
    ]
    if query.get("filter", "latest") == "latest":
        found = list({(run.suite.id, run.name): run for run in found}.values())
    return found[::-1]


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/commits/{ref}/check-runs", "checks:read")
def list_runs(call: Call) -> Answer:
    """List the check runs of a commit."""
    commit = commit_named(call, call.path["ref"])
    runs = [run for run in call.repository.check_runs.values() if run.commit == commit]
    return call.page(
        _filtered(call, runs),
        lambda one: views.check_run(call.state, call.repository, one),
        "check_runs",
    )


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/commits/{ref}/check-suites", "checks:read")
def list_suites(call: Call) -> Answer:
    """List the check suites of a commit."""
    commit = commit_named(call, call.path["ref"])
    app = call.query.get("app_id")
    found = [
        suite
        for suite in call.repository.check_suites.values()
        if suite.commit == commit and app in {None, str(suite.app.id)}
    ]
    return call.page(
        found, lambda one: views.check_suite(call.state, call.repository, one), "check_suites"
    )


def _suite(call: Call) -> CheckSuite:
    found = call.repository.check_suites.get(call.number("check_suite_id"))
    if found is None:
        raise not_found()
    return found


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/check-suites/{check_suite_id}", "checks:read")
def get_suite(call: Call) -> Answer:
    """Return one check suite."""
    return Answer(body=views.check_suite(call.state, call.repository, _suite(call)))


@ENDPOINTS.add(
    "GET", "/repos/{owner}/{repo}/check-suites/{check_suite_id}/check-runs", "checks:read"
)
def list_runs_of_suite(call: Call) -> Answer:
    """List the check runs of a suite."""
    return call.page(
        _filtered(call, _suite(call).runs),
        lambda one: views.check_run(call.state, call.repository, one),
        "check_runs",
    )
