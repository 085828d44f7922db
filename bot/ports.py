"""What the use cases need from the world, as Protocols.

A method that changes the world outside is marked with :func:`acts` and named; all others only
look. The names are the list of effects: `bot.workflows` journals each, and the tests kill the
process before, after and behind every one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final, ParamSpec, Protocol, TypeVar

from bot.domain.doctor.app import AppAnswer, DeliveryLog
from bot.domain.doctor.branches import BranchRules
from bot.domain.doctor.environments import Access, GrantsFolder
from bot.domain.doctor.findings import Look
from bot.domain.doctor.machine import DatabaseState
from bot.domain.doctor.members import Installation, RepositoryState
from bot.domain.environments import GitHubRepository, ImageId
from bot.domain.evidence import Exploitation, FindingKey
from bot.domain.floors import Floor
from bot.domain.grants import KeyPlace, KeyRole
from bot.domain.history import (
    Check,
    ContributedCommit,
    Contribution,
    DeploymentReport,
    FileWrite,
    GitCommit,
    GitHubFacts,
    MergeRefusal,
    PathChange,
    PullRequest,
    Push,
    Review,
    TreeEntry,
)
from bot.domain.images import (
    AccessoryPolicy,
    AnyManifest,
    CopyReport,
    Descriptor,
    ImageDescription,
    NewManifest,
    Presence,
    ReadBack,
    TagOutcome,
)
from bot.domain.jobs import Job, JobState
from bot.domain.memory import (
    Adoption,
    AuditEntry,
    Command,
    Hold,
    KnownSource,
    PublicationRecord,
    Resolution,
    RulesAccepted,
    Scope,
    Seal,
    SeenHead,
    Shown,
    ToldFailure,
    WrittenHead,
)
from bot.domain.metrics import PublishedChange
from bot.domain.notices import Notice, Sink
from bot.domain.oci import Digest, DigestReference, ImageRepository, TagReference
from bot.domain.rendering import Rendering, RenderRoot
from bot.domain.reports import Pending, Report
from bot.domain.trust import CertifiedEnvelope

P = ParamSpec("P")
R = TypeVar("R")

EFFECT_ATTRIBUTE: Final = "__lockkeeper_effect__"


def acts(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a port's method as an effect with a name that people read in the audit."""

    def mark(method: Callable[P, R]) -> Callable[P, R]:
        setattr(method, EFFECT_ATTRIBUTE, name)
        return method

    return mark


class Clock(Protocol):
    """Time, as a fact like any other."""

    def now(self) -> datetime:
        """The current time in UTC, aware."""
        ...


# --- the engine ------------------------------------------------------------------------------


class Jobs(Protocol):
    """The durable queue: what is put is run at least once, whatever crashes."""

    def put(self, job: Job) -> None:
        """Look soon; a look at the same key that has not begun yet absorbs this one."""
        ...

    def put_once(self, job: Job, identity: str) -> bool:
        """Look once per ``identity``, for ever; False if that identity was handled before."""
        ...

    def states(self) -> Sequence[JobState]:
        """Every job that is not over."""
        ...


# --- memory ----------------------------------------------------------------------------------


