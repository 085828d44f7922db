"""From an error to what a person reads and a script sees: exit codes 1 and 2."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from bot.domain.errors import ConfigurationError, LockkeeperError, NotGrantedError
from bot.domain.grants import REGISTRY_HOST
from bot.domain.oci import InvalidNameError

FAILED: Final = 1
WRONG_USAGE: Final = 2


@contextmanager
def failing(*, as_json: bool) -> Iterator[None]:
    """Print an error as one line (or as JSON), with the exit code of its kind."""
    try:
        yield
    except LockkeeperError as error:
        if as_json:
            click.echo(json.dumps({"error": {"kind": type(error).__name__, "text": str(error)}}))
        click.echo(f"error: {error}", err=True)
        if isinstance(error, NotGrantedError) and error.thing.startswith(REGISTRY_HOST):
            host = error.thing.removeprefix(REGISTRY_HOST)
            click.echo(f'hint: {{"hosts": {{"{host}": {{}}}}}} in --registry-config', err=True)
        raise click.exceptions.Exit(exit_code(error)) from error


def exit_code(error: LockkeeperError) -> int:
    """2 where the usage or the configuration is wrong, else 1."""
    from bot.domain.environments import BadNameError  # noqa: PLC0415 - slow, and seldom needed

    wrong_usage = isinstance(error, ConfigurationError | InvalidNameError | BadNameError)
    return WRONG_USAGE if wrong_usage else FAILED
