"""What hangs on an image: the referrers API, the referrers tag, and cosign's tags.

Writes to a shared tag are made under a lock of this process and read again afterwards: what
another process has overwritten is put back, a few times. A listing that fails is an error, never
"there are none".

Source: distribution-spec 1.1, "Listing Referrers", "Referrers Tag Schema".
"""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import urljoin

from bot.adapters.registry.blobs import VISIBLE_SECONDS, Blobs
from bot.adapters.registry.calls import Call, Reply
from bot.adapters.registry.errors import NotARegistryError, RegistryRefusedError, failure
from bot.adapters.registry.looks import Unanswered
from bot.adapters.registry.manifests import Manifests
from bot.adapters.registry.peers import host_of
from bot.adapters.registry.transport import NEAR, Transport
from bot.domain.errors import LimitExceededError, RejectedError, UnavailableError
from bot.domain.images import (
    MANIFEST_LIMIT,
    AnyManifest,
    Descriptor,
    ImageIndex,
    ImageManifest,
    MalformedManifestError,
    NewManifest,
    ReferrerNotListedError,
    ReferrerRefusedError,
    RegistryFailsError,
    TagTakenError,
    attached_tag,
)
from bot.domain.oci import OCI_INDEX, Digest, DigestReference, ImageRepository, TagReference
from bot.formats.image_manifest import parse_manifest, with_manifests

_ROUNDS: Final = 3
_NONE: Final = b"{}"  # some say so for an empty list
_PAGES: Final = 20
_NEXT: Final = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')

Edit = Callable[[AnyManifest | None], NewManifest | None]


class LostUpdateError(UnavailableError):
    """What was written to a tag was overwritten by somebody else, several times."""

    def __init__(self, reference: TagReference) -> None:
        """Name the tag."""
        super().__init__(f"{reference} does not keep what is written to it; who else writes there?")
        self.reference = reference


class NotAnIndexError(RejectedError):
    """The tag that has to hold the list of referrers holds something else."""

    def __init__(self, reference: TagReference) -> None:
        """Name the tag."""
        super().__init__(f"{reference} should be an OCI index of referrers; remove that tag")
        self.reference = reference


