"""``lockkeeper image copy`` killed at any moment: the next run moves only what is missing."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from tests.world.images import build_image
from tests.world.tools import run_registry

pytestmark = pytest.mark.slow

TIMES: Final = 20
IMAGE: Final = build_image(layers=5, layer_size=10_000_000)


@dataclass(frozen=True)
class Ends:
    source: str
    target: str

    def command(self, name: str) -> list[str]:
        words = ("copy", "--json", f"{self.source}/dev/api:v1", f"{self.target}/{name}:v1")
        return [sys.executable, "-c", "from bot.cli.image import image; image()", *words]

    def has(self, name: str, kind: str, what: str) -> bool:
        accept = {"Accept": "application/vnd.oci.image.index.v1+json"}
        url = f"http://{self.target}/v2/{name}/{kind}/{what}"
        return requests.head(url, headers=accept, timeout=10).status_code == 200

    def blobs(self, name: str) -> set[str]:
        return {digest for digest in IMAGE.blobs if self.has(name, "blobs", digest)}

    def settled(self, name: str) -> set[str]:
        """The registry may still finish what had arrived whole."""
        before = self.blobs(name)
        while True:
            time.sleep(0.3)
            now = self.blobs(name)
            if now == before:
                return now
            before = now

    def finished(self, name: str) -> dict[str, Any]:
        done = subprocess.run(self.command(name), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    directory: Path = tmp_path_factory.mktemp("killed")
    with (
        run_registry("registry", directory / "source") as source,
        run_registry("registry", directory / "target") as target,
    ):
        IMAGE.push(source, "dev/api", "v1")
        yield Ends(source, target)


@pytest.fixture(scope="module")
def whole_run(ends: Ends) -> float:
    """Seconds of a copy that nobody kills."""
    began = time.monotonic()
    report = ends.finished("prod/whole")
    assert report["bytes"]["moved"] == IMAGE.size
    return time.monotonic() - began


@pytest.mark.parametrize("turn", range(TIMES))
def test_after_kill_9_only_what_is_missing_is_moved(
    ends: Ends, whole_run: float, turn: int
) -> None:
    name = f"prod/api-{turn}"
    moment = random.uniform(turn, turn + 1) / TIMES * whole_run  # noqa: S311 - any moment will do
    with subprocess.Popen(
        ends.command(name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(moment)
        process.kill()
    there = ends.settled(name)
    has_root = ends.has(name, "manifests", IMAGE.digest)
    # The order is the promise: no root without its blobs, no tag without the root.
    assert not has_root or there == IMAGE.blobs.keys()
    assert not ends.has(name, "manifests", "v1") or has_root

    report = ends.finished(name)

    missing = sum(len(blob) for digest, blob in IMAGE.blobs.items() if digest not in there)
    assert report["bytes"]["moved"] == missing, f"killed after {moment:.3f} s"
    assert report["unchanged"] == has_root
    assert ends.has(name, "manifests", "v1")
    assert ends.blobs(name) == IMAGE.blobs.keys()
