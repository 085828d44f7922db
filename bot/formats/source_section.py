"""What a body says about the source: pull requests with their authors, commits without one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bot.domain.environments import SHORT_COMMIT
from bot.domain.history import Contribution, GitCommit, SourcePullRequest, WatchedChange
from bot.domain.issues import IssueKey
from bot.formats.markdown import code, details, items, text

_GITHUB: Final = "https://github.com"
_QUIET: Final = "https://redirect.github.com"
"""Leads to github.com, and leaves no "mentioned this" over there: what Renovate's links use."""
_NAMED: Final = 3
_WATCHED: Final = 10
_ISSUES: Final = 30


@dataclass(frozen=True, slots=True)
class SourceChanges:
    """New commits of a source repository, and what GitHub knows of them."""

    environment: str
    repository: str
    web_url: str
    """Where people read GitHub."""
    commits: Sequence[GitCommit] | None
    """None: they cannot be listed."""
    leaving: Sequence[GitCommit]
    is_first: bool
    """Nothing is in the environment yet."""
    is_cut: bool = False
    """There are more new commits than these, the newest."""
    contributions: Mapping[str, Contribution] | None = None
    """By commit; None: nobody knows how they came."""
    issues: Sequence[IssueKey] | None = ()
    """That commits and pull requests name; None: the commits cannot be listed."""
    watching: Sequence[str] = ()
    """Globs over files that reviewers want to see."""
    watched: Sequence[WatchedChange] | None = ()
    """Those that differ; None: nobody knows."""

    def commit_link(self, commit: str) -> str:
        """A commit, by its short id."""
        return f"[{code(commit[:SHORT_COMMIT])}]({self.web_url}/{self.repository}/commit/{commit})"

    def pull_request_link(self, number: int) -> str:
        """A pull request; on other servers than github.com a link would leave a mention there."""
        if self.web_url != _GITHUB:
            return f"pull request {number}"
        return f"[pull request {number}]({_QUIET}/{self.repository}/pull/{number})"


def source_section(changes: SourceChanges, shown: int) -> str:
    """Counts; the pull requests folded; what came without one named."""
    heading = "### Source changes\n\n"
    if changes.commits is None:
        unknown = "The commits cannot be listed: nobody knows which commit runs there now."
        first = f"Nothing is in {code(changes.environment)} yet, so there is nothing to compare."
        parts = [first] if changes.is_first else [unknown, _watched(changes)]
        return heading + "\n\n".join(part for part in parts if part)
    if changes.contributions is None:
        parts = _as_git_has_them(changes, changes.commits, shown)
    else:
        parts = _by_pull_request(changes, changes.commits, changes.contributions, shown)
    parts[1:1] = [_watched(changes), _issues(changes)]
    if changes.leaving:
        parts.append(f"**{counted(changes.leaving, 'commit')} would leave:**")
        parts.append(_commit_list(changes, changes.leaving, shown))
    return heading + "\n\n".join(part for part in parts if part)


def _watched(changes: SourceChanges) -> str:
    """The files that reviewers asked to see: never folded."""
    globs = ", ".join(code(glob, 80) for glob in changes.watching[:_NAMED])
    if not changes.watching:
        return ""
    if changes.watched is None:
        return f"⚠️ Whether files under {globs} change is not known."
    if not changes.watched:
        return f"No file under {globs} changes."
    shown = [f"- {code(one.path, 120)} {one.what}" for one in changes.watched[:_WATCHED]]
    more = len(changes.watched) - len(shown)
    shown += [f"- and {more} more"] if more else []
    number = counted(changes.watched, "file")
    verb = "changes" if len(changes.watched) == 1 else "change"
    return f"⚠️ **{number} under {globs} {verb}:**\n\n" + "\n".join(shown)


def _issues(changes: SourceChanges) -> str:
    if not changes.issues:
        return ""
    shown = [_issue(one) for one in changes.issues[:_ISSUES]]
    more = len(changes.issues) - len(shown)
    rest = f" and {more} more" if more else ""
    return f"**Issues:** {', '.join(shown)}{rest}"


def _issue(one: IssueKey) -> str:
    if not one.url:
        return code(one.key, 60)
    # What links to github.com leaves a mention over there.
    quiet = _QUIET + one.url.removeprefix(_GITHUB) if one.url.startswith(f"{_GITHUB}/") else one.url
    return f"[{code(one.key, 60)}]({quiet})"


def counted(things: Collection[object], name: str) -> str:
    """``1 commit``, ``2 commits``."""
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _counted_commits(changes: SourceChanges, commits: Sequence[GitCommit]) -> str:
    number = counted(commits, "commit")
    return f"More than {number}, the newest" if changes.is_cut else number


