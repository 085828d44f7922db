"""The files of an application that travel with its images, from the environment below.

What is copied is what stood beside exactly these images: the files of the publication that showed
them. A file that names an image is edited, never copied; rules are neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bot.domain.counterparts import counterpart
from bot.domain.environments import Application, Environment, matches
from bot.domain.history import TreeEntry
from bot.domain.oci import Digest
from bot.facts.resolution import shown_together
from bot.facts.snapshot import View
from bot.formats.manifest_file import is_manifest_file, read_file, text_of
from bot.formats.pipeline_file import PIPELINE_FILE
from bot.formats.travelling_section import TravellingFile

_FILES: Final = 200
"""Files of one application that travel at once."""
_SIZE: Final = 2**20
"""Bytes of one of them."""


@dataclass(frozen=True, slots=True)
class Travelling:
    """What travels with a promotion, and what should and may not."""

    files: Sequence[TravellingFile] = ()
    """Those that differ from what stands in the environment now."""
    refused: Sequence[str] = ()
    """Why some may not: the promotion is not whole without them."""
    commit: str = ""
    """The publication that they are from; empty: nothing travels."""
    kept: Sequence[str] = ()
    """Files that match here and have none below: they stay as they are."""
    is_frozen: bool = False
    """They were approved, and stay as they were shown."""


def travelling(
    view: View, environment: Environment, application: Application, images: Mapping[str, Digest]
) -> Travelling:
    """What `promote` of an application brings to an environment with these images."""
    below = view.pipeline.environments.get(environment.source_environment or "")
    if below is None or not application.promote:
        return Travelling()
    commit = shown_together(view, below, application, images)
    if not commit:
        fact = f"`promote`: no publication of {below.name} shows these images together"
        return Travelling(refused=[f"{fact}; let it be delivered there first"])
    return _Copies(view, below, environment, application, commit).travelling()


class _Copies:
    """One application's files, from a publication of one environment to another."""

    def __init__(
        self,
        view: View,
        below: Environment,
        environment: Environment,
        application: Application,
        commit: str,
    ) -> None:
        self.view, self.below, self.environment = view, below, environment
        self.application, self.commit = application, commit
        self.theirs = view.history.paths(commit)
        self.ours = view.history.paths(view.head)
        self.folders = {parent for path in self.ours for parent in _parents(path)}

    def travelling(self) -> Travelling:
        found = sorted(path for path in self.theirs if self._matches(path, self.below))
        if len(found) > _FILES:
            fact = f"`promote` matches {len(found)} files of {self.below.name}"
            return Travelling(refused=[f"{fact}; at most {_FILES} travel"], commit=self.commit)
        files: list[TravellingFile] = []
        refused: list[str] = []
        reached: set[str] = set()
        for path in found:
            target = counterpart(path, self.below, self.environment) or ""
            reached.add(target)
            why = self._why_not(path, target)
            if why:
                refused.append(f"`promote`: {path} {why}")
            elif self._differs(path, target):
                files.append(self._file(path, target))
        return Travelling(files, refused, self.commit, self._kept(reached))

    def _matches(self, path: str, environment: Environment) -> bool:
        is_named = any(matches(glob, path) for glob in self.application.promote)
        return is_named and environment.owns(path)

    def _kept(self, reached: set[str]) -> list[str]:
        here = (path for path in self.ours if self._matches(path, self.environment))
        return sorted(path for path in here if path not in reached)

    def _why_not(self, path: str, target: str) -> str:
        """Why a file may not travel; empty: it may."""
        entry, there = self.theirs[path], self.ours.get(target)
        if not target:
            return f"has no counterpart under `manifests` of {self.environment.name}"
        if target in self.view.rules.files | {PIPELINE_FILE}:
            return f"would write {target}, which holds rules"
        if not entry.is_file or (there is not None and not there.is_file):
            return "is a link or a submodule, here or there"
        if target in self.folders or any(parent in self.ours for parent in _parents(target)):
            return f"would take something away: {target} leads through a file, link or submodule"
        if there is not None and there.mode != entry.mode:
            return f"has another mode than {target}"
        return self._why_not_content(path, target, entry, there)

    def _why_not_content(
        self, path: str, target: str, entry: TreeEntry, there: TreeEntry | None
    ) -> str:
        content = self.view.history.read(entry.blob)
        if len(content) > _SIZE:
            return f"is larger than {_SIZE // 2**20} MiB"
        if self._names_images(path, content, self.below, self.commit) or self._names_images(
            target, content, self.environment
        ):
            return "names an image of ours: it is edited, never copied"
        own = self.view.history.read(there.blob) if there else b""
        if self._names_images(target, own, self.environment, self.view.head):
            return f"would replace {target}, which names an image of ours"
        return ""

    def _names_images(
        self, path: str, content: bytes, environment: Environment, commit: str = ""
    ) -> bool:
        """Whether a file speaks of an image of ours: at a commit, as a manifest, or as any text."""
        text, names = text_of(content), self.view.names(environment)
        if next(names.mentions(text, "image"), None) is not None or names.at_file(path):
            return True
        readings = [self.view.files(commit, environment).reading(path)] if commit else []
        if is_manifest_file(path):
            readings += [read_file(path, text, names, is_values=one) for one in (False, True)]
        return any(
            one.locations or any(remark.image is not None for remark in one.remarks)
            for one in readings
        )

    def _differs(self, path: str, target: str) -> bool:
        there = self.ours.get(target)
        return there is None or there.blob != self.theirs[path].blob

    def _file(self, path: str, target: str) -> TravellingFile:
        there = self.ours.get(target)
        before = self.view.history.read(there.blob) if there else None
        return TravellingFile(target, before, self.view.history.read(self.theirs[path].blob))


def _parents(path: str) -> Iterator[str]:
    """The folders that a path lies in."""
    return (path[:at] for at, one in enumerate(path) if one == "/")
