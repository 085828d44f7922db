"""One environment's ref and everything that decides what it should show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bot.domain.environments import Environment, Unmanaged
from bot.domain.gates import Action
from bot.domain.memory import Adoption, PublicationRecord, mention_digest
from bot.domain.oci import Digest
from bot.domain.publication import FileState, LocationKey
from bot.domain.rendering import Rendered
from bot.facts.gates import closed, going
from bot.facts.loose_digests import loose_digests
from bot.facts.seals import is_sealed
from bot.facts.snapshot import View
from bot.formats.foreign_images import foreign_in, is_allowed
from bot.formats.image_names import ImageField
from bot.formats.manifest_file import file_state, image_of, references, unsealable
from bot.formats.places import Remark


@dataclass(frozen=True, slots=True)
class RefSnapshot:
    """One environment's ref and everything that decides what it should show."""

    view: View
    environment: Environment
    tip: str
    """What the ref names now; empty: it does not exist."""
    last: PublicationRecord | None
    """Our newest record whose commit the ref has named."""
    rendered: Rendered | None = None
    """What comes of the tree that is published; None: not asked yet."""

    @property
    def is_first(self) -> bool:
        """No publication has been made, or the last one has no known source."""
        return self.last is None or not self.last.source

    def state(self, commit: str, path: str) -> FileState | None:
        """One file at a commit."""
        entry = self.view.history.paths(commit).get(path) if commit else None
        if entry is None:
            return None
        files = self.view.files(commit, self.environment)
        reading = files.reading(path)
        waits = self.waiting(path, unsealable(files.remarks_of(path)) if self._holds else {})
        waits |= self._unmanaged(path, entry.blob) if entry.is_file else {}
        waits |= unsealable(self._loose(commit, path))
        if not reading.locations:
            return FileState(f"{entry.mode}:{entry.blob}", {}, references(reading), waits)
        found = file_state(self.view.text(entry.blob), reading)
        return replace(found, skeleton=f"{entry.mode}:{found.skeleton}", unsealable=waits)

    @property
    def _holds(self) -> bool:
        """Whether what names us and is no place holds a merge."""
        return self.environment.signs

    def waiting(self, path: str, found: Mapping[str, str]) -> dict[str, str]:
        """Without what runs already where an environment begins: somebody took that over."""
        if not found or not self.is_first:
            return dict(found)
        known = self.mentions(self.last.commit) if self.last else {}
        taken = {one.digest for one in self._adoptions()}
        return {
            identity: words
            for identity, words in found.items()
            if (path, identity) not in known and mention_digest(path, identity) not in taken
        }

    def _adoptions(self) -> Sequence[Adoption]:
        return self.view.ports.memory.adoptions(self.view.scope(self.environment.name))

    def _loose(self, commit: str, path: str) -> Sequence[Remark]:
        """Digests of ours where no place is known; what an environment begins with runs already."""
        if not self._holds or self.is_first:
            return ()
        return loose_digests(self.view, self.environment, commit, path)

    def _unmanaged(self, path: str, blob: str) -> dict[str, str]:
        """Images of others that hold a merge, where the environment wants that."""
        environment = self.environment
        if environment.unmanaged is not Unmanaged.HOLD or not environment.owns(path):
            return {}
        found = foreign_in(path, self.view.text(blob), self.view.names(environment))
        return {
            f"foreign\0{one.text}": f"{one}, and `unmanaged: hold` stands"
            for one in found
            if not is_allowed(one, environment.allow_images)
        }

    def mentions(self, commit: str) -> dict[tuple[str, str], str]:
        """What names us at a commit and is no place: (path, identity) -> what people read."""
        files = self.view.files(commit, self.environment)
        return {
            (path, identity): words
            for path in files.readings
            for identity, words in unsealable(files.remarks_of(path)).items()
        }

    def pins(self, commit: str) -> dict[LocationKey, str]:
        """Everything that a commit shows at this environment's places."""
        if not commit:
            return {}
        return {
            location.place: str(location.written)
            for location in self.view.locations(commit, self.environment)
        }


def may_show(snapshot: RefSnapshot, pin: str, place: LocationKey) -> bool:
    """A digest must be sealed, not revoked, and its application not held at this moment.

    A place without a digest has nothing to adopt: it passes at the first publication.
    """
    reference = ImageField.parse(pin).reference()
    if reference is None:
        return False
    if reference.digest is None:
        return snapshot.is_first
    application = snapshot.view.pipeline.applications.get(place.application)
    if application is None or reference.digest in snapshot.view.rules.revoked:
        return False
    if _is_closed(snapshot, place, reference.digest):
        return False
    expected = snapshot.environment.repository_of(application, place.image)
    return reference.repository == expected.canonical and is_sealed(
        snapshot.view, snapshot.environment, image_of(place), reference.digest
    )


def _is_closed(snapshot: RefSnapshot, place: LocationKey, digest: Digest) -> bool:
    """Whether somebody stopped the image's application; going back may pass."""
    back = going(snapshot.view, snapshot.environment, image_of(place), digest)
    at = snapshot.view, snapshot.environment, place.application
    return closed(*at, Action.PUBLISH, back) is not None
