"""DBOS behind six verbs; the only importer of dbos.

One workflow per ticket: *empty this lane*. It has no steps: a job reads the world again each time,
so there is nothing worth memoizing, and whether it is over is said by our own row. The queues are
partitioned: the partition is the lane, one workflow of a partition runs at a time, in the order
of the priority, which is our own sequence (created_at has whole seconds on SQLite with Python
3.11). A workflow that finds its lane empty, because an earlier one did the work, just ends.

Not safe: two of these in one process (DBOS is a singleton).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from dbos import (
    DBOS,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    SetEnqueueOptions,
    SetWorkflowID,
    error as dbos_error,
)

from bot.adapters.engine.rows import Ticket
from bot.domain.errors import UnavailableError
from bot.domain.jobs import JobKind

QUEUES: Final[Mapping[JobKind, str]] = {
    JobKind.INTAKE: "intake",
    JobKind.PROPOSE: "propose",
    JobKind.DELIVER: "deliver",
    JobKind.PUBLISH: "publish",
    JobKind.SCAN: "upkeep",
    JobKind.ANSWER: "upkeep",
    JobKind.RECONCILE: "upkeep",
    JobKind.COMMAND: "upkeep",
}
"""Each queue has workers of its own, and each costs about 1.5 % of a core for being looked at."""
_NAME: Final = "lockkeeper"
_GENERATION: Final = "1"
"""Raised by hand when a workflow's shape changes. DBOS takes a hash of the source by default,
which would strand everything in flight at each edit."""
_RECOVERIES: Final = 100
"""More than the crashes that our own row allows: the row decides, and says so to people."""
_LARGEST_PRIORITY: Final = 2**31 - 1
_OVER: Final = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_LIVE: Final = ["ENQUEUED", "PENDING", "DELAYED"]
_PAGE: Final = 500


class Dispatcher:
    """The running DBOS of this process."""

    def __init__(self, database: sa.Engine, owner: str) -> None:
        self._database = database
        self._owner = owner
        self._workflow: Callable[[str, str], None] = _not_started

    def start(
        self,
        empty_lane: Callable[[str, str], None],
        *,
        kinds: Iterable[JobKind],
        workers: int,
        polling_seconds: float,
    ) -> None:
        """Start; ``empty_lane(kind, lane)`` is called for tickets of ``kinds``, must not raise."""
        with _translated():
            self._configure()
            self._workflow = _register(empty_lane)
            DBOS.listen_queues(sorted({QUEUES[kind] for kind in kinds}))
            DBOS.launch()
            for queue in sorted(set(QUEUES.values())):
                DBOS.register_queue(
                    queue,
                    partition_concurrency=1,
                    worker_concurrency=workers,
                    polling_interval_sec=polling_seconds,
                )

    def _configure(self) -> None:
        DBOS(
            config=DBOSConfig(
                name=_NAME,
                system_database_url=self._database.url.render_as_string(hide_password=False),
                system_database_engine=self._database,
                executor_id=self._owner,
                application_version=_GENERATION,
                serializer=DBOSPortableJSONSerializer(),
                log_level="WARNING",
            )
        )

    def enqueue(self, ticket: Ticket) -> None:
        """Queue a ticket; a second time changes nothing."""
        # A row without a partition key would stay in a partitioned queue for ever, silently:
        # a lane is never empty. It begins with the kind, so queues may be shared by kinds.
        priority = min(ticket.sequence, _LARGEST_PRIORITY)
        with (
            _translated(),
            SetWorkflowID(ticket.workflow),
            SetEnqueueOptions(queue_partition_key=ticket.lane, priority=priority),
        ):
            queue = QUEUES[JobKind(ticket.kind)]
            DBOS.enqueue_workflow(queue, self._workflow, ticket.kind, ticket.lane)

    def owners(self) -> set[str]:
        """The processes that have a workflow in progress, dead or alive."""
        with _translated():
            pending = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        return {found.executor_id for found in pending if found.executor_id}

    def take_over(self, dead: Iterable[str]) -> None:
        """Queue the workflows of dead processes again, in their lanes; safe in many processes."""
        # The public resume_workflow has no guard against a second reaper and leaves the lane;
        # this one re-enqueues only what still belongs to the dead (dbos 3.4, `_recovery.py`).
        with _translated():
            DBOS._recover_pending_workflows(sorted(dead))  # noqa: SLF001 - see above; tested

    def carried(self, tickets: Sequence[Ticket]) -> set[str]:
        """Of these tickets' workflows, the ids that are queued or running."""
        if not tickets:
            return set()
        with _translated():
            found = DBOS.list_workflows(
                workflow_ids=[ticket.workflow for ticket in tickets],
                status=list(_LIVE),
                load_input=False,
                load_output=False,
            )
        return {workflow.workflow_id for workflow in found}

    def forget(self, before: datetime) -> int:
        """Delete a page of workflows that were over before this moment; returns how many."""
        with _translated():
            over = DBOS.list_workflows(
                status=list(_OVER),
                completed_before=before.isoformat(),
                limit=_PAGE,
                load_input=False,
                load_output=False,
            )
            if over:
                DBOS.delete_workflows([workflow.workflow_id for workflow in over])
        return len(over)

    def stop(self, grace_seconds: int) -> None:
        """Take nothing new, wait for what runs, stop."""
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=grace_seconds)


def _register(empty_lane: Callable[[str, str], None]) -> Callable[[str, str], None]:
    @DBOS.workflow(name="empty-lane", max_recovery_attempts=_RECOVERIES)
    def empty(kind: str, lane: str) -> None:
        # Outside of DBOS's context: what a job puts would be recorded as a child of this
        # workflow, and taken for it again when another run after a crash puts other jobs.
        Context().run(empty_lane, kind, lane)

    return empty


def _not_started(kind: str, lane: str) -> None:
    """Stand where the workflow will be."""
    raise UnavailableError(f"the engine has not started; {kind} {lane} is not run")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sa.exc.SQLAlchemyError, dbos_error.DBOSException) as error:
        raise UnavailableError(f"the engine failed: {type(error).__name__}") from error
