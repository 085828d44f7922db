"""The real tools that tests run: cosign, crane, registries. Built by ``make tools``."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NoReturn

import pytest
import requests

BIN: Final = Path(__file__).parents[2] / ".tools" / "bin"
_DISTRIBUTION: Final = frozenset({"registry", "docker-registry"})
_START: Final = 20.0  # seconds until a registry has to answer


def tool(name: str) -> Path:
    """The executable; the test is skipped without it, or fails where every tool is demanded."""
    found = installed(name)
    if found is None:
        missing(f"the tool {name} is missing; run: make tools")
    return found


def missing(message: str) -> NoReturn:
    """Skip the test, or fail it where everything is demanded, as in CI."""
    if os.environ.get("LOCKKEEPER_REQUIRE_TOOLS") == "1":
        pytest.fail(message)
    pytest.skip(message)


def installed(name: str) -> Path | None:
    """The executable of our own build, else the one on the PATH."""
    built = BIN / name
    if built.is_file():
        return built
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/bin")
    return Path(found) if found else None


def run(name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a tool to its end; its output, or AssertionError with what it said."""
    done = attempt(name, *arguments, environment=environment)
    assert done.returncode == 0, f"{name} {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def attempt(
    name: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end, however it ends."""
    return subprocess.run(
        [tool(name), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **(environment or {})},
    )


@contextlib.contextmanager
def run_registry(
    tool_name: str, directory: Path, *extra: str, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """A real registry on 127.0.0.1 that keeps its content below ``directory``: ``host:port``.

    ``registry`` (distribution 3), ``docker-registry`` (distribution 2), ``olareg``, ``zot`` or
    ``crane`` (``crane registry serve``). ``extra`` goes behind olareg's arguments, or is YAML for
    the configuration of the distribution ones.
    """
    executable = tool(tool_name)
    directory.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{free_port()}"
    command = [str(executable), *_arguments(tool_name, directory, address, extra)]
    with (directory / f"{tool_name}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none", **(environment or {})},
        )
        try:
            _await(address, process, directory / f"{tool_name}.log")
            yield address
        finally:
            process.terminate()
            process.wait(timeout=10)


def free_port() -> int:
    """A port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _arguments(name: str, directory: Path, address: str, extra: tuple[str, ...]) -> list[str]:
    host, _, port = address.partition(":")
    if name in _DISTRIBUTION:
        configuration = directory / "config.yml"
        configuration.write_text(_distribution(directory / "data", address) + "\n".join(extra))
        return ["serve", str(configuration)]
    if name == "olareg":
        return ["serve", "--addr", host, "--port", port, "--dir", str(directory / "data"), *extra]
    if name == "crane":
        (directory / "data").mkdir(exist_ok=True)
        return ["registry", "serve", "--address", address, "--disk", str(directory / "data")]
    configuration = directory / "config.json"
    configuration.write_text(
        f'{{"storage":{{"rootDirectory":"{directory}/data"}},'
        f'"http":{{"address":"{host}","port":"{port}","compat":["docker2s2"]}},'
        '"log":{"level":"error"}}'
    )
    return ["serve", str(configuration)]


def _distribution(data: Path, address: str) -> str:
    return (
        "version: 0.1\n"
        "log: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {data}}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )


def _await(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    pause = threading.Event()
    for _ in range(int(_START / 0.05)):
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(requests.ConnectionError):
            requests.request("GET", f"http://{address}/v2/", timeout=5)
            return
        pause.wait(0.05)
    pytest.fail(f"{log.stem} does not answer on {address}: {log.read_text()}")
