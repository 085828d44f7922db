"""Every case folder through `plan`, in process: exactly the wanted reference, or the reason."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.cli.main import lockkeeper
from bot.formats.yaml_tree import compose_all, plain
from tests.samples import CASES, cases
from tests.world.tools import run as run_tool, tool

FOLDER = "manifests"
NEW = "sha256:" + "5e" * 32
TAG = "sha-1a2b3c4"
NOT_EDITED: Mapping[str, tuple[str, str]] = {
    "aliased-all-fields": ("unsupported", "lines 2, 5"),
    "cnpg-imageName": ("not_here", "no place is known"),
    "flux-imagerepository": ("not_here", "only names images"),
    "kyverno-policy-image": ("not_here", "only names images"),
    "helm-values-tag-only": ("not_here", ""),
    "04-tag-only-overlay": ("not_here", ""),
    "insert-duplicate-field": ("unreadable", "stands twice"),
    "insert-foreign-newName": ("not_here", "no image repository of ours"),
    "kustomize-5889-crd-not-reached": ("unsupported", "it does nothing"),
    "renovate-11153-newName-with-digest": ("unsupported", "write newName, newTag and digest apart"),
    "renovate-11153-newName-with-tag-digest": ("unsupported", "newName"),
    "sops-1058-mac": ("unsupported", "mac_only_encrypted"),
}
"""What is refused or not there: the state, and words of the reason."""
LEFT: Mapping[str, int] = {
    "dependabot-10930-plain-same-tag": 1,
    "env-and-args": 1,
    "image-updater-516-port": 1,
    "image-updater-674-library": 4,
    "workloads-of-many-kinds": 15,
    "argocd-application-helm-parameters": 2,
    "argocd-application-valuesObject": 3,
    "argocd-source-dup-1411": 3,
    "helm-values-string": 2,
    "host-case-and-default-port": 2,
    "kustomize-4724-two-equal-entries": 2,
    "kustomize-inline-patch": 2,
    "kubeyaml-4-empty-documents": 2,
    "kustomization-names": 2,
}
"""How often the digest is written where it is not once."""
WARNED = ("flux-marker-on-line", "argocd-source-file", "argocd-source-dup-1411")


def folders() -> list[str]:
    root = CASES / FOLDER
    if not root.exists():
        return ["missing"]
    found = [*root.iterdir(), *(root / "values-styles").iterdir()]
    return sorted(str(p.relative_to(root)) for p in found if (p / "repo").is_dir())


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name: str = request.param
    source = cases(FOLDER) / name
    target = tmp_path / Path(name).name
    shutil.copytree(source, target, symlinks=True)
    return target


def images(case: Path) -> Iterator[tuple[str, str]]:
    text = (case / "lockkeeper.yaml").read_text()
    root = plain(compose_all(text, "lockkeeper.yaml")[0], "lockkeeper.yaml").value
    assert isinstance(root, dict)
    for application, entry in root["applications"].items():
        for image in entry.get("images", [application]):
            yield application, image


def plan(case: Path, image: str, *more: str) -> tuple[int, str]:
    arguments = ["plan", "--config", str(case / "lockkeeper.yaml")]
    arguments += ["--checkout", str(case / "repo"), "--environment", "prod"]
    result = CliRunner().invoke(lockkeeper, [*arguments, "--image", f"{image}={TAG}@{NEW}", *more])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.stdout_bytes.decode("utf-8", "surrogateescape")


def contents(case: Path) -> dict[str, bytes]:
    files = (p for p in (case / "repo").rglob("*") if p.is_file())
    return {str(p.relative_to(case)): p.read_bytes() for p in files}


@pytest.mark.parametrize("case", folders(), indirect=True)
def test_every_case_is_right_or_refused_with_its_reason(case: Path) -> None:
    for application, image in images(case):
        before = contents(case)
        code, output = plan(case, f"{application}/{image}", "--json")
        document = json.loads(output)
        reasons = " ".join(s["reason"] for s in (*document["skipped"], *document["warnings"]))
        assert contents(case) == before
        _, diff = plan(case, f"{application}/{image}")
        written, _ = plan(case, f"{application}/{image}", "--write")
        after = contents(case)
        digests = sum(content.count(NEW.encode()) for content in after.values())
        digests -= sum(content.count(NEW.encode()) for content in before.values())
        if case.name in NOT_EDITED:
            state, words = NOT_EDITED[case.name]
            assert (document["state"], code) == (state, 0 if state == "not_here" else 2)
            assert words in reasons
            assert after == before
            continue
        assert (document["state"], code, written) == ("changed", 0, 0), reasons
        assert digests == LEFT.get(case.name, 1)
        assert all(s["file"] and s["reason"] for s in document["skipped"])
        if case.name in WARNED:
            assert document["warnings"]
        assert_applies(case, before, after, diff)
        assert json.loads(plan(case, f"{application}/{image}", "--json")[1])["state"] == "already"
    expected = case / "expected-values.yaml"
    if expected.exists() and case.name not in NOT_EDITED:
        (values,) = (case / "repo").rglob("values.yaml")
        assert values.read_bytes() == expected.read_bytes()


def assert_applies(
    case: Path, before: Mapping[str, bytes], after: Mapping[str, bytes], diff: str
) -> None:
    """The diff is what `--write` does, and git takes it."""
    for name, content in before.items():
        (case / name).write_bytes(content)
    patch = case / "patch"
    patch.write_bytes(diff.encode("utf-8", "surrogateescape"))
    done = subprocess.run(
        ["git", "apply", "--unsafe-paths", "--whitespace=nowarn", "../patch"],
        cwd=case / "repo",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert contents(case) == dict(after)


@pytest.mark.parametrize(
    "case",
    [n for n in folders() if n.startswith(("insert-", "kustomize-", "renovate-"))] or ["missing"],
    indirect=True,
)
def test_kustomize_renders_exactly_the_wanted_digest(case: Path) -> None:
    folder = case / "repo" / "envs" / "prod"
    if case.name in NOT_EDITED or not (folder / "deployment.yaml").exists():
        return
    tool("kustomize")
    ((application, image),) = images(case)
    before = run_tool("kustomize", "build", str(folder))

    assert plan(case, f"{application}/{image}", "--write")[0] == 0

    after = run_tool("kustomize", "build", str(folder))
    old, new = before.splitlines(), after.splitlines()
    changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert len(changed) == 1
    assert re.search(
        rf"image: registry\.prod\.example\.com/acme/payments(:[^@ ]+)?@{NEW}$", changed[0][1]
    )
