"""A monorepo of three applications on the driver's stage, whose CI builds what a push touched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tests.world.driver import Driver, driven
from tests.world.github.gitstore import FileChanges
from tests.world.images import build_image
from tests.world.stage import PIPELINE

NAMES = ("api", "web", "job")
MONOREPO = (
    PIPELINE.partition("defaults:")[0]
    + """\
defaults:
  source: acme/payments
  paths: ["services/{{application}}/**", "libs/**"]
applications:
  api: {{}}
  web: {{}}
  job:
    images:
      job: {{}}
      job-migrate: {{ image_tag: "migrate-{{short_sha}}", paths: ["services/job/db/**"] }}
"""
)
IMAGES = {"api": ["api"], "web": ["web"], "job": ["job", "job-migrate"]}


@contextlib.contextmanager
def monorepo(directory: Path, pipeline: str = MONOREPO) -> Iterator[Driver]:
    """Raise it, looked at once."""
    with driven(directory, pipeline=pipeline) as up:
        files: FileChanges = {}
        for environment, host in up.stage.hosts.items():
            for name, images in IMAGES.items():
                containers = ", ".join(f"{{image: {host}/acme/{image}:none}}" for image in images)
                pod = f"kind: Pod\nspec: {{containers: [{containers}]}}\n"
                files[f"envs/{environment}/{name}.yaml"] = pod
        up.stage.dana.push(up.stage.manifests, "main", files)
        up.look_first(*NAMES)
        yield up


def build(driver: Driver, commit: str, *images: str) -> None:
    """CI builds these images of a commit."""
    for number, image in enumerate(images):
        tag = "migrate" if image == "job-migrate" else "sha"
        labels = {"org.opencontainers.image.revision": commit}
        seed = int(commit[:7], 16) + number + len(image)
        built = build_image(labels=labels, seed=seed, layer_size=2000)
        built.push(driver.stage.hosts["dev"], f"acme/{image}", f"{tag}-{commit[:7]}")


_NUMBERS = count()


def change(driver: Driver, *paths: str, branch: str = "develop") -> str:
    """A commit that changes these files."""
    number = next(_NUMBERS)
    return driver.stage.commit(branch, {path: f"{path} {number}\n" for path in paths})


def everything(driver: Driver) -> str:
    """A commit that touches everything, built and in dev."""
    paths = [f"services/{name}/x" for name in NAMES]
    commit = change(driver, *paths, "services/job/db/1.sql")
    build(driver, commit, "api", "web", "job", "job-migrate")
    driver.run(*[driver.propose("dev", name) for name in NAMES])
    return commit


def shown(driver: Driver, environment: str, application: str) -> str:
    """The text of an application's file on an environment's ref."""
    ref = driver.stage.ref(environment)
    assert ref is not None
    return driver.stage.file(ref, f"envs/{environment}/{application}.yaml")


def open_pulls(driver: Driver) -> list[str]:
    """The branches of the open pull requests."""
    return sorted(pull.head_ref for pull in driver.stage.manifests.open_pulls())
