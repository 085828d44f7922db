"""The set-up, asked side by side within a few seconds: facts for `bot.domain.doctor`.

Two rounds. The first asks what stands alone; the second what depends on it: the branches that a
pipeline file names, the registries and keys of its environments. A look that is not answered in
time is a fact too, so that a diagnosis always ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bot.domain.doctor.branches import BranchRules, EnvironmentPlan, RefState
from bot.domain.doctor.diagnosis import Diagnosis, SetUp, diagnose
from bot.domain.doctor.environments import KeyState, RegistryState
from bot.domain.doctor.findings import Known, Look, Unknown
from bot.domain.doctor.machine import FolderState, Machine, RenderingState, ScannerState
from bot.domain.doctor.members import (
    Installation,
    Member,
    PipelineState,
    RepositoryState,
    Ungranted,
)
from bot.domain.doctor.sources import Sources, SourceState
from bot.domain.environments import (
    Environment,
    GitHubRepository,
    ManifestsRepository,
    Pipeline,
)
from bot.domain.errors import ConfigurationError, LockkeeperError, RejectedError
from bot.domain.grants import KeyRole
from bot.domain.oci import ImageRepository
from bot.facts.granted import Refusal, refusals, source_repository
from bot.formats.pipeline_file import PIPELINE_FILE, read_pipeline
from bot.ports.clock import Clock
from bot.ports.grants import Grants
from bot.ports.premises import AppSetUp, Looks, Premises, Reach
from bot.ports.rendering import Renderer
from bot.ports.scanning import Scanner

FIRST_ROUND_SECONDS: Final = 4.5
SECOND_ROUND_SECONDS: Final = 3.5
"""Both together leave the process two of the ten seconds in which a wrong set-up must be named."""
SOURCES: Final = 50
"""Source repositories of one manifests repository that are asked about, in the order of the file:
each costs a request, every five minutes, of an App that also has to work."""
_NOT_ASKED: Final = Unknown("not asked: what it depends on is not known")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the first round brought of one manifests repository."""

    repository: GitHubRepository
    installation: Look[Installation | None]
    state: Look[RepositoryState]
    fetch: Look[None]
    pipeline: Look[_PipelineFile]

    @property
    def read(self) -> Pipeline:
        """The pipeline file; without environments where there is none that can be read."""
        return self.pipeline.value.read if isinstance(self.pipeline, Known) else Pipeline({}, {})

    @property
    def granted(self) -> Pipeline:
        """The same, without what the operator's grants do not bear: one cause, one finding."""
        return self.pipeline.value.granted if isinstance(self.pipeline, Known) else Pipeline({}, {})


@dataclass(frozen=True, slots=True)
class _PipelineFile:
    """The pipeline file on the default branch, and what it says."""

    state: PipelineState
    read: Pipeline = field(default_factory=lambda: Pipeline({}, {}))
    granted: Pipeline = field(default_factory=lambda: Pipeline({}, {}))