class Referrers:
    """Reads and writes what refers to an image; safe to use from several threads."""

    def __init__(self, transport: Transport, manifests: Manifests, blobs: Blobs) -> None:
        self._transport, self._manifests, self._blobs = transport, manifests, blobs
        self._has_api: dict[ImageRepository, bool] = {}

    def list(self, subject: DigestReference) -> tuple[Descriptor, ...]:
        """Everything that names the digest as its subject, whatever its type.

        Raises:
            UnavailableError: neither the API nor the tag says anything: that is not "none".
                `RegistryFailsError` where the API answers with nothing but failures.
        """
        has_api = self._has_api.get(subject.repository)
        tag = _referrers_tag(subject.repository, subject.digest)
        # From afar, and not known yet: both ways are asked at once.
        is_unsure = has_api is None and self._transport.latency(tag.repository.host) >= NEAR
        with ThreadPoolExecutor(1) as aside:
            beside = aside.submit(self._manifests.look, tag) if is_unsure else None
            down: RegistryFailsError | None = None
            if has_api is not False:
                try:
                    listed = self._from_api(subject)
                    self._has_api[subject.repository] = listed is not None
                    if listed is not None:
                        return listed
                except RegistryFailsError as error:
                    down = error
            found = beside.result() if beside else self._manifests.look(tag)
        if isinstance(found, ImageIndex):
            return found.manifests
        if down is not None:
            raise down
        return ()

    def has_api(self, subject: DigestReference) -> bool:
        """Whether the registry lists referrers itself."""
        return self._from_api(subject) is not None

    def attach(self, repository: ImageRepository, *manifests: NewManifest) -> None:
        """Write manifests that have one subject, and list them where the registry does not.

        Raises:
            ReferrerRefusedError: the registry takes no such artifact.
            ReferrerNotListedError: it was taken, and nobody can find it.
        """
        self._transport.will_write(repository)
        contents = [content for one in manifests for content in one.blobs]
        self._blobs.write(repository, *contents)
        parsed = [parse_manifest(one.content, one.media_type, str(one.digest)) for one in manifests]
        subject = next((one.subject.digest for one in parsed if one.subject), None)
        with ThreadPoolExecutor(len(parsed) + 1) as pool:
            proof = pool.submit(self._blobs.prove, repository, *contents)
            puts = [partial(self._put, repository, *x) for x in zip(manifests, parsed, strict=True)]
            # One after another where the registry lists them: olareg loses one of two at once.
            has_list = self._has_api.get(repository) is not False
            tasks = [partial(_in_order, puts)] if has_list else puts
            writes = [pool.submit(task) for task in tasks]
            if subject is not None:
                self._see_listed(repository, parsed, subject, writes)
            for write in writes:
                write.result()
            proof.result()

    def _put(self, repository: ImageRepository, manifest: NewManifest, parsed: AnyManifest) -> bool:
        """Whether the registry says that it lists it."""
        try:
            return self._manifests.put_new(repository, manifest)
        except RegistryRefusedError as error:
            raise ReferrerRefusedError(repository, parsed.kind) from error

    def _see_listed(
        self,
        repository: ImageRepository,
        referrers: Sequence[AnyManifest],
        subject: Digest,
        writes: Sequence[Future[bool]],
    ) -> None:
        """Have them on a list, once they are written.

        Where there is no API, the list is read while they are on their way.
        """
        written = partial(_all, writes)
        if self._has_api.get(repository) is not False and (
            written() and self._is_listed(repository, referrers, subject)
        ):
            return
        self._list(repository, referrers, subject, written)

    def _is_listed(
        self, repository: ImageRepository, referrers: Sequence[AnyManifest], subject: Digest
    ) -> bool:
        """Whether the registry lists what it says that it has listed; False: it has no API.

        The list may be behind for a while (Docker Hub has lost entries, hub-feedback#2372).
        """
        wanted = {one.digest for one in referrers}
        patience = self._transport.patience(VISIBLE_SECONDS)
        while True:
            try:
                found = self._from_api(repository.at(subject))
            except RegistryFailsError as error:
                raise ReferrerNotListedError(repository, str(error)) from error
            if found is None or wanted <= {one.digest for one in found}:
                return found is not None
            if not patience.goes_on():
                raise ReferrerNotListedError(repository, "the registry's list does not have it yet")

    def _list(
        self,
        repository: ImageRepository,
        referrers: Sequence[AnyManifest],
        subject: Digest,
        written: Callable[[], bool],
    ) -> None:
        try:
            self.list_by_tag(repository, referrers, subject, written)
        except TagTakenError as error:
            tag = error.reference.tag
            why = f"the tag {tag} is immutable; let the rule leave out sha256-*"
            raise ReferrerNotListedError(repository, why) from error
        except (NotAnIndexError, MalformedManifestError, LimitExceededError) as error:
            raise ReferrerNotListedError(repository, str(error)) from error

    def list_by_tag(
        self,
        repository: ImageRepository,
        referrers: Sequence[AnyManifest],
        subject: Digest,
        written: Callable[[], object] = lambda: None,
    ) -> None:
        """Add referrers to the index under the subject's referrers tag.

        ``written`` waits until they are there: a registry may refuse a list that is ahead of them.
        """
        tag = _referrers_tag(repository, subject)

        def listing_them(current: AnyManifest | None) -> NewManifest | None:
            written()
            if current is not None and not isinstance(current, ImageIndex):
                raise NotAnIndexError(tag)
            have = {one.digest for one in current.manifests} if current else set()
            lacking = [_described(one) for one in referrers if one.digest not in have]
            if not lacking:
                return None
            return NewManifest(with_manifests(current, lacking), OCI_INDEX)

        self.amend(tag, listing_them)

    def amend(self, reference: TagReference, edit: Edit) -> bool:
        """Replace what the tag holds by ``edit`` of it until that has lasted.

        A tag at which the registry refuses a look has nothing: where there is something, whoever
        may write may read. One that cannot be read *now* is not written over.
        """
        self._transport.will_write(reference.repository)
        lock = _lock_of(reference)  # named, because only who holds it keeps it alive
        with lock.held:
            last: NewManifest | None = None
            current = self._manifests.look(reference)
            for _ in range(_ROUNDS + 1):
                known = None if isinstance(current, Unanswered) else current
                new = edit(known)
                if new is None:
                    return last is not None
                self._blobs.write(reference.repository, *new.blobs)
                if self._manifests.replace(reference, new, known):
                    last = new
                with ThreadPoolExecutor(1) as aside:
                    proof = aside.submit(self._blobs.prove, reference.repository, *new.blobs)
                    current = self._again(reference, last)
                    proof.result()
        raise LostUpdateError(reference)

    def _again(
        self, reference: TagReference, written: NewManifest | None
    ) -> AnyManifest | Unanswered | None:
        """What the tag has now; what was written a moment ago may take a while to be seen."""
        patience = self._transport.patience(VISIBLE_SECONDS)
        while True:
            found = self._manifests.look(reference)
            if written is None or not (found is None or isinstance(found, Unanswered)):
                return found
            if not patience.goes_on():
                fact = f"{reference} was written and is not visible yet"
                raise UnavailableError(f"{reference.repository.host}: {fact}")

    def _from_api(self, subject: DigestReference) -> tuple[Descriptor, ...] | None:
        """None: this registry has no referrers API."""
        found: list[Descriptor] = []
        url: str | None = self._transport.url(subject.repository, "referrers", subject.digest)
        for page in range(_PAGES):
            if url is None:
                break
            reply = self._page(subject, url)
            if not _is_listing(reply):
                if page == 0:
                    return None
                raise failure(reply, f"referrers of {subject}", self._transport.grant.name)
            found += _entries(reply, subject)
            url = _next_page(reply)
        return tuple(found)

    def _page(self, subject: DigestReference, url: str) -> Reply:
        thing = f"referrers of {subject}"
        entry = self._transport.grant.entry_for(subject.repository)
        scopes = self._transport.scopes(subject.repository)
        headers = {"Accept": OCI_INDEX}
        return self._transport.call(
            Call("GET", url, thing, entry, scopes, headers, limit=MANIFEST_LIMIT)
        )


