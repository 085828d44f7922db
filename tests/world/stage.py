"""The whole scene: a GitHub, three registries, two repositories, people, CI, and the real bot.

Journeys and the demo play on the same stage. Everything listens on 127.0.0.1, and the bot is the
real process, started as an operator starts it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

import requests

from bot.formats.yaml_tree import compose_all, plain
from tests.contract.validator import Contract
from tests.world.forks import Forked, run_bot, start_bot
from tests.world.github.gitstore import FileChanges
from tests.world.github.people import User
from tests.world.github.records import PullRequest, Repository
from tests.world.github.world import GitHubWorld
from tests.world.images import BuiltImage, build_image
from tests.world.keys import STAGE_COST, STAGE_PASSWORD, KeyFiles, generate_key_pair
from tests.world.registry import Registry
from tests.world.tools import free_port, installed, run_registry

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
REGISTRIES = ("registry", "docker-registry", "zot")
"""Real registry servers, the best first; else the project's own test registry."""
ENVIRONMENTS = ("dev", "stage", "prod")
SECRET = "webhook-secret-of-the-stage"  # noqa: S105 - of this stage alone
PASSWORD = STAGE_PASSWORD

PIPELINE = """\
version: 1
environments:
  dev:
    on: {{ branches: [develop] }}
    image_repository: {dev}/acme/{{image}}
    manifests: [envs/dev/**]
    merge: auto
  stage:
    on: {{ branches: ["release/*", "hotfix/*"] }}
    from: dev
    image_repository: {stage}/acme/{{image}}
    manifests: [envs/stage/**]
    image_tags: ["{{image_tag}}", {{ tag: "{{version}}", move: true }}]
  prod:
    on: {{ branches: [main] }}
    from: stage
    image_repository: {prod}/acme/{{image}}
    manifests: [envs/prod/**]
    image_tags: ["{{image_tag}}", "release-{{timestamp}}"]
    sign: true
    approvals: {{ count: 1, teams: [acme/release-managers] }}
defaults:
  source: acme/{{application}}
applications:
  payments: {{}}
"""
BASE = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: payments}
spec:
  selector: {matchLabels: {app: payments}}
  template:
    metadata: {labels: {app: payments}}
    spec:
      containers:
        - name: payments
          image: payments   # replaced by each overlay
"""
OVERLAY = """\
# {environment}: who edits this by hand, keeps the comments
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {environment}
resources:
  - ../../base
images:
  - name: payments   # the image of acme/payments
    newName: {host}/acme/payments
