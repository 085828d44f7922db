"""Which sets of images an environment showed before what it shows now, and can show again.

A set is what stood together in one of our publications. It can come back if every image of it is
still sealed there (so present, and signed where that is asked), nobody revoked it, and the record
knows whose images they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bot.domain.environments import Application, Environment, ImageId
from bot.domain.errors import RejectedError
from bot.domain.gates import Direction
from bot.domain.memory import NO_COMMIT
from bot.domain.oci import Digest
from bot.facts.gates import going_all
from bot.facts.resolution import record_of
from bot.facts.seals import is_sealed
from bot.facts.snapshot import View

_LOOKED_AT: Final = 200
"""Publications of an application that are looked through for sets."""
_NAMED: Final = 5


class NoWayBackError(RejectedError):
    """Nothing that was published before can come back."""

    def __init__(self, environment: str, application: str, number: int, why: Sequence[str]) -> None:
        """Name what was looked at, and why it cannot."""
        which = f"version number {number} before" if number > 1 else "version before"
        listed = "; ".join(why[:_NAMED]) or "it has shown none"
        super().__init__(
            f"{environment} has no {which} what it shows of {application} that can come back: "
            f"{listed}; promote a commit with `/promote {environment} COMMIT`"
        )
        self.environment, self.application, self.number = environment, application, number


@dataclass(frozen=True, slots=True)
class WayBack:
    """A set of images that can come back."""

    commit: str
    """The source commit whose images they are."""
    images: Mapping[str, Digest]
    publication: str
    """The newest publication that showed them."""


def ways_back(
    view: View, environment: Environment, application: Application, number: int
) -> WayBack:
    """The n-th set before what is shown now, of those that can come back.

    Raises:
        NoWayBackError: there are fewer.
    """
    why: list[str] = []
    left = number
    for publication, images in _sets(view, environment, application):
        commit = _whose(view, environment, application, publication, images)
        reason = _unfit(view, environment, application, commit, images)
        if reason:
            why.append(reason)
            continue
        left -= 1
        if not left:
            return WayBack(commit, images, publication)
    raise NoWayBackError(environment.name, application.name, number, why)


def _sets(
    view: View, environment: Environment, application: Application
) -> Iterator[tuple[str, Mapping[str, Digest]]]:
    """Distinct sets that were shown before the one that is shown now, newest first."""
    scope = view.scope(environment.name, application.name)
    records = [
        one.commit
        for one in view.ports.memory.publications(view.scope(environment.name))
        if one.commit != NO_COMMIT
    ]
    commits = [*view.ports.memory.shown_commits(scope)[:_LOOKED_AT], *records[:1]]
    seen: list[Mapping[str, Digest]] = []
    for commit in dict.fromkeys(commits):
        if commit not in records or not view.history.has(commit):
            continue
        images = shown_at(view, environment, application, commit)
        named = [(ImageId(application.name, name), one) for name, one in images.items()]
        is_back = going_all(view, environment, named) is Direction.BACK
        if images not in seen and is_back:
            seen.append(images)
            yield commit, images


def shown_at(
    view: View, environment: Environment, application: Application, commit: str
) -> dict[str, Digest]:
    """Image -> digest that a publication shows."""
    return {
        location.image.name: Digest(location.written.digest)
        for location in view.locations_of(commit, environment, application.name)
        if location.written.digest
    }


def _whose(
    view: View,
    environment: Environment,
    application: Application,
    publication: str,
    images: Mapping[str, Digest],
) -> str:
    """The commit of which all these are the images; empty: of none that is known."""
    for image in images.items():
        found = record_of(view, environment, application, publication, image)
        if found is not None and dict(found.digests) == dict(images):
            return found.commit
    return ""


def _unfit(
    view: View,
    environment: Environment,
    application: Application,
    commit: str,
    images: Mapping[str, Digest],
) -> str:
    """Why a set cannot come back; empty: it can."""
    short = ", ".join(digest.short for digest in images.values())
    if not commit:
        return f"whose images {short} are is not known"
    for name, digest in images.items():
        said = view.rules.revoked.get(digest)
        if said is not None:
            return f"{commit[:7]}: {name} {digest.short} is revoked ({said})"
        if not is_sealed(view, environment, ImageId(application.name, name), digest):
            return f"{commit[:7]}: {name} {digest.short} is not sealed there any more"
    return ""
