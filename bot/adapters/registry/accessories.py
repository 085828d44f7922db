"""Copying what hangs on an image: signatures, attestations, SBOMs.

Whoever may write to the source repository may attach anything, and a verifier in the target
environment can choke on it (Kyverno fails every verification of an image with a malformed bundle
or too many of them). So only what is well-formed travels, a few per digest, and nothing that was
signed with a key of ours; where the policy asks for it, only what somebody vouches for. The image
itself never waits for this.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from bot.adapters.registry.looks import Unanswered
from bot.adapters.registry.moving import Mover, Side
from bot.domain.errors import IntegrityError, RejectedError
from bot.domain.images import (
    Accessory,
    AccessoryKind,
    AccessoryPolicy,
    AnyManifest,
    Descriptor,
    ImageManifest,
    ImageTree,
    LeftBehind,
    NewManifest,
    RegistryFailsError,
    attached_tag,
)
from bot.domain.oci import Digest
from bot.formats import sigstore_bundle, simple_signing
from bot.formats.sigstore_bundle import Envelope

IN_ALL_LIMIT: Final = 500  # accessories of one image, its platforms and their accessories
_EXAMINED: Final = 100  # referrers, or layers of one tag; a flood must not cost a request each
JUDGED_LIMIT: Final = 256 * 2**20  # bytes that are read for one image to judge what hangs on it
_DEPTH: Final = 3  # accessories of accessories
_SUFFIXES: Final = (simple_signing.TAG_SUFFIX, "att", "sbom")
_BUNDLE_LAYERS: Final = 1  # cosign: "expected exactly one layer"
# cosign's experimental OCI 1.1 signatures: the layers of `.sig` in a referrer.
_SIGNATURE_ARTIFACT: Final = "application/vnd.dev.cosign.artifact.sig.v1+json"


class _Unfit(Exception):  # noqa: N818 - it is a finding, not an error
    """Why an accessory stays behind."""


@dataclass(frozen=True, slots=True)
class CopiedAccessories:
    """What went along and what did not."""

    manifests: tuple[Digest, ...] = ()
    left_behind: tuple[LeftBehind, ...] = ()


@dataclass(frozen=True, slots=True)
class Prefetched:
    """What the source says about what hangs on each digest, asked for all at once."""

    source: Side
    asked: Mapping[Digest, Mapping[str, Future[Any]]]

    @classmethod
    def begun(cls, source: Side, tree: ImageTree, pool: ThreadPoolExecutor) -> Prefetched:
        """Ask, beside the bytes of the image."""
        asked: dict[Digest, dict[str, Future[Any]]] = {}
        for digest in dict.fromkeys(manifest.digest for manifest in tree.walk()):
            listing = pool.submit(source.referrers.list, source.repository.at(digest))
            tags = {suffix: pool.submit(_under_tag, source, digest, suffix) for suffix in _SUFFIXES}
            asked[digest] = {"": listing, **tags}
        return cls(source, asked)

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """What refers to the digest; an accessory of an accessory is asked for now."""
        if subject in self.asked:
            return tuple(self.asked[subject][""].result())
        return self.source.referrers.list(self.source.repository.at(subject))

    def under_tag(self, subject: Digest, suffix: str) -> AnyManifest | None:
        """What hangs on it under cosign's tag."""
        if subject in self.asked:
            found: AnyManifest | None = self.asked[subject][suffix].result()
            return found
        return _under_tag(self.source, subject, suffix)


def _under_tag(source: Side, subject: Digest, suffix: str) -> AnyManifest | None:
    """A registry that refuses a look at a tag (Artifactory, where there is none) has none."""
    found = source.manifests.look(source.repository.tagged(attached_tag(subject, suffix)))
    return None if isinstance(found, Unanswered) else found


