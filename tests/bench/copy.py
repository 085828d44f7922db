"""Copying an image between two local registries, against skopeo, crane and regctl.

Two platforms with five layers of 20 MB each, and four with three of 100 MB. Every run starts with
an empty target; the runs of all are interleaved and their order turns from round to round. Ours is
timed in a process that runs already, as the bot does; a peer is a process from its start to its
end, so the start of a Python process is printed beside. Processor seconds are those of the copier
alone: what a machine does beside moves them little. The pace is production's: it begins with 50
requests in a second and adapts. After the copy the same copy is made again
(nothing to do), and then one to another repository of the same registry (mount).

Requests are those in the access logs of both registries, of runs of their own.
"""

from __future__ import annotations

import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from bot.adapters.signing import load_signing_key
from bot.domain.oci import Digest, DigestReference, ImageRepository
from bot.formats.promotion_statement import (
    AuditHead,
    MergedPullRequest,
    PromotionStatement,
    SourceCommit,
    Standing,
)
from bot.signatures.promotion_attestation import attested_promotions, ensure_attested
from bot.signatures.sign import ensure_signed, verify_image
from tests.bench.figures import Figure
from tests.bench.peers import FLOOR, OURS, Copier, client, copiers, copy, floor
from tests.world.images import BuiltImage, build_image
from tests.world.keys import generate_key_pair
from tests.world.tools import run_registry

_ROUNDS: Final = 7
_MANY: Final = "copy 1,000 layers"
_COLD, _IDLE, _NEXT, _LARGE = "copy 200 MB", "nothing to do", "next repository", "copy 1.2 GB"
_SEAL: Final = "nothing to do, seal proven"
_PROCESSOR: Final = 1.0  # of crane's processor seconds, for a cold copy
_MANY_LAYERS: Final = 1.2  # of crane
_MANY_ROUNDS: Final = 3
_MOUNTING, _STREAMING = 1.0, 0.30  # of the processor of a peer that mounts, or streams
_IDLE_SECONDS, _IDLE_REQUESTS, _SEAL_REQUESTS = 0.030, 4, 16
_MEMORY: Final = 60.0  # MiB above idle
_REQUEST: Final = re.compile(r'"(GET|HEAD|POST|PUT|PATCH|DELETE) (/v2/\S*) HTTP')

Seconds = dict[tuple[str, str], list[float]]
"""(scenario, who) -> one figure per round."""
Requests = dict[tuple[str, str], list[str]]
"""(scenario, who) -> ``METHOD path`` of each."""


def measure(directory: Path) -> list[Figure]:
    """Run all rounds; peers that are not installed are left out."""
    small = build_image(layers=5, layer_size=20_000_000)
    who = copiers(directory)
    requests = _requests(directory, small, who)
    seconds: Seconds = {}
    with run_registry("registry", directory / "source") as source:
        small.push(source, "dev/api", "v1")
        _rounds(seconds, (_COLD, _IDLE, _NEXT), source, directory, small, who)
        light = _memory(source, directory / "memory", small)
        many = build_image(layers=500, layer_size=2_000)
        many.push(source, "dev/api", "v1")
        few = {name: copier for name, copier in who.items() if name in {OURS, "crane"}}
        _rounds(seconds, (_MANY,), source, directory, many, few, rounds=_MANY_ROUNDS)
    large = build_image(
        [f"linux/{name}" for name in ("amd64", "arm64", "ppc64le", "s390x")],
        layers=3,
        layer_size=100_000_000,
    )
    with run_registry("registry", directory / "large") as source:
        large.push(source, "dev/api", "v1")
        _rounds(seconds, (_LARGE,), source, directory, large, who)
        heavy = _memory(source, directory / "memory-large", large)
    streaming = {name for name in who if _streams(requests[_NEXT, name])}
    return [
        *_cold(seconds, _COLD),
        *_cold(seconds, _LARGE),
        *_compared_with_crane(seconds, _MANY, _MANY_LAYERS),
        *_compared_with_crane(seconds, _processor(_MANY), None),
        *_promotion(seconds, streaming),
        *_idle(seconds),
        *_counted(requests, list(who)),
        Figure("peak memory above idle, 200 MB", light, "MiB", target=_MEMORY),
        Figure("peak memory above idle, 1.2 GB", heavy, "MiB", target=_MEMORY),
        Figure("start of a process with the client", _start(), "s"),
    ]


# --- runs


