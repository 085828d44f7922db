"""``lockkeeper image``: resolve, copy, sign and verify one image, without the bot."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, ClassVar, Final

import click

from bot.cli.failing import failing
from bot.cli.groups import LazyGroup
from bot.cli.references import (
    FILE,
    REFERENCE,
    annotation_option,
    config_option,
    json_option,
    registry_for,
    resolved,
    show,
    signing_key,
)
from bot.domain.images import AccessoryPolicy, UnsupportedImageError
from bot.domain.oci import DigestReference, ImageReference

if TYPE_CHECKING:
    from bot.adapters.registry import Registry

_FIRST_LOOKS: Final = 2  # at a target: whether it has the image, and what its tag names


class _Image(LazyGroup):
    verbs: ClassVar[Mapping[str, tuple[str, str]]] = {
        "passport": (
            "bot.cli.passport:passport",
            (
                "Tell how an image came here: who merged and approved, from where; exit code 1 if"
                " unknown."
            ),
        ),
        "policy": (
            "bot.cli.verification:policy",
            "Print a policy that refuses images without ENVIRONMENT's signature.",
        ),
        "verify": (
            "bot.cli.verify:verify",
            (
                "Check that an image is signed, or attested, by a key or a workflow; exit code 1"
                " if not."
            ),
        ),
    }


@click.group(cls=_Image)
def image() -> None:
    """Resolve, copy, sign and verify images."""


@image.command()
@click.argument("reference", type=REFERENCE, metavar="REF")
@config_option
@json_option
def resolve(reference: ImageReference, registry_config: Path | None, *, as_json: bool) -> None:
    """Print the digest that REF names now."""
    with failing(as_json=as_json):
        found = resolved(registry_for(registry_config, reference), reference)
        show({"reference": str(reference), "digest": found.digest}, found.digest, as_json=as_json)


@image.command()
@click.argument("source", type=REFERENCE, metavar="SRC")
@click.argument("target", type=REFERENCE, metavar="DST")
@click.option("--no-referrers", is_flag=True, help="Leave signatures, attestations, SBOMs behind.")
@click.option("--move", is_flag=True, help="Let DST's tag move if it names another image.")
@config_option
@json_option
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
    if target.digest:
        raise click.UsageError("DST takes a tag or nothing; the digest is the source's")
    with failing(as_json=as_json):
        registry = registry_for(registry_config, source, target)
        _way_to(registry, source, target)
        from bot.cli.progress import shown_progress  # noqa: PLC0415 - while the ways are opened
        from bot.settings import callers_environment  # noqa: PLC0415 - the same
        from bot.signatures.copy import ensure_copied  # noqa: PLC0415 - the same

        reference = _source_of(registry, source)
        policy = None if no_referrers else AccessoryPolicy()
        title = f"copy {reference.digest.short}"
        terminal = callers_environment().get("TERM", "")
        with shown_progress(title, sys.stderr, terminal=terminal, quiet=as_json) as progress:
            report, _ = ensure_copied(
                registry,
                reference,
                target.repository,
                accessories=policy,
                progress=progress,
                tags=[target.tag] if target.tag else [],
            )
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
            "unchanged": report.unchanged,
            "bytes": {
                "moved": report.moved,
                "mounted": report.mounted,
                "present": report.present,
            },
            "accessories": list(report.accessories),
            "left_behind": [{"name": x.name, "reason": x.reason} for x in report.left_behind],
        }
        show(facts, str(report.target), as_json=as_json)


def _source_of(registry: Registry, source: ImageReference) -> DigestReference:
    """What is copied; a digest is not looked at before it is read."""
    if source.digest:
        return source.repository.at(source.digest)
    return resolved(registry, source)


def _way_to(registry: Registry, *images: ImageReference) -> None:
    """Open the ways to these images, while this process imports and asks what is next."""
    for one in images:
        way = Thread(target=registry.warm, args=(one.repository, _FIRST_LOOKS), daemon=True)
        way.start()


@image.command()
@click.argument("reference", type=REFERENCE, metavar="REF")
@click.option("--key", required=True, help="A key file of cosign, a PEM, or the URI of a key.")
@click.option("--password-file", type=FILE, help="The password, PIN or token for the key.")
@annotation_option
@config_option
@json_option
def sign(
    reference: ImageReference,
    key: str,
    password_file: Path | None,
    annotations: tuple[tuple[str, str], ...],
    registry_config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Sign an image and its platforms, in both of cosign's layouts."""
    from bot.signatures.sign import (  # noqa: PLC0415 - slow import
        REPOSITORY_ANNOTATION,
        ensure_signed,
    )

    claimed = dict(annotations).get(REPOSITORY_ANNOTATION, str(reference.repository))
    if claimed != str(reference.repository):
        raise click.UsageError(f"{REPOSITORY_ANNOTATION} is signed anyway, as it is")
    with failing(as_json=as_json):
        signer = signing_key(key, password_file)
        registry = registry_for(registry_config, reference)
        found = resolved(registry, reference)
        description = registry.describe(found)
        if description.ambiguities:
            remedy = "sign images whose platforms are beyond doubt"
            raise UnsupportedImageError(str(found), description.ambiguities[0], remedy)
        done = ensure_signed(
            registry, signer, found, reference.tag, dict(annotations), description.instances
        )
        facts = {
            "reference": str(done.reference),
            "digests": list(done.digests),
            "fingerprint": done.fingerprint,
            "written": done.written,
            "warnings": list(done.warnings),
        }
        for warning in done.warnings:
            click.echo(f"warning: {warning}", err=True)
        show(facts, f"signed {done.reference}", as_json=as_json)
