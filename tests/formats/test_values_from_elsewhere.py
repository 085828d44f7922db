"""Helm values that something outside the values files overrides, as the real tools say."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from bot.formats.chart_reads import reads_of
from bot.formats.edits import Edit, State
from bot.formats.places import RemarkKind
from bot.formats.render_roots import roots_of
from tests.attacks.test_hidden_images import PROD, REPOSITORY, Files, Tree
from tests.formats.test_value_layers import TEMPLATE, WANTED, images, promoted, write
from tests.world.tools import run

HOST, _, SHORT = REPOSITORY.partition("/")
FULL = {"image": {"repository": REPOSITORY, "tag": "old"}}
DEPLOY = "https://github.com/acme/deploy"


def chart(folder: str, values: object = None, name: str = "app", template: str = TEMPLATE) -> Files:
    found: Files = {
        f"{folder}/Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n",
        f"{folder}/templates/pod.yaml": template,
    }
    return found if values is None else {**found, f"{folder}/values.yaml": json.dumps(values)}


def application(folder: str, name: str = "p", helm: object = None) -> str:
    source = {"repoURL": DEPLOY, "path": folder, "helm": helm or {}}
    document = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application"}
    return json.dumps({**document, "metadata": {"name": name}, "spec": {"source": source}})


def parameters(**values: str) -> dict[str, object]:
    return {"parameters": [{"name": n.replace("__", "."), "value": v} for n, v in values.items()]}


def changed(edit: Edit) -> list[tuple[str, str]]:
    return sorted((one.file, one.pointer) for one in edit.changes)


def template(files: Files, folder: Path, chart_folder: str, *arguments: str) -> list[str]:
    return images(
        run("helm", "template", "r", str(write(files, folder) / chart_folder), *arguments)
    )


# --- what Argo CD merges into a source ---

APP = "envs/prod/app"


@pytest.mark.parametrize("name", [".argocd-source-p.yaml", ".argocd-source.yaml"])
@pytest.mark.parametrize("deployed", [True, False])
def test_what_argo_cd_merges_into_a_source_lies_over_the_values(
    tmp_path: Path, name: str, *, deployed: bool
) -> None:
    override = {"helm": parameters(image__tag="merged")}
    files: Files = {**chart(APP, FULL), f"{APP}/{name}": json.dumps(override)}
    files[f"{APP}/values-prod.yaml"] = json.dumps({"image": {"tag": "v1"}})
    if deployed:
        helm = {"valueFiles": ["values-prod.yaml"]}
        files["envs/prod/argo.json"] = application(APP, helm=helm)

    after, edit = promoted(files)

    # Where nobody here deploys the chart, another application may have no such file.
    others = [(f"{APP}/values-prod.yaml", "/image/tag")]
    is_everybody_s = deployed or name == ".argocd-source.yaml"
    place = (f"{APP}/{name}", "/helm/parameters/0/value")
    assert changed(edit) == [place, *([] if is_everybody_s else others)]
    assert any(one.kind is RemarkKind.MARKER for one in edit.warnings)
    said = json.loads(str(after[f"{APP}/{name}"]))["helm"]["parameters"][0]["value"]
    given = (f"--values={tmp_path}/{APP}/values-prod.yaml", f"--set=image.tag={said}")
    assert template(after, tmp_path, APP, *given)[0] == WANTED


def test_a_merge_replaces_lists_as_a_whole() -> None:
    """The application's own parameters and values files count no longer."""
    files: Files = {
        **chart(APP, FULL),
        "envs/prod/argo.json": application(
            APP, helm={"valueFiles": ["values-a.yaml"], **parameters(image__tag="theirs")}
        ),
        f"{APP}/values-a.yaml": json.dumps({"image": {"tag": "a"}}),
        f"{APP}/values-b.yaml": json.dumps({"image": {"tag": "b"}}),
        f"{APP}/.argocd-source-p.yaml": json.dumps(
            {"helm": {"valueFiles": ["values-b.yaml"], "parameters": [{"name": "a", "value": "b"}]}}
        ),
    }

    _, edit = promoted(files)

    assert changed(edit) == [(f"{APP}/values-b.yaml", "/image/tag")]


