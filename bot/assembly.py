"""The composition root: the only module that names use cases and adapters together."""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa

from bot.adapters import engine as engine_adapter, store
from bot.adapters.asked import AskedJobs
from bot.adapters.clock import SystemClock, pause
from bot.adapters.counted import CountedAudit
from bot.adapters.engine import Engine
from bot.adapters.feeds import FileFeeds
from bot.adapters.git.mirror import Mirrors
from bot.adapters.github import permissions
from bot.adapters.github.api import GitHubApi
from bot.adapters.github.calls import Calls
from bot.adapters.github.missed import Accept, MissedWebhooks
from bot.adapters.github.pace import Urgency, urgency
from bot.adapters.github.set_up import GitHubSetUp
from bot.adapters.github.tokens import Tokens
from bot.adapters.grants import Grants, KeyFile, ManifestsGrant
from bot.adapters.journal import Journal
from bot.adapters.looks import LooksTogether
from bot.adapters.metrics import CONTENT_TYPE, Metrics
from bot.adapters.outbox import Outbox
from bot.adapters.premises import LocalPremises
from bot.adapters.registry import HostLimits, Registry
from bot.adapters.rounds import Rounds
from bot.adapters.scanning import harden, renderer_of, scanner_of
from bot.adapters.signing import is_key_uri, load_key, load_public_key
from bot.adapters.signing.keyless import KeylessVerifier
from bot.adapters.signing.openpgp import load_commit_key
from bot.checkups import SOON_SECONDS, Checkups
from bot.domain.environments import GitHubRepository
from bot.domain.errors import LockkeeperError, NotGrantedError, RejectedError
from bot.domain.floors import Floor
from bot.domain.grants import KeyPlace, KeyRole, RegistryGrant
from bot.domain.jobs import EVERYTHING, Done, Job, JobKind, Outcome, Share
from bot.domain.metrics import (
    COPIED,
    FINDINGS,
    GITHUB_REQUESTS,
    JOB_RUNS,
    JOB_SECONDS,
    READY,
    REGISTRY_REQUESTS,
    WEBHOOKS,
    Noted,
    Reading,
)
from bot.domain.oci import ImageRepository
from bot.domain.promotion import in_hand
from bot.facts.diagnosis import Doctor
from bot.facts.snapshot import Limits, Ports
from bot.formats.docker_config import parse_registry_grant
from bot.formats.grant_floor import read_floor
from bot.formats.markdown import prose, text as escaped_text
from bot.formats.webhook import WebhookHint
from bot.measuring import MEASURE_SECONDS, NOTED, Measuring
from bot.ports.clock import Clock
from bot.ports.github import GitHub
from bot.ports.jobs import Jobs
from bot.ports.keys import CommitKey, KeyRing, Signer, Verifier
from bot.ports.record import Audit, Memory
from bot.ports.registry import ImageRegistry
from bot.ports.rendering import Renderer
from bot.ports.scanning import Scanner
from bot.reconcilers.intake import may_concern, tells_something
from bot.settings import Settings
from bot.web.health import create_board
from bot.web.intake import Authenticity, create_closed_intake, create_intake, recorder
from bot.web.metrics import answers_counted, metrics_page
from bot.web.promotions import promotion_pages
from bot.web.serving import serve
from bot.workflows import Workflows

_INSTALLATION_EVENTS = frozenset({"installation", "installation_repositories"})
_COMMANDS_SECONDS = 0.5
_MOVES_NO_REF = frozenset(
    f"GitHub.{name}"
    for name in (
        "add_labels",
        "edit_pull_request",
        "report_deployment",
        "request_reviewers",
        "set_check",
        "set_comment",
    )
)
"""Effects after which git shows what it showed before."""
_SCANNER_SECONDS = 15.0
_DOCTOR_TIMEOUT = 4
"""Seconds that the doctor waits for GitHub: less than a round of its looks."""


