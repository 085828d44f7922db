"""A measured figure beside a peer's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One line of the results."""

    name: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    """Ours by the peer's, of the same round, median over the rounds."""
    target: float | None = None
    """What the ratio may be at most, or the value where there is no ratio; None: information."""

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        judged = self.value if self.ratio is None else self.ratio
        return judged <= self.target


def written(file: Path, figures: Sequence[Figure]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(figure), "met": figure.met} for figure in figures]
    file.write_text(json.dumps(rows, indent=2) + "\n")


def table(title: str, figures: Sequence[Figure]) -> str:
    heads = ("figure", "value", "unit", "peer", "peer's", "ratio", "target", "met")
    rows = [heads, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join((f"\n{title}", *(line.rstrip() for line in lines), ""))


def _row(figure: Figure) -> tuple[str, ...]:
    met = {True: "yes", False: "NO", None: ""}[figure.met]
    return (
        figure.name,
        f"{figure.value:.3f}",
        figure.unit,
        figure.peer,
        _number(figure.peer_value),
        _number(figure.ratio),
        _number(figure.target),
        met,
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
