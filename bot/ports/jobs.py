"""The durable queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.jobs import Job, JobState


class Jobs(Protocol):
    """The durable queue: what is put is run at least once, whatever crashes."""

    def put(self, job: Job) -> None:
        """Look soon; a look at the same key that has not begun yet absorbs this one."""
        ...

    def put_once(self, job: Job, identity: str) -> bool:
        """Look once per ``identity``, for ever; False if that identity was handled before."""
        ...

    def states(self) -> Sequence[JobState]:
        """Every job that is not over."""
        ...
