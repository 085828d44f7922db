"""What an environment ref should show: the default branch without the merges that must wait.

The unit is the merge: a first-parent commit of the default branch is published whole or not yet.
A merge is *held* while a digest that it brought is neither sealed nor replaced by a newer sealed
one. The four promises, each a property in `tests/domain/test_publication.py`:

1. no digest is shown that is neither sealed nor was shown before;
2. a merge that changed digests and other bytes is visible whole or not at all;
3. an application whose own promotions are sealed never waits for another;
4. when everything is sealed, the publication equals the default branch.

A file is seen as a *skeleton* (its bytes with the digests of this environment blanked out) and
the *pins* that fill it. That is what lets a digest move on while the file around it waits, and
the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class LocationKey(NamedTuple):
    """Where a digest stands, stable under edits of the file around it."""

    path: str
    application: str
    image: str
    """The image's name within its application."""
    ordinal: int
    """Which of the places with the same image in this file, from 0."""


@dataclass(frozen=True, slots=True)
class FileState:
    """One file: what surrounds the digests, the digests, and the files it refers to."""

    skeleton: str
    """Identity of the bytes around the pins (a hash)."""
    pins: Mapping[LocationKey, str] = field(default_factory=dict)
    """What fills each place: repository, tag and digest as one opaque value."""
    references: frozenset[str] = frozenset()
    """Repository paths that this file needs: files, or directories (no trailing slash)."""
    unsealable: Mapping[str, str] = field(default_factory=dict)
    """What names an image and is no place: its identity -> what people read."""


Files = Mapping[str, FileState | None]
"""Path -> state; None: the file is not there."""


@dataclass(frozen=True, slots=True)
class Merge:
    """A first-parent commit of the default branch and what it changed."""

    commit: str
    before: Files
    """The changed paths as they were in the first parent."""
    after: Files
    """The same paths as they are in this commit."""

    def reshaped(self) -> frozenset[str]:
        """Paths that changed other than by their digests."""
        return frozenset(
            path
            for path, state in self.after.items()
            if _skeleton(state) != _skeleton(self.before.get(path))
        )

    def brought(self) -> dict[LocationKey, str]:
        """Pins that are new or different in this merge."""
        old = dict(_pins(self.before))
        return {place: pin for place, pin in _pins(self.after) if old.get(place) != pin}

    def unsealable(self) -> dict[str, str]:
        """What this merge brought that names an image and is no place."""
        found: dict[str, str] = {}
        for path, state in self.after.items():
            old = self.before.get(path)
            known = old.unsealable if old else {}
            for identity, words in state.unsealable.items() if state else ():
                if identity not in known:
                    found[f"{path}\0{identity}"] = words
        return found

    def removed(self) -> frozenset[LocationKey]:
        """Places that this merge took away."""
        return frozenset(dict(_pins(self.before))) - frozenset(dict(_pins(self.after)))


@dataclass(frozen=True, slots=True)
class Shown:
    """How one changed file looks in the publication."""

    skeleton_of: FileState
    """The state whose surrounding bytes are shown."""
    pins: Mapping[LocationKey, str]


@dataclass(frozen=True, slots=True)
class Publication:
    """The tree to publish, as differences from the default branch's newest commit."""

    files: Mapping[str, Shown | None]
    """Every path that a considered merge changed; None: not there. All others: as they are."""
    held: Mapping[str, tuple[str, ...]]
    """Commit of each held merge -> why, in order of the history."""


Held = Mapping[str, tuple[str, ...]]
"""Commit -> why. It only ever grows, so the search for it ends."""

MayPublish = Callable[[LocationKey, str], bool]
"""(place, pin): may this be shown? Sealed for the environment, adopted, or shown before."""


def publication(
    published: Mapping[LocationKey, str],
    merges: Sequence[Merge],
    is_sealed: MayPublish,
    default_branch: Mapping[str, object],
    stopped: Held | None = None,
) -> Publication:
    """Decide what the environment ref should show.

    Args:
        published: What the ref shows now; a pin that stands there may stay there.
        merges: First-parent commits, oldest first: from the oldest that was held in the last
            publication (else the first after its source) to the default branch's head.
        is_sealed: Whether a pin may be shown at a place.
        default_branch: Every path of the default branch's head (only the keys are read).
        stopped: Merges that must not be shown whatever is sealed -> why: a freeze, for example.
            None of them is visible already: what others rest on is not taken away.
    """

    def may_show(place: LocationKey, pin: str) -> bool:
        return published.get(place) == pin or is_sealed(place, pin)

    base = _before_all(merges)
    held: dict[str, tuple[str, ...]] = dict(stopped or {})
    while True:
        files = _shown(base, merges, held)
        more = (
            _not_sealed(merges, held, may_show)
            or _not_placed(merges, held, files)
            or _dangling(merges, held, files, default_branch)
        )
        if not more:
            order = [merge.commit for merge in merges if merge.commit in held]
            return Publication(files, {commit: held[commit] for commit in order})
        held |= more


def _not_sealed(
    merges: Sequence[Merge], held: Held, may_show: MayPublish
) -> dict[str, tuple[str, ...]]:
    """Merges with an unsealed digest, and those that changed the same files after them."""
    return _with_reasons(
        merges,
        held,
        lambda merge, earlier, later: (
            *_unsealed(merge, later, held, may_show),
            *_waits_for_file(merge, earlier, held),
        ),
    )