@dataclass(frozen=True)
class Granted:
    """`bot.ports.grants.Grants`: the grants folder, turned into registries and keys.

    Files are read at each use (they are small, and an operator may rotate them); what was made of
    equal content is kept, so that connections and tokens live on.
    """

    grants: Grants
    clock: Clock
    journal: Journal
    share: Share = EVERYTHING
    metrics: Metrics | None = None
    """Counts what is asked and copied; None: nobody does."""
    _registries: dict[tuple[str, str, str], ImageRegistry] = field(default_factory=dict)
    _keys: dict[str, Signer] = field(default_factory=dict)
    _commit_keys: dict[str, CommitKey] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _limits: HostLimits = field(init=False)
    """One pace per registry host, whichever environment asks."""

    def __post_init__(self) -> None:
        """Share one clock with everything."""
        limits = HostLimits(self.clock, pause, counted=self._asked)
        object.__setattr__(self, "_limits", limits)

    def _asked(self, host: str, outcome: str) -> None:
        if self.metrics is not None:
            self.metrics.count(REGISTRY_REQUESTS, host, outcome)

    def paces(self) -> Sequence[Reading]:
        """How often each registry host may be asked."""
        return self._limits.paces()

    def allows_source(self, manifests: GitHubRepository, source: GitHubRepository) -> bool:
        """Whether applications may come from this source repository."""
        return self.grants.of(str(manifests)).allows_source(str(source))

    def check(
        self, manifests: GitHubRepository, environment: str, repositories: Iterable[ImageRepository]
    ) -> None:
        """NotGrantedError if the environment may not contact the registry of one of these."""
        grant, _ = self._grant(manifests, environment)
        for repository in repositories:
            grant.entry_for(repository)

    def registry(self, manifests: GitHubRepository, environment: str) -> ImageRegistry:
        """The environment's registries, with its own credentials."""
        grant, content = self._grant(manifests, environment)
        key = (str(manifests), environment, content)
        with self._lock:
            if key not in self._registries:
                made = Registry(
                    grant,
                    clock=self.clock,
                    sleep=pause,
                    limits=self._limits,
                    copied=partial(self._copied, str(manifests), environment),
                )
                self._registries[key] = self.journal.acting(ImageRegistry, made)  # type: ignore[type-abstract]  # a Protocol names the port
            return self._registries[key]

    def _copied(self, manifests: str, environment: str, size: int) -> None:
        if self.metrics is not None and size:
            self.metrics.count(COPIED, manifests, environment, by=size)

    def keys(self, manifests: GitHubRepository, environment: str, role: KeyRole) -> KeyRing:
        """The environment's keys of one role."""
        files = self.grants.of(str(manifests)).keys(environment, role)
        signers = {file.path: self._signer(file) for file in files if not file.only_verifies}
        verifiers = [signers.get(file.path) or self._verifier(file) for file in files]
        return KeyRing(tuple(signers.values()), tuple(verifiers))

    def delivers(self, environment: str) -> bool:
        """Whether this process delivers there: else its public keys are enough here."""
        return self.share.delivers(environment)

    def floor(self, manifests: GitHubRepository, environment: str) -> Floor:
        """What the environment's rules may not go below."""
        found = self.grants.of(str(manifests)).floor_json(environment)
        return read_floor(found[1], found[0]) if found else Floor()

    def commit_key(self, manifests: GitHubRepository, environment: str) -> CommitKey | None:
        """The key that signs the environment's publications; None: GitHub signs them."""
        found = self.grants.of(str(manifests)).commit_key(environment)
        if found is None:
            return None
        path, content, password = found
        identity = hashlib.sha256(
            b"\0".join((path.encode(), content, password.encode()))
        ).hexdigest()
        with self._lock:
            known = self._commit_keys.get(identity)
        if known is None:
            known = load_commit_key(content, path, password)
        with self._lock:
            return self._commit_keys.setdefault(identity, known)

    def commit_keys(self, manifests: GitHubRepository) -> Sequence[CommitKey]:
        """Those of all its environments, as far as they can be read."""
        found: list[CommitKey] = []
        with suppress(LockkeeperError):
            for environment in self.grants.of(str(manifests)).environments():
                with suppress(LockkeeperError):
                    key = self.commit_key(manifests, environment)
                    found += [key] if key is not None else []
        return found

    def key_places(self) -> Sequence[KeyPlace]:
        """Every public key of this installation that is known without asking anybody."""
        return [place for name in self.grants.manifests for place in self._places(name)]

    def _places(self, manifests: str) -> Sequence[KeyPlace]:
        """Those of one manifests repository; none where they cannot be read: its own look says so.

        Whoever asks for another one must not fail because of it.
        """
        try:
            grant = self.grants.of(manifests)
            environments = grant.environments()
        except LockkeeperError:
            return ()
        return [
            KeyPlace(manifests, environment, role, Path(file.path).name, key.fingerprint)
            for environment in environments
            for role in KeyRole
            for file in _readable(grant, environment, role)
            if (key := self._known(file)) is not None
        ]

    def _grant(self, manifests: GitHubRepository, environment: str) -> tuple[RegistryGrant, str]:
        found = self.grants.of(str(manifests)).registry_json(environment)
        if found is None:
            raise NotGrantedError("registry.json", f"the grant of environment {environment}")
        path, content = found
        grant = parse_registry_grant(content.decode("utf-8", "replace"), path)
        return grant, hashlib.sha256(content).hexdigest()

    def _signer(self, file: KeyFile) -> Signer:
        identity = _identity(file)
        with self._lock:
            found = self._keys.get(identity)
        if found is None:  # may take long: no other environment waits for this one's service
            found = load_key(file.content, file.path, file.password, file.public)
        with self._lock:
            return self._keys.setdefault(identity, found)

    def _verifier(self, file: KeyFile) -> Verifier:
        return load_public_key(file.content, file.path)

    def _known(self, file: KeyFile) -> Verifier | None:
        """The public key; None where only a service knows it, or nobody: others still count."""
        try:
            if file.only_verifies:
                return self._verifier(file)
            if not is_key_uri(file.content.decode("utf-8", "replace")):
                return self._signer(file)
            with self._lock:
                found = self._keys.get(_identity(file))
            return found or (load_public_key(file.public, file.path) if file.public else None)
        except LockkeeperError:
            return None


