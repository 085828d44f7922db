"""The GitHub adapter against the local GitHub: every writer may be repeated."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import github
import pytest

from bot.adapters.clock import SystemClock
from bot.adapters.github import permissions, records
from bot.adapters.github.api import GitHubApi, RefNotMovedError
from bot.adapters.github.calls import Calls, GitHubRefusedError
from bot.adapters.github.tokens import Tokens
from bot.adapters.github.told import Memo
from bot.domain.environments import GitHubRepository
from bot.domain.errors import IntegrityError, NotFoundError, RejectedError, UnavailableError
from bot.domain.history import (
    Actor,
    Check,
    CheckState,
    Contribution,
    DeploymentReport,
    FileWrite,
    MergeRefusal,
    SourcePullRequest,
)
from bot.domain.oci import Digest
from tests.world.github.fixture import running_github
from tests.world.github.people import User
from tests.world.github.records import PullRequest, Repository
from tests.world.github.world import GitHubWorld

DEPLOY = GitHubRepository("acme", "deploy")
FILE = "envs/dev/kustomization.yaml"
GRANTED = {
    **dict.fromkeys(("contents", "pull_requests", "checks", "deployments"), "write"),
    "attestations": "read",
    "members": "read",
    "metadata": "read",
}


@dataclass(frozen=True)
class Scene:
    world: GitHubWorld
    api: GitHubApi
    deploy: Repository
    dana: User

    @property
    def head(self) -> str:
        return self.deploy.head("main") or ""

    def pull_request(self, branch: str = "change") -> PullRequest:
        self.dana.push(self.deploy, branch, {f"{branch}.md": "1\n"})
        return self.dana.open_pull_request(self.deploy, branch)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with running_github(tmp_path / "github") as world:
        world.add_organization("acme")
        dana = world.add_user("dana")
        world.add_team("acme", "release-managers", [dana])
        files: dict[str, str | bytes | None] = {FILE: "images: []\n", ".github/ci.yml": "x: 1\n"}
        deploy = world.add_repository("acme/deploy", files=files)
        app = world.create_app("", "secret", GRANTED, ["push"])
        world.install(app, [deploy, world.add_repository("acme/other")])
        calls = Calls(world.api_url, SystemClock())
        api = GitHubApi(calls, Tokens(calls, str(app.id), app.private_key))
        yield Scene(world, api, deploy, dana)


@pytest.fixture(params=[False, True], ids=["with others", "alone"])
def either(scene: Scene, request: pytest.FixtureRequest) -> Scene:
    """Whether another process may write as the same App or not."""
    return replace(scene, api=replace(scene.api, is_alone=request.param))


def check(scene: Scene, state: CheckState = CheckState.SUCCESS, title: str = "Fine") -> Check:
    return Check("lockkeeper", scene.head, state, title, "all of it")


def report(scene: Scene, state: str = "success") -> DeploymentReport:
    return DeploymentReport("lockkeeper/dev", scene.head, state, "Published")


# --- every writer may be repeated ---


def test_a_check_is_written_once_and_changed_in_place(either: Scene) -> None:
    for state in (CheckState.IN_PROGRESS, CheckState.IN_PROGRESS, CheckState.FAILURE):
        either.api.set_check(DEPLOY, check(either, state))

    runs = list(either.deploy.check_runs.values())
    assert [(run.status, run.conclusion) for run in runs] == [("completed", "failure")]


def test_two_lanes_that_answer_at_once_leave_one_check(either: Scene) -> None:
    with ThreadPoolExecutor(6) as lanes:
        list(lanes.map(lambda _: either.api.set_check(DEPLOY, check(either)), range(6)))

    assert len(either.deploy.check_runs) == 1


def test_a_check_that_says_the_same_is_not_written_again(either: Scene) -> None:
    either.api.set_check(DEPLOY, check(either))
    either.world.fail("PATCH", "/repos/*", 500)
    either.world.fail("POST", "/repos/*", 500)

    either.api.set_check(DEPLOY, check(either))


def test_a_check_of_another_app_is_left_alone(either: Scene) -> None:
    either.world.complete_checks(
        either.deploy, either.head, name="lockkeeper", conclusion="failure"
    )

    either.api.set_check(DEPLOY, check(either))

    conclusions = sorted(str(run.conclusion) for run in either.deploy.check_runs.values())
    assert conclusions == ["failure", "success"]


def test_one_comment_is_kept_and_edited(either: Scene) -> None:
    pull = either.pull_request()
    either.dana.comment(pull, "<!-- marker --> mine")

    for text in ("one", "one", "two"):
        either.api.set_comment(DEPLOY, pull.number, "<!-- marker -->", f"<!-- marker -->\n{text}")

    assert [comment.body for comment in pull.comments] == [
        "<!-- marker --> mine",
        "<!-- marker -->\ntwo",
    ]


def test_a_deployment_is_made_once_and_gets_its_newest_state(either: Scene) -> None:
    for state in ("queued", "queued", "success"):
        either.api.report_deployment(DEPLOY, report(either, state))

    (deployment,) = either.deploy.deployments.values()
    assert [status.state for status in deployment.statuses] == ["queued", "success"]


def test_labels_and_reviewers_may_be_asked_for_again(scene: Scene) -> None:
    pull = scene.pull_request()

    for _ in range(2):
        scene.api.add_labels(DEPLOY, pull.number, ["lockkeeper", "lockkeeper/dev"])
        scene.api.request_reviewers(DEPLOY, pull.number, ["acme/release-managers"])

    with pytest.raises(RejectedError):
        scene.api.request_reviewers(DEPLOY, pull.number, ["acme/gone"])
    assert [label.name for label in pull.labels] == ["lockkeeper", "lockkeeper/dev"]
    assert len(pull.requested_teams) == 1


def test_a_pull_request_is_opened_once_and_closed(scene: Scene) -> None:
    scene.api.set_branch(DEPLOY, "lockkeeper/dev/x", written(scene), is_there=False)

    opened = [
        scene.api.open_pull_request(
            DEPLOY, head="lockkeeper/dev/x", base="main", title="T", body="B"
        )
        for _ in range(2)
    ]
    for _ in range(2):
        scene.api.close_pull_request(DEPLOY, opened[0].number)

    assert opened[0].number == opened[1].number
    assert scene.api.pull_requests(DEPLOY, state="open") == []


def written(scene: Scene, content: bytes = b"images: [new]\n") -> str:
    tree = scene.deploy.git.commit(scene.head).tree
    files = [FileWrite(FILE, "100755", content)]
    return scene.api.write_commit(DEPLOY, scene.head, tree, files, "Promote\n\napi: digest")


def test_a_commit_is_verified_on_its_base_and_leaves_no_branch(scene: Scene) -> None:
    commit = written(scene, b"\xff\xfe images")

    made = scene.deploy.git.commit(commit)
    assert made.parents == (scene.head,)
    assert made.message == "Promote\n\napi: digest"
    assert commit in scene.deploy.verified
    assert scene.deploy.git.run("show", f"{commit}:{FILE}") == b"\xff\xfe images"
    assert list(scene.deploy.git.refs("refs/heads/")) == ["refs/heads/main"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_branch_is_set_whether_it_is_known_or_not(scene: Scene, *, is_there: bool) -> None:
    for content in (b"one\n", b"two\n"):
        commit = written(scene, content)
        for _ in range(2):
            scene.api.set_branch(DEPLOY, "lockkeeper/dev/x", commit, is_there=is_there)
        assert scene.deploy.head("lockkeeper/dev/x") == commit


def test_a_branch_that_a_rule_keeps_says_the_rule(scene: Scene) -> None:
    scene.api.set_branch(DEPLOY, "lockkeeper/dev/x", scene.head, is_there=False)
    commit = written(scene)
    words = {"message": "Repository rule violations found"}
    scene.world.fail("PATCH", "/repos/*", 422, body=words)

    with pytest.raises(GitHubRefusedError, match="rule violations"):
        scene.api.set_branch(DEPLOY, "lockkeeper/dev/x", commit, is_there=True)


def asked(scene: Scene) -> list[str]:
    """Verb and last part of the path of every request but those for tokens."""
    found = [(verb, path.rpartition("/")[2]) for verb, path, _ in scene.world.requests]
    return [f"{verb} {last}" for verb, last in found if last != "access_tokens"]


def test_alone_nothing_that_was_told_is_read_again(scene: Scene) -> None:
    api = replace(scene.api, is_alone=True)
    commit = written(scene)
    api.set_branch(DEPLOY, "change", commit, is_there=False)
    pull = api.open_pull_request(DEPLOY, head="change", base="main", title="T", body="B")
    before = len(asked(scene))

    for state in (CheckState.IN_PROGRESS, CheckState.SUCCESS):
        api.set_check(DEPLOY, Check("lockkeeper", commit, state, "x", "y"))
        api.set_comment(DEPLOY, pull.number, "<!-- m -->", f"<!-- m --> {state}")
    told = asked(scene)[before:]
    assert [one.partition(" ")[0] for one in told] == ["POST", "POST", "PATCH", "PATCH"]

    # Forty applications on one commit: its checks are read once.
    before = len(asked(scene))
    for number in range(40):
        api.set_check(DEPLOY, Check(f"a{number}", scene.head, CheckState.SUCCESS, "x", "y"))
    assert [one for one in asked(scene)[before:] if one.startswith("GET")] == ["GET check-runs"]


def test_lanes_that_tell_one_commit_different_things_know_of_each_other(scene: Scene) -> None:
    api = replace(scene.api, is_alone=True)

    def tell(number: int) -> None:
        api.set_check(DEPLOY, Check(f"a{number % 4}", scene.head, CheckState.SUCCESS, "x", "y"))

    with ThreadPoolExecutor(6) as lanes:
        list(lanes.map(tell, range(12)))

    assert len(scene.deploy.check_runs) == 4


def test_more_check_runs_than_a_page_are_all_known(scene: Scene) -> None:
    for number in range(130):
        scene.api.set_check(DEPLOY, Check(f"a{number}", scene.head, CheckState.FAILURE, "x", "y"))
    again = replace(scene.api, is_alone=True, _runs=Memo())

    for number in range(130):
        again.set_check(DEPLOY, Check(f"a{number}", scene.head, CheckState.SUCCESS, "x", "y"))

    assert len(scene.deploy.check_runs) == 130


def merge(scene: Scene, pull: PullRequest) -> str | MergeRefusal:
    """Merge the head that the pull request has, into main."""
    return scene.api.merge_pull_request(DEPLOY, pull.number, head=pull.head, base="main", title="T")


def merges(scene: Scene) -> list[int]:
    """GitHub's answers to the attempts to merge."""
    found = scene.world.requests
    return [status for method, path, status in found if method == "PUT" and "/merge" in path]


