"""What migration pages claim: keys that the files take, and a pattern that is walked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from bot.formats.pipeline_file import read_pipeline
from bot.formats.policy_file import read_policy
from tests.walked.pages import ROOT

FOLDER: Final = ROOT / "docs" / "migrate"
PATTERNS: Final = FOLDER / "registry-patterns.md"
PAGES: Final = sorted(set(FOLDER.glob("*.md")) - {PATTERNS})
FROM: Final = {
    "argocd-image-updater",
    "crane-cp",
    "docker-tag-push",
    "github-environments",
    "jenkins-stages",
    "kargo",
    "oc-tag",
    "skopeo-copy",
}
_APPLICATION: Final = {"image_tag", "tag_match", "promote"}
_ENVIRONMENT: Final = {"on", "from", "merge", "image_tags", "sign", "approvals", "after"}
_POLICY: Final = {"{ id", "require"}


def rows(page: Path) -> list[tuple[str, str]]:
    """(before, now) of the page's table."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    cells = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in lines]
    assert all(len(one) == 2 for one in cells), page.name
    return [(before, now) for before, now in cells[2:]]


def test_there_is_a_page_for_everything_that_people_come_from() -> None:
    index = (ROOT / "docs" / "migrate.md").read_text()

    assert {page.stem for page in PAGES} == FROM
    assert all(f"(migrate/{page.name})" in index for page in (*PAGES, PATTERNS))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_a_table_of_old_lines_with_an_order_behind(page: Path) -> None:
    text = page.read_text()
    found = rows(page)

    assert len(found) >= 12
    assert all(before and now for before, now in found)
    assert len({before for before, _ in found}) == len(found)
    assert "(registry-patterns.md#" in text or "(registry-patterns.md)" in text
    assert re.search(r"^## In which order\n\n1\. .+\n2\. ", text, re.MULTILINE)


def said(keys: set[str]) -> Iterator[tuple[str, str]]:
    """(page, code) of every key that a right column writes out."""
    for page in PAGES:
        for _, now in rows(page):
            for code in re.findall(r"`([^`]+)`", now):
                if code.split(":")[0] in keys and ": " in code and "..." not in code:
                    yield page.stem, code


@pytest.mark.parametrize(
    ("page", "code"), [*said(_ENVIRONMENT), *said(_APPLICATION)], ids=lambda text: text
)
def test_what_a_page_writes_is_taken_by_the_pipeline_file(page: str, code: str) -> None:
    assert page
    key = code.split(":", maxsplit=1)[0]
    upper = {
        "on": "on: { branches: [main] }",
        "from": "from: test",
        "image_repository": "image_repository: registry.prod.example.com/{image}",
        "manifests": "manifests: [envs/prod/**]",
    }
    upper |= {key: code} if key in _ENVIRONMENT else {}
    if key == "after":  # another than the one that it is fed by
        upper = {**upper, key: "after: [test]"}
    if key == "merge":
        upper["on"] = "on: { branches: [trunk] }"
    application = f"{{ {code} }}" if key in _APPLICATION else "{}"
    lines = "\n".join(f"    {line}" for line in upper.values())

    read = read_pipeline(
        "version: 1\nenvironments:\n  test:\n    on: { branches: [develop] }\n"
        "    image_repository: registry.test.example.com/{image}\n    manifests: [envs/test/**]\n"
        f"  prod:\n{lines}\n"
        "defaults: { source: 'acme/{application}' }\n"
        f"applications: {{ payments: {application} }}\n",
        file="lockkeeper.yaml",
    )

    assert set(read.environments) == {"test", "prod"}


@pytest.mark.parametrize(("page", "code"), list(said(_POLICY)), ids=lambda text: text)
def test_what_a_page_writes_is_taken_by_the_policy(page: str, code: str) -> None:
    assert page
    asked = code if code.startswith("require") else f"rules: [{code}]"

    read = read_policy(f"version: 1\nenvironments:\n  prod: {{ {asked} }}\n", file="policy.yaml")

    assert set(read) == {"prod"}


def test_keys_are_found() -> None:
    assert len(list(said(_ENVIRONMENT))) >= 15
    assert list(said(_POLICY))
