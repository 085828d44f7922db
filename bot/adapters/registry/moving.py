"""Moving blobs and manifests between two repositories, several at a time.

Safe to repeat: every object is asked for before it is sent. The first failure stops the others
in the middle of their bytes. What is asked at once, and how many blobs are on their way, depends
on how far the registries are: next door a thread costs more than an answer.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from bot.adapters.registry.blobs import VISIBLE_SECONDS, Blobs
from bot.adapters.registry.kept import KEPT_SIZE
from bot.adapters.registry.manifests import Manifests, MissingContentError
from bot.adapters.registry.referrers import Referrers
from bot.adapters.registry.streams import CopyingReader, Reader, StoppedError
from bot.adapters.registry.transport import NEAR, Transport
from bot.adapters.registry.uploads import UploadSession
from bot.domain.errors import LockkeeperError
from bot.domain.images import AnyManifest, Descriptor, Presence
from bot.domain.oci import DOCKER_CONFIG, OCI_CONFIG, Digest, ImageRepository

if TYPE_CHECKING:
    from bot.ports.registry import Progress

_NEAR_WORKERS: Final = 6  # measured: 2 to 12 make no difference on two cores
FAR_WORKERS: Final = 32  # what waits costs nothing either
CONFIG_TYPES: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})
_LARGE: Final = 2**20  # bytes; sending them again is worse than another question


class Belief(Enum):
    """What a target is believed that says that it has a blob."""

    ASKED = "its answer to a mount, or to a look"
    SEEN = "a look alone: a mount may say yes and do nothing"
    NOTHING = "nothing: it has refused a manifest for want of it"


@dataclass(frozen=True, slots=True)
class Side:
    """One end of a copy: a repository and the client that may reach it."""

    repository: ImageRepository
    transport: Transport
    manifests: Manifests
    blobs: Blobs
    referrers: Referrers

    @property
    def is_near(self) -> bool:
        """Its answers come at once."""
        return self.transport.latency(self.repository.host) < NEAR


class Mover:
    """Brings objects from one side to the other and counts their bytes."""

    def __init__(
        self, source: Side, target: Side, *, workers: int | None, progress: Progress | None
    ) -> None:
        """Move nothing yet; ``workers`` blobs at once, None: as many as the distance asks for."""
        self.source, self.target = source, target
        self.moved = self.mounted = self.present = 0
        """Bytes of blobs by what happened to them."""
        self.sent: set[Digest] = set()
        self._guard = threading.Lock()
        self._progress = progress
        self._workers = workers
        self._stop = threading.Event()
        self._expects_missing = True

    @property
    def is_near(self) -> bool:
        """Both sides answer at once, as far as they were asked."""
        return self.source.is_near and self.target.is_near

    @property
    def workers(self) -> int:
        """How many blobs may be on their way at once."""
        return self._workers or (_NEAR_WORKERS if self.is_near else FAR_WORKERS)

    def move_blobs(self, blobs: Iterable[Descriptor], belief: Belief = Belief.ASKED) -> None:
        """Make the target have these blobs, each once, several at a time."""
        each = {blob.digest: blob for blob in blobs}.values()
        with ThreadPoolExecutor(2 * self.workers) as asides:  # starts no thread that is not needed
            self._in_parallel([partial(self._move, one, asides, belief) for one in each])

    def put(self, manifest: AnyManifest) -> bool:
        """Write a manifest; what the target lacks, or has lost meanwhile, is sent again, once.

        A target may not see yet what it has taken a moment ago.
        """
        patience = self.target.transport.patience(VISIBLE_SECONDS)
        rounds = 0
        while True:
            try:
                return self._put(manifest)
            except MissingContentError:
                rounds += 1
                if rounds == 1:
                    lost = [blob for blob in manifest.blobs if blob.is_distributable]
                    self.move_blobs(lost, Belief.NOTHING)
                elif rounds == 2:  # noqa: PLR2004 - it wants even those that may stay elsewhere
                    self._move_withheld(manifest)
                elif not patience.goes_on():
                    raise

    def _put(self, manifest: AnyManifest) -> bool:
        reference = self.target.repository.at(manifest.digest)
        return self.target.manifests.put(reference, manifest.content, manifest.media_type)

    def _move_withheld(self, manifest: AnyManifest) -> None:
        for blob in manifest.blobs:
            if not blob.is_distributable and blob.digest not in self.sent:
                with contextlib.suppress(LockkeeperError):  # the source seldom has it
                    self.move_blobs([blob], Belief.NOTHING)

    def put_all(self, manifests: tuple[AnyManifest, ...]) -> None:
        """Write these manifests, in any order: one request each, where a look would be two."""
        self._in_parallel([partial(self._put_one, manifest) for manifest in manifests])

    def _put_one(self, manifest: AnyManifest) -> None:
        self.put(manifest)

    def _move(self, blob: Descriptor, asides: ThreadPoolExecutor, belief: Belief) -> None:
        """Send a blob that the target lacks; what another copy is sending is waited for."""
        lock = _lock_of((self.target.repository, blob.digest))
        with lock.held:
            if self._stop.is_set():
                raise StoppedError(blob.digest)
            early = self._opened_early(blob, asides, belief)
            try:
                session, is_there = self._found(blob, asides, belief)
                self._expects_missing = not is_there
                if is_there:
                    return
                self._upload(blob, session, early)
            finally:
                early.drop()

    def _upload(self, blob: Descriptor, session: UploadSession | None, early: _Early) -> None:
        source = self.source
        copies: list[CopyingReader] = []

        def opened() -> Reader:
            reader = early.take() or source.blobs.open(source.repository, blob)
            if blob.media_type not in CONFIG_TYPES or blob.size > KEPT_SIZE:
                return reader
            copies.append(CopyingReader(reader))  # it is asked for next, to describe the image
            return copies[-1]

        self.target.blobs.upload(
            self.target.repository,
            blob,
            opened,
            session=session,
            advance=partial(self._tell, blob),
            stop=self._stop,
        )
        if copies:
            self.target.blobs.keep(self.target.repository, blob, copies[-1].content)
        with self._guard:
            self.moved += blob.size
            self.sent.add(blob.digest)

    def _opened_early(self, blob: Descriptor, asides: ThreadPoolExecutor, belief: Belief) -> _Early:
        """Begin to read while the target is asked, where the bytes will be needed."""
        mounts = self.target.blobs.can_ask(self.target.repository, self.source.repository)
        needed = belief is Belief.NOTHING or (self._expects_missing and not mounts)
        if self.is_near or not needed:
            return _Early(None)
        open_it = partial(self.source.blobs.open, self.source.repository, blob)
        return _Early(asides.submit(open_it))

    def _found(
        self, blob: Descriptor, asides: ThreadPoolExecutor, belief: Belief
    ) -> tuple[UploadSession | None, bool]:
        """Where to send the blob, if that was opened already; and whether the target has it."""
        if belief is Belief.NOTHING:
            return None, False
        if belief is Belief.SEEN:
            return None, self._is_there(blob)
        return self._asked(blob, asides)

    def _asked(
        self, blob: Descriptor, asides: ThreadPoolExecutor
    ) -> tuple[UploadSession | None, bool]:
        """The same, by one question where the target answers it."""
        blobs, target = self.target.blobs, self.target.repository
        origin = next(
            (one for one in (self.source.repository, target) if blobs.can_ask(target, one)), None
        )
        mounts = blobs.mounts(target)
        if origin is None or mounts is False:
            return None, self._is_there(blob)
        takes_over = origin != target
        # Nobody knows yet whether it answers a mount: a look beside it spares large bytes.
        doubtful = mounts is None and not takes_over and blob.size >= _LARGE
        if doubtful and self.is_near:
            if self._is_there(blob):
                return None, True
            doubtful = False
        looking = asides.submit(blobs.look, target, blob) if doubtful else None
        session = blobs.ask(target, origin, blob.digest)
        if session is None:
            self._count("mounted" if takes_over else "present", blob)
            return None, True
        if looking and looking.result() is Presence.THERE:
            blobs.never_mounts(target)
            blobs.abandon(target, session)
            self._count("present", blob)
            return None, True
        if takes_over and self._is_there(blob):
            blobs.abandon(target, session)
            return None, True
        return session, False

    def _is_there(self, blob: Descriptor) -> bool:
        found = self.target.blobs.look(self.target.repository, blob) is Presence.THERE
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
        with ThreadPoolExecutor(min(self.workers, len(tasks))) as pool:
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


class _Early:
    """A blob that was opened before it was sure to be needed."""

    def __init__(self, opening: Future[Reader] | None) -> None:
        self._opening = opening

    def take(self) -> Reader | None:
        """The reader, once."""
        opening, self._opening = self._opening, None
        return opening.result() if opening else None

    def drop(self) -> None:
        """Close it if nobody took it."""
        opening, self._opening = self._opening, None
        if opening and not opening.cancel():
            opening.add_done_callback(_closed)


def _closed(opening: Future[Reader]) -> None:
    with contextlib.suppress(LockkeeperError):
        opening.result().close()


@dataclass(slots=True, weakref_slot=True)
class _BlobLock:
    held: threading.Lock = field(default_factory=threading.Lock)


_locks: weakref.WeakValueDictionary[tuple[ImageRepository, Digest], _BlobLock] = (
    weakref.WeakValueDictionary()
)
_locks_guard = threading.Lock()


def _lock_of(blob: tuple[ImageRepository, Digest]) -> _BlobLock:
    """The lock of a blob on its way to a place, shared by every client in this process."""
    with _locks_guard:
        return _locks.setdefault(blob, _BlobLock())
