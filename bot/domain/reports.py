"""What people are told on GitHub, as values: a report never decides and is never believed.

Each is an "ensure": sent twice it says the same once. Of two with one key the newer one counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot.domain.environments import GitHubRepository
from bot.domain.history import Check, DeploymentReport

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """A check run on a commit."""

    repository: GitHubRepository
    check: Check

    kind = "checks"

    @property
    def key(self) -> Key:
        """One check run of ours per name and commit."""
        return self.kind, str(self.repository), self.check.commit, self.check.name


@dataclass(frozen=True, slots=True)
class CommentReport:
    """One comment on a pull request, found again by its marker."""

    repository: GitHubRepository
    number: int
    marker: str
    body: str
    begins: bool = True
    """False: it is written only where it stands already."""

    kind = "comments"

    @property
    def key(self) -> Key:
        """One comment of ours per marker."""
        return self.kind, str(self.repository), str(self.number), self.marker


@dataclass(frozen=True, slots=True)
class TimelineReport:
    """A line on a source commit's deployment timeline."""

    repository: GitHubRepository
    deployment: DeploymentReport

    kind = "deployments"

    @property
    def key(self) -> Key:
        """The newest state per environment and commit."""
        place = self.deployment.environment, self.deployment.commit
        return self.kind, str(self.repository), *place


@dataclass(frozen=True, slots=True)
class LabelReport:
    """Labels of a pull request."""

    repository: GitHubRepository
    number: int
    labels: tuple[str, ...]

    kind = "labels"

    @property
    def key(self) -> Key:
        """One set of labels per pull request."""
        return self.kind, str(self.repository), str(self.number)


@dataclass(frozen=True, slots=True)
class ReviewersReport:
    """Teams that are asked for a review."""

    repository: GitHubRepository
    number: int
    teams: tuple[str, ...]

    kind = "review requests"

    @property
    def key(self) -> Key:
        """These teams are asked once: asking again takes back what a reviewer has done."""
        return self.kind, str(self.repository), str(self.number), *self.teams


@dataclass(frozen=True, slots=True)
class ReactionReport:
    """A reaction to a comment: the receipt of a command."""

    repository: GitHubRepository
    comment: int
    content: str
    """``+1`` or ``confused``."""

    kind = "reactions"

    @property
    def key(self) -> Key:
        """One reaction of each kind on a comment."""
        return self.kind, str(self.repository), str(self.comment), self.content


Report = (
    CheckReport | CommentReport | TimelineReport | LabelReport | ReviewersReport | ReactionReport
)


@dataclass(frozen=True, slots=True)
class Pending:
    """A report that somebody has taken to send it."""

    report: Report
    key: str
    """`Report.key` as one text."""
    stamp: str
    """Which of several reports of that key it is."""
    attempts: int
    """How often GitHub could not take it."""
    at: datetime
    """When it was told."""
