"""The tools that copy images, ours among them, all behind one call."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

from bot.adapters.clock import SystemClock, pause
from bot.adapters.registry import Registry
from bot.domain.oci import Digest, ImageRepository
from bot.formats.docker_config import parse_registry_grant
from tests.world.images import INDEX, MANIFEST, BuiltImage
from tests.world.tools import installed

OURS: Final = "lockkeeper"
FLOOR: Final = "floor"
_INSECURE: Final = ("--src-tls-verify=false", "--dest-tls-verify=false")

Copier = Callable[[str, str, str], None]
"""Copies the digest from the first repository to the second, ``host/path``, and tags it v1."""


def copiers(directory: Path) -> dict[str, Copier]:
    """Ours, and every peer that is installed."""
    return {OURS: copy, **commands(directory)}


def commands(directory: Path) -> dict[str, Copier]:
    """Every peer that is installed, as a process."""
    words = {
        "skopeo": ["copy", "--all", *_INSECURE, "docker://{source}", "docker://{target}"],
        "crane": ["copy", "{source}", "{target}", "--insecure"],
        "regctl": [
            "--host=reg={source_host},tls=disabled",
            "--host=reg={target_host},tls=disabled",
            *("image", "copy", "{source}", "{target}"),
        ],
    }
    return {
        name: _command(directory / f"home-{name}", str(program), *arguments)
        for name, arguments in words.items()
        if (program := installed(name))
    }


def copy(source: str, target: str, digest: str) -> None:
    """Our own, in a process that runs already, as the bot does; new connections each time."""
    here, there = ImageRepository.parse(source), ImageRepository.parse(target)
    registry = client(here, there)
    registry.copy(here.at(Digest(digest)), there)
    registry.tag(there.at(Digest(digest)), "v1", move=False)


def client(*repositories: ImageRepository) -> Registry:
    """Our client, granted these hosts."""
    named = ",".join(f'"{repository.host}": {{}}' for repository in repositories)
    grant = parse_registry_grant(f'{{"hosts": {{{named}}}}}', "bench")
    return Registry(grant, clock=SystemClock(), sleep=pause)


def floor(image: BuiltImage) -> Copier:
    """What no copier can beat: the bytes are in memory, nothing is read, hashed or asked."""

    def push(_source: str, target: str, _digest: str) -> None:
        host, _, path = target.partition("/")
        own = threading.local()

        def connection() -> HTTPConnection:
            if not hasattr(own, "connection"):
                own.connection = HTTPConnection(host, blocksize=256 * 1024)
            kept: HTTPConnection = own.connection
            return kept

        def blob(digest: str) -> None:
            started = _asked(connection(), "POST", f"/v2/{path}/blobs/uploads/", b"")
            place = urlsplit(urljoin(f"http://{host}/", started["location"]))
            finish = f"{place.path}?{place.query}&digest={digest}"
            _asked(connection(), "PUT", finish, image.blobs[digest])

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(blob, sorted(image.blobs, key=lambda one: -len(image.blobs[one]))))
        for name, content in zip(image.child_digests, image.children.values(), strict=True):
            _asked(connection(), "PUT", f"/v2/{path}/manifests/{name}", content, MANIFEST)
        _asked(connection(), "PUT", f"/v2/{path}/manifests/v1", image.index, INDEX)

    return push


def _asked(
    connection: HTTPConnection,
    method: str,
    path: str,
    body: bytes,
    media_type: str = "application/octet-stream",
) -> Mapping[str, str]:
    connection.request(method, path, body, {"Content-Type": media_type})
    answer = connection.getresponse()
    answer.read()
    assert answer.status in (201, 202), answer.status
    return {name.lower(): value for name, value in answer.getheaders()}


def _command(home: Path, *words: str) -> Copier:
    """A peer as a process, with a home of its own: no caches from earlier runs."""

    def run(source: str, target: str, digest: str) -> None:
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

    return run
