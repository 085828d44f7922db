"""Moving refs, and all that follows on GitHub from a push."""

from __future__ import annotations

from typing import Any

from tests.world.github.behaviour.events import publish
from tests.world.github.errors import ApiError, conflict, unprocessable
from tests.world.github.gitstore import ZERO
from tests.world.github.records import Activity, Actor, Repository
from tests.world.github.state import State
from tests.world.github.views import commits, repositories

Json = dict[str, Any]

PUSHED_COMMITS = 2048
"""A push webhook lists at most so many commits (docs: Webhook events, push)."""


def create(state: State, actor: Actor, repository: Repository, name: str, commit: str) -> None:
    """Create the full ref ``name`` (docs: Create a reference).

    Texts: renovatebot/renovate#20281 (exists), octokit/octokit.js#562 (no such object),
    microsoft/vscode-remote-repositories-github#122 (a branch ``a`` stands in the way of ``a/b``).
    """
    if name.count("/") < 2 or not name.startswith("refs/") or not repository.git.is_ref_name(name):
        raise unprocessable("Reference name must start with 'refs/' and contain two slashes")
    if not repository.git.refs():
        raise conflict("Git Repository is empty.")
    if repository.git.ref(name):
        raise unprocessable("Reference already exists")
    if repository.git.type_of(commit) != "commit":
        raise unprocessable("Object does not exist")
    if collides(repository, name):
        raise unprocessable("Reference update failed")
    refuse_protected(actor, repository, name, new=True)
    _write(state, actor, repository, name, None, commit)


def collides(repository: Repository, name: str) -> bool:
    """Tell whether a ref stands where ``name`` needs a directory, or the other way round."""
    return any(
        other.startswith(f"{name}/") or name.startswith(f"{other}/")
        for other in repository.git.refs()
    )


def write_new(state: State, actor: Actor, repository: Repository, name: str, commit: str) -> None:
    """Create a ref as a git push does: an empty repository takes its first branch."""
    _write(state, actor, repository, name, None, commit)


def update(
    state: State, actor: Actor, repository: Repository, name: str, commit: str, *, force: bool
) -> None:
    """Move the full ref ``name``; without ``force`` only forward (docs: Update a reference).

    Texts: prose/prose#148 (not forward), github/rest-api-description#2746 (no such ref).
    """
    before = repository.git.ref(name)
    if before is None:
        raise unprocessable("Reference does not exist")
    if repository.git.type_of(commit) != "commit":
        raise unprocessable("Object does not exist")
    if not force and not repository.git.is_ancestor(before, commit):
        raise unprocessable("Update is not a fast forward")
    refuse_protected(actor, repository, name)
    if before != commit:
        _write(state, actor, repository, name, before, commit)


def move_tag(state: State, actor: Actor, repository: Repository, name: str, target: str) -> None:
    """Put a tag on something else, as `git push --force` of a tag does."""
    _write(state, actor, repository, name, repository.git.ref(name), target)


def delete(state: State, actor: Actor, repository: Repository, name: str) -> None:
    """Delete the full ref ``name`` (docs: Delete a reference)."""
    before = repository.git.ref(name)
    if before is None:
        raise unprocessable("Reference does not exist")
    if name == f"refs/heads/{repository.default_branch}":
        raise unprocessable("Cannot delete the default branch")
    refuse_protected(actor, repository, name)
    _write(state, actor, repository, name, before, None)


def refuse_protected(actor: Actor, repository: Repository, name: str, *, new: bool = False) -> None:
    """Refuse a direct change of a branch that a ruleset keeps for others (docs: rulesets).

    The second text is believed, not documented.
    """
    rules = repository.rules_of(name.removeprefix("refs/heads/"))
    if rules is None or not rules.stops(actor.app) or (new and not rules.restricted):
        return
    if rules.pull_request and repository.git.ref(name):
        text = "Changes must be made through a pull request."
    elif rules.restricted:
        text = "Cannot update this protected ref."
    else:
        return
    raise ApiError(422, f"Repository rule violations found\n\n{text}\n\n")


def advance(
    state: State, actor: Actor, repository: Repository, branch: str, before: str, commit: str
) -> None:
    """Move a branch on behalf of GitHub itself: a merge, a commit through GraphQL."""
    _write(state, actor, repository, f"refs/heads/{branch}", before, commit)


def _write(
    state: State,
    actor: Actor,
    repository: Repository,
    name: str,
    before: str | None,
    after: str | None,
) -> None:
    repository.git.write_ref(name, after, before)
    announce(state, actor, repository, name, before, after)


def announce(
    state: State,
    actor: Actor,
    repository: Repository,
    name: str,
    before: str | None,
    after: str | None,
) -> None:
    """Tell everybody about a ref that has moved, created (no ``before``) or gone (no ``after``)."""
    if not name.startswith(("refs/heads/", "refs/tags/")):
        return
    repository.pushed_at = repository.updated_at = state.clock()
    repository.activities.append(_activity(state, actor, repository, name, before, after))
    payload = _push(state, actor, repository, name, before, after)
    publish(state, repository, actor.account, "push", payload)
    if not name.startswith("refs/heads/"):
        return
    for follow in state.after_push:
        follow(state, actor, repository, name.removeprefix("refs/heads/"), after)


def _activity(
    state: State,
    actor: Actor,
    repository: Repository,
    name: str,
    before: str | None,
    after: str | None,
) -> Activity:
    """What the list of activities shows; merges are called pushes here."""
    forced = bool(before and after and not repository.git.is_ancestor(before, after))
    kind = "branch_deletion" if after is None else "branch_creation" if before is None else "push"
    return Activity(
        state.new_id(),
        actor.account,
        name,
        before or ZERO,
        after or ZERO,
        "force_push" if forced else kind,
        state.clock(),
    )


def _push(
    state: State,
    actor: Actor,
    repository: Repository,
    name: str,
    before: str | None,
    after: str | None,
) -> Json:
    git = repository.git
    forced = bool(before and after and not git.is_ancestor(before, after))
    brought: list[str] = []
    # An annotated tag is pushed as an object of its own; the head commit is the one behind it.
    head = git.resolve(after) if after else None
    if after != head:
        brought = []
    elif after and before:
        brought = git.history(after, f"^{before}")[:PUSHED_COMMITS]
    elif after:
        # A new branch lists what no other ref has; one cut from a known commit lists nothing.
        known = [f"^{target}" for ref, target in git.refs().items() if ref != name]
        brought = git.history(after, *known)[:PUSHED_COMMITS]
    page = repositories.html_url(state, repository)
    span = f"{(before or ZERO)[:12]}...{(after or ZERO)[:12]}" if before else f"{after}"[:12]
    return {
        "ref": name,
        "before": before or ZERO,
        "after": after or ZERO,
        "repository": repositories.in_push(state, repository),
        "pusher": {"name": actor.account.login, "email": actor.account.email},
        "created": before is None,
        "deleted": after is None,
        "forced": forced,
        "base_ref": None,
        "compare": f"{page}/compare/{span}",
        "commits": [commits.pushed_commit(state, repository, c) for c in reversed(brought)],
        "head_commit": commits.pushed_commit(state, repository, head) if head else None,
    }
