"""Heads of promotion pull requests: which are the bot's own, and which of them ask for the same.

GitHub's *Update branch* merges the default branch into a head. What it makes of it is exactly what
git makes of it, so nobody has written anything: the head is the bot's as before. A head that the
bot wrote anew on a default branch that moved asks for the same, so what was approved stays so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.domain.environments import Application, Environment, matches
from bot.domain.history import PullRequest, Review
from bot.domain.memory import WrittenHead
from bot.domain.publication import LocationKey
from bot.facts.snapshot import View
from bot.facts.updated_heads import before_updates


def own_head(
    view: View, environment: Environment, application: Application, commit: str
) -> WrittenHead | None:
    """Our record of a head, brought up to date by others or not; None: it is not ours."""
    scope = view.scope(environment.name, application.name)
    written = {one.commit: one for one in view.ports.memory.written_heads(scope)}
    if commit in written:
        return written[commit]
    if not view.history.fetch_commit(commit):
        return None
    return written.get(before_updates(view.history, view.head, commit))


def ask_for_the_same(
    view: View, environment: Environment, application: Application, one: str, other: str
) -> bool:
    """Whether two heads are ours and bring the same digests and files to the same places."""
    if one == other:
        return True
    ours, theirs = (own_head(view, environment, application, c) for c in (one, other))
    if ours is None or theirs is None or ours.source != theirs.source:
        return False
    return _brought(view, environment, application, ours) == _brought(
        view, environment, application, theirs
    )


def _brought(
    view: View, environment: Environment, application: Application, head: WrittenHead
) -> tuple[Mapping[LocationKey, str], Mapping[str, str]] | None:
    """Digests by place, and blobs of files that travel; None: it cannot be read, so is like none.

    What else of a file is different came with the default branch.
    """
    history = view.history
    if not (history.fetch_commit(head.commit) and history.fetch_commit(head.base)):
        return None
    before = view.files(head.base, environment).by_place
    pins = {
        place: str(location.written)
        for place, location in view.files(head.commit, environment).by_place.items()
        if place.application == application.name
        and (place not in before or before[place].written != location.written)
    }
    changes = history.changes(head.base, head.commit) if application.promote else {}
    files = {
        path: change.after.blob if change.after else ""
        for path, change in changes.items()
        if any(matches(glob, path) for glob in application.promote)
    }
    return pins, files


def approved_heads(
    view: View,
    environment: Environment,
    application: Application,
    pull_request: PullRequest,
    reviews: Sequence[Review],
) -> frozenset[str]:
    """Commits that people reviewed and that ask for what the head asks for."""
    commits = {review.commit for review in reviews if review.commit} - {pull_request.head}
    return frozenset(
        one
        for one in commits
        if ask_for_the_same(view, environment, application, one, pull_request.head)
    )
