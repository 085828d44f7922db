"""What every story has at hand: the ports, and one look at a manifests repository.

A look is taken anew for each job. The pipeline file that is in force is the newest valid one on
the default branch, so a broken file stops nothing but itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from bot.domain.doctor.findings import Finding
from bot.domain.environments import (
    Application,
    Environment,
    GitHubRepository,
    ManifestsRepository,
    Pipeline,
)
from bot.domain.errors import ConfigurationError, NotFoundError, RejectedError
from bot.domain.grants import KeyRole
from bot.domain.images import Presence
from bot.domain.memory import KnownSource, RulesAccepted, Scope
from bot.domain.oci import Digest, DigestReference, ImageRepository
from bot.facts.attribution import DefaultBranch
from bot.facts.continuity import cut_off
from bot.facts.environment_at import files_at
from bot.facts.granted import check_application, check_environment, check_own, source_repository
from bot.facts.members import InTurn, for_each
from bot.facts.rules import Rules, rules_at
from bot.facts.rules_in_force import Gate, Pending, is_same
from bot.facts.shelf import Shelf
from bot.formats.environment_files import EnvironmentFiles
from bot.formats.image_names import Names
from bot.formats.pipeline_file import PIPELINE_FILE, read_pipeline
from bot.formats.places import ImageLocation
from bot.ports.clock import Clock
from bot.ports.git import BlobIndex, GitHistory, Mirrors
from bot.ports.github import GitHub
from bot.ports.grants import Grants
from bot.ports.jobs import Jobs
from bot.ports.keys import Certificates, KeyRing, Verifier
from bot.ports.outbox import Outbox
from bot.ports.premises import Looks
from bot.ports.record import Audit, Evaluations, Memory
from bot.ports.registry import ImageRegistry
from bot.ports.rendering import Renderer, Renderings
from bot.ports.scanning import Feeds, Reports, Scanner

_HISTORY: int = 1000
"""First-parent commits that are searched for a valid pipeline file."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take before somebody is told."""

    wait: timedelta = timedelta(hours=1)
    """An image that has not come by then is reported with what was looked for."""
    between_publications: timedelta = timedelta(seconds=20)
    between_proposals: timedelta = timedelta(seconds=30)
    """One pull request is not given another set sooner: of a storm of pushes it takes the last."""
    open_pull_requests: int = 100
    """Promotions that are open at once in a manifests repository; further ones wait."""


def _no_keys(_content: bytes, name: str) -> Verifier:
    """Stand where nobody reads keys."""
    raise ConfigurationError(name, None, "keys cannot be read here")


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything outside, as the use cases know it."""

    github: GitHub
    outbox: Outbox
    mirrors: Mirrors
    memory: Memory
    audit: Audit
    jobs: Jobs
    clock: Clock
    grants: Grants
    web_url: str
    """Where people read GitHub."""
    manifests: tuple[GitHubRepository, ...]
    """The manifests repositories that the operator named."""
    limits: Limits = field(default_factory=Limits)
    version: str = ""
    """Of Lockkeeper, for what is attested."""
    reports: Reports | None = None
    """What scanners said; there as soon as there is a scanner."""
    scanner: Scanner | None = None
    scanner_may_be_partial: bool = False
    """Where nothing is signed, one counts that is not wholly kept apart: the operator's word."""
    renderer: Renderer | None = None
    """Renders what is to be published; none: nothing is rendered, and that is said."""
    renderings: Renderings | None = None
    """What it said before; there as soon as there is a renderer."""
    feeds: Feeds | None = None
    evaluations: Evaluations | None = None
    certificates: Certificates | None = None
    """Verifies what is signed without keys."""
    public_key: Callable[[bytes, str], Verifier] = _no_keys
    """Reads a public key in PEM; the name is for messages."""
    board_url: str = ""
    """Where people reach the board; empty: nowhere."""
    findings: Callable[[], Sequence[Finding]] = tuple
    """What is not in order with the set-up, as it was last looked at."""
    looks: Callable[[float], Looks] = lambda _seconds: InTurn()
    """Makes looks that have so many seconds."""
    blobs: BlobIndex | None = None
    """What was found in files before; None: nothing is kept."""
    shelf: Shelf = field(default_factory=Shelf)
    """What the looks of this process know together."""


