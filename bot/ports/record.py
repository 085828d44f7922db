"""The few facts that no other system records."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot.domain.environments import ImageId
from bot.domain.memory import (
    Adoption,
    Asked,
    AuditEntry,
    Command,
    Hold,
    HoldKind,
    KnownSource,
    PublicationRecord,
    Resolution,
    RulesAccepted,
    Scope,
    Seal,
    SeenHead,
    Shown,
    ToldFailure,
    WrittenHead,
)
from bot.domain.metrics import PublishedChange
from bot.domain.oci import Digest


class Memory(Protocol):
    """The facts of `bot.domain.memory`; every record is an idempotent "ensure".

    Resolutions, publications, rules, adoptions, seals and heads of ours are what this bot recorded,
    there and so; what anybody else wrote into a database is not among them.
    """

    def seen_heads(self, source: str) -> Mapping[str, SeenHead]:
        """Branch name -> head, of one source repository; empty if it was never looked at."""
        ...

    def record_seen(self, heads: Sequence[SeenHead]) -> None:
        """Replace what is known of these branches; one that is followed stays so.

        The first look at a source and the webhook of its first push may run side by side.
        """
        ...

    def known_source(self, manifests: int, source: str) -> KnownSource | None:
        """Which repository this name of a source means to a manifests repository."""
        ...

    def record_source(self, known: KnownSource) -> None:
        """Let the name mean this repository, whatever it meant before."""
        ...

    def resolution(self, manifests: int, application: str, commit: str) -> Resolution | None:
        """The recorded digests of (application, commit)."""
        ...

    def resolution_of(
        self, manifests: int, application: str, image: str, digest: Digest
    ) -> Resolution | None:
        """The newest record that holds this digest for this image."""
        ...

    def known_digests(
        self, manifests: int, digests: Collection[Digest]
    ) -> Mapping[Digest, ImageId]:
        """Those of the digests that were resolved for an image, with that image."""
        ...

    def record_resolution(self, resolution: Resolution) -> Resolution:
        """Record the first resolution; return what is recorded (the first one wins)."""
        ...

    def latest_publications(self, scope: Scope) -> Iterator[PublicationRecord]:
        """Publications of (manifests, environment), newest first, read as they are asked for."""
        ...

    def publication_of(self, scope: Scope, commit: str) -> PublicationRecord | None:
        """The newest record of (manifests, environment) about a commit; None: it is not ours."""
        ...

    def published_among(
        self, scope: Scope, commits: Collection[str]
    ) -> Sequence[PublicationRecord]:
        """The records of (manifests, environment) about some of these commits, oldest first."""
        ...

    def published(self, manifests: int, tips: Mapping[str, str]) -> Collection[str]:
        """Those of these refs whose tip is ours there, made or taken over; ref -> commit."""
        ...

    def last_publication(self, manifests: int, environment: str = "") -> PublicationRecord | None:
        """The newest publication in a manifests repository, or in one of its environments."""
        ...

    def record_publication(self, publication: PublicationRecord) -> None:
        """Remember a publication; called before its ref moves."""
        ...

    def record_shown(self, scope: Scope, commit: str, images: Shown, at: datetime) -> None:
        """Remember which digests a publication of an environment brings; each once."""
        ...

    def shown_by(self, scope: Scope, image: ImageId, digest: Digest) -> Sequence[str]:
        """Publications that brought the image by this digest, newest first: where to look."""
        ...

    def accepted_rules(self, manifests: int) -> Sequence[RulesAccepted]:
        """The rules that came into force in a manifests repository, oldest first."""
        ...

    def record_rules(self, rules: RulesAccepted) -> None:
        """Remember that rules came into force; the first record of a commit stays."""
        ...

    def owner_of(self, manifests: int, ref: str) -> str:
        """The environment that published on a ref last; empty: none did."""
        ...

    def adoptions(self, scope: Scope) -> Sequence[Adoption]:
        """What was adopted in (manifests, environment)."""
        ...

    def record_adoption(self, adoption: Adoption) -> None:
        """Remember an adoption."""
        ...

    def holds(self, scope: Scope) -> Sequence[Hold]:
        """The holds that stop (manifests, environment): its own and its applications'."""
        ...

    def record_hold(self, hold: Hold) -> None:
        """Stop; a second hold of the same scope, kind and giver replaces the first."""
        ...

    def release_hold(self, scope: Scope, kind: HoldKind, actor: str = "") -> bool:
        """End holds of exactly this scope and kind, of one giver or of all; False: none."""
        ...

    def seals(self, scope: Scope, digest: Digest | None = None) -> Sequence[Seal]:
        """What was sealed for (manifests, environment), narrowed to what else is given."""
        ...

    def record_seal(self, seal: Seal) -> None:
        """Remember a seal; the first record of (scope, image, repository, digest) stays."""
        ...

    def told_failures(self, job: str) -> Sequence[ToldFailure]:
        """Where people were told that the job of this key failed, and not yet that it is over."""
        ...

    def record_told_failures(self, failures: Sequence[ToldFailure]) -> None:
        """Remember where people are told; called before they are."""
        ...

    def forget_told_failures(self, job: str) -> None:
        """Everybody was told that it is over."""
        ...

    def latest_heads(self, scope: Scope) -> Iterator[WrittenHead]:
        """What `written_heads` tells, newest first, read as it is asked for."""
        ...

    def heads_of(self, scope: Scope, source: str) -> Sequence[WrittenHead]:
        """Those of an application in an environment that propose a source commit, oldest first."""
        ...

    def heads_at(self, manifests: int, commit: str) -> Sequence[WrittenHead]:
        """What a commit of ours asks for, an entry for each application; empty: it is not ours."""
        ...

    def asked(self, scope: Scope) -> Sequence[Asked]:
        """What was asked for by command in this scope, oldest first."""
        ...

    def record_asked(self, asked: Asked) -> None:
        """Remember that somebody asked; the first record of a key stays."""
        ...

    def shown_commits(self, scope: Scope) -> Sequence[str]:
        """Publications that brought something of this application there, newest first."""
        ...

    def written_heads(self, scope: Scope) -> Sequence[WrittenHead]:
        """The commits that Lockkeeper wrote for this scope, oldest first."""
        ...

    def record_written_head(self, head: WrittenHead) -> None:
        """Remember a commit of ours; called before its branch moves."""
        ...


