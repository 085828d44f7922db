"""`bot.ports.record.Memory` on the tables of `bot.adapters.store.schema`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from bot.adapters.store.database import ensure, replace, text_of, transaction
from bot.adapters.store.proofs import Proofs, images_of
from bot.adapters.store.schema import (
    ADOPTION,
    ASKED,
    HOLD,
    PUBLICATION,
    RESOLUTION,
    RESOLVED_IMAGE,
    RULES,
    SEAL,
    SEEN_HEAD,
    SHOWN,
    SOURCE,
    TOLD_FAILURE,
    WRITTEN_HEAD,
)
from bot.domain.environments import GitHubRepository, ImageId
from bot.domain.memory import (
    Adoption,
    Asked,
    AskKind,
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
from bot.domain.oci import Digest

Row = sa.Row[tuple[object, ...]]

_AT_ONCE = 500  # values of one query; databases bear a few thousand
_PAGE = 50  # rows that are read behind the newest one


@dataclass(frozen=True, slots=True)
class MemoryStore:
    """The memory in one database; every method raises UnavailableError without an answer."""

    database: sa.Engine
    proofs: Proofs
    """What authorises something is believed with a proof alone."""

    def names(self) -> tuple[Sequence[str], Sequence[str]]:
        """Environments and applications that were ever proposed, published or held."""
        environments = self._texts(t.c.environment for t in (WRITTEN_HEAD, PUBLICATION, HOLD))
        return environments, self._texts(t.c.application for t in (WRITTEN_HEAD, RESOLUTION))

    def is_known_source(self, name: str) -> bool:
        """Whether a source repository was ever looked at, so granted; however it is spelt."""
        query = sa.select(SEEN_HEAD.c.source).where(
            sa.func.lower(SEEN_HEAD.c.source) == name.lower()
        )
        return bool(self._rows(query.limit(1)))

    # --- source branches -----------------------------------------------------------------

    def seen_heads(self, source: str) -> Mapping[str, SeenHead]:
        """Branch name -> head, of one source repository; empty if it was never looked at."""
        query = sa.select(SEEN_HEAD).where(SEEN_HEAD.c.source == source)
        return {
            row.branch: SeenHead(row.source, row.branch, row.commit_id, bool(row.followed))
            for row in self._rows(query)
        }

    def record_seen(self, heads: Sequence[SeenHead]) -> None:
        """Replace what is known of these branches; one that is followed stays so."""
        with transaction(self.database) as connection:
            for head in heads:
                values = {
                    "source": head.source,
                    "branch": head.branch,
                    "commit_id": head.commit,
                    "followed": int(head.followed),
                }
                changed = None if head.followed else ("commit_id",)
                replace(connection, SEEN_HEAD, values, ("source", "branch"), changed=changed)

    def known_source(self, manifests: int, source: str) -> KnownSource | None:
        """Which repository this name of a source means to a manifests repository."""
        query = sa.select(SOURCE).where(
            SOURCE.c.manifests == manifests, SOURCE.c.source == source.lower()
        )
        found = self._proven(SOURCE, query)
        return (
            KnownSource(_scope(found[0]), found[0].source, found[0].github_id, _moment(found[0]))
            if found
            else None
        )

    def record_source(self, known: KnownSource) -> None:
        """Let the name mean this repository, whatever it meant before."""
        scope, source = known.scope, known.source.lower()
        same = sa.and_(SOURCE.c.manifests == scope.manifests, SOURCE.c.source == source)
        with transaction(self.database) as connection:
            connection.execute(SOURCE.delete().where(same))
            row = {**_columns(scope), "source": source, "at": text_of(known.at)}
            self.proofs.ensure(connection, SOURCE, {**row, "github_id": known.id})

    # --- resolutions ---------------------------------------------------------------------

    def resolution(self, manifests: int, application: str, commit: str) -> Resolution | None:
        """The recorded digests of (application, commit)."""
        with transaction(self.database) as connection:
            return self._resolution(connection, _named(manifests, application, commit))

    def resolution_of(
        self, manifests: int, application: str, image: str, digest: Digest
    ) -> Resolution | None:
        """The newest record that holds this digest for this image."""
        holding = sa.select(RESOLVED_IMAGE.c.resolution).where(
            RESOLVED_IMAGE.c.image == image, RESOLVED_IMAGE.c.digest == str(digest)
        )
        condition = sa.and_(
            RESOLUTION.c.manifests == manifests,
            RESOLUTION.c.application == application,
            RESOLUTION.c.number.in_(holding),
        )
        with transaction(self.database) as connection:
            return self._resolution(connection, condition)

    def known_digests(
        self, manifests: int, digests: Collection[Digest]
    ) -> Mapping[Digest, ImageId]:
        """Those of the digests that were resolved for an image, with that image.

        Proofs are not asked for: a row of somebody else's may hold something, and lets nothing in.
        """
        found: dict[Digest, ImageId] = {}
        wanted = sorted(map(str, digests))
        columns = (RESOLUTION.c.application, RESOLVED_IMAGE.c.image, RESOLVED_IMAGE.c.digest)
        joined = sa.select(*columns).join(
            RESOLVED_IMAGE, RESOLVED_IMAGE.c.resolution == RESOLUTION.c.number
        )
        with transaction(self.database) as connection:
            for begin in range(0, len(wanted), _AT_ONCE):
                query = joined.where(
                    RESOLUTION.c.manifests == manifests,
                    RESOLVED_IMAGE.c.digest.in_(wanted[begin : begin + _AT_ONCE]),
                )
                for row in connection.execute(query):
                    found[Digest(row.digest)] = ImageId(row.application, row.image)
        return found

    def record_resolution(self, resolution: Resolution) -> Resolution:
        """Record the first resolution; return what is recorded (the first one wins)."""
        named = _named(resolution.manifests, resolution.application, resolution.commit)
        values = {
            "manifests": resolution.manifests,
            "application": resolution.application,
            "commit_id": resolution.commit,
            "known_by": resolution.known_by,
            "at": text_of(resolution.at),
        }
        others = dict(resolution.commits)
        images = sorted(
            (image, str(digest), *([others[image]] if image in others else []))
            for image, digest in resolution.digests
        )
        with transaction(self.database) as connection:
            is_new = ensure(connection, RESOLUTION, {**values, "proof": ""})
            found = None if is_new else self._resolution(connection, named)
            if found is not None:
                return found
            if not is_new:  # one that proves nothing stands there: anew, behind all others
                forged = sa.select(RESOLUTION.c.number).where(named)
                old = RESOLVED_IMAGE.c.resolution.in_(forged)
                connection.execute(RESOLVED_IMAGE.delete().where(old))
                connection.execute(RESOLUTION.delete().where(named))
                ensure(connection, RESOLUTION, {**values, "proof": ""})
            number = connection.scalar(sa.select(RESOLUTION.c.number).where(named))
            connection.execute(RESOLVED_IMAGE.delete().where(RESOLVED_IMAGE.c.resolution == number))
            for image, digest, *other in images:
                built_of = {"commit_id": "".join(other)}
                row = {"resolution": number, "image": image, "digest": digest, **built_of}
                ensure(connection, RESOLVED_IMAGE, row)
            self.proofs.seal(connection, RESOLUTION, named, images)
            return resolution

    # --- publications, adoptions, holds --------------------------------------------------

    def latest_publications(self, scope: Scope) -> Iterator[PublicationRecord]:
        """Publications of (manifests, environment), newest first, read as they are asked for."""
        return map(_publication, self._newest(PUBLICATION, _whose(PUBLICATION, scope)))

    def publication_of(self, scope: Scope, commit: str) -> PublicationRecord | None:
        """The newest record of (manifests, environment) about a commit; None: it is not ours."""
        found = self.published_among(scope, [commit])
        return found[-1] if found else None

    def published_among(
        self, scope: Scope, commits: Collection[str]
    ) -> Sequence[PublicationRecord]:
        """The records of (manifests, environment) about some of these commits, oldest first."""
        query, wanted = _in_environment(PUBLICATION, scope), sorted(set(commits))
        rows = [
            row
            for begin in range(0, len(wanted), _AT_ONCE)
            for row in self._proven(
                PUBLICATION,
                query.where(PUBLICATION.c.commit_id.in_(wanted[begin : begin + _AT_ONCE])),
            )
        ]
        return [_publication(row) for row in sorted(rows, key=lambda row: int(row.number))]

    def published(self, manifests: int, tips: Mapping[str, str]) -> Collection[str]:
        """Those of these refs whose tip is ours there, made or taken over; ref -> commit."""
        query = sa.select(PUBLICATION).where(
            PUBLICATION.c.manifests == manifests, PUBLICATION.c.commit_id.in_(tips.values())
        )
        found = {(row.ref, row.commit_id) for row in self._proven(PUBLICATION, query)}
        return {ref for ref, commit in tips.items() if (ref, commit) in found}

    def last_publication(self, manifests: int, environment: str = "") -> PublicationRecord | None:
        """The newest publication in a manifests repository, or in one of its environments."""
        mine = PUBLICATION.c.manifests == manifests
        if environment:
            mine = sa.and_(mine, PUBLICATION.c.environment == environment)
        found = next(self._newest(PUBLICATION, mine), None)
        return None if found is None else _publication(found)

    def record_publication(self, publication: PublicationRecord) -> None:
        """Remember a publication; called before its ref moves."""
        self._ensure(
            PUBLICATION,
            publication.scope,
            publication.at,
            ref=publication.ref,
            commit_id=publication.commit,
            parent=publication.parent,
            source=publication.source,
            rules=publication.rules,
        )

    def record_shown(self, scope: Scope, commit: str, images: Shown, at: datetime) -> None:
        """Remember which publication of an environment shows which digests."""
        with transaction(self.database) as connection:
            for image, digest in images:
                values = {
                    "manifests": scope.manifests,
                    "environment": scope.environment,
                    "application": image.application,
                    "image": image.name,
                    "digest": str(digest),
                    "commit_id": commit,
                    "at": text_of(at),
                }
                self.proofs.ensure(connection, SHOWN, values)

    def shown_by(self, scope: Scope, image: ImageId, digest: Digest) -> Sequence[str]:
        """Publications of an environment that showed the image by this digest, newest first."""
        query = (
            sa.select(SHOWN)
            .where(
                SHOWN.c.manifests == scope.manifests,
                SHOWN.c.environment == scope.environment,
                SHOWN.c.application == image.application,
                SHOWN.c.image == image.name,
                SHOWN.c.digest == str(digest),
            )
            .order_by(SHOWN.c.number.desc())
        )
        return [str(row.commit_id) for row in self._proven(SHOWN, query)]

    def owner_of(self, manifests: int, ref: str) -> str:
        """The environment that published on a ref last; empty: none did."""
        mine = sa.and_(PUBLICATION.c.manifests == manifests, PUBLICATION.c.ref == ref)
        return next((str(row.environment) for row in self._newest(PUBLICATION, mine)), "")

    # --- rules ---------------------------------------------------------------------------

    def accepted_rules(self, manifests: int) -> Sequence[RulesAccepted]:
        """The rules that came into force in a manifests repository, oldest first."""
        query = sa.select(RULES).where(RULES.c.manifests == manifests).order_by(RULES.c.number)
        return [
            RulesAccepted(
                _scope(row), row.commit_id, row.accepted_by, _moment(row), is_valid=bool(row.valid)
            )
            for row in self._proven(RULES, query)
        ]

    def record_rules(self, rules: RulesAccepted) -> None:
        """Remember that rules came into force; the first record of a commit stays."""
        self._ensure(
            RULES,
            rules.scope,
            rules.at,
            commit_id=rules.commit,
            accepted_by=rules.by,
            valid=int(rules.is_valid),
        )

    def adoptions(self, scope: Scope) -> Sequence[Adoption]:
        """What was adopted in (manifests, environment), oldest first."""
        return [
            Adoption(_scope(row), Digest(row.digest), row.actor, _moment(row))
            for row in self._proven(ADOPTION, _in_environment(ADOPTION, scope))
        ]

    def record_adoption(self, adoption: Adoption) -> None:
        """Remember an adoption; the first record stays."""
        self._ensure(
            ADOPTION,
            adoption.scope,
            adoption.at,
            digest=str(adoption.digest),
            actor=adoption.actor,
        )

    def holds(self, scope: Scope) -> Sequence[Hold]:
        """The holds that stop (manifests, environment): its own and its applications'.

        A hold without an environment stops every environment.
        """
        query = sa.select(HOLD).where(
            HOLD.c.manifests == scope.manifests, HOLD.c.environment.in_([scope.environment, ""])
        )
        return [
            Hold(
                _scope(row),
                row.reason,
                row.actor,
                _moment(row),
                HoldKind(row.kind),
                datetime.fromisoformat(row.until) if row.until else None,
            )
            for row in self._rows(query.order_by(HOLD.c.at, HOLD.c.application, HOLD.c.kind))
        ]

    def record_hold(self, hold: Hold) -> None:
        """Stop; a second hold of the same scope, kind and giver replaces the first."""
        values = {
            **_columns(hold.scope),
            "kind": str(hold.kind),
            "reason": hold.reason,
            "actor": hold.actor,
            "at": text_of(hold.at),
            "until": text_of(hold.until) if hold.until else "",
        }
        with transaction(self.database) as connection:
            same = ("manifests", "environment", "application", "kind", "actor")
            replace(connection, HOLD, values, same)

    def release_hold(self, scope: Scope, kind: HoldKind, actor: str = "") -> bool:
        """End holds of exactly this scope and kind; False if there was none.

        Of one giver, or of all where none is named.
        """
        whose = [HOLD.c.actor == actor] if actor else []
        same = (*_exactly(HOLD, scope), HOLD.c.kind == str(kind), *whose)
        with transaction(self.database) as connection:
            return bool(connection.execute(HOLD.delete().where(*same)).rowcount)

    # --- seals and heads of ours ---------------------------------------------------------

    def seals(self, scope: Scope, digest: Digest | None = None) -> Sequence[Seal]:
        """What was sealed for (manifests, environment), narrowed to what else is given."""
        query = _narrowed(SEAL, scope)
        if digest is not None:
            query = query.where(SEAL.c.digest == str(digest))
        return [
            Seal(
                _scope(row),
                row.image,
                row.repository,
                Digest(row.digest),
                row.merge_id,
                row.pull_request,
                _moment(row),
            )
            for row in self._proven(SEAL, query)
        ]

    def record_seal(self, seal: Seal) -> None:
        """Remember a seal; the first record of (scope, image, repository, digest) stays."""
        self._ensure(
            SEAL,
            seal.scope,
            seal.at,
            image=seal.image,
            repository=seal.repository,
            digest=str(seal.digest),
            merge_id=seal.merge,
            pull_request=seal.pull_request,
        )

    def told_failures(self, job: str) -> Sequence[ToldFailure]:
        """Where people were told that the job of this key failed, and not yet that it is over."""
        query = sa.select(TOLD_FAILURE).where(TOLD_FAILURE.c.job == job)
        order = (TOLD_FAILURE.c.repository, TOLD_FAILURE.c.commit_id)
        return [
            ToldFailure(row.job, GitHubRepository.parse(row.repository), row.commit_id, row.name)
            for row in self._rows(query.order_by(*order))
        ]

    def record_told_failures(self, failures: Sequence[ToldFailure]) -> None:
        """Remember where people are told; called before they are."""
        with transaction(self.database) as connection:
            for one in failures:
                values = {
                    "job": one.job,
                    "repository": str(one.repository),
                    "commit_id": one.commit,
                    "name": one.name,
                }
                ensure(connection, TOLD_FAILURE, values)

    def forget_told_failures(self, job: str) -> None:
        """Everybody was told that it is over."""
        with transaction(self.database) as connection:
            connection.execute(TOLD_FAILURE.delete().where(TOLD_FAILURE.c.job == job))

    def asked(self, scope: Scope) -> Sequence[Asked]:
        """What was asked for by command in this scope, oldest first."""
        return [
            Asked(
                _scope(row),
                AskKind(row.kind),
                row.commit_id,
                row.asked_by,
                row.account,
                row.key,
                _moment(row),
                row.reason,
            )
            for row in self._proven(ASKED, _narrowed(ASKED, scope))
        ]

    def record_asked(self, asked: Asked) -> None:
        """Remember that somebody asked; the first record of a key stays."""
        self._ensure(
            ASKED,
            asked.scope,
            asked.at,
            kind=str(asked.kind),
            commit_id=asked.commit,
            asked_by=asked.by,
            account=asked.account,
            key=asked.key,
            reason=asked.reason,
        )

    def shown_commits(self, scope: Scope) -> Sequence[str]:
        """Publications that brought something of this application there, newest first."""
        query = (
            sa.select(SHOWN)
            .where(
                SHOWN.c.manifests == scope.manifests,
                SHOWN.c.environment == scope.environment,
                SHOWN.c.application == scope.application,
            )
            .order_by(SHOWN.c.number.desc())
        )
        return list(dict.fromkeys(str(row.commit_id) for row in self._proven(SHOWN, query)))

    def written_heads(self, scope: Scope) -> Sequence[WrittenHead]:
        """The commits that Lockkeeper wrote for this scope, oldest first.

        Narrowed to the application if one is given.
        """
        return [
            _written_head(row) for row in self._proven(WRITTEN_HEAD, _narrowed(WRITTEN_HEAD, scope))
        ]

    def latest_heads(self, scope: Scope) -> Iterator[WrittenHead]:
        """What `written_heads` tells, newest first, read as it is asked for."""
        mine = _whose(WRITTEN_HEAD, scope)
        if scope.application:
            mine = sa.and_(mine, WRITTEN_HEAD.c.application == scope.application)
        return map(_written_head, self._newest(WRITTEN_HEAD, mine))

    def heads_of(self, scope: Scope, source: str) -> Sequence[WrittenHead]:
        """Those of an application in an environment that propose a source commit, oldest first."""
        query = _narrowed(WRITTEN_HEAD, scope).where(WRITTEN_HEAD.c.source == source)
        return [_written_head(row) for row in self._proven(WRITTEN_HEAD, query)]

    def heads_at(self, manifests: int, commit: str) -> Sequence[WrittenHead]:
        """What a commit of ours asks for, an entry for each application; empty: it is not ours."""
        mine = sa.and_(WRITTEN_HEAD.c.manifests == manifests, WRITTEN_HEAD.c.commit_id == commit)
        query = sa.select(WRITTEN_HEAD).where(mine).order_by(WRITTEN_HEAD.c.number)
        return [_written_head(row) for row in self._proven(WRITTEN_HEAD, query)]

    def record_written_head(self, head: WrittenHead) -> None:
        """Remember a commit of ours; called before its branch moves."""
        self._ensure(
            WRITTEN_HEAD,
            head.scope,
            head.at,
            branch=head.branch,
            commit_id=head.commit,
            base=head.base,
            trigger_id=head.trigger,
            trigger_branch=head.trigger_branch,
            source=head.source,
        )

    def _ensure(self, table: sa.Table, scope: Scope, at: datetime, **values: str | int) -> None:
        with transaction(self.database) as connection:
            row = {**_columns(scope), **values, "at": text_of(at)}
            self.proofs.ensure(connection, table, row)

    def _texts(self, columns: Iterable[sa.Column[str]]) -> Sequence[str]:
        """Every text in these columns, once, in order; the empty one means nothing."""
        query = sa.union(*(sa.select(column) for column in columns))
        with transaction(self.database) as connection:
            return sorted(text for text in connection.scalars(query) if text)

    def _proven(self, table: sa.Table, query: sa.Select[tuple[object, ...]]) -> Sequence[Row]:
        return [row for row in self._rows(query) if self.proofs.holds(table, row)]

    def _newest(self, table: sa.Table, mine: sa.ColumnElement[bool]) -> Iterator[Row]:
        """Rows of ours, newest first, few at a time: most who ask need one of thousands."""
        query, most = sa.select(table).where(mine).order_by(table.c.number.desc()), 1
        rows = self._rows(query.limit(most))
        while rows:
            yield from (row for row in rows if self.proofs.holds(table, row))
            if len(rows) < most:
                return
            most = _PAGE
            rows = self._rows(query.where(table.c.number < rows[-1].number).limit(most))

    def _resolution(
        self, connection: sa.Connection, condition: sa.ColumnElement[bool]
    ) -> Resolution | None:
        newest = sa.select(RESOLUTION).where(condition).order_by(RESOLUTION.c.number.desc())
        for row in connection.execute(newest):
            images = images_of(connection, row)
            if self.proofs.holds(RESOLUTION, row, images):
                return Resolution(
                    row.manifests,
                    row.application,
                    row.commit_id,
                    tuple((image, Digest(digest)) for image, digest, *_ in images),
                    row.known_by,
                    _moment(row),
                    tuple((image, other[0]) for image, _, *other in images if other),
                )
        return None

    def _rows(self, query: sa.Select[tuple[object, ...]]) -> Sequence[Row]:
        with transaction(self.database) as connection:
            return connection.execute(query).all()


def _named(manifests: int, application: str, commit: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        RESOLUTION.c.manifests == manifests,
        RESOLUTION.c.application == application,
        RESOLUTION.c.commit_id == commit,
    )


def _whose(table: sa.Table, scope: Scope) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.manifests == scope.manifests, table.c.environment == scope.environment)


def _written_head(row: Row) -> WrittenHead:
    return WrittenHead(
        _scope(row),
        row.branch,
        row.commit_id,
        row.base,
        row.trigger_id,
        row.trigger_branch,
        row.source,
        _moment(row),
    )


def _in_environment(table: sa.Table, scope: Scope) -> sa.Select[tuple[object, ...]]:
    return (
        sa.select(table)
        .where(table.c.manifests == scope.manifests, table.c.environment == scope.environment)
        .order_by(table.c.number)
    )


def _narrowed(table: sa.Table, scope: Scope) -> sa.Select[tuple[object, ...]]:
    query = _in_environment(table, scope)
    if scope.application:
        query = query.where(table.c.application == scope.application)
    return query


def _exactly(table: sa.Table, scope: Scope) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        table.c.manifests == scope.manifests,
        table.c.environment == scope.environment,
        table.c.application == scope.application,
    )


def _columns(scope: Scope) -> dict[str, object]:
    return {
        "manifests": scope.manifests,
        "environment": scope.environment,
        "application": scope.application,
    }


def _publication(row: Row) -> PublicationRecord:
    return PublicationRecord(
        _scope(row), row.ref, row.commit_id, row.parent, row.source, _moment(row), row.rules
    )


def _scope(row: Row) -> Scope:
    return Scope(row.manifests, row.environment, row.application)


def _moment(row: Row) -> datetime:
    return datetime.fromisoformat(row.at)
