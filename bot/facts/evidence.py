"""What is known about the images of a promotion, and what the environment's policy says of it.

Compared are the wanted images and those that are *published* now. Nothing is scanned in here:
what a scanner has not answered yet is asked for, and until then it is missing, never "clean".
Without a scanner the reports count that a root of the policy attests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final

from bot.domain.assessment import Assessment, Build, Evidence, assess
from bot.domain.environments import Application, Environment, ImageId
from bot.domain.errors import NotFoundError, RejectedError, UnavailableError
from bot.domain.evidence import Exploitation, Scan, merged_scans, named, rematched, with_inventory
from bot.domain.images import ImageDescription, PlatformImage
from bot.domain.jobs import Job
from bot.domain.judging import bases_of
from bot.domain.memory import stood
from bot.domain.oci import Digest
from bot.domain.packages import Inventory, merged
from bot.domain.policy import EnvironmentPolicy, Reason, Required, Result, worst
from bot.domain.vex import VexStatement
from bot.facts.exceptions_in_force import exceptions_in_force
from bot.facts.granted import source_repository
from bot.facts.rules import Rules
from bot.facts.snapshot import View, build_repository, where_it_is
from bot.facts.trust import trust_of
from bot.formats.reports import read_sbom, read_scan
from bot.ports.scanning import Examination, Reports, ScannerFacts
from bot.reconcilers.scanning import scan_job
from bot.signatures.attached_documents import AttestedEvidence, attested_evidence

_SKEW: Final = timedelta(hours=1)
"""By which another machine's clock may be ahead."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What the rules say of what is known now, and the looks that would tell more."""

    assessment: Assessment
    jobs: tuple[Job, ...] = ()
    """Scans that nobody has made yet; whoever needs them puts them."""

    @property
    def waits(self) -> bool:
        """It blocks, and what is missing is on its way."""
        decided = self.assessment.verdict
        return decided.blocks and decided.result is Result.NOT_EVALUATED and bool(self.jobs)


def published(
    view: View, environment: Environment, application: Application
) -> dict[str, set[Digest]]:
    """The application's images -> digests in the newest publication; empty before the first."""
    tip = view.history.heads().get(environment.ref)
    found: dict[str, set[Digest]] = {}
    for location in view.locations_of(tip, environment, application.name) if tip else ():
        reference = location.written.reference()
        if reference is not None and reference.digest is not None:
            found.setdefault(location.place.image, set()).add(reference.digest)
    return found


def evaluate(
    view: View,
    environment: Environment,
    application: Application,
    images: Mapping[str, Digest],
    rules: Rules,
) -> Evaluated:
    """Judge these images against those that are published, by these rules, now."""
    policy, now = rules.policy(environment.name), view.ports.clock.now()
    takes_reports = view.ports.scanner is None and bool(policy and policy.roots.scan)
    looker = _Looker(view, environment, application, takes_reports=takes_reports)
    before = _running(view, environment, application, images, looker.missing)
    new = looker.scan_of(images)
    old = looker.scan_of(before) if before else None
    read = partial(_attested, view, environment, application, rules=rules)
    attested = [read(one) for one in images.items()]
    attested_before = [read(one) for one in before.items()] if view.ports.scanner is None else []
    if takes_reports:
        new, old = (_reported(side, looker.missing, now) for side in (attested, attested_before))
    inventories = _inventories(new, attested, attested_before)
    scans = [scan for scan in (new, old) if scan]
    findings = {} if new is None else new.findings
    reports = view.ports.reports
    scope = view.scope(environment.name)
    missing = [*looker.missing, *(text for one in attested for text in one.missing)]
    evidence = Evidence(
        new=new,
        old=old,
        new_inventory=inventories[0],
        old_inventory=inventories[1],
        exploitation=_exploitation(view, scans),
        vex=(
            *rules.vex.get(environment.name, ()),
            *(statement for one in attested for statement in one.vex),
        ),
        exceptions=exceptions_in_force(view, environment.name, rules, scans),
        application=application.name,
        is_whole=True,
        bases=bases_of(new),
        soaked=_soaked(view, environment, application, images),
        last_promotion=_promoted(view, environment, application, before),
        first_seen=reports.first_seen(scope, list(findings), now.date()) if reports else {},
        signature=_weakest(one.signature for one in attested),
        provenance=_weakest(one.provenance for one in attested),
        builds=tuple(one.build for one in attested if one.build is not None),
        notes=tuple(dict.fromkeys(note for one in attested for note in one.notes)),
        missing=tuple(dict.fromkeys(missing)),
    )
    assessment = assess(environment.name, evidence, policy, now)
    return Evaluated(assessment, tuple(dict.fromkeys(looker.jobs)))


