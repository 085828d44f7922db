"""The files of rules are files: a link's text and a submodule's commit rule nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from bot.domain.environments import GitHubRepository, ManifestsRepository, Pipeline
from bot.domain.errors import ConfigurationError
from bot.domain.history import TreeEntry
from bot.facts.rules import rules_at
from bot.facts.rules_in_force import rule_set
from bot.facts.snapshot import pipeline_at
from bot.formats.pipeline_file import PIPELINE_FILE, read_pipeline
from bot.ports.git import GitHistory
from tests.world.local_bot import PIPELINE

REPOSITORY = ManifestsRepository(GitHubRepository.parse("acme/deploy"))
TEXT = PIPELINE.replace("policy: policy.yaml", "policy: p.yaml")
RULES = b"""\
version: 1
environments: { prod: { rules: [{ id: x, deny: introduced, severity: ">= critical" }] } }
"""


@dataclass
class Commit:
    """`bot.ports.git.GitHistory` of one commit, as far as rules are read from it."""

    modes: dict[str, str]
    contents: dict[str, bytes] = field(
        default_factory=lambda: {PIPELINE_FILE: TEXT.encode(), "p.yaml": RULES}
    )

    def paths(self, _tree: str) -> dict[str, TreeEntry]:
        return {path: TreeEntry(mode, path) for path, mode in self.modes.items()}

    def read(self, blob: str) -> bytes:
        return self.contents[blob]


def history(**modes: str) -> GitHistory:
    files = {PIPELINE_FILE: modes.get("pipeline", "100644"), "p.yaml": modes.get("p", "100644")}
    return cast("GitHistory", Commit(files))


def pipeline() -> Pipeline:
    return read_pipeline(TEXT, commit="c" * 40)


@pytest.mark.parametrize("mode", ["120000", "160000"])
def test_a_pipeline_file_that_is_no_file_is_none(mode: str) -> None:
    """A link's text may be a whole pipeline file."""
    assert rule_set(history(pipeline=mode), "c" * 40) is None
    with pytest.raises(ConfigurationError, match="a link or a submodule"):
        pipeline_at(REPOSITORY, history(pipeline=mode), "c" * 40)


@pytest.mark.parametrize("mode", ["120000", "160000"])
def test_a_policy_that_is_no_file_is_none(mode: str) -> None:
    with pytest.raises(ConfigurationError, match="no file beside it"):
        rules_at(history(p=mode), pipeline(), "c" * 40)


def test_an_executable_file_is_a_file() -> None:
    assert rule_set(history(pipeline="100755", p="100755"), "c" * 40) is not None
