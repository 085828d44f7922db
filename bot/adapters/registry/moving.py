"""Moving blobs and manifests between two repositories, several at a time.

Safe to repeat: every object is looked for before it is sent. The first failure stops the others
in the middle of their bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

from bot.adapters.registry.blobs import Blobs, StoppedError
from bot.adapters.registry.manifests import Manifests, MissingContentError
from bot.adapters.registry.referrers import Referrers
from bot.domain.images import AnyManifest, Descriptor
from bot.domain.oci import ImageRepository
from bot.ports import Progress


@dataclass(frozen=True, slots=True)
class Side:
    """One end of a copy: a repository and the client that may reach it."""

    repository: ImageRepository
    manifests: Manifests
    blobs: Blobs
    referrers: Referrers


class Mover:
    """Brings objects from one side to the other and counts their bytes."""

    def __init__(
        self, source: Side, target: Side, *, workers: int, progress: Progress | None
    ) -> None:
        self.source, self.target = source, target
        self.moved = self.mounted = self.present = 0
        """Bytes of blobs by what happened to them."""
        self._guard = threading.Lock()
        self._workers, self._progress = workers, progress
        self._stop = threading.Event()

    def move_blobs(self, blobs: tuple[Descriptor, ...], *, force: bool = False) -> None:
        """Make the target have these blobs, several at a time."""
        self._in_parallel([partial(self._move, blob, force=force) for blob in blobs])

    def put(self, manifest: AnyManifest) -> bool:
        """Write a manifest; blobs that the target has lost meanwhile are sent again, once."""
        reference = self.target.repository.at(manifest.digest)
        try:
            return self.target.manifests.put(reference, manifest.content, manifest.media_type)
        except MissingContentError:
            self.move_blobs(manifest.blobs, force=True)
            return self.target.manifests.put(reference, manifest.content, manifest.media_type)

    def ensure_manifests(self, manifests: tuple[AnyManifest, ...]) -> None:
        """Make the target have these manifests, in any order."""
        self._in_parallel([partial(self.ensure_manifest, manifest) for manifest in manifests])

    def ensure_manifest(self, manifest: AnyManifest) -> None:
        """Make the target have this manifest."""
        if not self.target.manifests.exists(self.target.repository.at(manifest.digest)):
            self.put(manifest)

    def _move(self, blob: Descriptor, *, force: bool) -> None:
        source, target = self.source.repository, self.target.repository
        if not force and self.target.blobs.has(target, blob):
            with self._guard:
                self.present += blob.size
            self._tell(blob.size)
            return
        session = None
        if self.target.blobs.can_mount(target, source):
            session = self.target.blobs.mount(target, source, blob.digest)
            if session is None:
                with self._guard:
                    self.mounted += blob.size
                self._tell(blob.size)
                return
        self.target.blobs.upload(
            target,
            blob,
            lambda: self.source.blobs.open(source, blob),
            session=session,
            advance=self._tell,
            stop=self._stop,
        )
        with self._guard:
            self.moved += blob.size

    def _tell(self, size: int) -> None:
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