class Memory(Protocol):
    """The facts of `bot.domain.memory`; every record is an idempotent "ensure".

    Resolutions, publications, rules, adoptions, seals and heads of ours are what this bot recorded,
    there and so; what anybody else wrote into a database is not among them.
    """

    def seen_heads(self, source: str) -> Mapping[str, SeenHead]:
        """Branch name -> head, of one source repository; empty if it was never looked at."""
        ...

    def record_seen(self, heads: Sequence[SeenHead]) -> None:
        """Replace what is known of these branches; one that is followed stays so.

        The first look at a source and the webhook of its first push may run side by side.
        """
        ...

    def known_source(self, manifests: int, source: str) -> KnownSource | None:
        """Which repository this name of a source means to a manifests repository."""
        ...

    def record_source(self, known: KnownSource) -> None:
        """Let the name mean this repository, whatever it meant before."""
        ...

    def resolution(self, manifests: int, application: str, commit: str) -> Resolution | None:
        """The recorded digests of (application, commit)."""
        ...

    def resolution_of(
        self, manifests: int, application: str, image: str, digest: Digest
    ) -> Resolution | None:
        """The newest record that holds this digest for this image."""
        ...

    def known_digests(
        self, manifests: int, digests: Collection[Digest]
    ) -> Mapping[Digest, ImageId]:
        """Those of the digests that were resolved for an image, with that image."""
        ...

    def record_resolution(self, resolution: Resolution) -> Resolution:
        """Record the first resolution; return what is recorded (the first one wins)."""
        ...

    def publications(self, scope: Scope) -> Sequence[PublicationRecord]:
        """All publications that were made for (manifests, environment), oldest first."""
        ...

    def published(self, manifests: int, tips: Mapping[str, str]) -> Collection[str]:
        """Those of these refs whose tip is ours there, made or taken over; ref -> commit."""
        ...

    def last_publication(self, manifests: int, environment: str = "") -> PublicationRecord | None:
        """The newest publication in a manifests repository, or in one of its environments."""
        ...

    def record_publication(self, publication: PublicationRecord) -> None:
        """Remember a publication; called before its ref moves."""
        ...

    def record_shown(self, scope: Scope, commit: str, images: Shown, at: datetime) -> None:
        """Remember which digests a publication of an environment brings; each once."""
        ...

    def shown_by(self, scope: Scope, image: ImageId, digest: Digest) -> Sequence[str]:
        """Publications that brought the image by this digest, newest first: where to look."""
        ...

    def accepted_rules(self, manifests: int) -> Sequence[RulesAccepted]:
        """The rules that came into force in a manifests repository, oldest first."""
        ...

    def record_rules(self, rules: RulesAccepted) -> None:
        """Remember that rules came into force; the first record of a commit stays."""
        ...

    def owner_of(self, manifests: int, ref: str) -> str:
        """The environment that published on a ref last; empty: none did."""
        ...

    def adoptions(self, scope: Scope) -> Sequence[Adoption]:
        """What was adopted in (manifests, environment)."""
        ...

    def record_adoption(self, adoption: Adoption) -> None:
        """Remember an adoption."""
        ...

    def holds(self, scope: Scope) -> Sequence[Hold]:
        """The holds that stop (manifests, environment): its own and its applications'."""
        ...

    def record_hold(self, hold: Hold) -> None:
        """Stop; a second hold on the same scope replaces the reason."""
        ...

    def release_hold(self, scope: Scope) -> bool:
        """End a hold; False if there was none."""
        ...

    def seals(self, scope: Scope) -> Sequence[Seal]:
        """What was sealed for (manifests, environment), narrowed to the application if given."""
        ...

    def record_seal(self, seal: Seal) -> None:
        """Remember a seal; the first record of (scope, image, repository, digest) stays."""
        ...

    def told_failures(self, job: str) -> Sequence[ToldFailure]:
        """Where people were told that the job of this key failed, and not yet that it is over."""
        ...

    def record_told_failures(self, failures: Sequence[ToldFailure]) -> None:
        """Remember where people are told; called before they are."""
        ...

    def forget_told_failures(self, job: str) -> None:
        """Everybody was told that it is over."""
        ...

    def written_heads(self, scope: Scope) -> Sequence[WrittenHead]:
        """The commits that Lockkeeper wrote for this scope, oldest first."""
        ...

    def record_written_head(self, head: WrittenHead) -> None:
        """Remember a commit of ours; called before its branch moves."""
        ...


class Audit(Protocol):
    """The chained record of what was done; written in the same transaction as its memory."""

    def append(self, kind: str, scope: Scope, facts: Mapping[str, str], *, once: str = "") -> None:
        """Add an entry; with ``once`` a second entry of that identity is not added."""
        ...

    def has(self, once: str) -> bool:
        """Whether an entry of that identity was added."""
        ...

    def head(self) -> tuple[int, str]:
        """Sequence and hash of the newest entry; (0, "") before the first."""
        ...

    def entries(self, after: int = 0) -> Sequence[AuditEntry]:
        """Entries with a larger sequence, at most 1,000, in order."""
        ...


