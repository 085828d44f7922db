"""Signed statements that hang on an image: bundles among its referrers, layers under ``.att``.

Whoever may write to the repository may attach anything, so what is damaged or foreign is passed
over, never believed and never an error. Whether a signature counts is the caller's question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

from bot.domain.errors import (
    IntegrityError,
    LimitExceededError,
    LockkeeperError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from bot.domain.images import (
    AnyManifest,
    Descriptor,
    ImageManifest,
    NewManifest,
    ReferrerNotListedError,
    ReferrerRefusedError,
    RegistryFailsError,
    RegistryRefusesError,
    TagTakenError,
    attached_tag,
)
from bot.domain.oci import DigestReference, ImageRepository
from bot.formats import sigstore_bundle, simple_signing
from bot.formats.sigstore_bundle import Envelope
from bot.ports.keys import Signer, Verifier
from bot.ports.registry import ImageRegistry

T = TypeVar("T")
U = TypeVar("U")
ATTESTATION_SUFFIX: Final = "att"
_SIZE: Final = 2**20  # bytes of an envelope of ours; a few KiB are usual
_BUNDLES: Final = 200  # bundles of one digest that are opened
_LAYERS: Final = 1000  # cosign reads no more of one tag
_PASSES: Final = 4  # over everything that has to stand; the last one writes nothing
_AT_ONCE: Final = 16  # layouts
_PREDICATE_ANNOTATION: Final = "dev.sigstore.bundle.predicateType"


class UnfitTagError(RejectedError):
    """A tag that has to hold what is signed holds something else."""


class NoLayoutError(RejectedError):
    """A registry takes what is signed in no layout."""

    def __init__(self, refusals: Sequence[LockkeeperError]) -> None:
        """Name what stands against each."""
        reasons = "; ".join(dict.fromkeys(str(one) for one in refusals))
        is_kept = any(isinstance(one, TagTakenError | ReferrerNotListedError) for one in refusals)
        way_out = ". Let the registry's rule of immutable tags leave out sha256-*"
        super().__init__(
            f"what is signed can stand nowhere: {reasons}" + (way_out if is_kept else "")
        )
        self.refusals = tuple(refusals)


class LostSignatureError(UnavailableError):
    """What was signed is gone again, several times."""

    def __init__(self) -> None:
        """Say what to look for."""
        super().__init__("what was signed does not stay in its registry; who else signs there?")


class NotAnAttestationTagError(UnfitTagError):
    """The tag that has to hold the attestations holds something else."""

    def __init__(self, tag: str, repository: ImageRepository) -> None:
        """Name the tag."""
        super().__init__(f"{repository}:{tag} should hold attestations; remove that tag")
        self.tag, self.repository = tag, repository


@dataclass(frozen=True, slots=True)
class ImageField:
    """What an "ensure" did."""

    count: int = 0
    """Signatures that were not there before."""
    warnings: tuple[str, ...] = ()
    """What the registry would not take, each once."""

    def __add__(self, other: ImageField) -> ImageField:
        both = dict.fromkeys((*self.warnings, *other.warnings))
        return ImageField(self.count + other.count, tuple(both))


@dataclass(frozen=True, slots=True)
class Said:
    """A statement that a key of ours is to sign."""

    payload: bytes = field(repr=False)
    predicate_type: str
    at: datetime | None = None
    """Noted, unsigned, in the bundle's manifest."""


def at_once(*tasks: Callable[[], T]) -> list[T]:
    """What each of them answers; what watches the job sees what its threads do."""
    with ThreadPoolExecutor(min(len(tasks), _AT_ONCE) or 1) as pool:
        inside = [partial(copy_context().run, task) for task in tasks]
        return list(pool.map(lambda task: task(), inside))


def both(first: Callable[[], T], second: Callable[[], U]) -> tuple[T, U]:
    """What the two answer, asked at once."""
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(copy_context().run, second)
        return first(), other.result()


def in_both_layouts(
    registry: ImageRegistry, reference: DigestReference, predicate_type: str
) -> list[Envelope]:
    """Envelopes that say that they hold such a statement, bundles first; both are asked at once."""
    first, second = both(
        lambda: list(bundled(registry, reference, predicate_type)),
        lambda: list(attached(registry, reference, predicate_type)),
    )
    return [*first, *second]


def bundled(
    registry: ImageRegistry, reference: DigestReference, predicate_type: str, limit: int = _SIZE
) -> Iterator[Envelope]:
    """Envelopes of the bundles that say that they hold such a statement, or say nothing.

    Args:
        registry: where the image is.
        reference: the image.
        predicate_type: with or without a version.
        limit: bytes of a bundle; larger ones are passed over.
    """

    def may_hold(referrer: Descriptor) -> bool:
        kind = referrer.annotations.get(_PREDICATE_ANNOTATION, predicate_type)
        is_bundle = referrer.artifact_type.startswith(sigstore_bundle.BUNDLE_FAMILY)
        return is_bundle and sigstore_bundle.is_of_type(kind, predicate_type)

    candidates = [one for one in registry.referrers(reference) if may_hold(one)]
    for descriptor in candidates[:_BUNDLES]:
        found = read_bundle(registry, reference.repository, descriptor, limit)
        if found is not None:
            yield found


