"""Which rules are in force: the newest that somebody with authority, by those before, let in.

Rules are the pipeline file and what stands beside it. A change of them needs the approvals of the
strictest environment that it touches, by the rules as they are before it; until then they stay.
What was let in is recorded, once: who approved it then may leave the team without taking it back.
The first rules that a bot finds in a repository are those that it begins with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from bot.domain.authority import Attribution, Unauthorised, authority
from bot.domain.environments import Approvals, Environment, Pipeline
from bot.domain.errors import RejectedError
from bot.domain.history import PullRequest
from bot.domain.memory import RulesAccepted, Scope
from bot.facts.attribution import DefaultBranch, attribution, merged_pull_request, opened
from bot.facts.rules import Rules, rules_at
from bot.formats.pipeline_file import PIPELINE_FILE, read_pipeline
from bot.ports.git import GitHistory
from bot.ports.record import Audit, Memory

_CHANGES: Final = 200
"""Changes of the rules that may wait for approvals; with more, what is in force stays in force."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules as they are written at one commit, whatever the operator grants."""

    commit: str
    pipeline: Pipeline
    rules: Rules

    @property
    def files(self) -> frozenset[str]:
        """Every file that they stand in."""
        return self.rules.files | {PIPELINE_FILE}


@dataclass(frozen=True, slots=True)
class Pending:
    """A change of the rules that is not in force."""

    commit: str
    lacking: str
    """What it lacks, for people."""


def rule_set(history: GitHistory, commit: str) -> RuleSet | None:
    """What a commit's rules say; None: they cannot be read."""
    entry = history.paths(commit).get(PIPELINE_FILE)
    if entry is None or not entry.is_file:
        return None
    try:
        pipeline = read_pipeline(history.read(entry.blob).decode(), commit=commit)
        return RuleSet(commit, pipeline, rules_at(history, pipeline, commit))
    except (RejectedError, UnicodeDecodeError):
        return None


def touched(before: RuleSet, after: RuleSet | None) -> list[Environment]:
    """Environments of ``before`` that ``after`` rules in another way, or no longer."""
    now = _governing(after) if after else {}
    return [
        before.pipeline.environments[name]
        for name, rules in _governing(before).items()
        if now.get(name) != rules
    ]


def demanded(before: RuleSet, after: RuleSet | None) -> list[Approvals]:
    """What a change of the rules has to satisfy, by the rules before it; nothing: it may be."""
    return [one.approvals for one in touched(before, after) if one.needs_authority]


def _governing(rules: RuleSet) -> Mapping[str, tuple[object, ...]]:
    """Environment -> everything that says what may come there, and from where."""
    applications = tuple(rules.pipeline.applications.values())
    return {
        name: (
            replace(environment, line=0),
            tuple(_feeding(rules.pipeline, environment)),
            tuple(sorted(map(repr, applications))),
            rules.rules.policy(name),
            tuple(replace(one, file="", line=0) for one in rules.rules.exceptions.get(name, ())),
            rules.rules.vex.get(name),
            tuple(_keys(rules.rules, name)),
            tuple(sorted(rules.rules.revoked.items())),
        )
        for name, environment in rules.pipeline.environments.items()
    }


def _keys(rules: Rules, environment: str) -> Iterator[tuple[str, bytes | None]]:
    """The keys that the environment's own policy trusts."""
    policy = rules.policy(environment)
    for name in sorted(policy.roots.files) if policy else ():
        yield name, rules.key_files.get(name)


def _feeding(pipeline: Pipeline, environment: Environment) -> Iterator[tuple[object, ...]]:
    """The environments that images come through, as far as they say where images stand."""
    seen: set[str] = set()
    name = environment.source_environment
    while name is not None and name not in seen and name in pipeline.environments:
        seen.add(name)
        below = pipeline.environments[name]
        yield name, below.image_repository, below.source_environment, below.source_pattern
        name = below.source_environment


def is_same(history: GitHistory, one: str, other: str) -> bool:
    """Whether two commits have the same rules, byte for byte."""
    return _identity(history, one) == _identity(history, other)


def _identity(history: GitHistory, commit: str) -> tuple[tuple[str, str, str], ...]:
    if not commit:
        return ()
    found = rule_set(history, commit)
    paths = history.paths(commit)
    files = found.files if found else {PIPELINE_FILE}
    return tuple(
        (path, paths[path].mode, paths[path].blob) for path in sorted(files) if path in paths
    )


@dataclass(frozen=True, slots=True)
class _Change:
    """Commits of the default branch that belong together: one pull request, or one push."""

    start: str
    """The commit below it; empty: there is none."""
    end: str
    pull_request: int


