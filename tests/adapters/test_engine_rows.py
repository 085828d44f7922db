"""For every order of events: nothing is lost, lanes are serial, late results change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings, strategies as st

from bot.adapters.engine import MIGRATIONS
from bot.adapters.engine.rows import CRASHES_ALLOWED, Ending, JobRows, Retry, Run, owner_column
from bot.adapters.store import migrate, open_database
from bot.domain.jobs import Done, Failed, Job, JobKind, RequeueAt

NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER: Final = NOW + timedelta(days=1)
JOBS: Final = [
    Job(JobKind.DELIVER, 7, "prod", f"{number}", lane=f"lane {number % 2}") for number in range(5)
]
ENDINGS: Final[dict[str, Ending]] = {
    "done": Done("ran"),
    "again": RequeueAt("no image yet", LATER),
    "retry": Retry("it does not answer", LATER),
    "failed": Failed("no such key"),
}
_WHO: Final = st.sampled_from(["one", "two"])
_MOVES: Final = st.one_of(
    st.tuples(st.just("put"), st.integers(0, len(JOBS) - 1)),
    st.tuples(st.just("claim"), _WHO),
    st.tuples(st.just("end"), _WHO, st.sampled_from(sorted(ENDINGS)), st.booleans()),
    st.tuples(st.just("die"), _WHO),
    st.tuples(st.just("wake")),
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    opened = open_database(f"sqlite:///{tmp_path_factory.mktemp('rows') / 'jobs.db'}")
    migrate(opened, "engine", MIGRATIONS)
    yield opened
    opened.dispose()


@dataclass
class World:
    """Two processes on one table, and what they know. A process that died comes back at once."""

    database: sa.Engine
    moment: int = 0
    asked: dict[str, int] = field(default_factory=dict)
    began: dict[str, int] = field(default_factory=dict)
    runs: dict[str, list[Run]] = field(default_factory=lambda: {"one": [], "two": []})
    """What each process believes that it runs; of a dead one, what it comes back with."""
    valid: dict[str, Run] = field(default_factory=dict)
    """Lane -> the run that counts."""
    crashes: int = 0

    def rows(self, who: str) -> JobRows:
        return JobRows(self.database, who)

    def put(self, number: int) -> None:
        self.moment += 1
        self.rows("one").put(JOBS[number], NOW)
        self.asked[JOBS[number].key] = self.moment

    def claim(self, who: str) -> None:
        for run in self.rows(who).claim([JobKind.DELIVER], 8):
            self._begin(who, run)

    def end(self, who: str, how: str, goes_on: bool) -> None:  # noqa: FBT001 - drawn
        if not self.runs[who]:
            return
        run = self.runs[who].pop(0)
        counts = self.valid.get(run.lane) == run
        finished = self.rows(who).finish(run, ENDINGS[how], goes_on=goes_on)
        assert finished.is_ours == counts, "a late result changes nothing, a good one counts"
        if counts:
            del self.valid[run.lane]
        if finished.next is not None:
            assert counts
            self._begin(who, finished.next)

    def die(self, who: str) -> None:
        self.crashes += 1
        if self.crashes >= CRASHES_ALLOWED:
            return
        survivor = "two" if who == "one" else "one"
        held = [run.lane for run in self.valid.values() if run.owner == survivor]
        self.rows(survivor).take_over(owner_column == who, held)
        self.valid = {lane: run for lane, run in self.valid.items() if run.owner != who}

    def wake(self) -> None:
        self.rows("one").wake(LATER)

    def drain(self) -> None:
        """Everything ends well from now on."""
        for _ in range(2 * len(JOBS)):
            self.wake()
            self.claim("one")
            for who in ("one", "two"):
                while self.runs[who]:
                    self.end(who, "done", goes_on=False)

    def _begin(self, who: str, run: Run) -> None:
        self.moment += 1
        assert run.lane not in self.valid, "one of a lane at a time"
        self.valid[run.lane] = run
        self.began[run.key] = self.moment
        self.runs[who].append(run)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.lists(_MOVES, max_size=40))
def test_whatever_happens_each_request_is_followed_by_a_run(
    database: sa.Engine, moves: list[tuple[str, *tuple[object, ...]]]
) -> None:
    with database.begin() as connection:
        connection.execute(sa.text("DELETE FROM lk_job"))
    world = World(database)
    for name, *arguments in moves:
        getattr(world, name)(*arguments)
    world.drain()

    left = world.rows("one").states()
    assert {found.state for found in left} <= {"failed"}
    failed = {found.key for found in left}
    for key, asked in world.asked.items():
        assert key in failed or world.began[key] > asked
