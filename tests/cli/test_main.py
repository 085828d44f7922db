"""The command as a whole: it says what there is without importing it."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import pytest

from bot.cli.image import image
from bot.cli.main import lockkeeper
from tests.world.images import build_image
from tests.world.registry import Registry

IMAGE = build_image()
_FLOOR = "import urllib3, click, msgspec"
"""What a machine that does something else is slow at, too."""
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


def test_help_takes_a_tenth_of_a_second_of_processor_time() -> None:
    """It took 1.1 s once: listing the verbs imported the database and a web server."""
    assert _processor_seconds(_help) <= 0.15


def test_to_resolve_a_tag_takes_a_fifth_of_a_second_of_processor_time() -> None:
    """It took 0.33 s: every port and every format was imported with the client."""
    with Registry() as registry:
        IMAGE.push(registry.host, "dev/api", "v1")
        words = [str(LOCKKEEPER), "image", "resolve", f"{registry.host}/dev/api:v1"]

        def resolve() -> None:
            done = subprocess.run(words, capture_output=True, check=True)
            assert done.stdout.decode().strip() == IMAGE.digest

        floor = _processor_seconds(partial(subprocess.run, [sys.executable, "-c", _FLOOR]))
        assert _processor_seconds(resolve) <= max(0.2, 1.8 * floor)


def test_to_resolve_a_tag_imports_nothing_that_it_does_not_use() -> None:
    program = (
        "import sys; from bot.cli.main import lockkeeper\n"
        "lockkeeper(sys.argv[1:], standalone_mode=False); print(' '.join(sys.modules))"
    )
    with Registry() as registry:
        IMAGE.push(registry.host, "dev/api", "v1")
        words = ["image", "resolve", f"{registry.host}/dev/api:v1"]
        command = [sys.executable, "-c", program, *words]
        done = subprocess.run(command, capture_output=True, check=True, text=True)

    imported = set(done.stdout.split())
    unused = {"bot.ports", "requests", "rich", "yaml", "ruamel", "cryptography", "flask"}
    assert "urllib3" in imported
    assert not imported & unused


def _processor_seconds(action: Callable[[], object]) -> float:
    """The least of a few: a machine that does something else makes it more, nothing less."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        action()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once() for _ in range(5))


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
