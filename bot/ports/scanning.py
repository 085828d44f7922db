"""Scanners, what they said, and what is exploited."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from bot.domain.evidence import Exploitation, FindingKey
from bot.domain.memory import (
    Scope,
)
from bot.domain.oci import Digest


@dataclass(frozen=True, slots=True)
class ScannerFacts:
    """What a scanner says is only comparable with what the same one said with the same data."""

    name: str
    """``Trivy``, ``grype``."""
    version: str
    database: datetime
    """When its database was built."""

    @property
    def generation(self) -> str:
        """Another one means: match again."""
        return f"{self.name} {self.version} {self.database.isoformat()}"


@dataclass(frozen=True, slots=True)
class Examination:
    """What a scanner saw in one platform of an image; it never changes."""

    sbom: bytes
    """By this scanner, for this scanner: what it matches again when its database changes."""
    report: bytes
    """Its report, bound to the image; secrets are only in here."""


@dataclass(frozen=True, slots=True)
class MatchReport:
    """A scanner's answer about one platform of an image, or why there is none."""

    at: datetime
    report: bytes = b""
    failure: str = ""
    """Why there is no report; empty: there is one."""


class Scanner(Protocol):
    """A scanner that is kept away from every secret, and whose word counts only while it is sane.

    What it answers is text from outside like any other. UnavailableError: it is not there, its
    database is too old, it missed what it had to find, or it crashed, hung or flooded.
    """

    def facts(self) -> ScannerFacts:
        """Who answers, with which data."""
        ...

    def gaps(self) -> Sequence[str]:
        """What does not keep it apart here; with a gap it is not asked, unless allowed."""
        ...

    def examine(self, save: Callable[[Path], None]) -> Examination:
        """Look into one platform's image; ``save`` writes its OCI layout into a directory."""
        ...

    def match(self, sbom: bytes) -> bytes:
        """Its report on an SBOM that it wrote earlier."""
        ...


class Reports(Protocol):
    """What scanners said about content, kept by its digest: content does not change.

    Only what is derived from content is shared between environments; `first_seen` is not.
    """

    def examination(self, scanner: str, digest: Digest) -> Examination | None:
        """What this scanner saw in one platform of an image."""
        ...

    def record_examination(self, scanner: str, digest: Digest, seen: Examination) -> None:
        """Keep what was seen; the newest counts."""
        ...

    def match(self, digest: Digest, generation: str) -> MatchReport | None:
        """What a scanner of this generation (`ScannerFacts.generation`) said last."""
        ...

    def record_match(self, digest: Digest, generation: str, match: MatchReport) -> None:
        """Keep the newest answer about a digest; older generations go."""
        ...

    def first_seen(
        self, scope: Scope, findings: Sequence[FindingKey], today: date
    ) -> Mapping[FindingKey, date]:
        """When each finding was first seen in (manifests, environment): today at the latest."""
        ...


class Feeds(Protocol):
    """What is known about exploitation, from files that the operator keeps up to date."""

    def exploitation(self, wanted: Collection[str]) -> Exploitation:
        """KEV, and EPSS of these CVEs; parts that nobody configured or can read are None."""
        ...
