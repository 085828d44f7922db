"""What ``lockkeeper image`` verbs share: how images are named, and which hosts may be asked.

Hosts in the arguments count as granted; loopback hosts are spoken to in plain HTTP. Everything
else about registries comes from ``--registry-config``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.domain.errors import ConfigurationError, NotFoundError
from bot.domain.grants import HostGrant, RegistryGrant, is_loopback
from bot.domain.images import Presence
from bot.domain.oci import (
    DigestReference,
    ImageReference,
    ImageRepository,
    InvalidNameError,
    canonical_host,
)
from bot.domain.registry_storage import storage_of

if TYPE_CHECKING:
    from bot.adapters.registry import Registry
    from bot.adapters.signing import RemoteKey, SigningKey

_SECRET_LIMIT = 64 * 1024  # bytes of a key or password file


class _ReferenceType(click.ParamType[ImageReference]):
    name = "reference"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> ImageReference:
        """``host/path[:tag][@digest]``."""
        if isinstance(value, ImageReference):
            return value
        try:
            return ImageReference.parse(str(value))
        except InvalidNameError as error:
            self.fail(str(error), param, ctx)


class _AnnotationType(click.ParamType[tuple[str, str]]):
    name = "key=value"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """A name and a text with a sign between them."""
        name, sign, text = str(value).partition("=")
        if not name or not sign:
            self.fail(f"{value!r} is not key=value", param, ctx)
        return name, text


REFERENCE = _ReferenceType()
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
config_option = click.option(
    "--registry-config",
    type=FILE,
    help="Credentials and permissions per host: a config.json of docker's. Default: docker's own"
    " ($DOCKER_CONFIG) and podman's ($REGISTRY_AUTH_FILE).",
)

annotation_option = click.option(
    "-a",
    "--annotation",
    "annotations",
    type=_AnnotationType(),
    multiple=True,
    help="An annotation that is signed along, or demanded; repeatable.",
)


def registry_for(config: Path | None, *references: ImageReference) -> Registry:
    """A client that may reach the hosts of the references and of the configuration."""
    from bot.adapters.clock import SystemClock, pause  # noqa: PLC0415 - with the registry
    from bot.adapters.registry import Registry  # noqa: PLC0415 - slow import
    from bot.adapters.registry.limits import LONGEST_PAUSE  # noqa: PLC0415 - with the registry

    # Nobody comes back to it later: what a registry asks for (Retry-After) is waited for here.
    grant = _grant(config, references)
    return Registry(grant, clock=SystemClock(), sleep=pause, silence=LONGEST_PAUSE)


def _grant(config: Path | None, references: tuple[ImageReference, ...]) -> RegistryGrant:
    """The hosts of the arguments, for who types a host grants it, and those of the file.

    Without a file the log-ins are docker's and podman's own, for what was typed and nothing else.
    """
    from bot.cli.docker_logins import (  # noqa: PLC0415 - only if needed
        logins_of,
        read_logins,
    )
    from bot.settings import callers_environment  # noqa: PLC0415 - only if needed

    repositories = [reference.repository for reference in references]
    if config:
        grant = read_logins(config, repositories)
        name, entries = grant.name, grant.entries
    else:
        files, entries = logins_of(repositories, callers_environment())
        name = files or "the command line"
    typed = RegistryGrant(name, entries)
    added = tuple(
        HostGrant(
            canonical_host(host),
            plain_http=is_loopback(host),
            private_addresses=True,
            storage=storage_of(host),
        )
        for host in dict.fromkeys(one.host for one in repositories)
        if not typed.allows_host(host) or not all(_covered(typed, one) for one in repositories)
    )
    return RegistryGrant(name, (*entries, *added))


def _covered(grant: RegistryGrant, repository: ImageRepository) -> bool:
    return any(entry.covers(repository) for entry in grant.entries)


def resolved(registry: Registry, reference: ImageReference) -> DigestReference:
    """The digest that is meant; NotFoundError if it is not there."""
    repository = reference.repository
    if reference.digest:
        found = repository.at(reference.digest)
        if registry.exists(found) is Presence.MISSING:
            raise NotFoundError(f"image {reference.digest}", str(repository))
        return found
    if not reference.tag:
        raise click.UsageError(f"{reference} has neither a tag nor a digest")
    digest = registry.resolve(repository.tagged(reference.tag))
    if digest is None:
        raise NotFoundError(f"tag {reference.tag}", str(repository))
    return repository.at(digest)


def password(file: Path | None) -> bytes:
    """The password of the key file; without a file the empty one."""
    return secret(file).rstrip(b"\r\n") if file else b""


def secret(file: Path) -> bytes:
    """A key or password file."""
    content = file.read_bytes()
    if len(content) > _SECRET_LIMIT:
        raise ConfigurationError(str(file), None, f"larger than {_SECRET_LIMIT} bytes")
    return content


def show(facts: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print facts for programs, or words for people."""
    click.echo(json.dumps(facts, indent=2) if as_json else text)


def signing_key(key: str, password_file: Path | None) -> SigningKey | RemoteKey:
    """The key that a file holds or a URI names."""
    from bot.adapters.signing import is_key_uri, load_key  # noqa: PLC0415 - slow import

    if is_key_uri(key):
        return load_key(key.encode(), "--key", password(password_file))
    file = Path(key)
    if not file.is_file():
        raise click.BadParameter("no such file, and no URI of a key", param_hint="'--key'")
    return load_key(secret(file), key, password(password_file))
