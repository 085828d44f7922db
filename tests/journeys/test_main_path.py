"""From develop to prod: build once, promote the same bytes everywhere."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.journeys import walk
from tests.journeys.conftest import Raise
from tests.journeys.walk import Walked
from tests.world.stage import ENVIRONMENTS
from tests.world.tools import run, tool

HOSTILE_CHARACTERS = re.compile(r"[^A-Za-z0-9 ._/@:+\n-]")


@pytest.fixture(scope="module", params=["merge", "squash", "rebase"])
def walked(request: pytest.FixtureRequest, raise_stage: Raise) -> Iterator[Walked]:
    with raise_stage() as stage:
        done = walk.to_prod(stage, method=request.param)
        walk.settled(stage)
        yield done


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_registry_holds_the_digest_that_ci_built(walked: Walked, environment: str) -> None:
    host = walked.stage.hosts[environment]

    digest = run("crane", "digest", "--insecure", f"{host}/acme/payments@{walked.image.digest}")
    run(
        "crane", "validate", "--insecure", "--remote", f"{host}/acme/payments@{walked.image.digest}"
    )

    assert digest.strip() == walked.image.digest


def test_the_immutable_tag_stands_everywhere_and_the_version_moves_in_stage(
    walked: Walked,
) -> None:
    tag = f"sha-{walked.commit[:7]}"

    found = [walked.stage.resolve(environment, tag) for environment in ENVIRONMENTS]

    assert found == [walked.image.digest] * 3
    assert walked.stage.resolve("stage", "v1.2.0") == walked.image.digest
    listed = run("crane", "ls", "--insecure", f"{walked.stage.hosts['prod']}/acme/payments")
    assert re.search(r"^release-\d{8}T\d{6}Z$", listed, re.MULTILINE)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_promotion_changes_only_the_planned_lines(walked: Walked, environment: str) -> None:
    git = walked.stage.manifests.git
    merge = walked.promotions[environment].merge_commit
    assert merge is not None

    names = git.text("diff", "--name-only", f"{merge}^1", merge)
    diff = git.text("diff", "--unified=0", f"{merge}^1", merge)

    assert names == walk.overlay(environment)
    changed = [line for line in diff.splitlines() if re.match(r"[+-](?![+-])", line)]
    assert changed == [f"+    digest: {walked.image.digest}"]


def test_kustomize_sees_exactly_the_prod_image_at_the_full_ref(walked: Walked) -> None:
    clone = walked.stage.directory / "argo"
    run_git("init", "--quiet", str(clone))
    run_git(
        "-C", str(clone), "fetch", "-q", str(walked.stage.manifests.git.path), "refs/heads/env/prod"
    )
    run_git("-C", str(clone), "checkout", "-q", "FETCH_HEAD")

    built = run("kustomize", "build", str(clone / "envs/prod"))

    images = re.findall(r"image: (\S+)", built)
    assert images == [f"{walked.stage.hosts['prod']}/acme/payments@{walked.image.digest}"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_publications_are_a_line_of_trees_without_workflows(
    walked: Walked, environment: str
) -> None:
    git = walked.stage.manifests.git
    tip = walked.publications[environment]

    lines = git.text("log", "--format=%H %P", tip).splitlines()
    names = git.text("ls-tree", "--name-only", tip).splitlines()

    assert [len(line.split()) for line in lines] == [2] * (len(lines) - 1) + [1]
    assert ".github" not in names
    assert "lockkeeper.yaml" in names


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_publication_says_what_it_brings(walked: Walked, environment: str) -> None:
    message = walked.stage.manifests.git.text(
        "log", "-n1", "--format=%B", walked.publications[environment]
    )

    number = walked.promotions[environment].number
    wanted = f"Promotion: payments payments {walked.image.digest} {walked.commit} PR {number}"
    assert wanted in message
    assert re.search(r"^Source: [0-9a-f]{40}$", message, re.MULTILINE)
    assert re.search(r"^Lockkeeper-Audit: \d+ ", message, re.MULTILINE)
    assert not HOSTILE_CHARACTERS.search(message)


@pytest.mark.parametrize("cosign", ["cosign2", "cosign3"])
def test_cosign_takes_the_prod_image_and_no_other(walked: Walked, cosign: str) -> None:
    stage, digest = walked.stage, walked.image.digest

    taken = {
        environment: walk.is_signed(stage, environment, digest, cosign)
        for environment in ENVIRONMENTS
    }

    assert taken == {"dev": False, "stage": False, "prod": True}


def test_the_checks_on_the_source_commits_end_well(walked: Walked) -> None:
    stage = walked.stage

    checks = stage.checks(stage.source, walked.commit)
    on_trigger = stage.checks(stage.source, walked.trigger)

    assert checks == {
        f"lockkeeper: payments -> {environment}": ("success", "Published")
        for environment in ENVIRONMENTS
    }
    assert on_trigger == {"lockkeeper: payments -> prod": ("success", "Published")}


def test_each_environment_has_one_deployment_on_the_source_commit(walked: Walked) -> None:
    deployments = list(walked.stage.source.deployments.values())

    newest = {one.environment: one.statuses[-1].state for one in deployments}

    assert {one.commit for one in deployments} == {walked.commit}
    assert len(deployments) == 3
    assert newest == {f"lockkeeper/{environment}": "success" for environment in ENVIRONMENTS}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_promotion_carries_one_comment_and_the_check(walked: Walked, environment: str) -> None:
    stage, pull = walked.stage, walked.promotions[environment]

    ours = [comment for comment in pull.comments if comment.app is not None]
    checks = stage.checks(stage.manifests, pull.head)

    assert len(ours) == 1
    assert "Delivered" in ours[0].body
    assert checks["lockkeeper"][0] == "success"


def run_git(*arguments: str) -> None:
    subprocess.run([tool("git"), *arguments], check=True, capture_output=True)


def test_every_line_about_the_delivery_names_the_promotion_of_the_pull_request(
    walked: Walked,
) -> None:
    marked = re.search(r"[0-9a-f]{26}", walked.promotions["prod"].body or "")
    assert marked is not None

    lines = [json.loads(line) for line in walked.stage.bot.log.read_text().splitlines()]
    effects = {
        one["effect"] for one in lines if one.get("promotion") == marked[0] and "effect" in one
    }

    assert {"open the pull request", "copy the image"} <= effects
