"""Check suites, check runs, and a CI that finishes."""

from __future__ import annotations

from typing import Any

from tests.world.github.behaviour.events import publish
from tests.world.github.records import Actor, App, CheckRun, CheckSuite, Repository
from tests.world.github.state import State
from tests.world.github.views import checks as views

Json = dict[str, Any]


def suite_of(
    state: State, repository: Repository, app: App, commit: str, branch: str | None = None
) -> CheckSuite:
    """Return the App's suite for a commit, made on first use (docs: Check suites)."""
    for suite in repository.check_suites.values():
        if suite.app is app and suite.commit == commit:
            return suite
    now = state.clock()
    branch = branch or _branch_with_tip(repository, commit)
    suite = CheckSuite(state.new_id(), app, commit, branch, "queued", None, now, now)
    repository.check_suites[suite.id] = suite
    return suite


def _branch_with_tip(repository: Repository, commit: str) -> str | None:
    for name, target in repository.git.refs("refs/heads/").items():
        if target == commit:
            return name.removeprefix("refs/heads/")
    return None


def request_suites(
    state: State, actor: Actor, repository: Repository, branch: str, commit: str | None
) -> None:
    """Create the suites that a push creates: one per App that may write checks (docs: ibid.)."""
    if commit is None:
        return
    for installation in state.covering(repository):
        app = installation.app
        if installation.permissions.get("checks") != "write":
            continue
        if any(s.app is app and s.commit == commit for s in repository.check_suites.values()):
            continue
        suite = suite_of(state, repository, app, commit, branch)
        fields = {
            "action": "requested",
            "check_suite": views.webhook_suite(state, repository, suite),
        }
        if "check_suite" in app.events:
            publish(state, repository, actor.account, "check_suite", fields, only=app)


def publish_run(
    state: State, repository: Repository, actor: Actor, run: CheckRun, action: str
) -> None:
    """Send a check run event, bring the suite up to date, and let waiting merges look again."""
    _summarize(state, run.suite)
    fields = {"action": action, "check_run": views.webhook_run(state, repository, run)}
    publish(state, repository, actor.account, "check_run", fields)
    for look in state.after_gate:
        look(state, repository, run.commit)


def _summarize(state: State, suite: CheckSuite) -> None:
    done = [run.conclusion for run in suite.runs if run.status == "completed"]
    finished = bool(suite.runs) and len(done) == len(suite.runs)
    suite.status = "completed" if finished else "in_progress"
    bad = [c for c in done if c not in {"success", "neutral", "skipped"}]
    suite.conclusion = (bad[0] if bad else "success") if finished else None
    suite.updated_at = state.clock()


def complete(
    state: State,
    repository: Repository,
    actor: Actor,
    app: App,
    commit: str,
    name: str,
    conclusion: str,
) -> CheckSuite:
    """Let a CI of another App finish on a commit: one run, then its suite, then the events."""
    suite = suite_of(state, repository, app, commit)
    now = state.clock()
    run = CheckRun(
        state.new_id(), suite, name, commit, "completed", conclusion, now, now, None, None
    )
    suite.runs.append(run)
    repository.check_runs[run.id] = run
    publish_run(state, repository, actor, run, "completed")
    fields = {
        "action": "completed",
        "check_suite": views.webhook_suite(state, repository, suite),
    }
    publish(state, repository, actor.account, "check_suite", fields)
    return suite


def ask_again(state: State, repository: Repository, actor: Actor, run: CheckRun) -> None:
    """Press "Re-run" on a check run: only its App is told (docs: check_run, rerequested)."""
    fields = {"action": "rerequested", "check_run": views.webhook_run(state, repository, run)}
    publish(state, repository, actor.account, "check_run", fields, only=run.suite.app)


def press(
    state: State, repository: Repository, actor: Actor, run: CheckRun, identifier: str
) -> None:
    """Press a button of a check run: only its App is told (docs: check_run, requested_action)."""
    fields = {
        "action": "requested_action",
        "requested_action": {"identifier": identifier},
        "check_run": views.webhook_run(state, repository, run),
    }
    publish(state, repository, actor.account, "check_run", fields, only=run.suite.app)
