"""Provenance as BuildKit and GitHub write it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.domain.evidence import UnreadableEvidenceError
from bot.formats.in_toto import read_statement
from bot.formats.slsa import Provenance, read_provenance
from tests.samples import sample

COMMIT = "c" * 40
GIT = {"gitCommit": COMMIT}


def read(predicate: dict[str, Any]) -> Provenance:
    return read_provenance(json.dumps(predicate).encode(), "p.json")


def one(*dependencies: dict[str, Any], **details: object) -> dict[str, Any]:
    return {
        "buildDefinition": {"buildType": "x", "resolvedDependencies": list(dependencies)},
        "runDetails": {"builder": {"id": "https://b"}, **details},
    }


@pytest.mark.parametrize(
    "uri",
    [
        "git+https://github.com/acme/api@refs/heads/main",
        "git+https://github.com/acme/api.git#main",
        "https://github.com/acme/api",
        "git@github.com:acme/api.git",
        "git+ssh://git@github.com/acme/api",
        "ssh://git@ghe.example.com:2222/acme/api.git",
    ],
)
def test_the_source_of_version_1(uri: str) -> None:
    assert read(one({"uri": uri, "digest": GIT})) == Provenance("https://b", "acme/api", COMMIT)


@pytest.mark.parametrize(
    "uri", ["", "pkg:docker/alpine@3", "https://github.com/acme", "https://x/a/b/c/d", "a/b c"]
)
def test_what_names_no_repository(uri: str) -> None:
    assert read(one({"uri": uri, "digest": GIT})).repository == ""


@pytest.mark.parametrize(
    ("builder", "invocation", "run"),
    [
        ("https://b", "https://github.com/acme/api/actions/runs/815/attempts/2", "815"),
        ("https://github.com/acme/api/actions/runs/4711/attempts/1", None, "4711"),
        ("https://ghe.example/acme/api/actions/runs/4711", "", "4711"),
        ("https://b", "https://github.com/acme/api/actions/runs/1;x", ""),
        ("https://b", None, ""),
    ],
)
def test_the_run_that_built_it(builder: str, invocation: str | None, run: str) -> None:
    document = one({"uri": "git+https://github.com/acme/api", "digest": GIT})
    details = {"builder": {"id": builder}, "metadata": {"invocationId": invocation}}

    assert read({**document, "runDetails": details}).run == run


def test_materials_that_are_no_git_are_passed_over() -> None:
    image = {"uri": "pkg:docker/alpine@3", "digest": {"sha256": "a" * 64}}
    short = {"uri": "git+https://github.com/acme/api", "digest": {"gitCommit": "abc"}}

    assert read(one(image, short)) == Provenance("https://b", "", "")


def test_buildkit_says_which_checkout_it_built() -> None:
    vcs = {"revision": COMMIT, "source": "https://github.com/acme/api.git"}
    context = {"uri": "git+https://github.com/acme/tools", "digest": {"sha1": "d" * 40}}

    found = read(one(context, metadata={"buildkit_metadata": {"vcs": vcs}}))

    assert (found.repository, found.commit) == ("acme/api", COMMIT)


def test_version_0_2() -> None:
    found = read(
        {
            "builder": {"id": "https://b"},
            "invocation": {
                "configSource": {
                    "uri": "git+https://github.com/acme/api@refs/heads/main",
                    "digest": {"sha1": COMMIT},
                }
            },
            "materials": None,
        }
    )

    assert found == Provenance("https://b", "acme/api", COMMIT)


@pytest.mark.parametrize("predicate", ["{", "[]", '"x"', '{"buildDefinition": 1}'])
def test_what_is_none_is_an_error(predicate: str) -> None:
    with pytest.raises(UnreadableEvidenceError, match=r"p\.json"):
        read_provenance(predicate.encode(), "p.json")


def test_buildkit_s_own_statements() -> None:
    folder = sample("attestations/buildkit-oci-layout/blobs/sha256")
    commits = {
        read_provenance(read_statement(content, path.name).predicate, path.name).commit
        for path in folder.iterdir()
        if (content := path.read_bytes()).startswith(b'{"_type"')
        and b'"predicateType":"https://slsa.dev/provenance' in content[:200]
    }

    assert len(commits) >= 3
    assert all(len(commit) == 40 for commit in commits)