class Chronicle(Protocol):
    """What publications changed, as the record tells it: for figures, never for a decision."""

    def changes(self, scope: Scope, commit: str) -> Sequence[PublishedChange]:
        """The applications that a publication of an environment changed; none: it is not ours."""
        ...


@dataclass(frozen=True, slots=True)
class TakenNotice:
    """A notice that somebody has taken to tell it."""

    key: tuple[str, ...]
    notice: Notice
    attempts: int
    """How often it could not be told."""


class NoticeRows(Protocol):
    """What was told to whom elsewhere than on GitHub, and what waits to be; kept until then."""

    def note(self, sink: Sink, manifests: str, notices: Sequence[Notice]) -> None:
        """Let those wait that are news; at the first look at a manifests repository none is."""
        ...

    def tell(self, sink: Sink, notice: Notice) -> None:
        """Let one wait that is no state but happened, if it is news."""
        ...

    def take(self, sink: str, most: int) -> Sequence[TakenNotice]:
        """Take those that wait, oldest first, once one of them is due."""
        ...

    def sent(self, taken: Sequence[TakenNotice]) -> None:
        """They were told."""
        ...

    def again(self, taken: Sequence[TakenNotice], due: datetime) -> None:
        """They could not be told; they wait until then."""
        ...


class Commands(Protocol):
    """Rows through which the command line talks to the running bot."""

    def submit(self, verb: str, arguments: Sequence[str], actor: str) -> int:
        """Leave a command; returns its row."""
        ...

    def open(self) -> Sequence[Command]:
        """Commands that have no answer yet, oldest first."""
        ...

    def begin(self, command: int) -> bool:
        """Take a command up: from now on it cannot be withdrawn; False if there is none to do."""
        ...

    def withdraw(self, command: int, answer: str) -> bool:
        """Answer (JSON) a command that nobody has begun; False if it was begun or answered."""
        ...

    def answer(self, command: int, answer: str, *, failed: bool) -> None:
        """Answer a command (JSON); the first answer stays."""
        ...

    def get(self, command: int) -> Command | None:
        """One command."""
        ...


@dataclass(frozen=True, slots=True)
class StoredEvaluation:
    """What the newest evaluation of a promotion found."""

    promotion: str
    """Its id: `bot.domain.promotion.promotion_id`."""
    environment: str
    application: str
    at: datetime
    """UTC."""
    verdict: str
    """`bot.domain.policy.Shown`; ``waits`` before there was any."""
    document: bytes
    """`bot.formats.assessment_document`, at most its limit."""


class Evaluations(Protocol):
    """What was found for each promotion; shown to people, never believed by a decision."""

    def record(self, evaluation: StoredEvaluation) -> None:
        """Keep it in place of the one before."""
        ...

    def evaluation(self, promotion: str) -> StoredEvaluation | None:
        """The newest one; None if there is none.

        Raises IntegrityError if what is kept cannot be read.
        """
        ...


# --- registry and signing --------------------------------------------------------------------


class Progress(Protocol):
    """Somebody who watches a copy; called from several threads."""

    def expect(self, size: int) -> None:
        """So many bytes of blobs will be accounted for; called once, before the first."""
        ...

    def advance(self, blob: Descriptor, size: int) -> None:
        """So many more bytes of it were moved, mounted or found; negative: sent again."""
        ...


