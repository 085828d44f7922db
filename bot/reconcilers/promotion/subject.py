"""One application in one environment, looked at once: what proposals are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.domain.environments import Application, Environment
from bot.domain.history import GitCommit
from bot.domain.memory import Resolution
from bot.domain.oci import Digest
from bot.domain.source_refs import NO_REF, SourceRef
from bot.facts.resolution import proposed_as
from bot.facts.snapshot import View
from bot.formats.places import ImageLocation
from bot.ports.git import GitHistory


@dataclass(frozen=True, slots=True)
class Trigger:
    """A branch head or tag that asks for a promotion."""

    ref: SourceRef
    commit: GitCommit


@dataclass(frozen=True, slots=True)
class Subject:
    """One application in one environment, looked at once."""

    view: View
    environment: Environment
    application: Application
    history: GitHistory
    """The source repository."""
    places: Sequence[ImageLocation]
    """Where the application's images stand on the default branch."""

    def touches(self, path: str) -> bool:
        """Whether a file of the source counts; those that belong to an environment never do."""
        is_manifests = str(self.application.source) == str(self.view.repository)
        if is_manifests and self.view.pipeline.owner_of(path):
            return False
        return self.application.is_built_of(path)

    def wished(self) -> dict[str, str]:
        """Image -> digest that the default branch asks for; empty where it names none."""
        return {location.place.image: location.written.digest for location in self.places}

    def running(self) -> str | None:
        """The source commit of what the default branch asks for, if the record knows one."""
        images = {name: Digest(digest) for name, digest in self.wished().items() if digest}
        proposed = proposed_as(self.view, self.environment, self.application, images)
        if proposed is not None:
            return proposed.commit
        commits = {
            record.commit if record else None
            for image, digest in self.wished().items()
            for record in [self._record(image, digest)]
        }
        return commits.pop() if len(commits) == 1 else None

    def running_ref(self) -> SourceRef:
        """The branch or tag that brought what runs, as far as our own commits tell."""
        running = self.running()
        scope = self.view.scope(self.environment.name, self.application.name)
        heads = self.view.ports.memory.heads_of(scope, running) if running else ()
        return SourceRef.of(heads[-1].trigger_branch) if heads else NO_REF

    def _record(self, image: str, digest: str) -> Resolution | None:
        if not digest:
            return None
        memory = self.view.ports.memory
        return memory.resolution_of(self.view.id, self.application.name, image, Digest(digest))
