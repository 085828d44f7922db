"""The durable queue: one table, on SQLite for one process and on PostgreSQL for several.

    engine = Engine(database, clock, run)
    engine.start()
    engine.put(Job(JobKind.DELIVER, 7, "prod", "payments"))

What holds, whatever is killed and whenever:

1. A job that was put runs at least once after that.
2. Two jobs of one lane never run at the same time, and they begin in the order they were put.
3. A request for a job that has not begun is absorbed; one that comes while it runs runs it again.
4. What waits for a time holds no thread and no lane.
5. Work of a dead process is taken over: on SQLite at the next start, on PostgreSQL after a lease.
6. A result counts only while its run does: who was taken for dead and wakes up changes nothing.

Why a table of our own: docs/adr/0021-one-queue-of-our-own.md.
"""

from __future__ import annotations

from bot.adapters.engine.engine import Engine, Pace
from bot.adapters.engine.rows import MIGRATIONS

__all__ = ["MIGRATIONS", "Engine", "Pace"]
