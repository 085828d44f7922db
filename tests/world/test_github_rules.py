"""What the local GitHub refuses, as GitHub does."""

from __future__ import annotations

import base64
from datetime import timedelta

import github
import pytest

from tests.world.conftest import Scene
from tests.world.github.clock import MovableClock
from tests.world.github.errors import ApiError
from tests.world.github.faults import When
from tests.world.github.records import PullRequest

COMMIT = """
mutation($input: CreateCommitOnBranchInput!) {
  createCommitOnBranch(input: $input) { commit { oid } }
}
"""


def main(scene: Scene) -> str:
    tip = scene.manifests.head("main")
    assert tip is not None
    return tip


def pull(scene: Scene, branch: str = "feature", path: str = "a.txt") -> PullRequest:
    scene.sam.push(scene.manifests, branch, {path: f"{branch}\n"})
    return scene.sam.open_pull_request(scene.manifests, branch)


# --- who may ----------------------------------------------------------------------------------


def test_a_missing_permission_is_403_and_named(scene: Scene) -> None:
    token = scene.token({"contents": "read"})

    answer = scene.send(
        "POST",
        "/repos/acme/manifests/git/refs",
        token=token,
        json={"ref": "refs/heads/x", "sha": main(scene)},
    )

    assert answer.status_code == 403
    assert answer.json()["message"] == "Resource not accessible by integration"
    assert answer.headers["X-Accepted-GitHub-Permissions"] == "contents=write"


def test_a_repository_outside_the_token_is_not_found(scene: Scene) -> None:
    other = scene.world.add_repository("acme/other")
    scene.installation.repositories = [scene.manifests, other]
    path = f"/app/installations/{scene.installation.id}/access_tokens"
    minted = scene.send("POST", path, token=scene.app_token(), json={"repositories": ["other"]})
    token = minted.json()["token"]

    assert len(token) > 40
    assert [one["name"] for one in minted.json()["repositories"]] == ["other"]
    assert scene.send("GET", "/repos/acme/other", token=token).status_code == 200
    assert scene.send("GET", "/repos/acme/manifests", token=token).status_code == 404


@pytest.mark.parametrize(
    "wish", [{"permissions": {"administration": "write"}}, {"repositories": ["unknown"]}]
)
def test_a_token_wider_than_the_installation_is_422(scene: Scene, wish: dict[str, object]) -> None:
    path = f"/app/installations/{scene.installation.id}/access_tokens"

    assert scene.send("POST", path, token=scene.app_token(), json=wish).status_code == 422


def test_a_token_expires_after_an_hour(scene: Scene) -> None:
    token = scene.token()
    clock = scene.world.clock
    assert isinstance(clock, MovableClock)

    clock.advance(timedelta(minutes=61))

    assert scene.send("GET", "/repos/acme/manifests", token=token).status_code == 401


def test_a_suspended_installation_is_403(scene: Scene) -> None:
    token = scene.token()

    scene.world.suspend(scene.installation)

    assert scene.send("GET", "/repos/acme/manifests", token=token).status_code == 403


def test_an_app_cannot_write_workflows_without_the_permission(scene: Scene) -> None:
    head = main(scene)
    text = base64.b64encode(b"on: pull_request\n").decode()
    branch = {"repositoryNameWithOwner": "acme/manifests", "branchName": "main"}
    wish = {
        "branch": branch,
        "message": {"headline": "Change CI"},
        "expectedHeadOid": head,
        "fileChanges": {"additions": [{"path": ".github/workflows/ci.yaml", "contents": text}]},
    }

    errors = graphql_errors(scene, {"input": wish})

    assert errors[0]["type"] == "FORBIDDEN"
    assert "without `workflows` permission" in errors[0]["message"]
    assert scene.manifests.head("main") == head


def test_an_outsider_sees_no_private_repository(scene: Scene) -> None:
    stranger = scene.world.add_user("stranger", outsider=True)

    assert scene.send("GET", "/repos/acme/manifests", token=stranger.token).status_code == 404


