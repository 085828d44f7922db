"""Files of an application that travel with its images (`promote`), told in process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world.driver import Driver, driven
from tests.world.github.gitstore import FileChanges
from tests.world.github.records import PullRequest
from tests.world.stage import PIPELINE

pytestmark = pytest.mark.slow

TRAVELLING = PIPELINE.replace(
    "  payments: {{}}\n",
    '  payments: {{ promote: ["envs/*/config/**", "envs/*/hpa.yaml"] }}\n',
)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path, pipeline=TRAVELLING) as up:
        up.look_first()
        yield up


def push(driver: Driver, **files: str | None) -> None:
    """To the manifests repository's default branch; ``__`` is a slash, a single ``_`` a dot."""
    content: FileChanges = {
        name.replace("__", "/").replace("_", "."): text for name, text in files.items()
    }
    driver.stage.dana.push(driver.stage.manifests, "main", content)


def into_dev(driver: Driver) -> str:
    """A build is merged, delivered and published in dev; its digest."""
    digest = driver.build(driver.stage.source, driver.stage.commit("develop"))
    driver.run(driver.propose("dev"), driver.deliver("dev"), driver.publish("dev"))
    assert driver.shown("dev") == digest, driver.ran
    return digest


def release(driver: Driver, branch: str = "release/1.0") -> None:
    head = driver.stage.source.head("develop")
    driver.stage.dana.push(driver.stage.source, branch, parent=head)
    driver.run(driver.propose("stage"))


def promotion(driver: Driver) -> PullRequest:
    found = driver.stage.open_promotion("stage")
    assert found is not None, driver.ran
    return found


def brought(driver: Driver, pull: PullRequest) -> set[str]:
    """Paths that the head changes."""
    git = driver.stage.manifests.git
    return set(git.text("diff", "--name-only", f"{pull.head}^", pull.head).split())


def test_what_stood_beside_the_images_comes_with_them_and_is_published(driver: Driver) -> None:
    push(driver, envs__dev__config__limits_properties="cpu=2\n", envs__dev__hpa_yaml="max: 3\n")
    push(driver, envs__stage__hpa_yaml="max: 1\n", envs__stage__config__only_txt="here\n")
    digest = into_dev(driver)
    release(driver)
    pull = promotion(driver)

    assert brought(driver, pull) == {
        "envs/stage/config/limits.properties",
        "envs/stage/hpa.yaml",
        "envs/stage/kustomization.yaml",
    }
    body = pull.body or ""
    assert "### Files that come with it" in body
    assert "- `envs/stage/config/limits.properties` added" in body
    assert "- `envs/stage/hpa.yaml` +1 −1" in body  # noqa: RUF001 - a minus sign
    assert "-max: 1\n+max: 3" in body
    assert "left as they are:\n\n- `envs/stage/config/only.txt`" in body

    driver.stage.dana.merge(pull, "merge")
    driver.run(driver.deliver("stage"), driver.publish("stage"))
    tip = driver.stage.ref("stage") or ""
    assert driver.shown("stage") == digest
    assert driver.stage.file(tip, "envs/stage/hpa.yaml") == "max: 3"
    assert driver.stage.file(tip, "envs/stage/config/only.txt") == "here"


def test_the_files_are_those_that_ran_with_the_images_not_newer_ones(driver: Driver) -> None:
    push(driver, envs__dev__hpa_yaml="old\n")
    into_dev(driver)
    old = driver.stage.source.head("develop")
    push(driver, envs__dev__hpa_yaml="new\n")
    into_dev(driver)
    driver.stage.dana.push(driver.stage.source, "release/1.0", parent=old)
    driver.run(driver.propose("stage"))

    head = promotion(driver).head
    assert driver.stage.file(head, "envs/stage/hpa.yaml") == "old"


def test_a_file_that_names_an_image_or_holds_rules_is_refused_by_its_name(driver: Driver) -> None:
    host = driver.stage.hosts["dev"]
    push(driver, envs__dev__config__side_env=f"IMAGE={host}/acme/payments\n")
    into_dev(driver)
    release(driver)

    assert driver.stage.open_promotion("stage") is None
    _, title = driver.stage.checks(driver.stage.source, driver.stage.source.head("develop") or "")[
        "lockkeeper: payments -> stage"
    ]
    assert title == "Not promoted"
    assert any(
        "envs/dev/config/side.env names an image of ours" in one.summary for _, one in driver.ran
    )


def test_an_unapproved_promotion_follows_and_an_approved_one_stays(driver: Driver) -> None:
    push(driver, envs__dev__hpa_yaml="one\n", envs__dev__config__a_txt="a\n")
    into_dev(driver)
    release(driver)
    push(driver, envs__dev__hpa_yaml="two\n", envs__dev__config__a_txt=None)
    driver.run(driver.publish("dev"), driver.propose("stage"))
    pull = promotion(driver)
    assert driver.stage.file(pull.head, "envs/stage/hpa.yaml") == "two"
    assert "envs/stage/config/a.txt" not in brought(driver, pull)

    driver.stage.rita.approve(pull)
    approved = pull.head
    push(driver, envs__dev__hpa_yaml="three\n")
    driver.run(driver.publish("dev"), driver.propose("stage"))
    pull = promotion(driver)
    assert pull.head == approved
    assert "+two" in (pull.body or "")


def test_values_that_only_their_user_calls_so_are_read_as_values(driver: Driver) -> None:
    """An Application says that it is Helm values, and its image stands in two scalars."""
    host = driver.stage.hosts["dev"]
    application = (
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: p}\n"
        "spec: {source: {repoURL: 'https://charts.example', chart: payments,"
        " helm: {valueFiles: [/envs/dev/config/app.yaml]}}}\n"
    )
    values = f"image: {{registry: '{host}', repository: acme/payments, tag: v1}}\n"
    push(driver, envs__dev__argo_yaml=application, envs__dev__config__app_yaml=values)
    into_dev(driver)
    release(driver)

    assert driver.stage.open_promotion("stage") is None
    assert any("app.yaml names an image of ours" in one.summary for _, one in driver.ran)


def test_a_link_or_a_file_on_the_way_is_never_taken_away(driver: Driver) -> None:
    stage = driver.stage
    push(driver, envs__dev__config__limits_properties="2\n", shared__limits_properties="1\n")
    git, head = stage.manifests.git, stage.manifests.head("main") or ""
    before = git.commit(head)
    blob = git.write_blob("../../shared")
    link: dict[str, tuple[str, str] | None] = {"envs/stage/config": ("120000", blob)}
    commit = git.write_commit(git.edit_tree(before.tree, link), (head,), "A link", before.author)
    stage.dana.push(stage.manifests, "main", parent=commit)
    into_dev(driver)
    release(driver)

    assert stage.open_promotion("stage") is None
    assert any("leads through a file, link" in one.summary for _, one in driver.ran)