@dataclass(frozen=True, slots=True)
class Gate:
    """Judges the changes of the rules of one manifests repository."""

    line: DefaultBranch
    scope: Scope
    memory: Memory
    audit: Audit
    now: datetime

    def standing(
        self, accepted: Sequence[RulesAccepted]
    ) -> tuple[Sequence[RulesAccepted], Pending | None]:
        """What was let in, with what has the approvals by now, and what waits for them.

        Args:
            accepted: what was let in before, oldest first; at least one.
        """
        known, pending = list(accepted), None
        if self._is_untouched(known):
            return known, None
        for change in self._changes(known):
            rules = self._demanded(known, change)
            lacking = self._lacking(known, change, rules) if rules else ""
            if not rules or (pending is None and not lacking):
                known.append(self._let_in(change))
                pending = None  # also: what waited was taken back
            pending = pending or (Pending(change.end, lacking) if lacking else None)
        return known, pending

    def _demanded(self, known: Sequence[RulesAccepted], change: _Change) -> list[Approvals]:
        """What a change needs: all that is different from what is in force, whoever brought it."""
        before = self._in_force(known)
        after = rule_set(self.line.history, change.end)
        return [Approvals(1)] if before is None else demanded(before, after)

    def _is_untouched(self, known: Sequence[RulesAccepted]) -> bool:
        """Whether the default branch has the rules that were let in last; asked at every look."""
        history, last = self.line.history, known[-1].commit
        if not history.has(last):
            return False
        files = (self._in_force(known) or RuleSet("", Pipeline({}, {}), Rules())).files
        here, there = history.paths(self.line.head), history.paths(last)
        return all(here.get(path) == there.get(path) for path in files | {PIPELINE_FILE})

    def _in_force(self, known: Sequence[RulesAccepted]) -> RuleSet | None:
        newest = (one.commit for one in reversed(known) if one.is_valid)
        return next((found for one in newest if (found := rule_set(self.line.history, one))), None)

    def _changes(self, known: Sequence[RulesAccepted]) -> list[_Change]:
        """What changed the rules since they were let in last, oldest first."""
        history, last = self.line.history, known[-1].commit
        before = self._in_force(known)
        files = (before.files if before else frozenset()) | {PIPELINE_FILE}
        here = rule_set(history, self.line.head)
        files |= here.files if here else frozenset()
        touching = history.touching(self.line.head, sorted(files), limit=_CHANGES)
        new = [one for one in touching if not history.is_ancestor(one.id, last)]
        if len(new) == _CHANGES:
            return [_Change("", self.line.head, 0)]
        changes: list[_Change] = []
        for commit in reversed(new):
            found = merged_pull_request(self.line, commit.id)
            number = found.number if found else 0
            start = commit.parents[0] if commit.parents else ""
            if number and changes and changes[-1].pull_request == number:
                start = changes.pop().start
            changes.append(_Change(start, commit.id, number))
        return changes

    def _lacking(
        self, known: Sequence[RulesAccepted], change: _Change, rules: Sequence[Approvals]
    ) -> str:
        """What a change needs to be let in; empty: nothing."""
        history = self.line.history
        if not change.start:
            return f"it is not among the newest {_CHANGES} changes of the rules"
        if not is_same(history, change.start, known[-1].commit):
            return "the rules below it are not in force: it shows a part of what changes"
        found = attribution(self.line, change.end, teams_of(rules))
        if found.pull_request is not None and not is_same(
            history, found.pull_request.head, change.end
        ):
            return "its approved head shows other rules than the merge has"
        return words_of(authority(found, rules, needed=True))

    def _let_in(self, change: _Change) -> RulesAccepted:
        how = f"pull request {change.pull_request}" if change.pull_request else "a push"
        is_valid = rule_set(self.line.history, change.end) is not None
        return self.let_in(change.end, how, is_valid=is_valid)

    def let_in(self, commit: str, how: str, *, is_valid: bool = True) -> RulesAccepted:
        """Record that the rules of a commit are in force from now on."""
        row = RulesAccepted(self.scope, commit, how, self.now, is_valid=is_valid)
        self.memory.record_rules(row)
        self.audit.append(
            "rules accepted",
            self.scope,
            {"commit": commit, "by": how},
            once=f"rules:{self.scope.manifests}:{commit}",
        )
        return row


def teams_of(rules: Sequence[Approvals]) -> list[str]:
    """Every team that has a say."""
    return [team for one in rules for team in one.teams]


def words_of(verdict: object) -> str:
    """What a verdict lacks; empty: nothing."""
    return f"{verdict.reason}; {verdict.remedy}" if isinstance(verdict, Unauthorised) else ""


def lacking_now(
    line: DefaultBranch, before: RuleSet, pull_request: PullRequest
) -> tuple[list[Environment], str]:
    """What an open pull request that changes rules touches, and what it lacks as it is."""
    after = rule_set(line.history, pull_request.head)
    environments = [one for one in touched(before, after) if one.needs_authority]
    rules = [one.approvals for one in environments]
    if not rules:
        return [], ""
    found: Attribution = opened(line, pull_request, teams_of(rules))
    return environments, words_of(authority(found, rules, needed=True))
