"""Every registry pattern of the page: checked, and walked from CI's push to the next ref."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import requests

from bot.cli.main import lockkeeper
from bot.domain.environments import Application, Environment, Pipeline, image_tag
from bot.domain.oci import ImageRepository
from bot.formats.pipeline_file import read_pipeline
from tests.walked.pages import ROOT, files
from tests.world.driver import Driver, driven
from tests.world.images import INDEX, BuiltImage, build_image
from tests.world.registry import Registry
from tests.world.stage import OVERLAY, digest_in

pytestmark = pytest.mark.slow

PATTERNS: Final = files(ROOT / "docs" / "migrate" / "registry-patterns.md")
_HOST: Final = re.compile(r"registry(?:\.[a-z]+)?\.example\.com")


def hosts_of(text: str) -> list[str]:
    return sorted(set(_HOST.findall(text)))


@pytest.mark.parametrize("name", PATTERNS)
def test_the_file_passes_config_check(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lockkeeper.yaml"
    file.write_text(PATTERNS[name])

    lockkeeper.main(["config", "check", str(file)], standalone_mode=False)

    assert "valid" in capsys.readouterr().out


@dataclass(frozen=True)
class Pattern:
    """One of them on the stage, with registries of its own."""

    driver: Driver
    pipeline: Pipeline

    @property
    def application(self) -> Application:
        return self.pipeline.applications["payments"]

    @property
    def environments(self) -> list[Environment]:
        return list(self.pipeline.environments.values())

    def push(self, commit: str) -> BuiltImage:
        """CI pushes its build where the first environment takes it from."""
        image = build_image(labels={"org.opencontainers.image.revision": commit}, layer_size=2000)
        place = self.environments[0].built_in(self.application, "payments")
        assert place is not None
        tag = image_tag(self.application, self.application.images[0], commit)
        image.push(place.host, place.path, tag)
        return image

    def repository(self, environment: Environment) -> ImageRepository:
        return environment.repository_of(self.application, "payments")

    def digests(self, environment: Environment) -> Mapping[str, str]:
        """Tag -> digest in the environment's repository."""
        place = self.repository(environment)
        base = f"http://{place.host}/v2/{place.path}"
        tags = requests.get(f"{base}/tags/list", timeout=10).json()["tags"]
        return {tag: self._digest(f"{base}/manifests/{tag}") for tag in tags}

    def holds(self, environment: Environment, digest: str) -> bool:
        place = self.repository(environment)
        url = f"http://{place.host}/v2/{place.path}/manifests/{digest}"
        return requests.head(url, headers={"Accept": INDEX}, timeout=10).ok

    @staticmethod
    def _digest(url: str) -> str:
        return requests.head(url, headers={"Accept": INDEX}, timeout=10).headers[
            "Docker-Content-Digest"
        ]

    def published(self, environment: Environment) -> str | None:
        commit = self.driver.stage.ref(environment.name)
        path = f"envs/{environment.name}/kustomization.yaml"
        return digest_in(self.driver.stage.file(commit, path)) if commit else None

    def promote(self, environment: Environment) -> None:
        """Propose, approve and merge (where the bot does not), deliver and publish."""
        driver, stage = self.driver, self.driver.stage
        driver.run(driver.propose(environment.name))
        promotion = stage.open_promotion(environment.name)
        if promotion is not None:
            stage.rita.approve(promotion)
            stage.dana.merge(promotion)
        driver.run(driver.deliver(environment.name))


@pytest.fixture(params=PATTERNS)
def pattern(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pattern]:
    with ExitStack() as stack:
        text = PATTERNS[request.param]
        local = {host: stack.enter_context(Registry()).host for host in hosts_of(text)}
        for host in sorted(local, key=len, reverse=True):
            text = text.replace(host, local[host])
        pipeline = read_pipeline(text, file="lockkeeper.yaml")
        hosts = dict.fromkeys(("dev", "stage", "prod"), next(iter(local.values())))
        escaped = text.replace("{", "{{").replace("}", "}}")
        driver = stack.enter_context(driven(tmp_path, pipeline=escaped, hosts=hosts))
        walked = Pattern(driver, pipeline)
        _set(walked, tmp_path / "grants", list(local.values()))
        yield walked


def _set(pattern: Pattern, grants: Path, hosts: list[str]) -> None:
    """Overlays that name each environment's repository, and grants that reach it."""
    stage = pattern.driver.stage
    overlays: dict[str, str | bytes | None] = {}
    for one in pattern.environments:
        place = pattern.repository(one)
        overlays[f"envs/{one.name}/kustomization.yaml"] = OVERLAY.format(
            environment=one.name, host="HOST"
        ).replace("HOST/acme/payments", str(place))
        (grants / one.name / "registry.json").write_text(
            json.dumps({"auths": {host: {} for host in hosts}})
        )
    stage.dana.push(stage.manifests, "main", overlays)
    pattern.driver.run(
        *(pattern.driver.propose(one.name) for one in pattern.environments),
        *(pattern.driver.publish(one.name) for one in pattern.environments),
    )


def test_a_build_is_promoted_from_ci_to_the_next_environment(pattern: Pattern) -> None:
    stage, (first, second, *_) = pattern.driver.stage, pattern.environments
    commit = stage.commit("develop")
    image = pattern.push(commit)
    pattern.promote(first)
    assert pattern.published(first) == image.digest

    stage.dana.push(stage.source, "release/v1.2.0", {}, parent=commit)
    pattern.promote(second)

    assert pattern.published(second) == image.digest
    assert pattern.holds(second, image.digest)
    _has_its_tags(pattern, second, image.digest, commit)


def _has_its_tags(pattern: Pattern, environment: Environment, digest: str, commit: str) -> None:
    found = {tag for tag, one in pattern.digests(environment).items() if one == digest}
    wanted = {
        "{image_tag}": f"sha-{commit[:7]}",
        "stage-{short_sha}": f"stage-{commit[:7]}",
        "stage": "stage",
        "release-{timestamp}": r"release-\d{8}T\d{6}Z",
        "{version}": "v1.2.0",
    }
    for tag in environment.image_tags:
        assert [one for one in found if re.fullmatch(wanted[tag.template.text], one)], found
