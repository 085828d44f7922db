"""What is known about the images of a promotion, and what the environment's policy says of it.

Compared are the wanted images and those that are *published* now. Nothing is scanned in here:
what a scanner has not answered yet is asked for, and until then it is missing, never "clean".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from bot.domain.assessment import Assessment, Evidence, assess
from bot.domain.environments import Application, Environment
from bot.domain.errors import NotFoundError, RejectedError, UnavailableError
from bot.domain.evidence import Exploitation, Scan, merged_scans, rematched
from bot.domain.images import ImageDescription, PlatformImage
from bot.domain.jobs import Job
from bot.domain.oci import Digest
from bot.formats.assessment_document import render_assessment
from bot.formats.reports import read_scan
from bot.ports import Reports, ScannerFacts, StoredEvaluation
from bot.usecases.desk import View, source_repository
from bot.usecases.rules import Rules
from bot.usecases.scan import scan_job


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is known now, and the looks that would tell more."""

    evidence: Evidence
    jobs: tuple[Job, ...] = ()
    """Scans that nobody has made yet; whoever needs them puts them."""


def published(view: View, environment: Environment) -> dict[str, set[Digest]]:
    """Image -> digests in the environment's newest publication; empty before the first."""
    tip = view.history.heads().get(environment.ref)
    found: dict[str, set[Digest]] = {}
    for spot in view.spots(tip, environment) if tip else ():
        reference = spot.written.reference()
        if reference is not None and reference.digest is not None:
            found.setdefault(spot.place.image, set()).add(reference.digest)
    return found


def gather(
    view: View, environment: Environment, application: Application, images: Mapping[str, Digest]
) -> Gathered:
    """Everything that is known about these images and those that they would replace."""
    looker = _Looker(view, environment, application)
    running = published(view, environment)
    new = looker.scan_of(images)
    before: dict[str, Digest] = {}
    for image in images:
        digests = running.get(image, set())
        if len(digests) > 1:
            looker.missing.append(f"{image} runs with {len(digests)} digests; none is compared")
        elif digests:
            before |= dict.fromkeys([image], next(iter(digests)))
    old = looker.scan_of(before) if before else None
    findings = {} if new is None else new.findings
    reports = view.ports.reports
    scope, today = view.scope(environment.name), view.ports.clock.now().date()
    evidence = Evidence(
        new=new,
        old=old,
        exploitation=_exploitation(view, [scan for scan in (new, old) if scan]),
        last_promotion=_promoted(view, environment, application, before),
        first_seen=reports.first_seen(scope, list(findings), today) if reports else {},
        missing=tuple(dict.fromkeys(looker.missing)),
    )
    return Gathered(evidence, tuple(dict.fromkeys(looker.jobs)))


def judge(view: View, environment: Environment, rules: Rules, gathered: Gathered) -> Assessment:
    """The verdict of an environment's policy, as it stood with these rules, now."""
    exceptions = rules.exceptions.get(environment.name, ())
    evidence = replace(gathered.evidence, exceptions=exceptions)
    return assess(
        environment.name, evidence, rules.policy(environment.name), view.ports.clock.now()
    )


def keep(view: View, promotion: str, application: Application, assessment: Assessment) -> None:
    """Keep the complete assessment for the promotion's page."""
    if view.ports.evaluations is not None:
        view.ports.evaluations.record(
            StoredEvaluation(
                promotion,
                assessment.environment,
                application.name,
                assessment.at,
                str(assessment.verdict.result),
                render_assessment(assessment),
            )
        )


def said_by(assessment: Assessment) -> str:
    """Why it blocks, in one sentence: the checks with the answer that decided."""
    decided = assessment.verdict
    deciding = [check for check in decided.checks if check.result is decided.result]
    return "; ".join(f"{check.title}: {check.detail}" for check in deciding)


def report_url(view: View, promotion: str) -> str:
    """Where people read the complete assessment; empty where nobody said where the board is."""
    board = view.ports.board_url
    return f"{board}/promotions/{promotion}" if board else ""


