"""What hangs on an image and says something about it: SBOMs, reports, provenance, VEX, signatures.

Read are the attestations of BuildKit (unsigned), cosign's ``.att`` tag, referrers (bundles,
envelopes, bare statements, SBOMs) and what a workflow left with GitHub. A document counts only
for the digest that it is about, and only as much as whoever vouches for it; what is damaged,
foreign or too much is told, never believed, and never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from bot.domain.errors import IntegrityError, NotFoundError, RejectedError
from bot.domain.evidence import Scan, merged_scans, with_inventory
from bot.domain.images import AnyManifest, Descriptor, ImageIndex, ImageManifest, attached_tag
from bot.domain.oci import Digest, DigestReference
from bot.domain.packages import Inventory, merged
from bot.domain.policy import EnvironmentPolicy, Reason, Result
from bot.domain.trust import Root, TrustRoots
from bot.domain.vex import VexStatement
from bot.formats import sigstore_bundle
from bot.formats.in_toto import Statement, read_statement
from bot.formats.reports import read_sbom, read_scan, read_vex
from bot.formats.sigstore_bundle import Envelope
from bot.formats.slsa import PROVENANCE, Provenance, read_provenance
from bot.ports.registry import ImageRegistry
from bot.signatures.envelopes import ATTESTATION_SUFFIX, under_tag
from bot.signatures.verify import (
    SBOM_TYPES,
    SCAN_TYPES,
    VEX_TYPES,
    NotVouched,
    Trust,
    Vouched,
    of_the_commit,
    signature_vouching,
    voucher_of,
)

T = TypeVar("T")

DOCUMENT_LIMIT: Final = 40 * 2**20
"""Bytes of one document; BuildKit's own limit."""
DOCUMENTS_LIMIT: Final = 50
"""Documents of one image with all its platforms."""
TOTAL_LIMIT: Final = 128 * 2**20
"""Bytes of them together."""
_MANIFESTS: Final = 200  # referrers that are opened
_ASKED: Final = 8  # digests of one image that GitHub is asked about
_NOTES: Final = 20
# Bare SBOMs among the referrers, as `oras attach` and Trivy leave them.
_SBOM_MEDIA: Final = ("application/spdx+json", "application/vnd.cyclonedx+json")
# BuildKit, docs/attestations/attestation-storage.md.
_ABOUT: Final = "vnd.docker.reference.digest"
_KIND: Final = "in-toto.io/predicate-type"
_UNSIGNED: Final = "unsigned"


@dataclass(frozen=True, slots=True)
class AttestedSbom:
    """The contents of one platform, by somebody's word."""

    inventory: Inventory
    by: str
    """Who vouches for it; empty: nobody does, it is unsigned."""


@dataclass(frozen=True, slots=True)
class AttestedEvidence:
    """What was read, and what it is worth."""

    sboms: Mapping[Digest, AttestedSbom]
    """By the digest of a platform."""
    scans: Mapping[Digest, Scan]
    """The newest report of each platform that a root vouches for."""
    unscanned: tuple[str, ...]
    """The platforms without one, where the policy takes reports."""
    provenance: Provenance | None
    """The one that a root vouches for, else any that is there."""
    provenance_by: str
    """Who vouches for it; empty: nobody does."""
    vex: tuple[VexStatement, ...]
    """Of accepted identities only."""
    signature: Reason
    provenance_reason: Reason
    missing: tuple[str, ...]
    """Why evidence that the policy wants is not there."""
    notes: tuple[str, ...]
    """What was found and does not count."""

    @property
    def inventory(self) -> Inventory | None:
        """The contents of every platform whose SBOM is there; None without any."""
        return merged(sbom.inventory for sbom in self.sboms.values())

    @property
    def scan(self) -> Scan | None:
        """What is known of every platform; None: of one of them nothing is."""
        scans = [_listed(scan, self.sboms.get(digest)) for digest, scan in self.scans.items()]
        return merged_scans(scans) if scans and not self.unscanned else None


def _listed(scan: Scan, sbom: AttestedSbom | None) -> Scan:
    """A report with the platform's SBOM, where it lists no packages itself.

    An SBOM that nobody vouches for lists what is inside; it is no proof of what was looked at.
    """
    if sbom is None or scan.inventory is not None:
        return scan
    if sbom.by:
        return with_inventory(scan, sbom.inventory)
    return replace(scan, inventory=sbom.inventory)


