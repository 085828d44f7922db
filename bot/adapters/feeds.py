"""`bot.ports.scanning.Feeds`: KEV and EPSS from files that the operator keeps up to date.

A file that cannot be read, or that lost more than a tenth of its rows, is not taken over: the
last good one of this process stays, with its date, and the log says why.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bot.domain.errors import LockkeeperError, RejectedError
from bot.domain.evidence import Exploitation, UnreadableEvidenceError
from bot.formats.exploitation_feeds import read_epss, read_kev
from bot.formats.json_document import SIZE_LIMIT

_LOG: Final = logging.getLogger("lockkeeper.feeds")
_KEPT: Final = 0.9  # of its rows: a feed that shrinks by more has lost something


@dataclass(slots=True)
class _Feed:
    """One file, and its last good content."""

    path: Path | None
    rows: Callable[[bytes, str], int]
    """Counts the rows; raises for what is no such feed."""
    content: bytes | None = None
    _count: int = 0
    _seen: tuple[int, int] | None = None

    def read(self) -> bytes | None:
        """The newest content that can be believed; None if there never was one."""
        if self.path is None:
            return None
        try:
            stat = self.path.stat()
            if (stat.st_mtime_ns, stat.st_size) != self._seen:
                self._seen = stat.st_mtime_ns, stat.st_size
                self._take_over(self.path)
        except OSError as error:
            self._refuse(f"{self.path}: {error.strerror}")
        except LockkeeperError as error:
            self._refuse(str(error))
        return self.content

    def _take_over(self, path: Path) -> None:
        with path.open("rb") as stream:
            content = stream.read(SIZE_LIMIT + 1)
        if len(content) > SIZE_LIMIT:
            raise RejectedError(f"{path} is larger than {SIZE_LIMIT} bytes")
        count = self.rows(content, path.name)
        if count < self._count * _KEPT:
            raise UnreadableEvidenceError(path.name, f"it had {self._count} rows and has {count}")
        self.content, self._count = content, count

    def _refuse(self, reason: str) -> None:
        _LOG.warning("feed not taken over", extra={"reason": reason})


@dataclass(slots=True)
class FileFeeds:
    """Both feeds, read again when their files change."""

    kev: Path | None
    epss: Path | None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kev: _Feed = field(init=False)
    _epss: _Feed = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is read yet."""
        self._kev = _Feed(self.kev, lambda data, name: len(read_kev(data, name)[0]))
        self._epss = _Feed(self.epss, lambda data, name: len(read_epss(data, name, None)[0]))

    def exploitation(self, wanted: Collection[str]) -> Exploitation:
        """KEV, and EPSS of these CVEs; parts that nobody configured or can read are None."""
        with self._lock:
            catalogue, scores = self._kev.read(), self._epss.read()
        rows, released = read_kev(catalogue, "KEV") if catalogue else (None, None)
        found, scored = read_epss(scores, "EPSS", wanted) if scores else (None, None)
        return Exploitation(rows, released, found, scored)