def test_only_the_named_head_is_merged_and_once(scene: Scene) -> None:
    pull = scene.pull_request()

    wrong = scene.api.merge_pull_request(DEPLOY, pull.number, head="f" * 40, base="main", title="T")
    merged = [merge(scene, pull) for _ in range(2)]

    assert wrong == MergeRefusal("Head branch was modified. Review and try the merge again.")
    assert merged == [pull.merge_commit] * 2


def test_a_merge_that_rules_forbid_is_refused_once_in_github_s_words(scene: Scene) -> None:
    scene.world.protect(scene.deploy, "main", approvals=1)
    pull = scene.pull_request()

    refused = scene.api.merge_pull_request(
        DEPLOY, pull.number, head=pull.head, base="main", title="T"
    )

    assert isinstance(refused, MergeRefusal)
    assert "approving review" in refused.words
    assert merges(scene) == [405]


@pytest.mark.parametrize("allowed", ["merge", "squash", "rebase"])
def test_only_a_way_that_the_repository_allows_is_tried(scene: Scene, allowed: str) -> None:
    scene.deploy.merge_methods = {allowed}
    pull = scene.pull_request()

    merged = scene.api.merge_pull_request(
        DEPLOY, pull.number, head=pull.head, base="main", title="T"
    )

    assert merged == pull.merge_commit
    assert merges(scene) == [200]


