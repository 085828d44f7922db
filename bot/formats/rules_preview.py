"""The comment on what the rules of a pull request match."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bot.domain.environments import ImageId
from bot.formats.markdown import code, details, prose

_ROWS: Final = 30
"""Of each kind."""
_PLACES: Final = 3
"""Of one image."""


@dataclass(frozen=True, slots=True)
class MatchedPlaces:
    """The places of one image in one environment: ``file (pointer)`` each."""

    environment: str
    image: ImageId
    before: tuple[str, ...]
    """By the rules in force, on the commit that the pull request starts from."""
    now: tuple[str, ...]
    """By the pull request's own rules, on its head."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What the rules of a pull request match."""

    rows: Sequence[MatchedPlaces]
    """Of every image in every environment; without places: it is not in it."""
    refused: Sequence[str] = ()
    """What two rules want, or one wants and cannot have."""
    unmatched: Sequence[str] = ()
    """Rules that match nothing."""

    @property
    def lost(self) -> list[MatchedPlaces]:
        """Images that have no place any more where they had one."""
        return [row for row in self.rows if row.before and not row.now]

    @property
    def moved(self) -> list[MatchedPlaces]:
        """Images whose places are others than before."""
        return [row for row in self.rows if row.before and row.now and row.before != row.now]

    @property
    def new(self) -> list[MatchedPlaces]:
        """Images that get their first place in an environment."""
        return [row for row in self.rows if row.now and not row.before]


def preview(found: Preview) -> str:
    """The comment, without its marker."""
    return "\n\n".join(
        part
        for part in (
            "### What the rules match with this pull request",
            _counted(found),
            _section("Lost: nothing matches any more", (_lost(row) for row in found.lost)),
            _section("Wanted by two rules, or refused", _texts(found.refused)),
            _section("Matches nothing", _texts(found.unmatched)),
            _section("Moved", (_moved(row) for row in found.moved)),
            _section("New", (_now(row) for row in found.new)),
            _everything(found),
        )
        if part
    )


def _counted(found: Preview) -> str:
    environments = dict.fromkeys(row.environment for row in found.rows)
    lines = []
    for name in environments:
        here = [row for row in found.rows if row.environment == name and row.now]
        places = sum(len(row.now) for row in here)
        lines.append(f"- {code(name)}: {_number(len(here), 'image')} at {_number(places, 'place')}")
    return _cut(lines)


def _number(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _section(heading: str, rows: Iterable[str]) -> str:
    lines = list(rows)
    return f"**{heading}** ({len(lines)})\n\n{_cut(lines)}" if lines else ""


def _cut(lines: Sequence[str]) -> str:
    more = len(lines) - _ROWS
    return "\n".join([*lines[:_ROWS], *([f"- and {more} more"] if more > 0 else [])])


def _texts(found: Sequence[str]) -> list[str]:
    return [f"- {prose(one, 300)}" for one in found]


def _lost(row: MatchedPlaces) -> str:
    return f"- {_subject(row)}: was at {_places(row.before)}"


def _moved(row: MatchedPlaces) -> str:
    gone = [one for one in row.before if one not in row.now]
    came = [one for one in row.now if one not in row.before]
    parts = [f"not at {_places(gone)}" if gone else "", f"now at {_places(came)}" if came else ""]
    return f"- {_subject(row)}: {', '.join(part for part in parts if part)}"


def _now(row: MatchedPlaces) -> str:
    return f"- {_subject(row)}: {_places(row.now)}"


def _subject(row: MatchedPlaces) -> str:
    return f"{code(row.environment)} {code(str(row.image))}"


def _places(places: Sequence[str]) -> str:
    more = len(places) - _PLACES
    shown = ", ".join(code(one, 160) for one in places[:_PLACES])
    return f"{shown} and {more} more" if more > 0 else shown


def _everything(found: Preview) -> str:
    rows = [_now(row) for row in found.rows if row.now]
    return details("All of them", _cut(rows)) if rows else ""