def _readable(grant: ManifestsGrant, environment: str, role: KeyRole) -> Sequence[KeyFile]:
    """The keys of a role; none where they cannot be read: that stops their environment alone."""
    try:
        return grant.keys(environment, role)
    except LockkeeperError:
        return ()


def _identity(file: KeyFile) -> str:
    parts = (file.path.encode(), file.content, file.password, file.public)
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


@dataclass(frozen=True)
class Lockkeeper:
    """One process, put together and not started."""

    settings: Settings
    database: sa.Engine
    engine: Engine
    workflows: Workflows
    checkups: Checkups
    outbox: Outbox
    missed: Callable[[Accept], MissedWebhooks]
    """The App's failed deliveries, handed on to whoever records them."""
    metrics: Metrics
    measuring: Measuring

    def serve(self, *, listens: bool = True) -> None:
        """Serve webhooks and do the work until a signal says stop.

        Args:
            listens: Whether webhooks are accepted; without, their listener knows no route.
        """
        harden()
        settings = self.settings
        authenticity = Authenticity(settings.required_app_id(), settings.required_webhook_secrets())
        intake = (
            create_intake(authenticity, self.workflows.ports.jobs, is_ours=self._is_known)
            if listens
            else create_closed_intake()
        )
        answers_counted(intake, partial(self.metrics.count, WEBHOOKS))
        board = create_board(self._reason_not_ready, self._remarks)
        rounds = (
            Rounds("lockkeeper-doctor", self.checkups.look, again_seconds=SOON_SECONDS),
            Rounds(
                "lockkeeper-outbox",
                self.outbox.send,
                again_seconds=SOON_SECONDS,
                woken=self.outbox.woken,
            ),
            Rounds(
                "lockkeeper-missed",
                self.missed(recorder(self.workflows.ports.jobs, is_ours=self._is_known)).look,
                again_seconds=SOON_SECONDS,
            ),
            Rounds("lockkeeper-measuring", self.measuring.look, again_seconds=MEASURE_SECONDS),
        )
        host = urlsplit(settings.board_url).hostname or ""
        self.metrics.add_source("ready", partial(_readiness, self._reason_not_ready))
        board.register_blueprint(
            metrics_page(self.metrics.text, CONTENT_TYPE, token=settings.metrics_token, host=host)
        )
        pages = promotion_pages(store.EvaluationStore(self.database), host=host)
        board.register_blueprint(pages)
        self.engine.every(settings.reconcile_seconds, self.workflows.put_reconcile)
        self.engine.every(_COMMANDS_SECONDS, self.workflows.put_commands)
        self.engine.every(_SCANNER_SECONDS, self.workflows.put_rescans)
        try:
            serve(
                intake,
                board,
                settings.listen,
                settings.board_listen,
                on_started=lambda: self._begin(rounds),
                on_stop=lambda: self._end(rounds),
            )
        finally:
            self.database.dispose()

    def _begin(self, rounds: Sequence[Rounds]) -> None:
        self.engine.start()
        self.outbox.begin()
        for one in rounds:
            one.start()

    def _end(self, rounds: Sequence[Rounds]) -> None:
        for one in rounds:
            one.stop()
        self.engine.stop()
        self.outbox.stop()

    def _remarks(self) -> Sequence[str]:
        return [finding.line for finding in self.workflows.ports.findings()]

    def _reason_not_ready(self) -> str:
        return self.engine.reason_not_ready() or self.checkups.reason_not_ready()

    def _is_known(self, hint: WebhookHint) -> bool:
        """Whether the repository is a manifests repository or a granted source of one."""
        if _is_noise(self.settings, hint):
            return False
        if hint.event in _INSTALLATION_EVENTS:
            return True
        try:
            GitHubRepository.parse(hint.repository)
        except RejectedError:
            return False
        ports = self.workflows.ports
        return any(may_concern(ports, one, hint.repository) for one in ports.manifests)


