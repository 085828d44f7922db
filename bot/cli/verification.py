"""``lockkeeper image policy``: what a cluster or a host must be told to refuse unsealed images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bot.cli.completion import environment_names
from bot.cli.failing import failing
from bot.cli.references import FILE, secret
from bot.domain.environments import GitHubRepository
from bot.domain.errors import NotFoundError, NotGrantedError

if TYPE_CHECKING:
    from bot.formats.verification_policy import Images

VERIFIERS: Final = (
    "kyverno",
    "kyverno-image-validating",
    "policy-controller",
    "podman",
    "podman-registries",
)
"""`bot.formats.verification_policy.VERIFIERS`, without the slow import."""


@click.command()
@click.option(
    "--for", "verifier", type=click.Choice(VERIFIERS), required=True, help="Who reads it."
)
@click.argument("environment", required=False, default="", shell_complete=environment_names)
@click.option("--manifests", help="Whose ENVIRONMENT, where there are several: OWNER/NAME.")
@click.option("--config", type=FILE, help="The pipeline file: ENVIRONMENT's image repositories.")
@click.option("--key", "keys", type=FILE, multiple=True, help="A public key, in place of a grant.")
@click.option(
    "--repository",
    "repositories",
    multiple=True,
    help="An image repository, or PATH/* for all below it; repeatable.",
)
def policy(
    verifier: str,
    environment: str,
    manifests: str | None,
    config: Path | None,
    keys: tuple[Path, ...],
    repositories: tuple[str, ...],
) -> None:
    """Print a policy that refuses images without ENVIRONMENT's signature."""
    from bot.formats.verification_policy import (  # noqa: PLC0415 - slow import
        Images,
        SealPolicy,
        render_policy,
    )

    if not environment and not keys:
        raise click.UsageError("name an ENVIRONMENT, or its public keys with --key")
    if not repositories and not (config and environment):
        raise click.UsageError("name --repository, or ENVIRONMENT and its pipeline file --config")
    with failing(as_json=False):
        images = [Images.parse(one) for one in repositories]
        if config and environment:
            images += _images(config, environment)
        public = _given(keys) if keys else _granted(environment, manifests)
        click.echo(render_policy(verifier, SealPolicy(environment, images, public)), nl=False)


def _given(keys: tuple[Path, ...]) -> list[bytes]:
    from bot.adapters.signing import load_public_key  # noqa: PLC0415 - slow import

    return [load_public_key(secret(key), str(key)).public_key_pem for key in keys]


def _granted(environment: str, manifests: str | None) -> list[bytes]:
    """The public halves of every key that signs, or has signed, for the environment."""
    from bot.assembly import granted  # noqa: PLC0415 - slow import
    from bot.domain.grants import KeyRole  # noqa: PLC0415 - with the assembly
    from bot.settings import Settings  # noqa: PLC0415 - with the assembly

    settings = Settings.from_process()
    known = settings.required_manifests()
    if manifests is None and len(known) > 1:
        raise click.UsageError(f"name --manifests: one of {', '.join(known)}")
    repository = GitHubRepository.parse(manifests or known[0])
    ring = granted(settings.grants_dir, known).keys(repository, environment, KeyRole.SIGNING)
    if not ring.verifiers:
        raise NotGrantedError("a signing key", f"the grant of environment {environment}")
    return [key.public_key_pem for key in ring.verifiers]


def _images(config: Path, environment: str) -> list[Images]:
    from bot.formats.pipeline_file import read_pipeline  # noqa: PLC0415 - slow import
    from bot.formats.verification_policy import Images  # noqa: PLC0415 - slow import

    pipeline = read_pipeline(config.read_text(encoding="utf-8"), file=str(config))
    found = pipeline.environments.get(environment)
    if found is None:
        raise NotFoundError(f"environment {environment}", str(config))
    names = {
        str(found.repository_of(application, image.name))
        for application in pipeline.applications.values()
        for image in application.images
    }
    return [Images(name, below=False) for name in sorted(names)]
