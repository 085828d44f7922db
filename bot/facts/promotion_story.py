"""What is attested of a promotion: who, from where, by which pull request, on what evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bot.domain.authority import Authorised
from bot.domain.environments import Application, Environment, Image, image_tag
from bot.domain.oci import Digest
from bot.facts.granted import source_repository
from bot.facts.snapshot import View
from bot.formats.promotion_statement import (
    AuditHead,
    EvidenceEntry,
    MergedPullRequest,
    PromotionStatement,
    SourceCommit,
    Standing,
)

BUILDER: Final = "https://lockkeeper.dev/lockkeeper"


@dataclass(frozen=True, slots=True)
class Promoted:
    """One digest on its way into an environment, as the delivery knows it."""

    application: Application
    image: Image
    digest: Digest
    commit: str
    """Its source commit; empty if nobody knows."""
    branch: str
    """The branch that asked."""
    merge: str
    """The merge of the manifests repository that brought it."""
    tag: str
    """Its immutable tag in the target; empty where there is none."""


def promotion_id(view: View, environment: Environment, application: str, merge: str) -> str:
    """Names one promotion for ever: the same digest promoted again is another one."""
    return f"{view.id}/{environment.name}/{application}/{merge}"


def promotion_story(
    view: View,
    environment: Environment,
    promoted: Promoted,
    authorised: Authorised,
    evidence: Sequence[EvidenceEntry] = (),
) -> PromotionStatement:
    """The statement about one promotion, as of now."""
    application, image = promoted.application, promoted.image.name
    sequence, head = view.ports.audit.head()
    return PromotionStatement(
        digest=promoted.digest,
        promotion=promotion_id(view, environment, application.name, promoted.merge),
        source=_source(view, environment, promoted),
        target=Standing(
            str(environment.repository_of(application, image)), environment.name, promoted.tag
        ),
        git=SourceCommit(str(application.source), promoted.commit, promoted.branch),
        pull_request=_pull_request(view, promoted.merge, authorised),
        evidence=tuple(evidence),
        builder=BUILDER,
        version=view.ports.version,
        at=view.ports.clock.now(),
        audit=AuditHead(sequence, head),
    )


def _source(view: View, environment: Environment, promoted: Promoted) -> Standing | None:
    application, image = promoted.application, promoted.image
    found = source_repository(view.pipeline, environment, application, image.name)
    if found is None:
        return None
    name = environment.source_environment or ""
    is_pushed = not name or view.environment(name).is_entry
    tag = image_tag(application, image, promoted.commit) if is_pushed and promoted.commit else ""
    return Standing(str(found), name, tag)


def _pull_request(view: View, merge: str, authorised: Authorised) -> MergedPullRequest | None:
    if not authorised.pull_request:
        return None
    return MergedPullRequest(
        repository=str(view.repository),
        number=authorised.pull_request,
        merge_commit=merge,
        merged_by=authorised.merged_by,
        approved_by=authorised.approved_by,
    )