def test_a_way_that_turns_out_to_be_forbidden_is_followed_by_the_next(scene: Scene) -> None:
    pull = scene.pull_request()
    scene.api.facts(DEPLOY)  # before the setting changed
    scene.deploy.merge_methods = {"rebase"}

    merged = scene.api.merge_pull_request(
        DEPLOY, pull.number, head=pull.head, base="main", title="T"
    )

    assert merged == pull.merge_commit
    assert merges(scene) == [405, 405, 200]


def test_a_repository_that_allows_no_way_says_so(scene: Scene) -> None:
    scene.deploy.merge_methods = set()
    pull = scene.pull_request()

    refused = scene.api.merge_pull_request(
        DEPLOY, pull.number, head=pull.head, base="main", title="T"
    )

    assert refused == MergeRefusal("the repository allows no way to merge")
    assert merges(scene) == []


def publication(scene: Scene, parent: str = "") -> str:
    git = scene.deploy.git
    tree = git.edit_tree(git.commit(scene.head).tree, {".github": None})
    return scene.api.write_publication(
        DEPLOY,
        base_tree=git.commit(scene.head).tree,
        files=[],
        without=".github",
        tree=tree,
        parent=parent,
        message="Publish dev\n",
    )


def test_a_publication_leaves_the_workflows_behind(scene: Scene) -> None:
    commit = publication(scene)

    assert scene.deploy.git.text("ls-tree", "-r", "--name-only", commit) == FILE
    assert scene.deploy.git.commit(commit).parents == ()