@dataclass(frozen=True, slots=True)
class Doctor:
    """Who asks, and whom."""

    manifests: tuple[GitHubRepository, ...]
    app_id: int
    api_url: str
    reconcile_seconds: int
    set_up: AppSetUp
    reach: Reach
    grants: Grants
    premises: Premises
    scanner: Scanner | None
    renderer: Renderer | None
    clock: Clock
    looks: Callable[[float], Looks]
    """Makes looks that have so many seconds."""

    def __call__(self) -> Diagnosis:
        """Ask everything and say what is wrong."""
        first = self.looks(FIRST_ROUND_SECONDS)
        app, deliveries = first.begin(self.set_up.app), first.begin(self.set_up.deliveries)
        visible, grants = first.begin(self.set_up.visible), first.begin(self.premises.grants)
        machine = self._machine(first)
        begun = [self._member(first, repository) for repository in self.manifests]
        asked = [answers() for answers in begun]

        second = self.looks(SECOND_ROUND_SECONDS)
        rules = [self._branches(second, one, visible) for one in asked]
        sources = [self._sources(second, one) for one in asked]
        registries = [wait for one in asked for wait in self._registries(second, one)]
        keys = [wait for one in asked for wait in self._keys(second, one)]
        return diagnose(
            SetUp(
                at=self.clock.now(),
                api_url=self.api_url,
                app_id=self.app_id,
                reconcile_seconds=self.reconcile_seconds,
                app=app(),
                deliveries=deliveries(),
                members=[member() for member in rules],
                sources=[states() for states in sources],
                grants=grants(),
                registries=[state() for state in registries],
                keys=[state() for state in keys],
                machine=machine(),
            )
        )

    # --- the first round: what stands alone ---

    def _machine(self, looks: Looks) -> Callable[[], Machine]:
        premises = self.premises
        writable, free = looks.begin(premises.write), looks.begin(premises.free)
        database, versions = looks.begin(premises.database), looks.begin(premises.versions)
        scanner, rendering = looks.begin(self._scanner), looks.begin(self._rendering)
        return lambda: Machine(
            FolderState(premises.data_folder, writable(), free()),
            database(),
            versions(),
            scanner(),
            rendering(),
        )

    def _rendering(self) -> RenderingState | None:
        if self.renderer is None:
            return None
        return RenderingState(self.renderer.generation(), tuple(self.renderer.gaps()))

    def _scanner(self) -> ScannerState | None:
        if self.scanner is None:
            return None
        facts = self.scanner.facts()
        return ScannerState(facts.name, facts.version, facts.database, tuple(self.scanner.gaps()))

    def _member(self, looks: Looks, repository: GitHubRepository) -> Callable[[], _Asked]:
        installation = looks.begin(lambda: self.set_up.installation(repository))
        state = looks.begin(lambda: self.set_up.repository(repository))
        fetch = looks.begin(lambda: self.reach(repository))
        pipeline = looks.begin(lambda: self._pipeline(repository))
        return lambda: _Asked(repository, installation(), state(), fetch(), pipeline())

    def _pipeline(self, repository: GitHubRepository) -> _PipelineFile:
        content = self.set_up.file(repository, PIPELINE_FILE)
        if content is None:
            return _PipelineFile(PipelineState(found=False))
        try:
            pipeline = read_pipeline(content.decode())
        except UnicodeDecodeError:
            return _PipelineFile(PipelineState(found=True, problem=f"{PIPELINE_FILE}: not UTF-8"))
        except RejectedError as error:
            return _PipelineFile(_refused(error))
        plans = tuple(_plan(environment) for environment in pipeline.environments.values())
        found = list(refusals(self.grants, ManifestsRepository(repository), pipeline))
        granted = _without(pipeline, found)
        ungranted = _by_cause(found, stops_all=not (granted.environments and granted.applications))
        state = PipelineState(found=True, environments=plans, ungranted=ungranted)
        return _PipelineFile(state, pipeline, granted)

    # --- the second round: what the first one named ---

    def _branches(
        self, looks: Looks, asked: _Asked, visible: Callable[[], Look[Sequence[str]]]
    ) -> Callable[[], Member]:
        repository = asked.repository
        default = self._default_rules(looks, asked)
        refs = [
            self._ref(looks, repository, _plan(environment))
            for environment in asked.read.environments.values()
        ]
        return lambda: Member(
            name=str(repository),
            installation=asked.installation,
            repository=asked.state,
            fetch=asked.fetch,
            pipeline=_state(asked.pipeline),
            default_rules=default(),
            refs=[ref() for ref in refs],
            visible=visible(),
        )

    def _default_rules(self, looks: Looks, asked: _Asked) -> Callable[[], Look[BranchRules]]:
        if not isinstance(asked.state, Known):
            return lambda: _NOT_ASKED
        branch = asked.state.value.default_branch
        return looks.begin(lambda: self.set_up.rules(asked.repository, branch))

    def _ref(
        self, looks: Looks, repository: GitHubRepository, plan: EnvironmentPlan
    ) -> Callable[[], RefState]:
        rules = looks.begin(lambda: self.set_up.rules(repository, plan.ref))
        tags = looks.begin(lambda: self.set_up.tags(repository, plan.ref))
        return lambda: RefState(plan, rules(), tags())

    def _sources(self, looks: Looks, asked: _Asked) -> Callable[[], Sources]:
        wanted: dict[GitHubRepository, list[str]] = {}
        for application in asked.granted.applications.values():
            wanted.setdefault(application.source, []).append(application.name)
        chosen = list(wanted.items())[:SOURCES]
        begun = [self._source(looks, source, names) for source, names in chosen]
        rest = len(wanted) - len(begun)
        return lambda: Sources(str(asked.repository), [state() for state in begun], rest)

    def _source(
        self, looks: Looks, source: GitHubRepository, applications: Sequence[str]
    ) -> Callable[[], SourceState]:
        state = looks.begin(lambda: self.set_up.repository(source))
        return lambda: SourceState(str(source), applications, state())

    def _registries(self, looks: Looks, asked: _Asked) -> Iterator[Callable[[], RegistryState]]:
        for environment in asked.granted.environments.values():
            for repository, writes in _repositories(asked.read, environment).items():
                yield self._registry(looks, asked.repository, environment, repository, writes)

    def _registry(
        self,
        looks: Looks,
        manifests: GitHubRepository,
        environment: Environment,
        repository: ImageRepository,
        writes: bool,  # noqa: FBT001 - whether the environment writes there
    ) -> Callable[[], RegistryState]:
        access = looks.begin(
            lambda: self.grants.registry(manifests, environment.name).access(
                repository, writes=writes
            )
        )
        fixed = writes and any(not tag.moves for tag in environment.image_tags)
        return lambda: RegistryState(
            str(manifests), environment.name, str(repository), fixed, access()
        )

    def _keys(self, looks: Looks, asked: _Asked) -> Iterator[Callable[[], KeyState]]:
        for environment in asked.granted.environments.values():
            for role in KeyRole:
                yield self._key(looks, asked.repository, environment, role)

    def _key(
        self, looks: Looks, manifests: GitHubRepository, environment: Environment, role: KeyRole
    ) -> Callable[[], KeyState]:
        def fingerprints() -> Sequence[str]:
            ring = self.grants.keys(manifests, environment.name, role)
            return [signer.fingerprint for signer in ring.signers]

        found = looks.begin(fingerprints)
        is_attestation = role is KeyRole.ATTESTATION
        return lambda: KeyState(
            str(manifests), environment.name, is_attestation, environment.signs, found()
        )


