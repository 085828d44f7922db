"""What the rules of a pull request would match: now, lost, moved, wanted by two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from bot.domain.environments import Environment, ImageId, Pipeline, matches
from bot.domain.errors import RejectedError
from bot.domain.history import PullRequest
from bot.facts.snapshot import View, pipeline_at
from bot.formats.environment_files import literal_folder
from bot.formats.pipeline_file import PIPELINE_FILE
from bot.formats.places import RemarkKind
from bot.formats.rules_preview import MatchedPlaces, Preview, preview
from bot.reporting.reports import tell_preview

_WORK: Final = 500_000
"""Environments, squared, times images: more is shown to nobody. Anybody may open a fork's."""
_TOO_MANY: Final = "There are too many environments and images for a preview of what they match."
Matched = Mapping[ImageId, tuple[str, ...]]
"""Image -> ``file (pointer)`` of each of its places."""


def preview_rules(view: View, pull_request: PullRequest, base: str) -> None:
    """Comment what a pull request's rules match, where it changes the rules or moves places.

    A comment that stands already is brought up to date; where nothing is to be said none is begun.
    """
    head = pull_request.head
    changed = view.history.changes(base, head) if base else {}
    is_rules = PIPELINE_FILE in changed
    if not (is_rules or _moves_files(view, changed)):
        tell_preview(view, pull_request.number, "", begins=False)
        return
    try:
        after = pipeline_at(view.repository, view.history, head) if is_rules else view.pipeline
    except RejectedError:
        return  # the check says what is wrong; the last valid preview stays
    if _work(after) > _WORK:
        tell_preview(view, pull_request.number, _TOO_MANY, begins=is_rules)
        return
    try:
        found = _compared(view, replace(view, pipeline=after) if is_rules else view, base, head)
    except RejectedError:
        return  # telling ends nothing: the check names what cannot be read
    text = preview(found) if is_rules or found.lost or found.moved else ""
    tell_preview(view, pull_request.number, text, begins=bool(text))


def _work(pipeline: Pipeline) -> int:
    """How often a name is looked at: each environment knows every image of every environment."""
    images = sum(len(one.images) for one in pipeline.applications.values())
    return len(pipeline.environments) ** 2 * images


def _moves_files(view: View, changed: Mapping[str, object]) -> bool:
    environments = view.pipeline.environments.values()
    return any(one.owns(path) for path in changed for one in environments)


def _compared(old: View, new: View, base: str, head: str) -> Preview:
    before, after = old.pipeline, new.pipeline
    applications = after.applications.values()
    known = [ImageId(one.name, image.name) for one in applications for image in one.images]
    rows: list[MatchedPlaces] = []
    for name in dict.fromkeys([*after.environments, *before.environments]):
        was = _matched(old, base, before.environments.get(name))
        now = _matched(new, head, after.environments.get(name))
        rows += [
            MatchedPlaces(name, image, was.get(image, ()), now.get(image, ()))
            for image in dict.fromkeys([*known, *was])
        ]
    return Preview(rows, list(_wanted_twice(new, head)), list(_unmatched(new, head, rows)))


def _matched(view: View, commit: str, environment: Environment | None) -> Matched:
    if environment is None or not commit:
        return {}
    found: dict[ImageId, set[str]] = {}
    for location in view.locations(commit, environment):
        found.setdefault(location.image, set()).add(f"{location.place.path} ({location.pointer})")
    return {image: tuple(sorted(places)) for image, places in found.items()}


def _wanted_twice(view: View, commit: str) -> Iterator[str]:
    """What two rules want, or a rule of ours wants and cannot have."""
    for environment in view.pipeline.environments.values():
        for remark in view.files(commit, environment).remarks:
            if remark.kind is RemarkKind.REFUSED:
                yield f"{environment.name}: {remark}"
    paths = view.history.paths(commit)
    travelling = [one for one in view.pipeline.applications.values() if one.promote]
    for path in sorted(paths) if len(travelling) > 1 else ():
        wanted = [o.name for o in travelling if any(matches(g, path) for g in o.promote)]
        if len(wanted) > 1:
            yield f"`{path}`: `promote` of {' and '.join(wanted)}"


def _unmatched(view: View, commit: str, rows: Sequence[MatchedPlaces]) -> Iterator[str]:
    """Rules that match nothing at all."""
    paths = view.history.paths(commit)
    for environment in view.pipeline.environments.values():
        for glob in environment.manifests:
            if not _matches_any(glob, paths):
                yield f"{environment.name}: `manifests` `{glob}` matches no file"
    placed = {row.image for row in rows if row.now}
    for application in view.pipeline.applications.values():
        for image in application.images:
            if ImageId(application.name, image.name) not in placed:
                yield f"{application.name}/{image.name} has no place in any environment"
        for glob in application.promote:
            if not _matches_any(glob, paths):
                yield f"{application.name}: `promote` `{glob}` matches no file"


def _matches_any(glob: str, paths: Iterable[str]) -> bool:
    folder = literal_folder(glob)
    prefix = f"{folder}/" if folder else ""
    return any(path.startswith(prefix) and matches(glob, path) for path in paths)