def test_a_tree_that_is_not_the_expected_one_is_not_committed(scene: Scene) -> None:
    tree = scene.deploy.git.commit(scene.head).tree
    files = [FileWrite(FILE, "100644", b"other\n")]

    with pytest.raises(IntegrityError):
        scene.api.write_publication(
            DEPLOY, base_tree=tree, files=files, without="", tree=tree, parent="", message="P"
        )


def test_an_environment_ref_moves_forward_only(scene: Scene) -> None:
    first = publication(scene)
    second = publication(scene, first)
    scene.api.set_environment_ref(DEPLOY, "env/dev", first, create=True)

    for _ in range(2):
        scene.api.set_environment_ref(DEPLOY, "env/dev", second, create=False)
    with pytest.raises(RefNotMovedError):
        scene.api.set_environment_ref(DEPLOY, "env/dev", first, create=False)
    with pytest.raises(UnavailableError):
        scene.api.set_environment_ref(DEPLOY, "env/dev", first, create=True)

    assert scene.deploy.head("env/dev") == second


# --- an answer that is lost after the write ---


def _check(scene: Scene, _: int) -> None:
    scene.api.set_check(DEPLOY, check(scene))


def _comment(scene: Scene, number: int) -> None:
    scene.api.set_comment(DEPLOY, number, "<!-- m -->", "<!-- m -->")


def _deployment(scene: Scene, _: int) -> None:
    scene.api.report_deployment(DEPLOY, report(scene))


def _ref(scene: Scene, _: int) -> None:
    scene.api.set_branch(DEPLOY, "lockkeeper/dev/x", scene.head, is_there=False)


def _open(scene: Scene, _: int) -> None:
    scene.api.open_pull_request(DEPLOY, head="change", base="main", title="T", body="B")


@pytest.mark.parametrize(
    ("path", "write"),
    [
        ("/repos/*/check-runs", _check),
        ("/repos/*/comments", _comment),
        ("/repos/*/deployments", _deployment),
        ("/repos/*/deployments/*/statuses", _deployment),
        ("/repos/*/git/refs", _ref),
        ("/repos/*/pulls", _open),
    ],
)
def test_a_write_whose_answer_is_lost_is_not_doubled(
    either: Scene, path: str, write: Callable[[Scene, int], None]
) -> None:
    scene = either
    scene.dana.push(scene.deploy, "change", {"change.md": "1\n"})
    number = 0 if write is _open else scene.pull_request("other").number
    fault = scene.world.fail("POST", path, 502, when="after")

    with pytest.raises(UnavailableError):
        write(scene, number)
    write(scene, number)

    assert fault.met == 1
    assert len(scene.deploy.check_runs) == (write is _check)
    assert len(scene.deploy.deployments) == (write is _deployment)
    assert len(scene.deploy.pulls) == 1 or write is not _open
    assert sum(len(pull.comments) for pull in scene.deploy.pulls.values()) == (write is _comment)
    states = [s.state for d in scene.deploy.deployments.values() for s in d.statuses]
    assert states == (["success"] if write is _deployment else [])