@dataclass(frozen=True)
class Web:
    """The process that strangers reach: it takes webhooks in and shows the board's pages.

    It has the webhook secret and the database, and neither the App's private key nor a grant; what
    it writes are looks to take, and no row of it proves anything.
    """

    settings: Settings
    database: sa.Engine
    engine: Engine
    memory: store.MemoryStore

    def serve(self) -> None:
        """Serve webhooks until a signal says stop."""
        harden()
        settings = self.settings
        authenticity = Authenticity(settings.required_app_id(), settings.required_webhook_secrets())
        board = create_board(self.engine.reason_not_ready)
        host = urlsplit(settings.board_url).hostname or ""
        board.register_blueprint(promotion_pages(store.EvaluationStore(self.database), host=host))
        metrics = Metrics(version("lockkeeper"))
        metrics.add_source("ready", partial(_readiness, self.engine.reason_not_ready))
        metrics.add_source("jobs", self.engine.depths)
        board.register_blueprint(
            metrics_page(metrics.text, CONTENT_TYPE, token=settings.metrics_token, host=host)
        )
        intake = create_intake(authenticity, self.engine, is_ours=self._is_known)
        answers_counted(intake, partial(metrics.count, WEBHOOKS))
        try:
            serve(
                intake,
                board,
                settings.listen,
                settings.board_listen,
                on_started=self.engine.start,
                on_stop=self.engine.stop,
            )
        finally:
            self.database.dispose()

    def _is_known(self, hint: WebhookHint) -> bool:
        return not _is_noise(self.settings, hint) and self.knows(hint.event, hint.repository)

    def knows(self, event: str, repository: str) -> bool:
        """Whether a repository is a manifests repository, or a source that a worker looked at."""
        name = repository.lower()
        is_manifests = name in {one.lower() for one in self.settings.manifests}
        is_installation = event in _INSTALLATION_EVENTS
        return is_installation or is_manifests or self.memory.is_known_source(name)


def _readiness(reason_not_ready: Callable[[], str]) -> Sequence[Reading]:
    return [Reading(READY, (), float(not reason_not_ready()))]


