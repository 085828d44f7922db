"""Copying an image between two local registries, against skopeo, crane and regctl.

Two platforms with five layers of 20 MB each. Every run starts with an empty target; the runs of
all are interleaved and their order turns from round to round. Ours is timed in a process that
runs already, as the bot does; a peer is a process from its start to its end, so the start of a
Python process is printed beside. After the copy the same copy is made again (nothing to do), and
then one to another repository of the same registry (mount).
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
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
_OURS: Final = "lockkeeper"
_SCENARIOS: Final = ("copy 200 MB", "nothing to do", "next repository")

Copier = Callable[[str, str, str], None]
"""Copies the digest from the first repository to the second: ``host/path``."""
Seconds = dict[tuple[str, str], list[float]]
"""(scenario, who) -> one figure per round."""


def measure(directory: Path) -> list[Figure]:
    """Run all rounds; peers that are not installed are left out."""
    image = build_image(layers=5, layer_size=_LAYER)
    copiers = {_OURS: _lockkeeper, **_peers(directory)}
    seconds: Seconds = {(scenario, who): [] for scenario in _SCENARIOS for who in copiers}
    with run_registry("registry", directory / "source") as source:
        image.push(source, "dev/api", "v1")
        for turn in range(_ROUNDS + 1):
            names = list(copiers)
            for who in names[turn % len(names) :] + names[: turn % len(names)]:
                took = _one_run(copiers[who], source, directory / f"{who}-{turn}", image)
                for scenario, figure in zip(_SCENARIOS, took, strict=True):
                    # The first round only warms caches.
                    seconds[scenario, who] += [figure] if turn else []
        memory = _memory(source, directory / "memory", image)
    return [*_against(seconds, list(copiers)), *_beside(seconds), memory]


def _one_run(copier: Copier, source: str, target: Path, image: BuiltImage) -> list[float]:
    with run_registry("registry", target) as host:
        legs = (
            (f"{source}/dev/api", f"{host}/prod/api"),
            (f"{source}/dev/api", f"{host}/prod/api"),
            (f"{host}/prod/api", f"{host}/next/api"),
        )
        took = [_timed(copier, *leg, image) for leg in legs]
    shutil.rmtree(target)
    return took


def _timed(copier: Copier, source: str, target: str, image: BuiltImage) -> float:
    began = time.perf_counter()
    copier(source, target, image.digest)
    took = time.perf_counter() - began
    there = ImageRepository.parse(target)
    _client(there).read_back(there.at(Digest(image.digest)))
    return took


def _lockkeeper(source: str, target: str, digest: str) -> None:
    here, there = ImageRepository.parse(source), ImageRepository.parse(target)
    registry = _client(here, there)
    registry.copy(here.at(Digest(digest)), there)
    registry.tag(there.at(Digest(digest)), "v1", move=False)


def _client(*repositories: ImageRepository) -> Registry:
    named = ",".join(f'"{repository.host}": {{}}' for repository in repositories)
    grant = parse_registry_grant(f'{{"hosts": {{{named}}}}}', "bench")
    return Registry(grant, clock=SystemClock(), sleep=pause)


def _peers(directory: Path) -> dict[str, Copier]:
    commands = {
        "skopeo": ["copy", "--all", *_INSECURE, "docker://{source}", "docker://{target}"],
        "crane": ["copy", "{source}", "{target}", "--insecure"],
        "regctl": [
            "--host=reg={source_host},tls=disabled",
            "--host=reg={target_host},tls=disabled",
            *("image", "copy", "{source}", "{target}"),
        ],
    }
    return {
        name: _command(directory / f"home-{name}", str(found), *words)
        for name, words in commands.items()
        if (found := installed(name))
    }


def _command(home: Path, *words: str) -> Copier:
    """A peer as a process, with a home of its own: no caches from earlier runs."""

    def copy(source: str, target: str, digest: str) -> None:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        places = {
            "source": f"{source}@{digest}",
            "target": f"{target}:v1",
            "source_host": source.partition("/")[0],
            "target_host": target.partition("/")[0],
        }
        subprocess.run(
            [word.format(**places) for word in words],
            check=True,
            capture_output=True,
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
        )

    return copy


def _against(seconds: Seconds, names: list[str]) -> list[Figure]:
    return [
        _compared(scenario, peer, seconds[scenario, _OURS], seconds[scenario, peer])
        for scenario in _SCENARIOS
        for peer in names
        if peer != _OURS
    ]


def _compared(scenario: str, peer: str, ours: list[float], theirs: list[float]) -> Figure:
    ratios = (a / b for a, b in zip(ours, theirs, strict=True))
    return Figure(
        scenario,
        statistics.median(ours),
        "s",
        peer,
        statistics.median(theirs),
        statistics.median(ratios),
        _TARGET if peer == "skopeo" else None,
    )


def _beside(seconds: Seconds) -> list[Figure]:
    ours = seconds[_SCENARIOS[0], _OURS]
    return [
        Figure("fastest of our copies", min(ours), "s"),
        Figure("slowest of our copies", max(ours), "s"),
        Figure("start of a process with the client", _start(), "s"),
    ]


def _start() -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import bot.adapters.registry"], check=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _memory(source: str, target: Path, image: BuiltImage) -> Figure:
    """The peak of a process that makes one copy and nothing else."""
    # VmHWM, because ru_maxrss starts with what the parent had before exec.
    program = (
        "import sys; from tests.bench.copy import _lockkeeper; _lockkeeper(*sys.argv[1:]);"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    with run_registry("registry", target) as host:
        words = [f"{source}/dev/api", f"{host}/prod/api", image.digest]
        done = subprocess.run(
            [sys.executable, "-c", program, *words], check=True, capture_output=True, text=True
        )
    return Figure("peak memory of a process that copies", int(done.stdout) / 1024, "MiB")
