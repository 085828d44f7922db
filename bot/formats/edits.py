"""A promotion as an edit of an environment's files: what it changes, or why it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bot.domain.environments import ImageId
from bot.domain.errors import RejectedError
from bot.domain.publication import LocationKey
from bot.formats.environment_files import EnvironmentFiles
from bot.formats.image_names import ImageField
from bot.formats.manifest_file import Reading, edited
from bot.formats.places import ImageLocation, PlannedChange, Remark, RemarkKind


class State(StrEnum):
    """What an edit comes to for an image."""

    CHANGED = "changed"
    ALREADY = "already"
    """Every place says so already."""
    NOT_HERE = "not_here"
    """It has no place in the environment."""
    UNSUPPORTED = "unsupported"
    """It is there, written so that it cannot be edited rightly."""
    UNREADABLE = "unreadable"
    """It may be there, in a file that cannot be read."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What becomes of an environment's files."""

    contents: Mapping[str, str] = field(default_factory=dict)
    """Path -> the whole file as it is to be."""
    changes: tuple[PlannedChange, ...] = ()
    refused: tuple[Remark, ...] = ()
    """Places of the wanted images that cannot be edited: the edit is not whole."""
    skipped: tuple[Remark, ...] = ()
    """Everything else that concerns the wanted images and is left as it is."""
    warnings: tuple[Remark, ...] = ()
    """Other tools that write the same lines."""
    states: Mapping[ImageId, State] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The first of the images' states that asks for attention."""
        order = (
            State.UNREADABLE,
            State.UNSUPPORTED,
            State.CHANGED,
            State.ALREADY,
            State.NOT_HERE,
        )
        found = set(self.states.values())
        return next((one for one in order if one in found), State.NOT_HERE)


def edit_of(
    files: EnvironmentFiles, text: Callable[[str], str], wanted: Mapping[ImageId, ImageField]
) -> Edit:
    """The edit that brings every place of the wanted images to what is wanted.

    Args:
        files: the environment.
        text: a file's characters.
        wanted: what each image's places should say.
    """
    contents: dict[str, str] = {}
    changes: list[PlannedChange] = []
    refused: list[Remark] = []
    applications = {image.application for image in wanted}
    paths = {location.place.path for one in applications for location in files.locations_of(one)}
    for path in sorted(paths):
        reading = files.reading(path)
        here = {
            location.place: wanted[location.image]
            for location in reading.locations
            if location.image in wanted
        }
        good, bad = _writable(reading, here)
        refused += bad
        if good:
            after, planned = edited(path, text(path), reading, good)
            changes += planned
            if planned:
                contents[path] = after
    about = [one for one in files.remarks if one.image is None or one.image in wanted]
    refused += [one for one in about if one.kind is RemarkKind.REFUSED]
    left = [one for one in about if one.kind not in {RemarkKind.REFUSED, RemarkKind.MARKER}]
    return Edit(
        contents,
        tuple(changes),
        tuple(refused),
        tuple(left),
        tuple(one for one in about if one.kind is RemarkKind.MARKER),
        {image: _state(image, files, changes, refused, left) for image in wanted},
    )


def _writable(
    reading: Reading, wanted: Mapping[LocationKey, ImageField]
) -> tuple[dict[LocationKey, ImageField], list[Remark]]:
    """The places that can be written, and why the others cannot."""
    good: dict[LocationKey, ImageField] = {}
    bad: list[Remark] = []
    for location in reading.locations:
        if location.place not in wanted:
            continue
        try:
            list(location.changes(wanted[location.place]))
            good[location.place] = wanted[location.place]
        except RejectedError as error:
            bad.append(_refused(location, error))
    return good, bad


def _refused(location: ImageLocation, error: RejectedError) -> Remark:
    fact = getattr(error, "fact", str(error))
    remedy = getattr(error, "remedy", "")
    reason = f"{fact}; {remedy}" if remedy else fact
    line = getattr(error, "line", None) or location.line
    text, path = str(location.written), location.place.path
    return Remark(RemarkKind.REFUSED, path, line, reason, location.pointer, text, location.image)


def _state(
    image: ImageId,
    files: EnvironmentFiles,
    changes: list[PlannedChange],
    refused: list[Remark],
    left: list[Remark],
) -> State:
    if any(one.image == image for one in refused):
        return State.UNSUPPORTED
    own = [
        location for location in files.locations_of(image.application) if location.image == image
    ]
    pointers = {(one.file, one.pointer) for one in changes}
    if any((s.place.path, slot.pointer) in pointers for s in own for slot in s.slots):
        return State.CHANGED
    if own:
        return State.ALREADY
    unreadable = any(r.kind is RemarkKind.UNREADABLE and r.image in {image, None} for r in left)
    return State.UNREADABLE if unreadable else State.NOT_HERE
