"""The operator's ``notifications.json``, with what it names beside it; read once, at the start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bot.domain.errors import ConfigurationError
from bot.domain.notices import Sink
from bot.formats.notification_file import read_sinks

_LIMIT_BYTES: Final = 64 * 1024


def load_sinks(file: Path) -> Sequence[Sink]:
    """Who is told what.

    Raises:
        ConfigurationError: the file or one that it names cannot be read, or what is wrong in it.
    """

    def secret(name: str) -> str:
        text = _content(file.parent / name).decode("utf-8", "replace").strip()
        if not text:
            raise ConfigurationError(str(file.parent / name), None, "is empty", "fill it")
        return text

    return read_sinks(_content(file), str(file), secret)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT_BYTES + 1)
    except OSError as error:
        fact = f"cannot be read ({error.strerror})"
        raise ConfigurationError(
            str(path), None, fact, "check the name and the permissions"
        ) from error
    if len(content) > _LIMIT_BYTES:
        fact = f"is larger than {_LIMIT_BYTES} bytes"
        raise ConfigurationError(str(path), None, fact, "it holds one list, or one secret")
    return content
