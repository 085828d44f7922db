"""The demo as a visitor runs it, and its result as other people's tools see it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.world.tools import attempt, run, tool

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "build" / "demo" / "result.json"


@pytest.fixture(scope="module")
def result() -> Iterator[dict[str, Any]]:
    """The demo, kept up."""
    for name in ("registry", "crane", "cosign2", "cosign3", "kustomize"):
        tool(name)
    RESULT.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.demo", "--keep"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "until you press Ctrl-C" in line:
                break
        assert RESULT.exists(), "".join(said)
        assert "three registries (registry)" in "".join(said)
        yield json.loads(RESULT.read_text())
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0


def environment(result: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in result["environments"] if one["name"] == name)


def test_the_same_digest_stands_in_three_registries(result: dict[str, Any]) -> None:
    for one in result["environments"]:
        assert run("crane", "digest", one["target"]).strip() == one["digest"]
        for reference in one["tag_references"]:
            assert run("crane", "digest", reference).strip() == one["digest"]
        assert one["platforms"] == ["linux/amd64", "linux/arm64"]
    assert len({one["digest"] for one in result["environments"]}) == 1
    assert [one["signed"] for one in result["environments"]] == [False, False, True]
    assert environment(result, "dev")["source"] == environment(result, "dev")["target"]


@pytest.mark.parametrize("cosign", ["cosign2", "cosign3"])
def test_cosign_accepts_prod_and_refuses_dev(
    result: dict[str, Any], cosign: str, tmp_path: Path
) -> None:
    key = tmp_path / "cosign.pub"
    key.write_text(result["public_key"])
    flags = ["verify", "--key", str(key), "--insecure-ignore-tlog=true", "--allow-http-registry"]

    accepted = attempt(cosign, *flags, environment(result, "prod")["target"])
    refused = attempt(cosign, *flags, environment(result, "dev")["target"])

    assert accepted.returncode == 0, accepted.stderr
    assert refused.returncode != 0


@pytest.mark.parametrize("cosign", ["cosign2", "cosign3"])
def test_cosign_reads_the_story_under_its_own_key_alone(
    result: dict[str, Any], cosign: str, tmp_path: Path
) -> None:
    flags = ["--type=https://lockkeeper.dev/promotion/v1", "--insecure-ignore-tlog=true"]
    target = environment(result, "prod")["target"]
    codes = []
    for name in ("attestation_public_key", "public_key"):
        (tmp_path / name).write_text(result[name])
        key = f"--key={tmp_path}/{name}"
        done = attempt(cosign, "verify-attestation", key, "--allow-http-registry", *flags, target)
        codes.append(done.returncode == 0)

    assert codes == [True, False]


def test_the_published_overlay_renders_exactly_the_prod_reference(
    result: dict[str, Any], tmp_path: Path
) -> None:
    prod = environment(result, "prod")
    clone = tmp_path / "deploy"
    url = result["manifests_repository"]["clone_url"]
    subprocess.run(["git", "clone", "-q", url, str(clone)], check=True)
    subprocess.run(["git", "checkout", "-q", prod["environment_ref_commit"]], cwd=clone, check=True)

    rendered = run("kustomize", "build", str(clone / "envs" / "prod"))

    images = [line.split("image:")[1].strip() for line in rendered.splitlines() if "image:" in line]
    assert images == [prod["target"]]
    assert not (clone / ".github").exists()


def test_each_promotion_touches_only_the_planned_lines(
    result: dict[str, Any], tmp_path: Path
) -> None:
    clone = tmp_path / "deploy"
    url = result["manifests_repository"]["clone_url"]
    subprocess.run(["git", "clone", "-q", url, str(clone)], check=True)
    for one in result["environments"]:
        diff = subprocess.run(
            ["git", "diff", "--numstat", f"{one['merge_commit']}^1", one["merge_commit"]],
            cwd=clone,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        assert diff == ["1", "0", f"envs/{one['name']}/kustomization.yaml"]
