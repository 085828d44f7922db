"""The final world of a walked main path, without what differs from run to run."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from typing import Any

from tests.journeys import walk
from tests.journeys.walk import Walked
from tests.world.stage import ENVIRONMENTS, NeverHappenedError
from tests.world.tools import run

Outcome = dict[str, Any]


def outcome(walked: Walked) -> Outcome:
    """Registries, signatures, refs, pull requests, checks, deployments and branches."""
    stage = walked.stage
    return {
        "tags": {environment: _tags(walked, environment) for environment in ENVIRONMENTS},
        "signed": {
            environment: walk.is_signed(stage, environment, walked.image.digest)
            for environment in ENVIRONMENTS
        },
        "refs": {environment: _tree(walked, environment) for environment in ENVIRONMENTS},
        "pulls": sorted(
            (pull.head_ref, pull.state, pull.merged, sorted(label.name for label in pull.labels))
            for pull in stage.manifests.pulls.values()
        ),
        "comments": {name: len(pull.comments) for name, pull in sorted(walked.promotions.items())},
        "checks": _checks(walked),
        "deployments": sorted(
            (one.environment, one.commit == walked.commit, one.statuses[-1].state)
            for one in stage.source.deployments.values()
        ),
        "branches": sorted(stage.manifests.git.refs("refs/heads/")),
    }


def assert_becomes(walked: Walked, expected: Outcome) -> None:
    """The world comes to what is expected, when the last of it is told."""
    with contextlib.suppress(NeverHappenedError):
        walked.stage.eventually(lambda: outcome(walked) == expected or None, "the same world")
    found = outcome(walked)
    different = {
        part: (found[part], expected[part]) for part in expected if found[part] != expected[part]
    }
    assert not different, f"(found, expected): {different}"


def _tags(walked: Walked, environment: str) -> list[str]:
    host = walked.stage.hosts[environment]
    listed = run("crane", "ls", "--insecure", f"{host}/acme/payments").splitlines()
    return sorted(_without_chance(walked, tag) for tag in listed)


def _tree(walked: Walked, environment: str) -> list[tuple[str, str]]:
    git = walked.stage.manifests.git
    paths = git.text("ls-tree", "-r", "--name-only", f"env/{environment}").splitlines()
    files = ((path, walked.stage.file(f"env/{environment}", path)) for path in paths)
    return [(path, _without_chance(walked, content)) for path, content in files]


def _without_chance(walked: Walked, text: str) -> str:
    for environment, host in walked.stage.hosts.items():
        text = text.replace(host, f"<{environment}>")
    for name, digest in _digests(walked):
        text = text.replace(digest, f"<{name}>").replace(digest.replace(":", "-"), f"<{name}>")
    text = text.replace(walked.commit[:7], "<commit>")
    text = re.sub(r"sha-[0-9a-f]{7}$", "sha-<another>", text)
    return re.sub(r"\d{8}T\d{6}Z", "<time>", text)


def _checks(walked: Walked) -> dict[tuple[str, str, str], int]:
    """(where, name, conclusion) -> how many of that name; more than one is a duplicate."""
    stage = walked.stage
    where = {walked.commit: "source", walked.trigger: "trigger"}
    where |= {pull.head: f"head of {name}" for name, pull in walked.promotions.items()}
    where |= {pull.merge_commit or "": f"{name}" for name, pull in walked.promotions.items()}
    runs = [*stage.source.check_runs.values(), *stage.manifests.check_runs.values()]
    return dict(
        Counter(
            (where[found.commit], found.name, found.conclusion or found.status)
            for found in runs
            if found.suite.app.slug == "lockkeeper" and found.commit in where
            if where[found.commit] not in ENVIRONMENTS or where[found.commit] in found.name
        )
    )


def _digests(walked: Walked) -> list[tuple[str, str]]:
    children = walked.image.child_digests
    return [
        ("index", walked.image.digest),
        *((f"child {n}", one) for n, one in enumerate(children)),
    ]
