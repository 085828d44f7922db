"""What the operator grants to an environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from bot.domain.environments import GitHubRepository
from bot.domain.floors import Floor
from bot.domain.grants import KeyPlace, KeyRole
from bot.domain.oci import ImageRepository
from bot.ports.keys import CommitKey, KeyRing
from bot.ports.registry import ImageRegistry


class Grants(Protocol):
    """What the operator allows an environment of a manifests repository."""

    def allows_source(self, manifests: GitHubRepository, source: GitHubRepository) -> bool:
        """Whether applications may come from this source repository."""
        ...

    def check(
        self, manifests: GitHubRepository, environment: str, repositories: Iterable[ImageRepository]
    ) -> None:
        """NotGrantedError if the environment may not contact the registry of one of these."""
        ...

    def registry(self, manifests: GitHubRepository, environment: str) -> ImageRegistry:
        """The environment's registries, with its own credentials; NotGrantedError without any."""
        ...

    def keys(self, manifests: GitHubRepository, environment: str, role: KeyRole) -> KeyRing:
        """The environment's keys of one role; an empty ring where there are none."""
        ...

    def delivers(self, environment: str) -> bool:
        """Whether this process delivers there: else its public keys are enough here."""
        ...

    def floor(self, manifests: GitHubRepository, environment: str) -> Floor:
        """What the environment's rules may not go below, whatever the pipeline file says."""
        ...

    def commit_key(self, manifests: GitHubRepository, environment: str) -> CommitKey | None:
        """The key that signs the environment's publications; None: GitHub signs them."""
        ...

    def commit_keys(self, manifests: GitHubRepository) -> Sequence[CommitKey]:
        """Those of all its environments, as far as they can be read."""
        ...

    def key_places(self) -> Sequence[KeyPlace]:
        """Every public key of this installation that is known without asking anybody."""
        ...
