"""What a publication would deploy is put together by the real tools before it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.adapters.scanning import ConfinedRenderer, renderer_of
from bot.domain.jobs import Done, Failed, RequeueAt
from bot.domain.rendering import RenderRoot
from bot.facts import renderings as render_module
from bot.reconcilers.operator import Request, adopt
from tests.world.driver import Driver, driven
from tests.world.scanners import open_folder, placed
from tests.world.stage import PIPELINE
from tests.world.tools import tool

pytestmark = pytest.mark.slow
EVIL = "sha256:" + "e" * 64
CHART = "envs/dev/app/charts/app"
TEMPLATE = """\
apiVersion: v1
kind: Pod
metadata: {name: hidden}
spec:
  containers:
  - {name: a, image: "{{ .Values.host }}/{{ .Values.name }}@{{ .Values.reference }}"}
"""


@dataclass
class Counting:
    """The real renderer, and which roots it was asked for."""

    real: ConfinedRenderer
    asked: list[str] = field(default_factory=list)

    def generation(self) -> str:
        return self.real.generation()

    def gaps(self) -> Sequence[str]:
        return self.real.gaps()

    def render(self, root: RenderRoot, files: Mapping[str, tuple[str, bytes]]) -> str:
        self.asked.append(root.name)
        return self.real.render(root, files)


@dataclass
class Scene:
    """A driver whose publications are rendered."""

    driver: Driver
    renderer: Counting
    pushed: set[str] = field(default_factory=set)

    def push(self, files: Mapping[str, str | None]) -> str:
        stage = self.driver.stage
        self.pushed |= {path for path, content in files.items() if content is not None}
        self.pushed -= {path for path, content in files.items() if content is None}
        return stage.dana.push(stage.manifests, "main", dict(files))

    def publish(self, environment: str = "dev") -> Done | RequeueAt | Failed:
        self.driver.ran.clear()
        self.driver.run(self.driver.publish(environment))
        return self.driver.ran[0][1]

    def told(self, commit: str) -> tuple[str, str]:
        stage = self.driver.stage
        return stage.checks(stage.manifests, commit)["lockkeeper: dev"]

    def summary(self, commit: str, environment: str = "dev") -> str:
        stage = self.driver.stage
        runs = stage.manifests.check_runs.values()
        found = [r for r in runs if r.commit == commit and r.name == f"lockkeeper: {environment}"]
        return str(found[-1].output["summary"])

    def check_of(self, files: Mapping[str, str | None]) -> tuple[str, str, str]:
        """State, title and the first line of the check on a pull request with these files."""
        stage = self.driver.stage
        branch = f"change-{len(stage.manifests.pulls)}"
        stage.dana.push(stage.manifests, branch, dict(files))
        pull = stage.dana.open_pull_request(stage.manifests, branch)
        self.driver.run(self.driver.answer(str(pull.number)))
        head = stage.manifests.head(branch)
        runs = stage.manifests.check_runs.values()
        run = [one for one in runs if one.commit == head and one.name == "lockkeeper"][-1]
        summary = str(run.output["summary"])
        lines = [line for line in summary.splitlines() if line.startswith("- ")]
        return str(run.conclusion), str(run.output["title"]), lines[0] if lines else summary

    def tidy(self) -> None:
        """As it was before, and nothing waits."""
        if self.pushed:
            self.push(dict.fromkeys(self.pushed))
            self.publish()
        self.renderer.asked.clear()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from _scene(tmp_path_factory.mktemp("scene"), PIPELINE)


@pytest.fixture
def scene(up: Scene) -> Iterator[Scene]:
    ports, workflows = up.driver.ports, up.driver.workflows
    yield up
    up.driver.ports, up.driver.workflows = ports, workflows
    up.tidy()


def _scene(tmp_path: Path, pipeline: str, *, begun: bool = True) -> Iterator[Scene]:
    kustomize, helm = tool("kustomize"), tool("helm")
    with open_folder() as folder, driven(tmp_path, pipeline=pipeline) as driver:
        real = renderer_of(kustomize=placed(kustomize, folder), helm=placed(helm, folder))
        assert real is not None
        counting = Counting(real)
        driver.ports = replace(driver.ports, renderer=counting)
        driver.workflows = replace(driver.workflows, ports=driver.ports)
        if begun:
            driver.look_first()
        counting.asked.clear()
        yield Scene(driver, counting)


def hidden(host: str, reference: str = EVIL) -> dict[str, str | None]:
    """A chart that puts an image of ours together of parts that no file shows to be one."""
    return {
        "envs/dev/app/kustomization.yaml": (
            "helmGlobals: {chartHome: charts}\nhelmCharts:\n- name: app\n  releaseName: app\n"
            f"  valuesInline: {{host: {host}, name: acme/payments, reference: '{reference}'}}\n"
        ),
        f"{CHART}/Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\n",
        f"{CHART}/values.yaml": "{}\n",
        f"{CHART}/templates/pod.yaml": TEMPLATE,
    }


def test_an_unsealed_image_that_only_a_rendering_shows_is_never_published(scene: Scene) -> None:
    stage = scene.driver.stage
    before = stage.ref("dev")
    commit = scene.push(hidden(stage.hosts["dev"]))

    outcome = scene.publish()

    assert isinstance(outcome, Failed)
    assert stage.ref("dev") == before
    assert scene.told(commit)[0] == "failure"
    for words in ("Pod hidden", "envs/dev/app", EVIL, "payments is not sealed for dev"):
        assert words in scene.summary(commit)

    scene.push(dict.fromkeys(hidden("")))
    assert isinstance(scene.publish(), Done)


def test_a_sealed_image_in_a_rendering_is_published_and_told(scene: Scene) -> None:
    stage = scene.driver.stage
    digest = scene.driver.build(stage.source, stage.commit("develop"))
    scene.driver.run(scene.driver.propose("dev"))
    assert scene.driver.shown("dev") == digest

    commit = scene.push(hidden(stage.hosts["dev"], digest))

    assert isinstance(scene.publish(), Done)
    assert scene.told(commit)[0] == "success"
    assert "Rendered: 2 roots with 2 images of ours." in scene.summary(commit)


def test_what_is_not_rendered_is_told_with_its_reason_and_stops_nothing(scene: Scene) -> None:
    stage = scene.driver.stage
    remote = {"envs/dev/far/kustomization.yaml": "resources: [https://example.com/x.yaml]\n"}
    commit = scene.push(remote)

    assert isinstance(scene.publish(), Done)

    assert "Not rendered" in scene.summary(commit)
    assert "envs/dev/far" in scene.summary(commit)
    entries = [e for e in scene.driver.ports.audit.entries() if e.kind == "rendered"]
    assert "envs/dev/far: kustomize says" in entries[-1].facts["not rendered"]
    assert stage.file(stage.ref("dev") or "", "envs/dev/far/kustomization.yaml")


def test_a_kustomization_that_fails_hides_none_that_it_refers_to(scene: Scene) -> None:
    stage = scene.driver.stage
    before = stage.ref("dev")
    commit = scene.push(
        {
            **hidden(stage.hosts["dev"]),
            "envs/dev/top/kustomization.yaml": "resources: [../app, absent.yaml]\n",
        }
    )

    assert isinstance(scene.publish(), Failed)

    assert stage.ref("dev") == before
    for words in ("Pod hidden", "from envs/dev/app", "envs/dev/top: kustomize says"):
        assert words in scene.summary(commit)


@pytest.mark.parametrize("added", ["argo-patches", "argo-images", "flux-components", "flux-plain"])
def test_what_a_deployer_adds_is_never_published_unsealed(scene: Scene, added: str) -> None:
    """Each by the real kustomize; nothing of it shows an image of ours where places are read."""
    stage = scene.driver.stage
    before = stage.ref("dev")
    name = f"{stage.hosts['dev']}/acme/payments"
    patch = '[{"op": "replace", "path": "/spec/containers/0/image", "value": "short"}]'
    own = {"path": "deploy/k", "kustomize": {}}
    kustomize: dict[str, Mapping[str, object]] = {
        # The name that a patch brings is one that the kustomization itself replaces.
        "argo-patches": {"patches": [{"target": {"kind": "Pod"}, "patch": patch}]},
        "argo-images": {"images": ["other=short:v1"]},
    }
    flux = {"path": "./deploy/plain"} if added == "flux-plain" else {"path": "./deploy/k"}
    more = {"components": ["../c"]} if added == "flux-components" else {}
    deployer = (
        _object(
            "argoproj.io/v1alpha1", "Application", source={**own, "kustomize": kustomize[added]}
        )
        if added.startswith("argo")
        else _object("kustomize.toolkit.fluxcd.io/v1", "Kustomization", **flux, **more)
    )
    commit = scene.push(
        {
            "envs/dev/deployer.yaml": deployer,
            "deploy/k/kustomization.yaml": (
                "resources: [pod.yaml]\nimages:\n- {name: other, newName: quay.io/x/y}\n"
                f"- {{name: short, newName: {name}, newTag: evil}}\n"
            ),
            "deploy/k/pod.yaml": _pod("hidden", "other"),
            "deploy/c/kustomization.yaml": (
                "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
                f"patches:\n- target: {{kind: Pod}}\n  patch: '{patch}'\n"
            ),
            "deploy/plain/pod.yaml": _pod("hidden", f"{name}:evil"),
        }
    )

    outcome = scene.publish()

    assert isinstance(outcome, Failed), (outcome, scene.summary(commit))
    assert stage.ref("dev") == before
    for words in ("in Pod hidden", "in envs/dev/deployer.yaml: payments is not sealed for dev"):
        assert words in scene.summary(commit)


def _object(version: str, kind: str, **spec: object) -> str:
    metadata = {"name": "shop"}
    return json.dumps({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})


def test_without_tools_nothing_is_called_rendered(scene: Scene) -> None:
    driver = scene.driver
    driver.ports = replace(driver.ports, renderer=None)
    driver.workflows = replace(driver.workflows, ports=driver.ports)
    commit = scene.push({"envs/dev/note.yaml": "a: 1\n"})

    assert isinstance(scene.publish(), Done)

    assert "neither kustomize nor Helm is set" in scene.summary(commit)


def test_only_roots_whose_files_changed_are_rendered_again(scene: Scene) -> None:
    other = {"envs/dev/other/kustomization.yaml": "resources: [a.yaml]\n"}
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}\n"
    scene.push({**other, "envs/dev/other/a.yaml": pod})
    scene.publish()
    assert scene.renderer.asked == ["envs/dev/other"]
    scene.renderer.asked.clear()

    scene.push({"envs/dev/other/a.yaml": pod.replace("name: a", "name: b"), "README.md": "x\n"})
    scene.publish()

    assert scene.renderer.asked == ["envs/dev/other"]


def test_what_one_look_cannot_render_is_left_to_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_module, "_STAY", timedelta(0))
    scene.push({"envs/dev/other/kustomization.yaml": "namePrefix: a\n"})

    assert isinstance(scene.publish(), RequeueAt)


def test_a_pull_request_is_told_of_images_of_others(scene: Scene) -> None:
    state, title, line = scene.check_of({"envs/dev/c.yaml": _pod("c", "quay.io/x/proxy:v2")})

    assert (state, title) == ("success", "No promoted digest changes")
    assert line == "- `envs/dev/c.yaml:4`: `quay.io/x/proxy:v2` is no image of ours"


def test_an_image_of_others_holds_where_that_is_wanted(tmp_path: Path) -> None:
    wanted = "    manifests: [envs/dev/**]\n"
    pipeline = PIPELINE.replace(
        wanted, wanted + "    unmanaged: hold\n    allow_images: [quay.io/known/*]\n"
    )
    for scene in _scene(tmp_path, pipeline):
        stage = scene.driver.stage
        good = scene.push({"envs/dev/a.yaml": _pod("a", "quay.io/known/proxy:v1")})
        assert isinstance(scene.publish(), Done)
        assert scene.told(good)[0] == "success"

        bad = scene.push({"envs/dev/b.yaml": _pod("b", "quay.io/unknown/proxy:v1")})
        outcome = scene.publish()

        assert "merges wait" in outcome.summary
        assert "`quay.io/unknown/proxy:v1` is no image of ours" in scene.summary(bad)
        assert scene.check_of({"envs/dev/c.yaml": _pod("c", "quay.io/unknown/proxy:v2")}) == (
            "failure",
            "An image that nobody manages",
            "- `envs/dev/c.yaml:4`: `quay.io/unknown/proxy:v2` is no image of ours",
        )
        listed = stage.manifests.git.text("ls-tree", "-r", "--name-only", stage.ref("dev") or "")
        assert "envs/dev/a.yaml" in listed
        assert "envs/dev/b.yaml" not in listed


def _pod(name: str, image: str) -> str:
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n"
        f"spec: {{containers: [{{name: c, image: '{image}'}}]}}\n"
    )


def test_what_only_a_rendering_shows_is_taken_over_where_an_environment_begins(
    tmp_path: Path,
) -> None:
    for scene in _scene(tmp_path, PIPELINE, begun=False):
        stage = scene.driver.stage
        scene.push(hidden(stage.hosts["dev"]))
        assert isinstance(scene.publish(), Failed)
        assert stage.ref("dev") is None

        adopt(Request(scene.driver.ports, ("dev",), "olga", lambda _key: False))

        assert isinstance(scene.publish(), Done)
        assert stage.ref("dev") is not None


def test_a_foreign_commit_that_hides_an_image_is_replaced(scene: Scene) -> None:
    stage = scene.driver.stage
    ours = stage.ref("dev") or ""
    stage.dana.push(stage.manifests, "env/dev", {**hidden(stage.hosts["dev"])}, message="By hand")

    scene.publish()

    foreign = [e for e in scene.driver.ports.audit.entries() if e.kind == "foreign commit"]
    assert foreign[-1].facts["unsealed"] == "1"
    now = stage.ref("dev") or ""
    assert "envs/dev/app" not in stage.manifests.git.text("ls-tree", "-r", "--name-only", now)
    assert now != ours


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ("prod", "payments is not sealed for prod; its tag is no variant"),
        ("dev", "Images that nobody manages"),
    ],
    ids=["signs", "signs-not"],
)
def test_another_variant_in_our_repository_holds_where_all_has_to_be_sealed(
    tmp_path: Path, environment: str, said: str
) -> None:
    """`tag_match` leaves its place alone; nobody promotes it, so nobody sealed it either."""
    variants = '  payments: {{ images: {{ payments: {{ tag_match: "sha-*" }} }} }}\n'
    approvals = "    approvals: {{ count: 1, teams: [acme/release-managers] }}\n"
    pipeline = PIPELINE.replace("  payments: {{}}\n", variants).replace(approvals, "")
    holds = environment == "prod"
    for scene in _scene(tmp_path, pipeline):
        stage = scene.driver.stage
        image = f"{stage.hosts[environment]}/acme/payments:evil"
        before = stage.ref(environment)
        folder = f"envs/{environment}/other"
        commit = scene.push(
            {
                f"{folder}/kustomization.yaml": "resources: [a.yaml]\n",
                f"{folder}/a.yaml": _pod("a", image),
            }
        )

        outcome = scene.publish(environment)

        assert isinstance(outcome, Failed) is holds, outcome
        assert (stage.ref(environment) == before) is holds
        assert said in scene.summary(commit, environment)
        assert image in scene.summary(commit, environment)