def test_what_another_application_has_of_its_own_is_not_over_the_values() -> None:
    files: Files = {
        **chart(APP, FULL),
        "envs/prod/argo.json": application(APP, name="q"),
        f"{APP}/.argocd-source-p.yaml": json.dumps({"helm": parameters(image__tag="merged")}),
    }

    _, edit = promoted(files)

    assert changed(edit) == [(f"{APP}/values.yaml", "/image/tag")]


def test_a_merge_that_lies_outside_the_globs_is_refused_with_both_names() -> None:
    files: Files = {
        **chart("charts/app"),
        "envs/prod/v.yaml": json.dumps(FULL),
        "envs/prod/argo.json": application(
            "charts/app", helm={"valueFiles": ["/envs/prod/v.yaml"]}
        ),
        "charts/app/.argocd-source.yaml": json.dumps({"helm": parameters(image__tag="merged")}),
    }

    _, edit = promoted(files)

    assert edit.state is State.UNSUPPORTED
    assert edit.refused[0].file == "envs/prod/v.yaml"
    assert "charts/app/.argocd-source.yaml" in edit.refused[0].reason


@pytest.mark.parametrize("deployed", [True, False])
def test_a_root_is_rendered_with_what_argo_cd_merges_into_it(*, deployed: bool) -> None:
    files: Files = {
        **chart(APP, FULL),
        f"{APP}/.argocd-source-p.yaml": json.dumps({"helm": parameters(image__tag="merged")}),
    }
    if deployed:
        files["envs/prod/argo.json"] = application(APP, helm=parameters(image__tag="theirs"))

    found = roots_of(Tree(files), PROD, "acme/deploy")

    given = [[(one.name, one.value) for one in root.parameters] for root in found]
    assert given == ([[("image.tag", "merged")]] if deployed else [[], [("image.tag", "merged")]])


@pytest.mark.parametrize("deployed", [True, False])
def test_a_kustomization_is_rendered_with_the_images_merged_into_its_source(
    *, deployed: bool
) -> None:
    merged = {"kustomize": {"images": [f"{REPOSITORY}:v7"]}}
    files: Files = {
        f"{APP}/kustomization.yaml": "resources: [pod.yaml]\n",
        f"{APP}/pod.yaml": f"kind: Pod\nspec: {{containers: [{{image: '{REPOSITORY}:v1'}}]}}\n",
        f"{APP}/.argocd-source-p.yaml": json.dumps(merged),
    }
    if deployed:
        files["envs/prod/argo.json"] = application(APP)

    found = roots_of(Tree(files), PROD, "acme/deploy")

    assert ["v7" in root.overlay for root in found][-1]


# --- charts below a chart ---


@pytest.mark.parametrize("alias", ["", "pay"])
@pytest.mark.parametrize("setting", [True, False])
def test_a_chart_s_values_lie_over_those_of_the_charts_below_it(
    tmp_path: Path, alias: str, *, setting: bool
) -> None:
    called = alias or "payments"
    dependency = {"name": "payments", "version": "1.0.0"} | ({"alias": alias} if alias else {})
    own = {called: {"image": {"tag": "above"}}} if setting else {}
    files: Files = {
        **chart("envs/prod/u", own, name="u", template="kind: None\n"),
        **chart("envs/prod/u/charts/payments", FULL, name="payments"),
    }
    files["envs/prod/u/Chart.yaml"] = json.dumps(
        {"apiVersion": "v2", "name": "u", "version": "1.0.0", "dependencies": [dependency]}
    )
    del files["envs/prod/u/templates/pod.yaml"]

    after, edit = promoted(files)

    above = ("envs/prod/u/values.yaml", f"/{called}/image/tag")
    below = ("envs/prod/u/charts/payments/values.yaml", "/image/tag")
    assert changed(edit) == [above if setting else below]
    assert template(after, tmp_path, "envs/prod/u")[0] == WANTED