# --- refs and commits -------------------------------------------------------------------------


def graphql_errors(scene: Scene, variables: dict[str, object]) -> list[dict[str, str]]:
    client = scene.client()
    _, answer = client.requester.requestJsonAndCheck(
        "POST", scene.world.graphql_url, input={"query": COMMIT, "variables": variables}
    )
    errors: list[dict[str, str]] = answer["errors"]
    return errors


def test_a_commit_on_a_stale_head_is_refused(scene: Scene) -> None:
    stale = main(scene)
    scene.rita.push(scene.manifests, "main", {"b.txt": "b"})
    branch = {"repositoryNameWithOwner": "acme/manifests", "branchName": "main"}
    wish = {"branch": branch, "message": {"headline": "x"}, "expectedHeadOid": stale}

    errors = graphql_errors(scene, {"input": wish})

    assert errors[0]["type"] == "STALE_DATA"
    assert stale in errors[0]["message"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("refs/heads/main", "Reference already exists"),
        ("refs/heads/main/below", "Reference update failed"),
        ("main", "Reference name must start with 'refs/' and contain two slashes"),
    ],
)
def test_a_ref_that_cannot_be_created(scene: Scene, name: str, message: str) -> None:
    body = {"ref": name, "sha": main(scene)}

    answer = scene.send("POST", "/repos/acme/manifests/git/refs", json=body)

    assert (answer.status_code, answer.json()["message"]) == (422, message)


def test_a_ref_moves_forward_only_unless_forced(scene: Scene) -> None:
    first = main(scene)
    scene.rita.push(scene.manifests, "main", {"b.txt": "b"})
    path = "/repos/acme/manifests/git/refs/heads/main"

    refused = scene.send("PATCH", path, json={"sha": first, "force": False})
    forced = scene.send("PATCH", path, json={"sha": first, "force": True})

    assert (refused.status_code, refused.json()["message"]) == (
        422,
        "Update is not a fast forward",
    )
    assert forced.status_code == 200
    assert scene.world.webhooks.sent[-2].payload["forced"] is True


def test_deleting_a_path_that_is_not_there_is_422(scene: Scene) -> None:
    entry = {"path": "nowhere", "mode": "100644", "type": "blob", "sha": None}
    body = {"base_tree": scene.manifests.git.commit(main(scene)).tree, "tree": [entry]}

    answer = scene.send("POST", "/repos/acme/manifests/git/trees", json=body)

    assert (answer.status_code, answer.json()["message"]) == (422, "GitRPC::BadObjectState")


@pytest.mark.parametrize("kind", ["commit", "blob", "unknown"])
def test_a_tree_is_based_on_a_tree_and_nothing_else(scene: Scene, kind: str) -> None:
    commit = scene.rita.push(scene.manifests, "main", {"new.txt": "new"})
    blob = scene.manifests.git.entry(commit, "new.txt")
    assert blob is not None
    base = {"commit": commit, "blob": blob.id, "unknown": "f" * 40}[kind]
    entry = {"path": "a.txt", "mode": "100644", "type": "blob", "content": "a"}

    answer = scene.send(
        "POST", "/repos/acme/manifests/git/trees", json={"base_tree": base, "tree": [entry]}
    )

    assert answer.status_code == 422
    assert answer.json()["message"] == "base_tree is not a valid tree oid"


def test_a_protected_branch_takes_pull_requests_only(scene: Scene) -> None:
    scene.world.protect(scene.manifests, "main")

    with pytest.raises(ApiError, match="Changes must be made through a pull request"):
        scene.rita.push(scene.manifests, "main", {"b.txt": "b"})


# --- pull requests ----------------------------------------------------------------------------


