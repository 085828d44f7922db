"""What passes the gate of renderings, though a deployer puts an image of ours there unsealed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.environments import ImageId
from bot.domain.rendering import RenderRoot
from bot.formats.image_names import Names, names_of
from bot.formats.manifest_file import _read, says_something
from bot.formats.rendered_images import images_in
from bot.formats.traces import traces_of
from tests.attacks.test_hidden_images import PIPELINE, PROD, REPOSITORY
from tests.formats.test_render_roots import application, release, roots

POD = (
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: '%s'}]}\n"
)
CHART = {"charts/app/Chart.yaml": "name: app\n", "charts/app/templates/pod.yaml": POD % "x"}
DEPLOY = {
    "deploy/kustomization.yaml": "resources: [d.yaml]\n",
    "deploy/d.yaml": POD % f"{REPOSITORY}:evil",
}
NAMES = names_of(PIPELINE, PROD)
EVIL = "evil"


def told(root: RenderRoot) -> str:
    return repr((root.values, root.parameters, root.overlay, root.obstacle))


def test_the_source_file_beside_a_chart_counts_as_argo_cd_has_it() -> None:
    override = "helm: {parameters: [{name: image.tag, value: evil}]}\n"
    files = {**CHART, "charts/app/.argocd-source-shop.yaml": override}

    (root,) = roots({**files, **application({"path": "charts/app"})}).values()

    assert root.obstacle or EVIL in told(root)


def test_what_flux_renders_behind_a_chart_is_told() -> None:
    images = [{"kustomize": {"images": [{"name": REPOSITORY, "newTag": EVIL}]}}]
    source = {"chart": {"spec": {"chart": "charts/app", "sourceRef": {"kind": "GitRepository"}}}}

    (root,) = roots({**CHART, **release({**source, "postRenderers": images})}).values()

    assert root.obstacle or EVIL in told(root)


@pytest.mark.parametrize(
    "kustomize",
    [{"patches": [{"patch": "evil"}]}, {"components": ["../evil"]}],
    ids=["patches", "components"],
)
def test_what_an_application_adds_to_a_kustomization_is_told(kustomize: dict[str, object]) -> None:
    own = {
        "envs/prod/k/kustomization.yaml": "resources: [d.yaml]\n",
        "envs/prod/k/d.yaml": POD % "x",
    }

    found = roots({**own, **application({"path": "envs/prod/k", "kustomize": kustomize})})

    assert any(root.obstacle or EVIL in told(root) for root in found.values()), found


@pytest.mark.parametrize("kind", ["argo", "flux"])
def test_a_kustomization_outside_the_globs_that_an_object_deploys_is_a_root(kind: str) -> None:
    flux = (
        '{"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",'
        ' "metadata": {"name": "a"}, "spec": {"path": "./deploy"}}'
    )
    own = application({"path": "deploy"}) if kind == "argo" else {"envs/prod/k.json": flux}

    assert roots({**DEPLOY, **own})


def test_a_folder_that_two_applications_deploy_is_rendered_for_both() -> None:
    pinned = application(
        {"path": "envs/prod/k", "kustomize": {"images": [f"{REPOSITORY}:v1@sha256:{'1' * 64}"]}}
    )
    plain = {"envs/prod/second.json": application({"path": "envs/prod/k"})["envs/prod/app.json"]}
    own = {
        "envs/prod/k/kustomization.yaml": (
            "resources: [d.yaml]\nimages: [{name: '.*', newTag: evil}]\n"
        ),
        "envs/prod/k/d.yaml": POD % f"{REPOSITORY}:v1",
    }

    assert any(not root.overlay for root in roots({**own, **plain, **pinned}).values())


def test_a_root_that_cannot_be_rendered_hides_none_that_it_refers_to() -> None:
    """A remote base stops `a`; `b` is deployed by itself as well. ADR 26: one hides no other."""
    found = roots(
        {
            "envs/prod/a/kustomization.yaml": (
                "resources: [../b, 'https://github.com/x/y?ref=v1']\n"
            ),
            "envs/prod/b/kustomization.yaml": (
                "resources: [d.yaml]\nimages: [{name: '.*', newTag: evil}]\n"
            ),
            "envs/prod/b/d.yaml": POD % f"{REPOSITORY}:v1",
        }
    )

    assert "envs/prod/b" in found


def test_another_tag_of_our_repository_is_ours_in_a_rendering() -> None:
    names = replace(NAMES, tag_match={NAMES.repositories[REPOSITORY]: "agent-*"})

    assert any(one.application for one in images_in(POD % f"{REPOSITORY}:evil", names))


def test_a_kept_rendering_is_none_of_another_tag_match() -> None:
    names = replace(NAMES, tag_match={NAMES.repositories[REPOSITORY]: "agent-*"})

    assert images_in(POD % f"{REPOSITORY}:evil", names) != images_in(
        POD % f"{REPOSITORY}:evil", NAMES
    )
    assert names.identity != NAMES.identity


@pytest.mark.parametrize(
    "written",
    [
        (
            "apiVersion: x/v1\nkind: Runner\nspec: {image: {registry: "
            f"{REPOSITORY.partition('/')[0]}, repository: {REPOSITORY.partition('/')[2]}, "
            "tag: evil}}\n"
        ),
        POD % f"{REPOSITORY.replace('/', ':0443/', 1)}:evil",
    ],
    ids=["two-keys", "leading-zero"],
)
def test_an_image_of_ours_in_what_is_rendered_is_seen(written: str) -> None:
    assert any(one.application for one in images_in(written, NAMES))


@pytest.mark.parametrize(
    "text",
    [
        # Values of Argo CD's chart `argocd-apps`: no object, and what they name is values.
        "applications: {p: {source: {path: a, helm: {valueFiles: [prod.yaml]}}}}\n",
        # A local tag that ends in `binary`, and the reader decodes it.
        "a: !x-binary Y3IuZXhhbXBsZS9hY21lL3BheW1lbnRz\n",
    ],
    ids=["value-files", "local-tag"],
)
def test_where_the_traces_say_nothing_the_whole_reader_finds_nothing(text: str) -> None:
    own = ImageId("payments", "payments")
    names = Names({"cr.example/acme/payments": own}, {"payments": (own,)})

    found = _read("a.yaml", text, names, is_values=False)

    is_empty = not (found.locations or found.remarks or found.values or found.charts)
    assert is_empty or says_something("a.yaml", traces_of(text.encode()), names)
