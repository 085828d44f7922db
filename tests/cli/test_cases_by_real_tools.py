"""Every case, rendered by kustomize or Helm before and after the edit: the image, nothing else."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bot.adapters.scanning import ConfinedRenderer, renderer_of
from bot.cli.checkout import CheckoutTree
from bot.domain.environments import Environment, Pipeline
from bot.domain.rendering import NotRenderedError, RenderRoot, RenderTool, Values
from bot.formats.image_names import ImageField, names_of
from bot.formats.pipeline_file import read_pipeline
from bot.formats.render_roots import roots_of
from tests.cli.test_manifest_cases import NEW, NOT_EDITED, TAG, case, folders, images, plan
from tests.world.scanners import open_folder, placed
from tests.world.tools import run, tool

__all__ = ["case"]
_CHART = "chart-of-the-case"
_REFERENCE = re.compile(r"[\w./:@{}$-]+")


@pytest.fixture(scope="module")
def renderer() -> Iterator[ConfinedRenderer]:
    with open_folder() as folder:
        found = renderer_of(
            kustomize=placed(tool("kustomize"), folder), helm=placed(tool("helm"), folder)
        )
        assert found is not None
        yield found


def rules(case: Path) -> tuple[Pipeline, Environment]:
    pipeline = read_pipeline((case / "lockkeeper.yaml").read_text())
    return pipeline, pipeline.environments["prod"]


def charts(case: Path) -> None:
    """The chart that reads the values, as far as the case gives its line."""
    line = case / "chart-line.txt"
    if not line.exists():
        return
    (values,) = (case / "repo").rglob("values*.yaml")
    folder = case / "repo" / _CHART
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: a\nversion: 1.0.0\nappVersion: v0\n")
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n"
    (folder / "templates" / "pod.yaml").write_text(f"{pod}    {line.read_text()}\n")
    (folder / "values").write_text(str(values.relative_to(case / "repo")))


def roots(case: Path) -> list[RenderRoot]:
    tree, (_, environment) = CheckoutTree(case / "repo"), rules(case)
    found = roots_of(tree, environment, "")
    marker = case / "repo" / _CHART / "values"
    if marker.exists():
        values = marker.read_text()
        files = (*tree.under(_CHART), values)
        found.append(
            RenderRoot("chart", RenderTool.HELM, _CHART, tuple(files), values=(Values(values),))
        )
    return found


def rendered(case: Path, renderer: ConfinedRenderer) -> dict[str, str]:
    """Name of each root that can be rendered -> its objects."""
    tree = CheckoutTree(case / "repo")
    found: dict[str, str] = {}
    for root in roots(case):
        files = {path: (tree.mode(path), tree.content(path)) for path in root.files}
        with contextlib.suppress(NotRenderedError):
            found[root.name] = renderer.render(root, files)
    return found


@pytest.mark.parametrize("case", folders(), indirect=True)
def test_a_rendering_changes_by_the_wanted_image_alone(
    case: Path, renderer: ConfinedRenderer
) -> None:
    charts(case)
    pipeline, environment = rules(case)
    for application, image in images(case):
        own = pipeline.applications[application]
        wanted = environment.repository_of(own, image).canonical
        before = rendered(case, renderer)
        kept = case.with_name("kept")
        shutil.copytree(case, kept, symlinks=True)

        code, _ = plan(case, f"{application}/{image}", "--write")

        after = rendered(case, renderer)
        assert before.keys() == after.keys()
        for name, old in before.items():
            assert_only(old, after[name], str(wanted))
        if code == 0 and case.name not in NOT_EDITED and before and _speaks(before, pipeline):
            assert before != after
        shutil.rmtree(kept)


def _speaks(before: Mapping[str, str], pipeline: Pipeline) -> bool:
    """Whether an image of ours comes of it, so that the edit has to be seen."""
    repositories = names_of(pipeline).repositories
    tokens = itertools.chain.from_iterable(_REFERENCE.findall(text) for text in before.values())
    return any(ImageField.parse(token).canonical in repositories for token in tokens)


def assert_only(before: str, after: str, wanted: str) -> None:
    """Each line that differs says the wanted image, and said another version of one before."""
    old, new = before.splitlines(), after.splitlines()
    for kind, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        assert j - i == m - k, (old[i:j], new[k:m])
        for a, b in zip(old[i:j], new[k:m], strict=True):
            assert NEW in b, (a, b)
            assert a[: len(a) - len(a.lstrip())] == b[: len(b) - len(b.lstrip())]
            (reference,) = [token for token in _REFERENCE.findall(b) if NEW in token]
            reference = reference.partition("=")[2] or reference
            is_whole = ImageField.parse(reference).canonical == wanted
            assert is_whole or reference in {f"{TAG}@{NEW}", NEW}, (a, b)


def test_an_entry_that_replaces_what_another_made_is_edited_too(tmp_path: Path) -> None:
    """kustomize goes through `images` in their order: the last word counts."""
    name = "registry.prod.example.com/acme/payments"
    folder = tmp_path / "repo" / "envs" / "prod"
    folder.mkdir(parents=True)
    (tmp_path / "lockkeeper.yaml").write_text(
        "version: 1\nenvironments:\n  prod:\n    on: {branches: [main]}\n"
        "    image_repository: registry.prod.example.com/acme/{image}\n"
        "    manifests: [envs/prod/**]\napplications: {payments: {source: acme/payments}}\n"
    )
    (folder / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"
        "spec: {containers: [{name: a, image: payments}]}\n"
    )
    (folder / "kustomization.yaml").write_text(
        f"resources: [pod.yaml]\nimages:\n- name: payments\n  newName: {name}\n  newTag: v1\n"
        f"- name: {name}\n  newTag: v2\n"
    )
    assert f"{name}:v2" in run("kustomize", "build", str(folder))

    assert plan(tmp_path, "payments", "--write")[0] == 0

    assert f"image: {name}:{TAG}@{NEW}" in run("kustomize", "build", str(folder))
