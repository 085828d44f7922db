"""Whom a hold means now: its application may be called otherwise, or be gone from the file.

A hold is kept under the name that the application had. Whoever renames the application in the
pipeline file does not end it: it goes with what comes of the same source, or has the same image.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from bot.domain.environments import Application, Pipeline
from bot.domain.errors import RejectedError
from bot.domain.memory import Hold
from bot.facts.snapshot import View, pipeline_at

EVERY = ""
"""The name of no application: all of them are meant."""


def meant_by(view: View, hold: Hold) -> Collection[str]:
    """The applications of today that a hold stops; `EVERY` where nobody knows.

    Empty: what was held is gone from the pipeline file, and nothing took its place.
    """
    name = hold.scope.application
    if name == EVERY or name in view.pipeline.applications:
        return [name]
    before = next(_files_with(view, hold), None)
    if before is None:
        return [EVERY]
    was = before.applications[name]
    return [
        one.name
        for one in view.pipeline.applications.values()
        if one.name not in before.applications and _is_like(one, was)
    ]


def _files_with(view: View, hold: Hold) -> Iterator[Pipeline]:
    """Pipeline files that name what is held: that of its time first, then the newest ones."""
    accepted = [one for one in view.ports.memory.accepted_rules(view.id) if one.is_valid]
    of_its_time = [one for one in accepted if one.at <= hold.at][-1:]
    for one in (*of_its_time, *reversed(accepted)):
        if view.history.has(one.commit):
            try:
                found = pipeline_at(view.repository, view.history, one.commit)
            except RejectedError:
                continue  # it cannot be read any more; another file may name it
            if hold.scope.application in found.applications:
                yield found


def _is_like(one: Application, was: Application) -> bool:
    """Whether an application may be the other under a new name; in doubt it is."""
    images = {image.name for image in one.images} & {image.name for image in was.images}
    return bool(images) or str(one.source).lower() == str(was.source).lower()
