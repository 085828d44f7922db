"""Every command that README and docs show is typed, unless it is marked."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.walked.pages import ROOT, Block, blocks
from tests.walked.walking import Walk
from tests.walked.worlds import WORLDS, Promoted, Town, promoted


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with contextlib.ExitStack() as stack:

        @functools.cache
        def up() -> Promoted:
            return stack.enter_context(promoted(tmp_path_factory.mktemp("town")))

        yield up


@pytest.mark.parametrize("page", sorted(WORLDS))
def test_every_command_of_the_page_works(page: str, town: Town, tmp_path: Path) -> None:
    with WORLDS[page](town, tmp_path) as walk:
        assert [block for block in blocks(ROOT / page) if block.is_typed]
        walk.type_page(page)
        walk.then()


def test_a_page_is_one_session(tmp_path: Path) -> None:
    """Whoever pastes block after block stays where the last one left them."""
    walk = Walk(tmp_path, {})
    for text in ("mkdir a && cd a\nexport B=c\n", "cat <<'E' >b\nhere\nE\n", "test $B = c\n"):
        walk.type(Block("page.md", 1, "sh", (), text))

    assert (tmp_path / "a" / "b").read_text() == "here\n"
    with pytest.raises(AssertionError):
        walk.type(Block("page.md", 1, "sh", (), "test -e a\n"))


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("sh", "true | false\n"),
        ("sh", "lockkeeper config check nowhere.yaml\ntrue\n"),
        ("console", "$ echo one; echo two\ntwo\none\n"),
        ("console", "$ echo one\none ... two\n"),
    ],
)
def test_what_does_not_work_is_noticed(language: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        Walk(tmp_path, {}).type(Block("page.md", 1, language, (), text))
