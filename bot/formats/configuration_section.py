"""What a body says about how the images run: what changed about it, and what that may mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bot.domain.assessment import Assessment
from bot.domain.image_configuration import ImageConfiguration
from bot.domain.judging import configuration_changes
from bot.domain.policy import Configured
from bot.formats.markdown import code, text

_NAMES: Final = {
    Configured.ENTRYPOINT: "Entrypoint",
    Configured.USER: "User",
    Configured.PORTS: "Exposed ports",
    Configured.VARIABLES: "Environment variables (names)",
}


@dataclass(frozen=True, slots=True)
class Running:
    """How one platform of one image runs, now and new; None: nobody knows."""

    image: str
    platform: str
    now: ImageConfiguration | None
    new: ImageConfiguration | None


def judged(assessment: Assessment) -> list[Running]:
    """As the scanner's reports say; what is new on its platform has nothing to differ from."""
    return [
        Running(pair.new.repository, pair.new.platform, pair.old.configuration, new)
        for pair in assessment.pairs
        if pair.new is not None and pair.old is not None
        for new in (pair.new.configuration,)
    ]


def configuration(sides: Sequence[Running]) -> str:
    """The changes of entrypoint, user, ports and names of variables; empty without any."""
    lines = list(dict.fromkeys(_lines(sides)))
    unknown = [one for one in sides if one.now is None or one.new is None]
    if lines and unknown:
        names = dict.fromkeys(" ".join(filter(None, (one.image, one.platform))) for one in unknown)
        lines.append(f"- Not known of {text(', '.join(names), 200)}.")
    return "### How it runs\n\n" + "\n".join(lines) if lines else ""


def summary(sides: Iterable[Running]) -> str:
    """In a few words, for a table."""
    every = list(sides)
    if any(_lines(every)):
        return "⚠️ changed, see below"
    if not every or any(one.now is None or one.new is None for one in every):
        return "not known"
    return "as now"


def _lines(sides: Sequence[Running]) -> Iterator[str]:
    """A change that all platforms share is one line; else it names its platform."""
    several = len({one.image for one in sides}) > 1
    for one in sides:
        if one.now is None or one.new is None:
            continue
        for what, was, now in configuration_changes(one.now, one.new):
            places = [
                other.platform
                for other in sides
                if other.image == one.image
                and other.now is not None
                and other.new is not None
                and (what, was, now) in configuration_changes(other.now, other.new)
            ]
            every = [other.platform for other in sides if other.image == one.image]
            where = f" of {code(one.image, 80)}" if several else ""
            where += f" on {text(', '.join(places), 80)}" if len(places) < len(every) else ""
            yield f"- ⚠️ **{_NAMES[what]}**{where}: {_side(was)} → {_side(now)}"


def _side(words: str) -> str:
    return code(words, 120) if words else "none"
