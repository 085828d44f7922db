"""What a body says about contents: packages and licences that changed."""

from __future__ import annotations

from typing import Final

from bot.domain.assessment import Assessment
from bot.domain.delta import Change, Contents, PackageChange
from bot.formats.body_budget import Detail, listed
from bot.formats.evidence_cells import (
    NBSP,
    NOT_EVALUATED,
    package_cell,
    versions_cell,
)
from bot.formats.markdown import code, details

_CHANGES: Final = {
    Change.ADDED: f"➕{NBSP}added",  # noqa: RUF001 - a sign beside its word
    Change.REMOVED: f"➖{NBSP}removed",  # noqa: RUF001 - a sign beside its word
    Change.UPDATED: f"⬆️{NBSP}updated",
    Change.DOWNGRADED: f"⬇️{NBSP}downgraded",
    Change.CHANGED: f"↔️{NBSP}changed",
}


def contents(assessment: Assessment, detail: Detail) -> str:
    """What is in the image now: packages and licences that changed."""
    found, heading = assessment.contents, "### Contents (SBOM)"
    if found is None:
        words = "No SBOM was read; this says nothing about the image."
        return f"{heading}\n\n{NOT_EVALUATED} {words}"
    if found.old is None:
        words = f"{len(found.new.versions)} packages; there is no SBOM to compare them with."
        return f"{heading}\n\n{words}"
    parts = [heading, _contents_line(found), *_licences(found, detail.licences)]
    if found.changes:
        rows = [_change_row(change, found) for change in found.changes[: detail.packages]]
        changes = listed(rows, len(found.changes))
        parts.append(details("Added, removed and changed packages", changes))
    return "\n\n".join(parts)


def _contents_line(found: Contents) -> str:
    total = len(found.changes)
    if not total:
        return f"**No package changes**; {len(found.new.versions)} packages."
    words = [f"{found.counts.get(change, 0)} {change}" for change in Change]
    if not found.counts.get(Change.CHANGED, 0):
        words.pop()
    verb = "packages change" if total > 1 else "package changes"
    return f"**{total} {verb}**: {', '.join(words)}."


def _licences(found: Contents, shown: int) -> list[str]:
    """Changes of licence are never folded."""
    total = len(found.licences)
    if not total:
        return []
    changed = [
        f"{package_cell(one.package)} {code(one.before, 80)} → {code(one.after, 80)}"
        for one in found.licences[:shown]
    ]
    more = [f"and {total - len(changed)} more"] if total > len(changed) else []
    name = "licence change" if total == 1 else "licence changes"
    return [f"⚠️ **{total} {name}**: {', '.join([*changed, *more])}."]


def _change_row(change: PackageChange, found: Contents) -> list[str]:
    licences = [
        side.licences.get(change.package, "") if side else "" for side in (found.old, found.new)
    ]
    shown = [code(licence, 80) for licence in dict.fromkeys(licences) if licence]
    return [
        _CHANGES[change.change],
        package_cell(change.package),
        " → ".join(filter(None, (versions_cell(change.before), versions_cell(change.after)))),
        " → ".join(shown),
    ]
