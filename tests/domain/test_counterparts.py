"""Which file of one environment stands for which of another."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from bot.domain.counterparts import counterpart, have_counterparts
from bot.domain.environments import Environment, Template


def environment(name: str, *manifests: str) -> Environment:
    return Environment(name, (), Template(f"r.example/{name}/{{image}}"), manifests)


@pytest.mark.parametrize(
    ("below", "above", "path", "other"),
    [
        ("envs/stage/**", "envs/prod/**", "envs/stage/a/b.yaml", "envs/prod/a/b.yaml"),
        ("stage/*.yaml", "prod/*.yaml", "stage/a.yaml", "prod/a.yaml"),
        ("apps/*/stage.yaml", "apps/*/prod.yaml", "apps/x/stage.yaml", "apps/x/prod.yaml"),
        (
            "apps/*/values-qa.yaml",
            "apps/*/values-p.yaml",
            "apps/x/values-qa.yaml",
            "apps/x/values-p.yaml",
        ),
        ("apps/**/stage/*", "apps/**/prod/*", "apps/a/b/stage/c", "apps/a/b/prod/c"),
        ("apps/**/stage/*", "apps/**/prod/*", "apps/stage/c", "apps/prod/c"),
        ("e/*-stage/c", "e/*-prod/c", "e/eu-stage/c", "e/eu-prod/c"),
        # Nothing says which one it is.
        ("stage/**", "clusters/prod/**", "stage/a.yaml", None),
        ("stage/*", "prod/**", "stage/a.yaml", None),
        ("**/stage/**", "**/prod/**", "a/stage/b", None),
        ("s?/*", "p?/*", "s1/a", None),
        ("stage/**", "prod/**", "other/a.yaml", None),
    ],
)
def test_the_file_of_the_environment_above(
    below: str, above: str, path: str, other: str | None
) -> None:
    here, there = environment("stage", below), environment("prod", above)

    assert counterpart(path, here, there) == other
    assert other is None or counterpart(other, there, here) == path


def test_two_pairs_that_say_different_paths_say_nothing() -> None:
    here = environment("stage", "stage/**")
    there = environment("prod", "eu/**", "us/**")

    assert counterpart("stage/a", here, there) is None
    assert have_counterparts(here, there)


def test_several_globs_pair_by_their_shape() -> None:
    here = environment("stage", "charts/*/values-stage.yaml", "envs/stage/**")
    there = environment("prod", "envs/prod/**", "charts/*/values-prod.yaml")

    assert counterpart("charts/a/values-stage.yaml", here, there) == "charts/a/values-prod.yaml"
    assert counterpart("envs/stage/a/b", here, there) == "envs/prod/a/b"


SEGMENT = st.text("ab*", min_size=1, max_size=4).filter(lambda s: "**" not in s)
GLOBS = st.lists(st.one_of(SEGMENT, st.just("**")), min_size=1, max_size=4).map("/".join)
PATHS = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=5).map("/".join)


@given(GLOBS, GLOBS, PATHS)
def test_a_counterpart_is_owned_and_leads_back(below: str, above: str, path: str) -> None:
    here, there = environment("stage", below), environment("prod", above)
    other = counterpart(path, here, there)

    if other is not None:
        assert here.owns(path)
        assert there.owns(other)
        assert counterpart(other, there, here) == path
