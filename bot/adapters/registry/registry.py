"""The client of the registries that one environment was granted: `bot.ports.registry.ImageRegistry`.

Every method may be repeated: it looks first and does only what is missing. All may be used from
several threads at once. Interrupted at any moment a copy leaves blobs and child manifests that
no tag names; the next run finds and uses them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bot.adapters.registry.blobs import VISIBLE_SECONDS, Blobs
from bot.adapters.registry.glimpses import Glimpses
from bot.adapters.registry.limits import PATIENCE, HostLimits
from bot.adapters.registry.looks import Unanswered
from bot.adapters.registry.manifests import AnyReference, Manifests
from bot.adapters.registry.moving import Side
from bot.adapters.registry.referrers import Edit, Referrers
from bot.adapters.registry.transport import NEAR, Transport
from bot.domain.errors import (
    IntegrityError,
    NotFoundError,
    UnavailableError,
)
from bot.domain.grants import RegistryGrant
from bot.domain.image_description import ImageConfig, describe_image
from bot.domain.images import (
    CONFIG_LIMIT,
    AccessoryPolicy,
    AnyManifest,
    CopyReport,
    Descriptor,
    ImageDescription,
    ImageManifest,
    ImageTree,
    NewManifest,
    Presence,
    ReadBack,
    TagOutcome,
    TagTakenError,
)
from bot.domain.oci import Digest, DigestReference, ImageRepository, TagReference
from bot.formats.image_manifest import parse_config

if TYPE_CHECKING:
    from bot.domain.doctor.environments import Access
    from bot.ports.clock import Clock
    from bot.ports.registry import Progress

_NO_TAG: Final = "lockkeeper-doctor"
NOTHING: Final = Digest.of(b"lockkeeper doctor: this blob is never written")
_NEAR_WORKERS: Final = 6
_FAR_WORKERS: Final = 32
_READS: Final = 2  # as many looks at once as transfers, and as many again


class Registry:
    """Reads and writes images in the hosts of one grant."""

    def __init__(
        self,
        grant: RegistryGrant,
        *,
        clock: Clock,
        sleep: Callable[[float], None],
        limits: HostLimits | None = None,
        source: Registry | None = None,
        workers: int | None = None,
        patience: float | None = None,
        silence: float | None = None,
    ) -> None:
        """Open no connection yet.

        Args:
            grant: the hosts that may be contacted, and how.
            clock: for the life of tokens.
            sleep: waits so many seconds between short retries.
            limits: the pace of every host; what shares it, shares a host's quota. Of its own
                without.
            source: the client that `copy` reads with, if the source has credentials of its own.
            workers: blobs on their way at once; None: few next door, more from afar.
            patience: seconds for which a host may be away.
            silence: seconds for which it may ask to be left alone; None: as long.
        """
        transport = Transport(
            grant,
            clock=clock,
            sleep=sleep,
            workers=workers or _FAR_WORKERS,
            limits=limits or HostLimits(clock, sleep, patience or PATIENCE, silence),
        )
        self._grant, self._transport = grant, transport
        self._manifests = Manifests(transport)
        self._blobs = Blobs(transport)
        self._referrers = Referrers(transport, self._manifests, self._blobs)
        self._source = source or self
        self._workers = workers
        self._doubted: set[DigestReference] = set()
        self._written: set[DigestReference] = set()
        self._glimpses = Glimpses(clock, self._named)

    def resolve(self, reference: TagReference) -> Digest | None:
        """What the tag names now; headers are hearsay, the bytes are hashed."""
        found = self._manifests.fresh(reference)
        return found.digest if found else None

    def exists(self, reference: DigestReference) -> Presence:
        """Whether the repository has a manifest of that digest."""
        return self._manifests.exists(reference)

    def describe(self, reference: DigestReference) -> ImageDescription:
        """What the image says about itself: platforms, labels, time of the build."""
        workers = self._workers_for(reference.repository)
        tree = self._manifests.tree(reference, workers)
        images = [m for m in tree.walk() if isinstance(m, ImageManifest) and m.is_runnable]
        with ThreadPoolExecutor(workers) as pool:
            configs = pool.map(lambda m: self._config(reference.repository, m), images)
            by_digest = {m.digest: config for m, config in zip(images, configs, strict=True)}
        return describe_image(reference, tree, by_digest)

    def _workers_for(self, repository: ImageRepository) -> int:
        near = self._transport.latency(repository.host) < NEAR
        return self._workers or (_NEAR_WORKERS if near else _READS * _FAR_WORKERS)

    def copy(
        self,
        source: DigestReference,
        target: ImageRepository,
        *,
        accessories: AccessoryPolicy | None = None,
        progress: Progress | None = None,
        tags: Sequence[str] = (),
    ) -> CopyReport:
        """Make ``target`` hold the image with every platform; it gets no tag.

        What these ``tags`` name is looked at beside, for where nothing is to be done.
        """
        from bot.adapters.registry.copying import copy_image  # noqa: PLC0415 - slow import

        self._source.check_granted(source.repository)  # also where nothing is to be read
        self._transport.will_write(target)
        there = target.at(source.digest)
        with self._glimpses.beside(target, tags) as glimpses:
            report = copy_image(
                self._source.side(source.repository),
                self.side(target),
                source,
                accessories,
                workers=self._workers,
                progress=progress,
                thorough=there in self._doubted,
            )
        if report.unchanged:  # else it was long ago
            self._glimpses.keep({tag: one for tag, one in glimpses.items() if one == source.digest})
        self._doubted.discard(there)
        self._written.add(there)
        return report

    def read_back(self, reference: DigestReference, *, tags: Sequence[str] = ()) -> ReadBack:
        """Read and hash every manifest, and look for every blob with its length.

        What is missing may not be visible yet: it is waited for. After a failure the next copy to
        there looks for every blob. What these ``tags`` name is looked at beside: for `tag`.

        Raises:
            NotFoundError: a part is missing, of an image that this client has not written.
            UnavailableError: a part of one that it has written is not to be seen yet.
        """
        repository = reference.repository
        unseen = [tag for tag in tags if not self._glimpses.has(repository.tagged(tag))]
        try:
            with self._glimpses.beside(repository, unseen) as glimpses:
                found = self._read_back(reference)
        except (NotFoundError, IntegrityError) as error:
            self._doubted.add(reference)
            if isinstance(error, NotFoundError) and reference in self._written:
                host = reference.repository.host
                raise UnavailableError(f"{host}: {error}, or is not visible yet") from error
            raise
        self._glimpses.keep(glimpses)
        return found

    def _read_back(self, reference: DigestReference) -> ReadBack:
        workers, repository = self._workers_for(reference.repository), reference.repository
        known = self._known_tree(reference)
        tree = known or self._manifests.tree(reference, workers, partial(self._seen, reference))
        with ThreadPoolExecutor(workers) as pool:
            # What was read or written a moment ago says what to look for, all at once.
            read = [
                pool.submit(self._seen, reference, repository.at(one.digest))
                for one in ({m.digest: m for m in known.walk()}.values() if known else ())
            ]
            looks = [pool.submit(self._holds, repository, blob) for blob in tree.blobs]
            for one in read:
                one.result()
            there = [look.result() for look in looks]
        missing = next(itertools.compress(tree.blobs, (not one for one in there)), None)
        if missing:
            raise NotFoundError(
                f"blob {missing.digest} of image {reference.digest}", str(repository)
            )
        manifests = tuple(dict.fromkeys(manifest.digest for manifest in tree.walk()))
        return ReadBack(reference, manifests, len(tree.blobs), tree.size)

    def _known_tree(self, reference: DigestReference) -> ImageTree | None:
        """The image as this client has written it, where it has."""
        return self._manifests.known_tree(reference) if reference in self._written else None

    def _seen(self, image: DigestReference, reference: DigestReference) -> AnyManifest:
        """A manifest as it stands there now, perhaps in a while."""
        patience = self._transport.patience(VISIBLE_SECONDS)
        while True:
            found = self._manifests.fresh(reference)
            if found is not None:
                return found
            # Nobody has claimed that an image is there that this client has not written.
            may_come = image in self._written or reference != image
            if not may_come or not patience.goes_on():
                raise NotFoundError(f"image {reference.digest}", str(reference.repository))

    def _holds(self, repository: ImageRepository, blob: Descriptor) -> bool:
        """A blob is there, perhaps in a while."""
        patience = self._transport.patience(VISIBLE_SECONDS)
        while self._blobs.holds(repository, blob) is not Presence.THERE:
            if not patience.goes_on():
                return False
        return True

    def tag(self, reference: DigestReference, tag: str, *, move: bool) -> TagOutcome:
        """Make the tag name the digest, and see that it does."""
        self._transport.will_write(reference.repository)
        wanted = reference.repository.tagged(tag)
        found = self._glimpses.named(wanted)
        if found == reference.digest:
            return TagOutcome.UNCHANGED
        if found and not move:
            raise TagTakenError(wanted, reference.digest, found)
        self._put_tag(wanted, reference)
        return TagOutcome.MOVED if found else TagOutcome.CREATED

    def _named(self, reference: TagReference) -> Digest | None:
        """What the tag names, or nothing where the registry refuses to say: the write decides."""
        found = self._manifests.look(reference)
        return None if found is None or isinstance(found, Unanswered) else found.digest

    def _put_tag(self, wanted: TagReference, reference: DigestReference) -> None:
        digest = reference.digest
        manifest = self._manifests.need(reference)
        try:
            self._manifests.put(wanted, manifest.content, manifest.media_type)
        except TagTakenError as error:
            # Somebody else may have set the same tag in between, to the same image.
            found = self._named(wanted)
            if found != digest:
                raise TagTakenError(wanted, digest, found) from error
        patience = self._transport.patience(VISIBLE_SECONDS)
        while (found := self._named(wanted)) != digest:
            if not patience.goes_on():
                fact = f"{wanted} was set to {digest} and names {found or 'nothing'}"
                raise UnavailableError(f"{reference.repository.host}: {fact}")

    def referrers(self, subject: DigestReference) -> tuple[Descriptor, ...]:
        """What names the digest as its subject, by API or by referrers tag."""
        return self._referrers.list(subject)

    def manifest(self, reference: AnyReference) -> AnyManifest | None:
        """A manifest or index; None if it is not there."""
        return self._manifests.get(reference)

    def blob(self, repository: ImageRepository, blob: Descriptor, limit: int) -> bytes:
        """A small blob, whole and verified."""
        return self._blobs.read(repository, blob, limit)

    def access(self, repository: ImageRepository, *, writes: bool) -> Access:
        """What is allowed there, with as little as can be asked.

        To read: a tag that nobody has. To write: an upload session, given back at once.
        """
        from bot.adapters.registry.accesses import access  # noqa: PLC0415 - slow import

        nowhere = repository.at(NOTHING)
        return access(
            lambda: self._read_nothing(repository),
            (lambda: self._blobs.try_upload(repository, NOTHING)) if writes else None,
            lambda: self._referrers.has_api(nowhere),
        )

    def _read_nothing(self, repository: ImageRepository) -> None:
        self.resolve(repository.tagged(_NO_TAG))

    def save_layout(self, reference: DigestReference, directory: Path) -> None:
        """Write one platform's image as an OCI layout; nothing before its size is known to fit."""
        from bot.adapters.registry.layouts import save_layout  # noqa: PLC0415 - slow import

        workers = self._workers_for(reference.repository)
        save_layout(self._manifests, self._blobs, reference, directory, workers=workers)

    def attach(self, repository: ImageRepository, *manifests: NewManifest) -> None:
        """Write manifests that have one subject, and list them where the registry does not."""
        self._referrers.attach(repository, *manifests)

    def amend(self, reference: TagReference, edit: Edit) -> bool:
        """Replace what a tag holds by ``edit`` of it, until a re-read shows that it lasted."""
        return self._referrers.amend(reference, edit)

    def warm(self, repository: ImageRepository, count: int) -> None:
        """Have so many connections open soon, as what is asked next will need them."""
        for thread in self._transport.warm(repository, count):
            thread.join()

    def check_granted(self, repository: ImageRepository) -> None:
        """NotGrantedError if the repository may not be contacted."""
        self._grant.entry_for(repository)

    def side(self, repository: ImageRepository) -> Side:
        """This client as one end of a copy."""
        return Side(repository, self._transport, self._manifests, self._blobs, self._referrers)

    def _config(self, repository: ImageRepository, manifest: ImageManifest) -> ImageConfig:
        content = self._blobs.read(repository, manifest.config, CONFIG_LIMIT)
        return parse_config(content, str(repository.at(manifest.digest)))
