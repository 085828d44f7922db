"""From a commit to its images, once; and whether they are where an environment takes them from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from bot.domain.environments import Application, Environment, Image, ImageId, image_tag
from bot.domain.errors import LockkeeperError, NotFoundError
from bot.domain.images import RegistryRefusesError
from bot.domain.memory import Resolution
from bot.domain.oci import Digest, TagReference
from bot.domain.promotion import FoundImage, KnownBy, label_verdict
from bot.facts.granted import source_repository
from bot.facts.presence import is_there
from bot.facts.snapshot import View, build_repository, entry_environment
from bot.facts.unchanged import Absent, stretch, to_ask

_REVISION = "org.opencontainers.image.revision"  # image-spec 1.1, annotations.md
ImageDigest = tuple[str, Digest]
"""An image's name in its application, and what stands there."""
_PROPOSED = 50
"""Source commits that were proposed lately and may be meant by the images that stand somewhere."""
_PUBLICATIONS = 50
"""Publications that are looked through where no record says which one to look at."""
"""How far back a publication counts for `from`: a rollback reaches no further either."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Images that are not there (yet)."""

    references: tuple[TagReference, ...]
    why: tuple[str, ...] = ()
    """For each, what the registry says in place of "not there"; empty if it says that."""

    @property
    def looked_for(self) -> tuple[str, ...]:
        """For people."""
        reasons = self.why or ("",) * len(self.references)
        pairs = zip(self.references, reasons, strict=True)
        return tuple(f"{one} ({why})" if why else str(one) for one, why in pairs)


@dataclass(frozen=True, slots=True)
class Contradicted:
    """An image that stands under a commit's tag and is not that commit's."""

    reason: str


def resolve(
    view: View,
    environment: Environment,
    application: Application,
    commit: str,
    *,
    is_older: bool = False,
) -> Resolution | Missing | Contradicted:
    """The recorded digests of (application, commit), or what CI's registry says now.

    The first resolution is recorded, and no tag is asked again: a tag that moves later changes
    nothing. What lacks at an older commit is believed for a minute, by all environments.
    """
    known = view.ports.memory.resolution(view.id, application.name, commit)
    if known is not None and {name for name, _ in known.digests} == {
        image.name for image in application.images
    }:
        return known
    looked = Looking(view, environment, application, is_older=is_older)
    found = [looked.for_image(image, commit) for image in application.images]
    missing = [item for item, _ in found if isinstance(item, _Absent)]
    if missing:
        return Missing(tuple(one.reference for one in missing), tuple(one.why for one in missing))
    images = [(item, of) for item, of in found if isinstance(item, FoundImage)]
    verdicts = [
        label_verdict(of, image, str(looked.tag_of(one, of)))
        for (image, of), one in zip(images, application.images, strict=True)
    ]
    for _, contradiction in verdicts:
        if contradiction:
            return Contradicted(contradiction)
    weakest = KnownBy.LABEL if all(v is KnownBy.LABEL for v, _ in verdicts) else KnownBy.TAG_ONLY
    return view.ports.memory.record_resolution(
        Resolution(
            manifests=view.id,
            application=application.name,
            commit=commit,
            digests=tuple(sorted((image.name, image.digest) for image, _ in images)),
            known_by=str(weakest),
            at=view.ports.clock.now(),
            commits=tuple(sorted((image.name, of) for image, of in images if of != commit)),
        )
    )


@dataclass(frozen=True, slots=True)
class _Absent:
    reference: TagReference
    why: str = ""