def assemble_web(settings: Settings) -> Web:
    """Put the process together that takes webhooks; nothing is contacted but the database."""
    settings.required_manifests()
    _make_data_folder(settings.data_dir)
    opened = _migrated(settings)

    def run(job: Job) -> Outcome:
        return Done(f"{job.key} is another process's")

    clock = SystemClock(settings.test_clock)
    engine = Engine(opened.database, clock, run, share=Share(kinds=()))
    memory = store.MemoryStore(opened.database, opened.proofs)
    return Web(settings, opened.database, engine, memory)


def _is_noise(settings: Settings, hint: WebhookHint) -> bool:
    """What can ask for no look leaves no row: our own checks, mere beginnings."""
    own_check = hint.check_app == settings.app_id and not hint.action.startswith("re")
    return own_check or not tells_something(hint)


def _migrated(settings: Settings) -> OpenStore:
    """The database, made where there is none, in the newest version."""
    opened = _stores(settings, store.open_database(settings.database_url))
    store.migrate(opened.database, "store", store.MIGRATIONS)
    store.migrate(opened.database, "engine", engine_adapter.MIGRATIONS)
    return opened


def _make_data_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fact = f"LOCKKEEPER_DATA_DIR: {folder} cannot be made ({error.strerror})"
        raise RejectedError(f"{fact}; give the bot's user this folder, or name another") from error


@dataclass(frozen=True)
class OpenStore:
    """A database as the command line uses it."""

    database: sa.Engine
    proofs: store.Proofs
    commands: store.CommandStore
    audit: store.AuditStore

    @property
    def name(self) -> str:
        """Which database was asked, for messages; never a password."""
        return store.name_of(self.database)


def open_store(settings: Settings) -> OpenStore:
    """The database of a running (or stopped) bot, for the command line; it is never made here.

    Raises:
        RejectedError: there is none, or a Lockkeeper of another version wrote it.
    """
    database = store.open_database(settings.database_url)
    store.demand(database, "store", store.MIGRATIONS)
    return _stores(settings, database)


def _stores(settings: Settings, database: sa.Engine) -> OpenStore:
    clock = SystemClock(settings.test_clock)
    proofs = store.Proofs(_record_keys(settings))
    commands = store.CommandStore(database, clock, proofs)
    return OpenStore(database, proofs, commands, store.AuditStore(database, clock))


def _record_keys(settings: Settings) -> tuple[bytes, ...]:
    """What proves rows; none where this process has neither key: then it believes no row."""
    own = [key.encode() for key in settings.record_keys]
    app = [settings.private_key.encode()] if settings.private_key else []
    return tuple(hmac.digest(key, b"lockkeeper rows 1", "sha256") for key in [*own, *app])


def known_names(settings: Settings) -> tuple[Sequence[str], Sequence[str]]:
    """Environments and applications that the record names, for a shell's completion."""
    opened = open_store(settings)
    names = store.MemoryStore(opened.database, opened.proofs).names()
    opened.database.dispose()
    return names


def granted(folder: Path, manifests: Sequence[str]) -> Granted:
    """A grants folder, for the command line."""
    return Granted(Grants(folder, manifests), SystemClock(), Journal())


def _scanner(settings: Settings, clock: Clock) -> Scanner | None:
    return scanner_of(
        settings.scanner,
        clock=clock,
        database=settings.scanner_database,
        server=settings.scanner_server,
        token=settings.scanner_token,
        canary=settings.scanner_canary,
        directory=settings.scanner_dir,
        seconds=settings.scanner_seconds,
        memory_mib=settings.scanner_memory_mib,
        database_days=settings.scanner_database_days,
    )


def _renderer(settings: Settings) -> Renderer | None:
    return renderer_of(
        kustomize=settings.kustomize,
        helm=settings.helm,
        directory=settings.scanner_dir,
        seconds=settings.render_seconds,
        memory_mib=settings.render_memory_mib,
    )


def _tokens(settings: Settings, calls: Calls) -> Tokens:
    return Tokens(calls, str(settings.required_app_id()), settings.required_private_key())


def _secret(settings: Settings) -> bytes:
    """What proves that rows are this bot's: made of the App's key, which no database holds."""
    return hmac.digest(settings.required_private_key().encode(), b"lockkeeper outbox 1", "sha256")


