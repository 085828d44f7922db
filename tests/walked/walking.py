"""Typing the commands of a page, as a reader would: the page's names lead to the local world."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.walked.pages import ROOT, Block, blocks
from tests.world.tools import BIN, tool

_SERVE: Final = Path(__file__).with_name("serve_once.py")
_SECONDS: Final = 120
_TOOLS: Final = {"cosign": "cosign3", "trivy": "trivy", "crane": "crane", "sqlite3": "sqlite3"}
"""What pages call it -> what it is called among our tools."""


def _nothing() -> None:
    """Nothing has to hold."""


@dataclass
class Walk:
    """A reader at a terminal."""

    folder: Path
    """The reader's own."""
    names: Mapping[str, str]
    """What a page writes -> what it is in the local world; the longest first."""
    environment: dict[str, str] = field(default_factory=dict)
    place: Path | None = None
    """Where the reader stands; None: in the folder."""
    effect: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    """Commands that the machine has nobody for, systemd's, and what happens in their place."""
    then: Callable[[], None] = _nothing
    """What has to hold behind the last command."""

    def type_page(self, page: str) -> None:
        """Every command of a page that is not marked, in order."""
        for block in blocks(ROOT / page):
            if block.is_typed:
                self.type(block)

    def type(self, block: Block) -> None:
        """One block: all its commands in one shell, or each against the output that is shown."""
        if block.text.strip() in self.effect:
            self.effect[block.text.strip()]()
            return
        if block.language == "console":
            self._compare(block)
            return
        done = self._shell(self.translated(block.text))
        assert done.returncode == 0, f"{block}\n{block.text}\n{done.stdout}\n{done.stderr}"

    def translated(self, text: str) -> str:
        """A text of the page with the names of the local world."""
        for name in sorted(self.names, key=len, reverse=True):
            text = text.replace(name, self.names[name])
        return text

    def _compare(self, block: Block) -> None:
        for part in re.split(r"^\$ ", self.translated(block.text), flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            done = self._shell(command, strict=False)
            rest = done.stdout
            for line in shown.splitlines():
                pattern = ".*".join(re.escape(piece) for piece in line.split("..."))
                found = re.search(rf"^{pattern}$", rest, re.MULTILINE)
                assert found, f"{block}: {command} does not print {line!r}:\n{done.stdout}"
                rest = rest[found.end() :]

    def _shell(self, typed: str, *, strict: bool = True) -> subprocess.CompletedProcess[str]:
        """Type into one session: it stays where it is, and keeps what was exported."""
        programs = self._programs()
        session = self.folder / ".session"
        script = f"""
            if [ -e {session} ]; then . {session}; cd "$PWD"; fi
            {"set -euo pipefail" if strict else ""}
            {{ {typed}
            }}
            set +eu
            export -p >{session}"""
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.place or self.folder,
            env={
                "HOME": str(self.folder),
                **self.environment,
                "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def _programs(self) -> Path:
        """A folder with the tools by the names that pages give them."""
        folder = self.folder / ".programs"
        if not folder.exists():
            folder.mkdir()
            for name, ours in _TOOLS.items():
                if (BIN / ours).exists():
                    (folder / name).symlink_to(tool(ours))
            serve = folder / "lockkeeper"
            serve.write_text(f'#!/bin/sh\nexec {sys.executable} {_SERVE} "$@"\n')
            serve.chmod(0o755)
        return folder
