"""1,000 applications in four environments, 20,000 files: what a plan, a look, an edit costs.

Processor seconds of whole processes, their children (git) included; the load stands beside them,
for a busy machine stretches them too. One file in ten has more than 300 lines.

* plan: ``lockkeeper plan`` of one application, from its start to its end. Cold is the first one on
  a checkout, warm one of another application after it.
* looks: a process that serves no webhooks takes the looks of a bot, on a local GitHub in another
  process; nothing was kept before, and then by a second process that finds the index of the first.
* reconcile: with the real queue, every look of every application in every environment.
* edit: the edited file, beside ``kustomize edit set image`` and ``git commit`` on a checkout.

The process under measurement is `tests.bench.looks`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench.figures import Figure
from tests.bench.looks import AT_ONCE, NEW, names, spent
from tests.world.images import build_image
from tests.world.stage import Stage, digest_in, raised
from tests.world.tools import installed

ENVIRONMENTS: Final = ("dev", "stage", "uat", "prod")
OLD: Final = "sha256:" + "1" * 64
_LINES: Final = 310
_ROUNDS: Final = 5
_PIPELINE: Final = """\
version: 1
environments:
  dev:
    on: {{ branches: [develop] }}
    image_repository: "{dev}/acme/{{image}}"
    manifests: ["envs/dev/**"]
    adopt: ["OLD"]
  stage:
    on: {{ branches: ["release/*"] }}
    from: dev
    image_repository: "{stage}/acme/{{image}}"
    manifests: ["envs/stage/**"]
    adopt: ["OLD"]
  uat:
    on: {{ branches: [uat] }}
    from: stage
    image_repository: "{stage}/uat/{{image}}"
    manifests: ["envs/uat/**"]
    adopt: ["OLD"]
  prod:
    on: {{ branches: [main] }}
    from: uat
    image_repository: "{prod}/acme/{{image}}"
    manifests: ["envs/prod/**"]
    adopt: ["OLD"]
defaults: {{ source: acme/payments }}
applications:
"""


def measure(folder: Path) -> list[Figure]:
    """Everything; without kustomize its line says so."""
    pipeline = _PIPELINE.replace("OLD", OLD) + "".join(f"  {name}: {{{{}}}}\n" for name in names())
    with raised(folder / "stage", pipeline=pipeline, start=False, real=False) as stage:
        _fill(stage)
        checkout = folder / "checkout"
        _git(folder, "clone", "-q", str(stage.manifests.git.path), str(checkout))
        return [
            Figure("load", os.getloadavg()[0], "processes"),
            *_plans(checkout, folder),
            *_looked(stage),
            *_edited(checkout, folder),
        ]


def _at_most(name: str, value: float, unit: str, allowed: float) -> Figure:
    return Figure(name, value, unit, "allowed", allowed, value / allowed, 1.0)


# --- the repository ---


def _fill(stage: Stage) -> None:
    """20,000 files on top of the stage's own, by one process."""
    dice = random.Random(11)  # noqa: S311 - reproducible content, no secret
    hosts = {**stage.hosts, "uat": stage.hosts["stage"]}
    git, tip = stage.manifests.git, stage.manifests.head("main")
    said = bytearray(
        f"commit refs/heads/main\ncommitter D <d@example.com> 1790000000 +0000\ndata 4\nfill\n"
        f"from {tip}\n".encode()
    )
    for environment in ENVIRONMENTS:
        team = "uat" if environment == "uat" else "acme"
        for number, name in enumerate(names()):
            repository = f"{hosts[environment]}/{team}/{name}"
            for file, text in _files(environment, name, repository, number, dice).items():
                content = text.encode()
                said += f"M 100644 inline envs/{environment}/{name}/{file}\n".encode()
                said += f"data {len(content)}\n".encode() + content + b"\n"
    command = ["git", "-C", str(git.path), "fast-import", "--quiet", "--force"]
    subprocess.run(command, input=bytes(said), check=True)
    git.forget_refs()
    grant = stage.directory / "grants" / "uat"
    shutil.copytree(stage.directory / "grants" / "stage", grant)


