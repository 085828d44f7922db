"""What the default branch wants of an application in an environment, and what brought it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bot.domain.environments import Application, Environment, Image, ImageId
from bot.domain.memory import Resolution
from bot.domain.oci import Digest, DigestReference
from bot.domain.publication import LocationKey
from bot.domain.source_refs import SourceRef
from bot.facts.resolution import record_of
from bot.facts.seals import comes_back, is_sealed, may_need_authority, needs_attestation
from bot.facts.snapshot import View
from bot.formats.places import ImageLocation

_AT_ONCE = 100
"""Merges that changed the file, as many as are read at once; merges of other files never count."""


@dataclass(frozen=True, slots=True)
class DesiredImage:
    """What the default branch wants of one image, and what brought it."""

    view: View
    environment: Environment
    application: Application
    image: Image
    digest: Digest
    merge: str
    """The first-parent commit that brought the digest."""
    resolution: Resolution | None
    """Which commit's image it is, if the record knows."""
    is_sealed: bool
    """It is sealed already by an earlier promotion; this one is still to be attested."""
    places: tuple[LocationKey, ...]
    """Where the merge brought it."""

    @property
    def reference(self) -> DigestReference:
        """Where it should stand."""
        return self.environment.repository_of(self.application, self.image.name).at(self.digest)

    @property
    def commit(self) -> str:
        """Its source commit; empty if nobody knows."""
        return self.resolution.commit if self.resolution else ""

    @property
    def built_of(self) -> str:
        """The commit that CI built it of: an older one where nothing of it changed since."""
        return self.resolution.commit_of(self.image.name) if self.resolution else ""

    @property
    def ref(self) -> SourceRef:
        """The branch or tag that asked for it; `NO_REF` if our record does not know."""
        scope = self.view.scope(self.environment.name, self.application.name)
        heads = self.view.ports.memory.heads_of(scope, self.commit)
        return SourceRef.of(heads[-1].trigger_branch if heads else "")


def desired_images(
    view: View, environment: Environment, application: Application
) -> list[DesiredImage]:
    """Digests at the application's places that lack a seal, or the merge's authority; each once."""
    images = {image.name: image for image in application.images}
    wishes: dict[tuple[str, Digest, str], DesiredImage] = {}
    for location in view.locations_of(view.head, environment, application.name):
        if location.image.name not in images:
            continue
        reference = location.written.reference()
        if reference is None or reference.digest is None:
            continue  # cannot be sealed; its publication says so
        expected = environment.repository_of(application, location.place.image)
        if reference.repository != expected.canonical:
            continue
        image = images[location.place.image]
        digest_there = expected.at(reference.digest)
        sealed = is_sealed(view, environment, location.image, reference.digest)
        if sealed and not may_need_authority(view, environment, digest_there):
            continue  # nearly all of them: who brought it is not asked of git
        wish = _wish(view, environment, application, image, digest_there, location, sealed=sealed)
        key = image.name, wish.digest, wish.merge
        known = wishes.get(key)
        wishes[key] = replace(known, places=(*known.places, location.place)) if known else wish
    return [wish for wish in wishes.values() if not wish.is_sealed or _lacks_authority(wish)]


def _lacks_authority(wish: DesiredImage) -> bool:
    view, environment, reference = wish.view, wish.environment, wish.reference
    own = ImageId(wish.application.name, wish.image.name)
    return needs_attestation(
        view, environment, own.application, reference, wish.merge
    ) or comes_back(view, environment, own, reference, wish.merge)


def _wish(
    view: View,
    environment: Environment,
    application: Application,
    image: Image,
    reference: DigestReference,
    location: ImageLocation,
    *,
    sealed: bool,
) -> DesiredImage:
    digest, places = reference.digest, (location.place,)
    record = record_of(view, environment, application, view.head, (image.name, digest))
    merge = _merge_that_brought(view, environment, location)
    return DesiredImage(
        view, environment, application, image, digest, merge, record, sealed, places
    )


def returning(
    view: View,
    environment: Environment,
    application: Application,
    place: LocationKey,
    digest: Digest,
    merge: str,
) -> DesiredImage:
    """A sealed digest that a merge brings to a place again."""
    image = next(one for one in application.images if one.name == place.image)
    record = record_of(view, environment, application, merge, (image.name, digest))
    return DesiredImage(
        view,
        environment,
        application,
        image,
        digest,
        merge,
        record,
        is_sealed=True,
        places=(place,),
    )


def _merge_that_brought(view: View, environment: Environment, location: ImageLocation) -> str:
    """The oldest first-parent commit since when the place has said what it says now."""
    oldest = start = view.head
    while start:
        commits = view.history.touching(start, [location.place.path], limit=_AT_ONCE)
        for commit in commits:
            oldest, start = commit.id, next(iter(commit.parents), "")
            if says(view, environment, start, location.place) != location.written.digest:
                return commit.id
        if len(commits) < _AT_ONCE:
            break
    return oldest


def says(view: View, environment: Environment, commit: str, place: LocationKey) -> str:
    """The digest at a place of a commit; empty: none."""
    found = view.files(commit, environment).by_place.get(place) if commit else None
    return found.written.digest if found else ""
