"""`paths` in monorepos: what git can call a change, and globs that say what counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.errors import RejectedError
from bot.formats.pipeline_file import read_pipeline
from tests.world.driver import Driver
from tests.world.github.gitstore import FileChanges
from tests.world.github.records import Repository
from tests.world.monorepo import (
    MONOREPO,
    build,
    change,
    everything,
    monorepo,
    open_pulls,
    shown,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with monorepo(tmp_path) as up:
        yield up


def commit_tree(driver: Driver, edits: dict[str, tuple[str, str] | None]) -> str:
    """A commit on develop with entries of any mode."""
    source = driver.stage.source
    assert isinstance(source, Repository)
    tip = source.head("develop") or ""
    tree = source.git.edit_tree(source.git.commit(tip).tree, edits)
    signature = driver.stage.dana.account.signature(driver.stage.github.state.clock())
    commit = source.git.write_commit(tree, (tip,), "Edit", signature)
    driver.stage.dana.push(source, "develop", parent=commit)
    return commit


def test_a_submodule_that_moves_below_paths_counts(tmp_path: Path) -> None:
    """`services/web/**` is everything below services/web, a submodule there among it."""
    text = MONOREPO.replace(
        "  web: {{}}\n", '  web: {{ paths: ["services/web/**", "vendor/ui/**"] }}\n'
    )
    with monorepo(tmp_path, text) as driver:
        commit_tree(driver, {"vendor/ui": ("160000", "a" * 40)})
        everything(driver)
        moved = commit_tree(driver, {"vendor/ui": ("160000", "b" * 40)})
        build(driver, moved, "web")

        driver.run(driver.propose("dev", "web"))

        assert moved[:7] in shown(driver, "dev", "web")


def test_a_file_that_moves_out_of_the_paths_counts(driver: Driver) -> None:
    everything(driver)
    files: FileChanges = {"services/web/x": None, "attic/x": "services/web/x\n"}
    moved = driver.stage.dana.push(driver.stage.source, "develop", files)
    build(driver, moved, "web")

    driver.run(driver.propose("dev", "web"))

    assert moved[:7] in shown(driver, "dev", "web")


def test_a_mode_that_changes_counts(driver: Driver) -> None:
    """chmod +x entrypoint.sh is another image."""
    everything(driver)
    source = driver.stage.source
    tip = source.head("develop") or ""
    known = source.git.entry(source.git.commit(tip).tree, "services/web/x")
    assert known is not None
    commit = commit_tree(driver, {"services/web/x": ("100755", known.id)})
    build(driver, commit, "web")

    driver.run(driver.propose("dev", "web"))

    assert commit[:7] in shown(driver, "dev", "web")


def test_a_merge_that_brings_the_change_counts(driver: Driver) -> None:
    base = everything(driver)
    stage = driver.stage
    stage.dana.push(stage.source, "feature", {"services/web/a": "1\n"}, parent=base)
    change(driver, "services/api/q")
    pull = stage.dana.open_pull_request(stage.source, "feature", "develop")
    merged = stage.dana.merge(pull, "merge")
    build(driver, merged, "web")

    driver.run(driver.propose("dev", "web"))

    assert merged[:7] in shown(driver, "dev", "web")


def test_a_change_that_is_taken_back_goes_back(driver: Driver) -> None:
    """A revert restores old bytes: what runs differs, so something has to be done."""
    first = everything(driver)
    source = driver.stage.source
    path = "services/web/x"
    before = source.git.text("show", f"{first}:{path}")
    commit = change(driver, path)
    build(driver, commit, "web")
    driver.run(driver.propose("dev", "web"))
    assert commit[:7] in shown(driver, "dev", "web")
    reverted = driver.stage.commit("develop", {path: f"{before}\n"})
    build(driver, reverted, "web")

    driver.run(driver.propose("dev", "web"))

    assert reverted[:7] in shown(driver, "dev", "web")


@pytest.mark.parametrize(
    "glob",
    [
        "/services/web/**",
        "./services/web/**",
        "services/web/",
        "services//web/**",
        "!docs/**",
        "{{a,b}}/**",
        " docs/**",
        "docs/./x",
    ],
)
def test_a_glob_that_can_match_nothing_is_refused(glob: str) -> None:
    """Else the application is never promoted again, and nobody is told why."""
    text = MONOREPO.replace("  web: {{}}\n", f'  web: {{{{ paths: ["{glob}"] }}}}\n')
    hosts = {n: f"{n}.example.com" for n in ("dev", "stage", "prod")}
    with pytest.raises(RejectedError):
        read_pipeline(text.format(**hosts))


def test_a_folder_without_stars_is_refused_or_means_what_is_below(tmp_path: Path) -> None:
    """`paths: [services/web]`: nothing of the source will ever match, and nobody is told."""
    text = MONOREPO.replace("  web: {{}}\n", '  web: {{ paths: ["services/web"] }}\n')
    with monorepo(tmp_path, text) as driver:
        everything(driver)
        commit = change(driver, "services/web/y")
        build(driver, commit, "web")
        driver.run(driver.propose("dev", "web"))

        told = driver.stage.checks(driver.stage.source, commit)
        assert commit[:7] in shown(driver, "dev", "web") or any(" web ->" in one for one in told)


def test_paths_that_come_later_take_nothing_back(driver: Driver) -> None:
    """An application gets `paths`: what runs stays, and the next change of its own goes on."""
    everything(driver)
    before = shown(driver, "dev", "api")
    text = MONOREPO.replace("  api: {{}}\n", '  api: {{ paths: ["services/api/**"] }}\n')
    driver.stage.dana.push(
        driver.stage.manifests, "main", {"lockkeeper.yaml": text.format(**driver.stage.hosts)}
    )
    change(driver, "libs/z")
    driver.run(driver.propose("dev", "api"))
    assert shown(driver, "dev", "api") == before
    commit = change(driver, "services/api/z")
    build(driver, commit, "api")

    driver.run(driver.propose("dev", "api"))

    assert commit[:7] in shown(driver, "dev", "api")


def test_an_application_whose_files_did_not_change_for_hundreds_of_commits(
    tmp_path: Path,
) -> None:
    """Its image was built once, 520 commits ago; the first release branch takes it."""
    with monorepo(tmp_path, MONOREPO) as driver:
        first = change(driver, "services/web/x")
        build(driver, first, "web")
        source = driver.stage.source
        tip = first
        signature = driver.stage.dana.account.signature(driver.stage.github.state.clock())
        for number in range(520):
            tree = source.git.with_files(
                source.git.commit(tip).tree, {"services/api/n": f"{number}\n"}
            )
            tip = source.git.write_commit(tree, (tip,), "Other", signature)
        driver.stage.dana.push(source, "develop", parent=tip)

        driver.run(driver.propose("dev", "web"))

        assert first[:7] in shown(driver, "dev", "web"), driver.ran[-2:]


def test_case_of_paths_is_git_s(driver: Driver) -> None:
    everything(driver)
    before = shown(driver, "dev", "web")
    change(driver, "Services/Web/x")
    driver.run(driver.propose("dev", "web"))
    assert shown(driver, "dev", "web") == before


def test_a_release_tag_without_changes_is_told_that_it_runs(tmp_path: Path) -> None:
    """All applications of a monorepo are tagged v1.0.0; that of one did not change since rc.1."""
    text = MONOREPO.replace(
        'on: {{ branches: ["release/*", "hotfix/*"] }}', 'on: {{ tags: ["v*"] }}'
    )
    with monorepo(tmp_path, text) as driver:
        stage, first = driver.stage, everything(driver)
        stage.dana.tag(stage.source, "v1.0.0", first)
        driver.run(driver.propose("stage", "web"))
        [pull] = stage.manifests.open_pulls()
        stage.dana.merge(pull)
        driver.run(driver.deliver("stage", "web"))
        assert first[:7] in shown(driver, "stage", "web")
        other = change(driver, "services/api/y")
        build(driver, other, "api")
        driver.run(driver.propose("dev", "api"))
        stage.dana.tag(stage.source, "v1.1.0", other)
        driver.run(driver.propose("stage", "web"), driver.propose("stage", "api"))

        assert open_pulls(driver) == ["lockkeeper/stage/api"]
        told = stage.checks(stage.source, other)
        assert told["lockkeeper: web -> stage"] == ("success", "Already there")


def test_images_of_two_applications_of_one_commit_go_their_own_ways(driver: Driver) -> None:
    """One push touches both; only one is built: the other waits and says so."""
    everything(driver)
    commit = change(driver, "services/api/z", "services/web/z")
    build(driver, commit, "api")
    driver.run(driver.propose("dev", "api"), driver.propose("dev", "web"))

    assert commit[:7] in shown(driver, "dev", "api")
    assert commit[:7] not in shown(driver, "dev", "web")
    told = driver.stage.checks(driver.stage.source, commit)["lockkeeper: web -> dev"]
    assert told[1] == "Waiting for image"


def test_paths_with_names_that_git_quotes(driver: Driver) -> None:
    """An umlaut, a quotation mark, a tab, a star in a name."""
    everything(driver)
    commit = change(driver, 'services/web/ä "q"\t*.txt')
    build(driver, commit, "web")

    driver.run(driver.propose("dev", "web"))

    assert commit[:7] in shown(driver, "dev", "web")
