"""An image in another repository, whole: copied, read back, and mended once.

What hangs on it goes along as far as somebody vouches for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from bot.domain.errors import NotFoundError, UnavailableError
from bot.domain.images import Accessory, AccessoryKind, AccessoryPolicy, CopyReport, ReadBack
from bot.domain.oci import DigestReference, ImageRepository
from bot.domain.trust import TrustRoots
from bot.formats.sigstore_bundle import Envelope, parse_bundle, parse_envelope
from bot.ports import ImageRegistry, Progress
from bot.usecases.verify_source import NotVouched, Trust, payload_vouching, statement_vouching


def ensure_copied(
    registry: ImageRegistry,
    source: DigestReference,
    target: ImageRepository,
    *,
    accessories: AccessoryPolicy | None = None,
    progress: Progress | None = None,
    tags: Sequence[str] = (),
) -> tuple[CopyReport, ReadBack]:
    """Make ``target`` hold the image, and prove it by a fresh read.

    A registry may have the image's root manifest and have lost what it names, or say of a blob
    that it has it and not have it; the copy believes that, the read does not. Then what is
    missing is sent, once.

    Args:
        registry: where both are.
        source: the image.
        target: where it has to be.
        accessories: what hangs on it and may go along; None: nothing.
        progress: is told about the bytes.
        tags: those that it gets next: what they name is looked at meanwhile.

    Raises:
        NotFoundError: the source lacks a part of the image, or the target loses what it took.
    """
    copy = partial(
        registry.copy, source, target, accessories=accessories, progress=progress, tags=tags
    )
    report = copy()
    with suppress(NotFoundError, UnavailableError):
        return report, registry.read_back(report.target, tags=tags)
    report = copy()
    return report, registry.read_back(report.target, tags=tags)


def verified_accessories(
    trust: Trust, roots: TrustRoots, is_ours: Callable[[bytes, bytes], bool]
) -> AccessoryPolicy:
    """What travels into an environment that signs: what one of the roots vouches for.

    Args:
        trust: keys, certificates and the promoted commit that roots are held against.
        roots: whose word counts for signatures, provenance, SBOMs, VEX and reports; nothing else
            travels.
        is_ours: whether a signature of a message was made with a key of ours.
    """
    return AccessoryPolicy(is_ours=is_ours, objection=lambda one: _objection(one, trust, roots))


def _objection(accessory: Accessory, trust: Trust, roots: TrustRoots) -> str:
    if accessory.kind is AccessoryKind.PAYLOAD:
        signed = payload_vouching(accessory.content, accessory.signature, roots.signature, trust)
        return signed.reason if isinstance(signed, NotVouched) else ""
    envelope = _envelope(accessory)
    if envelope is None:
        return "it is unsigned: nobody vouches for it"
    said = statement_vouching(envelope, roots, trust)
    return said.reason if isinstance(said, NotVouched) else ""


def _envelope(accessory: Accessory) -> Envelope | None:
    if accessory.kind is AccessoryKind.BUNDLE:
        return parse_bundle(accessory.content)
    if accessory.kind is AccessoryKind.ENVELOPE:
        return parse_envelope(accessory.content)
    return None
