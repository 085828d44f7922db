"""``lockkeeper image``: resolve, copy, sign and verify one image, without the bot.

Hosts in the arguments count as granted; loopback hosts are spoken to in plain HTTP. Everything
else about registries comes from ``--registry-config``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli.failing import FAILED, failing
from bot.domain.errors import ConfigurationError, NotFoundError
from bot.domain.grants import HostGrant, RegistryGrant, is_loopback
from bot.domain.images import AccessoryPolicy, UnsupportedImageError
from bot.domain.oci import DigestReference, ImageReference, InvalidNameError

if TYPE_CHECKING:
    from bot.adapters.registry import Registry

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


_REFERENCE = _ReferenceType()
_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_config_option = click.option(
    "--registry-config",
    type=_file,
    help="Credentials and permissions per host, in the form of docker's config.json.",
)
_annotation_option = click.option(
    "-a",
    "--annotation",
    "annotations",
    type=_AnnotationType(),
    multiple=True,
    help="An annotation that is signed along, or demanded; repeatable.",
)


@click.group()
def image() -> None:
    """Resolve, copy, sign and verify images."""


@image.command()
@click.argument("reference", type=_REFERENCE, metavar="REF")
@_config_option
@_json_option
def resolve(reference: ImageReference, registry_config: Path | None, *, as_json: bool) -> None:
    """Print the digest that REF names now."""
    with failing(as_json=as_json):
        found = _resolved(_registry(registry_config, reference), reference)
        _print({"reference": str(reference), "digest": found.digest}, found.digest, as_json=as_json)


@image.command()
@click.argument("source", type=_REFERENCE, metavar="SRC")
@click.argument("target", type=_REFERENCE, metavar="DST")
@click.option("--no-referrers", is_flag=True, help="Leave signatures, attestations, SBOMs behind.")
@click.option("--move", is_flag=True, help="Let DST's tag move if it names another image.")
@_config_option
@_json_option
def copy(
    source: ImageReference,
    target: ImageReference,
    registry_config: Path | None,
    *,
    no_referrers: bool,
    move: bool,
    as_json: bool,
) -> None:
    """Copy an image by digest, with every platform; DST's tag is set last."""
    from rich.console import Console  # noqa: PLC0415 - slow import

    from bot.cli.progress import shown_progress  # noqa: PLC0415 - slow import

    if target.digest:
        raise click.UsageError("DST takes a tag or nothing; the digest is the source's")
    with failing(as_json=as_json):
        registry = _registry(registry_config, source, target)
        reference = _resolved(registry, source)
        policy = None if no_referrers else AccessoryPolicy()
        title = f"copy {reference.digest.short}"
        with shown_progress(title, Console(stderr=True), quiet=as_json) as progress:
            report = registry.copy(
                reference, target.repository, accessories=policy, progress=progress
            )
        registry.read_back(report.target)
        outcome = registry.tag(report.target, target.tag, move=move).value if target.tag else None
        for left in report.left_behind:
            click.echo(f"left behind: {left.name}: {left.reason}", err=True)
        facts = {
            "source": str(report.source),
            "target": str(report.target),
            "digest": report.target.digest,
            "tag": target.tag,
            "tag_outcome": outcome,
            "manifests": list(report.manifests),
            "bytes": {
                "moved": report.moved,
                "mounted": report.mounted,
                "present": report.present,
            },
            "accessories": list(report.accessories),
            "left_behind": [{"name": x.name, "reason": x.reason} for x in report.left_behind],
        }
        _print(facts, str(report.target), as_json=as_json)


