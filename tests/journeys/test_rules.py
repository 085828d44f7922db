"""Rules are judged before they rule, and never by themselves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.journeys import walk
from tests.world.github.gitstore import FileChanges
from tests.world.stage import Stage

FILE = "lockkeeper.yaml"
RULES = "lockkeeper/rules"
APPROVALS = "    approvals: { count: 1, teams: [acme/release-managers] }\n"


def rules(stage: Stage) -> str:
    return stage.file(walk.head(stage), FILE)


def test_rules_and_digests_in_one_pull_request_must_come_apart(stage: Stage) -> None:
    _, image = walk.to_stage(stage)
    weaker = rules(stage).replace(APPROVALS, "    approvals: { count: 0 }\n")
    files: FileChanges = {
        FILE: weaker,
        walk.overlay("prod"): walk.pinned(stage, "prod", image.digest),
    }
    assert weaker != rules(stage)
    stage.dana.push(stage.manifests, "both", files)
    pull = stage.dana.open_pull_request(stage.manifests, "both")

    said = walk.check(stage, pull.head, "failure")
    merge = stage.dana.merge(pull)

    assert "Two pull requests, please" in said
    assert "0 of 1 required approvals" in walk.check(stage, merge, "failure", "payments -> prod")
    walk.settled(stage)
    assert stage.published("prod") is None
    assert stage.resolve("prod", image.digest) is None


def test_rules_that_are_approved_first_hold_for_the_next_merge(stage: Stage) -> None:
    _, image = walk.to_stage(stage)
    weaker = rules(stage).replace(APPROVALS, "    approvals: { count: 0 }\n")
    stage.dana.push(stage.manifests, "weaker", {FILE: weaker})
    asked = stage.dana.open_pull_request(stage.manifests, "weaker")
    walk.check(stage, asked.head, "failure", RULES)
    stage.rita.approve(asked)
    walk.check(stage, asked.head, "success", RULES)
    walk.check(stage, stage.dana.merge(asked), "success", RULES)
    walk.release(stage)

    pull = walk.promotion(stage, "prod", image)
    stage.dana.merge(pull)

    stage.wait_published("prod", image.digest)
    assert stage.published("prod") == image.digest
    assert pull.reviews == [], "nobody had to approve"


def test_rules_that_are_only_pushed_stay_out_of_force(stage: Stage) -> None:
    _, image = walk.to_stage(stage)
    weaker = rules(stage).replace(APPROVALS, "    approvals: { count: 0 }\n")
    pushed = stage.dana.push(stage.manifests, "main", {FILE: weaker})
    assert "without a merged pull request" in walk.check(stage, pushed, "failure", RULES)
    walk.release(stage)

    merge = stage.dana.merge(walk.promotion(stage, "prod", image))

    assert "0 of 1 required approvals" in walk.check(stage, merge, "failure", "payments -> prod")
    walk.settled(stage)
    assert stage.published("prod") is None
    assert walk.signature_tags(stage, "prod") == []


def test_a_broken_file_names_the_place_and_stops_nothing(stage: Stage) -> None:
    broken = rules(stage).replace("merge: auto", "merg: auto").replace("sign:", "sing:")
    lines = broken.splitlines()
    line, other = (
        next(n for n, text in enumerate(lines, 1) if wrong in text) for wrong in ("merg:", "sing:")
    )
    stage.dana.push(stage.manifests, "broken", {FILE: broken})
    pull = stage.dana.open_pull_request(stage.manifests, "broken")

    on_pull_request = walk.check(stage, pull.head, "failure")
    pushed = stage.dana.push(stage.manifests, "main", {FILE: broken})
    on_commit = walk.check(stage, pushed, "failure")

    for said in (on_pull_request, on_commit):
        assert f"{FILE}:{line}" in said
        assert "merge" in said.split("What to do")[1]
        assert f"{FILE}:{other}" in said.split("Also wrong")[1]
    _, image = walk.to_dev(stage)
    assert stage.published("dev") == image.digest


@contextmanager
def listening() -> Iterator[tuple[str, list[object]]]:
    """A server that only notes who comes: ``host:port``, connections."""
    came: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    came.append(server.accept())
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", came
        server.shutdown(socket.SHUT_RDWR)


def test_a_host_that_nobody_granted_is_never_contacted(stage: Stage) -> None:
    with listening() as (host, came):
        text = rules(stage).replace(f"{stage.hosts['prod']}/acme", f"{host}/acme")
        pushed = stage.dana.push(stage.manifests, "main", {FILE: text})

        said = walk.check(stage, pushed, "failure")
        walk.to_dev(stage)
        walk.settled(stage)

    assert host in said
    assert "prod" in said
    assert came == []


def test_a_source_that_nobody_granted_is_never_asked_for(stage: Stage) -> None:
    stage.github.add_organization("other")
    secret = stage.github.add_repository("other/secret")
    text = rules(stage).replace("payments: {}", "payments: { source: other/secret }")
    pushed = stage.dana.push(stage.manifests, "main", {FILE: text})

    said = walk.check(stage, pushed, "failure")

    assert "other/secret" in said
    assert secret.check_runs == {}