def _files(
    environment: str, name: str, repository: str, number: int, dice: random.Random
) -> dict[str, str]:
    labels = f"{{app.kubernetes.io/name: {name}, app.kubernetes.io/part-of: shop}}"
    settings = "".join(
        f"  SETTING_{line}: value-{dice.randrange(10**6)}{'' if line % 7 else f'  # of {name}'}\n"
        for line in range(_LINES if number % 2 == 0 else 25)
    )
    return {
        "kustomization.yaml": (
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
            f"namespace: {name}\nnamePrefix: {environment}-\n"
            "resources:\n  - deployment.yaml\n  - service.yaml\n  - config.yaml\n  - ingress.yaml\n"
            "images:\n  # moved by promotions only\n"
            f"  - name: {name}\n    newName: {repository}\n    newTag: sha-{number:07x}\n"
            f"    digest: {OLD}\n"
            "  - name: envoy\n    newName: docker.io/envoyproxy/envoy\n    newTag: v1.30.1\n"
            "patches:\n  - target:\n      kind: Deployment\n    patch: |-\n"
            f"      - op: replace\n        path: /spec/replicas\n        value: {1 + number % 5}\n"
        ),
        "deployment.yaml": (
            f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, labels: {labels}}}\n"
            f"spec:\n  replicas: 1\n  selector:\n    matchLabels: {labels}\n  template:\n"
            f"    metadata:\n      labels: {labels}\n    spec:\n      containers:\n"
            f"        - name: main\n          image: {name}\n          ports:\n"
            "            - containerPort: 8080\n          resources:\n            limits:\n"
            "              memory: 256Mi\n        - name: proxy\n          image: envoy\n"
            '          args: ["-c", "/etc/envoy.yaml"]\n'
        ),
        "service.yaml": (
            f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  labels: {labels}\n"
            f"spec:\n  selector: {labels}\n  ports:\n    - name: http\n      port: 80\n---\n"
            f"apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata:\n  name: {name}\n"
            f"spec:\n  minAvailable: 1\n  selector:\n    matchLabels: {labels}\n"
        ),
        "config.yaml": (
            f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n{settings}"
        ),
        "ingress.yaml": (
            f"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n"
            "  annotations:\n    cert-manager.io/cluster-issuer: letsencrypt\nspec:\n  rules:\n"
            f"    - host: {name}.{environment}.example.com\n      http:\n        paths:\n"
            "          - path: /\n            pathType: Prefix\n            backend:\n"
            f"              service:\n                name: {name}\n"
        ),
    }


def _git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=D", "-c", "user.email=d@example.com")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


# --- plan ---


def _plans(checkout: Path, folder: Path) -> Iterator[Figure]:
    cold = [_plan(checkout, folder / f"cache-{number}", "svc-0007") for number in range(2)]
    warm = [_plan(checkout, folder / "cache-0", name) for name in names()[:_ROUNDS]]
    yield _at_most("plan, cold", statistics.median(cold), "s", 3.0)
    yield _at_most("plan, warm", statistics.median(warm), "s", 0.3)


def _plan(checkout: Path, cache: Path, name: str) -> float:
    program = str(Path(sys.executable).with_name("lockkeeper"))
    places = ["--config", str(checkout / "lockkeeper.yaml"), "--checkout", str(checkout)]
    wanted = ["--environment", "prod", "--image", f"{name}=v2@{NEW}"]
    # As it is installed: with bytecode, which the first run leaves where a machine forbids it.
    own = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONDONTWRITEBYTECODE": ""}
    with spent() as total:
        done = subprocess.run(
            [program, "plan", *places, *wanted], check=True, capture_output=True, env=own
        )
    assert f"+    digest: {NEW}".encode() in done.stdout
    return total()


# --- the edit, beside the peer's ---


def _edited(checkout: Path, folder: Path) -> Iterator[Figure]:
    kustomize = installed("kustomize")
    if kustomize is None:
        yield Figure("one edit", 0, "", "kustomize is not installed")
        return
    rounds: list[float] = []
    for name in names()[:_ROUNDS]:
        place = checkout / "envs" / "prod" / name
        with spent() as total:
            image = f"{name}=registry.example.com/acme/{name}@{NEW}"
            command = [str(kustomize), "edit", "set", "image", image]
            subprocess.run(command, cwd=place, check=True, capture_output=True)
            _git(checkout, "commit", "-qam", f"Promote {name}")
        rounds.append(total())
    own = json.loads((folder / "edit.json").read_text())["edit"]
    peer = statistics.median(rounds)
    yield Figure(
        "one edit", own * 1000, "ms", "kustomize, git commit", peer * 1000, own / peer, 1 / 20
    )