class ImageRegistry(Protocol):
    """The registries of one environment's grant; a host outside it is never contacted."""

    def resolve(self, reference: TagReference) -> Digest | None:
        """What the tag names now, hashed from its bytes; None: no such tag or repository yet.

        Raises RegistryRefusesError where the registry says neither; for some it means the same.
        """
        ...

    def exists(self, reference: DigestReference) -> Presence:
        """Whether the repository has a manifest of that digest; it may not say."""
        ...

    def describe(self, reference: DigestReference) -> ImageDescription:
        """What the image says about itself; NotFoundError if it is not there."""
        ...

    @acts("copy the image")
    def copy(
        self,
        source: DigestReference,
        target: ImageRepository,
        *,
        accessories: AccessoryPolicy | None = None,
        progress: Progress | None = None,
        tags: Sequence[str] = (),
    ) -> CopyReport:
        """Make ``target`` hold the image, whole and by digest; it gets no tag.

        What ``tags`` name there is looked at beside. A target that has the image's root manifest is
        believed to have the rest, until a `read_back` has found otherwise. Without ``accessories``
        nothing that hangs on the image goes along.
        """
        ...

    def read_back(self, reference: DigestReference, *, tags: Sequence[str] = ()) -> ReadBack:
        """Read and hash every manifest and look for every blob; wait for what may come yet.

        What ``tags`` name is looked at beside: `tag`, called next, need not ask.

        Raises NotFoundError for what is missing, IntegrityError for what is wrong, and
        UnavailableError for what was written a moment ago and is not to be seen.
        """
        ...

    @acts("tag the image")
    def tag(self, reference: DigestReference, tag: str, *, move: bool) -> TagOutcome:
        """Make the tag name the digest; TagTakenError if it names another and may not move."""
        ...

    def referrers(self, subject: DigestReference) -> Sequence[Descriptor]:
        """What names the digest as its subject, by API or by referrers tag."""
        ...

    def manifest(self, reference: TagReference | DigestReference) -> AnyManifest | None:
        """A manifest or index, verified if named by digest; None if it is not there."""
        ...

    def blob(self, repository: ImageRepository, blob: Descriptor, limit: int) -> bytes:
        """A small blob, verified; LimitExceededError if its descriptor promises more."""
        ...

    def access(self, repository: ImageRepository, *, writes: bool) -> Access:
        """What is allowed there; an upload that is begun to know it is given back."""
        ...

    def save_layout(self, reference: DigestReference, directory: Path) -> None:
        """Write one platform's image as an OCI layout, every byte verified.

        LimitExceededError before the first byte if it is larger than is scanned.
        """
        ...

    @acts("attach to the image")
    def attach(self, repository: ImageRepository, *manifests: NewManifest) -> None:
        """Write manifests that have one subject; keep its referrers tag where there is no API.

        Raises ReferrerRefusedError where the registry takes no such artifact: whoever has written
        the same under a tag may go on with a warning.
        """
        ...

    @acts("amend the tag")
    def amend(
        self,
        reference: TagReference,
        edit: Callable[[AnyManifest | None], NewManifest | None],
    ) -> bool:
        """Replace what a tag holds by ``edit`` of it, until a re-read shows that it lasted.

        ``edit`` answers None when there is nothing (more) to do, and may be asked several times.
        Returns whether anything was written.
        """
        ...


class Verifier(Protocol):
    """A public key of ECDSA P-256."""

    @property
    def public_key_pem(self) -> bytes:
        """The SPKI in PEM."""
        ...

    @property
    def fingerprint(self) -> str:
        """``sha256:`` and the hex digest of the SPKI in DER: equal keys have equal ones."""
        ...

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """The signature (DER, ECDSA over SHA-256) is this key's for the message."""
        ...


class Certificates(Protocol):
    """Signatures without keys: a certificate, and the logs that it stands in, say who signed."""

    def certified(self, bundle: bytes) -> CertifiedEnvelope:
        """What a sigstore bundle holds, and the certificate that vouches for it.

        Raises NotCertifiedError where nothing that is trusted vouches for it. Whether that
        certificate's word counts is the caller's question.
        """
        ...


