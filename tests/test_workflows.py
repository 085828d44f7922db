"""Our own workflows are valid, pinned and ask for little."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world.tools import run

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_zizmor_finds_nothing() -> None:
    """Offline: injection, permissions, credentials that stay, actions without a hash."""
    zizmor = Path(sys.executable).with_name("zizmor")

    done = subprocess.run(
        [zizmor, "--offline", "--quiet", ".github"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actionlint_finds_nothing(workflow: Path) -> None:
    assert run("actionlint", "-no-color", "-shellcheck=", "-pyflakes=", str(workflow)) == ""


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_commit_and_named_by_version(workflow: Path) -> None:
    used = re.findall(r"uses: (.+)", workflow.read_text())

    assert used
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", one) for one in used)


def test_checks_run_on_every_python_from_the_oldest_that_we_promise() -> None:
    promised = re.search(r'requires-python = ">=(3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    matrix = re.search(r"python: \[(.+)\]", (ROOT / ".github/workflows/checks.yml").read_text())

    assert promised
    assert matrix
    assert matrix[1] == ", ".join(f'"3.{minor}"' for minor in range(int(promised[1][2:]), 15))
