"""The steps that people take on the main path, and the ways in which a journey looks."""

from __future__ import annotations

import contextlib
import html
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from bot.adapters.store import open_database
from tests.world.github.records import PullRequest
from tests.world.images import BuiltImage
from tests.world.stage import NeverHappenedError, Stage
from tests.world.tools import attempt, run


@dataclass(frozen=True)
class Walked:
    """The main path, walked to prod."""

    stage: Stage
    image: BuiltImage
    commit: str
    """The source commit."""
    trigger: str
    """What the release became on main."""
    promotions: dict[str, PullRequest]
    publications: dict[str, str]


def to_dev(stage: Stage, *, files: dict[str, str] | None = None) -> tuple[str, BuiltImage]:
    """A commit on develop, built by CI, until it is published in dev."""
    commit = stage.commit("develop", files)
    image = stage.build(commit)
    stage.wait_published("dev", image.digest)
    return commit, image


def propose_stage(stage: Stage, commit: str, version: str = "v1.2.0") -> PullRequest:
    """A release branch at the commit, until its promotion to stage is open."""
    stage.dana.push(stage.source, f"release/{version}", parent=commit)
    return promotion(stage, "stage")


def to_stage(
    stage: Stage, version: str = "v1.2.0", *, files: dict[str, str] | None = None
) -> tuple[str, BuiltImage]:
    """Through dev, until it is published in stage."""
    commit, image = to_dev(stage, files=files)
    stage.dana.merge(propose_stage(stage, commit, version))
    stage.wait_published("stage", image.digest)
    return commit, image


def release(stage: Stage, version: str = "v1.2.0", method: str = "merge") -> str:
    """Dana merges the release into main; the commit on main."""
    pull = stage.dana.open_pull_request(stage.source, f"release/{version}", "main")
    return stage.dana.merge(pull, method)


def promotion(stage: Stage, environment: str, image: BuiltImage | None = None) -> PullRequest:
    """Wait for an environment's open promotion, with the check on its head."""

    def look() -> PullRequest | None:
        found = stage.open_promotion(environment)
        if found is None or "lockkeeper" not in stage.checks(stage.manifests, found.head):
            return None
        return found if image is None or image.digest in wished(stage, found.head) else None

    return stage.eventually(look, f"a promotion to {environment}")


def wished(stage: Stage, commit: str) -> str:
    """All overlays of a commit of the manifests repository."""
    return "".join(
        stage.file(commit, f"envs/{environment}/kustomization.yaml") for environment in stage.hosts
    )


def to_prod(stage: Stage, version: str = "v1.2.0", method: str = "merge") -> Walked:
    """The main path."""
    commit, image = to_dev(stage)
    promotions = {"stage": propose_stage(stage, commit, version)}
    stage.dana.merge(promotions["stage"])
    stage.wait_published("stage", image.digest)
    trigger = release(stage, version, method)
    promotions["prod"] = promotion(stage, "prod")
    stage.rita.approve(promotions["prod"])
    stage.dana.merge(promotions["prod"])
    stage.wait_published("prod", image.digest)
    promotions["dev"] = next(p for p in stage.manifests.pulls.values() if "dev" in p.head_ref)
    publications = {environment: stage.ref(environment) or "" for environment in stage.hosts}
    return Walked(stage, image, commit, trigger, promotions, publications)


def head(stage: Stage) -> str:
    """The default branch of the manifests repository."""
    return stage.manifests.head("main") or ""


def overlay(environment: str) -> str:
    return f"envs/{environment}/kustomization.yaml"


def pinned(stage: Stage, environment: str, digest: str, tag: str = "sha-by-hand") -> str:
    """The environment's overlay as somebody would pin it by hand."""
    text = stage.file(head(stage), overlay(environment))
    lines = [
        line for line in text.splitlines() if not line.strip().startswith(("digest:", "newTag:"))
    ]
    return "\n".join([*lines, f"    newTag: {tag}", f"    digest: {digest}", ""])


def _read(markdown: str) -> str:
    """The words as people see them: escapes and joiners are for GitHub's renderer."""
    return html.unescape(markdown).replace("\u2060", "").replace("\\", "")