"""


class NeverHappenedError(AssertionError):
    """What was waited for did not come."""


@dataclass
class Stage:
    """Everything that is up."""

    directory: Path
    github: GitHubWorld
    hosts: Mapping[str, str]
    """Environment -> registry host."""
    registry_kind: str
    manifests: Repository
    source: Repository
    dana: User
    """A developer, who merges and so asks for promotions."""
    rita: User
    """A release manager, who approves."""
    public_key: bytes
    """Of prod's signing key."""
    attestation_key: bytes
    """The public half of prod's other key."""
    bot: Bot
    patience: float = 40.0
    _builds: int = 0
    _files: dict[tuple[str, str], str] = field(default_factory=dict)
    """Files of commits, which never change: waiting asks for the same one again and again."""

    # --- people and CI ---

    def commit(
        self, branch: str, files: Mapping[str, str] | None = None, *, message: str = "Change it"
    ) -> str:
        """The developer pushes to a source branch."""
        self._builds += 1
        content: FileChanges = {**(files or {"app.py": f"print({self._builds})\n"})}
        return self.dana.push(self.source, branch, content, message=message)

    def build(self, commit: str, *, labelled: bool = True, tag: str = "") -> BuiltImage:
        """CI builds a multi-platform image of a commit, pushes it to dev and says it is done."""
        labels = {"org.opencontainers.image.revision": commit} if labelled else {}
        image = build_image(labels=labels, seed=int(commit[:8], 16), layer_size=20_000)
        return self.push_image(image, commit, tag)

    def push_image(self, image: BuiltImage, commit: str, tag: str = "") -> BuiltImage:
        """CI pushes what it has built of a commit to dev and says that it is done."""
        image.push(self.hosts["dev"], "acme/payments", tag or f"sha-{commit[:7]}")
        self.github.complete_checks(self.source, commit)
        return image

    # --- looks ---

    def open_promotion(self, environment: str) -> PullRequest | None:
        """The open promotion pull request of an environment."""
        branch = f"lockkeeper/{environment}/payments"
        return next((p for p in self.manifests.open_pulls() if p.head_ref == branch), None)

    def ref(self, environment: str) -> str | None:
        """The commit that the environment ref names."""
        return self.manifests.head(f"env/{environment}")

    def file(self, commit: str, path: str) -> str:
        """A file of the manifests repository."""
        if (commit, path) not in self._files:
            self._files[commit, path] = self.manifests.git.text("show", f"{commit}:{path}")
        return self._files[commit, path]

    def published(self, environment: str) -> str | None:
        """The digest that the environment ref shows."""
        commit = self.ref(environment)
        if commit is None:
            return None
        return digest_in(self.file(commit, f"envs/{environment}/kustomization.yaml"))

    def resolve(self, environment: str, reference: str) -> str | None:
        """The digest that a tag or digest has in an environment's registry."""
        answer = requests.head(
            f"http://{self.hosts[environment]}/v2/acme/payments/manifests/{reference}",
            headers={"Accept": "application/vnd.oci.image.index.v1+json"},
            timeout=10,
        )
        return answer.headers.get("Docker-Content-Digest") if answer.ok else None

    def checks(self, repository: Repository, commit: str) -> dict[str, tuple[str, str]]:
        """Name -> (state, title) of the bot's checks on a commit."""
        return {
            run.name: (run.conclusion or run.status, str(run.output.get("title", "")))
            for run in repository.check_runs.values()
            if run.commit == commit and run.suite.app.slug == "lockkeeper"
        }

    def eventually(self, look: Callable[[], T | None], what: str) -> T:
        """Wait until a look finds something; say what was missed, with the bot's last words."""
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            self.bot.check()
            time.sleep(0.05)
        raise NeverHappenedError(f"it never happened: {what}\n{self.bot.last_words()}")

    def wait_published(self, environment: str, digest: str) -> str:
        """Wait for a digest on an environment ref; the publication's commit."""
        self.eventually(
            lambda: self.published(environment) == digest, f"{digest} on env/{environment}"
        )
        return self.ref(environment) or ""


@dataclass
class Bot:
    """The bot process: started, killed and started again as an operator (or fate) would."""

    environment: dict[str, str]
    log: Path
    board: str
    restarts: bool = False
    """Whether a killed bot is started again by itself, as a supervisor would."""
    kills: int = 0
    exit_codes: list[int] = field(default_factory=list)
    """How each of them ended: a negative signal, or its own word."""
    is_executed: bool = False
    """Whether it is a program of its own from its first instruction on, with its command line."""
    process: subprocess.Popen[bytes] | Forked | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = (
                subprocess.Popen(
                    [sys.executable, "-m", "bot", "serve"],
                    cwd=ROOT,
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                )
                if self.is_executed
                else start_bot(["serve"], self.environment, log)
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                if self.restarts:
                    return  # it died while starting; `check` starts it again
                raise NeverHappenedError(f"the bot ended at once\n{self.last_words()}")
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"http://{self.board}/readyz", timeout=2).ok:
                    return
            time.sleep(0.05)
        raise NeverHappenedError(f"the bot never became ready\n{self.last_words()}")

    def check(self) -> None:
        """Notice that it died; with ``restarts`` start it again."""
        code = self.process.poll() if self.process is not None else None
        if code is not None:
            if not self.restarts:
                raise NeverHappenedError(f"the bot is gone ({code})\n{self.last_words()}")
            self.kills += 1
            self.exit_codes.append(code)
            self.start()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it; its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        self.process = None
        return code

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another verb of the command line with the same settings."""
        return run_bot(arguments, self.environment, timeout=60)

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text().splitlines()[-15:])


def digest_in(overlay: str) -> str | None:
    """The digest of the overlay's only image."""
    for line in overlay.splitlines():
        if line.strip().startswith("digest:"):
            return line.split("digest:")[1].strip()
    return None