def _not_placed(
    merges: Sequence[Merge], held: Held, files: Mapping[str, Shown | None]
) -> dict[str, tuple[str, ...]]:
    """Merges whose digest has no place in the files as they would be shown.

    Asked only when the rule before is satisfied: a place that is missing now may come back
    when the merge that removes it turns out to be held.
    """
    return _with_reasons(
        merges, held, lambda merge, _, later: tuple(_lacks_place(merge, later, held, files))
    )


def _with_reasons(
    merges: Sequence[Merge],
    held: Held,
    reasons: Callable[[Merge, Sequence[Merge], Sequence[Merge]], tuple[str, ...]],
) -> dict[str, tuple[str, ...]]:
    found = {
        merge.commit: reasons(merge, merges[:index], merges[index + 1 :])
        for index, merge in enumerate(merges)
        if merge.commit not in held
    }
    return {commit: why for commit, why in found.items() if why}


def _unsealed(
    merge: Merge,
    later: Sequence[Merge],
    held: Held,
    may_show: MayPublish,
) -> Iterator[str]:
    for place, pin in merge.brought().items():
        if not may_show(place, pin) and not _replaced(place, later, held, may_show):
            yield f"{place.image} in {place.path} is not sealed"
    gone = {
        f"{path}\0{identity}"
        for other in later
        if other.commit not in held
        for path, identity in _taken_out(other)
    }
    for key, words in merge.unsealable().items():
        if key not in gone:
            yield words


def _taken_out(merge: Merge) -> Iterator[tuple[str, str]]:
    for path, state in merge.before.items():
        after = merge.after.get(path)
        for identity in state.unsealable if state else ():
            if after is None or identity not in after.unsealable:
                yield path, identity


def _replaced(
    place: LocationKey,
    later: Sequence[Merge],
    held: Held,
    may_show: MayPublish,
) -> bool:
    """Whether a newer merge that is not held takes this place over or away."""
    for merge in later:
        if merge.commit in held:
            continue
        pin = merge.brought().get(place)
        if place in merge.removed() or (pin is not None and may_show(place, pin)):
            return True
    return False


def _waits_for_file(merge: Merge, earlier: Sequence[Merge], held: Held) -> Iterator[str]:
    reshaped = merge.reshaped()
    for other in earlier:
        for path in sorted(reshaped & other.reshaped()) if other.commit in held else ():
            yield f"{path} waits for {other.commit[:7]}"


def _lacks_place(
    merge: Merge,
    later: Sequence[Merge],
    held: Held,
    files: Mapping[str, Shown | None],
) -> Iterator[str]:
    gone = {place for other in later if other.commit not in held for place in other.removed()}
    for place in merge.brought().keys() - gone:
        shown = files.get(place.path)
        if shown is None or place not in shown.skeleton_of.pins:
            yield f"{place.image} has no place yet in the published {place.path}"


def _dangling(
    merges: Sequence[Merge],
    held: Held,
    files: Mapping[str, Shown | None],
    default_branch: Mapping[str, object],
) -> dict[str, tuple[str, ...]]:
    """The newest merge behind each reference that resolves on the default branch, but not here."""
    here = {path for path in default_branch if path not in files}
    here |= {path for path, shown in files.items() if shown is not None}
    there = frozenset(default_branch)
    more: dict[str, tuple[str, ...]] = {}
    for path, shown in files.items():
        for target in shown.skeleton_of.references if shown else ():
            if _resolves(target, there) and not _resolves(target, here):
                for merge in reversed(merges):
                    if merge.commit not in held and _brings_reference(merge, path, target):
                        more[merge.commit] = (f"{path} refers to {target}, which is held",)
                        break
    return more


def _brings_reference(merge: Merge, path: str, target: str) -> bool:
    before, after = merge.before.get(path), merge.after.get(path)
    return (
        after is not None
        and target in after.references
        and (before is None or target not in before.references)
    )


def _resolves(target: str, paths: frozenset[str] | set[str]) -> bool:
    return target in paths or any(path.startswith(target + "/") for path in paths)


def _before_all(merges: Sequence[Merge]) -> dict[str, FileState | None]:
    """Every path that any merge changes, as it was before the first of them."""
    base: dict[str, FileState | None] = {}
    for merge in merges:
        for path in merge.after:
            base.setdefault(path, merge.before.get(path))
    return base


def _shown(base: Files, merges: Sequence[Merge], held: Held) -> dict[str, Shown | None]:
    """The files without the held merges: newest free skeleton, newest free pins."""
    skeletons = dict(base)
    pins = dict(_pins(base))
    for merge in merges:
        if merge.commit not in held:
            for path in merge.reshaped():
                skeletons[path] = merge.after[path]
            pins.update(merge.brought())
    return {
        path: None
        if state is None
        else Shown(state, {place: pins.get(place, pin) for place, pin in state.pins.items()})
        for path, state in skeletons.items()
    }


def _skeleton(state: FileState | None) -> str | None:
    return None if state is None else state.skeleton


def _pins(files: Files) -> Iterator[tuple[LocationKey, str]]:
    for state in files.values():
        if state is not None:
            yield from state.pins.items()