def hiding(settings: Settings) -> Callable[[str], str]:
    """Puts the variable's name in the place of each folder and file that the operator named.

    Errors name them, for logs and the command line; on GitHub they are anybody's to read.
    """
    places = {
        "LOCKKEEPER_GRANTS_DIR": settings.grants_dir,
        "LOCKKEEPER_DATA_DIR": settings.data_dir,
        "LOCKKEEPER_KEV_CATALOGUE": settings.kev_catalogue,
        "LOCKKEEPER_EPSS_SCORES": settings.epss_scores,
        "LOCKKEEPER_TRUSTED_ROOT": settings.trusted_root,
        "LOCKKEEPER_SCANNER_DATABASE": settings.scanner_database,
        "LOCKKEEPER_SCANNER_CANARY": settings.scanner_canary,
        "LOCKKEEPER_SCANNER_DIR": settings.scanner_dir,
        "LOCKKEEPER_KUSTOMIZE": settings.kustomize,
        "LOCKKEEPER_HELM": settings.helm,
    }
    words = {
        spelled: name
        for name, place in places.items()
        if place is not None and len(str(place)) > 1
        for spelled in {str(place), prose(str(place), 4096), escaped_text(str(place), 4096)}
    }
    # The longest first: one may lie in another.
    pattern = "|".join(re.escape(one) for one in sorted(words, key=len, reverse=True))
    return lambda said: re.sub(pattern, lambda found: words[found[0]], said)


def _mirrors(settings: Settings, tokens: Tokens) -> Mirrors:
    return Mirrors(
        settings.data_dir / "mirrors",
        settings.github_url,
        lambda repository: tokens.text(repository, permissions.READ_CONTENTS),
        tokens.forget,
    )


def doctor_of(settings: Settings) -> Doctor:
    """The doctor alone, for the command line; nothing is made or changed."""
    clock = SystemClock(settings.test_clock)
    grants = Granted(Grants(settings.grants_dir, settings.required_manifests()), clock, Journal())
    return _doctor(settings, clock, grants, _scanner(settings, clock))


def _doctor(settings: Settings, clock: Clock, grants: Granted, scanner: Scanner | None) -> Doctor:
    """Who looks at the set-up: with calls and tokens of its own, that wait for less."""
    calls = Calls(settings.github_api_url, clock, _DOCTOR_TIMEOUT)
    tokens = _tokens(settings, calls)
    known = {"store": len(store.MIGRATIONS), "engine": len(engine_adapter.MIGRATIONS)}
    return Doctor(
        manifests=tuple(GitHubRepository.parse(name) for name in settings.required_manifests()),
        app_id=settings.required_app_id(),
        api_url=settings.github_api_url,
        reconcile_seconds=settings.reconcile_seconds,
        set_up=GitHubSetUp(calls, tokens),
        reach=_mirrors(settings, tokens).reach,
        grants=grants,
        premises=LocalPremises(
            settings.data_dir,
            lambda: store.inspect(settings.database_url, known),
            grants.grants.state,
        ),
        scanner=scanner,
        renderer=_renderer(settings),
        clock=clock,
        looks=LooksTogether,
    )


_URGENCIES = {JobKind.DELIVER: Urgency.DELIVERY, JobKind.PUBLISH: Urgency.DELIVERY}
"""What uses up GitHub's budget first; what is told (the outbox) waits for all jobs."""