def under_tag(
    registry: ImageRegistry, reference: DigestReference, suffix: str
) -> AnyManifest | None:
    """What hangs on an image under one of cosign's tags; None: nothing does.

    Some registries refuse a look at a tag that is not there (Artifactory: 403): that is nothing,
    too. Who may not read the image at all was told so when it was looked at itself.
    """
    try:
        return registry.manifest(
            reference.repository.tagged(attached_tag(reference.digest, suffix))
        )
    except RegistryRefusesError:
        return None


def attached(
    registry: ImageRegistry, reference: DigestReference, predicate_type: str, limit: int = _SIZE
) -> Iterator[Envelope]:
    """Envelopes under the ``.att`` tag that say that they hold such a statement."""
    manifest = under_tag(registry, reference, ATTESTATION_SUFFIX)
    layers = manifest.layers if isinstance(manifest, ImageManifest) else ()
    for layer in layers[:_LAYERS]:
        found = read_layer(registry, reference.repository, layer, predicate_type, limit)
        if found is not None:
            yield found


def read_layer(
    registry: ImageRegistry,
    repository: ImageRepository,
    layer: Descriptor,
    predicate_type: str,
    limit: int = _SIZE,
) -> Envelope | None:
    """The envelope of one layer under ``.att``; None if it is of another kind or damaged."""
    if layer.media_type != sigstore_bundle.ENVELOPE_TYPE or layer.size > limit:
        return None
    kind = layer.annotations.get("predicateType", predicate_type)
    if not sigstore_bundle.is_of_type(kind, predicate_type):
        return None
    try:
        return sigstore_bundle.parse_envelope(registry.blob(repository, layer, limit))
    except (IntegrityError, RejectedError):
        return None


def read_bundle(
    registry: ImageRegistry, repository: ImageRepository, referrer: Descriptor, limit: int = _SIZE
) -> Envelope | None:
    """The envelope of the bundle that a referrer carries; None if it is none or damaged."""
    try:
        manifest = registry.manifest(repository.at(referrer.digest))
        if not isinstance(manifest, ImageManifest) or len(manifest.layers) != 1:
            return None
        return sigstore_bundle.parse_bundle(registry.blob(repository, manifest.layers[0], limit))
    except (IntegrityError, RejectedError):
        return None


def is_signed_by(verifier: Verifier, envelope: Envelope) -> bool:
    """One of the envelope's signatures is this key's."""
    return any(verifier.verifies(envelope.message, signature) for signature in envelope.signatures)


def ensure_bundled(
    registry: ImageRegistry, signer: Signer, reference: DigestReference, *statements: Said
) -> int:
    """Make bundles of these statements by this key refer to the image; how many were lacking.

    Args:
        registry: where the image is.
        signer: whose signatures they are.
        reference: the image.
        statements: about that image.

    Raises:
        ReferrerRefusedError: the registry takes no bundle.
        ReferrerNotListedError: it has them now, and whether anybody finds them is not known.
    """
    fails: RegistryFailsError | None = None
    lacking = list(statements)
    try:
        has = at_once(*(partial(_has_bundle, registry, signer, reference, x) for x in statements))
        lacking = [one for one, is_there in zip(statements, has, strict=True) if not is_there]
    except RegistryFailsError as error:
        fails = error  # it cannot list; to write is all that is left
    if lacking:
        subject = subject_of(registry, reference)
        manifests = [_new_bundle(signer, subject, one) for one in lacking]
        registry.attach(reference.repository, *manifests)
    if fails is not None:
        raise ReferrerNotListedError(reference.repository, str(fails)) from fails
    return len(lacking)


def _has_bundle(
    registry: ImageRegistry, signer: Signer, reference: DigestReference, said: Said
) -> bool:
    return any(
        envelope.payload == said.payload and is_signed_by(signer, envelope)
        for envelope in bundled(registry, reference, said.predicate_type)
    )


def _new_bundle(signer: Signer, subject: Descriptor, said: Said) -> NewManifest:
    signature = signer.sign(_message(said.payload))
    bundle = sigstore_bundle.render_bundle(said.payload, signature, signer.fingerprint)
    created = said.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if said.at else ""
    return sigstore_bundle.bundle_manifest(bundle, said.predicate_type, subject, created)