# --- what GitHub says when it does not do it ---


@pytest.mark.parametrize(
    ("status", "headers", "message", "after"),
    [
        (429, {"Retry-After": "7"}, "slow down", 7.0),
        (403, {"Retry-After": "9"}, "You have exceeded a secondary rate limit", 9.0),
        (403, {}, "You have exceeded a secondary rate limit", 60.0),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}, "API rate limit", 1.0),
        (500, {}, "Server Error", None),
        (502, {}, "Server Error", None),
        (0, {}, "", None),
    ],
)
def test_what_passes_is_unavailable_and_says_when(
    scene: Scene, status: int, headers: dict[str, str], message: str, after: float | None
) -> None:
    scene.world.fail("GET", "/repos/*/pulls", status, headers=headers, message=message)

    with pytest.raises(UnavailableError) as caught:
        scene.api.pull_requests(DEPLOY, state="open")

    assert caught.value.retry_after == after


def test_a_refusal_names_the_missing_permission(scene: Scene) -> None:
    headers = {"X-Accepted-GitHub-Permissions": "checks=write"}
    scene.world.fail("POST", "/repos/*/check-runs", 403, headers=headers, message="Not accessible")

    with pytest.raises(GitHubRefusedError, match=r"needs checks=write"):
        scene.api.set_check(DEPLOY, check(scene))


def test_a_token_that_was_revoked_is_asked_for_anew(scene: Scene) -> None:
    first = scene.api.pull_requests(DEPLOY, state="open")
    scene.world.state.tokens.clear()

    with pytest.raises(UnavailableError):
        scene.api.pull_requests(DEPLOY, state="open")

    assert scene.api.pull_requests(DEPLOY, state="open") == first


def test_an_app_that_was_installed_anew_is_found_under_its_new_number(scene: Scene) -> None:
    scene.api.facts(DEPLOY)
    old = next(iter(scene.world.state.installations.values()))
    del scene.world.state.installations[old.id]
    scene.world.install(old.app, [scene.deploy])
    scene.api.tokens._tokens.clear()  # noqa: SLF001 - they end by themselves within an hour

    assert scene.api.facts(DEPLOY).id == scene.deploy.id


def test_a_suspended_installation_waits_for_its_owner(scene: Scene) -> None:
    scene.api.facts(DEPLOY)
    scene.world.suspend(next(iter(scene.world.state.installations.values())))

    with pytest.raises(UnavailableError):
        scene.api.pull_request(DEPLOY, 1)
    with pytest.raises(UnavailableError, match="suspended; an owner of acme"):
        scene.api.pull_request(DEPLOY, 1)

    scene.world.unsuspend(next(iter(scene.world.state.installations.values())))
    assert scene.api.facts(DEPLOY).id == scene.deploy.id


def test_no_new_token_is_had_for_a_repository_that_was_renamed(scene: Scene) -> None:
    scene.world.rename(scene.deploy, "moved")

    with pytest.raises(GitHubRefusedError, match="does not exist or is not accessible"):
        scene.api.set_check(DEPLOY, check(scene))

    assert scene.deploy.check_runs == {}


def test_a_repository_without_the_app_is_not_found(scene: Scene) -> None:
    scene.world.add_repository("acme/secret")

    with pytest.raises(NotFoundError):
        scene.api.facts(GitHubRepository("acme", "secret"))


# --- what is asked for ---


