"""A copy into each product's registry (doubles with the known quirks together), beside the peers.

A figure is 0 where the image arrived whole and tagged, else 1; ours has to be 0. What the doubles
do is in `tests.world.products`.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.bench.figures import Figure
from tests.bench.peers import OURS
from tests.world.images import BuiltImage, build_image
from tests.world.products import PRODUCTS, Product, product
from tests.world.registry import Registry
from tests.world.tools import installed

_SECONDS: Final = 60.0
_INSECURE: Final = ("--src-tls-verify=false", "--dest-tls-verify=false")
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "crane": ("copy", "--insecure", "{source}", "{target}"),
    "skopeo": ("copy", "--all", *_INSECURE, "docker://{source}", "docker://{target}"),
    "regctl": (
        "--host=reg={source_host},tls=disabled",
        "--host=reg={target_host},tls=disabled",
        *("image", "copy", "{source}", "{target}"),
    ),
}


def measure(directory: Path) -> list[Figure]:
    """Every product, with everybody that is installed."""
    image = build_image()
    ours = (str(Path(sys.executable).with_name("lockkeeper")), "image", "copy")
    who: dict[str, tuple[str, ...]] = {OURS: (*ours, "--no-referrers", "{source}", "{target}")}
    for name, words in _WORDS.items():
        if program := installed(name):
            who[name] = (str(program), *words)
    return [
        figure
        for made in sorted(PRODUCTS)
        for name, words in who.items()
        for figure in _tried(directory / f"{made}-{name}", made, name, words, image)
    ]


def _tried(
    home: Path, made: str, name: str, words: tuple[str, ...], image: BuiltImage
) -> Iterator[Figure]:
    with Registry() as source, product(made) as target:
        target.repositories.add("prod/api")
        image.push(source.host, "dev/api", "v1")
        _log_in(home, target, source.host)
        places = {
            "source": f"{source.host}/dev/api@{image.digest}",
            "target": f"{target.registry.host}/prod/api:v1",
            "source_host": source.host,
            "target_host": target.registry.host,
        }
        own = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "DOCKER_CONFIG": str(home / ".docker"),
        }
        own["REGISTRY_AUTH_FILE"] = str(home / ".docker" / "config.json")
        command = [word.format(**places) for word in words]
        try:
            subprocess.run(command, check=True, capture_output=True, env=own, timeout=_SECONDS)
        except subprocess.SubprocessError:
            arrived = False
        else:
            here = target.registry.repository("prod/api")
            arrived = here.tags.get("v1") == image.digest and set(image.blobs) <= set(here.blobs)
    peer = "" if name == OURS else name
    # Less is better in a table of figures: what is missing is counted.
    yield Figure(
        f"copy into {made}: not arrived", float(not arrived), "", peer, target=_target(name)
    )


def _target(name: str) -> float | None:
    return 0.0 if name == OURS else None


def _log_in(home: Path, target: Product, source: str) -> None:
    """As docker keeps log-ins; ours reads them as the peers do."""
    auths: dict[str, dict[str, str]] = {}
    for host, login in target.auths.items():
        pair = f"{login['username']}:{login['password']}".encode()
        auths[host] = {"auth": base64.b64encode(pair).decode()}
    (home / ".docker").mkdir(parents=True)
    hosts: dict[str, dict[str, str]] = {host: {} for host in (*target.hosts, source)}
    document = {"auths": auths, "hosts": hosts}
    (home / ".docker" / "config.json").write_text(json.dumps(document))
