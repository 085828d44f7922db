"""Copies and promotions counted in round trips, against crane, regctl and skopeo.

Both registries (distribution 3) stand behind a proxy that makes a round trip 0.4 s long, so that
processor time hardly counts: a figure is seconds by 0.4, how many answers were waited for one after
the other, handshakes included. Ours runs in this process and does what the bot does: the tag is
resolved, the image copied, read back and tagged, by a client that knows no host yet. A peer is a
process. At 50 ms the whole process ``lockkeeper image copy`` is compared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.adapters.registry import Registry
from bot.adapters.signing import SigningKey, load_signing_key
from bot.domain.images import AccessoryPolicy
from bot.domain.oci import Digest, DigestReference, ImageRepository, TagReference
from bot.ports.keys import KeyRing
from bot.signatures.copy import ensure_copied
from bot.signatures.envelopes import both, ensure_in_both_layouts
from bot.signatures.promotion_attestation import attested_promotions, said_of as promotion_of
from bot.signatures.sign import ensure_signed
from bot.signatures.verdict_attestation import Judged, said_of as verdict_of
from tests.bench.copy import statement
from tests.bench.delay import delayed
from tests.bench.figures import Figure
from tests.bench.peers import Copier, client, commands
from tests.evidence_bodies import KEPT
from tests.world.images import BuiltImage, build_image
from tests.world.keys import generate_key_pair
from tests.world.tools import run_registry

FAR: Final = 0.4  # seconds of a round trip: everything else is small beside it
_MIDDLE: Final = 0.05
_ROUNDS: Final = 5
_LAYER: Final = 20_000  # bytes: neither window nor disk is to be felt
_COLD: Final = "copy of 2x5 layers"
_MANY: Final = "copy of 2x40 layers"
_NEXT: Final = "copy within the registry"
_IDLE: Final = "nothing to do"
_SIGNED: Final = "signed and attested promotion"
_ALLOWED: Final = {_COLD: 14.0, _MANY: 22.0, _NEXT: 12.0, _IDLE: 3.0, _SIGNED: 30.0}
_PROCESS: Final = 0.6  # of crane


@dataclass(frozen=True)
class LocationKey:
    """Two registries far away."""

    source: ImageRepository
    target: ImageRepository
    keys: dict[str, SigningKey]

    @property
    def tag(self) -> TagReference:
        return self.source.tagged("v1")


def measure(directory: Path) -> list[Figure]:
    """All scenarios at 0.4 s, then the processes at 50 ms."""
    few, many = (build_image(layers=count, layer_size=_LAYER) for count in (5, 40))
    peers = commands(directory)
    return [
        *_copies(directory / "few", few, peers),
        *_cold(directory / "many", many, peers),
        *_promotions(directory / "signed", few),
        *_processes(directory / "middle", few, peers),
    ]


# --- scenarios


def _copies(directory: Path, image: BuiltImage, peers: dict[str, Copier]) -> Iterator[Figure]:
    """Cold, then nothing to do, then into another repository of the target's registry."""
    for name, copier in {"": None, **peers}.items():
        with _far(directory / (name or "ours"), image) as place:
            within = LocationKey(place.target, ImageRepository(place.target.host, "next/api"), {})
            for what, leg in ((_COLD, place), (_IDLE, place), (_NEXT, within)):
                own = _own(leg) if what != _IDLE else _idle(leg, image)
                yield _figure(what, name, _took(_peer(copier, leg, image) if copier else own) / FAR)


def _cold(directory: Path, image: BuiltImage, peers: dict[str, Copier]) -> Iterator[Figure]:
    for name, copier in {"": None, **peers}.items():
        with _far(directory / (name or "ours"), image) as place:
            action = _peer(copier, place, image) if copier else _own(place)
            yield _figure(_MANY, name, _took(action) / FAR)


def _promotions(directory: Path, image: BuiltImage) -> Iterator[Figure]:
    """Ours alone: no peer signs what it copies."""
    for tool in ("registry", "olareg"):
        with _far(directory / tool, image, tool) as place:
            what = f"{_SIGNED}, {tool}"
            yield Figure(what, _took(lambda: promoted(place)) / FAR, "", target=_ALLOWED[_SIGNED])


