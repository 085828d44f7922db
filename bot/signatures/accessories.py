"""What hangs on an image and travels into an environment that signs: what somebody vouches for."""

from __future__ import annotations

from collections.abc import Callable

from bot.domain.images import Accessory, AccessoryKind, AccessoryPolicy
from bot.domain.trust import TrustRoots
from bot.formats.sigstore_bundle import Envelope, parse_bundle, parse_envelope
from bot.signatures.verify import NotVouched, Trust, payload_vouching, statement_vouching


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
