"""Signing an image, and checking whether it is signed, in both of cosign's layouts.

Both, because verifiers differ: cosign 3 and some policy engines look only at bundles as soon as
an image has any; others know only the ``.sig`` tag. Everything here is idempotent: a signature
of ours that is there and verifies is not written again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

from bot.domain.errors import IntegrityError, LimitExceededError, LockkeeperError, RejectedError
from bot.domain.images import (
    AnyManifest,
    Descriptor,
    ImageManifest,
    NewManifest,
    RegistryFailsError,
    attached_tag,
)
from bot.domain.oci import (
    Digest,
    DigestReference,
    ImageReference,
    ImageRepository,
    InvalidNameError,
    canonical_host,
)
from bot.formats import sigstore_bundle, simple_signing
from bot.formats.sigstore_bundle import Envelope, Statement, Subject
from bot.formats.simple_signing import SimplePayload
from bot.ports.keys import Signer, Verifier
from bot.ports.registry import ImageRegistry
from bot.signatures.envelopes import (
    Layout,
    Said,
    UnfitTagError,
    bundled,
    ensure_bundled,
    ensure_layouts,
    in_a_bundle,
    is_signed_by,
    subject_of,
    under_a_tag,
    under_tag,
)

T = TypeVar("T")
REPOSITORY_ANNOTATION: Final = "dev.lockkeeper/repository"
"""The image repository that a signature is for: a bundle has no other place for it."""


class NotASignatureTagError(UnfitTagError):
    """The tag that has to hold the signatures holds something else."""

    def __init__(self, tag: str, repository: ImageRepository) -> None:
        """Name the tag."""
        super().__init__(f"{repository}:{tag} should hold signatures; remove that tag")
        self.tag, self.repository = tag, repository


@dataclass(frozen=True, slots=True)
class Signatures:
    """What is signed now."""

    reference: DigestReference
    digests: tuple[Digest, ...]
    """Every digest that is signed, in both layouts but for `warnings`; the image is the last."""
    fingerprint: str
    """Of the public key."""
    written: int
    """Signatures that were not there before."""
    payloads: tuple[Digest, ...]
    """Digests of everything that the key has signed here, now or before."""
    warnings: tuple[str, ...] = ()
    """What the registry would not take; at least one layout of every digest stands."""


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """Which of the two layouts carry a signature that fulfils every demand."""

    reference: DigestReference
    tag_layout: bool
    """A payload under the ``.sig`` tag."""
    bundle_layout: bool
    """A statement in a bundle among the referrers."""
    reasons: tuple[str, ...]
    """Why signatures that are there were not accepted."""

    @property
    def verified(self) -> bool:
        """At least one does: what ``cosign verify`` asks for."""
        return self.tag_layout or self.bundle_layout

    @property
    def complete(self) -> bool:
        """Both do: what `ensure_signed` leaves."""
        return self.tag_layout and self.bundle_layout


def ensure_signed(
    registry: ImageRegistry,
    signer: Signer,
    reference: DigestReference,
    tag: str | None,
    annotations: Mapping[str, str],
    children: Sequence[Digest],
    *,
    at: datetime | None = None,
) -> Signatures:
    """Make the image and these children of it carry this key's signature in both layouts.

    Args:
        registry: where the image is.
        signer: the environment's key.
        reference: the image.
        tag: the immutable tag; signed with the repository as cosign's ``docker-reference``,
            because podman and CRI-O refuse a name without one. None: the name alone.
        annotations: what else is signed, such as the environment. The repository always is.
        children: the platforms that were evaluated; podman checks each for itself.
        at: noted, unsigned, in the bundle's manifest.
    """
    digests = (*dict.fromkeys(children), reference.digest)
    repository = reference.repository
    identity = str(repository.tagged(tag) if tag else repository)
    annotations = {**annotations, REPOSITORY_ANNOTATION: str(repository)}
    for digest in digests:
        subject_of(registry, repository.at(digest))  # nothing is signed that is not there
    groups: list[list[Layout]] = []
    payloads: list[Digest] = []
    for digest in digests:
        image = repository.at(digest)
        payload = simple_signing.render_payload(SimplePayload(identity, digest, annotations))
        statement = sigstore_bundle.render_statement(
            digest, sigstore_bundle.SIGN_PREDICATE, {}, annotations=annotations
        )
        said = Said(statement, sigstore_bundle.SIGN_PREDICATE, at)
        groups.append(
            [
                under_a_tag(partial(ensure_payload, registry, signer, image, payload)),
                in_a_bundle(partial(ensure_bundled, registry, signer, image, said)),
            ]
        )
        payloads += [Digest.of(payload), Digest.of(statement)]
    written = ensure_layouts(groups)
    return Signatures(
        reference, digests, signer.fingerprint, written.count, tuple(payloads), written.warnings
    )


def ensure_payload(
    registry: ImageRegistry, signer: Signer, reference: DigestReference, payload: bytes
) -> bool:
    """Make the key's signature of this payload stand under the ``.sig`` tag; False if it did."""
    sig_tag = attached_tag(reference.digest, simple_signing.TAG_SUFFIX)

    def adding(current: AnyManifest | None) -> NewManifest | None:
        if current is not None and not isinstance(current, ImageManifest):
            raise NotASignatureTagError(sig_tag, reference.repository)
        layers = current.layers if current else ()
        if any(_is_own(signer, layer, payload) for layer in layers):
            return None
        if len(layers) >= simple_signing.LAYER_LIMIT:
            limit = str(simple_signing.LAYER_LIMIT)
            raise LimitExceededError(f"signatures of {reference.digest}", limit)
        layer = simple_signing.signature_layer(payload, signer.sign(payload))
        return simple_signing.with_layers(current, (layer,), (payload,))

    return registry.amend(reference.repository.tagged(sig_tag), adding)


