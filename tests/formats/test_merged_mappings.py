"""Anchors and merge keys: edited where every use is the same part of the same image."""

from __future__ import annotations

import pytest

from bot.formats.edits import State
from bot.formats.yaml_tree import compose_all, plain
from tests.attacks.test_hidden_images import REPOSITORY, Files
from tests.formats.test_value_layers import NEW, promoted

VALUES = "envs/prod/values.yaml"
BASE = f"base: &b\n  repository: {REPOSITORY}\n  tag: v1\n"
BARE = f"base: &b\n  repository: {REPOSITORY}\n"
OTHERS = {
    "a tag of an image of others": BASE + "b: {image: {<<: *b, repository: quay.io/x/other}}\n",
    "one of several sources": BASE
    + "b: {image: {<<: [{a: b}, *b], repository: quay.io/x/other}}\n",
    "through another": BASE + "c: &c {<<: *b}\nb: {image: {<<: *c, repository: quay.io/x/other}}\n",
    "a tag to be inserted": BARE + "b: {image: {<<: *b, repository: quay.io/x/other}}\n",
    "through another to be inserted": BARE
    + "c: &c {<<: *b, repository: x}\nb: {image: {<<: *c, repository: quay.io/x/other}}\n",
}
SAME = {
    "merged": BASE + "a: {image: {<<: *b}}\n",
    "with a key beside": BASE + "a: {image: {<<: *b, pullPolicy: Always}}\n",
    "a tag of its own": BASE + "a: {image: {<<: *b, repository: quay.io/x/other, tag: v2}}\n",
    "an alias, inserted": f"image: &img\n  repository: {REPOSITORY}\nworker: {{image: *img}}\n",
    "an alias": f"image: &img\n  repository: {REPOSITORY}\n  tag: v1\nworker: {{image: *img}}\n",
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_what_an_image_of_others_takes_over_is_refused(text: str) -> None:
    after, edit = promoted({VALUES: text})

    assert edit.state is State.UNSUPPORTED
    assert after[VALUES] == text
    assert "takes it over (<<) for something else" in edit.refused[0].reason


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_what_only_the_same_image_uses_is_edited(text: str) -> None:
    files: Files = {VALUES: text}

    after, edit = promoted(files)

    assert edit.state is State.CHANGED
    changed = str(after[VALUES])
    assert changed.count(NEW) == 1
    images = _images(changed)
    ours = [one for one in images if one["repository"] == REPOSITORY]
    assert ours
    assert {one["tag"] for one in ours} == {f"v9@{NEW}"}
    assert all(NEW not in str(one) for one in images if one not in ours)


def _images(text: str) -> list[dict[str, object]]:
    """Every mapping with a repository, merged, as the tools see it."""
    found: list[dict[str, object]] = []
    pending: list[object] = [plain(compose_all(text, "v")[0], "v").value]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            found += [one] if "repository" in one else []
            pending += one.values()
    return found
