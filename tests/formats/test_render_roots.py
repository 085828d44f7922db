from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bot.domain.rendering import Parameter, RenderRoot, RenderTool, Values
from bot.formats.image_names import names_of
from bot.formats.render_roots import roots_of
from bot.formats.rendered_images import images_in, label_faults
from tests.attacks.test_hidden_images import PIPELINE, PROD, REPOSITORY, Files, Tree

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"
CHART = {"charts/app/Chart.yaml": "name: app\n", "charts/app/templates/pod.yaml": POD}
DIGEST = "sha256:" + "1" * 64
IMAGE = f"api={REPOSITORY}:evil"
ENTRY = {"name": "api", "newName": REPOSITORY, "newTag": "evil"}


def roots(files: Files) -> dict[str, RenderRoot]:
    others = [replace(PROD, name="dev", manifests=("envs/dev/**",))]
    return {one.name: one for one in roots_of(Tree(files), PROD, "acme/deploy", others)}


def application(source: dict[str, object], **spec: object) -> Files:
    own = {"repoURL": "https://github.com/acme/deploy.git", **source}
    document = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "shop"},
        "spec": {"source": own, "destination": {"namespace": "shop"}, **spec},
    }
    return {"envs/prod/app.json": json.dumps(document)}


def release(spec: dict[str, object]) -> Files:
    document = {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": "shop", "namespace": "shop"},
        "spec": spec,
    }
    return {"envs/prod/release.json": json.dumps(document)}


def flux(spec: dict[str, object]) -> Files:
    document = {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "shop"},
        "spec": spec,
    }
    return {"envs/prod/flux.json": json.dumps(document)}


def test_a_kustomization_that_another_one_refers_to_is_no_root() -> None:
    found = roots(
        {
            "envs/prod/kustomization.yaml": "resources: [a, ../../base]\ncomponents: [c]\n",
            "envs/prod/a/kustomization.yaml": "resources: [pod.yaml]\n",
            "envs/prod/a/pod.yaml": POD,
            "envs/prod/c/kustomization.yaml": "kind: Component\n",
            "envs/prod/b/Kustomization": "namePrefix: b\n",
            "base/kustomization.yml": "resources: [x]\n",
            "base/x": POD,
            "base/other": POD,
        }
    )

    assert list(found) == ["envs/prod", "envs/prod/b"]
    assert found["envs/prod"].files == (
        "base/kustomization.yml",
        "base/x",
        "envs/prod/a/kustomization.yaml",
        "envs/prod/a/pod.yaml",
        "envs/prod/c/kustomization.yaml",
        "envs/prod/kustomization.yaml",
    )


def test_two_that_refer_to_each_other_are_looked_at_all_the_same() -> None:
    found = roots(
        {
            "envs/prod/a/kustomization.yaml": "resources: [../b]\n",
            "envs/prod/b/kustomization.yaml": "resources: [../a]\n",
        }
    )

    assert list(found) == ["envs/prod/a"]


def test_what_generators_transformers_and_charts_need_belongs_to_a_root() -> None:
    found = roots(
        {
            "envs/prod/kustomization.yaml": (
                "configMapGenerator: [{name: c, files: [k=data.txt], envs: [e.env]}]\n"
                "transformers: [t.yaml]\nhelmCharts: [{name: app, valuesFile: v.yaml}]\n"
                "openapi: {path: schema.json}\n"
            ),
            "envs/prod/t.yaml": "kind: PatchTransformer\npath: patch.yaml\n",
            **{f"envs/prod/{name}": "" for name in ("data.txt", "e.env", "patch.yaml", "v.yaml")},
            "envs/prod/schema.json": "{}",
            "envs/prod/charts/app/Chart.yaml": "name: app\n",
            "envs/prod/charts/app/files/x": "",
            "envs/prod/unused.txt": "",
        }
    )

    (root,) = found.values()
    assert root.has_charts
    assert {path.removeprefix("envs/prod/") for path in root.files} == {
        *("charts/app/Chart.yaml", "charts/app/files/x", "data.txt", "e.env"),
        *("kustomization.yaml", "patch.yaml", "schema.json", "t.yaml", "v.yaml"),
    }