def test_of_charts_below_a_deployed_chart_its_parameters_decide() -> None:
    files: Files = {
        **chart("envs/prod/u", {}, name="u"),
        **chart("envs/prod/u/charts/payments", FULL, name="payments"),
        "envs/prod/argo.json": application(
            "envs/prod/u", helm=parameters(payments__image__tag="x")
        ),
    }

    _, edit = promoted(files)

    assert changed(edit) == [("envs/prod/argo.json", "/spec/source/helm/parameters/0/value")]


# --- what kustomizations patch of a HelmRelease ---

RELEASE = {
    "apiVersion": "helm.toolkit.fluxcd.io/v2",
    "kind": "HelmRelease",
    "metadata": {"name": "p", "namespace": "d"},
    "spec": {
        "chart": {"spec": {"chart": "p", "sourceRef": {"kind": "HelmRepository", "name": "x"}}},
        "values": FULL,
    },
}
MERGED = {
    **{key: RELEASE[key] for key in ("apiVersion", "kind", "metadata")},
    "spec": {"values": {"image": {"tag": "patched"}}},
}
OPERATION = [{"op": "replace", "path": "/spec/values/image/tag", "value": "patched"}]
FOR_RELEASES = {"kind": "HelmRelease", "name": "p"}


def patched(kustomization: object, **patches: object) -> Files:
    """A base that no glob has to name, and the environment's kustomization over it."""
    return {
        "envs/prod/base/release.json": json.dumps(RELEASE),
        "envs/prod/base/kustomization.yaml": "resources: [release.json]\n",
        "envs/prod/o/kustomization.yaml": json.dumps({"resources": ["../base"]} | kustomization),  # type: ignore[operator]  # a mapping
        **{f"envs/prod/o/{name}.yaml": json.dumps(one) for name, one in patches.items()},
    }


def built(files: Files, folder: Path) -> str:
    return run("kustomize", "build", str(write(files, folder) / "envs/prod/o"))


@pytest.mark.parametrize(
    ("kustomization", "patch", "pointer"),
    [
        ({"patches": [{"path": "a.yaml"}]}, MERGED, "/spec/values/image/tag"),
        ({"patchesStrategicMerge": ["a.yaml"]}, MERGED, "/spec/values/image/tag"),
        ({"patches": [{"path": "a.yaml", "target": FOR_RELEASES}]}, OPERATION, "/0/value"),
        (
            {"patches": [{"path": "a.yaml", "target": {"kind": "HelmRelease"}}]},
            OPERATION,
            "/0/value",
        ),
        (
            {
                "patchesJson6902": [
                    {
                        "path": "a.yaml",
                        "target": {
                            **FOR_RELEASES,
                            "group": "helm.toolkit.fluxcd.io",
                            "version": "v2",
                        },
                    }
                ]
            },
            OPERATION,
            "/0/value",
        ),
    ],
    ids=["patches", "strategic merge", "json patch", "any name", "json6902"],
)
def test_a_patch_in_a_file_is_the_place_of_a_release_s_version(
    tmp_path: Path, kustomization: object, patch: object, pointer: str
) -> None:
    files = patched(kustomization, a=patch)
    assert "tag: patched" in built(files, tmp_path)

    after, edit = promoted(files)

    assert changed(edit) == [("envs/prod/o/a.yaml", pointer)]
    assert f"tag: v9@{WANTED.partition('@')[2]}" in built(after, tmp_path)


