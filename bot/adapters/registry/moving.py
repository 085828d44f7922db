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
from typing import Literal

from bot.adapters.registry.blobs import Blobs
from bot.adapters.registry.manifests import Manifests, MissingContentError
from bot.adapters.registry.referrers import Referrers
from bot.adapters.registry.streams import StoppedError
from bot.adapters.registry.uploads import UploadSession
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

    def put_all(self, manifests: tuple[AnyManifest, ...]) -> None:
        """Write these manifests, in any order: one request each, where a look would be two."""
        self._in_parallel([partial(self._put, manifest) for manifest in manifests])

    def _put(self, manifest: AnyManifest) -> None:
        self.put(manifest)

    def _move(self, blob: Descriptor, *, force: bool) -> None:
        source, target, blobs = self.source.repository, self.target.repository, self.target.blobs
        mountable = blobs.can_mount(target, source)
        # What is there already can be mounted, too: one request where looking first makes two.
        looks_first = not force and not (mountable and blobs.mounts(target))
        if looks_first and self._is_there(blob):
            return
        session: UploadSession | None = None
        if mountable:
            session = blobs.mount(target, source, blob.digest)
            if session is None:
                self._count("mounted", blob)
                return
            if not force and not looks_first and self._is_there(blob):
                return
        blobs.upload(
            target,
            blob,
            lambda: self.source.blobs.open(source, blob),
            session=session,
            advance=partial(self._tell, blob),
            stop=self._stop,
        )
        with self._guard:
            self.moved += blob.size

    def _is_there(self, blob: Descriptor) -> bool:
        found = self.target.blobs.has(self.target.repository, blob)
        if found:
            self._count("present", blob)
        return found

    def _count(self, how: Literal["mounted", "present"], blob: Descriptor) -> None:
        with self._guard:
            setattr(self, how, getattr(self, how) + blob.size)
        self._tell(blob, blob.size)

    def _tell(self, blob: Descriptor, size: int) -> None:
        if self._progress:
            self._progress.advance(blob, size)

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
                # Ctrl-C: a read may sit there for a minute before it looks at the flag.
                self.source.blobs.cut()
                self.target.blobs.cut()
                raise
        errors = [future.exception() for future in futures if not future.cancelled()]
        # Those that were stopped only say so; the one that failed by itself comes first.
        for error in sorted(filter(None, errors), key=lambda one: isinstance(one, StoppedError)):
            raise error

    def _cancel(self, futures: list[Future[None]]) -> None:
        for future in futures:
            future.cancel()
        self._stop.set()
