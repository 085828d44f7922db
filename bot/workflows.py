"""Which story each kind of job tells; the engine runs them, one at a time per lane."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Final

from bot.domain.errors import IntegrityError, RejectedError, UnavailableError
from bot.domain.jobs import Failed, Job, JobKind, Outcome
from bot.facts.snapshot import Ports
from bot.formats.webhook import read_hint
from bot.ports.record import Commands
from bot.reconcilers.checks.check import answer
from bot.reconcilers.comments import comment
from bot.reconcilers.delivery.deliver import deliver
from bot.reconcilers.intake import intake, put_reconcile, reconcile
from bot.reconcilers.operator import command
from bot.reconcilers.promotion.promote import propose
from bot.reconcilers.publication.publish import publish
from bot.reconcilers.scanning import scan
from bot.reporting.failures import tell_failure, tell_over

_LONG: Final = 19
"""Digits of the largest row, and one more."""


def _unknown(_job: Job) -> AbstractContextManager[float | None]:
    return nullcontext(None)


@dataclass(slots=True)
class _LastWord:
    """What the scanner said when it was last asked: its generation, or why it does not answer."""

    said: str = ""


@dataclass(frozen=True, slots=True)
class Workflows:
    """The engine's ``run``: from a job to its outcome."""

    ports: Ports
    commands: Commands
    retry: Callable[[str], bool]
    journal: Callable[[str], AbstractContextManager[None]]
    """Watches everything that one job does."""
    running: Callable[[Job], AbstractContextManager[float | None]] = _unknown
    """From which moment on a fetch is new enough for a job; None: a new one."""
    _scanner: _LastWord = field(default_factory=_LastWord)

    def __call__(self, job: Job) -> Outcome:
        """Take the look that the job asks for; its errors are the engine's to judge.

        One that only a person can end is told where people look, and taken back when it is over.
        """
        with self.journal(job.key), self.running(job) as moment:
            ports = replace(self.ports, mirrors=self.ports.mirrors.as_of(moment))
            try:
                outcome = self._tell(ports, job)
            except (RejectedError, IntegrityError) as error:
                tell_failure(ports, job, error)
                raise
            if not isinstance(outcome, Failed):
                tell_over(ports, job)
            return outcome

    def _tell(self, ports: Ports, job: Job) -> Outcome:
        match job.kind:
            case JobKind.INTAKE:
                return intake(ports, read_hint(job.hint))
            case JobKind.PROPOSE:
                return propose(ports, job.manifests, job.environment, job.subject)
            case JobKind.DELIVER:
                return deliver(ports, job.manifests, job.environment, job.subject)
            case JobKind.PUBLISH:
                return publish(ports, job.manifests, job.environment)
            case JobKind.ANSWER:
                return answer(ports, job.manifests, job.subject)
            case JobKind.SCAN:
                return scan(ports, job.manifests, job.environment, job.subject)
            case JobKind.RECONCILE:
                return reconcile(ports, job.manifests)
            case JobKind.COMMENT:
                return comment(ports, job.manifests, job.subject, self.retry)
            case JobKind.COMMAND:
                return command(ports, self.commands, _row(job.subject), self.retry, _as_json)

    def put_reconcile(self) -> None:
        """Ask for a look at everything of every manifests repository."""
        put_reconcile(self.ports)

    def put_rescans(self) -> None:
        """Look at everything again when the scanner answers with other data than before.

        Raises:
            UnavailableError: it does not answer, for a reason that was not said before.
        """
        if self.ports.scanner is None:
            return
        before = self._scanner.said
        try:
            self._scanner.said = self.ports.scanner.facts().generation
        except UnavailableError as error:
            self._scanner.said = str(error)
            if self._scanner.said != before:
                raise
            return
        if before and self._scanner.said != before:
            self.put_reconcile()

    def put_commands(self) -> None:
        """Pick up the operator's command rows."""
        for found in self.commands.open():
            job = Job(JobKind.COMMAND, subject=str(found.id))
            if not any(state.key == job.key for state in self.ports.jobs.states()):
                self.ports.jobs.put(job)


def _row(subject: str) -> int:
    """The command row that a job names; 0, which no row has, for anything else."""
    is_number = subject.isascii() and subject.isdigit() and len(subject) < _LONG
    return int(subject) if is_number else 0


def _as_json(said: object) -> str:
    return json.dumps(said)