@pytest.mark.parametrize(
    ("kustomization", "patch"),
    [
        ({"patches": [{"patch": json.dumps(MERGED)}]}, None),
        ({"patches": [{"patch": json.dumps(OPERATION), "target": FOR_RELEASES}]}, None),
        ({"patchesStrategicMerge": [json.dumps(MERGED)]}, None),
        (
            {"patches": [{"path": "a.yaml", "target": FOR_RELEASES}]},
            [{"op": "remove", "path": "/spec/values/image/tag"}],
        ),
        (
            {"patches": [{"path": "a.yaml", "target": FOR_RELEASES}]},
            [{"op": "replace", "path": "/spec/values", "value": {"image": {"tag": "v2"}}}],
        ),
        (
            {"patches": [{"path": "a.yaml", "target": {"labelSelector": "a=b"}}]},
            OPERATION,
        ),
        ({"patches": [{"path": "a.yaml", "target": {"name": "p|q"}}]}, OPERATION),
    ],
    ids=["inline", "inline json", "inline merge", "remove", "whole", "selector", "pattern"],
)
def test_a_patch_that_cannot_be_edited_or_told_is_refused_with_both_names(
    kustomization: object, patch: object
) -> None:
    _, edit = promoted(patched(kustomization, **({"a": patch} if patch else {})))

    assert edit.state is State.UNSUPPORTED
    assert not edit.changes
    refused = next(one for one in edit.refused if one.file == "envs/prod/base/release.json")
    assert "envs/prod/o/" in refused.reason
    assert "write repository and version in one place" in refused.reason


@pytest.mark.parametrize(
    "patch",
    [
        {**MERGED, "metadata": {"name": "q"}},
        {**MERGED, "kind": "Other"},
        {**MERGED, "spec": {"values": {"replicas": 2}}},
    ],
    ids=["another name", "another kind", "another value"],
)
def test_a_patch_of_something_else_leaves_the_release_s_values_the_place(patch: object) -> None:
    _, edit = promoted(patched({"patches": [{"path": "a.yaml"}]}, a=patch))

    assert changed(edit) == [("envs/prod/base/release.json", "/spec/values/image/tag")]


def test_a_base_outside_the_globs_gets_its_version_from_the_patch_inside() -> None:
    """The layout of Flux's own example."""
    files: Files = {
        "apps/base/release.json": json.dumps(RELEASE),
        "apps/base/kustomization.yaml": "resources: [release.json]\n",
        "envs/prod/o/kustomization.yaml": "resources: [../../../apps/base]\n"
        "patches: [{path: a.yaml, target: {kind: HelmRelease}}]\n",
        "envs/prod/o/a.yaml": json.dumps(MERGED),
    }
    _, edit = promoted(files)

    assert changed(edit) == [("envs/prod/o/a.yaml", "/spec/values/image/tag")]
    assert not edit.skipped


def test_patches_of_a_component_and_of_a_kustomization_between_are_layers(tmp_path: Path) -> None:
    """The outermost decides; a component's patches lie below those of its user."""
    files = patched({"components": ["../c"]})
    component = {"kind": "Component", "patches": [{"path": "a.yaml"}]}
    files["envs/prod/c/kustomization.yaml"] = json.dumps(component)
    files["envs/prod/c/a.yaml"] = json.dumps(MERGED)

    after, edit = promoted(files)

    assert changed(edit) == [("envs/prod/c/a.yaml", "/spec/values/image/tag")]
    assert "tag: v9@" in built(after, tmp_path)
    files["envs/prod/o/kustomization.yaml"] = json.dumps(
        {"resources": ["../base"], "components": ["../c"], "patches": [{"path": "b.yaml"}]}
    )
    files["envs/prod/o/b.yaml"] = json.dumps(MERGED)

    after, edit = promoted(files)

    assert changed(edit) == [("envs/prod/o/b.yaml", "/spec/values/image/tag")]
    assert "tag: v9@" in built(after, tmp_path)


def test_of_two_ways_only_one_of_which_patches_both_are_edited() -> None:
    files = patched({"patches": [{"path": "a.yaml"}]}, a=MERGED)
    files["envs/prod/plain/kustomization.yaml"] = "resources: [../base]\n"

    _, edit = promoted(files)

    assert changed(edit) == [
        ("envs/prod/base/release.json", "/spec/values/image/tag"),
        ("envs/prod/o/a.yaml", "/spec/values/image/tag"),
    ]


