"""A finding: what it is about, how bad it is, the fact, the way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)
_LINE_LIMIT: Final = 600
"""Characters of a finding that people are shown; what comes from outside may be endless."""


class Severity(StrEnum):
    """How bad it is, the worst first."""

    FAILURE = "failure"
    """Something does not work; a person must act."""
    UNKNOWN = "unknown"
    """It was asked and nobody answered: neither yes nor no."""
    WARNING = "warning"
    """It works, and not as safely or as fully as it should."""
    NOT_TRIED = "not tried"
    """It could be known only by changing something, so it was not asked."""
    OK = "ok"


class About(StrEnum):
    """What a finding is about: its stable id, as docs/doctor.md lists it."""

    SETTINGS = "settings"
    API = "github.api"
    APP_ID = "app.id"
    APP_KEY = "app.key"
    CLOCK = "app.clock"
    PERMISSIONS = "app.permissions"
    EVENTS = "app.events"
    DELIVERIES = "webhooks.deliveries"
    VISIBLE = "manifests.visible"
    INSTALLED = "manifests.installed"
    BRANCH = "manifests.branch"
    FETCH = "manifests.fetch"
    PIPELINE = "manifests.pipeline"
    SOURCE = "sources.visible"
    REF_PROTECTED = "rules.ref"
    CHECK_REQUIRED = "rules.check"
    AUTO_MERGE = "rules.auto-merge"
    LAST_PUSH = "rules.last-push"
    TAGS = "rules.tags"
    GRANTS = "grants.folder"
    SECRETS = "grants.secrets"
    PULL = "registry.pull"
    PUSH = "registry.push"
    REFERRERS = "registry.referrers"
    IMMUTABLE = "registry.immutable"
    SIGNING_KEY = "keys.signing"
    ATTESTATION_KEY = "keys.attest"
    SCANNER = "scanner.answers"
    RENDERING = "rendering"
    DATABASE = "database"
    DATA_FOLDER = "data.folder"
    DISK = "data.space"
    VERSIONS = "versions"
    REPORTS = "reports.refused"
    NOTICES = "notices.refused"
    RECORD = "database.record"


@dataclass(frozen=True, slots=True)
class Known(Generic[T_co]):
    """The answer of a look."""

    value: T_co


@dataclass(frozen=True, slots=True)
class Unknown:
    """A look that was not answered, and why."""

    reason: str
    is_refusal: bool = False
    """The other side said no, or something is wrong here: asking again changes nothing."""

    @property
    def severity(self) -> Severity:
        """A refusal is a failure; anything else is neither yes nor no."""
        return Severity.FAILURE if self.is_refusal else Severity.UNKNOWN


Look = Known[T_co] | Unknown
"""What became of a look."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    about: About
    subject: str
    """Which one: a repository, an environment of one, a host; empty where there is only one."""
    severity: Severity
    fact: str
    remedy: str = ""
    """What a person does about it; empty where nothing is to be done."""
    stops: str = ""
    """The manifests repository for which nothing works because of it; ``*`` for all of them."""

    @property
    def line(self) -> str:
        """One line for people: what is not printable cannot break it."""
        place = " ".join(part for part in (self.about, self.subject) if part)
        advice = f"; {self.remedy}" if self.remedy else ""
        return f"{self.severity}: {place}: {one_line(self.fact)}{one_line(advice)}"


def one_line(text: str) -> str:
    """A text from anywhere as one line of bounded length."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown if len(shown) <= _LINE_LIMIT else f"{shown[: _LINE_LIMIT - 1]}…"


EVERYTHING: Final = "*"
"""Stands in `Finding.stops` for every manifests repository."""


def ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The worst first; equal ones stay as they came."""
    ranks = list(Severity)
    return tuple(sorted(findings, key=lambda one: ranks.index(one.severity)))
