"""A writer who hides an image from the finder: what kustomize deploys of ours is seen, or held.

Each form deploys a digest that nobody sealed, by a spelling, a detour or by putting it together.
The real kustomize says what is deployed; the finder has to see the digest or to say something
that holds the merge where the environment signs.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from bot.formats.environment_files import EnvironmentFiles, read_environment
from bot.formats.image_names import Names, names_of
from bot.formats.manifest_file import Reading, unsealable
from bot.formats.pipeline_file import read_pipeline
from tests.world.tools import attempt, tool

T = TypeVar("T")
REPOSITORY = "registry.prod.example.com/acme/payments"
GOOD, EVIL = "sha256:" + "a" * 64, "sha256:" + "e" * 64
IMAGE = f"{REPOSITORY}@{EVIL}"
PIPELINE = read_pipeline(
    """\
version: 1
environments:
  prod:
    on: { branches: [main] }
    image_repository: registry.prod.example.com/acme/{image}
    manifests: [envs/prod/**]
    sign: true
defaults: { source: acme/payments }
applications: { payments: {} }
""",
    commit="0" * 40,
)
PROD = PIPELINE.environments["prod"]
Files = dict[str, "str | bytes | tuple[str]"]
"""Path -> content; a tuple is a link and where it leads."""


class Tree:
    """`bot.formats.environment_files.Tree` of a mapping."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def mode(self, path: str) -> str:
        found = self.files.get(path)
        return "" if found is None else "120000" if isinstance(found, tuple) else "100644"

    def under(self, folder: str) -> Iterable[str]:
        return [path for path in self.files if not folder or path.startswith(f"{folder}/")]

    def content(self, path: str) -> bytes:
        return content_of(self.files[path])

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


def content_of(found: str | bytes | tuple[str]) -> bytes:
    text = found[0] if isinstance(found, tuple) else found
    return text if isinstance(text, bytes) else text.encode()


def deployment(image: str, annotation: str = "") -> str:
    note = f", annotations: {{x: {json.dumps(annotation)}}}" if annotation else ""
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: app{note}}}
spec:
  selector: {{matchLabels: {{app: a}}}}
  template:
    metadata: {{labels: {{app: a}}}}
    spec:
      containers:
        - name: app
          image: {image}
"""


def files(
    kustomization: str | bytes | tuple[str],
    workload: str | bytes | tuple[str] = "",
    **more: str | bytes | tuple[str],
) -> Files:
    """The environment's kustomization, its one workload, and what else lies around."""
    return {
        "envs/prod/kustomization.yaml": kustomization,
        "envs/prod/dep.yaml": workload or deployment("payments"),
        **more,
    }


def entry(digest: str = EVIL, name: str = "payments") -> str:
    return f"images:\n- name: {name}\n  newName: {REPOSITORY}\n  digest: {digest}\n"


def replacement(source: str, options: str = "", path: str = "") -> str:
    target = path or "spec.template.spec.containers.0.image"
    said = f"\n    options: {{{options}}}" if options else ""
    return (
        f"replacements:\n- source: {{{source}}}\n  targets:\n  - select: {{kind: Deployment}}\n"
        f"    fieldPaths: [{json.dumps(target)}]{said}\n"
    )


def transformer(kind: str, rest: str) -> str:
    return f"apiVersion: builtin\nkind: {kind}\nmetadata: {{name: t}}\n{rest}"


BASE = "resources: [dep.yaml]\n"
NOTE = "kind: Deployment, fieldPath: metadata.annotations.x"
MAP = "kind: ConfigMap, name: c, fieldPath: data.i"
DIGEST = "delimiter: '@', index: 1"
SPECS = "fieldSpecs: [{path: 'spec/template/spec/containers[]/image', kind: Deployment}]\n"
SPEC = "- path: spec/template/spec/containers[]/image\n  kind: Deployment\n"
COMPONENT = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
BINARY = base64.b64encode(IMAGE.encode()).decode()
GOOD_IMAGE = f"{REPOSITORY}@{GOOD}"

SPELLINGS: Mapping[str, Files] = {
    "newTag with a digest": files(
        BASE + f"images:\n- name: payments\n  newName: {REPOSITORY}\n  newTag: v1@{EVIL}\n"
    ),
    "newName with a digest": files(BASE + f"images:\n- name: payments\n  newName: {IMAGE}\n"),
    "newName and newTag share the name": files(
        BASE
        + "images:\n- name: payments\n  newName: registry.prod.example.com\n"
        + f"  newTag: 443/acme/payments@{EVIL}\n"
    ),
    "a name by pattern": files(BASE + entry(name="pay.ents")),
    "entries behind each other": files(
        BASE + "images:\n- name: payments\n  newName: other\n" + entry(name="other")[8:]
    ),
    "keys that stand twice": files(BASE + entry(GOOD) + entry()),
    "a key in other case": files(BASE + entry().replace("images", "Images")),
    "JSON escapes": files(
        "resources: [d.json]\n",
        **{
            "envs/prod/d.json": json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": "x"},
                    "spec": {"containers": [{"name": "c", "image": IMAGE}]},
                }
            ).replace("pay", "p\\u0061y")
        },
    ),
    "UTF-16": files(BASE, deployment(IMAGE).encode("utf-16")),
    "UTF-16 kustomization": files((BASE + entry()).encode("utf-16")),
    "byte order mark": files(BASE, b"\xef\xbb\xbf" + deployment(IMAGE).encode()),
    "carriage returns alone": files(BASE, deployment(IMAGE).replace("\n", "\r")),
    "!!binary": files(BASE, deployment(f"!!binary {BINARY}")),
    "a verbatim tag": files(BASE, deployment(f"!<tag:yaml.org,2002:binary> {BINARY}")),
    "a merge key": files(BASE, deployment("x").replace("image: x", f"<<: {{image: '{IMAGE}'}}")),
    "an alias": files(BASE, f"x-i: &i {IMAGE}\n" + deployment("*i")),
    "an explicit key": files(
        BASE, deployment("x").replace("image: x", f"? image\n          : {IMAGE}")
    ),
    "an escaped key": files(BASE, deployment(IMAGE).replace("image:", '"im\\x61ge":')),
    "a folded line": files(
        BASE, deployment(f'"{REPOSITORY[:9]}\\\n            {REPOSITORY[9:]}@{EVIL}"')
    ),
    "a second document": files(
        BASE,
        deployment(GOOD_IMAGE)
        + "...\n---\n"
        + deployment(IMAGE).replace("{name: app}", "{name: b}"),
    ),
    "a list of objects": files(
        BASE,
        "apiVersion: apps/v1\nkind: DeploymentList\nitems:\n- "
        + deployment(IMAGE).replace("\n", "\n  "),
    ),
    "host in capitals": files(BASE, deployment(IMAGE.replace("registry", "REGISTRY"))),
    "host with its port": files(BASE, deployment(IMAGE.replace(".com/", ".com:443/"))),
    "digest in capitals": files(BASE, deployment(f"{REPOSITORY}@sha256:{'E' * 64}")),
}
DETOURS: Mapping[str, Files] = {
    "a component": files(
        BASE + "components: [../../comp]\n",
        **{"comp/kustomization.yaml": COMPONENT + entry()},
    ),
    "a base outside": files(
        "resources: [../../base]\n",
        **{"base/kustomization.yaml": BASE + entry(), "base/dep.yaml": deployment("payments")},
    ),
    "a file without suffix": files(
        "resources: [../../base/dep]\n", **{"base/dep": deployment(IMAGE)}
    ),
    "a link": files(
        BASE, ("../../elsewhere/dep.yaml",), **{"elsewhere/dep.yaml": deployment(IMAGE)}
    ),
    "a linked folder": files(
        "resources: [base]\n",
        **{
            "elsewhere/kustomization.yaml": BASE,
            "elsewhere/dep.yaml": deployment(IMAGE),
        },
    )
    | {"envs/prod/base": ("../../elsewhere",)},
    "a kustomization that is a link": files(
        ("../../elsewhere/k",), **{"elsewhere/k": BASE + entry()}
    ),
    "a patch without suffix": files(
        BASE + "patches:\n- target: {kind: Deployment}\n  path: p\n",
        **{
            "envs/prod/p": json.dumps(
                [
                    {
                        "op": "replace",
                        "path": "/spec/template/spec/containers/0/image",
                        "value": IMAGE,
                    }
                ]
            )
        },
    ),
    "a transformer in a folder": files(
        BASE + "transformers: [t]\n",
        **{
            "envs/prod/t/kustomization.yaml": "resources: [t]\n",
            "envs/prod/t/t": transformer(
                "ImageTagTransformer",
                f"imageTag: {{name: payments, newName: {REPOSITORY}, digest: '{EVIL}'}}\n",
            ),
        },
    ),
    "an annotation of everything": files(
        BASE + f"commonAnnotations: {{x: '{IMAGE}'}}\n" + replacement(NOTE)
    ),
}
COMPOSITIONS: Mapping[str, Files] = {
    "a replacement of the digest": files(
        BASE + replacement(NOTE, DIGEST), deployment(GOOD_IMAGE, EVIL)
    ),
    "of its hex digits": files(
        BASE + replacement(NOTE, "delimiter: ':', index: 1"), deployment(GOOD_IMAGE, "e" * 64)
    ),
    "of the last part of the path": files(
        BASE + replacement(NOTE, "delimiter: /, index: 2"),
        deployment(REPOSITORY, f"payments@{EVIL}"),
    ),
    "by another way to the container": files(
        BASE + replacement(NOTE, DIGEST, "spec.template.spec.containers.[name=app].image"),
        deployment(GOOD_IMAGE, EVIL),
    ),
    "by a star": files(
        BASE + replacement(NOTE, DIGEST, "spec.template.spec.containers.*.image"),
        deployment(GOOD_IMAGE, EVIL),
    ),
    "in a file": files(
        BASE + "replacements: [{path: r.yaml}]\n",
        deployment(GOOD_IMAGE, EVIL),
        **{"envs/prod/r.yaml": replacement(NOTE, DIGEST).replace("replacements:\n- ", "- ")},
    ),
    "from literals": files(
        BASE
        + f"configMapGenerator:\n- name: c\n  literals: ['i={EVIL}']\n"
        + replacement(MAP, DIGEST),
        deployment(GOOD_IMAGE),
    ),
    "from a file of variables": files(
        BASE + "configMapGenerator:\n- {name: c, envs: [e.env]}\n" + replacement(MAP, DIGEST),
        deployment(GOOD_IMAGE),
        **{"envs/prod/e.env": f"i={EVIL}\n"},
    ),
    "from a generator": files(
        BASE + "generators: [g.yaml]\n" + replacement(MAP, DIGEST),
        deployment(GOOD_IMAGE),
        **{
            "envs/prod/g.yaml": transformer(
                "ConfigMapGenerator", f"literals: ['i={EVIL}']\n"
            ).replace("name: t", "name: c")
        },
    ),
    "in a component": files(
        BASE + "components: [../../c]\n",
        deployment(GOOD_IMAGE, EVIL),
        **{"c/kustomization.yaml": COMPONENT + replacement(NOTE, DIGEST)},
    ),
    "by a transformer": files(
        BASE + "transformers: [t.yaml]\n",
        deployment(GOOD_IMAGE, EVIL),
        **{"envs/prod/t.yaml": transformer("ReplacementTransformer", replacement(NOTE, DIGEST))},
    ),
    "by a suffix": files(
        BASE + f"nameSuffix: '@{EVIL}'\nconfigurations: [c.yaml]\n",
        deployment(REPOSITORY),
        **{"envs/prod/c.yaml": "nameSuffix:\n" + SPEC},
    ),
    "by a prefix": files(
        BASE + "namePrefix: registry.prod.example.com/\nconfigurations: [c.yaml]\n",
        deployment(f"acme/payments@{EVIL}"),
        **{"envs/prod/c.yaml": "namePrefix:\n" + SPEC},
    ),
    "by a suffix transformer": files(
        BASE + "transformers: [t.yaml]\n",
        deployment(REPOSITORY),
        **{"envs/prod/t.yaml": transformer("SuffixTransformer", f"suffix: '@{EVIL}'\n{SPECS}")},
    ),
    "by variables": files(
        BASE
        + f"configMapGenerator:\n- name: c\n  literals: ['i={EVIL}']\n"
        + "vars:\n- name: I\n  objref: {kind: ConfigMap, name: c, apiVersion: v1}\n"
        + "  fieldref: {fieldpath: data.i}\nconfigurations: [v.yaml]\n",
        deployment(f"{REPOSITORY}@$(I)"),
        **{
            "envs/prod/v.yaml": "varReference:\n- path: spec/template/spec/containers/image\n"
            "  kind: Deployment\n"
        },
    ),
}
FETCHED = (
    "https://github.com/evil/x//base?ref=main",
    "github.com/evil/x?ref=v1",
    "github.com/evil/x",
    "git@github.com:evil/x",
    "git::https://evil.example.com/x",
    "https://evil.example.com/dep.yaml",
)


def read(found: Files) -> EnvironmentFiles:
    return read_environment(Tree(found), PROD, names_of(PIPELINE, PROD))


def held(found: Files) -> dict[str, str]:
    """What holds a merge that brings these files: its identity -> what people read."""
    reading = read(found)
    return {
        identity: words
        for path in reading.readings
        for identity, words in unsealable(reading.remarks_of(path)).items()
    }


def deployed(found: Files, folder: Path) -> str:
    """What the real kustomize makes of the files."""
    for path, content in found.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, tuple):
            file.symlink_to(content[0])
        else:
            file.write_bytes(content_of(content))
    restrictor = ("--load-restrictor", "LoadRestrictionsNone")
    done = attempt("kustomize", "build", *restrictor, str(folder / "envs" / "prod"))
    return done.stdout


ALL = {**SPELLINGS, **DETOURS, **COMPOSITIONS}


@pytest.mark.parametrize("form", ALL)
def test_what_hides_an_image_is_seen_or_held(form: str) -> None:
    found = ALL[form]

    seen = [str(location.written) for location in read(found).locations]

    assert any(EVIL in one for one in seen) or held(found), seen


@pytest.mark.parametrize("form", [one for one in ALL if one != "keys that stand twice"])
def test_each_form_is_an_attack(form: str, tmp_path: Path) -> None:
    """Else it would prove nothing: kustomize deploys the digest that nobody sealed."""
    tool("kustomize")

    assert EVIL in deployed(ALL[form], tmp_path).lower()


@pytest.mark.parametrize("reference", FETCHED)
def test_what_is_fetched_is_held(reference: str) -> None:
    words = held(files(f"resources: [dep.yaml, {json.dumps(reference)}]\n"))

    assert any("fetched: nobody reads it here" in one for one in words.values()), words


@pytest.mark.parametrize(
    "more",
    [
        "helmCharts: [{name: x, repo: https://charts.example.com, version: 1.2.3}]\n",
        "HelmCharts: [{name: x}]\n",
        "generators: [g.yaml]\n",
    ],
)
def test_a_chart_is_held(more: str) -> None:
    chart = transformer("HelmChartInflationGenerator", "name: x\nrepo: https://e.example.com\n")

    assert held(files(BASE + more, **{"envs/prod/g.yaml": chart}))


def test_a_new_version_of_a_chart_is_held_anew() -> None:
    chart = "helmCharts: [{name: x, version: %s}]\n"

    assert held(files(BASE + chart % "1")).keys() != held(files(BASE + chart % "2")).keys()


def test_a_promotion_changes_nothing_of_what_is_held() -> None:
    """An environment that puts images together already is not stopped by each promotion."""
    form = COMPOSITIONS["from a file of variables"]
    promoted = {**form, "envs/prod/dep.yaml": deployment(f"{REPOSITORY}@sha256:{'b' * 64}")}

    assert held(promoted).keys() == held(form).keys() != set()


def test_what_goes_into_it_is_held_whenever_it_changes() -> None:
    form = COMPOSITIONS["from a file of variables"]
    other = {**form, "envs/prod/e.env": "i=sha256:" + "d" * 64 + "\n"}

    assert not held(other).keys() & held(form).keys()


@pytest.mark.parametrize(
    "path",
    [
        "metadata.annotations.image",
        "spec.replicas",
        "spec.template.spec.containers.[name=app].env.[name=HOST].value",
        "spec.template.spec.imagePullSecrets.0.name",
        "spec.rules.0.host",
        "data.image",
    ],
)
def test_a_replacement_of_something_else_holds_nothing(path: str) -> None:
    assert held(files(BASE + replacement(NOTE, path=path), deployment(GOOD_IMAGE, "x"))) == {}


def test_what_lies_in_the_repository_holds_nothing() -> None:
    found = files(
        "resources: [dep.yaml, v1.2/base]\nlabels: [{pairs: {a: b}}]\nnamePrefix: x-\n" + entry(),
        **{"envs/prod/v1.2/base/kustomization.yaml": "resources: []\n"},
    )

    assert held(found) == {}