def check(stage: Stage, commit: str, state: str, environment: str = "") -> str:
    """Wait for the check on a commit of the manifests repository; all it says.

    A whole name of a check is taken as it is.
    """
    whole = environment.startswith("lockkeeper")
    wanted = f"lockkeeper: {environment}" if environment and not whole else "lockkeeper"
    wanted = environment if whole else wanted

    def look() -> str | None:
        for found in stage.manifests.check_runs.values():
            if (found.commit, found.name, found.conclusion) == (commit, wanted, state):
                return _read(f"{found.output['title']}\n{found.output['summary']}")
        return None

    try:
        return stage.eventually(look, f"{wanted} {state} on {commit[:7]}")
    except NeverHappenedError as error:
        others = stage.checks(stage.manifests, commit)
        raise NeverHappenedError(f"{error}\nbut: {others}") from error


def source_check(stage: Stage, commit: str, environment: str, title: str) -> str:
    """Wait until a source commit's check has this title; its summary."""

    def look() -> str | None:
        for found in stage.source.check_runs.values():
            name = f"lockkeeper: payments -> {environment}"
            if (found.commit, found.name) == (commit, name) and title in found.output["title"]:
                return _read(str(found.output["summary"])) or "-"
        return None

    return stage.eventually(look, f"{title} for {environment} on {commit[:7]}")


def settled(stage: Stage) -> None:
    """Wait until every webhook is handled and no look is queued or under way.

    A job is in its row from the answer to the webhook on, and GitHub queues a webhook before it
    answers what caused it: three looks are two more than an idle bot needs.
    """
    quiet = 0

    def look() -> bool:
        nonlocal quiet
        stage.github.webhooks.wait_until_delivered(30)
        quiet = 0 if _busy(stage.directory / "data" / "lockkeeper.db") else quiet + 1
        return quiet >= 3

    stage.eventually(look, "the bot comes to rest")


def looked_at(stage: Stage) -> None:
    """Wait until the bot has seen the branches: what moves from now on asks for promotions."""
    query = "SELECT count(*) FROM lk_seen_head WHERE branch = 'develop'"
    file = stage.directory / "data" / "lockkeeper.db"
    database = open_database(
        stage.bot.environment.get("LOCKKEEPER_DATABASE_URL", f"sqlite:///{file}")
    )

    def seen() -> int:
        with database.connect() as connection:
            return int(connection.execute(sa.text(query)).scalar_one())

    stage.eventually(seen, "a first look at the branches")
    database.dispose()


def _busy(database: Path) -> bool:
    query = (
        "SELECT count(*) FROM lk_job WHERE state IN ('queued', 'running') "
        "OR (state = 'waiting' AND kind = 'publish')"
    )
    return bool(_count(database, query))


def _count(database: Path, query: str) -> int:
    with contextlib.closing(
        sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    ) as connection:
        return int(connection.execute(query).fetchone()[0])


def is_signed(stage: Stage, environment: str, digest: str, cosign: str = "cosign3") -> bool:
    """What cosign says, with the stage's public key.

    cosign 2 asks for a trusted root as soon as there is a bundle, even if the key needs none.
    """
    key, root = stage.directory / "prod.pub", stage.directory / "trusted_root.json"
    key.write_bytes(stage.public_key)
    if not root.exists():
        run("cosign3", "trusted-root", "create", "--out", str(root))
    flags = [f"--key={key}", "--insecure-ignore-tlog=true", "--allow-http-registry"]
    if cosign == "cosign2":
        flags.append(f"--trusted-root={root}")
    reference = f"{stage.hosts[environment]}/acme/payments@{digest}"
    return attempt(cosign, "verify", *flags, reference).returncode == 0


def signature_tags(stage: Stage, environment: str) -> list[str]:
    """Every tag that looks like a signature's, whatever it signs."""
    listed = attempt("crane", "ls", "--insecure", f"{stage.hosts[environment]}/acme/payments")
    return [tag for tag in listed.stdout.splitlines() if tag.startswith("sha256-")]


def wait(seconds: float) -> None:
    """Let real time pass, for what must not happen in it."""
    time.sleep(seconds)