def test_links_on_the_way_come_along_and_lead_nowhere_else() -> None:
    found = roots(
        {
            "envs/prod/kustomization.yaml": "resources: [base, out]\n",
            "envs/prod/base": ("../../elsewhere",),
            "envs/prod/out": ("../../../../etc/passwd",),
            "elsewhere/kustomization.yaml": "resources: [pod.yaml]\n",
            "elsewhere/pod.yaml": POD,
        }
    )

    assert found["envs/prod"].files == (
        "elsewhere/kustomization.yaml",
        "elsewhere/pod.yaml",
        "envs/prod/base",
        "envs/prod/kustomization.yaml",
    )


def test_argo_cd_s_values_come_in_its_order() -> None:
    helm = {
        "valueFiles": ["values-prod.yaml", "/envs/prod/more.yaml"],
        "values": "ignored: true\n",
        "valuesObject": {"a": 1},
        "parameters": [{"name": "tag", "value": "12", "forceString": True}],
        "releaseName": "front",
    }
    files = {**CHART, "charts/app/values-prod.yaml": "", "envs/prod/more.yaml": ""}

    found = roots({**files, **application({"path": "charts/app", "helm": helm})})

    root = found["Application shop in envs/prod/app.json"]
    assert (root.renderer, root.folder, root.obstacle) == (RenderTool.HELM, "charts/app", "")
    assert root.values == (
        Values("charts/app/values-prod.yaml"),
        Values("envs/prod/more.yaml"),
        Values(text='{"a": 1}'),
    )
    assert root.parameters == (Parameter("tag", "12", is_text=True),)
    assert (root.release, root.namespace) == ("front", "shop")
    assert "envs/prod/more.yaml" in root.files


def test_what_flux_deploys_is_a_root_with_its_values() -> None:
    chart = {
        "chart": "./charts/app",
        "sourceRef": {"kind": "GitRepository", "name": "deploy"},
        "valuesFile": "envs/prod/first.yaml",
        "valuesFiles": ["envs/prod/v.yaml"],
    }
    spec = {"chart": {"spec": chart}, "values": {"a": 1}}
    files = {"envs/prod/first.yaml": "", "envs/prod/v.yaml": ""}

    found = roots({**CHART, **files, **release(spec)})

    root = found["HelmRelease shop in envs/prod/release.json"]
    assert root.values == (
        Values("envs/prod/first.yaml"),
        Values("envs/prod/v.yaml"),
        Values(text='{"a": 1}'),
    )
    assert (root.obstacle, root.namespace) == ("", "shop")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (
            application({"chart": "redis", "repoURL": "https://charts.example.com"}),
            "redis is remote",
        ),
        (
            application({"path": "x", "repoURL": "https://github.com/acme/other"}),
            "https://github.com/acme/other is another repository",
        ),
        (application({"path": "apps/{{ .name }}"}), "an ApplicationSet fills in its path"),
        (
            application({"path": "charts/app", "helm": {"valueFiles": ["absent.yaml"]}}),
            "charts/app/absent.yaml is not there",
        ),
        (
            release(
                {"chart": {"spec": {"chart": "redis", "sourceRef": {"kind": "HelmRepository"}}}}
            ),
            "redis is remote",
        ),
        (
            release(
                {
                    "chart": {
                        "spec": {"chart": "charts/app", "sourceRef": {"kind": "GitRepository"}}
                    },
                    "valuesFrom": [{"kind": "ConfigMap", "name": "c"}],
                }
            ),
            "valuesFrom stand in the cluster",
        ),
    ],
)
def test_what_the_repository_does_not_show_is_an_obstacle(files: Files, reason: str) -> None:
    (root,) = roots({**CHART, **files}).values()

    assert reason in root.obstacle


def test_what_a_deployer_adds_is_written_into_a_kustomization() -> None:
    base = {"envs/prod/app/kustomization.yaml": "namePrefix: a\n"}
    kustomize = {"images": [f"api={REPOSITORY}:v1@{DIGEST}"]}

    found = roots({**base, **application({"path": "envs/prod/app", "kustomize": kustomize})})

    (root,) = found.values()
    assert json.loads(root.overlay) == {
        "namePrefix": "a",
        "images": [{"name": "api", "newName": REPOSITORY, "newTag": "v1", "digest": DIGEST}],
    }


