"""Whether somebody may give a verb in an environment now, by GitHub's word about their account."""

from __future__ import annotations

from collections.abc import Iterable

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


class EntitlementUnknownError(RejectedError):
    """GitHub does not say who somebody is, so nobody knows whether they may."""

    def __init__(self, verb: Verb, who: str, asked: str) -> None:
        """Name what GitHub does not say, and the way out."""
        super().__init__(
            f"GitHub does not say whether {who} is one of {asked}, so nothing was done; give "
            f"`/{verb.name}` again. If it says so again, the App lacks *Members: read*, or "
            "there is no such team"
        )
        self.verb, self.who, self.asked = verb, who, asked


def check_entitled(view: View, environment: Environment, verb: Verb, who: Actor) -> None:
    """Hold that a person may give a verb about an environment.

    A team is asked by name, so the permission, which GitHub says with the account's number, is
    asked as well: a name that somebody else has now is nobody's of the team.

    Raises:
        NotEntitledError: they may not.
        EntitlementUnknownError: GitHub answers, and does not say.
        UnavailableError: GitHub does not answer now; that is no yes.
    """
    github, repository = view.ports.github, view.repository
    teams = environment.approvals.teams if verb.may is May.APPROVE else ()
    if verb.may is May.OPERATE:
        raise NotEntitledError(verb, who.login, "the operator, at the command line")
    if teams:
        answers = (github.in_team(repository, team, who.login) for team in teams)
        _check_any(answers, verb, who, " or ".join(teams))
    writers = f"people who may write to {repository}"
    _check_any([github.can_write(repository, who)], verb, who, writers)


def _check_any(answers: Iterable[bool | None], verb: Verb, who: Actor, needed: str) -> None:
    """One yes is enough; without it, one that is not known is no plain no."""
    said = list[bool | None]()
    for one in answers:
        if one:
            return
        said.append(one)
    if None in said:
        raise EntitlementUnknownError(verb, who.login, needed)
    raise NotEntitledError(verb, who.login, needed)
