"""One promotion through a GitHub that others wrote.

A belief that the bot and our own local GitHub share, and nobody else, shows here.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from tests.foreign.emulator import APP_ID, OWNER, Emulator, Person, emulated
from tests.foreign.front import HOOK, Front, serving
from tests.foreign.mirror import Mirror
from tests.world.images import BuiltImage, build_image
from tests.world.keys import generate_key_pair
from tests.world.stage import BASE, OVERLAY, Bot, NeverHappenedError, digest_in
from tests.world.tools import attempt, free_port, run, run_registry

T = TypeVar("T")
SECRET: Final = "webhook-secret-of-the-foreign-github"  # noqa: S105 - of this test alone
PASSWORD: Final = b"key-password"
PATIENCE: Final = 30.0  # seconds until something has to have happened
ENVIRONMENTS: Final = ("dev", "prod")
PIPELINE: Final = """\
version: 1
environments:
  dev:
    on: {{ branches: [develop] }}
    image_repository: {dev}/acme/{{image}}
    manifests: [envs/dev/**]
    merge: auto
  prod:
    on: {{ branches: [main] }}
    from: dev
    image_repository: {prod}/acme/{{image}}
    manifests: [envs/prod/**]
    sign: true
    approvals: {{ count: 1, teams: [acme/release-managers] }}
defaults:
  source: acme/{{application}}
applications:
  payments: {{}}
"""
_SOURCE_CHECKS: Final = [
    ("build", "success"),
    ("lockkeeper: payments -> dev", "success"),
    ("lockkeeper: payments -> prod", "success"),
]
"""Each of ours once, changed in place."""


@dataclass(frozen=True)
class Abroad:
    """The bot at home, GitHub abroad."""

    directory: Path
    emulator: Emulator
    front: Front
    hosts: dict[str, str]
    bot: Bot
    public_key: bytes

    def person(self, login: str) -> Person:
        return Person(login, self.front.api)

    def eventually(self, look: Callable[[], T | None], what: str) -> T:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            self.bot.check()
            time.sleep(0.1)
        refused = [one for one in self.front.asked if one.status >= 400][-10:]
        raise NeverHappenedError(f"it never happened: {what}\n{refused}\n{self.bot.last_words()}")

    def file(self, ref: str, path: str) -> str | None:
        answer = self.emulator.ask("GET", f"/repos/acme/deploy/contents/{path}?ref={ref}")
        return base64.b64decode(answer.json()["content"]).decode() if answer.ok else None

    def shown(self, environment: str) -> str | None:
        """The digest that the environment ref shows."""
        return digest_in(
            self.file(f"env/{environment}", f"envs/{environment}/kustomization.yaml") or ""
        )

    def promotion(self, environment: str, state: str = "open") -> dict[str, Any] | None:
        """The promotion of an environment, with a good check on its head."""
        query = f"state={state}&head=acme:lockkeeper/{environment}/payments"
        for pull in self.emulator.told(f"/repos/acme/deploy/pulls?{query}"):
            path = f"/repos/acme/deploy/commits/{pull['head']['sha']}/check-runs"
            runs = self.emulator.told(path)["check_runs"]
            if {"lockkeeper"} <= {run["name"] for run in runs}:
                return dict(pull)
        return None

    def checks(self, repository: str, commit: str) -> list[tuple[str, str]]:
        """Name and end of every check run of a commit."""
        path = f"/repos/acme/{repository}/commits/{commit}/check-runs?filter=all"
        runs = self.emulator.told(path)["check_runs"]
        return sorted((run["name"], run["conclusion"] or run["status"]) for run in runs)

    def branches(self) -> set[str]:
        found = self.emulator.told("/repos/acme/deploy/git/matching-refs/heads/")
        return {one["ref"].removeprefix("refs/heads/") for one in found}


@pytest.fixture
def abroad(tmp_path: Path) -> Iterator[Abroad]:
    port, listen = free_port(), free_port()
    with (
        run_registry("registry", tmp_path / "dev") as dev,
        run_registry("registry", tmp_path / "prod") as prod,
        emulated(tmp_path / "github", f"http://127.0.0.1:{port}{HOOK}", SECRET) as emulator,
        serving(Front(emulator, Mirror(tmp_path / "mirror", emulator), SECRET), port) as front,
    ):
        hosts = {"dev": dev, "prod": prod}
        _people_and_files(front.api, hosts)
        public = _grants(tmp_path / "grants", hosts)
        bot = _bot(tmp_path, front, emulator, listen)
        front.bot = f"http://127.0.0.1:{listen}/webhook"
        bot.start()
        try:
            yield Abroad(tmp_path, emulator, front, hosts, bot, public)
        finally:
            bot.stop()


def _people_and_files(api: str, hosts: dict[str, str]) -> None:
    omar, dana = Person(OWNER, api), Person("dana", api)
    omar.do("POST", "/orgs/acme/teams", {"name": "release-managers", "privacy": "closed"})
    omar.do("PUT", "/orgs/acme/teams/release-managers/memberships/rita", {"role": "member"})
    for login in ("dana", "rita"):
        for name in ("deploy", "payments"):
            path = f"/repos/acme/{name}/collaborators/{login}"
            omar.do("PUT", path, {"permission": "push"})
    omar.do("PATCH", "/repos/acme/deploy", {"allow_squash_merge": False})
    dana.write("acme/deploy", "lockkeeper.yaml", PIPELINE.format(**hosts))
    dana.write("acme/deploy", "base/deployment.yaml", BASE)
    dana.write("acme/deploy", "base/kustomization.yaml", "resources:\n  - deployment.yaml\n")
    for name in ENVIRONMENTS:
        overlay = OVERLAY.format(environment=name, host=hosts[name])
        dana.write("acme/deploy", f"envs/{name}/kustomization.yaml", overlay)
    main = dana.write("acme/payments", "app.py", "print(0)\n")
    dana.do("POST", "/repos/acme/payments/git/refs", {"ref": "refs/heads/develop", "sha": main})


def _grants(folder: Path, hosts: dict[str, str]) -> bytes:
    """What each environment may use; prod's public key."""
    reached = {"dev": f'"{hosts["dev"]}": {{}}'}
    reached["prod"] = f'{reached["dev"]}, "{hosts["prod"]}": {{}}'
    for name in ENVIRONMENTS:
        (folder / name).mkdir(parents=True)
        (folder / name / "registry.json").write_text(f'{{"auths": {{{reached[name]}}}}}')
    (folder / "sources").write_text("acme/*\n")
    keys, attesting = generate_key_pair(PASSWORD, cost=32768), generate_key_pair(cost=32768)
    private = {"signing.key": keys.private, "signing.password": PASSWORD}
    for name, content in {**private, "attest.key": attesting.private}.items():
        (folder / "prod" / name).write_bytes(content)
        (folder / "prod" / name).chmod(0o600)
    return keys.public


def _bot(directory: Path, front: Front, emulator: Emulator, listen: int) -> Bot:
    (directory / "app.pem").write_text(emulator.private_key)
    (directory / "webhook-secret").write_text(SECRET)
    board = f"127.0.0.1:{free_port()}"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "LOCKKEEPER_APP_ID": str(APP_ID),
        "LOCKKEEPER_PRIVATE_KEY_FILE": str(directory / "app.pem"),
        "LOCKKEEPER_WEBHOOK_SECRET_FILE": str(directory / "webhook-secret"),
        "LOCKKEEPER_MANIFESTS": "acme/deploy",
        "LOCKKEEPER_GITHUB_URL": front.url,
        "LOCKKEEPER_DATA_DIR": str(directory / "data"),
        "LOCKKEEPER_GRANTS_DIR": str(directory / "grants"),
        "LOCKKEEPER_LISTEN": f"127.0.0.1:{listen}",
        "LOCKKEEPER_BOARD_LISTEN": board,
        "LOCKKEEPER_PUBLISH_INTERVAL_SECONDS": "1",
        "LOCKKEEPER_PROPOSE_INTERVAL_SECONDS": "1",
    }
    return Bot(environment, directory / "bot.log", board)


def _built(abroad: Abroad, commit: str) -> BuiltImage:
    """CI builds a commit and says that it is done."""
    labels = {"org.opencontainers.image.revision": commit}
    image = build_image(labels=labels, seed=int(commit[:8], 16), layer_size=20_000)
    image.push(abroad.hosts["dev"], "acme/payments", f"sha-{commit[:7]}")
    path = "/repos/acme/payments/check-runs"
    body = {"name": "build", "head_sha": commit, "status": "in_progress"}
    number = abroad.person(OWNER).do("POST", path, body)["id"]
    done = {"status": "completed", "conclusion": "success"}
    abroad.person(OWNER).do("PATCH", f"{path}/{number}", done)
    return image


def _takes(abroad: Abroad, environment: str, digest: str) -> bool:
    """Whether cosign takes the image, with prod's public key."""
    key = abroad.directory / "prod.pub"
    key.write_bytes(abroad.public_key)
    flags = [f"--key={key}", "--insecure-ignore-tlog=true", "--allow-http-registry"]
    reference = f"{abroad.hosts[environment]}/acme/payments@{digest}"
    return attempt("cosign3", "verify", *flags, reference).returncode == 0


def test_a_promotion_reaches_prod_signed_through_a_foreign_github(abroad: Abroad) -> None:
    dana, rita = abroad.person("dana"), abroad.person("rita")
    commit = dana.write("acme/payments", "feature.py", "print(1)\n", "develop")
    digest = _built(abroad, commit).digest

    abroad.eventually(lambda: abroad.shown("dev") == digest, f"{digest} on env/dev")
    body = {"title": "Release", "head": "develop", "base": "main"}
    number = dana.do("POST", "/repos/acme/payments/pulls", body)["number"]
    dana.do("PUT", f"/repos/acme/payments/pulls/{number}/merge", {"merge_method": "merge"})
    promotion = abroad.eventually(lambda: abroad.promotion("prod"), "a promotion to prod")
    path = f"/repos/acme/deploy/pulls/{promotion['number']}"
    rita.do("POST", f"{path}/reviews", {"event": "APPROVE"})
    dana.do("PUT", f"{path}/merge", {"merge_method": "merge"})
    abroad.eventually(lambda: abroad.shown("prod") == digest, f"{digest} on env/prod")

    there = run("crane", "digest", "--insecure", f"{abroad.hosts['prod']}/acme/payments@{digest}")
    assert there.strip() == digest
    assert {name: _takes(abroad, name, digest) for name in ENVIRONMENTS} == {
        "dev": False,
        "prod": True,
    }
    abroad.eventually(
        lambda: abroad.checks("payments", commit) == _SOURCE_CHECKS, "both ends on the commit"
    )
    trees = [one for one in abroad.front.asked if one.path.endswith("/git/trees")]
    assert {one.status for one in trees if one.body} == {201}
    assert not [name for name in abroad.branches() if name.startswith("lockkeeper-staging")]
    assert {status for _, status in abroad.front.hooks} == {202}