class Signer(Verifier, Protocol):
    """A key that signs; its public half verifies."""

    def sign(self, message: bytes) -> bytes:
        """ECDSA over SHA-256 of the message, DER."""
        ...


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one role in one environment."""

    signers: tuple[Signer, ...] = ()
    """The first one signs."""
    verifiers: tuple[Verifier, ...] = ()
    """All verify: the signers, and those that are kept while what they signed is published."""


# --- scanning --------------------------------------------------------------------------------


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


# --- rendering -------------------------------------------------------------------------------


class Renderer(Protocol):
    """kustomize and Helm, kept away from the network and from every file but those of a root.

    What they put out is text from outside like any other.
    """

    def generation(self) -> str:
        """Another one means: render again."""
        ...

    def gaps(self) -> Sequence[str]:
        """What does not keep them apart here; with a gap they are not asked, unless allowed."""
        ...

    def render(self, root: RenderRoot, files: Mapping[str, tuple[str, bytes]]) -> str:
        """The objects that come of a root.

        Args:
            root: what to render.
            files: path -> git's mode and the content, of exactly the root's files.

        Raises:
            NotRenderedError: the files cannot be put together, or the tool for them is not set.
            UnavailableError: the tool was ended at a limit, or cannot be started.
        """
        ...


class Renderings(Protocol):
    """What came of roots, kept by their identity: equal files give equal objects."""

    def known(self, identities: Collection[str]) -> Mapping[str, Rendering]:
        """What came of the roots of these identities, as far as that is known."""
        ...

    def record_rendering(self, scope: Scope, root: str, identity: str, found: Rendering) -> None:
        """Keep it; of one root of an environment the newest few are kept."""
        ...


class Feeds(Protocol):
    """What is known about exploitation, from files that the operator keeps up to date."""

    def exploitation(self, wanted: Collection[str]) -> Exploitation:
        """KEV, and EPSS of these CVEs; parts that nobody configured or can read are None."""
        ...


# --- git and GitHub --------------------------------------------------------------------------


class CommitKey(Protocol):
    """A key that signs publications, so that whoever deploys them can demand its signature."""

    @property
    def name(self) -> str:
        """Who commits, as the key's user id says."""
        ...

    @property
    def email(self) -> str:
        """The address of that."""
        ...

    def sign(self, payload: bytes) -> str:
        """An armored signature of a commit as git stores it, without its signature."""
        ...

    def verifies(self, payload: bytes, signature: bytes) -> bool:
        """Whether a signature of a commit is this key's."""
        ...


