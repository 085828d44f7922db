"""What the demo shows in a terminal: a story with its seconds, two panels, one table.

Every line is made to fit 80 columns; nothing relies on the terminal to wrap it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from bot.formats.assessment_document import AssessmentDocument

WIDEST: Final = 96
"""Columns: wider lines are harder to read."""
_MARKS: Final = {"fail": "[red]✗[/]", "warn": "[yellow]![/]", "pass": "[green]✓[/]"}


@dataclass
class Screen:
    """A console, and when the play began."""

    console: Console
    began: float = field(default_factory=time.monotonic)

    @property
    def width(self) -> int:
        """Columns that are used."""
        return min(self.console.width, WIDEST)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def title(self, text: str) -> None:
        """The beginning of an act."""
        self.console.print()
        self.console.print(Rule(f"[b]{escape(text)}[/]", align="left"), width=self.width)

    def line(self, markup: str) -> None:
        """One line as it is."""
        self.console.print(markup, highlight=False, soft_wrap=True)

    def say(self, who: str, what: str, colour: str = "b") -> None:
        """One line of the story; ``what`` is markup."""
        self.line(f"[dim]{self.seconds:5.1f} s[/]  [{colour}]{who:<10}[/] {what}")

    def note(self, what: str) -> None:
        """What came of the line before."""
        self.line(f"{' ' * 20}[dim]{what}[/]")

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """A sign of life."""
        with self.console.status(f"[dim]waiting for {escape(what)}[/]"):
            yield

    def panel(self, title: str, rows: Sequence[tuple[str, RenderableType]], colour: str) -> None:
        """Facts in a frame: a name and what there is to say."""
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(ratio=1)
        for name, value in rows:
            grid.add_row(name, value)
        frame = Panel(
            grid,
            title=f"[b]{escape(title)}[/]",
            title_align="left",
            border_style=colour,
            box=ROUNDED,
            padding=(0, 1),
        )
        self.console.print(frame, width=self.width)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """What came of everything."""
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in header:
            table.add_column(name, no_wrap=True, justify="right" if name == "seconds" else "left")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)


def facts(found: AssessmentDocument, base: tuple[str, str]) -> list[tuple[str, RenderableType]]:
    """What a reviewer is told, in a few rows.

    Args:
        found: everything that was judged.
        base: the base image that runs, and that of the new image.
    """
    rows: list[tuple[str, RenderableType]] = [("policy", _policy(found))]
    open_ = [check for check in found.checks if check.result != "pass"]
    for check in sorted(open_, key=lambda one: one.result):
        mark = _MARKS.get(check.result, "?")
        rows.append(("", Text.from_markup(f"{mark} {escape(check.title)}")))
        rows.append(("", Text.from_markup(f"  [dim]{escape(check.detail)}[/]")))
    rows.append(("vulnerable", Text.from_markup(_counted(found))))
    rows.append(("packages", Text.from_markup(_packages(found))))
    for change in found.licence_changes or []:
        name = change.package.full_name
        shown = f"{name}: {change.before} → [b]{change.after}[/]"
        rows.append(("licence", Text.from_markup(shown)))
    if base[0] and base[0] != base[1]:
        rows.append(("base image", Text.from_markup(f"{base[0]} → {base[1]}")))
    return rows


def _policy(found: AssessmentDocument) -> Text:
    passing = sum(check.result == "pass" for check in found.checks)
    words = {
        "fail": "[b red]blocked[/]",
        "warn": "[b yellow]passes with warnings[/]",
        "pass": "[b green]passes[/]",
    }
    answer = words.get(found.verdict, f"[b red]{found.verdict}[/]")
    return Text.from_markup(f"{answer} [dim]({passing} of {len(found.checks)} checks pass)[/]")


def _counted(found: AssessmentDocument) -> str:
    """``1 critical introduced, 1 high fixed, 1 medium unchanged``."""
    colours = {"introduced": "red", "fixed": "green", "unchanged": "dim"}
    parts = [
        f"[{colours[kind]}]{number} {severity} {kind}[/]"
        for kind in colours
        for severity, number in found.counts.get(kind, {}).items()
        if number
    ]
    return ", ".join(parts) or "nothing is known to be vulnerable"


def _packages(found: AssessmentDocument) -> str:
    if found.package_changes is None:
        return f"{found.inventory.packages if found.inventory else 0}; the first release here"
    kinds = ("added", "removed", "updated", "downgraded")
    changes = [f"{found.packages[kind]} {kind}" for kind in kinds if found.packages.get(kind)]
    return ", ".join(changes) or "none changes"