def _is_own(signer: Signer, layer: Descriptor, payload: bytes) -> bool:
    """Signatures are random, so an equal one is found by verifying, not by comparing."""
    signature = simple_signing.signature_of(layer)
    return (
        signature is not None
        and layer.digest == Digest.of(payload)
        and signer.verifies(payload, signature)
    )


def verify_image(
    registry: ImageRegistry,
    verifiers: Sequence[Verifier],
    reference: DigestReference,
    require_annotations: Mapping[str, str],
    *,
    any_repository: bool = False,
) -> VerificationResult:
    """Look for a signature by one of these keys about this image in this repository.

    Stricter than ``cosign verify``: payload and statement have to name the repository, a
    statement has to mean "signed" and nothing else, and every demanded annotation has to be there.

    Args:
        registry: where the image is.
        verifiers: whose signatures count.
        reference: the image.
        require_annotations: what has to be signed along.
        any_repository: a signature that was made for another repository counts, too, and one
            that names none. Whoever may write here can then bring one from there.
    """
    check = _Check(verifiers, reference, require_annotations, any_repository)
    unread: list[LockkeeperError] = []
    payloads = [check.payload(*one) for one in _read(signed_payloads(registry, reference), unread)]
    signed = bundled(registry, reference, sigstore_bundle.SIGN_PREDICATE)
    bundles = [check.envelope(found) for found in _read(signed, unread)]
    outage = next((one for one in unread if isinstance(one, RegistryFailsError)), None)
    if outage is not None and "" not in (*payloads, *bundles):
        raise outage  # what cannot be read is no finding
    said = (*payloads, *bundles, *map(str, unread))
    reasons = dict.fromkeys(reason for reason in said if reason)
    return VerificationResult(reference, "" in payloads, "" in bundles, tuple(reasons))


