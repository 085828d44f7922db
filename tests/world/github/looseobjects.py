"""git's loose objects, read and written without a process for each: a start of git costs more.

The form is git's own (gitformat-loose, "Git Objects" in Pro Git), so git reads what is written
here; `test_github_objects` holds that the names are those that git gives. What git has packed is
not found here, and its owner asks git.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

_NUMBERS: Final = itertools.count()
_CRUD: Final = "".join(map(chr, range(33))) + ".,:;<>\"\\'"
"""What git takes off both ends of a name (git-commit-tree, ident.c)."""


@dataclass(frozen=True, slots=True)
class LooseObject:
    """One object, read."""

    kind: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RawEntry:
    """One entry of a tree as it is stored; ``mode`` as git shows it, in six digits."""

    mode: str
    id: str
    name: str


@dataclass(frozen=True)
class LooseObjects:
    """The loose objects below a bare repository."""

    repository: Path
    _read: dict[str, LooseObject] = field(default_factory=dict, repr=False)

    def read(self, name: str) -> LooseObject | None:
        """The object of a whole id; None where it is not there, or packed."""
        if name not in self._read:
            try:
                framed = zlib.decompress(self._place(name).read_bytes())
            except FileNotFoundError:
                return None
            head, _, content = framed.partition(b"\0")
            self._read[name] = LooseObject(head.split(b" ")[0].decode(), content)
        return self._read[name]

    def write(self, kind: str, content: bytes) -> str:
        """Store an object; its id."""
        framed = b"%s %d\0%s" % (kind.encode(), len(content), content)
        name = hashlib.sha1(framed, usedforsecurity=False).hexdigest()
        place = self._place(name)
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            part = place.with_name(f"tmp_obj_{os.getpid()}_{next(_NUMBERS)}")
            part.write_bytes(zlib.compress(framed, 1))
            part.replace(place)
        self._read[name] = LooseObject(kind, content)
        return name

    def _place(self, name: str) -> Path:
        return self.repository / "objects" / name[:2] / name[2:]


def tree_entries(content: bytes) -> Iterator[RawEntry]:
    """The entries of a tree, in git's order."""
    while content:
        head, _, rest = content.partition(b"\0")
        mode, _, name = head.partition(b" ")
        yield RawEntry(mode.decode().zfill(6), rest[:20].hex(), name.decode())
        content = rest[20:]


def tree_content(entries: Iterable[RawEntry]) -> bytes:
    """A tree as git stores it: folders are sorted as if their names ended with a slash."""
    found = sorted((_sorted_as(one), one) for one in entries)
    return b"".join(
        b"%s %s\0%s" % (one.mode.lstrip("0").encode(), one.name.encode(), bytes.fromhex(one.id))
        for _, one in found
    )


def _sorted_as(entry: RawEntry) -> bytes:
    return entry.name.encode() + (b"/" if entry.mode == "040000" else b"")


def identity(name: str, email: str, date: datetime) -> str:
    """Who and when, in a commit: cleaned as git cleans it."""
    return f"{_cleaned(name)} <{_cleaned(email)}> {int(date.timestamp())} +0000"


def _cleaned(text: str) -> str:
    return re.sub(r"[\n<>]", "", text.strip(_CRUD))
