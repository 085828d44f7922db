"""What the engine is asked to do: a look at one subject, never an instruction.

A job names three ids and a hint. Whoever runs it reads everything else again, so that no queue
row, however it came to be, can make Lockkeeper do what the default branch does not ask for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class JobKind(StrEnum):
    """The looks that Lockkeeper takes, each with a lane of its own per subject."""

    INTAKE = "intake"
    """A webhook delivery arrived; ``subject`` is its id, ``hint`` what it says."""
    PROPOSE = "propose"
    """Branch heads of an application against one environment."""
    DELIVER = "deliver"
    """The wish of one application in one environment against its registry."""
    PUBLISH = "publish"
    """The default branch and what is sealed against one environment ref."""
    ANSWER = "answer"
    """The check on one pull request or commit of the manifests repository."""
    SCAN = "scan"
    """One image, by its digest; ``subject`` is ``<image>@<digest>``."""
    RECONCILE = "reconcile"
    """Everything of one manifests repository that no webhook told."""
    COMMENT = "comment"
    """A comment of the manifests repository, which may be a command; ``subject`` is its id."""
    COMMAND = "command"
    """An operator's command; ``subject`` is its row."""


DELIVERING: Final = (JobKind.DELIVER, JobKind.PUBLISH)
"""Kinds of job that use what an environment's grant holds to write there."""


@dataclass(frozen=True, slots=True)
class Share:
    """Which jobs a process runs; it puts all of them."""

    kinds: tuple[JobKind, ...] = tuple(JobKind)
    environments: frozenset[str] = frozenset()
    only: bool = False
    """Deliver to these ``environments`` alone; False: to all but these."""

    def delivers(self, environment: str) -> bool:
        """Whether this process delivers to an environment: only then it needs private keys."""
        has_kind = any(kind in self.kinds for kind in DELIVERING)
        return has_kind and (environment in self.environments) == self.only


EVERYTHING: Final = Share()


@dataclass(frozen=True, slots=True)
class Job:
    """One look at one subject."""

    kind: JobKind
    manifests: int = 0
    """GitHub's id of the manifests repository; 0 where there is none yet (intake)."""
    environment: str = ""
    subject: str = ""
    """Application, pull request number, commit, image, webhook delivery id or command row."""
    hint: str = ""
    """Where to look first; never trusted as a fact and not part of the identity."""
    lane: str = ""
    """Jobs of one kind and lane run one at a time, in the order they were put; default: `key`."""

    @property
    def key(self) -> str:
        """What makes two jobs the same look."""
        return f"{self.kind}:{self.manifests}:{self.environment}:{self.subject}"

    @property
    def queue_lane(self) -> str:
        """The lane that the job queues in."""
        return f"{self.kind}/{self.lane}" if self.lane else self.key


@dataclass(frozen=True, slots=True)
class Done:
    """The look is over until something new happens."""

    summary: str


@dataclass(frozen=True, slots=True)
class RequeueAt:
    """Nothing is wrong, and it is worth looking again by itself at ``at`` (UTC)."""

    summary: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Failed:
    """Somebody must change something before another look makes sense."""

    summary: str


Outcome = Done | RequeueAt | Failed


@dataclass(frozen=True, slots=True)
class JobState:
    """What an operator sees of a job that is not over."""

    key: str
    state: str
    """``queued``, ``running``, ``waiting`` (due later) or ``failed``."""
    attempts: int
    """Consecutive failures so far."""
    due: datetime | None
    summary: str
    """Why it waits or failed, in one sentence without secrets."""
    since: datetime | None = None
    """When it was first asked for since it was last over, UTC; None: before this was recorded."""
