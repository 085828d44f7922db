"""The set-up: the App, the machine, and looks at them side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from bot.domain.doctor.app import AppAnswer, DeliveryLog
from bot.domain.doctor.branches import BranchRules
from bot.domain.doctor.environments import GrantsFolder
from bot.domain.doctor.findings import Look
from bot.domain.doctor.machine import DatabaseState
from bot.domain.doctor.members import Installation, RepositoryState
from bot.domain.environments import GitHubRepository
from bot.ports.effects import R


class AppSetUp(Protocol):
    """What GitHub says of the App itself and of the repositories that it is meant for.

    Nothing here acts. An error of any kind is an unknown to whoever asks.
    """

    def app(self) -> AppAnswer:
        """Who GitHub takes the App for: also where it refuses the App."""
        ...

    def deliveries(self) -> DeliveryLog:
        """Where webhooks go, and how the newest ones were answered."""
        ...

    def visible(self) -> Sequence[str]:
        """Repositories that the App is installed on, ``owner/name``, as far as one page goes."""
        ...

    def installation(self, repository: GitHubRepository) -> Installation | None:
        """The installation that covers a repository; None: GitHub shows no such repository."""
        ...

    def repository(self, repository: GitHubRepository) -> RepositoryState:
        """The repository as the App sees it."""
        ...

    def file(self, repository: GitHubRepository, path: str) -> bytes | None:
        """A file on the default branch; None: there is none."""
        ...

    def rules(self, repository: GitHubRepository, branch: str) -> BranchRules:
        """What holds for a branch, whether it exists or not."""
        ...

    def tags(self, repository: GitHubRepository, name: str) -> Sequence[str]:
        """Tags of exactly this name."""
        ...


class Premises(Protocol):
    """The machine on which the bot stands; nothing that is asked leaves anything behind."""

    @property
    def data_folder(self) -> str:
        """Where the data folder is."""
        ...

    def write(self) -> None:
        """Write into the data folder and take it back; RejectedError where that is impossible."""
        ...

    def free(self) -> int:
        """Bytes that are free in the data folder."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Programs that Lockkeeper runs with -> their versions."""
        ...

    def database(self) -> DatabaseState:
        """The database as it is; it is neither made nor changed."""
        ...

    def grants(self) -> GrantsFolder:
        """The grants folder as it is."""
        ...


class Reach(Protocol):
    """Whether git can read a repository, without keeping anything of it."""

    def __call__(self, repository: GitHubRepository) -> None:
        """UnavailableError if it cannot."""
        ...


class Looks(Protocol):
    """Looks that are taken side by side, until a deadline that all of them share."""

    def begin(self, look: Callable[[], R]) -> Callable[[], Look[R]]:
        """Begin a look; what is returned waits for it, and says why there is no answer."""
        ...