# --- the looks of a bot ---


def _looked(stage: Stage) -> Iterator[Figure]:
    branch, main = "change", stage.manifests.head("main") or ""
    place = "envs/dev/svc-0003/kustomization.yaml"
    image = build_image(seed=3, layers=1, layer_size=64)
    image.push(stage.hosts["dev"], "acme/svc-0003", "v1")
    text = stage.file(main, place).replace(OLD, image.digest)
    stage.dana.push(stage.manifests, branch, {place: text})
    pull = stage.dana.open_pull_request(stage.manifests, branch)
    with _bot(stage) as (told, ask):
        found = told()
        yield Figure("clone of the mirror", found["clone"], "s")
        yield _at_most("first look at an environment", found["first"], "s", 1.0)
        yield Figure("look at the three others", found["others"], "s")
        yield Figure("memory at most, until then", found["peak"], "MB")
        yield _at_most("look with nothing new", found["again"], "s", 0.05)
        ask({"pull": pull.number})
        yield _at_most("check of a pull request", told()["check"], "s", 0.2)
        (stage.directory.parent / "edit.json").write_text(json.dumps(told()))
        ask({})
        found = told()
        yield Figure("looks that waited at once", found["looks"], "")
        yield _at_most("a full reconcile", found["reconcile"], "s", 60.0)
        yield _at_most("memory at most, until then", found["peak"], "MB", 200.0)
        yield from _promoted(stage, told, ask)
    with _bot(stage) as (told, ask):
        yield _at_most("first look, by the kept index", told()["first"], "s", 1.0)


def _promoted(
    stage: Stage, told: Callable[[], dict[str, float]], ask: Callable[[object], None]
) -> Iterator[Figure]:
    commit = stage.commit("develop")
    digests: dict[str, str] = {}
    labels = {"org.opencontainers.image.revision": commit}
    for number, name in enumerate(names()[:AT_ONCE]):
        image = build_image(labels=labels, seed=number, layers=1, layer_size=64)
        image.push(stage.hosts["dev"], f"acme/{name}", f"sha-{commit[:7]}")
        digests[name] = image.digest
    before = len(stage.github.requests)
    ask({})
    promotions = told()
    asked = len(stage.github.requests) - before
    pulls = {one.head_ref: one for one in stage.manifests.open_pulls()}
    ours = [pulls[f"lockkeeper/dev/{n}"] for n in digests if f"lockkeeper/dev/{n}" in pulls]
    for pull in ours:
        stage.dana.merge(pull)
    main = stage.manifests.head("main") or ""
    lost = [
        name
        for name, digest in digests.items()
        if digest_in(stage.file(main, f"envs/dev/{name}/kustomization.yaml")) != digest
    ]
    yield Figure(f"{AT_ONCE} promotions at once", promotions["promotions"], "s")
    yield Figure("memory at most, until then", promotions["peak"], "MB")
    yield Figure("of them not proposed", float(AT_ONCE - len(ours)), "", target=0.0)
    yield Figure("of them lost once all are merged", float(len(lost)), "", target=0.0)
    yield Figure("requests to GitHub for each", asked / AT_ONCE, "")


@contextmanager
def _bot(stage: Stage) -> Iterator[tuple[Callable[[], dict[str, float]], Callable[[object], None]]]:
    """A process that takes looks; what it tells, and how it is asked for the next."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.looks", str(stage.manifests.id)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **stage.bot.environment},
        text=True,
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    def told() -> dict[str, float]:
        found: dict[str, float] = json.loads(stdout.readline())
        return found

    def ask(what: object) -> None:
        stdin.write(json.dumps(what) + "\n")
        stdin.flush()

    try:
        yield told, ask
    finally:
        stdin.close()
        process.wait(timeout=60)
        stdout.close()
