from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import github
import pytest
import requests

from tests.world.github.fixture import running_github
from tests.world.github.people import User
from tests.world.github.records import Installation, NewApp, Repository
from tests.world.github.world import GitHubWorld

PERMISSIONS = {
    "contents": "write",
    "pull_requests": "write",
    "attestations": "read",
    "checks": "write",
    "issues": "read",
    "deployments": "write",
    "members": "read",
    "merge_queues": "read",
}
EVENTS = [
    "push",
    "pull_request",
    "pull_request_review",
    "issue_comment",
    "check_run",
    "check_suite",
    "merge_group",
    "repository",
    "deployment",
    "deployment_status",
]
FILES: dict[str, str | bytes | None] = {
    "README.md": "manifests\n",
    "envs/dev/kustomization.yaml": "images: []\n",
    ".github/workflows/ci.yaml": "on: push\n",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """One organization, two people, one repository, one App on it."""

    world: GitHubWorld
    rita: User
    sam: User
    manifests: Repository
    app: NewApp
    installation: Installation

    def integration(self) -> github.GithubIntegration:
        auth = github.Auth.AppAuth(self.app.id, self.app.private_key)
        return github.GithubIntegration(auth=auth, base_url=self.world.api_url)

    def token(self, permissions: dict[str, str] | None = None) -> str:
        minted = self.integration().get_access_token(self.installation.id, permissions)
        return minted.token

    def client(self, token: str | None = None) -> github.Github:
        return github.Github(
            auth=github.Auth.Token(token or self.token()),
            base_url=self.world.api_url,
            retry=None,
            seconds_between_requests=None,
            seconds_between_writes=None,
        )

    def send(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        json: object = None,
        **headers: str,
    ) -> requests.Response:
        """Send one bare request, as the App's installation unless a token is given."""
        value = self.token() if token is None else token
        with requests.Session() as session:
            return session.request(
                method,
                f"{self.world.api_url}{path}",
                json=json,
                headers={"Authorization": f"Bearer {value}", **headers},
                timeout=10,
                allow_redirects=False,
            )

    def app_token(self) -> str:
        return github.Auth.AppAuth(self.app.id, self.app.private_key).token


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GitHubWorld]:
    with running_github(tmp_path / "github") as running:
        yield running


@pytest.fixture
def scene(world: GitHubWorld) -> Scene:
    world.add_organization("acme")
    rita, sam = world.add_user("rita"), world.add_user("sam")
    world.add_team("acme", "release-managers", [rita])
    manifests = world.add_repository("acme/manifests", files=FILES)
    app = world.create_app("", "secret", PERMISSIONS, EVENTS)
    installation = world.install(app, [manifests])
    return Scene(world, rita, sam, manifests, app, installation)
