"""``lockkeeper image verify``: whether somebody who counts signed, or attested, an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli.failing import FAILED, failing
from bot.cli.references import (
    FILE,
    REFERENCE,
    annotation_option,
    config_option,
    json_option,
    registry_for,
    resolved,
    secret,
    show,
)
from bot.domain.oci import DigestReference, ImageReference
from bot.domain.trust import GITHUB_ACTIONS, BuiltFrom, IdentityRoot, KeyRoot, Root

if TYPE_CHECKING:
    from bot.adapters.registry import Registry
    from bot.signatures.verify import Trust


@click.command()
@click.argument("reference", type=REFERENCE, metavar="REF")
@click.option("--key", type=FILE, help="A public key in PEM: cosign.pub.")
@click.option("--repository", help="Instead: the repository whose workflow signed, OWNER/NAME.")
@click.option("--repository-id", type=int, help="Its number, which nobody can take over.")
@click.option("--ref", default="main", show_default=True, help="The ref that it ran on, or a glob.")
@click.option("--commit", help="The commit that it ran on.")
@click.option("--workflow", default="", help="Its path: .github/workflows/release.yml.")
@click.option("--issuer", default=GITHUB_ACTIONS, show_default=True, help="Of its token.")
@click.option("--github-hosted", is_flag=True, help="Only a runner of GitHub's own counts.")
@click.option("--trusted-root", type=FILE, help="Of an own sigstore: trusted_root.json.")
@click.option(
    "--any-repository",
    is_flag=True,
    help="With --key: a signature that was made for another repository, or that names none, counts"
    " too. Whoever may write to this one can then bring a signature from there.",
)
@click.option("--type", "predicate_type", help="Look for a statement of this type instead.")
@annotation_option
@config_option
@json_option
def verify(
    reference: ImageReference,
    key: Path | None,
    repository: str | None,
    repository_id: int | None,
    ref: str,
    commit: str | None,
    workflow: str,
    issuer: str,
    trusted_root: Path | None,
    predicate_type: str | None,
    annotations: tuple[tuple[str, str], ...],
    registry_config: Path | None,
    *,
    any_repository: bool,
    github_hosted: bool,
    as_json: bool,
) -> None:
    """Check that an image is signed, or attested, by a key or a workflow; exit code 1 if not."""
    if (key is None) == (repository is None):
        raise click.UsageError("name either --key or --repository")
    if annotations and (predicate_type or key is None):
        raise click.UsageError("--annotation goes with --key, without --type")
    if any_repository and (predicate_type or key is None):
        raise click.UsageError("--any-repository goes with --key, without --type")
    if repository is not None and repository_id is None:
        raise click.UsageError("name --repository-id: GET /repos/OWNER/NAME tells it")
    with failing(as_json=as_json):
        registry = registry_for(registry_config, reference)
        found = resolved(registry, reference)
        if key is not None and predicate_type is None:
            demanded = _Demanded(dict(annotations), any_repository=any_repository)
            _verify_signed(registry, found, key, demanded, as_json=as_json)
            return
        root: Root
        if key is not None:
            root, trust = _by_key(key)
        else:
            built = BuiltFrom(repository or "", repository_id or 0, commit or "", (), issuer=issuer)
            root = IdentityRoot(workflow=workflow, ref=ref, hosted=github_hosted)
            trust = _by_identity(built, trusted_root)
        asked = _Asked(registry, found, root, trust, of_commit=commit is not None)
        if predicate_type is None:
            asked.for_signature(as_json=as_json)
        else:
            asked.for_statements(predicate_type, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Demanded:
    """What has to be signed along."""

    annotations: dict[str, str]
    any_repository: bool


def _verify_signed(
    registry: Registry, found: DigestReference, key: Path, demanded: _Demanded, *, as_json: bool
) -> None:
    from bot.adapters.signing import load_public_key  # noqa: PLC0415 - slow import
    from bot.signatures.sign import verify_image  # noqa: PLC0415 - slow import

    public = load_public_key(secret(key), str(key))
    result = verify_image(
        registry,
        [public],
        found,
        demanded.annotations,
        any_repository=demanded.any_repository,
    )
    facts = {
        "reference": str(found),
        "verified": result.verified,
        "tag_layout": result.tag_layout,
        "bundle_layout": result.bundle_layout,
        "reasons": list(result.reasons),
    }
    said = "verified" if result.verified else "not signed with this key"
    show(facts, f"{said}: {found}", as_json=as_json)
    _end(verified=result.verified, reasons=result.reasons)


def _by_key(key: Path) -> tuple[KeyRoot, Trust]:
    from bot.adapters.signing import load_public_key  # noqa: PLC0415 - slow import
    from bot.signatures.verify import Trust  # noqa: PLC0415 - slow import

    public = load_public_key(secret(key), str(key))
    return KeyRoot(str(key)), Trust(None, {str(key): [public]})


def _by_identity(built: BuiltFrom, trusted_root: Path | None) -> Trust:
    from bot.adapters.signing.keyless import KeylessVerifier  # noqa: PLC0415 - slow import
    from bot.signatures.verify import Trust  # noqa: PLC0415 - slow import

    return Trust(built, certificates=KeylessVerifier(trusted_root))


@dataclass(frozen=True, slots=True)
class _Asked:
    """Whose word is wanted on which image."""

    registry: Registry
    reference: DigestReference
    root: Root
    trust: Trust
    of_commit: bool

    def for_signature(self, *, as_json: bool) -> None:
        from bot.signatures.verify import (  # noqa: PLC0415 - slow import
            NotVouched,
            Vouched,
            signature_vouching,
        )

        roots = [self.root]
        found = signature_vouching(
            self.registry, self.reference, roots, self.trust, of_commit=self.of_commit
        )
        reasons = [found.reason] if isinstance(found, NotVouched) else []
        verified = isinstance(found, Vouched)
        facts: dict[str, Any] = {
            "reference": str(self.reference),
            "verified": verified,
            "by": found.by if isinstance(found, Vouched) else None,
            "reasons": reasons,
        }
        said = f"verified, by {found.by}" if isinstance(found, Vouched) else "not signed by it"
        show(facts, f"{said}: {self.reference}", as_json=as_json)
        _end(verified=verified, reasons=reasons)

    def for_statements(self, predicate_type: str, *, as_json: bool) -> None:
        from bot.signatures.verify import statements  # noqa: PLC0415 - slow import

        found = statements(
            self.registry,
            self.reference,
            [self.root],
            self.trust,
            predicate_type,
            of_commit=self.of_commit,
        )
        reasons = [one.reason for one in found.refused]
        facts = {
            "reference": str(self.reference),
            "verified": bool(found.verified),
            "predicate_types": sorted({one.predicate_type for one in found.verified}),
            "statements": len(found.verified),
            "by": sorted({one.by for one in found.verified}),
            "reasons": reasons,
        }
        said = "verified" if found.verified else f"not attested by {self.root}"
        show(facts, f"{said}: {self.reference}", as_json=as_json)
        _end(verified=bool(found.verified), reasons=reasons)


def _end(*, verified: bool, reasons: Sequence[str]) -> None:
    """Exit code 1, and why, where it is not verified."""
    if not verified:
        for reason in reasons:
            click.echo(reason, err=True)
        raise click.exceptions.Exit(FAILED)
