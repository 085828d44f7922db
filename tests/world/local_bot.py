"""A manifests repository on the local GitHub, looked at with the real ports and no running bot."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bot.assembly import assemble
from bot.facts.snapshot import Ports, View, look
from bot.settings import Settings
from tests.world.github.fixture import running_github
from tests.world.github.people import User
from tests.world.github.records import Repository
from tests.world.github.world import GitHubWorld

HOST = "registry.example.com"
PIPELINE = f"""\
version: 1
policy: policy.yaml
environments:
  prod:
    on: {{ branches: [main] }}
    image_repository: {HOST}/acme/{{image}}
    manifests: [envs/prod/**]
defaults: {{ source: "acme/{{application}}", images: ["{{application}}"] }}
applications: {{ payments: {{}} }}
"""
PERMISSIONS = {
    **dict.fromkeys(("contents", "pull_requests", "checks", "deployments"), "write"),
    "members": "read",
    "metadata": "read",
}


@dataclass(frozen=True)
class LocalBot:
    """Two people, a manifests repository, a source repository, the ports."""

    world: GitHubWorld
    manifests: Repository
    source: Repository
    dana: User
    rita: User
    ports: Ports
    settings: Mapping[str, str]
    """For a process of the bot beside it."""

    def look(self) -> View:
        """A new look, as each job takes one."""
        return look(self.ports, self.manifests.id)

    def push(
        self, files: Mapping[str, str | bytes | None], *, message: str = "Change files"
    ) -> str:
        """Dana pushes to the default branch of the manifests repository."""
        return self.dana.push(self.manifests, "main", dict(files), message=message)

    def merge(
        self,
        files: Mapping[str, str | bytes | None],
        *approving: User,
        method: str = "merge",
        repository: Repository | None = None,
    ) -> int:
        """Dana's pull request, approved and merged; its number."""
        found = repository or self.manifests
        branch = f"change-{len(found.pulls)}"
        self.dana.push(found, branch, dict(files))
        pull = self.dana.open_pull_request(found, branch)
        for one in approving:
            one.approve(pull)
        self.dana.merge(pull, method)
        return pull.number


@contextlib.contextmanager
def running_local_bot(
    directory: Path, files: Mapping[str, str | bytes | None], *, host: str = HOST
) -> Iterator[LocalBot]:
    """``files`` are the manifests repository's, beside a pipeline file; ``host`` has the images."""
    with running_github(directory / "github") as world:
        world.add_organization("acme")
        dana, rita = world.add_user("dana"), world.add_user("rita")
        world.add_team("acme", "security", [rita])
        manifests = world.add_repository(
            "acme/deploy", files={"lockkeeper.yaml": PIPELINE.replace(HOST, host), **files}
        )
        source = world.add_repository("acme/payments", files={"app.py": "print(0)\n"})
        app = world.create_app("", "secret", PERMISSIONS, ["push"])
        world.install(app, [manifests, source])
        grant = directory / "grants" / "prod"
        grant.mkdir(parents=True)
        (grant / "registry.json").write_text(json.dumps({"auths": {host: {}}}))
        (directory / "grants" / "sources").write_text("acme/*\n")
        (directory / "app.pem").write_text(app.private_key)
        settings = {
            "LOCKKEEPER_APP_ID": str(app.app.id),
            "LOCKKEEPER_PRIVATE_KEY_FILE": str(directory / "app.pem"),
            "LOCKKEEPER_WEBHOOK_SECRET": "secret",
            "LOCKKEEPER_MANIFESTS": "acme/deploy",
            "LOCKKEEPER_GITHUB_URL": world.url,
            "LOCKKEEPER_DATA_DIR": str(directory / "data"),
            "LOCKKEEPER_GRANTS_DIR": str(directory / "grants"),
        }
        bot = assemble(Settings.read(settings))
        try:
            yield LocalBot(world, manifests, source, dana, rita, bot.workflows.ports, settings)
        finally:
            bot.database.dispose()
