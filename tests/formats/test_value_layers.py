"""Helm values in layers: the place is the scalar that decides, as the real tools say."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.environments import ImageId
from bot.formats.edits import Edit, State, edit_of
from bot.formats.environment_files import EnvironmentFiles, read_environment
from bot.formats.image_names import ImageField, names_of
from bot.formats.pipeline_file import read_pipeline
from bot.formats.places import RemarkKind
from tests.attacks.test_hidden_images import PIPELINE, PROD, REPOSITORY, Files, Tree
from tests.world.tools import run, tool

TWO = read_pipeline(
    """\
version: 1
environments:
  dev:
    on: { branches: [main] }
    image_repository: registry.dev.example.com/acme/{image}
    manifests: [envs/dev/**]
  prod:
    on: { branches: [main] }
    image_repository: registry.prod.example.com/acme/{image}
    manifests: [envs/prod/**]
applications: { payments: { source: acme/payments } }
"""
)
OURS = ImageId("payments", "payments")
NEW = "sha256:" + "2" * 64
WANTED = f"{REPOSITORY}:v9@{NEW}"
TEMPLATE = """\
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers:
  - {name: a, image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"}
  - {name: b, image: "other:{{ .Values.left }}"}
"""
CHART = "envs/prod/charts/app"


def values(layer: str, *keys: str) -> dict[str, object]:
    said = {"repository": REPOSITORY, "tag": f"old-{layer}"}
    found: dict[str, object] = {"left": layer}
    if keys:
        found["image"] = {key: said[key] for key in keys}
    return found


def look(files: Files) -> EnvironmentFiles:
    return read_environment(Tree(files), PROD, names_of(PIPELINE, PROD))


def promoted(files: Files) -> tuple[Files, Edit]:
    """The files after the edit, and the edit."""
    edit = edit_of(
        look(files), lambda path: str(files[path]), {OURS: ImageField(REPOSITORY, "v9", NEW)}
    )
    return {**files, **edit.contents}, edit


def write(files: Files, folder: Path) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(content))
    return folder


def images(output: str) -> list[str]:
    return [
        line.split("image:")[1].split(",")[0].strip(" \"'}")
        for line in output.splitlines()
        if "image:" in line
    ]


def helm(folder: Path, *arguments: str) -> list[str]:
    return images(run("helm", "template", "r", str(folder / CHART), *arguments))


def chart(*keys: str) -> Files:
    return {
        f"{CHART}/Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\n",
        f"{CHART}/values.yaml": json.dumps(values("own", *keys)),
        f"{CHART}/templates/pod.yaml": TEMPLATE,
    }


LAYERS = ("file", "inline", "additional")
SUBSETS = [subset for size in range(4) for subset in itertools.combinations(LAYERS, size)]


@pytest.mark.parametrize("merge", ["override", "merge", "replace"])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("setting", SUBSETS, ids="+".join)
def test_of_helm_charts_the_layer_that_decides_is_edited(
    tmp_path: Path, setting: tuple[str, ...], merge: str, *, named: bool
) -> None:
    keys = {layer: ["tag"] if layer in setting else [] for layer in LAYERS}
    entry = {
        "name": "app",
        "releaseName": "r",
        **({"valuesFile": "file.yaml"} if named else {}),
        "valuesInline": values("inline", *keys["inline"]),
        "valuesMerge": merge,
        "additionalValuesFiles": ["additional.yaml"],
    }
    before: Files = {
        **chart("repository", "tag"),
        "envs/prod/kustomization.yaml": json.dumps({"helmCharts": [entry]}),
        "envs/prod/file.yaml": json.dumps(values("file", *keys["file"])),
        "envs/prod/additional.yaml": json.dumps(values("additional", *keys["additional"])),
    }

    after, edit = promoted(before)

    given = ("build", "--enable-helm", f"--helm-command={tool('helm')}")
    old, new = (
        images(run("kustomize", *given, str(write(files, tmp_path / name) / "envs/prod")))
        for files, name in ((before, "before"), (after, "after"))
    )
    assert old[0].startswith(f"{REPOSITORY}:old-")
    assert new == [WANTED, old[1]]
    assert len(edit.changes) == 1
    assert edit.state is State.CHANGED
    assert promoted(after)[1].state is State.ALREADY


ARGO = ("first", "second", "object")


def argo(keys: Mapping[str, list[str]], parameters: list[dict[str, str]]) -> Files:
    helm_values = {
        "valueFiles": ["../../first.yaml", "../../second.yaml"],
        "valuesObject": values("object", *keys["object"]),
        **({"parameters": parameters} if parameters else {}),
    }
    source = {"repoURL": "https://github.com/acme/deploy", "path": CHART, "helm": helm_values}
    spec = {"source": source, "destination": {"namespace": "x"}}
    document = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "spec": spec}
    return {
        **chart("repository", "tag"),
        "envs/prod/app.json": json.dumps(document),
        "envs/prod/first.yaml": json.dumps(values("first", *keys["first"])),
        "envs/prod/second.yaml": json.dumps(values("second", *keys["second"])),
    }


@pytest.mark.parametrize("parameter", [False, True])
@pytest.mark.parametrize(
    "setting",
    [subset for size in range(4) for subset in itertools.combinations(ARGO, size)],
    ids="+".join,
)
def test_of_an_application_the_layer_that_decides_is_edited(
    tmp_path: Path, setting: tuple[str, ...], *, parameter: bool
) -> None:
    keys = {layer: ["tag"] if layer in setting else [] for layer in ARGO}
    before = argo(keys, [{"name": "image.tag", "value": "old-parameter"}] if parameter else [])

    after, edit = promoted(before)

    found = []
    for files, name in ((before, "before"), (after, "after")):
        folder = write(files, tmp_path / name)
        own = json.loads(str(files["envs/prod/app.json"]))["spec"]["source"]["helm"]
        (folder / "object.json").write_text(json.dumps(own["valuesObject"]))
        layers = [
            folder / "envs/prod/first.yaml",
            folder / "envs/prod/second.yaml",
            folder / "object.json",
        ]
        given = [f"--values={one}" for one in layers]
        given += [f"--set={one['name']}={one['value']}" for one in own.get("parameters", [])]
        found.append(helm(folder, *given))
    assert found[1] == [WANTED, found[0][1]]
    assert found[0][0] != WANTED
    assert len(edit.changes) == 1


def test_flux_s_values_stand_above_its_files() -> None:
    spec = {
        "chart": {
            "spec": {
                "chart": f"./{CHART}",
                "sourceRef": {"kind": "GitRepository"},
                "valuesFiles": ["envs/prod/a.yaml", "envs/prod/b.yaml"],
            }
        },
        "values": values("inline"),
    }
    document = {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "spec": spec}
    files: Files = {
        **chart(),
        "envs/prod/release.json": json.dumps(document),
        "envs/prod/a.yaml": json.dumps(values("a", "repository", "tag")),
        "envs/prod/b.yaml": json.dumps(values("b", "tag")),
    }

    _, edit = promoted(files)
    assert [(one.file, one.pointer) for one in edit.changes] == [("envs/prod/b.yaml", "/image/tag")]

    spec["values"] = values("inline", "tag")
    files["envs/prod/release.json"] = json.dumps(document)
    _, edit = promoted(files)
    assert [(one.file, one.pointer) for one in edit.changes] == [
        ("envs/prod/release.json", "/spec/values/image/tag")
    ]


def test_what_cannot_be_edited_where_it_decides_is_refused_with_both_names() -> None:
    text = "image:\n  tag: old\n"
    source = {"path": CHART, "helm": {"values": text, "valueFiles": ["../../v.yaml"]}}
    document = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "spec": {"source": source},
    }
    files: Files = {
        **chart(),
        "envs/prod/app.json": json.dumps(document),
        "envs/prod/v.yaml": json.dumps(values("v", "repository", "tag")),
    }

    _, edit = promoted(files)

    assert edit.state is State.UNSUPPORTED
    (refused,) = edit.refused
    assert refused.file == "envs/prod/v.yaml"
    assert "envs/prod/app.json" in refused.reason
    assert "write repository and version in one place" in refused.reason


def test_a_file_that_one_deployer_overrides_and_another_does_not_stays_a_place() -> None:
    entry = {"name": "app", "valuesFile": "v.yaml"}
    over = {**entry, "valuesInline": values("inline", "tag")}
    files: Files = {
        **chart(),
        "envs/prod/kustomization.yaml": json.dumps({"helmCharts": [entry, over]}),
        "envs/prod/v.yaml": json.dumps(values("v", "repository", "tag")),
    }

    _, edit = promoted(files)

    assert {(one.file, one.pointer) for one in edit.changes} == {
        ("envs/prod/v.yaml", "/image/tag"),
        ("envs/prod/kustomization.yaml", "/helmCharts/1/valuesInline/image/tag"),
    }


def test_an_overridden_layer_is_said_to_be_one() -> None:
    keys = {layer: ["repository", "tag"] for layer in ARGO}
    files = argo(keys, [])

    found = look(files)

    assert [location.place.path for location in found.locations] == ["envs/prod/app.json"]
    assert sorted(r.file for r in found.remarks if r.kind is RemarkKind.REPLACED) == [
        "envs/prod/charts/app/values.yaml",
        "envs/prod/first.yaml",
        "envs/prod/second.yaml",
    ]


LABELS = {
    "as it is": 'labels:\n    app: a\n    version: "{{ .Values.image.tag }}"\n',
    "in a named template": (
        '{{- define "app.labels" -}}\n{{- if true }}\na: b\n{{- end }}\n'
        "app.kubernetes.io/version: {{ .Values.image.tag | quote }}\n{{- end }}\n"
    ),
    "of a selector": "selector:\n  matchLabels:\n    v: {{ .Values.image.tag }}\n",
}
HARMLESS = {
    "shortened": 'labels:\n    version: "{{ .Values.image.tag | splitList "@" | first }}"\n',
    "an annotation": '  labels:\n    a: b\n  annotations:\n    v: "{{ .Values.image.tag }}"\n',
    "another value": "labels:\n    v: {{ .Values.other.tag }}\n",
}


@pytest.mark.parametrize(
    "template", [*LABELS.values(), *HARMLESS.values()], ids=[*LABELS, *HARMLESS]
)
def test_a_tag_that_becomes_a_label_takes_no_digest(template: str) -> None:
    files = argo({"first": ["repository", "tag"], "second": [], "object": []}, [])
    files[f"{CHART}/templates/more.yaml"] = template

    _, edit = promoted(files)

    if template in HARMLESS.values():
        assert edit.state is State.CHANGED
    else:
        assert edit.state is State.UNSUPPORTED
        assert "templates/more.yaml:" in edit.refused[0].reason
        assert "splitList" in edit.refused[0].reason


def test_values_that_a_generator_makes_for_a_release_are_values() -> None:
    generator = [{"name": "v", "files": ["values.yaml=prod.yaml", "other=x.yaml"]}]
    files: Files = {
        "envs/prod/kustomization.yaml": json.dumps({"configMapGenerator": generator}),
        "envs/prod/prod.yaml": json.dumps(values("a", "repository", "tag")),
    }

    _, edit = promoted(files)

    assert [(one.file, one.pointer) for one in edit.changes] == [
        ("envs/prod/prod.yaml", "/image/tag")
    ]


@pytest.mark.parametrize(
    ("repository", "state"),
    [(REPOSITORY, State.CHANGED), ("registry.dev.example.com/acme/payments", State.UNSUPPORTED)],
)
def test_a_default_outside_and_a_version_inside_are_one_place(
    repository: str, state: State
) -> None:
    """The chart lies elsewhere and says the repository; the environment sets the tag alone."""
    shared = "charts/app"
    source = {"path": shared, "helm": {"valueFiles": ["/envs/prod/v.yaml"]}}
    document = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application"}
    files: Files = {
        f"{shared}/Chart.yaml": "name: app\n",
        f"{shared}/values.yaml": json.dumps({"image": {"repository": repository, "tag": "v0"}}),
        "envs/prod/app.json": json.dumps({**document, "spec": {"source": source}}),
        "envs/prod/v.yaml": json.dumps(values("v", "tag")),
    }
    names = names_of(TWO)
    found = read_environment(Tree(files), PROD, replace(names, home={OURS: REPOSITORY}))

    edit = edit_of(found, lambda path: str(files[path]), {OURS: ImageField(REPOSITORY, "v9", NEW)})

    assert edit.state is state
    if state is State.CHANGED:
        assert [(c.file, c.pointer) for c in edit.changes] == [("envs/prod/v.yaml", "/image/tag")]
        assert not edit.skipped
    else:
        assert "envs/prod/v.yaml" in edit.refused[0].reason
        assert edit.refused[0].file == "charts/app/values.yaml"


@pytest.mark.parametrize("folder", ["envs/prod/app", "charts/app"])
@pytest.mark.parametrize("name", ["values-prod.yaml", "values.prod.yml", "prod-values.yaml"])
def test_values_of_an_environment_lie_over_those_beside_them(folder: str, name: str) -> None:
    files: Files = {
        f"{folder}/values.yaml": json.dumps(values("own", "repository", "tag")),
        f"{folder}/{name}": json.dumps(values("over", "tag")),
    }
    prod = replace(PROD, manifests=("envs/prod/**", f"charts/*/{name}"))
    found = read_environment(Tree(files), prod, names_of(PIPELINE, prod))

    edit = edit_of(found, lambda path: str(files[path]), {OURS: ImageField(REPOSITORY, "v9", NEW)})

    assert [(one.file, one.pointer) for one in edit.changes] == [(f"{folder}/{name}", "/image/tag")]
    assert {one.kind for one in edit.skipped} <= {RemarkKind.REPLACED}


def test_values_that_argo_cd_does_not_read_are_left_alone() -> None:
    files = argo({"first": [], "second": [], "object": ["repository", "tag"]}, [])
    document = json.loads(str(files["envs/prod/app.json"]))
    helm_values = document["spec"]["source"]["helm"]
    helm_values["values"] = json.dumps(values("text", "repository", "tag")) + "\n"
    files["envs/prod/app.json"] = json.dumps(document)

    _, edit = promoted(files)

    (change,) = edit.changes
    assert change.pointer == "/spec/source/helm/valuesObject/image/tag"


def test_a_layer_above_that_lies_elsewhere_is_refused_with_both_names() -> None:
    source = {"path": CHART, "helm": {"valueFiles": ["/envs/prod/v.yaml", "/shared/all.yaml"]}}
    document = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application"}
    files: Files = {
        **chart(),
        "envs/prod/app.json": json.dumps({**document, "spec": {"source": source}}),
        "envs/prod/v.yaml": json.dumps(values("v", "repository", "tag")),
        "shared/all.yaml": json.dumps(values("all", "tag")),
    }

    _, edit = promoted(files)

    assert edit.state is State.UNSUPPORTED
    assert edit.refused[0].file == "envs/prod/v.yaml"
    assert "shared/all.yaml" in edit.refused[0].reason