@dataclass(frozen=True, slots=True)
class Looking:
    """One look for an application's images where CI pushes them for an environment."""

    view: View
    environment: Environment
    application: Application
    is_older: bool = False
    """The commit is not the one that asked: what lacks there is believed for a minute."""

    def tag_of(self, image: Image, commit: str) -> TagReference:
        """The tag that CI pushes for this image at this commit."""
        view, application = self.view, self.application
        repository = build_repository(view.pipeline, self.environment, application, image.name)
        return repository.tagged(image_tag(application, image, commit))

    def for_image(self, image: Image, commit: str) -> tuple[FoundImage | _Absent, str]:
        """The image, and the commit that it was built of.

        One with `paths` of its own may be an older commit's, as long as nothing of them changed.
        """
        found = self._find(image, commit, is_older=self.is_older)
        if isinstance(found, FoundImage) or not image.paths:
            return found, commit
        history = self.view.ports.mirrors.of(self.application.source)
        for older in to_ask(stretch(history, commit, image.is_built_of)):
            if older != commit:
                one = self._find(image, older, is_older=True)
                if isinstance(one, FoundImage):
                    return one, older
        return found, commit

    def _find(self, image: Image, commit: str, *, is_older: bool) -> FoundImage | _Absent:
        reference = self.tag_of(image, commit)
        absent = Absent(self.view.ports.shelf, self.view.ports.clock.now())
        if is_older and absent.is_known(reference):
            return _Absent(reference)
        found = self._look(image, reference)
        if isinstance(found, _Absent) and not found.why:
            absent.note(reference)
        return found

    def _look(self, image: Image, reference: TagReference) -> FoundImage | _Absent:
        registry = self.view.registry(entry_environment(self.view.pipeline, self.environment))
        try:
            digest = registry.resolve(reference)
        except RegistryRefusesError as error:
            # Where nothing was pushed yet some refuse access; if it is more, the words tell.
            return _Absent(reference, str(error))
        if digest is None:
            return _Absent(reference)
        try:
            labels = registry.describe(reference.repository.at(digest)).labels
        except NotFoundError:
            return _Absent(reference)  # deleted between the two looks
        return FoundImage(image.name, digest, labels.get(_REVISION))


def is_in_source(
    view: View,
    environment: Environment,
    application: Application,
    image: str,
    digest: Digest,
) -> bool:
    """Whether the image is where the environment takes it from.

    Published in ``from`` and in each of ``after``, where those are environments. Where CI pushes
    an image is left as soon as it stands there under the tag of its commit: a fix of a release
    branch is never in the environment that follows another one.

    Raises:
        RegistryRefusesError: the registry refuses to say, which is neither yes nor no.
    """
    own = ImageId(application.name, image)
    for name in environment.below:
        if is_published(view, view.environment(name), own, digest):
            continue
        if name in environment.after or not _was_pushed(
            view, environment, application, own, digest
        ):
            return False
    if environment.source_environment is not None:
        return True
    source_place = source_repository(view.pipeline, environment, application, image)
    repository = source_place or environment.repository_of(application, image)
    return is_there(view.registry(environment), repository.at(digest))


def _was_pushed(
    view: View, environment: Environment, application: Application, own: ImageId, digest: Digest
) -> bool:
    """Whether ``from`` is where CI pushes, and what stands there is a commit's by our record."""
    source = view.environment(environment.source_environment or environment.name)
    if not source.is_entry:
        return False
    known = view.ports.memory.resolution_of(view.id, application.name, own.name, digest)
    place = source.repository_of(application, own.name)
    return known is not None and is_there(view.registry(environment), place.at(digest))


def proposed_as(
    view: View, environment: Environment, application: Application, images: Mapping[str, Digest]
) -> Resolution | None:
    """The commit that was last proposed here with exactly these images; None: none was lately.

    An image that did not change is several commits' image: what came with it says which is meant.
    """
    memory, scope = view.ports.memory, view.scope(environment.name, application.name)
    for source in islice(_distinct(one.source for one in memory.latest_heads(scope)), _PROPOSED):
        record = memory.resolution(view.id, application.name, source)
        if record is not None and dict(record.digests) == dict(images):
            return record
    return None