class GitHistory(Protocol):
    """One repository, read from a local mirror; commits are named by their full id."""

    def refresh(self) -> None:
        """Fetch every branch; what was fetched stays readable after it is gone over there."""
        ...

    def fetch_commit(self, commit: str) -> bool:
        """Make a commit readable that no branch names (any more); False if it cannot be had."""
        ...

    def heads(self) -> Mapping[str, str]:
        """Branch -> commit, as of the last refresh."""
        ...

    def has(self, commit: str) -> bool:
        """Whether the commit can be read."""
        ...

    def commits_like(self, prefix: str) -> Sequence[str]:
        """Every commit whose id begins so; at least four digits."""
        ...

    def commit(self, commit: str) -> GitCommit:
        """One commit; NotFoundError if it is not there."""
        ...

    def message(self, commit: str) -> str:
        """A commit's whole message."""
        ...

    def signature(self, commit: str) -> tuple[bytes, bytes] | None:
        """A commit without its signature, and the signature; None: it has none."""
        ...

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether ``descendant`` contains ``ancestor`` (or is it)."""
        ...

    def merge_base(self, one: str, other: str) -> str:
        """The newest commit that both contain; empty: there is none."""
        ...

    def merged_tree(self, onto: str, head: str) -> str:
        """The tree of merging ``head`` as git does it by itself; empty: there are conflicts."""
        ...

    def first_parents(self, commit: str, *, limit: int, until: str = "") -> Sequence[GitCommit]:
        """The commit and its first-parent ancestors, newest first, without ``until``."""
        ...

    def walk(self, commit: str, *, until: str) -> Sequence[tuple[str, Sequence[str]]]:
        """All first-parent commits after ``until``, newest first, with the paths each changed."""
        ...

    def touching(self, commit: str, paths: Sequence[str], *, limit: int) -> Sequence[GitCommit]:
        """Those of the commit and its first-parent ancestors that changed one of these paths.

        Against their first parent; newest first.
        """
        ...

    def between(self, old: str, new: str, *, limit: int) -> Sequence[GitCommit]:
        """Commits in ``new`` and not in ``old``, newest first."""
        ...

    def messages(self, old: str, new: str, *, limit: int) -> Sequence[str]:
        """The whole messages of `between`."""
        ...

    def paths(self, tree: str) -> Mapping[str, TreeEntry]:
        """Every file of a commit or tree."""
        ...

    def changes(self, old: str, new: str) -> Mapping[str, PathChange]:
        """Every path that differs between two commits or trees; an empty ``old`` is no files."""
        ...

    def read(self, blob: str) -> bytes:
        """The content of a file."""
        ...

    def read_all(self, blobs: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """The contents of many files, one after the other."""
        ...

    def build_tree(self, tree: str, files: Sequence[FileWrite], without: str) -> str:
        """The id of ``tree`` with these files, without one top folder."""
        ...


class BlobIndex(Protocol):
    """What was found in files, by the blobs that they are: a blob never says anything else."""

    def known(self, version: int, blobs: Collection[str]) -> Mapping[str, bytes]:
        """What that version of the reader kept of these; of some nothing may be kept."""
        ...

    def keep(self, version: int, rows: Mapping[str, bytes]) -> None:
        """Keep what was found, for later processes; what cannot be kept is found again."""
        ...


class Mirrors(Protocol):
    """The local mirrors, one for each repository."""

    def of(self, repository: GitHubRepository) -> GitHistory:
        """The mirror of a repository, new enough when it is returned."""
        ...

    def as_of(self, moment: float | None) -> Mirrors:
        """The same, where a fetch that began after this moment is new enough.

        ``moment`` is one of `time.monotonic`; None: each question fetches.
        """
        ...


class GitHub(Protocol):
    """GitHub's API, with a token of one repository and the permissions of one request."""

    def login(self) -> str:
        """The account that our commits, comments and checks come from: ``<app>[bot]``."""
        ...

    def facts(self, repository: GitHubRepository) -> GitHubFacts:
        """Id and default branch; NotFoundError if the App is not installed there."""
        ...

    def pull_request(self, repository: GitHubRepository, number: int) -> PullRequest:
        """One pull request as it is now."""
        ...

    def pull_requests(
        self, repository: GitHubRepository, *, state: str, head: str = ""
    ) -> Sequence[PullRequest]:
        """Pull requests (``open``, ``closed``), newest first.

        With ``head`` only those from that branch of the repository itself, never from a fork.
        """
        ...

    def pull_requests_of(self, repository: GitHubRepository, commit: str) -> Sequence[PullRequest]:
        """Pull requests that GitHub connects with a commit: merged as it, containing it, open."""
        ...

    def reviews(self, repository: GitHubRepository, number: int) -> Sequence[Review]:
        """Submitted reviews, the newest 2,000, oldest first."""
        ...

    def contributed(self, repository: GitHubRepository, number: int) -> Sequence[ContributedCommit]:
        """The commits of a pull request with the accounts behind them."""
        ...

    def contributions(
        self, repository: GitHubRepository, commits: Sequence[str]
    ) -> Sequence[Contribution]:
        """Authors and pull requests of many commits; those that GitHub does not know are left out.

        A few requests for hundreds of them.
        """
        ...

    def people_of(self, repository: GitHubRepository, commit: str) -> ContributedCommit:
        """A commit with the accounts behind it."""
        ...

    def pushes(self, repository: GitHubRepository, branch: str) -> Sequence[Push] | None:
        """Who moved a branch, the newest 100, newest first; None: GitHub does not tell."""
        ...

    def in_team(self, repository: GitHubRepository, team: str, login: str) -> bool:
        """Whether the account is an active member of ``organization/team`` now.

        The repository says which installation is asked.
        """
        ...

    def can_write(self, repository: GitHubRepository, login: str) -> bool:
        """Whether the account may write to the repository now."""
        ...

    def attestations(self, repository: GitHubRepository, digest: Digest) -> Sequence[bytes]:
        """Sigstore bundles about a digest that workflows left with GitHub; nobody verified them."""
        ...

    @acts("write the commit")
    def write_commit(
        self,
        repository: GitHubRepository,
        base: str,
        base_tree: str,
        files: Sequence[FileWrite],
        message: str,
    ) -> str:
        """A verified commit on ``base``, which has ``base_tree``; no branch names it yet."""
        ...

    @acts("move the branch")
    def set_branch(
        self, repository: GitHubRepository, branch: str, commit: str, *, is_there: bool
    ) -> None:
        """Make a branch of ours name the commit; `is_there` says whether it probably exists."""
        ...

    @acts("open the pull request")
    def open_pull_request(
        self, repository: GitHubRepository, *, head: str, base: str, title: str, body: str
    ) -> PullRequest:
        """Open it, or find the open one of this head and base."""
        ...

    @acts("edit the pull request")
    def edit_pull_request(
        self, repository: GitHubRepository, number: int, *, title: str, body: str
    ) -> None:
        """Bring title and body to what they should say."""
        ...

    @acts("close the pull request")
    def close_pull_request(self, repository: GitHubRepository, number: int) -> None:
        """Close without merging."""
        ...

    @acts("merge the pull request")
    def merge_pull_request(
        self, repository: GitHubRepository, number: int, *, head: str, base: str, title: str
    ) -> str | MergeRefusal:
        """Merge exactly this head into ``base``, in a way that is allowed; the merge commit."""
        ...

    @acts("label the pull request")
    def add_labels(self, repository: GitHubRepository, number: int, labels: Sequence[str]) -> None:
        """Add labels; those that are there stay."""
        ...

    @acts("request reviewers")
    def request_reviewers(
        self, repository: GitHubRepository, number: int, teams: Sequence[str]
    ) -> None:
        """Ask teams of the organisation for a review."""
        ...

    @acts("write the comment")
    def set_comment(
        self,
        repository: GitHubRepository,
        number: int,
        marker: str,
        body: str,
        *,
        begins: bool = True,
    ) -> None:
        """One comment of ours per marker: written once, edited afterwards, only when different.

        Where it does not stand yet and this does not begin it, nothing is written.
        """
        ...

    @acts("set the check")
    def set_check(self, repository: GitHubRepository, check: Check) -> None:
        """One check run of ours per name and commit, written only when different."""
        ...

    @acts("report the deployment")
    def report_deployment(self, repository: GitHubRepository, report: DeploymentReport) -> None:
        """One deployment per (environment, commit) and its newest state."""
        ...

    @acts("write the publication")
    def write_publication(
        self,
        repository: GitHubRepository,
        *,
        base_tree: str,
        files: Sequence[FileWrite],
        without: str,
        tree: str,
        parent: str,
        message: str,
        key: CommitKey | None = None,
    ) -> str:
        """A verified commit of ``base_tree`` with these files and without one top folder.

        By GitHub's signature for the App, or by that of ``key``. IntegrityError if GitHub arrives
        at another tree than ``tree``.
        """
        ...

    @acts("move the environment ref")
    def set_environment_ref(
        self, repository: GitHubRepository, ref: str, commit: str, *, create: bool
    ) -> None:
        """Fast-forward (or create) an environment ref; never by force."""
        ...