class AccessoryCopy:
    """One image's accessories on their way from one repository to another."""

    def __init__(self, mover: Mover, policy: AccessoryPolicy, hanging: Prefetched) -> None:
        self._source, self._target = mover.source, mover.target
        self._mover, self._policy, self._hanging = mover, policy, hanging
        self._copied: list[Digest] = []
        self._left: list[LeftBehind] = []
        self._seen: set[Digest] = set()
        self._image: frozenset[Digest] = frozenset()
        self._judged = 0
        self._in_doubt = False

    def run(self, tree: ImageTree) -> CopiedAccessories:
        """Copy what may travel, for the index and for every child.

        Raises:
            UnavailableError: a registry is away; what was not copied then is no finding.
        """
        manifests = dict.fromkeys(manifest.digest for manifest in tree.walk())
        self._image = frozenset(manifests)
        for digest in manifests:
            self._copy_of(digest, depth=1)
        if self._in_doubt:
            self._rule_out_an_outage(tree.root.digest)
        return CopiedAccessories(tuple(self._copied), tuple(self._left))

    @contextlib.contextmanager
    def _noting(self, name: str) -> Iterator[None]:
        """Turn what is wrong with one accessory into a note, so that the others still travel.

        An outage is nothing of the accessory's: whoever asked repeats the copy then.
        """
        try:
            yield
        except (_Unfit, IntegrityError, RejectedError, RegistryFailsError) as error:
            self._in_doubt = self._in_doubt or isinstance(error, RegistryFailsError)
            self._left.append(LeftBehind(name, str(error)))

    def _rule_out_an_outage(self, root: Digest) -> None:
        """Failures stand as notes only where both registries answer what they answered before."""
        for side in (self._source, self._target):
            with contextlib.suppress(RejectedError):  # an answer, too
                side.manifests.fresh(side.repository.at(root))

    def _copy_of(self, subject: Digest, depth: int) -> None:
        """Accessories of one digest; an accessory may have accessories again, or form a circle."""
        if subject in self._seen or depth > _DEPTH:
            return
        if len(self._copied) >= IN_ALL_LIMIT:
            reason = f"{IN_ALL_LIMIT} have travelled with the image already"
            self._left.append(LeftBehind(f"accessories of {subject}", reason))
            return
        self._seen.add(subject)
        budget = _Budget(self._policy.limit)
        copied = self._copy_referrers(subject, budget)
        self._merge(subject, simple_signing.TAG_SUFFIX, self._check_signature, budget)
        self._merge(subject, "att", self._check_attestation, budget)
        self._copy_sbom(subject, budget)
        if budget.refused:
            reason = f"{budget.refused} more than the {self._policy.limit} that travel"
            self._left.append(LeftBehind(f"accessories of {subject}", reason))
        for digest in copied:
            self._copy_of(digest, depth + 1)

    def _copy_referrers(self, subject: Digest, budget: _Budget) -> list[Digest]:
        copied: list[Digest] = []
        listed: dict[Digest, Descriptor] = {}
        with self._noting(f"referrers of {subject}"):
            found = self._hanging.referrers(subject)
            # Since 0.32 BuildKit's attestations are both: they travel as a part of the index.
            listed = {one.digest: one for one in found if one.digest not in self._image}
        budget.refuse(len(listed) - _EXAMINED)
        for descriptor in itertools.islice(listed.values(), _EXAMINED):
            with self._noting(f"referrer {descriptor.digest}"):
                manifest = self._fit_referrer(descriptor, subject)
                if budget.take():
                    self._put_referrer(manifest, subject)
                    copied.append(manifest.digest)
        self._copied += copied
        return copied

    def _put_referrer(self, manifest: ImageManifest, subject: Digest) -> None:
        self._mover.move_blobs(manifest.blobs)
        if not self._mover.put(manifest):
            self._target.referrers.list_by_tag(self._target.repository, [manifest], subject)

    def _fit_referrer(self, descriptor: Descriptor, subject: Digest) -> ImageManifest:
        manifest = self._source.manifests.get(self._source.repository.at(descriptor.digest))
        manifest = self._fit_manifest(manifest)
        if manifest.subject is None or manifest.subject.digest != subject:
            raise _Unfit("it is listed as a referrer and does not refer to the image")
        if manifest.kind.startswith(sigstore_bundle.BUNDLE_FAMILY):
            self._check_bundle(manifest, subject)
        elif manifest.kind == _SIGNATURE_ARTIFACT:
            for layer in manifest.layers[:_EXAMINED]:
                self._check_signature(layer, subject)
            if len(manifest.layers) > _EXAMINED:
                raise _Unfit(f"it holds more than {_EXAMINED} signatures")
        else:
            self._judge(Accessory(subject, AccessoryKind.OTHER))
        return manifest

    def _judge(self, accessory: Accessory) -> None:
        objection = self._policy.objection(accessory) if self._policy.objection else ""
        if objection:
            raise _Unfit(objection)

    def _fit_manifest(self, manifest: AnyManifest | None) -> ImageManifest:
        if manifest is None:
            raise _Unfit("it is listed and not there")
        if not isinstance(manifest, ImageManifest):
            raise _Unfit("it is an index")
        if sum(blob.size for blob in manifest.blobs) > self._policy.size_limit:
            raise _Unfit(f"it is larger than {self._policy.size_limit} bytes")
        return manifest

    def _check_bundle(self, manifest: ImageManifest, subject: Digest) -> None:
        if len(manifest.layers) != _BUNDLE_LAYERS:
            raise _Unfit(f"a bundle with {len(manifest.layers)} layers in place of one")
        content = self._read(manifest.layers[0])
        envelope = sigstore_bundle.parse_bundle(content)
        if envelope is None:
            raise _Unfit("it is not a bundle with an envelope")
        self._check_envelope(envelope, subject)
        self._judge(Accessory(subject, AccessoryKind.BUNDLE, content))

    def _check_envelope(self, envelope: Envelope, subject: Digest) -> None:
        statement = sigstore_bundle.parse_statement(envelope.payload)
        if statement is None:
            raise _Unfit("it holds no in-toto statement")
        if all(one.digest != subject for one in statement.subjects):
            raise _Unfit("its statement is about another digest")
        if any(self._policy.is_ours(envelope.message, one) for one in envelope.signatures):
            raise _Unfit("it is signed with a key of ours; each environment signs for itself")

    def _check_signature(self, layer: Descriptor, subject: Digest) -> bytes:
        signature = simple_signing.signature_of(layer)
        if signature is None or layer.size > simple_signing.PAYLOAD_LIMIT:
            raise _Unfit("it is not a signature of cosign")
        content = self._read(layer)
        payload = simple_signing.parse_payload(content)
        if payload is None or payload.digest != subject:
            raise _Unfit("its payload is not about the image")
        if self._policy.is_ours(content, signature):
            raise _Unfit("it is signed with a key of ours; each environment signs for itself")
        self._judge(Accessory(subject, AccessoryKind.PAYLOAD, content, signature))
        return content

    def _check_attestation(self, layer: Descriptor, subject: Digest) -> bytes:
        if layer.media_type != sigstore_bundle.ENVELOPE_TYPE:
            raise _Unfit("it is not an attestation of cosign")
        content = self._read(layer)
        envelope = sigstore_bundle.parse_envelope(content)
        if envelope is None:
            raise _Unfit("it is not an envelope")
        self._check_envelope(envelope, subject)
        self._judge(Accessory(subject, AccessoryKind.ENVELOPE, content))
        return content

    def _read(self, blob: Descriptor) -> bytes:
        self._judged += blob.size
        if self._judged > JUDGED_LIMIT:
            raise _Unfit(f"{JUDGED_LIMIT // 2**20} MiB were read for this image already")
        return self._source.blobs.read(self._source.repository, blob, self._policy.size_limit)

    def _merge(
        self,
        subject: Digest,
        suffix: str,
        check: Callable[[Descriptor, Digest], bytes],
        budget: _Budget,
    ) -> None:
        """Add the layers that may travel to those under the target's tag of the same name."""
        tag = attached_tag(subject, suffix)
        found: ImageManifest | None = None
        with self._noting(tag):
            current = self._hanging.under_tag(subject, suffix)
            if current is not None and not isinstance(current, ImageManifest):
                raise _Unfit("it is an index")
            found = current
        if found is None:
            return
        fit: list[tuple[Descriptor, bytes]] = []
        budget.refuse(len(found.layers) - _EXAMINED)
        for layer in found.layers[:_EXAMINED]:
            with self._noting(f"{tag}, layer {layer.digest}"):
                content = check(layer, subject)
                if budget.take():
                    fit.append((layer, content))
        if fit:
            self._add_layers(tag, fit)

    def _add_layers(self, tag: str, fit: list[tuple[Descriptor, bytes]]) -> None:
        reference = self._target.repository.tagged(tag)

        def adding(current: AnyManifest | None) -> NewManifest | None:
            if current is not None and not isinstance(current, ImageManifest):
                raise _Unfit("the target has an index there")
            have = {_identity(layer) for layer in current.layers} if current else set()
            lacking = [(layer, blob) for layer, blob in fit if _identity(layer) not in have]
            if not lacking:
                return None
            layers = tuple(layer for layer, _ in lacking)
            return simple_signing.with_layers(current, layers, tuple(blob for _, blob in lacking))

        with self._noting(tag):
            self._target.referrers.amend(reference, adding)
            written = self._target.manifests.get(reference)
            self._copied += [written.digest] if written else []

    def _copy_sbom(self, subject: Digest, budget: _Budget) -> None:
        tag = attached_tag(subject, "sbom")
        reference = self._target.repository.tagged(tag)
        with self._noting(tag):
            found = self._hanging.under_tag(subject, "sbom")
            if found is None:
                return
            manifest = self._fit_manifest(found)
            self._judge(Accessory(subject, AccessoryKind.OTHER))
            there = self._target.manifests.look(reference)
            if isinstance(there, Unanswered):
                there = None
            if there is not None and there.digest != manifest.digest:
                raise _Unfit("the target has another one")
            if there is None and budget.take():
                self._mover.move_blobs(manifest.blobs)
                self._target.manifests.put(reference, manifest.content, manifest.media_type)
                self._copied.append(manifest.digest)


class _Budget:
    """How many accessories of one digest may still travel."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self.refused = 0

    def refuse(self, count: int) -> None:
        """So many are not even looked at."""
        self.refused += max(count, 0)

    def take(self) -> bool:
        """One more, unless there are too many."""
        if not self._left:
            self.refused += 1
            return False
        self._left -= 1
        return True


def _identity(layer: Descriptor) -> tuple[Digest, str]:
    return layer.digest, layer.annotations.get(simple_signing.SIGNATURE_ANNOTATION, "")
