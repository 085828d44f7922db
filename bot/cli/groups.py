"""Verbs that answer wrong usage with the nearest right one, and in JSON where that was asked for."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Sequence
from typing import Any

import click


class Group(click.Group):
    """A group of verbs; the outermost one also ends the process."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb, or wrong usage with the nearest one that there is."""
        verbs = self.list_commands(ctx)
        if args and args[0] not in verbs and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], verbs, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(verbs)}"
            ctx.fail(f"no such command: {args[0]}; {hint}")
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # noqa: ANN401 - click's signature
        """Run; wrong usage is JSON on standard output as well, where JSON was asked for."""
        given = sys.argv[1:] if args is None else list(args)
        if "--json" not in given or not extra.get("standalone_mode", True):
            return super().main(args, **extra)
        try:
            code = super().main(args, **{**extra, "standalone_mode": False})
        except click.ClickException as error:
            said = {"kind": type(error).__name__, "text": error.format_message()}
            click.echo(json.dumps({"error": said}))
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            click.echo("Aborted!", err=True)
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)