@pytest.mark.parametrize(
    ("deployer", "order"),
    [
        (application({"path": "envs/prod/app", "kustomize": {"images": [IMAGE]}}), ["a", "api"]),
        (flux({"path": "envs/prod/app", "images": [ENTRY]}), ["api", "a"]),
    ],
    ids=["argo-by-name", "flux-where-it-stood"],
)
def test_an_image_of_a_deployer_takes_the_place_of_one_with_its_name(
    deployer: Files, order: list[str]
) -> None:
    """Around the other one it would change nothing; and one entry may name what another made."""
    images = f"images: [{{name: api, newName: {REPOSITORY}, digest: '{DIGEST}'}}, {{name: a}}]\n"
    base = {"envs/prod/app/kustomization.yaml": images}

    (root,) = roots({**base, **deployer}).values()

    expected = {"api": ENTRY, "a": {"name": "a"}}
    assert json.loads(root.overlay)["images"] == [expected[name] for name in order]


ADDED = {
    "patches": [{"path": "more.yaml"}],
    "components": ["../c"],
}
ADDED_FILES: Files = {
    "envs/prod/k/kustomization.yaml": "resources: [d.yaml]\npatches: [{path: first.yaml}]\n",
    "envs/prod/k/d.yaml": POD,
    "envs/prod/k/first.yaml": POD,
    "envs/prod/k/more.yaml": POD,
    "envs/prod/c/kustomization.yaml": "kind: Component\n",
}


@pytest.mark.parametrize(
    "deployer",
    [
        application({"path": "envs/prod/k", "kustomize": ADDED}),
        flux({"path": "./envs/prod/k", **ADDED}),
    ],
    ids=["argo", "flux"],
)
def test_patches_and_components_of_a_deployer_are_rendered_with_its_kustomization(
    deployer: Files,
) -> None:
    (root,) = roots({**ADDED_FILES, **deployer}).values()

    assert root.obstacle == ""
    assert json.loads(root.overlay) == {
        "resources": ["d.yaml"],
        "patches": [{"path": "first.yaml"}, {"path": "more.yaml"}],
        "components": ["../c"],
    }
    assert set(root.files) == set(ADDED_FILES)


@pytest.mark.parametrize(
    ("deployer", "reason"),
    [
        (application({"path": "envs/prod/k", "kustomize": {"x": 1}}), "kustomize.x is not"),
        (
            application({"path": "envs/prod/k", "kustomize": {"images": ["a=*:v2"]}}),
            "images with an asterisk",
        ),
        (application({"path": "envs/prod/k", "plugin": {"name": "p"}}), "a plugin of Argo CD"),
        (application({}, sourceHydrator={"drySource": {}}), "Argo CD hydrates its source"),
        (application({"path": "absent"}), "absent is not in this repository"),
        (flux({"path": "./absent"}), "absent is not in this repository"),
        (flux({"path": "./envs/prod/k", "patchesJson6902": [{"a": 1}]}), "patchesJson6902"),
        (
            flux({"path": "./envs/prod/k", "sourceRef": {"kind": "OCIRepository"}}),
            "of the kind OCIRepository",
        ),
        (
            flux({"path": "./envs/prod/v", "postBuild": {"substitute": {"tag": "evil"}}}),
            "its postBuild fills in variables",
        ),
        (application({"path": "plain", "directory": {"exclude": "x"}}), "include or exclude"),
        (application({"path": "jsonnet"}), "jsonnet makes its objects"),
    ],
)
def test_what_a_deployer_adds_and_cannot_be_added_here_is_an_obstacle(
    deployer: Files, reason: str
) -> None:
    files: Files = {
        **ADDED_FILES,
        "envs/prod/v/kustomization.yaml": "resources: [d.yaml]\n",
        "envs/prod/v/d.yaml": POD + "spec: {image: 'a:${tag}'}\n",
        "plain/a.yaml": POD,
        "jsonnet/a.yaml": POD,
        "jsonnet/a.jsonnet": "{}",
    }

    found = roots({**files, **deployer})

    assert [one for one in found.values() if reason in one.obstacle], found


def test_a_build_without_variables_is_rendered_whatever_fills_them_in() -> None:
    found = roots({**ADDED_FILES, **flux({"path": "envs/prod/k", "postBuild": {"substitute": {}}})})

    assert [one.obstacle for one in found.values()] == [""]


def test_a_post_renderer_behind_a_chart_is_an_obstacle() -> None:
    chart = {"chart": "charts/app", "sourceRef": {"kind": "GitRepository"}}
    spec: dict[str, object] = {"chart": {"spec": chart}, "postRenderers": [{"kustomize": {}}]}

    (root,) = roots({**CHART, **release(spec)}).values()

    assert root.obstacle == "its postRenderers change what its chart gives"