def _rounds(
    seconds: Seconds,
    scenarios: tuple[str, ...],
    source: str,
    directory: Path,
    image: BuiltImage,
    who: dict[str, Copier],
    rounds: int = _ROUNDS,
) -> None:
    everybody = {**who, FLOOR: floor(image)}
    names = list(everybody)
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            legs = 1 if name == FLOOR else len(scenarios)
            target = directory / f"{name}-{turn}"
            took = _one_run(everybody[name], source, target, image, legs)
            for scenario, (wall, processor) in zip(scenarios, took, strict=False):
                # The first round only warms caches.
                for what, figure in ((scenario, wall), (_processor(scenario), processor)):
                    seconds.setdefault((what, name), []).extend([figure] if turn else [])


def _one_run(
    copier: Copier, source: str, target: Path, image: BuiltImage, legs: int
) -> list[tuple[float, float]]:
    with run_registry("registry", target) as host:
        took = [_timed(copier, *leg, image) for leg in _legs(source, host)[:legs]]
    shutil.rmtree(target)
    return took


def _legs(source: str, target: str) -> tuple[tuple[str, str], ...]:
    first = (f"{source}/dev/api", f"{target}/prod/api")
    return first, first, (f"{target}/prod/api", f"{target}/next/api")


def _processor(scenario: str) -> str:
    return f"{scenario}, processor"


def _timed(copier: Copier, source: str, target: str, image: BuiltImage) -> tuple[float, float]:
    """Seconds on the wall, and of the processor: this process's and its children's."""
    before, began = _spent(), time.perf_counter()
    copier(source, target, image.digest)
    took = time.perf_counter() - began, _spent() - before
    there = ImageRepository.parse(target)
    client(there).read_back(there.at(Digest(image.digest)))
    return took


