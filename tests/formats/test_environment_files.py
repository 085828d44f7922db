"""The files of an environment together: what a kustomization brings along from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from bot.domain.environments import ImageId
from bot.formats.environment_files import EnvironmentFiles, read_environment
from bot.formats.image_names import Names, names_of
from bot.formats.manifest_file import Reading
from bot.formats.pipeline_file import read_pipeline

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
    assert [spot.image for spot in files.spots] == [OURS]