def _read(found: Iterable[T], unread: list[LockkeeperError]) -> Iterator[T]:
    """What can be read; a refusal is a reason why nothing counts, and hides nothing else."""
    try:
        yield from found
    except (IntegrityError, RejectedError, RegistryFailsError) as error:
        unread.append(error)


@dataclass(frozen=True, slots=True)
class _Check:
    """Each method answers why a signature does not count; nothing if it does."""

    verifiers: Sequence[Verifier]
    reference: DigestReference
    annotations: Mapping[str, str]
    any_repository: bool

    def payload(self, content: bytes, signature: bytes) -> str:
        if not any(verifier.verifies(content, signature) for verifier in self.verifiers):
            return "a signature by another key"
        payload = simple_signing.parse_payload(content)
        if payload is None or payload.digest != self.reference.digest:
            return "a signature of another image"
        # Ours names the repository twice; a signature by cosign says it once, here.
        annotated = payload.annotations.get(REPOSITORY_ANNOTATION, "")
        names = tuple(filter(None, (payload.docker_reference, annotated)))
        return self._elsewhere("a signature", names) or self._lacking(payload.annotations)

    def envelope(self, envelope: Envelope) -> str:
        if not any(is_signed_by(verifier, envelope) for verifier in self.verifiers):
            return "a bundle by another key"
        statement = sigstore_bundle.parse_statement(envelope.payload)
        if statement is None or statement.predicate_type != sigstore_bundle.SIGN_PREDICATE:
            return "a bundle that is no signature"
        return self._about_the_image(statement)

    def _about_the_image(self, statement: Statement) -> str:
        about = [one for one in statement.subjects if one.digest == self.reference.digest]
        objections = [self._objection(subject) for subject in about]
        return min(objections, default="a bundle about another image", key=len)

    def _objection(self, subject: Subject) -> str:
        annotated = subject.annotations.get(REPOSITORY_ANNOTATION, "")
        names = tuple(filter(None, (subject.name, annotated)))
        return self._elsewhere("a bundle", names) or self._lacking(subject.annotations)

    def _elsewhere(self, what: str, names: Sequence[str]) -> str:
        """Without a name it could be from anywhere, and so count for nowhere."""
        if self.any_repository:
            return ""
        if not names:
            return f"{what} that names no repository"
        other = [name for name in names if not _names(name, self.reference.repository)]
        return f"{what} for {other[0][:300]}" if other else ""

    def _lacking(self, found: Mapping[str, str]) -> str:
        lacking = [name for name, text in self.annotations.items() if found.get(name) != text]
        return f"a signature without the annotation {lacking[0]}" if lacking else ""


def _names(name: str, repository: ImageRepository) -> bool:
    """Whether a signed name, perhaps with a tag or a digest, is one of this repository."""
    try:
        named = ImageReference.parse(name).repository
    except InvalidNameError:
        return False
    return _spelled(named) == _spelled(repository)


def _spelled(repository: ImageRepository) -> tuple[str, str]:
    """Docker Hub has several names, and its own images two: cosign writes the longest."""
    host = canonical_host(repository.host)
    is_short = host == "docker.io" and "/" not in repository.path
    return host, f"library/{repository.path}" if is_short else repository.path


def signed_payloads(
    registry: ImageRegistry, reference: DigestReference
) -> Iterator[tuple[bytes, bytes]]:
    """Payloads and signatures under the ``.sig`` tag; what is none, or damaged, is passed over."""
    manifest = under_tag(registry, reference, simple_signing.TAG_SUFFIX)
    layers = manifest.layers if isinstance(manifest, ImageManifest) else ()
    for layer in layers[: simple_signing.LAYER_LIMIT]:
        signature = simple_signing.signature_of(layer)
        if signature is None or layer.size > simple_signing.PAYLOAD_LIMIT:
            continue
        with suppress(IntegrityError, RejectedError):
            content = registry.blob(reference.repository, layer, simple_signing.PAYLOAD_LIMIT)
            yield content, signature