def app_manifest() -> dict[str, object]:
    """`app.yml`, from which GitHub would make the App."""
    path = ROOT / "app.yml"
    value = plain(compose_all(path.read_text(), "app.yml")[0], "app.yml").value
    assert isinstance(value, dict)
    return value


def _silent(_line: str) -> None:
    """Tell nobody."""


@contextlib.contextmanager
def registries(directory: Path, *, real: bool = True) -> Iterator[tuple[str, dict[str, str]]]:
    """A registry per environment: a real server where one is found and may be used."""
    kind = next((name for name in REGISTRIES if real and installed(name)), "")
    with contextlib.ExitStack() as stack:
        hosts: dict[str, str] = {}
        for environment in ENVIRONMENTS:
            if kind:
                hosts[environment] = stack.enter_context(
                    run_registry(kind, directory / environment)
                )
            else:
                hosts[environment] = stack.enter_context(Registry()).host
        yield kind or "the test registry", hosts


@contextlib.contextmanager
def raised(
    directory: Path,
    *,
    contract: Contract | None = None,
    pipeline: str = PIPELINE,
    manifests_files: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    hosts: Mapping[str, str] | None = None,
    login: str = "",
    start: bool = True,
    executed: bool = False,
    real: bool = True,
    tell: Callable[[str], None] = _silent,
) -> Iterator[Stage]:
    """Raise the stage; the bot is stopped and everything taken down behind it.

    Args:
        directory: Everything is kept below it.
        contract: GitHub's schemas, against which every request is held.
        pipeline: The pipeline file; ``{dev}`` and so on are the registries.
        manifests_files: More files of the manifests repository.
        variables: More of the bot's environment; ``{board}`` is where its board listens.
        hosts: Registries that run already, instead of new ones.
        login: ``user:password`` of all registries, for the bot.
        start: Whether the bot is started.
        executed: Whether it is a program from its first instruction on, not a fork of one.
        real: Whether real registry servers are used where they are installed.
        tell: Hears what is up as soon as it is.
    """
    directory.mkdir(parents=True, exist_ok=True)
    running = ("given", dict(hosts)) if hosts else None
    with (
        contextlib.nullcontext(running)
        if running
        else registries(directory / "registries", real=real) as (kind, found)
    ):
        tell(f"three registries: {kind}")
        github = GitHubWorld(directory / "github", contract=contract)
        github.start()
        tell(f"a local GitHub: {github.url}")
        try:
            stage = _set(directory, github, kind, found, pipeline, manifests_files, variables)
            stage.bot.is_executed = executed
            if login:
                _log_in(directory / "grants", login)
            if start:
                stage.bot.start()
                tell(f"Lockkeeper: http://{stage.bot.board}")
            try:
                yield stage
            finally:
                stage.bot.stop()
        finally:
            github.stop()
    assert not github.violations, "\n".join(github.violations[:20])