def test_each_token_opens_one_repository_for_one_purpose(scene: Scene) -> None:
    pull = scene.pull_request()
    scene.api.facts(DEPLOY)
    scene.api.set_check(DEPLOY, check(scene))
    scene.api.set_comment(DEPLOY, pull.number, "<!-- m -->", "<!-- m -->")
    written(scene)

    tokens = list(scene.world.state.tokens.values())

    assert all(token.repositories == [scene.deploy] for token in tokens)
    asked = [dict(token.permissions) for token in tokens]
    allowed = [dict(needed) for needed in permissions.ALL]
    for found in asked:
        wanted = {name: level for name, level in found.items() if name != "metadata"}
        assert (wanted or {"metadata": "read"}) in allowed


def test_every_page_is_read(scene: Scene) -> None:
    pull = scene.pull_request()
    for number in range(205):
        scene.dana.comment(pull, f"comment {number}")
        scene.dana.review(pull, "COMMENT", f"review {number}")

    for _ in range(2):
        scene.api.set_comment(DEPLOY, pull.number, "<!-- m -->", "<!-- m -->")

    assert sum(comment.app is not None for comment in pull.comments) == 1
    assert len(scene.api.reviews(DEPLOY, pull.number)) == 205


@pytest.mark.parametrize(
    ("before", "behind"), [(0, 2101), (2101, 0), (2101, 2101), (2101, 20)], ids=str
)
def test_a_flood_of_comments_stops_nothing(scene: Scene, before: int, behind: int) -> None:
    """Any reader may write them: ours is found before, behind or between, and edited."""
    pull = scene.pull_request()
    one = scene.world.add_user("eve").comment(pull, "first")

    def flood(count: int) -> None:
        with scene.world.state.lock:
            pull.comments.extend(copy.copy(one) for _ in range(count))

    flood(before)
    scene.api.set_comment(DEPLOY, pull.number, "<!-- m -->", "<!-- m --> one")
    flood(behind)
    scene.api.set_comment(DEPLOY, pull.number, "<!-- m -->", "<!-- m --> two")

    ours = [comment.body for comment in pull.comments if comment.app is not None]
    assert ours == ["<!-- m --> two"]


def test_a_comment_that_was_buried_and_deleted_is_written_anew(scene: Scene) -> None:
    pull = scene.pull_request()
    one = scene.world.add_user("eve").comment(pull, "first")
    with scene.world.state.lock:
        pull.comments.extend(copy.copy(one) for _ in range(2101))
    scene.api.set_comment(DEPLOY, pull.number, "<!-- m -->", "<!-- m --> one")
    with scene.world.state.lock:
        ours = next(comment for comment in pull.comments if comment.app is not None)
        pull.comments.remove(ours)
        del scene.deploy.comments[ours.id]

    scene.api.set_comment(DEPLOY, pull.number, "<!-- m -->", "<!-- m --> two")

    assert [c.body for c in pull.comments if c.app is not None] == ["<!-- m --> two"]


def test_what_people_read_on_github_names_no_folder_of_the_machine(scene: Scene) -> None:
    pull = scene.pull_request()
    api = replace(scene.api, hide=lambda said: said.replace("/etc/secret", "GRANTS"))
    words = "/etc/secret/prod/signing.key cannot be read"

    api.set_check(DEPLOY, Check("lockkeeper", scene.head, CheckState.FAILURE, "x", words))
    api.set_comment(DEPLOY, pull.number, "<!-- m -->", f"<!-- m --> {words}")
    api.edit_pull_request(DEPLOY, pull.number, title="t", body=words)

    check_run = next(iter(scene.deploy.check_runs.values()))
    said = [str(check_run.output), *(one.body for one in pull.comments), str(pull.body)]
    assert all("GRANTS/prod/signing.key" in one and "/etc/secret" not in one for one in said), said


def test_a_flood_of_reviews_hides_nobodys_last_word(scene: Scene) -> None:
    """Any reader may write them; the newest are read, and none stops anything."""
    pull = scene.pull_request()
    rita = scene.world.add_user("rita")
    first = rita.review(pull, "COMMENT", "words")
    with scene.world.state.lock:
        pull.reviews.extend(copy.copy(first) for _ in range(2100))
    rita.approve(pull)

    found = scene.api.reviews(DEPLOY, pull.number)

    assert 1900 < len(found) <= 2000
    assert found[-1].state == "APPROVED"