def _is_listing(reply: Reply) -> bool:
    media_type = reply.headers.get("Content-Type", "").partition(";")[0].strip()
    return reply.status == 200 and media_type == OCI_INDEX  # noqa: PLR2004 - HTTP


def _entries(reply: Reply, subject: DigestReference) -> tuple[Descriptor, ...]:
    if reply.content.strip() == _NONE:
        return ()
    listing = parse_manifest(reply.content, OCI_INDEX, f"referrers of {subject}")
    if not isinstance(listing, ImageIndex):
        raise MalformedManifestError(f"referrers of {subject}", "not an index")
    return listing.manifests


def _next_page(reply: Reply) -> str | None:
    link = _NEXT.search(reply.headers.get("Link", ""))
    if link is None:
        return None
    try:
        url = urljoin(reply.url, str(link[1]))
    except ValueError as error:
        fact = "its next page is nowhere"
        raise NotARegistryError("a listing of referrers", reply.host, fact) from error
    if host_of(url) != reply.host or url.partition(":")[0] != reply.url.partition(":")[0]:
        raise NotARegistryError("a listing of referrers", reply.host, "its next page is elsewhere")
    return url


def _referrers_tag(repository: ImageRepository, digest: Digest) -> TagReference:
    return repository.tagged(attached_tag(digest, ""))


def _in_order(puts: Iterable[Callable[[], bool]]) -> bool:
    answers = [put() for put in puts]
    return all(answers)


def _all(writes: Iterable[Future[bool]]) -> bool:
    """Whether every one was answered with yes; waits for all, and raises what one raised."""
    answers = [write.result() for write in writes]
    return all(answers)


def _described(referrer: AnyManifest) -> Descriptor:
    """What the list says of a referrer: all its annotations, too (distribution-spec 1.1)."""
    kind = referrer.kind if isinstance(referrer, ImageManifest) else referrer.artifact_type
    return Descriptor(
        referrer.media_type,
        referrer.digest,
        len(referrer.content),
        referrer.annotations,
        artifact_type=kind,
    )


@dataclass(slots=True, weakref_slot=True)
class _TagLock:
    held: threading.Lock = field(default_factory=threading.Lock)


_locks: weakref.WeakValueDictionary[TagReference, _TagLock] = weakref.WeakValueDictionary()
_locks_guard = threading.Lock()


def _lock_of(reference: TagReference) -> _TagLock:
    """The lock of a tag, shared by every client in this process."""
    with _locks_guard:
        return _locks.setdefault(reference, _TagLock())
