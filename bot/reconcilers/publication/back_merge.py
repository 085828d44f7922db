"""After the last environment: what of it the branch lacks that all begins with.

A fix that was made on a release or a hotfix branch is lost with the next release, unless somebody
merges it back. The check on its commit says which commits those are; with `back_merge` the pull
request that brings them stands open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bot.domain.environments import Application, Environment
from bot.domain.errors import LockkeeperError
from bot.domain.history import GitCommit
from bot.domain.source_refs import SourceRef
from bot.facts.snapshot import View
from bot.formats.markdown import code, prose
from bot.formats.pull_request_body import authored

_LISTED: Final = 20
_MARKER: Final = "<!-- lockkeeper:back-merge v1 commit={} -->"


@dataclass(frozen=True, slots=True)
class Lacking:
    """What was delivered and stands in no line of development."""

    application: Application
    branch: str
    """The one that all begins with."""
    ref: SourceRef
    """The branch or tag that asked for the delivery."""
    commit: str
    commits: Sequence[GitCommit]
    """Newest first; one more than are listed where there are more."""


def lacking(
    view: View, environment: Environment, application: Application, commit: str, ref: SourceRef
) -> Lacking | None:
    """What the first branch lacks of a delivered commit; None: nothing, or nobody can say."""
    own = view.pipeline.environment_of(environment.name, application)
    if own is None or not (own.back_merge or view.pipeline.is_last(own, application)):
        return None
    branch = view.pipeline.home_branch(own, application)
    history = view.ports.mirrors.of(application.source)
    head = history.heads().get(branch, "")
    if not head or not history.fetch_commit(commit) or history.is_ancestor(commit, head):
        return None
    if history.merged_tree(head, commit) == history.commit(head).tree:
        return None  # squashed back: all of it is there
    found = history.lacking(head, commit, limit=_LISTED + 1)
    return Lacking(application, branch, ref, commit, found) if found else None


def said_of(found: Lacking, web_url: str) -> str:
    """For people, in Markdown."""
    source = f"{web_url}/{found.application.source}"
    lines = [
        f"- [{one.id[:7]}]({source}/commit/{one.id}) {prose(one.subject, 120)}"
        for one in found.commits[:_LISTED]
    ]
    lines += ["- and more"] if len(found.commits) > _LISTED else []
    listed = "\n".join(lines)
    return f"**Not in {code(found.branch)}**, so the next release may lose it:\n\n{listed}"


def ensure_back_merge(view: View, found: Lacking) -> str:
    """The pull request that brings it back, or why there is none, for people.

    One that stands open between the two branches is enough, whoever opened it. One of ours that a
    person closed is not opened again for the same commit. What GitHub refuses ends nothing.
    """
    source, head = found.application.source, found.ref.name
    if found.ref.is_tag or not head:
        return f"No branch asked for it, so nobody can merge one: merge {code(found.commit[:7])}."
    try:
        return _ensure(view, found)
    except LockkeeperError as error:
        words = prose(str(error), 200)
        return f"No pull request could be opened from {code(head)} in {source}: {words}"


def _ensure(view: View, found: Lacking) -> str:
    github, source = view.ports.github, found.application.source
    history = view.ports.mirrors.of(source)
    tip = history.heads().get(found.ref.name, "")
    if not tip or not history.is_ancestor(found.commit, tip):
        return f"{code(found.ref.name)} has it no more: merge {code(found.commit[:7])} by hand."
    marker = _MARKER.format(found.commit)
    for one in github.pull_requests(source, state="all", head=found.ref.name):
        if one.base_branch != found.branch:
            continue
        if one.is_open:
            return f"It is brought back by {_link(view, found, one.number)}."
        if not one.merged and marker in one.body and one.author.login == github.login():
            return f"{_link(view, found, one.number)} would bring it back, and a person closed it."
    opened = github.open_pull_request(
        source,
        head=found.ref.name,
        base=found.branch,
        title=authored(f"Merge {found.ref.name} back into {found.branch}"),
        body=f"{marker}\n\n{said_of(found, view.ports.web_url)}",
    )
    return f"It is brought back by {_link(view, found, opened.number)}."


def _link(view: View, found: Lacking, number: int) -> str:
    source = found.application.source
    return f"[pull request {number}]({view.ports.web_url}/{source}/pull/{number})"
