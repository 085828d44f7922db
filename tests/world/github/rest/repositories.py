"""/repos: the repository, its branches and rules, commits, comparison, contents."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import unquote

from tests.world.github.behaviour.pulls import associated
from tests.world.github.clock import stamp
from tests.world.github.errors import ApiError, conflict, not_found
from tests.world.github.gitstore import TreeEntry
from tests.world.github.records import ROLES, Activity, BranchRules, Repository, node_id
from tests.world.github.rest.endpoint import Answer, Call, Endpoints
from tests.world.github.views import commits as views, pulls, repositories
from tests.world.github.views.accounts import simple_user

Json = dict[str, Any]
ENDPOINTS = Endpoints()

CONTENT_LIMIT = 1024 * 1024
"""Bytes above which ``content`` stays empty (docs: Get repository content)."""


def commit_named(call: Call, name: str) -> str:
    """Resolve a branch, tag or commit id (docs: Get a commit; 422 for what is none)."""
    if not call.repository.git.refs():
        raise conflict("Git Repository is empty.")
    found = call.repository.git.resolve(unquote(name))
    if found is None:
        raise ApiError(422, f"No commit found for SHA: {name}")
    return found


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}", "metadata:read")
def get_repository(call: Call) -> Answer:
    """Return the repository."""
    return Answer(body=repositories.full(call.state, call.repository))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/activity", "contents:read")
def list_activity(call: Call) -> Answer:
    """List who moved which ref, newest first (docs: List repository activities)."""
    wanted = call.query.get("ref", "")
    found = [
        one
        for one in reversed(call.repository.activities)
        if wanted in {"", one.ref, one.ref.removeprefix("refs/heads/")}
    ]
    return call.page(found, lambda one: _activity(call, one))


def _activity(call: Call, one: Activity) -> Json:
    return {
        "id": one.id,
        "node_id": node_id("PSH", one.id),
        "before": one.before,
        "after": one.after,
        "ref": one.ref,
        "timestamp": stamp(one.at),
        "activity_type": one.kind,
        "actor": simple_user(call.state, one.actor),
    }


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/branches", "contents:read")
def list_branches(call: Call) -> Answer:
    """List branches by name."""
    heads = call.repository.git.refs("refs/heads/")
    named = [(name.removeprefix("refs/heads/"), target) for name, target in heads.items()]
    return call.page(named, lambda one: views.short_branch(call.state, call.repository, *one))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/branches/{branch}", "contents:read")
def get_branch(call: Call) -> Answer:
    """Return one branch."""
    name = unquote(call.path["branch"])
    tip = call.repository.head(name)
    if tip is None:
        raise ApiError(404, "Branch not found")
    return Answer(body=views.branch(call.state, call.repository, name, tip))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/rules/branches/{branch}", "metadata:read")
def get_branch_rules(call: Call) -> Answer:
    """List the active rules of a branch; none is an empty list."""
    rules = call.repository.rules_of(unquote(call.path["branch"]))
    number = next(
        (ruleset_id(call.repository, p) for p, r in call.repository.rules.items() if r is rules), 0
    )
    shown = [] if rules is None else _rules(call.repository, rules, number)
    return call.page(shown, lambda one: one)


def _rules(repository: Repository, rules: BranchRules, number: int) -> list[Json]:
    source: Json = {
        "ruleset_source_type": "Repository",
        "ruleset_source": repository.full_name,
        "ruleset_id": number,
    }
    found: list[Json] = []
    if rules.restricted:
        found += [{"type": kind} | source for kind in ("creation", "update", "deletion")]
    if rules.pull_request:
        parameters: Json = {
            "required_approving_review_count": rules.approvals,
            "dismiss_stale_reviews_on_push": rules.dismiss_stale,
            "require_code_owner_review": False,
            "require_last_push_approval": rules.last_push,
            "required_review_thread_resolution": False,
        }
        found.append({"type": "pull_request", "parameters": parameters} | source)
    if rules.checks:
        parameters = {
            "required_status_checks": [_required(name, rules) for name in rules.checks],
            "strict_required_status_checks_policy": False,
        }
        found.append({"type": "required_status_checks", "parameters": parameters} | source)
    if rules.merge_queue:
        parameters = {
            "check_response_timeout_minutes": 60,
            "grouping_strategy": "ALLGREEN",
            "max_entries_to_build": 5,
            "max_entries_to_merge": 5,
            "merge_method": "MERGE",
            "min_entries_to_merge": 1,
            "min_entries_to_merge_wait_minutes": 5,
        }
        found.append({"type": "merge_queue", "parameters": parameters} | source)
    return found


def _required(name: str, rules: BranchRules) -> Json:
    source = {} if rules.check_source is None else {"integration_id": rules.check_source}
    return {"context": name} | source


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/rulesets/{ruleset_id}", "metadata:read")
def get_ruleset(call: Call) -> Answer:
    """Return a ruleset, here one for each pattern, with what it means for the caller.

    That an App is told of its own bypass as a person is, is believed (the description says "the
    user making the API request").
    """
    wanted = call.number("ruleset_id")
    for pattern, rules in call.repository.rules.items():
        if ruleset_id(call.repository, pattern) == wanted:
            app = call.principal.token.installation.app if call.principal.token else None
            body = {
                "id": wanted,
                "name": pattern,
                "target": "branch",
                "source_type": "Repository",
                "source": call.repository.full_name,
                "enforcement": "active",
                "current_user_can_bypass": "never" if rules.stops(app) else "always",
            }
            return Answer(body=body)
    raise not_found()


def ruleset_id(repository: Repository, pattern: str) -> int:
    """Return the number of the ruleset for a pattern."""
    return repository.id * 100 + list(repository.rules).index(pattern)


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/commits", "contents:read")
def list_commits(call: Call) -> Answer:
    """List commits of a branch, newest first, perhaps only those that touch a path."""
    start = commit_named(call, call.query.get("sha", call.repository.default_branch))
    path = call.query.get("path")
    found = call.repository.git.history(start, paths=(path,) if path else ())
    return call.page(found, lambda one: views.commit(call.state, call.repository, one))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/commits/{ref}", "contents:read")
def get_commit(call: Call) -> Answer:
    """Return one commit with its files."""
    commit = commit_named(call, call.path["ref"])
    return Answer(body=views.commit_with_files(call.state, call.repository, commit))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/commits/{commit_sha}/pulls", "pull_requests:read")
def list_pulls_of_commit(call: Call) -> Answer:
    """List pull requests of a commit.

    The merged ones that introduced it, for a commit of the default branch, else the open ones that
    contain it (docs: List pull requests associated with a commit).
    """
    found = associated(call.repository, commit_named(call, call.path["commit_sha"]))
    return call.page(found, lambda one: pulls.simple(call.state, one, one.merge_commit))


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/compare/{basehead}", "contents:read")
def compare(call: Call) -> Answer:
    """Compare ``base...head``."""
    base, dots, head = unquote(call.path["basehead"]).partition("...")
    git = call.repository.git
    one, other = git.resolve(base), git.resolve(head)
    if not dots or one is None or other is None:
        raise not_found()
    merge_base = git.merge_base(one, other)
    if merge_base is None:
        raise ApiError(404, f"No common ancestor between {base} and {head}.")
    compared = views.comparison(call.state, call.repository, one, other, merge_base)
    page = call.page(compared["commits"], lambda commit: commit)
    return Answer(200, compared | {"commits": page.body}, page.headers)


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/contents/{path}", "contents:read")
def get_contents(call: Call) -> Answer:
    """Return a file with its content, or the entries of a directory."""
    git, path = call.repository.git, unquote(call.path["path"]).strip("/")
    at = call.query.get("ref", call.repository.default_branch)
    commit = git.resolve(at)
    if commit is None:
        raise ApiError(404, f"No commit found for the ref {at}")
    entry = git.entry(commit, path)
    if entry is None:
        raise not_found()
    if entry.type == "tree":
        return Answer(body=[_shown(call, one, path, at) for one in git.entries(entry.id)])
    shown = views.content(call.state, call.repository, entry, path, at)
    content = git.blob(entry.id)
    whole = len(content) <= CONTENT_LIMIT
    encoded = base64.encodebytes(content).decode() if whole else ""
    encoding = "base64" if whole else "none"
    return Answer(body=shown | {"content": encoded, "encoding": encoding})


def _shown(call: Call, entry: TreeEntry, folder: str, at: str) -> Json:
    path = f"{folder}/{entry.path}" if folder else entry.path
    return views.content(call.state, call.repository, entry, path, at)


@ENDPOINTS.add("GET", "/repos/{owner}/{repo}/collaborators/{username}/permission", "metadata:read")
def get_permission(call: Call) -> Answer:
    """Return what a person may do; ``permission`` knows no maintain or triage (docs: ibid.)."""
    account = call.state.account(call.path["username"])
    role = call.repository.role_of(account) or "none"
    coarse = {"maintain": "write", "triage": "read"}.get(role, role)
    held = ROLES.index(role) if role in ROLES else -1
    rights = {
        "pull": held >= ROLES.index("read"),
        "triage": held >= ROLES.index("triage"),
        "push": held >= ROLES.index("write"),
        "maintain": held >= ROLES.index("maintain"),
        "admin": held >= ROLES.index("admin"),
    }
    user = simple_user(call.state, account) | {"permissions": rights, "role_name": role}
    return Answer(body={"permission": coarse, "role_name": role, "user": user})
