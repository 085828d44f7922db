"""The durable queue: DBOS runs the jobs, a table of our own says which are not over.

What is safe: putting a job again (absorbed), running several processes on PostgreSQL, killing any
of them at any moment. What is left behind by a crash: a row that says ``queued`` or ``running``,
which the next look at the table puts right. A job may run more than once, never not at all, and
two jobs of one lane never at the same time, except when a process that everybody thought dead
wakes up: then its result is not accepted (the row has a new owner).

Why not DBOS alone (docs/adr/0001-engine.md): its retries sleep in the worker, its rows are keyed
by workflow rather than by subject, and taking over a dead process's work is left to a service.
DBOS keeps what it is good at: lanes, order, concurrency, and exactly one runner per workflow.
"""

from __future__ import annotations

from bot.adapters.engine.engine import Engine, Pace
from bot.adapters.engine.rows import MIGRATIONS

__all__ = ["MIGRATIONS", "Engine", "Pace"]
