"""The unit is the merge: one that waits holds up nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys import walk
from tests.journeys.conftest import Raise
from tests.world.github.records import PullRequest
from tests.world.images import BuiltImage, build_image
from tests.world.stage import BASE, PIPELINE, Stage
from tests.world.tools import run

BOTH = BASE + "        - {name: ledger, image: ledger}\n"
TWO = PIPELINE + "  ledger: {{ source: acme/payments }}\n"


@pytest.fixture
def two(raise_stage: Raise) -> Iterator[Stage]:
    """A stage with two applications of one source, in the same files."""
    with raise_stage(pipeline=TWO, start=False) as stage:
        files: dict[str, str | bytes | None] = {
            walk.overlay(environment): stage.file(walk.head(stage), walk.overlay(environment))
            + f"\n  - name: ledger\n    newName: {host}/acme/ledger\n"
            for environment, host in stage.hosts.items()
        }
        files["base/deployment.yaml"] = BOTH
        stage.dana.push(stage.manifests, "main", files)
        stage.bot.start()
        yield stage


def shows(stage: Stage, environment: str, text: str) -> bool:
    commit = stage.ref(environment)
    return commit is not None and text in stage.file(commit, walk.overlay(environment))


def both_in_dev(stage: Stage) -> tuple[str, BuiltImage, BuiltImage]:
    commit = stage.commit("develop")
    labels = {"org.opencontainers.image.revision": commit}
    ledger = build_image(labels=labels, seed=4711)
    ledger.push(stage.hosts["dev"], "acme/ledger", f"sha-{commit[:7]}")
    payments = stage.build(commit)
    for image in (payments, ledger):
        digest = image.digest
        stage.eventually(lambda d=digest: shows(stage, "dev", d) or None, f"{digest} in dev")  # type: ignore[misc]  # binds now
    return commit, payments, ledger


def ledgers(stage: Stage, environment: str) -> PullRequest:
    branch = f"lockkeeper/{environment}/ledger"
    pulls = stage.manifests.open_pulls
    return stage.eventually(
        lambda: next((p for p in pulls() if p.head_ref == branch), None), branch
    )


def test_a_held_merge_blocks_neither_promotions_nor_configuration(two: Stage) -> None:
    commit, payments, ledger = both_in_dev(two)
    two.dana.push(two.source, "release/v1.2.0", parent=commit)
    pulls = [ledgers(two, "stage"), walk.promotion(two, "stage")]
    run("crane", "delete", "--insecure", f"{two.hosts['dev']}/acme/ledger@{ledger.digest}")

    held = two.dana.merge(pulls[0])
    reason = walk.check(two, held, "failure", "ledger -> stage")
    two.dana.merge(pulls[1])
    two.eventually(lambda: shows(two, "stage", payments.digest) or None, "payments in stage")
    two.dana.push(two.manifests, "main", {"envs/stage/notes.md": "configuration\n"})
    two.eventually(
        lambda: "envs/stage/notes.md" in tree(two, "stage") or None, "the configuration in stage"
    )

    assert ledger.digest in reason or "ledger" in reason
    assert not shows(two, "stage", ledger.digest)
    message = two.manifests.git.text("log", "-n1", "--format=%B", "env/stage")
    assert f"Held: {held}" in message
    assert "ledger in envs/stage" in walk.check(two, held, "neutral", "stage")

    walk.settled(two)
    ledger.push(two.hosts["dev"], "acme/ledger", f"sha-{commit[:7]}")
    assert two.bot.command("retry", f"deliver:{two.manifests.id}:stage:ledger").returncode == 0
    two.eventually(lambda: shows(two, "stage", ledger.digest) or None, "ledger in stage")
    walk.check(two, held, "success", "ledger -> stage")
    walk.check(two, held, "success", "stage")
    walk.settled(two)
    default = walk.head(two)
    assert two.file("env/stage", walk.overlay("stage")) == two.file(default, walk.overlay("stage"))


def tree(stage: Stage, environment: str) -> list[str]:
    return stage.manifests.git.text(
        "ls-tree", "-r", "--name-only", f"env/{environment}"
    ).splitlines()


def test_a_digest_and_configuration_of_one_merge_come_together(two: Stage) -> None:
    commit, payments, ledger = both_in_dev(two)
    two.dana.push(two.source, "release/v1.2.0", parent=commit)
    pull = ledgers(two, "stage")
    run("crane", "delete", "--insecure", f"{two.hosts['dev']}/acme/ledger@{ledger.digest}")
    two.dana.push(two.manifests, pull.head_ref, {"envs/stage/patch.yaml": "kind: ConfigMap\n"})

    held = two.dana.merge(pull)

    walk.check(two, held, "neutral", "stage")
    assert "envs/stage/patch.yaml" not in tree(two, "stage")
    walk.settled(two)
    ledger.push(two.hosts["dev"], "acme/ledger", f"sha-{commit[:7]}")
    two.bot.command("retry", f"deliver:{two.manifests.id}:stage:ledger")
    two.eventually(lambda: shows(two, "stage", ledger.digest) or None, "ledger in stage")
    assert "envs/stage/patch.yaml" in tree(two, "stage")
    assert payments.digest != ledger.digest


def test_a_change_of_other_environments_files_makes_no_publication(stage: Stage) -> None:
    walk.to_dev(stage)
    walk.settled(stage)
    before = {environment: stage.ref(environment) for environment in stage.hosts}

    stage.dana.push(stage.manifests, "main", {"envs/stage/notes.md": "1\n"})
    stage.eventually(lambda: "envs/stage/notes.md" in tree(stage, "stage") or None, "in stage")
    walk.settled(stage)

    after = {environment: stage.ref(environment) for environment in stage.hosts}
    assert after["stage"] != before["stage"]
    assert (after["dev"], after["prod"]) == (before["dev"], before["prod"])
