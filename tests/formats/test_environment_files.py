"""The files of an environment together: what a kustomization brings along from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import pytest

from bot.domain.environments import ImageId
from bot.formats.environment_files import EnvironmentFiles, read_environment
from bot.formats.image_names import Names, names_of
from bot.formats.manifest_file import Reading
from bot.formats.pipeline_file import read_pipeline
from bot.formats.places import RemarkKind

T = TypeVar("T")
PIPELINE = read_pipeline("""\
version: 1
environments:
  prod:
    on: { branches: [main] }
    image_repository: r.example/acme/{image}
    manifests: [envs/prod/**]
defaults: { source: "acme/{application}" }
applications: { payments: {} }
""")
PROD = PIPELINE.environments["prod"]
BASE = "kind: Deployment\nspec: {containers: [{image: r.example/acme/payments:v1}]}\n"


@dataclass(frozen=True)
class Texts:
    """Files as a mapping."""

    files: Mapping[str, str]

    def mode(self, path: str) -> str:
        return "100644" if path in self.files else ""

    def under(self, folder: str) -> Iterable[str]:
        return [path for path in self.files if path.startswith(f"{folder}/")]

    def content(self, path: str) -> bytes:
        return self.files[path].encode()

    def reading(
        self, path: str, names: Names, *, is_values: bool, read: Callable[[], Reading]
    ) -> Reading:
        del path, names, is_values
        return read()

    @property
    def has_links(self) -> bool:
        return True

    def readings(self, paths: Collection[str], names: Names) -> Mapping[str, Reading]:
        del paths, names
        return {}

    def fact(self, about: str, path: str, read: Callable[[bytes], T]) -> T:
        del about
        return read(self.content(path))


def read(files: Mapping[str, str]) -> EnvironmentFiles:
    return read_environment(Texts(files), PROD, names_of(PIPELINE, PROD))


def named(files: EnvironmentFiles, path: str) -> list[tuple[str, ImageId | None]]:
    return [(remark.file, remark.image) for remark in files.remarks_of(path)]


TOP = "envs/prod/kustomization.yaml"
OURS = ImageId("payments", "payments")


def test_a_kustomization_brings_along_what_an_old_base_says_of_us() -> None:
    without = read({TOP: "resources: []\n", "base/app.yaml": BASE})
    refers = read({TOP: "resources: [../../base/app.yaml]\n", "base/app.yaml": BASE})

    assert named(without, TOP) == []
    assert named(refers, TOP) == [("base/app.yaml", OURS)]


def test_it_brings_along_what_a_base_of_its_base_says() -> None:
    files = read(
        {
            TOP: "resources: [../../base]\n",
            "base/kustomization.yaml": "resources: [../deep/app.yaml]\n",
            "deep/app.yaml": BASE,
        }
    )

    assert named(files, TOP) == [("deep/app.yaml", OURS)]
    assert named(files, "base/kustomization.yaml") == [("deep/app.yaml", OURS)]


def test_bases_in_a_circle_end() -> None:
    files = read(
        {
            TOP: "resources: [../../base]\n",
            "base/kustomization.yaml": "resources: [../base, app.yaml]\n",
            "base/app.yaml": BASE,
        }
    )

    assert named(files, TOP) == [("base/app.yaml", OURS)]


def test_files_of_the_environment_speak_for_themselves() -> None:
    files = read({TOP: "resources: [app.yaml]\n", "envs/prod/app.yaml": BASE})

    assert named(files, TOP) == []
    assert [location.image for location in files.locations] == [OURS]


def overlay(name: str, digest: str = "sha256:" + "2" * 64) -> dict[str, str]:
    return {
        "envs/prod/base/kustomization.yaml": "resources: [d.yaml]\n",
        "envs/prod/base/d.yaml": BASE,
        "envs/prod/kustomization.yaml": (
            f"resources: [base]\nimages:\n- name: '{name}'\n  newTag: v2\n  digest: {digest}\n"
        ),
    }


@pytest.mark.parametrize("name", [".*/payments", "r.example/acme/pay.*", "(r.example/acme/)?x|.+"])
def test_an_entry_whose_name_is_a_pattern_may_replace_anything(name: str) -> None:
    """Kustomize compiles it: nothing here shows which images it replaces."""
    found = read(overlay(name))

    (location,) = found.locations
    assert location.place.path == "envs/prod/base/d.yaml"
    assert "envs/prod/kustomization.yaml:3 is a pattern" in location.refusal
    composed = [one for one in found.remarks if one.kind is RemarkKind.COMPOSED]
    assert [one.file for one in composed] == ["envs/prod/kustomization.yaml"]


def test_a_plain_name_is_no_pattern() -> None:
    found = read(overlay("r.example/acme/payments"))

    assert [location.refusal for location in found.locations] == [""]
    assert [location.place.path for location in found.locations] == ["envs/prod/kustomization.yaml"]


def lattice(levels: int, top: str) -> dict[str, str]:
    """Two folders on each level, both of which need both of the next."""
    files = {"envs/prod/kustomization.yaml": top}
    for level in range(levels):
        below = [f"../{level + 1}a", f"../{level + 1}b"] if level + 1 < levels else ["d.yaml"]
        for side in "ab":
            folder = f"envs/prod/l/{level}{side}"
            files[f"{folder}/kustomization.yaml"] = f"resources: [{', '.join(below)}]\n"
            files[f"{folder}/d.yaml"] = BASE
    return files


def test_however_many_ways_lead_up_each_kustomization_is_asked_once() -> None:
    top = (
        "resources: [l/0a, l/0b]\nimages:\n"
        f"- {{name: r.example/acme/payments, digest: 'sha256:{'1' * 64}'}}\n"
    )
    found = read(lattice(80, top))

    replaced = [one for one in found.remarks if one.kind is RemarkKind.REPLACED]
    assert {one.file for one in replaced} == {
        "envs/prod/l/79a/d.yaml",
        "envs/prod/l/79b/d.yaml",
    }


def test_a_chain_of_bases_of_any_length_is_read() -> None:
    files = {"envs/prod/kustomization.yaml": "resources: [c/0]\nimages: [{name: payments}]\n"}
    for number in range(1500):
        files[f"envs/prod/c/{number}/kustomization.yaml"] = f"resources: [../{number + 1}]\n"
    files["envs/prod/c/1500/kustomization.yaml"] = "resources: [d.yaml]\n"
    files["envs/prod/c/1500/d.yaml"] = BASE

    assert [location.image.name for location in read(files).locations] == ["payments", "payments"]


def test_what_goes_in_a_circle_is_nobodys_to_replace() -> None:
    circle = {
        "envs/prod/a/kustomization.yaml": "resources: [../b, d.yaml]\n",
        "envs/prod/b/kustomization.yaml": "resources: [../a]\n",
        "envs/prod/a/d.yaml": BASE,
    }
    assert [location.place.path for location in read(circle).locations] == ["envs/prod/a/d.yaml"]
