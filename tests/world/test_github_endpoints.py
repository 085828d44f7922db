"""The endpoints of the local GitHub answer, and answer as GitHub's description says."""

from __future__ import annotations

import pytest

from tests.world.conftest import Scene
from tests.world.github.rest.endpoint import APP
from tests.world.github.rest.repositories import ruleset_id
from tests.world.github.server import ENDPOINTS


@pytest.fixture
def values(scene: Scene) -> dict[str, str]:
    """A repository with one of everything; the path parameters that name them."""
    scene.world.webhooks.lose()
    scene.app.app.webhook_active = True
    commit = scene.sam.push(scene.manifests, "feature", {"a.txt": "a"})
    pull = scene.sam.open_pull_request(scene.manifests, "feature")
    scene.sam.label(pull, "promotion")
    comment = scene.rita.comment(pull, "hello")
    scene.rita.approve(pull)
    base = "/repos/acme/manifests"
    annotation = {"path": "a.txt", "start_line": 1, "end_line": 1, "message": "here"}
    output = {
        "title": "t",
        "summary": "s",
        "annotations": [annotation | {"annotation_level": "notice"}],
    }
    run = scene.send(
        "POST",
        f"{base}/check-runs",
        json={"name": "lockkeeper", "head_sha": commit, "output": output},
    ).json()
    deployment = scene.send(
        "POST",
        f"{base}/deployments",
        json={"ref": "feature", "auto_merge": False, "required_contexts": []},
    ).json()
    status = {"state": "in_progress", "description": "copying"}
    scene.send("POST", f"{base}/deployments/{deployment['id']}/statuses", json=status)
    reaction = {"content": "eyes"}
    scene.send("POST", f"{base}/issues/comments/{comment.id}/reactions", json=reaction)
    scene.world.webhooks.wait_until_delivered()
    blob = scene.manifests.git.entry(commit, "a.txt")
    assert blob is not None
    scene.world.restrict(scene.manifests, "frozen/*", bypass=[scene.app])
    return {
        "owner": "acme",
        "org": "acme",
        "repo": "manifests",
        "installation_id": str(scene.installation.id),
        "delivery_id": str(scene.world.webhooks.log[0].id),
        "check_run_id": str(run["id"]),
        "check_suite_id": str(run["check_suite"]["id"]),
        "deployment_id": str(deployment["id"]),
        "branch": "feature",
        "ref": "heads/feature",
        "commit_sha": commit,
        "tree_sha": commit,
        "file_sha": blob.id,
        "basehead": "main...feature",
        "subject_digest": f"sha256:{'a' * 64}",
        "path": "envs",
        "issue_number": str(pull.number),
        "pull_number": str(pull.number),
        "comment_id": str(comment.id),
        "name": "promotion",
        "ruleset_id": str(ruleset_id(scene.manifests, "frozen/*")),
        "team_slug": "release-managers",
        "username": "rita",
    }


def test_every_read_answers_as_published(scene: Scene, values: dict[str, str]) -> None:
    tokens = {True: scene.app_token(), False: scene.token()}

    answers = {
        one.path: scene.send("GET", one.path.format_map(values), token=tokens[APP in one.needs])
        for one in ENDPOINTS
        if one.method == "GET"
    }

    not_merged = "/repos/{owner}/{repo}/pulls/{pull_number}/merge"
    assert answers.pop(not_merged).status_code == 404
    assert {path: a.status_code for path, a in answers.items() if a.status_code != 200} == {}


def test_small_writes_answer_as_published(scene: Scene, values: dict[str, str]) -> None:
    base, token = "/repos/acme/manifests", scene.token()
    pull = scene.manifests.pulls[1]
    scene.rita.push(scene.manifests, "other")

    def status(method: str, path: str, body: object = None) -> int:
        return scene.send(method, f"{base}{path}", token=token, json=body).status_code

    blob = {"content": "aGVsbG8=", "encoding": "base64"}
    comment = f"/issues/comments/{values['comment_id']}"
    dismissal = f"/pulls/1/reviews/{pull.reviews[0].id}/dismissals"

    assert status("POST", "/git/blobs", blob) == 201
    assert status("POST", "/labels", {"name": "frozen", "color": "ededed"}) == 201
    assert status("POST", "/labels", {"name": "frozen"}) == 422
    assert status("POST", "/issues/1/labels", {"labels": ["frozen"]}) == 200
    assert status("DELETE", "/issues/1/labels/frozen") == 200
    assert status("DELETE", "/issues/1/labels/frozen") == 404
    assert status("POST", f"{comment}/reactions", {"content": "eyes"}) == 200
    assert status("POST", f"{comment}/reactions", {"content": "rocket"}) == 201
    assert status("PATCH", comment, {"body": "edited"}) == 200
    assert status("DELETE", comment) == 204
    assert status("PUT", dismissal, {"message": "stale"}) == 200
    assert status("PATCH", "/pulls/1", {"title": "new", "body": "new", "base": "other"}) == 200
    assert status("PATCH", "/pulls/1", {"state": "closed"}) == 200
    assert status("DELETE", "/git/refs/heads/feature") == 204
    assert status("DELETE", "/git/refs/heads/feature") == 422
    assert status("PATCH", "/pulls/1", {"state": "open"}) == 422
    assert (pull.title, pull.base_ref, pull.state) == ("new", "other", "closed")


def test_an_unknown_address_is_noticed(scene: Scene) -> None:
    answer = scene.send("GET", "/repos/acme/manifests/wiki")

    assert answer.status_code == 404
    assert scene.world.violations == [
        "GET /repos/acme/manifests/wiki: no such operation in the local GitHub"
    ]
    scene.world.violations.clear()
