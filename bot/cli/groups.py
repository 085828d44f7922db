"""Verbs that answer wrong usage with the nearest right one, in JSON where that was asked for."""

from __future__ import annotations

import difflib
import gc
import importlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Final

import click

_AS_JSON: Final = "lockkeeper.as_json"
_YOUNG: Final = 30_000  # objects more than before, until garbage is searched for among them


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
        wanted = any(one.partition("=")[0] == "--json" for one in args)
        with _told_as_json(wanted=wanted and parent is None):
            context = super().make_context(info_name, args, parent, **extra)
        if parent is None:
            context.meta[_AS_JSON] = wanted
        return context

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Run the verb."""
        with _told_as_json(wanted=ctx.parent is None and ctx.meta.get(_AS_JSON, False)):
            return super().invoke(ctx)


class LazyGroup(Group):
    """Verbs by name: what one needs is slow to import, and the others seldom needed."""

    verbs: ClassVar[Mapping[str, tuple[str, str]]]
    """Name -> ``module:command``, and what it says of itself: to list verbs none is imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb: those that stand here in their order, with others among them by name."""
        own = super().list_commands(ctx)
        return sorted((*self.verbs, *own)) if own else list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb, imported now."""
        if cmd_name not in self.verbs:
            return super().get_command(ctx, cmd_name)
        module, _, name = self.verbs[cmd_name][0].partition(":")
        with _nothing_collected():
            command = getattr(importlib.import_module(module), name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs by what stands here, each with its own first sentence."""
        with formatter.section("Commands"):
            formatter.write_dl([(one, self._said(ctx, one)) for one in self.list_commands(ctx)])

    def _said(self, ctx: click.Context, name: str) -> str:
        if name in self.verbs:
            return self.verbs[name][1]
        command = super().get_command(ctx, name)
        return command.get_short_help_str(limit=100) if command else ""


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """A thousand modules are no garbage: not to look for it saves a seventh of the start.

    They live as long as the process, so later searches leave them out.
    """
    gc.disable()
    try:
        yield
    finally:
        settle()
        gc.enable()


def settle() -> None:
    """Leave what is imported out of every search for garbage, and search among the rest less often.

    A report is thousands of tuples that live while it is judged: with Python's own 700 a tenth of
    a review is looking through them for cycles, of which there are none.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)


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
