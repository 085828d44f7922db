"""Letting an environment go on: holds end, and what made the bot stop is taken as it is."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.environments import Environment
from bot.domain.memory import HoldKind, PublicationRecord
from bot.domain.verbs import Person
from bot.facts.snapshot import View
from bot.reconcilers.holding import Released, unhold
from bot.reconcilers.publication.publish import brings_unsealed, rules_in_record


def let_go(view: View, environment: Environment, application: str, who: Person) -> Released:
    """End the nearest holds; with the bot's own a foreign tip or rewritten branch is accepted."""
    done = unhold(view, environment, application, who)
    if any(one.kind is HoldKind.BOT for one in done.ended):
        _accept_tip(view, environment)
    return done


def _accept_tip(view: View, environment: Environment) -> None:
    """What made the environment stop is taken as it is: the foreign tip, the rewritten branch."""
    memory, scope = view.ports.memory, view.scope(environment.name)
    last = memory.last_publication(view.id, environment.name)
    tip = view.history.heads().get(environment.ref, "")
    if last is None or not tip or brings_unsealed(view, environment, tip):
        return  # what is not sealed is replaced, whoever lets the environment go on
    contained = view.history.is_ancestor(last.source, view.head) if last.source else False
    source = last.source if contained else ""
    if tip != last.commit or source != last.source:
        now = view.ports.clock.now()
        record = PublicationRecord(scope, environment.ref, tip, last.commit, source, now)
        memory.record_publication(replace(record, rules=rules_in_record(view)))
        # Under a publication's identity: what a person accepted is not reported as ours.
        facts = {"ref": environment.ref, "commit": tip}
        view.ports.audit.append("accepted", scope, facts, once=f"published:{view.id}:{tip}")
