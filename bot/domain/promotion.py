"""From a branch head to the image that should be promoted, or the reason why not.

Equality of trees identifies the image in every merge style (merge, squash, rebase); order exists
only between trigger commits of one branch, and between versions in branch names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bot.domain.oci import Digest
from bot.domain.source_refs import NO_REF, SourceRef, version_order


class KnownBy(StrEnum):
    """How an image is known to be a commit's."""

    PROVENANCE = "provenance"
    LABEL = "label"
    TAG_ONLY = "tag only"


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image that stands under the tag of a commit."""

    name: str
    digest: Digest
    revision: str | None
    """The label ``org.opencontainers.image.revision``, where present."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A commit whose image might be the trigger's."""

    commit: str
    why: str
    """How it relates to the trigger, in words: ``the commit itself``, ``head of #41`` ..."""
    same_tree: bool
    """Whether its files are the trigger's, byte for byte."""
    differs_in: tuple[str, ...] = ()
    """Some of the paths that differ, where they do."""
    images: Mapping[str, Digest] | None = None
    """Image -> digest, once every image is there; None: not (all) there."""
    missing: tuple[str, ...] = ()
    """The references that were looked for and not found."""
    in_source: bool = False
    """Whether the images are where the environment takes them from."""
    contradiction: str = ""
    """Why the image is not this commit's, although its tag says so."""


@dataclass(frozen=True, slots=True)
class Source:
    """The commit whose images are promoted."""

    commit: str
    images: Mapping[str, Digest]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing to promote yet; looked for again by itself."""

    reason: str
    for_environment: bool = False
    """Built, but not published in the environment that it comes from."""
    heading: str = ""
    """In a few words, for a check; empty: what it waits for says it."""
    environments: tuple[str, ...] = ()
    """Which of those that come before this one it waits for; empty: all."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing to promote, and time alone changes nothing."""

    reason: str


_NAMED = 6
"""References that were looked for and are named."""


def choose_source(candidates: Sequence[Candidate], source_name: str) -> Source | Waiting | Refused:
    """The first candidate with the trigger's tree, every image, and its images in ``from``.

    Args:
        candidates: In the order of preference: the trigger, heads of the pull requests merged
            as it, its parents, its first-parent ancestors.
        source_name: What people call the place that images come from.
    """
    equal = [candidate for candidate in candidates if candidate.same_tree]
    contradictions = [c.contradiction for c in equal if c.contradiction]
    if contradictions:
        return Refused(contradictions[0])
    built = [candidate for candidate in equal if candidate.images is not None]
    for candidate in built:
        if candidate.in_source and candidate.images is not None:
            return Source(candidate.commit, candidate.images)
    if built:
        return Waiting(
            f"built at {built[0].commit[:7]} ({built[0].why}), not yet in {source_name}",
            for_environment=True,
        )
    looked = [*dict.fromkeys(reference for one in equal for reference in one.missing)]
    more = f" and {len(looked) - _NAMED} more" if len(looked) > _NAMED else ""
    reason = f"no image yet: looked for {', '.join(looked[:_NAMED])}{more}"
    return Waiting(reason + _differences(candidates))


def _differences(candidates: Sequence[Candidate]) -> str:
    """Why an image that does exist is not taken: the trigger holds what it lacks."""
    for candidate in candidates:
        if not candidate.same_tree and candidate.why.startswith("head of"):
            files = ", ".join(candidate.differs_in[:5])
            return (
                f"; {candidate.why} ({candidate.commit[:7]}) is not taken because it differs in "
                f"{files}: merge this branch back into it, or build this commit"
            )
    return ""


_ABBREVIATED = 7
"""Digits from which a label is taken for an abbreviated commit."""


def label_verdict(commit: str, found: FoundImage, tag: str) -> tuple[KnownBy, str]:
    """How the image is known to be the commit's, and the contradiction if it is not.

    Seven hex digits can be made to collide within seconds, so a tag is only a claim.
    """
    if found.revision is None or not found.revision.strip():
        return KnownBy.TAG_ONLY, ""
    if found.revision.strip().lower() == commit:
        return KnownBy.LABEL, ""
    label = found.revision.strip().lower()
    if len(label) >= _ABBREVIATED and commit.startswith(label):
        return KnownBy.TAG_ONLY, (
            f"{tag} is labelled with the abbreviated commit {label}, which others can be made to "
            "share: let CI set the label org.opencontainers.image.revision to all "
            f"{len(commit)} digits"
        )
    return KnownBy.TAG_ONLY, (
        f"{tag} is labelled as commit {_plain(found.revision)}, not {commit}: "
        "it is another commit's image and is never taken"
    )


def _plain(text: str) -> str:
    return "".join(c for c in text[:40] if c.isalnum() or c in "-._") or "(unreadable)"


class Order(StrEnum):
    """How what is proposed relates to what runs."""

    FIRST = "first"
    SAME = "same"
    FORWARD = "forward"
    LATE = "late"
    DIVERGING = "diverging"


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """What decides the order; each by git's word."""

    candidate: str
    """Source commit that would be promoted."""
    running: str | None
    """Source commit of what runs there; None: nothing, or nobody knows."""
    candidate_contains_running: bool
    """An ancestor of the candidate or trigger, or a tree equal to one."""
    running_contains_candidate: bool
    candidate_ref: SourceRef
    running_ref: SourceRef = NO_REF
    """The branch or tag that brought what runs; `NO_REF` if nobody knows."""
    something_runs: bool = False


def order(facts: OrderFacts) -> Order:
    """A descendant is newer, an ancestor late; else the higher version in the name is newer."""
    if facts.running is None:
        return Order.DIVERGING if facts.something_runs else Order.FIRST
    if facts.candidate == facts.running:
        return Order.SAME
    versions = (facts.candidate_ref.version, facts.running_ref.version)
    if facts.candidate_ref != facts.running_ref and versions[0] and versions[1]:
        ours, theirs = version_order(versions[0]), version_order(versions[1])
        if ours != theirs:
            return Order.FORWARD if ours > theirs else Order.LATE
    if facts.candidate_contains_running:
        return Order.FORWARD
    return Order.LATE if facts.running_contains_candidate else Order.DIVERGING


_IN_HAND: Final[ContextVar[str]] = ContextVar("promotion", default="")


def in_hand(promotion: str) -> None:
    """From here on this job is about this promotion: every line of its log says so.

    It decides nothing; what follows in the same job, in whichever thread, may take another one up.
    """
    _IN_HAND.set(promotion)


def promotion_in_hand() -> str:
    """The promotion that this job is about; empty: none, or many."""
    return _IN_HAND.get()


def promotion_id(
    manifests: int, environment: str, application: str, digests: Mapping[str, Digest]
) -> str:
    """The same for the same digests in the same place, whoever asks and however often."""
    parts = [str(manifests), environment, application]
    parts += [f"{image}={digest}" for image, digest in sorted(digests.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:26]