def _since(changes: SourceChanges) -> str:
    return f"since the version now in {code(changes.environment)}"


def _as_git_has_them(changes: SourceChanges, commits: Sequence[GitCommit], shown: int) -> list[str]:
    parts = [f"**{_counted_commits(changes, commits)}** {_since(changes)}"]
    listed = _commit_list(changes, commits, shown)
    if listed:
        parts.append(details("Commits", listed))
    elif commits:
        parts.append("They are not listed here: there was no room.")
    return parts


def _commit_list(changes: SourceChanges, commits: Sequence[GitCommit], shown: int) -> str:
    rows = [
        [changes.commit_link(commit.id), text(commit.subject, 100), text(commit.author, 40)]
        for commit in commits[:shown]
    ]
    if not rows:
        return ""
    more = len(commits) - len(rows)
    rest = f"\n\n…and {more} more." if more else ""
    return items(rows) + rest


@dataclass(frozen=True, slots=True)
class _Grouped:
    """Commits by how they came."""

    pull_requests: dict[int, SourcePullRequest] = field(default_factory=dict)
    members: dict[int, list[GitCommit]] = field(default_factory=dict)
    without: list[GitCommit] = field(default_factory=list)
    """No merged pull request brought them."""
    unknown: list[GitCommit] = field(default_factory=list)


def _grouped(commits: Sequence[GitCommit], contributions: Mapping[str, Contribution]) -> _Grouped:
    groups = _Grouped()
    for commit in commits:
        known = contributions.get(commit.id)
        if known is None:
            groups.unknown.append(commit)
        elif known.pull_request is None or not known.pull_request.merged:
            groups.without.append(commit)
        else:
            groups.pull_requests[known.pull_request.number] = known.pull_request
            groups.members.setdefault(known.pull_request.number, []).append(commit)
    return groups


def _by_pull_request(
    changes: SourceChanges,
    commits: Sequence[GitCommit],
    contributions: Mapping[str, Contribution],
    shown: int,
) -> list[str]:
    groups = _grouped(commits, contributions)
    authors = sorted({_author(commit, contributions) for commit in commits})
    number = f"{_counted_commits(changes, commits)} in {counted(groups.members, 'pull request')}"
    parts = [
        f"**{number}** by {counted(authors, 'author')} {_since(changes)}",
        _skipped(changes, groups.without),
    ]
    if groups.unknown:
        parts.append(f"{counted(groups.unknown, 'commit')}: GitHub does not say how they came.")
    rows = [
        _pull_request_row(changes, groups.pull_requests[n], groups.members[n])
        for n in sorted(groups.members, reverse=True)
    ]
    others = [*groups.without, *groups.unknown]
    rows = [_commit_row(changes, commit, contributions) for commit in others] + rows
    if rows[:shown]:
        more = f"\n\n…and {len(rows) - shown} more." if len(rows) > shown else ""
        listed = items(rows[:shown]) + more
        parts.append(details("Pull requests and their authors", listed))
    elif rows:
        parts.append("They are not listed here: there was no room.")
    return parts


def _author(commit: GitCommit, contributions: Mapping[str, Contribution]) -> str:
    known = contributions.get(commit.id)
    return (known.author if known else None) or commit.author


def _skipped(changes: SourceChanges, without: Sequence[GitCommit]) -> str:
    if not without:
        return ""
    named = [f"{changes.commit_link(c.id)} {text(c.subject, 60)}" for c in without[:_NAMED]]
    more = len(without) - len(named)
    rest = f" and {more} more" if more else ""
    return (
        f"⚠️ **{counted(without, 'commit')} without a merged pull request** (skipped review): "
        f"{', '.join(named)}{rest}."
    )


def _pull_request_row(
    changes: SourceChanges, found: SourcePullRequest, members: Sequence[GitCommit]
) -> list[str]:
    return [
        changes.pull_request_link(found.number),
        text(found.title, 100),
        code(found.author, 40) if found.author else "author not known",
        counted(members, "commit"),
    ]


def _commit_row(
    changes: SourceChanges, commit: GitCommit, contributions: Mapping[str, Contribution]
) -> list[str]:
    known = contributions.get(commit.id)
    login = code(known.author, 40) if known and known.author else text(commit.author, 40)
    waits = known.pull_request if known else None
    came = "how it came is not known" if known is None else f"⚠️{_waiting(waits)}"
    return [came, f"{changes.commit_link(commit.id)} {text(commit.subject, 100)}", login]


def _waiting(found: SourcePullRequest | None) -> str:
    return f"\u00a0pull request {found.number}, not merged" if found else "\u00a0no pull request"