@dataclass(frozen=True, slots=True)
class View:
    """One look at one manifests repository."""

    ports: Ports
    repository: ManifestsRepository
    id: int
    default_branch: str
    head: str
    """The default branch's commit."""
    history: GitHistory
    pipeline: Pipeline
    rules: Rules = field(default_factory=Rules)
    """What it asks of images."""
    broken: ConfigurationError | None = None
    """What is wrong with the newest pipeline file or rules, if those are not in force."""
    pending: Pending | None = None
    """A change of the rules that waits for approvals."""
    cut_off: str = ""
    """Why the record is not believed to be whole, so everything is held; empty: it is."""

    @property
    def web_url(self) -> str:
        """Where people read the manifests repository."""
        return f"{self.ports.web_url}/{self.repository}"

    @property
    def line(self) -> DefaultBranch:
        """The default branch, for whoever asks how a commit came there."""
        return _line(self.ports, self.repository, self.id, self.default_branch, self.history)

    def scope(self, environment: str = "", application: str = "") -> Scope:
        """Whose memory and audit."""
        return Scope(self.id, environment, application)

    def environment(self, name: str) -> Environment:
        """An environment of the pipeline in force."""
        try:
            return self.pipeline.environments[name]
        except KeyError as error:
            raise NotFoundError(f"environment {name}", PIPELINE_FILE) from error

    def granted_environment(self, name: str) -> Environment:
        """The same, to act in: the operator grants all that it needs.

        Raises:
            NotFoundError: as of `environment`.
            ConfigurationError: the grant lacks something, or something of it cannot be used.
            UnavailableError: a key's service does not answer.
        """
        found = self.environment(name)
        check_environment(self.ports.grants, self.repository, self.pipeline, found)
        return found

    def environment_of(self, name: str, application: Application) -> Environment:
        """The same as one application has it.

        Raises:
            NotFoundError: there is none of that name, or the application goes past it.
        """
        found = self.pipeline.environment_of(self.environment(name).name, application)
        if found is None:
            raise NotFoundError(
                f"{application.name} in {name}", f"its `environments`, {PIPELINE_FILE}"
            )
        return found

    def granted_environment_of(self, name: str, application: Application) -> Environment:
        """The same, to act in for that application; errors as above."""
        found = self.environment_of(name, application)
        self.granted_environment(name)
        check_own(self.ports.grants, self.repository, self.pipeline, found, application)
        return found

    def application(self, name: str) -> Application:
        """An application of the pipeline in force."""
        try:
            return self.pipeline.applications[name]
        except KeyError as error:
            raise NotFoundError(f"application {name}", PIPELINE_FILE) from error

    def granted_application(self, name: str) -> Application:
        """The same, to act for: the operator grants its source repository; errors as above."""
        found = self.application(name)
        check_application(self.ports.grants, self.repository, found)
        self._check_source(found)
        return found

    def _check_source(self, application: Application) -> None:
        """Hold that the name means the repository that it meant at first.

        Whoever may make a repository of a granted name anew feeds nothing. One that is not there
        feeds nothing either.
        """
        memory, source = self.ports.memory, str(application.source)
        try:
            number = self.ports.github.facts(application.source).id
        except NotFoundError:
            return
        known = memory.known_source(self.id, source)
        if known is None:
            now = self.ports.clock.now()
            memory.record_source(KnownSource(self.scope(), source, number, now))
            facts = {"source": source, "id": str(number)}
            self.ports.audit.append("source known", self.scope(), facts)
        elif known.id != number:
            raise ConfigurationError(
                PIPELINE_FILE,
                None,
                f"source repository {source} is another one than before: its id is {number}, and "
                f"was {known.id}",
                f"if that is meant: `lockkeeper trust-source {source}`",
            )

    def registry(self, environment: Environment) -> ImageRegistry:
        """The registries that this environment may reach, with its own credentials."""
        return self.ports.grants.registry(self.repository, environment.name)

    def signing_keys(self, environment: Environment) -> KeyRing:
        """The keys whose signature means *admitted for this environment*."""
        return self.ports.grants.keys(self.repository, environment.name, KeyRole.SIGNING)

    def attestation_keys(self, environment: Environment) -> KeyRing:
        """The keys whose statements tell how a digest came into this environment."""
        return self.ports.grants.keys(self.repository, environment.name, KeyRole.ATTESTATION)

    def names(self, environment: Environment) -> Names:
        """How images are called in the files of an environment."""
        return self.ports.shelf.names(self.pipeline, environment)

    def text(self, blob: str) -> str:
        """A file's characters; undecodable bytes come back as they were."""
        return self.history.read(blob).decode("utf-8", "surrogateescape")

    def files(self, commit: str, environment: Environment) -> EnvironmentFiles:
        """What the environment's files say at a commit; all looks share what they read."""
        ports, names = self.ports, self.names(environment)
        return files_at(ports.shelf, ports.blobs, self.history, self.id, commit, environment, names)

    def locations(self, commit: str, environment: Environment) -> Sequence[ImageLocation]:
        """Every place of the environment's files at a commit."""
        return self.files(commit, environment).locations

    def locations_of(
        self, commit: str, environment: Environment, application: str
    ) -> Sequence[ImageLocation]:
        """Those of one application."""
        return self.files(commit, environment).locations_of(application)


