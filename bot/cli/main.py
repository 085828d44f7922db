"""The command `lockkeeper`; what a verb needs is imported when it is called."""

from __future__ import annotations

import importlib
from typing import Final

import click

from bot.cli.groups import Group

_VERBS: Final = {
    "serve": "bot.cli.operate:serve",
    "doctor": "bot.cli.doctor:doctor",
    "image": "bot.cli.image:image",
    "plan": "bot.cli.plan:plan",
    "review": "bot.cli.review:review",
    "config": "bot.cli.plan:config",
    "adopt": "bot.cli.operate:adopt",
    "hold": "bot.cli.operate:hold",
    "unhold": "bot.cli.operate:unhold",
    "reseal": "bot.cli.operate:reseal",
    "retry": "bot.cli.operate:retry",
    "status": "bot.cli.operate:status",
    "audit": "bot.cli.operate:audit",
}


class _Lazy(Group):
    """Verbs by name; `requests` and the database are slow to import and seldom needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        target = _VERBS.get(cmd_name)
        if target is None:
            return None
        module, _, name = target.partition(":")
        command = getattr(importlib.import_module(module), name)
        return command if isinstance(command, click.Command) else None


@click.command(cls=_Lazy)
@click.version_option(package_name="lockkeeper")
def lockkeeper() -> None:
    """Promote container images between environments through reviewed pull requests."""
