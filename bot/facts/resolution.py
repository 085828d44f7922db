"""From a commit to its images, once; and whether they are where an environment takes them from."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from bot.domain.environments import Application, Environment, Image, ImageId, image_tag
from bot.domain.errors import LockkeeperError, NotFoundError
from bot.domain.images import RegistryRefusesError
from bot.domain.memory import Resolution
from bot.domain.oci import Digest, TagReference
from bot.domain.promotion import FoundImage, KnownBy, label_verdict
from bot.facts.granted import source_repository
from bot.facts.presence import is_there
from bot.facts.snapshot import View, build_repository, entry_environment

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
    view: View, environment: Environment, application: Application, commit: str
) -> Resolution | Missing | Contradicted:
    """The recorded digests of (application, commit), or what CI's registry says now.

    The first resolution is recorded, and no tag is asked again: a tag that moves later changes
    nothing.
    """
    known = view.ports.memory.resolution(view.id, application.name, commit)
    if known is not None and {name for name, _ in known.digests} == {
        image.name for image in application.images
    }:
        return known
    found = [_find(view, environment, application, image, commit) for image in application.images]
    missing = [item for item in found if isinstance(item, _Absent)]
    if missing:
        return Missing(tuple(one.reference for one in missing), tuple(one.why for one in missing))
    images = [item for item in found if isinstance(item, FoundImage)]
    verdicts = [
        label_verdict(commit, image, str(_tag(view, environment, application, one, commit)))
        for image, one in zip(images, application.images, strict=True)
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
            digests=tuple(sorted((image.name, image.digest) for image in images)),
            known_by=str(weakest),
            at=view.ports.clock.now(),
        )
    )


def _tag(
    view: View, environment: Environment, application: Application, image: Image, commit: str
) -> TagReference:
    repository = build_repository(view.pipeline, environment, application, image.name)
    return repository.tagged(image_tag(application, image, commit))


@dataclass(frozen=True, slots=True)
class _Absent:
    reference: TagReference
    why: str = ""


def _find(
    view: View, environment: Environment, application: Application, image: Image, commit: str
) -> FoundImage | _Absent:
    registry = view.registry(entry_environment(view.pipeline, environment))
    reference = _tag(view, environment, application, image, commit)
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

    Published in ``from``, where that is an environment; else present where CI pushes.

    Raises:
        RegistryRefusesError: the registry refuses to say, which is neither yes nor no.
    """
    if environment.source_environment is not None:
        source = view.environment(environment.source_environment)
        return is_published(view, source, ImageId(application.name, image), digest)
    source_place = source_repository(view.pipeline, environment, application, image)
    repository = source_place or environment.repository_of(application, image)
    return is_there(view.registry(environment), repository.at(digest))


def proposed_as(
    view: View, environment: Environment, application: Application, images: Mapping[str, Digest]
) -> Resolution | None:
    """The commit that was last proposed here with exactly these images; None: none was lately.

    An image that did not change is several commits' image: what came with it says which is meant.
    """
    memory, scope = view.ports.memory, view.scope(environment.name, application.name)
    sources = dict.fromkeys(head.source for head in reversed(memory.written_heads(scope)))
    for source in islice(sources, _PROPOSED):
        record = memory.resolution(view.id, application.name, source)
        if record is not None and dict(record.digests) == dict(images):
            return record
    return None


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
    records = view.ports.memory.publications(scope)
    commits = {record.commit for record in records}
    tip = view.history.heads().get(environment.ref)
    if tip is None or tip not in commits:
        return False
    brought = view.ports.memory.shown_by(scope, image, digest)
    older = [record.commit for record in reversed(records[-_PUBLICATIONS:])]
    return any(
        _shows(view, environment, commit, image, digest)
        for commit in dict.fromkeys([*brought, *older])
        if commit in commits
    )


def shown_together(
    view: View, environment: Environment, application: Application, images: Mapping[str, Digest]
) -> str:
    """The publication in which exactly these images stand together, the newest one known.

    The ref itself counts where it shows them. Empty: no publication of ours does.
    """
    scope = view.scope(environment.name)
    commits = {record.commit for record in view.ports.memory.publications(scope)}
    brought = [
        commit
        for image, digest in images.items()
        for commit in view.ports.memory.shown_by(scope, ImageId(application.name, image), digest)
    ]
    tip = view.history.heads().get(environment.ref, "")
    looked_at = [one for one in dict.fromkeys([tip, *brought]) if one in commits]
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
