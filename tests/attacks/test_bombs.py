"""Text that costs more than it is long: each kind within a budget of processor time.

Whoever writes it: the author of a fork (pipeline file), of an image (its configuration), a
stranger with the webhook's secret or before it, a registry (its headers).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import product

import pytest
from hypothesis import given, settings, strategies as st

from bot.domain.environments import matches, overlap
from bot.domain.errors import ConfigurationError, LockkeeperError
from bot.formats.image_manifest import parse_config
from bot.formats.pipeline_file import read_pipeline
from bot.formats.webhook import MalformedWebhookError, parse_webhook
from bot.formats.www_authenticate import parse_challenges

BUDGET = 5.0
"""Seconds of this process; what was mended here took minutes to years."""

PIPELINE = """\
version: 1
environments:
  a:
    on: {branches: [x]}
    image_repository: r.example.com/a/{image}
    manifests: [%s]
  b:
    on: {branches: [y]}
    image_repository: r.example.com/b/{image}
    manifests: [%s]
applications:
  p: {source: acme/p, images: [p]}
"""


@contextmanager
def within_budget() -> Iterator[None]:
    start = time.process_time()
    yield
    spent = time.process_time() - start
    assert spent < BUDGET, f"{spent:.1f} s of processor time"


def globs(count: int, glob: str) -> str:
    return ", ".join(f"'{glob % number}'" for number in range(count))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("'**a" + "?" * 100 + "'", "'**b" + "?" * 100 + "'"),
        ("'" + "*a" * 60 + "'", "'" + "*b" * 60 + "'"),
        ("'" + "**/a?" * 40 + "'", "'" + "**/?b" * 40 + "'"),
        ("'**" + "?" * 100_000 + "'", "'**" + "?" * 100_000 + "'"),
        (globs(400, "**x%d?"), globs(400, "**?y%d")),
    ],
    ids=["question marks", "stars", "folders", "long", "many"],
)
def test_two_globs_are_compared_in_linear_time(left: str, right: str) -> None:
    with within_budget(), suppress(ConfigurationError):
        read_pipeline(PIPELINE % (left, right))


UNTERMINATED = b'{"a":' + b"[" * 70 + b'"\\' * 2**20
HOSTILE = {
    "quotes and backslashes that end nowhere": UNTERMINATED,
    "unterminated strings": b'" \\ ' * 2**20,
    "backslashes": b'{"a":"' + b"\\" * 2**22,
    "quotes": b'"' * 2**22,
    "brackets": b"[" * 2**22,
    "closed and opened": b"[]," * 2**20,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_the_configuration_of_an_image(body: bytes) -> None:
    with within_budget(), pytest.raises(LockkeeperError):
        parse_config(body, "an image")


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_webhook(body: bytes) -> None:
    with within_budget(), pytest.raises(MalformedWebhookError):
        parse_webhook("push", body)


CHALLENGES: Mapping[str, str] = {
    "unterminated": "a a=" + '"x\\" a a=' * 6000,
    "words": "a " * 30000,
    "commas": "," * 65000,
    "one word": "a" * 65000,
}


@pytest.mark.parametrize("header", CHALLENGES.values(), ids=CHALLENGES)
def test_the_challenge_of_a_registry(header: str) -> None:
    with within_budget():
        parse_challenges([header])


# --- the same answer as before, only sooner -----------------------------------------------------

GLOB = st.text(alphabet="ab/*?", max_size=6)
SHORT = st.text(alphabet="ab/*?", max_size=4)
TEXT = st.text(alphabet="ab/c", max_size=6)


@given(GLOB, GLOB, TEXT)
def test_globs_that_match_one_text_overlap(one: str, other: str, text: str) -> None:
    if matches(one, text) and matches(other, text):
        assert overlap(one, other)


@settings(max_examples=40, deadline=None)
@given(SHORT, SHORT)
def test_globs_that_overlap_have_a_text_that_both_match(one: str, other: str) -> None:
    texts = ("".join(text) for size in range(7) for text in product("ab/", repeat=size))
    both = any(matches(one, text) and matches(other, text) for text in texts)

    assert overlap(one, other) is both
