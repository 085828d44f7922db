"""The few facts that no other system records; everything else is read from where it lives.

Losing all of this makes Lockkeeper hold, never guess.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from bot.domain.environments import GitHubRepository, ImageId
from bot.domain.oci import Digest

Shown = Iterable[tuple[ImageId, Digest]]
"""Images, and the digests that they stand at."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose memory it is: nothing is ever shared between two of these."""

    manifests: int
    """GitHub's id of the manifests repository."""
    environment: str = ""
    application: str = ""


@dataclass(frozen=True, slots=True)
class SeenHead:
    """The head of a source branch when it was last looked at."""

    source: str
    """``owner/name`` of the source repository."""
    branch: str
    commit: str
    followed: bool
    """False for heads that stood before the bot came: they propose nothing."""


@dataclass(frozen=True, slots=True)
class KnownSource:
    """Which repository a source's name meant when it was first used: names can be taken over."""

    scope: Scope
    source: str
    """``owner/name``, in small letters."""
    id: int
    """GitHub's."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Resolution:
    """The digests that were found for (application, commit), once and for all."""

    manifests: int
    application: str
    commit: str
    digests: tuple[tuple[str, Digest], ...]
    """Image name and digest, sorted by name."""
    known_by: str
    """``provenance``, ``label`` or ``tag only``: how the image is known to be this commit's."""
    at: datetime
    commits: tuple[tuple[str, str], ...] = ()
    """Image name and the older commit whose image it is, where nothing of its own changed since."""

    def commit_of(self, image: str) -> str:
        """The commit that CI built this image of."""
        return dict(self.commits).get(image, self.commit)


NO_COMMIT: Final = "0" * 40
"""No commit has this id (git's own sign for a ref that is not there)."""


@dataclass(frozen=True, slots=True)
class PublicationRecord:
    """A commit that Lockkeeper made for an environment ref, recorded before the ref moves."""

    scope: Scope
    ref: str
    commit: str
    """`NO_COMMIT`: a person said that the ref begins anew."""
    parent: str
    """The previous publication; empty for the first."""
    source: str
    """The default branch's commit that it was computed from."""
    at: datetime
    rules: str = ""
    """The newest commit whose rules were let in by then: a record without it was cut short."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """What a person took over unsealed."""

    scope: Scope
    digest: Digest
    """An image's, or `mention_digest` of what only speaks of one."""
    actor: str
    at: datetime


def mention_digest(path: str, identity: str) -> Digest:
    """What a mention of an image is known by, where it is taken over: no image has this digest."""
    said = f"mention\0{path}\0{identity}".encode("utf-8", "surrogateescape")
    return Digest(f"sha256:{hashlib.sha256(said).hexdigest()}")


@dataclass(frozen=True, slots=True)
class RulesAccepted:
    """Rules that came into force: the pipeline file and what stands beside it, at one commit."""

    scope: Scope
    commit: str
    """Of the manifests repository's default branch."""
    by: str
    """What let them in, for people."""
    at: datetime
    is_valid: bool = True
    """False: they were approved and cannot be read, so those before stay in force."""


class HoldKind(StrEnum):
    """Whose stop it is: each kind of each giver stands by itself, so that none replaces another."""

    PERSON = "person"
    """Stops everything until somebody lets it go on."""
    BOT = "lockkeeper"
    """The bot found something that a person has to look at; stops everything."""
    ROLLBACK = "rollback"
    """Somebody went back: nothing newer comes until they say so."""
    FREEZE = "freeze"
    """Nothing new for a while."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A person's (or the bot's) stop for an application or, without one, an environment."""

    scope: Scope
    reason: str
    actor: str
    at: datetime
    kind: HoldKind = HoldKind.PERSON
    until: datetime | None = None
    """When it ends by itself, UTC; None: when somebody ends it."""

    @property
    def only_forward(self) -> bool:
        """Whether going back is let through."""
        return self.kind in {HoldKind.ROLLBACK, HoldKind.FREEZE}

    def stands(self, now: datetime) -> bool:
        """Whether it has not ended by itself."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Seal:
    """This digest was admitted, copied, read back and, where asked, signed for this environment."""

    scope: Scope
    image: str
    repository: str
    """``host/path`` that it stands in."""
    digest: Digest
    merge: str
    """The merge of the manifests repository that brought it."""
    pull_request: int
    """0 where it came without one (environments without authority)."""
    at: datetime


def stood(
    seals: Iterable[Seal], image: str, digest: Digest, until: datetime | None
) -> timedelta | None:
    """How long a digest stood where these seals are from, before another took its place.

    ``until`` is now where it stands there now; None: it does not, and without a successor nobody
    knows since when. A return to it is not recorded and not counted: it stood no shorter.
    """
    own = [seal for seal in seals if seal.image == image]
    since = min((seal.at for seal in own if seal.digest == digest), default=None)
    if since is None:
        return None
    after = [seal.at for seal in own if seal.digest != digest and seal.at > since]
    end = min(after, default=until)
    return None if end is None else max(end - since, timedelta(0))


@dataclass(frozen=True, slots=True)
class ToldFailure:
    """A check that says that a look failed; taken back once the look goes well."""

    job: str
    """The key of the job that failed."""
    repository: GitHubRepository
    commit: str
    name: str
    """Of the check."""


@dataclass(frozen=True, slots=True)
class WrittenHead:
    """A commit that Lockkeeper itself put on a promotion branch, and what it asked for."""

    scope: Scope
    branch: str
    commit: str
    base: str
    """Its only parent, on the default branch."""
    trigger: str
    """The branch head that asked."""
    trigger_branch: str
    source: str
    """The commit whose image is promoted."""
    at: datetime


class AskKind(StrEnum):
    """What somebody asked for by command."""

    PROMOTE = "promote"
    """A commit's images."""
    UPDATE = "update"
    """The newest build, whatever stands on the pull request."""
    ROLLBACK = "rollback"
    """The images of an earlier publication."""
    BREAK_GLASS = "break-glass"
    """That a commit's images pass what protects against haste, if somebody else says so, too."""


@dataclass(frozen=True, slots=True)
class Asked:
    """That somebody asked for something, and who: they do not approve it too."""

    scope: Scope
    kind: AskKind
    commit: str
    """Of the source (promote), or of the environment ref (rollback); empty for an update."""
    by: str
    """For people to read."""
    account: int
    """GitHub's number of the account; 0: nobody knows whose it is."""
    key: str
    """Names the command: the comment or the row that it came by."""
    at: datetime
    reason: str = ""
    """Text from outside."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that Lockkeeper did or refused, chained to the entry before it."""

    sequence: int
    """From 1, without gaps."""
    at: datetime
    kind: str
    """For example ``copied``, ``signed``, ``published``, ``adopted``, ``refused``."""
    scope: Scope
    facts: dict[str, str] = field(default_factory=dict)
    previous: str = ""
    """Hex SHA-256 of the entry before; empty for the first."""
    hash: str = ""
    """Hex SHA-256 over the canonical JSON of everything above."""


@dataclass(frozen=True, slots=True)
class Command:
    """An operator's command row; the running bot picks it up and answers."""

    id: int
    verb: str
    arguments: tuple[str, ...]
    actor: str
    at: datetime
    answer: str | None = None
    """JSON, once answered."""
    failed: bool = False
    proof: str = ""
    """That somebody with the bot's keys left it; empty: nobody knows who did."""