def test_people_are_looked_up_now(scene: Scene) -> None:
    sam = scene.world.add_user("sam")

    assert scene.api.in_team(DEPLOY, "acme/release-managers", "dana")
    assert not scene.api.in_team(DEPLOY, "acme/release-managers", "sam")
    assert not scene.api.in_team(DEPLOY, "acme/gone", "dana")
    dana = Actor(scene.dana.login, is_person=True, id=scene.dana.id)
    assert scene.api.can_write(DEPLOY, dana)
    assert not scene.api.can_write(DEPLOY, replace(dana, id=sam.id)), "a name that was taken over"
    scene.deploy.roles[sam.login] = "read"
    assert not scene.api.can_write(DEPLOY, Actor("sam", is_person=True, id=sam.id))
    assert not scene.api.can_write(DEPLOY, Actor("nobody", is_person=True, id=1))


def test_a_comment_is_read_as_it_is_now_and_reacted_to_once(scene: Scene) -> None:
    scene.dana.push(scene.deploy, "x", {"x": "1\n"})
    pull = scene.dana.open_pull_request(scene.deploy, "x")
    written = scene.dana.comment(pull, "/hold it")

    found = scene.api.comment(DEPLOY, written.id)
    assert found is not None
    assert (found.pull_request, found.body, found.is_edited) == (pull.number, "/hold it", False)
    assert (found.author.id, found.author.is_person) == (scene.dana.id, True)

    scene.api.react(DEPLOY, written.id, "+1")
    scene.api.react(DEPLOY, written.id, "+1")
    assert [content for _, _, content, _ in written.reactions] == ["+1"]
    written.created_at -= timedelta(seconds=1)
    edited = scene.api.comment(DEPLOY, written.id)
    assert edited is not None
    assert edited.is_edited
    assert scene.api.comment(DEPLOY, 999_999) is None


def test_a_label_is_put_on_and_taken_off(scene: Scene) -> None:
    scene.dana.push(scene.deploy, "x", {"x": "1\n"})
    pull = scene.dana.open_pull_request(scene.deploy, "x")

    scene.api.set_label(DEPLOY, pull.number, "lockkeeper/hold", is_there=True)
    assert [label.name for label in pull.labels] == ["lockkeeper/hold"]
    for _ in range(2):
        scene.api.set_label(DEPLOY, pull.number, "lockkeeper/hold", is_there=False)
    assert pull.labels == []


def test_attestations_are_handed_over_as_they_are(scene: Scene) -> None:
    bundle: dict[str, object] = {"mediaType": "x", "dsseEnvelope": {"payload": "e30="}}
    digest = Digest("sha256:" + "a" * 64)
    scene.deploy.attestations[digest] = [bundle]

    assert [json.loads(one) for one in scene.api.attestations(DEPLOY, digest)] == [bundle]
    assert scene.api.attestations(DEPLOY, Digest("sha256:" + "b" * 64)) == []


# --- contributions ---


def test_many_commits_are_asked_for_at_once(scene: Scene) -> None:
    pull = scene.pull_request("feature")
    pull.title = "Add a feature <b>"
    merge = scene.dana.merge(pull)
    pushed = [
        scene.dana.push(scene.deploy, "main", {"n.txt": f"{number}\n"}) for number in range(60)
    ]
    waiting = scene.pull_request("waiting")
    asked = [merge, pull.head, *pushed, waiting.head, "f" * 40]
    before = len(scene.world.requests)

    found = scene.api.contributions(DEPLOY, asked)

    assert [one.commit for one in found] == asked[:-1]
    feature = SourcePullRequest(
        pull.number, "Add a feature <b>", merged=True, author="dana", branch="feature"
    )
    assert found[0] == Contribution(merge, "dana", feature)
    assert found[1].pull_request == feature
    assert {one.pull_request for one in found[2:62]} == {None}
    assert found[62].pull_request == SourcePullRequest(
        waiting.number, waiting.title, merged=False, author="dana", branch="waiting"
    )
    queries = [one for one in scene.world.requests[before:] if one[1].endswith("/graphql")]
    assert len(queries) == 2