def attested_evidence(
    registry: ImageRegistry,
    reference: DigestReference,
    trust: Trust,
    policy: EnvironmentPolicy | None = None,
    *,
    elsewhere: Callable[[Digest], Sequence[bytes]] | None = None,
) -> AttestedEvidence:
    """Read everything that hangs on an image, and hold it against the policy's roots.

    Args:
        registry: where the image is.
        reference: the image; a multi-platform one by its index.
        trust: keys, certificates and the promoted commit that roots are held against.
        policy: whose roots count and what is wanted; None: the application's own workflows.
        elsewhere: asks GitHub for the bundles about a digest that are not in the registry.

    Raises:
        NotFoundError: the image is not there.
        UnavailableError: the registry does not answer now.
    """
    roots = policy.roots if policy else TrustRoots()
    image = _Image.read(registry, reference)
    reading = _Reading(registry, image, trust, roots)
    reading.read_all(elsewhere)
    signed = signature_vouching(registry, reference, roots.signature, trust)
    vouched_only = policy is not None and policy.required.vouched_sbom
    sboms = reading.chosen_sboms(vouched_only=vouched_only)
    provenance, by, reason = reading.chosen_provenance()
    accepts_vex = policy is None or policy.accepts_signed_vex
    return AttestedEvidence(
        sboms=sboms,
        scans=reading.scans,
        unscanned=tuple(
            name for one, name in image.names.items() if roots.scan and one not in reading.scans
        ),
        provenance=provenance,
        provenance_by=by,
        vex=tuple(reading.vex) if accepts_vex else (),
        signature=_signature_reason(signed, roots.signature),
        provenance_reason=reason,
        missing=tuple(_missing(image, sboms, policy)),
        notes=tuple(dict.fromkeys([*reading.left_out, *reading.notes]))[:_NOTES],
    )


def _signature_reason(signed: Vouched | NotVouched | None, roots: Sequence[Root]) -> Reason:
    if signed is None:
        wanted = " or ".join(map(str, roots))
        return Reason(Result.NOT_EVALUATED, f"it carries no signature; wanted is one by {wanted}")
    if isinstance(signed, NotVouched):
        return Reason(_result(signed), f"no signature counts: {signed.reason}")
    return Reason(Result.PASS, f"by {signed.by}")


def _result(refused: NotVouched) -> Result:
    return Result.FAIL if refused.is_judged else Result.NOT_EVALUATED


def _missing(
    image: _Image, sboms: Mapping[Digest, AttestedSbom], policy: EnvironmentPolicy | None
) -> Iterator[str]:
    if policy is None or not policy.required.sbom:
        return
    for digest in image.platforms:
        if digest not in sboms:
            word = "vouched for " if policy.required.vouched_sbom else ""
            yield f"no SBOM {word}describes {image.names[digest]}"


@dataclass(frozen=True, slots=True)
class _Image:
    """The digests that documents may be about."""

    reference: DigestReference
    manifest: AnyManifest
    names: Mapping[Digest, str]
    """Platform digest -> its name for people."""

    @classmethod
    def read(cls, registry: ImageRegistry, reference: DigestReference) -> _Image:
        manifest = registry.manifest(reference)
        if manifest is None:
            raise NotFoundError(f"image {reference.digest}", str(reference.repository))
        names = {reference.digest: "the image"}
        if isinstance(manifest, ImageIndex):
            names = {
                child.digest: str(child.platform or child.digest)
                for child in manifest.manifests
                if child.is_manifest and not child.is_buildkit_attestation
            }
        return cls(reference, manifest, names)

    @property
    def platforms(self) -> tuple[Digest, ...]:
        return tuple(self.names)

    @property
    def digests(self) -> tuple[Digest, ...]:
        """The image itself first."""
        return tuple(dict.fromkeys((self.reference.digest, *self.names)))

    @property
    def attestations(self) -> tuple[Descriptor, ...]:
        """BuildKit's, listed in the index."""
        if not isinstance(self.manifest, ImageIndex):
            return ()
        return tuple(child for child in self.manifest.manifests if child.is_buildkit_attestation)


@dataclass(frozen=True, slots=True)
class _Document:
    """A statement or an SBOM, with where it hangs."""

    about: Digest
    """What it hangs on."""
    place: str
    statement: Statement | None
    """None: a bare SBOM."""
    content: bytes = field(repr=False)
    """The predicate, or the SBOM itself."""
    envelope: Envelope | None = None
    """None: unsigned."""