def _set(
    directory: Path,
    github: GitHubWorld,
    kind: str,
    hosts: Mapping[str, str],
    pipeline: str,
    manifests_files: Mapping[str, str] | None,
    variables: Mapping[str, str] | None,
) -> Stage:
    github.add_organization("acme")
    dana, rita = github.add_user("dana"), github.add_user("rita")
    github.add_team("acme", "release-managers", [rita])
    files: FileChanges = {
        "lockkeeper.yaml": pipeline.format(**hosts),
        "base/deployment.yaml": BASE,
        "base/kustomization.yaml": "resources:\n  - deployment.yaml\n",
        ".github/workflows/lint.yml": "on: push\njobs: {}\n",
        **{
            f"envs/{name}/kustomization.yaml": OVERLAY.format(environment=name, host=hosts[name])
            for name in ENVIRONMENTS
        },
        **(manifests_files or {}),
    }
    manifests = github.add_repository("acme/deploy", files=files, private=False)
    source = github.add_repository("acme/payments", files={"app.py": "print(0)\n"})
    dana.push(source, "develop", parent=source.head("main"))
    port, board = free_port(), f"127.0.0.1:{free_port()}"
    app = app_manifest()
    created = github.create_app(
        f"http://127.0.0.1:{port}/webhook",
        SECRET,
        app["default_permissions"],  # type: ignore[arg-type]  # app.yml is checked by its own test
        app["default_events"],  # type: ignore[arg-type]  # app.yml is checked by its own test
    )
    github.install(created, [manifests, source])
    keys = _grants(directory / "grants", hosts)
    (directory / "app.pem").write_text(created.private_key)
    (directory / "webhook-secret").write_text(SECRET)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "LOCKKEEPER_APP_ID": str(created.app.id),
        "LOCKKEEPER_PRIVATE_KEY_FILE": str(directory / "app.pem"),
        "LOCKKEEPER_WEBHOOK_SECRET_FILE": str(directory / "webhook-secret"),
        "LOCKKEEPER_MANIFESTS": "acme/deploy",
        "LOCKKEEPER_GITHUB_URL": github.url,
        "LOCKKEEPER_DATA_DIR": str(directory / "data"),
        "LOCKKEEPER_GRANTS_DIR": str(directory / "grants"),
        "LOCKKEEPER_LISTEN": f"127.0.0.1:{port}",
        "LOCKKEEPER_BOARD_LISTEN": board,
        "LOCKKEEPER_PUBLISH_INTERVAL_SECONDS": "1",
        "LOCKKEEPER_PROPOSE_INTERVAL_SECONDS": "1",
        **{name: one.replace("{board}", board) for name, one in (variables or {}).items()},
    }
    bot = Bot(environment, directory / "bot.log", board)
    return Stage(directory, github, hosts, kind, manifests, source, dana, rita, *keys, bot)


def _grants(folder: Path, hosts: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Each environment may reach its own registry and the one it takes images from.

    Returns the public halves of prod's signing key and of its attestation key.
    """
    before = {"dev": "dev", "stage": "dev", "prod": "stage"}
    for environment in ENVIRONMENTS:
        auths: dict[str, dict[str, str]] = {hosts[environment]: {}, hosts[before[environment]]: {}}
        (folder / environment).mkdir(parents=True)
        (folder / environment / "registry.json").write_text(json.dumps({"auths": auths}))
    (folder / "sources").write_text("acme/*\n")
    keys, attesting = _key_pairs()
    (folder / "prod" / "signing.key").write_bytes(keys.private)
    (folder / "prod" / "signing.password").write_bytes(PASSWORD)
    (folder / "prod" / "signing.key").chmod(0o600)
    (folder / "prod" / "attest.key").write_bytes(attesting.private)
    (folder / "prod" / "attest.key").chmod(0o600)
    return keys.public, attesting.public


@cache
def _key_pairs() -> tuple[KeyFiles, KeyFiles]:
    """Prod's keys, of every stage: to make them costs as much as to start the rest."""
    return generate_key_pair(PASSWORD, cost=STAGE_COST), generate_key_pair(cost=STAGE_COST)


def _log_in(folder: Path, login: str) -> None:
    """Give the bot credentials for every registry that it may reach."""
    encoded = base64.b64encode(login.encode()).decode()
    for path in folder.glob("*/registry.json"):
        auths = {host: {"auth": encoded} for host in json.loads(path.read_text())["auths"]}
        path.write_text(json.dumps({"auths": auths}))