@pytest.mark.parametrize("has_kustomization", [True, False])
def test_a_patch_of_flux_s_kustomization_is_refused_with_both_names(
    *, has_kustomization: bool
) -> None:
    spec = {"path": "./envs/prod/base", "patches": [{"patch": json.dumps(MERGED)}]}
    document = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization"}
    files: Files = {
        "envs/prod/base/release.json": json.dumps(RELEASE),
        "envs/prod/flux.json": json.dumps({**document, "spec": spec}),
    }
    if has_kustomization:
        files["envs/prod/base/kustomization.yaml"] = "resources: [release.json]\n"

    _, edit = promoted(files)

    assert edit.state is State.UNSUPPORTED
    assert "envs/prod/flux.json" in edit.refused[0].reason


# --- keys that no template reads ---

LINE = 'image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}%s"'
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    "
UNREAD = {
    "not named": "",
    "in a comment": '{{/* "digest" */}}',
    "in a comment of YAML": "\n    # {{ .Values.image.digest }}",
    "of another image": "{{ .Values.sidecar.digest }}",
}
READ = {
    "by its path": "{{ with .Values.image.digest }}@{{ . }}{{ end }}",
    "by its last step": "{{ with .Values.image }}{{ if .digest }}@{{ .digest }}{{ end }}{{ end }}",
    "by index": '{{ with index .Values "image" "digest" }}@{{ . }}{{ end }}',
}


@pytest.mark.parametrize("line", UNREAD.values(), ids=UNREAD)
@pytest.mark.parametrize("key", ["digest", "sha"])
def test_a_digest_that_no_template_reads_is_not_written(
    tmp_path: Path, line: str, key: str
) -> None:
    values = {"image": {**FULL["image"], key: ""}, "sidecar": {"digest": ""}}
    files = chart(APP, values, template=POD + LINE % "" + line)

    after, edit = promoted(files)

    assert changed(edit) == [(f"{APP}/values.yaml", "/image/tag")]
    assert template(after, tmp_path, APP) == [WANTED]
    assert promoted(after)[1].state is State.ALREADY


@pytest.mark.parametrize("line", READ.values(), ids=READ)
def test_a_digest_that_a_template_reads_is_written(tmp_path: Path, line: str) -> None:
    files = chart(APP, {"image": {**FULL["image"], "digest": ""}}, template=POD + LINE % line)

    after, edit = promoted(files)

    assert (f"{APP}/values.yaml", "/image/digest") in changed(edit)
    assert template(after, tmp_path, APP) == [WANTED]


@pytest.mark.parametrize(
    "image", [{"tag": "", "digest": ""}, {"tag": "old", "digest": f"sha256:{'3' * 64}"}]
)
def test_an_unread_digest_that_says_something_or_has_no_tag_is_refused(
    image: dict[str, str],
) -> None:
    values = {"image": {"repository": REPOSITORY, **image}}

    _, edit = promoted(chart(APP, values, template=POD + LINE % ""))

    assert edit.state is State.UNSUPPORTED
    assert "no template of envs/prod/app reads image" in edit.refused[0].reason


@pytest.mark.parametrize("file", ["charts/lib-1.0.0.tgz", "Chart.yaml"])
def test_where_templates_are_not_here_a_digest_may_be_read(file: str) -> None:
    files = chart(APP, {"image": {**FULL["image"], "digest": ""}}, template=POD + LINE % "")
    text = str(files[f"{APP}/Chart.yaml"]) + "dependencies: [{name: lib, version: 1.0.0}]\n"
    files[f"{APP}/{file}"] = text if file == "Chart.yaml" else "packed"

    _, edit = promoted(files)

    assert (f"{APP}/values.yaml", "/image/digest") in changed(edit)