def _processes(directory: Path, image: BuiltImage, peers: dict[str, Copier]) -> Iterator[Figure]:
    """Whole processes, alternating."""
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(_ROUNDS):
        for name, seconds in (("ours", ours), ("crane", theirs)):
            if name in {"ours", *peers}:
                with _far(directory / f"{name}-{turn}", image, seconds=_MIDDLE) as place:
                    copier = peers.get(name, _command_line)
                    seconds.append(_took(_peer(copier, place, image)))
    value = statistics.median(ours)
    if not theirs:
        yield Figure("process at 50 ms", value, "s", "crane: missing")
        return
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    yield Figure(
        "process at 50 ms", value, "s", "crane", statistics.median(theirs), ratio, _PROCESS
    )


# --- actions


def _own(place: LocationKey) -> Callable[[], object]:
    return lambda: copied(client(place.source, place.target), place)


def copied(registry: Registry, place: LocationKey) -> DigestReference:
    """Resolve, copy, read back, tag."""
    digest = registry.resolve(place.tag)
    assert digest is not None
    report, _ = ensure_copied(registry, place.source.at(digest), place.target, tags=["v1"])
    registry.tag(report.target, "v1", move=False)
    return report.target


def promoted(place: LocationKey) -> None:
    """What `bot.reconcilers.delivery.deliver` asks of the registries for one image."""
    registry = client(place.source, place.target)
    reference = copied(registry, place)
    description = registry.describe(reference)
    ensure_signed(registry, place.keys["sign"], reference, "v1", {}, description.instances)
    ring = KeyRing((place.keys["attest"],), (place.keys["attest"],))
    judged = Judged("1/stage/api", (), "0")
    verdict, before = both(
        lambda: verdict_of(registry, ring, reference, KEPT["clean"](), judged),
        lambda: attested_promotions(registry, ring.verifiers, reference),
    )
    said = [one for one in (verdict, promotion_of(statement(reference), before)) if one]
    ensure_in_both_layouts(registry, ring.signers[0], reference, *said)
    registry.copy(place.source.at(reference.digest), place.target, accessories=AccessoryPolicy())


def _idle(place: LocationKey, image: BuiltImage) -> Callable[[], object]:
    """By digest, as the bot and the peers are told; nothing is written, so nothing read back."""
    digest = Digest(image.digest)

    def action() -> None:
        registry = client(place.source, place.target)
        report = registry.copy(place.source.at(digest), place.target, tags=["v1"])
        registry.tag(report.target, "v1", move=False)
        assert report.unchanged

    return action


def _peer(copier: Copier, place: LocationKey, image: BuiltImage) -> Callable[[], object]:
    return lambda: copier(str(place.source), str(place.target), image.digest)


def _command_line(source: str, target: str, digest: str) -> None:
    words = ["image", "copy", "--no-referrers", f"{source}@{digest}", f"{target}:v1"]
    subprocess.run(
        [Path(sys.executable).with_name("lockkeeper"), *words], check=True, capture_output=True
    )


# --- measuring


@contextmanager
def _far(
    directory: Path, image: BuiltImage, tool: str = "registry", seconds: float = FAR
) -> Iterator[LocationKey]:
    with ExitStack() as stack:
        hosts = [stack.enter_context(run_registry(tool, directory / end)) for end in ("from", "to")]
        image.push(hosts[0], "dev/api", "v1")
        source, target = (stack.enter_context(delayed(host, seconds)) for host in hosts)
        keys = {
            role: load_signing_key(generate_key_pair().private, role) for role in ("sign", "attest")
        }
        yield LocationKey(
            ImageRepository(source, "dev/api"), ImageRepository(target, "prod/api"), keys
        )


def _took(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _figure(what: str, peer: str, trips: float) -> Figure:
    name = f"{what}, {peer}" if peer else what
    return Figure(name, trips, "round trips", target=None if peer else _ALLOWED[what])