def _running(
    view: View,
    environment: Environment,
    application: Application,
    images: Mapping[str, Digest],
    missing: list[str],
) -> dict[str, Digest]:
    """What is published of these images; what cannot be compared is said."""
    running = published(view, environment, application)
    found: dict[str, Digest] = {}
    for image in images:
        digests = running.get(image, set())
        if len(digests) > 1:
            missing.append(f"{image} runs with {len(digests)} digests; none is compared")
        elif digests:
            found[image] = next(iter(digests))
    return found


@dataclass(frozen=True, slots=True)
class _Attested:
    """What hangs on one image, as far as the assessment asks."""

    signature: Reason
    provenance: Reason
    inventory: Inventory | None = None
    scan: Scan | None = None
    unscanned: tuple[str, ...] = ()
    """Platforms about which no report counts, each with its image."""
    vex: tuple[VexStatement, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    build: Build | None = None


def _attested(
    view: View,
    environment: Environment,
    application: Application,
    image: tuple[str, Digest],
    rules: Rules,
) -> _Attested:
    name, digest = image
    reference = where_it_is(view, environment, application, name, digest)
    if reference is None:
        nowhere = Reason(Result.NOT_EVALUATED, f"{name} {digest.short} is nowhere to be read")
        return _Attested(nowhere, nowhere, unscanned=(f"{name} {digest.short}",))
    known = view.ports.memory.resolution_of(view.id, application.name, name, digest)
    policy = rules.policy(environment.name)
    try:
        found = attested_evidence(
            view.registry(environment),
            reference,
            trust_of(view, application, known.commit if known else "", rules),
            policy,
            elsewhere=_elsewhere(view, application, policy),
        )
    except RejectedError as error:
        unread = Reason(Result.NOT_EVALUATED, str(error))
        return _Attested(unread, unread, unscanned=(f"{name} {digest.short}",))
    return _Attested(
        found.signature,
        found.provenance_reason,
        found.inventory,
        named(found.scan, name, _places(view, environment, application, name))
        if found.scan
        else None,
        tuple(f"{name} {digest.short} ({platform})" for platform in found.unscanned),
        found.vex,
        found.missing,
        found.notes,
        _build(name, found),
    )


def _build(image: str, found: AttestedEvidence) -> Build | None:
    stated = found.provenance
    if stated is None:
        return None
    return Build(image, stated.builder, stated.repository, stated.run, found.provenance_by)


def _places(
    view: View, environment: Environment, application: Application, image: str
) -> frozenset[str]:
    """The repositories that an image goes through, from CI's to the environment's."""
    source = source_repository(view.pipeline, environment, application, image)
    found = (
        build_repository(view.pipeline, environment, application, image),
        source,
        environment.repository_of(application, image),
    )
    return frozenset(str(one) for one in found if one is not None)


def _reported(images: Sequence[_Attested], missing: list[str], now: datetime) -> Scan | None:
    """What attested reports say of every platform of all images; None as soon as one is missing."""
    fact = "no scanner is configured, and no report that counts is attested"
    missing += [f"{name}: {fact}" for one in images for name in one.unscanned]
    found = [one.scan for one in images if one.scan is not None]
    if not found or len(found) < len(images):
        return None
    scan = merged_scans(found)
    if scan.finished is not None and scan.finished > now + _SKEW:
        missing.append(f"an attested report says that it was made on {scan.finished:%Y-%m-%d}")
        return None
    return scan


def _inventories(
    new: Scan | None, attested: Sequence[_Attested], before: Sequence[_Attested]
) -> tuple[Inventory | None, Inventory | None]:
    """Both sides by one tool: what two of them list differs by more than the images do."""
    if new is not None and new.inventory is not None:
        return new.inventory, None  # the other side is what that scan lists
    now, then = (
        merged(one.inventory for one in side if one.inventory) for side in (attested, before)
    )
    return now, then if now and then and now.tools == then.tools else None


def _elsewhere(
    view: View, application: Application, policy: EnvironmentPolicy | None
) -> Callable[[Digest], Sequence[bytes]] | None:
    """Ask GitHub as well, where the policy wants what may be there: each question is a request."""
    if policy is None or (policy.required == Required() and not policy.roots.scan):
        return None
    return lambda digest: view.ports.github.attestations(application.source, digest)


def _weakest(reasons: Iterable[Reason]) -> Reason | None:
    """Of several images the one that says least."""
    said = list(reasons)
    result = worst([reason.result for reason in said])
    return next((reason for reason in said if reason.result is result), None)


def newest_report(view: View, platform: Digest) -> tuple[Scan, bytes] | None:
    """The scanner's answer about one platform with today's data; None: there is none.

    Raises:
        UnreadableEvidenceError: It is no report.
    """
    if view.ports.scanner is None or view.ports.reports is None:
        return None
    match = view.ports.reports.match(platform, view.ports.scanner.facts().generation)
    if match is None or match.failure:
        return None
    scan = read_scan(match.report, f"the report on {platform.short}")
    return replace(scan, finished=match.at), match.report


def blocking_reasons(assessment: Assessment) -> str:
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


def _soaked(
    view: View, environment: Environment, application: Application, images: Mapping[str, Digest]
) -> timedelta | None:
    """How long the one of these that stood shortest has stood in the environment before."""
    if environment.source_environment is None:
        return None
    before = view.environment(environment.source_environment)
    seals = view.ports.memory.seals(view.scope(before.name, application.name))
    there, now = published(view, before, application), view.ports.clock.now()
    lengths = [
        stood(seals, image, digest, now if digest in there.get(image, set()) else None)
        for image, digest in images.items()
    ]
    known = [length for length in lengths if length is not None]
    return min(known) if known and len(known) == len(lengths) else None


def _listed(scan: Scan, seen: Examination, name: str) -> Scan:
    """The scan with its packages: grype's report lists none, the SBOM beside it does."""
    if scan.inventory is not None:
        return scan
    try:
        return with_inventory(scan, read_sbom(seen.sbom, f"the SBOM of {name}"))
    except RejectedError as error:
        return replace(scan, limits=(*scan.limits, str(error)))


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

    def __init__(
        self,
        view: View,
        environment: Environment,
        application: Application,
        *,
        takes_reports: bool,
    ) -> None:
        self._view, self._environment, self._application = view, environment, application
        self.missing: list[str] = []
        self.jobs: list[Job] = []
        self._facts: ScannerFacts | None = None
        self._reports: Reports | None = view.ports.reports
        if view.ports.scanner is None:
            self.missing += [] if takes_reports else ["No scanner is configured"]
            return
        try:
            may_have_gaps = view.ports.scanner_may_be_partial and not environment.signs
            gaps = () if may_have_gaps else view.ports.scanner.gaps()
            self._facts = None if gaps else view.ports.scanner.facts()
        except UnavailableError as error:
            self.missing.append(str(error))
            return
        if gaps:
            why = "the scanner is not kept apart here"
            self.missing.append(f"{why}: {'; '.join(gaps)}")

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
        reference = where_it_is(view, environment, self._application, image, digest)
        try:
            return view.registry(environment).describe(reference) if reference else None
        except NotFoundError:
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
        if match is not None and match.failure:
            self.missing.append(f"{name}: {match.failure}")
            return None  # its job tries again, with longer and longer pauses
        if match is None or seen is None:
            self.jobs.append(
                scan_job(
                    self._view, self._environment, ImageId(self._application.name, image), digest
                )
            )
            self.missing.append(f"{name}: it is being scanned")
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
        scan = _listed(rematched(examined, matched), seen, name)
        return replace(
            scan,
            platforms=(str(platform.platform),),
            digests=frozenset({str(digest), str(platform.digest)}),
            image=image,
            places=_places(self._view, self._environment, self._application, image),
            assumed=frozenset(),  # it is told by us what to look at, and that is everything
            database=facts.database,
            finished=self._view.ports.clock.now(),  # with today's data it would say the same
        )
