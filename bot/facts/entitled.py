"""Whether somebody may give a verb in an environment now, by GitHub's word about their account."""

from __future__ import annotations

from bot.domain.environments import Environment
from bot.domain.errors import RejectedError
from bot.domain.history import Actor
from bot.domain.verbs import May, Verb
from bot.facts.snapshot import View


class NotEntitledError(RejectedError):
    """Somebody gave a verb that is not theirs to give."""

    def __init__(self, verb: Verb, who: str, needed: str) -> None:
        """Name who may."""
        super().__init__(f"{who} may not give `/{verb.name}` here: that is for {needed}")
        self.verb, self.who, self.needed = verb, who, needed


def check_entitled(view: View, environment: Environment, verb: Verb, who: Actor) -> None:
    """Hold that a person may give a verb about an environment.

    Raises:
        NotEntitledError: they may not.
        UnavailableError: GitHub does not say now; that is no yes.
    """
    teams = environment.approvals.teams
    if verb.may is May.OPERATE:
        raise NotEntitledError(verb, who.login, "the operator, at the command line")
    if verb.may is May.APPROVE and teams:
        if not any(view.ports.github.in_team(view.repository, team, who.login) for team in teams):
            raise NotEntitledError(verb, who.login, " or ".join(teams))
    elif not view.ports.github.can_write(view.repository, who):
        needed = f"people who may write to {view.repository}"
        raise NotEntitledError(verb, who.login, needed)