def _distinct(words: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for word in words:
        if word not in seen:
            seen.add(word)
            yield word


def record_of(
    view: View, environment: Environment, application: Application, at: str, image: ImageDigest
) -> Resolution | None:
    """Whose image it is that a commit (or tree) of the default branch asks for, if anybody knows.

    The commit that was proposed with all that stands there, else the newest one that has it.
    """
    together = {
        location.image.name: Digest(location.written.digest)
        for location in view.locations_of(at, environment, application.name)
        if location.written.digest
    }
    name, digest = image
    found = proposed_as(view, environment, application, together)
    if found is not None and dict(found.digests).get(name) == digest:
        return found
    return view.ports.memory.resolution_of(view.id, application.name, name, digest)


def resolve_again(
    view: View, environment: Environment, application: Application, image: ImageDigest
) -> None:
    """Find again whose image a digest is, after a record was lost: its label and a tag agree.

    Else the next promotion could not tell whether it goes forward.
    """
    name, digest = image
    if view.ports.memory.resolution_of(view.id, application.name, name, digest) is not None:
        return
    entry = entry_environment(view.pipeline, environment)
    for one in dict.fromkeys([environment.name, entry.name]):
        target = view.pipeline.environments[one]
        reference = target.repository_of(application, name).at(digest)
        try:
            labels = view.registry(target).describe(reference).labels
        except LockkeeperError:
            continue  # not there, or nobody answers: the first promotion is looked at by people
        commit = labels.get(_REVISION, "").strip().lower()
        if len(commit) == 40 and commit.isalnum():  # noqa: PLR2004 - a full git commit id
            with contextlib.suppress(LockkeeperError):
                resolve(view, entry, application, commit)
            return


def lacks_record(view: View, environment: Environment) -> bool:
    """Whether the ref stands and nothing of it is in the record: the database is another one."""
    stands = view.history.heads().get(environment.ref) is not None
    return stands and view.ports.memory.last_publication(view.id, environment.name) is None


def is_published(view: View, environment: Environment, image: ImageId, digest: Digest) -> bool:
    """Whether the digest is, or ever was, on the environment's ref by our own record.

    The record says in which publications to look; what they show, git says.
    """
    scope = view.scope(environment.name)
    memory = view.ports.memory
    tip = view.history.heads().get(environment.ref)
    if tip is None or memory.publication_of(scope, tip) is None:
        return False
    brought = memory.shown_by(scope, image, digest)
    ours = {one.commit for one in memory.published_among(scope, brought)}
    older = (one.commit for one in islice(memory.latest_publications(scope), _PUBLICATIONS))
    return any(
        _shows(view, environment, commit, image, digest)
        for commit in chain((one for one in brought if one in ours), older)
    )


def shown_together(
    view: View, environment: Environment, application: Application, images: Mapping[str, Digest]
) -> str:
    """The publication in which exactly these images stand together, the newest one known.

    The ref itself counts where it shows them. Empty: no publication of ours does.
    """
    scope = view.scope(environment.name)
    memory = view.ports.memory
    brought = [
        commit
        for image, digest in images.items()
        for commit in memory.shown_by(scope, ImageId(application.name, image), digest)
    ]
    candidates = dict.fromkeys([view.history.heads().get(environment.ref, ""), *brought])
    ours = {one.commit for one in memory.published_among(scope, candidates)}
    looked_at = [one for one in candidates if one in ours]
    shown = [one for one in looked_at if _shows_all(view, environment, one, application, images)]
    # Of two, the one that contains the other is the newer: a ref only ever goes forward.
    return next(
        (
            one
            for one in shown
            if not any(view.history.is_ancestor(one, o) for o in shown if o != one)
        ),
        "",
    )


def _shows_all(
    view: View,
    environment: Environment,
    commit: str,
    application: Application,
    images: Mapping[str, Digest],
) -> bool:
    return all(
        _shows(view, environment, commit, ImageId(application.name, image), digest)
        for image, digest in images.items()
    )


def _shows(
    view: View, environment: Environment, commit: str, image: ImageId, digest: Digest
) -> bool:
    if not view.history.has(commit):
        return False
    return any(
        location.image == image and location.written.digest == digest
        for location in view.locations_of(commit, environment, image.application)
    )
