"""What a body says about how the images run: what changed about it, and what that may mean."""

from __future__ import annotations

from typing import Final

from bot.domain.assessment import Assessment
from bot.domain.judging import configuration_changes
from bot.domain.policy import Configured
from bot.formats.markdown import code

_NAMES: Final = {
    Configured.ENTRYPOINT: "Entrypoint",
    Configured.USER: "User",
    Configured.PORTS: "Exposed ports",
    Configured.VARIABLES: "Environment variables (names)",
}


def configuration(assessment: Assessment) -> str:
    """The changes of entrypoint, user, ports and names of variables; empty without any."""
    lines: dict[str, None] = {}
    for pair in assessment.pairs:
        new = pair.new.configuration if pair.new else None
        old = pair.old.configuration if pair.old else None
        if pair.new is None or new is None or old is None:
            continue
        where = f" of {code(pair.new.repository, 80)}" if len(assessment.images) > 1 else ""
        for what, was, now in configuration_changes(old, new):
            sides = f"{code(was, 120) if was else 'none'} → {code(now, 120) if now else 'none'}"
            lines[f"- ⚠️ **{_NAMES[what]}**{where}: {sides}"] = None
    if not lines:
        return ""
    return "### How it runs\n\n" + "\n".join(lines)
