"""The comment on what a pull request's rules match, told in process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.formats.pipeline_file import PIPELINE_FILE
from tests.world.driver import Driver, driven
from tests.world.github.gitstore import FileChanges
from tests.world.github.records import PullRequest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with driven(Path(tmp_path_factory.mktemp("preview"))) as up:
        up.look_first()
        yield up


def opened(driver: Driver, branch: str, files: FileChanges) -> PullRequest:
    """A person's pull request, answered."""
    stage = driver.stage
    parent = stage.manifests.head("main")
    stage.dana.push(stage.manifests, branch, files, parent=parent)
    pull = stage.dana.open_pull_request(stage.manifests, branch, base="main", title=branch)
    driver.run(driver.answer(str(pull.number)))
    return pull


def previews(pull: PullRequest) -> list[str]:
    return [one.body for one in pull.comments if "lockkeeper:rules-preview" in one.body]


def rules(driver: Driver) -> str:
    stage = driver.stage
    return stage.file(stage.manifests.head("main") or "", PIPELINE_FILE) + "\n"


def test_rules_that_lose_a_place_and_match_nothing_say_so(driver: Driver) -> None:
    changed = rules(driver).replace("envs/stage/**", "envs/staging/**")
    (preview,) = previews(opened(driver, "lose", {PIPELINE_FILE: changed}))

    assert "**Lost: nothing matches any more** (1)" in preview
    assert (
        "- `stage` `payments/payments`: was at `envs/stage/kustomization.yaml (/images/0)`"
        in preview
    )
    assert "stage: `manifests` `envs/staging/**` matches no file" in preview
    assert "- `prod`: 1 image at 1 place" in preview


def test_moved_manifests_say_where_the_rules_find_them_now(driver: Driver) -> None:
    stage = driver.stage
    main = stage.manifests.head("main") or ""
    overlay = stage.file(main, "envs/prod/kustomization.yaml").replace(
        "../../base", "../../../base"
    )
    files: FileChanges = {
        "envs/prod/kustomization.yaml": None,
        "envs/prod/payments/kustomization.yaml": overlay + "\n",
    }
    pull = opened(driver, "move", files)
    (preview,) = previews(pull)

    assert "**Moved** (1)" in preview
    assert "not at `envs/prod/kustomization.yaml (/images/0)`, now at " in preview
    assert "`envs/prod/payments/kustomization.yaml (/images/0)`" in preview

    # Taken back, the comment says that it is over: no second one is begun.
    back: FileChanges = {
        "envs/prod/payments/kustomization.yaml": None,
        "envs/prod/kustomization.yaml": stage.file(main, "envs/prod/kustomization.yaml") + "\n",
    }
    stage.dana.push(stage.manifests, "move", back)
    driver.run(driver.answer(str(pull.number)))
    (after,) = previews(pull)
    assert "moves nothing that they match" in after


def test_a_change_beside_the_rules_gets_no_comment(driver: Driver) -> None:
    assert not previews(opened(driver, "note", {"envs/prod/notes.md": "read me\n"}))
    assert not previews(opened(driver, "readme", {"README.md": "read me\n"}))


def test_what_two_rules_want_is_named(driver: Driver) -> None:
    text = rules(driver)
    place = '    at: [{ file: "envs/prod/flat.yaml", path: /tag, write: tag }]\n'
    two = text.replace(
        "  payments: {}\n",
        f'  payments:\n{place}    promote: ["envs/prod/c/**"]\n'
        f'  billing:\n{place}    promote: ["envs/*/c/*"]\n    source: acme/payments\n',
    )
    assert two != text
    files: FileChanges = {
        PIPELINE_FILE: two,
        "envs/prod/flat.yaml": "tag: v1\n",
        "envs/prod/c/limits": "cpu\n",
    }
    (preview,) = previews(opened(driver, "two", files))

    assert "is payments/payments's, and billing/billing's as well" in preview
    assert "promote` of payments and billing" in preview
    assert "billing/billing has no place in any environment" in preview


def test_rules_that_are_broken_are_the_checks_subject(driver: Driver) -> None:
    assert not previews(opened(driver, "broken", {PIPELINE_FILE: "version: 2\n"}))


def test_more_rules_than_anybody_reads_are_not_compared(driver: Driver) -> None:
    host = driver.stage.hosts["dev"]
    environments = "".join(
        f"  e{number}: {{ on: {{ branches: [main] }}, manifests: [e{number}/**], "
        f"image_repository: '{host}/e{number}/{{application}}/{{image}}' }}\n"
        for number in range(160)
    )
    many = "".join(f"  a{number}: {{}}\n" for number in range(20))
    text = rules(driver).replace("environments:\n", f"environments:\n{environments}")
    text = text.replace("  payments: {}\n", f"  payments: {{}}\n{many}")
    (preview,) = previews(opened(driver, "many", {PIPELINE_FILE: text}))

    assert "too many" in preview
