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
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin

from bot.adapters.registry.blobs import Blobs
from bot.adapters.registry.calls import Call, Reply
from bot.adapters.registry.errors import NotARegistryError, RegistryRefusedError, failure
from bot.adapters.registry.manifests import Manifests, pull_scope
from bot.adapters.registry.peers import host_of
from bot.adapters.registry.transport import Transport
from bot.domain.errors import RejectedError, UnavailableError
from bot.domain.images import (
    MANIFEST_LIMIT,
    AnyManifest,
    Descriptor,
    ImageIndex,
    ImageManifest,
    MalformedManifestError,
    NewManifest,
    ReferrerRefusedError,
    attached_tag,
)
from bot.domain.oci import OCI_INDEX, Digest, DigestReference, ImageRepository, TagReference
from bot.formats.image_manifest import parse_manifest, with_manifest

_ROUNDS: Final = 3
_PAGES: Final = 20
# Answers of registries that have no such API (distribution 2: 404; others: the rest).
_NO_API: Final = frozenset({400, 404, 405, 406, 501})
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
        """Everything that names the digest as its subject, whatever its type."""
        if self._has_api.get(subject.repository, True):
            listed = self._from_api(subject)
            self._has_api[subject.repository] = listed is not None
            if listed is not None:
                return listed
        found = self._manifests.get(_referrers_tag(subject.repository, subject.digest))
        return found.manifests if isinstance(found, ImageIndex) else ()

    def has_api(self, subject: DigestReference) -> bool:
        """Whether the registry lists referrers itself."""
        return self._from_api(subject) is not None

    def attach(self, repository: ImageRepository, manifest: NewManifest) -> None:
        """Write a manifest with a subject, and list it where the registry does not.

        Raises:
            ReferrerRefusedError: the registry takes no such artifact.
        """
        for content in manifest.blobs:
            self._blobs.write(repository, _blob(content), content)
        parsed = parse_manifest(manifest.content, manifest.media_type, str(manifest.digest))
        try:
            listed = self._manifests.put_new(repository, manifest)
        except RegistryRefusedError as error:
            raise ReferrerRefusedError(repository, parsed.kind) from error
        if not listed and parsed.subject:
            self.list_by_tag(repository, parsed, parsed.subject.digest)

    def list_by_tag(
        self, repository: ImageRepository, referrer: AnyManifest, subject: Digest
    ) -> None:
        """Add a referrer to the index under the subject's referrers tag."""
        tag = _referrers_tag(repository, subject)

        def listing_it(current: AnyManifest | None) -> NewManifest | None:
            if current is not None and not isinstance(current, ImageIndex):
                raise NotAnIndexError(tag)
            if current and any(one.digest == referrer.digest for one in current.manifests):
                return None
            return NewManifest(with_manifest(current, _described(referrer)), OCI_INDEX)

        self.amend(tag, listing_it)

    def amend(self, reference: TagReference, edit: Edit) -> bool:
        """Replace what the tag holds by ``edit`` of it until that has lasted."""
        lock = _lock_of(reference)  # named, because only who holds it keeps it alive
        with lock.held:
            for written in range(_ROUNDS + 1):
                new = edit(self._manifests.get(reference))
                if new is None:
                    return written > 0
                if written == _ROUNDS:
                    break
                for content in new.blobs:
                    self._blobs.write(reference.repository, _blob(content), content)
                self._manifests.put(reference, new.content, new.media_type)
        raise LostUpdateError(reference)

    def _from_api(self, subject: DigestReference) -> tuple[Descriptor, ...] | None:
        """None: this registry has no referrers API."""
        found: list[Descriptor] = []
        url: str | None = self._transport.url(subject.repository, "referrers", subject.digest)
        for page in range(_PAGES):
            if url is None:
                break
            reply = self._page(subject, url)
            if page == 0 and not _is_listing(reply):
                return None
            found += _entries(reply, subject)
            url = _next_page(reply)
        return tuple(found)

    def _page(self, subject: DigestReference, url: str) -> Reply:
        thing = f"referrers of {subject}"
        entry = self._transport.grant.entry_for(subject.repository)
        scopes = (pull_scope(subject.repository),)
        headers = {"Accept": OCI_INDEX}
        reply = self._transport.call(
            Call("GET", url, thing, entry, scopes, headers, limit=MANIFEST_LIMIT)
        )
        if reply.status != 200 and reply.status not in _NO_API:  # noqa: PLR2004 - HTTP
            raise failure(reply, thing, self._transport.grant.name)
        return reply


def _is_listing(reply: Reply) -> bool:
    media_type = reply.headers.get("Content-Type", "").partition(";")[0].strip()
    return reply.status == 200 and media_type == OCI_INDEX  # noqa: PLR2004 - HTTP


def _entries(reply: Reply, subject: DigestReference) -> tuple[Descriptor, ...]:
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


def _blob(content: bytes) -> Descriptor:
    return Descriptor("application/octet-stream", Digest.of(content), len(content))


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