def test_a_commit_of_nobody_s_address_has_no_author() -> None:
    data = {"oid": "a" * 40, "author": {"user": None}, "associatedPullRequests": {"nodes": []}}

    assert records.contribution(data) == Contribution("a" * 40, None, None)


def test_the_pull_request_that_brought_a_commit_first_counts() -> None:
    def node(number: int, *, merged: bool) -> dict[str, object]:
        return {"number": number, "title": "t", "merged": merged, "author": None}

    nodes = [node(9, merged=True), node(3, merged=False), node(5, merged=True), None]

    found = records.contribution({"oid": "a" * 40, "associatedPullRequests": {"nodes": nodes}})

    assert found.pull_request == SourcePullRequest(5, "t", merged=True, author=None)


def test_no_commits_ask_nothing(scene: Scene) -> None:
    before = len(scene.world.requests)

    assert scene.api.contributions(DEPLOY, []) == []
    assert len(scene.world.requests) == before


def test_contributions_of_a_repository_without_the_app_are_refused(scene: Scene) -> None:
    with pytest.raises(RejectedError):
        scene.api.contributions(GitHubRepository("acme", "elsewhere"), ["a" * 40])


# --- what is not GitHub ---


class _Page(BaseHTTPRequestHandler):
    """A web page where an API should be; the path's first part is the status."""

    def do_POST(self) -> None:
        body = b"<html>hunter2</html>"
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, GitHubRefusedError),
        (403, GitHubRefusedError),
        (404, GitHubRefusedError),
        (405, GitHubRefusedError),
        (422, GitHubRefusedError),
        (408, UnavailableError),
        (429, UnavailableError),
        (200, UnavailableError),
        (502, UnavailableError),
    ],
)
def test_a_page_where_the_api_should_be_is_refused_or_tried_again(
    status: int, kind: type[Exception]
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        calls = Calls(f"http://127.0.0.1:{server.server_port}/{status}", SystemClock())

        with pytest.raises(kind) as caught:
            calls.send(github.Auth.Token("t"), "POST", "/x")

        server.shutdown()
    assert "hunter2" not in str(caught.value)
    assert (kind is GitHubRefusedError) == ("LOCKKEEPER_GITHUB_URL" in str(caught.value))


def test_a_refusal_for_the_rate_silences_the_whole_installation_and_is_no_answer(
    scene: Scene,
) -> None:
    """A 403 that `pushes` takes for "not told" elsewhere is none here."""
    scene.api.facts(DEPLOY)
    scene.api.pushes(DEPLOY, "refs/heads/main")
    headers = {"retry-after": "30"}
    scene.world.fail("GET", "/repos/acme/deploy/activity", 403, headers=headers)

    with pytest.raises(UnavailableError):
        scene.api.pushes(DEPLOY, "refs/heads/main")
    with pytest.raises(UnavailableError) as caught:
        scene.api.pull_requests(DEPLOY, state="open")

    assert "GET pulls" not in asked(scene)
    assert 0 < (caught.value.retry_after or 0) <= 30


def test_what_did_not_change_is_not_sent_again(scene: Scene) -> None:
    pull = scene.pull_request()
    found = [scene.api.pull_request(DEPLOY, pull.number) for _ in range(2)]
    scene.dana.edit(pull, title="Another title")
    changed = scene.api.pull_request(DEPLOY, pull.number)

    statuses = [s for _, path, s in scene.world.requests if path.endswith(f"/pulls/{pull.number}")]
    assert statuses == [200, 304, 200]
    assert found[0] == found[1]
    assert changed.title == "Another title"


def test_every_page_of_a_list_is_remembered_with_what_follows(scene: Scene) -> None:
    pull = scene.pull_request()
    for number in range(120):
        scene.dana.review(pull, "COMMENT", f"review {number}")

    assert [len(scene.api.reviews(DEPLOY, pull.number)) for _ in range(2)] == [120, 120]
    assert [s for _, path, s in scene.world.requests if path.endswith("/reviews")].count(304) == 2
