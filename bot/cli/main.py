"""The command `lockkeeper`; what a verb needs is imported when it is called."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from bot.cli.groups import Group

_VERBS: Final = {
    "serve": ("bot.cli.operate:serve", "Run the App: webhooks in, promotions out."),
    "doctor": (
        "bot.cli.doctor:doctor",
        "Say what is wrong with this set-up, one line each, and how to mend it.",
    ),
    "image": ("bot.cli.image:image", "Resolve, copy, sign and verify images."),
    "plan": (
        "bot.cli.plan:plan",
        "Show what a promotion would change in the manifest files, as a diff.",
    ),
    "review": (
        "bot.cli.review:review",
        "Judge a new image against the one that runs: a body on stdout, the verdict as exit code.",
    ),
    "scanner": (
        "bot.cli.scanner:scanner",
        "Renew the scanner's database while the bot runs.",
    ),
    "config": ("bot.cli.plan:config", "Check the pipeline file."),
    "adopt": ("bot.cli.operate:adopt", "Take over, unsealed, what ENVIRONMENT runs now."),
    "accept": (
        "bot.cli.operate:accept",
        "Put the rules of COMMIT into force where ENVIRONMENT is, in place of approvals.",
    ),
    "hold": ("bot.cli.operate:hold", "Stop ENVIRONMENT, or one APPLICATION in it."),
    "unhold": ("bot.cli.operate:unhold", "Let ENVIRONMENT, or one APPLICATION in it, go on."),
    "reseal": (
        "bot.cli.operate:reseal",
        "Sign again, with the first key, what is published in ENVIRONMENT.",
    ),
    "resume": (
        "bot.cli.operate:resume",
        "Go on from what the refs show, after a database was restored, emptied or changed.",
    ),
    "retry": ("bot.cli.operate:retry", "Run a waiting or failed JOB (as `status` names it) now."),
    "status": (
        "bot.cli.operate:status",
        "Where every application is, what it waits for, and which jobs are not over.",
    ),
    "trust-source": (
        "bot.cli.operate:trust_source",
        "Let the name of a source mean the REPOSITORY that has it now.",
    ),
    "audit": ("bot.cli.operate:audit", "The chained record of what was done."),
}
"""Name -> where the verb is, and what it says of itself: to list verbs none is imported."""


class _Lazy(Group):
    """Verbs by name; `requests` and the database are slow to import and seldom needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _VERBS:
            return None
        module, _, name = _VERBS[cmd_name][0].partition(":")
        with _nothing_collected():
            command = getattr(importlib.import_module(module), name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the verbs by what stands here, each with its own first sentence."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _VERBS.items()])


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """A thousand modules are no garbage: not to look for it saves a seventh of the start.

    They live as long as the process, so later searches leave them out.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@click.command(cls=_Lazy)
@click.version_option(package_name="lockkeeper")
def lockkeeper() -> None:
    """Promote container images between environments through reviewed pull requests."""
