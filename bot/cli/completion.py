"""What a shell offers behind <Tab>: names from the pipeline file here, else from the database.

Completion never fails and never waits for anybody: what cannot be read offers nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click
from click.shell_completion import CompletionItem

from bot.domain.errors import LockkeeperError
from bot.formats.pipeline_file import PIPELINE_FILE, read_pipeline

_FILE: Final = Path(PIPELINE_FILE)


def environment_names(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Environments that start with what was typed."""
    return _offer(_names(context)[0], incomplete)


def application_names(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Applications that start with what was typed."""
    return _offer(_names(context)[1], incomplete)


def _offer(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def _names(context: click.Context) -> tuple[Iterable[str], Iterable[str]]:
    given = context.params.get("config")
    file = Path(str(given)) if given else _FILE
    try:
        pipeline = read_pipeline(file.read_text(), file=str(file))
    except (LockkeeperError, OSError, UnicodeDecodeError):
        return _from_database()
    return list(pipeline.environments), list(pipeline.applications)


def _from_database() -> tuple[Iterable[str], Iterable[str]]:
    """Names that the record holds; imported here, because a shell asks at every <Tab>."""
    from bot.assembly import known_names  # noqa: PLC0415 - slow, and seldom needed
    from bot.settings import Settings  # noqa: PLC0415 - as above

    try:
        return known_names(Settings.from_process())
    except LockkeeperError:
        return (), ()
