"""Scanning the platforms of an image: a job of its own, because it takes long and may fail.

What was seen is kept by digest, and matched again when the scanner's data changes. A failure is
kept too, so that people read why there is no answer; it is never taken for an empty one.
"""

from __future__ import annotations

from bot.domain.errors import RejectedError, UnavailableError
from bot.domain.jobs import Done, Failed, Job, JobKind, Outcome
from bot.domain.oci import Digest, DigestReference
from bot.facts.snapshot import Ports, look, where_it_is
from bot.formats.reports import read_scan
from bot.ports.registry import ImageRegistry
from bot.ports.scanning import Examination, MatchReport, Reports, Scanner, ScannerFacts


def scan(ports: Ports, manifests: int, environment: str, subject: str) -> Outcome:
    """Let the scanner see every platform of an image that it has not answered about yet."""
    view = look(ports, manifests)
    whole, _, written = subject.partition("@")
    name, _, image = whole.partition("/")
    application = view.pipeline.applications.get(name)
    if application is None or ports.scanner is None or ports.reports is None:
        return Done("there is no such image, or no scanner (any more)")
    try:
        target = view.granted_environment_of(environment, application)
        digest = Digest(written)
        registry = view.registry(target)
    except RejectedError as error:
        return Failed(str(error))
    reference = where_it_is(view, target, application, image, digest)
    if reference is None:
        return Done(f"{image} {digest.short} is nowhere to be read")
    work = _Work(ports, ports.reports, ports.scanner, ports.scanner.facts(), registry)
    failures = [
        failure
        for platform in registry.describe(reference).platforms
        if (failure := work.answer(reference.repository.at(platform.digest)))
    ]
    ports.jobs.put(Job(JobKind.PROPOSE, view.id, environment, application.lane))
    ports.jobs.put(Job(JobKind.DELIVER, view.id, environment, application.name))
    for pull_request in ports.github.pull_requests(view.repository, state="open"):
        ports.jobs.put(Job(JobKind.ANSWER, view.id, "", str(pull_request.number)))
    if failures:
        raise UnavailableError("; ".join(dict.fromkeys(failures)))
    return Done(f"{reference} is scanned")


class _Work:
    """One scanner at one time."""

    def __init__(
        self,
        ports: Ports,
        reports: Reports,
        scanner: Scanner,
        facts: ScannerFacts,
        registry: ImageRegistry,
    ) -> None:
        self._clock, self._reports = ports.clock, reports
        self._scanner, self._facts, self._registry = scanner, facts, registry

    def answer(self, platform: DigestReference) -> str:
        """Have the scanner's answer about a platform; why there is none, else empty."""
        kept = self._reports.match(platform.digest, self._facts.generation)
        if kept is not None and not kept.failure:
            return ""
        try:
            report, failure = self._asked(platform), ""
        except (RejectedError, UnavailableError) as error:
            report, failure = b"", str(error)
        match = MatchReport(self._clock.now(), report, failure)
        self._reports.record_match(platform.digest, self._facts.generation, match)
        return failure

    def _asked(self, platform: DigestReference) -> bytes:
        report = self._scanner.match(self._examination(platform).sbom)
        read_scan(report, f"the report of {self._facts.name}")
        return report

    def _examination(self, platform: DigestReference) -> Examination:
        kept = self._reports.examination(self._facts.name, platform.digest)
        if kept is not None:
            return kept
        seen = self._scanner.examine(lambda folder: self._registry.save_layout(platform, folder))
        read_scan(seen.report, f"the report of {self._facts.name}")
        self._reports.record_examination(self._facts.name, platform.digest, seen)
        return seen
