"""The command `lockkeeper`; what a verb needs is imported when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import click

from bot.cli.groups import LazyGroup

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
    "ci": ("bot.cli.ci:ci", "Tell application repositories what to build."),
    "config": ("bot.cli.plan:config", "Check the pipeline file."),
    "adopt": ("bot.cli.operate:adopt", "Take over, unsealed, what ENVIRONMENT runs now."),
    "accept": (
        "bot.cli.operate:accept",
        "Put the rules of COMMIT into force where ENVIRONMENT is, in place of approvals.",
    ),
    "hold": ("bot.cli.operate:hold", "Stop ENVIRONMENT, or one APPLICATION in it."),
    "unhold": ("bot.cli.operate:unhold", "Let ENVIRONMENT, or one APPLICATION in it, go on."),
    "promote": (
        "bot.cli.operate:promote",
        "Open the pull request of a COMMIT of APPLICATION in ENVIRONMENT.",
    ),
    "rollback": (
        "bot.cli.operate:rollback",
        "Open the pull request that takes APPLICATION in ENVIRONMENT back by NUMBER versions.",
    ),
    "freeze": (
        "bot.cli.operate:freeze",
        "Let nothing new into ENVIRONMENT for DURATION (45m, 8h, 3d, 2w), for this REASON.",
    ),
    "unfreeze": (
        "bot.cli.operate:unfreeze",
        "End a freeze of ENVIRONMENT that somebody gave.",
    ),
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


class _Lockkeeper(LazyGroup):
    verbs: ClassVar[Mapping[str, tuple[str, str]]] = _VERBS


@click.command(cls=_Lockkeeper)
@click.version_option(package_name="lockkeeper")
def lockkeeper() -> None:
    """Promote container images between environments through reviewed pull requests."""
