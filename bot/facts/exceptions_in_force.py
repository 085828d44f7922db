"""Exceptions count with the merged pull request that brought them; others hold nothing.

What an entry says of its own approval is typed by whoever wants it. So the merge that brought
exactly this entry is looked for: by its content, so that indenting, sorting or moving the file
brings nothing anew. Where the file could not be read for a while, every merge of that while has
to count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bot.domain.authority import Unauthorised, authority
from bot.domain.environments import Approvals
from bot.domain.errors import RejectedError
from bot.domain.evidence import Scan
from bot.domain.policy import Authorisation, RiskException
from bot.domain.risk_exceptions import concerns
from bot.facts.attribution import attribution
from bot.facts.rules import Rules, rules_at
from bot.facts.snapshot import View
from bot.formats.pipeline_file import PIPELINE_FILE, read_pipeline

_VERSIONS: Final = 200
"""Changes of the rules that are looked through for the merge that brought an entry."""


def exceptions_in_force(
    view: View, environment: str, rules: Rules, scans: Iterable[Scan]
) -> tuple[RiskException, ...]:
    """The environment's exceptions, with what backs those that are about a finding.

    Args:
        view: the manifests repository.
        environment: whose exceptions.
        rules: of the commit that they are taken from.
        scans: what was found; nobody asks who approved an exception that is about nothing.
    """
    listed = rules.exceptions.get(environment, ())
    findings = [finding for scan in scans for finding in scan.findings.values()]
    asked = {
        _content(one)
        for one in listed
        if (not one.environments or environment in one.environments) and concerns(one, findings)
    }
    if not asked:
        return listed
    policy = rules.policy(environment)
    backings = _Backings(view, policy.exceptions_teams if policy else ())
    brought = _brought(view, environment, rules, asked)
    return tuple(
        replace(one, backing=backings.of(brought.get(_content(one))))
        if _content(one) in asked
        else one
        for one in listed
    )


def _content(exception: RiskException) -> RiskException:
    """What an entry says, wherever it stands."""
    return replace(exception, file="", line=0)


@dataclass(frozen=True, slots=True)
class _Version:
    """The exceptions as they were at a commit."""

    entries: frozenset[RiskException]
    files: frozenset[str]


def _brought(
    view: View, environment: str, rules: Rules, asked: Iterable[RiskException]
) -> dict[RiskException, tuple[str, ...]]:
    """Entry -> the commits, newest first, of which one brought it."""
    since: dict[RiskException, list[str]] = {entry: [] for entry in asked}
    brought: dict[RiskException, tuple[str, ...]] = {}
    at, files = rules.commit, rules.files | {PIPELINE_FILE}
    for _ in range(_VERSIONS):
        newest = view.history.touching(at, sorted(files), limit=1)
        if not newest:
            break
        commit = newest[0]
        older = _version(view, environment, commit.parents[0] if commit.parents else "")
        for entry in list(since):
            since[entry].append(commit.id)
            if older is not None and entry in older.entries:
                since[entry].clear()
            elif older is not None:
                brought[entry] = tuple(since.pop(entry))
        if not since or not commit.parents:
            break
        at, files = commit.parents[0], older.files if older else files
    return brought


def _version(view: View, environment: str, commit: str) -> _Version | None:
    """None: there is something that cannot be read."""
    entry = view.history.paths(commit).get(PIPELINE_FILE) if commit else None
    if entry is None:
        return _Version(frozenset(), frozenset({PIPELINE_FILE}))
    try:
        pipeline = read_pipeline(view.history.read(entry.blob).decode(), commit=commit)
        rules = rules_at(view.history, pipeline, commit)
    except (RejectedError, UnicodeDecodeError):
        return None
    listed = rules.exceptions.get(environment, ())
    return _Version(frozenset(map(_content, listed)), rules.files | {PIPELINE_FILE})


@dataclass(frozen=True, slots=True)
class _Backings:
    """Who stands behind commits of the default branch; each is asked for once."""

    view: View
    teams: Sequence[str]
    _known: dict[str, Authorisation] = field(default_factory=dict)

    def of(self, commits: Sequence[str] | None) -> Authorisation:
        """What backs an entry that one of these commits brought."""
        if not commits:
            return Authorisation(
                defect=f"the merge that brought it is not among the last {_VERSIONS} changes"
            )
        each = [self._backing(commit) for commit in commits]
        return next((one for one in each if one.defect), each[0])

    def _backing(self, commit: str) -> Authorisation:
        if commit not in self._known:
            self._known[commit] = self._asked(commit)
        return self._known[commit]

    def _asked(self, commit: str) -> Authorisation:
        found = attribution(self.view.line, commit, self.teams)
        if found.pull_request is None:
            return Authorisation(
                defect=f"commit {commit[:7]} brought it without a merged pull request"
            )
        number, teams = found.pull_request.number, tuple(self.teams)
        if found.flaw:
            return Authorisation(number, defect=found.flaw)
        answer = authority(found, [Approvals(1, teams)], needed=bool(teams))
        if isinstance(answer, Unauthorised):
            lacking = f"pull request {number} has no approval of {' or '.join(teams)}"
            return Authorisation(number, defect=lacking)
        return Authorisation(number, answer.approved_by)
