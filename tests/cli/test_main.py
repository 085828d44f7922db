"""The command as a whole: it says what there is without importing it."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import click
import pytest

from bot.cli.image import image
from bot.cli.main import lockkeeper
from tests.world.images import build_image
from tests.world.registry import Registry

IMAGE = build_image()
LOCKKEEPER = Path(sys.executable).with_name("lockkeeper")
VERBS = lockkeeper.list_commands(click.Context(lockkeeper))


def _help(*words: str) -> str:
    done = subprocess.run([LOCKKEEPER, *words, "--help"], capture_output=True, check=True)
    return " ".join(done.stdout.decode().split())


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_listed_is_what_the_verb_says_of_itself(verb: str) -> None:
    command = lockkeeper.get_command(click.Context(lockkeeper), verb)

    assert command is not None
    assert f"{verb} {command.get_short_help_str(limit=1000)}" in _help()


@pytest.mark.parametrize("verb", image.list_commands(click.Context(image)))
def test_what_is_listed_of_images_is_what_the_verb_says_of_itself(verb: str) -> None:
    command = image.get_command(click.Context(image), verb)

    assert command is not None
    assert f"{verb} {command.get_short_help_str(limit=1000)}" in _help("image")


def test_help_imports_no_verb() -> None:
    """It took 1.1 s once: listing the verbs imported the database and a web server."""
    imported = _imported("--help")

    assert "click" in imported
    assert not imported & {"bot.ports", "flask", "msgspec", "requests", "sqlalchemy", "urllib3"}


def test_to_resolve_a_tag_imports_nothing_that_it_does_not_use() -> None:
    """It took 0.33 s: every port and every format was imported with the client."""
    with Registry() as registry:
        IMAGE.push(registry.host, "dev/api", "v1")
        imported = _imported("image", "resolve", f"{registry.host}/dev/api:v1")

    unused = {"bot.ports", "requests", "rich", "yaml", "ruamel", "cryptography", "flask"}
    assert "urllib3" in imported
    assert not imported & unused


def _imported(*words: str) -> set[str]:
    """Every module that is there when the command has ended."""
    program = (
        "import sys; from bot.cli.main import lockkeeper\n"
        "lockkeeper(sys.argv[1:], standalone_mode=False); print(' '.join(sys.modules))"
    )
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return set(done.stdout.split())


def test_garbage_is_collected_again_whatever_an_import_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bool] = []

    def broken(_module: str) -> None:
        seen.append(gc.isenabled())
        raise ImportError("a library is missing")

    monkeypatch.setattr("importlib.import_module", broken)
    command = lockkeeper
    assert isinstance(command, click.Group)
    with pytest.raises(ImportError):
        command.get_command(click.Context(command), "serve")

    assert seen == [False]
    assert gc.isenabled()
