"""What an application's signatures are held against: keys of the rules, and its own repository."""

from __future__ import annotations

from bot.domain.environments import Application
from bot.domain.errors import NotFoundError
from bot.domain.trust import BuiltFrom
from bot.facts.rules import Rules
from bot.facts.snapshot import View
from bot.signatures.verify import Trust


def trust_of(view: View, application: Application, commit: str, rules: Rules) -> Trust:
    """What roots are held against for an image of this source commit; empty: nobody knows it.

    Raises:
        ConfigurationError: a key file of the rules holds no public key.
    """
    keys = {
        name: [view.ports.public_key(content, name)] for name, content in rules.key_files.items()
    }
    return Trust(_built(view, application, commit), keys, view.ports.certificates)


def _built(view: View, application: Application, commit: str) -> BuiltFrom | None:
    if not commit:
        return None
    try:
        facts = view.ports.github.facts(application.source)
    except NotFoundError:
        return None
    feeding = {b: None for one in view.pipeline.environments.values() for b in one.branches}
    return BuiltFrom(
        repository=str(application.source),
        repository_id=facts.id,
        commit=commit,
        branches=tuple(feeding),
        web_url=view.ports.web_url,
    )
