"""Copying an image between two local registries, against skopeo, crane and regctl.

Two platforms with five layers of 20 MB each. Every run starts with an empty target; the runs of
all are interleaved and their order turns from round to round. Ours is timed in a process that
runs already, as the bot does; a peer is a process from its start to its end, so the start of a
Python process is printed beside.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bot.adapters.clock import SystemClock, pause
from bot.adapters.registry import Registry
from bot.domain.oci import Digest, ImageRepository
from bot.formats.docker_config import parse_registry_grant
from tests.bench.figures import Figure
from tests.world.images import BuiltImage, build_image
from tests.world.tools import installed, run_registry

_ROUNDS: Final = 7
_TARGET: Final = 1.0  # ratio to skopeo
_LAYER: Final = 20_000_000
_INSECURE: Final = ("--src-tls-verify=false", "--dest-tls-verify=false")

Copier = Callable[[str, str, str], None]
"""Copies ``dev/api`` at the digest from the first host to ``prod/api`` at the second."""


def measure(directory: Path) -> list[Figure]:
    """Run all rounds; peers that are not installed are left out."""
    image = build_image(layers=5, layer_size=_LAYER)
    copiers = {"lockkeeper": _lockkeeper, **_peers(directory)}
    seconds: dict[str, list[float]] = {name: [] for name in copiers}
    with run_registry("registry", directory / "source") as source:
        image.push(source, "dev/api", "v1")
        for turn in range(_ROUNDS + 1):
            names = list(copiers)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                target = directory / f"{name}-{turn}"
                took = _one_run(copiers[name], source, target, image)
                if turn:  # the first round only warms caches
                    seconds[name].append(took)
    return [*_figures(seconds), *_beside(seconds)]


def _one_run(copier: Copier, source: str, target: Path, image: BuiltImage) -> float:
    with ExitStack() as stack:
        host = stack.enter_context(run_registry("registry", target))
        began = time.perf_counter()
        copier(source, host, image.digest)
        took = time.perf_counter() - began
        _check(host, image)
    subprocess.run(["rm", "-rf", str(target)], check=True)
    return took


def _check(host: str, image: BuiltImage) -> None:
    """The copy is whole; outside the measured time."""
    registry = _client(host)
    registry.read_back(ImageRepository(host, "prod/api").at(Digest(image.digest)))


def _lockkeeper(source: str, target: str, digest: str) -> None:
    repository = ImageRepository(source, "dev/api")
    _client(source, target).copy(repository.at(Digest(digest)), ImageRepository(target, "prod/api"))


def _client(*hosts: str) -> Registry:
    named = ",".join(f'"{host}": {{}}' for host in hosts)
    grant = parse_registry_grant(f'{{"hosts": {{{named}}}}}', "bench")
    return Registry(grant, clock=SystemClock(), sleep=pause)


def _peers(directory: Path) -> dict[str, Copier]:
    peers: dict[str, Copier] = {}
    if skopeo := installed("skopeo"):
        peers["skopeo"] = _command(
            directory,
            str(skopeo),
            "copy",
            "--all",
            *_INSECURE,
            "docker://{source}",
            "docker://{target}",
        )
    if crane := installed("crane"):
        peers["crane"] = _command(
            directory, str(crane), "copy", "{source}", "{target}", "--insecure"
        )
    if regctl := installed("regctl"):
        configuration = (
            "--host=reg={source_host},tls=disabled --host=reg={target_host},tls=disabled"
        )
        peers["regctl"] = _command(
            directory, str(regctl), *configuration.split(), "image", "copy", "{source}", "{target}"
        )
    return peers


def _command(home: Path, *words: str) -> Copier:
    """A peer as a process, with a home of its own: no caches from earlier runs."""

    def copy(source: str, target: str, digest: str) -> None:
        places = {
            "source": f"{source}/dev/api@{digest}",
            "target": f"{target}/prod/api:v1",
            "source_host": source,
            "target_host": target,
        }
        subprocess.run(
            [word.format(**places) for word in words],
            check=True,
            capture_output=True,
            env={"PATH": os.environ["PATH"], "HOME": str(home / target.replace(":", "-"))},
        )

    return copy


def _figures(seconds: dict[str, list[float]]) -> list[Figure]:
    ours = seconds["lockkeeper"]
    figures = []
    for peer, theirs in seconds.items():
        if peer == "lockkeeper":
            continue
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        figures.append(
            Figure(
                f"copy 200 MB, 2 platforms, against {peer}",
                statistics.median(ours),
                "s",
                peer,
                statistics.median(theirs),
                ratio,
                _TARGET if peer == "skopeo" else None,
            )
        )
    return figures


def _beside(seconds: dict[str, list[float]]) -> list[Figure]:
    ours = seconds["lockkeeper"]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        Figure("fastest of our runs", min(ours), "s"),
        Figure("slowest of our runs", max(ours), "s"),
        Figure("start of a process with the registry client", _start(), "s"),
        Figure("peak memory of this process, the test image included", memory, "MiB"),
    ]


def _start() -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import bot.adapters.registry"], check=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)