def test_an_unread_digest_in_a_layer_above_is_not_written_either(tmp_path: Path) -> None:
    files = chart(APP, FULL, template=POD + LINE % "")
    over = {"image": {"tag": "over", "digest": ""}}
    files[f"{APP}/values-prod.yaml"] = json.dumps(over)

    after, edit = promoted(files)

    assert changed(edit) == [(f"{APP}/values-prod.yaml", "/image/tag")]
    given = f"--values={tmp_path}/{APP}/values-prod.yaml"
    assert template(after, tmp_path, APP, given) == [WANTED]


# --- a registry and a repository in different layers ---

SPLIT = "{{ .Values.image.registry }}/{{ .Values.image.repository }}:{{ .Values.image.tag }}"
GLOBAL = "{{ .Values.global.imageRegistry }}/{{ .Values.image.repository }}:{{ .Values.image.tag }}"


def split(line: str, own: object, over: object, **helm: object) -> Files:
    return {
        **chart(APP, own, template=f'{POD}image: "{line}"\n'),
        f"{APP}/values-a.yaml": json.dumps(over),
        "envs/prod/argo.json": application(APP, helm={"valueFiles": ["values-a.yaml"], **helm}),
    }


@pytest.mark.parametrize(
    ("line", "own", "over"),
    [
        (
            SPLIT,
            {"image": {"registry": HOST, "repository": "x/y", "tag": "v0"}},
            {"image": {"repository": SHORT, "tag": "v1"}},
        ),
        (
            SPLIT,
            {"image": {"registry": "x.example", "repository": SHORT, "tag": "v0"}},
            {"image": {"registry": HOST, "tag": "v1"}},
        ),
        (
            GLOBAL,
            {"global": {"imageRegistry": HOST}, "image": {"repository": SHORT, "tag": "v0"}},
            {"image": {"repository": SHORT, "tag": "v1"}},
        ),
    ],
    ids=["registry below", "registry above", "global"],
)
def test_a_registry_and_a_repository_of_different_layers_are_one_image(
    tmp_path: Path, line: str, own: object, over: object
) -> None:
    files = split(line, own, over)

    after, edit = promoted(files)

    assert changed(edit) == [(f"{APP}/values-a.yaml", "/image/tag")]
    given = f"--values={tmp_path}/{APP}/values-a.yaml"
    assert template(after, tmp_path, APP, given) == [WANTED]


def test_a_registry_in_a_parameter_joins_the_repository_of_the_values() -> None:
    over = {"image": {"repository": SHORT, "tag": "v1"}}

    _, edit = promoted(split(SPLIT, {}, over, **parameters(image__registry=HOST)))

    assert changed(edit) == [(f"{APP}/values-a.yaml", "/image/tag")]


@pytest.mark.parametrize(
    "over",
    [
        {"image": {"repository": SHORT}},
        {"image": {"repository": SHORT, "sha": "0" * 64}},
        {"image": {"image": f"{SHORT}:v1"}},
    ],
    ids=["no tag", "hex digits", "one string"],
)
def test_parts_of_an_image_that_make_no_place_are_refused(over: object) -> None:
    line = SPLIT + "{{ .Values.image.image }}{{ .Values.image.sha }}"
    files = split(line, {"image": {"registry": HOST}}, over)

    _, edit = promoted(files)

    assert edit.state is State.UNSUPPORTED
    assert not edit.changes
    assert edit.refused[0].file == f"{APP}/values-a.yaml"
    assert f"{APP}/values.yaml puts a registry before it" in edit.refused[0].reason


def test_a_registry_above_that_makes_another_image_of_a_place_refuses_it() -> None:
    own = {"image": {"registry": HOST, "repository": SHORT, "tag": "v0"}}

    _, edit = promoted(split(SPLIT, own, {"image": {"registry": "quay.io"}}))

    assert edit.state is State.UNSUPPORTED
    assert not edit.changes
    assert "quay.io/acme/payments" in edit.refused[0].reason


