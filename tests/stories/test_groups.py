"""Groups: several applications in one pull request, none without the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.jobs import Job, JobKind
from bot.domain.memory import Hold, Scope
from tests.world.driver import Driver
from tests.world.monorepo import MONOREPO, build, change, monorepo, open_pulls, shown

pytestmark = pytest.mark.slow

GROUPED = MONOREPO.replace(
    "  api: {{}}\n  web: {{}}\n", "  api: {{ group: shop }}\n  web: {{ group: shop }}\n"
)
BRANCH = "lockkeeper/stage/shop"


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with monorepo(tmp_path, GROUPED) as up:
        yield up


def shop(driver: Driver, environment: str) -> Job:
    return Job(JobKind.PROPOSE, driver.stage.manifests.id, environment, "shop")


def in_dev(driver: Driver, *names: str) -> str:
    """A commit that touches these applications, built and in dev."""
    commit = change(driver, *(f"services/{name}/x" for name in names))
    build(driver, commit, *names)
    driver.run(shop(driver, "dev"))
    assert all(commit[:7] in shown(driver, "dev", name) for name in names)
    return commit


def released(driver: Driver, commit: str, version: str = "v1.0.0") -> None:
    driver.stage.dana.push(driver.stage.source, f"release/{version}", parent=commit)
    driver.run(shop(driver, "stage"))


def said(
    driver: Driver, commit: str, application: str, environment: str = "stage"
) -> tuple[str, str]:
    name = f"lockkeeper: {application} -> {environment}"
    runs = driver.stage.source.check_runs.values()
    found = [run for run in runs if (run.commit, run.name) == (commit, name)]
    assert found, name
    return str(found[-1].output["title"]), str(found[-1].output["summary"])


def test_one_pull_request_carries_all_of_them(driver: Driver) -> None:
    commit = in_dev(driver, "api", "web")
    assert len(driver.stage.manifests.pulls) == 1  # dev merged itself, as one

    released(driver, commit)

    assert open_pulls(driver) == [BRANCH]
    [pull] = driver.stage.manifests.open_pulls()
    assert pull.title == f"Promote shop to stage: release/v1.0.0 at {commit[:7]}"
    assert "2 promotions, merged together" in str(pull.body)
    for name in ("api", "web"):
        assert said(driver, commit, name)[0] == "Proposed, waits to be merged"
    driver.stage.dana.merge(pull)
    driver.run(driver.deliver("stage", "api"), driver.deliver("stage", "web"))
    for name in ("api", "web"):
        assert commit[:7] in shown(driver, "stage", name)


def test_a_second_look_changes_nothing(driver: Driver) -> None:
    released(driver, in_dev(driver, "api", "web"))
    [pull] = driver.stage.manifests.open_pulls()
    head, body = driver.stage.manifests.head(BRANCH), pull.body

    driver.run(shop(driver, "stage"))

    assert driver.stage.manifests.head(BRANCH) == head
    assert pull.body == body


def test_who_is_missing_is_waited_for_by_name(driver: Driver) -> None:
    in_dev(driver, "api", "web")
    released(driver, driver.stage.source.head("develop") or "")
    [pull] = driver.stage.manifests.open_pulls()
    driver.stage.dana.merge(pull)
    driver.run(driver.deliver("stage", "api"), driver.deliver("stage", "web"))
    commit = change(driver, "services/api/y", "services/web/y")
    build(driver, commit, "api")
    driver.run(shop(driver, "dev"))

    title, summary = said(driver, commit, "api", "dev")
    assert title == "Waiting for web"
    assert "shop is promoted as a whole" in summary
    assert commit[:7] not in shown(driver, "dev", "api")

    build(driver, commit, "web")
    driver.run(shop(driver, "dev"))
    assert commit[:7] in shown(driver, "dev", "api")
    assert commit[:7] in shown(driver, "dev", "web")


def test_who_has_nothing_new_is_not_waited_for(driver: Driver) -> None:
    in_dev(driver, "api", "web")

    commit = in_dev(driver, "api")  # nothing of web is touched

    assert commit[:7] in shown(driver, "dev", "api")
    assert commit[:7] not in shown(driver, "dev", "web")


def test_a_member_that_is_never_built_starves_nobody_before_it(driver: Driver) -> None:
    """The newest commit at which nobody is missing goes on."""
    in_dev(driver, "api", "web")
    whole = change(driver, "services/api/y")
    build(driver, whole, "api")
    change(driver, "services/web/y")  # never built
    last = change(driver, "services/api/z")
    build(driver, last, "api")

    driver.run(shop(driver, "dev"))

    assert whole[:7] in shown(driver, "dev", "api")
    assert last[:7] not in shown(driver, "dev", "api")


def test_all_of_one_source_are_taken_at_one_commit(driver: Driver) -> None:
    """Api has its newest, web's is to come: what is built together is promoted together."""
    in_dev(driver, "api", "web")
    both = change(driver, "services/api/y", "services/web/y")
    build(driver, both, "api", "web")
    newer = change(driver, "services/api/z", "services/web/z")
    build(driver, newer, "api")

    driver.run(shop(driver, "dev"))

    for name in ("api", "web"):
        assert both[:7] in shown(driver, "dev", name)


def test_a_hold_on_one_holds_all(driver: Driver) -> None:
    commit = in_dev(driver, "api", "web")
    view = driver.look()
    now = driver.ports.clock.now()
    driver.ports.memory.record_hold(Hold(view.scope("stage", "web"), "load test", "rita", now))

    released(driver, commit)

    assert open_pulls(driver) == []
    assert said(driver, commit, "api")[0] == "Held"