def _promoted(
    view: View, environment: Environment, application: Application, running: Mapping[str, Digest]
) -> date | None:
    """When what runs was sealed: what was disclosed since then is newly disclosed."""
    seals = view.ports.memory.seals(view.scope(environment.name, application.name))
    days = [seal.at.date() for seal in seals if running.get(seal.image) == seal.digest]
    return max(days, default=None)


def _exploitation(view: View, scans: Sequence[Scan]) -> Exploitation:
    if view.ports.feeds is None:
        return Exploitation()
    wanted = {
        name
        for scan in scans
        for finding in scan.findings.values()
        for name in (finding.vulnerability, *finding.aliases)
    }
    return view.ports.feeds.exploitation(wanted)


class _Looker:
    """Reads what scanners have said about one application's images in one environment."""

    def __init__(self, view: View, environment: Environment, application: Application) -> None:
        self._view, self._environment, self._application = view, environment, application
        self.missing: list[str] = []
        self.jobs: list[Job] = []
        self._facts: ScannerFacts | None = None
        self._reports: Reports | None = view.ports.reports
        if view.ports.scanner is None:
            self.missing.append("no scanner is configured")
            return
        try:
            self._facts = view.ports.scanner.facts()
        except UnavailableError as error:
            self.missing.append(str(error))

    def scan_of(self, images: Mapping[str, Digest]) -> Scan | None:
        """One scan of all platforms of all these images; None as soon as one is missing."""
        if self._facts is None or self._reports is None:
            return None
        scans = [
            self._platform(image, digest, platform, self._facts, self._reports)
            for image, digest in images.items()
            for platform in self._platforms(image, digest)
        ]
        found = [scan for scan in scans if scan is not None]
        return merged_scans(found) if found and len(found) == len(scans) else None

    def _platforms(self, image: str, digest: Digest) -> Sequence[PlatformImage | None]:
        """The platforms of an image; one that is None cannot be known."""
        description = self._described(image, digest)
        if description is None:
            self.missing.append(f"{image} {digest.short} cannot be read from any registry here")
            return [None]
        for ambiguity in description.ambiguities:
            self.missing.append(f"{image} {digest.short} cannot be scanned whole: {ambiguity}")
        if description.ambiguities or not description.platforms:
            return [None]
        return description.platforms

    def _described(self, image: str, digest: Digest) -> ImageDescription | None:
        view, environment = self._view, self._environment
        source = source_repository(view.pipeline, environment, self._application, image)
        target = environment.repository_of(self._application, image)
        for repository in (source, target):
            if repository is not None:
                try:
                    return view.registry(environment).describe(repository.at(digest))
                except NotFoundError:
                    continue
        return None

    def _platform(
        self,
        image: str,
        digest: Digest,
        platform: PlatformImage | None,
        facts: ScannerFacts,
        reports: Reports,
    ) -> Scan | None:
        if platform is None:
            return None
        name = f"{image} {digest.short} ({platform.platform})"
        seen = reports.examination(facts.name, platform.digest)
        match = reports.match(platform.digest, facts.generation)
        if match is None or match.failure or seen is None:
            self.jobs.append(scan_job(self._view, self._environment, image, digest))
            why = match.failure if match and match.failure else "it is being scanned"
            self.missing.append(f"{name}: {why}")
            return None
        try:
            examined = read_scan(seen.report, f"the report on {name}")
            matched = read_scan(match.report, f"the report on {name}")
        except RejectedError as error:
            self.missing.append(str(error))
            return None
        if str(platform.config) != examined.image_id and platform.digest not in examined.digests:
            self.missing.append(f"the report on {name} is about another image")
            return None
        scan = rematched(examined, matched)
        return replace(
            scan,
            platforms=(str(platform.platform),),
            digests=frozenset({str(digest), str(platform.digest)}),
            image=image,
            database=facts.database,
            finished=self._view.ports.clock.now(),  # with today's data it would say the same
        )
