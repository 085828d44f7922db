"""The whole of the local GitHub: every record, one lock, one clock, the webhooks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.world.github.clock import Clock
from tests.world.github.errors import moved, not_found
from tests.world.github.records import (
    Account,
    Actor,
    App,
    Installation,
    InstallationToken,
    NewApp,
    Repository,
    Team,
)
from tests.world.github.webhooks import Webhooks

AfterPush = Callable[["State", Actor, Repository, str, str | None], None]
AfterGate = Callable[["State", Repository, str], None]


@dataclass(slots=True, eq=False)
class State:
    """Everything, under one lock."""

    web: str
    """Root of the web pages and of git, e.g. ``http://127.0.0.1:8080``."""
    directory: Path
    clock: Clock
    webhooks: Webhooks
    new_id: Callable[[], int]
    """Returns a number that nothing else in the world has."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    accounts: dict[str, Account] = field(default_factory=dict)
    teams: dict[tuple[str, str], Team] = field(default_factory=dict)
    apps: dict[int, App] = field(default_factory=dict)
    installations: dict[int, Installation] = field(default_factory=dict)
    tokens: dict[str, InstallationToken] = field(default_factory=dict)
    repositories: dict[str, Repository] = field(default_factory=dict)
    """By full name in lower case: names are case-insensitive."""
    after_push: list[AfterPush] = field(default_factory=list)
    """What follows when a branch has moved; gets its name and its new tip (None: deleted)."""
    after_gate: list[AfterGate] = field(default_factory=list)
    """What follows when a check or a review on a commit has changed."""
    old_names: dict[str, Repository] = field(default_factory=dict)
    """By full name in lower case, as it was before a renaming."""
    manifest_codes: dict[str, NewApp] = field(default_factory=dict)
    """Apps that were registered from a manifest and not yet fetched."""
    mergeability_lag: int = 0
    """How many looks at a changed pull request answer ``mergeable: null``."""

    @property
    def api(self) -> str:
        """Root of the REST API, where GitHub Enterprise Server has it."""
        return f"{self.web}/api/v3"

    def account(self, login: str) -> Account:
        """Return an account or answer 404."""
        found = self.accounts.get(login.lower())
        if found is None:
            raise not_found()
        return found

    def repository(self, full_name: str) -> Repository:
        """Return a repository; answer 404, or where one of this old name is now."""
        found = self.repositories.get(full_name.lower())
        if found is not None:
            return found
        renamed = self.old_names.get(full_name.lower())
        if renamed is None:
            raise not_found()
        raise moved(renamed.full_name)

    def installation_on(self, repository: Repository, app: App) -> Installation | None:
        """Return the installation of ``app`` that covers ``repository``."""
        mine = (i for i in self.installations.values() if i.app is app)
        return next((i for i in mine if i.covers(repository)), None)

    def covering(self, repository: Repository) -> list[Installation]:
        """Return all installations that cover ``repository``."""
        return [i for i in self.installations.values() if i.covers(repository)]

    def account_of_email(self, email: str) -> Account | None:
        """Return whose commits carry ``email``."""
        return next((a for a in self.accounts.values() if a.email == email), None)
