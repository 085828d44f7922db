"""``make demo``: one application from develop to prod, for real, in less than a minute.

Starts a local GitHub, three registries, a manifests repository, an application repository and the
real bot process; plays the developer, the CI and the reviewer; shows what happened as it happens.
The result is in ``build/demo/result.json``. With ``--keep`` everything stays up to be looked at.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import requests
from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel
from rich.table import Table

from bot.adapters.clock import SystemClock, pause
from bot.adapters.registry import Registry
from bot.adapters.signing import load_public_key
from bot.domain.errors import LockkeeperError
from bot.domain.oci import Digest, DigestReference, ImageRepository
from bot.formats.docker_config import parse_registry_grant
from bot.usecases.sign_image import verify_image
from tests.contract import published
from tests.contract.validator import Contract
from tests.world.github.records import PullRequest
from tests.world.images import BuiltImage
from tests.world.stage import ENVIRONMENTS, ROOT, NeverHappenedError, Stage, raised

T = TypeVar("T")
BUILD = ROOT / "build" / "demo"
SOURCES = {"dev": "dev", "stage": "dev", "prod": "stage"}


@dataclass
class Demo:
    """The play, its console and what it wrote down."""

    stage: Stage
    console: Console
    began: float = field(default_factory=time.monotonic)
    environments: list[dict[str, object]] = field(default_factory=list)

    def play(self) -> None:
        """Walk the three environments."""
        commit = self._develop()
        image = self._build(commit)
        self._follow("dev", image, commit)
        self._release(commit)
        self._promote("stage", image, "dana")
        self._merge_to_main()
        self._promote("prod", image, "dana", reviewed=True)

    # --- scenes ---

    def _develop(self) -> str:
        commit = self.stage.commit("develop", message="Round VAT for mixed baskets")
        self.say(f"[b]dana[/b] pushes [cyan]{commit[:7]}[/cyan] to [b]develop[/b] of acme/payments")
        self._wait_for_check(commit, "dev", "Waiting for image")
        self.say("  the check on the commit says: waiting for image", dim=True)
        return commit

    def _build(self, commit: str) -> BuiltImage:
        image = self.stage.build(commit)
        platforms = " and ".join(image.children)
        self.say(f"[b]CI[/b] builds {platforms}: [magenta]{image.digest[:19]}…[/magenta]")
        return image

    def _release(self, commit: str) -> None:
        self.stage.dana.push(self.stage.source, "release/v1.2.0", parent=commit)
        self.say("[b]dana[/b] cuts [b]release/v1.2.0[/b] from the same commit: nothing is rebuilt")

    def _merge_to_main(self) -> None:
        pull = self.stage.dana.open_pull_request(
            self.stage.source, "release/v1.2.0", "main", title="Release v1.2.0"
        )
        merge = self.stage.dana.merge(pull, "merge")
        self.say(f"[b]dana[/b] merges the release into [b]main[/b] ([cyan]{merge[:7]}[/cyan])")

    def _promote(
        self, environment: str, image: BuiltImage, merger: str, *, reviewed: bool = False
    ) -> None:
        pull = self._wait(lambda: self.stage.open_promotion(environment), f"a PR for {environment}")
        self.say(f"[b]Lockkeeper[/b] opens pull request {pull.number}: {pull.title}")
        self._wait_for_verdict(pull)
        if reviewed:
            self.console.print(Panel(Markdown(_visible(pull.body or "")), title="The prod PR"))
            self.stage.rita.approve(pull)
            self.say("[b]rita[/b] of acme/release-managers approves it")
        self.stage.dana.merge(pull)
        self.say(f"[b]{merger}[/b] merges it")
        self._follow(environment, image, pull=pull)

    def _follow(
        self,
        environment: str,
        image: BuiltImage,
        commit: str = "",
        pull: PullRequest | None = None,
    ) -> None:
        """From the merge to the environment ref."""
        began = time.monotonic()
        found = pull or self._wait(lambda: self._merged(environment), f"a merge for {environment}")
        if commit:
            self.say(f"[b]Lockkeeper[/b] opens and merges pull request {found.number} by itself")
        self._wait(
            lambda: self.stage.published(environment) == image.digest,
            f"{image.digest[:19]} on env/{environment}",
        )
        signed = self._is_signed(environment, image)
        words = (
            "copied, read back, signed"
            if signed
            else ("checked" if environment == "dev" else "copied, read back")
        )
        ref = self.stage.ref(environment) or ""
        seconds = time.monotonic() - began
        self.say(
            f"[green]✓[/green] {environment}: {words}, and only then "
            f"[b]env/{environment}[/b] moves to [cyan]{ref[:7]}[/cyan] ({seconds:.1f} s)"
        )
        self.environments.append(self._facts(environment, image, found, ref, signed, seconds))

    # --- facts ---

    def _facts(
        self,
        environment: str,
        image: BuiltImage,
        pull: PullRequest,
        ref: str,
        signed: bool,  # noqa: FBT001 - one fact among others
        seconds: float,
    ) -> dict[str, object]:
        target = f"{self.stage.hosts[environment]}/acme/payments"
        tags = [t for t in self._tags(environment) if self._names(environment, t, image)]
        return {
            "name": environment,
            "pull_request": pull.number,
            "merge_commit": pull.merge_commit,
            "source": f"{self.stage.hosts[SOURCES[environment]]}/acme/payments@{image.digest}",
            "target": f"{target}@{image.digest}",
            "tag_references": [f"{target}:{tag}" for tag in tags],
            "digest": image.digest,
            "platforms": list(image.children),
            "signed": signed,
            "environment_ref": f"refs/heads/env/{environment}",
            "environment_ref_commit": ref,
            "seconds": round(seconds, 2),
        }

    def _tags(self, environment: str) -> list[str]:
        """Every tag of the repository, as the registry lists them."""
        url = f"http://{self.stage.hosts[environment]}/v2/acme/payments/tags/list"
        tags = requests.get(url, timeout=10).json().get("tags") or []
        return sorted(tag for tag in tags if not tag.startswith("sha256-"))

    def _names(self, environment: str, tag: str, image: BuiltImage) -> bool:
        return self.stage.resolve(environment, tag) == image.digest

    def _is_signed(self, environment: str, image: BuiltImage) -> bool:
        host = self.stage.hosts[environment]
        grant = parse_registry_grant(json.dumps({"auths": {host: {}}}), "demo")
        registry = Registry(grant, clock=SystemClock(None), sleep=pause)
        reference = DigestReference(ImageRepository(host, "acme/payments"), Digest(image.digest))
        key = load_public_key(self.stage.public_key, "cosign.pub")
        return verify_image(registry, [key], reference, {}).complete

    def _merged(self, environment: str) -> PullRequest | None:
        branch = f"lockkeeper/{environment}/payments"
        pulls = self.stage.manifests.pulls.values()
        return next((p for p in pulls if p.head_ref == branch and p.merged), None)

    # --- waiting, with a sign of life ---

    def _wait(self, look: Callable[[], T | None], what: str) -> T:
        with self.console.status(f"waiting for {what}"):
            return self.stage.eventually(look, what)

    def _wait_for_check(self, commit: str, environment: str, title: str) -> None:
        name = f"lockkeeper: payments -> {environment}"
        self._wait(
            lambda: self.stage.checks(self.stage.source, commit).get(name, ("", ""))[1] == title,
            f"the check on {commit[:7]}",
        )

    def _wait_for_verdict(self, pull: PullRequest) -> None:
        checks = self._wait(
            lambda: self.stage.checks(self.stage.manifests, pull.head).get("lockkeeper"),
            f"the check on pull request {pull.number}",
        )
        self.say(f"  its check says: {checks[0]}, {checks[1]}", dim=True)

    def say(self, line: str, *, dim: bool = False) -> None:
        """One line of the story, with the seconds since it began."""
        style = "dim" if dim else ""
        seconds = time.monotonic() - self.began
        text = f"[dim]{seconds:5.1f} s[/dim]  {line}"
        self.console.print(text, style=style, highlight=False, soft_wrap=True)

    # --- the end ---

    def table(self) -> Table:
        """What came of it."""
        table = Table(title="payments, build once, promote the same bytes")
        for name in ("to", "PR", "sha256", "platforms", "signature", "published"):
            table.add_column(name, no_wrap=True)
        table.add_column("seconds", justify="right")
        for one in self.environments:
            platforms = one["platforms"]
            assert isinstance(platforms, list)
            table.add_row(
                str(one["name"]),
                str(one["pull_request"]),
                str(one["digest"]).removeprefix("sha256:")[:12],
                "\n".join(platforms),
                "✓ cosign" if one["signed"] else "-",
                f"env/{one['name']}\n{str(one['environment_ref_commit'])[:7]}",
                str(one["seconds"]),
            )
        return table

    def result(self) -> dict[str, object]:
        """``result.json``."""
        return {
            "application": "payments",
            "public_key": self.stage.public_key.decode(),
            "attestation_public_key": self.stage.attestation_key.decode(),
            "manifests_repository": {"clone_url": f"{self.stage.github.url}/acme/deploy.git"},
            "environments": self.environments,
        }

    def check(self) -> None:
        """The promise of the demo, looked at once more: the same bytes, signed only in prod."""
        digests = {str(one["digest"]) for one in self.environments}
        resolved = {self.stage.resolve(name, next(iter(digests))) for name in ENVIRONMENTS}
        if len(self.environments) != len(ENVIRONMENTS) or resolved != digests:
            raise NeverHappenedError(f"expected one digest in three registries, found {resolved}")
        signed = [str(one["name"]) for one in self.environments if one["signed"]]
        if signed != ["prod"]:
            raise NeverHappenedError(f"expected a signature in prod alone, found {signed}")


def _visible(body: str) -> str:
    """A PR body for the terminal: comments and folds are GitHub's to show."""
    lines = [line for line in body.splitlines() if not line.startswith(("<!--", "<", "> [!"))]
    return "\n".join(lines)


