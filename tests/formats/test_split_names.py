"""A registry and a repository in two scalars, where nothing says that they are joined: told."""

from __future__ import annotations

import json

import pytest

from bot.formats.edits import State
from bot.formats.places import RemarkKind
from tests.attacks.test_hidden_images import REPOSITORY, Files
from tests.formats.test_value_layers import OURS, look, promoted

HOST, _, SHORT = REPOSITORY.partition("/")
FIRST, _, LAST = SHORT.partition("/")
IMAGE = {"registry": HOST, "repository": SHORT, "tag": "v1"}
RUNNER = {"apiVersion": "x.io/v1", "kind": "Runner", "metadata": {"name": "p"}}
VALUES = "envs/prod/values.yaml"
OBJECT = "envs/prod/o.yaml"
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "v"}}
TOLD: dict[str, tuple[str, object, str]] = {
    "a custom resource": (OBJECT, RUNNER | {"spec": {"image": IMAGE}}, "/spec/image/repository"),
    "a registry further up": (
        OBJECT,
        RUNNER | {"spec": {"imageRegistry": f"{HOST}:443", "web": {"image": f"{SHORT}:v1"}}},
        "/spec/web/image",
    ),
    "a registry with a part of the path": (
        OBJECT,
        RUNNER | {"spec": {"registry": f"{HOST}/{FIRST}/", "name": LAST, "tag": "v1"}},
        "/spec/name",
    ),
    "values in a text": (
        OBJECT,
        CONFIG | {"data": {"values.yaml": json.dumps({"image": IMAGE}) + "\n"}},
        "/data/values.yaml#/image/repository",
    ),
    "keys of a ConfigMap": (
        OBJECT,
        CONFIG | {"data": {"IMAGE_REGISTRY": HOST, "IMAGE_NAME": SHORT}},
        "/data/IMAGE_NAME",
    ),
    "environment variables": (
        OBJECT,
        RUNNER | {"env": [{"name": "REGISTRY", "value": HOST}, {"name": "IMAGE", "value": SHORT}]},
        "/env/1/value",
    ),
    "dotted keys": (
        OBJECT,
        RUNNER | {"set": {"image.registry": HOST, "image.repository": SHORT}},
        "/set/image.repository",
    ),
    "registry and image of values": (
        VALUES,
        {"image": {"registry": HOST, "image": SHORT, "tag": "v1"}},
        "/image/image",
    ),
    "a global registry before one string": (
        VALUES,
        {"global": {"imageRegistry": HOST}, "image": f"{SHORT}:v1"},
        "/image",
    ),
}


@pytest.mark.parametrize("case", TOLD.values(), ids=TOLD)
def test_a_name_in_two_scalars_is_told_with_its_pointer(case: tuple[str, object, str]) -> None:
    path, document, pointer = case
    files: Files = {path: json.dumps(document)}

    (remark,) = [one for one in look(files).remarks if one.image == OURS]

    assert (remark.kind, remark.file, remark.pointer) == (RemarkKind.MENTION, path, pointer)
    assert promoted(files)[1].state is State.NOT_HERE


@pytest.mark.parametrize(
    "spec",
    [
        {"registry": "quay.io", "repository": SHORT},
        {"registry": HOST, "repository": "acme/other"},
        {"registry": f"{HOST}/{FIRST}", "labels": {"app": LAST}, "web": {"name": LAST}},
        {"registry": HOST, "text": SHORT},
    ],
    ids=["another registry", "another repository", "a name far away", "another key"],
)
def test_what_two_scalars_make_of_others_is_not_told(spec: object) -> None:
    files: Files = {OBJECT: json.dumps(RUNNER | {"spec": spec})}

    assert not [one for one in look(files).remarks if one.image]


def test_another_tag_beside_it_is_another_mention() -> None:
    def identity(tag: str) -> str:
        document = RUNNER | {"spec": {"image": IMAGE | {"tag": tag}}}
        (remark,) = look({OBJECT: json.dumps(document)}).remarks
        return remark.identity

    assert identity("v1") != identity("v2")
    assert identity("v1") == identity("v1")


def test_an_object_that_only_names_images_is_left_alone() -> None:
    scan = {"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageRepository", "spec": IMAGE}

    (remark,) = look({OBJECT: json.dumps(scan)}).remarks

    assert remark.kind is RemarkKind.NAMED
