"""A tag is only a claim: which commit's image it is, is said by its label."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from tests.journeys import walk
from tests.journeys.conftest import Raise
from tests.world.images import build_image
from tests.world.stage import PIPELINE, Stage


def twins(stage: Stage) -> tuple[str, str]:
    """Two children of develop whose ids share the first seven digits; no ref names them.

    A birthday: some ten thousand commits of each kind are enough.
    """
    git = stage.source.git
    tip = stage.source.head("develop") or ""
    who = "dana <dana@example.com> 1760000000 +0000"
    seen: tuple[dict[str, bytes], dict[str, bytes]] = ({}, {})
    trees = [git.with_files(git.commit(tip).tree, {name: "1\n"}) for name in ("good", "evil")]
    for number in itertools.count():
        for tree, mine, others in zip(trees, seen, reversed(seen), strict=True):
            head = f"tree {tree}\nparent {tip}\nauthor {who}\ncommitter {who}\n\n"
            raw = f"{head}Change it {number}\n".encode()
            found = hashlib.sha1(b"commit %d\0" % len(raw) + raw).hexdigest()  # noqa: S324 - git's
            mine[found[:7]] = raw
            if found[:7] in others:
                good, evil = (written(stage, kind[found[:7]]) for kind in seen)
                return good, evil
    raise AssertionError


def written(stage: Stage, raw: bytes) -> str:
    """Store a raw commit."""
    run = stage.source.git.text
    return run("hash-object", "-w", "-t", "commit", "--stdin", stdin=raw)


def test_another_commit_with_the_same_short_id_gets_no_image(stage: Stage) -> None:
    good, evil = twins(stage)
    stage.dana.push(stage.source, "develop", parent=good)
    image = stage.build(good)
    stage.wait_published("dev", image.digest)

    stage.dana.push(stage.source, "develop", parent=evil, force=True)
    stage.github.complete_checks(stage.source, evil)

    said = walk.source_check(stage, evil, "dev", "Not promoted")
    walk.settled(stage)
    assert good[:7] == evil[:7]
    assert f"labelled as commit `{good}`, not `{evil}`" in said
    assert stage.published("dev") == image.digest


def test_a_tag_that_moves_later_changes_nothing(stage: Stage) -> None:
    commit, image = walk.to_dev(stage)

    other = build_image(seed=2)
    other.push(stage.hosts["dev"], "acme/payments", f"sha-{commit[:7]}")
    stage.dana.merge(walk.propose_stage(stage, commit))

    stage.wait_published("stage", image.digest)
    assert stage.resolve("dev", f"sha-{commit[:7]}") == other.digest


@pytest.mark.parametrize("source", ["", "    source: unverified\n"], ids=["default", "unverified"])
def test_an_image_without_a_label_reaches_prod_only_where_the_file_says_so(
    raise_stage: Raise, source: str
) -> None:
    with raise_stage(
        pipeline=PIPELINE.replace("    sign: true\n", f"    sign: true\n{source}")
    ) as up:
        commit = up.commit("develop")
        image = up.build(commit, labelled=False)
        up.wait_published("dev", image.digest)
        up.dana.merge(walk.propose_stage(up, commit))
        up.wait_published("stage", image.digest)
        trigger = walk.release(up)

        if source:
            assert "tag only" in (walk.promotion(up, "prod", image).body or "")
        else:
            assert "source: unverified" in walk.source_check(up, trigger, "prod", "Not promoted")
            assert up.open_promotion("prod") is None
