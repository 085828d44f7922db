"""`lockkeeper ci snippet`: which file, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli.main import lockkeeper
from tests.domain.test_ci_builds import PIPELINE

TWO = PIPELINE + "  billing: { images: [billing] }\n"


def snippet(folder: Path, content: str | bytes | None, *more: str) -> Result:
    file = folder / "lockkeeper.yaml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    arguments = ["ci", "snippet", "--for", "github", "--config", str(file), *more]
    return CliRunner().invoke(lockkeeper, arguments)


def test_the_only_application_is_meant(tmp_path: Path) -> None:
    done = snippet(tmp_path, PIPELINE)

    assert done.exit_code == 0
    assert "registry.dev.example.com/acme/payments-api" in done.stdout


def test_of_several_one_has_to_be_named(tmp_path: Path) -> None:
    asked = snippet(tmp_path, TWO)
    named = snippet(tmp_path, TWO, "--application", "billing")

    assert asked.exit_code == 1
    assert "say --application with one of: payments, billing" in asked.stderr
    assert "acme/billing" in named.stdout
    assert "payments" not in named.stdout.partition("jobs:")[2]


@pytest.mark.parametrize(
    ("content", "more", "code", "words"),
    [
        (PIPELINE, ("--application", "paymnets"), 1, "is no application of the pipeline file"),
        (PIPELINE, ("--environment", "prod"), 1, "CI does not push for prod; name one of: dev"),
        (b"\xff\xfe", (), 2, "not UTF-8"),
        ("version: 1\n", (), 2, "lockkeeper.yaml"),
        (None, (), 2, "does not exist"),
    ],
)
def test_a_mistake_is_said_with_the_way_out(
    content: str | bytes | None, more: tuple[str, ...], code: int, words: str, tmp_path: Path
) -> None:
    done = snippet(tmp_path, content, *more)

    assert (done.exit_code, words in done.stderr) == (code, True), done.stderr
    assert done.stdout == ""