def _spent() -> float:
    """Processor seconds of this process and of its children that have ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


def _start() -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import bot.adapters.registry"], check=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _memory(source: str, target: Path, image: BuiltImage) -> float:
    """What a process that makes one copy needs above what it needs when it does nothing."""
    # VmHWM, because ru_maxrss starts with what the parent had before exec.
    program = (
        "import sys; from tests.bench.peers import copy, client\n"
        "from bot.domain.oci import ImageRepository\n"
        "def peak(what): return int(open('/proc/self/status').read().split(what)[1].split()[0])\n"
        "client(ImageRepository.parse(sys.argv[1])); idle = peak('VmRSS:')\n"
        "copy(*sys.argv[1:]); print(peak('VmHWM:') - idle)"
    )
    with run_registry("registry", target) as host:
        words = [f"{source}/dev/api", f"{host}/prod/api", image.digest]
        done = subprocess.run(
            [sys.executable, "-c", program, *words], check=True, capture_output=True, text=True
        )
    shutil.rmtree(target)
    return int(done.stdout) / 1024


# --- requests


def _requests(directory: Path, image: BuiltImage, who: dict[str, Copier]) -> Requests:
    found: Requests = {}
    logged = {"REGISTRY_LOG_ACCESSLOG_DISABLED": "false"}
    for name, copier in who.items():
        places = [directory / f"log-{name}-{end}" for end in ("source", "target")]
        with (
            run_registry("registry", places[0], environment=logged) as source,
            run_registry("registry", places[1], environment=logged) as target,
        ):
            image.push(source, "dev/api", "v1")
            for scenario, leg in zip((_COLD, _IDLE, _NEXT), _legs(source, target), strict=True):
                found[scenario, name] = _during(places, partial(copier, *leg, image.digest))
            if name == OURS:
                found[_SEAL, OURS] = _seal(places, source, target, image)
    return found


def _during(places: list[Path], action: Callable[[], object]) -> list[str]:
    """``METHOD path`` of every request that the action makes, by registry."""
    before = [len(_logged(place)) for place in places]
    action()
    time.sleep(0.2)  # the log is written behind the answer
    return [
        line for place, count in zip(places, before, strict=True) for line in _logged(place)[count:]
    ]


def _logged(place: Path) -> list[str]:
    text = (place / "registry.log").read_text()
    return [f"{method} {path}" for method, path in _REQUEST.findall(text)]


def _seal(places: list[Path], source: str, target: str, image: BuiltImage) -> list[str]:
    """Nothing to do, and signature and attestation verified again, as a delivery does."""
    signing, attesting = (load_signing_key(generate_key_pair().private, "k") for _ in range(2))
    there = ImageRepository.parse(f"{target}/prod/api")
    reference = there.at(Digest(image.digest))
    registry = client(there)
    children = [Digest(child) for child in image.child_digests]
    ensure_signed(registry, signing, reference, "v1", {}, children)
    ensure_attested(registry, attesting, [attesting], statement(reference))

    def proven() -> None:
        copy(f"{source}/dev/api", f"{target}/prod/api", image.digest)
        fresh = client(there)
        assert verify_image(fresh, [signing], reference, {}).complete
        assert attested_promotions(fresh, [attesting], reference)

    return _during(places, proven)


def statement(reference: DigestReference) -> PromotionStatement:
    return PromotionStatement(
        digest=reference.digest,
        promotion=f"1/prod/api/{'b' * 40}",
        source=None,
        target=Standing(str(reference.repository), "prod", "v1"),
        git=SourceCommit("acme/api", "c" * 40, "main"),
        pull_request=MergedPullRequest("acme/deploy", 1, "b" * 40, "dana", ("rita",)),
        evidence=(),
        builder="https://lockkeeper.dev/lockkeeper",
        version="0.1.0",
        at=datetime(2026, 11, 20, tzinfo=UTC),
        audit=AuditHead(1, ""),
    )


def _streams(requests: Iterable[str]) -> bool:
    """It has read layers, where the registry could have mounted them."""
    reads = [one for one in requests if re.match("GET .*/blobs/", one)]
    return len(reads) > 2


# --- figures


def _cold(seconds: Seconds, scenario: str) -> Iterator[Figure]:
    for what in (scenario, _processor(scenario)):
        ours = seconds[what, OURS]
        for name in _peers(seconds, what):
            target = _PROCESSOR if name == "crane" and what != scenario else None
            yield _compared(what, name, ours, seconds[what, name], target)
        yield _compared(what, "physical floor", ours, seconds[what, FLOOR], None)


def _compared_with_crane(seconds: Seconds, scenario: str, target: float | None) -> Iterator[Figure]:
    for name in _peers(seconds, scenario):
        yield _compared(scenario, name, seconds[scenario, OURS], seconds[scenario, name], target)


def _promotion(seconds: Seconds, streaming: set[str]) -> Iterator[Figure]:
    for what in (_NEXT, _processor(_NEXT)):
        for name in _peers(seconds, what):
            target = _STREAMING if name in streaming else _MOUNTING
            how = "streams" if name in streaming else "mounts"
            pair = seconds[what, OURS], seconds[what, name]
            yield _compared(what, f"{name} ({how})", *pair, target if what != _NEXT else None)


def _idle(seconds: Seconds) -> Iterator[Figure]:
    for name in _peers(seconds, _IDLE):
        yield _compared(_IDLE, name, seconds[_IDLE, OURS], seconds[_IDLE, name], None)
    ours = statistics.median(seconds[_IDLE, OURS])
    yield Figure(_IDLE, ours, "s", target=_IDLE_SECONDS)


def _peers(seconds: Seconds, scenario: str) -> list[str]:
    return [name for step, name in seconds if step == scenario and name not in (OURS, FLOOR)]


def _counted(requests: Requests, names: list[str]) -> Iterator[Figure]:
    for scenario in (_COLD, _IDLE, _NEXT):
        counts = {name: len(requests[scenario, name]) for name in names}
        frugal = min((name for name in names if name != OURS), key=counts.__getitem__, default="")
        # Reading back the tag that was written is ours alone, and not compared.
        ours = counts[OURS] - _read_back(requests[scenario, OURS])
        for name in names:
            if name != OURS:
                target = 1.0 if name == frugal and scenario != _IDLE else None
                ratio = ours / counts[name]
                what = f"requests, {scenario}"
                yield Figure(what, ours, "", name, counts[name], ratio, target)
    idle, seal = (float(len(requests[one, OURS])) for one in (_IDLE, _SEAL))
    yield Figure("requests, nothing to do", idle, "", target=_IDLE_REQUESTS)
    yield Figure("requests, nothing to do, seal proven", seal, "", target=_SEAL_REQUESTS)


def _read_back(requests: list[str]) -> int:
    """Reads of a tag behind the write of it."""
    tag = "/manifests/v1"
    writes = [i for i, one in enumerate(requests) if one.startswith("PUT") and one.endswith(tag)]
    if not writes:
        return 0
    return sum(one.startswith("GET") and one.endswith(tag) for one in requests[writes[-1] :])


def _compared(
    scenario: str,
    peer: str,
    ours: list[float],
    theirs: list[float],
    target: float | None,
) -> Figure:
    ratios = (a / b for a, b in zip(ours, theirs, strict=True))
    return Figure(
        scenario,
        statistics.median(ours),
        "s",
        peer,
        statistics.median(theirs),
        statistics.median(ratios),
        target,
    )
