from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

from bot.settings import Settings

ROOT = Path(__file__).parents[1]
BASE = os.environ.get("IMAGE_BASE", "localhost/base:13")
"""A local Debian 13; without one nothing is built here."""
BUILDAH = {
    **os.environ,
    "STORAGE_DRIVER": os.environ.get("STORAGE_DRIVER", "vfs"),
    "BUILDAH_ISOLATION": os.environ.get("BUILDAH_ISOLATION", "chroot"),
}

Instruction = tuple[str, str]


@cache
def instructions() -> list[Instruction]:
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split()[0], re.sub(r"\s+", " ", line.partition(" ")[2])) for line in lines]


def stages() -> list[list[Instruction]]:
    found: list[list[Instruction]] = []
    for name, value in instructions():
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, value))
    return found


def values(name: str, of: list[Instruction]) -> list[str]:
    return [value for found, value in of if found == name]


def shell_commands() -> list[list[str]]:
    return [
        shlex.split(part)
        for value in values("RUN", instructions())
        for part in value.split("&&")
        if "awk" not in part
    ]


# --- what the file promises ---


def test_the_base_is_an_argument_of_every_stage() -> None:
    assert instructions()[0] == ("ARG", "BASE=debian:trixie-slim")
    assert values("FROM", instructions()) == ["${BASE} AS build", "${BASE}"]


def test_the_image_starts_the_bot_as_nobody_in_particular() -> None:
    last = stages()[-1]
    names = [name for name, _ in last]

    user, _, group = values("USER", last)[-1].partition(":")
    assert user.isdecimal()
    assert group.isdecimal()
    assert int(user) >= 1000
    assert "RUN" not in names[names.index("USER") :]
    assert json.loads(values("ENTRYPOINT", last)[-1]) == ["lockkeeper"]
    assert json.loads(values("CMD", last)[-1]) == ["serve"]


def test_the_health_check_asks_the_default_board() -> None:
    check = values("HEALTHCHECK", stages()[-1])[-1]
    command = json.loads(check.partition(" CMD ")[2])

    assert command[:2] == ["python3", "-c"]
    compile(command[2], "the health check", "exec")
    assert f"http://{Settings.read({}).board_listen}/healthz" in command[2]


def test_every_package_of_python_is_hashed_or_our_own_wheel() -> None:
    installs = [command for command in shell_commands() if command[:1] and "install" in command]
    by_pip = [command for command in installs if command[0].endswith("/pip")]

    assert len(by_pip) == 3
    for command in by_pip:
        ours = {"--no-deps", "--no-index", "dist/*.whl"}
        assert "--require-hashes" in command or ours <= set(command)


def test_debian_s_packages_come_without_company() -> None:
    installs = [c for c in shell_commands() if c[:1] == ["apt-get"] and "install" in c]

    assert len(installs) == 2
    assert all("--no-install-recommends" in command for command in installs)
    assert {"git", "python3", "ca-certificates"} <= set(installs[-1])


def closure(name: str) -> set[str]:
    """A distribution and what it needs on this Python, by the metadata of the development venv."""
    found = {name}
    for text in metadata.requires(name) or []:
        needed, _, marker = text.partition(";")
        if "extra" not in marker and "python_version <" not in marker:
            found |= closure(re.split(r"[<>=!~ \[]", needed.strip())[0])
    return found


def test_the_build_backend_is_taken_whole_from_the_lock() -> None:
    pattern = re.search(r"keep = /\^\(([a-z|-]+)\)==/", (ROOT / "Dockerfile").read_text())
    assert pattern is not None
    locked = re.findall(r"^([a-z-]+)==", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE)

    assert set(pattern[1].split("|")) == closure("hatchling")
    assert closure("hatchling") <= set(locked)


def test_nothing_is_downloaded_or_secret_or_optimised() -> None:
    text = (ROOT / "Dockerfile").read_text()

    assert re.findall(r"\b(curl|wget|ADD)\b|git clone", text) == []
    assert "PYTHONOPTIMIZE" not in text
    given = values("ENV", instructions()) + values("ARG", instructions())
    assert [g for g in given if re.search(r"(?i)secret|token|password|key", g)] == []


def test_only_what_is_copied_goes_to_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for value in values("COPY", instructions())
        if not value.startswith("--from")
        for source in value.split()[:-1]
    }

    assert next(line for line in lines if not line.startswith("#")) == "*"
    assert allowed == copied


def test_the_image_says_what_it_was_built_of() -> None:
    last = stages()[-1]

    assert ("ARG", "REVISION=unknown") in last
    assert "org.opencontainers.image.revision=${REVISION}" in values("LABEL", last)[0]
    assert "dpkg-query --show >/usr/share/lockkeeper/packages" in values("RUN", last)[0]


# --- what a real build keeps ---


def buildah(*arguments: str, timeout: int = 900) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["buildah", *arguments],
        cwd=ROOT,
        env=BUILDAH,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def built(*arguments: str) -> str:
    done = buildah(*arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    """A container of the image, built from this checkout."""
    if shutil.which("buildah") is None:
        pytest.skip("buildah is not installed")
    if buildah("inspect", "--type", "image", BASE).returncode:
        pytest.skip(f"buildah has no image {BASE}")
    image = "localhost/lockkeeper:test"
    built("bud", "--layers", "--format", "docker", "--build-arg", f"BASE={BASE}", "-t", image, ".")
    name = built("from", "--pull-never", image)
    yield name
    built("rm", name)


def test_the_commands_work_inside(container: str) -> None:
    assert built("run", container, "--", "lockkeeper", "--version").startswith("lockkeeper, ")
    schema = json.loads(built("run", container, "--", "lockkeeper", "config", "schema"))
    assert "Environment" in schema["$defs"]


def test_without_settings_it_says_which_one_is_missing(container: str) -> None:
    done = buildah("run", container, "--", "lockkeeper", "serve")

    assert done.returncode == 2
    assert "LOCKKEEPER_MANIFESTS: is not set" in done.stderr


def test_inside_nobody_is_root_and_nothing_can_be_installed(container: str) -> None:
    script = (
        "id -u; command -v git; touch /opt/lockkeeper/x 2>&1; command -v pip; ls /src 2>&1; true"
    )

    said = built("run", container, "--", "sh", "-c", script).splitlines()

    assert said[:2] == ["10001", "/usr/bin/git"]
    assert "Permission denied" in said[2]
    assert "No such file" in said[3]


def test_the_data_folder_is_the_user_s_alone(container: str) -> None:
    said = built("run", container, "--", "stat", "-c", "%u %a", "/var/lib/lockkeeper")

    assert said == "10001 700"
