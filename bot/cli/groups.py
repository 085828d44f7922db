"""Verbs that answer wrong usage with the nearest right one, in JSON where that was asked for."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

_AS_JSON: Final = "lockkeeper.as_json"


class Group(click.Group):
    """A group of verbs."""

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

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - click's signature
    ) -> click.Context:
        """The context of a call; the outermost one remembers whether JSON is wanted."""
        wanted = "--json" in args
        with _told_as_json(wanted=wanted and parent is None):
            context = super().make_context(info_name, args, parent, **extra)
        if parent is None:
            context.meta[_AS_JSON] = wanted
        return context

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Run the verb."""
        with _told_as_json(wanted=ctx.parent is None and ctx.meta.get(_AS_JSON, False)):
            return super().invoke(ctx)


@contextmanager
def _told_as_json(*, wanted: bool) -> Iterator[None]:
    """Wrong usage is JSON on standard output as well; click writes its own words beside it."""
    try:
        yield
    except click.ClickException as error:
        if wanted:
            said = {"kind": type(error).__name__, "text": error.format_message()}
            click.echo(json.dumps({"error": said}))
        raise