def test_a_second_pull_request_of_a_branch_is_422(scene: Scene) -> None:
    pull(scene)
    body = {"title": "again", "head": "feature", "base": "main"}

    answer = scene.send("POST", "/repos/acme/manifests/pulls", json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["message"] == (
        "A pull request already exists for acme:feature."
    )


def test_a_pull_request_without_commits_is_422(scene: Scene) -> None:
    scene.rita.push(scene.manifests, "same")
    body = {"title": "nothing", "head": "same", "base": "main"}

    answer = scene.send("POST", "/repos/acme/manifests/pulls", json=body)

    assert answer.json()["errors"][0]["message"] == "No commits between main and same"


def test_nobody_approves_their_own_pull_request(scene: Scene) -> None:
    opened = pull(scene)

    with pytest.raises(ApiError) as caught:
        scene.sam.approve(opened)

    assert caught.value.errors == ["Can not approve your own pull request"]


def test_merging_another_head_than_expected_is_409(scene: Scene) -> None:
    opened = pull(scene)
    seen = opened.head
    scene.sam.push(scene.manifests, "feature", {"c.txt": "c"})

    answer = scene.send(
        "PUT", f"/repos/acme/manifests/pulls/{opened.number}/merge", json={"sha": seen}
    )

    assert answer.status_code == 409
    assert opened.state == "open"


def test_a_conflict_is_not_mergeable(scene: Scene) -> None:
    opened = pull(scene, path="README.md")
    scene.rita.push(scene.manifests, "main", {"README.md": "other\n"})

    shown = scene.send("GET", f"/repos/acme/manifests/pulls/{opened.number}").json()
    answer = scene.send("PUT", f"/repos/acme/manifests/pulls/{opened.number}/merge", json={})

    assert (shown["mergeable"], shown["mergeable_state"]) == (False, "dirty")
    assert answer.status_code == 405


def test_required_approvals_and_checks_block_the_merge(scene: Scene) -> None:
    scene.world.protect(scene.manifests, "main", approvals=1, checks=("build",))
    opened = pull(scene)
    path = f"/repos/acme/manifests/pulls/{opened.number}/merge"

    early = scene.send("PUT", path, json={})
    scene.rita.approve(opened)
    scene.world.complete_checks(scene.manifests, opened.head)
    late = scene.send("PUT", path, json={})

    assert early.status_code == 405
    assert "At least an approving review is required" in early.json()["message"]
    assert late.status_code == 200


@pytest.mark.parametrize("method", ["merge", "squash", "rebase"])
def test_each_merge_method_brings_the_same_tree(scene: Scene, method: str) -> None:
    before = main(scene)
    opened = pull(scene)
    scene.sam.push(scene.manifests, "feature", {"c.txt": "c"})
    scene.rita.push(scene.manifests, "main", {"meanwhile.txt": "m"})

    merged = scene.rita.merge(opened, method)

    git = scene.manifests.git
    paths = {entry.path for entry in git.entries(merged)}
    parents = git.commit(merged).parents
    assert {"a.txt", "c.txt", "meanwhile.txt"} <= paths
    assert len(parents) == (2 if method == "merge" else 1)
    assert len(git.history(merged, f"^{before}")) == {"merge": 4, "squash": 2, "rebase": 3}[method]
    assert opened.merge_commit == merged == scene.manifests.head("main")


def test_a_push_that_brings_the_head_merges_the_pull_request(scene: Scene) -> None:
    opened = pull(scene)

    scene.rita.push(scene.manifests, "main", parent=opened.head)

    assert opened.merged
    assert opened.merged_by is scene.rita.account


def test_a_pull_request_from_a_fork_names_the_fork(scene: Scene) -> None:
    public = scene.world.add_repository("acme/public", private=False)
    mallory = scene.world.add_user("mallory", outsider=True)
    fork = scene.world.fork(public, mallory)
    mallory.push(fork, "promote/dev", {"a.txt": "a"})
    opened = mallory.open_pull_request(public, "mallory:promote/dev")
    tip = mallory.push(fork, "promote/dev", {"b.txt": "b"})

    listed = scene.send("GET", "/repos/acme/public/pulls?head=mallory:promote/dev").json()

    assert [(one["head"]["repo"]["full_name"], one["head"]["sha"]) for one in listed] == [
        ("mallory/public", tip)
    ]
    assert listed[0]["base"]["repo"]["full_name"] == "acme/public"
    assert scene.rita.merge(opened) == public.head("main")


def test_auto_merge_waits_for_the_rules(scene: Scene) -> None:
    scene.world.protect(scene.manifests, "main", checks=("lockkeeper",))
    opened = pull(scene)
    repository = scene.client().get_repo("acme/manifests")

    repository.get_pull(opened.number).enable_automerge("SQUASH")
    waiting = opened.state
    repository.create_check_run("lockkeeper", opened.head, conclusion="success")

    assert waiting == "open"
    assert opened.merged
    assert opened.merged_by is scene.app.app.bot


def test_the_merge_queue_merges_what_its_checks_pass(scene: Scene) -> None:
    scene.world.protect(scene.manifests, "main", checks=("lockkeeper",), merge_queue=True)
    opened = pull(scene)
    repository = scene.client().get_repo("acme/manifests")
    direct = scene.send("PUT", f"/repos/acme/manifests/pulls/{opened.number}/merge", json={})

    repository.requester.graphql_query(
        "mutation($i: EnqueuePullRequestInput!)"
        "{ enqueuePullRequest(input: $i) { mergeQueueEntry { position } } }",
        {"i": {"pullRequestId": opened.node_id, "expectedHeadOid": opened.head}},
    )
    group = next(d for d in scene.world.webhooks.sent if d.event == "merge_group").payload
    repository.create_check_run(
        "lockkeeper", group["merge_group"]["head_sha"], conclusion="success"
    )

    assert direct.status_code == 405
    assert opened.merged
    assert opened.merge_commit == group["merge_group"]["head_sha"] == scene.manifests.head("main")


# --- the rest ---------------------------------------------------------------------------------


def test_a_pull_request_stands_in_the_merge_queue_once(scene: Scene) -> None:
    scene.world.protect(scene.manifests, "main", merge_queue=True)
    waiting = pull(scene)
    requester = scene.client().get_repo("acme/manifests").requester
    document = (
        "mutation($i: EnqueuePullRequestInput!)"
        "{ enqueuePullRequest(input: $i) { mergeQueueEntry { position } } }"
    )
    wish = {"i": {"pullRequestId": waiting.node_id, "expectedHeadOid": waiting.head}}

    requester.graphql_query(document, wish)
    with pytest.raises(github.GithubException, match="already in the queue"):
        requester.graphql_query(document, wish)

    assert [entry.pull for entry in scene.manifests.queue] == [waiting]


def test_a_rule_of_up_to_date_branches_blocks_a_head_that_is_behind(scene: Scene) -> None:
    scene.world.protect(scene.manifests, "main", up_to_date=True)
    behind = pull(scene)
    scene.manifests.rules["main"].pull_request = False
    scene.sam.push(scene.manifests, "main", {"b.txt": "b\n"})

    with pytest.raises(ApiError) as refused:
        scene.sam.merge(behind)

    assert refused.value.status == 405
    assert "out-of-date" in refused.value.message


def test_mergeability_is_unknown_at_first_where_asked_for(scene: Scene) -> None:
    scene.world.state.mergeability_lag = 1
    opened = pull(scene)
    path = f"/repos/acme/manifests/pulls/{opened.number}"

    looks = [scene.send("GET", path).json()["mergeable"] for _ in range(2)]

    assert looks == [None, True]


def test_a_deployment_with_the_default_contexts_is_409_on_a_red_commit(scene: Scene) -> None:
    scene.world.complete_checks(scene.manifests, main(scene), conclusion="failure")
    wish = {"ref": main(scene), "environment": "lockkeeper/dev", "auto_merge": False}
    path = "/repos/acme/manifests/deployments"

    red = scene.send("POST", path, json=wish)
    made = scene.send("POST", path, json=wish | {"required_contexts": []})
    status = scene.send("POST", f"{path}/{made.json()['id']}/statuses", json={"state": "success"})

    assert (red.status_code, made.status_code, status.status_code) == (409, 201, 201)


def test_roles_teams_and_members(scene: Scene) -> None:
    scene.manifests.roles["sam"] = "maintain"
    collaborator = scene.send("GET", "/repos/acme/manifests/collaborators/sam/permission").json()
    team = "/orgs/acme/teams/release-managers"

    assert (collaborator["permission"], collaborator["role_name"]) == ("write", "maintain")
    assert scene.send("GET", team).json()["members_count"] == 1
    assert scene.send("GET", f"{team}/memberships/rita").json()["state"] == "active"
    assert scene.send("GET", f"{team}/memberships/sam").status_code == 404


def test_lists_come_in_pages(scene: Scene) -> None:
    for number in range(3):
        scene.rita.push(scene.manifests, f"branch-{number}")
    repository = scene.client().get_repo("acme/manifests")

    first = scene.send("GET", "/repos/acme/manifests/branches?per_page=2")
    names = [branch.name for branch in repository.get_branches()]

    assert 'rel="next"' in first.headers["Link"]
    assert names == ["branch-0", "branch-1", "branch-2", "main"]


def test_names_with_slashes_work_everywhere(scene: Scene) -> None:
    tip = scene.rita.push(scene.manifests, "release/v1.2", {"envs/prod/a b.yaml": "a: 1\n"})
    repository = scene.client().get_repo("acme/manifests")
    repository.create_check_run("lockkeeper", tip, conclusion="success")

    assert repository.get_branch("release/v1.2").commit.sha == tip
    assert repository.get_commit("release/v1.2").sha == tip
    assert repository.get_commits(sha="release/v1.2")[0].sha == tip
    assert repository.get_git_ref("heads/release/v1.2").object.sha == tip
    assert [ref.ref for ref in repository.get_git_matching_refs("heads/release/")] == [
        "refs/heads/release/v1.2"
    ]
    assert repository.compare("main", "release/v1.2").ahead_by == 1
    runs = scene.send("GET", "/repos/acme/manifests/commits/release%2Fv1.2/check-runs")
    assert runs.json()["total_count"] == 1
    content = repository.get_contents("envs/prod/a b.yaml", ref="release/v1.2")
    assert not isinstance(content, list)
    assert content.decoded_content == b"a: 1\n"


def test_an_unchanged_answer_is_304(scene: Scene) -> None:
    token = scene.token()
    first = scene.send("GET", "/repos/acme/manifests", token=token)

    again = scene.send(
        "GET", "/repos/acme/manifests", token=token, **{"If-None-Match": first.headers["ETag"]}
    )

    assert (again.status_code, again.content) == (304, b"")


def test_a_renamed_repository_redirects(scene: Scene) -> None:
    scene.world.rename(scene.manifests, "deployments")

    read = scene.send("GET", "/repos/acme/manifests")
    write = scene.send(
        "POST", "/repos/acme/manifests/labels", json={"name": "promotion", "color": "ededed"}
    )

    assert (read.status_code, write.status_code) == (301, 307)
    assert read.headers["Location"] == f"{scene.world.api_url}/repos/acme/deployments"


@pytest.mark.parametrize(("when", "comments"), [("before", 0), ("after", 1)])
def test_a_fault_strikes_before_or_after_the_write(scene: Scene, when: When, comments: int) -> None:
    opened = pull(scene)
    path = f"/repos/acme/manifests/issues/{opened.number}/comments"
    fault = scene.world.fail("POST", "*/comments", 502, when=when)

    answer = scene.send("POST", path, json={"body": "hello"})

    assert (answer.status_code, fault.met, len(opened.comments)) == (502, 1, comments)