@pytest.mark.parametrize(
    "spec",
    [
        {"templatePatch": "spec: {}"},
        {"generators": [{"matrix": {"generators": [{"list": {"template": {"spec": {"a": 1}}}}]}}]},
    ],
    ids=["patch", "generator"],
)
def test_what_an_application_set_writes_over_its_template_is_an_obstacle(
    spec: dict[str, object],
) -> None:
    (text,) = application({"path": "charts/app"}).values()
    template = {"spec": json.loads(str(text))["spec"]}
    document = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationSet",
        "spec": {"template": template, **spec},
    }

    (root,) = roots({**CHART, "envs/prod/set.json": json.dumps(document)}).values()

    assert "template" in root.obstacle


@pytest.mark.parametrize(
    ("deployer", "expected"),
    [
        (application({"path": "plain"}), ["a.yaml"]),
        (application({"path": "plain", "directory": {"recurse": True}}), ["a.yaml", "b/c.json"]),
        (flux({"path": "./plain"}), ["a.yaml", "b/c.json", "k"]),
    ],
    ids=["argo", "argo-recursive", "flux"],
)
def test_a_plain_folder_outside_that_an_object_deploys_is_a_root(
    deployer: Files, expected: list[str]
) -> None:
    files: Files = {
        "plain/a.yaml": POD,
        "plain/values.yaml": "a: 1\n",
        "plain/README.md": "text",
        "plain/b/c.json": '{"apiVersion": "v1", "kind": "Pod"}',
        "plain/k/kustomization.yaml": "resources: [d.yaml]\n",
        "plain/k/d.yaml": "kind: A\n",
    }

    (root,) = roots({**files, **deployer}).values()

    assert json.loads(root.overlay) == {"resources": expected}
    assert (root.folder, root.kustomization) == ("plain", "plain/kustomization.yaml")
    assert "plain/a.yaml" in root.files
    assert ("plain/k/d.yaml" in root.files) is ("k" in expected)


def test_a_plain_folder_of_the_environment_is_read_as_it_is_and_rendered_with_additions() -> None:
    files: Files = {"envs/prod/p/a.yaml": POD}

    assert roots({**files, **flux({"path": "envs/prod/p"})}) == {}
    assert len(roots({**files, **flux({"path": "envs/prod/p", "images": [{"name": "a"}]})})) == 1


@pytest.mark.parametrize("path", [".", "./", ""])
def test_the_repository_s_root_is_a_folder_as_well(path: str) -> None:
    files: Files = {"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": POD}

    (root,) = roots({**files, **flux({"path": path})}).values()

    assert (root.folder, root.files) == ("", ("a.yaml", "kustomization.yaml"))


def test_two_that_deploy_one_folder_are_two_roots() -> None:
    first = application({"path": "envs/prod/k", "kustomize": {"images": ["api=x:v1"]}})
    second = application({"path": "envs/prod/k"})
    both = {**first, "envs/prod/second.json": second["envs/prod/app.json"]}

    found = roots({**ADDED_FILES, **both})

    assert [bool(one.overlay) for one in found.values()] == [True, False]


def test_one_that_is_deployed_as_it_is_is_a_root_whoever_refers_to_it() -> None:
    files: Files = {
        "envs/prod/a/kustomization.yaml": "resources: [../k]\nimages: [{name: x}]\n",
        **ADDED_FILES,
    }

    assert list(roots({**files, **application({"path": "envs/prod/k"})})) == [
        "envs/prod/a",
        "envs/prod/k",
    ]


def test_one_that_cannot_be_rendered_hides_none_that_it_refers_to() -> None:
    files: Files = {
        "envs/prod/a/kustomization.yaml": "resources: [../k, 'https://example.com/x?ref=v1']\n",
        **ADDED_FILES,
    }
    local = {**files, "envs/prod/a/kustomization.yaml": "resources: [../k]\n"}

    failed = {"envs/prod/a/kustomization.yaml"}
    after = roots_of(Tree(local), PROD, "acme/deploy", (), failed)

    assert list(roots(files)) == ["envs/prod/a", "envs/prod/k"]
    assert list(roots(local)) == ["envs/prod/a"]
    assert [one.name for one in after] == ["envs/prod/a", "envs/prod/k"]


def test_a_kustomization_that_an_object_deploys_from_elsewhere_is_a_root() -> None:
    files: Files = {
        "overlays/prod/kustomization.yaml": "resources: [pod.yaml]\n",
        "overlays/prod/pod.yaml": POD,
        **application({"path": "overlays/prod"}),
    }

    (root,) = roots(files).values()

    assert (root.folder, root.obstacle, root.overlay) == ("overlays/prod", "", "")