def assemble(settings: Settings, share: Share = EVERYTHING) -> Lockkeeper:
    """Put one process together; nothing is contacted but the database.

    Args:
        settings: What the operator set.
        share: The jobs that this process runs; it records all of them.
    """
    manifests = settings.required_manifests()
    clock = SystemClock(settings.test_clock)

    def did(effect: str) -> None:  # what was fetched before is older than that
        if effect.startswith("GitHub.") and effect not in _MOVES_NO_REF:
            mirrors.expire()

    journal = Journal(settings.test_kill, did)
    _make_data_folder(settings.data_dir)
    settings.required_private_key()
    opened = _migrated(settings)
    database, commands, audit = opened.database, opened.commands, opened.audit
    opened.proofs.renew(database)

    def run(job: Job) -> Outcome:  # the engine and the workflows need each other
        in_hand("")
        with urgency(_URGENCIES.get(job.kind, Urgency.PROPOSAL)):
            return workflows(job)

    metrics = Metrics(version("lockkeeper"))
    noted: deque[Noted] = deque(maxlen=NOTED)
    engine = Engine(database, clock, run, share=share, ended=partial(_count_run, metrics))
    asked = AskedJobs(engine, is_alone=engine.is_alone)
    calls = Calls(settings.github_api_url, clock, counted=partial(metrics.count, GITHUB_REQUESTS))
    tokens = _tokens(settings, calls)
    grants = Granted(Grants(settings.grants_dir, manifests), clock, journal, share, metrics)
    scanner = _scanner(settings, clock)
    checkups = Checkups(_doctor(settings, clock, grants, scanner))
    github = journal.acting(GitHub, GitHubApi(calls, tokens, hiding(settings), engine.is_alone))  # type: ignore[type-abstract]  # a Protocol names the port
    mirrors = _mirrors(settings, tokens)
    outgoing = store.OutgoingStore(database, clock, _secret(settings))
    outbox = Outbox(github, outgoing, clock, journal.job)
    ports = Ports(
        github=github,
        outbox=outbox,
        mirrors=mirrors,
        memory=journal.recording(Memory, store.MemoryStore(database, opened.proofs)),  # type: ignore[type-abstract]  # a Protocol names the port
        audit=journal.recording(Audit, CountedAudit(audit, noted)),  # type: ignore[type-abstract]  # a Protocol names the port
        jobs=journal.recording(Jobs, asked),  # type: ignore[type-abstract]  # a Protocol names the port
        clock=clock,
        grants=grants,
        web_url=settings.github_url,
        manifests=tuple(GitHubRepository.parse(name) for name in manifests),
        limits=Limits(
            timedelta(seconds=settings.wait_limit_seconds),
            timedelta(seconds=settings.publish_interval_seconds),
            timedelta(seconds=settings.propose_interval_seconds),
            settings.open_pull_requests,
        ),
        version=version("lockkeeper"),
        reports=store.ReportStore(database, opened.proofs),
        scanner=scanner,
        scanner_may_be_partial=settings.scanner_may_be_partial,
        renderer=_renderer(settings),
        renderings=store.RenderingStore(database, opened.proofs, clock),
        feeds=FileFeeds(settings.kev_catalogue, settings.epss_scores),
        evaluations=store.EvaluationStore(database),
        certificates=KeylessVerifier(settings.trusted_root),
        public_key=load_public_key,
        board_url=settings.board_url,
        looks=LooksTogether,
        blobs=store.BlobStore(database, opened.proofs),
        findings=lambda: (
            *outbox.findings(),
            *opened.proofs.findings(),
            *checkups.remarkable(),
        ),
    )
    workflows = Workflows(ports, commands, engine.retry, journal.job, asked.running)
    missed = partial(MissedWebhooks, calls, tokens)
    measuring = Measuring(ports, store.ChronicleStore(database), metrics, noted)
    for name, read in {
        "jobs": engine.depths,
        "outbox": outgoing.backlog,
        "findings": lambda: _findings(ports),
        "github": calls.budgets,
        "registries": grants.paces,
        "promotions": measuring.readings,
    }.items():
        metrics.add_source(name, read)
    return Lockkeeper(
        settings, database, engine, workflows, checkups, outbox, missed, metrics, measuring
    )


def _count_run(metrics: Metrics, kind: JobKind, how: str, seconds: float) -> None:
    metrics.count(JOB_RUNS, kind, how)
    metrics.observe(JOB_SECONDS, kind, seconds=seconds)


def _findings(ports: Ports) -> Sequence[Reading]:
    counted = Counter((str(one.about), str(one.severity)) for one in ports.findings())
    return [Reading(FINDINGS, labels, number) for labels, number in counted.items()]
