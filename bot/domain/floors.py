"""What an operator pins for an environment, whatever the pipeline file says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bot.domain.environments import Approvals, Environment


@dataclass(frozen=True, slots=True)
class Floor:
    """The least that an environment's rules have to ask for; nothing by default."""

    signs: bool = False
    approvals: Approvals | None = None
    """At least so many, of these teams alone; without teams any may be named."""
    source: str = ""
    """The environment that it takes images ``from``; empty: any."""
    ref: str = ""
    """Its environment ref; empty: any."""


def below(floor: Floor, environment: Environment) -> tuple[str, ...]:
    """What of an environment's rules is below the floor, for people; empty: nothing."""
    return tuple(_below(floor, environment))


def _below(floor: Floor, environment: Environment) -> Iterator[str]:
    if floor.signs and not environment.signs:
        yield "sign is false, the grant asks for true"
    if floor.approvals is not None:
        yield from _approvals_below(floor.approvals, environment.approvals)
    if floor.source and environment.source_environment != floor.source:
        yield f"from is {environment.source_environment or 'no environment'}, not {floor.source}"
    if floor.ref and environment.ref != floor.ref:
        yield f"publish.ref is {environment.ref}, not {floor.ref}"


def _approvals_below(floor: Approvals, approvals: Approvals) -> Iterator[str]:
    if approvals.count < floor.count:
        yield f"approvals.count is {approvals.count}, the grant asks for {floor.count}"
    if floor.teams and not (approvals.teams and set(approvals.teams) <= set(floor.teams)):
        named = " or ".join(approvals.teams) or "anybody with write access"
        yield f"approvals are those of {named}, the grant asks for {' or '.join(floor.teams)}"
