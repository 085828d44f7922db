"""``lockkeeper image passport``: the story of an image, as its attestations tell it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli.failing import FAILED, failing
from bot.cli.references import (
    FILE,
    REFERENCE,
    config_option,
    json_option,
    registry_for,
    resolved,
    secret,
    show,
)
from bot.domain.oci import ImageReference

if TYPE_CHECKING:
    from bot.signatures.promotion_attestation import AttestedPromotion


@click.command()
@click.argument("reference", type=REFERENCE, metavar="REF")
@click.option(
    "--key",
    "keys",
    type=FILE,
    required=True,
    multiple=True,
    help="An environment's public attestation key, PEM; repeatable.",
)
@config_option
@json_option
def passport(
    reference: ImageReference,
    keys: tuple[Path, ...],
    registry_config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Tell how an image came here: who merged and approved, from where; exit code 1 if unknown."""
    from bot.adapters.signing import load_public_key  # noqa: PLC0415 - slow import
    from bot.signatures.promotion_attestation import attested_promotions  # noqa: PLC0415 - slow import

    with failing(as_json=as_json):
        verifiers = [load_public_key(secret(key), str(key)) for key in keys]
        registry = registry_for(registry_config, reference)
        found = resolved(registry, reference)
        promotions = attested_promotions(registry, verifiers, found)
        facts = {"reference": str(found), "promotions": [_facts(one) for one in promotions]}
        words = [str(found), *(_words(one) for one in promotions)]
        if not promotions:
            words.append("no promotion that these keys attest")
        show(facts, "\n\n".join(words), as_json=as_json)
        if not promotions:
            raise click.exceptions.Exit(FAILED)


def _facts(found: AttestedPromotion) -> dict[str, Any]:
    story = asdict(found.statement)
    story["at"] = found.statement.at.isoformat()
    return {**story, "attested_by": found.fingerprint}


def _words(found: AttestedPromotion) -> str:
    story = found.statement
    lines = [f"{story.at:%Y-%m-%d %H:%M} UTC: promoted to {story.target.environment}"]
    if story.source:
        name = f" ({story.source.environment})" if story.source.environment else ""
        lines.append(f"from {story.source.repository}{name}")
    commit = f"commit {story.git.commit}" if story.git.commit else "an unknown commit"
    asked = f", asked for by branch {story.git.branch}" if story.git.branch else ""
    lines.append(f"built from {commit} of {story.git.repository}{asked}")
    asking = story.pull_request
    if asking:
        people = ", ".join(asking.approved_by) or "nobody"
        merged = f"merged by {asking.merged_by or 'somebody'} as {asking.merge_commit[:12]}"
        lines.append(f"{asking.repository}#{asking.number}, {merged}, approved by {people}")
    else:
        lines.append("without a pull request")
    looked = [
        f"{'verified' if e.verified else 'unverified'} {e.predicate_type}" for e in story.evidence
    ]
    lines.append("evidence: " + (", ".join(looked) or "none was evaluated"))
    lines.append(f"attested by {found.fingerprint}, Lockkeeper {story.version}")
    lines.append(f"promotion {story.promotion}, after audit entry {story.audit.sequence}")
    # Every text was signed by our key, but parts of it were written elsewhere.
    return "\n  ".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)
