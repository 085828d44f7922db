"""A wrong set-up with the real process: the first findings name it, in the log, `status`, `doctor`
and /readyz."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.world.local_bot import PIPELINE, LocalBot, running_local_bot
from tests.world.registry import Registry
from tests.world.stage import ROOT, Bot
from tests.world.tools import free_port

SECONDS = 10.0


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running


@pytest.fixture
def local(tmp_path: Path, registry: Registry) -> Iterator[LocalBot]:
    file = PIPELINE.replace("policy: policy.yaml\n", "").replace(
        "registry.example.com", registry.host
    )
    with running_local_bot(tmp_path, {"lockkeeper.yaml": file}, host=registry.host) as up:
        yield up


@contextmanager
def started(local: LocalBot, directory: Path, wrong: Mapping[str, str]) -> Iterator[Bot]:
    """The bot, begun and not waited for: it may never be ready."""
    board = f"127.0.0.1:{free_port()}"
    environment = {
        "PATH": os.environ["PATH"],
        **local.settings,
        "LOCKKEEPER_LISTEN": f"127.0.0.1:{free_port()}",
        "LOCKKEEPER_BOARD_LISTEN": board,
        **wrong,
    }
    bot = Bot(environment, directory / "bot.log", board)
    with bot.log.open("ab") as log:
        bot.process = subprocess.Popen(
            [sys.executable, "-m", "bot", "serve"], cwd=ROOT, env=environment, stderr=log
        )
    deadline = time.monotonic() + 6 * SECONDS  # an interpreter on a busy machine
    while '"listening"' not in bot.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        yield bot
    finally:
        assert bot.stop() == 0


def until(look: Callable[[], str], wanted: Callable[[str], bool]) -> str:
    """What a look shows at last."""
    deadline = time.monotonic() + 3 * SECONDS  # an interpreter on a busy machine
    while not wanted(shown := look()):
        assert time.monotonic() < deadline, f"not seen:\n{shown}"
        time.sleep(0.05)
    return shown


def first_findings(bot: Bot) -> str:
    """What the board says as soon as the set-up was looked at; how long that takes at most is
    `bot.facts.diagnosis.FIRST_ROUND_SECONDS` and its second, which have a test of their own."""
    nothing_yet = ("nobody listens", "the set-up is being looked at")
    return until(readiness(bot), lambda shown: not any(one in shown for one in nothing_yet))


def readiness(bot: Bot) -> Callable[[], str]:
    def ask() -> str:
        try:
            answer = requests.get(f"http://{bot.board}/readyz", timeout=2)
        except requests.RequestException:
            return "nobody listens"
        return f"{answer.status_code} {answer.text}"

    return ask


def log(bot: Bot) -> str:
    lines = [json.loads(line) for line in bot.log.read_text().splitlines()]
    return "\n".join(
        f"{one['severity']}: {one['about']} {one['subject']}: {one['fact']}; {one['remedy']}"
        for one in lines
        if one["message"] == "set-up"
    )


def no_pipeline_file(local: LocalBot) -> dict[str, str]:
    local.push({"lockkeeper.yaml": None})
    return {}


WRONG: dict[str, tuple[Callable[[LocalBot], dict[str, str]], str]] = {
    "a typo in LOCKKEEPER_MANIFESTS": (
        lambda _desk: {"LOCKKEEPER_MANIFESTS": "acme/deplyo"},
        "manifests.visible acme/deplyo",
    ),
    "an API address that answers 404": (
        lambda local: {"LOCKKEEPER_GITHUB_API_URL": f"{local.world.url}/api/v4"},
        "github.api http://",
    ),
    "a missing grants folder": (
        lambda local: {"LOCKKEEPER_GRANTS_DIR": local.settings["LOCKKEEPER_GRANTS_DIR"] + "-none"},
        "grants.folder /",
    ),
    "a repository without lockkeeper.yaml": (no_pipeline_file, "manifests.pipeline acme/deploy"),
}


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_github_that_hangs_is_named_everywhere(
    local: LocalBot, tmp_path: Path, deaf: str
) -> None:
    """`status` asks the running bot, which once waited for GitHub longer than `status` for it."""
    line = "unknown: github.api http"

    with started(local, tmp_path, {"LOCKKEEPER_GITHUB_URL": f"http://{deaf}"}) as bot:
        assert line in first_findings(bot)
        assert line in bot.command("status").stdout
        assert line in bot.command("doctor").stdout


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_set_up_is_named_everywhere(local: LocalBot, tmp_path: Path, case: str) -> None:
    make, place = WRONG[case]
    line = f"failure: {place}"

    with started(local, tmp_path, make(local)) as bot:
        shown = first_findings(bot)
        assert shown.startswith("503 nothing can be promoted")
        assert line in shown
        assert line in log(bot)
        assert line in bot.command("status").stdout
        assert line in (asked := bot.command("doctor")).stdout
        assert asked.returncode == 1
        findings = json.loads(bot.command("doctor", "--json").stdout)["findings"]
        assert place.split()[0] in {f["id"] for f in findings if f["severity"] == "failure"}
    local.world.violations.clear()  # requests to addresses that GitHub does not have, on purpose


def test_what_was_mended_is_noticed_without_a_restart(local: LocalBot, tmp_path: Path) -> None:
    file = local.manifests.git.text("show", "main:lockkeeper.yaml")

    with started(local, tmp_path, no_pipeline_file(local)) as bot:
        assert "503 nothing" in first_findings(bot)
        local.push({"lockkeeper.yaml": file})
        until(readiness(bot), lambda shown: "200 ready" in shown)


def test_settings_that_cannot_be_read_are_a_finding(local: LocalBot, tmp_path: Path) -> None:
    settings = {**local.settings, "LOCKKEEPER_PRIVATE_KEY_FILE": str(tmp_path / "none.pem")}
    bot = Bot({"PATH": os.environ["PATH"], **settings}, tmp_path / "bot.log", "")

    asked, served = bot.command("doctor"), bot.command("serve")

    assert asked.returncode == 1
    for said in (asked.stdout, served.stderr, bot.command("status").stderr):
        assert "LOCKKEEPER_PRIVATE_KEY_FILE" in said
        assert "none.pem cannot be read" in said
