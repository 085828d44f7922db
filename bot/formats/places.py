"""What is found in a file: places that can be edited, and everything else that speaks of us.

A *place* is a reference of ours with *slots*: the scalars that an edit may write. A *remark* is
anything that names us and is no place; some remarks hold a merge where an environment signs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final

from bot.domain.environments import ImageId
from bot.domain.errors import ConfigurationError, IntegrityError
from bot.domain.publication import LocationKey
from bot.formats.image_names import ImageField
from bot.formats.splice import Span, Splice, scalar_text

_NOT_WRITABLE: Final = "written with escapes or as a block"


class Shape(Enum):
    """What a slot holds of a reference."""

    REFERENCE = "repository[:tag][@digest]"
    NAMED_REFERENCE = "[name=]repository[:tag][@digest]"
    REPOSITORY = "repository"
    HOST = "registry host"
    PATH = "path of the repository"
    TAG = "tag"
    TAG_AND_DIGEST = "tag[@digest]"
    DIGEST = "digest"
    HEX = "hex digits of the digest"


class RemarkKind(StrEnum):
    """Why something that names us is no place."""

    REFUSED = "refused"
    """It is a place of ours, written so that it cannot be edited rightly."""
    MENTION = "mention"
    """It stands where no place is known."""
    UNREADABLE = "unreadable"
    """The file cannot be read, and may name us."""
    BROKEN = "broken"
    """The file cannot be read, and nothing in it names us."""
    NAMED = "named"
    """The object only names images, and runs none."""
    REPLACED = "replaced"
    """A kustomization puts another reference there."""
    FOREIGN = "foreign"
    """It is called like an image of ours and is another one."""
    MARKER = "marker"
    """Another tool writes the same line."""
    COMPOSED = "composed"
    """What is deployed stands in no file: it is put together, or fetched."""


HOLDING: Final = frozenset(
    {RemarkKind.REFUSED, RemarkKind.MENTION, RemarkKind.UNREADABLE, RemarkKind.COMPOSED}
)
"""Remarks that hold a merge where the environment signs: what they name may run unsealed."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something in a file that people should know of."""

    kind: RemarkKind
    file: str
    line: int | None
    reason: str
    pointer: str = ""
    text: str = ""
    """What stands there, where it is a name of ours."""
    image: ImageId | None = None
    """Whose it is, where that is known."""
    state: str = ""
    """What else decides which image it is, as one short text: it is another remark once that is."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        pointer = f" ({self.pointer})" if self.pointer else ""
        return f"{place}{pointer}: {self.reason}"

    @property
    def identity(self) -> str:
        """The same remark in another version of the file, lines apart."""
        return f"{self.kind}\0{self.pointer}\0{self.text or self.reason}\0{self.state}"


@dataclass(frozen=True, slots=True)
class Slot:
    """One scalar that an edit may write."""

    shape: Shape
    pointer: str
    """RFC 6901; behind a ``#`` within the text that stands at the pointer before it."""
    line: int
    span: Span | None
    """Where it stands, quotes included; None: it cannot be written."""
    old: str | None
    """What it says; None: it is to be inserted."""
    style: str = ""
    before: str = ""
    after: str = ""
    quote: str = ""
    """The quote that the text around it stands in."""

    @property
    def hosts(self) -> Iterator[str]:
        """Pointers of the texts that it stands in, the outermost first."""
        parts = self.pointer.split("#")
        return ("#".join(parts[:count]) for count in range(1, len(parts)))

    def splice(self, value: str) -> Splice | None:
        """How to make it say the value; None where it cannot be written."""
        if self.span is None:
            return None
        written = scalar_text(value, self.style)
        if self.quote and self.quote in written:
            return None
        return Splice(self.span, self.before + written + self.after)

    def blank(self) -> Splice | None:
        """The same place with nothing in it, whatever it says now."""
        if self.span is None:
            return None
        return Splice(self.span, f"{self.before}\0{self.after}")


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One scalar that an edit changes."""

    file: str
    document: int
    line: int
    pointer: str
    old: str | None
    """None for an insertion."""
    new: str
    kind: str
    """The style of the place."""


@dataclass(frozen=True, slots=True)
class ImageLocation:
    """One place in a file, with the scalars of each part."""

    place: LocationKey
    kind: str
    """The style: workload, kustomization, helm values, ..."""
    written: ImageField
    document: int
    """Which document of the file, from 1."""
    line: int
    """From 1."""
    pointer: str
    slots: tuple[Slot, ...]
    refusal: str = ""
    """Why none of it may be changed now (an anchor that others use); empty: it may."""
    shared: Mapping[str, str] = field(default_factory=dict)
    """Pointer of a slot -> why that slot must not be changed."""

    @property
    def image(self) -> ImageId:
        """Whose place it is."""
        return ImageId(self.place.application, self.place.image)

    def target(self, wanted: ImageField) -> ImageField:
        """What it should say: spelled as it is where that means the same."""
        if self.written.digest and not wanted.digest:
            raise IntegrityError(f"{self.place.path}: a digest is never taken away")
        same = self.written.canonical == wanted.canonical
        repository = self.written.repository if same else wanted.repository
        return ImageField(repository, wanted.tag or self.written.tag, wanted.digest)

    def changes(self, wanted: ImageField) -> Iterator[tuple[Slot, str]]:
        """The slots to write, and what.

        Raises:
            ConfigurationError: One of them cannot be written in place.
            IntegrityError: A digest would be taken away.
        """
        target = self.target(wanted)
        for slot in self.slots:
            value = self._value(slot, target)
            if value is not None and value != (slot.old or ""):
                self._check(slot, value)
                yield slot, value

    def _check(self, slot: Slot, value: str) -> None:
        why = self.refusal or self.shared.get(slot.pointer, "")
        if why:
            raise ConfigurationError(self.place.path, slot.line, why, "write the place out")
        if slot.splice(value) is None:
            fact = f"{(slot.old or '')[:80]!r} is {_NOT_WRITABLE}"
            remedy = "write it plainly on one line"
            raise ConfigurationError(self.place.path, slot.line, fact, remedy)

    def _value(self, slot: Slot, target: ImageField) -> str | None:
        """What a slot should say; None: it is left as it is."""
        same = self.written.canonical == target.canonical
        match slot.shape:
            case Shape.REFERENCE:
                tag = target.tag if self.written.tag else ""
                return str(ImageField(target.repository, tag, target.digest))
            case Shape.NAMED_REFERENCE:
                return self._named(slot, target)
            case Shape.REPOSITORY:
                return None if same else target.repository
            case Shape.HOST:
                return None if same else target.repository.partition("/")[0]
            case Shape.PATH:
                return None if same else target.repository.partition("/")[2]
            case Shape.TAG:
                return target.tag or None
            case Shape.TAG_AND_DIGEST:
                return self._tag_and_digest(slot, target)
            case Shape.DIGEST:
                return target.digest or None
            case Shape.HEX:
                has_algorithm = (slot.old or "").startswith("sha256:")
                return (target.digest if has_algorithm else target.digest[7:]) or None

    def _named(self, slot: Slot, target: ImageField) -> str:
        name, equals, _ = (slot.old or "").partition("=")
        tag = target.tag if self.written.tag else ""
        reference = str(ImageField(target.repository, tag, target.digest))
        if equals:
            return f"{name}={reference}"
        if self.written.repository == target.repository:
            return reference
        return f"{self.written.repository}={reference}"

    def _tag_and_digest(self, slot: Slot, target: ImageField) -> str | None:
        if target.digest and not target.tag:
            fact = "there is no tag to write the digest behind"
            remedy = "say which tag: --image NAME=TAG@sha256:..."
            raise ConfigurationError(self.place.path, slot.line, fact, remedy)
        if not target.digest:
            return target.tag or None
        return f"{target.tag}@{target.digest}"

    def blanks(self) -> Iterator[Splice]:
        """Every slot with nothing in it: what stays is the file around the place."""
        for slot in self.slots:
            blank = slot.blank()
            if blank is not None:
                yield blank
