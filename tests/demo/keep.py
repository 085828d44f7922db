"""The commands that ``KEEP=1`` prints: each works as it stands, in the root of the checkout.

A digest alone is nearly 80 columns wide, so long words are broken by a backslash at the end of
the line, as a shell reads it.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.formats.pull_request_body import marked_promotion
from tests.demo.bodies import BUILD, relative
from tests.demo.builds import REPOSITORY
from tests.demo.play import Play
from tests.world.stage import ROOT, Stage
from tests.world.tools import installed

_PYTHON: Final = Path(sys.executable)


@dataclass(frozen=True)
class Command:
    """One command, with what it shows."""

    shows: str
    lines: tuple[str, ...]
    """As they are printed; each but the last ends in a backslash."""


def commands(play: Play) -> list[Command]:
    """At most eight."""
    stage = play.stage
    last = play.promotions[-1]
    prod = f"{stage.hosts['prod']}/{REPOSITORY}@"
    stopped = play.kept["blocked"]
    number = next(one.pull.number for one in play.promotions if one.verdict == "pass")
    marked = marked_promotion(stopped.markdown)
    assert marked, "the body names its promotion"
    lockkeeper = _tool("lockkeeper")
    reference = (f"{prod}\\", last.image.digest)
    return [
        Command(
            "what runs where, and which jobs are open",
            (f". {relative(BUILD / 'env')} && {lockkeeper} status",),
        ),
        Command(
            "the pull request that was blocked and then passed, in a browser",
            (
                f"{_tool('python')} -m webbrowser \\",
                f"  {stage.github.url}/acme/deploy/pull/{number}",
            ),
        ),
        Command(
            "all that was found when it was blocked, on the bot's board",
            (
                f"{_tool('python')} -m webbrowser \\",
                f"  http://{stage.bot.board}/promotions/{marked[0]}",
            ),
        ),
        Command(
            "what was published in prod, and when",
            (f"git --git-dir {_git(stage)} \\", "  log --format='%h %ad %s' env/prod"),
        ),
        *_cosign(reference),
        Command(
            "how the image came to prod, as its attestations tell it",
            (
                f"{lockkeeper} image passport \\",
                f"  --key {relative(BUILD / 'attest.pub')} \\",
                *reference,
            ),
        ),
    ]


def write_environment(stage: Stage) -> None:
    """What the command line needs to ask the running bot."""
    lines = [
        f"export {name}={shlex.quote(value)}"
        for name, value in sorted(stage.bot.environment.items())
        if name.startswith("LOCKKEEPER_")
    ]
    (BUILD / "env").write_text("\n".join(lines) + "\n")


def _cosign(reference: tuple[str, ...]) -> list[Command]:
    """With the cosign that is there; without one Lockkeeper's own verb stands in for it."""
    program = installed("cosign3") or installed("cosign")
    key = relative(BUILD / "cosign.pub")
    if program is None:
        lines = (f"{_tool('lockkeeper')} image verify --key {key} \\", *reference)
        return [Command("the signature in prod (no cosign is installed here)", lines)]
    name = relative(program) if program.is_relative_to(ROOT) else str(program)
    lines = (
        f"{name} verify --key {key} \\",
        "  --insecure-ignore-tlog=true --allow-http-registry \\",
        *reference,
    )
    return [Command("the signature in prod, as cosign sees it", lines)]


def _tool(name: str) -> str:
    """A program of this Python's environment."""
    path = _PYTHON.with_name(name)
    return relative(path) if path.is_relative_to(ROOT) else str(path)


def _git(stage: Stage) -> str:
    return relative(stage.manifests.git.path)
