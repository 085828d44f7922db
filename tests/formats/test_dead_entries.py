"""Entries of kustomize's `images` over a base that renames: which of them do something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.formats.edits import State
from tests.attacks.test_hidden_images import REPOSITORY, Files, deployment
from tests.formats.test_value_layers import WANTED, promoted, write
from tests.world.tools import run

RENAMES = {"name": "payments", "newName": REPOSITORY, "newTag": "v1"}
BACK = {"name": REPOSITORY, "newName": "payments"}


@pytest.mark.parametrize(
    ("below", "entry", "is_dead"),
    [
        ([RENAMES], {"name": "payments", "newTag": "v2"}, True),
        ([RENAMES], {"name": REPOSITORY, "newTag": "v2"}, False),
        ([RENAMES, BACK], {"name": "payments", "newName": REPOSITORY, "newTag": "v2"}, False),
        ([{"name": "x"}], {"name": "payments", "newName": REPOSITORY, "newTag": "v2"}, False),
    ],
)
def test_an_entry_for_a_name_that_the_base_took_away_does_nothing(
    tmp_path: Path, below: list[dict[str, str]], entry: dict[str, str], *, is_dead: bool
) -> None:
    files: Files = {
        "envs/prod/base/d.yaml": deployment("payments:dev"),
        "envs/prod/base/kustomization.yaml": json.dumps({"resources": ["d.yaml"], "images": below}),
        "envs/prod/o/kustomization.yaml": json.dumps({"resources": ["../base"], "images": [entry]}),
    }

    after, edit = promoted(files)

    path = "envs/prod/o/kustomization.yaml"
    assert (after[path] == files[path]) is is_dead
    assert any("it does nothing" in one.reason for one in edit.refused) is is_dead
    built = run("kustomize", "build", str(write(after, tmp_path) / "envs/prod/o"))
    if not is_dead:
        assert WANTED in built
        assert edit.state is State.CHANGED