@dataclass(slots=True)
class Layout:
    """One of the places where the same may stand: written where it is missing."""

    write: Callable[[], int]
    """Looks first; how much was not there."""
    refusals: tuple[type[LockkeeperError], ...]
    """What means that this place is not to be had, while another one may be."""
    hint: str
    """What follows for whoever verifies, and the way out."""
    refused: LockkeeperError | None = field(default=None, init=False)

    def ensure(self) -> int:
        """Write it, unless it was refused before."""
        if self.refused is None:
            try:
                return self.write()
            except self.refusals as error:
                self.refused = error
        return 0

    @property
    def warning(self) -> str:
        """For people."""
        return f"{self.refused}; {self.hint}"


def under_a_tag(write: Callable[[], int]) -> Layout:
    """A layout whose tag may be immutable, or may hold something of somebody else."""
    refusals = (
        TagTakenError,
        UnfitTagError,
        LimitExceededError,
        RegistryRefusesError,
        IntegrityError,
    )
    hint = (
        "what is signed stands in a bundle alone. If the tag is immutable, let the registry's rule"
        " leave out sha256-*"
    )
    return Layout(write, refusals, hint)


def in_a_bundle(write: Callable[[], int]) -> Layout:
    """A layout that some registries do not take (Amazon ECR, aws/containers-roadmap#2783)."""
    refusals = (ReferrerRefusedError, ReferrerNotListedError)
    return Layout(write, refusals, "what is signed stands under its tag alone")


def ensure_layouts(groups: Sequence[Sequence[Layout]]) -> ImageField:
    """Make every layout hold what it has to, all at once, until a look finds nothing missing.

    Others may sign the same image at the same moment, and registries have no lock: what was
    overwritten is written again. What one layout of a group does not take is a warning as long as
    another one does.

    Raises:
        NoLayoutError: no layout of a group takes it.
        LostSignatureError: it does not last.
    """
    layouts = [one for group in groups for one in group]
    count = 0
    for _ in range(_PASSES):
        written = sum(at_once(*(one.ensure for one in layouts)))
        count += written
        for group in groups:
            _check_one_stands(group)
        if not written:
            refused = [one.warning for one in layouts if one.refused]
            return ImageField(count, tuple(dict.fromkeys(refused)))
    raise LostSignatureError


def _check_one_stands(group: Sequence[Layout]) -> None:
    refusals = [one.refused for one in group if one.refused]
    if refusals and len(refusals) == len(group):
        raise NoLayoutError(refusals) from refusals[0]


def ensure_in_both_layouts(
    registry: ImageRegistry, signer: Signer, reference: DigestReference, *statements: Said
) -> ImageField:
    """Make these statements by this key hang on the image under ``.att`` and in bundles."""
    return ensure_layouts(
        [
            [
                under_a_tag(partial(ensure_attached, registry, signer, reference, *statements)),
                in_a_bundle(partial(ensure_bundled, registry, signer, reference, *statements)),
            ]
        ]
    )


def ensure_attached(
    registry: ImageRegistry, signer: Signer, reference: DigestReference, *statements: Said
) -> int:
    """Make envelopes of these statements by this key stand under ``.att``: how many were lacking.

    All are written at once: where tags are immutable, only the first write counts.
    """
    tag = attached_tag(reference.digest, ATTESTATION_SUFFIX)
    written = 0

    def is_there(layer: Descriptor, said: Said) -> bool:
        found = read_layer(registry, reference.repository, layer, said.predicate_type)
        return found is not None and found.payload == said.payload and is_signed_by(signer, found)

    def adding(current: AnyManifest | None) -> NewManifest | None:
        nonlocal written
        if current is not None and not isinstance(current, ImageManifest):
            raise NotAnAttestationTagError(tag, reference.repository)
        layers = current.layers if current else ()
        lacking = [one for one in statements if not any(is_there(layer, one) for layer in layers)]
        if not lacking:
            return None
        if len(layers) + len(lacking) > _LAYERS:
            raise LimitExceededError(f"attestations of {reference.digest}", str(_LAYERS))
        written = max(written, len(lacking))
        signed = [
            sigstore_bundle.render_envelope(one.payload, signer.sign(_message(one.payload)))
            for one in lacking
        ]
        added = tuple(
            sigstore_bundle.envelope_layer(envelope, one.predicate_type)
            for envelope, one in zip(signed, lacking, strict=True)
        )
        return simple_signing.with_layers(current, added, tuple(signed))

    return written if registry.amend(reference.repository.tagged(tag), adding) else 0


def _message(statement: bytes) -> bytes:
    return sigstore_bundle.pre_authentication_encoding(sigstore_bundle.STATEMENT_TYPE, statement)


def subject_of(registry: ImageRegistry, reference: DigestReference) -> Descriptor:
    """What names the image; NotFoundError if it is not there."""
    manifest = registry.manifest(reference)
    if manifest is None:
        raise NotFoundError(f"image {reference.digest}", str(reference.repository))
    return Descriptor(manifest.media_type, reference.digest, len(manifest.content))