class Outbox(Protocol):
    """Where reports for people go; what becomes of them never holds back what they tell."""

    def tell(self, report: Report) -> None:
        """Let it be sent: soon, and after a crash as well."""
        ...


class Outgoing(Protocol):
    """Reports on their way, as rows; of several with one key only the newest is there.

    What is claimed is nobody else's for two minutes.
    """

    def put(self, report: Report) -> None:
        """Let a report wait in place of any of the same key; not one that was told for good."""
        ...

    def begin(self) -> None:
        """Take up what a process had claimed that is known to be dead; before the first claim."""
        ...

    def claim(self, busy: Collection[str], most: int) -> Sequence[Pending]:
        """Take reports that are due, oldest first; none of these repositories (``owner/name``)."""
        ...

    def sent(self, pending: Pending, *, for_good: bool) -> None:
        """Forget a report that is over; with ``for_good`` remember that it is not told again."""
        ...

    def again(self, pending: Pending, due: datetime, *, failed: bool) -> None:
        """Let it wait until ``due``; with ``failed`` an attempt is counted."""
        ...

    def next_due(self) -> datetime | None:
        """When the next report is due; None: none waits."""
        ...

    def drop_oldest(self, keep: int) -> Sequence[Pending]:
        """Give up the oldest until ``keep`` are left; those that were given up."""
        ...