def test_a_registry_that_no_template_reads_changes_nothing() -> None:
    files = split(LINE.partition('"')[2].rstrip('"') % "", {}, FULL)
    files[f"{APP}/values.yaml"] = json.dumps({"global": {"imageRegistry": "quay.io"}})

    _, edit = promoted(files)

    assert changed(edit) == [(f"{APP}/values-a.yaml", "/image/tag")]


def test_images_of_others_in_two_layers_are_nobody_s() -> None:
    own = {"image": {"registry": HOST}}

    _, edit = promoted(split(SPLIT, own, {"image": {"repository": "acme/other", "tag": "v1"}}))

    assert edit.state is State.NOT_HERE
    assert not edit.refused


# --- values that a HelmRelease takes from objects ---

GENERATED = {"configMapGenerator": [{"name": "v", "files": ["values.yaml=v.yaml"]}]}


def taking(values: object) -> Files:
    spec = {**RELEASE["spec"], "values": values, "valuesFrom": [{"kind": "ConfigMap", "name": "v"}]}  # type: ignore[dict-item]  # a mapping
    return {
        "envs/prod/release.json": json.dumps({**RELEASE, "spec": spec}),
        "envs/prod/kustomization.yaml": json.dumps({"resources": ["release.json"], **GENERATED}),
        "envs/prod/v.yaml": f"image:\n  repository: {REPOSITORY}\n  tag: old\n",
    }


def test_a_release_s_own_values_lie_over_those_that_it_takes() -> None:
    _, over = promoted(taking({"image": {"tag": "over"}}))
    _, below = promoted(taking({"left": "a"}))

    assert changed(over) == [("envs/prod/release.json", "/spec/values/image/tag")]
    assert changed(below) == [("envs/prod/v.yaml", "/image/tag")]


# --- patches of other objects whose images stand in several scalars ---

PARAMETERS = [
    {"name": "image.repository", "value": REPOSITORY},
    {"name": "image.tag", "value": "v"},
]
APPLICATIONS = {
    "parameters": {"parameters": PARAMETERS},
    "valuesObject": {"valuesObject": FULL},
    "values": {"values": f"image: {{repository: {REPOSITORY}, tag: old}}"},
}
PATCHES: dict[str, dict[str, object]] = {
    "parameters": {"parameters": [PARAMETERS[0], {"name": "image.tag", "value": "x"}]},
    "valuesObject": {"valuesObject": {"image": {"tag": "x"}}},
    "values": {"values": "image: {tag: x}\n"},
}


@pytest.mark.parametrize("what", APPLICATIONS)
@pytest.mark.parametrize("is_other", [True, False])
def test_a_patched_application_is_refused_with_the_patch(what: str, *, is_other: bool) -> None:
    source = {"repoURL": "https://charts.example", "chart": "p", "helm": APPLICATIONS[what]}
    document = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application"}
    patch = {
        **document,
        "metadata": {"name": "q" if is_other else "p"},
        "spec": {"source": {"helm": PATCHES[what]}},
    }
    files: Files = {
        "envs/prod/base/app.json": json.dumps(
            {**document, "metadata": {"name": "p"}, "spec": {"source": source}}
        ),
        "envs/prod/base/kustomization.yaml": "resources: [app.json]\n",
        "envs/prod/kustomization.yaml": "resources: [base]\npatches: [{path: a.yaml}]\n",
        "envs/prod/a.yaml": json.dumps(patch),
    }

    _, edit = promoted(files)

    assert edit.state is (State.CHANGED if is_other else State.UNSUPPORTED)
    if not is_other:
        refused = [one for one in edit.refused if one.file == "envs/prod/base/app.json"]
        assert refused
        assert "envs/prod/a.yaml patches it" in refused[0].reason


def test_comments_that_never_end_cost_one_look() -> None:
    started = time.process_time()

    reads_of([("templates/a.yaml", "{{/*" * 100_000)])

    assert time.process_time() - started < 2  # seconds; it took minutes
