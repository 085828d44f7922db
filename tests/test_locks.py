"""The locks are complete, agree, and install whatever an index has by then."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import os
import re
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker

ROOT = Path(__file__).parents[1]
RUNTIME, DEVELOPMENT = "requirements.lock", "requirements-dev.lock"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(?: ; ([^\\]+?))? *\\?$", re.MULTILINE)


def pins(lock: str) -> dict[str, str]:
    return {name: version for name, version, _ in _PIN.findall((ROOT / lock).read_text())}


def pins_here(lock: str) -> dict[str, str]:
    """The pins whose marker holds for this interpreter."""
    found = _PIN.findall((ROOT / lock).read_text())
    return {name: version for name, version, marker in found if not marker or _holds(marker)}


def _holds(marker: str) -> bool:
    return Marker(marker.strip()).evaluate()


# --- the files ---


def test_the_development_lock_has_every_version_of_the_runtime_lock() -> None:
    assert pins(RUNTIME).items() <= pins(DEVELOPMENT).items()


@pytest.mark.parametrize("lock", [RUNTIME, DEVELOPMENT])
def test_every_line_is_a_pin_with_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()

    lines = [line for line in text.splitlines() if not line.startswith(("#", "    --hash=sha256:"))]

    assert all(_PIN.match(line) for line in lines)
    assert "://" not in text


@pytest.mark.parametrize("name", sorted(pins_here(DEVELOPMENT)))
def test_what_is_installed_is_what_is_locked(name: str) -> None:
    assert metadata.version(name) == pins_here(DEVELOPMENT)[name]


# --- an index that has moved on ---


@pytest.mark.slow
@pytest.mark.parametrize("lock", [RUNTIME, DEVELOPMENT])
def test_a_clone_installs_when_every_package_has_a_newer_version(lock: str, tmp_path: Path) -> None:
    """With the pip that this Python brings; each stand-in asks for what the real package asks."""
    clone, index = tmp_path / "clone", tmp_path / "index"
    clone.mkdir()
    shutil.copy(ROOT / "Makefile", clone)
    (clone / DEVELOPMENT).write_text(_lock_of_stand_ins(index, pins_here(lock)))

    with _served(index) as address:
        done = _make(clone, ".venv/.locked", PIP_INDEX_URL=f"{address}/")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "No broken requirements found." in done.stdout


def test_the_container_resolves_nothing_either() -> None:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")

    installs = re.findall(r"pip install[^&]*?-r \S+", text)

    assert len(installs) == 2
    assert all({"--no-deps", "--require-hashes"} <= set(one.split()) for one in installs)
    assert "/opt/lockkeeper/bin/pip check" in text


def _make(clone: Path, target: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    own = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "no_proxy": "*"}
    return subprocess.run(
        ["make", target],
        cwd=clone,
        env={**kept, **own, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def _lock_of_stand_ins(index: Path, wanted: dict[str, str]) -> str:
    lines: list[str] = []
    for name, version in wanted.items():
        wheel = _stand_in(index, name, version)
        _stand_in(index, name, f"{int(re.split(r'[.!]', version)[0]) + 1000}.0")
        lines.append(f"{name}=={version} \\\n    --hash=sha256:{_sha256(wheel)}")
    return "\n".join(lines) + "\n"


def _stand_in(index: Path, name: str, version: str) -> Path:
    """An empty wheel with the needs and extras of the installed package of that name."""
    asked = metadata.metadata(name)
    fields = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    fields += [f"Requires-Dist: {one}" for one in asked.get_all("Requires-Dist") or []]
    fields += [f"Provides-Extra: {one}" for one in asked.get_all("Provides-Extra") or []]
    stem = f"{name.replace('-', '_').replace('.', '_')}-{version}"
    info = f"{stem}.dist-info"
    content = {
        f"{info}/METADATA": "\n".join(fields) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={_urlsafe(text)},{len(text)}\n" for path, text in content.items()
    )
    folder = index / name.lower().replace("_", "-").replace(".", "-")
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**content, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return wheel


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _urlsafe(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        """Say nothing."""


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """A folder per package with its files: what PEP 503 asks of an index."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