class Grants(Protocol):
    """What the operator allows an environment of a manifests repository."""

    def allows_source(self, manifests: GitHubRepository, source: GitHubRepository) -> bool:
        """Whether applications may come from this source repository."""
        ...

    def check(
        self, manifests: GitHubRepository, environment: str, repositories: Iterable[ImageRepository]
    ) -> None:
        """NotGrantedError if the environment may not contact the registry of one of these."""
        ...

    def registry(self, manifests: GitHubRepository, environment: str) -> ImageRegistry:
        """The environment's registries, with its own credentials; NotGrantedError without any."""
        ...

    def keys(self, manifests: GitHubRepository, environment: str, role: KeyRole) -> KeyRing:
        """The environment's keys of one role; an empty ring where there are none."""
        ...

    def delivers(self, environment: str) -> bool:
        """Whether this process delivers there: else its public keys are enough here."""
        ...

    def floor(self, manifests: GitHubRepository, environment: str) -> Floor:
        """What the environment's rules may not go below, whatever the pipeline file says."""
        ...

    def commit_key(self, manifests: GitHubRepository, environment: str) -> CommitKey | None:
        """The key that signs the environment's publications; None: GitHub signs them."""
        ...

    def commit_keys(self, manifests: GitHubRepository) -> Sequence[CommitKey]:
        """Those of all its environments, as far as they can be read."""
        ...

    def key_places(self) -> Sequence[KeyPlace]:
        """Every public key of this installation that is known without asking anybody."""
        ...


# --- the set-up ------------------------------------------------------------------------------


class AppSetUp(Protocol):
    """What GitHub says of the App itself and of the repositories that it is meant for.

    Nothing here acts. An error of any kind is an unknown to whoever asks.
    """

    def app(self) -> AppAnswer:
        """Who GitHub takes the App for: also where it refuses the App."""
        ...

    def deliveries(self) -> DeliveryLog:
        """Where webhooks go, and how the newest ones were answered."""
        ...

    def visible(self) -> Sequence[str]:
        """Repositories that the App is installed on, ``owner/name``, as far as one page goes."""
        ...

    def installation(self, repository: GitHubRepository) -> Installation | None:
        """The installation that covers a repository; None: GitHub shows no such repository."""
        ...

    def repository(self, repository: GitHubRepository) -> RepositoryState:
        """The repository as the App sees it."""
        ...

    def file(self, repository: GitHubRepository, path: str) -> bytes | None:
        """A file on the default branch; None: there is none."""
        ...

    def rules(self, repository: GitHubRepository, branch: str) -> BranchRules:
        """What holds for a branch, whether it exists or not."""
        ...

    def tags(self, repository: GitHubRepository, name: str) -> Sequence[str]:
        """Tags of exactly this name."""
        ...


class Premises(Protocol):
    """The machine on which the bot stands; nothing that is asked leaves anything behind."""

    @property
    def data_folder(self) -> str:
        """Where the data folder is."""
        ...

    def write(self) -> None:
        """Write into the data folder and take it back; RejectedError where that is impossible."""
        ...

    def free(self) -> int:
        """Bytes that are free in the data folder."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Programs that Lockkeeper runs with -> their versions."""
        ...

    def database(self) -> DatabaseState:
        """The database as it is; it is neither made nor changed."""
        ...

    def grants(self) -> GrantsFolder:
        """The grants folder as it is."""
        ...


class Reach(Protocol):
    """Whether git can read a repository, without keeping anything of it."""

    def __call__(self, repository: GitHubRepository) -> None:
        """UnavailableError if it cannot."""
        ...


class Looks(Protocol):
    """Looks that are taken side by side, until a deadline that all of them share."""

    def begin(self, look: Callable[[], R]) -> Callable[[], Look[R]]:
        """Begin a look; what is returned waits for it, and says why there is no answer."""
        ...