def look(ports: Ports, manifests: int) -> View:
    """Look at the manifests repository of that id.

    Others that cannot be seen do not matter, as long as it is found without them.

    Raises:
        NotFoundError: The operator named no repository of that id, or it is empty.
        UnavailableError: It may be one that GitHub does not tell about now.
    """
    seen = for_each(ports.manifests, lambda one: (one, ports.github.facts(one)))
    for repository, facts in seen.found:
        if facts.id == manifests:
            return _view(ports, ManifestsRepository(repository), facts.id, facts.default_branch)
    seen.raise_unavailable()
    problems = f" ({seen.words})" if seen.problems else ""
    raise NotFoundError(f"manifests repository {manifests}", f"LOCKKEEPER_MANIFESTS{problems}")


def look_at(ports: Ports, repository: GitHubRepository) -> View:
    """Look at a manifests repository by its name; errors as of `look`."""
    facts = ports.github.facts(repository)
    return _view(ports, ManifestsRepository(repository), facts.id, facts.default_branch)


def _view(ports: Ports, repository: ManifestsRepository, number: int, branch: str) -> View:
    history = ports.mirrors.of(repository)
    head = history.heads().get(branch)
    if head is None:
        raise NotFoundError(f"branch {branch}", str(repository))
    accepted = ports.memory.accepted_rules(number)
    stopped = cut_off(
        ports.github, ports.grants, ports.memory, repository, number, history, accepted
    )
    force = _in_force(ports, repository, number, branch, history, accepted, begins=not stopped)
    return View(
        ports,
        repository,
        number,
        branch,
        head,
        history,
        force.pipeline,
        force.rules,
        force.broken,
        force.pending,
        stopped,
    )


def _line(
    ports: Ports,
    repository: ManifestsRepository,
    number: int,
    branch: str,
    history: GitHistory,
) -> DefaultBranch:
    def is_written(commit: str) -> bool:
        return bool(ports.memory.heads_at(number, commit))

    head = history.heads().get(branch, "")
    return DefaultBranch(ports.github, repository, history, branch, head, is_written)


@dataclass(frozen=True, slots=True)
class _Force:
    """The rules in force, and what is the matter with newer ones."""

    pipeline: Pipeline
    rules: Rules
    broken: ConfigurationError | None = None
    pending: Pending | None = None


def _in_force(
    ports: Ports,
    repository: ManifestsRepository,
    number: int,
    branch: str,
    history: GitHistory,
    accepted: Sequence[RulesAccepted],
    *,
    begins: bool,
) -> _Force:
    """The newest rules that were let in and are valid.

    Where there are none (yet, or any more) nothing is promoted, and pull requests are answered all
    the same: the first one that brings the file is judged like any later one. The first look is
    one only where the bot ``begins``; what a lost record leaves is shown, and in force for nothing.
    """
    if not accepted:
        head = history.heads()[branch]
        return _first_rules(ports, repository, number, history, head, begins=begins)
    gate = _gate(ports, repository, number, branch, history)
    accepted, pending = gate.standing(accepted)
    broken: ConfigurationError | None = None
    newest = gate.line.head
    is_newest = is_same(history, newest, accepted[-1].commit)
    if is_newest and PIPELINE_FILE not in history.paths(newest):
        return _Force(Pipeline({}, {}), Rules())  # taken away by whoever may
    for commit in dict.fromkeys([newest, *(one.commit for one in reversed(accepted))]):
        try:
            found = _rules_at(repository, history, commit)
        except RejectedError as error:
            broken = broken or as_configuration_error(error)
            continue
        if commit != newest or is_newest:
            return replace(found, broken=broken, pending=pending)
    return _Force(Pipeline({}, {}), Rules(), broken, pending)


