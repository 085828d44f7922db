"""Traces decide which files are read at all: they may say too much, and never too little."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import example, given, strategies as st

from bot.domain.environments import ImageId
from bot.domain.errors import RejectedError
from bot.formats.image_names import Names
from bot.formats.manifest_file import is_values_file, read_file, says_something, text_of
from bot.formats.place_finder import Findings, read_document
from bot.formats.text_frame import Frame
from bot.formats.traces import MOST_WORDS, Traces, traces_of
from bot.formats.yaml_tree import compose_all
from tests.attacks.test_hidden_images import ALL, EVIL, REPOSITORY, content_of

PAYMENTS, NGINX, LOCAL = (ImageId("shop", name) for name in ("payments", "nginx", "local"))
DIGEST = "sha256:" + "7" * 64
NAMES = Names(
    {
        "cr.example/acme/payments": PAYMENTS,
        "cr.example:5000/payments": PAYMENTS,
        "docker.io/library/nginx": NGINX,
        "docker.io/acme/nginx": NGINX,
        "localhost:5000/x/local": LOCAL,
    },
    {"payments": (PAYMENTS,), "nginx": (NGINX,), "team/local": (LOCAL,)},
    digests=frozenset({DIGEST}),
)
PIECES = (
    *("cr.example", "CR.Example", "cr.example.", "cr.example:443", "cr.example:5000", "Cr.example"),
    *("docker.io", "index.docker.io", "library", "localhost:5000", "acme", "x", "team"),
    *("payments", "pay", "ments", "nginx", "local", "Payments", "payments-", "paymentsX"),
    *("/", "/", "/", ":", ":v1", "@", DIGEST, "=", " ", "-", ".", "_", "a/b", "5000", "{{ x }}"),
    "\n",
)
KEYS = (
    *("image", "images", "imageTag", "registry", "repository", "global", "imageRegistry", "name"),
    *("newName", "newTag", "tagSuffix", "digest", "tag", "kustomize", "helm", "parameters"),
    *("value", "values", "valuesObject", "reference", "patch", "a", "containers", "kind", "IMAGE"),
)
SPLIT = {"name": "cr.example", "newTag": "5000/pay", "tagSuffix": "ments"}
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
KEY = st.one_of(st.sampled_from(KEYS), TEXTS)
DOCUMENTS = st.recursive(
    TEXTS,
    lambda inner: st.one_of(
        st.dictionaries(KEY, inner, min_size=1, max_size=4),
        st.lists(inner, min_size=1, max_size=3),
        inner.map(yaml.safe_dump),
    ),
    max_leaves=8,
)


def found_in(content: bytes, names: Names, path: str) -> list[str]:
    """Everything that the reader finds, whatever the traces say."""
    findings = Findings(path, names)
    frame = Frame.of_file(text_of(content))
    for number, root in enumerate(compose_all(text_of(content), path), start=1):
        read_document(findings, root, frame, number, is_values=is_values_file(path))
    return [str(location.written) for location in findings.locations] + [
        str(one) for one in findings.remarks
    ]


@given(
    DOCUMENTS,
    st.sampled_from(["json", "flow", "block"]),
    st.sampled_from(["a.yaml", "values.yaml"]),
)
@example({"a": "a/bCr.example/acme/payments"}, "block", "a.yaml")
@example({"a": "cr.example/acme/paymentsX"}, "block", "a.yaml")
@example({"a": "cr.example/acme/payments."}, "block", "a.yaml")
@example({"a": "see CR.Example./acme/payments"}, "block", "a.yaml")
@example({"kind": "HelmRelease", "images": [SPLIT]}, "flow", "a.yaml")
@example(
    {"image": {"registry": "cr.example/acme", "repository": "payments"}}, "block", "values.yaml"
)
@example({"image": {"registry": "acme", "repository": "nginx"}}, "block", "values.yaml")
@example({"values": "image: nginx"}, "json", "a.yaml")
@example({"a": DIGEST}, "block", "a.yaml")
def test_where_traces_say_nothing_the_reader_finds_nothing(
    document: object, style: str, path: str
) -> None:
    text = (
        json.dumps(document)
        if style == "json"
        else yaml.safe_dump(document, default_flow_style=style == "flow", width=30)
    )
    try:
        found = found_in(text.encode(), NAMES, path)
    except RejectedError:
        return
    assert not found or says_something(path, traces_of(text.encode()), NAMES), found


@given(DOCUMENTS, st.sampled_from(["json", "flow", "block"]))
@example({"images": [{"name": "web", "newTag": "v1"}], "resources": ["x"], "Vars": 1}, "block")
@example("a: [", "raw")
def test_what_a_kustomization_says_of_others_depends_on_no_name(
    document: object, style: str
) -> None:
    text = (
        json.dumps(document)
        if style == "json"
        else str(document)
        if style == "raw"
        else yaml.safe_dump(document, default_flow_style=style == "flow", width=30)
    )
    if not NAMES.meet(traces_of(text.encode("utf-8", "surrogateescape"))):
        path = "envs/prod/kustomization.yaml"
        assert read_file(path, text, NAMES) == read_file(path, text, Names({}))


@pytest.mark.parametrize("form", ALL)
def test_a_hidden_image_leaves_a_trace(form: str) -> None:
    names = Names({REPOSITORY: PAYMENTS}, {"payments": (PAYMENTS,)}, digests=frozenset({EVIL}))

    assert any(
        says_something(path, traces_of(content_of(content)), names)
        for path, content in ALL[form].items()
    )


def test_a_file_of_others_is_not_read() -> None:
    text = b"kind: Service\nmetadata: {name: web, labels: {app.kubernetes.io/name: web}}\n"

    assert not says_something("web.yaml", traces_of(text), NAMES)
    assert not says_something("web.yaml", traces_of(b"image: cr.example/acme/web:v1\n"), NAMES)
    assert not says_something("web.yaml", traces_of(b"image: other.example/payments\n"), NAMES)


def test_a_file_of_too_many_words_is_always_read() -> None:
    text = "\n".join(f"- a.b{number}" for number in range(MOST_WORDS + 1)).encode()

    assert traces_of(text) == Traces(is_opaque=True)


def test_a_host_that_is_no_word_has_every_file_read() -> None:
    names = Names({"[::1]:5000/acme/api": PAYMENTS})

    assert says_something("a.yaml", traces_of(b"a: 1\n"), names)
