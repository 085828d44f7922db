"""A whole promotion against the local GitHub, with PyGithub and with git."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import github
import requests

from tests.world.conftest import Scene

PROMOTE = """
mutation(
  $ref: CreateRefInput!
  $commit: CreateCommitOnBranchInput!
  $pull: CreatePullRequestInput!
) {
  createRef(input: $ref) { ref { name } }
  createCommitOnBranch(input: $commit) { commit { oid signature { isValid } } }
  createPullRequest(input: $pull) { pullRequest { number headRefOid author { login } } }
}
"""
KUSTOMIZATION = "envs/dev/kustomization.yaml"


def promotion(scene: Scene, head: str) -> dict[str, Any]:
    text = base64.b64encode(b"images: [new]\n").decode()
    return {
        "ref": {
            "repositoryId": scene.manifests.node_id,
            "name": "refs/heads/promote/dev",
            "oid": head,
        },
        "commit": {
            "branch": {
                "repositoryNameWithOwner": "acme/manifests",
                "branchName": "promote/dev",
            },
            "message": {"headline": "Promote payments to dev"},
            "expectedHeadOid": head,
            "fileChanges": {"additions": [{"path": KUSTOMIZATION, "contents": text}]},
        },
        "pull": {
            "repositoryId": scene.manifests.node_id,
            "baseRefName": "main",
            "headRefName": "promote/dev",
            "title": "Promote payments to dev",
            "body": "what changes",
        },
    }


def test_pygithub_promotes_approves_and_merges(scene: Scene) -> None:
    repository = scene.client().get_repo("acme/manifests")
    head = repository.get_branch("main").commit.sha

    _, answer = repository.requester.graphql_query(PROMOTE, promotion(scene, head))
    created = answer["data"]["createPullRequest"]["pullRequest"]
    pull = repository.get_pull(created["number"])
    scene.rita.approve(scene.manifests.pulls[pull.number])
    pull.create_issue_comment("delivered").edit("delivered and sealed")
    run = repository.create_check_run("lockkeeper", pull.head.sha, status="in_progress")
    run.edit(conclusion="success", output={"title": "done", "summary": "all", "text": "text"})
    merged = pull.merge(sha=pull.head.sha)

    assert answer["data"]["createCommitOnBranch"]["commit"]["signature"] == {"isValid": True}
    assert created["author"]["login"] == "lockkeeper[bot]"
    assert [file.filename for file in pull.get_files()] == [KUSTOMIZATION]
    assert [review.state for review in pull.get_reviews()] == ["APPROVED"]
    assert [comment.body for comment in pull.get_issue_comments()] == ["delivered and sealed"]
    assert repository.get_branch("main").commit.sha == merged.sha
    assert repository.get_pull(pull.number).merge_commit_sha == merged.sha
    assert [one.number for one in repository.get_commit(merged.sha).get_pulls()] == [pull.number]
    assert [one.conclusion for one in repository.get_commit(pull.head.sha).get_check_runs()] == [
        "success"
    ]


READ = """
query($name: String!, $number: Int!) {
  viewer { login }
  repository(owner: "acme", name: $name) {
    id nameWithOwner isPrivate defaultBranchRef { name target { oid } }
    file: object(expression: "main:envs/dev/kustomization.yaml") { ... on Blob { text byteSize } }
    folder: object(expression: "main:envs") { ... on Tree { entries { name type mode oid } } }
    ref(qualifiedName: "refs/heads/feature") {
      target { __typename oid ... on Commit { messageHeadline committedDate parents(first: 1) {
        totalCount nodes { oid } } } }
    }
    none: ref(qualifiedName: "refs/heads/none") { name }
    pullRequest(number: $number) { ...pull }
    pullRequests(states: OPEN, headRefName: "feature", first: 5) { totalCount nodes { ...pull } }
  }
}
fragment pull on PullRequest {
  id number title body url state isDraft merged mergeable mergeStateStatus createdAt
  headRefOid baseRefName isCrossRepository author { login } mergeCommit { oid }
  labels(first: 10) { nodes { name } }
  reviews(first: 10) { nodes { state author { login } submittedAt commit { oid } } }
}
"""


def test_a_graphql_query_reads_what_a_bot_needs(scene: Scene) -> None:
    tip = scene.sam.push(scene.manifests, "feature", {"a.txt": "a"})
    pull = scene.sam.open_pull_request(scene.manifests, "feature")
    scene.sam.label(pull, "promotion")
    scene.rita.approve(pull)

    variables = {"name": "manifests", "number": pull.number}
    _, answer = scene.client().requester.graphql_query(READ, variables)

    found = answer["data"]["repository"]
    assert found["file"] == {"text": "images: []\n", "byteSize": 11}
    assert [entry["name"] for entry in found["folder"]["entries"]] == ["dev"]
    assert found["ref"]["target"]["oid"] == tip
    assert found["none"] is None
    assert found["pullRequests"]["nodes"] == [found["pullRequest"]]
    assert found["pullRequest"]["mergeStateStatus"] == "CLEAN"
    assert found["pullRequest"]["reviews"]["nodes"][0]["commit"] == {"oid": tip}


def test_a_publication_is_made_from_git_data_without_a_folder(scene: Scene) -> None:
    tip = scene.manifests.head("main")
    assert tip is not None
    root = scene.manifests.git.commit(tip).tree
    edit = {"path": ".github", "mode": "040000", "type": "tree", "sha": None}

    tree = scene.send(
        "POST", "/repos/acme/manifests/git/trees", json={"base_tree": root, "tree": [edit]}
    ).json()
    commit = scene.send(
        "POST",
        "/repos/acme/manifests/git/commits",
        json={"message": "Publish", "tree": tree["sha"], "parents": []},
    ).json()
    ref = scene.send(
        "POST",
        "/repos/acme/manifests/git/refs",
        json={"ref": "refs/heads/env/dev", "sha": commit["sha"]},
    )

    assert ref.status_code == 201
    assert commit["verification"]["verified"] is True
    assert commit["author"]["name"] == "lockkeeper[bot]"
    paths = [e.path for e in scene.manifests.git.entries(commit["sha"], recursive=True)]
    assert paths == ["README.md", "envs", "envs/dev", KUSTOMIZATION]


def test_a_person_can_look_at_it(scene: Scene) -> None:
    commit = scene.sam.push(scene.manifests, "feature", {"a.txt": "a"})
    scene.sam.open_pull_request(scene.manifests, "feature", title="<b>bold</b>", body="what & why")

    def page(path: str) -> str:
        return requests.request("GET", f"{scene.world.url}{path}", timeout=10).text

    assert "acme/manifests" in page("/")
    assert "#1" in page("/acme/manifests")
    assert "&lt;b&gt;bold&lt;/b&gt;" in page("/acme/manifests/pull/1")
    assert "+a" in page(f"/acme/manifests/commit/{commit}")
    assert "Not Found" in page("/acme/manifests/pull/2")


def test_git_clones_and_pushes_over_http(scene: Scene, tmp_path: Path) -> None:
    address = scene.world.url.replace("http://", f"http://x-access-token:{scene.token()}@")
    clone = tmp_path / "clone"

    git("clone", "--quiet", f"{address}/acme/manifests.git", str(clone))
    (clone / "README.md").write_text("changed\n")
    identity = ("-c", "user.name=Someone", "-c", "user.email=someone@example.com")
    git("-C", str(clone), *identity, "commit", "--quiet", "-am", "Change")
    git("-C", str(clone), "push", "--quiet", "origin", "HEAD:refs/heads/feature")

    tip = scene.manifests.head("feature")
    pushed = scene.world.webhooks.sent[-2]
    assert tip == git("-C", str(clone), "rev-parse", "HEAD").strip()
    assert (pushed.event, pushed.payload["ref"], pushed.payload["after"]) == (
        "push",
        "refs/heads/feature",
        tip,
    )
    assert pushed.payload["created"] is True
    assert [c["message"] for c in pushed.payload["commits"]] == ["Change"]


def test_git_needs_a_token_for_a_private_repository(scene: Scene, tmp_path: Path) -> None:
    address = f"{scene.world.url}/acme/manifests.git"

    done = subprocess.run(
        ["git", "ls-remote", address],
        env={"GIT_TERMINAL_PROMPT": "0", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "could not read Username" in done.stderr


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def test_an_app_is_registered_from_a_manifest_once(scene: Scene) -> None:
    manifest = {
        "name": "Lockkeeper Two",
        "url": "https://lockkeeper.example.com",
        "hook_attributes": {"url": "https://lockkeeper.example.com/webhook"},
        "redirect_url": "http://127.0.0.1:9/setup",
        "default_permissions": {"contents": "write"},
        "default_events": ["push"],
    }
    form = f"{scene.world.url}/organizations/acme/settings/apps/new?state=s"
    data = {"manifest": json.dumps(manifest)}

    redirect = requests.request("POST", form, data=data, timeout=10, allow_redirects=False)
    query = parse_qs(urlsplit(redirect.headers["Location"]).query)
    path = f"{scene.world.api_url}/app-manifests/{query['code'][0]}/conversions"
    first, second = (requests.request("POST", path, timeout=10) for _ in range(2))

    made = first.json()
    auth = github.Auth.AppAuth(made["id"], made["pem"])
    app = github.GithubIntegration(auth=auth, base_url=scene.world.api_url).get_app()
    assert query["state"] == ["s"]
    assert (first.status_code, second.status_code) == (201, 404)
    assert (app.slug, app.events) == ("lockkeeper-two", ["push"])