@image.command()
@click.argument("reference", type=_REFERENCE, metavar="REF")
@click.option("--key", type=_file, required=True, help="A key file of cosign, or a PEM.")
@click.option("--password-file", type=_file, help="The password of the key file.")
@_annotation_option
@_config_option
@_json_option
def sign(
    reference: ImageReference,
    key: Path,
    password_file: Path | None,
    annotations: tuple[tuple[str, str], ...],
    registry_config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Sign an image and its platforms, in both of cosign's layouts."""
    from bot.adapters.signing import load_signing_key  # noqa: PLC0415 - slow import
    from bot.usecases.sign_image import ensure_signed  # noqa: PLC0415 - slow import

    with failing(as_json=as_json):
        signer = load_signing_key(_secret(key), str(key), _password(password_file))
        registry = _registry(registry_config, reference)
        found = _resolved(registry, reference)
        description = registry.describe(found)
        if description.ambiguities:
            remedy = "sign images whose platforms are beyond doubt"
            raise UnsupportedImageError(str(found), description.ambiguities[0], remedy)
        platforms = [platform.digest for platform in description.platforms]
        children = [digest for digest in platforms if digest != found.digest]
        done = ensure_signed(registry, signer, found, reference.tag, dict(annotations), children)
        facts = {
            "reference": str(done.reference),
            "digests": list(done.digests),
            "fingerprint": done.fingerprint,
            "written": done.written,
        }
        _print(facts, f"signed {done.reference}", as_json=as_json)


@image.command()
@click.argument("reference", type=_REFERENCE, metavar="REF")
@click.option("--key", type=_file, required=True, help="A public key in PEM: cosign.pub.")
@_annotation_option
@_config_option
@_json_option
def verify(
    reference: ImageReference,
    key: Path,
    annotations: tuple[tuple[str, str], ...],
    registry_config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Check that an image is signed with a key; exit code 1 if it is not."""
    from bot.adapters.signing import load_public_key  # noqa: PLC0415 - slow import
    from bot.usecases.sign_image import verify_image  # noqa: PLC0415 - slow import

    with failing(as_json=as_json):
        public = load_public_key(_secret(key), str(key))
        registry = _registry(registry_config, reference)
        found = _resolved(registry, reference)
        result = verify_image(registry, [public], found, dict(annotations))
        facts = {
            "reference": str(found),
            "verified": result.verified,
            "tag_layout": result.tag_layout,
            "bundle_layout": result.bundle_layout,
            "reasons": list(result.reasons),
        }
        said = "verified" if result.verified else "not signed with this key"
        _print(facts, f"{said}: {found}", as_json=as_json)
        if not result.verified:
            for reason in result.reasons:
                click.echo(reason, err=True)
            raise click.exceptions.Exit(FAILED)


def _registry(config: Path | None, *references: ImageReference) -> Registry:
    from bot.adapters.clock import SystemClock, pause  # noqa: PLC0415 - with the registry
    from bot.adapters.registry import Registry  # noqa: PLC0415 - slow import

    return Registry(_grant(config, references), clock=SystemClock(), sleep=pause)


def _grant(config: Path | None, references: tuple[ImageReference, ...]) -> RegistryGrant:
    """The configuration's hosts, and those of the arguments: who types a host grants it."""
    from bot.formats.docker_config import parse_registry_grant  # noqa: PLC0415 - only if needed

    name = "the command line"
    entries: tuple[HostGrant, ...] = ()
    if config:
        grant = parse_registry_grant(config.read_text(encoding="utf-8"), str(config))
        name, entries = grant.name, grant.entries
    typed = RegistryGrant(name, entries)
    hosts = dict.fromkeys(reference.repository.host for reference in references)
    added = tuple(
        HostGrant(host, plain_http=is_loopback(host), private_addresses=True)
        for host in hosts
        if not typed.allows_host(host)
    )
    return RegistryGrant(name, (*entries, *added))


def _resolved(registry: Registry, reference: ImageReference) -> DigestReference:
    repository = reference.repository
    if reference.digest:
        found = repository.at(reference.digest)
        if not registry.exists(found):
            raise NotFoundError(f"image {reference.digest}", str(repository))
        return found
    if not reference.tag:
        raise click.UsageError(f"{reference} has neither a tag nor a digest")
    digest = registry.resolve(repository.tagged(reference.tag))
    if digest is None:
        raise NotFoundError(f"tag {reference.tag}", str(repository))
    return repository.at(digest)


def _password(file: Path | None) -> bytes:
    """The password of the key file; without a file the empty one."""
    return _secret(file).rstrip(b"\r\n") if file else b""


def _secret(file: Path) -> bytes:
    content = file.read_bytes()
    if len(content) > _SECRET_LIMIT:
        raise ConfigurationError(str(file), None, f"larger than {_SECRET_LIMIT} bytes")
    return content


def _print(facts: dict[str, Any], text: str, *, as_json: bool) -> None:
    click.echo(json.dumps(facts, indent=2) if as_json else text)