def test_what_an_object_deploys_of_another_environment_is_said_to_be_its() -> None:
    files: Files = {
        "envs/dev/kustomization.yaml": "resources: []\n",
        **application({"path": "envs/dev"}),
    }

    (root,) = roots(files).values()

    assert root.obstacle == "it deploys files of dev"


def test_a_chart_that_nobody_deploys_is_rendered_with_each_values_file_beside_it() -> None:
    chart = "envs/prod/app"
    found = roots(
        {
            f"{chart}/Chart.yaml": "name: app\n",
            f"{chart}/values.yaml": "",
            f"{chart}/values-blue.yaml": "",
            f"{chart}/values-green.yaml": "",
            f"{chart}/charts/sub/Chart.yaml": "name: sub\n",
            "envs/prod/lib/Chart.yaml": "name: lib\ntype: library\n",
        }
    )

    assert list(found) == [f"{chart}/values-blue.yaml", f"{chart}/values-green.yaml"]


def test_the_identity_follows_every_file_and_nothing_else() -> None:
    (root,) = roots(
        {"envs/prod/kustomization.yaml": "resources: [a]\n", "envs/prod/a": POD}
    ).values()
    blobs = {"envs/prod/kustomization.yaml": "1", "envs/prod/a": "2", "elsewhere": "3"}

    same = root.identity(blobs, "reader")

    assert root.identity({**blobs, "elsewhere": "4"}, "reader") == same
    assert root.identity({**blobs, "envs/prod/a": "4"}, "reader") != same
    assert root.identity(blobs, "another") != same


def test_every_image_of_ours_in_an_output_is_found_with_its_object() -> None:
    output = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\n"
        f"data:\n  text: |\n    first\n    sidecar={REPOSITORY}:v1@{DIGEST}, more\n---\n"
        f"kind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n  - image: {REPOSITORY}:v2\n"
        "    name: a\n  - {name: b, image: 'quay.io/x/y:1'}\n"
    )

    found = images_in(output, names_of(PIPELINE, PROD))

    assert [(one.object, one.written, one.application, one.is_run) for one in found] == [
        ("Pod p", f"{REPOSITORY}:v2", "payments", True),
        ("ConfigMap shop/c", f"{REPOSITORY}:v1@{DIGEST}", "payments", False),
        ("Pod p", "quay.io/x/y:1", "", True),
    ]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (f"{POD}spec: {{containers: [{{name: a, image: '{REPOSITORY}:agent-1'}}]}}\n", True),
        (f"{POD}spec: {{containers: [{{name: a, image: '{REPOSITORY}:evil'}}]}}\n", False),
        (f"{POD}spec: {{args: ['--image={REPOSITORY}:evil']}}\n", False),
        (f"kind: A\nspec: {{image: x}}\nspec: {{image: '{REPOSITORY}:evil'}}\n", False),
    ],
    ids=["the-variant", "another", "another-in-a-text", "no-yaml"],
)
def test_another_variant_in_our_repository_is_ours_and_managed_by_nobody(
    output: str, *, expected: bool
) -> None:
    names = names_of(PIPELINE, PROD)
    names = replace(names, tag_match={names.repositories[REPOSITORY]: "agent-*"})

    (found,) = images_in(output, names)

    assert (found.application, found.is_managed) == ("payments", expected)


def test_a_label_that_a_digest_made_invalid_is_said() -> None:
    output = (
        f"kind: Deployment\nmetadata: {{name: d, labels: {{version: 'v1@{DIGEST}', app: a}}}}\n"
        "spec: {template: {metadata: {labels: {a: b}}}}\n"
    )

    (fault,) = label_faults(output)

    assert fault.startswith("Deployment d: the label version would be 'v1@sha256:")
    assert "more than 63 characters" in fault


def test_an_output_that_is_no_yaml_hides_nothing() -> None:
    output = f"kind: Pod\nspec: {{image: x}}\nspec: {{image: '{REPOSITORY}:v1@{DIGEST}'}}\n"

    (found,) = images_in(output, names_of(PIPELINE, PROD))

    assert (found.written, found.application, found.is_run) == (
        f"{REPOSITORY}:v1@{DIGEST}",
        "payments",
        True,
    )
    assert label_faults(output) == ()
