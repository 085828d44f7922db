"""``lockkeeper image`` finds log-ins where docker and podman keep them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli.main import lockkeeper
from bot.domain.errors import ConfigurationError, NotGrantedError
from bot.domain.grants import HostGrant, RegistryGrant, is_like
from bot.domain.registry_storage import PRESETS, storage_of
from bot.formats.docker_config import parse_registry_grant
from tests.world import registry as world
from tests.world.images import build_image
from tests.world.registry import Registry

IMAGE = build_image(["linux/amd64"], 1)
USER, PASSWORD = "robot", "correct horse"
AUTH = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
# What docker writes there of its own, and what nobody here knows.
NOISE: dict[str, object] = {
    "HttpHeaders": {"User-Agent": "x"},
    "psFormat": "table",
    "currentContext": "default",
    "plugins": {"x": {}},
    "proxies": {"default": {}},
    "credHelpers": None,
    "credsStore": "",
    "futureKey": [1],
}


@pytest.fixture
def private() -> Iterator[Registry]:
    with Registry() as registry:
        IMAGE.push(registry.host, "acme/api", "v1")
        registry.login, registry.users = "basic", {USER: PASSWORD}
        yield registry


def _resolve(registry: Registry, home: Path, **variables: str) -> Result:
    environment: Mapping[str, str | None] = {
        "HOME": str(home),
        "DOCKER_CONFIG": None,
        "REGISTRY_AUTH_FILE": None,
        "XDG_RUNTIME_DIR": None,
        "XDG_CONFIG_HOME": None,
        **variables,
    }
    words = ["image", "resolve", f"{registry.host}/acme/api:v1"]
    return CliRunner(env=environment).invoke(lockkeeper, words)


def _written(file: Path, registry: Registry, **more: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**NOISE, "auths": {registry.host: {"auth": AUTH}}, **more}))
    return file


@pytest.mark.parametrize(
    ("place", "variable"),
    [
        (".docker/config.json", ""),
        ("elsewhere/config.json", "DOCKER_CONFIG=elsewhere"),
        (".config/containers/auth.json", ""),
        ("config/containers/auth.json", "XDG_CONFIG_HOME=config"),
        ("run/containers/auth.json", "XDG_RUNTIME_DIR=run"),
        ("named.json", "REGISTRY_AUTH_FILE=named.json"),
    ],
)
def test_a_log_in_is_found_where_the_tools_keep_it(
    private: Registry, tmp_path: Path, place: str, variable: str
) -> None:
    _written(tmp_path / place, private)
    name, _, path = variable.partition("=")

    done = _resolve(private, tmp_path, **({name: str(tmp_path / path)} if name else {}))

    assert done.output.strip() == IMAGE.digest


def test_a_log_in_for_one_repository_counts_there(private: Registry, tmp_path: Path) -> None:
    auths = {f"{private.host}/acme": {"auth": AUTH}, private.host: {"auth": "eDp5"}}
    _written(tmp_path / ".docker/config.json", private, auths=auths)

    assert _resolve(private, tmp_path).output.strip() == IMAGE.digest


def test_the_next_file_counts_where_the_first_has_no_log_in(
    private: Registry, tmp_path: Path
) -> None:
    _written(tmp_path / ".docker/config.json", private, auths={"other.example.com": {"auth": AUTH}})
    _written(tmp_path / ".config/containers/auth.json", private)

    assert _resolve(private, tmp_path).output.strip() == IMAGE.digest


def _helper(folder: Path, name: str, script: str) -> str:
    folder.mkdir(exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


@pytest.mark.parametrize("by", ["credHelpers", "credsStore"])
def test_a_helper_is_found_on_the_path(private: Registry, tmp_path: Path, by: str) -> None:
    said = json.dumps({"Username": USER, "Secret": PASSWORD})
    path = _helper(tmp_path / "bin", "pass", f"echo '{said}'")
    named = {private.host: "pass"} if by == "credHelpers" else "pass"
    _written(tmp_path / ".docker/config.json", private, auths={}, **{by: named})

    assert _resolve(private, tmp_path, PATH=path).output.strip() == IMAGE.digest


def test_a_store_that_knows_nothing_of_a_host_is_no_error(tmp_path: Path) -> None:
    path = _helper(
        tmp_path / "bin", "empty", "echo 'credentials not found in native keychain'; exit 1"
    )
    with Registry() as public:
        IMAGE.push(public.host, "acme/api", "v1")
        _written(tmp_path / ".docker/config.json", public, auths={}, credsStore="empty")

        assert _resolve(public, tmp_path, PATH=path).output.strip() == IMAGE.digest


def test_a_file_that_is_named_and_missing_is_an_error(private: Registry, tmp_path: Path) -> None:
    done = _resolve(private, tmp_path, REGISTRY_AUTH_FILE=str(tmp_path / "nowhere.json"))

    assert done.exit_code == 2
    assert "REGISTRY_AUTH_FILE names it" in done.output


def test_the_file_opens_no_other_host(private: Registry, tmp_path: Path) -> None:
    """Who has a log-in for a host has not said that this registry may send us there."""
    with Registry() as other:
        auths = {private.host: {"auth": AUTH}, other.host: {"auth": AUTH}}
        _written(tmp_path / ".docker/config.json", private, auths=auths)
        moved = world.answer(307, b"", {"Location": f"{other.url}/v2/acme/api/manifests/v1"})
        private.on("GET", "/manifests/", moved, times=99)

        done = _resolve(private, tmp_path)

        assert "is not granted" in done.output
        assert f'hint: {{"hosts": {{"{other.host}": {{}}}}}} in --registry-config' in done.output
        assert other.seen == []


def test_an_operators_grant_stays_strict() -> None:
    with pytest.raises(ConfigurationError, match="psFormat"):
        parse_registry_grant(json.dumps({"auths": {}, "psFormat": "x"}), "registry.json")


# --- storage


@pytest.mark.parametrize(
    ("registry", "host"),
    [
        ("docker.io", "production.cloudflare.docker.com"),
        ("ghcr.io", "pkg-containers.githubusercontent.com"),
        (
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
            "prod-eu-central-1-starport-layer-bucket.s3.eu-central-1.amazonaws.com",
        ),
        ("europe-docker.pkg.dev", "storage.googleapis.com"),
        ("acme.azurecr.io", "weu1.blob.core.windows.net"),
        ("quay.io", "cdn02.quay.io"),
    ],
)
def test_known_registries_have_their_storage(registry: str, host: str) -> None:
    assert any(is_like(host, pattern) for pattern in storage_of(registry))


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("*.blob.core.windows.net", "a.b.blob.core.windows.net"),
        ("*.blob.core.windows.net", "blob.core.windows.net"),
        ("*.blob.core.windows.net", "x.blob.core.windows.net.evil.example"),
        ("*.blob.core.windows.net", "x.blob.core.windows.net:8443"),
        ("cdn0*.quay.io", "cdn0.evil.quay.io"),
        ("storage.googleapis.com", "storageXgoogleapis.com"),
    ],
)
def test_a_star_stands_for_a_part_of_one_label(pattern: str, host: str) -> None:
    assert not is_like(host, pattern)


def _grant(storage: object) -> RegistryGrant:
    document = {"hosts": {"registry.example.com": {"storage": storage}}}
    return parse_registry_grant(json.dumps(document), "registry.json")


@pytest.mark.parametrize("storage", ["ecr", ["ecr"], list(PRESETS["ecr"])])
def test_a_grant_names_storage_by_preset_or_by_pattern(storage: object) -> None:
    assert _grant(storage).entries[0].storage == PRESETS["ecr"]


@pytest.mark.parametrize("storage", ["*", "*.com", "s3", "*.*", 1, None, ["ecr", "*"], {}])
def test_storage_that_is_everywhere_or_nowhere_is_refused(storage: object) -> None:
    with pytest.raises(ConfigurationError, match="storage"):
        _grant(storage)


def test_storage_gets_bytes_and_nothing_else() -> None:
    """Anybody can have a host there: it is no registry, and no place to log in at."""
    grant = _grant("*.storage.example.com")
    host = "x1.storage.example.com"

    assert grant.reachable(host) == HostGrant(host)
    assert not grant.allows_host(host)
    with pytest.raises(NotGrantedError):
        grant.entry_for_host(host)