def test_an_approved_one_stays_as_it_is(driver: Driver) -> None:
    commit = in_dev(driver, "api", "web")
    released(driver, commit)
    [pull] = driver.stage.manifests.open_pulls()
    driver.stage.rita.approve(pull)
    head = pull.head
    newer = in_dev(driver, "web")
    driver.stage.dana.push(driver.stage.source, "release/v1.0.0", parent=newer)

    driver.run(shop(driver, "stage"))

    assert pull.head == head
    assert newer[:7] in str(pull.body)
    assert "approved and stays as it is" in said(driver, newer, "web")[1]


def test_what_a_person_closed_is_not_asked_for_again(driver: Driver) -> None:
    released(driver, in_dev(driver, "api", "web"))
    [pull] = driver.stage.manifests.open_pulls()
    driver.stage.dana.close(pull)

    driver.run(shop(driver, "stage"))

    assert open_pulls(driver) == []


def test_others_have_pull_requests_of_their_own(driver: Driver) -> None:
    commit = change(
        driver, "services/api/x", "services/web/x", "services/job/x", "services/job/db/1"
    )
    build(driver, commit, "api", "web", "job", "job-migrate")

    driver.run(shop(driver, "dev"), driver.propose("dev", "job"))

    heads = [pull.head_ref for pull in driver.stage.manifests.pulls.values()]
    assert sorted(heads) == ["lockkeeper/dev/job", "lockkeeper/dev/shop"]


def test_a_look_that_was_asked_for_before_the_group_is_the_groups(driver: Driver) -> None:
    commit = in_dev(driver, "api", "web")
    driver.stage.dana.push(driver.stage.source, "release/v1.0.0", parent=commit)

    driver.run(driver.propose("stage", "api"))

    assert open_pulls(driver) == [BRANCH]


def test_what_the_file_calls_otherwise_now_is_closed_with_a_reason(driver: Driver) -> None:
    commit = in_dev(driver, "api", "web")
    released(driver, commit)
    [old] = driver.stage.manifests.open_pulls()
    text = GROUPED.replace("group: shop", "group: store").format(**driver.stage.hosts)
    stage = driver.stage
    main = stage.manifests.head("main")
    stage.dana.push(stage.manifests, "rename", {"lockkeeper.yaml": text}, parent=main)
    rename = stage.dana.open_pull_request(stage.manifests, "rename", "main")
    stage.rita.approve(rename)
    stage.dana.merge(rename)

    driver.run(Job(JobKind.RECONCILE, driver.stage.manifests.id))

    assert open_pulls(driver) == ["lockkeeper/stage/store"]
    assert old.state == "closed"
    assert any("lockkeeper.yaml" in comment.body for comment in old.comments)


def test_a_group_follows_what_is_published_and_takes_nothing_unknown_for_no(tmp_path: Path) -> None:
    following = GROUPED.replace(
        'on: {{ branches: ["release/*", "hotfix/*"] }}\n    from: dev', "after: [dev]"
    )
    with monorepo(tmp_path, following) as driver:
        commit = in_dev(driver, "api", "web")

        assert open_pulls(driver) == [BRANCH]  # the publication asked
        [pull] = driver.stage.manifests.open_pulls()
        assert commit[:7] in str(pull.title)
        driver.stage.dana.merge(pull)
        driver.run(driver.deliver("stage", "api"), driver.deliver("stage", "web"))

        newer = in_dev(driver, "api")
        assert open_pulls(driver) == [BRANCH]
        [pull] = driver.stage.manifests.open_pulls()
        assert newer[:7] in str(pull.title)
        driver.stage.dana.close(pull)
        driver.stage.dana.push(driver.stage.manifests, "env/dev", {"x": "1\n"})
        driver.run(shop(driver, "stage"))

        said = str(dict(driver.ran)[shop(driver, "stage").key])
        assert "waits for api: in dev env/dev shows a commit that is not Lockkeeper's" in said


def test_a_command_on_the_pull_request_means_each_of_them(driver: Driver) -> None:
    stage = driver.stage
    released(driver, in_dev(driver, "api", "web"))
    [pull] = stage.manifests.open_pulls()

    written = stage.rita.comment(pull, "/hold until the load test is over")
    driver.run(Job(JobKind.COMMENT, stage.manifests.id, subject=str(written.id)))

    holds = driver.ports.memory.holds(Scope(stage.manifests.id, "stage"))
    assert sorted(one.scope.application for one in holds) == ["api", "web"]
    explained = stage.rita.comment(pull, "/explain")
    driver.run(Job(JobKind.COMMENT, stage.manifests.id, subject=str(explained.id)))
    answer = next(one.body for one in reversed(pull.comments) if one.author.type == "Bot")
    assert "api in stage" in answer
    assert "web in stage" in answer

    head = pull.head
    one = stage.rita.comment(pull, "/promote stage")
    driver.run(Job(JobKind.COMMENT, stage.manifests.id, subject=str(one.id)))
    answer = next(one.body for one in reversed(pull.comments) if one.author.type == "Bot")
    assert "several applications" in answer
    assert pull.head == head  # none of them took the pull request for itself

    again = stage.rita.comment(pull, "/unhold")
    driver.run(Job(JobKind.COMMENT, stage.manifests.id, subject=str(again.id)))
    assert driver.ports.memory.holds(Scope(stage.manifests.id, "stage")) == []
