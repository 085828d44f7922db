"""Many applications of one manifests repository, each with a folder of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bot.domain.errors import LockkeeperError
from bot.domain.jobs import Failed, Job, Outcome
from tests.world.driver import Driver, driven
from tests.world.images import build_image

PIPELINE = """\
version: 1
environments:
  dev:
    on: {{ branches: [develop] }}
    image_repository: {dev}/acme/{{image}}
    manifests: [envs/dev/**]
  stage:
    on: {{ branches: ["release/*"] }}
    from: dev
    image_repository: {stage}/acme/{{image}}
    manifests: [envs/stage/**]
  prod:
    on: {{ branches: [main] }}
    from: stage
    image_repository: {prod}/acme/{{image}}
    manifests: [envs/prod/**]
    sign: true
defaults:
  source: acme/payments
applications:
"""
OVERLAY = """\
# {name}
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [deployment.yaml]
images:
  - name: {name}
    newName: {host}/acme/{name}
"""
WORKLOAD = "kind: Deployment\nspec: {{template: {{spec: {{containers: [{{image: {name}}}]}}}}}}\n"


def names(count: int) -> list[str]:
    return [f"svc-{number:04d}" for number in range(count)]


@contextlib.contextmanager
def many(directory: Path, count: int) -> Iterator[Driver]:
    """So many applications, every one from the source repository of the stage, in dev alone."""
    entries = "".join(f"  {name}: {{{{}}}}\n" for name in names(count))
    with driven(directory, pipeline=PIPELINE + entries) as driver:
        stage, host = driver.stage, driver.stage.hosts["dev"]
        files: dict[str, str | bytes | None] = {}
        for name in names(count):
            files[path(name)] = OVERLAY.format(name=name, host=host)
            files[f"envs/dev/{name}/deployment.yaml"] = WORKLOAD.format(name=name)
        stage.dana.push(stage.manifests, "main", files)
        yield driver


def path(name: str, environment: str = "dev") -> str:
    """Where an application's place is."""
    return f"envs/{environment}/{name}/kustomization.yaml"


def build_all(driver: Driver, commit: str, count: int) -> dict[str, str]:
    """CI pushes an image of each application, of one commit; application -> digest."""
    labels = {"org.opencontainers.image.revision": commit}
    found: dict[str, str] = {}
    for number, name in enumerate(names(count)):
        image = build_image(labels=labels, seed=number, layers=1, layer_size=64)
        image.push(driver.stage.hosts["dev"], f"acme/{name}", f"sha-{commit[:7]}")
        found[name] = image.digest
    return found


def at_once(driver: Driver, jobs: Sequence[Job], threads: int = 4) -> list[Outcome]:
    """Run jobs side by side, as the engine's lanes do."""

    def run(job: Job) -> Outcome:
        try:
            return driver.workflows(job)
        except LockkeeperError as error:
            return Failed(f"{type(error).__name__}: {error}")

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, jobs))
