"""Where a person's log-ins to registries are: docker's files and podman's.

Looked for as the tools beside ours do it: what is named first, then docker's, then podman's.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bot.domain.errors import ConfigurationError
from bot.domain.grants import HostGrant, RegistryGrant
from bot.domain.oci import ImageRepository
from bot.formats.docker_config import RefSnapshot, read_docker_config
from bot.settings import callers_environment

NAMED: Final = "REGISTRY_AUTH_FILE"
"""Podman's variable (containers-auth.json(5))."""


def login_files(environment: Mapping[str, str]) -> list[Path]:
    """The files that there are, in the order in which they count.

    Raises:
        ConfigurationError: one is named, and is not there.
    """
    home = Path(environment.get("HOME", "/nonexistent"))
    if named := environment.get(NAMED):
        if not Path(named).is_file():
            raise ConfigurationError(named, None, f"{NAMED} names it, and there is no such file")
        return [Path(named)]
    docker = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    containers = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers"
    found = [docker / "config.json"]
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        found.append(Path(runtime) / "containers" / "auth.json")
    return [one for one in (*found, containers / "auth.json") if one.is_file()]


def read_logins(file: Path, repositories: list[ImageRepository]) -> RegistryGrant:
    """One file, for whoever typed these repositories."""
    hosts = frozenset(HostGrant(one.host).host for one in repositories)
    snapshot = RefSnapshot(hosts, shutil.which, tuple(callers_environment().items()))
    return read_docker_config(file.read_text(encoding="utf-8"), str(file), snapshot)


def logins_of(
    repositories: list[ImageRepository], environment: Mapping[str, str]
) -> tuple[str, tuple[HostGrant, ...]]:
    """What a person's own files say about these repositories, and nothing of theirs about others.

    Returns:
        The files, for error messages; and the entries: for each repository those of the first
        file that has a log-in for it.
    """
    files = login_files(environment)
    grants = [read_logins(file, repositories) for file in files]
    found: dict[HostGrant, None] = {}
    for repository in repositories:
        for grant in grants:
            entry = grant.entry_for(repository)
            if entry.has_credentials:
                found[entry] = None
                break
    return ", ".join(map(str, files)), tuple(found)