@dataclass(slots=True)
class _Reading:
    """One pass over everything, within the limits."""

    registry: ImageRegistry
    image: _Image
    trust: Trust
    roots: TrustRoots
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Which limits ended the reading."""
    vex: list[VexStatement] = field(default_factory=list)
    scans: dict[Digest, Scan] = field(default_factory=dict)
    """The newest of each platform."""
    _sboms: dict[Digest, list[AttestedSbom]] = field(default_factory=dict)
    _provenances: list[tuple[Provenance, Vouched | NotVouched]] = field(default_factory=list)
    _seen: set[Digest] = field(default_factory=set)
    _count: int = 0
    _bytes: int = 0

    def read_all(self, elsewhere: Callable[[Digest], Sequence[bytes]] | None) -> None:
        for digest in self.image.digests[:_ASKED] if elsewhere else ():
            self._read_elsewhere(digest, elsewhere)
        for digest in self.image.digests:
            self._read_referrers(digest)
            self._read_attached(digest)
        for descriptor in self.image.attestations:
            self._read_buildkit(descriptor)

    # --- where things hang ---

    def _read_elsewhere(
        self, digest: Digest, ask: Callable[[Digest], Sequence[bytes]] | None
    ) -> None:
        place = "GitHub's attestations"
        found = self._reading(place, lambda: ask(digest)) if ask else None
        for bundle in found or ():
            if self._may_read(len(bundle), place):
                self._take_signed(sigstore_bundle.parse_bundle(bundle), digest, place)

    def _read_referrers(self, digest: Digest) -> None:
        repository = self.image.reference.repository
        inside = {one.digest for one in self.image.attestations}
        place = f"what refers to {digest.short}"
        listed = self._reading(place, lambda: self.registry.referrers(repository.at(digest)))
        for descriptor in listed or ():
            if descriptor.digest in self._seen | inside or not self._may_count(descriptor):
                continue  # since BuildKit 0.32 its attestations stand in the index and here
            place = f"referrer {descriptor.digest.short}"
            if len(self._seen) >= _MANIFESTS or self._is_full():
                break
            self._seen.add(descriptor.digest)
            found = self._manifest(descriptor, place)
            if found is None:
                continue
            if found.subject is None or found.subject.digest != digest:
                self._note(place, "it does not refer to the image")
                continue
            for layer in found.layers:
                self._read_layer(layer, found.kind, digest, place)

    def _read_attached(self, digest: Digest) -> None:
        tag = attached_tag(digest, ATTESTATION_SUFFIX)
        try:
            about = self.image.reference.repository.at(digest)
            found = under_tag(self.registry, about, ATTESTATION_SUFFIX)
        except (IntegrityError, RejectedError) as error:
            self._note(tag, str(error))
            return
        for layer in found.layers if isinstance(found, ImageManifest) else ():
            self._read_layer(layer, layer.media_type, digest, f"layer {layer.digest.short} of .att")

    def _read_buildkit(self, descriptor: Descriptor) -> None:
        place = f"BuildKit's attestation {descriptor.digest.short}"
        about = next(
            (one for one in self.image.platforms if one == descriptor.annotations.get(_ABOUT)), None
        )
        if about is None:
            self._note(place, "it is about no platform of the image")
            return
        found = self._manifest(descriptor, place)
        for layer in found.layers if found else ():
            if layer.media_type == sigstore_bundle.STATEMENT_TYPE:
                self._read_layer(layer, layer.media_type, about, place)

    def _read_layer(self, layer: Descriptor, kind: str, about: Digest, place: str) -> None:
        stated = layer.annotations.get(_KIND) or layer.annotations.get("predicateType")
        if stated and not self._is_wanted(stated):
            return
        if not self._may_read(layer.size, place):
            return
        try:
            repository = self.image.reference.repository
            content = self.registry.blob(repository, layer, DOCUMENT_LIMIT)
        except (IntegrityError, RejectedError) as error:
            self._note(place, str(error))
            return
        if layer.media_type.startswith(sigstore_bundle.BUNDLE_FAMILY):
            self._take_signed(sigstore_bundle.parse_bundle(content), about, place)
        elif layer.media_type == sigstore_bundle.ENVELOPE_TYPE:
            self._take_signed(sigstore_bundle.parse_envelope(content), about, place)
        elif layer.media_type == sigstore_bundle.STATEMENT_TYPE:
            self._take_statement(content, about, place, None)
        elif kind in _SBOM_MEDIA or layer.media_type in _SBOM_MEDIA:
            self._take_sbom(_Document(about, place, None, content))

    def _manifest(self, descriptor: Descriptor, place: str) -> ImageManifest | None:
        try:
            found = self.registry.manifest(self.image.reference.repository.at(descriptor.digest))
        except (IntegrityError, RejectedError) as error:
            self._note(place, str(error))
            return None
        return found if isinstance(found, ImageManifest) else None

    def _may_read(self, size: int, place: str) -> bool:
        if size > DOCUMENT_LIMIT:
            self._note(place, f"it is larger than {DOCUMENT_LIMIT // 2**20} MiB and was not read")
        elif not self._is_full(size):
            self._count += 1
            self._bytes += size
            return True
        return False

    def _is_full(self, size: int = 0) -> bool:
        if self._count < DOCUMENTS_LIMIT and self._bytes + size <= TOTAL_LIMIT:
            return False
        limits = f"{DOCUMENTS_LIMIT} documents or {TOTAL_LIMIT // 2**20} MiB"
        self.left_out.append(f"more hangs on the image than is read: {limits}")
        return True

    # --- what they say ---

    def _take_signed(self, envelope: Envelope | None, about: Digest, place: str) -> None:
        if envelope is None:
            self._note(place, "it holds no envelope that can be read")
            return
        self._take_statement(envelope.payload, about, place, envelope)

    def _take_statement(
        self, payload: bytes, about: Digest, place: str, envelope: Envelope | None
    ) -> None:
        statement = self._reading(place, lambda: read_statement(payload, place))
        if statement is None or not self._is_wanted(statement.predicate_type):
            return
        found = _Document(about, place, statement, statement.predicate, envelope)
        if _is_one_of(statement.predicate_type, SBOM_TYPES):
            self._take_sbom(found)
        elif _is_one_of(statement.predicate_type, VEX_TYPES):
            self._take_vex(found)
        elif _is_one_of(statement.predicate_type, SCAN_TYPES):
            self._take_scan(found, statement)
        else:
            self._take_provenance(found)

    def _take_sbom(self, document: _Document) -> None:
        about = self._platform(document)
        if about is None:
            return
        by = self._vouched(document, self.roots.sbom)
        found = self._reading(document.place, lambda: read_sbom(document.content, document.place))
        if found is None:
            return
        if found.subjects and not found.subjects & self._names_of(about):
            self._note(document.place, "the SBOM says that it describes another image")
            return
        if isinstance(by, NotVouched) and document.envelope is not None:
            self._note(document.place, f"nobody who counts vouches for its SBOM: {by.reason}")
        who = by.by if isinstance(by, Vouched) else ""
        self._sboms.setdefault(about, []).append(AttestedSbom(found, who))

    def _platform(self, document: _Document) -> Digest | None:
        """The one platform that an SBOM is about: the index has no contents of its own."""
        subjects = document.statement.subjects if document.statement else {document.about}
        about = [one for one in self.image.platforms if one in subjects]
        if not about and self.image.reference.digest in subjects and len(self.image.names) == 1:
            return self.image.platforms[0]
        if len(about) != 1:
            fact = "it is about no single platform of the image"
            self._note(document.place, fact)
            return None
        return about[0]

    def _names_of(self, platform: Digest) -> frozenset[str]:
        """Every digest by which a tool may call one platform's image."""
        found = self.registry.manifest(self.image.reference.repository.at(platform))
        config = {found.config.digest} if isinstance(found, ImageManifest) else set[Digest]()
        return frozenset({platform, self.image.reference.digest, *config})

    def _take_vex(self, document: _Document) -> None:
        by = self._vouched(document, self.roots.vex, of_commit=False)
        if isinstance(by, NotVouched):
            self._note(document.place, f"its VEX does not count: {by.reason}")
            return
        if not self._is_about_image(document):
            return
        found = self._reading(document.place, lambda: read_vex(document.content, document.place))
        self.vex += [replace(one, author=by.by) for one in found or ()]

    def _take_scan(self, document: _Document, statement: Statement) -> None:
        """A report counts from a root alone: unsigned, anybody who may push calls it clean."""
        by = self._vouched(document, self.roots.scan, of_commit=False)
        if isinstance(by, NotVouched):
            self._note(document.place, f"its report does not count: {by.reason}")
            return
        about = self._platform(document)
        if about is None:
            return
        found = self._reading(document.place, lambda: read_scan(document.content, document.place))
        if found is None:
            return
        names = self._names_of(about)
        if not names & ({found.image_id} if found.image_id else found.digests or names):
            self._note(document.place, "the report says that it describes another image")
            return
        finished = statement.scanned or found.finished
        if finished is None:
            self._note(
                document.place, "its report does not count: it does not say when it was made"
            )
            return
        before = self.scans.get(about)
        if before is None or before.finished is None or before.finished < finished:
            self.scans[about] = replace(
                found,
                finished=finished,
                database=statement.database,
                platforms=(self.image.names[about],),
                digests=frozenset({self.image.reference.digest, about}),
                attested_by=by.by,
            )

    def _take_provenance(self, document: _Document) -> None:
        if not self._is_about_image(document):
            return
        found = self._reading(
            document.place, lambda: read_provenance(document.content, document.place)
        )
        if found is not None:
            by = self._vouched(document, self.roots.provenance)
            self._provenances.append((found, of_the_commit(found, by, self.trust)))

    def _is_about_image(self, document: _Document) -> bool:
        subjects = document.statement.subjects if document.statement else frozenset[str]()
        if subjects.isdisjoint(self.image.digests):
            self._note(document.place, "it is not for this image")
            return False
        return True

    def _vouched(
        self, document: _Document, roots: Sequence[Root], *, of_commit: bool = True
    ) -> Vouched | NotVouched:
        if document.envelope is None:
            return NotVouched(_UNSIGNED)
        return voucher_of(document.envelope, roots, self.trust, of_commit=of_commit)

    # --- what counts ---

    def chosen_sboms(self, *, vouched_only: bool) -> dict[Digest, AttestedSbom]:
        """One for each platform: the first that somebody vouches for, else the first."""
        chosen: dict[Digest, AttestedSbom] = {}
        for digest in self.image.platforms:
            candidates = self._sboms.get(digest, [])
            vouched = [one for one in candidates if one.by]
            found = next(iter(vouched or ([] if vouched_only else candidates)), None)
            if found is not None:
                chosen[digest] = found
        return chosen

    def chosen_provenance(self) -> tuple[Provenance | None, str, Reason]:
        for provenance, by in self._provenances:
            if isinstance(by, Vouched):
                return provenance, by.by, Reason(Result.PASS, _told(provenance, by))
        signed = [
            (one, by)
            for one, by in self._provenances
            if isinstance(by, NotVouched) and by.reason != _UNSIGNED
        ]
        if signed:
            provenance, by = signed[0]
            reason = Reason(_result(by), f"no provenance counts: {by.reason}")
            return provenance, "", reason
        if self._provenances:
            provenance, _ = self._provenances[0]
            text = "the provenance is unsigned: whoever may push may write it"
            return provenance, "", Reason(Result.NOT_EVALUATED, text)
        return None, "", Reason(Result.NOT_EVALUATED, "there is no provenance")

    def _reading(self, place: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except (IntegrityError, RejectedError) as error:
            self._note(place, str(error).removeprefix(f"{place}: "))
            return None

    def _note(self, place: str, fact: str) -> None:
        self.notes.append(f"{place}: {fact}")

    def _may_count(self, descriptor: Descriptor) -> bool:
        """Whether a referrer may hold evidence; signatures are read by whoever asks for them."""
        stated = descriptor.annotations.get(_KIND) or descriptor.annotations.get(
            "dev.sigstore.bundle.predicateType"
        )
        return not stated or self._is_wanted(stated)

    def _is_wanted(self, predicate_type: str) -> bool:
        scans = SCAN_TYPES if self.roots.scan else ()
        wanted = (*SBOM_TYPES, *VEX_TYPES, *scans, PROVENANCE)
        return _is_one_of(predicate_type, wanted)


def _told(provenance: Provenance, by: Vouched) -> str:
    runner = by.certificate.runner if by.certificate else ""
    where = f", on a {runner} runner" if runner in {"github-hosted", "self-hosted"} else ""
    run = f", run {provenance.run}" if provenance.run else ""
    return f"{provenance.repository} at {provenance.commit[:12]}{run}, by {by.by}{where}"


def _is_one_of(predicate_type: str, wanted: Sequence[str]) -> bool:
    return any(sigstore_bundle.is_of_type(predicate_type, one) for one in wanted)
