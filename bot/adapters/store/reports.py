"""`bot.ports.scanning.Reports`: what scanners said, by digest, deflated.

Nothing in here is a secret or a decision. What cannot be read any more, or was not written by this
bot, counts as not there, and losing it costs a scan.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import sqlalchemy as sa

from bot.adapters.store.database import ensure, replace, text_of, transaction
from bot.adapters.store.proofs import Proofs
from bot.adapters.store.schema import EXAMINATION, FIRST_SEEN, MATCH
from bot.domain.evidence import FindingKey
from bot.domain.memory import Scope
from bot.domain.oci import Digest
from bot.formats.json_document import SIZE_LIMIT
from bot.ports.scanning import Examination, MatchReport

_LONGEST: Final = 1_000  # characters of why there is none


@dataclass(frozen=True, slots=True)
class ReportStore:
    """The reports in one database; every method raises UnavailableError without an answer."""

    database: sa.Engine
    proofs: Proofs

    def examination(self, scanner: str, digest: Digest) -> Examination | None:
        """What this scanner saw in one platform of an image."""
        query = sa.select(EXAMINATION).where(
            EXAMINATION.c.scanner == scanner, EXAMINATION.c.digest == str(digest)
        )
        with transaction(self.database) as connection:
            row = connection.execute(query).one_or_none()
        if row is None or not self.proofs.holds(EXAMINATION, row):
            return None
        sbom, report = _inflated(row.sbom), _inflated(row.report)
        return None if sbom is None or report is None else Examination(sbom, report)

    def record_examination(self, scanner: str, digest: Digest, seen: Examination) -> None:
        """Keep what was seen; the newest counts."""
        values: dict[str, object] = {
            "scanner": scanner,
            "digest": str(digest),
            "sbom": zlib.compress(seen.sbom),
            "report": zlib.compress(seen.report),
        }
        values["proof"] = self.proofs.of(EXAMINATION, values)
        with transaction(self.database) as connection:
            replace(connection, EXAMINATION, values, ("scanner", "digest"))

    def match(self, digest: Digest, generation: str) -> MatchReport | None:
        """What a scanner of this generation said last."""
        query = sa.select(MATCH).where(
            MATCH.c.digest == str(digest), MATCH.c.generation == generation
        )
        with transaction(self.database) as connection:
            row = connection.execute(query).one_or_none()
        if row is None or not self.proofs.holds(MATCH, row):
            return None
        report = _inflated(row.report)
        if report is None:
            return None
        return MatchReport(datetime.fromisoformat(row.at), report, row.failure)

    def record_match(self, digest: Digest, generation: str, match: MatchReport) -> None:
        """Keep the newest answer about a digest; older generations go."""
        values: dict[str, object] = {
            "digest": str(digest),
            "generation": generation,
            "at": text_of(match.at),
            "report": zlib.compress(match.report),
            "failure": match.failure[:_LONGEST],
        }
        values["proof"] = self.proofs.of(MATCH, values)
        with transaction(self.database) as connection:
            replace(connection, MATCH, values, ("digest",))

    def first_seen(
        self, scope: Scope, findings: Sequence[FindingKey], today: date
    ) -> Mapping[FindingKey, date]:
        """When each finding was first seen in (manifests, environment): today at the latest."""
        place = {"manifests": scope.manifests, "environment": scope.environment}
        query = sa.select(FIRST_SEEN).where(
            *(FIRST_SEEN.c[name] == value for name, value in place.items())
        )
        with transaction(self.database) as connection:
            known = {
                (row.vulnerability, row.package): date.fromisoformat(row.day)
                for row in connection.execute(query)
            }
            for key in findings:
                name = (key.vulnerability, str(key.package))
                if name not in known:
                    known[name] = today
                    row = {**place, "vulnerability": name[0], "package": name[1]}
                    ensure(connection, FIRST_SEEN, {**row, "day": today.isoformat()})
        return {key: min(today, known[key.vulnerability, str(key.package)]) for key in findings}


def _inflated(content: bytes) -> bytes | None:
    """The document; None if it is damaged, cut off, or larger than any can be."""
    stream = zlib.decompressobj()
    try:
        document = stream.decompress(content, SIZE_LIMIT)
    except zlib.error:
        return None
    return document if stream.eof else None
