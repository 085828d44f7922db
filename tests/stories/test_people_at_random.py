"""People who do anything in any order: what they stopped stays stopped, and every state speaks."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.usecases.test_holds import put_back

from bot.domain.memory import Hold, HoldKind
from bot.domain.standing import State
from bot.facts.gates import holds_of
from bot.facts.status import places_of
from tests.world.driver import Driver, driven
from tests.world.github.errors import ApiError
from tests.world.github.records import PullRequest

pytestmark = pytest.mark.slow

STEPS = 16
COMMANDS = (
    *(
        "/hold incident",
        "/unhold",
        "/unhold",
        "/unhold",
        "/freeze stage 8h the fair",
        "/unfreeze stage",
    ),
    *("/rollback", "/rollback 2", "/update", "/promote stage", "/recheck", "/retry", "/explain"),
    *("/break-glass now", "/rolback", "/hold", "> /rollback", "/freeze stage"),
)
FIRST = ("freeze stage 8h the fair", "rollback")
AT_REST = {State.PUBLISHED, State.EMPTY}


@dataclass
class Crowd:
    """The stage with people on it, and what they have seen of one environment."""

    driver: Driver
    chance: random.Random
    built: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    """Digests in the order in which the environment showed each first."""

    def promotions(self) -> list[PullRequest]:
        pulls = self.driver.stage.manifests.pulls.values()
        return [p for p in pulls if p.head_ref.startswith("lockkeeper/stage/")]

    def release(self) -> None:
        stage = self.driver.stage
        commit = stage.commit("develop")
        self.built.append(self.driver.build(stage.source, commit))
        self.driver.run(self.driver.propose("dev"))
        stage.dana.push(stage.source, f"release/v{len(self.built)}", parent=commit)
        self.driver.run(self.driver.propose("stage"))

    def merge(self) -> None:
        for pull in self.promotions():
            if pull.state == "open" and self.chance.random() < 0.7:
                try:
                    self.driver.stage.dana.merge(pull)
                except ApiError:  # it conflicts: the next look writes it anew
                    continue

    def close(self) -> None:
        for pull in self.promotions():
            if pull.state == "open" and self.chance.random() < 0.3:
                self.driver.stage.dana.close(pull)

    def revert(self) -> None:
        if self.order:
            put_back(self.driver, self.chance.choice(self.order))
            self.driver.stage.dana.delete_branch(self.driver.stage.manifests, "back")

    def comment(self) -> None:
        if self.promotions():
            stage = self.driver.stage
            who = self.chance.choice([stage.dana, stage.rita])
            pull = self.chance.choice(self.promotions())
            self.driver.heard(who, pull, self.chance.choice(COMMANDS))

    def look(self) -> None:
        driver = self.driver
        driver.run(driver.propose("stage"), driver.deliver("stage"), driver.publish("stage"))


@pytest.mark.parametrize("seed", [13, 28])
def test_what_was_stopped_stays_so_and_every_state_has_a_sentence(
    tmp_path: Path, seed: int
) -> None:
    with driven(tmp_path) as driver:
        driver.look_first()
        crowd = Crowd(driver, random.Random(seed))  # noqa: S311 - a seed, not a secret
        for _ in range(2):  # something to go back to
            crowd.release()
            for pull in crowd.promotions():
                if pull.state == "open":
                    driver.stage.dana.merge(pull)
            crowd.look()
            check_stopped(crowd, None, [])
        driver.heard(driver.stage.dana, crowd.promotions()[-1], f"/{crowd.chance.choice(FIRST)}")
        crowd.release()
        steps: list[Callable[[], None]] = [
            *(crowd.release, crowd.release, crowd.close, crowd.revert),
            *([crowd.merge] * 4 + [crowd.comment] * 5),
        ]
        for _ in range(STEPS):
            before, holds = driver.shown("stage"), holds_of(driver.look(), "stage")
            crowd.chance.choice(steps)()
            still = [one for one in holds_of(driver.look(), "stage") if one in holds]
            crowd.look()
            still = [one for one in holds_of(driver.look(), "stage") if one in still]
            check_stopped(crowd, before, still)
            check_words(driver)


def check_stopped(crowd: Crowd, before: str | None, holds: list[Hold]) -> None:
    """What stood all the time let nothing pass that it stops."""
    shown = crowd.driver.shown("stage")
    kinds = {one.kind for one in holds}
    is_broken = any(entry.kind == "glass broken" for entry in crowd.driver.ports.audit.entries())
    if HoldKind.PERSON in kinds:
        assert shown == before
    if kinds & {HoldKind.ROLLBACK, HoldKind.FREEZE} and shown != before and not is_broken:
        earlier = crowd.order[: crowd.order.index(before)] if before in crowd.order else []
        assert shown in earlier, "something newer came"
    if shown is not None:
        assert shown in crowd.built
        if shown not in crowd.order:
            crowd.order.append(shown)


def check_words(driver: Driver) -> None:
    """Every state has one sentence; what does not rest says for what it waits, and who can."""
    for place in places_of(driver.look(), {}):
        assert place.sentence
        is_at_rest = place.standing.state in AT_REST
        assert is_at_rest or (place.standing.waits_for and place.standing.who), place.sentence
    for pull in driver.stage.manifests.pulls.values():
        for comment in pull.comments:
            heard = comment.body.startswith("/") and "lockkeeper/stage" in pull.head_ref
            by_bot = {what for _, who, what, _ in comment.reactions if who.type == "Bot"}
            assert bool(by_bot) == heard, comment.body
