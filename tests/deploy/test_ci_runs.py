"""Each step of our CI files is executed: by its shell, in order, against a real registry."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from bot.domain.ci_builds import CiBuild, CiImage
from bot.domain.oci import Digest, ImageRepository
from bot.formats.ci_snippet import SERVICES
from bot.formats.yaml_tree import compose_all, plain
from tests.world.clients import client
from tests.world.images import INDEX
from tests.world.keys import generate_key_pair
from tests.world.registry import Registry
from tests.world.tools import run, tool

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).parents[2]
COMMIT: Final = "2b2e927" + "c" * 33
PASSWORD: Final = "a password with spaces, $HOME and 'quotes'"  # noqa: S105 - of this test alone
NO_SERVICES: Final = {
    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
    "rekorTlogConfig": {},
    "tsaConfig": {},
}
TWO: Final = ("github", "jenkins")
"""The same scripts in either shell; what all four share is tried by these."""
KEYS: Final = generate_key_pair()


@dataclass
class Runner:
    """A machine that runs CI: a checkout, programs, a registry, a key."""

    folder: Path
    registry: Registry
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def image(self) -> str:
        return f"{self.registry.host}/acme/payments"

    def build(self) -> CiBuild:
        image = CiImage("payments", self.registry.host, self.image, ("sha-", 7))
        return CiBuild("payments", "acme/payments", "dev", (image,), ("develop",))

    def steps(self, service: str, job: str) -> Sequence[tuple[str, str]]:
        """(shell, script) of the steps of a job that a shell runs."""
        text = SERVICES[service](self.build())
        if service == "jenkins":
            stages = re.findall(
                r"stage\('(Check|Build|Sign)'\)(.*?)(?=stage\('|\Z)", text, re.DOTALL
            )
            wanted = ("Check",) if job == "check" else ("Build", "Sign")
            return [
                ("sh", script.replace("\\\\", "\\"))
                for name, body in stages
                if name in wanted
                for script in re.findall(r"sh '''(.*?)'''", body, re.DOTALL)
            ]
        document = plain(compose_all(text, "ci.yml")[0], "ci.yml").value
        assert isinstance(document, dict)
        return _steps(service, document, job)

    def run(self, shell: str, script: str, **more: str) -> subprocess.CompletedProcess[str]:
        errexit = ["-e"] if shell == "bash" else []
        return subprocess.run(
            [shell, *errexit, "-c", script],
            cwd=self.folder,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def all(self, service: str, job: str = "image", **more: str) -> None:
        for shell, script in self.steps(service, job):
            done = self.run(shell, script, **more)
            assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"

    def digest(self, tag: str) -> str | None:
        answer = requests.head(
            f"http://{self.registry.host}/v2/acme/payments/manifests/{tag}",
            headers={"Accept": INDEX},
            timeout=10,
        )
        return answer.headers["Docker-Content-Digest"] if answer.ok else None

    def said(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]


def _steps(service: str, document: Mapping[str, Any], job: str) -> Sequence[tuple[str, str]]:
    match service:
        case "github":
            found = document["jobs"][job]["steps"]
            return [("bash", one["run"]) for one in found if "run" in one]
        case "azure":
            jobs = {one["job"]: one for one in document["jobs"]}
            return [("bash", one["script"]) for one in jobs[job]["steps"] if "script" in one]
        case _:
            names = ("lint", "check") if job == "check" else ("build", "scan", "sign")
            return [("bash", script) for name in names for script in document[name]["script"]]


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    for name in ("cosign3", "jq"):
        tool(name)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("docker", "trivy", "hadolint"):
        _program(programs / name, f'exec {sys.executable} -m tests.world.ci_tools {name} "$@"\n')
    (tmp_path / "none.json").write_text(json.dumps(NO_SERVICES))
    (tmp_path / "ci.key").write_bytes(KEYS.private)
    # Some tests are not about it, and each call takes a second.
    # Without the public services: no certificate and no log, a key in their place.
    _program(
        programs / "cosign",
        '[ -z "${NOT_SIGNED-}" ] || exit 0\n'
        'case " $* " in *" --key "*) key= ;; *) key="--key=$CI_KEY" ;; esac\n'
        f'exec {tool("cosign3")} "$@" $key --signing-config="$NO_SERVICES" --allow-http-registry\n',
    )
    with Registry() as registry:
        work = tmp_path / "work"
        work.mkdir()
        (work / "Dockerfile").write_text("FROM scratch\n")
        runner = Runner(work, registry)
        runner.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(tmp_path),
            "CI_TOOLS_LOG": str(work / "log"),
            "EXPECTED_PASSWORD": PASSWORD,
            "CI_KEY": str(tmp_path / "ci.key"),
            "COSIGN_KEY": str(tmp_path / "ci.key"),
            "COSIGN_PASSWORD": "",
            "NO_SERVICES": str(tmp_path / "none.json"),
            "GITHUB_OUTPUT": str(work / "output"),
            "REGISTRY": registry.host,
            "REGISTRY_USERNAME": "robot",
            "REGISTRY_PASSWORD": PASSWORD,
            "SOURCE": "https://github.com/acme/payments",
            "BUILDER": "https://ci.example.com",
            "PLATFORMS": "linux/amd64,linux/arm64",
            "COMMIT": COMMIT,
            "BRANCH": "develop",
            "NAME": "payments",
            "IMAGE": runner.image,
            "CONTEXT": ".",
            "DOCKERFILE": "Dockerfile",
        }
        yield runner


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize("service", SERVICES)
def test_a_build_is_signed_attested_labelled_and_tagged_last(
    service: str, runner: Runner, tmp_path: Path
) -> None:
    runner.all(service)

    digest = runner.digest("sha-2b2e927")
    assert digest is not None
    assert runner.digest("branch-develop") == digest
    described = client(runner.registry.host).describe(
        ImageRepository(runner.registry.host, "acme/payments").at(Digest(digest))
    )
    assert described.labels["org.opencontainers.image.revision"] == COMMIT
    (tmp_path / "ci.pub").write_bytes(KEYS.public)
    flags = (f"--key={tmp_path}/ci.pub", "--insecure-ignore-tlog=true", "--allow-http-registry")
    run("cosign3", "verify", *flags, f"{runner.image}@{digest}")
    platforms = (runner.folder / "payments.platforms").read_text().split()
    assert len(platforms) == 2
    for platform in platforms:
        run("cosign3", "verify", *flags, f"{runner.image}@{platform}")
        for kind in ("vuln", "cyclonedx"):
            run(
                "cosign3",
                "verify-attestation",
                *flags,
                "--type",
                kind,
                f"{runner.image}@{platform}",
            )
    if service != "github":  # there GitHub's own action says it
        said = run(
            *("cosign3", "verify-attestation", *flags, "--type", "slsaprovenance1"),
            f"{runner.image}@{digest}",
        )
        assert said
    created = [one for one in runner.said() if "create" in one]
    assert runner.said()[-3:].count(created[0]) == 1


@pytest.mark.parametrize("service", TWO)
def test_a_run_that_is_repeated_builds_nothing_anew(service: str, runner: Runner) -> None:
    runner.environment["NOT_SIGNED"] = "1"
    runner.all(service)
    first = runner.digest("sha-2b2e927")

    runner.all(service, CI_SEED="2")

    assert runner.digest("sha-2b2e927") == first
    assert len([one for one in runner.said() if one[:3] == ["docker", "buildx", "build"]]) == 1


@pytest.mark.parametrize("service", TWO)
def test_a_tag_that_stands_is_never_moved(service: str, runner: Runner) -> None:
    """The registry did not answer when it was asked before the build."""
    runner.environment["NOT_SIGNED"] = "1"
    *before, last = runner.steps(service, "image")
    for shell, script in before:
        assert runner.run(shell, script).returncode == 0
    standing = (runner.folder / "payments.digest").read_text().strip()
    assert runner.run(*last).returncode == 0
    for shell, script in before:  # another build of the same commit
        broken = script.replace("if docker buildx imagetools inspect", "if false && docker inspect")
        assert runner.run(shell, broken, CI_SEED="2").returncode == 0

    done = runner.run(*last)

    assert done.returncode != 0
    assert "is never moved" in done.stderr
    assert runner.digest("sha-2b2e927") == standing


@pytest.mark.parametrize("service", TWO)
def test_a_wrong_password_stops_the_build_and_is_in_no_command_line(
    service: str, runner: Runner
) -> None:
    shell, script = runner.steps(service, "image")[0]

    assert runner.run(shell, script).returncode == 0
    other = {"REGISTRY_PASSWORD": "another"}
    assert runner.run(shell, script, **other).returncode != 0
    assert PASSWORD not in (runner.folder / "log").read_text()


@pytest.mark.parametrize("service", SERVICES)
def test_a_pull_request_is_linted_built_and_scanned_and_pushes_nothing(
    service: str, runner: Runner
) -> None:
    runner.all(service, "check")

    assert (runner.folder / "sbom.cdx.json").is_file()
    assert not runner.registry.repositories
    said = {one[0] for one in runner.said()}
    assert said == ({"docker", "trivy"} if service == "github" else {"docker", "trivy", "hadolint"})


@pytest.mark.parametrize("service", TWO)
def test_findings_fail_the_check_of_a_pull_request(service: str, runner: Runner) -> None:
    ended = [runner.run(*step, CI_FINDINGS="1") for step in runner.steps(service, "check")]

    assert ended[-1].returncode == 1


@pytest.mark.parametrize("branch", ["release/1.2", "-a b;$(id)`id`" + "ü" * 90])
def test_a_branch_of_any_name_makes_a_tag_and_runs_nothing(branch: str, runner: Runner) -> None:
    runner.all("github", BRANCH=branch, NOT_SIGNED="1")

    tags = [one for one in runner.registry.repositories["acme/payments"].tags if "branch-" in one]
    assert len(tags) == 1
    assert re.fullmatch(r"branch-[A-Za-z0-9_.-]{1,100}", tags[0])