def _plan(environment: Environment) -> EnvironmentPlan:
    return EnvironmentPlan(
        environment.name,
        environment.ref,
        environment.merges_itself,
        environment.approvals.count,
        environment.signs,
    )


def _state(look: Look[_PipelineFile]) -> Look[PipelineState]:
    return Known(look.value.state) if isinstance(look, Known) else look


def _refused(error: RejectedError) -> PipelineState:
    problem, remedy = _words(error)
    return PipelineState(found=True, problem=problem, remedy=remedy)


def _words(error: LockkeeperError) -> tuple[str, str]:
    """The fact with its place, and the way out."""
    if not isinstance(error, ConfigurationError):
        return str(error), ""
    place = error.file if error.line is None else f"{error.file}:{error.line}"
    return f"{place}: {error.fact}", error.remedy


def _without(pipeline: Pipeline, found: Sequence[Refusal]) -> Pipeline:
    """What of a pipeline file may act."""
    environments = {one.environment for one in found}
    applications = {one.application for one in found}
    return Pipeline(
        {n: one for n, one in pipeline.environments.items() if n not in environments},
        {n: one for n, one in pipeline.applications.items() if n not in applications},
    )


def _by_cause(found: Sequence[Refusal], *, stops_all: bool) -> tuple[Ungranted, ...]:
    """One folder that cannot be read stops many environments, and is one cause."""
    causes: dict[tuple[str, str], list[str]] = {}
    for one in found:
        causes.setdefault(_words(one.error), []).append(one.member)
    return tuple(Ungranted(names, *words, stops_all) for words, names in causes.items())


def _repositories(pipeline: Pipeline, environment: Environment) -> dict[ImageRepository, bool]:
    """One image repository for each host that the environment reaches, and whether it writes there.

    The first image stands for the others of its host: the credentials are the host's.
    """
    found: dict[ImageRepository, bool] = {}
    hosts: set[tuple[str, bool]] = set()
    for application in pipeline.applications.values():
        for image in application.images:
            source = source_repository(pipeline, environment, application, image.name)
            target = environment.repository_of(application, image.name)
            writes = source is not None or environment.signs
            for repository, written in ((target, writes), (source, False)):
                if repository is not None and (repository.host, written) not in hosts:
                    hosts.add((repository.host, written))
                    found[repository] = found.get(repository, False) or written
    return found
