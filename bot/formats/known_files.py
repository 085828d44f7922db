"""What was found in the files of a checkout, so that the next plan reads what changed alone.

    known = decoded(content, code)          # nothing where other code wrote it, or nobody
    known["envs/prod/app.yaml"].stamp       # of the file that was read: with another, read it
    encoded(known, code)

Kept is what does not depend on names: the traces, and what a kustomization says of other files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from bot.formats.image_names import Names
from bot.formats.kustomization import is_kustomization
from bot.formats.manifest_file import Reading, read_file, text_of
from bot.formats.traces import Traces, traces_of

Stamp = tuple[int, int, int, int]
"""Size, times of content and of inode in nanoseconds, inode: with any other it may be changed."""
_NOBODY: Final = Names({})


@dataclass(frozen=True, slots=True)
class KnownFile:
    """One file as it was."""

    stamp: Stamp
    traces: bytes
    """`Traces.encoded`."""
    said: Reading | None = None
    """What a kustomization says whoever is looked for."""

    def read_for(self, path: str, names: Names) -> Reading | None:
        """What it says of these names; None: its bytes have to be read."""
        traces = Traces.decoded(self.traces)
        if traces.has_charts or names.at_file(path) or names.meet(traces):
            return None
        return self.said or Reading(path)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file of the cache."""

    code: str
    files: dict[str, KnownFile]


def learned(path: str, content: bytes, stamp: Stamp) -> KnownFile:
    """What is to be known of a file with this content."""
    traces = traces_of(content)
    said = read_file(path, text_of(content), _NOBODY) if is_kustomization(path) else None
    return KnownFile(stamp, traces.encoded, said)


def encoded(files: Mapping[str, KnownFile], code: str) -> bytes:
    """As it is kept; ``code`` names what found it."""
    return msgspec.msgpack.encode(_Kept(code, dict(files)))


def decoded(content: bytes, code: str) -> dict[str, KnownFile]:
    """What the same code kept; nothing where that cannot be read."""
    try:
        kept = msgspec.msgpack.decode(content, type=_Kept)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return kept.files if kept.code == code else {}