class Audit(Protocol):
    """The chained record of what was done; written in the same transaction as its memory."""

    def append(self, kind: str, scope: Scope, facts: Mapping[str, str], *, once: str = "") -> None:
        """Add an entry; with ``once`` a second entry of that identity is not added."""
        ...

    def has(self, once: str) -> bool:
        """Whether an entry of that identity was added."""
        ...

    def head(self) -> tuple[int, str]:
        """Sequence and hash of the newest entry; (0, "") before the first."""
        ...

    def entries(self, after: int = 0) -> Sequence[AuditEntry]:
        """Entries with a larger sequence, at most 1,000, in order."""
        ...


class Commands(Protocol):
    """Rows through which the command line talks to the running bot."""

    def submit(self, verb: str, arguments: Sequence[str], actor: str) -> int:
        """Leave a command; returns its row."""
        ...

    def open(self) -> Sequence[Command]:
        """Commands that have no answer yet, oldest first."""
        ...

    def begin(self, command: int) -> bool:
        """Take a command up: from now on it cannot be withdrawn; False if there is none to do."""
        ...

    def withdraw(self, command: int, answer: str) -> bool:
        """Answer (JSON) a command that nobody has begun; False if it was begun or answered."""
        ...

    def answer(self, command: int, answer: str, *, failed: bool) -> None:
        """Answer a command (JSON); the first answer stays."""
        ...

    def get(self, command: int) -> Command | None:
        """One command."""
        ...


@dataclass(frozen=True, slots=True)
class StoredEvaluation:
    """What the newest evaluation of a promotion found."""

    promotion: str
    """Its id: `bot.domain.promotion.promotion_id`."""
    environment: str
    application: str
    at: datetime
    """UTC."""
    verdict: str
    """`bot.domain.policy.Shown`; ``waits`` before there was any."""
    document: bytes
    """`bot.formats.assessment_document`, at most its limit."""


class Evaluations(Protocol):
    """What was found for each promotion; shown to people, never believed by a decision."""

    def record(self, evaluation: StoredEvaluation) -> None:
        """Keep it in place of the one before."""
        ...

    def evaluation(self, promotion: str) -> StoredEvaluation | None:
        """The newest one; None if there is none.

        Raises IntegrityError if what is kept cannot be read.
        """
        ...


class Chronicle(Protocol):
    """What publications changed, as the record tells it: for figures, never for a decision."""

    def changes(self, scope: Scope, commit: str) -> Sequence[PublishedChange]:
        """The applications that a publication of an environment changed; none: it is not ours."""
        ...
