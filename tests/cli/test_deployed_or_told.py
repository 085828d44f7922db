"""Images of ours that are deployed, and that `plan` neither brings to what is wanted nor refuses.

Each layout is judged by the real kustomize or Helm: after `plan --write` the rendering has the
wanted image, or the answer said something about it (exit code 2, `skipped` or `warnings`).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.cli.main import lockkeeper
from tests.world.tools import tool

OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64
OURS = "cr.example/acme/payments"
WANTED = f"{OURS}:v9@{NEW}"
PIPELINE = """\
version: 1
environments:
  prod:
    on: { branches: [main] }
    image_repository: cr.example/acme/{image}
    manifests: ["envs/prod/**"]
    sign: true
defaults: { source: "acme/{application}" }
applications: { payments: {} }
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: p}
spec: {template: {spec: {containers: [{name: p, image: "%s"}]}}}
"""
RELEASE = """\
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: p, namespace: d}
spec:
  chart: {spec: {chart: payments, sourceRef: {kind: HelmRepository, name: x}}}
  values:
    image: {repository: cr.example/acme/payments, tag: v1}
"""
PATCH = """\
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: p, namespace: d}
spec: {values: {image: {tag: v2}}}
"""
APPLICATION = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: p}
spec:
  source:
    repoURL: https://github.com/acme/deploy
    path: envs/prod/c
    helm: {valueFiles: [values-prod.yaml]}
"""
REMOTE = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: p}
spec: {source: {repoURL: "https://charts.example", chart: payments, helm: %s}}
"""
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n"
IMAGE = '    image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"\n'
SPLIT = (
    '    image: "{{ .Values.image.registry }}/{{ .Values.image.repository }}:'
    '{{ .Values.image.tag }}"\n'
)


def chart(folder: str, line: str = IMAGE) -> dict[str, str]:
    return {
        f"{folder}/Chart.yaml": "apiVersion: v2\nname: payments\nversion: 1.0.0\n",
        f"{folder}/templates/pod.yaml": POD + line,
    }


def layered(**more: str) -> dict[str, str]:
    return {
        "envs/prod/base/hr.yaml": RELEASE,
        "envs/prod/base/kustomization.yaml": "resources: [hr.yaml]\n",
    } | {f"envs/prod/o/{name}.yaml": text for name, text in more.items()}


C = "envs/prod/c"
CASES: dict[str, tuple[str, Mapping[str, str]]] = {
    "name-of-an-entry-is-a-regular-expression": (
        "kustomize build envs/prod",
        {
            "envs/prod/kustomization.yaml": "resources: [d.yaml]\n"
            "images: [{name: '.*/payments', newTag: v2}]\n",
            "envs/prod/d.yaml": DEPLOYMENT % f"{OURS}:v1@{OLD}",
        },
    ),
    "strategic-patch-of-a-release": (
        "kustomize build envs/prod/o",
        layered(kustomization="resources: [../base]\npatches: [{path: p.yaml}]\n", p=PATCH),
    ),
    "json-patch-of-a-release": (
        "kustomize build envs/prod/o",
        layered(
            kustomization="resources: [../base]\npatches:\n- target: {kind: HelmRelease}\n"
            "  patch: |\n    - {op: replace, path: /spec/values/image/tag, value: v2}\n"
        ),
    ),
    "argocd-source-with-the-tag-alone": (
        f"helm template {C} -f {C}/values-prod.yaml --set image.tag=v2",
        {
            **chart(C),
            "envs/prod/app.yaml": APPLICATION,
            f"{C}/values-prod.yaml": f"image: {{repository: {OURS}, tag: v1}}\n",
            f"{C}/.argocd-source-p.yaml": "helm: {parameters: [{name: image.tag, value: v2, "
            "forcestring: true}]}\n",
        },
    ),
    "digest-that-no-template-reads": (
        f"helm template {C}",
        {
            **chart(C),
            f"{C}/values.yaml": f"image:\n  repository: {OURS}\n  tag: v1\n  digest: ''\n",
        },
    ),
    "values-of-a-chart-over-its-subchart": (
        "helm template envs/prod/u",
        {
            **chart("envs/prod/u/charts/payments"),
            "envs/prod/u/charts/payments/values.yaml": f"image:\n  repository: {OURS}\n  tag: v1\n",
            "envs/prod/u/Chart.yaml": "apiVersion: v2\nname: u\nversion: 1.0.0\n",
            "envs/prod/u/values.yaml": "payments: {image: {tag: v2}}\n",
        },
    ),
    "registry-in-another-layer": (
        f"helm template {C} -f {C}/values-prod.yaml",
        {
            **chart(C, SPLIT),
            "envs/prod/app.yaml": APPLICATION,
            f"{C}/values.yaml": "image: {registry: cr.example, repository: x/y, tag: v1}\n",
            f"{C}/values-prod.yaml": "image: {repository: acme/payments, tag: v1}\n",
        },
    ),
    "a-port-with-a-leading-zero": (
        "kustomize build envs/prod",
        {
            "envs/prod/kustomization.yaml": "resources: [d.yaml]\n",
            "envs/prod/d.yaml": DEPLOYMENT % "cr.example:0443/acme/payments:v1",
        },
    ),
}
SAID: dict[str, Mapping[str, str]] = {
    "global-registry-in-another-values-file": {
        "envs/prod/global.values.yaml": "global: {imageRegistry: cr.example}\n",
        "envs/prod/p.values.yaml": "image: {repository: acme/payments, tag: v1}\n",
        "envs/prod/app.yaml": REMOTE
        % "{valueFiles: [/envs/prod/global.values.yaml, /envs/prod/p.values.yaml]}",
    },
    "registry-as-a-parameter": {
        "envs/prod/app.yaml": REMOTE % "{parameters: [{name: image.registry, value: cr.example}],"
        " valuesObject: {image: {repository: acme/payments, tag: v1}}}"
    },
    "two-keys-in-values-from-a-configmap": {
        "envs/prod/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: v}\ndata:\n"
        "  values.yaml: |\n"
        "    image:\n      registry: cr.example\n      repository: acme/payments\n      tag: v1\n"
    },
    "two-keys-in-a-custom-resource": {
        "envs/prod/cr.yaml": "apiVersion: x.io/v1\nkind: Runner\nmetadata: {name: p}\n"
        "spec: {image: {registry: cr.example, repository: acme/payments, tag: v1}}\n"
    },
    "registry-and-image-of-values": {
        "envs/prod/values.yaml": "image: {registry: cr.example, image: acme/payments, tag: v1}\n"
    },
    "global-registry-before-one-string": {
        "envs/prod/values.yaml": "global: {imageRegistry: cr.example}\nimage: acme/payments:v1\n"
    },
    "two-keys-in-set-of-a-helmchart": {
        "envs/prod/h.yaml": "apiVersion: helm.cattle.io/v1\nkind: HelmChart\n"
        "metadata: {name: p}\nspec:\n"
        "  set: {image.registry: cr.example, image.repository: acme/payments, image.tag: v1}\n"
    },
    "two-keys-of-a-release-in-a-list": {
        "envs/prod/l.yaml": "apiVersion: v1\nkind: List\nitems:\n"
        "- apiVersion: helm.toolkit.fluxcd.io/v2\n  kind: HelmRelease\n"
        "  metadata: {name: p}\n  spec:\n"
        "    values: {image: {registry: cr.example, repository: acme/payments, tag: v1}}\n"
    },
    "two-keys-that-a-json-patch-adds": {
        "envs/prod/kustomization.yaml": "resources: [h.yaml]\npatches:\n"
        "- target: {kind: HelmRelease}\n"
        "  patch: |\n    - op: add\n      path: /spec/values/image\n"
        "      value: {registry: cr.example, repository: acme/payments, tag: v1}\n"
    },
}


def written(root: Path, files: Mapping[str, str]) -> Path:
    for path, text in {**files, "lockkeeper.yaml": PIPELINE}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def plan(root: Path) -> tuple[bool, str]:
    """Whether something was said about what was not done, and the whole answer."""
    given = ("--config", str(root / "lockkeeper.yaml"), "--checkout", str(root))
    more = ("--environment", "prod", "--image", f"payments=v9@{NEW}", "--write", "--json")
    result = CliRunner().invoke(lockkeeper, ["plan", *given, *more])
    assert result.exit_code in {0, 2}, result.output
    if result.exit_code == 2:
        return True, result.output
    answer = json.loads(result.output)
    return bool(answer["skipped"] or answer["warnings"]), result.output


def rendered(root: Path, command: str) -> str:
    program, *arguments = command.split()
    paths = os.pathsep.join({str(Path(tool(program)).parent), os.environ["PATH"]})
    run = [str(tool(program)), *arguments]
    return subprocess.run(
        run, cwd=root, capture_output=True, text=True, check=True, env={**os.environ, "PATH": paths}
    ).stdout


@pytest.mark.parametrize("case", CASES)
def test_what_is_deployed_is_what_is_wanted_or_something_is_said(case: str, tmp_path: Path) -> None:
    command, files = CASES[case]
    root = written(tmp_path, files)
    assert "payments" in rendered(root, command)

    was_said, answer = plan(root)

    after = rendered(root, command)
    is_wanted = WANTED in after.replace(":0443/", "/") or f"tag: v9@{NEW}" in after
    assert is_wanted or was_said, f"{answer}\n{after}"


@pytest.mark.parametrize("case", SAID)
def test_an_image_of_ours_in_several_scalars_is_a_place_or_told(case: str, tmp_path: Path) -> None:
    root = written(tmp_path, SAID[case])

    was_said, answer = plan(root)

    assert was_said or '"state": "changed"' in answer, answer


def test_an_image_of_others_that_shares_a_tag_by_a_merge_key_stays(tmp_path: Path) -> None:
    root = written(
        tmp_path,
        {
            "envs/prod/values.yaml": f"base: &b {{repository: {OURS}, tag: v1}}\n"
            "a: {image: {<<: *b}}\nb: {image: {<<: *b, repository: quay.io/x/other}}\n"
        },
    )

    was_said, _ = plan(root)

    text = (root / "envs/prod/values.yaml").read_text()
    assert was_said
    assert NEW not in text


def test_a_key_is_inserted_once_where_both_uses_of_a_mapping_are_the_same_image(
    tmp_path: Path,
) -> None:
    root = written(
        tmp_path,
        {
            "envs/prod/values.yaml": f"image: &img\n  repository: {OURS}\n"
            f"worker: {{image: *img}}\n",
            "envs/prod/d.yaml": DEPLOYMENT % f"{OURS}:v1",
        },
    )

    plan(root)  # edited, or refused by its reason: never an IntegrityError


def test_a_pipe_in_a_checkout_is_no_file(tmp_path: Path) -> None:
    root = written(tmp_path, {"envs/prod/d.yaml": DEPLOYMENT % f"{OURS}:v1"})
    os.mkfifo(root / "envs/prod/f.yaml")
    found = subprocess.run(
        [".venv/bin/lockkeeper", "plan", "--config", str(root / "lockkeeper.yaml"), "--checkout",
         str(root), "--environment", "prod", "--image", f"payments=v9@{NEW}"],
        timeout=20, check=False, capture_output=True,
    )  # fmt: skip
    assert found.returncode == 0


def test_values_that_argo_cd_does_not_read_are_not_edited_in_silence(tmp_path: Path) -> None:
    """`valuesObject` takes the place of `values`: what stands there is deployed by nobody."""
    helm = (
        "\n      values: |\n        image: {repository: cr.example/acme/payments, tag: v1}\n"
        "      valuesObject: {image: {tag: v2}}\n"
    )
    text = (
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: p}\nspec:\n"
        f"  source:\n    repoURL: https://charts.example\n    chart: p\n    helm:{helm}"
    )
    root = written(tmp_path, {"envs/prod/app.yaml": text})

    was_said, answer = plan(root)

    assert was_said or NEW not in (root / "envs/prod/app.yaml").read_text(), answer


def test_an_entry_for_a_name_that_the_base_took_away_does_nothing(tmp_path: Path) -> None:
    root = written(
        tmp_path,
        {
            "envs/prod/base/d.yaml": DEPLOYMENT % "payments:dev",
            "envs/prod/base/kustomization.yaml": "resources: [d.yaml]\n"
            f"images: [{{name: payments, newName: {OURS}, newTag: v1}}]\n",
            "envs/prod/o/kustomization.yaml": "resources: [../base]\n"
            "images: [{name: payments, newTag: v2}]\n",
        },
    )
    before = rendered(root, "kustomize build envs/prod/o")
    assert f"{OURS}:v1" in before, before

    plan(root)

    assert NEW not in (root / "envs/prod/o/kustomization.yaml").read_text()
