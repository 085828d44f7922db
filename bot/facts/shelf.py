"""What the looks of one process know together, so that each thing is read once.

What stands here is a function of what it is called by: of a blob's bytes, of an environment's
files at a commit, of a pipeline file. So it is never wrong, only forgotten; two threads that miss
the same thing both make it, and either one counts. It is not stored, and no other process sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar, cast

from bot.domain.environments import Environment, Pipeline
from bot.formats.environment_files import EnvironmentFiles
from bot.formats.image_names import Names, names_of
from bot.formats.manifest_file import Reading

K = TypeVar("K")
V = TypeVar("V")
READINGS: Final = 60_000
"""Files whose reading is kept, in two generations of as many."""
FACTS: Final = 40_000
NAMES: Final = 64
FILES: Final = 100_000
"""Files that the environments say something of which are kept."""
COMMITS: Final = 64
"""Commits of which it is kept that an environment is the same there."""


class Recent(Generic[K, V]):
    """A mapping that forgets what was not asked for while as much again came in."""

    def __init__(self, limit: int) -> None:
        """Keep at least the last ``limit`` things, at most twice as many."""
        self._limit = limit
        self._new: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """What is kept, if it is."""
        found = self._new.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Keep this one."""
        self._new[key] = value
        if len(self._new) > self._limit:
            self._old, self._new = self._new, {}


@dataclass(frozen=True, slots=True)
class Line:
    """An environment as it is read: whose, which files, by which names."""

    manifests: int
    environment: str
    globs: tuple[str, ...]
    names: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An environment's files, and commits at which they are these."""

    line: Line
    commits: tuple[str, ...]
    """The one that was asked for last is the first."""
    files: EnvironmentFiles

    @property
    def weight(self) -> int:
        """How much room it takes, in files."""
        return 1 + len(self.files.readings) + len(self.files.asked)


class Shelf:
    """What is known."""

    def __init__(self) -> None:
        """Know nothing."""
        self._readings = Recent[tuple[str, str, str, bool], Reading](READINGS)
        self._facts = Recent[tuple[str, ...], tuple[object]](FACTS)
        self._names = Recent[tuple[int, str], tuple[Pipeline, Names]](NAMES)
        self._kept: tuple[Kept, ...] = ()
        self.asked_at: dict[int, str] = {}
        """Manifests repository -> the head for which looks after a push were asked for last."""

    def names(self, pipeline: Pipeline, environment: Environment) -> Names:
        """How images are called in the files of an environment.

        A pipeline file that is the same gives the same applications: `read_pipeline`.
        """
        key = id(pipeline.applications), environment.name
        found = self._names.get(key)
        # The pipeline is kept with it, so that nothing else can have its identity meanwhile.
        if found is None or found[0].environments is not pipeline.environments:
            found = pipeline, names_of(pipeline, environment)
            self._names.put(key, found)
        return found[1]

    def reading(
        self, names: Names, path: str, blob: str, *, is_values: bool = False
    ) -> Reading | None:
        """What a file says, if it was read."""
        return self._readings.get((names.identity, path, blob, is_values)) if blob else None

    def keep_reading(
        self, names: Names, reading: Reading, blob: str, *, is_values: bool = False
    ) -> None:
        """Know what a file says; ``blob`` is empty where no content is known, and nothing kept."""
        if blob:
            self._readings.put((names.identity, reading.path, blob, is_values), reading)

    def fact(self, key: tuple[str, ...], read: Callable[[], V]) -> V:
        """What ``read`` says, which is the same for the same key."""
        found = self._facts.get(key)
        if found is None:
            found = (read(),)
            self._facts.put(key, found)
        return cast("V", found[0])

    def files(self, line: Line) -> Iterator[Kept]:
        """What is kept of an environment, the newest first."""
        return (one for one in self._kept if one.line == line)

    def keep_files(self, line: Line, commit: str, files: EnvironmentFiles) -> None:
        """Know what an environment's files say at a commit."""
        known = next((one for one in self.files(line) if one.files is files), None)
        before = () if known is None else known.commits
        commits = (commit, *(one for one in before if one != commit))[:COMMITS]
        kept = [Kept(line, commits, files)]
        room = FILES - kept[0].weight
        for one in self._kept:
            if one is not known and one.weight <= room:
                kept.append(one)
                room -= one.weight
        self._kept = tuple(kept)
