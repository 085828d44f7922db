"""Copying an image by digest from one repository to another.

Safe to repeat and to interrupt: blobs first, then manifests, children before the index that
lists them, every object looked for before it is sent; no tag is touched. What was finished stays
and is found by the next run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial

from bot.adapters.registry.accessories import AccessoryCopy, CopiedAccessories
from bot.adapters.registry.blobs import Blobs, StoppedError
from bot.adapters.registry.manifests import Manifests, MissingContentError
from bot.adapters.registry.referrers import Referrers
from bot.domain.images import (
    AccessoryPolicy,
    AnyManifest,
    CopyReport,
    Descriptor,
    ImageTree,
    LeftBehind,
)
from bot.domain.oci import DigestReference, ImageRepository
from bot.ports import Progress


@dataclass(frozen=True, slots=True)
class Side:
    """One end of a copy: a repository and the client that may reach it."""

    repository: ImageRepository
    manifests: Manifests
    blobs: Blobs
    referrers: Referrers


@dataclass(slots=True)
class _Counted:
    """Bytes by what happened to them; written by several threads."""

    moved: int = 0
    mounted: int = 0
    present: int = 0
    guard: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, size: int) -> None:
        with self.guard:
            setattr(self, kind, getattr(self, kind) + size)


class Copy:
    """One run of a copy between two sides."""

    def __init__(
        self, source: Side, target: Side, *, workers: int, progress: Progress | None
    ) -> None:
        self._source, self._target = source, target
        self._workers, self._progress = workers, progress
        self._stop = threading.Event()
        self._counted = _Counted()

    def run(self, reference: DigestReference, policy: AccessoryPolicy | None) -> CopyReport:
        """Make the target hold the image, then what may hang on it."""
        tree = self._source.manifests.tree(reference, self._workers)
        if self._progress:
            self._progress.expect(sum(blob.size for blob in tree.blobs))
        self.move_blobs(tree.blobs)
        self._put_manifests(tree)
        along = CopiedAccessories()
        if policy is not None:
            along = AccessoryCopy(self._source, self._target, self, policy).run(tree)
        return CopyReport(
            source=reference,
            target=self._target.repository.at(reference.digest),
            manifests=tuple(dict.fromkeys(manifest.digest for manifest in tree.walk())),
            moved=self._counted.moved,
            mounted=self._counted.mounted,
            present=self._counted.present,
            accessories=along.manifests,
            left_behind=(*_withheld(tree), *along.left_behind),
        )

    def move_blobs(self, blobs: tuple[Descriptor, ...], *, force: bool = False) -> None:
        """Make the target have these blobs, several at a time."""
        self._in_parallel([partial(self._move, blob, force=force) for blob in blobs])

    def put(self, manifest: AnyManifest) -> bool:
        """Write a manifest; blobs that the target has lost meanwhile are sent again, once."""
        reference = self._target.repository.at(manifest.digest)
        try:
            return self._target.manifests.put(reference, manifest.content, manifest.media_type)
        except MissingContentError:
            self.move_blobs(manifest.blobs, force=True)
            return self._target.manifests.put(reference, manifest.content, manifest.media_type)

    def _put_manifests(self, tree: ImageTree) -> None:
        """Children first: a registry may refuse an index whose manifests it lacks."""
        for child in tree.children:
            if child.children:
                self._put_manifests(child)
        leaves = {c.root.digest: c.root for c in tree.children if not c.children}
        self._in_parallel([partial(self._ensure, leaf) for leaf in leaves.values()])
        self._ensure(tree.root)

    def _ensure(self, manifest: AnyManifest) -> None:
        if not self._target.manifests.exists(self._target.repository.at(manifest.digest)):
            self.put(manifest)

    def _move(self, blob: Descriptor, *, force: bool) -> None:
        source, target = self._source.repository, self._target.repository
        if not force and self._target.blobs.has(target, blob):
            self._account("present", blob.size)
            return
        session = None
        if self._target.blobs.can_mount(target, source):
            session = self._target.blobs.mount(target, source, blob.digest)
            if session is None:
                self._account("mounted", blob.size)
                return
        self._target.blobs.upload(
            target,
            blob,
            lambda: self._source.blobs.open(source, blob),
            session=session,
            advance=self._progress.advance if self._progress else _unseen,
            stop=self._stop,
        )
        self._counted.add("moved", blob.size)

    def _account(self, kind: str, size: int) -> None:
        self._counted.add(kind, size)
        if self._progress:
            self._progress.advance(size)

    def _in_parallel(self, tasks: list[Callable[[], None]]) -> None:
        """Run all; the first failure stops the others in the middle of their bytes."""
        if not tasks:
            return
        with ThreadPoolExecutor(min(self._workers, len(tasks))) as pool:
            futures = [pool.submit(task) for task in tasks]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                if any(future.done() and future.exception() for future in futures):
                    self._cancel(futures)
            except BaseException:
                self._cancel(futures)
                raise
        errors = [future.exception() for future in futures if not future.cancelled()]
        # Those that were stopped only say so; the one that failed by itself comes first.
        for error in sorted(filter(None, errors), key=lambda one: isinstance(one, StoppedError)):
            raise error

    def _cancel(self, futures: list[Future[None]]) -> None:
        for future in futures:
            future.cancel()
        self._stop.set()


def _unseen(_size: int) -> None:
    """Nobody watches."""


def _withheld(tree: ImageTree) -> tuple[LeftBehind, ...]:
    reason = "a non-distributable layer (image-spec 1.1, layer.md)"
    return tuple(LeftBehind(str(layer.digest), reason) for layer in tree.withheld)
