"""README and docs as a reader meets them: blocks of commands, blocks that are files, the rest.

The word behind the three backticks names the language; GitHub shows nothing of what follows it:

    sh, console             commands: a test types them (`tests.walked`), unless they are marked
    sh real-network         ... they need hosts of others: registries, GitHub, Sigstore
    sh real-machine         ... they change a machine: users, services
    yaml file=PATH          the whole content of a file, which a test writes and uses
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
COMMANDS: Final = frozenset({"sh", "console"})
MARKS: Final = frozenset({"real-network", "real-machine"})
_BLOCK: Final = re.compile(r"^( *)```(.*)\n((?:.*\n)*?)^ *```$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    language: str
    marks: tuple[str, ...]
    text: str

    @property
    def is_typed(self) -> bool:
        """Whether a test has to type it."""
        return self.language in COMMANDS and not MARKS & set(self.marks)

    @property
    def file(self) -> str:
        """The path of the file that it is; empty: it is none."""
        found = [mark for mark in self.marks if mark.startswith("file=")]
        return found[0].removeprefix("file=") if found else ""

    def __str__(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    text = page.read_text()
    name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
    found = []
    for match in _BLOCK.finditer(text):
        language, *marks = match[2].split() or [""]
        content = re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
        line = text[: match.start()].count("\n") + 1
        found.append(Block(name, line, language, tuple(marks), content))
    return found


def every_block() -> list[Block]:
    """The fenced blocks of all pages."""
    return [block for page in PAGES for block in blocks(page)]


def files(page: Path) -> dict[str, str]:
    """The files that a page writes out: path -> content."""
    return {block.file: block.text for block in blocks(page) if block.file}
