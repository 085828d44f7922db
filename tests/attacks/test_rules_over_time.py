"""Rules over random histories, with an adversary who may do whatever a writer may.

The model knows one sentence: rules of prod change when Rita, who is in the team, has approved a
pull request that shows all that changes, and else never. It is compared after every step.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bot.facts.snapshot import View
from tests.world.github.people import User
from tests.world.local_bot import HOST, LocalBot, running_local_bot

pytestmark = pytest.mark.slow

FILE = "lockkeeper.yaml"
COUNTS, BRANCHES = (0, 1, 2), ("develop", "trunk")


def rules_of(count: int, branch: str) -> str:
    """Two environments: what prod asks for, and which branch feeds dev."""
    return f"""\
version: 1
environments:
  dev:
    on: {{ branches: [{branch}] }}
    image_repository: {HOST}/dev/{{image}}
    manifests: [envs/dev/**]
  prod:
    on: {{ branches: [main] }}
    from: dev
    image_repository: {HOST}/acme/{{image}}
    manifests: [envs/prod/**]
    approvals: {{ count: {count}, teams: [acme/security] }}
defaults: {{ source: "acme/{{application}}", images: ["{{application}}"] }}
applications: {{ payments: {{}} }}
"""


class Histories(RuleBasedStateMachine):
    """Pushes, merges of all styles, approvals and reverts, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="lockkeeper-rules-"))
        self.up: Any = None
        self.number = 0

    @initialize()
    def begin(self) -> None:
        self.up = running_local_bot(self.folder, {FILE: rules_of(1, "develop")})
        self.local: LocalBot = self.up.__enter__()
        folder = self.folder / "grants"
        shutil.copytree(folder / "prod", folder / "dev")
        self.sam: User = self.local.world.add_user("sam")
        self.main = self.force = (1, "develop")
        self.look()

    def teardown(self) -> None:
        if self.up is not None:
            self.up.__exit__(None, None, None)
        shutil.rmtree(self.folder, ignore_errors=True)

    def look(self) -> View:
        return self.local.look()

    def _came(self, new: tuple[int, str], *, approved: bool) -> None:
        """What is in force after these rules came to the default branch."""
        shows_all, self.main = self.main == self.force, new
        # Where prod asks for nobody, and where it is not touched, nobody is asked.
        if new[0] == self.force[0] or self.force[0] == 0 or (approved and shows_all):
            self.force = new

    @rule(count=st.sampled_from(COUNTS), branch=st.sampled_from(BRANCHES))
    def push(self, count: int, branch: str) -> None:
        """The adversary pushes rules of his liking."""
        self.local.push({FILE: rules_of(count, branch)})
        self._came((count, branch), approved=False)
        self.look()

    @rule(
        count=st.sampled_from(COUNTS),
        branch=st.sampled_from(BRANCHES),
        who=st.sampled_from(["nobody", "sam", "rita", "both"]),
        method=st.sampled_from(["merge", "squash", "rebase"]),
    )
    def merge(self, count: int, branch: str, who: str, method: str) -> None:
        """Dana's pull request, approved by somebody or nobody."""
        if (count, branch) == self.main:
            return
        people = {"nobody": (), "sam": (self.sam,), "rita": (self.local.rita,)}
        approving = people.get(who, (self.sam, self.local.rita))
        self.local.merge({FILE: rules_of(count, branch)}, *approving, method=method)
        enough = self.force[0] <= 1 and self.local.rita in approving
        self._came((count, branch), approved=enough)
        self.look()

    @rule()
    def write_words(self) -> None:
        """Something that is no rule."""
        self.number += 1
        self.local.push({f"docs/{self.number}.md": "words\n"})

    @rule()
    def take_back(self) -> None:
        """Somebody puts the rules in force onto the default branch again."""
        self.local.push({FILE: rules_of(*self.force)})
        self._came(self.force, approved=False)

    @invariant()
    def rules_in_force_are_those_that_were_let_in(self) -> None:
        if self.up is None:
            return
        view = self.look()
        count, branch = self.force
        assert view.environment("prod").approvals.count == count
        assert view.environment("dev").branches == (branch,)
        assert (view.pending is None) is (self.main == self.force)


Histories.TestCase.settings = settings(
    max_examples=8,
    stateful_step_count=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestHistories = Histories.TestCase