def gate_of(view: View) -> Gate:
    """Who judges changes of the rules, for a command that answers for one."""
    return _gate(view.ports, view.repository, view.id, view.default_branch, view.history)


def _gate(
    ports: Ports,
    repository: ManifestsRepository,
    number: int,
    branch: str,
    history: GitHistory,
) -> Gate:
    """Who judges changes of the rules."""
    line = _line(ports, repository, number, branch, history)
    return Gate(line, Scope(number), ports.memory, ports.audit, ports.clock.now())


def _rules_at(repository: ManifestsRepository, history: GitHistory, commit: str) -> _Force:
    pipeline = pipeline_at(repository, history, commit)
    return _Force(pipeline, rules_at(history, pipeline, commit))


def _first_rules(
    ports: Ports,
    repository: ManifestsRepository,
    number: int,
    history: GitHistory,
    head: str,
    *,
    begins: bool,
) -> _Force:
    """The newest valid rules at or before the head: those that the bot begins with."""
    broken: ConfigurationError | None = None
    wrong: set[tuple[str, str, str]] = set()  # pipeline file's blob, what is wrong, its blob
    for commit in history.first_parents(head, limit=_HISTORY):
        file = _blob_of(history, commit.id, PIPELINE_FILE)
        if not file:
            break
        if any(one == (file, one[1], _blob_of(history, commit.id, one[1])) for one in wrong):
            continue
        try:
            found = _rules_at(repository, history, commit.id)
        except RejectedError as error:
            it = as_configuration_error(error)
            broken = broken or it
            wrong.add((file, it.file, _blob_of(history, commit.id, it.file)))
            continue
        if begins:
            line = DefaultBranch(ports.github, repository, history, "", head)
            gate = Gate(line, Scope(number), ports.memory, ports.audit, ports.clock.now())
            gate.let_in(commit.id, "the first look")
        return replace(found, broken=broken)
    return _Force(Pipeline({}, {}), Rules(), broken)


def _blob_of(history: GitHistory, commit: str, path: str) -> str:
    entry = history.paths(commit).get(path)
    return "" if entry is None else entry.blob


def pipeline_at(repository: ManifestsRepository, history: GitHistory, commit: str) -> Pipeline:
    """The pipeline file of exactly this commit; what of it is granted is asked at each act."""
    entry = history.paths(commit).get(PIPELINE_FILE)
    if entry is None:
        raise NotFoundError(PIPELINE_FILE, f"{repository} at {commit[:7]}")
    if not entry.is_file:
        raise ConfigurationError(
            PIPELINE_FILE, None, "it is a link or a submodule", "write the file itself"
        )
    try:
        text = history.read(entry.blob).decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(PIPELINE_FILE, None, "not UTF-8") from error
    return read_pipeline(text, commit=commit)


def as_configuration_error(error: RejectedError) -> ConfigurationError:
    """Any refusal of the file, placed in it."""
    if isinstance(error, ConfigurationError):
        return error
    return ConfigurationError(PIPELINE_FILE, None, str(error))


def where_it_is(
    view: View, environment: Environment, application: Application, image: str, digest: Digest
) -> DigestReference | None:
    """Where the image can be read: where it comes from, or where it goes to."""
    source = source_repository(view.pipeline, environment, application, image)
    target = environment.repository_of(application, image)
    registry = view.registry(environment)
    silent: list[DigestReference] = []
    for repository in (source, target):
        if repository is not None:
            reference = repository.at(digest)
            found = registry.exists(reference)
            if found is Presence.THERE:
                return reference
            silent += [reference] if found is Presence.UNKNOWN else []
    return silent[0] if silent else None  # whoever reads it is told what the registry says


def build_repository(
    pipeline: Pipeline, environment: Environment, application: Application, image: str
) -> ImageRepository:
    """Where CI pushed the image that reaches this environment, however far down."""
    while environment.source_environment is not None:
        environment = pipeline.environments[environment.source_environment]
    built = environment.built_in(application, image)
    return built or environment.repository_of(application, image)


def entry_environment(pipeline: Pipeline, environment: Environment) -> Environment:
    """The environment at the bottom, whose grant reads what CI pushes."""
    while environment.source_environment is not None:
        environment = pipeline.environments[environment.source_environment]
    return environment
