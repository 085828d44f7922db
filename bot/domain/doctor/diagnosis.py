"""All findings of a set-up at one time, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.domain.doctor.app import AppAnswer, DeliveryLog, app_findings, delivery_findings
from bot.domain.doctor.environments import (
    GrantsFolder,
    KeyState,
    RegistryState,
    grant_findings,
    key_findings,
    registry_findings,
)
from bot.domain.doctor.findings import EVERYTHING, Finding, Known, Look, Severity, ordered
from bot.domain.doctor.machine import Machine, machine_findings
from bot.domain.doctor.members import Member, member_findings
from bot.domain.doctor.sources import Sources, source_findings


@dataclass(frozen=True, slots=True)
class SetUp:
    """Everything that was asked, with the time of asking."""

    at: datetime
    api_url: str
    app_id: int
    reconcile_seconds: int
    app: Look[AppAnswer]
    deliveries: Look[DeliveryLog]
    members: Sequence[Member]
    sources: Sequence[Sources]
    grants: Look[GrantsFolder]
    registries: Sequence[RegistryState]
    keys: Sequence[KeyState]
    machine: Machine


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found."""

    at: datetime
    members: tuple[str, ...]
    """Every manifests repository, ``owner/name``."""
    findings: tuple[Finding, ...]
    """The worst first."""

    @property
    def worst(self) -> Severity:
        """The worst finding's severity."""
        return self.findings[0].severity if self.findings else Severity.OK

    @property
    def remarkable(self) -> tuple[Finding, ...]:
        """What is not in order."""
        fine = {Severity.OK, Severity.NOT_TRIED}
        return tuple(one for one in self.findings if one.severity not in fine)

    def reasons_not_ready(self, *, is_first: bool) -> tuple[Finding, ...]:
        """Why nothing at all can be done; empty as long as one manifests repository works.

        Args:
            is_first: GitHub has not answered this process yet. Then an unknown counts like a no:
                whoever never reached GitHub works for nobody. Later it is an outage, which passes.
        """
        counts = {Severity.FAILURE, *((Severity.UNKNOWN,) if is_first else ())}
        stopping = [one for one in self.findings if one.stops and one.severity in counts]
        stopped = {one.stops for one in stopping}
        if EVERYTHING in stopped or stopped.issuperset(self.members):
            return tuple(stopping)
        return ()


def diagnose(set_up: SetUp) -> Diagnosis:
    """From what was asked to what a person should know; the same facts give the same findings."""
    names = tuple(member.name for member in set_up.members)
    return Diagnosis(set_up.at, names, ordered(tuple(_findings(set_up))))


def _findings(set_up: SetUp) -> Iterator[Finding]:
    yield from app_findings(set_up.app, set_up.app_id, set_up.api_url)
    if isinstance(set_up.app, Known) and set_up.app.value.is_recognised:
        # Without, every further question to GitHub has the same answer.
        yield from delivery_findings(set_up.deliveries, set_up.reconcile_seconds)
        for member in set_up.members:
            yield from member_findings(member, set_up.app.value)
        for sources in set_up.sources:
            yield from source_findings(sources)
    yield from grant_findings(set_up.grants)
    for registry in set_up.registries:
        yield from registry_findings(registry)
    for key in set_up.keys:
        yield from key_findings(key)
    yield from machine_findings(set_up.machine, set_up.at)
