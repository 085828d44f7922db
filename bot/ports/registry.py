"""Registries, as the grant of one environment reaches them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from bot.domain.doctor.environments import Access
from bot.domain.images import (
    AccessoryPolicy,
    AnyManifest,
    CopyReport,
    Descriptor,
    ImageDescription,
    NewManifest,
    Presence,
    ReadBack,
    TagOutcome,
)
from bot.domain.oci import Digest, DigestReference, ImageRepository, TagReference
from bot.ports.effects import effect


class Progress(Protocol):
    """Somebody who watches a copy; called from several threads."""

    def expect(self, size: int) -> None:
        """So many bytes of blobs will be accounted for; called once, before the first."""
        ...

    def advance(self, blob: Descriptor, size: int) -> None:
        """So many more bytes of it were moved, mounted or found; negative: sent again."""
        ...


class ImageRegistry(Protocol):
    """The registries of one environment's grant; a host outside it is never contacted."""

    def resolve(self, reference: TagReference) -> Digest | None:
        """What the tag names now, hashed from its bytes; None: no such tag or repository yet.

        Raises RegistryRefusesError where the registry says neither; for some it means the same.
        """
        ...

    def exists(self, reference: DigestReference) -> Presence:
        """Whether the repository has a manifest of that digest; it may not say."""
        ...

    def describe(self, reference: DigestReference) -> ImageDescription:
        """What the image says about itself; NotFoundError if it is not there."""
        ...

    @effect("copy the image")
    def copy(
        self,
        source: DigestReference,
        target: ImageRepository,
        *,
        accessories: AccessoryPolicy | None = None,
        progress: Progress | None = None,
        tags: Sequence[str] = (),
    ) -> CopyReport:
        """Make ``target`` hold the image, whole and by digest; it gets no tag.

        What ``tags`` name there is looked at beside. A target that has the image's root manifest is
        believed to have the rest, until a `read_back` has found otherwise. Without ``accessories``
        nothing that hangs on the image goes along.
        """
        ...

    def read_back(self, reference: DigestReference, *, tags: Sequence[str] = ()) -> ReadBack:
        """Read and hash every manifest and look for every blob; wait for what may come yet.

        What ``tags`` name is looked at beside: `tag`, called next, need not ask.

        Raises NotFoundError for what is missing, IntegrityError for what is wrong, and
        UnavailableError for what was written a moment ago and is not to be seen.
        """
        ...

    @effect("tag the image")
    def tag(self, reference: DigestReference, tag: str, *, move: bool) -> TagOutcome:
        """Make the tag name the digest; TagTakenError if it names another and may not move."""
        ...

    def referrers(self, subject: DigestReference) -> Sequence[Descriptor]:
        """What names the digest as its subject, by API or by referrers tag."""
        ...

    def manifest(self, reference: TagReference | DigestReference) -> AnyManifest | None:
        """A manifest or index, verified if named by digest; None if it is not there."""
        ...

    def blob(self, repository: ImageRepository, blob: Descriptor, limit: int) -> bytes:
        """A small blob, verified; LimitExceededError if its descriptor promises more."""
        ...

    def access(self, repository: ImageRepository, *, writes: bool) -> Access:
        """What is allowed there; an upload that is begun to know it is given back."""
        ...

    def save_layout(self, reference: DigestReference, directory: Path) -> None:
        """Write one platform's image as an OCI layout, every byte verified.

        LimitExceededError before the first byte if it is larger than is scanned.
        """
        ...

    @effect("attach to the image")
    def attach(self, repository: ImageRepository, *manifests: NewManifest) -> None:
        """Write manifests that have one subject; keep its referrers tag where there is no API.

        Raises ReferrerRefusedError where the registry takes no such artifact: whoever has written
        the same under a tag may go on with a warning.
        """
        ...

    @effect("amend the tag")
    def amend(
        self,
        reference: TagReference,
        edit: Callable[[AnyManifest | None], NewManifest | None],
    ) -> bool:
        """Replace what a tag holds by ``edit`` of it, until a re-read shows that it lasted.

        ``edit`` answers None when there is nothing (more) to do, and may be asked several times.
        Returns whether anything was written.
        """
        ...