def main() -> int:
    """Play it; 0 if everything happened."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave all servers up")
    keep = parser.parse_args().keep
    console = Console()
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    try:
        with raised(BUILD / "world", contract=_contract()) as stage:
            demo = Demo(stage, console)
            demo.say(
                f"up: a local GitHub at {stage.github.url}, three registries "
                f"({stage.registry_kind}), Lockkeeper"
            )
            demo.play()
            demo.check()
            (BUILD / "result.json").write_text(json.dumps(demo.result(), indent=2) + "\n")
            (BUILD / "cosign.pub").write_bytes(stage.public_key)
            console.print(demo.table())
            console.print(f"The result is in {_relative(BUILD / 'result.json')}.")
            if keep:
                _keep(console, stage)
    except (NeverHappenedError, LockkeeperError, AssertionError) as error:
        console.print(f"[red]The demo failed:[/red] {error}", highlight=False)
        return 1
    return 0


def _contract() -> Contract | None:
    """GitHub's schemas, where they have been cut before; the demo does not need them."""
    return published.contract() if published.directory() else None


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _keep(console: Console, stage: Stage) -> None:
    host = stage.hosts["prod"]
    console.print(
        f"\nGitHub       {stage.github.url}/acme/deploy (pages), git clone {stage.github.url}"
        "/acme/deploy.git"
    )
    for environment in ENVIRONMENTS:
        console.print(f"{environment:<12} {stage.hosts[environment]}/acme/payments")
    console.print(
        f"try          cosign verify --key {_relative(BUILD / 'cosign.pub')} "
        f"--insecure-ignore-tlog=true --allow-http-registry {host}/acme/payments@sha256:...",
        highlight=False,
    )
    console.print("Everything stays up until you press Ctrl-C.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        console.print("bye")


if __name__ == "__main__":
    sys.exit(main())
